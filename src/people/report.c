/*-------------------------------------------------------------------------
 *
 * report.c
 *	  The case of a person who leaves: what they leave behind and have seen,
 *	  who has signed it off, and the end of the login role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "people/membership.h"
#include "people/person.h"
#include "people/register.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_leaver_report(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sign_off_leaver(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_drop_leaver(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_leaver_report);
PG_FUNCTION_INFO_V1(cpii_sign_off_leaver);
PG_FUNCTION_INFO_V1(cpii_drop_leaver);

/* run a query of three text columns and add its rows to the result */
static void
add_rows(ReturnSetInfo *result, const char *sql, int nargs, Oid *types,
		 Datum *values)
{
	cpii_internal_execute(sql, nargs, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		columns[3];
		bool		nulls[3];

		for (int c = 0; c < 3; c++)
			columns[c] = SPI_getbinval(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc, c + 1, &nulls[c]);
		tuplestore_putvalues(result->setResult, result->setDesc,
							 columns, nulls);
	}
}

/* $1 = staff number, $2 = role OID, $3 = role name */
static const char *const report_account =
"SELECT 'person', s.status,"
" pg_catalog.concat_ws(', ', 'departure ' || s.departed_at, s.reason)"
" FROM courier_pii.staff_register s WHERE s.staff_no = $1"
" UNION ALL"
" SELECT 'account', 'can log in', r.rolcanlogin::pg_catalog.text"
" FROM pg_catalog.pg_roles r WHERE r.oid = $2"
" UNION ALL"
" SELECT 'account', 'live sessions', pg_catalog.count(*)::pg_catalog.text"
" FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE a.usesysid = $2"
" UNION ALL"
" SELECT 'membership', 'member of', r.rolname::pg_catalog.text"
" FROM pg_catalog.pg_auth_members m"
" JOIN pg_catalog.pg_roles r ON r.oid = m.roleid WHERE m.member = $2"
" UNION ALL"
" SELECT 'membership', 'has member', r.rolname::pg_catalog.text"
" FROM pg_catalog.pg_auth_members m"
" JOIN pg_catalog.pg_roles r ON r.oid = m.member WHERE m.roleid = $2"
" UNION ALL"
" SELECT 'objects',"
" CASE d.deptype WHEN 'o' THEN 'owned' WHEN 'a' THEN 'rights on' ELSE 'other' END,"
" coalesce(b.datname::pg_catalog.text, 'shared') || ': ' || pg_catalog.count(*)"
" FROM pg_catalog.pg_shdepend d"
" LEFT JOIN pg_catalog.pg_database b ON b.oid = d.dbid"
" WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass"
" AND d.refobjid = $2 GROUP BY d.deptype, b.datname"
" UNION ALL"
" SELECT 'prepared transaction', p.gid,"
" p.database || ', since ' || p.prepared || ', ' ||"
" (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l"
" WHERE l.virtualtransaction = '-1/' || p.transaction::pg_catalog.text) || ' locks'"
" FROM pg_catalog.pg_prepared_xacts p WHERE p.owner = $3"
" UNION ALL"
" SELECT 'user mapping', u.srvname::pg_catalog.text, NULL"
" FROM pg_catalog.pg_user_mappings u WHERE u.umuser = $2"
" UNION ALL"
" SELECT 'membership', 'taken', m.group_role::pg_catalog.text || ', ' || m.cause"
" || ', ' || m.taken_at FROM courier_pii.membership_taken m WHERE m.staff_no = $1"
" UNION ALL"
" SELECT 'membership', 'granted by', r.rolname || ' to ' || w.rolname"
" FROM pg_catalog.pg_auth_members m"
" JOIN pg_catalog.pg_roles r ON r.oid = m.roleid"
" JOIN pg_catalog.pg_roles w ON w.oid = m.member"
" WHERE m.grantor = $2 AND $2 <> 0"
" UNION ALL"
" SELECT 'objects', 'owned here',"
" pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)"
" FROM (SELECT * FROM pg_catalog.pg_shdepend d WHERE d.deptype = 'o'"
" AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass"
" AND d.refobjid = $2 AND d.dbid = (SELECT b.oid FROM pg_catalog.pg_database b"
" WHERE b.datname = pg_catalog.current_database()) LIMIT 200) d"
" UNION ALL"
" SELECT 'default privileges', coalesce(n.nspname::pg_catalog.text, 'all schemas'),"
" a.defaclacl::pg_catalog.text FROM pg_catalog.pg_default_acl a"
" LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace"
" WHERE a.defaclrole = $2"
" UNION ALL"
" SELECT 'replication slot', l.slot_name::pg_catalog.text,"
" CASE WHEN g.usesysid = $2 THEN 'in use by this account'"
" ELSE 'not in use: slots have no owner' END"
" FROM pg_catalog.pg_replication_slots l"
" LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) g ON g.pid = l.active_pid"
" WHERE g.usesysid = $2 OR NOT l.active AND EXISTS (SELECT 1"
" FROM pg_catalog.pg_roles r WHERE r.oid = $2 AND r.rolreplication)"
" UNION ALL"
" SELECT 'subscription', u.subname::pg_catalog.text, NULL"
" FROM pg_catalog.pg_subscription u WHERE u.subowner = $2"
" UNION ALL"
" SELECT 'account', a.kind || ' account', a.login_role::pg_catalog.text"
" FROM courier_pii.account_register a WHERE a.staff_no = $1"
" AND a.login_role <> $2::pg_catalog.regrole"
" UNION ALL"
" SELECT 'post', coalesce(p.post, '-'), p.org || ', from ' || p.from_at ||"
" coalesce(' to ' || p.to_at, '') FROM courier_pii.post_register p WHERE p.staff_no = $1"
" UNION ALL"
" SELECT 'case', 'opened', c.opened_at || ', sessions ended: ' || c.sessions ||"
" coalesce(', closed ' || c.closed_at || ': ' || c.outcome, ', open')"
" FROM courier_pii.leaver_case c WHERE c.staff_no = $1"
" UNION ALL"
" SELECT 'sign-off', g.part, g.signed_by || ', ' || g.signed_at || coalesce(', ' || g.note, '')"
" FROM courier_pii.leaver_sign_off g JOIN courier_pii.leaver_case c ON c.id = g.case_id"
" WHERE c.staff_no = $1"
" UNION ALL"
" SELECT 'sign-off', 'missing', p.part FROM courier_pii.leaver_case c,"
" pg_catalog.unnest(ARRAY['manager', 'security', 'audit']) p (part)"
" WHERE c.staff_no = $1 AND c.closed_at IS NULL AND NOT EXISTS"
" (SELECT 1 FROM courier_pii.leaver_sign_off g WHERE g.case_id = c.id AND g.part = p.part)";

