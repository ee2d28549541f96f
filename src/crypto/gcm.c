/*-------------------------------------------------------------------------
 *
 * gcm.c
 *	  GCM (NIST SP 800-38D) of short texts, from OpenSSL's two halves of it.
 *
 * GCM encrypts counter blocks with the block cipher and authenticates with a
 * polynomial hash.  For a text of a few blocks EVP spends most of its time on
 * the way in: parameters, dispatch, and one block at a time.  Here the counter
 * blocks of a value, when sealing those of several values to come, go through
 * EVP's block cipher in one call, where they are computed side by side; the
 * mode itself and its hash are OpenSSL's CRYPTO_gcm128 functions, which ask
 * for a block where they need one and get the one that is there.
 *
 * A block that is there is used only when the counter block asked for is the
 * one that it was made from, in all 16 bytes; anything else is encrypted on
 * the spot.  So the blocks made ahead can make it fast, and never wrong.
 *
 * Invariants: a nonce that was made ahead is used once.  Blocks are wiped when
 * they were used, and are void after fork.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/gcm.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/modes.h>

#include "base/secret.h"
#include "base/words.h"

#define BLOCK 16
/* the block that the tag is encrypted with, and those of the text */
#define VALUE_BLOCKS (1 + CPII_GCM_TEXT_MAX / BLOCK)
/* values made ahead at most; a first one alone, then four times as many */
#define AHEAD_FIRST 1
#define AHEAD_MOST 32

typedef struct Ahead
{
	unsigned char nonces[AHEAD_MOST][CPII_NONCE_LEN];
	unsigned char blocks[AHEAD_MOST * VALUE_BLOCKS * BLOCK];
} Ahead;

struct CpiiGcm
{
	GCM128_CONTEXT *mode;
	EVP_CIPHER_CTX *cipher;
	bool		failed;			/* a block could not be encrypted */

	/* the value at hand: its blocks, of counters 1 to nready */
	const unsigned char *nonce;
	const unsigned char *ready;
	int			nready;

	Ahead	   *ahead;
	int			made;			/* values in ahead */
	int			next;			/* of which the first ones are gone */
	int			width;			/* blocks of each */
	int			wanted;			/* blocks of the longest text since */
	uint32_t	forks;			/* when they were made */
};

static inline int
blocks_of(size_t textlen)
{
	return 1 + (int) ((textlen + BLOCK - 1) / BLOCK);
}

static inline void
counter_block(unsigned char *out, const unsigned char nonce[CPII_NONCE_LEN], int counter)
{
	/* the last four bytes are the counter, big-endian, and it is small */
	cpii_store16(out, cpii_load8(nonce),
				 cpii_load4(nonce + 8) | (uint64_t) counter << 56);
}

static inline bool
same_nonce(const unsigned char a[CPII_NONCE_LEN], const unsigned char b[CPII_NONCE_LEN])
{
	return cpii_load8(a) == cpii_load8(b) && cpii_load4(a + 8) == cpii_load4(b + 8);
}

static inline void
wipe_blocks(unsigned char *blocks, int n)
{
	for (int i = 0; i < n; i++)
		cpii_wipe_few(blocks + (size_t) i * BLOCK, BLOCK);
}

/* what the mode asks for: the block cipher of one block */
static void
encrypt_block(const unsigned char in[BLOCK], unsigned char out[BLOCK], const void *arg)
{
	CpiiGcm    *gcm = (CpiiGcm *) arg;
	unsigned int place = in[BLOCK - 1] - 1U;
	int			len;

	if (place < (unsigned int) gcm->nready && same_nonce(in, gcm->nonce) &&
		(in[12] | in[13] | in[14]) == 0)
		memcpy(out, gcm->ready + (size_t) place * BLOCK, BLOCK);
	else if (EVP_EncryptUpdate(gcm->cipher, out, &len, in, BLOCK) != 1 || len != BLOCK)
		gcm->failed = true;
}

CpiiGcm *
cpii_gcm_new(const EVP_CIPHER *block_cipher, const unsigned char *key)
{
	CpiiGcm    *gcm = calloc(1, sizeof(CpiiGcm));

	if (gcm == NULL)
		return NULL;
	gcm->cipher = EVP_CIPHER_CTX_new();
	if (gcm->cipher != NULL &&
		EVP_EncryptInit_ex2(gcm->cipher, block_cipher, key, NULL, NULL) == 1 &&
		EVP_CIPHER_CTX_set_padding(gcm->cipher, 0) == 1)
		gcm->mode = CRYPTO_gcm128_new(gcm, encrypt_block);
	if (gcm->mode == NULL || gcm->failed)
	{
		cpii_gcm_free(gcm);
		return NULL;
	}
	return gcm;
}

static void
drop_ahead(CpiiGcm *gcm)
{
	if (gcm->ahead != NULL)
		cpii_wipe(gcm->ahead, sizeof(Ahead));
	gcm->made = gcm->next = gcm->nready = 0;
}

void
cpii_gcm_free(CpiiGcm *gcm)
{
	if (gcm == NULL)
		return;
	drop_ahead(gcm);
	free(gcm->ahead);
	/* OpenSSL wipes both */
	CRYPTO_gcm128_release(gcm->mode);
	EVP_CIPHER_CTX_free(gcm->cipher);
	free(gcm);
}

/* encrypt n blocks in place */
static bool
encrypt_blocks(CpiiGcm *gcm, unsigned char *blocks, int n)
{
	int			len;

	return EVP_EncryptUpdate(gcm->cipher, blocks, &len, blocks, n * BLOCK) == 1 &&
		len == n * BLOCK;
}

