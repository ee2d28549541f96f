/*-------------------------------------------------------------------------
 *
 * throttle.c
 *	  How much of the server a job over all rows of a table may take.
 *
 * After each batch a job pauses, so that it works for a share of the time only.
 * The share is of elapsed time: on a busy machine a batch takes longer, and so
 * does the pause after it.  While nobody else is at work there is no pause.
 *
 * Somebody is at work when a client's backend has a snapshot or a transaction
 * number at the end of a batch, or when others took transaction numbers since
 * the one before.  That holds for a second, so that short statements which no
 * sample meets count as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/settings.h"
#include "policy/throttle.h"

/* the longest pause after one batch */
#define MAX_PAUSE_MS 5000
/* for so long after others were seen at work we believe they still are */
#define BUSY_MS 1000
/* transaction numbers since the last batch: its own, and the audit worker's */
#define OWN_XIDS 3

void
cpii_pause(long ms)
{
	while (ms > 0)
	{
		long		now = Min(ms, 100);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 now, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		ms -= now;
	}
}

/*
 * Does another client's backend run a transaction?  Read without locks: what
 * a slot says may be a moment old.  Backends without a database send WAL.
 */
static bool
any_active(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];

		if (proc != MyProc && proc->pid != 0 && !CPII_IS_WORKER_PROC(proc) &&
			OidIsValid(proc->databaseId) &&
			(proc->statusFlags & PROC_IS_AUTOVACUUM) == 0 &&
			(TransactionIdIsValid(proc->xmin) || TransactionIdIsValid(proc->xid)))
			return true;
	}
	return false;
}

static bool
others_work(CpiiThrottle *throttle)
{
	TransactionId next = XidFromFullTransactionId(ReadNextFullTransactionId());
	TimestampTz now = GetCurrentTimestamp();
	bool		first = !TransactionIdIsValid(throttle->next_xid);

	if (any_active() || (!first && next - throttle->next_xid > OWN_XIDS))
		throttle->busy_until = TimestampTzPlusMilliseconds(now, BUSY_MS);
	throttle->next_xid = next;
	return now < throttle->busy_until;
}

/* a share that was changed with a reload holds at once */
static void
reread_settings(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
cpii_throttle_pause(CpiiThrottle *throttle, long took_ms, long at_least_ms)
{
	long		pause = 0;

	reread_settings();
	while (cpii_online_share == 0)
	{
		cpii_pause(500);
		reread_settings();
	}
	if (others_work(throttle) && cpii_online_share < 100)
		pause = Min(Max(took_ms, 1) * (100 - cpii_online_share) / cpii_online_share,
					MAX_PAUSE_MS);
	cpii_pause(Max(pause, at_least_ms));
}