/* schedulers keep the role as text; only where their table exists */
static const char *const report_jobs =
"SELECT 'job', 'pg_cron ' || j.jobid, j.schedule FROM cron.job j"
" WHERE j.username = $3";

static const char *const report_audit =
"SELECT 'audit', a.action::pg_catalog.text,"
" pg_catalog.format('%s records, %s clear values, last %s',"
" pg_catalog.count(*), coalesce(pg_catalog.sum(a.disclosed), 0),"
" pg_catalog.max(a.at))"
" FROM courier_pii.audit_log a"
" WHERE a.staff_no = $1 GROUP BY a.action ORDER BY 2";

/* the last 90 days before the departure (or now), day by day */
static const char *const report_access =
"SELECT 'access', pg_catalog.to_char(a.at, 'YYYY-MM-DD') || ' ' || a.action::pg_catalog.text,"
" pg_catalog.format('%s: %s statements, %s clear values, %s masked, %s searches, %s rows',"
" coalesce(pg_catalog.array_to_string(a.relations::pg_catalog._text, ', '), '-'),"
" pg_catalog.count(*), coalesce(pg_catalog.sum(a.disclosed), 0),"
" coalesce(pg_catalog.sum(a.masked), 0), coalesce(pg_catalog.sum(a.probes), 0),"
" coalesce(pg_catalog.sum(a.rows_returned), 0))"
" FROM courier_pii.audit_log a,"
" (SELECT LEAST(s.departed_at, pg_catalog.now()) AS until"
" FROM courier_pii.staff_register s WHERE s.staff_no = $1) s"
" WHERE a.staff_no = $1 AND a.at >= s.until - '90 days'::pg_catalog.interval"
" AND a.phase <> 'BEGIN'"
" AND a.action::pg_catalog.text IN ('READ', 'SEARCH', 'EXPORT', 'COPY', 'WRITE', 'DESTROY')"
" GROUP BY 2, a.relations::pg_catalog._text, pg_catalog.to_char(a.at, 'YYYY-MM-DD'), a.action"
" ORDER BY 2, 3";

