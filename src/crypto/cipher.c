/*-------------------------------------------------------------------------
 *
 * cipher.c
 *	  AEAD, MAC, key derivation and nonces over OpenSSL's EVP.
 *
 * AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2), and
 * the suites of Chinese commercial cryptography: SM4 in counter mode with
 * HMAC-SM3 over the ciphertext, and SM4-GCM where OpenSSL has it.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/cipher.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <unistd.h>

#include <openssl/core_names.h>
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
	CpiiMac    *mac;			/* of suites that are cipher and MAC */
};

struct CpiiMac
{
	EVP_MAC_CTX *ctx;
};

typedef struct SuiteInfo
{
	const char *name;
	const char *algorithm;		/* of EVP_CIPHER_fetch */
	int			keylen;			/* bytes of the data key that the cipher takes */
	bool		aead;
	EVP_CIPHER *cipher;			/* fetched once */
	bool		probed;
} SuiteInfo;

/* by suite number; number 0 is unused */
static SuiteInfo suites[CPII_SUITE_LAST + 1] = {
	{NULL, NULL, 0, false, NULL, true},
	{"AES-256-GCM", "AES-256-GCM", 32, true, NULL, false},
	{"SM4-CTR-HMAC-SM3", "SM4-CTR", 16, false, NULL, false},
	{"SM4-GCM", "SM4-GCM", 16, true, NULL, false},
};

#define NONCE_POOL_LEN 4096

static EVP_MAC *hmac_algorithm = NULL;

static unsigned char nonce_pool[NONCE_POOL_LEN];
static size_t nonce_pool_used = NONCE_POOL_LEN;
static pid_t nonce_pool_owner = 0;

static bool hkdf(const char *digest, const unsigned char *key, size_t keylen,
				 const unsigned char *salt, size_t saltlen,
				 const unsigned char *info, size_t infolen,
				 unsigned char out[CPII_KEY_LEN]);

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
	size_t		outlen;

	for (int i = 7; i >= 0; i--)
	{
		lengths[i] = (unsigned char) alen;
		lengths[8 + i] = (unsigned char) tlen;
		alen >>= 8;
		tlen >>= 8;
	}
	if (EVP_MAC_init(mac->ctx, NULL, 0, NULL) != 1 ||
		EVP_MAC_update(mac->ctx, aad, aadlen) != 1 ||
		(aad2len > 0 && EVP_MAC_update(mac->ctx, aad2, aad2len) != 1) ||
		EVP_MAC_update(mac->ctx, nonce, CPII_NONCE_LEN) != 1 ||
		(textlen > 0 && EVP_MAC_update(mac->ctx, text, textlen) != 1) ||
		EVP_MAC_update(mac->ctx, lengths, sizeof(lengths)) != 1 ||
		EVP_MAC_final(mac->ctx, full, &outlen, sizeof(full)) != 1)
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

bool
cpii_cipher_seal(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 unsigned char *out, unsigned char tag[CPII_AEAD_TAG_LEN])
{
	int			len;
	unsigned char dummy[16];

	if (cipher->mac != NULL)
		return counter_mode(cipher->enc, nonce, in, inlen, out) &&
			outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					  out, inlen, tag);
	if (EVP_EncryptInit_ex2(cipher->enc, NULL, NULL, nonce, NULL) != 1 ||
		EVP_EncryptUpdate(cipher->enc, NULL, &len, aad, (int) aadlen) != 1)
		return false;
	if (aad2len > 0 &&
		EVP_EncryptUpdate(cipher->enc, NULL, &len, aad2, (int) aad2len) != 1)
		return false;
	if (inlen > 0 &&
		EVP_EncryptUpdate(cipher->enc, out, &len, in, (int) inlen) != 1)
		return false;
	return EVP_EncryptFinal_ex(cipher->enc, dummy, &len) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher->enc, EVP_CTRL_AEAD_GET_TAG,
							CPII_AEAD_TAG_LEN, tag) == 1;
}

/* both parts of the associated data; in one call when they are short */
static bool
open_aad(EVP_CIPHER_CTX *ctx, const unsigned char *aad, size_t aadlen,
		 const unsigned char *aad2, size_t aad2len)
{
	unsigned char both[64];
	int			len;

	if (aadlen + aad2len <= sizeof(both))
	{
		memcpy(both, aad, aadlen);
		if (aad2len > 0)
			memcpy(both + aadlen, aad2, aad2len);
		return EVP_DecryptUpdate(ctx, NULL, &len, both, (int) (aadlen + aad2len)) == 1;
	}
	return EVP_DecryptUpdate(ctx, NULL, &len, aad, (int) aadlen) == 1 &&
		(aad2len == 0 ||
		 EVP_DecryptUpdate(ctx, NULL, &len, aad2, (int) aad2len) == 1);
}

