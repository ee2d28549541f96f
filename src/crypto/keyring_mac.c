/*-------------------------------------------------------------------------
 *
 * keyring_mac.c
 *	  Keyed contexts of tags, and which tags the values of an epoch have.
 *
 * Tags are keyed for a class, and then equal texts have equal tags in all
 * epochs, or for an epoch, and then they die with it.  Which of the two is a
 * property of the epoch and never changes; neither does the digest of a class.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "crypto/keyring_ask.h"
#include "crypto/keyring_inside.h"

/* class numbers below this are found without a hash table */
#define NEAR_CLASSES 16
#define NEAR_PURPOSES 4

typedef struct MacKey
{
	int			class_id;
	int			purpose;
	int			epoch;			/* 0: of the class */
} MacKey;

typedef struct MacEntry
{
	MacKey		key;
	CpiiMac    *mac;
} MacEntry;

static HTAB *macs = NULL;
static MacEntry near_macs[NEAR_CLASSES][NEAR_PURPOSES];

void
cpii_keyring_make_macs(void)
{
	macs = cpii_keyring_table("courier_pii macs", sizeof(MacKey), sizeof(MacEntry));
}

void
cpii_keyring_drop_macs(void)
{
	HASH_SEQ_STATUS scan;
	MacEntry   *m;

	memset(near_macs, 0, sizeof(near_macs));
	hash_seq_init(&scan, macs);
	while ((m = hash_seq_search(&scan)) != NULL)
	{
		cpii_keyring_void(NULL, m->mac);
		(void) hash_search(macs, &m->key, HASH_REMOVE, NULL);
	}
}

/* digest of the tags that all epochs of a class share */
static int
class_digest(int class_id)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);

	pg_read_barrier();
	for (uint32 i = 0; i < n; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];

		if (entry->class_id == class_id && entry->suite != 0 &&
			entry->tag_scope == CPII_TAGS_CLASS)
			return entry->tag_digest;
	}
	return CPII_DIGEST_USUAL;
}

CpiiMac *
cpii_keyring_mac(int class_id, CpiiMacPurpose purpose, int epoch)
{
	MacKey		key = {class_id, (int) purpose, 0};
	MacEntry   *near = NULL;
	MacEntry   *entry;
	CpiiAnswer	answer;
	int			digest = CPII_DIGEST_SHA256;

	if (unlikely(macs == NULL))
		cpii_keyring_prepare();
	cpii_keyring_check();
	if (class_id >= 0 && class_id < NEAR_CLASSES)
	{
		near = &near_macs[class_id][purpose];
		if (likely(near->mac != NULL && near->key.epoch == epoch))
			return near->mac;
	}
	if (epoch > 0)
	{
		CpiiEpochEntry *facts = cpii_epoch_find(class_id, epoch);

		if (facts != NULL && facts->tag_scope == CPII_TAGS_EPOCH)
		{
			key.epoch = epoch;
			digest = facts->tag_digest;
		}
	}
	if (purpose == CPII_MAC_SUBJECT)
		digest = CPII_DIGEST_AES_CMAC;
	else if (key.epoch == 0 && purpose != CPII_MAC_TOKEN)
		digest = class_digest(class_id);
	entry = hash_search(macs, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		CpiiMac    *mac;

		cpii_keyring_ask(CPII_ASK_MAC_KEY, class_id, key.epoch, (int) purpose, 0, &answer);
		mac = cpii_mac_new_digest((CpiiDigest) digest, answer.key, CPII_KEY_LEN);
		cpii_wipe(answer.key, sizeof(answer.key));
		if (mac == NULL)
			cpii_keyring_out_of_memory();
		entry = hash_search(macs, &key, HASH_ENTER, NULL);
		entry->mac = mac;
	}
	if (near != NULL)
	{
		near->key.epoch = epoch;
		near->mac = entry->mac;
	}
	return entry->mac;
}

int
cpii_keyring_search_epochs(int class_id, int *epochs, int max)
{
	uint32		total;
	int			n = 0;
	bool		of_class = false;

	cpii_require_preload();
	total = pg_atomic_read_u32(&cpii_key_table->nepochs);
	pg_read_barrier();
	for (uint32 i = 0; i < total && n < max; i++)
	{
		CpiiEpochEntry *entry = &cpii_key_table->epochs[i];
		uint32		state = pg_atomic_read_u32(&entry->state);

		if (entry->class_id != class_id ||
			(state != CPII_EPOCH_ACTIVE && state != CPII_EPOCH_OPEN_ONLY))
			continue;
		if (entry->tag_scope == CPII_TAGS_EPOCH)
			epochs[n++] = entry->epoch;
		else if (!of_class)
		{
			of_class = true;
			epochs[n++] = 0;
		}
	}
	if (n == 0 && max > 0)
		epochs[n++] = 0;
	return n;
}

int
cpii_keyring_tag_epoch(int class_id, int epoch)
{
	static int	last_class = -1;
	static int	last_epoch = -1;
	static bool last_scoped = false;

	/* a property that never changes once the epoch is known */
	if (last_class != class_id || last_epoch != epoch)
	{
		CpiiEpochEntry *entry = cpii_epoch_find(class_id, epoch);

		if (entry == NULL)
			return 0;
		last_class = class_id;
		last_epoch = epoch;
		last_scoped = entry->tag_scope == CPII_TAGS_EPOCH;
	}
	return last_scoped ? epoch : 0;
}

bool
cpii_keyring_search_scoped(int class_id)
{
	int			epochs[2];

	return cpii_keyring_search_epochs(class_id, epochs, 2) != 1 || epochs[0] != 0;
}
