/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Checks the chain of the audit records and the tail of the spool.
 *
 * Everything is computed again from the columns of the table.  What the chain
 * alone cannot show is compared with the progress row (records cut off at the
 * end) and with the spool (a progress row that was set back as well).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit/chain.h"
#include "audit/ingest.h"
#include "audit/record.h"
#include "audit/spool.h"
#include "audit/verify.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"

#define FETCH_ROWS 1000
#define MAX_PROBLEMS 1000
#define MAX_RETRIES 20

CPII_EXPORT Datum cpii_audit_verify(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_verify);

void
cpii_verify_report(CpiiVerifier *v, const char *node, int64 segment, int64 seq,
	   const char *fmt,...)
{
	Datum		values[4];
	bool		nulls[4] = {0};
	char		problem[256];
	va_list		args;

	v->problems++;
	if (v->problems > MAX_PROBLEMS)
		return;
	va_start(args, fmt);
	vsnprintf(problem, sizeof(problem), fmt, args);
	va_end(args);
	if (v->problems == MAX_PROBLEMS)
		strlcpy(problem, "further problems are not listed", sizeof(problem));
	values[0] = CStringGetTextDatum(node);
	values[1] = Int64GetDatum(segment);
	nulls[1] = segment < 0;
	values[2] = Int64GetDatum(seq);
	nulls[2] = seq < 0;
	values[3] = CStringGetTextDatum(problem);
	tuplestore_putvalues(v->result->setResult, v->result->setDesc, values, nulls);
}

static void
report_missing(CpiiVerifier *v, int64 segment, int64 from, int64 to)
{
	cpii_verify_report(v, v->node, segment, from,
		   "missing: records %lld to %lld are not there",
		   (long long) from, (long long) to);
}

/* ---- the table ---- */

/*
 * Runs that were dropped with their month stand for their records: move what
 * is expected behind them.
 */
static void
skip_runs(CpiiVerifier *v, int64 *expected, const unsigned char **before)
{
	for (int i = 0; i < v->nruns; i++)
	{
		CpiiRun    *run = &v->runs[i];

		if (run->first_seq == *expected &&
			memcmp(run->prev_hash, *before, CPII_HASH_LEN) == 0)
		{
			*expected = run->last_seq + 1;
			*before = run->last_hash;
		}
	}
}

static void
end_node(CpiiVerifier *v)
{
	CpiiProgress *p = &v->progress;

	if (v->node == NULL || !p->found)
		return;
	if (v->any && v->nruns > 0 && v->seq < (int64) p->seq)
	{
		int64		expected = v->seq + 1;
		const unsigned char *before = v->hash;

		skip_runs(v, &expected, &before);
		if (expected == (int64) p->seq + 1 &&
			memcmp(before, p->head_hash, CPII_HASH_LEN) == 0)
			return;
	}
	if (v->any && v->seq < (int64) p->seq)
		report_missing(v, (int64) p->segment, v->seq + 1, (int64) p->seq);
	else if (v->any && v->seq > (int64) p->seq)
		cpii_verify_report(v, v->node, v->segment, v->seq,
			   "unexpected: the last ingested record has sequence number %llu",
			   (unsigned long long) p->seq);
	else if (v->any && memcmp(v->hash, p->head_hash, CPII_HASH_LEN) != 0)
		cpii_verify_report(v, v->node, v->segment, v->seq,
			   "changed: this is not the record that was ingested last");
	else if (v->any && v->generation != p->key_generation)
		cpii_verify_report(v, v->node, v->segment, v->seq,
			   "changed: the last record was chained with another key");
	if (v->any && cpii_chain_generation(v->chain) > 0 && v->generation == 0)
		cpii_verify_report(v, v->node, v->segment, v->seq,
			   "unprotected: chained without the audit key, although there is one");
}

