/*-------------------------------------------------------------------------
 *
 * window.c
 *	  What each person took in the last hour and the last day, over all their
 *	  sessions: shared memory, its snapshot file, and its check against the
 *	  audit trail.
 *
 * Statements reserve before they take and give back what they did not use, so
 * that sessions side by side can never pass a limit together.
 *
 * Invariants: entries are found and made under the lock; an entry's counts
 * change under its own spinlock, with the lock held in shared mode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/spool.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/snapshot.h"
#include "guard/window.h"
#include "guard/window_slices.h"

#define WINDOW_FILE "courier_pii_windows"
#define WINDOW_VERSION 1

/* milliseconds between two looks of the worker */
#define SAVE_INTERVAL 2000

typedef struct Entry
{
	CpiiPersonKey person;
	slock_t		mutex;
	CpiiSlices	counts;
} Entry;

/* as in the file */
typedef struct SavedEntry
{
	CpiiPersonKey person;
	CpiiSlices	counts;
} SavedEntry;

typedef struct Windows
{
	pg_atomic_uint32 unsaved;
	bool		checked;		/* against the audit trail, since the start */
	uint32		nslots;			/* a power of two */
	uint32		capacity;
	uint32		nentries;
	Entry		spill;			/* all for whom there is no room, together */
	/* followed by int32 slots[nslots] and Entry entries[capacity] */
} Windows;

static Windows *windows = NULL;
static LWLock *windows_lock = NULL;

void
cpii_person_key(const CpiiActor *actor, CpiiPersonKey *key)
{
	memset(key, 0, sizeof(*key));
	if (actor->proof != CPII_PROOF_NONE)
		strlcpy(key->staff_no, actor->staff_no, sizeof(key->staff_no));
	else
		key->role = actor->login;
}

/* ---- the table ---- */

/* the staff, and some room for roles that are nobody */
static uint32
window_capacity(void)
{
	return (uint32) cpii_max_staff + (uint32) cpii_max_staff / 4 + 256;
}

static uint32
window_nslots(void)
{
	return pg_nextpower2_32(2 * window_capacity());
}

static int32 *
window_slots(void)
{
	return (int32 *) ((char *) windows + MAXALIGN(sizeof(Windows)));
}

static Entry *
window_entries(void)
{
	return (Entry *) ((char *) window_slots() +
					  MAXALIGN(sizeof(int32) * windows->nslots));
}

static Size
window_size(void)
{
	Size		size = MAXALIGN(sizeof(Windows));

	size = add_size(size, MAXALIGN(mul_size(sizeof(int32), window_nslots())));
	return add_size(size, mul_size(sizeof(Entry), window_capacity()));
}

static uint32
window_slot(const CpiiPersonKey *person)
{
	uint32		mask = windows->nslots - 1;
	int32	   *slots = window_slots();
	Entry	   *entries = window_entries();
	uint32		i;

	i = OidIsValid(person->role) ? murmurhash32(person->role) :
		hash_bytes((const unsigned char *) person->staff_no,
				   (int) strlen(person->staff_no));
	i &= mask;
	while (slots[i] >= 0 &&
		   !cpii_person_same(&entries[slots[i]].person, person))
		i = (i + 1) & mask;
	return i;
}

/* make room: forget who took nothing for a day */
static void
compact(TimestampTz now)
{
	Entry	   *entries = window_entries();
	uint32		kept = 0;

	for (uint32 i = 0; i < windows->nentries; i++)
	{
		if (cpii_slices_idle(&entries[i].counts, now))
			continue;
		if (kept != i)
			memcpy(&entries[kept], &entries[i], sizeof(Entry));
		kept++;
	}
	windows->nentries = kept;
	memset(window_slots(), 0xFF, sizeof(int32) * windows->nslots);
	for (uint32 i = 0; i < kept; i++)
		window_slots()[window_slot(&entries[i].person)] = (int32) i;
}

/* the caller holds the lock in exclusive mode, or is alone */
static Entry *
enter(const CpiiPersonKey *person)
{
	uint32		slot = window_slot(person);
	Entry	   *entry;
	int32		n = window_slots()[slot];

	if (n >= 0)
		return &window_entries()[n];
	if (windows->nentries >= windows->capacity)
	{
		compact(GetCurrentTimestamp());
		if (windows->nentries >= windows->capacity)
			return &windows->spill;
		slot = window_slot(person);
	}
	n = (int32) windows->nentries++;
	entry = &window_entries()[n];
	memset(entry, 0, sizeof(Entry));
	entry->person = *person;
	SpinLockInit(&entry->mutex);
	window_slots()[slot] = n;
	return entry;
}

/* the person's entry, with the lock held in some mode: release it */
static Entry *
lock_entry(const CpiiPersonKey *person)
{
	int32		n;

	LWLockAcquire(windows_lock, LW_SHARED);
	n = window_slots()[window_slot(person)];
	if (n >= 0)
		return &window_entries()[n];
	LWLockRelease(windows_lock);
	LWLockAcquire(windows_lock, LW_EXCLUSIVE);
	return enter(person);
}

