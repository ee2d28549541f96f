/*-------------------------------------------------------------------------
 *
 * cipher.c
 *	  AEAD and key derivation over OpenSSL.
 *
 * AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2), and
 * the suites of Chinese commercial cryptography: SM4 in counter mode with
 * HMAC-SM3 over the ciphertext, and SM4-GCM where OpenSSL has it.  GCM of
 * short texts is in gcm.c.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/cipher.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "base/secret.h"
#include "base/words.h"
#include "crypto/gcm.h"

struct CpiiCipher
{
	CpiiSuite	suite;
	EVP_CIPHER_CTX *enc;
	EVP_CIPHER_CTX *dec;
	CpiiGcm    *gcm;			/* GCM of short texts; may be NULL */
	CpiiMac    *mac;			/* of suites that are cipher and MAC */
};

typedef struct SuiteInfo
{
	const char *name;
	const char *algorithm;		/* of EVP_CIPHER_fetch */
	const char *block_algorithm;	/* of GCM: the block cipher alone */
	int			keylen;			/* bytes of the data key that the cipher takes */
	bool		aead;
	EVP_CIPHER *cipher;			/* fetched once */
	EVP_CIPHER *block_cipher;	/* likewise; NULL: use EVP's GCM for all texts */
	bool		probed;
} SuiteInfo;

/* by suite number; number 0 is unused */
static SuiteInfo suites[CPII_SUITE_LAST + 1] = {
	{NULL, NULL, NULL, 0, false, NULL, NULL, true},
	{"AES-256-GCM", "AES-256-GCM", "AES-256-ECB", 32, true, NULL, NULL, false},
	{"SM4-CTR-HMAC-SM3", "SM4-CTR", NULL, 16, false, NULL, NULL, false},
	{"SM4-GCM", "SM4-GCM", "SM4-ECB", 16, true, NULL, NULL, false},
};

static bool hkdf(const char *digest, const unsigned char *key, size_t keylen,
				 const unsigned char *salt, size_t saltlen,
				 const unsigned char *info, size_t infolen,
				 unsigned char out[CPII_KEY_LEN]);

/* GCM of a text of any length by EVP */
static bool
long_seal(EVP_CIPHER_CTX *ctx, const unsigned char nonce[CPII_NONCE_LEN],
		  const unsigned char *aad, size_t aadlen,
		  const unsigned char *aad2, size_t aad2len,
		  const unsigned char *in, size_t inlen,
		  unsigned char *out, unsigned char tag[CPII_AEAD_TAG_LEN])
{
	unsigned char dummy[16];
	int			len;

	return EVP_EncryptInit_ex2(ctx, NULL, NULL, nonce, NULL) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &len, aad, (int) aadlen) == 1 &&
		(aad2len == 0 || EVP_EncryptUpdate(ctx, NULL, &len, aad2, (int) aad2len) == 1) &&
		(inlen == 0 || EVP_EncryptUpdate(ctx, out, &len, in, (int) inlen) == 1) &&
		EVP_EncryptFinal_ex(ctx, dummy, &len) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CPII_AEAD_TAG_LEN, tag) == 1;
}

static bool
long_open(EVP_CIPHER_CTX *ctx, const unsigned char nonce[CPII_NONCE_LEN],
		  const unsigned char *aad, size_t aadlen,
		  const unsigned char *aad2, size_t aad2len,
		  const unsigned char *in, size_t inlen,
		  const unsigned char tag[CPII_AEAD_TAG_LEN], unsigned char *out)
{
	unsigned char dummy[16];
	int			len;

	return EVP_DecryptInit_ex2(ctx, NULL, NULL, nonce, NULL) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &len, aad, (int) aadlen) == 1 &&
		(aad2len == 0 || EVP_DecryptUpdate(ctx, NULL, &len, aad2, (int) aad2len) == 1) &&
		(inlen == 0 || EVP_DecryptUpdate(ctx, out, &len, in, (int) inlen) == 1) &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, CPII_AEAD_TAG_LEN,
							(void *) tag) == 1 &&
		EVP_DecryptFinal_ex(ctx, dummy, &len) == 1;
}

/*
 * GCM by gcm.c is for OpenSSL's own provider: one that was certified, or sits
 * in hardware, is used for what it is there for.
 */
static bool
is_default_provider(const EVP_CIPHER *cipher)
{
	const OSSL_PROVIDER *provider = EVP_CIPHER_get0_provider(cipher);
	const char *name = provider ? OSSL_PROVIDER_get0_name(provider) : NULL;

	return name != NULL && strcmp(name, "default") == 0;
}

