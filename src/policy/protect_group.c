/*-------------------------------------------------------------------------
 *
 * protect_group.c
 *	  Columns that foreign keys connect: they are protected together.
 *
 * A key holds between columns of one kind only.  So whoever protects one of
 * its columns protects the other, and what that one is connected with in turn.
 * A key of a partition or an inheriting table counts for the table at the top,
 * where columns are protected.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "policy/policy.h"
#include "policy/protect_group.h"
#include "sealed/seal.h"

Oid
cpii_group_top(Oid relid, const char *name)
{
	for (;;)
	{
		Oid			types[2] = {OIDOID, NAMEOID};
		NameData	column;
		Datum		values[2];
		List	   *parents;

		namestrcpy(&column, name);
		values[0] = ObjectIdGetDatum(relid);
		values[1] = NameGetDatum(&column);
		parents = cpii_internal_oids("SELECT h.inhparent FROM pg_catalog.pg_inherits h"
									 " JOIN pg_catalog.pg_attribute a ON a.attrelid = h.inhparent AND a.attname = $2"
									 " WHERE h.inhrelid = $1 AND a.attnum > 0 ORDER BY h.inhseqno",
									 2, types, values);
		if (parents == NIL)
			return relid;
		if (list_length(parents) > 1)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot protect column \"%s\", which \"%s\" inherits from more than one table",
							name, get_rel_name(relid))));
		relid = linitial_oid(parents);
	}
}

CpiiGroupColumn *
cpii_group_column(Oid relid, const char *name)
{
	CpiiGroupColumn *column = palloc0(sizeof(CpiiGroupColumn));

	column->relid = relid;
	column->name = pstrdup(name);
	column->attnum = get_attnum(relid, name);
	return column;
}

static CpiiGroupColumn *
find_column(List *columns, Oid relid, const char *name)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		CpiiGroupColumn *column = lfirst(lc);

		if (column->relid == relid && strcmp(column->name, name) == 0)
			return column;
	}
	return NULL;
}

bool
cpii_group_has(List *columns, Oid relid, const char *name)
{
	return find_column(columns, cpii_group_top(relid, name), name) != NULL;
}

bool
cpii_group_within(CpiiGroup *group, List *columns)
{
	ListCell   *lc;

	foreach(lc, group->columns)
	{
		CpiiGroupColumn *column = lfirst(lc);

		if (find_column(columns, column->relid, column->name) == NULL)
			return false;
	}
	return true;
}

/* the pairs of all keys in which this column of the tree is one, on either side */
static List *
pairs_of(const CpiiGroupColumn *column)
{
	Oid			types[2] = {OIDARRAYOID, NAMEOID};
	Datum		values[2];
	NameData	name;
	List	   *tree = find_all_inheritors(column->relid, NoLock, NULL);
	List	   *pairs = NIL;
	Oid			type;
	Oid			ignored;
	int32		typmod;

	/* not there, or sealed already: whoever protects it is told so */
	if (column->attnum == InvalidAttrNumber)
		return NIL;
	get_atttypetypmodcoll(column->relid, column->attnum, &type, &typmod, &ignored);
	if (cpii_class_of_type(type, typmod) != 0)
		return NIL;
	namestrcpy(&name, column->name);
	values[0] = cpii_oid_array(tree);
	values[1] = NameGetDatum(&name);
	/* the server derives keys of its own for partitions on either side */
	cpii_internal_execute("SELECT k.oid, k.conrelid, f.attname, k.confrelid, t.attname FROM pg_catalog.pg_constraint k"
						  " CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS u (f, t)"
						  " JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.f"
						  " JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.t"
						  " WHERE k.contype = 'f' AND k.conparentid = 0"
						  " AND ((k.conrelid = ANY ($1) AND f.attname = $2) OR (k.confrelid = ANY ($1) AND t.attname = $2))"
						  " ORDER BY k.oid, u.f",
						  2, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		CpiiGroupPair *pair = palloc0(sizeof(CpiiGroupPair));

		pair->key = cpii_result_oid(i, 1);
		pair->from_relid = cpii_result_oid(i, 2);
		pair->from = cpii_result_text(i, 3);
		pair->to_relid = cpii_result_oid(i, 4);
		pair->to = cpii_result_text(i, 5);
		pairs = lappend(pairs, pair);
	}
	return pairs;
}

static bool
same_pair(const CpiiGroupPair *a, const CpiiGroupPair *b)
{
	return a->key == b->key && strcmp(a->from, b->from) == 0;
}

static void
add_pair(CpiiGroup *group, CpiiGroupPair *pair)
{
	ListCell   *lc;

	foreach(lc, group->pairs)
		if (same_pair(lfirst(lc), pair))
			return;
	group->pairs = lappend(group->pairs, pair);
	group->keys = list_append_unique_oid(group->keys, pair->key);
}

