/*-------------------------------------------------------------------------
 *
 * ingest.c
 *	  Moves records from the spool into the audit table, exactly once.
 *
 * One transaction inserts a batch and moves the progress row of the node whose
 * segment was read: (segment, offset) say where to read on, (seq, head_hash)
 * what the chain goes on from.  A segment belongs to one node, the one that its
 * header names; a server that was renamed leaves segments of both.
 *
 * Only the worker calls this.  The batch goes into the table through an
 * ephemeral relation and one INSERT, which routes rows to partitions and fills
 * the indexes like any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "audit/chain.h"
#include "audit/checkpoint.h"
#include "audit/ingest.h"
#include "audit/partition.h"
#include "audit/record.h"
#include "audit/refused.h"
#include "audit/spool.h"
#include "audit/spool_key.h"
#include "base/compat.h"
#include "base/internal.h"

#define BATCH_RECORDS 2000
#define CAREFUL_BATCHES 100
#define CAREFUL_RECORDS 20

/* the segment to look at next; 0 = find the first one */
static uint64 cursor_segment = 0;
static int	careful_batches = 0;

/* records hashed with the key in use */
static int	with_this_key = 0;

void
cpii_ingest_restart(void)
{
	cursor_segment = 0;
}

void
cpii_ingest_careful(void)
{
	careful_batches = CAREFUL_BATCHES;
	cursor_segment = 0;
}

/* ---- progress ---- */

void
cpii_ingest_progress(const char *node, CpiiProgress *progress)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(node)};
	HeapTuple	tup;
	TupleDesc	desc;
	bool		isnull;
	bytea	   *hash;

	memset(progress, 0, sizeof(*progress));
	cpii_internal_execute("SELECT start_seq, segment, byte_offset, seq, head_hash, key_generation"
						  " FROM courier_pii.audit_progress"
						  " WHERE node OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
		return;
	tup = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	progress->found = true;
	progress->start_seq = DatumGetInt64(SPI_getbinval(tup, desc, 1, &isnull));
	progress->segment = DatumGetInt64(SPI_getbinval(tup, desc, 2, &isnull));
	progress->offset = DatumGetInt64(SPI_getbinval(tup, desc, 3, &isnull));
	progress->seq = DatumGetInt64(SPI_getbinval(tup, desc, 4, &isnull));
	hash = DatumGetByteaPP(SPI_getbinval(tup, desc, 5, &isnull));
	if (VARSIZE_ANY_EXHDR(hash) == CPII_HASH_LEN)
		memcpy(progress->head_hash, VARDATA_ANY(hash), CPII_HASH_LEN);
	progress->key_generation = DatumGetInt32(SPI_getbinval(tup, desc, 6, &isnull));
}

static void
store_progress(const char *node, const CpiiProgress *progress)
{
	Oid			types[7] = {TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, BYTEAOID, INT4OID};
	Datum		values[7];

	values[0] = CStringGetTextDatum(node);
	values[1] = Int64GetDatum((int64) progress->start_seq);
	values[2] = Int64GetDatum((int64) progress->segment);
	values[3] = Int64GetDatum((int64) progress->offset);
	values[4] = Int64GetDatum((int64) progress->seq);
	values[5] = cpii_bytea(progress->head_hash, CPII_HASH_LEN);
	values[6] = Int32GetDatum(progress->key_generation);
	cpii_internal_execute("INSERT INTO courier_pii.audit_progress AS p"
						  " (node, start_seq, segment, byte_offset, seq, head_hash, key_generation, ingested_at)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp())"
						  " ON CONFLICT (node) DO UPDATE SET segment = excluded.segment,"
						  " byte_offset = excluded.byte_offset, seq = excluded.seq,"
						  " head_hash = excluded.head_hash, key_generation = excluded.key_generation,"
						  " ingested_at = excluded.ingested_at",
						  7, types, values, NULL, false, 0);
}

/* ---- one batch ---- */

/* a record whose body cannot be read still gets its place in the chain */
static void
unreadable_row(CpiiRow *row, const char *node)
{
	cpii_row_clear(row);
	cpii_row_text(row, CPII_F_NODE, node, CPII_NODE_LEN);
	cpii_row_number(row, CPII_F_AT, GetCurrentTimestamp() + CPII_UNIX_OFFSET);
	cpii_row_text(row, CPII_F_PHASE, "SINGLE", 16);
	cpii_row_text(row, CPII_F_ACTION, "SYSTEM", 16);
	cpii_row_text(row, CPII_F_OUTCOME, "error", 16);
	cpii_row_text(row, CPII_F_COMMAND, "unreadable record", 32);
	row->field[CPII_F_RELATIONS].null = false;
	row->field[CPII_F_CLASSES].null = false;
}

