/*-------------------------------------------------------------------------
 *
 * wrap.c
 *	  A key encrypted to another key, for the key store.
 *
 * Pure: needs no server.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/wrap.h"

#include <stdio.h>
#include <string.h>

#include "base/secret.h"

static CpiiCipher *
wrapping_cipher(const unsigned char with[CPII_KEY_LEN],
				const unsigned char *salt, size_t saltlen, int number)
{
	unsigned char key[CPII_KEY_LEN];
	char		info[32];
	CpiiCipher *cipher = NULL;

	snprintf(info, sizeof(info), "wrap %d", number);
	if (cpii_hkdf(with, CPII_KEY_LEN, salt, saltlen,
				  (const unsigned char *) info, strlen(info), key))
		cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	cpii_wipe(key, sizeof(key));
	return cipher;
}

bool
cpii_wrap_key(const unsigned char with[CPII_KEY_LEN],
			  const unsigned char *salt, size_t saltlen, int number,
			  const unsigned char key[CPII_KEY_LEN],
			  unsigned char out[CPII_WRAPPED_LEN])
{
	CpiiCipher *cipher = wrapping_cipher(with, salt, saltlen, number);
	bool		ok;

	ok = cipher != NULL && cpii_random(out, CPII_NONCE_LEN) &&
		cpii_cipher_seal(cipher, out, salt, saltlen, NULL, 0,
						 key, CPII_KEY_LEN, out + CPII_NONCE_LEN,
						 out + CPII_NONCE_LEN + CPII_KEY_LEN);
	cpii_cipher_free(cipher);
	return ok;
}

bool
cpii_unwrap_key(const unsigned char with[CPII_KEY_LEN],
				const unsigned char *salt, size_t saltlen, int number,
				const unsigned char in[CPII_WRAPPED_LEN],
				unsigned char key[CPII_KEY_LEN])
{
	CpiiCipher *cipher = wrapping_cipher(with, salt, saltlen, number);
	bool		ok;

	ok = cipher != NULL &&
		cpii_cipher_open(cipher, in, salt, saltlen, NULL, 0,
						 in + CPII_NONCE_LEN, CPII_KEY_LEN,
						 in + CPII_NONCE_LEN + CPII_KEY_LEN, key);
	if (!ok)
		cpii_wipe(key, CPII_KEY_LEN);
	cpii_cipher_free(cipher);
	return ok;
}
