/*-------------------------------------------------------------------------
 *
 * transaction.c
 *	  One callback at the end of (sub)transactions for all rooms.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/transaction.h"

#define MAX_ROOMS 16

bool		cpii_transaction_busy = false;

static CpiiAtTransaction at_end[MAX_ROOMS];
static CpiiAtSubtransaction at_sub[MAX_ROOMS];
static int	nends = 0;
static int	nsubs = 0;

void
cpii_at_transaction(CpiiAtTransaction transaction,
					CpiiAtSubtransaction subtransaction)
{
	if (nends == MAX_ROOMS || nsubs == MAX_ROOMS)
		elog(ERROR, "too many callbacks at the end of a transaction");
	if (transaction != NULL)
		at_end[nends++] = transaction;
	if (subtransaction != NULL)
		at_sub[nsubs++] = subtransaction;
}

static pg_noinline void
call_rooms(XactEvent event)
{
	for (int i = nends - 1; i >= 0; i--)
		at_end[i] (event);
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE &&
		event != XACT_EVENT_PARALLEL_PRE_COMMIT)
		cpii_transaction_busy = false;
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (unlikely(cpii_transaction_busy || event == XACT_EVENT_ABORT ||
				 event == XACT_EVENT_PARALLEL_ABORT))
		call_rooms(event);
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine,
				 SubTransactionId parent, void *arg)
{
	for (int i = nsubs - 1; i >= 0; i--)
		at_sub[i] (event, mine, parent);
}

void
cpii_transaction_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
