/*-------------------------------------------------------------------------
 *
 * utf8.h
 *	  Code points of UTF-8 text and what kind of character they are.
 *
 * Private to src/mask, and used by sealed/normalise.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_UTF8_H
#define CPII_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bytes of the first character, or 0 when it is malformed or len is 0 */
extern int	cpii_utf8_decode(const char *in, size_t len, uint32_t *cp);
/* bytes written (1 to 4) */
extern int	cpii_utf8_encode(uint32_t cp, char *out);

/* full-width ASCII forms and the ideographic blank to ASCII */
extern uint32_t cpii_utf8_half_width(uint32_t cp);
/* traditional to simplified (of the characters that our words use), upper case */
extern uint32_t cpii_utf8_fold(uint32_t cp);
/* make its table ready; without this call the first use does */
extern void cpii_utf8_prepare(void);

extern bool cpii_utf8_is_zero_width(uint32_t cp);
extern bool cpii_utf8_is_space(uint32_t cp);
extern bool cpii_utf8_is_dash(uint32_t cp);
extern bool cpii_utf8_is_name_dot(uint32_t cp);
extern bool cpii_utf8_is_han(uint32_t cp);
extern bool cpii_utf8_is_letter(uint32_t cp);	/* alphabets, not Han */
extern bool cpii_utf8_is_han_number(uint32_t folded);

#define cpii_is_digit(cp) ((cp) >= '0' && (cp) <= '9')
#define cpii_is_upper(cp) ((cp) >= 'A' && (cp) <= 'Z')
#define cpii_is_lower(cp) ((cp) >= 'a' && (cp) <= 'z')
#define cpii_is_alnum(cp) \
	(cpii_is_digit(cp) || cpii_is_upper(cp) || cpii_is_lower(cp))

#endif							/* CPII_UTF8_H */
