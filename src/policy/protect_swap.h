/*-------------------------------------------------------------------------
 *
 * protect_swap.h
 *	  The sealed column that stands beside a column until it takes its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PROTECT_SWAP_H
#define CPII_PROTECT_SWAP_H

#include "policy/column_job.h"

/* quoted name of the sealed column */
extern const char *cpii_swap_column(CpiiJob *job);

/* add column and trigger; the table is locked exclusively */
extern void cpii_swap_prepare(CpiiJob *job);
/*
 * Prove that every row is sealed.  Readers and writers go on, after one short
 * exclusive lock; commits.
 */
extern void cpii_swap_validate(CpiiJob *job);
/* make every index of the column again, concurrently; commits */
extern void cpii_swap_indexes(CpiiJob *job);
/* prove that foreign keys among the columns hold between the sealed ones, too */
extern void cpii_swap_prove_keys(List *jobs);
/*
 * Put the sealed columns in their places, and foreign keys among them; the
 * tables are locked exclusively.  False when an index appeared meanwhile: it
 * has to be made again first.
 */
extern bool cpii_swap(List *jobs);
/* take all of it away again */
extern void cpii_swap_undo(CpiiJob *job);

/* ---- what the two files of it share ---- */

/* relations of the tree of $1, parents first */
#define CPII_SWAP_TREE \
	"WITH RECURSIVE branch AS (SELECT $1 AS oid, 0 AS depth" \
	" UNION SELECT h.inhrelid, b.depth + 1 FROM pg_catalog.pg_inherits h JOIN branch b ON h.inhparent = b.oid)," \
	" tree AS (SELECT b.oid, pg_catalog.max(b.depth) AS depth FROM branch b GROUP BY b.oid) "

/* rows of a query over the tree ($1) and the column's name ($2), and what is in them */
extern uint64 cpii_swap_query(CpiiJob *job, const char *sql);
/* the statements that such a query gives, one a row, and to run them */
extern List *cpii_swap_statements(CpiiJob *job, const char *sql);
extern void cpii_swap_run_all(List *statements);
extern bool cpii_swap_bool(uint64 row, int column);
extern void cpii_swap_run(const char *sql);
/* name of the sealed column */
extern char *cpii_swap_name(CpiiJob *job);

/* ---- protect_swap_index.c ---- */

/* an index of the column that must be made again */
typedef struct CpiiSwapIndex
{
	Oid			oid;
	Oid			relid;
	Oid			parent;			/* the index it is attached to, or 0 */
	bool		partitioned;
	bool		clustered;
	bool		replica;
	char	   *name;
	char	   *constraint;		/* name, or NULL */
	char	   *definition;		/* of the constraint */
	bool		primary;
	char	   *deferral;		/* DEFERRABLE ..., or "" */
	char	   *comment;
	char	   *constraint_comment;
	Oid			made;			/* the new one, or 0 */
	bool		valid;
} CpiiSwapIndex;

/* of the tables of the tree, parents first */
extern CpiiSwapIndex *cpii_swap_find_indexes(CpiiJob *job, int *count);
extern CpiiSwapIndex *cpii_swap_index_of(CpiiSwapIndex *list, int n, Oid oid);
/* drop those that were made for an index that is gone */
extern void cpii_swap_drop_orphans(CpiiJob *job);
/* the new ones get the names and marks of the old ones */
extern void cpii_swap_names(CpiiSwapIndex *list, int n);

#endif							/* CPII_PROTECT_SWAP_H */
