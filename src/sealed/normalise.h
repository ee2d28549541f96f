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
 * Normalise UTF-8 text of a class into out and return its length:
 * full-width ASCII forms become half-width, zero-width characters vanish,
 * letters of ASCII become upper case (person_name and unit_name too: Latin
 * names are found in any case), white space is removed (single inner blanks
 * stay in Latin names and unit names); for phones also hyphens, dashes,
 * brackets and a leading +86, 0086 or 86 before a mobile number vanish; for
 * account and waybill numbers and identity numbers also hyphens vanish; an
 * e-mail address is put in lower case instead.  Malformed UTF-8 is passed
 * through byte by byte.  Idempotent.
 */
extern size_t cpii_normalise(int class_id, const char *in, size_t inlen, char *out);

/*
 * The last four characters (code points) of normalised text: returns the
 * offset at which they begin (0 when the text is shorter).
 */
extern size_t cpii_normalise_tail4(const char *normalised, size_t len);

#endif							/* CPII_NORMALISE_H */
