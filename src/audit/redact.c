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

typedef enum Piece
{
	PIECE_TEXT,
	PIECE_LITERAL,
	PIECE_COMMENT
} Piece;

/* what begins at pos, and where it ends */
static Piece
next_piece(const char *sql, size_t len, size_t pos, size_t *end)
{
	char		c = sql[pos];
	char		next = pos + 1 < len ? sql[pos + 1] : '\0';

	*end = pos + 1;
	if (c == '\'')
	{
		*end = skip_quoted(sql, len, pos, false);
		return PIECE_LITERAL;
	}
	if (c == '"')
	{
		*end = skip_quoted_name(sql, len, pos);
		if (*end != 0)
			return PIECE_TEXT;
		/* nobody knows what the rest was meant to be */
		*end = len;
		return PIECE_LITERAL;
	}
	if (c == '-' && next == '-')
	{
		while (*end < len && sql[*end] != '\n' && sql[*end] != '\r')
			(*end)++;
		return PIECE_COMMENT;
	}
	if (c == '/' && next == '*')
	{
		*end = skip_block_comment(sql, len, pos);
		return PIECE_COMMENT;
	}
	if (c == '$' && is_digit(next))
	{
		while (*end < len && is_digit(sql[*end]))
			(*end)++;
		return PIECE_TEXT;
	}
	if (c == '$')
	{
		*end = skip_dollar_quoted(sql, len, pos);
		if (*end > pos)
			return PIECE_LITERAL;
		*end = pos + 1;
		return PIECE_TEXT;
	}
	if (is_digit(c) || (c == '.' && is_digit(next)))
	{
		*end = skip_number(sql, len, pos);
		return PIECE_LITERAL;
	}
	if (is_ident_start(c))
	{
		while (*end < len && is_ident(sql[*end]))
			(*end)++;
		/* U&'...' and U&"..." */
		if (*end - pos == 1 && (c == 'u' || c == 'U') && *end + 1 < len &&
			sql[*end] == '&' && (sql[*end + 1] == '\'' || sql[*end + 1] == '"'))
			(*end)++;
		if (*end < len && sql[*end] == '\'' &&
			is_literal_prefix(sql + pos, *end - pos))
		{
			*end = skip_quoted(sql, len, *end, c == 'e' || c == 'E');
			return PIECE_LITERAL;
		}
	}
	return PIECE_TEXT;
}

/*
 * Texts of the last statements that had nothing to take out: prepared
 * statements come again and again, and are looked at several times each.  Texts
 * with literals are not kept.
 */
#define KNOWN 4
#define KNOWN_LEN 1024

typedef struct Known
{
	size_t		len;
	char		text[KNOWN_LEN];
} Known;

static Known known[KNOWN];
static unsigned int next_known = 0;

bool
cpii_redact_unneeded(const char *sql, size_t len)
{
	size_t		end;

	if (len == 0 || len > KNOWN_LEN)
		return false;
	for (int i = 0; i < KNOWN; i++)
		if (known[i].len == len && memcmp(known[i].text, sql, len) == 0)
			return true;
	for (size_t pos = 0; pos < len; pos = end)
		if (next_piece(sql, len, pos, &end) != PIECE_TEXT)
			return false;
	known[next_known].len = len;
	memcpy(known[next_known].text, sql, len);
	next_known = (next_known + 1) % KNOWN;
	return true;
}

size_t
cpii_redact(const char *sql, size_t len, char *out, size_t outcap)
{
	Output		o = {out, 0, outcap > 0 ? outcap - 1 : 0, false};
	size_t		pos = 0;
	size_t		end;

	if (outcap == 0)
		return 0;
	if (len < outcap && cpii_redact_unneeded(sql, len))
	{
		memcpy(out, sql, len);
		out[len] = '\0';
		return len;
	}

	for (; pos < len && !o.full; pos = end)
	{
		Piece		piece = next_piece(sql, len, pos, &end);

		if (piece == PIECE_LITERAL)
			put(&o, "?", 1);
		else if (piece == PIECE_COMMENT)
			put(&o, " ", 1);
		else
			put(&o, sql + pos, end - pos);
	}

	out[o.used] = '\0';
	return o.used;
}

void
cpii_redact_in_place(char *sql, size_t len)
{
	size_t		end;

	for (size_t pos = 0; pos < len; pos = end)
	{
		Piece		piece = next_piece(sql, len, pos, &end);

		if (piece == PIECE_COMMENT)
			memset(sql + pos, ' ', end - pos);
		else if (piece == PIECE_LITERAL && sql[pos] == '\'')
		{
			bool		closed = end - pos > 1 && sql[end - 1] == '\'';

			memset(sql + pos + 1, '*', end - pos - (closed ? 2 : 1));
		}
		else if (piece == PIECE_LITERAL)
			memset(sql + pos, '0', end - pos);	/* still a literal */
	}
}

/*
 * Copy text[pos, end) without what stands in quotes (double ones only when
 * asked) and without long numbers.
 */
static void
put_message(Output *o, const char *text, size_t pos, size_t end,
			bool double_quotes)
{
	while (pos < end && !o->full)
	{
		char		c = text[pos];

		if (c == '\'' || (c == '"' && double_quotes))
		{
			/* nobody escapes quotes within quotes: up to the last of its kind */
			size_t		last = end;

			for (size_t i = pos + 1; i < end; i++)
				if (text[i] == c)
					last = i + 1;
			put(o, &c, 1);
			put(o, "?", 1);
			put(o, &c, 1);
			pos = last;
		}
		else if (is_digit(c) && pos + 3 < end && is_digit(text[pos + 1]) &&
				 is_digit(text[pos + 2]) && is_digit(text[pos + 3]))
		{
			while (pos < end && is_digit(text[pos]))
				pos++;
			put(o, "?", 1);
		}
		else
		{
			put(o, &c, 1);
			pos++;
		}
	}
}

size_t
cpii_redact_message(const char *text, size_t len, char *out, size_t outcap)
{
	Output		o = {out, 0, outcap > 0 ? outcap - 1 : 0, false};

	if (outcap == 0)
		return 0;
	put_message(&o, text, 0, len, true);
	out[o.used] = '\0';
	return o.used;
}

size_t
cpii_redact_plan(const char *text, size_t len, char *out, size_t outcap)
{
	static const char cost[] = "(cost=";
	Output		o = {out, 0, outcap > 0 ? outcap - 1 : 0, false};
	size_t		pos = 0;

	if (outcap == 0)
		return 0;
	while (pos < len && !o.full)
	{
		size_t		end = pos;
		bool		is_cost = false;

		while (end < len && text[end] != '\n')
		{
			is_cost |= len - end > sizeof(cost) &&
				memcmp(text + end, cost, sizeof(cost) - 1) == 0;
			end++;
		}
		if (end < len)
			end++;
		if (is_cost)
			put(&o, text + pos, end - pos);
		else
			put_message(&o, text, pos, end, false);
		pos = end;
	}
	out[o.used] = '\0';
	return o.used;
}