/* two blocks and a bit sealed by each way: the same? */
static bool
same_as_evp(const SuiteInfo *info)
{
	static const unsigned char key[CPII_KEY_LEN] = {7};
	static const unsigned char nonce[CPII_NONCE_LEN] = {5};
	static const unsigned char text[37] = {1, 2, 3};
	unsigned char a[sizeof(text)];
	unsigned char b[sizeof(text)];
	unsigned char tag_a[CPII_AEAD_TAG_LEN];
	unsigned char tag_b[CPII_AEAD_TAG_LEN];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	CpiiGcm    *gcm = cpii_gcm_new(info->block_cipher, key);
	bool		ok;

	ok = ctx != NULL && gcm != NULL &&
		EVP_EncryptInit_ex2(ctx, info->cipher, key, NULL, NULL) == 1 &&
		long_seal(ctx, nonce, key, sizeof(key), NULL, 0, text, sizeof(text), a, tag_a) &&
		cpii_gcm_seal(gcm, nonce, key, sizeof(key), text, sizeof(text), b, tag_b) &&
		memcmp(a, b, sizeof(text)) == 0 &&
		memcmp(tag_a, tag_b, sizeof(tag_a)) == 0;
	EVP_CIPHER_CTX_free(ctx);
	cpii_gcm_free(gcm);
	return ok;
}

static SuiteInfo *
suite_info(int suite)
{
	SuiteInfo  *info;

	if (suite < CPII_SUITE_FIRST || suite > CPII_SUITE_LAST)
		return NULL;
	info = &suites[suite];
	if (!info->probed)
	{
		info->cipher = EVP_CIPHER_fetch(NULL, info->algorithm, NULL);
		if (info->cipher != NULL && !info->aead)
		{
			/* the other half of the suite must be there too */
			EVP_MD	   *md = EVP_MD_fetch(NULL, "SM3", NULL);

			if (md == NULL)
			{
				EVP_CIPHER_free(info->cipher);
				info->cipher = NULL;
			}
			EVP_MD_free(md);
		}
		if (info->cipher != NULL && info->aead && is_default_provider(info->cipher))
			info->block_cipher = EVP_CIPHER_fetch(NULL, info->block_algorithm, NULL);
		if (info->block_cipher != NULL && !same_as_evp(info))
		{
			EVP_CIPHER_free(info->block_cipher);
			info->block_cipher = NULL;
		}
		/* what is not offered is no error */
		ERR_clear_error();
		info->probed = true;
	}
	return info;
}

bool
cpii_suite_available(CpiiSuite suite)
{
	SuiteInfo  *info = suite_info(suite);

	return info != NULL && info->cipher != NULL;
}

const char *
cpii_suite_name(int suite)
{
	return suite < CPII_SUITE_FIRST || suite > CPII_SUITE_LAST ?
		NULL : suites[suite].name;
}

int
cpii_suite_by_name(const char *name)
{
	for (int i = CPII_SUITE_FIRST; i <= CPII_SUITE_LAST; i++)
		if (strcasecmp(name, suites[i].name) == 0)
			return i;
	return 0;
}

/*
 * The data key is 32 bytes for every suite.  AES takes it as it is; SM4, which
 * has keys of 16 bytes, gets subkeys derived with SM3, one for each half.
 */
static bool
cipher_keys(CpiiSuite suite, const unsigned char key[CPII_KEY_LEN],
			unsigned char cipher_key[CPII_KEY_LEN],
			unsigned char mac_key[CPII_KEY_LEN])
{
	static const unsigned char ctr[] = "courier_pii SM4-CTR";
	static const unsigned char mac[] = "courier_pii HMAC-SM3";
	static const unsigned char gcm[] = "courier_pii SM4-GCM";
	static const unsigned char salt[] = "courier_pii";

	switch (suite)
	{
		case CPII_SUITE_AES_256_GCM:
			memcpy(cipher_key, key, CPII_KEY_LEN);
			return true;
		case CPII_SUITE_SM4_CTR_HMAC_SM3:
			return hkdf("SM3", key, CPII_KEY_LEN, salt, sizeof(salt) - 1,
						ctr, sizeof(ctr) - 1, cipher_key) &&
				hkdf("SM3", key, CPII_KEY_LEN, salt, sizeof(salt) - 1,
					 mac, sizeof(mac) - 1, mac_key);
		case CPII_SUITE_SM4_GCM:
			return hkdf("SM3", key, CPII_KEY_LEN, salt, sizeof(salt) - 1,
						gcm, sizeof(gcm) - 1, cipher_key);
	}
	return false;
}

