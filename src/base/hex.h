/*-------------------------------------------------------------------------
 *
 * hex.h
 *	  Bytes as hexadecimal digits.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_HEX_H
#define CPII_HEX_H

#include <stdbool.h>
#include <stddef.h>

/* len bytes as 2 * len lower-case digits and a final zero */
extern void cpii_hex(const unsigned char *bytes, size_t len, char *to);

/*
 * len bytes of the first 2 * len digits of a text, of either letter case.
 * False, with bytes half written, at anything else; nothing behind that, such
 * as the end of the text, is looked at.
 */
extern bool cpii_unhex(const char *text, size_t len, unsigned char *bytes);

#endif							/* CPII_HEX_H */
