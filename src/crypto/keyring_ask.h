/*-------------------------------------------------------------------------
 *
 * keyring_ask.h
 *	  Questions to the key agent, and what its refusals look like.
 *
 * For the keyring only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYRING_ASK_H
#define CPII_KEYRING_ASK_H

#include "crypto/channel.h"

/* ask; raises PI004 with the reason when the answer is not OK */
extern void cpii_keyring_ask(int kind, int class_id, int epoch, int arg,
							 int arg2, CpiiAnswer *answer);

#endif							/* CPII_KEYRING_ASK_H */
