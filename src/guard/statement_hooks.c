/*-------------------------------------------------------------------------
 *
 * statement_hooks.c
 *	  Executor hooks: one account per top-level statement.
 *
 * The record comes before the data: see account.c for the records and watch.c
 * for results that outgrow the send buffer.  Where code runs that could talk
 * to the client by itself (functions that are not built in), the BEGIN record
 * is written at the first clear value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "tcop/utility.h"
#include "utils/inval.h"

#include "audit/statement.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/transaction.h"
#include "guard/destroy.h"
#include "guard/guard.h"
#include "guard/maintenance.h"
#include "guard/spill.h"
#include "guard/ticket.h"
#include "people/password.h"
#include "people/roster.h"
#include "policy/probe.h"

int			cpii_executor_depth = 0;

static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;

static inline void
call_ExecutorRun(CPII_EXECUTOR_RUN_PARAMS)
{
	if (prev_ExecutorRun)
		prev_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	else
		standard_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
}

/* what a plan does with rows, and what to put back when its run ends */
typedef struct Frame
{
	bool		opened;
	bool		no_clear;
	bool		writing;
	CpiiAction	action;
	bool		save_no_clear;
	bool		save_writing;
	int			save_planning;
	int			save_depth;
	DestReceiver *save_dest;
	int64		before[CPII_NBUDGETS];	/* counts before the run */
	int64		examined;
	CpiiSpillFrame spill;
} Frame;

static void
classify(QueryDesc *queryDesc, Frame *frame)
{
	PlannedStmt *plan = queryDesc->plannedstmt;
	CommandDest dest = queryDesc->dest ? queryDesc->dest->mydest : DestNone;

	frame->no_clear = false;
	frame->writing = false;
	frame->action = CPII_ACT_READ;
	if (dest == DestIntoRel || dest == DestTransientRel)
	{
		frame->no_clear = true;
		frame->action = CPII_ACT_COPY;
	}
	else if (dest == DestCopyOut)
		frame->action = CPII_ACT_EXPORT;
	switch (plan->commandType)
	{
		case CMD_SELECT:
			if (plan->hasModifyingCTE)
				frame->no_clear = frame->writing = true;
			break;
		case CMD_DELETE:
			frame->no_clear = true;
			frame->action = CPII_ACT_DESTROY;
			break;
		case CMD_INSERT:
		case CMD_UPDATE:
		case CMD_MERGE:
			frame->no_clear = frame->writing = true;
			frame->action = CPII_ACT_WRITE;
			break;
		default:
			break;
	}
}

static bool
goes_to_client(DestReceiver *dest)
{
	return dest != NULL &&
		(dest->mydest == DestRemote || dest->mydest == DestRemoteExecute ||
		 dest->mydest == DestRemoteSimple);
}

/*
 * Likewise by way of COPY, or of the tuple store that collects the rows of
 * EXECUTE and FETCH for the client.
 */
static bool
goes_out(DestReceiver *dest, int depth)
{
	return goes_to_client(dest) ||
		(dest != NULL && (dest->mydest == DestCopyOut ||
						  (dest->mydest == DestTuplestore && depth == 0)));
}

static void
leave_frame(QueryDesc *queryDesc, const Frame *frame)
{
	if (frame->opened)
		cpii_account_running(NULL, 0);
	queryDesc->dest = frame->save_dest;
	cpii_executor_depth = frame->save_depth;
	cpii_planning_depth = frame->save_planning;
	cpii_statement.no_clear = frame->save_no_clear;
	cpii_statement.writing = frame->save_writing;
}

