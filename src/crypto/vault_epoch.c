/*-------------------------------------------------------------------------
 *
 * vault_epoch.c
 *	  Epochs inside the key agent: secrets, counters, making and destroying.
 *
 * The agent is the only writer of the key store and of the shared table of
 * epochs.  What it promises is on disk first: a secret before values are sealed
 * with it, a part of the counter before anybody takes it.  Counters never go
 * back, and what is damaged, destroyed or missing keeps its number.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xlog.h"
#include "utils/timestamp.h"

#include "base/secret.h"
#include "crypto/epoch_table.h"
#include "crypto/keyring.h"
#include "crypto/keystore.h"
#include "crypto/vault.h"
#include "crypto/vault_inside.h"

/* messages that other servers sealed, by index of the entry */
static uint64 others[CPII_MAX_EPOCHS];
static uint64 own[CPII_MAX_EPOCHS];

static int
entry_index(const CpiiEpochEntry *entry)
{
	return (int) (entry - cpii_key_table->epochs);
}

CpiiStoreResult
cpii_vault_read_secret(int class_id, int epoch, const char **detail)
{
	CpiiSecretInfo info;
	CpiiStoreResult result;
	CpiiEpochEntry *entry;

	*detail = NULL;
	result = cpii_keystore_read(class_id, epoch, cpii_vault->secret, &info, detail);
	cpii_vault->secret_master = info.master;
	if (result == CPII_STORE_OK && cpii_vault->verified)
	{
		unsigned char check[CPII_SECRET_CHECK_LEN];

		if (!cpii_secret_check(cpii_vault->store_key, class_id, epoch,
							   cpii_vault->secret, &info, check) ||
			!cpii_secret_equal(check, info.check, sizeof(check)))
		{
			*detail = psprintf("The secret of class \"%s\", epoch %d, in the key store does not match its check value.",
							   cpii_key_class_name(class_id), epoch);
			result = CPII_STORE_DAMAGED;
		}
	}
	if (result == CPII_STORE_MISSING || result == CPII_STORE_FAILED)
		return result;
	entry = cpii_epoch_add(class_id, epoch);
	if (entry == NULL)
	{
		*detail = "There are too many epochs.";
		return CPII_STORE_FAILED;
	}
	if (result == CPII_STORE_OK)
	{
		uint32		state = pg_atomic_read_u32(&entry->state);

		entry->suite = info.suite;
		entry->tag_scope = info.tag_scope;
		entry->tag_digest = info.tag_digest;
		entry->created_at = time_t_to_timestamptz((pg_time_t) info.created);
		if (state != CPII_EPOCH_ACTIVE && state != CPII_EPOCH_OPEN_ONLY)
		{
			pg_write_barrier();
			pg_atomic_write_u32(&entry->state, CPII_EPOCH_OPEN_ONLY);
		}
	}
	else
	{
		pg_atomic_write_u32(&entry->state, result == CPII_STORE_DESTROYED ?
							CPII_EPOCH_DESTROYED : CPII_EPOCH_DAMAGED);
		cpii_vault_new_generation();
	}
	return result;
}

static void
visit_store(char kind, int class_id, int epoch, uint64 number, bool own_file)
{
	CpiiEpochEntry *entry;
	const char *detail;

	if (class_id < 0 || class_id > 65535 || epoch < 0 || epoch > CPII_LAST_EPOCH)
		return;
	entry = cpii_epoch_add(class_id, epoch);
	if (entry == NULL)
		return;
	if (kind == 's')
		(void) cpii_vault_read_secret(class_id, epoch, &detail);
	else if (kind == 'd')
	{
		pg_atomic_write_u32(&entry->state, CPII_EPOCH_DESTROYED);
		entry->destroyed_at = time_t_to_timestamptz((pg_time_t) number);
	}
	else if (own_file)
		own[entry_index(entry)] = number;
	else
		others[entry_index(entry)] += number;
}

/* fill the table from the store; needs no key */
void
cpii_vault_read_store(void)
{
	const char *detail = NULL;
	uint32		n;

	memset(others, 0, sizeof(others));
	memset(own, 0, sizeof(own));
	if (!cpii_keystore_walk(visit_store, &detail))
		return;
	n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];
		uint64		count = own[i] + others[i];
		uint64		taken = pg_atomic_read_u64(&entry->taken);

		/* counters never go back */
		if (count > taken)
			(void) pg_atomic_fetch_add_u64(&entry->taken, count - taken);
		/* a secret that was there and is not: somebody moved it away */
		if (cpii_keystore_missing(entry->class_id, entry->epoch) &&
			pg_atomic_read_u32(&entry->state) != CPII_EPOCH_ABSENT)
		{
			pg_atomic_write_u32(&entry->state, CPII_EPOCH_ABSENT);
			cpii_vault_new_generation();
		}
	}
	for (uint32 i = 0; i < pg_atomic_read_u32(&cpii_key_table->nclasses); i++)
		cpii_epoch_choose_current(cpii_key_table->classes[i].class_id);
	cpii_key_table->store_read = true;
}

/* let processes take CPII_MESSAGE_RESERVE more; the promise is on disk first */
bool
cpii_vault_reserve(CpiiEpochEntry *entry, const char **detail)
{
	uint64		limit = pg_atomic_read_u64(&entry->taken) + CPII_MESSAGE_RESERVE;

	if (!cpii_keystore_write_count(entry->class_id, entry->epoch,
								   limit - others[entry_index(entry)], detail))
		return false;
	pg_atomic_write_u64(&entry->reserved, limit);
	return true;
}

