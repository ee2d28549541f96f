/*-------------------------------------------------------------------------
 *
 * cipher.h
 *	  AEAD and key derivation over OpenSSL.
 *
 * Pure: no catalog, no settings, no palloc, no ereport.  Contexts are keyed
 * once and reused (four times cheaper than a new one a value).  Functions that can fail return false and leave no plaintext
 * behind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CIPHER_H
#define CPII_CIPHER_H

#include <stdbool.h>
#include <stddef.h>

#include "crypto/mac.h"
#include "crypto/nonce.h"

#define CPII_KEY_LEN 32
#define CPII_AEAD_TAG_LEN 16

/* suite numbers are written into every sealed value */
typedef enum CpiiSuite
{
	CPII_SUITE_AES_256_GCM = 1,
	CPII_SUITE_SM4_CTR_HMAC_SM3 = 2,
	CPII_SUITE_SM4_GCM = 3
} CpiiSuite;

#define CPII_SUITE_FIRST CPII_SUITE_AES_256_GCM
#define CPII_SUITE_LAST CPII_SUITE_SM4_GCM

typedef struct CpiiCipher CpiiCipher;

/* does this OpenSSL offer the suite?  Asked of the library, not of its version */
extern bool cpii_suite_available(CpiiSuite suite);
/* name of a suite, NULL when there is no such number */
extern const char *cpii_suite_name(int suite);
/* number of a suite by name (any letter case), 0 when there is none */
extern int	cpii_suite_by_name(const char *name);

/* NULL when the suite is not available or memory is short */
extern CpiiCipher *cpii_cipher_new(CpiiSuite suite, const unsigned char key[CPII_KEY_LEN]);
extern void cpii_cipher_free(CpiiCipher *cipher);
extern CpiiSuite cpii_cipher_suite(const CpiiCipher *cipher);

/*
 * Seal with a fresh nonce, part of whose work may have been done ahead: nonce,
 * sealed text and tag to out, one after the other.  False also when there is
 * no randomness.
 */
extern bool cpii_cipher_seal_fresh(CpiiCipher *cipher,
								   const unsigned char *aad, size_t aadlen,
								   const unsigned char *in, size_t inlen,
								   unsigned char *out);

/* out has room for inlen bytes; in and out may not overlap */
extern bool cpii_cipher_seal(CpiiCipher *cipher,
							 const unsigned char nonce[CPII_NONCE_LEN],
							 const unsigned char *aad, size_t aadlen,
							 const unsigned char *aad2, size_t aad2len,
							 const unsigned char *in, size_t inlen,
							 unsigned char *out,
							 unsigned char tag[CPII_AEAD_TAG_LEN]);

/* false: the tag does not match; out then holds zeros */
extern bool cpii_cipher_open(CpiiCipher *cipher,
							 const unsigned char nonce[CPII_NONCE_LEN],
							 const unsigned char *aad, size_t aadlen,
							 const unsigned char *aad2, size_t aad2len,
							 const unsigned char *in, size_t inlen,
							 const unsigned char tag[CPII_AEAD_TAG_LEN],
							 unsigned char *out);

/* HKDF-SHA-256 (RFC 5869): 32 bytes for a purpose */
extern bool cpii_hkdf(const unsigned char *key, size_t keylen,
					  const unsigned char *salt, size_t saltlen,
					  const unsigned char *info, size_t infolen,
					  unsigned char out[CPII_KEY_LEN]);

/* bytes for keys and identifiers, straight from the generator */
extern bool cpii_random(unsigned char *out, size_t len);

#endif							/* CPII_CIPHER_H */
