/*-------------------------------------------------------------------------
 *
 * register.c
 *	  The registers of organisation units, staff and accounts, and the SQL
 *	  functions that enter and move people.  Leaving is in leaver.c.
 *
 * A person is keyed by staff number, an account by role OID.  No function
 * here creates or drops a role.
 *
 * Every changing function: duty first, then the checks, then the registers,
 * then shared memory from what the registers now say, then the record.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/catalog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "people/membership.h"
#include "people/person.h"
#include "people/register.h"
#include "people/roster.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_add_org(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_org_contract(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_hire(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_add_account(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_login_rule(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_transfer(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_add_org);
PG_FUNCTION_INFO_V1(cpii_set_org_contract);
PG_FUNCTION_INFO_V1(cpii_hire);
PG_FUNCTION_INFO_V1(cpii_add_account);
PG_FUNCTION_INFO_V1(cpii_set_login_rule);
PG_FUNCTION_INFO_V1(cpii_transfer);

/* ---- organisation units ---- */

Datum
cpii_add_org(PG_FUNCTION_ARGS)
{
	const char *texts[4];

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "code", CPII_ORG_LEN);
	texts[1] = cpii_text_argument(fcinfo, 1, "name");
	texts[2] = cpii_text_argument(fcinfo, 2, "kind");
	texts[3] = cpii_text_or_null(fcinfo, 3);

	SPI_connect();
	if (texts[3] != NULL)
		cpii_require_org(texts[3], "parent");
	if (cpii_person_run("INSERT INTO courier_pii.org_register (code, name, kind, parent)"
			" VALUES ($1, $2, $3, $4) ON CONFLICT (code) DO NOTHING",
			4, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("organisation unit \"%s\" already exists", texts[0])));
	cpii_audit_note(CPII_ACT_ACCOUNT, "add_org", "ok",
					cpii_json_pairs("code", texts[0], "kind", texts[2],
								"parent", texts[3], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * The end of the contract with a franchise, client or vendor.  An end that has
 * passed takes effect at once, by the time that shared memory is told.
 */
Datum
cpii_set_org_contract(PG_FUNCTION_ARGS)
{
	const char *texts[2];
	char	  **staff;
	uint64		count;

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "code", CPII_ORG_LEN);
	texts[1] = PG_ARGISNULL(1) ? NULL
		: pstrdup(timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(1)));

	SPI_connect();
	cpii_require_org(texts[0], "code");
	cpii_person_run("UPDATE courier_pii.org_register SET contract_end = $2::pg_catalog.timestamptz"
			 " WHERE code = $1", 2, texts);
	count = cpii_person_run("SELECT s.staff_no FROM courier_pii.staff_register s"
					 " WHERE s.status = 'active' AND s.org IN"
					 " (WITH RECURSIVE tree (code) AS (SELECT $1"
					 " UNION SELECT o.code FROM courier_pii.org_register o"
					 " JOIN tree t ON o.parent = t.code) SELECT t.code FROM tree t)"
					 " FOR UPDATE", 1, texts);
	staff = palloc(Max(count, 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		staff[i] = cpii_result_text(i, 1);
	if (!PG_ARGISNULL(1) && PG_GETARG_TIMESTAMPTZ(1) <= cpii_roster_now())
		for (uint64 i = 0; i < count; i++)
			cpii_leaver_suspend(staff[i], "contract has ended");
	else
		for (uint64 i = 0; i < count; i++)
			cpii_roster_announce(staff[i]);
	cpii_audit_note(CPII_ACT_ACCOUNT, "set_org_contract", "ok",
					cpii_json_pairs("code", texts[0], "ends", texts[1], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- people ---- */

/* a line of the post register that is open */
static void
enter_post(const CpiiPerson *person, const char *changed_by)
{
	const char *texts[4];

	texts[0] = person->staff_no;
	texts[1] = person->org;
	texts[2] = person->post;
	texts[3] = changed_by;
	cpii_person_run("INSERT INTO courier_pii.post_register (staff_no, org, post, changed_by)"
			 " VALUES ($1, $2, $3, $4::pg_catalog.name)", 4, texts);
}

/* a login role of the person: register, rights of the post, shared memory */
static void
enter_account(const CpiiPerson *person, Oid role, const char *kind)
{
	const char *texts[4];
	char		role_text[16];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = person->staff_no;
	texts[2] = kind;
	texts[3] = cpii_duties_sealed() && strcmp(kind, "service") != 0 ? "true" : "false";
	/* a password from before: nobody knows how good it is */
	cpii_person_run("INSERT INTO courier_pii.account_register (login_role, staff_no, kind, must_change)"
			 " VALUES ($1::pg_catalog.oid, $2, $3, $4::pg_catalog.bool)", 4, texts);
	if (strcmp(kind, "human") == 0)
		cpii_post_grant(role, person->post);
	cpii_roster_announce(person->staff_no);
}

/* may this role become a person's login? */
static void
require_person_role(Oid role)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;
	char	   *name;
	bool		super;

	if (!HeapTupleIsValid(tup))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	form = (Form_pg_authid) GETSTRUCT(tup);
	name = pstrdup(NameStr(form->rolname));
	super = form->rolsuper;
	ReleaseSysCache(tup);

	if (super)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is a superuser", name),
				 errdetail("A superuser cannot be a person's login."),
				 errhint("Give the person a role of their own without SUPERUSER.")));
	if (IsReservedName(name) || strncmp(name, "pii_", 4) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not a person's login", name),
				 errdetail("It is a group that rights are granted through.")));
}

Datum
cpii_hire(PG_FUNCTION_ARGS)
{
	CpiiPerson		person;
	const char *texts[7];
	char	   *details = "{}";
	char		login_text[16];

	cpii_require_duty("pii_account_admin");
	memset(&person, 0, sizeof(person));
	person.staff_no = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[0] = person.staff_no;
	texts[1] = cpii_text_argument(fcinfo, 1, "display_name");
	texts[3] = person.org = cpii_code_argument(fcinfo, 3, "org", CPII_ORG_LEN);
	texts[4] = cpii_text_or_null(fcinfo, 4);
	if (!PG_ARGISNULL(5))
	{
		Jsonb	   *json = PG_GETARG_JSONB_P(5);

		if (!JB_ROOT_IS_OBJECT(json))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("details must be a JSON object")));
		details = JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("details must not be null")));
	texts[5] = details;
	texts[6] = cpii_session_actor()->login_name;
	texts[2] = NULL;
	if (!PG_ARGISNULL(2))
	{
		person.login = PG_GETARG_OID(2);
		require_person_role(person.login);
		snprintf(login_text, sizeof(login_text), "%u", person.login);
		texts[2] = login_text;
	}

	SPI_connect();
	cpii_require_org(person.org, "org");
	if (cpii_person_run("SELECT 1 FROM courier_pii.staff_register s WHERE s.staff_no = $1",
			1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("staff number \"%s\" already exists", texts[0]),
				 errhint("A person who comes back is reinstated, not hired again.")));
	if (texts[2] != NULL &&
		cpii_person_run("SELECT 1 FROM courier_pii.staff_register s"
			" WHERE s.login_role = $1::pg_catalog.oid"
			" UNION ALL SELECT 1 FROM courier_pii.account_register a"
			" WHERE a.login_role = $1::pg_catalog.oid", 1, &texts[2]) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("role \"%s\" already belongs to a person",
						GetUserNameFromId(person.login, true)),
				 errhint("Give each person a role of their own; the role of a person who left is not used again.")));
	/* two at once: the unique constraints decide */
	cpii_person_run("INSERT INTO courier_pii.staff_register"
		" (staff_no, display_name, login_role, org, post, details, changed_by)"
		" VALUES ($1, $2, $3::pg_catalog.oid, $4, $5, $6::pg_catalog.jsonb - ARRAY['birthday', 'phone'],"
		" $7::pg_catalog.name)", 7, texts);
	cpii_get_person(person.staff_no, &person);
	if (person.client != NULL && strlen(person.client) >= ROSTER_CLIENT_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("client in details is too long"),
				 errdetail("At most %d bytes are possible.",
						   ROSTER_CLIENT_LEN - 1)));
	/* what a password must not contain is kept as digests only */
	cpii_person_run("INSERT INTO courier_pii.person_guess (staff_no, digests)"
			 " SELECT $1, g.d FROM (SELECT courier_pii.person_guess("
			 " $2::pg_catalog.jsonb ->> 'birthday', $2::pg_catalog.jsonb ->> 'phone') AS d) g"
			 " WHERE g.d IS NOT NULL", 2, (const char *[]) {texts[0], details});
	enter_post(&person, texts[6]);
	if (OidIsValid(person.login))
		enter_account(&person, person.login, "human");
	cpii_audit_note(CPII_ACT_ACCOUNT, "hire", "ok",
					cpii_json_pairs("staff_no", texts[0], "org", person.org,
									"post", person.post, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_add_account(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	const char *texts[3];
	char		role_text[16];
	Oid			role;

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	role = cpii_role_argument(fcinfo, 1);
	texts[2] = cpii_text_argument(fcinfo, 2, "kind");
	if (strcmp(texts[2], "admin") != 0 && strcmp(texts[2], "service") != 0 &&
		strcmp(texts[2], "human") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind of account \"%s\" does not exist", texts[2]),
				 errhint("The kinds are human, admin and service.")));
	require_person_role(role);
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[1] = role_text;

	SPI_connect();
	cpii_get_person(texts[0], &person);
	if (strcmp(person.status, "active") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("staff number \"%s\" is %s", texts[0], person.status)));
	if (cpii_person_run("SELECT 1 FROM courier_pii.account_register a"
				 " WHERE a.login_role = $2::pg_catalog.oid"
				 " OR a.staff_no = $1 AND a.kind = $3 AND $3 <> 'service'",
				 3, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("role \"%s\" cannot become an account of staff number \"%s\"",
						cpii_role_name(role), texts[0]),
				 errdetail("The role has an owner, or the person has an account of that kind."),
				 errhint("Each person has one login of each kind.")));
	if (strcmp(texts[2], "human") == 0)
		cpii_person_run("UPDATE courier_pii.staff_register SET login_role = $2::pg_catalog.oid"
				 " WHERE staff_no = $1", 2, texts);
	enter_account(&person, role, texts[2]);
	cpii_audit_note(CPII_ACT_ACCOUNT, "add_account", "ok",
					cpii_json_pairs("staff_no", texts[0], "kind", texts[2],
									"role", cpii_role_name(role), NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- login rules ---- */

/* minutes of the day as text, or NULL */
static char *
minute_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return NULL;
	return psprintf("%d", (int) (PG_GETARG_TIMEADT(n) / USECS_PER_MINUTE) % 1440);
}

/* {1,2,5} (0 = Sunday) as a sum of bits */
static int
weekdays_argument(FunctionCallInfo fcinfo, int n)
{
	ArrayType  *days;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			sum = 0;

	if (PG_ARGISNULL(n))
		return ROSTER_ALL_DAYS;
	days = PG_GETARG_ARRAYTYPE_P(n);
	deconstruct_array(days, INT4OID, 4, true, TYPALIGN_INT, &values, &nulls,
					  &count);
	for (int i = 0; i < count; i++)
	{
		int			day = nulls[i] ? -1 : DatumGetInt32(values[i]);

		if (day < 0 || day > 6)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("weekdays must be numbers from 0 (Sunday) to 6 (Saturday)")));
		sum |= 1 << day;
	}
	if (sum == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weekdays must not be empty"),
				 errhint("Use courier_pii.suspend() to disable an account.")));
	return sum;
}