bool
cpii_cipher_open(CpiiCipher *cipher, const unsigned char nonce[CPII_NONCE_LEN],
				 const unsigned char *aad, size_t aadlen,
				 const unsigned char *aad2, size_t aad2len,
				 const unsigned char *in, size_t inlen,
				 const unsigned char tag[CPII_AEAD_TAG_LEN],
				 unsigned char *out)
{
	int			len;
	unsigned char dummy[16];

	if (cipher->mac != NULL)
	{
		/* nothing is decrypted before its tag is known to be right */
		if (outer_mac(cipher->mac, nonce, aad, aadlen, aad2, aad2len,
					  in, inlen, dummy) &&
			cpii_secret_equal(dummy, tag, CPII_AEAD_TAG_LEN) &&
			counter_mode(cipher->enc, nonce, in, inlen, out))
			return true;
	}
	else if (EVP_DecryptInit_ex2(cipher->dec, NULL, NULL, nonce, NULL) == 1 &&
			 open_aad(cipher->dec, aad, aadlen, aad2, aad2len) &&
			 (inlen == 0 ||
			  EVP_DecryptUpdate(cipher->dec, out, &len, in, (int) inlen) == 1))
	{
		/* the control function would take twice as long */
		OSSL_PARAM	params[2];

		params[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG,
													  (void *) tag, CPII_AEAD_TAG_LEN);
		params[1] = OSSL_PARAM_construct_end();
		if (EVP_CIPHER_CTX_set_params(cipher->dec, params) == 1 &&
			EVP_DecryptFinal_ex(cipher->dec, dummy, &len) == 1)
			return true;
	}
	cpii_wipe(out, inlen);
	return false;
}

CpiiMac *
cpii_mac_new_digest(CpiiDigest digest, const unsigned char *key, size_t keylen)
{
	CpiiMac    *mac;
	OSSL_PARAM	params[2];

	if (hmac_algorithm == NULL)
		hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (hmac_algorithm == NULL)
		return NULL;
	mac = calloc(1, sizeof(CpiiMac));
	if (mac == NULL)
		return NULL;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
												 digest == CPII_DIGEST_SM3 ?
												 (char *) "SM3" : (char *) "SHA256", 0);
	params[1] = OSSL_PARAM_construct_end();
	mac->ctx = EVP_MAC_CTX_new(hmac_algorithm);
	if (mac->ctx == NULL || EVP_MAC_init(mac->ctx, key, keylen, params) != 1)
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
	EVP_MAC_CTX_free(mac->ctx);
	free(mac);
}

bool
cpii_mac(CpiiMac *mac, const unsigned char *in, size_t inlen,
		 unsigned char out[CPII_MAC_LEN])
{
	return cpii_mac_begin(mac, in, inlen) && cpii_mac_end(mac, NULL, 0, out);
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

	return (inlen == 0 || EVP_MAC_update(mac->ctx, in, inlen) == 1) &&
		EVP_MAC_final(mac->ctx, out, &outlen, CPII_MAC_LEN) == 1;
}

bool
cpii_mac_once(const unsigned char key[CPII_KEY_LEN], const unsigned char *in,
			  size_t inlen, unsigned char out[CPII_MAC_LEN])
{
	CpiiMac    *mac = cpii_mac_new(key, CPII_KEY_LEN);
	bool		ok = mac != NULL && cpii_mac(mac, in, inlen, out);

	cpii_mac_free(mac);
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

bool
cpii_nonce(unsigned char out[CPII_NONCE_LEN])
{
	pid_t		me = getpid();

	if (nonce_pool_owner != me ||
		nonce_pool_used + CPII_NONCE_LEN > NONCE_POOL_LEN)
	{
		if (!cpii_random(nonce_pool, NONCE_POOL_LEN))
			return false;
		nonce_pool_owner = me;
		nonce_pool_used = 0;
	}
	memcpy(out, nonce_pool + nonce_pool_used, CPII_NONCE_LEN);
	cpii_wipe(nonce_pool + nonce_pool_used, CPII_NONCE_LEN);
	nonce_pool_used += CPII_NONCE_LEN;
	return true;
}
