/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  Gates before the door: a plan that is bound to pass a limit is refused
 *	  before its first row, unless a ticket lifts the limit.
 *
 * Estimates are often wrong, and a false refusal stops honest work, while a
 * plan that passes here is still stopped by the door at the limit itself.  So
 * the gate speaks only where the estimate can be trusted: rows that nothing
 * filters and no unknown LIMIT cuts, and far more of them than allowed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/lsyscache.h"

#include "audit/statement.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "policy/catalog.h"
#include "sealed/oids.h"
#include "sealed/search.h"

int64
cpii_gate_ticket(CpiiBudget budget)
{
	if (cpii_ticket == NULL || cpii_ticket[0] == '\0' ||
		(budget != CPII_BUDGET_CLEAR && budget != CPII_BUDGET_SEALED))
		return -1;
	return cpii_ticket_export(budget == CPII_BUDGET_CLEAR ? "max_values" : "max_rows");
}

/* ---- estimates ---- */

/* how many calls of the door in an expression show somebody clear text? */
static bool
door_walker(Node *node, int *clear)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr))
	{
		FuncExpr   *call = (FuncExpr *) node;
		const CpiiOids *oids = cpii_oids();

		if (oids != NULL &&
			(call->funcid == oids->show_column || call->funcid == oids->show))
		{
			int			class_id = cpii_expression_class(linitial(call->args));
			Oid			relid = InvalidOid;
			AttrNumber	attnum = InvalidAttrNumber;

			if (call->funcid == oids->show_column &&
				IsA(lsecond(call->args), Const) && IsA(lthird(call->args), Const))
			{
				relid = DatumGetObjectId(((Const *) lsecond(call->args))->constvalue);
				attnum = DatumGetInt16(((Const *) lthird(call->args))->constvalue);
			}
			if (class_id != 0 &&
				cpii_policy_level(class_id, relid, attnum) == CPII_LEVEL_CLEAR)
				(*clear)++;
			return false;
		}
	}
	return expression_tree_walker(node, door_walker, clear);
}

/* do all rows that the plan reads come out, as far as can be known? */
static bool
is_unfiltered(Plan *plan)
{
	if (plan == NULL)
		return true;
	if (plan->qual != NIL)
		return false;
	switch (nodeTag(plan))
	{
		case T_SeqScan:
			return true;
		case T_IndexScan:
			return ((IndexScan *) plan)->indexqual == NIL;
		case T_IndexOnlyScan:
			return ((IndexOnlyScan *) plan)->indexqual == NIL;
		case T_Append:
			{
				ListCell   *lc;

				foreach(lc, ((Append *) plan)->appendplans)
					if (!is_unfiltered(lfirst(lc)))
						return false;
				return !CPII_IS_PRUNED((Append *) plan);
			}
		case T_MergeAppend:
			{
				ListCell   *lc;

				foreach(lc, ((MergeAppend *) plan)->mergeplans)
					if (!is_unfiltered(lfirst(lc)))
						return false;
				return !CPII_IS_PRUNED((MergeAppend *) plan);
			}
		case T_SubqueryScan:
			return is_unfiltered(((SubqueryScan *) plan)->subplan);
		case T_Result:
			if (((Result *) plan)->resconstantqual != NULL)
				return false;
			return plan->lefttree != NULL && is_unfiltered(plan->lefttree);
		case T_Limit:
			{
				Limit	   *limit = (Limit *) plan;

				/* the planner counts with a constant */
				return (limit->limitCount == NULL || IsA(limit->limitCount, Const)) &&
					(limit->limitOffset == NULL || IsA(limit->limitOffset, Const)) &&
					is_unfiltered(plan->lefttree);
			}
		case T_Sort:
		case T_IncrementalSort:
		case T_Gather:
		case T_GatherMerge:
		case T_Material:
			return is_unfiltered(plan->lefttree);
		default:
			return false;
	}
}

/*
 * Clear values that the plan is expected to show, at the nodes where the door
 * stands: sorting and collecting may be above them.
 */
static double
expected_values(Plan *plan)
{
	int			clear = 0;
	double		sum = 0;
	List	   *parts = NIL;
	ListCell   *lc;

	if (plan == NULL)
		return 0;
	(void) door_walker((Node *) plan->targetlist, &clear);
	if (clear > 0)
		return plan->plan_rows * clear;
	switch (nodeTag(plan))
	{
		case T_Sort:
		case T_IncrementalSort:
		case T_Gather:
		case T_GatherMerge:
		case T_Material:
		case T_Result:
			return expected_values(plan->lefttree);
		case T_SubqueryScan:
			return expected_values(((SubqueryScan *) plan)->subplan);
		case T_Append:
			parts = ((Append *) plan)->appendplans;
			break;
		case T_MergeAppend:
			parts = ((MergeAppend *) plan)->mergeplans;
			break;
		default:
			return 0;
	}
	foreach(lc, parts)
		sum += expected_values(lfirst(lc));
	return sum;
}

void
cpii_gate_estimate(PlannedStmt *plan, uint64 count)
{
	CpiiLimits	limits;
	double		rows = plan->planTree->plan_rows;
	double		allowed;
	double		values;

	if (cpii_estimate_factor == 0 || plan->commandType != CMD_SELECT)
		return;
	limits = cpii_policy_limits(CPII_BUDGET_CLEAR);
	if (limits.per_statement < 0 || cpii_statement.no_clear)
		return;
	allowed = (double) Max(limits.per_statement, 1) * cpii_estimate_factor;
	if (count > 0)
		rows = Min(rows, (double) count);
	/* before the trees are walked: no row has more values than this */
	if (rows * list_length(plan->planTree->targetlist) <= allowed)
		return;
	values = expected_values(plan->planTree);
	if (count > 0)
		values = Min(values, rows * list_length(plan->planTree->targetlist));
	if (values <= allowed || !is_unfiltered(plan->planTree))
		return;
	if (cpii_meter_lift(CPII_BUDGET_CLEAR))
		return;
	cpii_statement.limit_hit = true;
	ereport(cpii_enforcement == CPII_ENFORCE_ON ? ERROR : WARNING,
			(errcode(CPII_ERRCODE_LIMIT_REACHED),
			 errmsg("disclosure limit would be passed"),
			 errdetail("About %.0f clear values are expected of this statement; %lld are allowed.",
					   values, (long long) limits.per_statement),
			 errhint("Narrow the statement, or ask a security administrator for a higher limit or an export ticket.")));
}
