/*-------------------------------------------------------------------------
 *
 * ship.c
 *	  Records of a standby on their way to its primary.
 *
 * A standby cannot write to its tables, so its records wait in its own spool.
 * Its worker hands pieces of segments, byte for byte, to the primary's function
 * audit_receive(), which keeps them in audit_inbox until the primary's worker
 * ingests them like segments of its own.  The primary says where it stands;
 * a piece that comes twice is recognised by its sequence numbers.  Segments
 * stay here until the replayed progress row shows that their records are in the
 * table, so nothing is lost when a primary is, with what it had received.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq-fe.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/ship.h"
#include "audit/spool.h"
#include "audit/spool_key.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"

#define PIECE_BYTES (1024 * 1024)
#define RETRY_MS 2000
#define LOG_MS 60000

CPII_EXPORT Datum cpii_audit_received(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_audit_receive(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_received);
PG_FUNCTION_INFO_V1(cpii_audit_receive);

/* ---- the standby's side ---- */

static PGconn *primary = NULL;
static TimestampTz retry_at = 0;

/* where the primary stands with our records */
static uint64 at_segment;
static uint64 at_offset;
static uint64 at_seq;

void
cpii_ship_disconnect(void)
{
	if (primary != NULL)
		PQfinish(primary);
	primary = NULL;
}

/* give up for a moment; the text is libpq's, without a statement's values */
static void
failed(const char *what)
{
	static TimestampTz logged_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(logged_at, now, LOG_MS))
	{
		logged_at = now;
		ereport(LOG,
				(errmsg("audit records could not be handed over to the primary: %s", what),
				 primary ? errdetail_internal("%s", PQerrorMessage(primary)) : 0));
	}
	cpii_ship_disconnect();
	retry_at = TimestampTzPlusMilliseconds(now, RETRY_MS);
}

static bool
take_position(PGresult *result)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return false;
	at_segment = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	at_offset = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
	at_seq = strtoull(PQgetvalue(result, 0, 2), NULL, 10);
	return true;
}

static bool
ask_position(void)
{
	const char *values[1] = {cpii_spool_node()};
	PGresult   *result = PQexecParams(primary,
									  "SELECT segment, byte_offset, seq FROM courier_pii.audit_received($1)",
									  1, NULL, values, NULL, NULL, 0);
	bool		ok = take_position(result);

	PQclear(result);
	return ok;
}

static bool
connect_primary(void)
{
	/* the first database name is expanded; the second one is the database */
	const char *keywords[] = {"dbname", "dbname", "connect_timeout", "tcp_user_timeout", "application_name", NULL};
	const char *values[] = {cpii_audit_ship_conninfo, cpii_database, "5", "10000", "courier_pii worker", NULL};

	if (primary != NULL && PQstatus(primary) == CONNECTION_OK)
		return true;
	cpii_ship_disconnect();
	if (GetCurrentTimestamp() < retry_at)
		return false;
	primary = PQconnectdbParams(keywords, values, 1);
	if (primary == NULL || PQstatus(primary) != CONNECTION_OK)
	{
		failed("no connection");
		return false;
	}
	if (!ask_position())
	{
		failed("no position");
		return false;
	}
	return true;
}

/* bytes of whole records behind the position; their end and last number */
static uint64
piece_of(const CpiiSegment *segment, uint64 start, uint64 *last_seq)
{
	CpiiSpoolRecord record;
	uint64		end = start;

	while (end - start < PIECE_BYTES && cpii_spool_record(segment, end, *last_seq, &record))
	{
		end = record.end;
		*last_seq = record.seq;
	}
	return end;
}

static bool
send_piece(const CpiiSegment *segment, uint64 start, uint64 end, uint64 last_seq)
{
	char		number[4][32];
	const char *values[7];
	int			lengths[7] = {0};
	int			formats[7] = {0, 0, 0, 0, 0, 1, 1};
	size_t		keys_length;
	PGresult   *result;
	bool		ok;

	snprintf(number[0], 32, "%llu", (unsigned long long) segment->segment);
	snprintf(number[1], 32, "%llu", (unsigned long long) start);
	snprintf(number[2], 32, "%llu", (unsigned long long) at_seq);
	snprintf(number[3], 32, "%llu", (unsigned long long) last_seq);
	values[0] = cpii_spool_node();
	for (int i = 0; i < 4; i++)
		values[i + 1] = number[i];
	values[5] = segment->data + (start - segment->start);
	lengths[5] = (int) (end - start);
	values[6] = cpii_spool_keys_entries(segment, start, end, &keys_length);
	lengths[6] = (int) keys_length;
	result = PQexecParams(primary,
						  "SELECT segment, byte_offset, seq FROM courier_pii.audit_receive($1, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bytea, $7::bytea)",
						  7, NULL, values, lengths, formats, 0);
	ok = take_position(result);
	PQclear(result);
	return ok;
}

