/*-------------------------------------------------------------------------
 *
 * vault.c
 *	  The master key and the epoch secrets, inside the key agent.
 *
 * The agent is the only writer of the key store.  Derivation, all HKDF-SHA-256
 * of a master key:
 *	  data key	  salt = epoch secret,	info = "data" class epoch
 *	  search, tail and token keys
 *				  scope class: salt = installation, info = purpose class
 *				  scope epoch: salt = epoch secret, info = purpose class epoch
 *	  audit key   salt = installation, info = "audit"
 *	  store key   salt = installation, info = "store"; keys the check values
 *				  of the store's files
 *	  check value HMAC(master key, "courier_pii key check")
 *
 * The master key can be changed.  Those before it stay in the key store,
 * wrapped in the one in use: keys with an epoch secret are derived of the
 * master key that was in use when the epoch was made, all others of the first
 * one for good, for tags and the audit chain must not change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/secret.h"
#include "crypto/custody.h"
#include "crypto/epoch_table.h"
#include "crypto/keyring.h"
#include "crypto/keystore.h"
#include "crypto/locked.h"
#include "crypto/store_watch.h"
#include "crypto/vault.h"

/* everything that is secret, in locked memory */
typedef struct Vault
{
	bool		have_master;	/* the source gave one */
	bool		verified;		/* and it is the one of the key store */
	unsigned char master[CPII_KEY_LEN];	/* the one in use */
	int			nformer;
	unsigned char former[CPII_MAX_FORMER][CPII_KEY_LEN];	/* before it, oldest first */
	unsigned char next[CPII_KEY_LEN];	/* to come */
	unsigned char store_key[CPII_KEY_LEN];
	unsigned char secret[CPII_SECRET_LEN];	/* of the request at hand */
	int			secret_master;	/* number of the master key it goes with */
} Vault;

static Vault *vault = NULL;
/* messages that other servers sealed, by index of the entry */
static uint64 others[CPII_MAX_EPOCHS];
static uint64 own[CPII_MAX_EPOCHS];

/* whatever processes keep of keys may be void: they look again */
static void
new_generation(void)
{
	(void) pg_atomic_fetch_add_u32(&cpii_key_table->generation, 1);
}

/* ---- the master key ---- */

void
cpii_vault_forget(void)
{
	bool		was_ready = vault->verified;

	cpii_wipe(vault, sizeof(*vault));
	if (was_ready)
		new_generation();
}

/* a master key by its number, NULL when it is not known here yet */
static const unsigned char *
master_key(int number)
{
	if (number == vault->nformer + 1)
		return vault->master;
	return number >= 1 && number <= vault->nformer ? vault->former[number - 1] : NULL;
}

/*
 * Make sure that the master key is the one the key store was made with; a
 * store that does not exist yet is made, but not by a standby.
 */
bool
cpii_vault_verify(const char **detail, const char **hint)
{
	static const char info[] = "store";
	CpiiInstallation installation = {0};
	unsigned char check[CPII_MAC_LEN];
	unsigned char remembered[CPII_INSTALLATION_LEN];
	bool		known = cpii_store_remembered(remembered);
	bool		missing = false;

	*detail = NULL;
	*hint = NULL;
	if (!cpii_key_check_value(vault->master, check))
		return false;
	memcpy(installation.check, check, sizeof(check));
	pg_atomic_write_u32(&cpii_key_table->store_lost, 0);
	if (!cpii_keystore_installation(!RecoveryInProgress() && !known, &installation,
									&missing, detail))
	{
		*hint = "Check courier_pii.key_store.";
		if (known && missing)
		{
			cpii_store_lost_reason(detail, hint);
			pg_atomic_write_u32(&cpii_key_table->store_lost, 1);
		}
		return false;
	}
	if (known && memcmp(installation.uuid, remembered, sizeof(remembered)) != 0)
	{
		*detail = "The key store is not the one that the values of this server were sealed with.";
		*hint = "Check courier_pii.key_store, or restore the right key store from its backup.";
		pg_atomic_write_u32(&cpii_key_table->store_lost, 1);
		return false;
	}
	if (!cpii_secret_equal(check, installation.check, sizeof(check)))
	{
		*detail = "The master key is not the one that the key store was made with.";
		*hint = "Restore the right master key or the right key store.";
		cpii_vault_forget();
		return false;
	}
	for (int i = 0; i < installation.nformer; i++)
		if (!cpii_unwrap_key(vault->master, installation.uuid,
							 sizeof(installation.uuid), i + 1,
							 installation.former[i], vault->former[i]))
		{
			*detail = "A former master key in the key store is damaged.";
			*hint = "Restore the file \"installation\" of the key store.";
			cpii_vault_forget();
			return false;
		}
	vault->nformer = installation.nformer;
	if (!cpii_hkdf(master_key(1), CPII_KEY_LEN, installation.uuid,
				   sizeof(installation.uuid), (const unsigned char *) info,
				   sizeof(info) - 1, vault->store_key))
		return false;
	if (!known && !cpii_store_remember(installation.uuid))
	{
		*detail = psprintf("Could not write to the data directory: %s.", strerror(errno));
		return false;
	}
	memcpy(cpii_key_table->installation, installation.uuid,
		   sizeof(installation.uuid));
	pg_write_barrier();
	pg_atomic_write_u32(&cpii_key_table->installation_known, 1);
	vault->verified = true;
	return true;
}

