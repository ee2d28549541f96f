/*-------------------------------------------------------------------------
 *
 * shamir.h
 *	  Sharing a secret among custodians (Shamir, over GF(256)).  Pure.
 *
 * Any "threshold" of the shares give the secret; fewer tell nothing about it.
 * Arithmetic has no tables and no branches that depend on secret bytes.
 *
 * Text form of a share, lower case, blanks and line ends around it ignored:
 *
 *	  pii1-T-N-SSSSSSSSSSSSSSSS-(64 digits)-CCCCCCCC
 *
 * T threshold, N number of the share, S the first 8 bytes of the master key's
 * check value (which set the share belongs to), then the share itself, and C
 * the first 4 bytes of the SHA-256 of all before its dash.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SHAMIR_H
#define CPII_SHAMIR_H

#include "crypto/cipher.h"

#define CPII_SHARE_SET_LEN 8
#define CPII_SHARE_MAX_THRESHOLD 16
/* room for the text form and its end */
#define CPII_SHARE_TEXT_LEN 128

typedef struct CpiiShare
{
	int			threshold;
	int			number;			/* 1 .. 255 */
	unsigned char set[CPII_SHARE_SET_LEN];
	unsigned char data[CPII_KEY_LEN];
} CpiiShare;

/*
 * Share number "number" of the secret.  coefficients: threshold - 1 random
 * vectors of CPII_KEY_LEN bytes, the same for all shares of a set.
 */
extern void cpii_shamir_share(const unsigned char secret[CPII_KEY_LEN],
							  const unsigned char *coefficients, int threshold,
							  int number, unsigned char out[CPII_KEY_LEN]);

/* the secret from n shares with different numbers; false on equal numbers */
extern bool cpii_shamir_combine(const CpiiShare *shares, int n,
								unsigned char out[CPII_KEY_LEN]);

typedef enum CpiiShareProblem
{
	CPII_SHARE_GOOD,
	CPII_SHARE_FORM,			/* not a share at all */
	CPII_SHARE_CHECKSUM			/* a share with a slip of the pen */
} CpiiShareProblem;

extern CpiiShareProblem cpii_share_parse(const char *text, size_t len,
										 CpiiShare *share);
extern bool cpii_share_print(const CpiiShare *share,
							 char out[CPII_SHARE_TEXT_LEN]);

/*
 * Overwrite what could be a share, or the most of one, in a text that goes
 * somewhere: log, activity.  True when there was one.
 */
extern bool cpii_share_scrub(char *text);
extern bool cpii_share_in(const char *text);

#endif							/* CPII_SHAMIR_H */
