/*-------------------------------------------------------------------------
 *
 * plan_hook.c
 *	  The planner hook: what is ours in a query is rewritten before it is
 *	  planned, and the plan is marked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/plannodes.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "utils/inval.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "crypto/shamir.h"
#include "guard/guard.h"
#include "policy/catalog.h"
#include "policy/lift.h"
#include "policy/pure_query.h"
#include "policy/relation.h"
#include "policy/search_params.h"
#include "policy/trust.h"
#include "sealed/search_tag.h"

static planner_hook_type prev_planner = NULL;
static set_rel_pathlist_hook_type prev_rel_pathlist = NULL;

/*
 * cpii_planning_depth while a query is planned that has nothing of ours.  What an
 * error leaves here is the depth of a planner that is gone.
 */
static int	pure_depth = 0;

/*
 * Can the query hold nothing that must be rewritten?  True for plain tables
 * joined any way, without subqueries: most of what a database is asked.
 */
static bool
is_plain_query(Query *query)
{
	ListCell   *lc;

	if (query->hasSubLinks || query->cteList != NIL)
		return false;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION)
		{
			if (cpii_relation_flags(rte->relid) != 0)
				return false;
		}
		else if (rte->rtekind != RTE_JOIN && rte->rtekind != RTE_RESULT &&
				 !CPII_IS_GROUP(rte))
			return false;
	}
	return true;
}

/* nobody may read a custodian's share in pg_stat_activity */
static void
hide_share(const char *query_string)
{
	if (query_string != NULL && cpii_share_in(query_string))
	{
		char	   *copy = pstrdup(query_string);

		(void) cpii_share_scrub(copy);
		cpii_report_activity(copy);
	}
}

/*
 * No block of its own for errors: what a failed planner leaves in
 * cpii_planning_depth is put right at the end of the (sub)transaction.
 */
static PlannedStmt *
cpii_planner(Query *parse, const char *query_string, int cursorOptions,
			 ParamListInfo boundParams)
{
	PlannedStmt *result;
	int			save_depth = cpii_planning_depth;
	int			save_pure_depth = pure_depth;
	bool		usable = IsTransactionState();
	bool		decided = false;
	List	   *code = NIL;
	int			pure_relations = -1;

	hide_share(query_string);
	if (usable && cpii_query_is_pure(parse))
		pure_relations = list_length(parse->rtable);
	else if (usable && parse->commandType != CMD_UTILITY && !is_plain_query(parse))
	{
		/* what was revoked meanwhile holds within an open transaction, too */
		AcceptInvalidationMessages();
		decided = cpii_lift_query(parse);
		boundParams = cpii_hide_searched(boundParams, parse);
	}
	if (usable && cpii_internal_depth == 0 && pure_relations < 0)
		code = cpii_trust_collect(parse);
	cpii_planning_depth = save_depth + 1;
	pure_depth = pure_relations >= 0 ? cpii_planning_depth : 0;
	if (prev_planner)
		result = prev_planner(parse, query_string, cursorOptions, boundParams);
	else
		result = standard_planner(parse, query_string, cursorOptions, boundParams);
	cpii_planning_depth = save_depth;
	pure_depth = save_pure_depth;

	/*
	 * Roles were decided in the plan: it depends on the role, and on one
	 * policy relation that every policy and membership change invalidates.
	 */
	if (decided)
	{
		result->dependsOnRole = true;
		result->relationOids = list_append_unique_oid(result->relationOids,
													  cpii_policy_version_relation());
	}
	if (usable)
		cpii_plan_mark(result, code, pure_relations);
	return result;
}

static void
cpii_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (prev_rel_pathlist)
		prev_rel_pathlist(root, rel, rti, rte);
	/* parents are read through their parts */
	if (rel->indexlist != NIL && rte->rtekind == RTE_RELATION && !rte->inh &&
		cpii_planning_depth != pure_depth)
		cpii_search_tag_paths(root, rel);
}

void
cpii_plan_hook_init(void)
{
	prev_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = cpii_rel_pathlist;
	prev_planner = planner_hook;
	planner_hook = cpii_planner;
}
