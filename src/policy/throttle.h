/*-------------------------------------------------------------------------
 *
 * throttle.h
 *	  How much of the server a job over all rows of a table may take.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_THROTTLE_H
#define CPII_THROTTLE_H

#include "datatype/timestamp.h"

/* of one job; zero at its beginning */
typedef struct CpiiThrottle
{
	TransactionId next_xid;		/* at the end of the last batch */
	TimestampTz busy_until;		/* others are believed to be at work until then */
} CpiiThrottle;

/* sleep, interruptibly */
extern void cpii_pause(long ms);

/*
 * After a batch that took so long, between two transactions: pause so that the
 * job stays within its share (setting online_share), at least so long, and as
 * long as the share is 0.  Interrupts are served.
 */
extern void cpii_throttle_pause(CpiiThrottle *throttle, long took_ms, long at_least_ms);

#endif							/* CPII_THROTTLE_H */