Datum
cpii_leaver_report(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[3] = {TEXTOID, OIDOID, NAMEOID};
	Datum		values[3];
	NameData	name;
	char	   *found = NULL;
	bool		isnull;

	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor") &&
		!cpii_session_has_duty("pii_security_admin"))
		cpii_require_duty("pii_account_admin");

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	values[0] = PG_GETARG_DATUM(0);
	cpii_internal_execute("SELECT s.login_role::pg_catalog.oid"
						  " FROM courier_pii.staff_register s"
						  " WHERE s.staff_no = $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("staff number does not exist"),
				 errhint("See the view courier_pii.staff for the numbers in use.")));
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							  &isnull);
	if (isnull)
		values[1] = ObjectIdGetDatum(InvalidOid);
	else
		found = GetUserNameFromId(DatumGetObjectId(values[1]), true);
	memset(&name, 0, sizeof(name));
	if (found != NULL)
		namestrcpy(&name, found);
	values[2] = NameGetDatum(&name);

	add_rows(result, report_account, 3, types, values);
	if (OidIsValid(cpii_relation_oid("audit_log", true)))
	{
		add_rows(result, report_audit, 1, types, values);
		add_rows(result, report_access, 1, types, values);
	}
	if (OidIsValid(get_namespace_oid("cron", true)) &&
		OidIsValid(get_relname_relid("job", get_namespace_oid("cron", true))))
		add_rows(result, report_jobs, 3, types, values);
	SPI_finish();
	return (Datum) 0;
}

/* ---- signing off ---- */

/*
 * Three people sign that nothing is open: a manager (an account administrator),
 * a security administrator, an auditor.  Persons are compared, not roles.
 */
