/*-------------------------------------------------------------------------
 *
 * direct_read.c
 *	  Who may read sealed values past the masked views?
 *
 * All relations with sealed columns are kept with what the person may read of
 * them.  Each is looked at again when the server says that it changed; all are
 * when roles changed, or another person acts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/classes.h"
#include "base/compat.h"
#include "base/session.h"
#include "policy/column_job.h"
#include "policy/direct_read.h"
#include "sealed/seal.h"

/* so many changed relations are looked at one by one */
#define FEW_CHANGES 32

typedef struct SealedRelation
{
	Oid			relid;			/* hash key */
	uint32		own;			/* classes read as the owner: bit n = class n, */
	uint32		others;			/* bit 0 = a company's own; and by other rights */
} SealedRelation;

static HTAB *relations = NULL;	/* all with sealed columns; NULL = not known */
static bool stale = false;		/* roles changed: what may be read of all */
static Oid	changed[FEW_CHANGES];	/* relations that are to be looked at again */
static int	nchanged = 0;		/* FEW_CHANGES + 1: all */
static Oid	known_login = InvalidOid;
static Oid	known_person = InvalidOid;
static bool reads_all = false;	/* whatever the tables' rights say */
static uint32 own_classes = 0;
static uint32 others_classes = 0;

/* ---- what changed ---- */

/* no memory is taken here: it may be called while an error is handled */
static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || nchanged >= FEW_CHANGES)
		nchanged = FEW_CHANGES + 1;
	else
		changed[nchanged++] = relid;
}

static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	stale = true;
}

/* ---- rights ---- */

/* does any of the person's roles have it?  Inherited or not: SET ROLE is free */
static bool
holds(Oid role)
{
	return is_member_of_role_nosuper(known_login, role) ||
		(OidIsValid(known_person) && is_member_of_role_nosuper(known_person, role));
}

static bool
holds_superuser(void)
{
	Relation	rel = table_open(AuthIdRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tup;
	bool		found = false;

	while (!found && HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tup);

		found = form->rolsuper && holds(form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* everything: tables, or the files and the stream that they are copied by */
static bool
reads_everything(void)
{
	Oid			backup = get_role_oid("pii_backup", true);

	return holds(ROLE_PG_READ_ALL_DATA) || (OidIsValid(backup) && holds(backup)) ||
		has_rolreplication(known_login) || holds_superuser();
}

/* does a list of rights let the person read?  It is NULL by default: nobody */
static bool
may_select(HeapTuple tup, int cacheid, AttrNumber column)
{
	bool		isnull;
	Datum		d = SysCacheGetAttr(cacheid, tup, column, &isnull);
	Acl		   *acl;
	bool		found = false;

	if (isnull)
		return false;
	acl = DatumGetAclP(d);
	for (int i = 0; i < ACL_NUM(acl) && !found; i++)
	{
		AclItem    *item = &ACL_DAT(acl)[i];

		found = (item->ai_privs & ACL_SELECT) != 0 &&
			(item->ai_grantee == ACL_ID_PUBLIC || holds(item->ai_grantee));
	}
	return found;
}

/* the entry of one relation, made, renewed, or taken away */
static void
look(Oid relid)
{
	HeapTuple	tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	SealedRelation entry = {relid, 0, 0};
	bool		sealed = false;
	Form_pg_class form;

	if (!HeapTupleIsValid(tup))
	{
		(void) hash_search(relations, &relid, HASH_REMOVE, NULL);
		return;
	}
	form = (Form_pg_class) GETSTRUCT(tup);
	if (form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE ||
		form->relkind == RELKIND_MATVIEW || form->relkind == RELKIND_FOREIGN_TABLE ||
		form->relkind == RELKIND_VIEW)
	{
		bool		owner = holds(form->relowner);
		bool		other = !owner && (reads_all || may_select(tup, RELOID, Anum_pg_class_relacl));

		for (AttrNumber i = 1; i <= form->relnatts; i++)
		{
			HeapTuple	column = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(i));
			Form_pg_attribute att;
			int			class_id;

			if (!HeapTupleIsValid(column))
				continue;
			att = (Form_pg_attribute) GETSTRUCT(column);
			class_id = att->attisdropped ? 0 : cpii_class_of_type(att->atttypid, att->atttypmod);
			/* what a job fills is read by whoever reads the clear text beside it */
			if (class_id != 0 && !cpii_job_fills(relid, NameStr(att->attname)))
			{
				sealed = true;
				if (owner)
					entry.own |= cpii_class_bit(class_id);
				else if (other || may_select(column, ATTNUM, Anum_pg_attribute_attacl))
					entry.others |= cpii_class_bit(class_id);
			}
			ReleaseSysCache(column);
		}
	}
	ReleaseSysCache(tup);
	if (sealed)
		*(SealedRelation *) hash_search(relations, &relid, HASH_ENTER, NULL) = entry;
	else
		(void) hash_search(relations, &relid, HASH_REMOVE, NULL);
}

/* ---- all relations with sealed columns ---- */

/*
 * Columns depend on their types, and domains on theirs: from the type sealed
 * everything that is made of it can be reached.
 */
static List *
users_of_type(Oid type)
{
	List	   *types = list_make1_oid(type);
	List	   *found = NIL;
	Relation	depend = table_open(DependRelationId, AccessShareLock);

	/* grows while it is walked */
	for (int i = 0; i < list_length(types); i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple	tup;

		ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(TypeRelationId));
		ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(list_nth_oid(types, i)));
		scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tup = systable_getnext(scan)))
		{
			Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tup);

			if (form->classid == TypeRelationId)
				types = list_append_unique_oid(types, form->objid);
			else if (form->classid == RelationRelationId && form->objsubid > 0)
				found = lappend_oid(found, form->objid);
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
	return found;
}

