/*-------------------------------------------------------------------------
 *
 * pure_query.c
 *	  Queries that nothing of ours has anything to do with.
 *
 * Most statements of a server are such, and they should not pay for looking:
 * one pass over what short statements are made of, no list, no copy.  What is
 * met besides is left to the general walks, which say the same at more cost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "nodes/primnodes.h"

#include "base/compat.h"
#include "policy/pure_query.h"
#include "policy/relation.h"
#include "policy/trust.h"

#define MAX_DEPTH 16

static bool look(Node *node, int depth);

/* most of what is met is looked at without a call */
static inline bool
is_pure(Node *node, int depth)
{
	return node == NULL || IsA(node, Var) || IsA(node, Const) ||
		IsA(node, Param) || look(node, depth);
}

static inline bool
are_pure(List *nodes, int depth)
{
	ListCell   *lc;

	foreach(lc, nodes)
		if (!is_pure(lfirst(lc), depth))
			return false;
	return true;
}

static bool
is_harmless(Oid function)
{
	return function < FirstNormalObjectId && OidIsValid(function) &&
		cpii_trust_is_known(function);
}

/* built-in operators call built-in functions */
static inline bool
are_builtin(List *clauses)
{
	ListCell   *lc;

	foreach(lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);

		if (clause->eqop >= FirstNormalObjectId ||
			clause->sortop >= FirstNormalObjectId)
			return false;
	}
	return true;
}

/* an expression; subqueries and whatever is rare are not */
static bool
look(Node *node, int depth)
{
	if (depth > MAX_DEPTH)
		return false;
	switch (nodeTag(node))
	{
		case T_OpExpr:
			return is_harmless(((OpExpr *) node)->opfuncid) &&
				are_pure(((OpExpr *) node)->args, depth + 1);
		case T_BoolExpr:
			return are_pure(((BoolExpr *) node)->args, depth + 1);
		case T_RelabelType:
			return is_pure((Node *) ((RelabelType *) node)->arg, depth + 1);
		case T_NullTest:
			return is_pure((Node *) ((NullTest *) node)->arg, depth + 1);
		case T_ScalarArrayOpExpr:
			return is_harmless(((ScalarArrayOpExpr *) node)->opfuncid) &&
				are_pure(((ScalarArrayOpExpr *) node)->args, depth + 1);
		case T_FuncExpr:
			return is_harmless(((FuncExpr *) node)->funcid) &&
				are_pure(((FuncExpr *) node)->args, depth + 1);
		case T_TargetEntry:
			return is_pure((Node *) ((TargetEntry *) node)->expr, depth + 1);
		case T_Aggref:
			{
				Aggref	   *agg = (Aggref *) node;

				return is_harmless(agg->aggfnoid) &&
					agg->aggorder == NIL && agg->aggdistinct == NIL &&
					agg->aggdirectargs == NIL &&
					is_pure((Node *) agg->aggfilter, depth + 1) &&
					are_pure(agg->args, depth + 1);
			}
		default:
			return false;
	}
}

static bool
is_pure_from(Node *node, int depth)
{
	JoinExpr   *join;

	if (IsA(node, RangeTblRef))
		return true;
	if (!IsA(node, JoinExpr) || depth > MAX_DEPTH)
		return false;
	join = (JoinExpr *) node;
	return is_pure(join->quals, 0) && is_pure_from(join->larg, depth + 1) &&
		is_pure_from(join->rarg, depth + 1);
}

bool
cpii_query_is_pure(Query *query)
{
	ListCell   *lc;

	if (query->commandType != CMD_SELECT || query->hasSubLinks ||
		query->hasWindowFuncs || query->hasTargetSRFs || query->hasForUpdate ||
		query->hasRowSecurity || query->cteList != NIL ||
		query->setOperations != NULL || query->groupingSets != NIL ||
		query->rowMarks != NIL || query->jointree == NULL)
		return false;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION)
		{
			if (cpii_relation_flags(rte->relid) != 0 ||
				rte->relkind == RELKIND_FOREIGN_TABLE ||
				rte->tablesample != NULL || rte->securityQuals != NIL)
				return false;
		}
		else if (CPII_IS_GROUP(rte))
		{
			if (!are_pure(CPII_GROUP_EXPRS(rte), 0))
				return false;
		}
		else if (rte->rtekind != RTE_RESULT &&
				 (rte->rtekind != RTE_JOIN || rte->joinmergedcols != 0))
			return false;
	}
	foreach(lc, query->jointree->fromlist)
		if (!IsA(lfirst(lc), RangeTblRef) && !is_pure_from(lfirst(lc), 0))
			return false;
	foreach(lc, query->targetList)
		if (!is_pure((Node *) lfirst_node(TargetEntry, lc)->expr, 0))
			return false;
	return is_pure(query->jointree->quals, 0) &&
		is_pure(query->havingQual, 0) && is_pure(query->limitOffset, 0) &&
		is_pure(query->limitCount, 0) && are_builtin(query->sortClause) &&
		are_builtin(query->groupClause) && are_builtin(query->distinctClause);
}
