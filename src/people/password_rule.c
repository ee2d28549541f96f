/*-------------------------------------------------------------------------
 *
 * password_rule.c
 *	  Is a password too weak?
 *
 * Pure: no server headers, no allocation.  A password is looked at as it is
 * (length, kinds of characters, runs) and folded: full-width forms, Chinese
 * digits and common substitutions made plain, so that a name or a date is found
 * in whatever dress it comes.
 *
 *-------------------------------------------------------------------------
 */
#include "people/password_rule.h"

#include <stdio.h>
#include <string.h>

#define MAX_CHARS CPII_PASSWORD_MAX

/* one character of UTF-8; a damaged byte stands for itself */
static unsigned
next_char(const char **p)
{
	const unsigned char *s = (const unsigned char *) *p;
	int			more = s[0] >= 0xF0 ? 3 : s[0] >= 0xE0 ? 2 : s[0] >= 0xC0 ? 1 : 0;
	unsigned	c = more == 3 ? s[0] & 0x07 : more == 2 ? s[0] & 0x0F
		: more == 1 ? s[0] & 0x1F : s[0];

	for (int i = 1; i <= more; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
		{
			*p += 1;
			return s[0];
		}
		c = c << 6 | (s[i] & 0x3F);
	}
	*p += more + 1;
	return c;
}

static int
decode(const char *text, unsigned *chars, int max)
{
	int			n = 0;

	while (*text != '\0' && n < max)
		chars[n++] = next_char(&text);
	return n;
}

/* full-width forms and digits of other scripts become ASCII, capitals small */
static unsigned
fold(unsigned c)
{
	static const unsigned digits[] = {
		0x3007, 0x4E00, 0x4E8C, 0x4E09, 0x56DB, 0x4E94, 0x516D, 0x4E03, 0x516B,
		0x4E5D
	};

	if (c >= 0xFF01 && c <= 0xFF5E)
		c -= 0xFEE0;
	if (c == 0x96F6)
		return '0';
	for (unsigned i = 0; i < 10; i++)
		if (c == digits[i])
			return '0' + i;
	if (c >= 'A' && c <= 'Z')
		return c + 32;
	return c;
}

/* signs that stand for letters */
static unsigned
unmask(unsigned c)
{
	static const char from[] = "01345789@$!+|";
	static const char to[] = "oleastbgasitl";
	const char *at = c < 128 && c != 0 ? strchr(from, (int) c) : NULL;

	return at != NULL ? (unsigned) to[at - from] : c;
}

/* is it a separator inside dates and numbers? */
static bool
is_separator(unsigned c)
{
	return c == ' ' || c == '-' || c == '.' || c == '/' || c == '_' || c == ':' ||
		c == ',' || c == '\\' || c == 0x5E74 || c == 0x6708 || c == 0x65E5 ||
		c == 0x53F7 || c == 0x3000;
}

static int
count_classes(const unsigned *chars, int n)
{
	int			kinds = 0;

	for (int i = 0; i < n; i++)
	{
		unsigned	c = chars[i];

		if (c >= 'a' && c <= 'z')
			kinds |= 1;
		else if (c >= 'A' && c <= 'Z')
			kinds |= 2;
		else if (c >= '0' && c <= '9')
			kinds |= 4;
		else
			kinds |= 8;
	}
	return (kinds & 1) + (kinds >> 1 & 1) + (kinds >> 2 & 1) + (kinds >> 3 & 1);
}

/* ---- runs ---- */

/* do two characters follow each other on a keyboard, in rows or columns? */
static int
keyboard_step(unsigned a, unsigned b)
{
	static const char *const lines[] = {
		"`1234567890-=", "~!@#$%^&*()_+", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./",
		"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/",
		"789", "456", "123", "147", "258", "369"
	};

	if (a >= 128 || b >= 128 || a == 0 || b == 0)
		return 0;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
	{
		const char *at = strchr(lines[i], (int) a);

		if (at == NULL)
			continue;
		if (at[1] != '\0' && (unsigned) at[1] == b)
			return 1;
		if (at > lines[i] && (unsigned) at[-1] == b)
			return -1;
	}
	return 0;
}

