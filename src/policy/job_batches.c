/*-------------------------------------------------------------------------
 *
 * job_batches.c
 *	  Work on all rows of a column, in batches that commit.
 *
 * Rows that another transaction has locked are skipped by a batch, so a batch
 * never waits while it holds row locks: writers wait for it at most one batch,
 * and cannot deadlock with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "policy/column_job.h"
#include "policy/policy.h"
#include "policy/throttle.h"

/* rows that batches skipped are looked for so many at a time */
#define STRAGGLERS "500"

/*
 * How long a batch may hold its rows: a writer who needs one of them waits for
 * the rest of the batch.  batch_rows is the most it ever takes at a time.
 */
#define BATCH_MS 3
#define FIRST_ROWS 200

/*
 * The end of a batch.  Nobody waits for its record to reach the disk, or a
 * standby, with the batch's rows still locked: a crash may take the last
 * batches back, and the register with them, and they are done again.
 */
static void
commit_batch(CpiiJob *job)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	cpii_job_commit(job);
}

/* blocks that hold about so many rows */
static BlockNumber
blocks_of_rows(Relation rel, int rows)
{
	double		pages = Max(rel->rd_rel->relpages, 1);
	double		density = rel->rd_rel->reltuples > 0 ?
		rel->rd_rel->reltuples / pages : 60;

	return (BlockNumber) Max(1, rows / Max(density, 1));
}

static Datum
tid(BlockNumber block)
{
	ItemPointer p = palloc(sizeof(ItemPointerData));

	ItemPointerSet(p, block, 0);
	return PointerGetDatum(p);
}

/* all batches of one table; it has blocks for as long as we know of */
static void
run_part(CpiiJob *job, Oid part, CpiiJobStatement statement)
{
	Oid			types[2] = {TIDOID, TIDOID};
	Relation	rel = try_relation_open(part, AccessShareLock);
	BlockNumber blocks;
	BlockNumber most;
	BlockNumber step;

	if (rel == NULL)
		return;					/* dropped meanwhile */
	/* later blocks hold rows that were written under the job's trigger */
	blocks = RelationGetNumberOfBlocks(rel);
	most = blocks_of_rows(rel, job->batch_rows);
	step = Min(most, blocks_of_rows(rel, FIRST_ROWS));
	relation_close(rel, NoLock);
	while (job->next_block < blocks)
	{
		MemoryContext old = MemoryContextSwitchTo(job->batch);
		TimestampTz began = GetCurrentTimestamp();
		BlockNumber to = blocks - job->next_block > step ? job->next_block + step : blocks;
		Datum		values[2];
		char	   *sql;
		long		took;

		CHECK_FOR_INTERRUPTS();
		values[0] = tid(job->next_block);
		values[1] = tid(to);
		sql = statement(job, part);
		if (sql == NULL)
		{
			MemoryContextSwitchTo(old);
			return;
		}
		job->rows_done += cpii_job_update(part, sql, 2, types, values);
		job->next_block = to;
		MemoryContextSwitchTo(old);
		commit_batch(job);
		took = TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());
		if (took > 2 * BATCH_MS)
			step = Max(step / 2, 1);
		else if (took < BATCH_MS && step < most)
			step = Min(most, step + Max(step / 4, 1));
		cpii_throttle_pause(&job->throttle, took, job->pause_ms);
	}
}

void
cpii_job_run_batches(CpiiJob *job, CpiiJobStatement statement)
{
	for (; job->part < job->nparts; job->part++, job->next_block = 0)
		run_part(job, job->parts[job->part], statement);
}

static void
run_stragglers_of(CpiiJob *job, Oid relid, CpiiJobText condition, CpiiJobText change)
{
	Oid			types[1] = {TIDOID};
	char	   *table = cpii_qualified_name(relid);
	uint64		n;

	do
	{
		Datum	   *tids;

		n = cpii_table_read(relid,
							psprintf("SELECT ctid FROM ONLY %s WHERE %s LIMIT " STRAGGLERS,
									 table, condition(job)),
							0, NULL, NULL, true, 0);
		tids = palloc(sizeof(Datum) * Max(n, 1));
		for (uint64 k = 0; k < n; k++)
		{
			bool		isnull;

			tids[k] = datumCopy(SPI_getbinval(SPI_tuptable->vals[k], SPI_tuptable->tupdesc, 1, &isnull),
								false, sizeof(ItemPointerData));
		}
		SPI_freetuptable(SPI_tuptable);
		cpii_job_commit(job);
		for (uint64 k = 0; k < n; k++)
		{
			CHECK_FOR_INTERRUPTS();
			job->rows_done += cpii_job_update(relid,
											  psprintf("UPDATE ONLY %s SET %s WHERE ctid = $1 AND %s",
													   table, change(job), condition(job)),
											  1, types, &tids[k]);
			cpii_job_commit(job);
		}
		pfree(tids);
	} while (n > 0);
}

void
cpii_job_run_stragglers(CpiiJob *job, CpiiJobText condition, CpiiJobText change)
{
	for (int i = 0; i < job->nparts; i++)
		if (get_rel_name(job->parts[i]) != NULL)
			run_stragglers_of(job, job->parts[i], condition, change);
}
