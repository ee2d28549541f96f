/*-------------------------------------------------------------------------
 *
 * password_rule.h
 *	  Is a password too weak?  Pure: text in, reason out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PASSWORD_RULE_H
#define CPII_PASSWORD_RULE_H

#include <stdbool.h>
#include <stddef.h>

#define CPII_PASSWORD_MAX 256	/* bytes */

typedef struct CpiiPasswordRules
{
	int			min_length;		/* characters */
	int			classes;		/* of lower, upper, digit, other */
	int			max_run;		/* equal, consecutive, neighbouring on a keyboard */
} CpiiPasswordRules;

/* what is known of the person; texts are UTF-8 */
typedef struct CpiiPasswordSubject
{
	const char *const *words;	/* names, numbers; short ones are ignored */
	int			nwords;

	/*
	 * Does this piece of the password (len bytes of digits and lower case
	 * letters) belong to the person's dates or numbers?  May be NULL.
	 */
	bool		(*known) (const char *piece, size_t len, void *arg);
	void	   *arg;
} CpiiPasswordSubject;

/* lengths of the pieces that "known" is asked about */
#define CPII_PIECE_MIN 4
#define CPII_PIECE_MAX 11

/*
 * Why the password may not be used (English, to be continued after "password
 * is too weak: "), or NULL.
 */
extern const char *cpii_password_weakness(const CpiiPasswordRules *rules,
										  const CpiiPasswordSubject *subject,
										  const char *password);

/* are fewer than four characters different? */
extern bool cpii_password_similar(const char *old_password,
								  const char *new_password);

/*
 * The forms in which people write a date: up to max texts of at most
 * CPII_PIECE_MAX bytes, digits and lower case letters.  Returns their number.
 */
#define CPII_MAX_DATE_FORMS 40
extern int	cpii_date_forms(int year, int month, int day,
							char forms[][CPII_PIECE_MAX + 1], int max);

#endif							/* CPII_PASSWORD_RULE_H */
