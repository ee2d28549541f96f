/*-------------------------------------------------------------------------
 *
 * column_order.c
 *	  The order in which masked views show the columns of their table.
 *
 * A column that was protected online is the last one of its table; a view
 * shows it where it stood.  The column beside it is remembered by name, so
 * that this survives dump and restore; where names no longer fit, the table's
 * order holds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "policy/policy.h"
#include "sealed/seal.h"

bool
cpii_is_swap_column(Form_pg_attribute att)
{
	return strncmp(NameStr(att->attname), CPII_SWAP_COLUMN, strlen(CPII_SWAP_COLUMN)) == 0 &&
		cpii_class_of_type(att->atttypid, att->atttypmod) != 0;
}

static int
find(TupleDesc desc, const AttrNumber *order, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, order[i] - 1)->attname), name) == 0)
			return i;
	return -1;
}

/* move entry "from" before entry "to" */
static void
move(AttrNumber *order, int from, int to)
{
	AttrNumber	moved = order[from];

	if (from < to)
	{
		to--;
		memmove(order + from, order + from + 1, sizeof(AttrNumber) * (to - from));
	}
	else
		memmove(order + to + 1, order + to, sizeof(AttrNumber) * (from - to));
	order[to] = moved;
}

AttrNumber *
cpii_view_columns(Relation rel, int *count)
{
	TupleDesc	desc = RelationGetDescr(rel);
	AttrNumber *order = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(RelationGetRelid(rel))};
	uint64		places;
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !cpii_is_swap_column(att))
			order[n++] = att->attnum;
	}
	*count = n;

	SPI_connect();
	cpii_internal_execute("SELECT p.col, p.before_col FROM courier_pii.column_place p"
						  " WHERE p.tbl = $1 AND p.before_col IS NOT NULL ORDER BY p.col",
						  1, types, values, NULL, false, 0);
	places = SPI_processed;
	/* a column may stand before one that is moved itself: as often as there are */
	for (uint64 round = 0; round < places; round++)
		for (uint64 i = 0; i < places; i++)
		{
			int			from = find(desc, order, n, cpii_result_text(i, 1));
			int			to = find(desc, order, n, cpii_result_text(i, 2));

			if (from >= 0 && to >= 0 && from != to - 1)
				move(order, from, to);
		}
	SPI_finish();
	return order;
}