Datum
cpii_sign_off_leaver(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_session_actor();
	const char *texts[6];
	const char *who;

	cpii_require_preload();
	texts[0] = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[1] = cpii_text_argument(fcinfo, 1, "part");
	texts[2] = cpii_text_or_null(fcinfo, 2);
	if (strcmp(texts[1], "manager") == 0)
		cpii_require_duty("pii_account_admin");
	else if (strcmp(texts[1], "security") == 0)
		cpii_require_duty("pii_security_admin");
	else if (strcmp(texts[1], "audit") == 0)
		cpii_require_duty("pii_auditor");
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("part \"%s\" of a sign-off does not exist", texts[1]),
				 errhint("The parts are manager, security and audit.")));
	who = actor->proof == CPII_PROOF_NONE ? actor->login_name : actor->staff_no;
	if (strcmp(who, texts[0]) == 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("a leaver cannot sign off their own case")));
	texts[3] = who;

	SPI_connect();
	if (cpii_person_run("SELECT c.id FROM courier_pii.leaver_case c"
				 " WHERE c.staff_no = $1 AND c.closed_at IS NULL FOR UPDATE",
				 1, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("staff number \"%s\" has no open leaver's case", texts[0])));
	texts[4] = cpii_result_text(0, 1);
	if (cpii_person_run("SELECT 1 FROM courier_pii.leaver_sign_off g"
				 " WHERE g.case_id = $1::pg_catalog.int8 AND g.signed_by = $2",
				 2, (const char *[]) {texts[4], who}) > 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("another person must sign off this part"),
				 errdetail("The same person has signed another part of the case.")));
	if (cpii_person_run("INSERT INTO courier_pii.leaver_sign_off (case_id, part, signed_by, note)"
				 " VALUES ($5::pg_catalog.int8, $2, $4, $3) ON CONFLICT DO NOTHING",
				 5, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("part \"%s\" is already signed off", texts[1])));
	cpii_audit_note(CPII_ACT_ACCOUNT, "sign_off_leaver", "ok",
					cpii_json_pairs("staff_no", texts[0], "part", texts[1], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- the end of the role ---- */

/*
 * After quarantine and three signatures: what the role owns here goes to the
 * keeper, its rights are dropped, and then the role.
 */
Datum
cpii_drop_leaver(PG_FUNCTION_ARGS)
{
	const char *texts[3];
	Oid			keeper_oid;
	char	   *role;
	char	   *keeper;
	char	   *powerful;

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[1] = psprintf("%d", cpii_leaver_quarantine_days);
	keeper_oid = cpii_role_argument(fcinfo, 1);
	keeper = cpii_role_name(keeper_oid);

	SPI_connect();
	/* what the leaver wrote as SECURITY DEFINER has the keeper's rights then */
	powerful = cpii_powerful_role(keeper_oid);
	if (powerful != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot keep what a leaver owned", keeper),
				 errdetail("It has, or is a member of, \"%s\", whose rights the leaver's functions would get.",
						   powerful),
				 errhint("Name a role with ordinary rights.")));
	if (cpii_person_run("SELECT c.id FROM courier_pii.leaver_case c"
				 " WHERE c.staff_no = $1 AND c.closed_at IS NULL"
				 " AND (SELECT pg_catalog.count(*) FROM courier_pii.leaver_sign_off g"
				 " WHERE g.case_id = c.id) = 3"
				 " AND c.effective_at <= pg_catalog.now() - $2::pg_catalog.int4 * '1 day'::pg_catalog.interval"
				 " FOR UPDATE", 2, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the login of staff number \"%s\" cannot be dropped yet", texts[0]),
				 errdetail("It needs three signatures and %d days since the departure.",
						   cpii_leaver_quarantine_days),
				 errhint("See courier_pii.leaver_report().")));
	texts[2] = cpii_result_text(0, 1);
	if (cpii_person_run("SELECT r.rolname FROM courier_pii.staff_register s"
				 " JOIN pg_catalog.pg_roles r ON r.oid = s.login_role"
				 " WHERE s.staff_no = $1", 1, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("staff number \"%s\" has no login", texts[0])));
	role = cpii_result_text(0, 1);
	if (cpii_person_run("SELECT 1 FROM pg_catalog.pg_prepared_xacts p WHERE p.owner = $1::pg_catalog.name",
				 1, (const char *[]) {role}) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("role \"%s\" has prepared transactions", role),
				 errhint("Roll them back first.")));
	cpii_person_run(psprintf("REASSIGN OWNED BY %s TO %s", quote_identifier(role),
					  quote_identifier(keeper)), 0, NULL);
	cpii_person_run(psprintf("DROP OWNED BY %s", quote_identifier(role)), 0, NULL);
	cpii_person_run("DELETE FROM courier_pii.password_history h"
			 " WHERE h.login_role = $1::pg_catalog.regrole",
			 1, (const char *[]) {quote_identifier(role)});
	cpii_person_run(psprintf("DROP ROLE %s", quote_identifier(role)), 0, NULL);
	cpii_person_run("UPDATE courier_pii.leaver_case SET closed_at = pg_catalog.statement_timestamp(),"
			 " outcome = 'dropped' WHERE id = $1::pg_catalog.int8", 1, &texts[2]);
	cpii_audit_note(CPII_ACT_ACCOUNT, "drop_leaver", "ok",
					cpii_json_pairs("staff_no", texts[0], "role", role,
									"keeper", keeper, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}
