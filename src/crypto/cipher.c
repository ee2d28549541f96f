/*-------------------------------------------------------------------------
 *
 * cipher.c
 *	  AEAD, MAC, key derivation and nonces over OpenSSL's EVP.
 *
 * AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2).
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/cipher.h"

#include <stdlib.h>
#include <string.h>
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
	EVP_CIPHER_CTX *enc;
	EVP_CIPHER_CTX *dec;
};

struct CpiiMac
{
	EVP_MAC_CTX *ctx;
};

#define NONCE_POOL_LEN 4096

static EVP_CIPHER *aes_256_gcm = NULL;
static EVP_MAC *hmac_algorithm = NULL;

static unsigned char nonce_pool[NONCE_POOL_LEN];
static size_t nonce_pool_used = NONCE_POOL_LEN;
static pid_t nonce_pool_owner = 0;

CpiiCipher *
cpii_cipher_new(CpiiSuite suite, const unsigned char key[CPII_KEY_LEN])
{
	CpiiCipher *cipher;

	if (suite != CPII_SUITE_AES_256_GCM)
		return NULL;
	if (aes_256_gcm == NULL)
		aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (aes_256_gcm == NULL)
		return NULL;

	cipher = calloc(1, sizeof(CpiiCipher));
	if (cipher == NULL)
		return NULL;
	cipher->enc = EVP_CIPHER_CTX_new();
	cipher->dec = EVP_CIPHER_CTX_new();
	if (cipher->enc == NULL || cipher->dec == NULL ||
		EVP_EncryptInit_ex2(cipher->enc, aes_256_gcm, key, NULL, NULL) != 1 ||
		EVP_DecryptInit_ex2(cipher->dec, aes_256_gcm, key, NULL, NULL) != 1)
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
	free(cipher);
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

	if (EVP_DecryptInit_ex2(cipher->dec, NULL, NULL, nonce, NULL) == 1 &&
		EVP_DecryptUpdate(cipher->dec, NULL, &len, aad, (int) aadlen) == 1 &&
		(aad2len == 0 ||
		 EVP_DecryptUpdate(cipher->dec, NULL, &len, aad2, (int) aad2len) == 1) &&
		(inlen == 0 ||
		 EVP_DecryptUpdate(cipher->dec, out, &len, in, (int) inlen) == 1) &&
		EVP_CIPHER_CTX_ctrl(cipher->dec, EVP_CTRL_AEAD_SET_TAG,
							CPII_AEAD_TAG_LEN, (void *) tag) == 1 &&
		EVP_DecryptFinal_ex(cipher->dec, dummy, &len) == 1)
		return true;
	cpii_wipe(out, inlen);
	return false;
}

CpiiMac *
cpii_mac_new(const unsigned char *key, size_t keylen)
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
												 "SHA256", 0);
	params[1] = OSSL_PARAM_construct_end();
	mac->ctx = EVP_MAC_CTX_new(hmac_algorithm);
	if (mac->ctx == NULL || EVP_MAC_init(mac->ctx, key, keylen, params) != 1)
	{
		cpii_mac_free(mac);
		return NULL;
	}
	return mac;
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
	size_t		outlen;

	return EVP_MAC_init(mac->ctx, NULL, 0, NULL) == 1 &&
		EVP_MAC_update(mac->ctx, in, inlen) == 1 &&
		EVP_MAC_final(mac->ctx, out, &outlen, CPII_MAC_LEN) == 1;
}

bool
cpii_hkdf(const unsigned char *key, size_t keylen,
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
												 "SHA256", 0);
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
