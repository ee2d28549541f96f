/*-------------------------------------------------------------------------
 *
 * leaver.c
 *	  Taking away the right to work, and giving it back.
 *
 * Registers first, then the pending denial in shared memory (which holds from
 * that moment on), then the catalog: a person who departs loses LOGIN, the
 * password and all group roles; one who is suspended loses LOGIN only.  What
 * was taken is remembered, and a leaver's case is opened.
 *
 * Departures are judged by cpii_roster_now(), so that they come true once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "people/feed_order.h"
#include "people/membership.h"
#include "people/password.h"
#include "people/person.h"
#include "people/posture.h"
#include "people/register.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_depart(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_suspend(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reinstate(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_depart);
PG_FUNCTION_INFO_V1(cpii_suspend);
PG_FUNCTION_INFO_V1(cpii_reinstate);

#define MAX_CALLBACKS 4
#define LAPSE_INTERVAL_MS 10000
#define LAPSE_BATCH 500

extern void cpii_worker_register_task(void (*task) (void), int interval_ms);

static CpiiPersonLeft callbacks[MAX_CALLBACKS];
static int	ncallbacks = 0;

void
cpii_register_person_left(CpiiPersonLeft callback)
{
	if (ncallbacks >= MAX_CALLBACKS)
		elog(ERROR, "too many callbacks for people who leave");
	callbacks[ncallbacks++] = callback;
}

/* ---- the catalog's side ---- */

/* ALTER ROLE ..., unless the role is gone */
static void
alter_role(Oid role, const char *options)
{
	char	   *name = cpii_role_name(role);

	if (name != NULL)
		cpii_person_run(psprintf("ALTER ROLE %s %s", quote_identifier(name), options),
				 0, NULL);
}

/* the person's own logins; those of applications go on */
static Oid *
own_accounts(const char *staff_no, int *count)
{
	Oid		   *roles;

	*count = (int) cpii_person_run("SELECT a.login_role::pg_catalog.oid"
							" FROM courier_pii.account_register a"
							" WHERE a.staff_no = $1 AND a.kind <> 'service'",
							1, &staff_no);
	roles = palloc(Max(*count, 1) * sizeof(Oid));
	for (int i = 0; i < *count; i++)
		roles[i] = cpii_result_oid(i, 1);
	return roles;
}

/* say so when nobody is left who holds a duty that the role holds */
static void
warn_of_last_holder(Oid role)
{
	char		role_text[16];
	const char *texts[1];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	if (cpii_person_run("SELECT d.rolname FROM pg_catalog.pg_auth_members m"
				 " JOIN pg_catalog.pg_roles d ON d.oid = m.roleid"
				 " WHERE m.member = $1::pg_catalog.oid"
				 " AND d.rolname IN ('pii_security_admin', 'pii_auditor', 'pii_account_admin')"
				 " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members o"
				 " JOIN pg_catalog.pg_roles r ON r.oid = o.member"
				 " WHERE o.roleid = d.oid AND o.member <> m.member AND r.rolcanlogin)",
				 1, texts) > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("nobody else holds duty \"%s\"",
						cpii_result_text(0, 1)),
				 errhint("Appoint somebody with courier_pii.appoint().")));
}

/* ---- leaving ---- */

/* the person leaves now; the row is locked and SPI connected */
static void
take_leave(CpiiPerson *person, const char *status, const char *reason)
{
	bool		departed = strcmp(status, "departed") == 0;
	Oid		   *roles;
	int			count;

	person->status = pstrdup(status);
	cpii_update_status(person, reason);
	cpii_roster_announce(person->staff_no);

	roles = own_accounts(person->staff_no, &count);
	for (int i = 0; i < count; i++)
	{
		alter_role(roles[i], "NOLOGIN");
		if (!departed)
			continue;
		warn_of_last_holder(roles[i]);
		cpii_password_take(roles[i], "departure");
		(void) cpii_membership_take(roles[i], person->staff_no, "departure");
	}
	if (departed)
	{
		const char *texts[3];

		texts[0] = person->staff_no;
		texts[1] = timestamptz_to_str(person->departed_at);
		texts[2] = cpii_session_actor()->login_name;
		cpii_person_run("UPDATE courier_pii.post_register SET to_at = pg_catalog.statement_timestamp()"
				 " WHERE staff_no = $1 AND to_at IS NULL", 1, texts);
		cpii_person_run("INSERT INTO courier_pii.leaver_case (staff_no, effective_at, opened_by, sessions)"
				 " SELECT $1, $2::pg_catalog.timestamptz, $3::pg_catalog.name,"
				 " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_activity(NULL) g"
				 " JOIN courier_pii.account_register a ON a.login_role = g.usesysid"
				 " WHERE a.staff_no = $1 AND a.kind <> 'service')"
				 " ON CONFLICT DO NOTHING", 3, texts);
	}
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (person->staff_no, person->status);
}

