/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  The policy tables, read into one cache of this backend.
 *
 * Tables are scanned directly, without SPI: the door is called in the middle
 * of other people's statements and must not need their rights, their
 * search_path or an executor of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/freeze.h"
#include "policy/gate.h"
#include "sealed/seal.h"

/* columns of courier_pii.disclosure */
#define DISC_GRANTEE 2
#define DISC_CLASS 3
#define DISC_LEVEL 4
#define DISC_SEARCHABLE 5
#define DISC_VALID_UNTIL 6
#define DISC_TBL 7
#define DISC_COL 8

typedef struct ColumnKey
{
	Oid			relid;
	int32		attnum;
} ColumnKey;

typedef struct ColumnEntry
{
	ColumnKey	key;			/* relid 0: a company's own class, whose number is
								 * attnum */
	CpiiGranted granted;
	bool		searchable;		/* of such a class: by any of its columns */
} ColumnEntry;

CpiiTicketLevel cpii_ticket_level_hook = NULL;

static bool person_valid = false;
static Oid	person_role = InvalidOid;
static Oid	person_outer = InvalidOid;
static TimestampTz person_deadline = DT_NOEND;
static CpiiGranted by_class[CPII_CLASS_LAST + 1];
static bool level_known[CPII_CLASS_LAST + 1];
static CpiiLevel level_of[CPII_CLASS_LAST + 1];
static bool searchable_of[CPII_CLASS_LAST + 1];
static CpiiLimits limits[CPII_NBUDGETS];
static HTAB *columns = NULL;	/* NULL when no column entries exist */
static bool superuser_person = false;
static bool any_clear = false;	/* in any class or column, perhaps in scope */

static Oid	disclosure_relation = InvalidOid;
static bool callbacks_registered = false;

static void
policy_relation_changed(Datum arg, Oid relid)
{
	/* one relation stands for all policy tables */
	if (relid == InvalidOid || relid == disclosure_relation ||
		!OidIsValid(disclosure_relation))
		person_valid = false;
}

static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	person_valid = false;
}

