/*-------------------------------------------------------------------------
 *
 * vault.c
 *	  The master key inside the key agent, what is derived of it, and its
 *	  change.
 *
 * Derivation, all HKDF-SHA-256 of a master key:
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

#include "access/xlog.h"

#include "base/secret.h"
#include "crypto/custody.h"
#include "crypto/epoch_table.h"
#include "crypto/keystore.h"
#include "crypto/locked.h"
#include "crypto/store_watch.h"
#include "crypto/vault.h"
#include "crypto/vault_inside.h"

CpiiVault  *cpii_vault = NULL;

void
cpii_vault_new_generation(void)
{
	(void) pg_atomic_fetch_add_u32(&cpii_key_table->generation, 1);
}

/* ---- the master key ---- */

void
cpii_vault_forget(void)
{
	bool		was_ready = cpii_vault->verified;

	cpii_wipe(cpii_vault, sizeof(*cpii_vault));
	if (was_ready)
		cpii_vault_new_generation();
}

/* a master key by its number, NULL when it is not known here yet */
static const unsigned char *
master_key(int number)
{
	if (number == cpii_vault->nformer + 1)
		return cpii_vault->master;
	return number >= 1 && number <= cpii_vault->nformer ? cpii_vault->former[number - 1] : NULL;
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
	if (!cpii_key_check_value(cpii_vault->master, check))
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
		if (!cpii_unwrap_key(cpii_vault->master, installation.uuid,
							 sizeof(installation.uuid), i + 1,
							 installation.former[i], cpii_vault->former[i]))
		{
			*detail = "A former master key in the key store is damaged.";
			*hint = "Restore the file \"installation\" of the key store.";
			cpii_vault_forget();
			return false;
		}
	cpii_vault->nformer = installation.nformer;
	if (!cpii_hkdf(master_key(1), CPII_KEY_LEN, installation.uuid,
				   sizeof(installation.uuid), (const unsigned char *) info,
				   sizeof(info) - 1, cpii_vault->store_key))
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
	cpii_vault->verified = true;
	return true;
}

/* ---- keys ---- */

/* the secret into the vault; a status and a reason when that is impossible */
static CpiiAnswerStatus
need_secret(int class_id, int epoch, const char **detail)
{
	switch (cpii_vault_read_secret(class_id, epoch, detail))
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
	const unsigned char *master = master_key(cpii_vault->secret_master);

	if (master == NULL)
	{
		*detail = "The epoch is of a newer master key than this server has; put that in its place and reload.";
		return CPII_ANSWER_FAILED;
	}
	return cpii_hkdf(master, CPII_KEY_LEN, cpii_vault->secret, CPII_SECRET_LEN,
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
	cpii_wipe(cpii_vault->secret, CPII_SECRET_LEN);
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
	cpii_wipe(cpii_vault->secret, CPII_SECRET_LEN);
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
	return cpii_vault->next;
}

static bool
used_before(const unsigned char key[CPII_KEY_LEN])
{
	for (int i = 1; i <= cpii_vault->nformer + 1; i++)
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

	return cpii_vault->verified && cpii_key_check_value(cpii_vault->master, check) &&
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
	else if (used_before(cpii_vault->next))
		*detail = "The new master key is, or was, in use already.";
	else if (cpii_vault->nformer >= CPII_MAX_FORMER)
		*detail = "The master key was changed too often.";
	else if (cpii_vault_superseded())
		*detail = "Another server has changed the master key.";
	else if (cpii_keystore_installation(false, &now, &missing, detail) &&
			 cpii_key_check_value(cpii_vault->next, then.check))
	{
		memcpy(then.uuid, now.uuid, sizeof(then.uuid));
		then.nformer = cpii_vault->nformer + 1;
		ok = true;
		for (int i = 1; i <= then.nformer && ok; i++)
			ok = cpii_wrap_key(cpii_vault->next, then.uuid, sizeof(then.uuid), i,
							   master_key(i), then.former[i - 1]);
		/* from this write on the new key is the one that opens the store */
		ok = ok && cpii_keystore_replace_installation(&then, detail);
	}
	if (ok)
	{
		memcpy(cpii_vault->former[cpii_vault->nformer++], cpii_vault->master, CPII_KEY_LEN);
		memcpy(cpii_vault->master, cpii_vault->next, CPII_KEY_LEN);
	}
	cpii_wipe(cpii_vault->next, sizeof(cpii_vault->next));
	return ok;
}

/* ---- the vault itself ---- */

void
cpii_vault_open(void)
{
	bool		locked = false;

	cpii_vault = cpii_locked_alloc(sizeof(CpiiVault), &locked);
	if (cpii_vault == NULL)
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
	cpii_locked_free(cpii_vault, sizeof(CpiiVault));
	cpii_vault = NULL;
}

unsigned char *
cpii_vault_master(void)
{
	return cpii_vault->master;
}

void
cpii_vault_set_master(void)
{
	cpii_vault->have_master = true;
}

bool
cpii_vault_has_master(void)
{
	return cpii_vault->have_master;
}

bool
cpii_vault_ready(void)
{
	return cpii_vault->verified;
}
