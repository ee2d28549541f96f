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
 * The last four characters (code points) of normalised text: returns the
 * offset at which they begin (0 when the text is shorter).
 */
extern size_t cpii_normalise_tail4(const char *normalised, size_t len);

#endif							/* CPII_NORMALISE_H */
