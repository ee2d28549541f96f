/*-------------------------------------------------------------------------
 *
 * transaction.h
 *	  One callback at the end of (sub)transactions for all rooms.
 *
 * Every transaction calls every registered callback twice or more, and nearly
 * all have nothing to do for ours.  So there is one; a room that has something
 * to do when its transaction commits says so while it runs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TRANSACTION_H
#define CPII_TRANSACTION_H

#include "access/xact.h"

typedef void (*CpiiAtTransaction) (XactEvent event);
typedef void (*CpiiAtSubtransaction) (SubXactEvent event, SubTransactionId mine,
									  SubTransactionId parent);

/*
 * Called while the library is loaded; either may be NULL, the room that
 * registers last is called first.  A transaction's function is called when the
 * transaction aborts, whatever happened, and for the other events when any room
 * has set cpii_transaction_busy in it.
 */
extern void cpii_at_transaction(CpiiAtTransaction transaction,
								CpiiAtSubtransaction subtransaction);

/* a room has something to do when this transaction commits or is prepared */
extern bool cpii_transaction_busy;

extern void cpii_transaction_init(void);

#endif							/* CPII_TRANSACTION_H */
