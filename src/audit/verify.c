/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Checks the chain of the audit records and the tail of the spool.
 *
 * Everything is computed again from the columns of the table (verify_rows.c).
 * Here the pieces of the chain are put together.  What the chain alone cannot
 * show is compared with the progress row (records cut off at the
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
#include "audit/spool_key.h"
#include "audit/verify.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"

#define MAX_PROBLEMS 1000
#define MAX_RETRIES 20

CPII_EXPORT Datum cpii_audit_verify(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_verify);

void
cpii_verify_report(CpiiVerifier *v, const char *node, int64 segment, int64 seq,
	   const char *fmt,...)
{
	CpiiProblem *problem;
	va_list		args;

	v->problems++;
	if (v->problems > MAX_PROBLEMS)
		return;
	if (v->found == NULL)
		v->found = MemoryContextAlloc(v->context, sizeof(CpiiProblem) * MAX_PROBLEMS);
	problem = &v->found[v->nfound];
	problem->node = MemoryContextStrdup(v->context, node);
	problem->segment = segment;
	problem->seq = seq;
	problem->step = v->step;
	problem->number = v->nfound++;
	va_start(args, fmt);
	vsnprintf(problem->text, sizeof(problem->text), fmt, args);
	va_end(args);
	if (v->problems == MAX_PROBLEMS)
	{
		problem->step = INT_MAX;
		strlcpy(problem->text, "further problems are not listed", sizeof(problem->text));
	}
}

static int
compare_problems(const void *a, const void *b)
{
	const CpiiProblem *x = a;
	const CpiiProblem *y = b;
	int			by_node;

	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	by_node = strcmp(x->node, y->node);
	if (by_node != 0)
		return by_node;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->number - y->number;
}

static void
put_out(CpiiVerifier *v)
{
	if (v->nfound == 0)
		return;
	qsort(v->found, v->nfound, sizeof(CpiiProblem), compare_problems);
	for (int i = 0; i < v->nfound; i++)
	{
		CpiiProblem *problem = &v->found[i];
		Datum		values[4];
		bool		nulls[4] = {0};

		values[0] = CStringGetTextDatum(problem->node);
		values[1] = Int64GetDatum(problem->segment);
		nulls[1] = problem->segment < 0;
		values[2] = Int64GetDatum(problem->seq);
		nulls[2] = problem->seq < 0;
		values[3] = CStringGetTextDatum(problem->text);
		tuplestore_putvalues(v->result->setResult, v->result->setDesc, values, nulls);
	}
}

static void
report_missing(CpiiVerifier *v, const char *node, int64 segment, int64 from, int64 to)
{
	cpii_verify_report(v, node, segment, from,
		   "missing: records %lld to %lld are not there",
		   (long long) from, (long long) to);
}

/* ---- the table: putting the pieces together ---- */

/* where the chain of a node stands */
typedef struct End
{
	const CpiiNode *node;
	bool		any;			/* a record was met */
	int64		seq;			/* of the last record */
	int64		segment;
	int			generation;
	unsigned char hash[CPII_HASH_LEN];
} End;

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

/* the first record of a piece: does it follow what was put together? */
static void
check_link(CpiiVerifier *v, const End *end, const CpiiPiece *piece)
{
	static const unsigned char zeros[CPII_HASH_LEN] = {0};
	const char *node = end->node->name;
	int64		seq = piece->first_seq;
	int64		segment = piece->first_segment;
	int64		expected = end->any ? end->seq + 1 : (int64) end->node->progress.start_seq;
	const unsigned char *before = end->any ? end->hash : zeros;

	if (!end->any && !end->node->progress.found)
		return;
	if (seq > expected && v->nruns > 0)
		skip_runs(v, &expected, &before);
	if (seq > expected)
		report_missing(v, node, segment, expected, seq - 1);
	else if (end->any && seq <= end->seq)
	{
		for (; seq <= Min(end->seq, piece->last_seq) && v->problems <= MAX_PROBLEMS; seq++)
			cpii_verify_report(v, node, segment, seq,
				   "duplicate: there is another record with this sequence number");
	}
	else if (seq < expected)
		cpii_verify_report(v, node, segment, seq,
			   "unexpected: the first record should have sequence number %lld",
			   (long long) expected);
	else if (piece->first_intact && memcmp(piece->prev_hash, before, CPII_HASH_LEN) != 0)
		cpii_verify_report(v, node, segment, seq, CPII_PROBLEM_REORDERED);

	if (segment < end->segment)
		cpii_verify_report(v, node, segment, piece->first_seq, CPII_PROBLEM_SEGMENT);
	if (piece->keyed_seq >= 0 && end->any && piece->keyed_generation < end->generation)
		cpii_verify_report(v, node, segment, piece->keyed_seq, "%s",
						   CPII_PROBLEM_GENERATION(piece->keyed_generation));
}

/* the last record of a node is the one that the progress row speaks of */
static void
check_end(CpiiVerifier *v, const End *end)
{
	const CpiiProgress *p = &end->node->progress;
	const char *node = end->node->name;

	if (!p->found || !end->any)
		return;
	if (v->nruns > 0 && end->seq < (int64) p->seq)
	{
		int64		expected = end->seq + 1;
		const unsigned char *before = end->hash;

		skip_runs(v, &expected, &before);
		if (expected == (int64) p->seq + 1 &&
			memcmp(before, p->head_hash, CPII_HASH_LEN) == 0)
			return;
	}
	if (end->seq < (int64) p->seq)
		report_missing(v, node, (int64) p->segment, end->seq + 1, (int64) p->seq);
	else if (end->seq > (int64) p->seq)
		cpii_verify_report(v, node, end->segment, end->seq,
			   "unexpected: the last ingested record has sequence number %llu",
			   (unsigned long long) p->seq);
	else if (memcmp(end->hash, p->head_hash, CPII_HASH_LEN) != 0)
		cpii_verify_report(v, node, end->segment, end->seq,
			   "changed: this is not the record that was ingested last");
	else if (end->generation != p->key_generation)
		cpii_verify_report(v, node, end->segment, end->seq,
			   "changed: the last record was chained with another key");
	if (cpii_chain_generation(v->chain) > 0 && end->generation == 0)
		cpii_verify_report(v, node, end->segment, end->seq,
			   "unprotected: chained without the audit key, although there is one");
}

static int
compare_pieces(const void *a, const void *b)
{
	const CpiiPiece *x = a;
	const CpiiPiece *y = b;

	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	return x->last_seq < y->last_seq ? -1 : x->last_seq > y->last_seq;
}

static void
join_pieces(CpiiVerifier *v, CpiiNode *node)
{
	End			end = {.node = node};

	cpii_verify_load_runs(v, node->name);
	qsort(node->pieces, node->npieces, sizeof(CpiiPiece), compare_pieces);
	for (int64 i = 0; i < node->npieces; i++)
	{
		const CpiiPiece *piece = &node->pieces[i];

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		check_link(v, &end, piece);
		if (end.any && piece->last_seq < end.seq)
			continue;			/* all of them are duplicates */
		end.any = true;
		end.seq = piece->last_seq;
		end.segment = piece->last_segment;
		if (piece->keyed_seq >= 0)
			end.generation = piece->last_generation;
		memcpy(end.hash, piece->last_hash, CPII_HASH_LEN);
	}
	check_end(v, &end);
}

static bool
met(const CpiiVerifier *v, const char *node)
{
	for (int i = 0; i < v->nnodes; i++)
		if (strcmp(v->nodes[i].name, node) == 0)
			return true;
	return false;
}

/* servers of which nothing is left */
static void
check_absent(CpiiVerifier *v)
{
	SPITupleTable *rows;
	uint64		n;

	cpii_internal_execute("SELECT node, segment, start_seq, seq FROM courier_pii.audit_progress ORDER BY node",
						  0, NULL, NULL, NULL, true, 0);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		static const unsigned char zeros[CPII_HASH_LEN] = {0};
		HeapTuple	tuple = rows->vals[i];
		char	   *node = SPI_getvalue(tuple, rows->tupdesc, 1);
		const unsigned char *before = zeros;
		bool		isnull;
		int64		segment = DatumGetInt64(SPI_getbinval(tuple, rows->tupdesc, 2, &isnull));
		int64		start = DatumGetInt64(SPI_getbinval(tuple, rows->tupdesc, 3, &isnull));
		int64		seq = DatumGetInt64(SPI_getbinval(tuple, rows->tupdesc, 4, &isnull));
		int64		expected = start;

		if (met(v, node))
			continue;
		cpii_verify_load_runs(v, node);
		skip_runs(v, &expected, &before);
		if (expected != seq + 1)
			report_missing(v, node, segment, start, seq);
	}
}

