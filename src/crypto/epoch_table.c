/*-------------------------------------------------------------------------
 *
 * epoch_table.c
 *	  What everybody may know of the keys, in shared memory.
 *
 * An entry is filled in before the number of entries grows, with a write
 * barrier between; readers look at the number first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/builtins.h"

#include "base/classes.h"
#include "base/shmem.h"
#include "crypto/epoch_table.h"

CpiiKeyTable *cpii_key_table = NULL;

static Size
key_table_size(void)
{
	return MAXALIGN(sizeof(CpiiKeyTable));
}

static void
key_table_startup(void *area, bool found, LWLockPadded *locks)
{
	cpii_key_table = area;
	if (found)
		return;
	pg_atomic_init_u32(&cpii_key_table->generation, 1);
	pg_atomic_init_u32(&cpii_key_table->agent_state, CPII_AGENT_ABSENT);
	pg_atomic_init_u32(&cpii_key_table->installation_known, 0);
	pg_atomic_init_u32(&cpii_key_table->store_lost, 0);
	pg_atomic_init_u32(&cpii_key_table->nclasses, 0);
	pg_atomic_init_u32(&cpii_key_table->nepochs, 0);
	cpii_key_table->agent_proc = -1;
	SpinLockInit(&cpii_key_table->reason_lock);
	for (int i = 0; i < CPII_MAX_KEY_CLASSES; i++)
		pg_atomic_init_u32(&cpii_key_table->classes[i].current, 0);
	for (int i = 0; i < CPII_MAX_EPOCHS; i++)
	{
		pg_atomic_init_u32(&cpii_key_table->epochs[i].state, CPII_EPOCH_ABSENT);
		pg_atomic_init_u64(&cpii_key_table->epochs[i].taken, 0);
		pg_atomic_init_u64(&cpii_key_table->epochs[i].reserved, 0);
	}
}

CpiiEpochEntry *
cpii_epoch_find(int class_id, int epoch)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);

	pg_read_barrier();
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];

		if (entry->class_id == class_id && entry->epoch == epoch)
			return entry;
	}
	return NULL;
}

CpiiKeyClass *
cpii_key_class_find(int class_id)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nclasses);

	pg_read_barrier();
	for (uint32 i = 0; i < n; i++)
		if (cpii_key_table->classes[i].class_id == class_id)
			return &cpii_key_table->classes[i];
	return NULL;
}

CpiiEpochEntry *
cpii_epoch_add(int class_id, int epoch)
{
	CpiiEpochEntry *entry = cpii_epoch_find(class_id, epoch);
	uint32		n;

	if (entry != NULL)
		return entry;
	if (cpii_key_class_find(class_id) == NULL)
	{
		n = pg_atomic_read_u32(&cpii_key_table->nclasses);
		if (n >= CPII_MAX_KEY_CLASSES)
			return NULL;
		cpii_key_table->classes[n].class_id = class_id;
		pg_write_barrier();
		pg_atomic_write_u32(&cpii_key_table->nclasses, n + 1);
	}
	n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	if (n >= CPII_MAX_EPOCHS)
		return NULL;
	entry = &cpii_key_table->epochs[n];
	entry->class_id = class_id;
	entry->epoch = epoch;
	pg_write_barrier();
	pg_atomic_write_u32(&cpii_key_table->nepochs, n + 1);
	return entry;
}

void
cpii_epoch_choose_current(int class_id)
{
	CpiiKeyClass *class = cpii_key_class_find(class_id);
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	uint32		best = 0;

	if (class == NULL)
		return;
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];
		uint32		state = pg_atomic_read_u32(&entry->state);

		if (entry->class_id != class_id ||
			(state != CPII_EPOCH_ACTIVE && state != CPII_EPOCH_OPEN_ONLY))
			continue;
		if (best == 0 || cpii_key_table->epochs[best - 1].epoch < entry->epoch)
			best = i + 1;
	}
	/* an older epoch must not become active again when a newer one is gone */
	for (uint32 i = 0; best != 0 && i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];

		if (entry->class_id == class_id &&
			entry->epoch > cpii_key_table->epochs[best - 1].epoch &&
			pg_atomic_read_u32(&entry->state) != CPII_EPOCH_ABSENT)
			best = 0;
	}
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];
		uint32		state = pg_atomic_read_u32(&entry->state);

		if (entry->class_id == class_id &&
			(state == CPII_EPOCH_ACTIVE || state == CPII_EPOCH_OPEN_ONLY))
			pg_atomic_write_u32(&entry->state, i + 1 == best ?
								CPII_EPOCH_ACTIVE : CPII_EPOCH_OPEN_ONLY);
	}
	pg_atomic_write_u32(&class->current, best);
}

void
cpii_key_table_reason(const char *detail, const char *hint)
{
	SpinLockAcquire(&cpii_key_table->reason_lock);
	strlcpy(cpii_key_table->detail, detail ? detail : "",
			sizeof(cpii_key_table->detail));
	strlcpy(cpii_key_table->hint, hint ? hint : "",
			sizeof(cpii_key_table->hint));
	SpinLockRelease(&cpii_key_table->reason_lock);
}

void
cpii_key_table_get_reason(char **detail, char **hint)
{
	char		d[sizeof(cpii_key_table->detail)];
	char		h[sizeof(cpii_key_table->hint)];

	SpinLockAcquire(&cpii_key_table->reason_lock);
	memcpy(d, cpii_key_table->detail, sizeof(d));
	memcpy(h, cpii_key_table->hint, sizeof(h));
	SpinLockRelease(&cpii_key_table->reason_lock);
	*detail = d[0] ? pstrdup(d) : NULL;
	*hint = h[0] ? pstrdup(h) : NULL;
}

/* name of a class for messages; a company's own class is named by its number */
const char *
cpii_key_class_name(int class_id)
{
	if (class_id == CPII_CLASS_NONE)
		return "query literals";
	if (cpii_class_is_builtin(class_id))
		return cpii_class_table[class_id].name;
	return psprintf("%d", class_id);
}

void
cpii_key_table_init(void)
{
	cpii_shmem_register("courier_pii keys", key_table_size, key_table_startup, 0);
}
