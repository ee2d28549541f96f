/*-------------------------------------------------------------------------
 *
 * register.c
 *	  The registers of organisation units and staff, and the SQL functions
 *	  that change them.
 *
 * A person is keyed by staff number, an account by role OID.  No function
 * here creates or drops a role.  Taking rights away keeps the password, so
 * that a login with the right password is told PI005 and nothing else.
 *
 * Every changing function: duty first, then the checks, then the pending
 * denial in shared memory, then catalog and register, then the record.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "people/register.h"
#include "people/roster.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_add_org(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_hire(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_depart(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_suspend(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_transfer(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_appoint(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_add_org);
PG_FUNCTION_INFO_V1(cpii_hire);
PG_FUNCTION_INFO_V1(cpii_depart);
PG_FUNCTION_INFO_V1(cpii_suspend);
PG_FUNCTION_INFO_V1(cpii_transfer);
PG_FUNCTION_INFO_V1(cpii_appoint);

/* one person of the staff register, palloc'd */
typedef struct Person
{
	char	   *staff_no;
	Oid			login;			/* InvalidOid: has no login */
	char	   *org;
	char	   *post;
	char	   *client;
	char	   *status;
	TimestampTz departed_at;	/* DT_NOEND: not set */
} Person;

/* ---- arguments ---- */

static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* a code that becomes a key: present, not empty, short enough for the roster */
static char *
code_argument(FunctionCallInfo fcinfo, int n, const char *name, int room)
{
	char	   *value = text_or_null(fcinfo, n);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	if (value[0] == '\0' || value[0] == ' ' || value[strlen(value) - 1] == ' ')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty or begin or end with a space",
						name)));
	if ((int) strlen(value) >= room)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("At most %d bytes are possible.", room - 1)));
	return value;
}

static char *
required_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	return code_argument(fcinfo, n, name, 256);
}

/* '{"key": "value", ...}' from pairs of strings, ended by NULL */
static char *
json_pairs(const char *key,...)
{
	StringInfoData buf;
	va_list		args;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	va_start(args, key);
	for (const char *k = key; k != NULL; k = va_arg(args, const char *))
	{
		const char *value = va_arg(args, const char *);

		if (buf.len > 1)
			appendStringInfoString(&buf, ", ");
		escape_json(&buf, k);
		appendStringInfoString(&buf, ": ");
		if (value != NULL)
			escape_json(&buf, value);
		else
			appendStringInfoString(&buf, "null");
	}
	va_end(args);
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* ---- statements ---- */

/* run a statement whose parameters are texts; NULL is null */
static uint64
run(const char *sql, int nargs, const char **texts)
{
	Oid			types[8];
	Datum		values[8];
	char		nulls[8];

	Assert(nargs <= 8);
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = texts[i] ? ' ' : 'n';
		values[i] = texts[i] ? CStringGetTextDatum(texts[i]) : (Datum) 0;
	}
	cpii_internal_execute(sql, nargs, types, values, nulls, false, 0);
	return SPI_processed;
}

static void
require_org(const char *code, const char *argument)
{
	if (run("SELECT 1 FROM courier_pii.org_register o WHERE o.code = $1",
			1, &code) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("organisation unit given as %s does not exist",
						argument),
				 errhint("See the view courier_pii.org_units, or add it with courier_pii.add_org().")));
}

/* lock the person's row and read it; the result outlives nothing but SPI */
static void
get_person(const char *staff_no, Person *person)
{
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;
	Datum		value;

	if (run("SELECT s.login_role::pg_catalog.oid, s.org, s.post,"
			" s.details ->> 'client', s.status, s.departed_at"
			" FROM courier_pii.staff_register s WHERE s.staff_no = $1"
			" FOR UPDATE", 1, &staff_no) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("staff number does not exist"),
				 errhint("See the view courier_pii.staff for the numbers in use.")));
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	person->staff_no = pstrdup(staff_no);
	value = SPI_getbinval(row, desc, 1, &isnull);
	person->login = isnull ? InvalidOid : DatumGetObjectId(value);
	person->org = SPI_getvalue(row, desc, 2);
	person->post = SPI_getvalue(row, desc, 3);
	person->client = SPI_getvalue(row, desc, 4);
	person->status = SPI_getvalue(row, desc, 5);
	value = SPI_getbinval(row, desc, 6, &isnull);
	person->departed_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* announce the person's account to shared memory, as it will be */
