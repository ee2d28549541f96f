/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Retention: how long a table keeps its rows, and the purge of older ones
 *	  with a destruction certificate.
 *
 * purge() deletes with the caller's rights, in batches, each of which is one
 * transaction when the call is not inside one.  Which rows are old, and which
 * are in the archive, is asked by the server's operators and those of the
 * primary key, whatever the caller's search_path finds.  The certificate is brought up
 * to date in the same transaction as each batch, so it tells exactly what went,
 * whatever ends the purge.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "guard/destroy.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "guard/ticket_state.h"
#include "policy/policy.h"
#include "policy/relation.h"

#define BATCH_ROWS 1000

PG_FUNCTION_INFO_V1(cpii_set_retention);
PG_FUNCTION_INFO_V1(cpii_purge);
CPII_EXPORT Datum cpii_set_retention(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_purge(PG_FUNCTION_ARGS);

/* set_retention(tbl, time_column, keep, archive): a shorter time needs a ticket */
Datum
cpii_set_retention(PG_FUNCTION_ARGS)
{
	Oid			relid;
	char	   *column;
	Oid			type;
	Oid			types[5] = {REGCLASSOID, NAMEOID, INTERVALOID, REGCLASSOID, TEXTOID};
	Datum		values[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameters of a retention rule must not be null"),
					 errhint("Only the archive may be null.")));
	relid = PG_GETARG_OID(0);
	column = NameStr(*PG_GETARG_NAME(1));
	if (get_rel_name(relid) == NULL || get_attnum(relid, column) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of the table does not exist", column)));
	type = get_atttype(relid, get_attnum(relid, column));
	if (type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" holds no time", column)));
	for (int i = 0; i < 4; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[4] = CStringGetTextDatum(cpii_acting_person().name);

	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.retention_rule r WHERE r.tbl = $1"
						  " AND ($3 < r.keep OR $2 <> r.time_column"
						  " OR (r.archive IS NOT NULL AND r.archive IS DISTINCT FROM $4))",
						  5, types, values, nulls, true, 0);
	if (SPI_processed > 0)
		(void) cpii_require_ticket("policy",
								   psprintf("retention/%s/%s/%s/%s", cpii_qualified_name(relid),
											column, DatumGetCString(DirectFunctionCall1(interval_out, values[2])),
											nulls[3] == 'n' ? "no archive" :
											cpii_qualified_name(PG_GETARG_OID(3))), false);
	cpii_internal_execute("INSERT INTO courier_pii.retention_rule AS r"
						  " (tbl, time_column, keep, archive, set_by)"
						  " VALUES ($1, $2, $3, $4, $5)"
						  " ON CONFLICT (tbl) DO UPDATE SET time_column = excluded.time_column,"
						  " keep = excluded.keep, archive = excluded.archive,"
						  " set_by = excluded.set_by, set_at = pg_catalog.now()",
						  5, types, values, nulls, false, 0);
	SPI_finish();
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, cpii_qualified_name(relid));
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, "set_retention", "ok", detail.data);
	PG_RETURN_VOID();
}

/* ---- purge ---- */

typedef struct Purge
{
	Oid			relid;
	char	   *table;			/* quoted */
	char	   *column;			/* quoted */
	char	   *archive;		/* quoted, or NULL */
	TimestampTz before;
	int64		ticket;
	int64		certificate;
	int64		expected;		/* rows that will go, -1 = not counted */
	int64		rows;			/* that went */
	unsigned char sum[CPII_SHA256_LEN];
} Purge;

/* the table's rule; the retention time has to be over */
static void
read_rule(Purge *purge, MemoryContext context)
{
	Oid			types[2] = {REGCLASSOID, TIMESTAMPTZOID};
	Datum		args[2];
	MemoryContext spi;
	bool		isnull;
	Datum		archive;

	args[0] = ObjectIdGetDatum(purge->relid);
	args[1] = TimestampTzGetDatum(purge->before);
	cpii_internal_execute("SELECT r.time_column::text, r.archive::pg_catalog.oid,"
						  " $2 <= pg_catalog.now() - r.keep, r.keep::text"
						  " FROM courier_pii.retention_rule r WHERE r.tbl = $1",
						  2, types, args, NULL, true, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has no retention rule", cpii_qualified_name(purge->relid)),
				 errhint("Set one with courier_pii.set_retention().")));
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the retention time is not over"),
				 errdetail("Rows of %s are kept for %s.", cpii_qualified_name(purge->relid),
						   cpii_result_text(0, 4))));
	spi = MemoryContextSwitchTo(context);
	purge->column = pstrdup(quote_identifier(cpii_result_text(0, 1)));
	archive = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	purge->archive = isnull ? NULL : cpii_qualified_name(DatumGetObjectId(archive));
	purge->table = cpii_qualified_name(purge->relid);
	MemoryContextSwitchTo(spi);
}

