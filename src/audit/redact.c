/*-------------------------------------------------------------------------
 *
 * redact.c
 *	  Removes literals and comments from a statement's text.
 *
 * Pure: no server headers, no allocation, no settings.  It follows the lexical
 * rules of PostgreSQL, and where they leave a choice it removes more: what is
 * lost here is only readability, what slips through is personal data.
 *
 *-------------------------------------------------------------------------
 */
#include "audit/redact.h"

#include <stdbool.h>
#include <string.h>

typedef struct Output
{
	char	   *data;
	size_t		used;
	size_t		size;			/* without the terminator */
	bool		full;
} Output;

static void
put(Output *out, const char *bytes, size_t len)
{
	if (out->full)
		return;
	if (len > out->size - out->used)
	{
		len = out->size - out->used;
		/* do not leave half a character behind */
		while (len > 0 && ((unsigned char) bytes[len] & 0xC0) == 0x80)
			len--;
		out->full = true;
	}
	memcpy(out->data + out->used, bytes, len);
	out->used += len;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_ident_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		((unsigned char) c) >= 0x80;
}

static bool
is_ident(char c)
{
	return is_ident_start(c) || is_digit(c) || c == '$';
}

/*
 * Position after a quoted literal; pos is that of the opening quote.  In an
 * escape string a backslash hides the next byte.  In any other kind it is a
 * plain byte, unless standard_conforming_strings is off; where the two
 * readings differ the whole rest counts as literal.
 */
static size_t
skip_quoted(const char *sql, size_t len, size_t pos, bool escapes)
{
	pos++;
	while (pos < len)
	{
		if (sql[pos] == '\\')
		{
			size_t		run = pos;

			while (run < len && sql[run] == '\\')
				run++;
			if ((run - pos) % 2 == 1)
			{
				if (escapes)
					run++;		/* the byte behind is hidden */
				else if (run < len && sql[run] == '\'')
					return len; /* ends here or not: cannot know */
			}
			pos = run;
		}
		else if (sql[pos] == '\'')
		{
			if (pos + 1 < len && sql[pos + 1] == '\'')
				pos += 2;
			else
				return pos + 1;
		}
		else
			pos++;
	}
	return len;
}

/*
 * Position after a quoted identifier, or 0 when it has no end; pos is that of
 * the opening quote.
 */
static size_t
skip_quoted_name(const char *sql, size_t len, size_t pos)
{
	for (pos++; pos < len; pos++)
	{
		if (sql[pos] != '"')
			continue;
		if (pos + 1 < len && sql[pos + 1] == '"')
			pos++;
		else
			return pos + 1;
	}
	return 0;
}

/* position after a block comment, which nests */
static size_t
skip_block_comment(const char *sql, size_t len, size_t pos)
{
	int			depth = 1;

	pos += 2;
	while (pos < len && depth > 0)
	{
		if (pos + 1 < len && sql[pos] == '/' && sql[pos + 1] == '*')
		{
			depth++;
			pos += 2;
		}
		else if (pos + 1 < len && sql[pos] == '*' && sql[pos + 1] == '/')
		{
			depth--;
			pos += 2;
		}
		else
			pos++;
	}
	return pos;
}

/* position after a dollar-quoted literal, or pos when there is none */
static size_t
skip_dollar_quoted(const char *sql, size_t len, size_t pos)
{
	size_t		tag_end = pos + 1;
	size_t		tag_len;

	if (tag_end < len && is_ident_start(sql[tag_end]))
		while (tag_end < len && is_ident(sql[tag_end]) && sql[tag_end] != '$')
			tag_end++;
	if (tag_end >= len || sql[tag_end] != '$')
		return pos;
	tag_end++;
	tag_len = tag_end - pos;
	for (size_t i = tag_end; i + tag_len <= len; i++)
	{
		if (sql[i] == '$' && memcmp(sql + i, sql + pos, tag_len) == 0)
			return i + tag_len;
	}
	return len;
}

/* position after a number, with whatever letters are stuck to it */
static size_t
skip_number(const char *sql, size_t len, size_t pos)
{
	while (pos < len && (is_ident(sql[pos]) || sql[pos] == '.'))
	{
		bool		exponent = (sql[pos] == 'e' || sql[pos] == 'E');

		pos++;
		if (exponent && pos + 1 < len && (sql[pos] == '+' || sql[pos] == '-') &&
			is_digit(sql[pos + 1]))
			pos++;
	}
	return pos;
}

/* is the word that ends before the quote at pos a literal's prefix? */
static bool
is_literal_prefix(const char *word, size_t word_len)
{
	if (word_len == 1)
		return strchr("bBeEnNxX", word[0]) != NULL;
	return word_len == 2 && (word[0] == 'u' || word[0] == 'U') && word[1] == '&';
}

size_t
cpii_redact(const char *sql, size_t len, char *out, size_t outcap)
{
	Output		o = {out, 0, outcap > 0 ? outcap - 1 : 0, false};
	size_t		pos = 0;

	if (outcap == 0)
		return 0;

	while (pos < len && !o.full)
	{
		char		c = sql[pos];
		char		next = pos + 1 < len ? sql[pos + 1] : '\0';

		if (c == '\'')
		{
			pos = skip_quoted(sql, len, pos, false);
			put(&o, "?", 1);
		}
		else if (c == '"')
		{
			size_t		end = skip_quoted_name(sql, len, pos);

			if (end == 0)
			{
				/* nobody knows what the rest was meant to be */
				put(&o, "?", 1);
				pos = len;
			}
			else
			{
				put(&o, sql + pos, end - pos);
				pos = end;
			}
		}
		else if (c == '-' && next == '-')
		{
			while (pos < len && sql[pos] != '\n' && sql[pos] != '\r')
				pos++;
			put(&o, " ", 1);
		}
		else if (c == '/' && next == '*')
		{
			pos = skip_block_comment(sql, len, pos);
			put(&o, " ", 1);
		}
		else if (c == '$' && is_digit(next))
		{
			size_t		end = pos + 1;

			while (end < len && is_digit(sql[end]))
				end++;
			put(&o, sql + pos, end - pos);
			pos = end;
		}
		else if (c == '$')
		{
			size_t		end = skip_dollar_quoted(sql, len, pos);

			if (end == pos)
			{
				put(&o, "$", 1);
				pos++;
			}
			else
			{
				put(&o, "?", 1);
				pos = end;
			}
		}
		else if (is_digit(c) || (c == '.' && is_digit(next)))
		{
			pos = skip_number(sql, len, pos);
			put(&o, "?", 1);
		}
		else if (is_ident_start(c))
		{
			size_t		end = pos + 1;

			while (end < len && is_ident(sql[end]))
				end++;
			/* U&'...' and U&"..." */
			if (end - pos == 1 && (c == 'u' || c == 'U') && end + 1 < len &&
				sql[end] == '&' && (sql[end + 1] == '\'' || sql[end + 1] == '"'))
				end++;
			if (end < len && sql[end] == '\'' &&
				is_literal_prefix(sql + pos, end - pos))
			{
				pos = skip_quoted(sql, len, end, c == 'e' || c == 'E');
				put(&o, "?", 1);
			}
			else
			{
				put(&o, sql + pos, end - pos);
				pos = end;
			}
		}
		else
		{
			put(&o, &c, 1);
			pos++;
		}
	}

	out[o.used] = '\0';
	return o.used;
}
