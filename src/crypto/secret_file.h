/*-------------------------------------------------------------------------
 *
 * secret_file.h
 *	  The text of a secret's file in the key store, and its check value.
 *	  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SECRET_FILE_H
#define CPII_SECRET_FILE_H

#include <stdint.h>

#include "crypto/cipher.h"

#define CPII_SECRET_LEN 32
#define CPII_SECRET_CHECK_LEN 8
/* a text is shorter, its final zero included */
#define CPII_SECRET_TEXT_LEN 512

/* what a secret's file says beside the secret; all in clear */
typedef struct CpiiSecretInfo
{
	int			suite;
	int			tag_scope;
	int			tag_digest;
	int			master;			/* number of the master key, from 1 */
	int64_t		created;		/* seconds since 1970; not covered by the check */
	unsigned char check[CPII_SECRET_CHECK_LEN];
} CpiiSecretInfo;

/* the text to write; the caller wipes it */
extern void cpii_secret_print(const unsigned char secret[CPII_SECRET_LEN],
							  const CpiiSecretInfo *info,
							  char text[CPII_SECRET_TEXT_LEN]);

/*
 * Back from it.  False for anything that cpii_secret_print would not write,
 * to the byte; the caller wipes the secret.
 */
extern bool cpii_secret_parse(const char *text,
							  unsigned char secret[CPII_SECRET_LEN],
							  CpiiSecretInfo *info);

/*
 * The check value: an HMAC, keyed with a key of the master key, over the
 * secret, what is said of it, and the class and epoch that the file is for.
 * False when OpenSSL fails.
 */
extern bool cpii_secret_check(const unsigned char key[CPII_KEY_LEN],
							  int class_id, int epoch,
							  const unsigned char secret[CPII_SECRET_LEN],
							  const CpiiSecretInfo *info,
							  unsigned char out[CPII_SECRET_CHECK_LEN]);

#endif							/* CPII_SECRET_FILE_H */
