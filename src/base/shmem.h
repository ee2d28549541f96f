/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Sums up what the rooms want of shared memory and calls them to set it up.
 *
 * A room calls cpii_shmem_register() from its init function (in _PG_init);
 * we own the two shared memory hooks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SHMEM_H
#define CPII_SHMEM_H

#include "storage/lwlock.h"

typedef Size (*CpiiShmemSize) (void);

/*
 * Attach to a room's area and, when "found" is false, initialise what must not
 * be zero: a new area is all zeros.  Called with AddinShmemInitLock held in
 * exclusive mode.  "locks" is the first of the room's "nlocks" lightweight
 * locks.
 */
typedef void (*CpiiShmemInit) (void *area, bool found, LWLockPadded *locks);

/* name: also the name of the lock tranche, visible in pg_stat_activity */
extern void cpii_shmem_register(const char *name, CpiiShmemSize size,
								CpiiShmemInit init, int nlocks);

/*
 * Likewise for an area of fixed size that starts as zeros, all its atomics
 * included, with one lock (NULL: none) and nothing else to do.  Both pointers
 * are set in each process that attaches.  Size 0: the lock is all that is
 * wanted.
 */
extern void cpii_shmem_register_zeros(const char *name, void **area, Size size,
									  LWLock **lock);

extern void cpii_shmem_init(void);

#endif							/* CPII_SHMEM_H */