/* ---- taking ---- */

int64
cpii_window_reserve(const CpiiPersonKey *person, CpiiBudget budget,
					int64 want, int64 per_hour, int64 per_day)
{
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;
	CpiiSlices *counts;
	int64		left = PG_INT64_MAX;
	int64		got;

	if (windows == NULL)
		return want;
	entry = lock_entry(person);
	counts = &entry->counts;
	SpinLockAcquire(&entry->mutex);
	cpii_slices_advance(counts, now);
	if (per_hour >= 0)
		left = per_hour - cpii_slices_hour(counts, budget);
	if (per_day >= 0)
		left = Min(left, per_day - cpii_slices_day(counts, budget));
	if (left <= 0)
		got = 0;
	else
		got = Min(want, Max(left / 8, 1));
	if (got > 0)
		cpii_slices_add(counts, budget, got);
	SpinLockRelease(&entry->mutex);
	LWLockRelease(windows_lock);
	if (got > 0)
		pg_atomic_write_u32(&windows->unsaved, 1);
	return got;
}

void
cpii_window_add(const CpiiPersonKey *person, CpiiBudget budget, int64 amount)
{
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;
	CpiiSlices *counts;

	if (windows == NULL || amount == 0)
		return;
	entry = lock_entry(person);
	counts = &entry->counts;
	SpinLockAcquire(&entry->mutex);
	cpii_slices_advance(counts, now);
	cpii_slices_add(counts, budget, amount);
	SpinLockRelease(&entry->mutex);
	LWLockRelease(windows_lock);
	pg_atomic_write_u32(&windows->unsaved, 1);
}

/* ---- looking ---- */

static void
fill_totals(const Entry *entry, CpiiSlices *counts, CpiiWindowTotals *totals)
{
	totals->person = entry->person;
	for (int b = 0; b < CPII_NBUDGETS; b++)
	{
		totals->hour[b] = cpii_slices_hour(counts, b);
		totals->day[b] = cpii_slices_day(counts, b);
	}
}

void
cpii_window_totals(const CpiiPersonKey *person, CpiiWindowTotals *totals)
{
	TimestampTz now = GetCurrentTimestamp();
	int32		n;

	memset(totals, 0, sizeof(*totals));
	totals->person = *person;
	if (windows == NULL)
		return;
	LWLockAcquire(windows_lock, LW_SHARED);
	n = window_slots()[window_slot(person)];
	if (n >= 0)
	{
		Entry	   *entry = &window_entries()[n];

		SpinLockAcquire(&entry->mutex);
		cpii_slices_advance(&entry->counts, now);
		fill_totals(entry, &entry->counts, totals);
		SpinLockRelease(&entry->mutex);
	}
	LWLockRelease(windows_lock);
}

CpiiWindowTotals *
cpii_window_everybody(int *count)
{
	TimestampTz now = GetCurrentTimestamp();
	CpiiWindowTotals *result;
	int			n = 0;

	*count = 0;
	if (windows == NULL)
		return NULL;
	/* the table cannot outgrow its capacity while we allocate */
	result = palloc(sizeof(CpiiWindowTotals) * Max(windows->capacity, 1));
	LWLockAcquire(windows_lock, LW_SHARED);
	for (uint32 i = 0; i < windows->nentries; i++)
	{
		Entry	   *entry = &window_entries()[i];
		bool		idle;

		SpinLockAcquire(&entry->mutex);
		idle = cpii_slices_idle(&entry->counts, now);
		if (!idle)
			fill_totals(entry, &entry->counts, &result[n]);
		SpinLockRelease(&entry->mutex);
		if (!idle)
			n++;
	}
	LWLockRelease(windows_lock);
	*count = n;
	return result;
}

/* ---- across restarts ---- */

static bool
save(bool locked)
{
	SavedEntry *saved;
	uint32		n = 0;
	bool		good = false;

	pg_atomic_write_u32(&windows->unsaved, 0);
	saved = malloc(sizeof(SavedEntry) * Max(windows->capacity, 1));
	if (saved != NULL)
	{
		if (locked)
			LWLockAcquire(windows_lock, LW_SHARED);
		for (; n < windows->nentries; n++)
		{
			Entry	   *entry = &window_entries()[n];

			if (locked)
				SpinLockAcquire(&entry->mutex);
			saved[n].person = entry->person;
			saved[n].counts = entry->counts;
			if (locked)
				SpinLockRelease(&entry->mutex);
		}
		if (locked)
			LWLockRelease(windows_lock);
		good = cpii_snapshot_write(WINDOW_FILE, WINDOW_VERSION, saved,
								   sizeof(SavedEntry), n);
	}
	else
		errno = ENOMEM;
	if (!good)
	{
		pg_atomic_write_u32(&windows->unsaved, 1);
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", WINDOW_FILE)));
	}
	free(saved);
	return good;
}

