/*-------------------------------------------------------------------------
 *
 * locked.h
 *	  Memory that is not swapped, dumped or inherited, and processes that
 *	  cannot be dumped or traced by their own account.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LOCKED_H
#define CPII_LOCKED_H

#include <stddef.h>

/*
 * Pages of zeros, locked into memory, left out of core dumps, and not mapped
 * in children.  *locked tells whether the system allowed the lock.  NULL when
 * there is no memory.  Wiped and unmapped by cpii_locked_free.
 */
extern void *cpii_locked_alloc(size_t size, bool *locked);
extern void cpii_locked_free(void *p, size_t size);

/* likewise, but shared with all children to come; never freed */
extern void *cpii_locked_shared(size_t size, bool *locked);

/* no core dumps of this process, no reading of its memory by its own account */
extern void cpii_process_harden(void);

#endif							/* CPII_LOCKED_H */
