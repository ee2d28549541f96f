/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the guard's files share, and its init function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_GUARD_H
#define CPII_GUARD_H

#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "tcop/cmdtag.h"

#include "audit/record.h"

/* ---- the account around a statement (account.c) ---- */

/*
 * Open the account of a top-level statement.  False when one is open already
 * (we are nested) or the extension's own statements run; then the caller must
 * not close it.
 */
extern bool cpii_account_open(CommandTag tag, const char *source, uint64 query_id);

/* the action that the record will carry, unless the statement turns out milder */
extern void cpii_account_action(CpiiAction action);

/* the same from a nested statement: never milder than what is known */
extern void cpii_account_widen(CpiiAction action);

/* a receiver sees the rows before the client does */
extern void cpii_account_watched(void);

/* look up who acts and what is touched, while the catalog can be read */
extern void cpii_account_prepare(void);

/* write the BEGIN record now, before anything may leave (idempotent) */
extern void cpii_account_begin(bool sync);

/*
 * Has everything that the open statement took from the door a record, at
 * least a BEGIN?  Safe in a signal handler.
 */
extern bool cpii_account_recorded(void);
/* write the BEGIN record where no error may be raised; false when it failed */
extern bool cpii_account_begin_noerror(void);

/* rows handed to the client by parts that the executor hooks do not see */
extern void cpii_account_rows(int64 rows);

/* forget an account in which nothing was read */
extern void cpii_account_drop(void);

/* the open account's number in this backend */
extern uint64 cpii_account_number(void);

/* close after success, or in a PG_CATCH block */
extern void cpii_account_close(void);
extern void cpii_account_close_error(void);

/* protected relations of a plan are put into the account; any found? */
extern bool cpii_account_touch_plan(PlannedStmt *plan);

extern void cpii_account_init(void);

/* ---- watch.c ---- */

typedef struct CpiiWatchReceiver
{
	DestReceiver pub;
	DestReceiver *inner;
	int64		sent_estimate;	/* bytes that may be in the send buffer */
} CpiiWatchReceiver;

/* put a watching receiver before another; memory belongs to the caller */
extern DestReceiver *cpii_watch(CpiiWatchReceiver *watch, DestReceiver *inner);

/* does the plan call nothing but built-in functions and ours? */
extern bool cpii_plan_is_quiet(PlannedStmt *plan);

/* ---- statement_hooks.c ---- */

/* executor runs below us, the extension's own not counted */
extern int	cpii_executor_depth;

/* ---- meter.c ---- */
extern void cpii_meter_init(void);
/* charge the person's windows with what a statement disclosed */
extern void cpii_meter_charge(int64 disclosed);

/*
 * A cursor or portal that is read in slices is one statement for its limit,
 * though each slice has an account of its own.  Called around each run of a
 * plan, with the account's number; "forget" when a plan starts anew.
 */
extern void cpii_meter_enter_slice(const QueryDesc *query, uint64 account);
extern void cpii_meter_leave_slice(const QueryDesc *query, uint64 account,
								   int64 disclosed);
extern void cpii_meter_forget_slices(const QueryDesc *query);

/* ---- access.c ---- */
extern void cpii_access_init(void);
/* the next COPY FROM into this (empty) register is a restore */
extern void cpii_access_allow_restore(Oid relid);

/* ---- utility_hook.c ---- */
extern void cpii_utility_init(void);

/* ---- outflow.c ---- */
extern void cpii_outflow_init(void);
extern void cpii_outflow_start_backend(void);

/* all of the guard */
extern void cpii_guard_init(void);

#endif							/* CPII_GUARD_H */