/* everything that happens before the executor produces its first row */
static void
enter_frame(QueryDesc *queryDesc, uint64 count, Frame *frame,
			CpiiWatchReceiver *watch)
{
	PlannedStmt *plan = queryDesc->plannedstmt;
	bool		touched = cpii_account_touch_plan(plan);
	bool		early;
	bool		sealed;

	if (touched)
		cpii_account_prepare();
	if (touched && frame->opened)
		cpii_hygiene_run(queryDesc);
	if (frame->opened)
		cpii_account_action(frame->action);
	else if (touched && frame->action != CPII_ACT_READ)
		cpii_account_widen(frame->action);	/* a DO block that writes */
	if (touched &&
		(frame->opened || goes_out(queryDesc->dest, frame->save_depth)))
		cpii_gate_estimate(plan, count);
	if (touched && plan->commandType == CMD_SELECT &&
		(frame->action == CPII_ACT_EXPORT || frame->action == CPII_ACT_COPY))
		cpii_account_begin(true);
	if (frame->no_clear)
		cpii_statement.no_clear = true;
	cpii_trojan_enter(plan, frame->save_depth, touched, frame->save_planning > 0);
	cpii_statement.writing = frame->writing;
	if (unlikely(cpii_probe_waits))
		cpii_probe_early();

	early = frame->opened && touched && goes_to_client(queryDesc->dest) &&
		cpii_plan_is_quiet(plan);
	sealed = touched && goes_out(queryDesc->dest, frame->save_depth) &&
		cpii_sends_sealed(queryDesc->tupDesc);
	if (early || sealed)
		queryDesc->dest = cpii_watch(watch, queryDesc->dest, early, sealed);
	if (early)
		cpii_account_watched();
	cpii_executor_depth++;
	cpii_planning_depth = 0;
}

