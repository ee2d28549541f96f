/*-------------------------------------------------------------------------
 *
 * table_lock.c
 *	  Strong locks on tables in use, taken in tries that keep nobody waiting.
 *
 * All locks of one try are given back together when one of them was not free
 * in time.  A try is shorter than deadlock_timeout: whoever waits for us in
 * turn is let through before the server would call it a deadlock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/session.h"
#include "policy/column_job.h"
#include "policy/policy.h"

/* how long one try may keep others waiting, and how many */
#define LOCK_TRY_MS 400
#define LOCK_PAUSE_MS 600
#define LOCK_TRIES 120

/* wait no longer than what is left of the try */
static void
lock_one(Oid relid, LOCKMODE mode, TimestampTz began)
{
	long		most = Min(LOCK_TRY_MS, DeadlockTimeout / 2);
	long		left = most - TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());
	char		value[32];

	snprintf(value, sizeof(value), "%ldms", Max(left, 1));
	(void) set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	LockRelationOid(relid, mode);
}

static List *
trees(List *relids)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, relids)
		list = list_concat_unique_oid(list, find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	return list;
}

static void
lock_all(List *relids, LOCKMODE mode)
{
	TimestampTz began = GetCurrentTimestamp();
	List	   *locked = NIL;
	List	   *wanted;
	ListCell   *lc;

	/* readers lock a view before its table, and so do we */
	if (mode == AccessExclusiveLock)
		foreach(lc, cpii_masked_views_of(trees(relids)))
			lock_one(lfirst_oid(lc), mode, began);
	/* a partition may appear until its parent is locked */
	while ((wanted = list_difference_oid(trees(relids), locked)) != NIL)
	{
		foreach(lc, wanted)
			lock_one(lfirst_oid(lc), mode, began);
		locked = list_concat(locked, wanted);
	}
}

/* false when one of them was not free in time; the last try raises then */
static bool
try_lock(List *relids, LOCKMODE mode, bool last)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool locked = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		int			guc_level = NewGUCNestLevel();

		lock_all(relids, mode);
		AtEOXact_GUC(true, guc_level);
		ReleaseCurrentSubTransaction();
		locked = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE || last)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	return locked;
}

void
cpii_job_lock_tables(List *relids, LOCKMODE mode)
{
	for (int i = 1; !try_lock(relids, mode, i >= LOCK_TRIES); i++)
		cpii_pause(LOCK_PAUSE_MS);
}

void
cpii_job_lock_table(Oid relid, LOCKMODE mode)
{
	cpii_job_lock_tables(list_make1_oid(relid), mode);
}
