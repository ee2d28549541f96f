/*-------------------------------------------------------------------------
 *
 * backup.c
 *	  The register of backups, which destruction asks for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "guard/ticket_state.h"

PG_FUNCTION_INFO_V1(cpii_register_backup);
CPII_EXPORT Datum cpii_register_backup(PG_FUNCTION_ARGS);

/*
 * register_backup(label, taken_at, location, verified_at, restore_tested_at,
 * digest): the entry's number.  A label that is known gets the dates that are
 * given; a verification is not taken back by leaving it out.
 */
Datum
cpii_register_backup(PG_FUNCTION_ARGS)
{
	Oid			types[7] = {TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum		values[7];
	char		nulls[7];
	int64		id;
	StringInfoData detail;
	TimestampTz now = GetCurrentTimestamp();

	if (!cpii_session_has_duty("pii_backup"))
		cpii_require_duty("pii_security_admin");
	for (int i = 0; i < 6; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("label and taken_at must not be null")));
	if (PG_GETARG_TIMESTAMPTZ(1) > now ||
		(!PG_ARGISNULL(3) && (PG_GETARG_TIMESTAMPTZ(3) > now ||
							  PG_GETARG_TIMESTAMPTZ(3) < PG_GETARG_TIMESTAMPTZ(1))) ||
		(!PG_ARGISNULL(4) && (PG_GETARG_TIMESTAMPTZ(4) > now ||
							  PG_GETARG_TIMESTAMPTZ(4) < PG_GETARG_TIMESTAMPTZ(1))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dates of a backup must be in order and not in the future")));
	values[6] = CStringGetTextDatum(cpii_acting_person().name);
	nulls[6] = ' ';
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.backup_register AS b"
						  " (label, taken_at, location, verified_at,"
						  " restore_tested_at, digest, registered_by)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7)"
						  " ON CONFLICT (label, taken_at) DO UPDATE SET"
						  " location = coalesce(excluded.location, b.location),"
						  " verified_at = coalesce(excluded.verified_at, b.verified_at),"
						  " restore_tested_at = coalesce(excluded.restore_tested_at, b.restore_tested_at),"
						  " digest = coalesce(excluded.digest, b.digest),"
						  " registered_by = excluded.registered_by,"
						  " registered_at = pg_catalog.now() RETURNING b.id",
						  7, types, values, nulls, false, 0);
	id = cpii_result_int64(0, 1);
	SPI_finish();
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"label\": ");
	escape_json(&detail, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	appendStringInfo(&detail, ", \"verified\": %s, \"restore_tested\": %s}",
					 PG_ARGISNULL(3) ? "false" : "true",
					 PG_ARGISNULL(4) ? "false" : "true");
	cpii_audit_note(CPII_ACT_MAINTENANCE, "register_backup", "ok", detail.data);
	PG_RETURN_INT64(id);
}