static void
save_at_exit(int code, Datum arg)
{
	/* after a crash shared memory may be damaged: keep the old file */
	if (code == 0 && windows != NULL)
		(void) save(false);
}

static void
load(void)
{
	uint32		count;
	const char *problem;
	SavedEntry *saved = cpii_snapshot_read(WINDOW_FILE, WINDOW_VERSION,
										   sizeof(SavedEntry), &count, &problem);

	if (saved == NULL)
	{
		if (problem != NULL)
			ereport(WARNING,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("file \"%s\" is ignored: %s", WINDOW_FILE, problem),
					 errdetail("What people took is known again when the background worker has read the audit trail.")));
		return;
	}
	for (uint32 i = 0; i < count; i++)
	{
		Entry	   *entry = enter(&saved[i].person);

		if (entry != &windows->spill)
			entry->counts = saved[i].counts;
	}
	free(saved);
}

static void
window_shmem_init(void *area, bool found, LWLockPadded *locks)
{
	windows = (Windows *) area;
	windows_lock = &locks[0].lock;
	if (found)
		return;
	pg_atomic_init_u32(&windows->unsaved, 0);
	windows->capacity = window_capacity();
	windows->nslots = window_nslots();
	SpinLockInit(&windows->spill.mutex);
	memset(window_slots(), 0xFF, sizeof(int32) * windows->nslots);
	load();
	if (!IsUnderPostmaster)
		on_shmem_exit(save_at_exit, (Datum) 0);
}

/* ---- checked against the audit trail ---- */

/*
 * What the trail says was taken in slices of a length.  The file is at most
 * some seconds old when a server crashes, or it may be gone; the trail has
 * every statement that ended.  The larger of both counts.
 */
static void
check_slices(int64 length, bool hours)
{
	Oid			types[2] = {INT8OID, TIMESTAMPTZOID};
	Datum		values[2];
	TimestampTz now = GetCurrentTimestamp();

	values[0] = Int64GetDatum(length);
	values[1] = TimestampTzGetDatum(now - (hours ? CPII_HOUR_SLICE * CPII_HOUR_SLICES :
										   CPII_DAY_SLICE * CPII_DAY_SLICES));
	cpii_internal_execute("SELECT coalesce(r.staff_no, ''), coalesce(r.login_role, '')::text,"
						  " pg_catalog.floor(pg_catalog.date_part('epoch', r.at - '2000-01-01 00:00:00+00'::timestamptz)"
						  "   * 1000000 / $1)::bigint AS slice,"
						  " pg_catalog.sum(r.disclosed)::bigint, pg_catalog.sum(r.probes)::bigint,"
						  " pg_catalog.sum(r.masked)::bigint"
						  " FROM courier_pii.audit_record r"
						  " WHERE r.at >= $2 AND r.phase <> 'BEGIN'"
						  " GROUP BY 1, 2, 3",
						  2, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		CpiiPersonKey person;
		char	   *staff_no = SPI_getvalue(tup, desc, 1);
		char	   *login = SPI_getvalue(tup, desc, 2);
		int64		number = DatumGetInt64(SPI_getbinval(tup, desc, 3, &isnull));
		Entry	   *entry;

		memset(&person, 0, sizeof(person));
		if (staff_no[0] != '\0')
			strlcpy(person.staff_no, staff_no, sizeof(person.staff_no));
		else
			person.role = get_role_oid(login, true);
		if (staff_no[0] == '\0' && !OidIsValid(person.role))
			continue;			/* dropped meanwhile */
		entry = lock_entry(&person);
		SpinLockAcquire(&entry->mutex);
		cpii_slices_advance(&entry->counts, now);
		/* the first three budgets, in their order */
		for (int b = CPII_BUDGET_CLEAR; b <= CPII_BUDGET_MASKED; b++)
		{
			Datum		d = SPI_getbinval(tup, desc, 4 + b, &isnull);

			cpii_slices_raise(&entry->counts, b, hours, number,
							  isnull ? 0 : DatumGetInt64(d));
		}
		SpinLockRelease(&entry->mutex);
		LWLockRelease(windows_lock);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* the worker's task; it gives us a transaction and catches errors */
static void
window_task(void)
{
	CpiiSpoolState spool;

	cpii_spool_state(&spool);
	if (!windows->checked && spool.caught_up_at != 0 &&
		OidIsValid(cpii_relation_oid("audit_record", true)))
	{
		SPI_connect();
		check_slices(CPII_HOUR_SLICE, true);
		check_slices(CPII_DAY_SLICE, false);
		SPI_finish();
		windows->checked = true;
		pg_atomic_write_u32(&windows->unsaved, 1);
	}
	if (pg_atomic_read_u32(&windows->unsaved) != 0)
		(void) save(true);
}

void
cpii_window_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	cpii_shmem_register("courier_pii_windows", window_size, window_shmem_init, 1);
	cpii_worker_register_task(window_task, SAVE_INTERVAL);
}
