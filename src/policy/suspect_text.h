/*-------------------------------------------------------------------------
 *
 * suspect_text.h
 *	  Does a column's name, or a value, look like personal data?  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SUSPECT_TEXT_H
#define CPII_SUSPECT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The class that a column of this name would have, 0 for none.  Names in
 * English, Chinese (simplified or traditional), pinyin and its usual
 * abbreviations.  *weak: the name alone proves little ("name", "sj").
 */
extern int	cpii_suspect_name(const char *name, bool *weak);

/* a personal number or address stands inside a longer text */
#define CPII_SUSPECT_EMBEDDED 0

/*
 * What a value (UTF-8) looks like: 1 << class for each that it may be as a
 * whole, 1 << CPII_SUSPECT_EMBEDDED for a text with something personal in it.
 * Only the first 4 kB are looked at.
 */
extern unsigned cpii_suspect_value(const char *text, size_t len);

#endif							/* CPII_SUSPECT_TEXT_H */