static int
run(const char *sql, const Purge *purge)
{
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		args[1] = {TimestampTzGetDatum(purge->before)};
	int			rc = SPI_execute_with_args(sql, 1, types, args, NULL, false, 0);

	if (rc < 0)
		elog(ERROR, "statement returned %s", SPI_result_code_string(rc));
	return rc;
}

/* every row that is to go must be in the archive, by the primary key */
static void
check_archive(const Purge *purge)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		args[1] = {ObjectIdGetDatum(purge->relid)};
	StringInfoData sql;
	int64		missing;

	if (purge->archive == NULL)
		return;
	cpii_internal_execute("SELECT pg_catalog.format('a.%1$I OPERATOR(%2$I.%3$s) t.%1$I',"
						  " a.attname, n.nspname, o.oprname)"
						  " FROM pg_catalog.pg_index i"
						  " CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) k (no)"
						  " JOIN pg_catalog.pg_attribute a"
						  " ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.no]"
						  " JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[k.no]"
						  " JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily"
						  " AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype"
						  " AND m.amopstrategy = 3"	/* equality of a btree */
						  " JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr"
						  " JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
						  " WHERE i.indrelid = $1 AND i.indisprimary",
						  1, types, args, NULL, true, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has no primary key to compare it with its archive by",
						purge->table)));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.count(*) FROM %s t WHERE t.%s OPERATOR(pg_catalog.<) $1"
					 " AND NOT EXISTS (SELECT FROM %s a WHERE true",
					 purge->table, purge->column, purge->archive);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&sql, " AND %s", cpii_result_text(i, 1));
	appendStringInfoChar(&sql, ')');
	(void) run(sql.data, purge);
	missing = cpii_result_int64(0, 1);
	if (missing > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("not all rows to be purged are in the archive"),
				 errdetail("%lld rows are missing in %s.", (long long) missing,
						   purge->archive)));
}

