/*-------------------------------------------------------------------------
 *
 * lift_search.c
 *	  Comparisons of masked columns with a value become searches by real value.
 *
 * The door calls stand in the comparisons by now.  What is compared with must
 * not depend on the row: then the sealed column behind the call is compared
 * with a search key instead, which an index on it serves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"

#include "policy/lift_search.h"
#include "policy/show.h"
#include "policy/view_calls.h"
#include "sealed/oids.h"
#include "sealed/search.h"
#include "sealed/seal.h"

/* pg_operator entries of text = text and integer = integer */
#define TEXT_EQUAL_OPERATOR 98
#define INTEGER_EQUAL_OPERATOR 96

static bool
any_var_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, SubLink) || IsA(node, SubPlan) ||
		IsA(node, CaseTestExpr) || IsA(node, Aggref) || IsA(node, WindowFunc) ||
		IsA(node, CoerceToDomainValue) || IsA(node, PlaceHolderVar))
		return true;
	if (IsA(node, Param) && ((Param *) node)->paramkind != PARAM_EXTERN)
		return true;
	/* its element expression holds a placeholder for each element */
	if (IsA(node, ArrayCoerceExpr))
		return any_var_walker((Node *) ((ArrayCoerceExpr *) node)->arg, NULL);
	return expression_tree_walker(node, any_var_walker, NULL);
}

/* a literal, a parameter, or something computed from such */
static bool
is_search_operand(Node *node)
{
	return !any_var_walker(node, NULL) && !contain_volatile_functions(node);
}

/*
 * Reduce nested look-throughs: the call's first argument is the sealed
 * expression of a known class, or nothing is done.
 */
static int
door_class(FuncExpr *call)
{
	return cpii_expression_class(linitial(call->args));
}

bool
cpii_is_sealed_comparison(Oid operator, const CpiiOids *oids)
{
	return operator == oids->eq_operator || operator == oids->ne_operator ||
		operator == oids->eq_text_operator || operator == oids->ne_text_operator;
}

/*
 * tail4(column of a masked view) = tail4_of(...), either way round: the same
 * with the column behind it; NULL for any other comparison.
 */
static Node *
make_tail_search(OpExpr *op, const CpiiOids *oids)
{
	for (int i = 0; i < 2; i++)
	{
		FuncExpr   *tail = list_nth(op->args, i);
		FuncExpr   *other = list_nth(op->args, 1 - i);
		FuncExpr   *call;
		OpExpr	   *search;

		if (!IsA(tail, FuncExpr) || tail->funcid != oids->tail4_text ||
			!IsA(other, FuncExpr) || other->funcid != oids->tail4_of)
			continue;
		call = cpii_door_call(linitial(tail->args), oids);
		if (call == NULL || door_class(call) == 0)
			continue;
		search = copyObject(op);
		tail = list_nth(search->args, i);
		tail->funcid = oids->tail4;
		tail->inputcollid = InvalidOid;
		tail->args = list_make1(copyObject(linitial(call->args)));
		return (Node *) search;
	}
	return NULL;
}

static Node *
search_mutator(Node *node, void *arg)
{
	const CpiiOids *oids = arg;

	if (node == NULL)
		return NULL;
	if (IsA(node, OpExpr) && ((OpExpr *) node)->opno == TEXT_EQUAL_OPERATOR)
	{
		OpExpr	   *op = (OpExpr *) node;
		Node	   *left = linitial(op->args);
		Node	   *right = lsecond(op->args);
		FuncExpr   *call = cpii_door_call(left, oids);
		Node	   *other = right;

		if (call == NULL)
		{
			call = cpii_door_call(right, oids);
			other = left;
		}
		if (call != NULL && door_class(call) != 0 && is_search_operand(other))
			return cpii_make_search(copyObject(linitial(call->args)),
									door_class(call), copyObject(other), true);
	}
	else if (IsA(node, OpExpr) && ((OpExpr *) node)->opno == INTEGER_EQUAL_OPERATOR)
	{
		Node	   *search = make_tail_search((OpExpr *) node, oids);

		if (search != NULL)
			return search;
	}
	else if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *any = (ScalarArrayOpExpr *) node;

		if (any->opno == TEXT_EQUAL_OPERATOR && any->useOr)
		{
			FuncExpr   *call = cpii_door_call(linitial(any->args), oids);
			Node	   *array = lsecond(any->args);

			if (call != NULL && door_class(call) != 0 &&
				is_search_operand(array) && exprType(array) == TEXTARRAYOID)
				return cpii_make_search_any(copyObject(linitial(call->args)),
											door_class(call),
											copyObject(array), any->location);
		}
		else if (cpii_is_sealed_comparison(any->opno, oids))
			node = cpii_prepare_array_search((ScalarArrayOpExpr *) copyObject(node));
	}
	if (IsA(node, Query))
		return node;			/* its own visit of lift_walker does it */
	return expression_tree_mutator(node, search_mutator, arg);
}

/* a comparison that search_mutator may change; spares most queries a copy */
static bool
comparison_walker(Node *node, void *arg)
{
	const CpiiOids *oids = arg;

	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, OpExpr) && ((OpExpr *) node)->opno == TEXT_EQUAL_OPERATOR)
		return true;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == oids->tail4_text)
		return true;
	if (IsA(node, ScalarArrayOpExpr) &&
		(((ScalarArrayOpExpr *) node)->opno == TEXT_EQUAL_OPERATOR ||
		 cpii_is_sealed_comparison(((ScalarArrayOpExpr *) node)->opno, oids)))
		return true;
	return expression_tree_walker(node, comparison_walker, arg);
}

void
cpii_lift_searches(Query *query, const CpiiOids *oids)
{
	Query	   *changed;

	if (!query_tree_walker(query, comparison_walker, (void *) oids,
						   QTW_IGNORE_RT_SUBQUERIES |
						   QTW_IGNORE_CTE_SUBQUERIES))
		return;
	changed = query_tree_mutator(query, search_mutator, (void *) oids,
								 QTW_IGNORE_RT_SUBQUERIES |
								 QTW_IGNORE_CTE_SUBQUERIES);
	memcpy(query, changed, sizeof(Query));
}
