/*-------------------------------------------------------------------------
 *
 * custom_class.c
 *	  A company's own data classes: rows of courier_pii.custom_class.
 *
 * The register is scanned directly (no SPI: the door needs it in the middle of
 * other people's statements) into an array sorted by number, void as soon as
 * the register changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/classes.h"
#include "base/internal.h"
#include "sealed/custom_class.h"

/* columns of courier_pii.custom_class */
#define COLUMN_ID 1
#define COLUMN_NAME 2
#define COLUMN_MASK 3

static CpiiCustomClass *classes = NULL;
static int	nclasses = 0;
static bool classes_valid = false;
static Oid	register_relation = InvalidOid;
static bool callback_registered = false;

static void
register_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == register_relation ||
		!OidIsValid(register_relation))
		classes_valid = false;
}

static int
by_number(const void *a, const void *b)
{
	return ((const CpiiCustomClass *) a)->class_id -
		((const CpiiCustomClass *) b)->class_id;
}

static void
load_classes(void)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;
	int			room = 0;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(register_changed, (Datum) 0);
		callback_registered = true;
	}
	nclasses = 0;
	/* valid before reading: what changes meanwhile makes us read again */
	classes_valid = true;
	register_relation = cpii_relation_oid("custom_class", true);
	if (!OidIsValid(register_relation))
		return;
	if (classes != NULL)
		pfree(classes);
	classes = NULL;
	rel = table_open(register_relation, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		CpiiCustomClass *one;
		bool		isnull;
		TupleDesc	desc = RelationGetDescr(rel);

		if (nclasses == room)
		{
			room = room == 0 ? 8 : room * 2;
			classes = classes == NULL ?
				MemoryContextAlloc(CacheMemoryContext, room * sizeof(CpiiCustomClass)) :
				repalloc(classes, room * sizeof(CpiiCustomClass));
		}
		one = &classes[nclasses];
		one->class_id = DatumGetInt32(heap_getattr(tup, COLUMN_ID, desc, &isnull));
		strlcpy(one->name,
				TextDatumGetCString(heap_getattr(tup, COLUMN_NAME, desc, &isnull)),
				sizeof(one->name));
		/* a mask that we do not know hides */
		(void) cpii_mask_profile_parse(TextDatumGetCString(heap_getattr(tup, COLUMN_MASK, desc, &isnull)),
									   &one->mask);
		nclasses++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (nclasses > 1)
		qsort(classes, nclasses, sizeof(CpiiCustomClass), by_number);
}

const CpiiCustomClass *
cpii_custom_classes(int *count)
{
	if (!classes_valid)
	{
		PG_TRY();
		{
			load_classes();
		}
		PG_CATCH();
		{
			classes_valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	*count = nclasses;
	return classes;
}

const CpiiCustomClass *
cpii_custom_class(int class_id)
{
	int			count;
	const CpiiCustomClass *all = cpii_custom_classes(&count);
	CpiiCustomClass key;

	if (count == 0)
		return NULL;
	key.class_id = class_id;
	return bsearch(&key, all, count, sizeof(CpiiCustomClass), by_number);
}

const CpiiCustomClass *
cpii_custom_class_by_name(const char *name)
{
	int			count;
	const CpiiCustomClass *all = cpii_custom_classes(&count);

	for (int i = 0; i < count; i++)
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	return NULL;
}

void
cpii_custom_class_changed(void)
{
	CacheInvalidateRelcacheByRelid(cpii_relation_oid("custom_class", false));
	CommandCounterIncrement();
}

bool
cpii_value_looks_masked(int class_id, const char *utf8, size_t len)
{
	const CpiiCustomClass *custom =
		cpii_class_is_custom(class_id) ? cpii_custom_class(class_id) : NULL;

	if (custom == NULL)
		return cpii_looks_masked(class_id, utf8, len);
	if (custom->mask.class_id != 0)
		return cpii_looks_masked(custom->mask.class_id, utf8, len);
	if (cpii_looks_masked(class_id, utf8, len))
		return true;
	return custom->mask.first + custom->mask.last > 0 &&
		memchr(utf8, '*', len) != NULL;
}
