/*-------------------------------------------------------------------------
 *
 * spool_shared.h
 *	  Shared memory of the spool; for spool.c, spool_flush.c, spool_room.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SPOOL_SHARED_H
#define CPII_AUDIT_SPOOL_SHARED_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "audit/spool.h"

/* after a failure: how long not to try again */
#define CPII_SPOOL_RETRY_MS 2000

/*
 * The last part of a segment is for statements that are at work already, when
 * there is no room for a further segment.
 */
#define CPII_SPOOL_RESERVE_AT (CPII_SEGMENT_SIZE - 2 * 1024 * 1024)

typedef struct CpiiSpoolShared
{
	LWLock	   *lock;
	LWLock	   *sync_lock;		/* held while flushing for everybody */

	/* protected by the lock */
	bool		ready;
	uint64		segment;
	uint64		offset;
	uint64		next_seq;
	TimestampTz retry_at;		/* after a failure: next attempt */
	TimestampTz admit_at;		/* while refusing: next look */
	bool		started;		/* cpii_spool_first_start was called */
	int			worker_starts;	/* since the worker was last connected */
	TimestampTz caught_up_at;
	int			worker_pid;
	Latch	   *worker_latch;

	pg_atomic_uint64 lost;
	pg_atomic_uint64 loss_logged_at;
	pg_atomic_uint64 ingested_seq;
	pg_atomic_uint64 synced_seq;
	pg_atomic_uint64 done_before;
	pg_atomic_uint32 refusing;
	pg_atomic_uint32 delay;
} CpiiSpoolShared;

extern CpiiSpoolShared *cpii_spool_shared;

/* this process's descriptor of the segment that is written */
extern int	cpii_spool_fd;

/* ---- the lock is held ---- */

/* have cpii_spool_fd be the segment that is written */
extern bool cpii_spool_open_current(void);

/* find the end of what is stored, unless that was done */
extern bool cpii_spool_make_ready(void);

/* is there room behind the current segment?  Sets or clears the refusal. */
extern void cpii_spool_check_room(void);

/* likewise for the records that wait to be ingested */
extern void cpii_spool_check_backlog(void);

extern void cpii_spool_refuse(uint32 why);

#endif							/* CPII_AUDIT_SPOOL_SHARED_H */
