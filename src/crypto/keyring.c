/*-------------------------------------------------------------------------
 *
 * keyring.c
 *	  Keyed contexts of this process, by class and epoch.
 *
 * Derivation, all HKDF-SHA-256 of the master key:
 *	  data key	  salt = epoch secret,	info = "data" class epoch
 *	  search, tail and token keys  salt = installation, info = purpose class
 *	  audit key   salt = installation, info = "audit"
 *	  check value HMAC(master key, "courier_pii key check")
 * The master key is read, used and wiped within one call; only keyed contexts
 * stay.  They live outside memory contexts (OpenSSL's memory) until the
 * process ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/custody.h"
#include "crypto/keyring.h"
#include "crypto/keystore.h"

typedef struct CipherKey
{
	int			class_id;
	int			epoch;
} CipherKey;

typedef struct CipherEntry
{
	CipherKey	key;
	CpiiCipher *cipher;
} CipherEntry;

typedef struct MacKey
{
	int			class_id;
	int			purpose;
} MacKey;

typedef struct MacEntry
{
	MacKey		key;
	CpiiMac    *mac;
} MacEntry;

static HTAB *ciphers = NULL;
static HTAB *macs = NULL;
static bool installation_known = false;
static unsigned char installation[CPII_INSTALLATION_LEN];
static bool exit_registered = false;

/* the newest few contexts, to spare the hash look-up per value */
static CipherEntry last_open = {{-1, -1}, NULL};
static CipherEntry last_seal = {{-1, -1}, NULL};
static MacEntry last_mac[3] = {{{-1, -1}, NULL}, {{-1, -1}, NULL}, {{-1, -1}, NULL}};

PG_FUNCTION_INFO_V1(cpii_key_status);
CPII_EXPORT Datum cpii_key_status(PG_FUNCTION_ARGS);

