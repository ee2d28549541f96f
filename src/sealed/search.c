/*-------------------------------------------------------------------------
 *
 * search.c
 *	  Search by real value: how planning makes a comparison one of search keys.
 *
 * "column = literal" reaches us as sealed = token.  The support function turns
 * it into "column = search_key(token, class)", which an index can use because
 * search_key is stable (search_key.c).  Nothing is opened while planning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "base/compat.h"
#include "crypto/keyring.h"
#include "sealed/oids.h"
#include "sealed/seal.h"
#include "sealed/search.h"

PG_FUNCTION_INFO_V1(cpii_sealed_eq_support);
PG_FUNCTION_INFO_V1(cpii_sealed_eqsel);
CPII_EXPORT Datum cpii_sealed_eq_support(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_eqsel(PG_FUNCTION_ARGS);

Node *
cpii_strip_relabel(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

int
cpii_expression_class(Node *node)
{
	node = cpii_strip_relabel(node);
	if (node == NULL)
		return 0;
	return cpii_class_of_type(exprType(node), exprTypmod(node));
}

/* is the node already a call of one of our search key functions? */
static bool
is_search_key(Node *node, const CpiiOids *o)
{
	if (!IsA(node, FuncExpr))
		return false;
	return ((FuncExpr *) node)->funcid == o->search_key_sealed ||
		((FuncExpr *) node)->funcid == o->search_key_text ||
		((FuncExpr *) node)->funcid == o->search_keys_sealed ||
		((FuncExpr *) node)->funcid == o->search_keys_text;
}

