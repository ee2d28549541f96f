/*-------------------------------------------------------------------------
 *
 * view_calls.c
 *	  Calls of the door and of acts_as() in a query, before it is lifted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "policy/plan_roles.h"
#include "policy/relation.h"
#include "policy/show.h"
#include "policy/view_calls.h"

/* ---- the person's roles ---- */

static bool
is_constant(Node *node, bool value)
{
	return IsA(node, Const) && !((Const *) node)->constisnull &&
		((Const *) node)->consttype == BOOLOID &&
		DatumGetBool(((Const *) node)->constvalue) == value;
}

typedef struct FoldContext
{
	const CpiiOids *oids;
	bool		folded;
} FoldContext;

/*
 * Replace acts_as('role') by what it is for this person, and clear away what
 * that decides.  Done before planning because the planner turns IN into a join
 * before it looks at constants.
 */
static Node *
fold_mutator(Node *node, void *arg)
{
	FoldContext *context = arg;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, fold_mutator, arg, 0);
	if (IsA(node, FuncExpr) &&
		((FuncExpr *) node)->funcid == context->oids->acts_as)
	{
		Node	   *role = linitial(((FuncExpr *) node)->args);

		if (IsA(role, Const) && !((Const *) role)->constisnull)
		{
			Name		name = DatumGetName(((Const *) role)->constvalue);

			context->folded = true;
			return makeBoolConst(cpii_plan_acts_as(get_role_oid(NameStr(*name), true)),
								 false);
		}
	}
	node = expression_tree_mutator(node, fold_mutator, arg);
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
	{
		BoolExpr   *expr = (BoolExpr *) node;
		bool		is_or = expr->boolop == OR_EXPR;
		List	   *args = NIL;
		ListCell   *lc;

		foreach(lc, expr->args)
		{
			if (is_constant(lfirst(lc), is_or))
				return makeBoolConst(is_or, false);
			if (!is_constant(lfirst(lc), !is_or))
				args = lappend(args, lfirst(lc));
		}
		if (args == NIL)
			return makeBoolConst(!is_or, false);
		if (list_length(args) == 1)
			return linitial(args);
		expr->args = args;
	}
	return node;
}

bool
cpii_fold_roles(Query *query, const CpiiOids *oids)
{
	FoldContext fold;
	Query	   *folded;

	fold.oids = oids;
	fold.folded = false;
	folded = query_tree_mutator(query, fold_mutator, &fold, 0);
	memcpy(query, folded, sizeof(Query));
	return fold.folded;
}

/* ---- calls that stand in a masked view ---- */

FuncExpr *
cpii_door_call(Node *expr, const CpiiOids *oids)
{
	FuncExpr   *call;

	while (expr && IsA(expr, RelabelType) &&
		   exprType(expr) == TEXTOID)
		expr = (Node *) ((RelabelType *) expr)->arg;
	if (expr == NULL || !IsA(expr, FuncExpr))
		return NULL;
	call = (FuncExpr *) expr;
	if (call->funcid != oids->show_column || list_length(call->args) != 4)
		return NULL;
	return call;
}

Oid
cpii_view_of(RangeTblEntry *rte)
{
	RangeTblEntry *first;

	if (OidIsValid(rte->relid))
		return rte->relid;
	if (rte->subquery->rtable == NIL)
		return InvalidOid;
	/* early releases of 15 forget it, but its rule still names it as "old" */
	first = linitial_node(RangeTblEntry, rte->subquery->rtable);
	return (first->rtekind == RTE_RELATION && first->relkind == RELKIND_VIEW &&
			strcmp(first->eref->aliasname, "old") == 0) ? first->relid : InvalidOid;
}

/* mark the door calls of registered masked views (show.h says why) */
static bool
mark_walker(Node *node, void *arg)
{
	const CpiiOids *oids = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		ListCell   *lc;

		foreach(lc, ((Query *) node)->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
			Oid			base;
			ListCell   *lc2;

			if (rte->rtekind != RTE_SUBQUERY || rte->subquery == NULL)
				continue;
			base = OidIsValid(cpii_view_of(rte)) ? cpii_masked_view_base(cpii_view_of(rte)) : InvalidOid;
			if (!OidIsValid(base))
				continue;
			rte->subquery->queryId = CPII_VIEW_QUERY_ID;
			foreach(lc2, rte->subquery->targetList)
			{
				FuncExpr   *call = cpii_door_call((Node *) lfirst_node(TargetEntry, lc2)->expr, oids);

				if (call != NULL && IsA(lsecond(call->args), Const) &&
					!((Const *) lsecond(call->args))->constisnull &&
					DatumGetObjectId(((Const *) lsecond(call->args))->constvalue) == base)
					call->location = CPII_VIEW_MARK;
			}
		}
		return query_tree_walker((Query *) node, mark_walker, arg, 0);
	}
	return expression_tree_walker(node, mark_walker, arg);
}

void
cpii_mark_view_calls(Query *query, const CpiiOids *oids)
{
	(void) mark_walker((Node *) query, (void *) oids);
}
