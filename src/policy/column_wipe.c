/*-------------------------------------------------------------------------
 *
 * column_wipe.c
 *	  Overwrite the clear text that a dropped column leaves in a table's file.
 *
 * A dropped column's bytes stay in every row until it is written again, and in
 * dead rows until their space is used.  Nobody interprets them, only their
 * length; so they are overwritten where they are, page by page under the
 * buffer lock, together with the unused space.  A full image of each page goes
 * to the WAL, so standbys and restored backups get the same bytes.  Nothing is
 * locked but one page at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/toast_internals.h"
#include "access/tupmacs.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "policy/protect.h"

/* is any byte of this not zero? */
static bool
dirty(const char *p, Size len)
{
	for (Size i = 0; i < len; i++)
		if (p[i] != 0)
			return true;
	return false;
}

static char *
unused_space(Page page, Size *len)
{
	PageHeader	header = (PageHeader) page;

	*len = header->pd_upper > header->pd_lower ?
		header->pd_upper - header->pd_lower : 0;
	return (char *) page + header->pd_lower;
}

/* behind a tuple, up to where the next one may begin: whatever lay there before */
static char *
padding(Page page, ItemId item, Size *len)
{
	Size		end = ItemIdGetOffset(item) + ItemIdGetLength(item);

	*len = MAXALIGN(end) - end;
	return (char *) page + end;
}

/* where an attribute's bytes are in a tuple; NULL when it has none */
static char *
attribute_bytes(HeapTupleHeader tuple, TupleDesc desc, AttrNumber attnum)
{
	char	   *data = (char *) tuple + tuple->t_hoff;
	bool		nulls = (tuple->t_infomask & HEAP_HASNULL) != 0;
	Size		offset = 0;

	if (attnum > HeapTupleHeaderGetNatts(tuple) ||
		(nulls && att_isnull(attnum - 1, tuple->t_bits)))
		return NULL;
	for (int i = 0; i < attnum; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (nulls && att_isnull(i, tuple->t_bits))
			continue;
		if (att->attlen == -1)
			offset = att_align_pointer(offset, att->attalign, -1, data + offset);
		else
			offset = att_align_nominal(offset, att->attalign);
		if (i == attnum - 1)
			return data + offset;
		offset = att_addlength_pointer(offset, att->attlen, data + offset);
	}
	return NULL;
}

/* the part of an attribute that can be overwritten and keep its length */
static char *
payload(char *bytes, int attlen, Size *len)
{
	Size		header;

	if (attlen > 0)
	{
		*len = attlen;
		return bytes;
	}
	if (VARATT_IS_EXTERNAL(bytes))
	{
		*len = 0;
		return bytes;
	}
	if (VARATT_IS_SHORT(bytes))
		header = VARHDRSZ_SHORT;
	else if (VARATT_IS_COMPRESSED(bytes))
		header = VARHDRSZ_COMPRESSED;
	else
		header = VARHDRSZ;
	*len = VARSIZE_ANY(bytes) > header ? VARSIZE_ANY(bytes) - header : 0;
	return bytes + header;
}

/* overwrite what no tuple of a page uses; with "look" only ask */
static bool
wipe_unused(Page page, bool look)
{
	OffsetNumber max = PageGetMaxOffsetNumber(page);
	Size		len;
	char	   *p = unused_space(page, &len);
	bool		any = dirty(p, len);

	if (!look)
		memset(p, 0, len);
	for (OffsetNumber n = FirstOffsetNumber; n <= max; n = OffsetNumberNext(n))
	{
		ItemId		item = PageGetItemId(page, n);

		if (!ItemIdIsNormal(item))
			continue;
		p = padding(page, item, &len);
		any = any || dirty(p, len);
		if (!look)
			memset(p, 0, len);
	}
	return any;
}

/* the same, and the attribute in all tuples */
static bool
wipe_page(Page page, TupleDesc desc, AttrNumber attnum, bool look)
{
	int			attlen = TupleDescAttr(desc, attnum - 1)->attlen;
	OffsetNumber max = PageGetMaxOffsetNumber(page);
	bool		any = wipe_unused(page, look);
	Size		len;
	char	   *p;

	for (OffsetNumber n = FirstOffsetNumber; n <= max; n = OffsetNumberNext(n))
	{
		ItemId		item = PageGetItemId(page, n);

		if (!ItemIdIsNormal(item))
			continue;
		p = attribute_bytes((HeapTupleHeader) PageGetItem(page, item), desc, attnum);
		if (p == NULL)
			continue;
		p = payload(p, attlen, &len);
		any = any || dirty(p, len);
		if (!look)
			memset(p, 0, len);
	}
	return any;
}

