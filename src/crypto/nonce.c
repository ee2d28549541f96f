/*-------------------------------------------------------------------------
 *
 * nonce.c
 *	  Fresh random nonces from a pool of the process.
 *
 * Asking OpenSSL's generator for twelve bytes takes several times as long as
 * sealing a value; it is asked for a page at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/nonce.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include <openssl/rand.h>

#include "base/secret.h"

#define POOL_LEN 4096

static unsigned char pool[POOL_LEN];
static size_t pool_used = POOL_LEN;
static uint32_t forks = 0;

/* a child must not use what its parent will use too */
static void
drop_pool(void)
{
	pool_used = POOL_LEN;
	forks++;
	cpii_wipe(pool, POOL_LEN);
}

bool
cpii_nonces(unsigned char *out, int n)
{
	size_t		len = (size_t) n * CPII_NONCE_LEN;
	static bool watching_fork = false;

	if (len > POOL_LEN)
		return false;
	if (pool_used + len > POOL_LEN)
	{
		if (!watching_fork && pthread_atfork(NULL, NULL, drop_pool) != 0)
			return false;
		watching_fork = true;
		if (RAND_bytes(pool, POOL_LEN) != 1)
			return false;
		pool_used = 0;
	}
	memcpy(out, pool + pool_used, len);
	cpii_wipe(pool + pool_used, len);
	pool_used += len;
	return true;
}

bool
cpii_nonce(unsigned char out[CPII_NONCE_LEN])
{
	return cpii_nonces(out, 1);
}

uint32_t
cpii_nonce_forks(void)
{
	return forks;
}