static void
begin_node(CpiiVerifier *v, char *node)
{
	end_node(v);
	v->node = node;
	v->any = false;
	v->generation = 0;
	v->segment = 0;
	cpii_ingest_progress(node, &v->progress);
	cpii_verify_load_runs(v);
	if (!v->progress.found)
		cpii_verify_report(v, node, -1, -1,
			   "missing: there are records of this server, but no progress row");
}

static bool
get_hash(Datum value, bool isnull, unsigned char *hash)
{
	bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(value);

	if (bytes == NULL || VARSIZE_ANY_EXHDR(bytes) != CPII_HASH_LEN)
		return false;
	memcpy(hash, VARDATA_ANY(bytes), CPII_HASH_LEN);
	return true;
}

static void
check_link(CpiiVerifier *v, int64 segment, int64 seq,
		   const unsigned char *prev_hash, bool intact)
{
	static const unsigned char zeros[CPII_HASH_LEN] = {0};
	int64		expected = v->any ? v->seq + 1 : (int64) v->progress.start_seq;
	const unsigned char *before = v->any ? v->hash : zeros;

	if (!v->any && !v->progress.found)
		return;
	if (seq > expected && v->nruns > 0)
		skip_runs(v, &expected, &before);
	if (seq > expected)
		report_missing(v, segment, expected, seq - 1);
	else if (v->any && seq == v->seq)
		cpii_verify_report(v, v->node, segment, seq,
			   "duplicate: there is another record with this sequence number");
	else if (seq < expected)
		cpii_verify_report(v, v->node, segment, seq,
			   "unexpected: the first record should have sequence number %lld",
			   (long long) expected);
	else if (intact && memcmp(prev_hash, before, CPII_HASH_LEN) != 0)
		cpii_verify_report(v, v->node, segment, seq,
			   "reordered: the record does not follow the one before it");
}

static void
check_record(CpiiVerifier *v, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[CPII_N_COLUMNS];
	bool		nulls[CPII_N_COLUMNS];
	CpiiRow		row;
	unsigned char prev_hash[CPII_HASH_LEN];
	unsigned char hash[CPII_HASH_LEN];
	unsigned char computed[CPII_HASH_LEN];
	int64		seq;
	int64		segment;
	int			generation;
	size_t		length;
	bool		intact;

	heap_deform_tuple(tuple, desc, values, nulls);
	cpii_row_from_datums(&row, values, nulls);
	seq = row.field[CPII_F_SEQ].number;
	segment = DatumGetInt64(values[CPII_COL_SEGMENT]);
	generation = DatumGetInt32(values[CPII_COL_KEY_GENERATION]);

	intact = get_hash(values[CPII_COL_PREV_HASH], nulls[CPII_COL_PREV_HASH], prev_hash) &&
		get_hash(values[CPII_COL_HASH], nulls[CPII_COL_HASH], hash) &&
		generation >= 0 &&
		(!v->progress.found || generation <= v->progress.key_generation);
	if (intact)
	{
		length = cpii_row_encode(&row, v->canonical, CPII_MAX_CANONICAL);
		intact = length > 0;
	}
	if (intact)
	{
		cpii_chain_hash(v->chain, generation, prev_hash, seq, v->canonical,
						length, computed);
		intact = memcmp(computed, hash, CPII_HASH_LEN) == 0;
	}
	if (!intact)
		cpii_verify_report(v, v->node, segment, seq,
			   "changed: the record does not match its hash");
	check_link(v, segment, seq, prev_hash, intact);
	if (segment < v->segment || segment < 1 ||
		(v->progress.found && segment > (int64) v->progress.segment))
		cpii_verify_report(v, v->node, segment, seq,
			   "changed: the record does not lie in this segment");
	if (intact && v->any && generation < v->generation)
		cpii_verify_report(v, v->node, segment, seq, generation == 0 ?
			   "unprotected: chained without the audit key" :
			   "reordered: chained with an older key than the record before it");

	if (row.field[CPII_F_COMMAND].length == strlen(CPII_COMMAND_PROGRESS) &&
		memcmp(row.field[CPII_F_COMMAND].text, CPII_COMMAND_PROGRESS,
			   strlen(CPII_COMMAND_PROGRESS)) == 0)
		cpii_verify_report(v, v->node, segment, seq,
						   "changed: the progress row did not match the record before this one");

	v->any = true;
	v->seq = seq;
	v->segment = segment;
	/* a bad generation was reported; do not report its successors for it */
	if (intact)
		v->generation = generation;
	if (!get_hash(values[CPII_COL_HASH], nulls[CPII_COL_HASH], v->hash))
		memset(v->hash, 0, CPII_HASH_LEN);
	v->records++;
}

