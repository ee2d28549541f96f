/*-------------------------------------------------------------------------
 *
 * keystore.h
 *	  The directory of epoch secrets and of the installation's identity.
 *
 * It lies outside the data directory and outside database backups, so that
 * destroying one secret makes a period's data unreadable in every backup.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYSTORE_H
#define CPII_KEYSTORE_H

#include "crypto/cipher.h"

#define CPII_SECRET_LEN 32
#define CPII_INSTALLATION_LEN 16

/* the directory in use: the setting, or the key file's name with ".store" */
extern const char *cpii_keystore_directory(void);

/*
 * Identity of the installation and the check value of the master key it was
 * made with.  A store that does not exist yet is created when "create" is
 * true (check is then the value to write).  Returns false with *detail set
 * when there is none or it cannot be read.
 */
extern bool cpii_keystore_installation(bool create,
									   unsigned char uuid[CPII_INSTALLATION_LEN],
									   unsigned char check[CPII_MAC_LEN],
									   const char **detail);

/*
 * The secret of a class and epoch (class 0, epoch 0: query literals).  With
 * "create" a missing one is made, never overwritten; two processes that do so
 * at once end with the same secret.
 */
extern bool cpii_keystore_secret(int class_id, int epoch, bool create,
								 unsigned char secret[CPII_SECRET_LEN],
								 const char **detail);

/* does the secret exist, and since when (file's change time)? */
extern bool cpii_keystore_secret_exists(int class_id, int epoch, time_t *created);

#endif							/* CPII_KEYSTORE_H */