static void
announce(const Person *person)
{
	RosterAccount account;

	if (!OidIsValid(person->login))
		return;
	memset(&account, 0, sizeof(account));
	account.role = person->login;
	account.denied = strcmp(person->status, "active") != 0;
	account.not_after = person->departed_at;
	strlcpy(account.staff_no, person->staff_no, sizeof(account.staff_no));
	strlcpy(account.org, person->org, sizeof(account.org));
	strlcpy(account.client, person->client ? person->client : "",
			sizeof(account.client));
	cpii_roster_change(&account);
}

/* ALTER ROLE ... NOLOGIN, unless the role is gone or cannot log in anyway */
static void
forbid_login(Oid role)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;
	char	   *sql = NULL;

	if (!HeapTupleIsValid(tup))
		return;
	form = (Form_pg_authid) GETSTRUCT(tup);
	if (form->rolcanlogin)
		sql = psprintf("ALTER ROLE %s NOLOGIN",
					   quote_identifier(NameStr(form->rolname)));
	ReleaseSysCache(tup);
	if (sql != NULL)
		cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
}

/* write status, time and reason of a person whose rights are taken away */
static void
update_status(const Person *person, const char *reason)
{
	const char *texts[5];

	texts[0] = person->staff_no;
	texts[1] = person->status;
	texts[2] = TIMESTAMP_IS_NOEND(person->departed_at) ? NULL
		: timestamptz_to_str(person->departed_at);
	texts[3] = reason;
	texts[4] = cpii_session_actor()->login_name;
	run("UPDATE courier_pii.staff_register SET status = $2,"
		" departed_at = $3::pg_catalog.timestamptz,"
		" reason = coalesce($4, reason),"
		" changed_at = pg_catalog.statement_timestamp(), changed_by = $5::pg_catalog.name"
		" WHERE staff_no = $1", 5, texts);
}

/* ---- organisation units ---- */