/* the batch's records lie in between */
static TimestampTz first_at;
static TimestampTz last_at;

/* when a key has been used for so many records or so long, the next one is due */
#define RATCHET_RECORDS 20000
#define RATCHET_MS 600000

/*
 * Keys never go back, for no server's records: whoever has today's key could
 * chain yesterday's records anew with it, but not with the key of yesterday.
 */
static CpiiChain *
open_chain(const CpiiProgress *progress)
{
	static TimestampTz moved_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	bool		move_on = moved_at == 0 || with_this_key >= RATCHET_RECORDS ||
		TimestampDifferenceExceeds(moved_at, now, RATCHET_MS);

	if (move_on)
	{
		moved_at = now;
		with_this_key = 0;
	}
	return cpii_chain_open_writing(progress->key_generation, move_on);
}

/*
 * Turn records of a segment into tuples of the audit table.  Returns their
 * number and moves *progress.
 */
static int
collect(const CpiiSegment *segment, int limit, CpiiProgress *progress,
		TupleDesc tupdesc, Tuplestorestate *store)
{
	MemoryContext per_record;
	MemoryContext old;
	CpiiChain  *chain = open_chain(progress);
	char	   *canonical = palloc(CPII_MAX_CANONICAL);
	CpiiSpoolRecord record;
	int			n = 0;

	per_record = AllocSetContextCreate(CurrentMemoryContext,
									   "courier_pii audit record",
									   ALLOCSET_DEFAULT_SIZES);
	while (n < limit &&
		   cpii_spool_record(segment, progress->offset, progress->seq, &record))
	{
		CpiiRow		row;
		Datum		values[CPII_N_COLUMNS];
		bool		nulls[CPII_N_COLUMNS] = {0};
		unsigned char hash[CPII_HASH_LEN];
		size_t		length;

		MemoryContextReset(per_record);
		old = MemoryContextSwitchTo(per_record);

		if (progress->found)
			cpii_refused_look(segment, progress->seq, &record);
		if (!progress->found)
			progress->start_seq = record.seq;

		if (!cpii_row_decode(record.body, record.length, &row) ||
			row.field[CPII_F_NODE].null || row.field[CPII_F_AT].null ||
			!IS_VALID_TIMESTAMP(row.field[CPII_F_AT].number - CPII_UNIX_OFFSET))
			unreadable_row(&row, segment->node);
		cpii_row_number(&row, CPII_F_SEQ, (int64) record.seq);
		cpii_row_to_datums(&row, values, nulls);
		length = cpii_row_encode_datums(values, nulls, canonical, CPII_MAX_CANONICAL);
		if (length == 0)
			elog(ERROR, "audit record %llu is too long",
				 (unsigned long long) record.seq);
		cpii_chain_hash(chain, cpii_chain_generation(chain),
						progress->head_hash, (int64) record.seq,
						canonical, length, hash);

		first_at = n == 0 ? DatumGetTimestampTz(values[CPII_F_AT]) :
			Min(first_at, DatumGetTimestampTz(values[CPII_F_AT]));
		last_at = n == 0 ? DatumGetTimestampTz(values[CPII_F_AT]) :
			Max(last_at, DatumGetTimestampTz(values[CPII_F_AT]));
		values[CPII_COL_PREV_HASH] = cpii_bytea(progress->head_hash, CPII_HASH_LEN);
		values[CPII_COL_HASH] = cpii_bytea(hash, CPII_HASH_LEN);
		values[CPII_COL_KEY_GENERATION] = Int32GetDatum(cpii_chain_generation(chain));
		values[CPII_COL_SEGMENT] = Int64GetDatum((int64) segment->segment);
		tuplestore_putvalues(store, tupdesc, values, nulls);

		progress->found = true;
		progress->segment = segment->segment;
		progress->offset = record.end;
		progress->seq = record.seq;
		progress->key_generation = cpii_chain_generation(chain);
		memcpy(progress->head_hash, hash, CPII_HASH_LEN);
		MemoryContextSwitchTo(old);
		n++;
	}
	cpii_refused_end(segment);
	MemoryContextDelete(per_record);
	cpii_chain_close(chain);
	with_this_key += n;
	return n;
}

