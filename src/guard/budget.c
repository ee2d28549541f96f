/*-------------------------------------------------------------------------
 *
 * budget.c
 *	  set_budget(): limits of the budgets beside clear values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "policy/catalog.h"

PG_FUNCTION_INFO_V1(cpii_set_budget);
CPII_EXPORT Datum cpii_set_budget(PG_FUNCTION_ARGS);

static const char *const limit_names[3] = {"per_statement", "per_hour", "per_day"};

static void
check_arguments(FunctionCallInfo fcinfo, CpiiBudget *budget)
{
	char	   *kind;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameter \"%s\" must not be null",
							i == 0 ? "grantee" : "kind")));
	kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!cpii_budget_by_name(kind, budget) || *budget == CPII_BUDGET_CLEAR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized budget \"%s\"", kind),
				 errhint("Valid budgets are probes, masked, sealed; use courier_pii.set_limit for clear values.")));
	if (superuser_arg(PG_GETARG_OID(0)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_GRANT_OPERATION),
				 errmsg("superuser role \"%s\" cannot be granted budgets",
						GetUserNameFromId(PG_GETARG_OID(0), false))));
	for (int i = 2; i < 5; i++)
		if (!PG_ARGISNULL(i) && PG_GETARG_INT64(i) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("limit must not be negative"),
					 errhint("Use null for no limit.")));
}

/* set_budget(grantee, kind, per_statement, per_hour, per_day) */
Datum
cpii_set_budget(PG_FUNCTION_ARGS)
{
	CpiiBudget	budget;
	char	   *role;
	int64		wanted[3];
	Oid			types[6] = {REGROLEOID, TEXTOID, INT8OID, INT8OID, INT8OID, NAMEOID};
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	NameData	set_by;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	check_arguments(fcinfo, &budget);
	role = GetUserNameFromId(PG_GETARG_OID(0), false);
	for (int i = 0; i < 3; i++)
		wanted[i] = PG_ARGISNULL(i + 2) ? -1 : PG_GETARG_INT64(i + 2);
	if (cpii_duties_sealed() && cpii_limits_raised(PG_GETARG_OID(0), budget, wanted))
		(void) cpii_require_ticket("policy",
								   psprintf("%s/budget/%s/%s", role, cpii_budget_name(budget),
											cpii_limits_text(wanted)), false);
	SPI_connect();
	for (int i = 0; i < 5; i++)
	{
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	namestrcpy(&set_by, cpii_session_actor()->login_name);
	values[5] = NameGetDatum(&set_by);
	cpii_internal_execute("INSERT INTO courier_pii.budget AS b"
						  " (grantee, kind, per_statement, per_hour, per_day, set_by)"
						  " VALUES ($1, $2, $3, $4, $5, $6)"
						  " ON CONFLICT (grantee, kind) DO UPDATE SET"
						  " per_statement = excluded.per_statement,"
						  " per_hour = excluded.per_hour,"
						  " per_day = excluded.per_day,"
						  " set_by = excluded.set_by,"
						  " set_at = pg_catalog.now()",
						  6, types, values, nulls, false, 0);
	SPI_finish();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"grantee\": ");
	escape_json(&detail, role);
	appendStringInfo(&detail, ", \"kind\": \"%s\"", cpii_budget_name(budget));
	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i + 2))
			appendStringInfo(&detail, ", \"%s\": null", limit_names[i]);
		else
			appendStringInfo(&detail, ", \"%s\": " INT64_FORMAT, limit_names[i],
							 PG_GETARG_INT64(i + 2));
	}
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, "set_budget", "ok", detail.data);
	PG_RETURN_VOID();
}
