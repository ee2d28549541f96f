/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  Wiped buffers and comparison without early exit (over OpenSSL).
 *
 *-------------------------------------------------------------------------
 */
#include "base/secret.h"

#include <openssl/crypto.h>

void
cpii_wipe(void *p, size_t len)
{
	if (p != NULL && len > 0)
		OPENSSL_cleanse(p, len);
}

bool
cpii_secret_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
