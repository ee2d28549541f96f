/*-------------------------------------------------------------------------
 *
 * cipher.c
 *	  AEAD, key derivation and nonces over OpenSSL's EVP.
 *
 * AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2), and
 * the suites of Chinese commercial cryptography: SM4 in counter mode with
 * HMAC-SM3 over the ciphertext, and SM4-GCM where OpenSSL has it.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/cipher.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/secret.h"

struct CpiiCipher
{
	CpiiSuite	suite;
	EVP_CIPHER_CTX *enc;
	EVP_CIPHER_CTX *dec;
	bool		short_way;
	/* see nonce_param(): made once, only the places of the bytes change */
	OSSL_PARAM	enc_nonce[2];
	OSSL_PARAM	enc_tag[2];
	OSSL_PARAM	dec_nonce[3];	/* tag, nonce */
	CpiiMac    *mac;			/* of suites that are cipher and MAC */
};

typedef struct SuiteInfo
{
	const char *name;
	const char *algorithm;		/* of EVP_CIPHER_fetch */
	int			keylen;			/* bytes of the data key that the cipher takes */
	bool		aead;
	EVP_CIPHER *cipher;			/* fetched once */
	bool		probed;
	bool		short_way;		/* see nonce_param(); probed with the cipher */
} SuiteInfo;

/* by suite number; number 0 is unused */
static SuiteInfo suites[CPII_SUITE_LAST + 1] = {
	{NULL, NULL, 0, false, NULL, true, false},
	{"AES-256-GCM", "AES-256-GCM", 32, true, NULL, false, false},
	{"SM4-CTR-HMAC-SM3", "SM4-CTR", 16, false, NULL, false, false},
	{"SM4-GCM", "SM4-GCM", 16, true, NULL, false, false},
};

#define NONCE_POOL_LEN 4096

static unsigned char nonce_pool[NONCE_POOL_LEN];
static size_t nonce_pool_used = NONCE_POOL_LEN;

static bool hkdf(const char *digest, const unsigned char *key, size_t keylen,
				 const unsigned char *salt, size_t saltlen,
				 const unsigned char *info, size_t infolen,
				 unsigned char out[CPII_KEY_LEN]);

/*
 * Parameters that set the nonce of a GCM context, and the tag that is expected.
 *
 * The usual call, EVP_CipherInit_ex2, asks the cipher for the length of its
 * nonce through a list of parameters, which takes a third of what opening a
 * short value takes.  GCM takes a whole nonce as a parameter too: the "fixed"
 * part with the length -1 (EVP_CTRL_AEAD_SET_IV_FIXED).  A context whose nonce
 * was used up refuses to go on without a new one, so a nonce that was not
 * taken can never mean that the last one is used again.
 */
static OSSL_PARAM
nonce_param(const unsigned char *nonce)
{
	return OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED,
											 (void *) nonce, (size_t) -1);
}

static OSSL_PARAM
tag_param(const unsigned char *tag)
{
	return OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG,
											 (void *) tag, CPII_AEAD_TAG_LEN);
}