static void
insert_batch(Oid relid, Tuplestorestate *store, int n)
{
	EphemeralNamedRelation batch = palloc0(sizeof(EphemeralNamedRelationData));

	batch->md.name = "cpii_batch";
	batch->md.reliddesc = relid;
	batch->md.enrtype = ENR_NAMED_TUPLESTORE;
	batch->md.enrtuples = n;
	batch->reldata = store;
	if (SPI_register_relation(batch) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the batch of audit records");
	cpii_internal_execute("INSERT INTO courier_pii.audit_record SELECT * FROM cpii_batch",
						  0, NULL, NULL, NULL, false, 0);
	if (SPI_processed != (uint64) n)
		elog(ERROR, "inserted " UINT64_FORMAT " audit records instead of %d",
			 SPI_processed, n);
}

/*
 * Read the next segment that holds something for us.  False = there is none;
 * *caught_up then tells whether everything up to the spool's end was seen.
 */
static bool
find_work(const CpiiSpoolState *state, CpiiSegment *segment,
		  CpiiProgress *progress, bool *caught_up)
{
	*caught_up = false;
	while (cursor_segment <= state->segment)
	{
		uint64		end = cursor_segment == state->segment ?
			state->offset : CPII_SEGMENT_SIZE;
		uint64		start;

		/* the header tells the node, and its progress tells where to start */
		if (cursor_segment == 0 || !cpii_spool_read(cursor_segment, 0, 0, segment))
		{
			cursor_segment = cpii_spool_next_segment(cursor_segment + 1);
			if (cursor_segment == 0)
				return false;
			continue;
		}
		pfree(segment->data);
		cpii_ingest_progress(segment->node, progress);
		if (progress->found && progress->segment > cursor_segment)
		{
			cursor_segment++;
			continue;
		}
		start = progress->found && progress->segment == cursor_segment ?
			progress->offset : CPII_SEGMENT_HEADER;
		progress->segment = cursor_segment;
		progress->offset = start;
		if (start < end && cpii_spool_read(cursor_segment, start, end, segment))
		{
			CpiiSpoolRecord record;

			segment->keys = cpii_spool_keys_open(NULL, 0);
			if (cpii_spool_record(segment, start, progress->seq, &record))
				return true;
			/* nothing follows it yet: the record of this will */
			if (record.changed_before || record.reordered_before)
				cpii_refused_tail(segment, progress->seq, &record);
			pfree(segment->data);
		}
		if (cursor_segment >= state->segment)
		{
			*caught_up = start >= end;
			return false;
		}
		cursor_segment++;
	}
	return false;
}

/*
 * A piece of a standby's spool: as if it were a segment of ours.  False when
 * there is none.
 */
static bool
take_inbox(Oid relid, TupleDesc tupdesc, int limit)
{
	CpiiSegment piece = {0};
	CpiiProgress progress;
	HeapTuple	tup;
	TupleDesc	desc;
	bool		isnull;
	bytea	   *data;
	int64		last_seq;

	cpii_internal_execute("SELECT node, segment, start_offset, last_seq, data, keys FROM courier_pii.audit_inbox"
						  " ORDER BY node, last_seq LIMIT 1", 0, NULL, NULL, NULL, true, 1);
	if (SPI_processed == 0)
		return false;
	tup = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	strlcpy(piece.node, SPI_getvalue(tup, desc, 1), sizeof(piece.node));
	piece.segment = DatumGetInt64(SPI_getbinval(tup, desc, 2, &isnull));
	piece.start = DatumGetInt64(SPI_getbinval(tup, desc, 3, &isnull));
	last_seq = DatumGetInt64(SPI_getbinval(tup, desc, 4, &isnull));
	data = DatumGetByteaPP(SPI_getbinval(tup, desc, 5, &isnull));
	piece.data = VARDATA_ANY(data);
	piece.end = piece.start + VARSIZE_ANY_EXHDR(data);
	data = DatumGetByteaPP(SPI_getbinval(tup, desc, 6, &isnull));
	piece.keys = cpii_spool_keys_open(VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data));

	cpii_ingest_progress(piece.node, &progress);
	if (progress.segment != piece.segment || progress.offset < piece.start)
	{
		progress.segment = piece.segment;
		progress.offset = piece.start;
	}
	if (progress.offset < piece.end)
	{
		Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
		int			n = collect(&piece, limit, &progress, tupdesc, store);

		if (n > 0)
		{
			cpii_partition_cover(first_at, last_at);
			insert_batch(relid, store, n);
			store_progress(piece.node, &progress);
		}
		tuplestore_end(store);
		if (n == limit)
			return true;
	}
	{
		Oid			types[2] = {TEXTOID, INT8OID};
		Datum		values[2] = {CStringGetTextDatum(piece.node), Int64GetDatum(last_seq)};

		cpii_internal_execute("DELETE FROM courier_pii.audit_inbox"
							  " WHERE node OPERATOR(pg_catalog.=) $1 AND last_seq OPERATOR(pg_catalog.=) $2",
							  2, types, values, NULL, false, 0);
	}
	return true;
}