static void
add_column(CpiiGroup *group, Oid relid, const char *name)
{
	Oid			top = cpii_group_top(relid, name);

	if (find_column(group->columns, top, name) == NULL)
		group->columns = lappend(group->columns, cpii_group_column(top, name));
}

static int
compare_columns(const ListCell *a, const ListCell *b)
{
	const CpiiGroupColumn *x = lfirst(a);
	const CpiiGroupColumn *y = lfirst(b);

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->relid != y->relid)
		return x->relid < y->relid ? -1 : 1;
	return x->attnum - y->attnum;
}

static int
compare_keys(const ListCell *a, const ListCell *b)
{
	return lfirst_oid(a) < lfirst_oid(b) ? -1 : lfirst_oid(a) > lfirst_oid(b);
}

/*
 * Referenced tables first: writers insert there first, and so a try to lock
 * them all meets fewer who hold one and wait for another.  Tables that refer
 * to each other in a circle come in the order of their numbers.
 */
static void
put_in_order(CpiiGroup *group)
{
	int			n = list_length(group->columns);

	for (int round = 1; round < n; round++)
	{
		ListCell   *lc;

		foreach(lc, group->pairs)
		{
			CpiiGroupPair *pair = lfirst(lc);
			CpiiGroupColumn *from = find_column(group->columns, cpii_group_top(pair->from_relid, pair->from), pair->from);
			CpiiGroupColumn *to = find_column(group->columns, cpii_group_top(pair->to_relid, pair->to), pair->to);

			if (from->relid != to->relid)
				from->rank = Min(Max(from->rank, to->rank + 1), n);
		}
	}
	list_sort(group->columns, compare_columns);
	list_sort(group->keys, compare_keys);
}

CpiiGroup *
cpii_group_find(List *columns)
{
	CpiiGroup  *group = palloc0(sizeof(CpiiGroup));
	ListCell   *lc;

	foreach(lc, columns)
	{
		CpiiGroupColumn *column = lfirst(lc);

		/* as given: of a partition the checks complain */
		if (find_column(group->columns, column->relid, column->name) == NULL)
			group->columns = lappend(group->columns,
									 cpii_group_column(column->relid, column->name));
	}
	/* the list grows while we go through it */
	for (int i = 0; i < list_length(group->columns); i++)
	{
		foreach(lc, pairs_of(list_nth(group->columns, i)))
		{
			CpiiGroupPair *pair = lfirst(lc);

			add_pair(group, pair);
			add_column(group, pair->from_relid, pair->from);
			add_column(group, pair->to_relid, pair->to);
		}
	}
	put_in_order(group);
	return group;
}

List *
cpii_group_tables(CpiiGroup *group)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, group->columns)
		tables = list_append_unique_oid(tables, ((CpiiGroupColumn *) lfirst(lc))->relid);
	return tables;
}

/* the names of the keys that touch the column */
static char *
key_names(CpiiGroup *group, const CpiiGroupColumn *column)
{
	StringInfoData list;
	List	   *told = NIL;
	ListCell   *lc;

	initStringInfo(&list);
	foreach(lc, group->pairs)
	{
		CpiiGroupPair *pair = lfirst(lc);

		if (list_member_oid(told, pair->key) ||
			!((cpii_group_top(pair->from_relid, pair->from) == column->relid && strcmp(pair->from, column->name) == 0) ||
			  (cpii_group_top(pair->to_relid, pair->to) == column->relid && strcmp(pair->to, column->name) == 0)))
			continue;
		appendStringInfo(&list, "%s%s", told == NIL ? "" : ", ",
						 quote_identifier(get_constraint_name(pair->key)));
		told = lappend_oid(told, pair->key);
	}
	return list.data;
}

void
cpii_group_tell(CpiiGroup *group, List *given)
{
	StringInfoData list;
	ListCell   *lc;
	int			n = 0;

	initStringInfo(&list);
	foreach(lc, group->columns)
	{
		CpiiGroupColumn *column = lfirst(lc);

		if (find_column(given, column->relid, column->name) != NULL)
			continue;
		appendStringInfo(&list, "%s%s.%s (%s)", n > 0 ? ", " : "",
						 cpii_qualified_name(column->relid), quote_identifier(column->name),
						 key_names(group, column));
		n++;
	}
	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%d column is protected along with \"%s\", because foreign keys connect them",
							   "%d columns are protected along with \"%s\", because foreign keys connect them",
							   n, n, ((CpiiGroupColumn *) linitial(given))->name),
				 errdetail("Columns and keys: %s.", list.data)));
}
