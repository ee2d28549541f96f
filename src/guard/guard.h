/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the guard's files share, and its init function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_GUARD_H
#define CPII_GUARD_H

#include <signal.h>

#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "tcop/cmdtag.h"
#include "utils/hsearch.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/compat.h"

/* ---- the account around a statement (account.c) ---- */

/*
 * Open the account of a top-level statement.  False when one is open already
 * (we are nested) or the extension's own statements run; then the caller must
 * not close it.
 */
extern bool cpii_account_open(CommandTag tag, const char *source, uint64 query_id);

/* once in a session, before its first account: what its end will need */
extern void cpii_account_start(void);
extern bool cpii_account_started;

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

/* an account is open, or closed but its last record is not written yet */
extern volatile sig_atomic_t cpii_account_unsettled;

/* rows that a receiver of ours has passed on to the client */
extern void cpii_account_seen(int64 rows);

/*
 * The account's own plan begins to run (NULL: it has ended), with what its
 * earlier slices examined: read from it when the process ends in the middle.
 */
extern void cpii_account_running(QueryDesc *query, int64 examined);

/* rows of protected tables that scans met */
extern void cpii_account_examined(int64 rows);

/* forget an account in which nothing was read */
static inline void
cpii_account_drop(void)
{
	cpii_statement.open = false;
	cpii_account_unsettled = false;
}

/* the open account's number in this backend */
extern uint64 cpii_account_number(void);

/* close after success, or in a PG_CATCH block */
extern void cpii_account_close_used(void);

static inline void
cpii_account_close(void)
{
	if (unlikely(cpii_statement_used()))
		cpii_account_close_used();
	cpii_account_drop();
}

extern void cpii_account_close_error(void);

/* protected relations of a plan are put into the account; any found? */
extern bool cpii_account_touch_plan(PlannedStmt *plan);

/* at transaction abort: an error outside the hooks must not leave it open */
extern void cpii_account_at_abort(void);
extern void cpii_account_init(void);

/* ---- watch.c ---- */

typedef struct CpiiWatchReceiver
{
	DestReceiver pub;
	DestReceiver *inner;
	int64		rows;
	int64		sent_estimate;	/* bytes that may be in the send buffer */
	bool		early;			/* write the BEGIN record when they get many */
	bool		sealed;			/* its rows hold sealed values: count them */
} CpiiWatchReceiver;

/* put a watching receiver before another; memory belongs to the caller */
extern DestReceiver *cpii_watch(CpiiWatchReceiver *watch, DestReceiver *inner,
								bool early, bool sealed);

/* is one of the columns a sealed value, which leaves as it is? */
extern bool cpii_sends_sealed(TupleDesc desc);

/* does the plan call nothing but built-in functions and ours? */
extern bool cpii_plan_is_quiet(PlannedStmt *plan);

/* ---- plan_mark.c ---- */

/*
 * Write into a fresh plan which of its relations are ours, and which functions
 * somebody must vouch for ("code", OIDs), so that nobody has to look again when
 * it runs.  The marks are copied and cached with the plan,
 * and void with it: a relation whose nature changes is invalidated.
 * pure_relations: length of the query's range table when the query is pure, else
 * -1.
 */
extern void cpii_plan_mark(PlannedStmt *plan, List *code, int pure_relations);

/* the first invalidation items of a marked plan; no cache has these numbers */
/* the hash value is the OID of a protected relation */
#define CPII_MARK_RELATION (-7420)
/* after those: the hash value is the OID of a function to be vouched for */
#define CPII_MARK_CODE (-7421)

/*
 * Bits in a plan's jitFlags, far from the server's own.  A plan without KNOWN
 * was made by some other planner, or a worker runs it.
 */
#define CPII_PLAN_KNOWN 0x01000000	/* it is marked */
#define CPII_PLAN_PLAIN 0x02000000	/* nothing of ours, built-in functions only */
#define CPII_PLAN_READ 0x04000000	/* it changes nothing */
#define CPII_PLAN_PURE 0x08000000	/* plain, a read, and the functions harmless */
#define CPII_PLAN_SPILLS 0x10000000 /* a node can write to temporary files */

/* all of these bits? */
static inline bool
cpii_plan_has(const PlannedStmt *plan, int bits)
{
	return (plan->jitFlags & bits) == bits;
}

/* ---- plan_hook.c ---- */
extern void cpii_plan_hook_init(void);

/* ---- log_hygiene.c ---- */

/*
 * A plan that touches protected relations begins: take the literals out of its
 * text, for whoever reads along (pg_stat_activity, auto_explain).
 */
extern void cpii_hygiene_plan(QueryDesc *queryDesc);
/* such a plan runs: the protocol has shown its text again meanwhile */
extern void cpii_hygiene_run(const QueryDesc *queryDesc);
extern void cpii_hygiene_init(void);

/* ---- trojan.c ---- */

/*
 * Before a plan runs at this depth: remember it, and decide whether code of
 * somebody else could get hold of what it shows; then nothing is shown in clear
 * (cpii_statement.no_clear).  touched: it touches protected relations;
 * from_planner: the planner runs it.
 */
