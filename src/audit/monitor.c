/*-------------------------------------------------------------------------
 *
 * monitor.c
 *	  Numbers for monitoring, for people who may not read the audit trail.
 *
 * Sums only: no person, no relation, no value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"

#include "base/compat.h"
#include "base/internal.h"

CPII_EXPORT Datum cpii_monitor(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_monitor);

static const char metrics[] =
"SELECT m.metric, coalesce(m.value, 0)::pg_catalog.float8 FROM courier_pii.audit_state() s"
" CROSS JOIN LATERAL (VALUES"
" ('audit_ready', s.ready::pg_catalog.int4::pg_catalog.float8),"
" ('audit_worker_up', (s.worker_pid IS NOT NULL AND s.worker_pid > 0)::pg_catalog.int4),"
" ('audit_records_written', s.written_seq), ('audit_records_ingested', s.ingested_seq),"
" ('audit_backlog_records', greatest(s.written_seq - s.ingested_seq, 0)),"
" ('audit_lag_seconds', CASE WHEN s.written_seq <= s.ingested_seq THEN 0"
"  ELSE pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - s.caught_up_at) END),"
" ('audit_records_lost', s.lost),"
" ('audit_checkpoint_age_seconds', (SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
"  - pg_catalog.max(c.at) / 1000000.0 FROM courier_pii.audit_checkpoint c)),"
" ('alerts_raised', (SELECT pg_catalog.max(a.id) FROM courier_pii.alert a)),"
" ('alerts_open_info', (SELECT pg_catalog.count(*) FROM courier_pii.alert a WHERE a.acknowledged_at IS NULL AND a.severity = 'info')),"
" ('alerts_open_warning', (SELECT pg_catalog.count(*) FROM courier_pii.alert a WHERE a.acknowledged_at IS NULL AND a.severity = 'warning')),"
" ('alerts_open_critical', (SELECT pg_catalog.count(*) FROM courier_pii.alert a WHERE a.acknowledged_at IS NULL AND a.severity = 'critical')),"
" ('disclosed_values_hour', (SELECT pg_catalog.sum(t.disclosed) FROM courier_pii.alert_tally t WHERE t.bucket > pg_catalog.now() - '1 hour'::pg_catalog.interval)),"
" ('refused_attempts_hour', (SELECT pg_catalog.sum(t.refused) FROM courier_pii.alert_tally t WHERE t.bucket > pg_catalog.now() - '1 hour'::pg_catalog.interval))"
" ) AS m (metric, value)";

/* monitor_rows(): metric, value */
Datum
cpii_monitor(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CpiiInternalState internal;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute(metrics, 0, NULL, NULL, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[2];
		bool		nulls[2];

		for (int j = 0; j < 2; j++)
			values[j] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, j + 1, &nulls[j]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	cpii_internal_end(&internal);
	SPI_finish();
	return (Datum) 0;
}
