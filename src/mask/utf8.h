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
#include <string.h>

/* bytes of the first character, or 0 when it is malformed or len is 0 */
extern int	cpii_utf8_decode(const char *in, size_t len, uint32_t *cp);
/* bytes written (1 to 4) */
extern int	cpii_utf8_encode(uint32_t cp, char *out);

/* full-width ASCII forms and the ideographic blank to ASCII */
extern uint32_t cpii_utf8_half_width(uint32_t cp);

/*
 * One bit for each character of the basic plane that the table folds, so that
 * the others are not looked for.  Worked out at the first use or before.
 */
extern uint64_t cpii_utf8_folded[0x10000 / 64];
extern bool cpii_utf8_prepared;
extern void cpii_utf8_prepare(void);
extern uint32_t cpii_utf8_fold_look(uint32_t cp);

/* traditional to simplified (of the characters that our words use), upper case */
static inline uint32_t
cpii_utf8_fold(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= 'a' && cp <= 'z' ? cp - 'a' + 'A' : cp;
	if (cp > 0xFFFF)
		return cp;
	if (!cpii_utf8_prepared)
		cpii_utf8_prepare();
	return (cpii_utf8_folded[cp >> 6] >> (cp & 63)) & 1 ?
		cpii_utf8_fold_look(cp) : cp;
}

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

/* nothing but digits, or nothing at all?  Eight characters at a time, the last ones once more */
static inline bool
cpii_all_digits(const char *in, size_t inlen)
{
	size_t		i = 0;

	if (inlen < 8)
	{
		while (i < inlen && cpii_is_digit(in[i]))
			i++;
		return i == inlen;
	}
	for (;;)
	{
		uint64_t	eight;

		/* a digit is 3x, and still is when six are added */
		memcpy(&eight, in + i, sizeof(eight));
		if (((eight & (eight + UINT64_C(0x0606060606060606))) &
			 UINT64_C(0xF0F0F0F0F0F0F0F0)) != UINT64_C(0x3030303030303030))
			return false;
		if (i + 8 == inlen)
			return true;
		i = i + 16 <= inlen ? i + 8 : inlen - 8;
	}
}

#endif							/* CPII_UTF8_H */