static void
check_table(CpiiVerifier *v)
{
	MemoryContext per_batch;
	MemoryContext old;
	Portal		portal;
	List	   *nodes = NIL;
	ListCell   *lc;

	/* the calling statement's snapshot is used for everything */
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT * FROM courier_pii.audit_record ORDER BY node, seq, at",
									   0, NULL, NULL, NULL, true, 0);
	cpii_row_check_columns(portal->tupDesc);
	per_batch = AllocSetContextCreate(CurrentMemoryContext,
									  "courier_pii audit_verify",
									  ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		SPITupleTable *batch;
		uint64		n;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		batch = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		old = CurrentMemoryContext;
		for (uint64 i = 0; i < n; i++)
		{
			char	   *node = SPI_getvalue(batch->vals[i], batch->tupdesc, 1);

			if (v->node == NULL || strcmp(node, v->node) != 0)
			{
				begin_node(v, node);
				nodes = lappend(nodes, node);
			}
			else
				pfree(node);
			MemoryContextSwitchTo(per_batch);
			check_record(v, batch->vals[i], batch->tupdesc);
			MemoryContextSwitchTo(old);
			if (i % 64 == 63)
				MemoryContextReset(per_batch);
		}
		MemoryContextReset(per_batch);
		SPI_freetuptable(batch);
	}
	end_node(v);
	SPI_cursor_close(portal);

	/* servers of which nothing is left */
	cpii_internal_execute("SELECT node, segment, start_seq, seq FROM courier_pii.audit_progress ORDER BY node",
						  0, NULL, NULL, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *node = SPI_getvalue(tuple, desc, 1);
		bool		isnull;

		foreach(lc, nodes)
			if (strcmp(lfirst(lc), node) == 0)
				break;
		if (lc == NULL)
		{
			CpiiProgress progress;
			int64		expected = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
			static const unsigned char zeros[CPII_HASH_LEN] = {0};
			const unsigned char *before = zeros;
			SPITupleTable *save = SPI_tuptable;
			uint64		save_processed = SPI_processed;

			v->node = node;
			cpii_verify_load_runs(v);
			skip_runs(v, &expected, &before);
			cpii_ingest_progress(node, &progress);
			SPI_tuptable = save;
			SPI_processed = save_processed;
			if (expected == (int64) progress.seq + 1)
				continue;
			report_missing(v, DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull)),
						   DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull)),
						   DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull)));
		}
	}
}

/* ---- the spool behind it ---- */

typedef struct TailProblem
{
	char		node[CPII_NODE_LEN + 1];
	int64		segment;
	int64		seq;
	const char *what;
} TailProblem;

static bool
tail_problem(TailProblem *problem, const char *node, int64 segment, int64 seq,
			 const char *what)
{
	strlcpy(problem->node, node, sizeof(problem->node));
	problem->segment = segment;
	problem->seq = seq;
	problem->what = what;
	return false;
}

/*
 * Read what the progress rows say is not ingested yet.  False when something
 * is wrong with it.
 */
