/*-------------------------------------------------------------------------
 *
 * utf8.c
 *	  Code points of UTF-8 text and what kind of character they are.
 *
 * Pure.  Decoding is strict (no overlong forms, surrogates or values above
 * U+10FFFF), so that nothing that another decoder reads differently is shown.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/utf8.h"

#include "mask/fold_table.h"

int
cpii_utf8_decode(const char *in, size_t len, uint32_t *cp)
{
	const unsigned char *s = (const unsigned char *) in;
	uint32_t	value;
	int			need;
	int			i;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
	{
		*cp = s[0];
		return 1;
	}
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
	{
		need = 2;
		value = s[0] & 0x1F;
	}
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
	{
		need = 3;
		value = s[0] & 0x0F;
	}
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
	{
		need = 4;
		value = s[0] & 0x07;
	}
	else
		return 0;
	if (len < (size_t) need)
		return 0;
	for (i = 1; i < need; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		value = (value << 6) | (s[i] & 0x3F);
	}
	if ((need == 3 && value < 0x800) || (need == 4 && value < 0x10000) ||
		value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		return 0;
	*cp = value;
	return need;
}

int
cpii_utf8_encode(uint32_t cp, char *out)
{
	if (cp < 0x80)
	{
		out[0] = (char) cp;
		return 1;
	}
	if (cp < 0x800)
	{
		out[0] = (char) (0xC0 | (cp >> 6));
		out[1] = (char) (0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000)
	{
		out[0] = (char) (0xE0 | (cp >> 12));
		out[1] = (char) (0x80 | ((cp >> 6) & 0x3F));
		out[2] = (char) (0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | (cp >> 18));
	out[1] = (char) (0x80 | ((cp >> 12) & 0x3F));
	out[2] = (char) (0x80 | ((cp >> 6) & 0x3F));
	out[3] = (char) (0x80 | (cp & 0x3F));
	return 4;
}

uint32_t
cpii_utf8_half_width(uint32_t cp)
{
	if (cp >= 0xFF01 && cp <= 0xFF5E)
		return cp - 0xFEE0;
	if (cp == 0x3000)
		return ' ';
	return cp;
}

uint64_t	cpii_utf8_folded[0x10000 / 64];
bool		cpii_utf8_prepared = false;

void
cpii_utf8_prepare(void)
{
	size_t		i;

	for (i = 0; i < sizeof(fold_table) / sizeof(fold_table[0]); i++)
		cpii_utf8_folded[fold_table[i].from >> 6] |=
			UINT64_C(1) << (fold_table[i].from & 63);
	cpii_utf8_prepared = true;
}

/* the table's answer for a character that it may hold */
uint32_t
cpii_utf8_fold_look(uint32_t cp)
{
	int			low = 0;
	int			high = (int) (sizeof(fold_table) / sizeof(fold_table[0])) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (fold_table[middle].from == cp)
			return fold_table[middle].to;
		if (fold_table[middle].from < cp)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return cp;
}

bool
cpii_utf8_is_zero_width(uint32_t cp)
{
	return cp == 0x00AD || cp == 0x034F || cp == 0x061C ||
		(cp >= 0x115F && cp <= 0x1160) || cp == 0x17B4 || cp == 0x17B5 ||
		(cp >= 0x180B && cp <= 0x180F) || (cp >= 0x200B && cp <= 0x200F) ||
		(cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2060 && cp <= 0x206F) ||
		cp == 0x3164 || (cp >= 0xFE00 && cp <= 0xFE0F) || cp == 0xFEFF ||
		cp == 0xFFA0 || (cp >= 0xE0000 && cp <= 0xE0FFF);
}

bool
cpii_utf8_is_space(uint32_t cp)
{
	return cp == ' ' || (cp >= 0x09 && cp <= 0x0D) || cp == 0x85 || cp == 0xA0 ||
		cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
		cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool
cpii_utf8_is_dash(uint32_t cp)
{
	return cp == '-' || (cp >= 0x2010 && cp <= 0x2015) || cp == 0x2043 ||
		cp == 0x2212 || cp == 0xFE58 || cp == 0xFE63 || cp == 0xFE31 ||
		cp == 0xFE32 || cp == 0xFF0D;
}

bool
cpii_utf8_is_name_dot(uint32_t cp)
{
	return cp == 0x00B7 || cp == 0x2022 || cp == 0x30FB || cp == 0x2027 ||
		cp == 0xFF65 || cp == 0x2219 || cp == 0x22C5 || cp == 0x0387;
}

bool
cpii_utf8_is_han(uint32_t cp)
{
	return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
		(cp >= 0x20000 && cp <= 0x323AF) || (cp >= 0xF900 && cp <= 0xFAFF) ||
		cp == 0x3007;
}

bool
cpii_utf8_is_letter(uint32_t cp)
{
	if (cp < 0x80)
		return cpii_is_upper(cp) || cpii_is_lower(cp);
	return (cp >= 0x00C0 && cp <= 0x024F && cp != 0x00D7 && cp != 0x00F7) ||
		(cp >= 0x1E00 && cp <= 0x1EFF) ||	/* Vietnamese */
		(cp >= 0x0386 && cp <= 0x03FF && cp != 0x0387) ||	/* Greek */
		(cp >= 0x0400 && cp <= 0x0481) || (cp >= 0x048A && cp <= 0x052F) ||
		(cp >= 0x3041 && cp <= 0x3096) ||	/* Hiragana */
		(cp >= 0x30A1 && cp <= 0x30FA) || cp == 0x30FC || /* Katakana */
		(cp >= 0xAC00 && cp <= 0xD7A3); /* Hangul */
}

/* the characters that numbers are written with, those of phone calls included */
bool
cpii_utf8_is_han_number(uint32_t folded)
{
	switch (folded)
	{
		case 0x3007:			/* zero, one to ten */
		case 0x96F6:
		case 0x4E00:
		case 0x4E8C:
		case 0x4E09:
		case 0x56DB:
		case 0x4E94:
		case 0x516D:
		case 0x4E03:
		case 0x516B:
		case 0x4E5D:
		case 0x5341:
		case 0x767E:			/* hundred */
		case 0x4E24:			/* two (of something) */
		case 0x5E7A:			/* one, on the phone */
		case 0x58F9:			/* the long forms */
		case 0x8D30:
		case 0x53C1:
		case 0x8086:
		case 0x4F0D:
		case 0x9646:
		case 0x67D2:
		case 0x634C:
		case 0x7396:
		case 0x62FE:
			return true;
		default:
			return false;
	}
}
