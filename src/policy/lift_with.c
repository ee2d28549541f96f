/*-------------------------------------------------------------------------
 *
 * lift_with.c
 *	  WITH queries that read masked views are put where they are used.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"

#include "base/compat.h"
#include "policy/lift.h"
#include "policy/lift_with.h"
#include "policy/view_calls.h"

typedef struct InlineContext
{
	CommonTableExpr *cte;
	int			levelsup;
} InlineContext;

/* put the WITH query where it is referred to */
static bool
inline_walker(Node *node, void *arg)
{
	InlineContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		context->levelsup++;
		(void) query_tree_walker((Query *) node, inline_walker, arg,
								 QTW_EXAMINE_RTES_AFTER);
		context->levelsup--;
		return false;
	}
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_CTE &&
			rte->ctelevelsup == context->levelsup &&
			strcmp(rte->ctename, context->cte->ctename) == 0)
		{
			rte->subquery = copyObject((Query *) context->cte->ctequery);
			if (context->levelsup > 0)
				IncrementVarSublevelsUp((Node *) rte->subquery,
										context->levelsup, 1);
			rte->rtekind = RTE_SUBQUERY;
			rte->security_barrier = false;
			rte->ctename = NULL;
			rte->ctelevelsup = 0;
			rte->self_reference = false;
			rte->coltypes = NIL;
			rte->coltypmods = NIL;
			rte->colcollations = NIL;
			context->cte->cterefcount--;
		}
		return false;
	}
	return expression_tree_walker(node, inline_walker, arg);
}

static bool
changes_or_locks_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->commandType != CMD_SELECT || query->rowMarks != NIL)
			return true;
		return query_tree_walker(query, changes_or_locks_walker, arg, 0);
	}
	return expression_tree_walker(node, changes_or_locks_walker, arg);
}

/*
 * May a WITH query be put into several places?  When it was asked for, and when
 * it does nothing but read a masked view: materialized, it would have all its
 * rows shown, and equality would compare what is shown.
 */
static bool
reads_view_plainly(CommonTableExpr *cte)
{
	Query	   *query = castNode(Query, cte->ctequery);
	ListCell   *lc;

	if (cte->ctematerialized == CTEMaterializeNever)
		return true;
	if (cte->cterefcount < 1 || !cpii_can_be_lifted(query) ||
		query->limitCount != NULL || query->limitOffset != NULL)
		return false;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->subquery != NULL &&
			rte->subquery->queryId == CPII_VIEW_QUERY_ID)
			return true;
	}
	return false;
}

/*
 * The planner folds a WITH query that is used once into the query around it.
 * We do it before, under its rules, so that a search reaches the view inside.
 */
static bool
inline_ctes_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *lc;

		foreach(lc, query->cteList)
		{
			CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);
			InlineContext context;

			if (query->commandType != CMD_SELECT || cte->cterecursive ||
				(cte->cterefcount != 1 && !reads_view_plainly(cte)) ||
				cte->ctematerialized == CTEMaterializeAlways ||
				changes_or_locks_walker(cte->ctequery, NULL) ||
				contain_volatile_functions(cte->ctequery))
				continue;
			context.cte = cte;
			context.levelsup = -1;
			(void) inline_walker((Node *) query, &context);
		}
		return query_tree_walker(query, inline_ctes_walker, arg, 0);
	}
	return expression_tree_walker(node, inline_ctes_walker, arg);
}

void
cpii_inline_with_queries(Query *query)
{
	(void) inline_ctes_walker((Node *) query, NULL);
}
