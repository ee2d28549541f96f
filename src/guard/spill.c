/*-------------------------------------------------------------------------
 *
 * spill.c
 *	  No clear text in temporary files.
 *
 * Sorts, hashes and tuple stores write to temporary files what does not fit
 * into work_mem.  From the first clear value that a statement is shown until its
 * outermost plan stops, no temporary file of this process may grow: the server's
 * own temp_file_limit is zero meanwhile, for the parts of plans that could
 * hold what was shown.  Free parts (spill_plan.c), such as the sort of sealed
 * values below the door, write as ever: each is entered through a function of
 * ours that puts the limit back while it runs.
 *
 * What is stored before the first clear value does no harm, but it must not be in
 * the same file: a hash table that has begun to spill reserves room that it
 * fills later, and then the file does not grow.  So when parts that are not
 * free have written anything, the first clear value is refused.
 *
 * So that honest work fits, these parts get courier_pii.shown_memory instead of
 * work_mem when the person may be shown clear values.
 *
 * Settings are changed in place: the first clear value may come in the middle of
 * a function with settings of its own, at whose end the server would take back
 * what was set in between.  What is saved meanwhile on the server's stack
 * of settings is put right when the run ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/hashjoin.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "tcop/pquery.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"
#include "guard/spill.h"
#include "policy/catalog.h"
#include "sealed/oids.h"

CPII_DEFINE_SEARCH_SETTING

/* a part of a plan that is free, and what the server runs it by */
typedef struct FreePart
{
	PlanState  *node;
	ExecProcNodeMtd run;
} FreePart;

/*
 * What is known of a plan from its start to its end; lives in the memory of its
 * executor state, and goes with it.
 */
typedef struct CpiiSpillWatch
{
	struct CpiiSpillWatch *next;
	EState	   *estate;
	bool		shown;			/* clear values were shown while it ran */
	int64		written;		/* temporary blocks that its parts that are not
								 * free wrote in earlier runs */
	List	   *free;			/* of FreePart */
	MemoryContextCallback gone;
} CpiiSpillWatch;

static CpiiSpillWatch *watches = NULL;
static CpiiSpillFrame *frames = NULL;	/* innermost first */

/* temp_file_limit is zero because of us, and what it was */
static bool forbidding = false;
static int	real_limit;
static CpiiSavedSetting saved_limit;

static ExecutorEnd_hook_type prev_ExecutorEnd = NULL;

static struct config_generic *limit_setting;
static struct config_generic *memory_setting;

/* ---- the server's settings ---- */

static void
note_saved(const struct config_generic *setting, CpiiSavedSetting *saved)
{
	saved->top = setting->stack;
	saved->top_masks = saved->top != NULL && saved->top->state == GUC_SET_LOCAL;
}

/*
 * Code inside has set it, too: what comes back when its effect ends was saved
 * while our value was in force.
 */
static void
repair_saved(struct config_generic *setting, const CpiiSavedSetting *saved,
			 int ours, int value)
{
	for (GucStack *s = setting->stack; s != NULL; s = s->prev)
	{
		bool		top = s == saved->top;

		if (!top && s->prior.val.intval == ours)
			s->prior.val.intval = value;
		if (s->state == GUC_SET_LOCAL && !(top && saved->top_masks) &&
			s->masked.val.intval == ours)
			s->masked.val.intval = value;
		if (top)
			break;
	}
}

static void
forbid(void)
{
	if (!forbidding)
	{
		real_limit = temp_file_limit;
		note_saved(limit_setting, &saved_limit);
		forbidding = true;
	}
	temp_file_limit = 0;
}

static void
allow(void)
{
	if (!forbidding)
		return;
	forbidding = false;
	if (temp_file_limit == 0)
		temp_file_limit = real_limit;
	repair_saved(limit_setting, &saved_limit, 0, real_limit);
}

/* one more than was asked for: no value that anybody else sets */
static inline int
enough_memory(void)
{
	return Max(work_mem, cpii_shown_memory + 1);
}

static void
raise_memory(CpiiMemory *memory)
{
	memory->before = work_mem;
	note_saved(memory_setting, &memory->saved);
	work_mem = memory->raised = enough_memory();
}

static void
lower_memory(const CpiiMemory *memory)
{
	if (memory->raised == memory->before)
		return;
	if (work_mem == memory->raised)
		work_mem = memory->before;
	repair_saved(memory_setting, &memory->saved, memory->raised, memory->before);
}

/* ---- plans ---- */

static inline CpiiSpillWatch *
find_watch(const EState *estate)
{
	for (CpiiSpillWatch *w = watches; w != NULL; w = w->next)
		if (w->estate == estate)
			return w;
	return NULL;
}

static void
forget_watch(void *arg)
{
	for (CpiiSpillWatch **w = &watches; *w != NULL; w = &(*w)->next)
	{
		if (*w == arg)
		{
			*w = (*w)->next;
			return;
		}
	}
}

