/*-------------------------------------------------------------------------
 *
 * spill.h
 *	  No clear text in temporary files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SPILL_H
#define CPII_SPILL_H

#include "executor/execdesc.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"
#include "utils/portal.h"

#include "audit/statement.h"
#include "guard/guard.h"

/* ---- spill_plan.c ---- */

/* can the node write what passes through it to a temporary file? */
extern bool cpii_node_can_spill(const Plan *plan);
/* has the plan such a node anywhere? */
extern bool cpii_plan_can_spill(const PlannedStmt *plan);

/*
 * Can nothing that was shown get into this part of a plan, and has it a node
 * that can spill?  shown_before: clear values were shown to the statement before
 * this plan started.
 */
extern bool cpii_part_is_free(const PlannedStmt *stmt, const Plan *plan,
							  bool shown_before);

/* the newest entry of the server's stack of values of a setting */
typedef struct CpiiSavedSetting
{
	struct guc_stack *top;
	bool		top_masks;		/* SET LOCAL masks a value of SET there */
} CpiiSavedSetting;

/* work_mem, raised for a while */
typedef struct CpiiMemory
{
	int			before;
	int			raised;			/* the same when there was no need */
	CpiiSavedSetting saved;
} CpiiMemory;

/* ---- spill_store.c ---- */

typedef struct CpiiStoreReceiver
{
	DestReceiver pub;
	DestReceiver *inner;		/* the server's, into the portal's store */
	Portal		portal;
	bool		detoast;		/* the inner one does it */
	bool		clear;			/* something in it was shown in clear */
	bool		moved;			/* into an ordinary store: nothing was */
	Size		room;			/* bytes */
} CpiiStoreReceiver;

/*
 * The receiver to put before a portal's store that is still empty; "dest" itself
 * for a person to whom nothing is shown in clear, unless the rows come from where
 * something was ("clear").  The memory belongs to the caller.
 */
extern DestReceiver *cpii_spill_portal_store(CpiiStoreReceiver *receiver,
											 Portal portal, DestReceiver *dest,
											 bool detoast, bool clear);

/* was something in the portal's store shown in clear? */
extern bool cpii_spill_store_is_clear(const PortalData *portal);

/* ---- spill.c ---- */

/* one run of a plan; lives on the C stack of who runs it */
typedef struct CpiiSpillFrame
{
	struct CpiiSpillFrame *outer;
	struct CpiiSpillWatch *watch;	/* of this plan, or NULL */
	QueryDesc  *query;			/* NULL: the run is not looked at */
	bool		stores;			/* its rows go to a tuple store */
	DestReceiver *save_dest;
	CpiiStoreReceiver store;	/* of a cursor WITH HOLD */
	CpiiMemory	memory;
	int64		written;		/* temporary blocks when it began */
	int64		apart;			/* of those since: by parts that are free, and
								 * by statements inside */
} CpiiSpillFrame;

/* was a clear value shown in the statement that is running? */
static inline bool
cpii_spill_shown(void)
{
	return cpii_statement.open && cpii_statement.disclosed > 0;
}

/*
 * Could this plan write to a temporary file?  One of another planner could.
 */
static inline bool
cpii_plan_spills(const PlannedStmt *plan)
{
	return !cpii_plan_has(plan, CPII_PLAN_KNOWN) ||
		cpii_plan_has(plan, CPII_PLAN_SPILLS);
}

static inline bool
cpii_spill_stores(const DestReceiver *dest)
{
	return dest != NULL && (dest->mydest == DestTuplestore ||
							dest->mydest == DestSQLFunction);
}

/* should this plan be started by cpii_spill_start()? */
static inline bool
cpii_spill_may(const QueryDesc *query)
{
	return cpii_plan_spills(query->plannedstmt) &&
		(!cpii_plan_has(query->plannedstmt, CPII_PLAN_PLAIN) || cpii_spill_shown());
}

/* start a plan; what is shown in it gets the memory that it may have */
extern void cpii_spill_start(QueryDesc *query, int eflags,
							 void (*start) (QueryDesc *query, int eflags));

/* around each run, whose PG_CATCH calls cpii_spill_leave(), too */
extern void cpii_spill_push(CpiiSpillFrame *frame, QueryDesc *query);
extern void cpii_spill_pop(CpiiSpillFrame *frame);

static inline void
cpii_spill_enter(CpiiSpillFrame *frame, QueryDesc *query)
{
	frame->query = NULL;
	if (cpii_plan_spills(query->plannedstmt) || cpii_spill_stores(query->dest))
		cpii_spill_push(frame, query);
}

static inline void
cpii_spill_leave(CpiiSpillFrame *frame)
{
	if (frame->query != NULL)
		cpii_spill_pop(frame);
}

/*
 * In PG_CATCH, before cpii_spill_leave(): is the error that a temporary file
 * would have grown while clear values must not get there?  Then, when all is put
 * back, cpii_spill_complain() says so and does not return.
 */
extern bool cpii_spill_refused(void);
pg_noreturn extern void cpii_spill_complain(void);

/* was anything that this portal gives shown in clear already? */
extern bool cpii_spill_portal_shown(const PortalData *portal);

/* must what was shown not be written now? */
extern bool cpii_spill_forbidden(void);
/* raise 53400 */
pg_noreturn extern void cpii_spill_too_much(void);

/* the top transaction was rolled back */
extern void cpii_spill_at_abort(void);
extern void cpii_spill_init(void);

#endif							/* CPII_SPILL_H */
