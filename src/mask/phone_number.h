/*-------------------------------------------------------------------------
 *
 * phone_number.h
 *	  One telephone number: its kinds and their masks.  Private to src/mask.
 *
 * phone.c finds the numbers in a field, phone_number.c judges one of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PHONE_NUMBER_H
#define CPII_PHONE_NUMBER_H

#include "mask/text.h"

/* most digits of one group, and most groups that stand together */
#define CPII_GROUP_DIGITS 24
#define CPII_GROUPS_MAX 32

/* how a group of digits is joined to the one before it */
typedef enum CpiiJoin
{
	CPII_JOIN_NONE,				/* the first one */
	CPII_JOIN_DASH,				/* hyphens, brackets, points */
	CPII_JOIN_BLANK,			/* blanks only: perhaps another number */
	CPII_JOIN_EXTENSION			/* a sign or word for an extension */
} CpiiJoin;

typedef struct CpiiDigitGroup
{
	CpiiJoin	join;
	bool		plus;			/* a plus sign stands before it */
	int			n;				/* digits; more than fit: CPII_GROUP_DIGITS + 1 */
	char		digits[CPII_GROUP_DIGITS];
} CpiiDigitGroup;

/* room for the longest masked number and its terminator */
#define CPII_MASKED_NUMBER_SIZE 32

/*
 * Read the groups as exactly one number and write its mask.  At least six
 * digits of every number are hidden.  False when they are no number.  An
 * extension that only a blank parts from its number is read as one only with
 * loose_extension.
 */
extern bool cpii_phone_number_mask(const CpiiDigitGroup *groups, int ngroups,
								   bool loose_extension, char *masked);

/* is [from, end) a masked number, as cpii_phone_number_mask writes it? */
extern bool cpii_phone_number_is_masked(const CpiiText *text, int from, int end);

#endif							/* CPII_PHONE_NUMBER_H */
