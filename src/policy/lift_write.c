/*-------------------------------------------------------------------------
 *
 * lift_write.c
 *	  UPDATE and DELETE of a masked view: rows are locked before they are shown.
 *
 * The trigger that writes gets an old and a new row which were worked out
 * before; when another session changes the row meanwhile, they are stale.  A
 * row lock inside the view's subquery makes the executor do what it does for a
 * table: wait, test the conditions on the row's newest version, and work the
 * new row out from that.
 *
 * Only rows that the statement is about may be locked.  So this is done only
 * when every condition can be tested inside the view; other statements are
 * noticed by the trigger, which reports 40001 (masked_write.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"

#include "policy/lift_write.h"
#include "policy/relation.h"
#include "policy/view_calls.h"

int
cpii_written_view(Query *query)
{
	RangeTblEntry *target;
	RangeTblEntry *source;
	RangeTblRef *ref;

	if ((query->commandType != CMD_UPDATE && query->commandType != CMD_DELETE) ||
		query->resultRelation == 0 || query->jointree == NULL ||
		list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return 0;
	target = rt_fetch(query->resultRelation, query->rtable);
	if (target->rtekind != RTE_RELATION || target->relkind != RELKIND_VIEW ||
		!OidIsValid(cpii_masked_view_base(target->relid)))
		return 0;
	ref = linitial_node(RangeTblRef, query->jointree->fromlist);
	source = rt_fetch(ref->rtindex, query->rtable);
	if (source->rtekind != RTE_SUBQUERY ||
		cpii_view_of(source) != target->relid)
		return 0;
	return ref->rtindex;
}

static bool
sublink_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		return true;
	return expression_tree_walker(node, sublink_walker, arg);
}

void
cpii_lock_written_rows(Query *query, int rtindex)
{
	RangeTblEntry *source = rt_fetch(rtindex, query->rtable);
	RangeTblEntry *target = rt_fetch(query->resultRelation, query->rtable);
	Oid			base = cpii_masked_view_base(target->relid);
	Query	   *sub = source->subquery;
	Node	   *quals = query->jointree->quals;
	ListCell   *lc;

	if (sublink_walker(quals, NULL) ||
		(source->security_barrier && contain_leaked_vars(quals)) ||
		contain_volatile_functions(quals) || sub->rowMarks != NIL)
		return;
	foreach(lc, sub->jointree->fromlist)
	{
		RangeTblRef *ref = lfirst(lc);
		RangeTblEntry *rte;

		if (!IsA(ref, RangeTblRef))
			continue;
		rte = rt_fetch(ref->rtindex, sub->rtable);
		if (rte->rtekind != RTE_RELATION || rte->relid != base)
			continue;
		/* as FOR UPDATE would have taken it */
		LockRelationOid(base, RowShareLock);
		rte->rellockmode = RowShareLock;
		applyLockingClause(sub, ref->rtindex,
						   query->commandType == CMD_DELETE ? LCS_FORUPDATE : LCS_FORNOKEYUPDATE,
						   LockWaitBlock, true);
		sub->hasForUpdate = true;
		return;
	}
}
