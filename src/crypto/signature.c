/*-------------------------------------------------------------------------
 *
 * signature.c
 *	  Ed25519 signatures (RFC 8032) and SHA-256 over OpenSSL's EVP.
 *
 * Pure.  A failure of the library reads as "does not verify".
 *
 *-------------------------------------------------------------------------
 */
#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/secret.h"
#include "crypto/signature.h"

bool
cpii_ed25519_verify(const unsigned char public_key[CPII_ED25519_KEY_LEN],
					const unsigned char *message, size_t len,
					const unsigned char signature[CPII_ED25519_SIGNATURE_LEN])
{
	EVP_PKEY   *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
												  public_key,
												  CPII_ED25519_KEY_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool		ok;

	ok = key != NULL && ctx != NULL &&
		EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestVerify(ctx, signature, CPII_ED25519_SIGNATURE_LEN,
						 message, len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

bool
cpii_ed25519_public(const unsigned char private_key[CPII_ED25519_KEY_LEN],
					unsigned char public_key[CPII_ED25519_KEY_LEN])
{
	EVP_PKEY   *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
												   private_key,
												   CPII_ED25519_KEY_LEN);
	size_t		len = CPII_ED25519_KEY_LEN;
	bool		ok = key != NULL &&
		EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 &&
		len == CPII_ED25519_KEY_LEN;

	EVP_PKEY_free(key);
	return ok;
}

bool
cpii_ed25519_sign(const unsigned char private_key[CPII_ED25519_KEY_LEN],
				  const unsigned char *message, size_t len,
				  unsigned char signature[CPII_ED25519_SIGNATURE_LEN])
{
	EVP_PKEY   *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
												   private_key,
												   CPII_ED25519_KEY_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t		siglen = CPII_ED25519_SIGNATURE_LEN;
	bool		ok;

	ok = key != NULL && ctx != NULL &&
		EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(ctx, signature, &siglen, message, len) == 1 &&
		siglen == CPII_ED25519_SIGNATURE_LEN;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

bool
cpii_ed25519_from_pem(const char *pem, size_t len,
					  unsigned char public_key[CPII_ED25519_KEY_LEN],
					  unsigned char private_key[CPII_ED25519_KEY_LEN],
					  bool *has_private)
{
	EVP_PKEY   *key = NULL;
	size_t		public_len = CPII_ED25519_KEY_LEN;
	size_t		private_len = CPII_ED25519_KEY_LEN;
	BIO		   *bio;
	bool		ok;

	*has_private = false;
	if (len > INT_MAX || (bio = BIO_new_mem_buf(pem, (int) len)) == NULL)
		return false;
	/* an empty pass phrase: never ask on a terminal */
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "");
	if (key != NULL)
		*has_private = true;
	else
	{
		(void) BIO_reset(bio);
		key = PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *) "");
	}
	ok = key != NULL && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
		EVP_PKEY_get_raw_public_key(key, public_key, &public_len) == 1 &&
		public_len == CPII_ED25519_KEY_LEN;
	if (ok && *has_private)
		ok = EVP_PKEY_get_raw_private_key(key, private_key, &private_len) == 1 &&
			private_len == CPII_ED25519_KEY_LEN;
	if (!ok)
	{
		*has_private = false;
		cpii_wipe(private_key, CPII_ED25519_KEY_LEN);
	}
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

bool
cpii_sha256(const unsigned char *in, size_t len,
			unsigned char out[CPII_SHA256_LEN])
{
	return EVP_Digest(in, len, out, NULL, EVP_sha256(), NULL) == 1;
}
