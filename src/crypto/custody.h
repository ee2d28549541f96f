/*-------------------------------------------------------------------------
 *
 * custody.h
 *	  Where the master key comes from.
 *
 * For the key agent only, but for the check of places.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CUSTODY_H
#define CPII_CUSTODY_H

#include "crypto/cipher.h"

/*
 * Put the master key, or with "next" the one that is to follow it, into key,
 * wiped by the caller.  The next one is in the file "<key_file>.next", or what
 * the command prints with one more argument, "next".  On failure returns false
 * and sets *detail (and *hint) to palloc'd or constant texts without secrets.
 * With key source "custodians" it fails until shares have been entered.
 */
extern bool cpii_custody_master_key(bool next, unsigned char key[CPII_KEY_LEN],
									const char **detail, const char **hint);

/* may the source be asked again by itself?  (a file; a command runs once) */
extern bool cpii_custody_repeatable(void);

/* what tells one master key from another, without telling the key */
extern bool cpii_key_check_value(const unsigned char master[CPII_KEY_LEN],
								 unsigned char check[CPII_MAC_LEN]);

/* 32 raw bytes, or 64 hexadecimal digits and line ends */
extern bool cpii_custody_decode(const unsigned char *buf, size_t len,
								unsigned char key[CPII_KEY_LEN]);

/* is the absolute or relative path inside the data directory? */
extern bool cpii_custody_inside_data_directory(const char *path);

/* ---- the command source: custody_command.c ---- */

/* called again and again while a command for the next key runs, or NULL */
extern void (*cpii_custody_waits) (void);

extern bool cpii_custody_run_command(bool next, unsigned char key[CPII_KEY_LEN],
									 const char **detail, const char **hint);

/* ---- custodians: custodians.c ---- */

/*
 * Take one share, of the key that the store asks for or of the next one.
 * Returns the number of shares still missing, 0 when key now holds the master
 * key, -1 with *detail when the share cannot be used.
 */
extern int	cpii_custodians_enter(bool next, const unsigned char *share,
								  size_t len, unsigned char key[CPII_KEY_LEN],
								  const char **detail);
extern void cpii_custodians_forget(void);
/* shares of the present key entered so far */
extern int	cpii_custodians_entered(void);

#endif							/* CPII_CUSTODY_H */
