/*-------------------------------------------------------------------------
 *
 * keyring_inside.h
 *	  What the keyring's own files share: keyring.c, keyring_mac.c and
 *	  keyring_ask.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYRING_INSIDE_H
#define CPII_KEYRING_INSIDE_H

#include "utils/hsearch.h"

#include "base/compat.h"
#include "crypto/epoch_table.h"

/* ---- keyring.c ---- */

/* the first key is about to arrive in this process; cheap when it was before */
extern void cpii_keyring_prepare(void);

/* a table of contexts by a key without padding, which lives with the process */
extern HTAB *cpii_keyring_table(const char *name, Size keysize, Size entrysize);

/* not to be used again; freed when no caller can be using it any more */
extern void cpii_keyring_void(CpiiCipher *cipher, CpiiMac *mac);
pg_noreturn extern void cpii_keyring_out_of_memory(void);

/* the generation that the contexts are of; all are dropped when it has passed */
extern uint32 cpii_keyring_generation;
extern void cpii_keyring_drop(void);

/* before any context is used: may it still be? */
static inline void
cpii_keyring_check(void)
{
	uint32		now = pg_atomic_read_u32(&cpii_key_table->generation);

	if (unlikely(now != cpii_keyring_generation))
	{
		cpii_keyring_drop();
		cpii_keyring_generation = now;
	}
}

/* ---- keyring_mac.c ---- */

extern void cpii_keyring_make_macs(void);
extern void cpii_keyring_drop_macs(void);

#endif							/* CPII_KEYRING_INSIDE_H */