static bool
read_tail(const CpiiSpoolState *state, TailProblem *problem)
{
	uint64		number;
	uint64		last = 0;
	char		last_node[CPII_NODE_LEN + 1] = "";
	CpiiProgress progress = {0};

	for (number = cpii_spool_next_segment(1);
		 number != 0 && number <= state->segment;
		 number = cpii_spool_next_segment(number + 1))
	{
		CpiiSegment segment;
		CpiiSpoolRecord record;
		uint64		position = CPII_SEGMENT_HEADER;

		CHECK_FOR_INTERRUPTS();
		if (!cpii_spool_read(number, 0,
							 number == state->segment ? state->offset : CPII_SEGMENT_SIZE,
							 &segment))
			return tail_problem(problem, cpii_spool_node(), (int64) number, -1,
								"damaged: the spool segment cannot be read");
		if (strcmp(segment.node, last_node) != 0)
		{
			cpii_ingest_progress(segment.node, &progress);
			strlcpy(last_node, segment.node, sizeof(last_node));
			last = progress.found ? progress.seq : segment.first_seq - 1;
		}
		if (progress.found && progress.segment > number)
		{
			pfree(segment.data);
			continue;
		}
		if (progress.found && progress.segment == number)
			position = progress.offset;
		while (position <= segment.end &&
			   cpii_spool_record(&segment, position, last, &record))
		{
			if (record.seq != last + 1)
				return tail_problem(problem, segment.node, (int64) number,
									(int64) last + 1, record.damaged_before ?
									"damaged: records in the spool cannot be read" :
									"missing: records in the spool are not there");
			last = record.seq;
			position = record.end;
		}
		pfree(segment.data);
		if (number == state->segment && last + 1 != state->next_seq)
			return tail_problem(problem, segment.node, (int64) number,
								(int64) last + 1,
								"damaged: records in the spool cannot be read");
	}
	return true;
}

static void
check_tail(CpiiVerifier *v)
{
	TailProblem problem = {0};
	CpiiProgress progress;

	for (int i = 0; i < MAX_RETRIES; i++)
	{
		CpiiSpoolState state;
		bool		ok;

		cpii_spool_state(&state);
		if (!state.ready)
		{
			cpii_verify_report(v, cpii_spool_node(), -1, -1,
				   "damaged: the spool directory is not usable");
			return;
		}
		PushActiveSnapshot(GetLatestSnapshot());
		cpii_ingest_progress(cpii_spool_node(), &progress);
		if (progress.found && state.ingested_seq > progress.seq)
			ok = tail_problem(&problem, cpii_spool_node(),
							  (int64) progress.segment, (int64) progress.seq + 1,
							  "missing: the progress row was set back");
		else
			ok = read_tail(&state, &problem);
		PopActiveSnapshot();
		if (ok)
			return;
		/* the worker may have moved on and removed a segment meanwhile */
		pg_usleep(50000L);
	}
	cpii_verify_report(v, problem.node, problem.segment, problem.seq, "%s", problem.what);
}

Datum
cpii_audit_verify(PG_FUNCTION_ARGS)
{
	CpiiVerifier v = {0};
	CpiiInternalState internal;
	char		detail[128];

	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor"))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("permission denied: duty \"%s\" is required", "pii_auditor"),
				 errhint("Ask a member of role \"%s\".", "pii_auditor")));

	InitMaterializedSRF(fcinfo, 0);
	v.result = (ReturnSetInfo *) fcinfo->resultinfo;

	SPI_connect();
	cpii_internal_begin(&internal);
	v.chain = cpii_chain_open_verifying();
	v.canonical = palloc(CPII_MAX_CANONICAL);
	check_table(&v);
	check_tail(&v);
	cpii_verify_spool_copy(&v);
	cpii_verify_checkpoints(&v);
	cpii_chain_close(v.chain);
	cpii_internal_end(&internal);
	SPI_finish();

	snprintf(detail, sizeof(detail), "{\"records\": %lld, \"problems\": %lld}",
			 (long long) v.records, (long long) v.problems);
	cpii_audit_note(CPII_ACT_SYSTEM, "audit_verify",
					v.problems == 0 ? "ok" : "error", detail);
	return (Datum) 0;
}
