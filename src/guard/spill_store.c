/*-------------------------------------------------------------------------
 *
 * spill_store.c
 *	  The tuple store of a portal: EXECUTE, FETCH, and a cursor WITH HOLD at
 *	  commit.
 *
 * Unlike other temporary files, that of a portal's store outlives a failed
 * transaction, and what waits to be written is written when it is closed.  So
 * such a store must not begin to write at all once values were shown in clear:
 * it gets a limit that it never reaches, and a receiver of ours before it looks
 * at its size.  Rows in which nothing was shown in clear go on into an ordinary
 * store, which writes them out as ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/settings.h"
#include "guard/spill.h"
#include "policy/catalog.h"
#include "sealed/oids.h"

/* memory of stores that hold rows in which something was shown in clear */
typedef struct ClearStore
{
	struct ClearStore *next;
	MemoryContext memory;
	MemoryContextCallback gone;
} ClearStore;

static ClearStore *clear_stores = NULL;

static void
forget_store(void *arg)
{
	for (ClearStore **s = &clear_stores; *s != NULL; s = &(*s)->next)
	{
		if (*s == arg)
		{
			*s = (*s)->next;
			return;
		}
	}
}

static void
mark_clear(MemoryContext memory)
{
	ClearStore *store = MemoryContextAllocZero(memory, sizeof(ClearStore));

	store->memory = memory;
	store->gone.func = forget_store;
	store->gone.arg = store;
	MemoryContextRegisterResetCallback(memory, &store->gone);
	store->next = clear_stores;
	clear_stores = store;
}

bool
cpii_spill_store_is_clear(const PortalData *portal)
{
	for (ClearStore *s = clear_stores; s != NULL; s = s->next)
		if (s->memory == portal->holdContext)
			return true;
	return false;
}

/* an empty store in the portal's memory, and the server's receiver onto it */
static void
new_store(CpiiStoreReceiver *receiver, int kilobytes)
{
	Portal		portal = receiver->portal;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext old = MemoryContextSwitchTo(portal->holdContext);

	/* as the server has it: the portal's own owner ends with the transaction */
	CurrentResourceOwner = CurTransactionResourceOwner;
	portal->holdStore = tuplestore_begin_heap((portal->cursorOptions & CURSOR_OPT_SCROLL) != 0,
											  true, kilobytes);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	SetTuplestoreDestReceiverParams(receiver->inner, portal->holdStore,
									portal->holdContext, receiver->detoast,
									NULL, NULL);
}

/* nothing in it was shown in clear: let it be written out */
static void
move_rows(CpiiStoreReceiver *receiver, TupleDesc desc)
{
	Tuplestorestate *from = receiver->portal->holdStore;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	new_store(receiver, work_mem);
	while (tuplestore_gettupleslot(from, true, false, slot))
		tuplestore_puttupleslot(receiver->portal->holdStore, slot);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(from);
	receiver->moved = true;
}

static bool
store_receive(TupleTableSlot *slot, DestReceiver *self)
{
	CpiiStoreReceiver *receiver = (CpiiStoreReceiver *) self;

	if (!receiver->clear && cpii_spill_forbidden())
	{
		mark_clear(receiver->portal->holdContext);
		receiver->clear = true;
	}
	if (!receiver->moved &&
		MemoryContextMemAllocated(receiver->portal->holdContext, true) > receiver->room)
	{
		if (receiver->clear)
			cpii_spill_too_much();
		move_rows(receiver, slot->tts_tupleDescriptor);
	}
	return receiver->inner->receiveSlot(slot, receiver->inner);
}

static void
store_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	CpiiStoreReceiver *receiver = (CpiiStoreReceiver *) self;

	receiver->inner->rStartup(receiver->inner, operation, typeinfo);
}

static void
store_shutdown(DestReceiver *self)
{
	CpiiStoreReceiver *receiver = (CpiiStoreReceiver *) self;

	receiver->inner->rShutdown(receiver->inner);
}

static void
store_destroy(DestReceiver *self)
{
	/* the inner receiver belongs to the portal */
}

DestReceiver *
cpii_spill_portal_store(CpiiStoreReceiver *receiver, Portal portal,
						DestReceiver *dest, bool detoast, bool clear)
{
	if (portal->holdStore == NULL || tuplestore_tuple_count(portal->holdStore) > 0 ||
		(!clear && (cpii_oids() == NULL || !cpii_policy_may_show_clear())))
		return dest;
	receiver->pub.receiveSlot = store_receive;
	receiver->pub.rStartup = store_startup;
	receiver->pub.rShutdown = store_shutdown;
	receiver->pub.rDestroy = store_destroy;
	receiver->pub.mydest = dest->mydest;
	receiver->inner = dest;
	receiver->portal = portal;
	receiver->detoast = detoast;
	receiver->moved = false;
	receiver->clear = false;
	receiver->room = Max(work_mem, cpii_shown_memory) * (Size) 1024;
	tuplestore_end(portal->holdStore);
	portal->holdStore = NULL;
	new_store(receiver, MAX_KILOBYTES);
	if (clear)
	{
		mark_clear(portal->holdContext);
		receiver->clear = true;
	}
	return &receiver->pub;
}
