/*-------------------------------------------------------------------------
 *
 * lift.c
 *	  What the planner is told about masked views.
 *
 * A masked view is a security barrier whose protected columns are
 * show_column(base column, ...).  The planner would evaluate the door at the
 * barrier, for rows that a later LIMIT drops, and could not use an index for
 * "view column = literal".  So before planning we
 *
 * 0. mark: the door calls of registered masked views, which alone may claim a
 *	  column and a row scope; fold: decide acts_as('role') for the person, so that the rules of other
 *	  roles leave no trace in the plan.
 * 1. lift: give the view's subquery an extra output with the sealed column
 *	  (and the row's scope), and put the call of the door where the column was
 *	  used.  Nothing outside can get hold of the sealed output, for it stands
 *	  only inside the call; conditions on the shown text stay outside the
 *	  barrier as before.
 * 2. search: turn "show_column(c, ...) = literal or parameter" into a search
 *	  of c by real value, which is leakproof, so the planner moves it through
 *	  the barrier to an index.  "= ANY (array)" and IN lists likewise.
 *
 * 3. show late: "ORDER BY something else" sorts the sealed values.
 *
 * Every other use of the column works on what the person is shown.  Where a
 * subquery groups, sorts, or combines by the shown text nothing is lifted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "policy/lift.h"
#include "policy/lift_barrier.h"
#include "policy/lift_search.h"
#include "policy/lift_with.h"
#include "policy/lift_write.h"
#include "policy/view_calls.h"
#include "sealed/oids.h"
#include "sealed/search.h"
#include "sealed/seal.h"

typedef struct LiftedColumn
{
	AttrNumber	attno;			/* of the shown column */
	FuncExpr   *call;			/* template: the door's call in the subquery */
	AttrNumber	raw_attno;		/* output that holds the sealed column */
	AttrNumber	scope_attno;	/* output that holds the scope, or 0: constant */
} LiftedColumn;

typedef struct LiftContext
{
	const CpiiOids *oids;
	int			rtindex;		/* subquery whose columns are replaced */
	int			sublevels_up;
	List	   *columns;		/* of LiftedColumn */
	Query	   *subquery;
	RangeTblEntry *rte;
	int			first_added;	/* outputs from here on are ours */
	bool		whole_row;		/* found by the search for references */
	Oid			row_type;		/* of such a reference */
	AttrNumber	row_attno;		/* output that holds the row, or 0: made above */
	bool		replaced;
} LiftContext;

static bool lift_walker(Node *node, void *arg);

/* ---- which columns can be lifted ---- */

bool
cpii_can_be_lifted(Query *sub)
{
	return sub->commandType == CMD_SELECT && sub->setOperations == NULL &&
		sub->groupClause == NIL && sub->groupingSets == NIL &&
		sub->distinctClause == NIL && sub->havingQual == NULL &&
		!sub->hasAggs && !sub->hasWindowFuncs && !sub->hasTargetSRFs;
}

static List *
liftable_columns(Query *sub, const CpiiOids *oids)
{
	List	   *columns = NIL;
	ListCell   *lc;

	if (!cpii_can_be_lifted(sub))
		return NIL;
	foreach(lc, sub->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		FuncExpr   *call = tle->resjunk ? NULL : cpii_door_call((Node *) tle->expr, oids);
		LiftedColumn *column;

		if (call == NULL || tle->ressortgroupref != 0 ||
			contain_volatile_functions((Node *) call))
			continue;
		column = palloc0(sizeof(LiftedColumn));
		column->attno = tle->resno;
		column->call = call;
		columns = lappend(columns, column);
	}
	return columns;
}

/* ---- references to a subquery's columns ---- */

static LiftedColumn *
find_column(LiftContext *context, AttrNumber attno)
{
	ListCell   *lc;

	foreach(lc, context->columns)
	{
		LiftedColumn *column = lfirst(lc);

		if (column->attno == attno)
			return column;
	}
	return NULL;
}

/* does anything refer to a liftable column, or to the row as a whole? */
static bool
reference_walker(Node *node, void *arg)
{
	LiftContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno == context->rtindex &&
			var->varlevelsup == context->sublevels_up)
		{
			if (var->varattno == InvalidAttrNumber)
			{
				context->whole_row = true;
				context->row_type = var->vartype;
			}
			else if (find_column(context, var->varattno) != NULL)
				context->replaced = true;
		}
		return false;
	}
	if (IsA(node, Query))
	{
		bool		result;

		context->sublevels_up++;
		result = query_tree_walker((Query *) node, reference_walker, context, 0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_walker(node, reference_walker, context);
}

/* outputs that can be seen from outside; those that only sort come after them */
static int
count_outputs(const Query *sub)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, sub->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			n++;
	return n;
}

