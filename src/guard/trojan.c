/*-------------------------------------------------------------------------
 *
 * trojan.c
 *	  No clear text where somebody else's code could get hold of it.
 *
 * Two ways lead clear text to code:
 * - the plan that shows a value calls a function on it, or the statement around
 *	 that plan does.  The planner hook notes in each plan which functions
 *	 somebody must vouch for; before a plan shows anything, the notes of all
 *	 plans that are running are looked at.
 * - a function runs a query of its own.  The function manager tells us when
 *	 code that nobody vouches for begins and ends; below it everything is
 *	 masked.  That covers triggers, operators, casts, plpgsql expressions and
 *	 whatever else calls functions.
 * What was shown before cannot be taken back: when code that nobody vouches for
 * is called after its statement was shown clear values (a block that reads
 * first and calls then), the call is refused.  Functions in C are exempt from
 * that: only a superuser makes them, and index support runs in between.
 *
 * Statements of ours call code of others, too: literals of somebody's types are
 * read when a view is defined, what is immutable is called by the planner, and
 * event triggers fire.  Such code runs with its owner's rights, which it could
 * have anyway, never with those of the extension's owner, a superuser.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "audit/statement.h"
#include "base/internal.h"
#include "guard/guard.h"
#include "policy/trust.h"

/* the plans that are running, by executor depth */
#define MAX_DEPTH 64
static PlannedStmt *running[MAX_DEPTH];

/* calls of code that nobody vouches for, under way */
static int	untrusted_calls = 0;

static needs_fmgr_hook_type prev_needs_fmgr_hook = NULL;
static fmgr_hook_type prev_fmgr_hook = NULL;

static void
forbid_clear(Oid function)
{
	cpii_statement.no_clear = true;
	if (!OidIsValid(cpii_statement.untrusted))
		cpii_statement.untrusted = function;
}

/* the first function of a plan that nobody vouches for, or InvalidOid */
static Oid
untrusted_code(PlannedStmt *plan)
{
	ListCell   *lc;

	if (plan == NULL || !cpii_plan_has(plan, CPII_PLAN_KNOWN))
		return InvalidOid;
	foreach(lc, plan->invalItems)
	{
		PlanInvalItem *item = lfirst_node(PlanInvalItem, lc);

		if (item->cacheId == CPII_MARK_CODE)
		{
			if (!cpii_trust_function(item->hashValue))
				return item->hashValue;
		}
		else if (item->cacheId != CPII_MARK_RELATION)
			break;
	}
	return InvalidOid;
}

void
cpii_trojan_enter(PlannedStmt *plan, int depth, bool touched, bool from_planner)
{
	if (depth < MAX_DEPTH)
		running[depth] = plan;

	/*
	 * The planner evaluates immutable functions; whatever such a function reads
	 * is for nobody.
	 */
	if (from_planner)
		cpii_statement.no_clear = true;
	if (!touched || cpii_statement.no_clear)
		return;
	if (untrusted_calls > 0 || depth >= MAX_DEPTH)
	{
		cpii_statement.no_clear = true;
		return;
	}
	for (int i = 0; i <= depth; i++)
	{
		Oid			function = untrusted_code(running[i]);

		if (OidIsValid(function))
		{
			forbid_clear(function);
			return;
		}
	}
}

const char *
cpii_trojan_detail(bool catalog)
{
	static char detail[512];
	StringInfoData name;
	char	   *signature;

	snprintf(detail, sizeof(detail), "{\"untrusted_code\": %u}",
			 cpii_statement.untrusted);
	if (!catalog || !SearchSysCacheExists1(PROCOID,
										   ObjectIdGetDatum(cpii_statement.untrusted)))
		return detail;
	signature = format_procedure_qualified(cpii_statement.untrusted);
	initStringInfo(&name);
	escape_json(&name, signature);
	if (name.len < sizeof(detail) - 32)
		snprintf(detail, sizeof(detail), "{\"untrusted_code\": %s}", name.data);
	pfree(name.data);
	pfree(signature);
	return detail;
}

void
cpii_trojan_reset(void)
{
	untrusted_calls = 0;
}

/* ---- the function manager ---- */

/* what one call of a hooked function has to put back */
typedef struct CallState
{
	bool		untrusted;
	bool		save_no_clear;
	int			save_depth;		/* of our own statements; 0: none was under way */
	bool		lowered;		/* it has its owner's rights instead of these: */
	Oid			save_userid;
	int			save_sec_context;
	Datum		previous;		/* belongs to the hook before ours */
	struct CallState *outer;	/* call that this one is within, by the same FmgrInfo */
	bool		busy;			/* between the call's start and end */
} CallState;

