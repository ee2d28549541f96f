/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Cleaned text and bounded output for the masks.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/text.h"

#include <string.h>

#include "mask/mask.h"

static bool
text_load(CpiiText *text, const char *in, size_t inlen,
		  bool drop_blanks, bool drop_dashes)
{
	size_t		pos = 0;

	text->n = 0;
	while (pos < inlen)
	{
		uint32_t	cp;
		int			used = cpii_utf8_decode(in + pos, inlen - pos, &cp);

		if (used == 0)
			return false;
		pos += (size_t) used;
		cp = cpii_utf8_half_width(cp);
		if (cpii_utf8_is_zero_width(cp))
			continue;
		if (cpii_utf8_is_space(cp))
		{
			if (drop_blanks || text->n == 0)
				continue;
			cp = ' ';
		}
		else if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0))
			return false;
		if (drop_dashes && cpii_utf8_is_dash(cp))
			continue;
		if (text->n >= CPII_TEXT_MAX)
			return false;
		text->cp[text->n] = cp;
		text->fold[text->n] = cpii_utf8_fold(cp);
		text->n++;
	}
	while (text->n > 0 && text->cp[text->n - 1] == ' ')
		text->n--;
	return true;
}

bool
cpii_text_load(CpiiText *text, const char *in, size_t inlen)
{
	return text_load(text, in, inlen, false, false);
}

bool
cpii_text_load_compact(CpiiText *text, const char *in, size_t inlen,
					   bool drop_dashes)
{
	return text_load(text, in, inlen, true, drop_dashes);
}

/*
 * Words are constants of ours: characters of one byte or three, well-formed.
 */
int
cpii_text_match(const CpiiText *text, int pos, int end, const char *word)
{
	const unsigned char *s = (const unsigned char *) word;
	int			count = 0;

	while (*s)
	{
		uint32_t	cp = *s;

		if (pos + count >= end)
			return 0;
		if (cp >= 0xE0)
		{
			cp = ((cp & 0x0F) << 12) | ((uint32_t) (s[1] & 0x3F) << 6) |
				(uint32_t) (s[2] & 0x3F);
			s += 3;
		}
		else
			s++;
		if (text->fold[pos + count] != cp)
			return 0;
		count++;
	}
	return count;
}

int
cpii_text_match_any(const CpiiText *text, int pos, int end,
					const char *const *words)
{
	for (; *words; words++)
	{
		int			count = cpii_text_match(text, pos, end, *words);

		if (count > 0)
			return count;
	}
	return 0;
}

int
cpii_text_match_tail(const CpiiText *text, int from, int end,
					 const char *const *words)
{
	int			best = 0;

	for (; *words; words++)
	{
		const char *s;
		int			count = 0;

		for (s = *words; *s; s++)
			if (((unsigned char) *s & 0xC0) != 0x80)
				count++;
		if (count > best && end - count >= from &&
			cpii_text_match(text, end - count, end, *words) == count)
			best = count;
	}
	return best;
}

bool
cpii_text_has(const CpiiText *text, int from, int end, uint32_t cp)
{
	int			i;

	for (i = from; i < end; i++)
		if (text->cp[i] == cp)
			return true;
	return false;
}

bool
cpii_text_stars(const CpiiText *text, int from, int end, int count)
{
	int			i;

	if (from < 0 || end > text->n || end - from != count)
		return false;
	for (i = from; i < end; i++)
		if (text->cp[i] != '*')
			return false;
	return true;
}

void
cpii_sink_init(CpiiSink *sink, char *out, size_t inlen)
{
	sink->out = out;
	sink->cap = cpii_mask_bound(inlen);
	sink->len = 0;
	sink->overflow = false;
}

void
cpii_sink_cp(CpiiSink *sink, uint32_t cp)
{
	char		buffer[4];
	int			count = cpii_utf8_encode(cp, buffer);

	if (sink->overflow || sink->cap - sink->len < (size_t) count)
	{
		sink->overflow = true;
		return;
	}
	memcpy(sink->out + sink->len, buffer, (size_t) count);
	sink->len += (size_t) count;
}

void
cpii_sink_string(CpiiSink *sink, const char *string)
{
	size_t		count = strlen(string);

	if (sink->overflow || sink->cap - sink->len < count)
	{
		sink->overflow = true;
		return;
	}
	memcpy(sink->out + sink->len, string, count);
	sink->len += count;
}

void
cpii_sink_text(CpiiSink *sink, const CpiiText *text, int from, int end)
{
	int			i;

	for (i = from; i < end; i++)
		cpii_sink_cp(sink, text->cp[i]);
}

size_t
cpii_sink_finish(CpiiSink *sink)
{
	size_t		characters = 0;
	size_t		i;

	for (i = 0; i < sink->len; i++)
		if (((unsigned char) sink->out[i] & 0xC0) != 0x80)
			characters++;
	if (sink->overflow || characters == 0 || characters > CPII_TEXT_MAX)
		return cpii_mask_hide(sink->out);
	return sink->len;
}

size_t
cpii_mask_hide(char *out)
{
	memcpy(out, CPII_HIDDEN_TEXT, sizeof(CPII_HIDDEN_TEXT) - 1);
	return sizeof(CPII_HIDDEN_TEXT) - 1;
}
