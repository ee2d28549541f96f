/*-------------------------------------------------------------------------
 *
 * signature.h
 *	  Ed25519 signatures (RFC 8032) and SHA-256 over OpenSSL's EVP.
 *
 * Pure: no catalog, no settings, no palloc, no ereport.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SIGNATURE_H
#define CPII_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

#define CPII_ED25519_KEY_LEN 32
#define CPII_ED25519_SIGNATURE_LEN 64
#define CPII_SHA256_LEN 32

extern bool cpii_ed25519_verify(const unsigned char public_key[CPII_ED25519_KEY_LEN],
								const unsigned char *message, size_t len,
								const unsigned char signature[CPII_ED25519_SIGNATURE_LEN]);
/* the public key that belongs to a private one */
extern bool cpii_ed25519_public(const unsigned char private_key[CPII_ED25519_KEY_LEN],
								unsigned char public_key[CPII_ED25519_KEY_LEN]);
extern bool cpii_ed25519_sign(const unsigned char private_key[CPII_ED25519_KEY_LEN],
							  const unsigned char *message, size_t len,
							  unsigned char signature[CPII_ED25519_SIGNATURE_LEN]);

/*
 * Read one Ed25519 key in PEM form, public or private.  With a private key
 * both outputs are filled and *has_private is true.  False when the text holds
 * no such key.
 */
extern bool cpii_ed25519_from_pem(const char *pem, size_t len,
								  unsigned char public_key[CPII_ED25519_KEY_LEN],
								  unsigned char private_key[CPII_ED25519_KEY_LEN],
								  bool *has_private);

extern bool cpii_sha256(const unsigned char *in, size_t len,
						unsigned char out[CPII_SHA256_LEN]);

#endif							/* CPII_SIGNATURE_H */
