/*-------------------------------------------------------------------------
 *
 * background.h
 *	  What the library's background workers have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_BACKGROUND_H
#define CPII_BACKGROUND_H

#include "postmaster/bgworker.h"

/*
 * Describe a worker of this library that connects to a database as soon as
 * that is possible.  The caller changes what is different, and registers it.
 */
extern void cpii_background_describe(BackgroundWorker *worker,
									 const char *function, const char *name);

/*
 * For a worker that loops, once it is connected: no limits on its statements,
 * its name, and the memory context of one round, made current.
 */
extern MemoryContext cpii_background_start(const char *name);

/*
 * Sleep until the latch is set or the time is over; reads the settings again
 * when asked to, and exits when asked to.
 */
extern void cpii_background_nap(long ms);

/* a transaction with a snapshot, and what pg_stat_activity says of it */
extern void cpii_background_begin(const char *activity);
extern void cpii_background_end(void);

#endif							/* CPII_BACKGROUND_H */
