/*-------------------------------------------------------------------------
 *
 * relation.c
 *	  What is a relation to us: protected, a masked view, one of our own?
 *
 * Asked for each relation of each statement, so the answers are kept, the last
 * ones where a look-up is two comparisons.  A relation that changes is
 * forgotten, and all are when a masked view is registered or the policy changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "policy/catalog.h"
#include "policy/column_job.h"
#include "policy/relation.h"
#include "sealed/seal.h"

/* columns of courier_pii.masked_view_register */
#define VIEW_VIEW 1
#define VIEW_TBL 2

typedef struct RelationEntry
{
	Oid			relid;			/* hash key */
	int			flags;
	Oid			base;			/* of a masked view */
} RelationEntry;

CpiiRecentRelation cpii_recent_relations[CPII_RECENT_RELATIONS];

static HTAB *relations = NULL;
static Oid	version_relation = InvalidOid;
static Oid	view_relation = InvalidOid;

static void
relation_changed(Datum arg, Oid relid)
{
	if (relations == NULL)
		return;
	if (relid == InvalidOid || relid == view_relation || relid == version_relation)
	{
		hash_destroy(relations);
		relations = NULL;
		memset(cpii_recent_relations, 0, sizeof(cpii_recent_relations));
		return;
	}
	if (cpii_recent_relations[relid % CPII_RECENT_RELATIONS].relid == relid)
		cpii_recent_relations[relid % CPII_RECENT_RELATIONS].relid = InvalidOid;
	(void) hash_search(relations, &relid, HASH_REMOVE, NULL);
}

static void
register_callback(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	registered = true;
}

static Oid
lookup_view_base(Oid view)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;
	Oid			base = InvalidOid;

	view_relation = cpii_relation_oid("masked_view_register", true);
	if (!OidIsValid(view_relation))
		return InvalidOid;
	rel = table_open(view_relation, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		d = heap_getattr(tup, VIEW_VIEW, RelationGetDescr(rel), &isnull);

		if (DatumGetObjectId(d) == view)
		{
			d = heap_getattr(tup, VIEW_TBL, RelationGetDescr(rel), &isnull);
			base = DatumGetObjectId(d);
			break;
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return base;
}

static RelationEntry *
relation_entry(Oid relid)
{
	RelationEntry *entry;
	RelationEntry fresh;
	char		kind;

	if (relations != NULL)
	{
		entry = hash_search(relations, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			return entry;
	}
	register_callback();
	if (!OidIsValid(version_relation))
		version_relation = cpii_policy_version_relation();

	fresh.relid = relid;
	fresh.flags = 0;
	fresh.base = InvalidOid;
	kind = get_rel_relkind(relid);
	if (get_rel_namespace(relid) == cpii_schema_oid(true))
	{
		char	   *name = get_rel_name(relid);

		fresh.flags |= CPII_REL_OURS;
		if (name != NULL && strncmp(name, "audit_", 6) == 0)
		{
			fresh.flags |= CPII_REL_AUDIT;
			if (kind == RELKIND_VIEW || strcmp(name, "audit_record") == 0)
				fresh.flags |= CPII_REL_TRAIL;
		}
	}
	if (kind == RELKIND_VIEW)
	{
		fresh.base = lookup_view_base(relid);
		if (OidIsValid(fresh.base))
			fresh.flags |= CPII_REL_PROTECTED;
	}
	else if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			 kind == RELKIND_MATVIEW || kind == RELKIND_FOREIGN_TABLE)
	{
		Relation	rel = try_relation_open(relid, AccessShareLock);

		if (rel != NULL)
		{
			TupleDesc	desc = RelationGetDescr(rel);

			for (int i = 0; i < desc->natts; i++)
			{
				Form_pg_attribute att = TupleDescAttr(desc, i);

				/* what a job fills beside a column protects nothing yet */
				if (!att->attisdropped &&
					cpii_class_of_type(att->atttypid, att->atttypmod) != 0 &&
					!cpii_job_fills(relid, NameStr(att->attname)))
				{
					fresh.flags |= CPII_REL_PROTECTED;
					break;
				}
			}
			relation_close(rel, AccessShareLock);
		}
	}

	if (relations == NULL)
	{
		HASHCTL		ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(RelationEntry);
		ctl.hcxt = CacheMemoryContext;
		relations = hash_create("courier_pii relations", 128, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(relations, &relid, HASH_ENTER, NULL);
	*entry = fresh;
	return entry;
}

Oid
cpii_masked_view_base(Oid view)
{
	return relation_entry(view)->base;
}

int
cpii_relation_flags_look(Oid relid)
{
	int			place = relid % CPII_RECENT_RELATIONS;
	int			flags;

	if (!OidIsValid(cpii_sealed_type()))
		return 0;
	flags = relation_entry(relid)->flags;
	cpii_recent_relations[place].relid = relid;
	cpii_recent_relations[place].flags = flags;
	return flags;
}
