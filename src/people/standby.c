/*-------------------------------------------------------------------------
 *
 * standby.c
 *	  A background worker that lets the roster of a hot standby follow the
 *	  registers of its primary.
 *
 * Nothing on a standby runs commit callbacks, so the worker reads the replayed
 * registers twice a second and ends the sessions of accounts that are denied.
 * It leaves for good when the server is no standby (any more): there the main
 * worker and the changes themselves do all that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "base/background.h"
#include "base/compat.h"
#include "base/settings.h"
#include "people/duty.h"
#include "people/roster_table.h"

#define POLL_MS 500
#define RESTART_SECONDS 2

CPII_EXPORT void cpii_standby_worker_main(Datum arg);

static void
poll_once(MemoryContext context)
{
	PG_TRY();
	{
		cpii_background_begin("following the staff register");
		cpii_roster_poll();
		cpii_duties_follow();
		cpii_background_end();
	}
	PG_CATCH();
	{
		/* a conflict with replay, mostly: the next round tries again */
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	MemoryContextReset(context);
}

void
cpii_standby_worker_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!RecoveryInProgress())
		proc_exit(0);

	BackgroundWorkerInitializeConnection(cpii_database, NULL, 0);
	context = cpii_background_start("courier_pii standby worker");
	while (RecoveryInProgress())
	{
		poll_once(context);
		cpii_background_nap(POLL_MS);
	}
	proc_exit(0);
}

void
cpii_standby_init(void)
{
	BackgroundWorker worker;

	cpii_background_describe(&worker, "cpii_standby_worker_main",
							 "courier_pii standby worker");
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}
