/*-------------------------------------------------------------------------
 *
 * keystore.h
 *	  The directory of epoch secrets and of the installation's identity.
 *
 * It lies outside the data directory and outside database backups, so that
 * destroying one secret makes a period's data unreadable in every backup.
 * Only the key agent calls these functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYSTORE_H
#define CPII_KEYSTORE_H

#include "crypto/secret_file.h"
#include "crypto/wrap.h"

#define CPII_INSTALLATION_LEN 16

/* the directory in use: the setting, or the key file's name with ".store" */
extern const char *cpii_keystore_directory(void);

/* master keys before the one in use; each can be changed this often */
#define CPII_MAX_FORMER 31

/*
 * What the store says of the installation: its identity, the check value of
 * the master key in use, and the master keys before it, oldest first, each
 * wrapped in the one in use under its number from 1.
 */
typedef struct CpiiInstallation
{
	unsigned char uuid[CPII_INSTALLATION_LEN];
	unsigned char check[CPII_MAC_LEN];
	int			nformer;
	unsigned char former[CPII_MAX_FORMER][CPII_WRAPPED_LEN];
} CpiiInstallation;

/*
 * Read it.  A store that does not exist yet is created when "create" is true
 * (installation->check is then the value to write).  Returns false with
 * *detail set when there is none or it cannot be read; *missing tells a store
 * that was not made yet from one that cannot be used.
 */
extern bool cpii_keystore_installation(bool create,
									   CpiiInstallation *installation,
									   bool *missing, const char **detail);

/* put another in its place, whole or not at all */
extern bool cpii_keystore_replace_installation(const CpiiInstallation *installation,
											   const char **detail);

typedef enum CpiiStoreResult
{
	CPII_STORE_OK,
	CPII_STORE_MISSING,			/* no such file */
	CPII_STORE_DESTROYED,		/* its tombstone is there */
	CPII_STORE_DAMAGED,			/* the file's form is wrong */
	CPII_STORE_FAILED			/* the system refuses; *detail says why */
} CpiiStoreResult;

extern CpiiStoreResult cpii_keystore_read(int class_id, int epoch,
										  unsigned char secret[CPII_SECRET_LEN],
										  CpiiSecretInfo *info,
										  const char **detail);

/* neither the secret nor its tombstone is there */
extern bool cpii_keystore_missing(int class_id, int epoch);

/* never replaces a secret; false with *detail when it is not on disk whole */
extern bool cpii_keystore_write(int class_id, int epoch,
								const unsigned char secret[CPII_SECRET_LEN],
								const CpiiSecretInfo *info,
								const char **detail);

/*
 * Destroy a secret: first a tombstone is written, then the file is overwritten
 * and removed, each step flushed.  Can be repeated after a crash at any step.
 */
extern bool cpii_keystore_destroy(int class_id, int epoch, const char **detail);

/*
 * Write this server's count of messages of an epoch.  Several servers may
 * share or copy a store, so each has a file of its own.
 */
extern bool cpii_keystore_write_count(int class_id, int epoch, uint64 count,
									  const char **detail);

/*
 * Walk the store.  The callback gets each secret ("kind" 's'), tombstone ('d',
 * number = seconds since 1970) and count ('c', number = the count; own = of
 * this server).  Temporary files that a crash left are removed, unfinished
 * destructions are finished.
 */
typedef void (*CpiiStoreVisitor) (char kind, int class_id, int epoch,
								  uint64 number, bool own);
extern bool cpii_keystore_walk(CpiiStoreVisitor visit, const char **detail);

#endif							/* CPII_KEYSTORE_H */
