/*-------------------------------------------------------------------------
 *
 * chain_hash.c
 *	  The HMAC chain over the canonical bytes of audit records.
 *
 * A batch uses one context of a key; the key itself is wiped with the memory
 * context of the batch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/ratchet.h"
#include "base/errcodes.h"
#include "base/secret.h"
#include "crypto/cipher.h"

struct CpiiChain
{
	MemoryContextCallback callback;
	int			generation;		/* to write with; 0 = no key */
	CpiiMac    *plain;			/* a key of zeros */
	CpiiMac    *keyed;			/* of generation keyed_generation, or NULL */
	int			keyed_generation;
	unsigned char key[CPII_KEY_LEN];	/* the same as a key */
	bool		verifying;
	CpiiRatchetResult found;	/* how the first key was found */
	unsigned char input[CPII_HASH_LEN + 8 + CPII_MAX_CANONICAL];
};

/* the worker's key in use; its file is read once */
static unsigned char current_key[CPII_KEY_LEN];
static int	current_generation = 0;

static void
chain_release(void *arg)
{
	CpiiChain  *chain = arg;

	cpii_mac_free(chain->keyed);
	cpii_mac_free(chain->plain);
	chain->keyed = chain->plain = NULL;
	cpii_wipe(chain->key, sizeof(chain->key));
}

static CpiiChain *
chain_new(void)
{
	CpiiChain  *chain = palloc0(sizeof(CpiiChain));

	chain->callback.func = chain_release;
	chain->callback.arg = chain;
	chain->plain = cpii_mac_new(chain->key, sizeof(chain->key));
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &chain->callback);
	return chain;
}

/* make contexts of the key in hand */
static void
chain_key(CpiiChain *chain, int generation)
{
	cpii_mac_free(chain->keyed);
	chain->keyed = cpii_mac_new(chain->key, sizeof(chain->key));
	chain->keyed_generation = generation;
	if (chain->plain == NULL || chain->keyed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

CpiiChain *
cpii_chain_open_writing(int floor, bool move_on)
{
	CpiiChain  *chain = chain_new();
	static TimestampTz logged_at = 0;

	if (current_generation < Max(floor, 1))
	{
		CpiiRatchetResult result = cpii_ratchet_current(floor, current_key,
														&current_generation);

		if (result != CPII_RATCHET_OK)
		{
			current_generation = 0;
			if (result != CPII_RATCHET_NO_MASTER &&
				TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
			{
				logged_at = GetCurrentTimestamp();
				ereport(LOG,
						(errmsg("the key of the audit chain is %s",
								result == CPII_RATCHET_MISSING ? "missing" : "damaged"),
						 errdetail("Records are chained without a key until it is back in the key store."),
						 errhint("Restore the file \"audit-current.key\" of the key store, an old copy does.")));
			}
			return chain;
		}
	}
	if (move_on && cpii_ratchet_step(current_key))
	{
		/* a key that is not on disk must not be used */
		if (!cpii_ratchet_store(current_key, current_generation + 1))
		{
			current_generation = 0;
			cpii_wipe(current_key, sizeof(current_key));
			return cpii_chain_open_writing(floor, false);
		}
		current_generation++;
	}
	memcpy(chain->key, current_key, sizeof(chain->key));
	chain->generation = current_generation;
	chain_key(chain, current_generation);
	return chain;
}

CpiiChain *
cpii_chain_open_verifying(void)
{
	CpiiChain  *chain = chain_new();

	chain->verifying = true;
	chain->found = cpii_ratchet_start(chain->key);
	if (chain->found == CPII_RATCHET_OK)
		chain_key(chain, 1);
	return chain;
}

void
cpii_chain_close(CpiiChain *chain)
{
	/* the memory goes with its context, for the callback stays registered */
	chain_release(chain);
}

int
cpii_chain_generation(const CpiiChain *chain)
{
	return chain->verifying ? chain->keyed_generation : chain->generation;
}

/* have the key of this generation in hand */
static void
chain_seek(CpiiChain *chain, int generation)
{
	if (chain->verifying && (chain->found != CPII_RATCHET_OK))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("audit records cannot be verified without the first key of their chain"),
				 chain->found == CPII_RATCHET_NO_MASTER ?
				 errhint("Make the master key available to this server.") :
				 errhint("Put \"audit-start.key\" back into the key store, or verify with tools/audit_verify where it is kept.")));
	if (chain->keyed == NULL || (!chain->verifying && generation < chain->keyed_generation))
		elog(ERROR, "no key for generation %d of the audit chain", generation);
	if (generation < chain->keyed_generation)
	{
		/* another server's records: from the first key again */
		chain->found = cpii_ratchet_start(chain->key);
		if (chain->found != CPII_RATCHET_OK)
		{
			chain_seek(chain, generation);
			return;
		}
		chain->keyed_generation = 1;
	}
	for (int i = chain->keyed_generation; i < generation; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (!cpii_ratchet_step(chain->key))
			elog(ERROR, "could not compute a key of the audit chain");
	}
	chain_key(chain, generation);
}

void
cpii_chain_hash(CpiiChain *chain, int generation,
				const unsigned char *prev_hash, int64 seq,
				const char *canonical, size_t length, unsigned char *hash)
{
	CpiiMac    *mac = chain->plain;
	uint64		number = pg_hton64((uint64) seq);

	StaticAssertStmt(CPII_HASH_LEN == CPII_MAC_LEN, "hash length");
	Assert(length <= CPII_MAX_CANONICAL);
	if (generation != 0)
	{
		if (generation != chain->keyed_generation)
			chain_seek(chain, generation);
		mac = chain->keyed;
	}
	memcpy(chain->input, prev_hash, CPII_HASH_LEN);
	memcpy(chain->input + CPII_HASH_LEN, &number, 8);
	memcpy(chain->input + CPII_HASH_LEN + 8, canonical, length);
	if (mac == NULL || !cpii_mac(mac, chain->input, CPII_HASH_LEN + 8 + length, hash))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a hash of the audit chain")));
}