static bool
is_untrusted(Oid function)
{
	return function >= FirstNormalObjectId && cpii_internal_depth == 0 &&
		cpii_preloaded && IsTransactionState() && !IsParallelWorker() &&
		!cpii_trust_function(function);
}

/* in a language that others than superusers write */
static bool
can_be_anybodys(Oid function)
{
	HeapTuple	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			language = InvalidOid;

	if (HeapTupleIsValid(tup))
	{
		language = ((Form_pg_proc) GETSTRUCT(tup))->prolang;
		ReleaseSysCache(tup);
	}
	return language != ClanguageId && language != INTERNALlanguageId;
}

/*
 * Is this code of others in a statement of ours, such as that of an index that
 * is built?  It is watched as in any other statement.  The list of trusted
 * functions cannot be asked: statements of ours read it.
 */
static bool
is_within_ours(Oid function)
{
	return cpii_internal_depth > 0 && function >= FirstNormalObjectId &&
		cpii_preloaded && IsTransactionState() && !IsParallelWorker() &&
		can_be_anybodys(function) &&
		get_func_namespace(function) != cpii_schema_oid(true);
}

/*
 * The planner asks, too, before it inlines a function in SQL.  Inlining is
 * harmless, for the query was looked at before, with its call of the function;
 * in a statement of ours the function's body would have our rights.
 */
static bool
cpii_needs_fmgr_hook(Oid function)
{
	if (prev_needs_fmgr_hook && (*prev_needs_fmgr_hook) (function))
		return true;
	return (cpii_planning_depth == 0 && is_untrusted(function)) || is_within_ours(function);
}

/* a superuser's rights end where code of others begins */
static void
lower_rights(CallState *state, Oid function)
{
	HeapTuple	tup;
	Oid			owner;

	if (!superuser())
		return;
	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tup))->proowner;
	ReleaseSysCache(tup);
	if (superuser_arg(owner))
		return;
	GetUserIdAndSecContext(&state->save_userid, &state->save_sec_context);
	SetUserIdAndSecContext(owner, state->save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	state->lowered = true;
}

static void
begin_call(CallState *state, Oid function)
{
	state->save_depth = 0;
	state->lowered = false;
	if (is_within_ours(function))
	{
		lower_rights(state, function);
		state->save_depth = cpii_internal_depth;
		cpii_internal_depth = 0;
	}
	state->untrusted = state->save_depth == 0 && is_untrusted(function);
	if (!state->untrusted)
		return;
	if (cpii_statement.open && !cpii_statement.no_clear &&
		cpii_statement.disclosed > 0 && can_be_anybodys(function))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" cannot be called in a statement that was shown clear values",
						get_func_name(function)),
				 errdetail("The function belongs to somebody else and is not listed as trusted."),
				 errhint("Call it in a statement of its own, or ask a security administrator for courier_pii.trust_function().")));
	state->save_no_clear = cpii_statement.no_clear;
	untrusted_calls++;
	if (cpii_statement.open)
		forbid_clear(function);
	else
		cpii_statement.no_clear = true;
}

static void
end_call(CallState *state)
{
	if (state->lowered)
		SetUserIdAndSecContext(state->save_userid, state->save_sec_context);
	state->lowered = false;
	if (state->save_depth > 0)
	{
		cpii_internal_depth = state->save_depth;
		state->save_depth = 0;
	}
	if (!state->untrusted)
		return;
	if (untrusted_calls > 0)
		untrusted_calls--;
	cpii_statement.no_clear = state->save_no_clear;
	state->untrusted = false;
}

static void
cpii_fmgr_hook(FmgrHookEventType event, FmgrInfo *flinfo, Datum *private)
{
	CallState  *state = (CallState *) DatumGetPointer(*private);
	CallState  *outer;

	switch (event)
	{
		case FHET_START:
			if (state == NULL || state->busy)
			{
				/* an error below leaves the call around this one in its place */
				outer = state;
				state = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(CallState));
				state->outer = outer;
			}
			begin_call(state, flinfo->fn_oid);
			if (prev_fmgr_hook)
				(*prev_fmgr_hook) (event, flinfo, &state->previous);
			state->busy = true;
			*private = PointerGetDatum(state);
			break;
		case FHET_END:
		case FHET_ABORT:
			if (prev_fmgr_hook)
				(*prev_fmgr_hook) (event, flinfo, &state->previous);
			end_call(state);
			state->busy = false;
			if (state->outer != NULL)
			{
				*private = PointerGetDatum(state->outer);
				pfree(state);
			}
			break;
	}
}

void
cpii_trojan_init(void)
{
	prev_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = cpii_needs_fmgr_hook;
	prev_fmgr_hook = fmgr_hook;
	fmgr_hook = cpii_fmgr_hook;
}
