/*-------------------------------------------------------------------------
 *
 * live.h
 *	  Who is disclosing how much right now: one place of shared memory for each
 *	  session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIVE_H
#define CPII_LIVE_H

#include "guard/window.h"

/* the session's first account opens; needs a transaction */
extern void cpii_live_start(void);

/* the counts of the statement that is running */
extern void cpii_live_progress(const int64 counts[CPII_NBUDGETS]);

/* a person's statement (or a part of it) ended, having taken this much */
extern void cpii_live_settle(const CpiiPersonKey *person,
							 const int64 taken[CPII_NBUDGETS]);

extern void cpii_live_init(void);

#endif							/* CPII_LIVE_H */