static bool
is_alnum(unsigned c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

/* longest run; *kind: what it is made of */
static int
longest_run(const unsigned *folded, int n, const char **kind)
{
	int			best = n > 0 ? 1 : 0;
	int			equal = 1,
				up = 1,
				down = 1,
				right = 1,
				left = 1;

	*kind = "";
	for (int i = 1; i < n; i++)
	{
		unsigned	a = folded[i - 1];
		unsigned	b = folded[i];
		bool		both = is_alnum(a) && is_alnum(b) && (a <= '9') == (b <= '9');
		int			step = keyboard_step(a, b);

		equal = a == b ? equal + 1 : 1;
		up = both && b == a + 1 ? up + 1 : 1;
		down = both && b + 1 == a ? down + 1 : 1;
		right = step == 1 ? right + 1 : 1;
		left = step == -1 ? left + 1 : 1;
		if (equal > best)
			best = equal, *kind = "it repeats a character";
		if (up > best || down > best)
			best = up > down ? up : down, *kind = "it contains a sequence";
		if (right > best || left > best)
			best = right > left ? right : left, *kind = "it contains a run of neighbouring keys";
	}
	return best;
}

/* is the whole a short piece again and again? */
static bool
is_repetition(const unsigned *folded, int n)
{
	for (int size = 1; size <= n / 2; size++)
	{
		int			i = size;

		while (i < n && folded[i] == folded[i - size])
			i++;
		if (i == n)
			return true;
	}
	return false;
}

/* ---- words and numbers ---- */

static bool
contains(const unsigned *text, int n, const unsigned *word, int len, bool masked)
{
	for (int i = 0; i + len <= n; i++)
	{
		int			k = 0;

		while (k < len && (masked ? unmask(text[i + k]) == unmask(word[k])
						   : text[i + k] == word[k]))
			k++;
		if (k == len)
			return true;
	}
	return false;
}

static bool
contains_either_way(const unsigned *text, int n, const unsigned *word, int len)
{
	unsigned	back[MAX_CHARS];

	for (int i = 0; i < len; i++)
		back[i] = word[len - 1 - i];
	return contains(text, n, word, len, false) || contains(text, n, word, len, true) ||
		contains(text, n, back, len, false) || contains(text, n, back, len, true);
}

/* is this word in it?  Two characters of Chinese are a name, of Latin none */
static bool
contains_word(const unsigned *text, int n, const char *word)
{
	unsigned	chars[MAX_CHARS];
	unsigned	part[MAX_CHARS];
	int			len = decode(word, chars, MAX_CHARS);
	int			used = 0;

	for (int i = 0; i <= len; i++)
	{
		unsigned	c = i < len ? fold(chars[i]) : ' ';

		if (!is_separator(c))
			part[used++] = chars[i] = c;
		else
		{
			int			least = used > 0 && part[0] >= 0x2E80 ? 2 : 4;

			if (used >= least && contains_either_way(text, n, part, used))
				return true;
			used = 0;
			if (i < len)
				chars[i] = c;
		}
	}
	return len >= 3 && contains_either_way(text, n, chars, len);
}

/* ask about every piece, forwards and backwards, separators left out */
static bool
contains_known(const unsigned *folded, int n, const CpiiPasswordSubject *subject)
{
	char		line[MAX_CHARS + 1];
	int			used = 0;

	for (int i = 0; i < n; i++)
	{
		unsigned	c = folded[i];

		if (is_separator(c))
			continue;
		line[used++] = is_alnum(c) ? (char) c : '\1';
	}
	for (int way = 0; way < 2; way++)
	{
		for (int at = 0; at < used; at++)
			for (int len = CPII_PIECE_MIN;
				 len <= CPII_PIECE_MAX && at + len <= used; len++)
			{
				if (line[at + len - 1] == '\1')
					break;
				if (subject->known(line + at, (size_t) len, subject->arg))
					return true;
			}
		for (int i = 0; i < used / 2; i++)
		{
			char		c = line[i];

			line[i] = line[used - 1 - i];
			line[used - 1 - i] = c;
		}
	}
	return false;
}

/* one of the most used passwords, with digits and signs around it */
static bool
is_common(const unsigned *folded, int n)
{
	static const char *const common[] = {
		"password", "passwort", "letmein", "welcome", "administrator", "admin",
		"iloveyou", "monkey", "dragon", "sunshine", "princess", "football",
		"baseball", "superman", "batman", "trustno", "master", "shadow", "michael",
		"jennifer", "hunter", "secret", "changeme", "default", "postgres",
		"database", "woaini", "woaiwojia", "nihao", "mima", "kuaidi", "express",
		"courier", "shunfeng", "zhongtong", "yuantong", "yunda", "shentong"
	};

	for (size_t k = 0; k < sizeof(common) / sizeof(common[0]); k++)
	{
		int			len = (int) strlen(common[k]);

		for (int at = 0; at + len <= n; at++)
		{
			int			letters = 0;
			int			i = 0;

			while (i < len && unmask(folded[at + i]) == unmask((unsigned char) common[k][i]))
				i++;
			if (i < len)
				continue;
			/* what stands around it makes it another one, or does not */
			for (i = 0; i < n; i++)
				if ((i < at || i >= at + len) && folded[i] >= 'a')
					letters++;
			if (letters <= 2)
				return true;
		}
	}
	return false;
}

const char *
cpii_password_weakness(const CpiiPasswordRules *rules,
					   const CpiiPasswordSubject *subject, const char *password)
{
	unsigned	chars[MAX_CHARS];
	unsigned	folded[MAX_CHARS];
	const char *kind;
	int			n;

	if (strlen(password) > CPII_PASSWORD_MAX)
		return "it is too long";
	n = decode(password, chars, MAX_CHARS);
	if (n < rules->min_length)
		return "it is too short";
	if (count_classes(chars, n) < rules->classes)
		return "it has too few kinds of characters";
	for (int i = 0; i < n; i++)
		folded[i] = fold(chars[i]);
	if (is_repetition(folded, n))
		return "it repeats itself";
	if (longest_run(folded, n, &kind) > rules->max_run)
		return kind;
	if (is_common(folded, n))
		return "it is one of the most used passwords";
	for (int i = 0; i < subject->nwords; i++)
		if (subject->words[i] != NULL &&
			contains_word(folded, n, subject->words[i]))
			return "it contains a name or number of the account";
	if (subject->known != NULL && contains_known(folded, n, subject))
		return "it contains a date or number of the person";
	return NULL;
}

bool
cpii_password_similar(const char *old_password, const char *new_password)
{
	unsigned	a[MAX_CHARS];
	unsigned	b[MAX_CHARS];
	int			rows[2][MAX_CHARS + 1];
	int			na = decode(old_password, a, MAX_CHARS);
	int			nb = decode(new_password, b, MAX_CHARS);

	/* edit distance, without regard to case */
	for (int j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (int i = 1; i <= na; i++)
	{
		int		   *above = rows[(i - 1) % 2];
		int		   *row = rows[i % 2];

		row[0] = i;
		for (int j = 1; j <= nb; j++)
		{
			int			best = above[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return rows[na % 2][nb] < 4;
}

int
cpii_date_forms(int year, int month, int day,
				char forms[][CPII_PIECE_MAX + 1], int max)
{
	static const char *const names[] = {
		"january", "february", "march", "april", "may", "june", "july", "august",
		"september", "october", "november", "december"
	};
	const char *name;
	int			n = 0;

#define FORM(...) \
	do { \
		if (n < max) \
			snprintf(forms[n++], CPII_PIECE_MAX + 1, __VA_ARGS__); \
	} while (0)

	if (month < 1 || month > 12 || day < 1 || day > 31 || year < 1000 || year > 9999)
		return 0;
	name = names[month - 1];
	FORM("%04d%02d%02d", year, month, day);
	FORM("%02d%02d%02d", year % 100, month, day);
	FORM("%02d%02d", month, day);
	FORM("%02d%02d%04d", day, month, year);
	FORM("%02d%02d%04d", month, day, year);
	FORM("%02d%02d%02d", day, month, year % 100);
	FORM("%02d%02d%02d", month, day, year % 100);
	FORM("%02d%02d", day, month);
	FORM("%04d%02d", year, month);
	FORM("%02d%04d", month, year);
	FORM("%04d%d%d", year, month, day);
	FORM("%02d%d%d", year % 100, month, day);
	FORM("%d%d%04d", day, month, year);
	FORM("%d%d%04d", month, day, year);
	FORM("%.3s%02d", name, day);
	FORM("%02d%.3s", day, name);
	FORM("%.9s%02d", name, day);
	if (day < 10)
	{
		FORM("%.3s%d", name, day);
		FORM("%d%.3s", day, name);
		FORM("%.9s%d", name, day);
	}
#undef FORM
	return n;
}