CpiiCipher *
cpii_cipher_new(CpiiSuite suite, const unsigned char key[CPII_KEY_LEN])
{
	SuiteInfo  *info = suite_info(suite);
	CpiiCipher *cipher;
	unsigned char cipher_key[CPII_KEY_LEN];
	unsigned char mac_key[CPII_KEY_LEN];
	bool		ok;

	if (info == NULL || info->cipher == NULL)
		return NULL;
	cipher = calloc(1, sizeof(CpiiCipher));
	if (cipher == NULL)
		return NULL;
	cipher->suite = suite;
	cipher->enc = EVP_CIPHER_CTX_new();
	cipher->dec = EVP_CIPHER_CTX_new();
	ok = cipher->enc != NULL && cipher->dec != NULL &&
		cipher_keys(suite, key, cipher_key, mac_key) &&
		EVP_EncryptInit_ex2(cipher->enc, info->cipher, cipher_key, NULL, NULL) == 1 &&
		EVP_DecryptInit_ex2(cipher->dec, info->cipher, cipher_key, NULL, NULL) == 1;
	if (ok && info->block_cipher != NULL)
	{
		cipher->gcm = cpii_gcm_new(info->block_cipher, cipher_key);
		ok = cipher->gcm != NULL;
	}
	if (ok && !info->aead)
	{
		cipher->mac = cpii_mac_new_digest(CPII_DIGEST_SM3, mac_key, sizeof(mac_key));
		ok = cipher->mac != NULL;
	}
	cpii_wipe(cipher_key, sizeof(cipher_key));
	cpii_wipe(mac_key, sizeof(mac_key));
	if (!ok)
	{
		cpii_cipher_free(cipher);
		return NULL;
	}
	return cipher;
}

void
cpii_cipher_free(CpiiCipher *cipher)
{
	if (cipher == NULL)
		return;
	/* OpenSSL wipes key schedules when it frees a context */
	EVP_CIPHER_CTX_free(cipher->enc);
	EVP_CIPHER_CTX_free(cipher->dec);
	cpii_gcm_free(cipher->gcm);
	cpii_mac_free(cipher->mac);
	free(cipher);
}

CpiiSuite
cpii_cipher_suite(const CpiiCipher *cipher)
{
	return cipher->suite;
}

/*
 * Tag of encrypt-then-MAC: the first 16 bytes of HMAC-SM3 over both parts of
 * the associated data, nonce, ciphertext, and the lengths of associated data
 * and ciphertext (8 bytes each), so that no byte can change sides.
 */
static bool
outer_mac(CpiiMac *mac, const unsigned char nonce[CPII_NONCE_LEN],
		  const unsigned char *aad, size_t aadlen,
		  const unsigned char *aad2, size_t aad2len,
		  const unsigned char *text, size_t textlen,
		  unsigned char tag[CPII_AEAD_TAG_LEN])
{
	unsigned char lengths[16];
	unsigned char full[CPII_MAC_LEN];
	uint64_t	alen = (uint64_t) aadlen + aad2len;
	uint64_t	tlen = textlen;
	CpiiMacPiece pieces[] = {
		{aad, aadlen}, {aad2, aad2len}, {nonce, CPII_NONCE_LEN},
		{text, textlen}, {lengths, sizeof(lengths)},
	};

	for (int i = 7; i >= 0; i--)
	{
		lengths[i] = (unsigned char) alen;
		lengths[8 + i] = (unsigned char) tlen;
		alen >>= 8;
		tlen >>= 8;
	}
	if (!cpii_mac_pieces(mac, pieces, 5, full))
		return false;
	memcpy(tag, full, CPII_AEAD_TAG_LEN);
	return true;
}

/* counter mode in either direction: the nonce and a block counter from 0 */
static bool
counter_mode(EVP_CIPHER_CTX *ctx, const unsigned char nonce[CPII_NONCE_LEN],
			 const unsigned char *in, size_t inlen, unsigned char *out)
{
	unsigned char iv[16] = {0};
	int			len;

	memcpy(iv, nonce, CPII_NONCE_LEN);
	return EVP_EncryptInit_ex2(ctx, NULL, NULL, iv, NULL) == 1 &&
		(inlen == 0 || EVP_EncryptUpdate(ctx, out, &len, in, (int) inlen) == 1);
}

/* both parts of the associated data in one piece, NULL when they are too long */
#define AAD_ROOM 64
#define BLOCK 16

