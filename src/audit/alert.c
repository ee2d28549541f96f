/*-------------------------------------------------------------------------
 *
 * alert.c
 *	  Alerts: the worker's task, and the functions around rules and alerts.
 *
 * The rules are evaluated by alert_evaluate() over the records that came into
 * the table since the last time, a bounded number at a time.  What is sent out
 * has the number, kind and severity of an alert and nothing else: whoever wants
 * to know more asks the view alerts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"

#include "audit/alert.h"
#include "audit/record.h"
#include "audit/syslog.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"

#define INTERVAL_MS 1000
#define BATCHES 4
#define BATCH_RECORDS 5000

CPII_EXPORT Datum cpii_acknowledge_alert(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_alert_rule(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_drop_alert_rule(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_acknowledge_alert);
PG_FUNCTION_INFO_V1(cpii_set_alert_rule);
PG_FUNCTION_INFO_V1(cpii_drop_alert_rule);

static void
announce(const char *id, const char *kind, const char *severity)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	char	   *text = psprintf("{\"id\": %s, \"kind\": \"%s\", \"severity\": \"%s\"}",
								id, kind, severity);

	values[0] = CStringGetTextDatum(text);
	cpii_internal_execute("SELECT pg_catalog.pg_notify('courier_pii_alert', $1)",
						  1, types, values, NULL, false, 1);
	ereport(LOG,
			(errmsg("courier_pii alert %s: %s (%s)", id, kind, severity),
			 errhint("See courier_pii.alerts.")));
	(void) cpii_syslog(strcmp(severity, "critical") == 0 ? CPII_SYSLOG_ALERT : CPII_SYSLOG_WARNING,
					   "alert", text);
}

static void
evaluate(void)
{
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(BATCH_RECORDS)};

	SPI_connect();
	for (int batch = 0; batch < BATCHES; batch++)
	{
		SPITupleTable *found;
		uint64		n;
		bool		more;
		bool		isnull;

		cpii_internal_execute("SELECT more, id, kind, severity FROM courier_pii.alert_evaluate($1)",
							  1, types, values, NULL, false, 0);
		found = SPI_tuptable;
		n = SPI_processed;
		/* the first row tells only whether there is more to look at */
		more = n > 0 && DatumGetBool(SPI_getbinval(found->vals[0], found->tupdesc, 1, &isnull));
		for (uint64 i = 1; i < n; i++)
			announce(SPI_getvalue(found->vals[i], found->tupdesc, 2),
					 SPI_getvalue(found->vals[i], found->tupdesc, 3),
					 SPI_getvalue(found->vals[i], found->tupdesc, 4));
		if (!more)
			break;
	}
	SPI_finish();
}

/* acknowledge_alert(id, note): by anybody who watches, but the person it is about */
Datum
cpii_acknowledge_alert(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	const CpiiActor *who = cpii_session_actor();
	Oid			types[4] = {INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];
	char		nulls[5] = "    ";
	int64		id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor"))
		cpii_require_duty("pii_security_admin");
	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(who->login_name);
	values[2] = CStringGetTextDatum(who->staff_no);
	values[3] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[3] = PG_ARGISNULL(1) ? 'n' : ' ';
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("UPDATE courier_pii.alert SET acknowledged_by = $2,"
						  " acknowledged_at = pg_catalog.clock_timestamp(), note = $4"
						  " WHERE id OPERATOR(pg_catalog.=) $1 AND acknowledged_at IS NULL"
						  " AND coalesce(staff_no, '') OPERATOR(pg_catalog.<>) coalesce(nullif($3, ''), '-')"
						  " AND coalesce(login_role, '') OPERATOR(pg_catalog.<>) $2",
						  4, types, values, nulls, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("alert cannot be acknowledged"),
				 errdetail("It does not exist, is acknowledged already, or is about the person who asks.")));
	cpii_internal_end(&internal);
	SPI_finish();
	cpii_audit_note(CPII_ACT_POLICY, "acknowledge_alert", "ok",
					psprintf("{\"alert\": %lld}", (long long) id));
	PG_RETURN_VOID();
}

/* a rule that is there may be made weaker: that takes a ticket */
static void
note_rule(const char *command, const char *name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"rule\": ");
	escape_json(&buf, name);
	appendStringInfoChar(&buf, '}');
	cpii_audit_note(CPII_ACT_POLICY, command, "ok", buf.data);
}

/* the whole rule, as the object of a ticket names it */
static char *
rule_object(FunctionCallInfo fcinfo)
{
	static const Oid output[] = {F_TEXTOUT, F_TEXTOUT, F_INT8OUT, F_INTERVAL_OUT,
		F_TEXTOUT, F_BOOLOUT, F_INT4OUT, F_INT4OUT, F_TEXTOUT, F_JSONB_OUT};
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "alert_rule");
	for (int i = 0; i < lengthof(output); i++)
		appendStringInfo(&buf, "/%s", OidOutputFunctionCall(output[i], PG_GETARG_DATUM(i)));
	return buf.data;
}

/*
 * set_alert_rule(name, kind, threshold, time_window, severity, enabled,
 * from_hour, to_hour, time_zone, scope)
 */
Datum
cpii_set_alert_rule(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	Oid			types[11] = {TEXTOID, TEXTOID, INT8OID, INTERVALOID, TEXTOID,
	BOOLOID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID};
	Datum		values[11];

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	for (int i = 0; i < 10; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments of an alert rule must not be null")));
		values[i] = PG_GETARG_DATUM(i);
	}
	values[10] = CStringGetTextDatum(cpii_session_actor()->login_name);
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("SELECT 1 FROM courier_pii.alert_rules WHERE name OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed > 0)
		(void) cpii_require_ticket("policy", rule_object(fcinfo), false);
	cpii_internal_execute("INSERT INTO courier_pii.alert_rule AS r"
						  " (name, kind, threshold, time_window, severity, enabled, from_hour, to_hour, time_zone, scope, set_by, set_at)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, pg_catalog.clock_timestamp())"
						  " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, threshold = excluded.threshold,"
						  " time_window = excluded.time_window, severity = excluded.severity, enabled = excluded.enabled,"
						  " from_hour = excluded.from_hour, to_hour = excluded.to_hour, time_zone = excluded.time_zone,"
						  " scope = excluded.scope, set_by = excluded.set_by, set_at = excluded.set_at",
						  11, types, values, NULL, false, 0);
	cpii_internal_end(&internal);
	SPI_finish();
	note_rule("set_alert_rule", text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* drop_alert_rule(name): what is built in comes back with its defaults */
Datum
cpii_drop_alert_rule(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("DELETE FROM courier_pii.alert_rule WHERE name OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no alert rule \"%s\" that was set", name)));
	(void) cpii_require_ticket("policy", psprintf("alert_rule/%s/none", name), false);
	cpii_internal_end(&internal);
	SPI_finish();
	note_rule("drop_alert_rule", name);
	PG_RETURN_VOID();
}

void
cpii_alert_init(void)
{
	cpii_worker_register_task(evaluate, INTERVAL_MS);
}
