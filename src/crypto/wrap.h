/*-------------------------------------------------------------------------
 *
 * wrap.h
 *	  A key encrypted to another key, for the key store.
 *
 * Pure: no server state but random numbers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_WRAP_H
#define CPII_WRAP_H

#include "crypto/cipher.h"

/* nonce, encrypted key, tag */
#define CPII_WRAPPED_LEN (CPII_NONCE_LEN + CPII_KEY_LEN + CPII_AEAD_TAG_LEN)

/*
 * Encrypt a key with AES-256-GCM under HKDF-SHA-256(with, salt, "wrap" number);
 * salt and number are bound to it.  False when OpenSSL fails.
 */
extern bool cpii_wrap_key(const unsigned char with[CPII_KEY_LEN],
						  const unsigned char *salt, size_t saltlen, int number,
						  const unsigned char key[CPII_KEY_LEN],
						  unsigned char out[CPII_WRAPPED_LEN]);

/* false: it was not made with these, or was changed; key then holds zeros */
extern bool cpii_unwrap_key(const unsigned char with[CPII_KEY_LEN],
							const unsigned char *salt, size_t saltlen, int number,
							const unsigned char in[CPII_WRAPPED_LEN],
							unsigned char key[CPII_KEY_LEN]);

#endif							/* CPII_WRAP_H */
