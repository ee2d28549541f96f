/*-------------------------------------------------------------------------
 *
 * protect.h
 *	  What the ways to protect a column share: the checks beforehand, indexes
 *	  made again over a sealed column, and jobs that work in batches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PROTECT_H
#define CPII_PROTECT_H

#include "nodes/parsenodes.h"
#include "utils/rel.h"

/* ---- protect_check.c ---- */

typedef struct CpiiProtect
{
	/* given */
	char	   *column;
	int			class_id;
	bool		pgcrypto;		/* its values are pgcrypto messages */
	/* found */
	AttrNumber	attnum;
	Oid			type;
	bool		notnull;
	char	   *deflt;			/* default as the text form of a token, or NULL */
} CpiiProtect;

/* raise unless this is a table whose columns the caller may protect */
extern void cpii_protect_check_table(Relation rel);

/*
 * Raise when a column is not there, is protected already or has a type that
 * cannot be sealed; then collect everything that would be lost, of all the
 * columns, and raise one error that names all of it.  Online protection keeps
 * less.  SPI is connected.
 */
extern void cpii_protect_check(Relation rel, CpiiProtect *columns, int n,
							   bool online);

/*
 * The column's default as the text form of a query token, NULL without one.
 * False when it is no constant: an expression would work on clear text.
 */
extern bool cpii_protect_default(Oid relid, AttrNumber attnum, char **token);

/* class number of a sealed class, or 22023 */
extern int	cpii_sealed_class_or_error(const char *name);

/* ---- index_rebuild.c ---- */

/*
 * The CREATE INDEX of an existing index, with "column" replaced by "by".  When
 * compact, a btree index that is neither unique nor of a constraint is made
 * over the search tags of the column.  name NULL: the name it has now.
 */
extern IndexStmt *cpii_index_again(Oid index, const char *column, const char *by,
								   bool compact, const char *name);
/* can this index be made over search tags? */
extern bool cpii_index_compactable(Oid index);
/* run it in this transaction, with the extension owner's rights */
extern void cpii_index_create(IndexStmt *stmt);
/* have a worker run it concurrently; false when it could not (see the log) */
extern bool cpii_index_create_concurrently(Oid index, AttrNumber column,
										   AttrNumber by, bool compact,
										   const char *name);

/* ---- column_wipe.c ---- */

/*
 * Overwrite what a dropped column left in blocks [from, to) of a table, and the
 * unused space of these blocks.  Readers and writers go on meanwhile.
 */
extern void cpii_wipe_dropped(Relation rel, AttrNumber attnum,
							  BlockNumber from, BlockNumber to);
/* the unused space of all blocks of a relation, after pruning what is dead */
extern void cpii_wipe_unused_space(Relation rel);

#endif							/* CPII_PROTECT_H */
