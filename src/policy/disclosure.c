/*-------------------------------------------------------------------------
 *
 * disclosure.c
 *	  Functions that change who may see what and how much.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/matrix.h"
#include "policy/policy.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_grant_disclosure);
PG_FUNCTION_INFO_V1(cpii_revoke_disclosure);
PG_FUNCTION_INFO_V1(cpii_set_limit);
PG_FUNCTION_INFO_V1(cpii_class_name_sql);
CPII_EXPORT Datum cpii_grant_disclosure(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_revoke_disclosure(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_limit(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_class_name_sql(PG_FUNCTION_ARGS);

/* the role's name; refuses roles that do not exist and superusers */
static char *
grantee_name(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	return name;
}

static void
refuse_superuser(Oid role, const char *name)
{
	if (superuser_arg(role))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_GRANT_OPERATION),
				 errmsg("superuser role \"%s\" cannot be granted disclosures or limits", name),
				 errhint("Grant to a role that is not a superuser.")));
}

static void
required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null", name)));
}

static void
note(const char *command, StringInfo detail)
{
	cpii_audit_note(CPII_ACT_POLICY, command, "ok", detail->data);
}

/*
 * A ticket that names exactly what is granted, such as
 * "express_service/phone/clear/searchable/public.waybill.recv_phone".
 */
static void
require_policy_ticket(FunctionCallInfo fcinfo, const char *role_name,
					  int class_id, const char *level_name, bool searchable)
{
	StringInfoData object;

	initStringInfo(&object);
	appendStringInfo(&object, "%s/%s/%s%s", role_name, cpii_class_name(class_id),
					 level_name, searchable ? "/searchable" : "");
	if (!PG_ARGISNULL(4))
	{
		/* in UTC, whatever the sessions of requester and user are set to */
		pg_time_t	until = timestamptz_to_time_t(PG_GETARG_TIMESTAMPTZ(4));
		struct pg_tm *tm = pg_gmtime(&until);

		appendStringInfo(&object, "/until %04d-%02d-%02dT%02d:%02d:%02dZ",
						 tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday,
						 tm->tm_hour, tm->tm_min, tm->tm_sec);
	}
	if (!PG_ARGISNULL(5))
		appendStringInfo(&object, "/%s.%s", cpii_qualified_name(PG_GETARG_OID(5)),
						 quote_identifier(NameStr(*PG_GETARG_NAME(6))));
	(void) cpii_require_ticket("policy", object.data, false);
}

/* grant_disclosure(grantee, class, level, searchable, valid_until, tbl, col) */
Datum
cpii_grant_disclosure(PG_FUNCTION_ARGS)
{
	Oid			role;
	char	   *role_name;
	int			class_id;
	char	   *level_name;
	CpiiLevel	level;
	bool		searchable;
	Oid			types[8] = {REGROLEOID, INT4OID, TEXTOID, BOOLOID, TIMESTAMPTZOID, REGCLASSOID, NAMEOID, NAMEOID};
	Datum		values[8];
	char		nulls[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	NameData	granted_by;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	required(fcinfo, 0, "grantee");
	required(fcinfo, 1, "class");
	required(fcinfo, 2, "level");
	role = PG_GETARG_OID(0);
	role_name = grantee_name(role);
	refuse_superuser(role, role_name);
	class_id = cpii_class_by_name_or_error(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	level_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!cpii_level_by_name(level_name, &level))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized disclosure level \"%s\"", level_name),
				 errhint("Valid levels are clear, scoped, label, masked, token, hidden.")));
	searchable = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);

	if (PG_ARGISNULL(5) != PG_ARGISNULL(6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a disclosure for one column needs both table and column")));
	if (!PG_ARGISNULL(5))
	{
		Oid			relid = PG_GETARG_OID(5);
		char	   *col = NameStr(*PG_GETARG_NAME(6));
		AttrNumber	attnum;
		int			col_class;

		if (get_rel_name(relid) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation with OID %u does not exist", relid)));
		attnum = get_attnum(relid, col);
		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							col, get_rel_name(relid))));
		col_class = cpii_class_of_type(get_atttype(relid, attnum), -1);
		if (col_class != 0 && col_class != class_id)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" of relation \"%s\" is of class \"%s\", not \"%s\"",
							col, get_rel_name(relid),
							cpii_class_name(col_class),
							cpii_class_name(class_id))));
	}

	if (level != CPII_LEVEL_HIDDEN || searchable)
		require_policy_ticket(fcinfo, role_name, class_id, level_name, searchable);

	namestrcpy(&granted_by, cpii_session_actor()->login_name);
	values[0] = ObjectIdGetDatum(role);
	values[1] = Int32GetDatum(class_id);
	values[2] = CStringGetTextDatum(level_name);
	values[3] = BoolGetDatum(searchable);
	for (int i = 4; i <= 6; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[7] = NameGetDatum(&granted_by);

	SPI_connect();
	cpii_internal_execute("DELETE FROM courier_pii.disclosure d"
						  " WHERE d.grantee = $1 AND d.class = $2"
						  " AND d.tbl IS NOT DISTINCT FROM $6"
						  " AND d.col IS NOT DISTINCT FROM $7",
						  8, types, values, nulls, false, 0);
	cpii_internal_execute("INSERT INTO courier_pii.disclosure"
						  " (grantee, class, level, searchable, valid_until, tbl, col, granted_by)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
						  8, types, values, nulls, false, 0);
	SPI_finish();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"grantee\": ");
	escape_json(&detail, role_name);
	appendStringInfo(&detail, ", \"class\": \"%s\", \"level\": \"%s\", \"searchable\": %s",
					 cpii_class_name(class_id), level_name,
					 searchable ? "true" : "false");
	if (!PG_ARGISNULL(5))
	{
		appendStringInfoString(&detail, ", \"table\": ");
		escape_json(&detail, cpii_qualified_name(PG_GETARG_OID(5)));
		appendStringInfoString(&detail, ", \"column\": ");
		escape_json(&detail, NameStr(*PG_GETARG_NAME(6)));
	}
	appendStringInfoChar(&detail, '}');
	note("grant_disclosure", &detail);
	PG_RETURN_VOID();
}