/*
 * This database goes on on another timeline than the one whose records it
 * holds: note where every node's records stood.  Those behind are ingested
 * again, and their hashes are others than former checkpoints say.
 */
void
cpii_ingest_note_timeline(void)
{
	int			timeline = cpii_timeline();
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(timeline)};
	bool		isnull;
	char	   *heads;

	if (timeline <= 1)
		return;
	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.audit_switch WHERE timeline OPERATOR(pg_catalog.>=) $1"
						  " UNION ALL SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM courier_pii.audit_progress)",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
	{
		cpii_internal_execute("INSERT INTO courier_pii.audit_switch (node, timeline, seq)"
							  " SELECT node, $1, seq FROM courier_pii.audit_progress",
							  1, types, values, NULL, false, 0);
		cpii_internal_execute("SELECT pg_catalog.jsonb_build_object('timeline', $1, 'heads', pg_catalog.jsonb_object_agg(node, seq))::pg_catalog.text"
							  " FROM courier_pii.audit_progress",
							  1, types, values, NULL, true, 1);
		heads = TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		cpii_audit_note(CPII_ACT_SYSTEM, "PROMOTE", "ok", heads);
	}
	SPI_finish();
}

/*
 * The progress row must speak of the last record in the table.  Going on heals
 * a difference, so it is recorded; the verification reports that record.
 */
static void
check_progress(const CpiiProgress *progress)
{
	static bool noted = false;
	Oid			types[4] = {TEXTOID, INT8OID, BYTEAOID, INT4OID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(cpii_spool_node());
	values[1] = Int64GetDatum((int64) progress->seq);
	values[2] = cpii_bytea(progress->head_hash, CPII_HASH_LEN);
	values[3] = Int32GetDatum(progress->key_generation);
	cpii_internal_execute("SELECT 1 FROM courier_pii.audit_record WHERE node OPERATOR(pg_catalog.=) $1"
						  " AND seq OPERATOR(pg_catalog.=) $2 AND hash OPERATOR(pg_catalog.=) $3 AND key_generation OPERATOR(pg_catalog.=) $4"
						  " UNION ALL SELECT 1 FROM courier_pii.audit_retired WHERE node OPERATOR(pg_catalog.=) $1 AND last_seq OPERATOR(pg_catalog.=) $2",
						  4, types, values, NULL, true, 1);
	if (SPI_processed > 0 || noted)
		return;
	noted = true;
	cpii_audit_note(CPII_ACT_SYSTEM, CPII_COMMAND_PROGRESS, "error",
					"{\"problem\": \"the progress row does not match the last record\"}");
}

void
cpii_ingest_batch(CpiiIngestResult *result)
{
	CpiiSpoolState state;
	CpiiSegment segment;
	CpiiProgress progress;
	Relation	rel;
	Oid			relid;
	TupleDesc	tupdesc;
	Tuplestorestate *store;
	int			limit = BATCH_RECORDS;
	int			n;
	bool		caught_up;

	memset(result, 0, sizeof(*result));
	if (careful_batches > 0)
	{
		careful_batches--;
		limit = CAREFUL_RECORDS;
	}

	rel = table_open(cpii_relation_oid("audit_record", false), RowExclusiveLock);
	tupdesc = CreateTupleDescCopy(RelationGetDescr(rel));
	cpii_row_check_columns(tupdesc);
	relid = RelationGetRelid(rel);
	table_close(rel, NoLock);
	SPI_connect();

	if (cursor_segment == 0)
	{
		/* does the database know more of this node than the spool does? */
		cpii_ingest_progress(cpii_spool_node(), &progress);
		if (progress.found)
		{
			check_progress(&progress);
			cpii_spool_skip_to(progress.segment, progress.seq);
		}
	}
	cpii_spool_state(&state);

	if (state.ready && find_work(&state, &segment, &progress, &caught_up))
	{
		store = tuplestore_begin_heap(false, false, work_mem);
		n = collect(&segment, limit, &progress, tupdesc, store);
		cpii_partition_cover(first_at, last_at);
		insert_batch(relid, store, n);
		store_progress(segment.node, &progress);
		tuplestore_end(store);
		result->more = true;
		result->last_seq = progress.seq;
	}
	else
	{
		if (state.ready && caught_up)
			result->last_seq = state.next_seq - 1;
		result->more = take_inbox(relid, tupdesc, limit);
	}
	result->done_before = cursor_segment;

	SPI_finish();
}
