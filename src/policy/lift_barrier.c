/*-------------------------------------------------------------------------
 *
 * lift_barrier.c
 *	  Barriers of masked views that protect nothing in this query are opened.
 *
 * A security barrier keeps functions of the query from seeing rows before the
 * view's own conditions have dropped some of them.  It also keeps the view's
 * subquery a plan of its own, without index lookups for joins.  What a column
 * shows needs no barrier: nobody outside can get hold of the sealed value.  So
 * the barrier is opened when the row rules, as folded for this person, drop no
 * row; or when no condition of the whole query could tell about rows that it
 * gets to see too early.  The whole query, for the planner moves conditions
 * between its levels.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"

#include "policy/lift_barrier.h"
#include "policy/view_calls.h"

static bool
is_view(RangeTblEntry *rte)
{
	return rte->rtekind == RTE_SUBQUERY && rte->subquery != NULL &&
		rte->subquery->queryId == CPII_VIEW_QUERY_ID;
}

/* on a copy: references to outer queries count like those to this one */
static bool
flatten_walker(Node *node, void *arg)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, Var))
		((Var *) node)->varlevelsup = 0;
	return expression_tree_walker(node, flatten_walker, arg);
}

/* could a function in this expression tell what it was called with? */
static bool
expression_leaks(Node *node)
{
	Node	   *copy = copyObject(node);

	(void) flatten_walker(copy, NULL);
	return contain_leaked_vars(copy);
}

static bool
condition_leaks(Node *node)
{
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (IsA(node, List))
	{
		foreach(lc, (List *) node)
			if (condition_leaks(lfirst(lc)))
				return true;
		return false;
	}
	if (IsA(node, BoolExpr))
		return condition_leaks((Node *) ((BoolExpr *) node)->args);
	if (IsA(node, SubLink))
	{
		SubLink    *link = (SubLink *) node;

		/* what is inside is looked at on its own */
		if (link->subLinkType == EXISTS_SUBLINK)
			return false;
		if (link->subLinkType == ANY_SUBLINK || link->subLinkType == ALL_SUBLINK)
			return condition_leaks(link->testexpr);
		return true;
	}
	return contain_subplans(node) || expression_leaks(node);
}

static bool
join_leaks(Node *node)
{
	ListCell   *lc;

	if (node == NULL || IsA(node, RangeTblRef))
		return false;
	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			if (join_leaks(lfirst(lc)))
				return true;
		return condition_leaks(((FromExpr *) node)->quals);
	}
	if (IsA(node, JoinExpr))
		return join_leaks(((JoinExpr *) node)->larg) ||
			join_leaks(((JoinExpr *) node)->rarg) ||
			condition_leaks(((JoinExpr *) node)->quals);
	return true;
}

static bool query_leaks(Query *query, bool top);

static bool
leaks_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_leaks((Query *) node, false);
	return expression_tree_walker(node, leaks_walker, arg);
}

/*
 * What a query at the top puts out is worked out for rows that passed all
 * conditions.  Outputs of inner queries can become conditions of outer ones.
 */
static bool
query_leaks(Query *query, bool top)
{
	ListCell   *lc;

	if (join_leaks((Node *) query->jointree) || condition_leaks(query->havingQual))
		return true;
	if (!top)
		foreach(lc, query->targetList)
			if (condition_leaks((Node *) lfirst_node(TargetEntry, lc)->expr))
				return true;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		switch (rte->rtekind)
		{
			case RTE_SUBQUERY:
				/* conditions of row rules are ours */
				if (!is_view(rte) && query_leaks(rte->subquery, false))
					return true;
				break;
			case RTE_JOIN:
				/* columns that USING merges, perhaps through casts */
				if (condition_leaks((Node *) rte->joinaliasvars))
					return true;
				break;
			case RTE_RELATION:
			case RTE_CTE:
				break;
			default:
				/* functions and the like, to which LATERAL hands rows */
				if (rte->lateral)
					return true;
				break;
		}
	}
	/* subqueries in expressions, WITH queries */
	return query_tree_walker(query, leaks_walker, NULL, QTW_IGNORE_RANGE_TABLE);
}

/* does the view drop no row at all? */
static bool
drops_nothing(Query *sub)
{
	Node	   *quals = sub->jointree->quals;

	return quals == NULL ||
		(IsA(quals, Const) && !((Const *) quals)->constisnull &&
		 ((Const *) quals)->consttype == BOOLOID &&
		 DatumGetBool(((Const *) quals)->constvalue));
}

static bool
open_walker(Node *node, void *arg)
{
	bool	   *leaks = arg;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (is_view(rte) && (!*leaks || drops_nothing(rte->subquery)))
			rte->security_barrier = false;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, open_walker, arg,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, open_walker, arg);
}

void
cpii_open_barriers(Query *query)
{
	bool		leaks = query_leaks(query, true);

	(void) open_walker((Node *) query, &leaks);
}
