/*-------------------------------------------------------------------------
 *
 * start_hook.c
 *	  ExecutorStart: before a plan is made ready to run.
 *
 * The server asks here for the rights on tables, so a plan that touches something
 * of ours has an account meanwhile, in which a refusal is recorded.  What the
 * plan does is accounted for when it runs (statement_hooks.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "executor/executor.h"
#include "tcop/utility.h"
#include "utils/inval.h"

#include "audit/statement.h"
#include "base/compat.h"
#include "base/internal.h"
#include "guard/guard.h"
#include "guard/spill.h"
#include "people/password.h"
#include "people/roster.h"
#include "policy/plan_roles.h"

static ExecutorStart_hook_type prev_ExecutorStart = NULL;

static void
start_plan(QueryDesc *queryDesc, int eflags)
{
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
}

static inline void
call_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	if (unlikely(cpii_spill_may(queryDesc)))
		cpii_spill_start(queryDesc, eflags, start_plan);
	else
		start_plan(queryDesc, eflags);
}

static pg_noinline void
start_watched(QueryDesc *queryDesc, int eflags)
{
	bool		opened;
	int			nrelations;

	cpii_plain_rtable = NIL;
	if (cpii_executor_depth == 0 && cpii_internal_depth == 0 && !IsParallelWorker())
	{
		/* what was revoked meanwhile holds within an open transaction, too */
		AcceptInvalidationMessages();
		cpii_roster_check();
		cpii_plan_roles_check();
	}
	cpii_password_gate(queryDesc->plannedstmt);
	if (IsParallelWorker() || cpii_internal_depth > 0)
	{
		call_ExecutorStart(queryDesc, eflags);
		return;
	}
	cpii_meter_forget_slices(queryDesc);

	/* an account of its own, so that a refused permission is recorded */
	opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
							   queryDesc->sourceText,
							   queryDesc->plannedstmt->queryId);
	nrelations = cpii_statement.nrelations;
	if (cpii_account_touch_plan(queryDesc->plannedstmt))
	{
		PG_TRY();
		{
			cpii_account_prepare();
			cpii_hygiene_plan(queryDesc);
			/* scans count what they meet */
			queryDesc->instrument_options |= INSTRUMENT_ROWS;
			call_ExecutorStart(queryDesc, eflags);
		}
		PG_CATCH();
		{
			if (opened)
				cpii_account_close_error();
			PG_RE_THROW();
		}
		PG_END_TRY();
		/* nothing was read yet; the run will touch them again */
		cpii_statement.nrelations = nrelations;
	}
	else
	{
		/* nothing of ours: an error here must not leave the account open */
		if (opened)
			cpii_account_drop();
		call_ExecutorStart(queryDesc, eflags);
	}
	if (opened)
		cpii_account_drop();
}

static void
cpii_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	if (likely(cpii_plan_has(queryDesc->plannedstmt, CPII_PLAN_PLAIN)))
	{
		/*
		 * Nothing of ours, and no cached plan below it: what a built-in
		 * function such as query_to_xml() reads is planned when it is called.
		 */
		cpii_meter_forget_slices(queryDesc);
		cpii_plain_rtable = queryDesc->plannedstmt->rtable;
		call_ExecutorStart(queryDesc, eflags);
	}
	else
		start_watched(queryDesc, eflags);
}

void
cpii_executor_start_init(void)
{
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = cpii_ExecutorStart;
}
