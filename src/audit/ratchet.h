/*-------------------------------------------------------------------------
 *
 * ratchet.h
 *	  Keys of the audit chain, each made from the one before it, which is then
 *	  erased.
 *
 * The key store has two files: "audit-start.key", the first key, and
 * "audit-current.key", the one in use.  Both are wrapped with keys derived from
 * the audit key of the keyring.  Whoever gets hold of the key in use (or of the
 * memory that it is in) cannot compute earlier ones.  The first key is needed to
 * verify; an auditor may take its file away and verify elsewhere.
 *
 * Layout of a file: magic 8, generation 8 (big endian), nonce 16, wrapped key
 * 32 = key XOR HMAC(wrapping key, magic .. nonce), HMAC(authentication key,
 * everything before) 32.  Next key = HMAC(key, "courier_pii audit ratchet").
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_RATCHET_H
#define CPII_AUDIT_RATCHET_H

#include "crypto/cipher.h"

typedef enum CpiiRatchetResult
{
	CPII_RATCHET_OK,
	CPII_RATCHET_NO_MASTER,		/* the audit key is not available */
	CPII_RATCHET_MISSING,		/* there is no such file */
	CPII_RATCHET_BAD			/* it cannot be read, or is not ours */
} CpiiRatchetResult;

/* the first key (generation 1) */
extern CpiiRatchetResult cpii_ratchet_start(unsigned char key[CPII_KEY_LEN]);

/*
 * The key in use.  Moves on to generation "floor" when it is behind, and makes
 * both files when none exists and floor is 0.
 */
extern CpiiRatchetResult cpii_ratchet_current(int floor, unsigned char key[CPII_KEY_LEN],
											  int *generation);

/* key becomes its successor; false when memory is short */
extern bool cpii_ratchet_step(unsigned char key[CPII_KEY_LEN]);

/* make this the key in use, and erase the file of the former one */
extern bool cpii_ratchet_store(const unsigned char key[CPII_KEY_LEN], int generation);

/* Ed25519 key pair that signs checkpoints and manifests */
extern bool cpii_ratchet_signing_key(unsigned char private_key[CPII_KEY_LEN],
									 unsigned char public_key[CPII_KEY_LEN]);

#endif							/* CPII_AUDIT_RATCHET_H */