static CpiiSpillWatch *
make_watch(EState *estate)
{
	CpiiSpillWatch *watch = MemoryContextAllocZero(estate->es_query_cxt,
												   sizeof(CpiiSpillWatch));

	watch->estate = estate;
	watch->gone.func = forget_watch;
	watch->gone.arg = watch;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &watch->gone);
	watch->next = watches;
	watches = watch;
	return watch;
}

static FreePart *
find_part(const CpiiSpillWatch *watch, const PlanState *node)
{
	ListCell   *lc;

	foreach(lc, watch->free)
	{
		FreePart   *part = lfirst(lc);

		if (part->node == node)
			return part;
	}
	return NULL;
}

/* a free part gives its next row: the settings are the server's meanwhile */
static TupleTableSlot *
run_free(PlanState *node)
{
	CpiiSpillFrame *frame = frames;
	CpiiSpillWatch *watch = frame != NULL ? frame->watch : NULL;
	ExecProcNodeMtd run;
	TupleTableSlot *slot;
	int64		written = pgBufferUsage.temp_blks_written;
	int			memory = work_mem;

	if (watch == NULL || watch->estate != node->state)
	{
		frame = NULL;
		watch = find_watch(node->state);
	}
	run = find_part(watch, node)->run;
	if (frame == NULL)
		return run(node);

	/* an error puts all of this back where the run ends */
	if (memory == frame->memory.raised)
		work_mem = frame->memory.before;
	if (forbidding)
		temp_file_limit = real_limit;
	slot = run(node);
	if (forbidding)
		temp_file_limit = 0;
	work_mem = memory;
	frame->apart += pgBufferUsage.temp_blks_written - written;
	return slot;
}

typedef struct FindContext
{
	CpiiSpillWatch *watch;
	const PlannedStmt *stmt;
	bool		shown_before;
} FindContext;

static bool
find_free(PlanState *node, void *arg)
{
	FindContext *context = arg;
	MemoryContext old;
	FreePart   *part;

	/* a Hash is not asked for rows; what is below it is */
	if (IsA(node, HashState) || IsA(node, BitmapIndexScanState) ||
		!cpii_part_is_free(context->stmt, node->plan, context->shown_before))
		return planstate_tree_walker(node, find_free, arg);
	old = MemoryContextSwitchTo(node->state->es_query_cxt);
	part = palloc(sizeof(FreePart));
	part->node = node;
	part->run = node->ExecProcNodeReal;
	context->watch->free = lappend(context->watch->free, part);
	MemoryContextSwitchTo(old);
	ExecSetExecProcNode(node, run_free);
	return false;
}

void
cpii_spill_start(QueryDesc *query, int eflags,
				 void (*start) (QueryDesc *query, int eflags))
{
	CpiiMemory	memory;
	FindContext context;

	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) || IsParallelWorker() ||
		cpii_internal_depth > 0 || cpii_oids() == NULL ||
		!cpii_policy_may_show_clear())
	{
		start(query, eflags);
		return;
	}
	raise_memory(&memory);
	PG_TRY();
	{
		start(query, eflags);
	}
	PG_FINALLY();
	{
		lower_memory(&memory);
	}
	PG_END_TRY();
	context.watch = make_watch(query->estate);
	context.stmt = query->plannedstmt;
	context.shown_before = cpii_spill_shown();
	(void) find_free(query->planstate, &context);
}

/* ---- runs ---- */

/*
 * Temporary blocks that the run's own parts, the free ones left out, have
 * written so far.  *inside: those of the run inside it, which do not count as
 * its own; becomes those of this run for the one around it.
 */
static int64
own_blocks(const CpiiSpillFrame *frame, int64 *inside)
{
	int64		all = pgBufferUsage.temp_blks_written - frame->written;
	int64		apart = frame->apart + *inside;

	/* rows in a tuple store are the outer plan's, or its function's */
	*inside = frame->stores ? apart : all;
	return all - apart;
}

void
cpii_spill_too_much(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("values shown in clear do not fit into memory"),
			 errdetail("They are not written to temporary files, and need more than \"courier_pii.shown_memory\" (%d kB) for one step of the statement.",
					   cpii_shown_memory),
			 errhint("Ask for fewer rows or columns, or let the administrator raise \"courier_pii.shown_memory\".")));
}

/*
 * The door is about to show a clear value: the first of the statement, or (for
 * nothing) a later one.
 */
static void
before_clear(void)
{
	int64		inside = 0;

	if (frames == NULL)
		return;
	for (CpiiSpillFrame *f = frames; f != NULL; f = f->outer)
	{
		int64		own = own_blocks(f, &inside);

		if (f->watch == NULL)
			f->watch = make_watch(f->query->estate);
		if (f->watch->shown)
			continue;
		if (own + f->watch->written > 0)
			cpii_spill_too_much();
		f->watch->shown = true;
	}
	forbid();
}

