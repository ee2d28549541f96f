/*-------------------------------------------------------------------------
 *
 * examined.c
 *	  How many rows of protected tables a plan's scans have met, whether or not
 *	  they passed its filters: an aggregate returns one row and may have seen
 *	  everybody.
 *
 * The executor counts (instrumentation of rows, without times); workers' counts
 * reach the leader when they end.  Nothing here reads the catalog, so that it
 * works after an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/instrument.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "utils/rel.h"

#include "audit/statement.h"
#include "guard/guard.h"

static bool
is_touched(Relation rel)
{
	for (int i = 0; i < cpii_statement.nrelations; i++)
		if (cpii_statement.relations[i] == RelationGetRelid(rel))
			return true;
	/* more partitions than are remembered by name */
	return rel->rd_rel->relispartition &&
		cpii_statement.nrelations == CPII_MAX_STATEMENT_RELATIONS;
}

static bool
add_scan(PlanState *node, double *rows)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			{
				Relation	rel = ((ScanState *) node)->ss_currentRelation;
				Instrumentation *count = node->instrument;

				if (rel != NULL && count != NULL && is_touched(rel))
					*rows += count->ntuples + count->tuplecount +
						count->nfiltered1 + count->nfiltered2;
				break;
			}
		default:
			break;
	}
	return planstate_tree_walker(node, add_scan, rows);
}

int64
cpii_examined(QueryDesc *query)
{
	double		rows = 0;

	if (query->planstate == NULL || query->planstate->instrument == NULL ||
		cpii_statement.nrelations == 0)
		return 0;
	(void) add_scan(query->planstate, &rows);
	return (int64) rows;
}
