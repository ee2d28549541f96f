/*-------------------------------------------------------------------------
 *
 * normalise.c
 *	  The form of a value that search tags are computed from.
 *
 * Pure.  One pass over the characters, so that normalising twice changes
 * nothing.  Text with malformed UTF-8 is copied as it is: dropping characters
 * from it could join stray bytes into other characters.
 *
 *-------------------------------------------------------------------------
 */
#include "sealed/normalise.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/classes.h"
#include "mask/utf8.h"

#define NAME_DOT 0x00B7

/* does a Chinese character of the usual block, U+4E00 to U+9FFF, begin here? */
static inline bool
is_usual_han(const char *in)
{
	unsigned char first = (unsigned char) in[0];

	return (first > 0xE4 && first <= 0xE9) ||
		(first == 0xE4 && (unsigned char) in[1] >= 0xB8);
}

/* well-formed?  Does any Han character occur? */
static bool
survey(const char *in, size_t inlen, bool *han)
{
	size_t		pos = 0;

	*han = false;
	while (pos < inlen)
	{
		uint32_t	cp;
		int			used;

		if (inlen - pos >= 3 && is_usual_han(in + pos) &&
			((unsigned char) in[pos + 1] & 0xC0) == 0x80 &&
			((unsigned char) in[pos + 2] & 0xC0) == 0x80)
		{
			*han = true;
			pos += 3;
			continue;
		}
		used = cpii_utf8_decode(in + pos, inlen - pos, &cp);
		if (used == 0)
			return false;
		if (cpii_utf8_is_han(cp))
			*han = true;
		pos += (size_t) used;
	}
	return true;
}

/* signs that only lay out a value of the class */
static bool
is_layout(int class_id, uint32_t cp)
{
	bool		bracket = cp == '(' || cp == ')' || cp == '[' || cp == ']' ||
		cp == 0x3010 || cp == 0x3011;

	switch (class_id)
	{
		case CPII_CLASS_PHONE:
			return cpii_utf8_is_dash(cp) || bracket || cp == '.';
		case CPII_CLASS_ID_NUMBER:
			return cpii_utf8_is_dash(cp) || bracket;
		case CPII_CLASS_WAYBILL_NO:
		case CPII_CLASS_ACCOUNT_NO:
			return cpii_utf8_is_dash(cp);
		default:
			return false;
	}
}

static uint32_t
change_case(int class_id, uint32_t cp)
{
	if (class_id == CPII_CLASS_EMAIL)
		return cpii_is_upper(cp) ? cp - 'A' + 'a' : cp;
	return cpii_is_lower(cp) ? cp - 'a' + 'A' : cp;
}

/* digits that begin the text */
static size_t
leading_digits(const char *s, size_t len)
{
	size_t		n = 0;

	while (n < len && cpii_is_digit(s[n]))
		n++;
	return n;
}

size_t
cpii_mobile_prefix(const char *s, size_t len)
{
	size_t		prefix;
	size_t		digits;

	if (len > 3 && memcmp(s, "+86", 3) == 0)
		prefix = 3;
	else if (len > 4 && memcmp(s, "0086", 4) == 0)
		prefix = 4;
	else if (len > 2 && memcmp(s, "86", 2) == 0)
		prefix = 2;
	else
		return 0;
	digits = leading_digits(s + prefix, len - prefix);
	if (digits < 11 || (prefix == 2 && digits != 11) ||
		s[prefix] != '1' || s[prefix + 1] < '3')
		return 0;
	return prefix;
}

static bool
all_ascii(const char *in, size_t inlen)
{
	unsigned char bits = 0;

	for (size_t i = 0; i < inlen; i++)
		bits |= (unsigned char) in[i];
	return bits < 0x80;
}

/* what normalise_any() does, where each character is one byte */
static size_t
normalise_ascii(int class_id, bool is_name, const char *in, size_t inlen,
				char *out)
{
	bool		blank = false;
	size_t		len = 0;

	for (size_t i = 0; i < inlen; i++)
	{
		uint32_t	cp = (unsigned char) in[i];

		/* digits, most of all that there is, need no question */
		if (!cpii_is_digit(cp))
		{
			if (is_layout(class_id, cp))
				continue;
			if (cpii_utf8_is_space(cp))
			{
				blank = is_name && len > 0;
				continue;
			}
			cp = change_case(class_id, cp);
		}
		if (blank)
			out[len++] = ' ';
		blank = false;
		out[len++] = (char) cp;
	}
	return len;
}

/* well-formed text */
static size_t
normalise_any(int class_id, bool is_name, bool han, const char *in,
			  size_t inlen, char *out)
{
	bool		blank = false;	/* a blank is due before the next character */
	size_t		pos = 0;
	size_t		len = 0;

	while (pos < inlen)
	{
		uint32_t	cp;

		/* most of names and addresses, and never changed */
		if (is_usual_han(in + pos))
		{
			if (blank)
				out[len++] = ' ';
			blank = false;
			memcpy(out + len, in + pos, 3);
			len += 3;
			pos += 3;
			continue;
		}
		pos += (size_t) cpii_utf8_decode(in + pos, inlen - pos, &cp);
		cp = cpii_utf8_half_width(cp);
		if (cpii_utf8_is_zero_width(cp) || is_layout(class_id, cp))
			continue;
		if (cpii_utf8_is_space(cp))
		{
			blank = is_name && !han && len > 0;
			continue;
		}
		if (is_name && cpii_utf8_is_name_dot(cp))
			cp = NAME_DOT;
		if (blank)
			out[len++] = ' ';
		blank = false;
		len += (size_t) cpii_utf8_encode(change_case(class_id, cp), out + len);
	}
	return len;
}

size_t
cpii_normalise(int class_id, const char *in, size_t inlen, char *out)
{
	bool		is_name = class_id == CPII_CLASS_PERSON_NAME ||
		class_id == CPII_CLASS_UNIT_NAME;
	bool		han;
	size_t		len;

	if (inlen == 0)
		return 0;
	if (cpii_all_digits(in, inlen))
	{
		memcpy(out, in, inlen);
		len = inlen;
	}
	else if (all_ascii(in, inlen))
		len = normalise_ascii(class_id, is_name, in, inlen, out);
	else if (survey(in, inlen, &han))
		len = normalise_any(class_id, is_name, han, in, inlen, out);
	else
	{
		memcpy(out, in, inlen);
		return inlen;
	}

	if (class_id == CPII_CLASS_PHONE)
	{
		size_t		prefix = cpii_mobile_prefix(out, len);

		len -= prefix;
		memmove(out, out + prefix, len);
	}
	return len;
}

size_t
cpii_normalise_tail4(const char *normalised, size_t len)
{
	size_t		pos = len;
	int			characters = 0;

	while (pos > 0)
	{
		pos--;
		if (((unsigned char) normalised[pos] & 0xC0) != 0x80 && ++characters == 4)
			return pos;
	}
	return 0;
}
