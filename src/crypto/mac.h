/*-------------------------------------------------------------------------
 *
 * mac.h
 *	  Keyed hashes with a cached key.
 *
 * Pure: no catalog, no settings, no palloc, no ereport.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_MAC_H
#define CPII_MAC_H

#include <stdbool.h>
#include <stddef.h>

#define CPII_MAC_LEN 32

/* kinds of keyed hashes; the numbers are written into the key store */
typedef enum CpiiDigest
{
	CPII_DIGEST_SHA256 = 1,		/* HMAC-SHA-256 */
	CPII_DIGEST_SM3 = 2,		/* HMAC-SM3 */
	CPII_DIGEST_AES_CMAC = 3	/* AES-256-CMAC, 16 bytes and as many zeros */
} CpiiDigest;

/* of the search tags of a class without commercial cryptography, if new */
#define CPII_DIGEST_USUAL CPII_DIGEST_AES_CMAC

typedef struct CpiiMac CpiiMac;

/* HMAC-SHA-256, or another kind; NULL when memory is short */
extern CpiiMac *cpii_mac_new(const unsigned char *key, size_t keylen);
extern CpiiMac *cpii_mac_new_digest(CpiiDigest digest,
									const unsigned char *key, size_t keylen);
extern void cpii_mac_free(CpiiMac *mac);
extern bool cpii_mac(CpiiMac *mac, const unsigned char *in, size_t inlen,
					 unsigned char out[CPII_MAC_LEN]);

/*
 * The first four bytes of the same.  For texts of four digits with CMAC most
 * calls find them kept by the key.
 */
#define CPII_MAC_HEAD_LEN 4
extern bool cpii_mac_head(CpiiMac *mac, const unsigned char *in, size_t inlen,
						  unsigned char out[CPII_MAC_HEAD_LEN]);

/* the hash in two steps, of which the second one is short */
extern bool cpii_mac_begin(CpiiMac *mac, const unsigned char *in, size_t inlen);
extern bool cpii_mac_end(CpiiMac *mac, const unsigned char *in, size_t inlen,
						 unsigned char out[CPII_MAC_LEN]);

/* HMAC-SHA-256 with a key (32 bytes) that is used once */
extern bool cpii_mac_once(const unsigned char *key, const unsigned char *in,
						  size_t inlen, unsigned char out[CPII_MAC_LEN]);

/* of several pieces one after the other */
typedef struct CpiiMacPiece
{
	const unsigned char *data;
	size_t		len;
} CpiiMacPiece;

extern bool cpii_mac_pieces(CpiiMac *mac, const CpiiMacPiece *pieces, int n,
							unsigned char out[CPII_MAC_LEN]);

#endif							/* CPII_MAC_H */
