/*-------------------------------------------------------------------------
 *
 * keyring.h
 *	  Keyed contexts of this process, by class and epoch.
 *
 * This is the interface that the rest of the house knows; keys come from the
 * key agent when they are first needed, and stay in this process until it ends
 * or their epoch is destroyed.  Functions raise PI004 when a key is not
 * available, unless they say otherwise.  Returned contexts belong to the
 * keyring and are good until the end of the transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYRING_H
#define CPII_KEYRING_H

#include "crypto/cipher.h"
#include "crypto/epoch_table.h"

/* the pseudo class of query literals */
#define CPII_CLASS_LITERAL 0

/*
 * To seal one value with: the key of the class's active epoch, which is made
 * when there is none.  Each call counts one message.  The suite to write into
 * the value is cpii_cipher_suite() of the result.
 */
extern CpiiCipher *cpii_keyring_seal_cipher(int class_id, int *epoch);
/* to open with: never makes a secret */
extern CpiiCipher *cpii_keyring_open_cipher(int class_id, int epoch);

/*
 * The active epoch of a class, 0 when no value was sealed yet; never raises,
 * needs no key.  Values of other epochs are those that resealing moves.
 */
extern int	cpii_keyring_current_epoch(int class_id);
/* state of an epoch; ABSENT when the key store has no such secret */
extern CpiiEpochState cpii_keyring_epoch_state(int class_id, int epoch);

typedef enum CpiiMacPurpose
{
	CPII_MAC_SEARCH,			/* search tag of the whole value */
	CPII_MAC_TAIL,				/* tag of the last four characters */
	CPII_MAC_TOKEN,				/* pseudonyms */
	CPII_MAC_SUBJECT			/* tags in audit records */
} CpiiMacPurpose;

/*
 * Key of tags.  For the tags of a value, epoch is the value's; whether its
 * tags are keyed for the class or for the epoch is a property of the epoch.
 * Epoch 0: the key of the class.
 */
extern CpiiMac *cpii_keyring_mac(int class_id, CpiiMacPurpose purpose, int epoch);

/*
 * All that one value is sealed with, in one look: cpii_keyring_seal_cipher and
 * the keys of its tags, those that are asked for.  tail is NULL where values
 * of the epoch have no such tag.  Good until the keyring is asked again.
 */
typedef struct CpiiSealKeys
{
	CpiiCipher *cipher;
	int			epoch;
	CpiiSuite	suite;
	CpiiMac    *search;
	CpiiMac    *tail;
	const unsigned char *installation;	/* see cpii_keyring_installation */
} CpiiSealKeys;

extern const CpiiSealKeys *cpii_keyring_seal_keys(int class_id, bool search, bool tail);

/*
 * What a search must look for: "epoch" arguments for cpii_keyring_mac, at most
 * max of them; the number is returned.  One, 0, for a class whose tags are
 * keyed for the class; else one for each live epoch.
 */
extern int	cpii_keyring_search_epochs(int class_id, int *epochs, int max);

/*
 * The "epoch" argument for cpii_keyring_mac that gives the tags of values of
 * an epoch: the epoch itself, or 0 when its tags are keyed for the class.
 */
extern int	cpii_keyring_tag_epoch(int class_id, int epoch);
/* must a search look for more than the one tag of the class? */
extern bool cpii_keyring_search_scoped(int class_id);

/* 16 bytes: part of every value's associated data */
extern const unsigned char *cpii_keyring_installation(void);

/* key of the audit chain; false when no key is available */
extern bool cpii_keyring_audit_key(unsigned char key[CPII_KEY_LEN]);

/*
 * Make a new epoch the active one of a class (suite 0, tag_scope -1: as
 * before); returns its number.
 */
extern int	cpii_keyring_new_epoch(int class_id, int suite, int tag_scope);
/* destroy the secret of an epoch for good; no question asked */
extern void cpii_keyring_destroy_epoch(int class_id, int epoch);
/* hand a custodian's share to the agent; returns how many are still missing */
extern int	cpii_keyring_unseal(const char *share, size_t len);

/*
 * Have the agent take the next master key from its source, or a share of it;
 * returns how many shares are still missing, 0 when it was changed.  Raises
 * 22023 for a share that cannot be used, 55000 when nothing was changed.
 */
extern int	cpii_keyring_change_master(const char *share, size_t len);

/* why there is no key, or NULL when there is one; palloc'd */
extern char *cpii_keyring_unavailable(void);

/*
 * Somebody may not have keys any more: all processes drop theirs before they
 * use one again, and ask the agent anew.  A statement that goes on is met, too.
 */
extern void cpii_keyring_recall(void);

/* drop and wipe everything (process exit) */
extern void cpii_keyring_forget(void);

extern void cpii_keyring_init(void);

#endif							/* CPII_KEYRING_H */
