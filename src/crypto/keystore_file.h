/*-------------------------------------------------------------------------
 *
 * keystore_file.h
 *	  One file of the key store: read, written whole or not at all, shredded.
 *
 * Names are those of files in the directory that cpii_keystore_directory()
 * tells.  For keystore.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEYSTORE_FILE_H
#define CPII_KEYSTORE_FILE_H

/* a secret's or a count's file is shorter */
#define CPII_STORE_FILE_LEN 512

/*
 * Is the directory one that keys may lie in: ours alone, outside the data
 * directory?  With create it is made when missing; *missing tells "no such
 * directory" from other failures, *detail has the reason.
 */
extern bool cpii_store_usable(bool create, bool *missing, const char **detail);

/* where a file is; path has MAXPGPATH bytes */
extern void cpii_store_path(char *path, const char *name);
extern bool cpii_store_exists(const char *name);

/*
 * The first bytes of a file, ended by a zero byte; size counts that one.
 * *missing tells "no such file" from other failures.
 */
extern bool cpii_store_read(const char *name, char *buf, size_t size,
							bool *missing, const char **detail);

/*
 * Write a file whole.  With "replace" it takes the place of an older one; else
 * an existing one is left alone (not an error).
 */
extern bool cpii_store_write(const char *name, const char *text, bool replace,
							 const char **detail);

/* overwrite a file in place with random bytes, flushed; then remove it */
extern bool cpii_store_shred(const char *name, const char **detail);

/* a temporary file that no other server can be writing any more */
extern bool cpii_store_is_old(const char *name);

#endif							/* CPII_KEYSTORE_FILE_H */
