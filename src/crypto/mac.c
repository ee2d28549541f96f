/*-------------------------------------------------------------------------
 *
 * mac.c
 *	  Keyed hashes with a cached key: HMAC and AES-256-CMAC over OpenSSL's EVP.
 *
 * Search tags of short texts are what sealing spends most of its time on, so
 * CMAC (NIST SP 800-38B) has a short way: a text of one block or less is one
 * call of the block cipher, ten times faster than HMAC through EVP_MAC.
 *
 * The last four digits of telephone numbers are ten thousand texts, most of
 * which a load meets again and again: a key that has served a few of them keeps
 * the beginnings of their hashes.  They say no more than the key beside them,
 * and are wiped with it.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/mac.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/secret.h"
#include "base/words.h"

#define BLOCK 16

/* out of the way of those that do not need it */
#if defined(__GNUC__)
#define APART __attribute__((noinline))
#else
#define APART
#endif

/* texts of four digits; those with the same first three are made together */
#define FOURS 10000
#define TOGETHER 10
/* so many are hashed one by one before the room is taken */
#define FOURS_ALONE 64

typedef struct Fours
{
	uint8_t		known[FOURS / TOGETHER];
	uint32_t	heads[FOURS];
} Fours;

struct CpiiMac
{
	EVP_MAC_CTX *ctx;
	/* CMAC only: the block cipher, and what goes into a last block */
	EVP_CIPHER_CTX *block;
	unsigned char whole[BLOCK];
	unsigned char padded[BLOCK];
	int			alone;
	Fours	   *fours;			/* NULL: none yet */
};

static EVP_MAC *hmac_algorithm = NULL;
static EVP_MAC *cmac_algorithm = NULL;
static EVP_CIPHER *block_algorithm = NULL;

/* multiply by x in GF(2^128), without a branch that depends on the secret */
static void
double_block(const unsigned char in[BLOCK], unsigned char out[BLOCK])
{
	unsigned char carry = (unsigned char) (0x87 & -(in[0] >> 7));

	for (int i = 0; i < BLOCK - 1; i++)
		out[i] = (unsigned char) (in[i] << 1 | in[i + 1] >> 7);
	out[BLOCK - 1] = (unsigned char) (in[BLOCK - 1] << 1 ^ carry);
}

/* the short way of CMAC */
static bool
prepare_blocks(CpiiMac *mac, const unsigned char *key, size_t keylen)
{
	static const unsigned char zeros[BLOCK] = {0};
	unsigned char first[BLOCK];
	int			len;
	bool		ok;

	if (block_algorithm == NULL)
		block_algorithm = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	if (block_algorithm == NULL || keylen != 32)
		return false;
	mac->block = EVP_CIPHER_CTX_new();
	ok = mac->block != NULL &&
		EVP_EncryptInit_ex2(mac->block, block_algorithm, key, NULL, NULL) == 1 &&
		EVP_CIPHER_CTX_set_padding(mac->block, 0) == 1 &&
		EVP_EncryptUpdate(mac->block, first, &len, zeros, BLOCK) == 1 &&
		len == BLOCK;
	if (ok)
	{
		double_block(first, mac->whole);
		double_block(mac->whole, mac->padded);
	}
	cpii_wipe(first, sizeof(first));
	return ok;
}

CpiiMac *
cpii_mac_new_digest(CpiiDigest digest, const unsigned char *key, size_t keylen)
{
	bool		cmac = digest == CPII_DIGEST_AES_CMAC;
	EVP_MAC   **algorithm = cmac ? &cmac_algorithm : &hmac_algorithm;
	CpiiMac    *mac;
	OSSL_PARAM	params[2];

	if (*algorithm == NULL)
		*algorithm = EVP_MAC_fetch(NULL, cmac ? "CMAC" : "HMAC", NULL);
	if (*algorithm == NULL)
		return NULL;
	mac = calloc(1, sizeof(CpiiMac));
	if (mac == NULL)
		return NULL;
	if (cmac)
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER,
													 (char *) "AES-256-CBC", 0);
	else
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
													 digest == CPII_DIGEST_SM3 ?
													 (char *) "SM3" : (char *) "SHA256", 0);
	params[1] = OSSL_PARAM_construct_end();
	mac->ctx = EVP_MAC_CTX_new(*algorithm);
	if (mac->ctx == NULL || EVP_MAC_init(mac->ctx, key, keylen, params) != 1 ||
		(cmac && !prepare_blocks(mac, key, keylen)))
	{
		cpii_mac_free(mac);
		return NULL;
	}
	return mac;
}

CpiiMac *
cpii_mac_new(const unsigned char *key, size_t keylen)
{
	return cpii_mac_new_digest(CPII_DIGEST_SHA256, key, keylen);
}

void
cpii_mac_free(CpiiMac *mac)
{
	if (mac == NULL)
		return;
	/* OpenSSL wipes keys when it frees a context */
	EVP_MAC_CTX_free(mac->ctx);
	EVP_CIPHER_CTX_free(mac->block);
	if (mac->fours != NULL)
		cpii_wipe(mac->fours, sizeof(Fours));
	free(mac->fours);
	cpii_wipe(mac, sizeof(*mac));
	free(mac);
}

/* what the block cipher gets for a text of one block or less */
static inline void
last_block(const CpiiMac *mac, const unsigned char *in, size_t inlen,
		   unsigned char out[BLOCK])
{
	const unsigned char *mask = mac->padded;
	uint64_t	low;
	uint64_t	high = 0;

	if (inlen >= BLOCK)
	{
		mask = mac->whole;
		low = cpii_load8(in);
		high = cpii_load8(in + 8);
	}
	else if (inlen > 8)
	{
		low = cpii_load8(in);
		high = cpii_load8(in + inlen - 8) >> (8 * (BLOCK - inlen)) |
			UINT64_C(0x80) << (8 * (inlen - 8));
	}
	else
	{
		low = cpii_load_few(in, inlen);
		if (inlen == 8)
			high = 0x80;
		else
			low |= UINT64_C(0x80) << (8 * inlen);
	}
	cpii_store16(out, low ^ cpii_load8(mask), high ^ cpii_load8(mask + 8));
}

