/*-------------------------------------------------------------------------
 *
 * gcm.h
 *	  GCM of short texts without the detour through EVP for each value.
 *
 * Pure: no catalog, no settings, no palloc, no ereport.  The same bytes as
 * EVP's GCM with the same key, nonce and texts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_GCM_H
#define CPII_GCM_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>

#include "crypto/nonce.h"

/* the longest text that is taken; longer ones are EVP's */
#define CPII_GCM_TEXT_MAX 112

#define CPII_GCM_TAG_LEN 16

typedef struct CpiiGcm CpiiGcm;

/* over a block cipher in mode ECB; NULL when memory is short or OpenSSL fails */
extern CpiiGcm *cpii_gcm_new(const EVP_CIPHER *block_cipher, const unsigned char *key);
extern void cpii_gcm_free(CpiiGcm *gcm);

/*
 * With a fresh nonce, for which what can be computed ahead was, together with
 * that of others.  out gets nonce, sealed text and tag, one after the other.
 */
extern bool cpii_gcm_seal_fresh(CpiiGcm *gcm, const unsigned char *aad, size_t aadlen,
								const unsigned char *in, size_t inlen,
								unsigned char *out);

/* as cpii_cipher_seal, with the associated data in one piece */
extern bool cpii_gcm_seal(CpiiGcm *gcm, const unsigned char nonce[CPII_NONCE_LEN],
						  const unsigned char *aad, size_t aadlen,
						  const unsigned char *in, size_t inlen,
						  unsigned char *out, unsigned char tag[CPII_GCM_TAG_LEN]);

/* false: the tag does not match, or OpenSSL fails; out is undefined then */
extern bool cpii_gcm_open(CpiiGcm *gcm, const unsigned char nonce[CPII_NONCE_LEN],
						  const unsigned char *aad, size_t aadlen,
						  const unsigned char *in, size_t inlen,
						  const unsigned char tag[CPII_GCM_TAG_LEN], unsigned char *out);

#endif							/* CPII_GCM_H */