/* one text by each way: the same, and no second text without a new nonce? */
static bool
same_both_ways(EVP_CIPHER_CTX *usual, EVP_CIPHER_CTX *brief,
			   const unsigned char nonce[CPII_NONCE_LEN])
{
	static const unsigned char text[20] = {1, 2, 3};
	OSSL_PARAM	params[2];
	unsigned char a[48];
	unsigned char b[48];
	unsigned char tag_a[CPII_AEAD_TAG_LEN];
	unsigned char tag_b[CPII_AEAD_TAG_LEN];
	int			len;

	params[0] = nonce_param(nonce);
	params[1] = OSSL_PARAM_construct_end();
	return EVP_EncryptInit_ex2(usual, NULL, NULL, nonce, NULL) == 1 &&
		EVP_CIPHER_CTX_set_params(brief, params) == 1 &&
		EVP_EncryptUpdate(usual, a, &len, text, sizeof(text)) == 1 &&
		EVP_EncryptUpdate(brief, b, &len, text, sizeof(text)) == 1 &&
		EVP_EncryptFinal_ex(usual, a + sizeof(text), &len) == 1 &&
		EVP_EncryptFinal_ex(brief, b + sizeof(text), &len) == 1 &&
		EVP_CIPHER_CTX_ctrl(usual, EVP_CTRL_AEAD_GET_TAG, sizeof(tag_a), tag_a) == 1 &&
		EVP_CIPHER_CTX_ctrl(brief, EVP_CTRL_AEAD_GET_TAG, sizeof(tag_b), tag_b) == 1 &&
		memcmp(a, b, sizeof(text)) == 0 &&
		memcmp(tag_a, tag_b, sizeof(tag_a)) == 0 &&
		EVP_EncryptUpdate(brief, b, &len, text, sizeof(text)) != 1;
}

/* does this library take nonces by nonce_param()? */
static bool
short_way_works(const SuiteInfo *info)
{
	static const unsigned char key[CPII_KEY_LEN] = {7};
	EVP_CIPHER_CTX *usual = EVP_CIPHER_CTX_new();
	EVP_CIPHER_CTX *brief = EVP_CIPHER_CTX_new();
	unsigned char nonce[CPII_NONCE_LEN];
	bool		ok;

	ok = usual != NULL && brief != NULL &&
		EVP_EncryptInit_ex2(usual, info->cipher, key, NULL, NULL) == 1 &&
		EVP_EncryptInit_ex2(brief, info->cipher, key, NULL, NULL) == 1;
	for (int i = 0; ok && i < 4; i++)
	{
		memset(nonce, i * 37, sizeof(nonce));
		ok = same_both_ways(usual, brief, nonce);
	}
	EVP_CIPHER_CTX_free(usual);
	EVP_CIPHER_CTX_free(brief);
	/* a refusal was asked for; nobody is to find its message */
	ERR_clear_error();
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
		info->short_way = info->cipher != NULL && info->aead &&
			short_way_works(info);
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
	cipher->short_way = info->short_way;
	cipher->enc_nonce[0] = nonce_param(NULL);
	cipher->enc_nonce[1] = OSSL_PARAM_construct_end();
	cipher->enc_tag[0] = tag_param(NULL);
	cipher->enc_tag[1] = OSSL_PARAM_construct_end();
	cipher->dec_nonce[0] = tag_param(NULL);
	cipher->dec_nonce[1] = nonce_param(NULL);
	cipher->dec_nonce[2] = OSSL_PARAM_construct_end();
	cipher->enc = EVP_CIPHER_CTX_new();
	cipher->dec = EVP_CIPHER_CTX_new();
	ok = cipher->enc != NULL && cipher->dec != NULL &&
		cipher_keys(suite, key, cipher_key, mac_key) &&
		EVP_EncryptInit_ex2(cipher->enc, info->cipher, cipher_key, NULL, NULL) == 1 &&
		EVP_DecryptInit_ex2(cipher->dec, info->cipher, cipher_key, NULL, NULL) == 1;
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

typedef int (*Update) (EVP_CIPHER_CTX *ctx, unsigned char *out, int *outlen,
					   const unsigned char *in, int inlen);

/* both parts of the associated data; in one call when they are short */
static inline bool
put_aad(EVP_CIPHER_CTX *ctx, Update update, const unsigned char *aad,
		size_t aadlen, const unsigned char *aad2, size_t aad2len)
{
	unsigned char both[64];
	int			len;

	if (aadlen + aad2len <= sizeof(both))
	{
		memcpy(both, aad, aadlen);
		if (aad2len > 0)
			memcpy(both + aadlen, aad2, aad2len);
		return update(ctx, NULL, &len, both, (int) (aadlen + aad2len)) == 1;
	}
	return update(ctx, NULL, &len, aad, (int) aadlen) == 1 &&
		(aad2len == 0 || update(ctx, NULL, &len, aad2, (int) aad2len) == 1);
}

bool
cpii_cipher_seal(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 unsigned char *out, unsigned char tag[CPII_AEAD_TAG_LEN])
{
	unsigned char dummy[16];
	int			len;

	if (cipher->mac != NULL)
		return counter_mode(cipher->enc, nonce, in, inlen, out) &&
			outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					  out, inlen, tag);
	cipher->enc_nonce[0].data = (void *) nonce;
	/* the control function would take longer */
	cipher->enc_tag[0].data = tag;
	return (cipher->short_way ?
			EVP_CIPHER_CTX_set_params(cipher->enc, cipher->enc_nonce) == 1 :
			EVP_EncryptInit_ex2(cipher->enc, NULL, NULL, nonce, NULL) == 1) &&
		put_aad(cipher->enc, EVP_EncryptUpdate, aad, aadlen, aad2, aad2len) &&
		(inlen == 0 ||
		 EVP_EncryptUpdate(cipher->enc, out, &len, in, (int) inlen) == 1) &&
		EVP_EncryptFinal_ex(cipher->enc, dummy, &len) == 1 &&
		EVP_CIPHER_CTX_get_params(cipher->enc, cipher->enc_tag) == 1;
}