/* ---- the key store ---- */

static void
epoch_check(int class_id, int epoch, const unsigned char secret[CPII_SECRET_LEN],
			const CpiiSecretInfo *info, unsigned char out[8])
{
	unsigned char input[CPII_SECRET_LEN + 80];
	unsigned char full[CPII_MAC_LEN] = {0};
	CpiiMac    *mac = cpii_mac_new(vault->store_key, CPII_KEY_LEN);
	int			len;

	memcpy(input, secret, CPII_SECRET_LEN);
	len = snprintf((char *) input + CPII_SECRET_LEN, 80, "%d %d %d %d %d",
				   class_id, epoch, info->suite, info->tag_scope,
				   info->tag_digest);
	if (info->master > 1)
		len += snprintf((char *) input + CPII_SECRET_LEN + len, 80 - len, " %d",
						info->master);
	if (mac != NULL)
		(void) cpii_mac(mac, input, CPII_SECRET_LEN + len, full);
	cpii_mac_free(mac);
	memcpy(out, full, 8);
	cpii_wipe(input, sizeof(input));
}

static int
entry_index(const CpiiEpochEntry *entry)
{
	return (int) (entry - cpii_key_table->epochs);
}

/*
 * Read a secret into the vault and what is said of it into the table.  The
 * keyed check value is looked at when the master key is known.
 */