bool
cpii_leaver_depart(const char *staff_no, const char *reason)
{
	CpiiPerson	person;

	cpii_get_person(staff_no, &person);
	if (strcmp(person.status, "departed") == 0)
		return false;
	person.departed_at = Min(person.departed_at, GetCurrentTimestamp());
	take_leave(&person, "departed", reason);
	return true;
}

void
cpii_leaver_depart_at(const char *staff_no, TimestampTz effective,
					  const char *reason)
{
	CpiiPerson	person;

	cpii_get_person(staff_no, &person);
	person.departed_at = effective;
	cpii_update_status(&person, reason);
	cpii_roster_announce(staff_no);
}

void
cpii_leaver_suspend(const char *staff_no, const char *reason)
{
	CpiiPerson	person;

	cpii_get_person(staff_no, &person);
	if (strcmp(person.status, "active") != 0)
		return;
	take_leave(&person, "suspended", reason);
	cpii_audit_note(CPII_ACT_ACCOUNT, "suspend", "ok",
					cpii_json_pairs("staff_no", staff_no, "cause", reason, NULL));
}

Datum
cpii_depart(PG_FUNCTION_ARGS)
{
	CpiiPerson		person;
	char	   *staff_no;
	char	   *reason;
	TimestampTz effective;
	bool		now;

	cpii_require_duty("pii_account_admin");
	staff_no = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("effective must not be null")));
	effective = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(effective))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("effective must be a finite time")));
	reason = cpii_text_or_null(fcinfo, 2);
	now = effective <= cpii_roster_now();

	SPI_connect();
	cpii_get_person(staff_no, &person);
	if (strcmp(person.status, "departed") == 0)
	{
		/* two administrators at once, or a feed again: nothing to do */
		ereport(NOTICE,
				(errmsg("staff number \"%s\" has already departed", staff_no)));
		SPI_finish();
		PG_RETURN_VOID();
	}
	if (!now && person.departed_at < effective)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("departure of staff number \"%s\" is already set for an earlier time",
						staff_no),
				 errdetail("A departure can be moved forward, not put off.")));

	if (now)
	{
		person.departed_at = effective;
		take_leave(&person, "departed", reason);
	}
	else
		cpii_leaver_depart_at(staff_no, effective, reason);
	cpii_audit_note(CPII_ACT_ACCOUNT, "depart", "ok",
					cpii_json_pairs("staff_no", staff_no, "effective",
								timestamptz_to_str(effective), NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_suspend(PG_FUNCTION_ARGS)
{
	CpiiPerson		person;
	char	   *staff_no;

	cpii_require_duty("pii_account_admin");
	staff_no = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);

	SPI_connect();
	cpii_get_person(staff_no, &person);
	if (strcmp(person.status, "active") != 0)
		ereport(NOTICE,
				(errmsg("staff number \"%s\" is already %s", staff_no,
						person.status)));
	else
	{
		take_leave(&person, "suspended", cpii_text_or_null(fcinfo, 1));
		cpii_audit_note(CPII_ACT_ACCOUNT, "suspend", "ok",
						cpii_json_pairs("staff_no", staff_no, NULL));
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- giving back ---- */

Datum
cpii_reinstate(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	const char *texts[2];
	bool		departed;
	Oid		   *roles;
	int			count;
	int64		ticket;
	char		ticket_text[32];

	cpii_require_duty("pii_account_admin");
	texts[0] = cpii_code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[1] = cpii_session_actor()->login_name;

	SPI_connect();
	cpii_get_person(texts[0], &person);
	departed = strcmp(person.status, "departed") == 0;
	if (strcmp(person.status, "active") == 0 &&
		TIMESTAMP_IS_NOEND(person.departed_at))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("staff number \"%s\" is at work", texts[0])));
	if (cpii_person_run("WITH RECURSIVE up (code, parent, ends) AS ("
				 " SELECT o.code, o.parent, o.contract_end FROM courier_pii.org_register o"
				 " JOIN courier_pii.staff_register s ON s.org = o.code WHERE s.staff_no = $1"
				 " UNION SELECT o.code, o.parent, o.contract_end"
				 " FROM courier_pii.org_register o JOIN up u ON o.code = u.parent)"
				 " SELECT u.code FROM up u WHERE u.ends <= pg_catalog.clock_timestamp()",
				 1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("contract with the unit of staff number \"%s\" has ended",
						texts[0]),
				 errhint("Set a new end with courier_pii.set_org_contract(), or transfer the person.")));
	ticket = cpii_require_ticket("reinstate", texts[0], false);

	cpii_person_run("UPDATE courier_pii.staff_register SET status = 'active',"
			 " departed_at = NULL, active_since = pg_catalog.statement_timestamp(),"
			 " changed_at = pg_catalog.statement_timestamp(), changed_by = $2::pg_catalog.name"
			 " WHERE staff_no = $1", 2, texts);
	if (departed)
	{
		cpii_person_run("UPDATE courier_pii.account_register SET must_change = true"
				 " WHERE staff_no = $1 AND kind <> 'service'", 1, texts);
		cpii_person_run("UPDATE courier_pii.leaver_case SET closed_at = pg_catalog.statement_timestamp(),"
				 " outcome = 'reinstated' WHERE staff_no = $1 AND closed_at IS NULL",
				 1, texts);
		cpii_person_run("INSERT INTO courier_pii.post_register (staff_no, org, post, changed_by)"
				 " SELECT s.staff_no, s.org, s.post, $2::pg_catalog.name"
				 " FROM courier_pii.staff_register s WHERE s.staff_no = $1"
				 " ON CONFLICT DO NOTHING", 2, texts);
	}
	/* the account of an old role that is gone is no account */
	cpii_person_run("DELETE FROM courier_pii.account_register a WHERE a.staff_no = $1"
			 " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.oid = a.login_role)",
			 1, texts);
	roles = own_accounts(person.staff_no, &count);
	for (int i = 0; i < count; i++)
		alter_role(roles[i], "LOGIN");
	cpii_roster_announce(person.staff_no);
	snprintf(ticket_text, sizeof(ticket_text), INT64_FORMAT, ticket);
	cpii_audit_note(CPII_ACT_ACCOUNT, "reinstate", "ok",
					cpii_json_pairs("staff_no", texts[0], "from", person.status,
									"ticket", ticket_text, NULL));
	if (departed)
		ereport(NOTICE,
				(errmsg("staff number \"%s\" has no password and no group roles",
						texts[0]),
				 errhint("Grant what the post needs; courier_pii.leaver_report() lists what was taken.")));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- what time brings ---- */

static char **
staff_list(uint64 count)
{
	char	  **staff = palloc(Max(count, 1) * sizeof(char *));

	for (uint64 i = 0; i < count; i++)
		staff[i] = cpii_result_text(i, 1);
	return staff;
}

/* complete departures whose time has come */
static void
lapse_departures(const char *now)
{
	uint64		count = cpii_person_run("SELECT s.staff_no FROM courier_pii.staff_register s"
								 " WHERE s.status <> 'departed'"
								 " AND s.departed_at <= $1::pg_catalog.timestamptz"
								 " LIMIT " CppAsString2(LAPSE_BATCH)
								 " FOR UPDATE SKIP LOCKED", 1, &now);
	char	  **staff = staff_list(count);

	for (uint64 i = 0; i < count; i++)
	{
		(void) cpii_leaver_depart(staff[i], NULL);
		cpii_audit_note(CPII_ACT_ACCOUNT, "depart", "ok",
						cpii_json_pairs("staff_no", staff[i], "cause",
										"time has come", NULL));
	}
}

/* suspend the people of units whose contract has ended */
static void
lapse_contracts(const char *now)
{
	uint64		count = cpii_person_run("WITH RECURSIVE ended (code) AS ("
								 " SELECT o.code FROM courier_pii.org_register o"
								 " WHERE o.contract_end <= $1::pg_catalog.timestamptz"
								 " UNION SELECT o.code FROM courier_pii.org_register o"
								 " JOIN ended e ON o.parent = e.code)"
								 " SELECT s.staff_no FROM courier_pii.staff_register s"
								 " WHERE s.status = 'active'"
								 " AND s.org IN (SELECT e.code FROM ended e)"
								 " LIMIT " CppAsString2(LAPSE_BATCH)
								 " FOR UPDATE OF s SKIP LOCKED", 1, &now);
	char	  **staff = staff_list(count);

	for (uint64 i = 0; i < count; i++)
		cpii_leaver_suspend(staff[i], "contract has ended");
}

/*
 * Suspend people who have not logged in for long.  More than a feed may
 * disable is a mistake (a clock, a server that was off) until somebody looks.
 */
static void
lapse_inactive(const char *now)
{
	static TimestampTz warned_at = 0;
	const char *texts[2];
	uint64		count;
	uint64		brake;
	char	  **staff;

	if (cpii_inactive_days == 0)
		return;
	texts[0] = now;
	texts[1] = psprintf("%d", cpii_inactive_days);
	cpii_person_run("UPDATE courier_pii.account_register a SET last_login_at = t.last_login_at"
			 " FROM courier_pii.account_states() t WHERE t.login_role = a.login_role"
			 " AND t.last_login_at > coalesce(a.last_login_at, '-infinity') + '1 hour'::pg_catalog.interval",
			 0, NULL);
	cpii_person_run("SELECT pg_catalog.count(*) FROM courier_pii.staff_register s"
			 " WHERE s.status = 'active'", 0, NULL);
	brake = cpii_result_int64(0, 1);
	brake = Max((uint64) cpii_feed_brake_floor,
				brake * (uint64) cpii_feed_brake_percent / 100);
	count = cpii_person_run("SELECT s.staff_no FROM courier_pii.staff_register s"
					 " WHERE s.status = 'active' AND s.login_role IS NOT NULL"
					 " AND s.active_since < $1::pg_catalog.timestamptz - $2::pg_catalog.int4 * '1 day'::pg_catalog.interval"
					 " AND NOT EXISTS (SELECT 1 FROM courier_pii.account_register a"
					 " LEFT JOIN courier_pii.account_states() t ON t.login_role = a.login_role"
					 " WHERE a.staff_no = s.staff_no AND a.kind <> 'service'"
					 " AND (greatest(a.last_login_at, t.last_login_at, a.added_at)"
					 " >= $1::pg_catalog.timestamptz - $2::pg_catalog.int4 * '1 day'::pg_catalog.interval"
					 " OR EXISTS (SELECT 1 FROM pg_catalog.pg_stat_get_activity(NULL) g"
					 " WHERE g.usesysid = a.login_role)))"
					 " FOR UPDATE OF s SKIP LOCKED", 2, texts);
	if (count > brake)
	{
		TimestampTz current = GetCurrentTimestamp();

		if (warned_at == 0 || current > warned_at + USECS_PER_DAY)
		{
			warned_at = current;
			ereport(WARNING,
					(errcode(ERRCODE_WARNING),
					 errmsg("people without a login for %d days are not suspended: there are " UINT64_FORMAT " of them",
							cpii_inactive_days, count),
					 errhint("Suspend them by hand, or raise \"courier_pii.hr_feed_brake_percent\".")));
		}
		return;
	}
	staff = staff_list(count);
	for (uint64 i = 0; i < count; i++)
		cpii_leaver_suspend(staff[i], "inactive");
}

/* the worker's task; it gives us a transaction and catches errors */
static void
lapse_task(void)
{
	static int	round = 0;
	const char *now;

	if (cpii_roster_table == NULL || RecoveryInProgress() ||
		!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("account_register", true)))
		return;
	/* the mark does not follow a clock that jumps ahead */
	(void) cpii_roster_now();
	now = pstrdup(timestamptz_to_str((TimestampTz)
									 pg_atomic_read_u64(&cpii_roster_table->clock_mark)));
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	lapse_departures(now);
	lapse_contracts(now);
	if (round++ % 6 == 0)
	{
		lapse_inactive(now);
		cpii_feed_alarm(now);
		cpii_posture_note_timeline();
		cpii_password_find_unexplained();
	}
	SPI_finish();
	PopActiveSnapshot();
}

void
cpii_leaver_init(void)
{
	cpii_worker_register_task(lapse_task, LAPSE_INTERVAL_MS);
}