/* set the nonce, and the tag that is to come out */
static inline bool
expect(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
	   const unsigned char tag[CPII_AEAD_TAG_LEN])
{
	OSSL_PARAM	params[2];

	if (cipher->short_way)
	{
		cipher->dec_nonce[0].data = (void *) tag;
		cipher->dec_nonce[1].data = (void *) nonce;
		return EVP_CIPHER_CTX_set_params(cipher->dec, cipher->dec_nonce) == 1;
	}
	params[0] = tag_param(tag);
	params[1] = OSSL_PARAM_construct_end();
	return EVP_DecryptInit_ex2(cipher->dec, NULL, NULL, nonce, params) == 1;
}

bool
cpii_cipher_open(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 const unsigned char tag[CPII_AEAD_TAG_LEN],
				 unsigned char *out)
{
	unsigned char dummy[16];
	int			len;

	if (cipher->mac != NULL)
	{
		/* nothing is decrypted before its tag is known to be right */
		if (outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					  in, inlen, dummy) &&
			cpii_secret_equal(dummy, tag, CPII_AEAD_TAG_LEN) &&
			counter_mode(cipher->enc, nonce, in, inlen, out))
			return true;
	}
	else if (expect(cipher, nonce, tag) &&
			 put_aad(cipher->dec, EVP_DecryptUpdate, aad, aadlen, aad2, aad2len) &&
			 (inlen == 0 ||
			  EVP_DecryptUpdate(cipher->dec, out, &len, in, (int) inlen) == 1) &&
			 EVP_DecryptFinal_ex(cipher->dec, dummy, &len) == 1)
		return true;
	cpii_wipe(out, inlen);
	return false;
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

/* a child must not use what its parent will use too */
static void
drop_nonce_pool(void)
{
	nonce_pool_used = NONCE_POOL_LEN;
	cpii_wipe(nonce_pool, NONCE_POOL_LEN);
}

bool
cpii_nonce(unsigned char out[CPII_NONCE_LEN])
{
	static bool watching_fork = false;

	if (nonce_pool_used + CPII_NONCE_LEN > NONCE_POOL_LEN)
	{
		if (!watching_fork &&
			pthread_atfork(NULL, NULL, drop_nonce_pool) != 0)
			return false;
		watching_fork = true;
		if (!cpii_random(nonce_pool, NONCE_POOL_LEN))
			return false;
		nonce_pool_used = 0;
	}
	memcpy(out, nonce_pool + nonce_pool_used, CPII_NONCE_LEN);
	cpii_wipe(nonce_pool + nonce_pool_used, CPII_NONCE_LEN);
	nonce_pool_used += CPII_NONCE_LEN;
	return true;
}
