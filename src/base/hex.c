/*-------------------------------------------------------------------------
 *
 * hex.c
 *	  Bytes as hexadecimal digits.  Pure.
 *
 * Keys and shares come by here: digits are computed, not looked up in a
 * format, and no copy stays behind.
 *
 *-------------------------------------------------------------------------
 */
#include "base/hex.h"

void
cpii_hex(const unsigned char *bytes, size_t len, char *to)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

static int
value_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
cpii_unhex(const char *text, size_t len, unsigned char *bytes)
{
	for (size_t i = 0; i < len; i++)
	{
		int			high = value_of(text[2 * i]);
		int			low = high < 0 ? -1 : value_of(text[2 * i + 1]);

		if (low < 0)
			return false;
		bytes[i] = (unsigned char) (high << 4 | low);
	}
	return true;
}
