/*-------------------------------------------------------------------------
 *
 * keyring.c
 *	  Keyed contexts of this process, by class and epoch.
 *
 * A key arrives from the agent, makes a context, and is wiped within one call;
 * only keyed contexts stay, in OpenSSL's memory.  Two things are looked at for
 * every value: the generation (has any key become void?) and the class's
 * active epoch; both are one atomic read.
 *
 * Contexts that became void are freed at the end of the transaction, because a
 * caller may be using one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/classes.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/agent.h"
#include "crypto/channel.h"
#include "crypto/keyring.h"
#include "crypto/keyring_ask.h"
#include "crypto/locked.h"

/* class numbers below this are found without a hash table */
#define NEAR_CLASSES 16
#define NEAR_PURPOSES 4

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
	int			epoch;			/* 0: of the class */
} MacKey;

typedef struct MacEntry
{
	MacKey		key;
	CpiiMac    *mac;
} MacEntry;

/* the active epoch of a class, as last seen */
typedef struct SealEntry
{
	int			class_id;
	CpiiKeyClass *class;
	CpiiEpochEntry *epoch;
	CpiiCipher *cipher;			/* NULL: look again */
	uint32		left;			/* of the block that was taken */
} SealEntry;

typedef struct Void
{
	CpiiCipher *cipher;
	CpiiMac    *mac;
	struct Void *next;
} Void;

static HTAB *ciphers = NULL;
static HTAB *macs = NULL;
static HTAB *far_seals = NULL;
static SealEntry near_seals[NEAR_CLASSES];
static CipherEntry near_opens[NEAR_CLASSES];
static MacEntry near_macs[NEAR_CLASSES][NEAR_PURPOSES];
static Void *voids = NULL;
static uint32 generation = 0;
static bool blocks_out = false;
static bool registered = false;
static bool installation_known = false;
static unsigned char installation[16];

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("A keyed context could not be made.")));
}

/* ---- caches ---- */

static void
free_voids(void)
{
	while (voids != NULL)
	{
		Void	   *v = voids;

		voids = v->next;
		cpii_cipher_free(v->cipher);
		cpii_mac_free(v->mac);
		free(v);
	}
}

static void
make_void(CpiiCipher *cipher, CpiiMac *mac)
{
	Void	   *v = malloc(sizeof(Void));

	if (v == NULL)
		return;					/* rather lost than used after free */
	v->cipher = cipher;
	v->mac = mac;
	v->next = voids;
	voids = v;
}

/* give back what was taken of counters and not used */
static void
return_block(SealEntry *entry)
{
	if (entry->left > 0 && entry->epoch != NULL)
		(void) pg_atomic_fetch_sub_u64(&entry->epoch->taken, entry->left);
	entry->left = 0;
}

static void
return_blocks(void)
{
	HASH_SEQ_STATUS scan;
	SealEntry  *entry;

	if (!blocks_out)
		return;
	blocks_out = false;
	for (int i = 0; i < NEAR_CLASSES; i++)
		return_block(&near_seals[i]);
	if (far_seals == NULL)
		return;
	hash_seq_init(&scan, far_seals);
	while ((entry = hash_seq_search(&scan)) != NULL)
		return_block(entry);
}

/* nothing that was kept may be used again */
static void
drop_contexts(void)
{
	HASH_SEQ_STATUS scan;
	CipherEntry *c;
	MacEntry   *m;
	SealEntry  *s;

	return_blocks();
	memset(near_seals, 0, sizeof(near_seals));
	memset(near_opens, 0, sizeof(near_opens));
	memset(near_macs, 0, sizeof(near_macs));
	if (ciphers == NULL)
		return;
	hash_seq_init(&scan, ciphers);
	while ((c = hash_seq_search(&scan)) != NULL)
	{
		make_void(c->cipher, NULL);
		(void) hash_search(ciphers, &c->key, HASH_REMOVE, NULL);
	}
	hash_seq_init(&scan, macs);
	while ((m = hash_seq_search(&scan)) != NULL)
	{
		make_void(NULL, m->mac);
		(void) hash_search(macs, &m->key, HASH_REMOVE, NULL);
	}
	hash_seq_init(&scan, far_seals);
	while ((s = hash_seq_search(&scan)) != NULL)
		(void) hash_search(far_seals, &s->class_id, HASH_REMOVE, NULL);
}

static inline void
check_generation(void)
{
	uint32		now = pg_atomic_read_u32(&cpii_key_table->generation);

	if (unlikely(now != generation))
	{
		drop_contexts();
		generation = now;
	}
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			return_blocks();
			if (pg_atomic_read_u32(&cpii_key_table->generation) != generation)
				drop_contexts();
			free_voids();
			break;
		default:
			break;
	}
}

void
cpii_keyring_forget(void)
{
	drop_contexts();
	free_voids();
	installation_known = false;
}

static void
forget_at_exit(int code, Datum arg)
{
	cpii_keyring_forget();
}