static void
report_unavailable(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
			 errmsg("encryption key is not available"),
			 detail ? errdetail("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

static bool
key_check_value(const unsigned char master[CPII_KEY_LEN],
				unsigned char check[CPII_MAC_LEN])
{
	static const char text[] = "courier_pii key check";
	CpiiMac    *mac = cpii_mac_new(master, CPII_KEY_LEN);
	bool		ok = mac != NULL &&
		cpii_mac(mac, (const unsigned char *) text, sizeof(text) - 1, check);

	cpii_mac_free(mac);
	return ok;
}

/*
 * Fetch the master key and make sure it is the one the key store was made
 * with.  Returns false with detail and hint on any failure; the caller wipes.
 */
static bool
fetch_master(bool create_store, unsigned char master[CPII_KEY_LEN],
			 const char **detail, const char **hint)
{
	unsigned char check[CPII_MAC_LEN];
	unsigned char stored[CPII_MAC_LEN];

	if (!cpii_custody_master_key(master, detail, hint))
		return false;
	if (!key_check_value(master, check))
		return false;
	memcpy(stored, check, sizeof(stored));
	if (!cpii_keystore_installation(create_store, installation, stored, detail))
	{
		*hint = "Check courier_pii.key_store.";
		return false;
	}
	if (!cpii_secret_equal(check, stored, sizeof(check)))
	{
		*detail = "The master key is not the one that the key store was made with.";
		*hint = "Restore the right key file or the right key store.";
		return false;
	}
	installation_known = true;
	return true;
}

static void
forget_at_exit(int code, Datum arg)
{
	cpii_keyring_forget();
}

static void
ensure_tables(void)
{
	HASHCTL		ctl;

	cpii_require_preload();
	if (ciphers != NULL)
		return;
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(CipherKey);
	ctl.entrysize = sizeof(CipherEntry);
	ctl.hcxt = TopMemoryContext;
	ciphers = hash_create("courier_pii ciphers", 32, &ctl,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(MacKey);
	ctl.entrysize = sizeof(MacEntry);
	macs = hash_create("courier_pii macs", 32, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (!exit_registered)
	{
		before_shmem_exit(forget_at_exit, (Datum) 0);
		exit_registered = true;
	}
}

static CpiiCipher *
get_cipher(int class_id, int epoch, bool create)
{
	CipherKey	key = {class_id, epoch};
	CipherEntry *entry;
	unsigned char master[CPII_KEY_LEN];
	unsigned char secret[CPII_SECRET_LEN];
	unsigned char data_key[CPII_KEY_LEN];
	char		info[64];
	const char *detail = NULL;
	const char *hint = NULL;
	CpiiCipher *cipher = NULL;
	bool		ok;

	ensure_tables();
	entry = hash_search(ciphers, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->cipher;

	ok = fetch_master(create, master, &detail, &hint);
	if (ok)
	{
		ok = cpii_keystore_secret(class_id, epoch, create, secret, &detail);
		if (!ok)
			hint = "The secret of this class and epoch was destroyed or not restored.";
	}
	if (ok)
	{
		int			len = snprintf(info, sizeof(info), "data %d %d", class_id, epoch);

		ok = cpii_hkdf(master, CPII_KEY_LEN, secret, CPII_SECRET_LEN,
					   (unsigned char *) info, len, data_key);
	}
	if (ok)
	{
		cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, data_key);
		ok = cipher != NULL;
	}
	cpii_wipe(master, sizeof(master));
	cpii_wipe(secret, sizeof(secret));
	cpii_wipe(data_key, sizeof(data_key));
	if (!ok)
		report_unavailable(detail, hint);

	entry = hash_search(ciphers, &key, HASH_ENTER, NULL);
	entry->cipher = cipher;
	return cipher;
}

CpiiCipher *
cpii_keyring_seal_cipher(int class_id, int *epoch)
{
	/* one epoch until periods are rolled */
	*epoch = (class_id == CPII_CLASS_LITERAL) ? 0 : 1;
	if (last_seal.key.class_id == class_id && last_seal.key.epoch == *epoch)
		return last_seal.cipher;
	last_seal.cipher = get_cipher(class_id, *epoch, true);
	last_seal.key.class_id = class_id;
	last_seal.key.epoch = *epoch;
	return last_seal.cipher;
}

CpiiCipher *
cpii_keyring_open_cipher(int class_id, int epoch)
{
	if (last_open.key.class_id == class_id && last_open.key.epoch == epoch)
		return last_open.cipher;
	last_open.cipher = get_cipher(class_id, epoch, false);
	last_open.key.class_id = class_id;
	last_open.key.epoch = epoch;
	return last_open.cipher;
}

CpiiMac *
cpii_keyring_mac(int class_id, CpiiMacPurpose purpose)
{
	static const char *const names[] = {"search", "tail", "token"};
	MacKey		key = {class_id, (int) purpose};
	MacEntry   *entry;
	unsigned char master[CPII_KEY_LEN];
	unsigned char mac_key[CPII_KEY_LEN];
	char		info[64];
	const char *detail = NULL;
	const char *hint = NULL;
	CpiiMac    *mac = NULL;
	bool		ok;

	if (last_mac[purpose].key.class_id == class_id)
		return last_mac[purpose].mac;

	ensure_tables();
	entry = hash_search(macs, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		ok = fetch_master(true, master, &detail, &hint);
		if (ok)
		{
			int			len = snprintf(info, sizeof(info), "%s %d",
									   names[purpose], class_id);

			ok = cpii_hkdf(master, CPII_KEY_LEN, installation,
						   CPII_INSTALLATION_LEN,
						   (unsigned char *) info, len, mac_key);
		}
		if (ok)
		{
			mac = cpii_mac_new(mac_key, CPII_KEY_LEN);
			ok = mac != NULL;
		}
		cpii_wipe(master, sizeof(master));
		cpii_wipe(mac_key, sizeof(mac_key));
		if (!ok)
			report_unavailable(detail, hint);
		entry = hash_search(macs, &key, HASH_ENTER, NULL);
		entry->mac = mac;
	}
	last_mac[purpose].key.class_id = class_id;
	last_mac[purpose].mac = entry->mac;
	return entry->mac;
}

const unsigned char *
cpii_keyring_installation(void)
{
	if (!installation_known)
	{
		unsigned char master[CPII_KEY_LEN];
		const char *detail = NULL;
		const char *hint = NULL;
		bool		ok;

		ensure_tables();
		ok = fetch_master(false, master, &detail, &hint);
		cpii_wipe(master, sizeof(master));
		if (!ok)
			report_unavailable(detail, hint);
	}
	return installation;
}

bool
cpii_keyring_audit_key(unsigned char key[CPII_KEY_LEN])
{
	static const char info[] = "audit";
	unsigned char master[CPII_KEY_LEN];
	const char *detail;
	const char *hint;
	bool		ok;

	ok = fetch_master(true, master, &detail, &hint) &&
		cpii_hkdf(master, CPII_KEY_LEN, installation, CPII_INSTALLATION_LEN,
				  (const unsigned char *) info, sizeof(info) - 1, key);
	cpii_wipe(master, sizeof(master));
	return ok;
}

void
cpii_keyring_forget(void)
{
	HASH_SEQ_STATUS seq;
	CipherEntry *c;
	MacEntry   *m;

	last_open.key.class_id = last_seal.key.class_id = -1;
	for (int i = 0; i < lengthof(last_mac); i++)
		last_mac[i].key.class_id = -1;
	installation_known = false;
	if (ciphers == NULL)
		return;
	hash_seq_init(&seq, ciphers);
	while ((c = hash_seq_search(&seq)) != NULL)
	{
		cpii_cipher_free(c->cipher);
		(void) hash_search(ciphers, &c->key, HASH_REMOVE, NULL);
	}
	hash_seq_init(&seq, macs);
	while ((m = hash_seq_search(&seq)) != NULL)
	{
		cpii_mac_free(m->mac);
		(void) hash_search(macs, &m->key, HASH_REMOVE, NULL);
	}
}

/*
 * Rows of view key_status: one per class whose secret exists, plus one row
 * that tells whether the master key itself can be had.
 */
Datum
cpii_key_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	unsigned char master[CPII_KEY_LEN];
	const char *detail = NULL;
	const char *hint = NULL;
	bool		ok;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	ok = fetch_master(false, master, &detail, &hint);
	cpii_wipe(master, sizeof(master));
	for (int class_id = CPII_CLASS_FIRST; class_id <= CPII_CLASS_LAST_SEALED;
		 class_id++)
	{
		time_t		created = 0;
		bool		exists = cpii_keystore_secret_exists(class_id, 1, &created);
		Datum		values[7];
		bool		nulls[7] = {0};

		values[0] = CStringGetTextDatum(cpii_class_table[class_id].name);
		values[1] = Int32GetDatum(1);
		values[2] = CStringGetTextDatum(!ok ? "sealed" :
										exists ? "active" : "pending");
		values[3] = CStringGetTextDatum("AES-256-GCM");
		nulls[4] = !exists;
		values[4] = TimestampTzGetDatum(time_t_to_timestamptz((pg_time_t) created));
		nulls[5] = true;		/* values_sealed: counted from the next version */
		values[5] = (Datum) 0;
		values[6] = CStringGetTextDatum(ok ? "ok" :
										detail ? detail : "not available");
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

void
cpii_keyring_init(void)
{
	/* contexts are made on demand; nothing must exist before fork */
}
