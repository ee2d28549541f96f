/*-------------------------------------------------------------------------
 *
 * spill_plan.c
 *	  Which parts of a plan can write rows to temporary files, and which of
 *	  those never see a value that was shown.
 *
 * A part (a node with all below it) is free when neither a call of the door nor
 * code that could hand on what it read stands in it, and nothing comes in from
 * outside: then its rows hold sealed values and plain columns only.  What this
 * file does not know is not free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"

#include "guard/spill.h"
#include "policy/trust.h"
#include "sealed/oids.h"

bool
cpii_node_can_spill(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Sort:
		case T_IncrementalSort:
		case T_Agg:
		case T_WindowAgg:
		case T_Material:
		case T_HashJoin:
		case T_CteScan:
		case T_RecursiveUnion:
		case T_ProjectSet:
		case T_FunctionScan:
		case T_TableFuncScan:
		case T_ForeignScan:
		case T_CustomScan:
		case T_ModifyTable:		/* transition tables */
			return true;
		default:
			return false;
	}
}

/* the list of children of a node that has one, or NIL */
static List *
children(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			return ((const Append *) plan)->appendplans;
		case T_MergeAppend:
			return ((const MergeAppend *) plan)->mergeplans;
		case T_BitmapAnd:
			return ((const BitmapAnd *) plan)->bitmapplans;
		case T_BitmapOr:
			return ((const BitmapOr *) plan)->bitmapplans;
		default:
			return NIL;
	}
}

static bool
part_can_spill(const Plan *plan)
{
	ListCell   *lc;

	if (plan == NULL)
		return false;
	if (cpii_node_can_spill(plan))
		return true;
	foreach(lc, children(plan))
		if (part_can_spill(lfirst(lc)))
			return true;
	if (IsA(plan, SubqueryScan) &&
		part_can_spill(((const SubqueryScan *) plan)->subplan))
		return true;
	return part_can_spill(plan->lefttree) || part_can_spill(plan->righttree);
}

bool
cpii_plan_can_spill(const PlannedStmt *plan)
{
	ListCell   *lc;

	if (part_can_spill(plan->planTree))
		return true;
	foreach(lc, plan->subplans)
		if (part_can_spill(lfirst(lc)))
			return true;
	return false;
}

/* ---- free parts ---- */

typedef struct FreeContext
{
	const PlannedStmt *stmt;
	const CpiiOids *oids;
	bool		shown_before;	/* clear values were shown before it started */
	bool		output;			/* the expression is part of a row */
} FreeContext;

static bool part_is_bound(const Plan *plan, FreeContext *context);

static bool
subplan_is_bound(int plan_id, FreeContext *context)
{
	return part_is_bound(list_nth(context->stmt->subplans, plan_id - 1), context);
}

static bool
function_is_bound(Oid function, void *arg)
{
	FreeContext *context = arg;

	if (!OidIsValid(function))
		return false;
	if (context->oids != NULL && (function == context->oids->show ||
								  function == context->oids->show_column))
		return true;
	return !cpii_trust_is_known(function);
}

static bool
bound_walker(Node *node, void *arg)
{
	FreeContext *context = arg;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Const:
			/* a literal could be what a function was shown before */
			return context->shown_before && context->output &&
				!((Const *) node)->constisnull &&
				((Const *) node)->consttype != BOOLOID;
		case T_Param:
			return context->shown_before &&
				((Param *) node)->paramkind == PARAM_EXTERN;
		case T_CoerceToDomain:
			/* its checks are looked up when it runs */
			return true;
		case T_SubPlan:
			if (subplan_is_bound(((SubPlan *) node)->plan_id, context))
				return true;
			break;
		default:
			break;
	}
	return check_functions_in_node(node, function_is_bound, arg) ||
		expression_tree_walker(node, bound_walker, arg);
}

/* the expressions of one node beside its output and condition */
static bool
node_is_bound(const Plan *plan, FreeContext *context)
{
#define BOUND(type, field) \
	bound_walker((Node *) ((const type *) plan)->field, context)

	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SubqueryScan:
		case T_Append:
		case T_MergeAppend:
		case T_BitmapAnd:
		case T_BitmapOr:
		case T_Hash:
		case T_Material:
		case T_Sort:
		case T_IncrementalSort:
		case T_Group:
		case T_Agg:
		case T_Unique:
		case T_SetOp:
		case T_LockRows:
		case T_Gather:
		case T_GatherMerge:
		case T_ProjectSet:
			return false;
		case T_IndexScan:
			return BOUND(IndexScan, indexqualorig) ||
				BOUND(IndexScan, indexorderbyorig);
		case T_IndexOnlyScan:
			return BOUND(IndexOnlyScan, indexqual) ||
				BOUND(IndexOnlyScan, indexorderby);
		case T_BitmapIndexScan:
			return BOUND(BitmapIndexScan, indexqualorig);
		case T_BitmapHeapScan:
			return BOUND(BitmapHeapScan, bitmapqualorig);
		case T_TidScan:
			return BOUND(TidScan, tidquals);
		case T_TidRangeScan:
			return BOUND(TidRangeScan, tidrangequals);
		case T_CteScan:
			return subplan_is_bound(((const CteScan *) plan)->ctePlanId, context);
		case T_NestLoop:
			return BOUND(NestLoop, join.joinqual);
		case T_MergeJoin:
			return BOUND(MergeJoin, join.joinqual) ||
				BOUND(MergeJoin, mergeclauses);
		case T_HashJoin:
			return BOUND(HashJoin, join.joinqual) ||
				BOUND(HashJoin, hashclauses);
		case T_Memoize:
			return BOUND(Memoize, param_exprs);
		case T_WindowAgg:
			return BOUND(WindowAgg, startOffset) || BOUND(WindowAgg, endOffset);
		case T_Limit:
			return BOUND(Limit, limitOffset) || BOUND(Limit, limitCount);
		case T_Result:
			return BOUND(Result, resconstantqual);
		case T_ValuesScan:
			context->output = true;
			return BOUND(ValuesScan, values_lists);
		case T_FunctionScan:
			context->output = true;
			return BOUND(FunctionScan, functions);
		default:
			return true;
	}
#undef BOUND
}

static bool
part_is_bound(const Plan *plan, FreeContext *context)
{
	ListCell   *lc;

	if (plan == NULL)
		return false;
	context->output = true;
	if (bound_walker((Node *) plan->targetlist, context))
		return true;
	context->output = false;
	if (bound_walker((Node *) plan->qual, context) ||
		node_is_bound(plan, context))
		return true;
	foreach(lc, plan->initPlan)
		if (subplan_is_bound(lfirst_node(SubPlan, lc)->plan_id, context))
			return true;
	foreach(lc, children(plan))
		if (part_is_bound(lfirst(lc), context))
			return true;
	if (IsA(plan, SubqueryScan) &&
		part_is_bound(((const SubqueryScan *) plan)->subplan, context))
		return true;
	return part_is_bound(plan->lefttree, context) ||
		part_is_bound(plan->righttree, context);
}

bool
cpii_part_is_free(const PlannedStmt *stmt, const Plan *plan, bool shown_before)
{
	FreeContext context = {stmt, cpii_oids(), shown_before, false};

	/* a row or a value that comes in from the rest of the plan */
	if (!bms_is_empty(plan->extParam))
		return false;
	return part_can_spill(plan) && !part_is_bound(plan, &context);
}
