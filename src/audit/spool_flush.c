/*-------------------------------------------------------------------------
 *
 * spool_flush.c
 *	  Flushes the spool to disk, one fdatasync for many who wait.
 *
 * Whoever gets the sync lock flushes everything written so far; those who
 * waited for the lock meanwhile mostly find their record flushed with it.  A
 * segment that is full was flushed before the next one was begun, so only the
 * one that is written matters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/lwlock.h"

#include "audit/segment.h"
#include "audit/spool.h"
#include "audit/spool_shared.h"
#include "base/errcodes.h"

/* flush what was written until now; the sync lock is held */
static bool
flush_all(void)
{
	CpiiSpoolShared *shared = cpii_spool_shared;
	uint64		written = 0;
	bool		usable;

	LWLockAcquire(shared->lock, LW_SHARED);
	usable = shared->ready && cpii_spool_open_current();
	written = shared->next_seq - 1;
	LWLockRelease(shared->lock);

	if (!usable)
		return false;
	if (written <= pg_atomic_read_u64(&shared->synced_seq))
		return true;
	if (pg_fdatasync(cpii_spool_fd) != 0)
		return cpii_segment_problem("flush a segment in", cpii_segment_directory);

	/* a full segment may have been flushed up to further on meanwhile */
	for (;;)
	{
		uint64		before = pg_atomic_read_u64(&shared->synced_seq);

		if (before >= written ||
			pg_atomic_compare_exchange_u64(&shared->synced_seq, &before, written))
			return true;
	}
}

bool
cpii_spool_flush_to(uint64 seq)
{
	CpiiSpoolShared *shared = cpii_spool_shared;
	bool		ok = true;

	while (ok && pg_atomic_read_u64(&shared->synced_seq) < seq)
	{
		/* false: somebody else has flushed, perhaps our record too */
		if (LWLockAcquireOrWait(shared->sync_lock, LW_EXCLUSIVE))
		{
			if (pg_atomic_read_u64(&shared->synced_seq) < seq)
				ok = flush_all();
			LWLockRelease(shared->sync_lock);
		}
	}
	return ok;
}

bool
cpii_spool_sync(void)
{
	CpiiSpoolState state;

	cpii_spool_state(&state);
	if (!state.ready)
		return false;
	if (cpii_spool_flush_to(state.next_seq - 1))
		return true;
	if (cpii_spool_count_loss(true))
		ereport(LOG,
				(errcode(CPII_ERRCODE_AUDIT_FAILURE),
				 errmsg("audit records could not be flushed"),
				 errdetail_internal("%s", cpii_segment_problem_text)));
	return false;
}
