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
#include <string.h>

#include "base/classes.h"
#include "mask/utf8.h"

#define NAME_DOT 0x00B7

/* well-formed?  Does any Han character occur? */
static bool
survey(const char *in, size_t inlen, bool *han)
{
	size_t		pos = 0;

	*han = false;
	while (pos < inlen)
	{
		uint32_t	cp;
		int			used = cpii_utf8_decode(in + pos, inlen - pos, &cp);

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

/*
 * Length of a country code of mainland China before a mobile number.  With a
 * plus sign or zeroes more digits may follow (the extension of a virtual
 * number); 86 alone needs a mobile number and nothing else.
 */
static size_t
mobile_prefix(const char *s, size_t len)
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

size_t
cpii_normalise(int class_id, const char *in, size_t inlen, char *out)
{
	bool		is_name = class_id == CPII_CLASS_PERSON_NAME ||
		class_id == CPII_CLASS_UNIT_NAME;
	bool		blank = false;	/* a blank is due before the next character */
	bool		han;
	size_t		pos = 0;
	size_t		len = 0;

	if (inlen == 0)
		return 0;
	if (!survey(in, inlen, &han))
	{
		memcpy(out, in, inlen);
		return inlen;
	}

	while (pos < inlen)
	{
		uint32_t	cp;

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

	if (class_id == CPII_CLASS_PHONE)
	{
		size_t		prefix = mobile_prefix(out, len);

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