static inline const unsigned char *
join_aad(const unsigned char *aad, size_t aadlen, const unsigned char *aad2,
		 size_t aad2len, unsigned char room[AAD_ROOM])
{
	if (aad2len == 0)
		return aad;
	if (aadlen + aad2len > AAD_ROOM)
		return NULL;
	if (aadlen > BLOCK && aadlen < BLOCK + 8 && aad2len == BLOCK)
	{
		/* of sealed values with search tags; whole blocks are stored at once */
		int			bits = 8 * (int) (aadlen - BLOCK);
		uint64_t	low = cpii_load8(aad2);
		uint64_t	high = cpii_load8(aad2 + 8);

		cpii_store16(room, cpii_load8(aad), cpii_load8(aad + 8));
		cpii_store16(room + BLOCK,
					 cpii_load8(aad + aadlen - 8) >> (64 - bits) | low << bits,
					 low >> (64 - bits) | high << bits);
		cpii_store8(room + 2 * BLOCK, high >> (64 - bits));
		return room;
	}
	memcpy(room, aad, aadlen);
	memcpy(room + aadlen, aad2, aad2len);
	return room;
}

bool
cpii_cipher_seal_fresh(CpiiCipher *cipher, const unsigned char *aad, size_t aadlen,
					   const unsigned char *in, size_t inlen, unsigned char *out)
{
	if (cipher->gcm != NULL && inlen <= CPII_GCM_TEXT_MAX && aadlen <= AAD_ROOM)
		return cpii_gcm_seal_fresh(cipher->gcm, aad, aadlen, in, inlen, out);
	return cpii_nonce(out) &&
		cpii_cipher_seal(cipher, out, aad, aadlen, NULL, 0, in, inlen,
						 out + CPII_NONCE_LEN, out + CPII_NONCE_LEN + inlen);
}

bool
cpii_cipher_seal(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 unsigned char *out, unsigned char tag[CPII_AEAD_TAG_LEN])
{
	unsigned char room[AAD_ROOM];
	const unsigned char *joined;

	if (cipher->mac != NULL)
		return counter_mode(cipher->enc, nonce, in, inlen, out) &&
			outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					  out, inlen, tag);
	if (cipher->gcm != NULL && inlen <= CPII_GCM_TEXT_MAX &&
		(joined = join_aad(aad, aadlen, aad2, aad2len, room)) != NULL)
		return cpii_gcm_seal(cipher->gcm, nonce, joined, aadlen + aad2len,
							 in, inlen, out, tag);
	return long_seal(cipher->enc, nonce, aad, aadlen, aad2, aad2len,
					 in, inlen, out, tag);
}

bool
cpii_cipher_open(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 const unsigned char tag[CPII_AEAD_TAG_LEN],
				 unsigned char *out)
{
	unsigned char room[AAD_ROOM];
	unsigned char mac[CPII_AEAD_TAG_LEN];
	const unsigned char *joined;
	bool		ok;

	if (cipher->mac != NULL)
		/* nothing is decrypted before its tag is known to be right */
		ok = outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					   in, inlen, mac) &&
			cpii_secret_equal(mac, tag, CPII_AEAD_TAG_LEN) &&
			counter_mode(cipher->enc, nonce, in, inlen, out);
	else if (cipher->gcm != NULL && inlen <= CPII_GCM_TEXT_MAX &&
			 (joined = join_aad(aad, aadlen, aad2, aad2len, room)) != NULL)
		ok = cpii_gcm_open(cipher->gcm, nonce, joined, aadlen + aad2len,
						   in, inlen, tag, out);
	else
		ok = long_open(cipher->dec, nonce, aad, aadlen, aad2, aad2len,
					   in, inlen, tag, out);
	if (!ok)
		cpii_wipe(out, inlen);
	return ok;
}

static bool
hkdf(const char *digest, const unsigned char *key, size_t keylen,
	 const unsigned char *salt, size_t saltlen,
	 const unsigned char *info, size_t infolen,
	 unsigned char out[CPII_KEY_LEN])
{
	EVP_KDF    *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM	params[5];
	bool		ok;

	EVP_KDF_free(kdf);
	if (ctx == NULL)
		return false;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
												 (char *) digest, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
												  (void *) key, keylen);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
												  (void *) salt, saltlen);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
												  (void *) info, infolen);
	params[4] = OSSL_PARAM_construct_end();
	ok = EVP_KDF_derive(ctx, out, CPII_KEY_LEN, params) == 1;
	EVP_KDF_CTX_free(ctx);
	return ok;
}

bool
cpii_hkdf(const unsigned char *key, size_t keylen,
		  const unsigned char *salt, size_t saltlen,
		  const unsigned char *info, size_t infolen,
		  unsigned char out[CPII_KEY_LEN])
{
	return hkdf("SHA256", key, keylen, salt, saltlen, info, infolen, out);
}

bool
cpii_random(unsigned char *out, size_t len)
{
	return RAND_bytes(out, (int) len) == 1;
}
