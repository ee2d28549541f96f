/*-------------------------------------------------------------------------
 *
 * keyring.h
 *	  Keyed contexts of this process, by class and epoch.
 *
 * This is the interface that the rest of the house knows; where keys come from
 * (this process reading the key file today, a key agent later) is hidden
 * behind it.  Functions raise PI004 when a key is not available, unless they
 * say otherwise.  Returned contexts belong to the keyring.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYRING_H
#define CPII_KEYRING_H

#include "crypto/cipher.h"

/* the pseudo class of query literals */
#define CPII_CLASS_LITERAL 0

/* to seal with: makes a missing secret of the active epoch */
extern CpiiCipher *cpii_keyring_seal_cipher(int class_id, int *epoch);
/* to open with: never makes a secret */
extern CpiiCipher *cpii_keyring_open_cipher(int class_id, int epoch);

typedef enum CpiiMacPurpose
{
	CPII_MAC_SEARCH,			/* search tag of the whole value */
	CPII_MAC_TAIL,				/* tag of the last four characters */
	CPII_MAC_TOKEN				/* pseudonyms */
} CpiiMacPurpose;

extern CpiiMac *cpii_keyring_mac(int class_id, CpiiMacPurpose purpose);

/* 16 bytes: part of every value's associated data */
extern const unsigned char *cpii_keyring_installation(void);

/* key of the audit chain; false when no key is available, never raises */
extern bool cpii_keyring_audit_key(unsigned char key[CPII_KEY_LEN]);

/* drop and wipe everything (settings reloaded, process exit) */
extern void cpii_keyring_forget(void);

extern void cpii_keyring_init(void);

#endif							/* CPII_KEYRING_H */