Datum
cpii_add_org(PG_FUNCTION_ARGS)
{
	const char *texts[4];

	cpii_require_duty("pii_account_admin");
	texts[0] = code_argument(fcinfo, 0, "code", CPII_ORG_LEN);
	texts[1] = required_text(fcinfo, 1, "name");
	texts[2] = required_text(fcinfo, 2, "kind");
	texts[3] = text_or_null(fcinfo, 3);

	SPI_connect();
	if (texts[3] != NULL)
		require_org(texts[3], "parent");
	if (run("INSERT INTO courier_pii.org_register (code, name, kind, parent)"
			" VALUES ($1, $2, $3, $4) ON CONFLICT (code) DO NOTHING",
			4, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("organisation unit \"%s\" already exists", texts[0])));
	cpii_audit_note(CPII_ACT_ACCOUNT, "add_org", "ok",
					json_pairs("code", texts[0], "kind", texts[2],
								"parent", texts[3], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- people ---- */

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
	Person		person;
	const char *texts[7];
	char	   *details = "{}";
	char		login_text[16];

	cpii_require_duty("pii_account_admin");
	memset(&person, 0, sizeof(person));
	person.staff_no = code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[0] = person.staff_no;
	texts[1] = required_text(fcinfo, 1, "display_name");
	texts[3] = person.org = code_argument(fcinfo, 3, "org", CPII_ORG_LEN);
	texts[4] = text_or_null(fcinfo, 4);
	if (!PG_ARGISNULL(5))
	{
		Jsonb	   *json = PG_GETARG_JSONB_P(5);

		if (!JB_ROOT_IS_OBJECT(json))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("details must be a JSON object")));
		details = JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
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
	require_org(person.org, "org");
	if (run("SELECT 1 FROM courier_pii.staff_register s WHERE s.staff_no = $1",
			1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("staff number \"%s\" already exists", texts[0]),
				 errhint("A person who comes back is reinstated, not hired again.")));
	if (texts[2] != NULL &&
		run("SELECT 1 FROM courier_pii.staff_register s"
			" WHERE s.login_role = $1::pg_catalog.oid", 1, &texts[2]) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("role \"%s\" already belongs to a person",
						GetUserNameFromId(person.login, true)),
				 errhint("Give each person a role of their own; the role of a person who left is not used again.")));
	/* two at once: the unique constraints decide */
	run("INSERT INTO courier_pii.staff_register"
		" (staff_no, display_name, login_role, org, post, details, changed_by)"
		" VALUES ($1, $2, $3::pg_catalog.oid, $4, $5, $6::pg_catalog.jsonb,"
		" $7::pg_catalog.name)", 7, texts);
	get_person(person.staff_no, &person);
	if (person.client != NULL && strlen(person.client) >= ROSTER_CLIENT_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("client in details is too long"),
				 errdetail("At most %d bytes are possible.",
						   ROSTER_CLIENT_LEN - 1)));
	announce(&person);
	cpii_audit_note(CPII_ACT_ACCOUNT, "hire", "ok",
					json_pairs("staff_no", texts[0], "org", texts[3],
								"post", texts[4], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

/* the person leaves now; the row is locked and SPI connected */
static void
take_leave(Person *person, const char *status, const char *reason)
{
	person->status = pstrdup(status);
	announce(person);
	if (OidIsValid(person->login))
		forbid_login(person->login);
	update_status(person, reason);
}

Datum
cpii_depart(PG_FUNCTION_ARGS)
{
	Person		person;
	char	   *staff_no;
	char	   *reason;
	TimestampTz effective;
	bool		now;

	cpii_require_duty("pii_account_admin");
	staff_no = code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("effective must not be null")));
	effective = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(effective))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("effective must be a finite time")));
	reason = text_or_null(fcinfo, 2);
	now = effective <= GetCurrentTimestamp();

	SPI_connect();
	get_person(staff_no, &person);
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

	person.departed_at = effective;
	if (now)
		take_leave(&person, "departed", reason);
	else
	{
		announce(&person);
		update_status(&person, reason);
	}
	cpii_audit_note(CPII_ACT_ACCOUNT, "depart", "ok",
					json_pairs("staff_no", staff_no, "effective",
								timestamptz_to_str(effective), NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_suspend(PG_FUNCTION_ARGS)
{
	Person		person;
	char	   *staff_no;

	cpii_require_duty("pii_account_admin");
	staff_no = code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);

	SPI_connect();
	get_person(staff_no, &person);
	if (strcmp(person.status, "active") != 0)
		ereport(NOTICE,
				(errmsg("staff number \"%s\" is already %s", staff_no,
						person.status)));
	else
	{
		take_leave(&person, "suspended", text_or_null(fcinfo, 1));
		cpii_audit_note(CPII_ACT_ACCOUNT, "suspend", "ok",
						json_pairs("staff_no", staff_no, NULL));
	}
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_transfer(PG_FUNCTION_ARGS)
{
	Person		person;
	const char *texts[4];

	cpii_require_duty("pii_account_admin");
	texts[0] = code_argument(fcinfo, 0, "staff_no", CPII_STAFF_NO_LEN);
	texts[1] = code_argument(fcinfo, 1, "org", CPII_ORG_LEN);
	texts[2] = text_or_null(fcinfo, 2);
	texts[3] = cpii_session_actor()->login_name;

	SPI_connect();
	get_person(texts[0], &person);
	if (strcmp(person.status, "departed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("staff number \"%s\" has departed", texts[0])));
	require_org(texts[1], "org");
	run("UPDATE courier_pii.staff_register SET org = $2,"
		" post = coalesce($3, post),"
		" changed_at = pg_catalog.statement_timestamp(), changed_by = $4::pg_catalog.name"
		" WHERE staff_no = $1", 4, texts);
	person.org = pstrdup(texts[1]);
	announce(&person);
	cpii_audit_note(CPII_ACT_ACCOUNT, "transfer", "ok",
					json_pairs("staff_no", texts[0], "org", texts[1],
								"post", texts[2], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

void
cpii_register_lapse(void)
{
	char	  **staff;
	uint64		count;

	if (!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("staff_register", true)))
		return;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	count = run("SELECT s.staff_no FROM courier_pii.staff_register s"
				" WHERE s.status <> 'departed'"
				" AND s.departed_at <= pg_catalog.clock_timestamp()"
				" FOR UPDATE SKIP LOCKED", 0, NULL);
	staff = palloc(Max(count, 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		staff[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	for (uint64 i = 0; i < count; i++)
	{
		Person		person;

		get_person(staff[i], &person);
		take_leave(&person, "departed", NULL);
		cpii_audit_note(CPII_ACT_ACCOUNT, "depart", "ok",
						json_pairs("staff_no", staff[i], "cause",
									"time has come", NULL));
	}
	SPI_finish();
	PopActiveSnapshot();
}

/* ---- duties ---- */

/* the duties that exclude each other, and superuser */
static const char *const exclusive_duties[] = {
	"pii_security_admin", "pii_auditor", "pii_account_admin"
};

static bool
is_exclusive_duty(const char *duty)
{
	for (int i = 0; i < lengthof(exclusive_duties); i++)
		if (strcmp(duty, exclusive_duties[i]) == 0)
			return true;
	return false;
}

/*
 * Would anybody who is, or is a member of, the role then hold two duties, or a
 * duty and superuser?  Membership is followed through all groups and does not
 * count superuser power.
 */
static const char *const find_conflict =
"WITH RECURSIVE holder (oid) AS ("
" SELECT $2::pg_catalog.oid"
" UNION"
" SELECT m.member FROM pg_catalog.pg_auth_members m"
" JOIN holder h ON h.oid = m.roleid),"
" belongs (holder, oid) AS ("
" SELECT h.oid, h.oid FROM holder h"
" UNION"
" SELECT b.holder, m.roleid FROM pg_catalog.pg_auth_members m"
" JOIN belongs b ON b.oid = m.member)"
" SELECT pg_catalog.pg_get_userbyid(b.holder),"
" CASE WHEN r.rolsuper THEN 'superuser' ELSE r.rolname::pg_catalog.text END"
" FROM belongs b JOIN pg_catalog.pg_roles r ON r.oid = b.oid"
" WHERE r.rolsuper OR r.rolname <> $1 AND r.rolname IN"
" ('pii_security_admin', 'pii_auditor', 'pii_account_admin')"
" LIMIT 1";

Datum
cpii_appoint(PG_FUNCTION_ARGS)
{
	const char *texts[2];
	char		role_text[16];
	Oid			role;
	char	   *name;

	cpii_require_duty("pii_security_admin");
	texts[0] = required_text(fcinfo, 0, "duty");
	if (!is_exclusive_duty(texts[0]) && strcmp(texts[0], "pii_backup") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("duty \"%s\" does not exist", texts[0]),
				 errhint("The duties are pii_security_admin, pii_auditor, pii_account_admin and pii_backup.")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role must not be null")));
	role = PG_GETARG_OID(1);
	name = GetUserNameFromId(role, true);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	if (IsReservedName(name) || strncmp(name, "pii_", 4) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot be appointed", name),
				 errdetail("It is a group that rights are granted through.")));
	if (OidIsValid(cpii_roster_denied(role, role, role)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot be appointed", name),
				 errdetail("Its account is disabled.")));
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[1] = role_text;

	SPI_connect();
	if (is_exclusive_duty(texts[0]))
	{
		/* two appointments at once must see each other */
		run("LOCK TABLE pg_catalog.pg_auth_members IN SHARE ROW EXCLUSIVE MODE",
			0, NULL);
		if (run(find_conflict, 2, texts) > 0)
		{
			char	   *holder = SPI_getvalue(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 1);
			char	   *other = SPI_getvalue(SPI_tuptable->vals[0],
											 SPI_tuptable->tupdesc, 2);

			ereport(ERROR,
					(errcode(ERRCODE_INVALID_GRANT_OPERATION),
					 errmsg("role \"%s\" cannot be appointed to duty \"%s\"",
							name, texts[0]),
					 errdetail("Role \"%s\" holds \"%s\", which excludes it.",
							   holder, other),
					 errhint("Appoint another person.")));
		}
	}
	run(psprintf("GRANT %s TO %s", quote_identifier(texts[0]),
				 quote_identifier(name)), 0, NULL);
	cpii_audit_note(CPII_ACT_ACCOUNT, "appoint", "ok",
					json_pairs("duty", texts[0], "role", name, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}
