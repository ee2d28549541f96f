/*-------------------------------------------------------------------------
 *
 * roster_table.c
 *	  The table in shared memory of all logins that somebody answers for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "people/roster_table.h"

RosterTable *cpii_roster_table = NULL;
LWLock	   *cpii_roster_lock = NULL;
LWLock	   *cpii_roster_file_lock = NULL;

/* people of the register, and some room for roles that are nobody */
static uint32
roster_capacity(void)
{
	return (uint32) cpii_max_staff + (uint32) cpii_max_staff / 4 + 256;
}

static uint32
roster_nslots(void)
{
	return pg_nextpower2_32(2 * roster_capacity());
}

static int32 *
roster_slots(void)
{
	return (int32 *) ((char *) cpii_roster_table +
					  MAXALIGN(sizeof(RosterTable)));
}

RosterEntry *
cpii_roster_entries(void)
{
	return (RosterEntry *) ((char *) roster_slots() +
							MAXALIGN(sizeof(int32) * cpii_roster_table->nslots));
}

static Size
roster_size(void)
{
	Size		size = MAXALIGN(sizeof(RosterTable));

	size = add_size(size, MAXALIGN(mul_size(sizeof(int32), roster_nslots())));
	return add_size(size, mul_size(sizeof(RosterEntry), roster_capacity()));
}

static void
roster_init(void *area, bool found, LWLockPadded *locks)
{
	cpii_roster_table = (RosterTable *) area;
	cpii_roster_lock = &locks[0].lock;
	cpii_roster_file_lock = &locks[1].lock;
	if (found)
		return;
	pg_atomic_init_u64(&cpii_roster_table->generation, 1);
	pg_atomic_init_u64(&cpii_roster_table->clock_mark, 0);
	pg_atomic_init_u64(&cpii_roster_table->clock_mark_uptime, 0);
	pg_atomic_init_u32(&cpii_roster_table->unsaved, 0);
	pg_atomic_init_u32(&cpii_roster_table->unsaved_logins, 0);
	cpii_roster_table->capacity = roster_capacity();
	cpii_roster_table->nslots = roster_nslots();
	memset(roster_slots(), 0xFF, sizeof(int32) * cpii_roster_table->nslots);

	cpii_roster_file_load();
	if (!IsUnderPostmaster)
		on_shmem_exit(cpii_roster_file_save_at_exit, (Datum) 0);
}

/* the slot that holds the role, or the free slot where it belongs */
static uint32
roster_slot(Oid role)
{
	uint32		mask = cpii_roster_table->nslots - 1;
	int32	   *slots = roster_slots();
	RosterEntry *entries = cpii_roster_entries();
	uint32		i = murmurhash32(role) & mask;

	while (slots[i] >= 0 && entries[slots[i]].role != role)
		i = (i + 1) & mask;
	return i;
}

RosterEntry *
cpii_roster_find(Oid role)
{
	int32		n = roster_slots()[roster_slot(role)];

	return n >= 0 ? &cpii_roster_entries()[n] : NULL;
}

RosterEntry *
cpii_roster_enter(Oid role)
{
	uint32		slot = roster_slot(role);
	int32		n = roster_slots()[slot];
	RosterEntry *entry;

	if (n >= 0)
		return &cpii_roster_entries()[n];
	if (cpii_roster_table->nentries >= cpii_roster_table->capacity)
		return NULL;

	n = (int32) cpii_roster_table->nentries++;
	entry = &cpii_roster_entries()[n];
	memset(entry, 0, sizeof(RosterEntry));
	entry->role = role;
	entry->facts.not_after = DT_NOEND;
	roster_slots()[slot] = n;
	return entry;
}

bool
cpii_roster_set(RosterEntry *entry, const RosterAccount *account)
{
	if (memcmp(&entry->facts, &account->facts, sizeof(RosterFacts)) == 0)
		return false;
	entry->facts = account->facts;
	return true;
}

uint32
cpii_roster_room(void)
{
	return cpii_roster_table->capacity - cpii_roster_table->nentries;
}

void
cpii_roster_compact(void)
{
	RosterEntry *entries = cpii_roster_entries();
	uint32		kept = 0;

	for (uint32 i = 0; i < cpii_roster_table->nentries; i++)
	{
		RosterEntry *e = &entries[i];

		if ((e->facts.flags & (ROSTER_PERSON | ROSTER_HELD)) == 0 &&
			e->pending_deny == 0 && e->pending_other == 0)
			continue;
		if (kept != i)
			memcpy(&entries[kept], e, sizeof(RosterEntry));
		kept++;
	}
	cpii_roster_table->nentries = kept;
	memset(roster_slots(), 0xFF, sizeof(int32) * cpii_roster_table->nslots);
	for (uint32 i = 0; i < kept; i++)
		roster_slots()[roster_slot(entries[i].role)] = (int32) i;
}

bool
cpii_roster_person(Oid role, RosterFacts *facts)
{
	RosterEntry *entry;
	bool		found = false;

	if (cpii_roster_table == NULL || !OidIsValid(role))
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(role);
	if (entry != NULL && (entry->facts.flags & ROSTER_PERSON))
	{
		*facts = entry->facts;
		found = true;
	}
	LWLockRelease(cpii_roster_lock);
	return found;
}

void
cpii_roster_table_init(void)
{
	cpii_shmem_register("courier_pii_roster", roster_size, roster_init, 2);
}