bool
cpii_spill_portal_shown(const PortalData *portal)
{
	const CpiiSpillWatch *watch = portal->queryDesc != NULL ?
		find_watch(portal->queryDesc->estate) : NULL;

	return (watch != NULL && watch->shown) || cpii_spill_store_is_clear(portal);
}

void
cpii_spill_push(CpiiSpillFrame *frame, QueryDesc *query)
{
	frame->watch = find_watch(query->estate);
	frame->stores = cpii_spill_stores(query->dest);
	frame->save_dest = query->dest;
	if (cpii_spill_shown())
	{
		if (frame->watch == NULL)
			frame->watch = make_watch(query->estate);
		if (!frame->watch->shown && frame->watch->written > 0)
			cpii_spill_too_much();
		frame->watch->shown = true;
	}
	/* a cursor that outlives its transaction */
	if (frame->stores && query->dest->mydest == DestTuplestore &&
		ActivePortal != NULL && ActivePortal->queryDesc == query)
		query->dest = cpii_spill_portal_store(&frame->store, ActivePortal,
											  query->dest, true,
											  frame->watch != NULL && frame->watch->shown);

	/* no error from here on: who calls us puts it back */
	frame->query = query;
	frame->memory.before = frame->memory.raised = work_mem;
	frame->written = pgBufferUsage.temp_blks_written;
	frame->apart = 0;
	frame->outer = frames;
	frames = frame;
	if (frame->watch != NULL)
		raise_memory(&frame->memory);
	if (frame->watch != NULL && frame->watch->shown)
		forbid();
}

void
cpii_spill_pop(CpiiSpillFrame *frame)
{
	int64		inside = 0;
	int64		own = own_blocks(frame, &inside);

	if (frame->watch != NULL)
		frame->watch->written += own;
	frame->query->dest = frame->save_dest;
	frames = frame->outer;
	if (frames != NULL)
		frames->apart += inside;
	lower_memory(&frame->memory);
	if (frames == NULL)
		allow();
	else if (forbidding)
		temp_file_limit = 0;	/* an error may come from a free part */
}

/* ---- the end of a plan ---- */

/* has a part that is not free a file in which something may wait to be written? */
static bool
has_open_file(PlanState *node, void *arg)
{
	CpiiSpillWatch *watch = arg;

	if (find_part(watch, node) != NULL)
		return false;
	if (IsA(node, HashJoinState))
	{
		HashJoinTable table = ((HashJoinState *) node)->hj_HashTable;

		if (table != NULL && table->nbatch > 1)
			return true;
	}
	if (IsA(node, AggState) && ((AggState *) node)->hash_ever_spilled)
		return true;
	return planstate_tree_walker(node, has_open_file, arg);
}

static void
call_ExecutorEnd(QueryDesc *query)
{
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(query);
	else
		standard_ExecutorEnd(query);
}

/* files are written out before they are closed and removed: not these */
static pg_noinline void
end_watched(QueryDesc *query)
{
	bool		outermost = !forbidding;
	volatile bool refused = false;

	PG_TRY();
	{
		forbid();
		call_ExecutorEnd(query);
	}
	PG_CATCH();
	{
		refused = cpii_spill_refused();
		if (outermost)
			allow();
		if (refused)
			cpii_spill_complain();
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (outermost)
		allow();
}

static void
cpii_ExecutorEnd(QueryDesc *query)
{
	CpiiSpillWatch *watch = unlikely(watches != NULL) ? find_watch(query->estate) : NULL;

	if (unlikely(watch != NULL && watch->shown &&
				 has_open_file(query->planstate, watch)))
		end_watched(query);
	else
		call_ExecutorEnd(query);
}

/* ---- the message ---- */

bool
cpii_spill_forbidden(void)
{
	return forbidding;
}

bool
cpii_spill_refused(void)
{
	MemoryContext old;
	ErrorData  *error;
	bool		ours;

	if (!forbidding || geterrcode() != ERRCODE_CONFIGURATION_LIMIT_EXCEEDED)
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	error = CopyErrorData();
	/* as the server words it, before translation */
	ours = error->message_id != NULL &&
		strstr(error->message_id, "temporary file size exceeds") != NULL;
	FreeErrorData(error);
	MemoryContextSwitchTo(old);
	return ours;
}

void
cpii_spill_complain(void)
{
	FlushErrorState();
	cpii_spill_too_much();
	pg_unreachable();
}

void
cpii_spill_at_abort(void)
{
	frames = NULL;
	allow();
}

void
cpii_spill_init(void)
{
	limit_setting = cpii_find_setting("temp_file_limit");
	memory_setting = cpii_find_setting("work_mem");
	if (limit_setting == NULL || memory_setting == NULL)
		elog(ERROR, "a setting of the server is missing");
	cpii_before_clear = before_clear;
	prev_ExecutorEnd = ExecutorEnd_hook;
	ExecutorEnd_hook = cpii_ExecutorEnd;
}