/* inside a statement that was shown clear values, which it may be given */
static pg_noinline void
run_pure_after_clear(CPII_EXECUTOR_RUN_PARAMS)
{
	CpiiSpillFrame spill;

	spill.query = NULL;
	PG_TRY();
	{
		cpii_spill_enter(&spill, queryDesc);
		call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	}
	PG_CATCH();
	{
		bool		refused = cpii_spill_refused();

		cpii_spill_leave(&spill);
		if (refused)
			cpii_spill_complain();
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_spill_leave(&spill);
}

/*
 * A SELECT that touches nothing of ours and calls nothing that could: the
 * person has to be at work still, and there is nothing to account for.
 */
static inline void
run_pure(CPII_EXECUTOR_RUN_PARAMS)
{
	if (cpii_executor_depth == 0 && cpii_internal_depth == 0)
	{
		cpii_roster_check();
		if (unlikely(!cpii_account_started))
			cpii_account_start();
	}
	cpii_password_gate(queryDesc->plannedstmt);
	if (unlikely(cpii_spill_shown()))
		run_pure_after_clear(CPII_EXECUTOR_RUN_ARGS);
	else
		call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	/* rows of a statement around it: EXECUTE, FETCH */
	if (unlikely(cpii_statement.open) &&
		goes_out(queryDesc->dest, cpii_executor_depth))
		cpii_account_rows((int64) queryDesc->estate->es_processed);
}

/*
 * A SELECT that touches nothing of ours: an account, for what its functions
 * may read, and nothing else.
 */
static void
run_plain(CPII_EXECUTOR_RUN_PARAMS)
{
	int			save_planning = cpii_planning_depth;
	int			save_depth = cpii_executor_depth;
	bool		save_writing;
	bool		save_no_clear;
	int64		before[CPII_NBUDGETS];
	bool		opened;
	CpiiSpillFrame spill;

	spill.query = NULL;
	if (save_depth == 0)
		cpii_roster_check();
	cpii_password_gate(queryDesc->plannedstmt);
	opened = cpii_account_open(CMDTAG_SELECT, queryDesc->sourceText,
							   queryDesc->plannedstmt->queryId);
	save_writing = opened ? false : cpii_statement.writing;
	save_no_clear = opened ? false : cpii_statement.no_clear;
	if (!opened)
		cpii_statement_counts(before);
	PG_TRY();
	{
		if (unlikely(cpii_meter_slices != NULL) && !CPII_EXECUTE_ONCE)
			cpii_meter_enter_slice(queryDesc, cpii_account_number());
		cpii_statement.writing = false;
		cpii_trojan_enter(queryDesc->plannedstmt, save_depth, false,
						  save_planning > 0);
		cpii_executor_depth++;
		cpii_planning_depth = 0;
		cpii_spill_enter(&spill, queryDesc);
		call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	}
	PG_CATCH();
	{
		bool		refused = cpii_spill_refused();

		cpii_spill_leave(&spill);
		cpii_executor_depth = save_depth;
		cpii_planning_depth = save_planning;
		cpii_statement.writing = save_writing;
		cpii_statement.no_clear = save_no_clear;
		if (opened)
		{
			if (queryDesc->estate)
				cpii_account_rows((int64) queryDesc->estate->es_processed);
			cpii_account_close_error();
		}
		if (refused)
			cpii_spill_complain();
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_spill_leave(&spill);
	cpii_executor_depth = save_depth;
	cpii_planning_depth = save_planning;
	cpii_statement.writing = save_writing;
	cpii_statement.no_clear = save_no_clear;
	if (unlikely(cpii_statement_used()) && !CPII_EXECUTE_ONCE)
	{
		static const int64 nothing[CPII_NBUDGETS] = {0};

		cpii_meter_leave_slice(queryDesc, cpii_account_number(),
							   opened ? nothing : before);
	}
	if (opened || goes_out(queryDesc->dest, save_depth))
		cpii_account_rows((int64) queryDesc->estate->es_processed);
	if (opened)
		cpii_account_close();
}

static pg_noinline void
run_watched(CPII_EXECUTOR_RUN_PARAMS)
{
	Frame		frame;
	CpiiWatchReceiver watch;

	frame.save_planning = cpii_planning_depth;
	frame.save_depth = cpii_executor_depth;
	frame.save_dest = queryDesc->dest;
	if (cpii_internal_depth > 0 || IsParallelWorker())
	{
		cpii_planning_depth = 0;
		PG_TRY();
		{
			call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
		}
		PG_FINALLY();
		{
			cpii_planning_depth = frame.save_planning;
		}
		PG_END_TRY();
		return;
	}

	if (cpii_executor_depth == 0)
	{
		AcceptInvalidationMessages();
		cpii_roster_check();
	}
	cpii_password_gate(queryDesc->plannedstmt);
	frame.opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
									 queryDesc->sourceText,
									 queryDesc->plannedstmt->queryId);
	classify(queryDesc, &frame);
	frame.save_no_clear = frame.opened ? false : cpii_statement.no_clear;
	frame.save_writing = frame.opened ? false : cpii_statement.writing;
	cpii_statement_counts(frame.before);
	frame.examined = 0;
	frame.spill.query = NULL;

	PG_TRY();
	{
		/* a slice that goes on from an earlier statement; nested ones do not */
		if (!CPII_EXECUTE_ONCE)
			cpii_meter_enter_slice(queryDesc, cpii_account_number());
		cpii_spill_enter(&frame.spill, queryDesc);
		enter_frame(queryDesc, count, &frame, &watch);
		frame.examined = cpii_examined(queryDesc);
		if (frame.opened)
			cpii_account_running(queryDesc, frame.examined);
		call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
		cpii_destroy_after_run(queryDesc);
	}
	PG_CATCH();
	{
		bool		refused = cpii_spill_refused();

		cpii_spill_leave(&frame.spill);
		leave_frame(queryDesc, &frame);
		cpii_account_examined(cpii_examined(queryDesc) - frame.examined);
		if (frame.opened)
		{
			if (queryDesc->estate && queryDesc->plannedstmt->commandType == CMD_SELECT)
				cpii_account_rows((int64) queryDesc->estate->es_processed);
			cpii_account_close_error();
		}
		if (refused)
			cpii_spill_complain();
		PG_RE_THROW();
	}
	PG_END_TRY();

	cpii_spill_leave(&frame.spill);
	leave_frame(queryDesc, &frame);
	cpii_account_examined(cpii_examined(queryDesc) - frame.examined);
	if (!CPII_EXECUTE_ONCE)
		cpii_meter_leave_slice(queryDesc, cpii_account_number(), frame.before);
	if (queryDesc->estate != NULL &&
		(frame.opened || goes_out(queryDesc->dest, frame.save_depth)))
		cpii_account_rows((int64) queryDesc->estate->es_processed);
	if (frame.opened)
		cpii_account_close();
}

static void
cpii_ExecutorRun(CPII_EXECUTOR_RUN_PARAMS)
{
	CommandDest dest = queryDesc->dest->mydest;

	/* values were sealed for it: somebody has to account for them */
	if (unlikely(cpii_probe_waits))
		run_watched(CPII_EXECUTOR_RUN_ARGS);
	else if (likely(cpii_plan_has(queryDesc->plannedstmt, CPII_PLAN_PURE)))
		run_pure(CPII_EXECUTOR_RUN_ARGS);
	else if (likely(cpii_plan_has(queryDesc->plannedstmt,
								  CPII_PLAN_PLAIN | CPII_PLAN_READ) &&
					dest != DestIntoRel && dest != DestTransientRel &&
					dest != DestCopyOut && cpii_internal_depth == 0))
		run_plain(CPII_EXECUTOR_RUN_ARGS);
	else
		run_watched(CPII_EXECUTOR_RUN_ARGS);
}

static void
call_ExecutorFinish(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish)
		prev_ExecutorFinish(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/* AFTER triggers run here: an account of their own, and no clear text */
static pg_noinline void
finish_watched(QueryDesc *queryDesc)
{
	Frame		frame;

	frame.save_planning = cpii_planning_depth;
	frame.save_depth = cpii_executor_depth;
	frame.save_dest = queryDesc->dest;
	frame.opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
									 queryDesc->sourceText,
									 queryDesc->plannedstmt->queryId);
	frame.save_no_clear = frame.opened ? false : cpii_statement.no_clear;
	frame.save_writing = frame.opened ? false : cpii_statement.writing;
	PG_TRY();
	{
		cpii_executor_depth++;
		cpii_statement.no_clear = true;
		call_ExecutorFinish(queryDesc);
		cpii_destroy_after_finish(queryDesc);
	}
	PG_CATCH();
	{
		leave_frame(queryDesc, &frame);
		if (frame.opened)
			cpii_account_close_error();
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave_frame(queryDesc, &frame);
	if (frame.opened)
		cpii_account_close();
}

static void
cpii_ExecutorFinish(QueryDesc *queryDesc)
{
	/* a read has no triggers to run */
	if ((queryDesc->plannedstmt->commandType == CMD_SELECT &&
		 !queryDesc->plannedstmt->hasModifyingCTE) ||
		cpii_internal_depth > 0 || IsParallelWorker())
		call_ExecutorFinish(queryDesc);
	else
		finish_watched(queryDesc);
}

static void
xact_callback(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
			cpii_executor_depth = 0;
			cpii_spill_at_abort();
			cpii_trojan_reset();
			cpii_account_at_abort();
			/* FALLTHROUGH */
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			cpii_access_at_abort();
			cpii_meter_at_end();
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		cpii_access_at_abort();
}

void
cpii_guard_init(void)
{
	cpii_meter_init();
	cpii_object_hook_init();
	cpii_utility_init();
	cpii_trojan_init();
	cpii_hygiene_init();
	cpii_account_init();
	cpii_replication_init();
	cpii_ticket_init();
	cpii_maintenance_init();
	cpii_plan_hook_init();
	cpii_spill_init();

	cpii_executor_start_init();
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = cpii_ExecutorRun;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = cpii_ExecutorFinish;
	cpii_at_transaction(xact_callback, subxact_callback);
}