void
cpii_ship(const CpiiProgress *own)
{
	CpiiSpoolState state;

	if (cpii_audit_ship_conninfo == NULL || cpii_audit_ship_conninfo[0] == '\0')
	{
		cpii_ship_disconnect();
		return;
	}
	cpii_spool_state(&state);
	if (!state.ready || !connect_primary())
		return;
	for (int pieces = 0; pieces < 64 && at_seq + 1 < state.next_seq; pieces++)
	{
		CpiiSegment segment;
		uint64		number = cpii_spool_next_segment(Max(at_segment, 1));
		uint64		start = number == at_segment && at_offset > 0 ? at_offset : CPII_SEGMENT_HEADER;
		uint64		last_seq = at_seq;
		uint64		end;

		CHECK_FOR_INTERRUPTS();
		if (number == 0 || number > state.segment)
			return;
		if (!cpii_spool_read(number, start, number == state.segment ? state.offset : CPII_SEGMENT_SIZE, &segment))
		{
			at_segment = number + 1;
			at_offset = 0;
			continue;
		}
		/* segments of another name that this server once had are not ours to send */
		end = strcmp(segment.node, cpii_spool_node()) == 0 ? piece_of(&segment, segment.start, &last_seq) : segment.start;
		if (end == segment.start)
		{
			pfree(segment.data);
			if (number >= state.segment)
				return;
			at_segment = number + 1;
			at_offset = 0;
			continue;
		}
		if (!send_piece(&segment, segment.start, end, last_seq))
		{
			failed("not received");
			pfree(segment.data);
			return;
		}
		pfree(segment.data);
	}
}

/* ---- the primary's side ---- */

static Datum
position_of(FunctionCallInfo fcinfo, const char *node)
{
	Oid			types[1] = {TEXTOID};
	Datum		key[1] = {CStringGetTextDatum(node)};
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {0};
	bool		isnull;
	CpiiProgress progress;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	cpii_internal_execute("SELECT segment, start_offset + pg_catalog.length(data), last_seq"
						  " FROM courier_pii.audit_inbox WHERE node OPERATOR(pg_catalog.=) $1"
						  " ORDER BY last_seq DESC LIMIT 1",
						  1, types, key, NULL, true, 1);
	if (SPI_processed > 0)
	{
		for (int i = 0; i < 3; i++)
			values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);
	}
	else
	{
		cpii_ingest_progress(node, &progress);
		values[0] = Int64GetDatum((int64) progress.segment);
		values[1] = Int64GetDatum((int64) progress.offset);
		values[2] = Int64GetDatum((int64) progress.seq);
	}
	/* all of them are passed by value */
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

Datum
cpii_audit_received(PG_FUNCTION_ARGS)
{
	char	   *node = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CpiiInternalState internal;
	MemoryContext caller = CurrentMemoryContext;
	Datum		position;

	cpii_require_preload();
	SPI_connect();
	cpii_internal_begin(&internal);
	position = position_of(fcinfo, node);
	MemoryContextSwitchTo(caller);
	position = datumCopy(position, false, -1);
	cpii_internal_end(&internal);
	SPI_finish();
	PG_RETURN_DATUM(position);
}

/*
 * node, segment, start offset, number before the first record, number of the
 * last one, bytes, keys that they are signed with (wrapped).  What does not follow what we have is left out; the answer
 * tells where to go on.
 */
Datum
cpii_audit_receive(PG_FUNCTION_ARGS)
{
	char	   *node = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			types[7] = {TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, BYTEAOID, BYTEAOID};
	Datum		values[7];
	CpiiInternalState internal;
	MemoryContext caller = CurrentMemoryContext;
	Datum		position;
	HeapTupleHeader header;
	bool		isnull;

	cpii_require_preload();
	if (node[0] == '\0' || strlen(node) > CPII_NODE_LEN || strcmp(node, cpii_spool_node()) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("records of this node cannot be received"),
				 errhint("Each server needs a name of its own in courier_pii.node_name.")));
	for (int i = 0; i < 7; i++)
		values[i] = PG_GETARG_DATUM(i);
	SPI_connect();
	cpii_internal_begin(&internal);
	/* one at a time: what is known must not change meanwhile */
	cpii_internal_execute("LOCK TABLE courier_pii.audit_inbox IN SHARE ROW EXCLUSIVE MODE",
						  0, NULL, NULL, NULL, false, 0);
	position = position_of(fcinfo, node);
	header = DatumGetHeapTupleHeader(position);
	if (DatumGetInt64(GetAttributeByNum(header, 3, &isnull)) == DatumGetInt64(values[3]))
	{
		cpii_internal_execute("INSERT INTO courier_pii.audit_inbox"
							  " (node, segment, start_offset, first_seq, last_seq, data, keys)"
							  " VALUES ($1, $2, $3, $4 OPERATOR(pg_catalog.+) 1, $5, $6, $7)",
							  7, types, values, NULL, false, 0);
		position = position_of(fcinfo, node);
	}
	MemoryContextSwitchTo(caller);
	position = datumCopy(position, false, -1);
	cpii_internal_end(&internal);
	SPI_finish();
	PG_RETURN_DATUM(position);
}