static void
open_certificate(Purge *purge)
{
	Oid			types[6] = {TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = CStringGetTextDatum(purge->table);
	values[1] = TimestampTzGetDatum(purge->before);
	values[2] = Int64GetDatum(purge->ticket);
	nulls[2] = purge->ticket == 0 ? 'n' : ' ';
	values[3] = CStringGetTextDatum(cpii_acting_person().name);
	values[4] = purge->archive ? CStringGetTextDatum(purge->archive) : (Datum) 0;
	nulls[4] = purge->archive ? ' ' : 'n';
	values[5] = CStringGetTextDatum(purge->column);
	cpii_internal_execute("INSERT INTO courier_pii.destruction_certificate"
						  " (tbl, before, ticket, person, archive, time_column,"
						  " requester, approvers, backup)"
						  " SELECT $1, $2, $3, $4, $5, $6, (SELECT r.requester"
						  " FROM courier_pii.request_register r WHERE r.id = $3),"
						  " ARRAY(SELECT a.approver FROM courier_pii.request_approval a"
						  " WHERE a.request_id = $3 ORDER BY a.approved_at),"
						  " (SELECT b.label FROM courier_pii.backup_register b"
						  " WHERE b.verified_at IS NOT NULL ORDER BY b.taken_at DESC LIMIT 1)"
						  " RETURNING id",
						  6, types, values, nulls, false, 0);
	purge->certificate = cpii_result_int64(0, 1);
}

static char *
hex(const unsigned char *bytes, int n)
{
	char	   *out = palloc(2 * n + 1);

	for (int i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return out;
}

static void
update_certificate(const Purge *purge, bool complete)
{
	Oid			types[4] = {INT8OID, INT8OID, TEXTOID, BOOLOID};
	Datum		values[4];

	values[0] = Int64GetDatum(purge->certificate);
	values[1] = Int64GetDatum(purge->rows);
	values[2] = CStringGetTextDatum(hex(purge->sum, sizeof(purge->sum)));
	values[3] = BoolGetDatum(complete);
	cpii_internal_execute("UPDATE courier_pii.destruction_certificate SET"
						  " rows = $2, digest = $3, complete = $4,"
						  " finished_at = pg_catalog.clock_timestamp() WHERE id = $1",
						  4, types, values, NULL, false, 0);
}

/* add a row's digest to the sum modulo 2^256: the order does not matter */
static void
add_row(Purge *purge, const char *text)
{
	unsigned char digest[CPII_SHA256_LEN];
	unsigned int carry = 0;

	if (!cpii_sha256((const unsigned char *) text, strlen(text), digest))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	for (int i = CPII_SHA256_LEN - 1; i >= 0; i--)
	{
		carry += purge->sum[i] + digest[i];
		purge->sum[i] = carry & 0xFF;
		carry >>= 8;
	}
	purge->rows++;
}

/* one batch, with the caller's rights; false when nothing was left */
static bool
delete_batch(Purge *purge)
{
	char	   *sql = psprintf("WITH gone AS (DELETE FROM %s t"
							   " WHERE (t.tableoid, t.ctid) OPERATOR(pg_catalog.=) ANY"
							   " (SELECT s.tableoid, s.ctid FROM %s s"
							   " WHERE s.%s OPERATOR(pg_catalog.<) $1 LIMIT %d) RETURNING t.*)"
							   " SELECT g::pg_catalog.text FROM gone g",
							   purge->table, purge->table, purge->column, BATCH_ROWS);
	const CpiiPurgeBatch *outer = cpii_destroy_batch;	/* whose trigger calls us */
	CpiiPurgeBatch batch = {purge->relid, purge->ticket, purge->expected, cpii_executor_depth};
	uint64		n;

	PG_TRY();
	{
		cpii_destroy_batch = &batch;
		(void) run(sql, purge);
	}
	PG_FINALLY();
	{
		cpii_destroy_batch = outer;
	}
	PG_END_TRY();
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
		add_row(purge, cpii_result_text(i, 1));
	SPI_freetuptable(SPI_tuptable);
	return n > 0;
}

/* the rows must not be more than the ticket allows */
static void
check_rows(Purge *purge)
{
	CpiiRequest request;
	int64		allowed;

	if (!cpii_request_load(purge->ticket, false, &request))
		return;
	allowed = cpii_request_number(&request, "max_rows", -1);
	if (allowed < 0)
		return;
	(void) run(psprintf("SELECT pg_catalog.count(*) FROM %s t"
						" WHERE t.%s OPERATOR(pg_catalog.<) $1",
						purge->table, purge->column), purge);
	purge->expected = cpii_result_int64(0, 1);
	if (purge->expected > allowed)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("more rows are deleted than the ticket allows"),
				 errdetail("%lld rows would go; the ticket allows %lld.",
						   (long long) purge->expected, (long long) allowed)));
}

/* purge(tbl, before, ticket) */
Datum
cpii_purge(PG_FUNCTION_ARGS)
{
	bool		atomic = fcinfo->context == NULL ||
		!IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic;
	MemoryContext context;
	Purge		purge;
	StringInfoData detail;

	cpii_require_preload();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("table and time must not be null")));
	memset(&purge, 0, sizeof(purge));
	purge.relid = PG_GETARG_OID(0);
	purge.before = PG_GETARG_TIMESTAMPTZ(1);
	purge.expected = -1;

	/* outlives the transactions of the batches */
	context = AllocSetContextCreate(PortalContext ? PortalContext : CurrentMemoryContext,
									"courier_pii purge", ALLOCSET_DEFAULT_SIZES);
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	read_rule(&purge, context);
	check_archive(&purge);
	if (cpii_relation_flags(purge.relid) & CPII_REL_PROTECTED)
	{
		cpii_statement_touch(purge.relid);
		cpii_account_action(CPII_ACT_DESTROY);
		cpii_account_prepare();
		cpii_destroy_conditions();
		purge.ticket = cpii_ticket_redeem_number(PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2),
												 "destroy", &purge.relid, 1);
		check_rows(&purge);
	}
	open_certificate(&purge);
	while (delete_batch(&purge))
	{
		CHECK_FOR_INTERRUPTS();
		update_certificate(&purge, false);
		if (!atomic)
			SPI_commit();
	}
	update_certificate(&purge, true);
	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"certificate\": %lld, \"rows\": %lld, \"digest\": \"%s\", \"table\": ",
					 (long long) purge.certificate, (long long) purge.rows,
					 hex(purge.sum, sizeof(purge.sum)));
	escape_json(&detail, purge.table);
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_DESTROY, "purge", "ok", detail.data);
	SPI_finish();
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