static void
register_callbacks(void)
{
	if (callbacks_registered)
		return;
	CacheRegisterRelcacheCallback(policy_relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
	callbacks_registered = true;
}

Oid
cpii_policy_version_relation(void)
{
	return cpii_relation_oid("disclosure", true);
}

void
cpii_policy_changed(void)
{
	Oid			relid = cpii_policy_version_relation();

	/* one relation stands for all policy tables */
	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

bool
cpii_policy_acts_as(Oid role)
{
	const CpiiActor *who = cpii_session_actor();

	if (who->privileged || !OidIsValid(role))
		return false;
	return cpii_session_acts_as(who, role);
}

/* the entry of a column, or (relid 0) of a company's own class; or NULL */
static ColumnEntry *
column_entry(Oid relid, int32 attnum, bool create)
{
	ColumnKey	key;
	ColumnEntry *entry;
	bool		found;

	if (columns == NULL)
	{
		HASHCTL		ctl;

		if (!create)
			return NULL;
		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(ColumnKey);
		ctl.entrysize = sizeof(ColumnEntry);
		ctl.hcxt = CacheMemoryContext;
		columns = hash_create("courier_pii column disclosures", 64, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	key.relid = relid;
	key.attnum = attnum;
	entry = hash_search(columns, &key, create ? HASH_ENTER : HASH_FIND, &found);
	if (entry != NULL && !found)
	{
		memset(&entry->granted, 0, sizeof(entry->granted));
		entry->searchable = false;
	}
	return entry;
}

static ColumnEntry *
custom_entry(int class_id, bool create)
{
	return column_entry(InvalidOid, class_id, create);
}

static void
add_class_entry(int class_id, CpiiLevel level, bool searchable)
{
	cpii_matrix_add(cpii_class_is_builtin(class_id) ? &by_class[class_id] :
					&custom_entry(class_id, true)->granted, level, searchable);
}

static void
load_disclosures(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	TimestampTz now = GetCurrentTimestamp();
	HeapTuple	tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			grantee;
		int			class_id;
		char	   *name;
		CpiiLevel	level;
		bool		searchable;
		Datum		d;

		grantee = DatumGetObjectId(heap_getattr(tup, DISC_GRANTEE, desc, &isnull));
		if (!cpii_policy_acts_as(grantee))
			continue;
		d = heap_getattr(tup, DISC_VALID_UNTIL, desc, &isnull);
		if (!isnull)
		{
			TimestampTz until = DatumGetTimestampTz(d);

			if (until <= now)
				continue;
			if (until < person_deadline)
				person_deadline = until;
		}
		class_id = DatumGetInt32(heap_getattr(tup, DISC_CLASS, desc, &isnull));
		if (!cpii_class_is_builtin(class_id) && !cpii_class_is_custom(class_id))
			continue;
		name = TextDatumGetCString(heap_getattr(tup, DISC_LEVEL, desc, &isnull));
		if (!cpii_level_by_name(name, &level))
			level = CPII_LEVEL_HIDDEN;
		searchable = DatumGetBool(heap_getattr(tup, DISC_SEARCHABLE, desc, &isnull));
		d = heap_getattr(tup, DISC_TBL, desc, &isnull);
		if (isnull)
			add_class_entry(class_id, level, searchable);
		else
		{
			Oid			tbl = DatumGetObjectId(d);
			AttrNumber	attnum;

			d = heap_getattr(tup, DISC_COL, desc, &isnull);
			if (isnull)
				continue;
			attnum = get_attnum(tbl, NameStr(*DatumGetName(d)));
			if (attnum != InvalidAttrNumber)
				cpii_matrix_add(&column_entry(tbl, attnum, true)->granted,
								level, searchable);
			/* a search names no column once it runs: permission by class */
			if (searchable || level == CPII_LEVEL_CLEAR)
			{
				if (cpii_class_is_builtin(class_id))
					searchable_of[class_id] = true;
				else
					custom_entry(class_id, true)->searchable = true;
			}
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static bool
any_column_clear(void)
{
	HASH_SEQ_STATUS seq;
	ColumnEntry *entry;
	bool		any = false;

	if (columns == NULL)
		return false;
	hash_seq_init(&seq, columns);
	while ((entry = hash_seq_search(&seq)) != NULL)
		any |= entry->granted.any && entry->granted.widest >= CPII_LEVEL_SCOPED;
	return any;
}

static void
load_person(const CpiiActor *who)
{
	Oid			relid = cpii_policy_version_relation();

	register_callbacks();
	if (columns != NULL)
	{
		hash_destroy(columns);
		columns = NULL;
	}
	memset(by_class, 0, sizeof(by_class));
	memset(level_known, 0, sizeof(level_known));
	memset(searchable_of, 0, sizeof(searchable_of));
	any_clear = false;
	person_deadline = DT_NOEND;
	superuser_person = who->privileged;
	disclosure_relation = relid;

	/*
	 * Mark valid before reading: an invalidation that arrives meanwhile makes
	 * us read again at the next call.
	 */
	person_role = who->person;
	person_outer = who->outer;
	person_valid = true;
	PG_TRY();
	{
		if (OidIsValid(relid) && !superuser_person)
			load_disclosures(relid);
		cpii_limits_load(superuser_person, limits);
		cpii_gate_load(who, &person_deadline);
		cpii_freeze_load(who);
	}
	PG_CATCH();
	{
		person_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	for (int i = CPII_CLASS_FIRST; i <= CPII_CLASS_LAST; i++)
	{
		bool		searchable;

		level_of[i] = cpii_matrix_decide(by_class[i],
										 cpii_class_table[i].default_hidden,
										 &searchable);
		if (searchable)
			searchable_of[i] = true;
		level_known[i] = true;
		any_clear |= level_of[i] >= CPII_LEVEL_SCOPED;
	}
	any_clear |= any_column_clear();
}

static inline void
ensure_person(void)
{
	const CpiiActor *who = cpii_session_actor();

	if (person_valid && person_role == who->person &&
		person_outer == who->outer &&
		(person_deadline == DT_NOEND ||
		 GetCurrentTimestamp() < person_deadline))
		return;
	load_person(who);
}

/* what the person holds for a whole class */
static CpiiGranted
class_granted(int class_id)
{
	static const CpiiGranted nothing = {false, false, false, CPII_LEVEL_HIDDEN};
	ColumnEntry *entry;

	if (cpii_class_is_builtin(class_id))
		return by_class[class_id];
	entry = custom_entry(class_id, false);
	return entry != NULL ? entry->granted : nothing;
}

static CpiiLevel
level_held(int class_id, Oid relid, AttrNumber attnum)
{
	bool		builtin = cpii_class_is_builtin(class_id);
	ColumnEntry *entry;
	CpiiGranted granted;
	bool		searchable;

	ensure_person();
	if (builtin && columns == NULL)
		return cpii_gate_level(level_of[class_id]);
	if (!builtin && !cpii_class_is_custom(class_id))
		return CPII_LEVEL_HIDDEN;
	entry = OidIsValid(relid) ? column_entry(relid, attnum, false) : NULL;
	if (builtin && entry == NULL)
		return cpii_gate_level(level_of[class_id]);
	granted = class_granted(class_id);
	if (entry != NULL)
		granted = cpii_matrix_join(granted, entry->granted);
	return cpii_gate_level(cpii_matrix_decide(granted,
											  builtin && cpii_class_table[class_id].default_hidden,
											  &searchable));
}

/* a freeze shows at most masks, whatever the person holds */
CpiiLevel
cpii_policy_level(int class_id, Oid relid, AttrNumber attnum)
{
	CpiiLevel	level = level_held(class_id, relid, attnum);

	if (unlikely(cpii_freeze_applies(class_id)))
		level = Min(level, CPII_LEVEL_MASKED);
	return level;
}

bool
cpii_policy_may_show_clear(void)
{
	ensure_person();
	return any_clear || (cpii_ticket != NULL && cpii_ticket[0] != '\0');
}

static pg_noinline CpiiLevel
widened_level(CpiiLevel level, int class_id, Oid relid, AttrNumber attnum,
			  const bytea *value)
{
	CpiiGranted granted = class_granted(class_id);
	ColumnEntry *entry = OidIsValid(relid) && columns != NULL ?
		column_entry(relid, attnum, false) : NULL;
	bool		may_widen = !superuser_person && !granted.hidden &&
		!cpii_freeze_applies(class_id) &&
		(entry == NULL || !entry->granted.hidden);
	CpiiLevel	ticket = cpii_ticket_level_hook(class_id, relid, value, level,
												may_widen);

	return ticket > level ? cpii_gate_level(ticket) : ticket;
}

CpiiLevel
cpii_policy_value_level(int class_id, Oid relid, AttrNumber attnum,
						const bytea *value)
{
	CpiiLevel	level = cpii_policy_level(class_id, relid, attnum);

	if (likely(cpii_ticket == NULL || cpii_ticket[0] == '\0' ||
			   cpii_ticket_level_hook == NULL))
		return level;
	return widened_level(level, class_id, relid, attnum, value);
}

bool
cpii_policy_searchable(int class_id)
{
	ColumnEntry *entry;
	bool		searchable;

	ensure_person();
	if (cpii_gate_closed() || cpii_freeze_applies(class_id))
		return false;
	if (cpii_class_is_builtin(class_id))
		return searchable_of[class_id];
	entry = custom_entry(class_id, false);
	if (entry == NULL)
		return false;
	(void) cpii_matrix_decide(entry->granted, false, &searchable);
	return searchable || entry->searchable;
}

CpiiLimits
cpii_policy_limits(CpiiBudget budget)
{
	ensure_person();
	return limits[budget];
}

const char *
cpii_policy_reason(int class_id)
{
	CpiiGranted granted;

	ensure_person();
	granted = class_granted(class_id);
	if (superuser_person)
		return "superusers have no disclosure";
	if (cpii_freeze_applies(class_id))
		return "frozen";
	if (cpii_gate_reason() != NULL)
		return cpii_gate_reason();
	if (granted.hidden)
		return "an entry hides this class";
	if (granted.any)
		return "widest entry of the person's roles";
	return "no entry: default of the class";
}
