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
 * caller may be using one.  Those of tags are in keyring_mac.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/agent.h"
#include "crypto/channel.h"
#include "crypto/keyring.h"
#include "crypto/keyring_ask.h"
#include "crypto/keyring_inside.h"
#include "crypto/locked.h"

/* class numbers below this are found without a hash table */
#define NEAR_CLASSES 16

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

/* the active epoch of a class, as last seen */
typedef struct SealEntry
{
	int			class_id;
	CpiiKeyClass *class;
	CpiiEpochEntry *epoch;
	uint32		place;			/* of the epoch, as class->current tells it */
	uint32		left;			/* of the block that was taken */
	CpiiSealKeys keys;			/* what is NULL is looked for again */
} SealEntry;

typedef struct Void
{
	CpiiCipher *cipher;
	CpiiMac    *mac;
	struct Void *next;
} Void;

static HTAB *ciphers = NULL;
static HTAB *far_seals = NULL;
static SealEntry near_seals[NEAR_CLASSES];
static CipherEntry near_opens[NEAR_CLASSES];
static Void *voids = NULL;
uint32		cpii_keyring_generation = 0;
static bool blocks_out = false;
static bool registered = false;
static bool installation_known = false;
static unsigned char installation[16];

void
cpii_keyring_out_of_memory(void)
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

void
cpii_keyring_void(CpiiCipher *cipher, CpiiMac *mac)
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
void
cpii_keyring_drop(void)
{
	HASH_SEQ_STATUS scan;
	CipherEntry *c;
	SealEntry  *s;

	return_blocks();
	memset(near_seals, 0, sizeof(near_seals));
	memset(near_opens, 0, sizeof(near_opens));
	if (ciphers == NULL)
		return;
	hash_seq_init(&scan, ciphers);
	while ((c = hash_seq_search(&scan)) != NULL)
	{
		cpii_keyring_void(c->cipher, NULL);
		(void) hash_search(ciphers, &c->key, HASH_REMOVE, NULL);
	}
	cpii_keyring_drop_macs();
	hash_seq_init(&scan, far_seals);
	while ((s = hash_seq_search(&scan)) != NULL)
		(void) hash_search(far_seals, &s->class_id, HASH_REMOVE, NULL);
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
			if (pg_atomic_read_u32(&cpii_key_table->generation) != cpii_keyring_generation)
				cpii_keyring_drop();
			free_voids();
			break;
		default:
			break;
	}
}

void
cpii_keyring_forget(void)
{
	cpii_keyring_drop();
	free_voids();
	installation_known = false;
}

void
cpii_keyring_recall(void)
{
	if (cpii_key_table != NULL)
		(void) pg_atomic_fetch_add_u32(&cpii_key_table->generation, 1);
}

static void
forget_at_exit(int code, Datum arg)
{
	cpii_keyring_forget();
}

HTAB *
cpii_keyring_table(const char *name, Size keysize, Size entrysize)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = keysize;
	ctl.entrysize = entrysize;
	ctl.hcxt = TopMemoryContext;
	return hash_create(name, 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
cpii_keyring_prepare(void)
{
	cpii_require_preload();
	if (registered)
		return;
	ciphers = cpii_keyring_table("courier_pii ciphers", sizeof(CipherKey), sizeof(CipherEntry));
	cpii_keyring_make_macs();
	far_seals = cpii_keyring_table("courier_pii active keys", sizeof(int), sizeof(SealEntry));
	cpii_keyring_generation = pg_atomic_read_u32(&cpii_key_table->generation);
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
			cpii_keyring_out_of_memory();
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
		cpii_keyring_out_of_memory();
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

/* is what was kept that of the class's active epoch? */
static inline bool
is_current(const SealEntry *entry)
{
	return entry->keys.cipher != NULL &&
		pg_atomic_read_u32(&entry->class->current) == entry->place;
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

		cpii_keyring_check();
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
		{
			return_block(entry);
			memset(&entry->keys, 0, sizeof(entry->keys));
		}
		entry->class = class;
		entry->epoch = now;
		entry->place = (uint32) (now - cpii_key_table->epochs) + 1;
		entry->keys.cipher = cipher;
		entry->keys.epoch = now->epoch;
		if (entry->left > 0 || take_block(entry))
		{
			entry->left--;
			return cipher;
		}
		entry->keys.cipher = NULL;
	}
}

CpiiCipher *
cpii_keyring_seal_cipher(int class_id, int *epoch)
{
	SealEntry  *entry;

	if (unlikely(!registered))
		cpii_keyring_prepare();
	cpii_keyring_check();
	entry = seal_entry(class_id);
	if (likely(entry->left > 0 && is_current(entry)))
		entry->left--;
	else
	{
		(void) find_seal_cipher(entry);
		entry = seal_entry(class_id);
	}
	*epoch = entry->keys.epoch;
	return entry->keys.cipher;
}

/* the slow way of cpii_keyring_seal_keys */
static pg_noinline const CpiiSealKeys *
find_seal_keys(int class_id, bool search, bool tail)
{
	static CpiiSealKeys keys;
	SealEntry  *entry;

	keys.cipher = cpii_keyring_seal_cipher(class_id, &keys.epoch);
	keys.suite = cpii_cipher_suite(keys.cipher);
	/* four characters are too few to keep apart from those who guess */
	if (tail && cpii_keyring_tag_epoch(class_id, keys.epoch) != 0)
		tail = false;
	keys.search = search ? cpii_keyring_mac(class_id, CPII_MAC_SEARCH, keys.epoch) : NULL;
	keys.tail = tail ? cpii_keyring_mac(class_id, CPII_MAC_TAIL, keys.epoch) : NULL;
	keys.installation = cpii_keyring_installation();
	/* asking may have dropped everything; then nothing is kept this time */
	entry = seal_entry(class_id);
	if (entry->keys.cipher == keys.cipher)
		entry->keys = keys;
	return &keys;
}

const CpiiSealKeys *
cpii_keyring_seal_keys(int class_id, bool search, bool tail)
{
	if (likely(registered && class_id >= 0 && class_id < NEAR_CLASSES))
	{
		SealEntry  *entry = &near_seals[class_id];

		cpii_keyring_check();
		if (likely(entry->left > 0 && is_current(entry) &&
				   entry->keys.installation != NULL &&
				   (entry->keys.search != NULL || !search) &&
				   (entry->keys.tail != NULL || !tail)))
		{
			entry->left--;
			return &entry->keys;
		}
	}
	return find_seal_keys(class_id, search, tail);
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
	cpii_keyring_check();
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