/* add an output to the subquery; an equal one that we added before serves again */
static AttrNumber
add_output(LiftContext *context, Node *expr, const char *name)
{
	Query	   *sub = context->subquery;
	ListCell   *lc;
	TargetEntry *tle;
	int			resno = count_outputs(sub) + 1;

	foreach(lc, sub->targetList)
	{
		tle = lfirst_node(TargetEntry, lc);
		if (!tle->resjunk && tle->resno >= context->first_added &&
			equal(tle->expr, expr))
			return tle->resno;
	}
	/* nobody refers to the others by their numbers */
	for (int i = resno - 1; i < list_length(sub->targetList); i++)
		list_nth_node(TargetEntry, sub->targetList, i)->resno++;
	tle = makeTargetEntry((Expr *) copyObject(expr), resno, pstrdup(name), false);
	sub->targetList = list_insert_nth(sub->targetList, resno - 1, tle);
	context->rte->eref->colnames = lappend(context->rte->eref->colnames,
										   makeString(pstrdup(name)));
	return resno;
}

/* the row as the view declares it, of its outputs or what stands for them */
static RowExpr *
make_row(LiftContext *context, Oid type)
{
	RowExpr    *row = makeNode(RowExpr);
	ListCell   *lc;

	foreach(lc, context->subquery->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk || tle->resno >= context->first_added)
			continue;
		row->args = lappend(row->args, copyObject(tle->expr));
		row->colnames = lappend(row->colnames,
								makeString(pstrdup(tle->resname ? tle->resname : "?column?")));
	}
	row->row_typeid = type;
	row->row_format = COERCE_IMPLICIT_CAST;
	row->location = -1;
	return row;
}

static Var *
output_var(Var *like, AttrNumber attno, Node *expr)
{
	Var		   *var = copyObject(like);

	var->varattno = attno;
	var->varattnosyn = 0;
	var->varnosyn = 0;
	var->vartype = exprType(expr);
	var->vartypmod = exprTypmod(expr);
	var->varcollid = exprCollation(expr);
	return var;
}

static Node *
lifted_call(LiftContext *context, LiftedColumn *column, Var *var)
{
	FuncExpr   *call = copyObject(column->call);
	Node	   *raw = cpii_strip_relabel(linitial(column->call->args));
	Node	   *scope = lfourth(column->call->args);

	linitial(call->args) =
		makeRelabelType((Expr *) output_var(var, column->raw_attno, raw),
						context->oids->sealed, -1, InvalidOid,
						COERCE_IMPLICIT_CAST);
	if (column->scope_attno != 0)
		lfourth(call->args) = output_var(var, column->scope_attno, scope);
	return (Node *) call;
}

static Node *
replace_mutator(Node *node, void *arg)
{
	LiftContext *context = arg;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		LiftedColumn *column;

		if (var->varno != context->rtindex ||
			var->varlevelsup != context->sublevels_up)
			return (Node *) copyObject(var);
		if (var->varattno == InvalidAttrNumber)
		{
			RowExpr    *row = make_row(context, var->vartype);
			AttrNumber	attno = 1;
			ListCell   *lc;

			if (context->row_attno != 0)
				return (Node *) output_var(var, context->row_attno, (Node *) row);
			/* with the calls inside */
			foreach(lc, row->args)
			{
				column = find_column(context, attno);
				lfirst(lc) = column ? lifted_call(context, column, var) :
					(Node *) output_var(var, attno, lfirst(lc));
				attno++;
			}
			return (Node *) row;
		}
		column = find_column(context, var->varattno);
		if (column == NULL)
			return (Node *) copyObject(var);
		return lifted_call(context, column, var);
	}
	if (IsA(node, Query))
	{
		Query	   *result;

		context->sublevels_up++;
		result = query_tree_mutator((Query *) node, replace_mutator, context, 0);
		context->sublevels_up--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, replace_mutator, context);
}

/* ---- one subquery of one query ---- */

static bool
outer_join_walker(Node *node, void *arg)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, JoinExpr) && ((JoinExpr *) node)->jointype != JOIN_INNER)
		return true;
	return expression_tree_walker(node, outer_join_walker, arg);
}

