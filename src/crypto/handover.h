/*-------------------------------------------------------------------------
 *
 * handover.h
 *	  Secrets between two processes over memory that others can read.
 *
 * The agent has a key pair (X25519) for its lifetime; each request comes with
 * a fresh pair of its sender.  Both sides derive one key for the request's
 * payload and one for the answer's; each seals one message only, so the nonce
 * is constant.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_HANDOVER_H
#define CPII_HANDOVER_H

#include "crypto/cipher.h"

#define CPII_PUBLIC_LEN 32

typedef struct CpiiPair CpiiPair;

/* NULL when OpenSSL refuses */
extern CpiiPair *cpii_pair_new(unsigned char public_key[CPII_PUBLIC_LEN]);
extern void cpii_pair_free(CpiiPair *pair);

typedef struct CpiiHandover
{
	unsigned char request[CPII_KEY_LEN];
	unsigned char answer[CPII_KEY_LEN];
} CpiiHandover;

/* sender: the public key of the side that asks */
extern bool cpii_handover_keys(CpiiPair *mine,
							   const unsigned char theirs[CPII_PUBLIC_LEN],
							   const unsigned char sender[CPII_PUBLIC_LEN],
							   CpiiHandover *keys);

/* out has room for inlen + CPII_AEAD_TAG_LEN bytes */
extern bool cpii_handover_seal(const unsigned char key[CPII_KEY_LEN],
							   const unsigned char *in, size_t inlen,
							   unsigned char *out);
/* inlen counts the tag; out has room for inlen - CPII_AEAD_TAG_LEN bytes */
extern bool cpii_handover_open(const unsigned char key[CPII_KEY_LEN],
							   const unsigned char *in, size_t inlen,
							   unsigned char *out);

#endif							/* CPII_HANDOVER_H */
