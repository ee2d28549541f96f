/*-------------------------------------------------------------------------
 *
 * background.c
 *	  What the library's background workers have in common.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "base/background.h"
#include "base/compat.h"

void
cpii_background_describe(BackgroundWorker *worker, const char *function,
						 const char *name)
{
	Dl_info		self;

	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_ConsistentState;
	/* the same file as this one, under whatever path it was preloaded */
	if (dladdr((const void *) cpii_background_describe, &self) != 0 &&
		self.dli_fname != NULL && strlen(self.dli_fname) < BGW_MAXLEN)
		strlcpy(worker->bgw_library_name, self.dli_fname, BGW_MAXLEN);
	else
		strlcpy(worker->bgw_library_name, "courier_pii", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
}

MemoryContext
cpii_background_start(const char *name)
{
	MemoryContext context;

	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE);
	context = AllocSetContextCreate(TopMemoryContext,
									"courier_pii background worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	return context;
}

void
cpii_background_nap(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
cpii_background_begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

void
cpii_background_end(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}