static void
log_page(Relation rel, Buffer buffer)
{
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(rel))
		(void) log_newpage_buffer(buffer, true);
}

/* overwrite the chunks of one value in the toast table */
static void
wipe_toasted(Relation toast, Relation index, Oid value)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	chunk;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	scan = systable_beginscan_ordered(toast, index, SnapshotAny, 1, &key);
	while ((chunk = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ReadBuffer(toast, ItemPointerGetBlockNumber(&chunk->t_self));
		Page		page;
		ItemId		item;

		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		item = PageGetItemId(page, ItemPointerGetOffsetNumber(&chunk->t_self));
		if (ItemIdIsNormal(item))
		{
			Size		len;
			char	   *p = attribute_bytes((HeapTupleHeader) PageGetItem(page, item),
											RelationGetDescr(toast), 3);

			if (p != NULL)
			{
				p = payload(p, -1, &len);
				START_CRIT_SECTION();
				memset(p, 0, len);
				log_page(toast, buffer);
				END_CRIT_SECTION();
			}
		}
		UnlockReleaseBuffer(buffer);
	}
	systable_endscan_ordered(scan);
}

/* values of the attribute that are stored out of line, of one page */
static List *
toasted_values(Page page, TupleDesc desc, AttrNumber attnum)
{
	OffsetNumber max = PageGetMaxOffsetNumber(page);
	List	   *values = NIL;

	if (TupleDescAttr(desc, attnum - 1)->attlen != -1)
		return NIL;
	for (OffsetNumber n = FirstOffsetNumber; n <= max; n = OffsetNumberNext(n))
	{
		ItemId		item = PageGetItemId(page, n);
		char	   *p;

		if (!ItemIdIsNormal(item))
			continue;
		p = attribute_bytes((HeapTupleHeader) PageGetItem(page, item), desc, attnum);
		if (p != NULL && VARATT_IS_EXTERNAL_ONDISK(p))
		{
			struct varatt_external pointer;

			VARATT_EXTERNAL_GET_POINTER(pointer, p);
			values = lappend_oid(values, pointer.va_valueid);
		}
	}
	return values;
}

static void
wipe_toasted_values(Relation rel, List *values)
{
	Relation	toast;
	Relation   *indexes;
	int			n;
	int			valid;
	ListCell   *lc;

	if (values == NIL || !OidIsValid(rel->rd_rel->reltoastrelid))
		return;
	toast = table_open(rel->rd_rel->reltoastrelid, RowExclusiveLock);
	valid = toast_open_indexes(toast, RowExclusiveLock, &indexes, &n);
	foreach(lc, values)
		wipe_toasted(toast, indexes[valid], lfirst_oid(lc));
	toast_close_indexes(indexes, n, NoLock);
	table_close(toast, NoLock);
}

void
cpii_wipe_dropped(Relation rel, AttrNumber attnum, BlockNumber from, BlockNumber to)
{
	TupleDesc	desc = RelationGetDescr(rel);
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_VACUUM);

	if (attnum < 1 || attnum > desc->natts ||
		!TupleDescAttr(desc, attnum - 1)->attisdropped)
		elog(ERROR, "attribute %d of relation %u is in use", attnum,
			 RelationGetRelid(rel));
	for (BlockNumber block = from; block < to; block++)
	{
		Buffer		buffer;
		Page		page;
		List	   *toasted = NIL;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
		{
			toasted = toasted_values(page, desc, attnum);
			if (wipe_page(page, desc, attnum, true))
			{
				START_CRIT_SECTION();
				(void) wipe_page(page, desc, attnum, false);
				log_page(rel, buffer);
				END_CRIT_SECTION();
			}
		}
		UnlockReleaseBuffer(buffer);
		wipe_toasted_values(rel, toasted);
		list_free(toasted);
	}
	FreeAccessStrategy(strategy);
}

void
cpii_wipe_unused_space(Relation rel)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	for (BlockNumber block = 0; block < blocks; block++)
	{
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(rel, block);
		heap_page_prune_opt(rel, buffer);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (!PageIsNew(BufferGetPage(buffer)) &&
			wipe_unused(BufferGetPage(buffer), true))
		{
			START_CRIT_SECTION();
			(void) wipe_unused(BufferGetPage(buffer), false);
			log_page(rel, buffer);
			END_CRIT_SECTION();
		}
		UnlockReleaseBuffer(buffer);
	}
}
