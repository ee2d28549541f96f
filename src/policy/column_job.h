/*-------------------------------------------------------------------------
 *
 * column_job.h
 *	  Work on all rows of a column, in batches that commit: one row of the
 *	  register column_job for each, so that it can go on after any end.
 *
 * A procedure that runs a job is called outside a transaction block.  Between
 * two cpii_job_commit() calls everything is one transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_COLUMN_JOB_H
#define CPII_COLUMN_JOB_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/block.h"
#include "storage/lockdefs.h"

#include "policy/throttle.h"

typedef struct CpiiJob
{
	Oid			relid;
	NameData	col;
	char		kind[16];		/* protect or reseal */
	char		phase[32];
	AttrNumber	attnum;			/* of the column when the job began */
	int			class_id;
	int			nparts;			/* tables that hold rows */
	Oid		   *parts;
	AttrNumber *part_attnums;	/* what to wipe in each */
	int			part;			/* where the job is */
	BlockNumber next_block;
	int64		rows_total;
	int64		rows_done;
	int64		key_group;		/* columns that foreign keys connect; 0: alone */
	int			place;			/* in the group */
	/* of this run */
	int			batch_rows;
	int			pause_ms;		/* after each batch at least */
	CpiiThrottle throttle;
	MemoryContext batch;		/* reset at each commit */
} CpiiJob;

/*
 * Is this a column that protect_column_online fills beside the one that it
 * protects?  What is in it is in clear in the other one still.
 */
extern bool cpii_job_fills(Oid relid, const char *column);

/*
 * Begin or go on: refuse a transaction block, connect to SPI, lock the job
 * against other sessions (55006), and load its row when there is one.
 */
extern CpiiJob *cpii_job_open(FunctionCallInfo fcinfo, const char *kind,
							  Oid relid, const char *col, bool *resumed);
/* another column, which goes together with that of a job that has not begun */
extern CpiiJob *cpii_job_add(const CpiiJob *first, Oid relid, const char *col);
/* all jobs of the group of one that was loaded, itself among them, locked */
extern List *cpii_job_members(CpiiJob *first);
extern void cpii_job_insert(CpiiJob *job);
extern void cpii_job_phase(CpiiJob *job, const char *phase);
/* store the position, commit, and begin the next transaction */
extern void cpii_job_commit(CpiiJob *job);
/* take the row away, commit, disconnect */
extern void cpii_job_close(CpiiJob *job);
/* the same of several at once */
extern void cpii_jobs_phase(List *jobs, const char *phase);
extern void cpii_jobs_commit(List *jobs);
extern void cpii_jobs_close(List *jobs);

/* tables of an inheritance or partition tree that hold rows of their own */
extern void cpii_job_find_parts(CpiiJob *job);

/*
 * Prepared transactions may hold rows for ever: raise (55006) with this detail
 * rather than wait, when one holds rows of the job's tables.
 */
extern void cpii_job_refuse_prepared(CpiiJob *job, const char *detail);

/*
 * Lock tables, with their partitions and children, in a way that does not keep
 * others waiting: a short try, a pause, again.  55P03 when they were never
 * free.  A strong lock takes the masked views that read them along.
 */
extern void cpii_job_lock_tables(List *relids, LOCKMODE mode);
extern void cpii_job_lock_table(Oid relid, LOCKMODE mode);

/* ---- job_batches.c ---- */

/*
 * Run an UPDATE, with $1 and $2 the first and last tid of each range of blocks,
 * over all parts from where the job is.  The statement is made for each part.
 */
typedef char *(*CpiiJobStatement) (CpiiJob *job, Oid part);
extern void cpii_job_run_batches(CpiiJob *job, CpiiJobStatement statement);

/*
 * Rows that batches skipped because somebody had locked them, one at a time:
 * while we wait for one we hold no other.  Which rows, and what to set.
 */
typedef char *(*CpiiJobText) (CpiiJob *job);
extern void cpii_job_run_stragglers(CpiiJob *job, CpiiJobText condition,
									CpiiJobText change);

/* ---- job_update.c ---- */

/*
 * One UPDATE of a table, with its owner's rights and without triggers but those
 * that fire always; the number of rows.
 */
extern uint64 cpii_job_update(Oid relid, const char *sql, int nargs, Oid *types,
							  Datum *values);

/*
 * One SELECT of a table with its owner's rights, inside SPI; the rows are in
 * SPI_tuptable, their number is returned.
 */
extern uint64 cpii_table_read(Oid relid, const char *sql, int nargs, Oid *types,
							  Datum *values, bool read_only, long count);

#endif							/* CPII_COLUMN_JOB_H */