/* at the end: counts as they are, so that a clean restart loses nothing */
void
cpii_vault_write_counts(void)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);

	/* what was lost is not to look as if it were there */
	if (pg_atomic_read_u32(&cpii_key_table->store_lost) != 0)
		return;
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];
		uint64		reserved = pg_atomic_read_u64(&entry->reserved);
		uint64		taken;
		const char *detail;

		if (reserved == 0)
			continue;
		/* from here on everybody who takes a block must ask */
		(void) pg_atomic_exchange_u64(&entry->reserved, 0);
		taken = pg_atomic_fetch_add_u64(&entry->taken, 0);
		if (taken != reserved)
			(void) cpii_keystore_write_count(entry->class_id, entry->epoch,
											 taken - others[i], &detail);
	}
}

/* tags are made of what the suite is made of */
static int
suite_tag_digest(int suite)
{
	return suite == CPII_SUITE_AES_256_GCM ? CPII_DIGEST_USUAL : CPII_DIGEST_SM3;
}

/*
 * Digest of the tags that equal texts share in all epochs: that of the first
 * epoch with such tags, for good.
 */
static int
class_tag_digest(int class_id, int suite)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);

	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];

		if (entry->class_id == class_id && entry->suite != 0 &&
			entry->tag_scope == CPII_TAGS_CLASS)
			return entry->tag_digest;
	}
	return suite_tag_digest(suite);
}

int
cpii_vault_lost_epoch(int class_id)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	int			lost = -1;

	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];

		if (entry->class_id == class_id && entry->epoch > lost &&
			pg_atomic_read_u32(&entry->state) == CPII_EPOCH_ABSENT)
			lost = entry->epoch;
	}
	return lost;
}

/* make the next epoch of a class; its secret is on disk before it is known */
CpiiEpochEntry *
cpii_vault_make_epoch(int class_id, int suite, int tag_scope,
					  const char **detail, CpiiAnswerStatus *status)
{
	CpiiKeyClass *class = cpii_key_class_find(class_id);
	CpiiEpochEntry *now = class ? cpii_epoch_current(class) : NULL;
	CpiiEpochEntry *last = NULL;
	CpiiEpochEntry *entry;
	CpiiSecretInfo info;
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	int			epoch = class_id == CPII_CLASS_LITERAL ? 0 : 1;

	*status = CPII_ANSWER_FAILED;
	if (RecoveryInProgress())
	{
		*status = CPII_ANSWER_NO_SECRET;
		return NULL;
	}
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *other = &cpii_key_table->epochs[i];

		if (other->class_id != class_id || other->epoch < epoch)
			continue;
		/* what is damaged, destroyed or missing keeps its number */
		epoch = other->epoch + 1;
		if (pg_atomic_read_u32(&other->state) != CPII_EPOCH_ABSENT &&
			other->suite != 0)
			last = other;
	}
	if (epoch > CPII_LAST_EPOCH || n >= CPII_MAX_EPOCHS)
	{
		*status = CPII_ANSWER_FULL;
		*detail = "There are too many epochs.";
		return NULL;
	}
	if (now == NULL)
		now = last;

	memset(&info, 0, sizeof(info));
	info.suite = suite != 0 ? suite : now ? now->suite : CPII_SUITE_AES_256_GCM;
	info.tag_scope = tag_scope >= 0 ? tag_scope : now ? now->tag_scope : CPII_TAGS_CLASS;
	/* tags of scope "class" must stay what they are */
	if (info.tag_scope == CPII_TAGS_CLASS)
		info.tag_digest = class_tag_digest(class_id, info.suite);
	else
		info.tag_digest = suite_tag_digest(info.suite);
	info.master = cpii_vault->nformer + 1;
	info.created = (int64) time(NULL);
	if (!cpii_suite_available(info.suite))
	{
		*detail = "The suite is not available in this OpenSSL.";
		return NULL;
	}
	if (!cpii_random(cpii_vault->secret, CPII_SECRET_LEN) ||
		!cpii_secret_check(cpii_vault->store_key, class_id, epoch,
						   cpii_vault->secret, &info, info.check) ||
		!cpii_keystore_write(class_id, epoch, cpii_vault->secret, &info, detail))
		return NULL;
	/* read back: another server with the same store may have been first */
	if (cpii_vault_read_secret(class_id, epoch, detail) != CPII_STORE_OK)
		return NULL;
	entry = cpii_epoch_find(class_id, epoch);
	cpii_epoch_choose_current(class_id);
	/* who searched before the first value was sealed took the usual digest */
	if (info.tag_digest != CPII_DIGEST_USUAL)
		cpii_vault_new_generation();
	*status = CPII_ANSWER_OK;
	return entry;
}

CpiiAnswerStatus
cpii_vault_destroy(int class_id, int epoch, const char **detail)
{
	CpiiEpochEntry *entry;

	*detail = NULL;
	if (!cpii_keystore_destroy(class_id, epoch, detail))
		return CPII_ANSWER_FAILED;
	entry = cpii_epoch_add(class_id, epoch);
	if (entry != NULL)
	{
		entry->destroyed_at = GetCurrentTimestamp();
		pg_atomic_write_u32(&entry->state, CPII_EPOCH_DESTROYED);
	}
	cpii_vault_new_generation();
	cpii_epoch_choose_current(class_id);
	return CPII_ANSWER_OK;
}
