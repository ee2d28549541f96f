/*-------------------------------------------------------------------------
 *
 * vault.h
 *	  The master key and the epoch secrets, inside the key agent.
 *
 * For the agent process only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_VAULT_H
#define CPII_VAULT_H

#include "crypto/channel.h"
#include "crypto/epoch_table.h"

/* locked memory for everything secret; FATAL without memory */
extern void cpii_vault_open(void);
/* wipe and unmap */
extern void cpii_vault_close(void);

/* where the source puts the master key; tell when it is there whole */
extern unsigned char *cpii_vault_master(void);
extern void cpii_vault_set_master(void);
extern bool cpii_vault_has_master(void);
/* forget the master key, and have everybody forget what was derived from it */
extern void cpii_vault_forget(void);

/*
 * Make sure that the master key is the one the key store was made with; a
 * store that does not exist yet is made, but not by a standby.  False with a
 * reason; a wrong key is forgotten.
 */
extern bool cpii_vault_verify(const char **detail, const char **hint);
/* verified: keys can be derived */
extern bool cpii_vault_ready(void);

/*
 * Another master key, which the caller has put into cpii_vault_next(): keys of
 * new epochs are derived of it, and it is the one that the store asks for from
 * now on.  False with a reason when nothing was changed.  Wipes "next".
 */
extern unsigned char *cpii_vault_next(void);
extern bool cpii_vault_change(const char **detail);
/* has another server with the same store changed it? */
extern bool cpii_vault_superseded(void);

/* bring the table up to date with the key store; needs no key */
extern void cpii_vault_read_store(void);

/* let processes seal more with an epoch; on disk before it is allowed */
extern bool cpii_vault_reserve(CpiiEpochEntry *entry, const char **detail);
/* write the counters down as they are */
extern void cpii_vault_write_counts(void);

/*
 * Make the next epoch of a class and its active one.  suite 0 and tag_scope -1
 * mean "as before".  NULL with a status and a reason.
 */
extern CpiiEpochEntry *cpii_vault_make_epoch(int class_id, int suite,
											 int tag_scope, const char **detail,
											 CpiiAnswerStatus *status);
/* the last epoch of a class whose secret the key store has lost, or -1 */
extern int	cpii_vault_lost_epoch(int class_id);
extern CpiiAnswerStatus cpii_vault_destroy(int class_id, int epoch,
										   const char **detail);

/* derived keys; the caller wipes them */
extern CpiiAnswerStatus cpii_vault_data_key(int class_id, int epoch,
											unsigned char key[CPII_KEY_LEN],
											const char **detail);
/* epoch 0: the key of all epochs */
extern CpiiAnswerStatus cpii_vault_mac_key(int class_id, int epoch, int purpose,
										   unsigned char key[CPII_KEY_LEN],
										   const char **detail);
extern CpiiAnswerStatus cpii_vault_audit_key(unsigned char key[CPII_KEY_LEN]);

#endif							/* CPII_VAULT_H */