/* CMAC of a text of one block or less */
static bool
one_block(CpiiMac *mac, const unsigned char *in, size_t inlen,
		  unsigned char out[CPII_MAC_LEN])
{
	unsigned char block[BLOCK];
	int			len;
	bool		ok;

	last_block(mac, in, inlen, block);
	ok = EVP_EncryptUpdate(mac->block, out, &len, block, BLOCK) == 1 &&
		len == BLOCK;
	cpii_wipe_few(block, sizeof(block));
	return ok;
}

bool
cpii_mac_pieces(CpiiMac *mac, const CpiiMacPiece *pieces, int n,
				unsigned char out[CPII_MAC_LEN])
{
	size_t		outlen;

	if (EVP_MAC_init(mac->ctx, NULL, 0, NULL) != 1)
		return false;
	for (int i = 0; i < n; i++)
		if (pieces[i].len > 0 &&
			EVP_MAC_update(mac->ctx, pieces[i].data, pieces[i].len) != 1)
			return false;
	if (EVP_MAC_final(mac->ctx, out, &outlen, CPII_MAC_LEN) != 1)
		return false;
	memset(out + outlen, 0, CPII_MAC_LEN - outlen);
	return true;
}

bool
cpii_mac(CpiiMac *mac, const unsigned char *in, size_t inlen,
		 unsigned char out[CPII_MAC_LEN])
{
	CpiiMacPiece whole = {in, inlen};

	if (mac->block != NULL && inlen <= BLOCK)
	{
		memset(out + BLOCK, 0, CPII_MAC_LEN - BLOCK);
		return one_block(mac, in, inlen, out);
	}
	return cpii_mac_pieces(mac, &whole, 1, out);
}

/* the hashes of ten texts of four digits, which differ in the last one */
static APART bool
make_fours(CpiiMac *mac, int group)
{
	unsigned char text[4] = {(unsigned char) ('0' + group / 100),
		(unsigned char) ('0' + group / 10 % 10), (unsigned char) ('0' + group % 10)};
	unsigned char blocks[TOGETHER * BLOCK];
	int			len;
	bool		ok;

	for (int i = 0; i < TOGETHER; i++)
	{
		text[3] = (unsigned char) ('0' + i);
		last_block(mac, text, sizeof(text), blocks + (size_t) i * BLOCK);
	}
	ok = EVP_EncryptUpdate(mac->block, blocks, &len, blocks, sizeof(blocks)) == 1 &&
		len == sizeof(blocks);
	if (ok)
		for (int i = 0; i < TOGETHER; i++)
			mac->fours->heads[group * TOGETHER + i] = cpii_load4(blocks + (size_t) i * BLOCK);
	cpii_wipe(blocks, sizeof(blocks));
	mac->fours->known[group] = ok;
	return ok;
}

static APART bool
made_head(CpiiMac *mac, const unsigned char *in, size_t inlen,
		  unsigned char out[CPII_MAC_HEAD_LEN])
{
	unsigned char full[CPII_MAC_LEN];

	if (!cpii_mac(mac, in, inlen, full))
		return false;
	cpii_store4(out, cpii_load4(full));
	return true;
}

bool
cpii_mac_head(CpiiMac *mac, const unsigned char *in, size_t inlen,
			  unsigned char out[CPII_MAC_HEAD_LEN])
{
	if (inlen == 4 && mac->block != NULL)
	{
		uint32_t	text = cpii_load4(in);

		/* a digit is 3x, and still is when six are added */
		if ((text & (text + UINT32_C(0x06060606)) & UINT32_C(0xF0F0F0F0)) ==
			UINT32_C(0x30303030))
		{
			int			group = (int) ((text & 15) * 100 + (text >> 8 & 15) * 10 +
									   (text >> 16 & 15));

			if (mac->fours == NULL && ++mac->alone > FOURS_ALONE)
				mac->fours = calloc(1, sizeof(Fours));
			if (mac->fours != NULL &&
				(mac->fours->known[group] || make_fours(mac, group)))
			{
				cpii_store4(out, mac->fours->heads[group * TOGETHER + (text >> 24 & 15)]);
				return true;
			}
		}
	}
	return made_head(mac, in, inlen, out);
}

bool
cpii_mac_begin(CpiiMac *mac, const unsigned char *in, size_t inlen)
{
	return EVP_MAC_init(mac->ctx, NULL, 0, NULL) == 1 &&
		EVP_MAC_update(mac->ctx, in, inlen) == 1;
}

bool
cpii_mac_end(CpiiMac *mac, const unsigned char *in, size_t inlen,
			 unsigned char out[CPII_MAC_LEN])
{
	size_t		outlen;

	if ((inlen > 0 && EVP_MAC_update(mac->ctx, in, inlen) != 1) ||
		EVP_MAC_final(mac->ctx, out, &outlen, CPII_MAC_LEN) != 1)
		return false;
	memset(out + outlen, 0, CPII_MAC_LEN - outlen);
	return true;
}

bool
cpii_mac_once(const unsigned char *key, const unsigned char *in, size_t inlen,
			  unsigned char out[CPII_MAC_LEN])
{
	CpiiMac    *mac = cpii_mac_new(key, CPII_MAC_LEN);
	bool		ok = mac != NULL && cpii_mac(mac, in, inlen, out);

	cpii_mac_free(mac);
	return ok;
}
