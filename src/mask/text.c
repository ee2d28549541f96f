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

#define DROPPED UINT32_MAX

/* the character as it is kept, or DROPPED; bytes read, 0 when it cannot be */
static int
read_character(const char *in, size_t inlen, bool drop_blank, bool drop_dash,
			   uint32_t *result)
{
	uint32_t	cp;
	int			used = cpii_utf8_decode(in, inlen, &cp);

	if (used == 0)
		return 0;
	cp = cpii_utf8_half_width(cp);
	if (cpii_utf8_is_zero_width(cp))
		cp = DROPPED;
	else if (cpii_utf8_is_space(cp))
		cp = drop_blank ? DROPPED : ' ';
	else if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0))
		return 0;
	else if (drop_dash && cpii_utf8_is_dash(cp))
		cp = DROPPED;
	*result = cp;
	return used;
}

/* a full text: true if all that follows is dropped */
static bool
load_nothing(const char *in, size_t inlen, bool drop_blanks, bool drop_dashes,
			 CpiiText *text)
{
	while (inlen > 0)
	{
		uint32_t	cp;
		int			used = read_character(in, inlen, drop_blanks, drop_dashes, &cp);

		if (used == 0 || cp != DROPPED)
			return false;
		in += used;
		inlen -= (size_t) used;
	}
	while (text->n > 0 && text->cp[text->n - 1] == ' ')
		text->n--;
	return true;
}

static bool
text_load(CpiiText *text, const char *in, size_t inlen,
		  bool drop_blanks, bool drop_dashes)
{
	const unsigned char *s = (const unsigned char *) in;
	const uint64_t *folded = cpii_utf8_folded;
	size_t		pos = 0;
	int			n = 0;

	if (!cpii_utf8_prepared)
		cpii_utf8_prepare();
	text->n = 0;
	while (pos < inlen)
	{
		uint32_t	cp = s[pos];
		int			used;

		if (n >= CPII_TEXT_MAX)
		{
			/* what follows may still be dropped */
			text->n = n;
			return load_nothing(in + pos, inlen - pos, drop_blanks, drop_dashes,
								text);
		}
		/* usual Han characters and printable ASCII need no second look */
		if (cp >= 0xE4 && cp <= 0xE9 && inlen - pos >= 3)
		{
			uint32_t	second = s[pos + 1] ^ 0x80u;
			uint32_t	third = s[pos + 2] ^ 0x80u;

			cp = (cp & 0x0F) << 12 | second << 6 | third;
			if ((second | third) < 0x40 && cp >= 0x4E00)
			{
				pos += 3;
				text->cp[n] = cp;
				text->fold[n++] = (folded[cp >> 6] >> (cp & 63)) & 1 ?
					cpii_utf8_fold_look(cp) : cp;
				continue;
			}
			cp = s[pos];
		}
		if (cp > ' ' && cp < 0x7F && cp != '-')
		{
			pos++;
			text->cp[n] = cp;
			text->fold[n++] = cpii_is_lower(cp) ? cp - 'a' + 'A' : cp;
			continue;
		}
		used = read_character(in + pos, inlen - pos, drop_blanks || n == 0,
							  drop_dashes, &cp);
		if (used == 0)
			return false;
		pos += (size_t) used;
		if (cp == DROPPED)
			continue;
		text->cp[n] = cp;
		text->fold[n++] = cpii_utf8_fold(cp);
	}
	while (n > 0 && text->cp[n - 1] == ' ')
		n--;
	text->n = n;
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
 * The character of a word at *s, which moves behind it.  Words are constants of
 * ours: characters of one byte or three, well-formed.
 */
static inline uint32_t
word_character(const unsigned char **s)
{
	uint32_t	cp = **s;

	if (cp < 0xE0)
	{
		(*s)++;
		return cp;
	}
	cp = ((cp & 0x0F) << 12) | ((uint32_t) ((*s)[1] & 0x3F) << 6) |
		(uint32_t) ((*s)[2] & 0x3F);
	*s += 3;
	return cp;
}

int
cpii_text_match(const CpiiText *text, int pos, int end, const char *word)
{
	const unsigned char *s = (const unsigned char *) word;
	int			count = 0;

	while (*s)
	{
		if (pos + count >= end || text->fold[pos + count] != word_character(&s))
			return 0;
		count++;
	}
	return count;
}

static inline void
set_bit(uint64_t bits[16], uint32_t cp)
{
	bits[(cp >> 6) & 15] |= UINT64_C(1) << (cp & 63);
}

static inline bool
has_bit(const uint64_t bits[16], uint32_t cp)
{
	return (bits[(cp >> 6) & 15] >> (cp & 63)) & 1;
}

static void
prepare_words(CpiiWords *list)
{
	const char *const *word;

	for (word = list->words; *word; word++)
	{
		const unsigned char *s = (const unsigned char *) *word;
		uint32_t	cp = word_character(&s);

		set_bit(list->first, cp);
		while (*s)
			cp = word_character(&s);
		set_bit(list->last, cp);
	}
	list->ready = true;
}

bool
cpii_text_may_begin(const CpiiText *text, int pos, int end, CpiiWords *words)
{
	if (!words->ready)
		prepare_words(words);
	return pos < end && has_bit(words->first, text->fold[pos]);
}

int
cpii_text_match_any(const CpiiText *text, int pos, int end, CpiiWords *words)
{
	const char *const *word;

	if (!cpii_text_may_begin(text, pos, end, words))
		return 0;
	for (word = words->words; *word; word++)
	{
		int			count = cpii_text_match(text, pos, end, *word);

		if (count > 0)
			return count;
	}
	return 0;
}

/* the last character of a word of ours */
static inline uint32_t
last_character(const char *word)
{
	size_t		len = strlen(word);
	const unsigned char *s = (const unsigned char *) word + len - 1;

	if (*s < 0x80)
		return *s;
	s -= 2;
	return word_character(&s);
}

int
cpii_text_match_tail(const CpiiText *text, int from, int end, CpiiWords *words)
{
	const char *const *word;
	int			best = 0;

	if (!words->ready)
		prepare_words(words);
	if (end <= from || !has_bit(words->last, text->fold[end - 1]))
		return 0;
	for (word = words->words; *word; word++)
	{
		const char *s;
		int			count = 0;

		if (last_character(*word) != text->fold[end - 1])
			continue;
		for (s = *word; *s; s++)
			if (((unsigned char) *s & 0xC0) != 0x80)
				count++;
		if (count > best && end - count >= from &&
			cpii_text_match(text, end - count, end, *word) == count)
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
	{
		uint32_t	cp = text->cp[i];
		char	   *out = sink->out + sink->len;

		/* most of what is shown, without a call a character */
		if (cp >= 0x800 && cp < 0x10000 && sink->cap - sink->len >= 3 &&
			!sink->overflow)
		{
			out[0] = (char) (0xE0 | (cp >> 12));
			out[1] = (char) (0x80 | ((cp >> 6) & 0x3F));
			out[2] = (char) (0x80 | (cp & 0x3F));
			sink->len += 3;
		}
		else
			cpii_sink_cp(sink, cp);
	}
}

size_t
cpii_sink_finish(CpiiSink *sink)
{
	size_t		characters = sink->len;
	size_t		i;

	/* few bytes are few characters */
	if (sink->len > CPII_TEXT_MAX)
	{
		characters = 0;
		for (i = 0; i < sink->len; i++)
			if (((unsigned char) sink->out[i] & 0xC0) != 0x80)
				characters++;
	}
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