extern void cpii_trojan_enter(PlannedStmt *plan, int depth, bool touched,
							  bool from_planner);
/*
 * JSON detail of a record: the function because of which masks were shown.  Its
 * number only, where the catalog cannot be read.  Static memory.
 */
extern const char *cpii_trojan_detail(bool catalog);
/* the top transaction ended */
extern void cpii_trojan_reset(void);
extern void cpii_trojan_init(void);

/* ---- statement_hooks.c ---- */

/* executor runs below us, the extension's own not counted */
extern int	cpii_executor_depth;

/* ---- start_hook.c ---- */

extern void cpii_executor_start_init(void);

/* ---- meter.c ---- */

/* values between two looks at the shared counters */
#define CPII_METER_BLOCK 64

extern void cpii_meter_init(void);
/* an account begins */
extern void cpii_meter_open(void);
/* has the person a limit of this budget? */
extern bool cpii_meter_is_limited(CpiiBudget budget);
/* rows with sealed values that left without passing a receiver of ours */
extern void cpii_meter_sealed_rows(int64 rows);
/* is the open account free of limits by a ticket, or is there one to use? */
extern bool cpii_meter_lift(CpiiBudget budget);
/* put what the account took into the person's windows; give the rest back */
extern void cpii_meter_settle(void);

/*
 * A cursor or portal that is read in slices is one statement for its limits,
 * though each slice has an account of its own.  Called around each run of a
 * plan, with the account's number; "forget" when a plan starts anew.
 */
extern void cpii_meter_enter_slice(const QueryDesc *query, uint64 account);
extern void cpii_meter_leave_slice(const QueryDesc *query, uint64 account,
								   const int64 before[CPII_NBUDGETS]);
extern HTAB *cpii_meter_slices;	/* NULL: no plan gave anything yet */
extern void cpii_meter_forget_slice(const QueryDesc *query);

static inline void
cpii_meter_forget_slices(const QueryDesc *query)
{
	if (unlikely(cpii_meter_slices != NULL))
		cpii_meter_forget_slice(query);
}

extern void cpii_meter_at_end(void);

/* ---- gate.c ---- */

/*
 * A limit is reached: does a ticket that the session names lift it for this
 * statement, and up to how many values?  Uses the ticket up.  Raises PI002 when
 * the ticket does not fit every protected relation that was touched; -1 when no
 * ticket is named.
 */
extern int64 cpii_gate_ticket(CpiiBudget budget);

/*
 * Raise PI001 before the first row when the planner expects far more clear
 * values than the person has left.  count: rows asked for, 0 = all.
 */
extern void cpii_gate_estimate(PlannedStmt *plan, uint64 count);

/* ---- access.c ---- */
/*
 * May the person do to these relations what a plan asks for?  As the server's
 * hook; raises, or returns false when it is not to report.
 */
extern bool cpii_access_check_perms(CPII_CHECK_PERMS_PARAMS);
/* an object was made or changed: refuse sealed columns without a class */
extern void cpii_access_object(ObjectAccessType access, Oid classId,
							   Oid objectId, int subId);
/* a function is called by the protocol itself, outside any statement */
extern void cpii_access_fast_path(Oid function);
/*
 * The range table of a plain plan that is about to start: its permission check
 * needs no look.  Compared, never followed; the check takes it away.
 */
extern List *cpii_plain_rtable;
extern void cpii_access_at_abort(void);
/* the next COPY FROM into this (empty) register is a restore */
extern void cpii_access_allow_restore(Oid relid);
extern bool cpii_register_empty(Oid relid);

/* ---- object_hook.c ---- */
extern void cpii_object_hook_init(void);

/* ---- copy.c ---- */

/*
 * A COPY begins: what it does is noted in the account, refused without the
 * ticket that it needs, and *run is put in its place where it has to be another
 * statement.  True when its rows are to be counted from its completion.
 */
extern bool cpii_copy_enter(CopyStmt *copy, PlannedStmt **run);

/* ---- utility_hook.c ---- */
extern void cpii_utility_init(void);

/* ---- outflow.c ---- */
extern void cpii_outflow_init(void);

/* ---- replication.c ---- */
extern void cpii_replication_init(void);
/* the tables whose changes a publication sends, partitions by their own names */
extern List *cpii_published_tables(const char *publication);
/*
 * After CREATE or ALTER PUBLICATION: protected tables that it did not send
 * before are an export, recorded, and with courier_pii.sealed_export = 'ticket'
 * refused (PI001, PI002) without pii_backup or a ticket that names them.
 */
extern void cpii_publication_changed(const char *publication,
									 const List *before);
/* a function that makes or reads a slot is called: record, or refuse it */
extern void cpii_replication_function(Oid function);

extern void cpii_outflow_start_backend(void);

/*
 * Rows are in the send buffer and their record cannot be stored: tell the
 * client by a message in front of them, and end the session without sending
 * the buffer.
 */
pg_noreturn extern void cpii_outflow_abandon(void);

/* ---- examined.c ---- */

/* rows that the scans of touched relations have met since the plan started */
extern int64 cpii_examined(QueryDesc *query);

/* all of the guard */
extern void cpii_guard_init(void);

#endif							/* CPII_GUARD_H */