static List *
known_relations(void)
{
	List	   *found = NIL;
	HASH_SEQ_STATUS seq;
	SealedRelation *entry;

	hash_seq_init(&seq, relations);
	while ((entry = hash_seq_search(&seq)) != NULL)
		found = lappend_oid(found, entry->relid);
	return found;
}

static void
make_table(void)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(SealedRelation);
	ctl.hcxt = CacheMemoryContext;
	relations = hash_create("courier_pii sealed relations", 128, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* looks until nothing has changed meanwhile */
static void
look_at_changes(void)
{
	while (stale || nchanged > 0)
	{
		List	   *wanted = NIL;
		ListCell   *lc;

		if (nchanged > FEW_CHANGES)
			wanted = users_of_type(cpii_sealed_type());
		for (int i = 0; nchanged <= FEW_CHANGES && i < nchanged; i++)
			wanted = lappend_oid(wanted, changed[i]);
		/* of those known some may not be among the ones found: they are gone */
		if (stale || nchanged > FEW_CHANGES)
			wanted = list_concat(wanted, known_relations());
		/* what changes from here on is looked at in the next turn */
		nchanged = 0;
		if (stale)
		{
			stale = false;
			reads_all = reads_everything();
		}
		list_sort(wanted, list_oid_cmp);
		list_deduplicate_oid(wanted);
		foreach(lc, wanted)
			look(lfirst_oid(lc));
	}
}

static void
renew(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "courier_pii direct readers",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HASH_SEQ_STATUS seq;
	SealedRelation *entry;

	PG_TRY();
	{
		look_at_changes();
	}
	PG_CATCH();
	{
		nchanged = FEW_CHANGES + 1;
		stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
	own_classes = others_classes = 0;
	hash_seq_init(&seq, relations);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		own_classes |= entry->own;
		others_classes |= entry->others;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

CpiiDirectRead
cpii_direct_read(int class_id)
{
	const CpiiActor *who = cpii_session_actor();

	if (who->privileged)
		return CPII_READS_OTHERS;
	if (relations == NULL)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		nchanged = FEW_CHANGES + 1;
		make_table();
	}
	if (known_login != who->login || known_person != who->person)
	{
		known_login = who->login;
		known_person = who->person;
		stale = true;
	}
	if (stale || nchanged > 0)
		renew();
	if ((others_classes & cpii_class_bit(class_id)) != 0)
		return CPII_READS_OTHERS;
	return (own_classes & cpii_class_bit(class_id)) != 0 ? CPII_READS_OWN : CPII_READS_NOTHING;
}
