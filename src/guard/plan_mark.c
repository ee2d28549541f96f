/*-------------------------------------------------------------------------
 *
 * plan_mark.c
 *	  Marks in a plan that tell which of its relations are ours.
 *
 * Most statements touch nothing of ours, and they should not pay for looking.
 * A plan has no room for other people's notes, but its list of items that
 * invalidate it has: items with cache numbers that no cache has never match.
 * What is true of most plans is in bits of its flags for compilation that the
 * server does not use: a mark that costs no memory.
 * A relation that becomes protected, or a view that becomes a masked view, is
 * invalidated by that very change, and so are the plans that name it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "guard/guard.h"
#include "guard/spill.h"
#include "policy/relation.h"

static PlanInvalItem *
make_mark(int cache_id, uint32 value)
{
	PlanInvalItem *item = makeNode(PlanInvalItem);

	item->cacheId = cache_id;
	item->hashValue = value;
	return item;
}

void
cpii_plan_mark(PlannedStmt *plan, List *code, int pure_relations)
{
	List	   *marks = NIL;
	bool		plain = plan->invalItems == NIL;
	int			bits = CPII_PLAN_KNOWN;
	ListCell   *lc;

	/* Citus and others plan parts by calling us again: marked once is enough */
	if (cpii_plan_has(plan, CPII_PLAN_KNOWN))
		return;
	/* of a pure query every relation was looked at, but for added children */
	if (list_length(plan->rtable) != pure_relations)
	{
		foreach(lc, plan->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
			int			flags;

			if (CPII_NAMES_RELATION(rte))
				flags = cpii_relation_flags(rte->relid);
			else
				continue;
			if (flags != 0)
				plain = false;
			if (flags & CPII_REL_RECORDED)
				marks = lappend(marks, make_mark(CPII_MARK_RELATION, rte->relid));
		}
	}
	foreach(lc, code)
		marks = lappend(marks, make_mark(CPII_MARK_CODE, lfirst_oid(lc)));
	if (marks != NIL)
		plan->invalItems = list_concat(marks, plan->invalItems);
	if (plan->commandType == CMD_SELECT && !plan->hasModifyingCTE)
		bits |= CPII_PLAN_READ;
	if (plain)
		bits |= CPII_PLAN_PLAIN;
	if (plain && pure_relations >= 0)
		bits |= CPII_PLAN_PURE;
	if (cpii_plan_can_spill(plan))
		bits |= CPII_PLAN_SPILLS;
	plan->jitFlags |= bits;
}