static CpiiStoreResult
read_secret(int class_id, int epoch, const char **detail)
{
	CpiiSecretInfo info;
	CpiiStoreResult result;
	CpiiEpochEntry *entry;

	*detail = NULL;
	result = cpii_keystore_read(class_id, epoch, vault->secret, &info, detail);
	vault->secret_master = info.master;
	if (result == CPII_STORE_OK && info.has_check && vault->verified)
	{
		unsigned char check[8];

		epoch_check(class_id, epoch, vault->secret, &info, check);
		if (!cpii_secret_equal(check, info.check, sizeof(check)))
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
		new_generation();
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
		(void) read_secret(class_id, epoch, &detail);
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
			new_generation();
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
	info.master = vault->nformer + 1;
	info.created = (int64) time(NULL);
	if (!cpii_suite_available(info.suite))
	{
		*detail = "The suite is not available in this OpenSSL.";
		return NULL;
	}
	if (!cpii_random(vault->secret, CPII_SECRET_LEN))
		return NULL;
	epoch_check(class_id, epoch, vault->secret, &info, info.check);
	if (!cpii_keystore_write(class_id, epoch, vault->secret, &info, detail))
		return NULL;
	/* read back: another server with the same store may have been first */
	if (read_secret(class_id, epoch, detail) != CPII_STORE_OK)
		return NULL;
	entry = cpii_epoch_find(class_id, epoch);
	cpii_epoch_choose_current(class_id);
	/* who searched before the first value was sealed took the usual digest */
	if (info.tag_digest != CPII_DIGEST_USUAL)
		new_generation();
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
	new_generation();
	cpii_epoch_choose_current(class_id);
	return CPII_ANSWER_OK;
}

/* ---- keys ---- */

/* the secret into the vault; a status and a reason when that is impossible */
static CpiiAnswerStatus
need_secret(int class_id, int epoch, const char **detail)
{
	switch (read_secret(class_id, epoch, detail))
	{
		case CPII_STORE_OK:
			return CPII_ANSWER_OK;
		case CPII_STORE_MISSING:
			return CPII_ANSWER_NO_SECRET;
		case CPII_STORE_DESTROYED:
			return CPII_ANSWER_DESTROYED;
		case CPII_STORE_DAMAGED:
			return CPII_ANSWER_DAMAGED;
		case CPII_STORE_FAILED:
			break;
	}
	return CPII_ANSWER_FAILED;
}

/* a key of the first master key, for what outlives changes of it */
static CpiiAnswerStatus
derive(const char *info, unsigned char key[CPII_KEY_LEN])
{
	return cpii_hkdf(master_key(1), CPII_KEY_LEN, cpii_key_table->installation,
					 CPII_INSTALLATION_LEN, (const unsigned char *) info,
					 strlen(info), key) ? CPII_ANSWER_OK : CPII_ANSWER_FAILED;
}

/* a key of the epoch secret in the vault */
static CpiiAnswerStatus
derive_of_epoch(const char *info, unsigned char key[CPII_KEY_LEN],
				const char **detail)
{
	const unsigned char *master = master_key(vault->secret_master);

	if (master == NULL)
	{
		*detail = "The epoch is of a newer master key than this server has; put that in its place and reload.";
		return CPII_ANSWER_FAILED;
	}
	return cpii_hkdf(master, CPII_KEY_LEN, vault->secret, CPII_SECRET_LEN,
					 (const unsigned char *) info, strlen(info), key) ?
		CPII_ANSWER_OK : CPII_ANSWER_FAILED;
}

CpiiAnswerStatus
cpii_vault_data_key(int class_id, int epoch, unsigned char key[CPII_KEY_LEN],
					const char **detail)
{
	CpiiAnswerStatus status = need_secret(class_id, epoch, detail);
	char		info[64];

	if (status == CPII_ANSWER_OK)
	{
		snprintf(info, sizeof(info), "data %d %d", class_id, epoch);
		status = derive_of_epoch(info, key, detail);
	}
	cpii_wipe(vault->secret, CPII_SECRET_LEN);
	return status;
}

CpiiAnswerStatus
cpii_vault_mac_key(int class_id, int epoch, int purpose,
				   unsigned char key[CPII_KEY_LEN], const char **detail)
{
	static const char *const names[] = {"search", "tail", "token", "subject"};
	CpiiAnswerStatus status = CPII_ANSWER_OK;
	char		info[64];

	if (purpose < 0 || purpose >= lengthof(names))
		return CPII_ANSWER_FAILED;
	if (epoch == 0)
	{
		snprintf(info, sizeof(info), "%s %d", names[purpose], class_id);
		return derive(info, key);
	}
	status = need_secret(class_id, epoch, detail);
	if (status == CPII_ANSWER_OK)
	{
		snprintf(info, sizeof(info), "%s %d %d", names[purpose], class_id, epoch);
		status = derive_of_epoch(info, key, detail);
	}
	cpii_wipe(vault->secret, CPII_SECRET_LEN);
	return status;
}

CpiiAnswerStatus
cpii_vault_audit_key(unsigned char key[CPII_KEY_LEN])
{
	return derive("audit", key);
}

/* ---- another master key ---- */

unsigned char *
cpii_vault_next(void)
{
	return vault->next;
}

static bool
used_before(const unsigned char key[CPII_KEY_LEN])
{
	for (int i = 1; i <= vault->nformer + 1; i++)
		if (cpii_secret_equal(key, master_key(i), CPII_KEY_LEN))
			return true;
	return false;
}

bool
cpii_vault_superseded(void)
{
	CpiiInstallation now = {0};
	unsigned char check[CPII_MAC_LEN];
	const char *detail;
	bool		missing;

	return vault->verified && cpii_key_check_value(vault->master, check) &&
		cpii_keystore_installation(false, &now, &missing, &detail) &&
		!cpii_secret_equal(check, now.check, sizeof(check));
}

bool
cpii_vault_change(const char **detail)
{
	CpiiInstallation now = {0};
	CpiiInstallation then = {0};
	bool		missing;
	bool		ok = false;

	*detail = NULL;
	if (RecoveryInProgress())
		*detail = "The server is a standby; the master key is changed on the primary.";
	else if (used_before(vault->next))
		*detail = "The new master key is, or was, in use already.";
	else if (vault->nformer >= CPII_MAX_FORMER)
		*detail = "The master key was changed too often.";
	else if (cpii_vault_superseded())
		*detail = "Another server has changed the master key.";
	else if (cpii_keystore_installation(false, &now, &missing, detail) &&
			 cpii_key_check_value(vault->next, then.check))
	{
		memcpy(then.uuid, now.uuid, sizeof(then.uuid));
		then.nformer = vault->nformer + 1;
		ok = true;
		for (int i = 1; i <= then.nformer && ok; i++)
			ok = cpii_wrap_key(vault->next, then.uuid, sizeof(then.uuid), i,
							   master_key(i), then.former[i - 1]);
		/* from this write on the new key is the one that opens the store */
		ok = ok && cpii_keystore_replace_installation(&then, detail);
	}
	if (ok)
	{
		memcpy(vault->former[vault->nformer++], vault->master, CPII_KEY_LEN);
		memcpy(vault->master, vault->next, CPII_KEY_LEN);
	}
	cpii_wipe(vault->next, sizeof(vault->next));
	return ok;
}

/* ---- the vault itself ---- */

void
cpii_vault_open(void)
{
	bool		locked = false;

	vault = cpii_locked_alloc(sizeof(Vault), &locked);
	if (vault == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	if (!locked)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("memory of the master key could not be locked: %m"),
				 errhint("Raise the limit of locked memory of the server account.")));
}

void
cpii_vault_close(void)
{
	cpii_locked_free(vault, sizeof(Vault));
	vault = NULL;
}

unsigned char *
cpii_vault_master(void)
{
	return vault->master;
}

void
cpii_vault_set_master(void)
{
	vault->have_master = true;
}

bool
cpii_vault_has_master(void)
{
	return vault->have_master;
}

bool
cpii_vault_ready(void)
{
	return vault->verified;
}