static void
lift_subquery(Query *query, int rtindex, const CpiiOids *oids)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	LiftContext context;
	ListCell   *lc;
	Query	   *changed;

	memset(&context, 0, sizeof(context));
	context.oids = oids;
	context.rtindex = rtindex;
	context.rte = rte;
	context.subquery = rte->subquery;
	context.columns = liftable_columns(rte->subquery, oids);
	if (context.columns == NIL)
		return;
	(void) query_tree_walker(query, reference_walker, &context, 0);
	if (!context.replaced && !context.whole_row)
		return;
	context.first_added = count_outputs(rte->subquery) + 1;
	foreach(lc, context.columns)
	{
		LiftedColumn *column = lfirst(lc);
		Node	   *scope = lfourth(column->call->args);

		column->raw_attno = add_output(&context, cpii_strip_relabel(linitial(column->call->args)),
									   "sealed");
		if (!IsA(scope, Const))
			column->scope_attno = add_output(&context, scope, "in_scope");
	}

	/*
	 * A null-extended row is null as a whole; built above the join, from parts,
	 * it would not be.  MERGE becomes an outer join later.
	 */
	if (context.whole_row &&
		(query->commandType == CMD_MERGE ||
		 outer_join_walker((Node *) query->jointree, NULL)))
		context.row_attno = add_output(&context,
									   (Node *) make_row(&context, context.row_type),
									   "whole_row");

	/*
	 * Nobody refers to the shown columns any more, but a row mark would still
	 * have them computed.
	 */
	foreach(lc, context.columns)
	{
		LiftedColumn *column = lfirst(lc);
		TargetEntry *tle = list_nth_node(TargetEntry, rte->subquery->targetList,
										 column->attno - 1);

		tle->expr = (Expr *) makeNullConst(exprType((Node *) tle->expr),
										   exprTypmod((Node *) tle->expr),
										   exprCollation((Node *) tle->expr));
	}
	CPII_FORGET_VIEW(query, rte);

	/*
	 * The mutator copies; the subquery that we have just extended is part of
	 * the copy.
	 */
	changed = query_tree_mutator(query, replace_mutator, &context, 0);
	memcpy(query, changed, sizeof(Query));
}

/* ---- the walk ---- */

static void
lift_one(Query *query, const CpiiOids *oids)
{
	CPII_FLATTEN_GROUP(query);

	/* leaves of a set operation keep their columns as they are */
	if (query->setOperations == NULL)
	{
		int			n = list_length(query->rtable);

		for (int i = 1; i <= n; i++)
		{
			RangeTblEntry *rte = rt_fetch(i, query->rtable);

			if (rte->rtekind == RTE_SUBQUERY && rte->subquery != NULL)
				lift_subquery(query, i, oids);
		}
	}
	cpii_lift_searches(query, oids);
}

/* innermost queries first, so that a column can rise through several levels */
static bool
lift_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		(void) query_tree_walker((Query *) node, lift_walker, arg, 0);
		lift_one((Query *) node, arg);
		return false;
	}
	return expression_tree_walker(node, lift_walker, arg);
}

/* is there anything of ours in the query: a subquery, or a sealed comparison? */
static bool
interesting_walker(Node *node, void *arg)
{
	const CpiiOids *oids = arg;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) &&
		(((FuncExpr *) node)->funcid == oids->show_column ||
		 ((FuncExpr *) node)->funcid == oids->acts_as))
		return true;
	if (IsA(node, ScalarArrayOpExpr) &&
		cpii_is_sealed_comparison(((ScalarArrayOpExpr *) node)->opno, oids))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, interesting_walker, arg, 0);
	return expression_tree_walker(node, interesting_walker, arg);
}

/*
 * The planner leaves expensive outputs that nothing sorts by until after a sort
 * when there is a LIMIT.  Without one it would show all values, then store and
 * sort them in clear; so there is one that limits nothing.
 */
static void
show_after_sort(Query *query)
{
	if (query->commandType == CMD_SELECT && query->sortClause != NIL &&
		query->limitCount == NULL)
		query->limitCount = (Node *) makeNullConst(INT8OID, -1, InvalidOid);
}

bool
cpii_lift_query(Query *query)
{
	const CpiiOids *oids;
	bool		decided;
	int			written;
	List	   *ctes = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	if (query->commandType == CMD_UTILITY)
		return false;
	oids = cpii_oids();
	if (oids == NULL ||
		!query_tree_walker(query, interesting_walker, (void *) oids, 0))
		return false;
	written = cpii_written_view(query);
	foreach(lc, query->cteList)
		ctes = lappend_int(ctes, cpii_written_view((Query *) lfirst_node(CommonTableExpr, lc)->ctequery));
	cpii_mark_view_calls(query, oids);
	decided = cpii_fold_roles(query, oids);
	cpii_inline_with_queries(query);
	(void) lift_walker((Node *) query, (void *) oids);
	cpii_open_barriers(query);
	show_after_sort(query);
	if (written != 0)
		cpii_lock_written_rows(query, written);
	forboth(lc, query->cteList, lc2, ctes)
	{
		if (lfirst_int(lc2) != 0)
			cpii_lock_written_rows((Query *) lfirst_node(CommonTableExpr, lc)->ctequery,
								   lfirst_int(lc2));
	}
	return decided;
}