/* nonces with their blocks, as many and as wide as the last ones suggest */
static bool
make_ahead(CpiiGcm *gcm)
{
	int			n = gcm->made == 0 ? AHEAD_FIRST : gcm->made * 4;
	int			width = gcm->wanted > 2 ? gcm->wanted : 2;
	unsigned char *block;

	if (n > AHEAD_MOST)
		n = AHEAD_MOST;
	if (gcm->ahead == NULL)
		gcm->ahead = calloc(1, sizeof(Ahead));
	if (gcm->ahead == NULL)
		return false;
	gcm->made = gcm->next = 0;
	block = gcm->ahead->blocks;
	if (!cpii_nonces(gcm->ahead->nonces[0], n))
		return false;
	for (int i = 0; i < n; i++)
		for (int k = 1; k <= width; k++, block += BLOCK)
			counter_block(block, gcm->ahead->nonces[i], k);
	if (!encrypt_blocks(gcm, gcm->ahead->blocks, n * width))
		return false;
	gcm->forks = cpii_nonce_forks();
	gcm->made = n;
	gcm->width = width;
	gcm->wanted = 0;
	return true;
}

static bool
begin(CpiiGcm *gcm, const unsigned char *nonce, const unsigned char *aad, size_t aadlen)
{
	gcm->failed = false;
	gcm->nonce = nonce;
	CRYPTO_gcm128_setiv(gcm->mode, nonce, CPII_NONCE_LEN);
	return aadlen == 0 || CRYPTO_gcm128_aad(gcm->mode, aad, aadlen) == 0;
}

/* the blocks of one value, in one call */
static bool
get_ready(CpiiGcm *gcm, const unsigned char *nonce, int n, unsigned char *room)
{
	for (int k = 1; k <= n; k++)
		counter_block(room + (size_t) (k - 1) * BLOCK, nonce, k);
	gcm->ready = room;
	gcm->nready = n;
	return encrypt_blocks(gcm, room, n);
}

/* with the blocks that are ready */
static inline bool
seal(CpiiGcm *gcm, const unsigned char *nonce, const unsigned char *aad, size_t aadlen,
	 const unsigned char *in, size_t inlen, unsigned char *out, unsigned char *tag)
{
	bool		ok;

	ok = begin(gcm, nonce, aad, aadlen) &&
		(inlen == 0 || CRYPTO_gcm128_encrypt(gcm->mode, in, out, inlen) == 0);
	if (ok)
		CRYPTO_gcm128_tag(gcm->mode, tag, CPII_GCM_TAG_LEN);
	gcm->nready = 0;
	return ok && !gcm->failed;
}

bool
cpii_gcm_seal(CpiiGcm *gcm, const unsigned char nonce[CPII_NONCE_LEN],
			  const unsigned char *aad, size_t aadlen,
			  const unsigned char *in, size_t inlen,
			  unsigned char *out, unsigned char tag[CPII_GCM_TAG_LEN])
{
	unsigned char room[VALUE_BLOCKS * BLOCK];
	int			n = blocks_of(inlen);
	bool		ok;

	if (inlen > CPII_GCM_TEXT_MAX)
		return false;
	ok = get_ready(gcm, nonce, n, room) &&
		seal(gcm, nonce, aad, aadlen, in, inlen, out, tag);
	wipe_blocks(room, n);
	gcm->nready = 0;
	return ok;
}

bool
cpii_gcm_seal_fresh(CpiiGcm *gcm, const unsigned char *aad, size_t aadlen,
					const unsigned char *in, size_t inlen, unsigned char *out)
{
	int			n = blocks_of(inlen);
	unsigned char *blocks;
	bool		ok;

	if (inlen > CPII_GCM_TEXT_MAX)
		return false;
	if (gcm->made > 0 && gcm->forks != cpii_nonce_forks())
		drop_ahead(gcm);
	if (gcm->next >= gcm->made && !make_ahead(gcm))
		return false;
	memcpy(out, gcm->ahead->nonces[gcm->next], CPII_NONCE_LEN);
	blocks = gcm->ahead->blocks + (size_t) gcm->next * gcm->width * BLOCK;
	gcm->next++;
	if (n > gcm->wanted)
		gcm->wanted = n;
	if (n <= gcm->width)
	{
		gcm->ready = blocks;
		gcm->nready = n;
		ok = seal(gcm, out, aad, aadlen, in, inlen, out + CPII_NONCE_LEN,
				  out + CPII_NONCE_LEN + inlen);
	}
	else
		ok = cpii_gcm_seal(gcm, out, aad, aadlen, in, inlen, out + CPII_NONCE_LEN,
						   out + CPII_NONCE_LEN + inlen);
	wipe_blocks(blocks, gcm->width);
	return ok;
}

bool
cpii_gcm_open(CpiiGcm *gcm, const unsigned char nonce[CPII_NONCE_LEN],
			  const unsigned char *aad, size_t aadlen,
			  const unsigned char *in, size_t inlen,
			  const unsigned char tag[CPII_GCM_TAG_LEN], unsigned char *out)
{
	unsigned char room[VALUE_BLOCKS * BLOCK];
	int			n = blocks_of(inlen);
	bool		ok;

	if (inlen > CPII_GCM_TEXT_MAX)
		return false;
	ok = get_ready(gcm, nonce, n, room) &&
		begin(gcm, nonce, aad, aadlen) &&
		(inlen == 0 || CRYPTO_gcm128_decrypt(gcm->mode, in, out, inlen) == 0) &&
		/* compares in constant time */
		CRYPTO_gcm128_finish(gcm->mode, tag, CPII_GCM_TAG_LEN) == 0;
	wipe_blocks(room, n);
	gcm->nready = 0;
	return ok && !gcm->failed;
}
