/*-------------------------------------------------------------------------
 *
 * protect_group.h
 *	  Columns that foreign keys connect: they are protected together.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PROTECT_GROUP_H
#define CPII_PROTECT_GROUP_H

#include "access/attnum.h"
#include "nodes/pg_list.h"

/* ---- protect_group.c: which columns ---- */

/* a column, by the table at the top of its tree of partitions or children */
typedef struct CpiiGroupColumn
{
	Oid			relid;
	char	   *name;
	AttrNumber	attnum;
	int			rank;			/* 0: refers to no other table of the group */
} CpiiGroupColumn;

/* one of the columns of a foreign key, and what it refers to */
typedef struct CpiiGroupPair
{
	Oid			key;			/* pg_constraint */
	Oid			from_relid;		/* perhaps a partition */
	char	   *from;
	Oid			to_relid;
	char	   *to;
} CpiiGroupPair;

typedef struct CpiiGroup
{
	List	   *columns;		/* CpiiGroupColumn *, referenced tables first */
	List	   *pairs;			/* CpiiGroupPair * */
	List	   *keys;			/* pg_constraint, oldest first */
} CpiiGroup;

/* the table at the top of the tree in which the column is one */
extern Oid	cpii_group_top(Oid relid, const char *name);
extern CpiiGroupColumn *cpii_group_column(Oid relid, const char *name);

/*
 * All columns that foreign keys connect with the given ones, over any number
 * of tables, and the given ones.  SPI is connected.
 */
extern CpiiGroup *cpii_group_find(List *columns);
extern bool cpii_group_has(List *columns, Oid relid, const char *name);
/* no column of the group is missing in the list */
extern bool cpii_group_within(CpiiGroup *group, List *columns);
/* the tables, in the order in which they are to be locked */
extern List *cpii_group_tables(CpiiGroup *group);
/* say which columns go along with the given ones, and through which keys */
extern void cpii_group_tell(CpiiGroup *group, List *given);

/* ---- protect_keys.c: the keys themselves ---- */

/* keys by which values of different texts may be equal, which sealed ones are not */
extern List *cpii_keys_by_other_texts(CpiiGroup *group);

/*
 * Raise (23503) unless each of the validated keys holds between the sealed
 * columns that stand beside the columns; "sealed_name" names them.
 */
typedef char *(*CpiiSealedName) (void *arg, Oid relid, const char *column);
extern void cpii_keys_prove(CpiiGroup *group, CpiiSealedName sealed_name, void *arg);

/* names of foreign keys that compare values of a class, or NULL; SPI is connected */
extern char *cpii_keys_of_class(int class_id);

/*
 * Drop the keys, to be made again with their names, actions and comments when
 * their columns are sealed; the tables are locked exclusively.  Those that were
 * valid are proven then, unless they were before.
 */
extern List *cpii_keys_take(CpiiGroup *group);
extern void cpii_keys_make(List *taken, bool proven);

#endif							/* CPII_PROTECT_GROUP_H */