Datum
cpii_set_login_rule(PG_FUNCTION_ARGS)
{
	const char *texts[6];
	char		role_text[16];
	Oid			role;

	cpii_require_duty("pii_account_admin");
	role = cpii_role_argument(fcinfo, 0);
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = minute_argument(fcinfo, 1);
	texts[2] = minute_argument(fcinfo, 2);
	if ((texts[1] == NULL) != (texts[2] == NULL) ||
		(texts[1] != NULL && strcmp(texts[1], texts[2]) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("from_time and to_time must both be given and differ"),
				 errhint("A shift over midnight ends at an earlier time than it begins.")));
	texts[3] = psprintf("%d", weekdays_argument(fcinfo, 3));
	texts[4] = NULL;
	if (!PG_ARGISNULL(4))
	{
		ArrayType  *networks = PG_GETARG_ARRAYTYPE_P(4);
		int			count = ArrayGetNItems(ARR_NDIM(networks), ARR_DIMS(networks));

		if (count == 0 || count > ROSTER_NETWORKS || array_contains_nulls(networks))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("addresses must be between 1 and %d networks",
							ROSTER_NETWORKS)));
		texts[4] = OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(4));
	}
	texts[5] = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5) ? "true" : "false";

	SPI_connect();
	if (cpii_person_run("UPDATE courier_pii.account_register SET"
				 " from_minute = $2::pg_catalog.int2, to_minute = $3::pg_catalog.int2,"
				 " weekdays = $4::pg_catalog.int2, addresses = $5::pg_catalog._cidr,"
				 " sharing = $6::pg_catalog.bool"
				 " WHERE login_role = $1::pg_catalog.oid", 6, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not an account of anybody",
						cpii_role_name(role)),
				 errhint("Enter it with courier_pii.hire() or courier_pii.add_account().")));
	cpii_person_run("SELECT a.staff_no FROM courier_pii.account_register a"
			 " WHERE a.login_role = $1::pg_catalog.oid", 1, texts);
	cpii_roster_announce(cpii_result_text(0, 1));
	cpii_audit_note(CPII_ACT_ACCOUNT, "set_login_rule", "ok",
					cpii_json_pairs("role", cpii_role_name(role),
									"from_minute", texts[1], "to_minute", texts[2],
									"weekdays", texts[3], "addresses", texts[4],
									"sharing", texts[5], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- transfer ---- */

Datum
cpii_transfer(PG_FUNCTION_ARGS)
{
	CpiiPerson		person;
	const char *texts[4];
	bool		moved;
	bool		new_post;

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[1] = cpii_code_argument(fcinfo, 1, "org", CPII_ORG_LEN);
	texts[2] = cpii_text_or_null(fcinfo, 2);
	texts[3] = cpii_session_actor()->login_name;

	SPI_connect();
	cpii_get_person(texts[0], &person);
	if (strcmp(person.status, "departed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("staff number \"%s\" has departed", texts[0])));
	cpii_require_org(texts[1], "org");
	moved = strcmp(person.org, texts[1]) != 0;
	new_post = texts[2] != NULL &&
		(person.post == NULL || strcmp(person.post, texts[2]) != 0);
	cpii_person_run("UPDATE courier_pii.staff_register SET org = $2,"
			 " post = coalesce($3, post),"
			 " changed_at = pg_catalog.statement_timestamp(), changed_by = $4::pg_catalog.name"
			 " WHERE staff_no = $1", 4, texts);
	person.org = pstrdup(texts[1]);
	if (new_post)
		person.post = pstrdup(texts[2]);
	if (moved || new_post)
	{
		cpii_person_run("UPDATE courier_pii.post_register SET to_at = pg_catalog.statement_timestamp()"
				 " WHERE staff_no = $1 AND to_at IS NULL", 1, texts);
		enter_post(&person, texts[3]);
	}
	/* another post: what the old one brought ends, whoever gave it */
	if (new_post && OidIsValid(person.login))
	{
		cpii_membership_take(person.login, person.staff_no, "transfer");
		if (strcmp(person.status, "active") == 0)
			cpii_post_grant(person.login, person.post);
	}
	cpii_roster_announce(person.staff_no);
	cpii_audit_note(CPII_ACT_ACCOUNT, "transfer", "ok",
					cpii_json_pairs("staff_no", texts[0], "org", texts[1],
								"post", texts[2], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