/* search_key(s) of sealed input, or of text with the mark of its origin */
static Node *
make_key_call(Oid function, Oid result, Node *arg, int class_id, bool of_text,
			  bool through_view)
{
	List	   *args = list_make2(arg, makeConst(INT4OID, -1, InvalidOid,
												 sizeof(int32),
												 Int32GetDatum(class_id),
												 false, true));

	if (of_text)
		args = lappend(args, makeBoolConst(through_view, false));
	return (Node *) makeFuncExpr(function, result, args, InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

static Node *
make_eq(Node *left, Node *right, const CpiiOids *o)
{
	OpExpr	   *op = (OpExpr *) make_opclause(o->eq_operator, BOOLOID, false,
											  (Expr *) left, (Expr *) right,
											  InvalidOid, InvalidOid);

	op->opfuncid = o->eq_function;
	return (Node *) op;
}

/* a bare column of a domain type, as an argument of a sealed function */
static Node *
as_sealed(Node *node, const CpiiOids *o)
{
	if (exprType(node) != o->sealed)
		return (Node *) makeRelabelType((Expr *) node, o->sealed, -1,
										InvalidOid, COERCE_IMPLICIT_CAST);
	return node;
}

static Node *
make_any(Node *value, Node *keys, int location, const CpiiOids *o)
{
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	any->opno = o->eq_operator;
	any->opfuncid = o->eq_function;
	any->useOr = true;
	any->inputcollid = InvalidOid;
	any->args = list_make2(as_sealed(value, o), keys);
	any->location = location;
	return (Node *) any;
}

/* value = (text or sealed), as one key or, where tags differ, as several */
static Node *
make_search(Node *value, int class_id, Node *other, bool of_text,
			bool through_view, const CpiiOids *o)
{
	ArrayExpr  *array;

	if (!cpii_keyring_search_scoped(class_id))
		return make_eq(as_sealed(value, o),
					   make_key_call(of_text ? o->search_key_text : o->search_key_sealed,
									 o->sealed, other, class_id, of_text,
									 through_view),
					   o);
	array = makeNode(ArrayExpr);
	array->element_typeid = of_text ? TEXTOID : o->sealed;
	array->array_typeid = of_text ? TEXTARRAYOID : o->sealed_array;
	array->elements = list_make1(other);
	array->location = -1;
	return make_any(value, make_key_call(of_text ? o->search_keys_text :
										 o->search_keys_sealed, o->sealed_array,
										 (Node *) array, class_id, of_text,
										 through_view), -1, o);
}

/* is it the function of one of our "<>"? */
static bool
is_inequality(Oid function, const CpiiOids *o)
{
	return function == get_opcode(o->ne_operator) ||
		function == get_opcode(o->ne_text_operator) ||
		function == get_opcode(get_commutator(o->ne_text_operator));
}

/* a search turned round: not this key, or none of these */
static Node *
negate_search(Node *search, const CpiiOids *o)
{
	if (IsA(search, OpExpr))
	{
		((OpExpr *) search)->opno = o->ne_operator;
		((OpExpr *) search)->opfuncid = get_opcode(o->ne_operator);
	}
	else
	{
		ScalarArrayOpExpr *all = castNode(ScalarArrayOpExpr, search);

		all->opno = o->ne_operator;
		all->opfuncid = get_opcode(o->ne_operator);
		all->useOr = false;
	}
	return search;
}

Node *
cpii_make_search(Node *value, int class_id, Node *text, bool through_view)
{
	return make_search(value, class_id, text, true, through_view, cpii_oids());
}

Node *
cpii_make_search_any(Node *value, int class_id, Node *texts, int location)
{
	const CpiiOids *o = cpii_oids();

	return make_any(value, make_key_call(o->search_keys_text, o->sealed_array,
										 texts, class_id, true, true),
					location, o);
}

Node *
cpii_prepare_array_search(ScalarArrayOpExpr *clause)
{
	const CpiiOids *o = cpii_oids();
	Node	   *value = linitial(clause->args);
	Node	   *array = lsecond(clause->args);
	int			class_id;

	class_id = cpii_expression_class(value);
	if (o == NULL || class_id == 0)
		return (Node *) clause;
	if (clause->opno == o->eq_text_operator || clause->opno == o->ne_text_operator)
	{
		if (exprType(array) != TEXTARRAYOID)
			return (Node *) clause;
		clause->opno = clause->opno == o->eq_text_operator ?
			o->eq_operator : o->ne_operator;
		clause->opfuncid = get_opcode(clause->opno);
		clause->inputcollid = InvalidOid;
		linitial(clause->args) = as_sealed(value, o);
		lsecond(clause->args) = make_key_call(o->search_keys_text,
											  o->sealed_array, array, class_id,
											  true, false);
	}
	else if (clause->opno == o->eq_operator || clause->opno == o->ne_operator)
	{
		array = cpii_strip_relabel(array);
		if (is_search_key(array, o) || exprType(array) != o->sealed_array)
			return (Node *) clause;
		lsecond(clause->args) = make_key_call(o->search_keys_sealed,
											  o->sealed_array, array, class_id,
											  false, false);
	}
	return (Node *) clause;
}

/*
 * Support function of "=" and "<>" of sealed and sealed, sealed and text, text
 * and sealed.  "<>" as well, because NOT (value <> token) becomes value = token
 * without asking us again, and an index does not know tokens.
 */
Datum
cpii_sealed_eq_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *result = NULL;

	if (IsA(request, SupportRequestSimplify))
	{
		FuncExpr   *call = ((SupportRequestSimplify *) request)->fcall;
		const CpiiOids *o = cpii_oids();

		if (o != NULL && list_length(call->args) == 2)
		{
			Node	   *left = linitial(call->args);
			Node	   *right = lsecond(call->args);
			int			lclass = cpii_expression_class(left);
			int			rclass = cpii_expression_class(right);
			Node	   *value = NULL;
			Node	   *other = NULL;
			int			class_id = 0;

			if (lclass != 0 && rclass == 0)
			{
				value = left;
				other = right;
				class_id = lclass;
			}
			else if (rclass != 0 && lclass == 0)
			{
				value = right;
				other = left;
				class_id = rclass;
			}
			if (value != NULL && !is_search_key(cpii_strip_relabel(other), o))
			{
				Oid			type = exprType(other);

				if (type == o->sealed)
					result = make_search(value, class_id, other, false, false, o);
				else if (type == TEXTOID)
					result = cpii_make_search(value, class_id, other, false);
				if (result != NULL && is_inequality(call->funcid, o))
					result = negate_search(result, o);
			}
		}
	}
	PG_RETURN_POINTER(result);
}

/*
 * Selectivity of "=": from the number of distinct values.  Unlike eqsel it
 * never evaluates the other side, which would open literals while planning.
 */
Datum
cpii_sealed_eqsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid			operator = PG_GETARG_OID(1);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	double		selectivity = 0.005;	/* as DEFAULT_EQ_SEL */

	for (int i = 0; i < 2 && list_length(args) == 2; i++)
	{
		VariableStatData vardata;

		examine_variable(root, list_nth(args, i), varRelid, &vardata);
		if (vardata.rel != NULL)
		{
			selectivity = var_eq_non_const(&vardata, operator, InvalidOid,
										   list_nth(args, 1 - i), i == 0, false);
			ReleaseVariableStats(vardata);
			break;
		}
		ReleaseVariableStats(vardata);
	}
	PG_RETURN_FLOAT8(selectivity);
}
