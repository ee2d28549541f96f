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

#include "policy/protect_group.h"

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
	char	   *deflt;			/* default as the text form of a token, or NULL */
	char	   *label;			/* for messages: with its table when there are several */
} CpiiProtect;

/* a table whose columns are protected */
typedef struct CpiiProtectTable
{
	Oid			relid;
	List	   *columns;		/* CpiiProtect * */
} CpiiProtectTable;

/* raise unless this is a table whose columns the caller may protect */
extern void cpii_protect_check_table(Relation rel);
extern void cpii_protect_check_relid(Oid relid);

/*
 * Raise when a column is not there, is protected already or has a type that
 * cannot be sealed; then collect everything that would be lost, of all the
 * columns of all the tables, and raise one error that names all of it.  Online
 * protection keeps less.  The group says which foreign keys are to be kept; its
 * columns are those of the tables.  SPI is connected.
 */
extern void cpii_protect_check(List *tables, CpiiGroup *group, bool online);

/*
 * The column's default as the text form of a query token, NULL without one.
 * False when it is no constant: an expression would work on clear text.
 */
extern bool cpii_protect_default(Oid relid, AttrNumber attnum, char **token);

/* does the default call what is neither the server's, citext's nor ours? */
extern bool cpii_default_is_foreign(Oid relid, AttrNumber attnum);

/*
 * Statements that give partitions and inheriting tables their own defaults of
 * the column again once it is protected; "before" takes them away, where the
 * column is altered in place.  Made while it is not protected yet.
 */
extern List *cpii_protect_part_defaults(Oid relid, const char *column, List **before);

/* class number of a sealed class, or 22023 */
extern int	cpii_sealed_class_or_error(const char *name);

/* ---- index_rebuild.c ---- */

/*
 * The CREATE INDEX of an existing index under another name, with "column"
 * replaced by the sealed column "by".  A plain index becomes one on its tags.
 */
extern IndexStmt *cpii_index_again(Oid index, const char *column, const char *by,
								   const char *name);
/*
 * A valid btree index on the column alone, neither unique nor clustered nor of
 * a constraint or a replica identity, and so all those of partitions with it?
 */
extern bool cpii_index_becomes_tag(Oid index, const char *column);
/* run it in this transaction, with the extension owner's rights */
extern void cpii_index_create(IndexStmt *stmt);
/* have a worker run it concurrently; false when it could not (see the log) */
extern bool cpii_index_create_concurrently(Oid index, AttrNumber column,
										   AttrNumber by, const char *name);

/* is it, with all indexes that it is attached to, on the column's tags alone? */
extern bool cpii_index_is_of_tags(Oid index, const char *column);

/*
 * Around one ALTER TABLE that protects a column, or unprotects it: drop plain
 * indexes of the table, its partitions and children, and make them again as
 * indexes on its tags (or back), with names, tablespaces and comments.  Nobody has
 * the table open; SPI is connected.
 */
extern List *cpii_indexes_take(Oid relid, const char *column, bool protecting);
extern void cpii_indexes_make(List *list);

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
