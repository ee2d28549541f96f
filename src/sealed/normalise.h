/*-------------------------------------------------------------------------
 *
 * normalise.h
 *	  The form of a value that search tags are computed from.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_NORMALISE_H
#define CPII_NORMALISE_H

#include <stddef.h>

#include "base/classes.h"
#include "mask/utf8.h"

/* room that cpii_normalise needs at most for inlen bytes of input */
#define CPII_NORMALISE_BOUND(inlen) ((inlen) + 1)

/*
 * Normalise UTF-8 text of a class into out and return its length, which is
 * never more than inlen.  Idempotent.
 *
 * All classes: full-width ASCII forms become half-width, zero-width characters
 * vanish, letters of ASCII become upper case, white space is removed.
 * Names and unit names: single inner blanks stay when the text has no Han
 * character; the dots between the parts of a name become U+00B7.
 * Phones: hyphens, dashes, points and brackets vanish, and +86, 0086 or 86
 * before a mobile number.  Identity numbers: hyphens, dashes and brackets
 * vanish; waybill and account numbers: hyphens and dashes.
 * E-mail addresses: lower case instead of upper case.
 *
 * Text with malformed UTF-8 is passed through byte by byte.
 */
extern size_t cpii_normalise(int class_id, const char *in, size_t inlen, char *out);

/*
 * Length of a country code of mainland China before a mobile number.  With a
 * plus sign or zeroes more digits may follow (the extension of a virtual
 * number); 86 alone needs a mobile number and nothing else.
 */
extern size_t cpii_mobile_prefix(const char *s, size_t len);

/*
 * The same as cpii_normalise without a copy where none is needed: the result,
 * of *len bytes, is in room, or a part of the text (of digits nothing changes
 * but a prefix).
 */
static inline const char *
cpii_normalised(int class_id, const char *in, size_t inlen, char *room, size_t *len)
{
	size_t		prefix = 0;

	if (!cpii_all_digits(in, inlen))
	{
		*len = cpii_normalise(class_id, in, inlen, room);
		return room;
	}
	if (class_id == CPII_CLASS_PHONE && inlen > 0 && in[0] != '1')
		prefix = cpii_mobile_prefix(in, inlen);
	*len = inlen - prefix;
	return in + prefix;
}

/*
 * The last four characters (code points) of normalised text: returns the
 * offset at which they begin (0 when the text is shorter).
 */
extern size_t cpii_normalise_tail4(const char *normalised, size_t len);

#endif							/* CPII_NORMALISE_H */
