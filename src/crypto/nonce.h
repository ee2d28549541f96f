/*-------------------------------------------------------------------------
 *
 * nonce.h
 *	  Fresh random nonces.
 *
 * Pure: no catalog, no settings, no palloc, no ereport.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_NONCE_H
#define CPII_NONCE_H

#include <stdbool.h>
#include <stdint.h>

#define CPII_NONCE_LEN 12

/*
 * A fresh random nonce from a pool of this process (the pool is void after
 * fork, and used bytes are wiped).
 */
extern bool cpii_nonce(unsigned char out[CPII_NONCE_LEN]);

/* n of them, one after the other; false also when n is above 300 */
extern bool cpii_nonces(unsigned char *out, int n);

/*
 * Grows with each fork that led to this process since it first drew a nonce.
 * Whoever keeps nonces drops them when it has changed.
 */
extern uint32_t cpii_nonce_forks(void);

#endif							/* CPII_NONCE_H */