/* revoke_disclosure(grantee, class, tbl, col): taking away is free of tickets */
Datum
cpii_revoke_disclosure(PG_FUNCTION_ARGS)
{
	Oid			role;
	char	   *role_name;
	int			class_id;
	Oid			types[4] = {REGROLEOID, INT4OID, REGCLASSOID, NAMEOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	uint64		gone;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	required(fcinfo, 0, "grantee");
	required(fcinfo, 1, "class");
	role = PG_GETARG_OID(0);
	role_name = grantee_name(role);
	class_id = cpii_class_by_name_or_error(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	values[0] = ObjectIdGetDatum(role);
	values[1] = Int32GetDatum(class_id);
	for (int i = 2; i <= 3; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	SPI_connect();
	cpii_internal_execute("DELETE FROM courier_pii.disclosure d"
						  " WHERE d.grantee = $1 AND d.class = $2"
						  " AND ($3 IS NULL OR d.tbl = $3)"
						  " AND ($4 IS NULL OR d.col = $4)"
						  " RETURNING d.level = 'hidden'",
						  4, types, values, nulls, false, 0);
	gone = SPI_processed;
	for (uint64 i = 0; i < gone; i++)
	{
		bool		isnull;

		/* an entry that hides wins over all others: without it more is shown */
		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc, 1, &isnull)))
		{
			(void) cpii_require_ticket("policy",
									   psprintf("%s/%s/not hidden", role_name,
												cpii_class_name(class_id)),
									   false);
			break;
		}
	}
	SPI_finish();
	if (gone == 0)
		ereport(NOTICE,
				(errmsg("role \"%s\" has no disclosure of class \"%s\"",
						role_name, cpii_class_name(class_id))));
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"grantee\": ");
	escape_json(&detail, role_name);
	appendStringInfo(&detail, ", \"class\": \"%s\", \"entries\": " UINT64_FORMAT "}",
					 cpii_class_name(class_id), gone);
	note("revoke_disclosure", &detail);
	PG_RETURN_VOID();
}

/* set_limit(grantee, per_statement, per_hour, per_day); null = unlimited */
Datum
cpii_set_limit(PG_FUNCTION_ARGS)
{
	Oid			role;
	char	   *role_name;
	int64		wanted[3];
	Oid			types[5] = {REGROLEOID, INT8OID, INT8OID, INT8OID, NAMEOID};
	Datum		values[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};
	NameData	set_by;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	required(fcinfo, 0, "grantee");
	role = PG_GETARG_OID(0);
	role_name = grantee_name(role);
	refuse_superuser(role, role_name);
	values[0] = ObjectIdGetDatum(role);
	for (int i = 1; i <= 3; i++)
	{
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		if (!PG_ARGISNULL(i) && PG_GETARG_INT64(i) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("limit must not be negative"),
					 errhint("Use null for no limit.")));
		wanted[i - 1] = PG_ARGISNULL(i) ? -1 : PG_GETARG_INT64(i);
	}
	if (cpii_duties_sealed() && cpii_limits_raised(role, CPII_BUDGET_CLEAR, wanted))
		(void) cpii_require_ticket("policy",
								   psprintf("%s/limit/%s", role_name, cpii_limits_text(wanted)),
								   false);
	namestrcpy(&set_by, cpii_session_actor()->login_name);
	values[4] = NameGetDatum(&set_by);
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.disclosure_limit AS l"
						  " (grantee, per_statement, per_hour, per_day, set_by)"
						  " VALUES ($1, $2, $3, $4, $5)"
						  " ON CONFLICT (grantee) DO UPDATE SET"
						  " per_statement = excluded.per_statement,"
						  " per_hour = excluded.per_hour,"
						  " per_day = excluded.per_day,"
						  " set_by = excluded.set_by,"
						  " set_at = pg_catalog.now()",
						  5, types, values, nulls, false, 0);
	SPI_finish();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"grantee\": ");
	escape_json(&detail, role_name);
	for (int i = 1; i <= 3; i++)
	{
		static const char *const names[] = {"", "per_statement", "per_hour", "per_day"};

		if (PG_ARGISNULL(i))
			appendStringInfo(&detail, ", \"%s\": null", names[i]);
		else
			appendStringInfo(&detail, ", \"%s\": " INT64_FORMAT, names[i],
							 PG_GETARG_INT64(i));
	}
	appendStringInfoChar(&detail, '}');
	note("set_limit", &detail);
	PG_RETURN_VOID();
}

/* class_name(int4): the name of a class number */
Datum
cpii_class_name_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(cpii_class_name(PG_GETARG_INT32(0))));
}

void
cpii_require_table_duty(Oid relid)
{
	cpii_require_preload();
	if (cpii_class_ownercheck(relid, GetUserId()))
		return;
	cpii_require_duty("pii_security_admin");
}

char *
cpii_qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}
