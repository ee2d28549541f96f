/*-------------------------------------------------------------------------
 *
 * vault_inside.h
 *	  What the vault's own files share: vault.c and vault_epoch.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_VAULT_INSIDE_H
#define CPII_VAULT_INSIDE_H

#include "crypto/keystore.h"

/* everything that is secret, in locked memory */
typedef struct CpiiVault
{
	bool		have_master;	/* the source gave one */
	bool		verified;		/* and it is the one of the key store */
	unsigned char master[CPII_KEY_LEN];	/* the one in use */
	int			nformer;
	unsigned char former[CPII_MAX_FORMER][CPII_KEY_LEN];	/* before it, oldest first */
	unsigned char next[CPII_KEY_LEN];	/* to come */
	unsigned char store_key[CPII_KEY_LEN];
	unsigned char secret[CPII_SECRET_LEN];	/* of the request at hand */
	int			secret_master;	/* number of the master key it goes with */
} CpiiVault;

/* NULL outside the agent */
extern CpiiVault *cpii_vault;

/* whatever processes keep of keys may be void: they look again */
extern void cpii_vault_new_generation(void);

/*
 * Read a secret into the vault and what is said of it into the table
 * (vault_epoch.c).  The keyed check value is looked at when the master key is
 * known.
 */
extern CpiiStoreResult cpii_vault_read_secret(int class_id, int epoch,
											  const char **detail);

#endif							/* CPII_VAULT_INSIDE_H */
