/*-------------------------------------------------------------------------
 *
 * spool_key.h
 *	  Keys that authenticate records of the spool until they are chained.
 *
 * Each life of the server (from one start of the postmaster to its end) has a
 * random key.  It is in locked memory that all processes share, also across a
 * restart after a crash, so records can be signed with no key agent and on a
 * sealed server.  When the audit key is available, the key is stored in the file
 * "keys" of the audit directory, wrapped with keys derived from the audit key;
 * the key agent does that before it gives any other key away, so whatever is
 * disclosed has a record that can still be checked after the end of this life.
 *
 * Layout of an entry of the file (96 bytes): life 8, nonce 16, wrapped key 32 =
 * key XOR HMAC(wrapping key, life, nonce), HMAC(authentication key, everything
 * before) 32, zeros 8.
 *
 * A record's tag is the first 16 bytes of HMAC-SHA-256(key of its life, body ||
 * sequence number || life).
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SPOOL_KEY_H
#define CPII_AUDIT_SPOOL_KEY_H

#include "audit/spool.h"
#include "crypto/cipher.h"

#define CPII_SPOOL_TAG_LEN 16
#define CPII_SPOOL_KEY_ENTRY 96

/* ---- signing ---- */

/*
 * First of what the spool does with its shared memory: makes the key, unless
 * this is a restart after a crash.
 */
extern void cpii_spool_key_start(void);

/* the spool goes on from this record; the first call of a life counts */
extern void cpii_spool_key_from(uint64 seq);

/*
 * Sign a record in two steps, the second one with the spool's lock held: it
 * writes life and tag behind the sequence number, to which "numbers" points.
 * Without a key of this life both are zeros.
 */
extern bool cpii_spool_key_begin(const char *body, size_t length);
extern bool cpii_spool_key_end(char *numbers);

/* the worker: store the key of this life if that could not be done before */
extern void cpii_spool_key_care(void);

/* ---- checking ---- */

typedef enum CpiiTagResult
{
	CPII_TAG_GOOD,
	CPII_TAG_BAD,
	CPII_TAG_UNKNOWN			/* there is no key of that life, or none to open it */
} CpiiTagResult;

typedef struct CpiiSpoolKeys CpiiSpoolKeys;

/*
 * Keys of this server's spool, or (entries not NULL) those that came with a
 * piece of another server's.  Freed with the current memory context.
 */
extern CpiiSpoolKeys *cpii_spool_keys_open(const char *entries, size_t length);

/* numbers: sequence number, life, tag, as they are in the file */
extern CpiiTagResult cpii_spool_keys_check(CpiiSpoolKeys *keys, const char *numbers,
										   const char *body, size_t length);

/* entries of the lives of some records, to go with them to another server; palloc'd */
extern char *cpii_spool_keys_entries(const CpiiSegment *segment, uint64 start,
									 uint64 end, size_t *length);

extern void cpii_spool_key_init(void);

#endif							/* CPII_AUDIT_SPOOL_KEY_H */