static HTAB *
make_table(const char *name, Size keysize, Size entrysize)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = keysize;
	ctl.entrysize = entrysize;
	ctl.hcxt = TopMemoryContext;
	return hash_create(name, 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* the first key is about to arrive in this process */
void
cpii_keyring_prepare(void)
{
	cpii_require_preload();
	if (registered)
		return;
	ciphers = make_table("courier_pii ciphers", sizeof(CipherKey), sizeof(CipherEntry));
	macs = make_table("courier_pii macs", sizeof(MacKey), sizeof(MacEntry));
	far_seals = make_table("courier_pii active keys", sizeof(int), sizeof(SealEntry));
	generation = pg_atomic_read_u32(&cpii_key_table->generation);
	before_shmem_exit(forget_at_exit, (Datum) 0);
	RegisterXactCallback(transaction_ends, NULL);
	/* keys are in here from now on */
	cpii_process_harden();
	registered = true;
}

/* ---- ciphers ---- */

/* the context of a key that has just arrived, or that is here already */
static CpiiCipher *
keep_cipher(int class_id, int epoch, CpiiAnswer *answer)
{
	CipherKey	key = {class_id, epoch};
	CipherEntry *entry = hash_search(ciphers, &key, HASH_FIND, NULL);
	CpiiEpochEntry *facts = cpii_epoch_find(class_id, epoch);
	CpiiCipher *cipher;

	if (entry != NULL || facts == NULL)
	{
		cpii_wipe(answer->key, sizeof(answer->key));
		if (entry == NULL)
			out_of_memory();
		return entry->cipher;
	}
	cipher = cpii_cipher_new((CpiiSuite) facts->suite, answer->key);
	cpii_wipe(answer->key, sizeof(answer->key));
	if (cipher == NULL)
	{
		if (!cpii_suite_available((CpiiSuite) facts->suite))
			ereport(ERROR,
					(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
					 errmsg("encryption suite %s is not available",
							cpii_suite_name(facts->suite) ?
							cpii_suite_name(facts->suite) : "(unknown)"),
					 errdetail("This OpenSSL does not offer the suite of class \"%s\", epoch %d.",
							   cpii_key_class_name(class_id), epoch)));
		out_of_memory();
	}
	entry = hash_search(ciphers, &key, HASH_ENTER, NULL);
	entry->cipher = cipher;
	return cipher;
}

static SealEntry *
seal_entry(int class_id)
{
	SealEntry  *entry;
	bool		found;

	if (class_id >= 0 && class_id < NEAR_CLASSES)
	{
		near_seals[class_id].class_id = class_id;
		return &near_seals[class_id];
	}
	entry = hash_search(far_seals, &class_id, HASH_ENTER, &found);
	if (!found)
	{
		memset(entry, 0, sizeof(*entry));
		entry->class_id = class_id;
	}
	return entry;
}

/*
 * Take a block of the counter.  False: the epoch is used up, or the agent has
 * just made another; look for the active one again.
 */
static bool
take_block(SealEntry *entry)
{
	CpiiEpochEntry *epoch = entry->epoch;
	CpiiAnswer	answer;

	for (;;)
	{
		uint64		before = pg_atomic_fetch_add_u64(&epoch->taken, CPII_MESSAGE_BLOCK);
		uint64		after = before + CPII_MESSAGE_BLOCK;
		uint64		reserved;

		pg_memory_barrier();
		reserved = pg_atomic_read_u64(&epoch->reserved);
		if (after > CPII_MESSAGES_ROLL && !RecoveryInProgress())
		{
			CpiiRequest request = {0};

			request.kind = CPII_ASK_NEW_EPOCH;
			request.class_id = epoch->class_id;
			request.epoch = epoch->epoch;
			request.arg2 = -1;
			cpii_channel_ask(&request, &answer);
			if (answer.status == CPII_ANSWER_OK)
			{
				(void) pg_atomic_fetch_sub_u64(&epoch->taken, CPII_MESSAGE_BLOCK);
				return false;
			}
			/* half of the limit is left to notice and to repair what fails */
		}
		if (after <= reserved && after <= CPII_MESSAGES_LIMIT)
		{
			entry->left = CPII_MESSAGE_BLOCK;
			blocks_out = true;
			return true;
		}
		(void) pg_atomic_fetch_sub_u64(&epoch->taken, CPII_MESSAGE_BLOCK);
		if (after > CPII_MESSAGES_LIMIT)
			ereport(ERROR,
					(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
					 errmsg("key of class \"%s\", epoch %d, has sealed as many values as is safe",
							cpii_key_class_name(epoch->class_id), epoch->epoch),
					 errhint("Make a new epoch with courier_pii.new_epoch().")));
		cpii_keyring_ask(CPII_ASK_RESERVE, epoch->class_id, epoch->epoch, 0, 0, &answer);
	}
}

static CpiiCipher *
find_seal_cipher(SealEntry *entry)
{
	int			class_id = entry->class_id;
	CpiiAnswer	answer;

	cpii_keyring_prepare();
	for (;;)
	{
		CpiiKeyClass *class = cpii_key_class_find(class_id);
		CpiiEpochEntry *now = class ? cpii_epoch_current(class) : NULL;
		CipherKey	key;
		CipherEntry *kept = NULL;
		CpiiCipher *cipher;

		check_generation();
		if (now != NULL)
		{
			key.class_id = class_id;
			key.epoch = now->epoch;
			kept = hash_search(ciphers, &key, HASH_FIND, NULL);
		}
		if (kept != NULL)
			cipher = kept->cipher;
		else
		{
			cpii_keyring_ask(CPII_ASK_SEAL_KEY, class_id, now ? now->epoch : 0, 0, 0, &answer);
			cipher = keep_cipher(class_id, answer.epoch, &answer);
			class = cpii_key_class_find(class_id);
			now = cpii_epoch_find(class_id, answer.epoch);
		}
		/* asking may have dropped everything, this entry too */
		entry = seal_entry(class_id);
		if (entry->epoch != now)
			return_block(entry);
		entry->class = class;
		entry->epoch = now;
		entry->cipher = cipher;
		if (entry->left > 0 || take_block(entry))
		{
			entry->left--;
			return cipher;
		}
		entry->cipher = NULL;
	}
}

CpiiCipher *
cpii_keyring_seal_cipher(int class_id, int *epoch)
{
	SealEntry  *entry;

	if (unlikely(!registered))
		cpii_keyring_prepare();
	check_generation();
	entry = seal_entry(class_id);
	if (likely(entry->cipher != NULL && entry->left > 0 &&
			   cpii_epoch_current(entry->class) == entry->epoch))
	{
		entry->left--;
		*epoch = entry->epoch->epoch;
		return entry->cipher;
	}
	(void) find_seal_cipher(entry);
	entry = seal_entry(class_id);
	*epoch = entry->epoch->epoch;
	return entry->cipher;
}

CpiiCipher *
cpii_keyring_open_cipher(int class_id, int epoch)
{
	CipherKey	key = {class_id, epoch};
	CipherEntry *near = NULL;
	CipherEntry *entry;
	CpiiCipher *cipher;
	CpiiAnswer	answer;

	if (unlikely(!registered))
		cpii_keyring_prepare();
	check_generation();
	if (class_id >= 0 && class_id < NEAR_CLASSES)
	{
		near = &near_opens[class_id];
		if (likely(near->cipher != NULL && near->key.epoch == epoch))
			return near->cipher;
	}
	entry = hash_search(ciphers, &key, HASH_FIND, NULL);
	if (entry != NULL)
		cipher = entry->cipher;
	else
	{
		cpii_keyring_ask(CPII_ASK_OPEN_KEY, class_id, epoch, 0, 0, &answer);
		cipher = keep_cipher(class_id, epoch, &answer);
	}
	if (near != NULL)
	{
		near->key = key;
		near->cipher = cipher;
	}
	return cipher;
}

int
cpii_keyring_current_epoch(int class_id)
{
	CpiiKeyClass *class;
	CpiiEpochEntry *entry;

	cpii_require_preload();
	class = cpii_key_class_find(class_id);
	entry = class ? cpii_epoch_current(class) : NULL;
	return entry ? entry->epoch : 0;
}

CpiiEpochState
cpii_keyring_epoch_state(int class_id, int epoch)
{
	CpiiEpochEntry *entry;

	cpii_require_preload();
	entry = cpii_epoch_find(class_id, epoch);
	return entry ? (CpiiEpochState) pg_atomic_read_u32(&entry->state) : CPII_EPOCH_ABSENT;
}

/* ---- tags ---- */

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

	if (unlikely(!registered))
		cpii_keyring_prepare();
	check_generation();
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
			out_of_memory();
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
	static CipherKey last = {-1, -1};
	static bool last_scoped = false;

	/* a property that never changes once the epoch is known */
	if (last.class_id != class_id || last.epoch != epoch)
	{
		CpiiEpochEntry *entry = cpii_epoch_find(class_id, epoch);

		if (entry == NULL)
			return 0;
		last.class_id = class_id;
		last.epoch = epoch;
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

/* ---- the rest ---- */

const unsigned char *
cpii_keyring_installation(void)
{
	if (!installation_known)
	{
		cpii_keyring_prepare();
		if (!pg_atomic_read_u32(&cpii_key_table->installation_known))
		{
			CpiiAnswer	answer;

			cpii_keyring_ask(CPII_ASK_IDENTITY, 0, 0, 0, 0, &answer);
		}
		pg_read_barrier();
		memcpy(installation, cpii_key_table->installation, sizeof(installation));
		installation_known = true;
	}
	return installation;
}

void
cpii_keyring_init(void)
{
	/* contexts are made on demand; nothing must exist before fork */
	cpii_key_table_init();
	cpii_channel_init();
	cpii_agent_init();
}
