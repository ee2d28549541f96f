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

#include <dlfcn.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

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
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, "following the staff register");
		cpii_roster_poll();
		cpii_duties_follow();
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_activity(STATE_IDLE, NULL);
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
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", "courier_pii standby worker",
					PGC_USERSET, PGC_S_OVERRIDE);
	context = AllocSetContextCreate(TopMemoryContext,
									"courier_pii standby worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);

	while (RecoveryInProgress())
	{
		poll_once(context);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	proc_exit(0);
}

void
cpii_standby_init(void)
{
	BackgroundWorker worker;
	Dl_info		self;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RESTART_SECONDS;
	if (dladdr((const void *) cpii_standby_worker_main, &self) != 0 &&
		self.dli_fname != NULL && strlen(self.dli_fname) < BGW_MAXLEN)
		strlcpy(worker.bgw_library_name, self.dli_fname, BGW_MAXLEN);
	else
		strlcpy(worker.bgw_library_name, "courier_pii", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cpii_standby_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "courier_pii standby worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "courier_pii standby worker", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
