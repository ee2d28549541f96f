/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Sees every row of a top-level SELECT before the client does.
 *
 * A small result is still in the send buffer when its one record is written at
 * the end.  When the rows might outgrow the buffer, the BEGIN record is written
 * before the row that could push the first of them out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/syscache.h"

#include "audit/inflight.h"
#include "audit/statement.h"
#include "guard/guard.h"
#include "sealed/seal.h"
#include "sealed/oids.h"

/* the send buffer holds 8 kB; stay well below it by a careful estimate */
#define BUFFERED_BYTES 6000

/* a careful upper estimate of the bytes that a row puts on the wire */
static int64
row_bytes(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	int64		bytes = 16;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		bytes += 8;
		if (slot->tts_isnull[i])
			continue;
		if (att->attlen > 0)
			bytes += 2 * att->attlen + 40;
		else if (att->attlen == -1)
			bytes += (att->atttypid == TEXTOID || att->atttypid == VARCHAROID) ?
				2 * toast_raw_datum_size(slot->tts_values[i]) :
				8 * toast_raw_datum_size(slot->tts_values[i]) + 40;
		else
			bytes += 2 * strlen(DatumGetCString(slot->tts_values[i]));
	}
	return bytes;
}

static bool
watch_receive(TupleTableSlot *slot, DestReceiver *self)
{
	CpiiWatchReceiver *watch = (CpiiWatchReceiver *) self;

	if (watch->sealed)
		cpii_statement_sealed_row();
	if (watch->early && cpii_statement.begin_seq == 0)
	{
		watch->sent_estimate += row_bytes(slot);
		if (watch->sent_estimate > BUFFERED_BYTES)
			cpii_account_begin(false);
	}
	watch->rows++;
	cpii_account_seen(watch->rows);
	if (cpii_inflight != NULL)
		cpii_inflight->rows = watch->rows;
	return watch->inner->receiveSlot(slot, watch->inner);
}

static void
watch_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	CpiiWatchReceiver *watch = (CpiiWatchReceiver *) self;

	watch->inner->rStartup(watch->inner, operation, typeinfo);
}

static void
watch_shutdown(DestReceiver *self)
{
	CpiiWatchReceiver *watch = (CpiiWatchReceiver *) self;

	watch->inner->rShutdown(watch->inner);
}

static void
watch_destroy(DestReceiver *self)
{
	/* the inner receiver belongs to the portal */
}

/*
 * Does the plan run only built-in code and ours?  Plans record the functions
 * they depend on that are not built in, by hash value.
 */
bool
cpii_plan_is_quiet(PlannedStmt *plan)
{
	const CpiiOids *oids = cpii_oids();
	ListCell   *lc;

	if (plan->invalItems == NIL)
		return true;
	if (oids == NULL)
		return false;
	foreach(lc, plan->invalItems)
	{
		PlanInvalItem *item = lfirst(lc);
		bool		known = false;

		if (item->cacheId != PROCOID)
			continue;
		for (int i = 0; i < oids->nquiet && !known; i++)
			known = item->hashValue == oids->quiet[i];
		if (!known)
			return false;
	}
	return true;
}

bool
cpii_sends_sealed(TupleDesc desc)
{
	if (desc == NULL)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->atttypid >= FirstNormalObjectId &&
			(att->atttypid == cpii_sealed_type() ||
			 cpii_class_of_type(att->atttypid, att->atttypmod) != 0))
			return true;
	}
	return false;
}

DestReceiver *
cpii_watch(CpiiWatchReceiver *watch, DestReceiver *inner, bool early, bool sealed)
{
	watch->pub.receiveSlot = watch_receive;
	watch->pub.rStartup = watch_startup;
	watch->pub.rShutdown = watch_shutdown;
	watch->pub.rDestroy = watch_destroy;
	watch->pub.mydest = inner->mydest;
	watch->inner = inner;
	watch->sent_estimate = 0;
	watch->early = early;
	watch->sealed = sealed;
	watch->rows = 0;
	return &watch->pub;
}
