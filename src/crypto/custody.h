/*-------------------------------------------------------------------------
 *
 * custody.h
 *	  Where the master key comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CUSTODY_H
#define CPII_CUSTODY_H

#include "crypto/cipher.h"

/*
 * Put the master key into key; the caller wipes it.  On failure returns false
 * and sets *detail (and *hint) to palloc'd or constant texts without secrets.
 */
extern bool cpii_custody_master_key(unsigned char key[CPII_KEY_LEN],
									const char **detail, const char **hint);

/* is the absolute or relative path inside the data directory? */
extern bool cpii_custody_inside_data_directory(const char *path);

#endif							/* CPII_CUSTODY_H */