static void
check_table(CpiiVerifier *v)
{
	cpii_verify_rows(v);
	for (int i = 0; i < v->nnodes; i++)
		join_pieces(v, &v->nodes[i]);
	check_absent(v);
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
read_tail(const CpiiSpoolState *state, CpiiSpoolKeys *keys, TailProblem *problem)
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
		/* the header tells the node, and its progress whether to read on */
		if (!cpii_spool_read(number, 0, 0, &segment))
			return tail_problem(problem, cpii_spool_node(), (int64) number, -1,
								"damaged: the spool segment cannot be read");
		pfree(segment.data);
		if (strcmp(segment.node, last_node) != 0)
		{
			cpii_ingest_progress(segment.node, &progress);
			strlcpy(last_node, segment.node, sizeof(last_node));
			last = progress.found ? progress.seq : segment.first_seq - 1;
		}
		if (progress.found && progress.segment > number)
			continue;
		if (!cpii_spool_read(number, 0,
							 number == state->segment ? state->offset : CPII_SEGMENT_SIZE,
							 &segment))
			return tail_problem(problem, segment.node, (int64) number, -1,
								"damaged: the spool segment cannot be read");
		segment.keys = keys;
		if (progress.found && progress.segment == number)
			position = progress.offset;
		while (position <= segment.end &&
			   cpii_spool_record(&segment, position, last, &record))
		{
			if (record.seq != last + 1 || record.changed_before || record.reordered_before)
				return tail_problem(problem, segment.node, (int64) number,
									(int64) last + 1, cpii_spool_problem(&record));
			last = record.seq;
			position = record.end;
		}
		pfree(segment.data);
		if (number == state->segment && last + 1 != state->next_seq)
			return tail_problem(problem, segment.node, (int64) number,
								(int64) last + 1, cpii_spool_problem(&record));
	}
	return true;
}

static void
check_tail(CpiiVerifier *v)
{
	TailProblem problem = {0};
	CpiiProgress progress;
	CpiiSpoolKeys *keys = cpii_spool_keys_open(NULL, 0);

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
			ok = read_tail(&state, keys, &problem);
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
	v.context = CurrentMemoryContext;
	v.chain = cpii_chain_open_verifying();
	check_table(&v);
	v.step++;
	check_tail(&v);
	v.step++;
	cpii_verify_spool(&v);
	v.step++;
	cpii_verify_checkpoints(&v);
	put_out(&v);
	cpii_chain_close(v.chain);
	cpii_internal_end(&internal);
	SPI_finish();

	snprintf(detail, sizeof(detail), "{\"records\": %lld, \"problems\": %lld}",
			 (long long) v.records, (long long) v.problems);
	cpii_audit_note(CPII_ACT_SYSTEM, "audit_verify",
					v.problems == 0 ? "ok" : "error", detail);
	return (Datum) 0;
}
