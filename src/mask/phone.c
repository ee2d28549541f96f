/*-------------------------------------------------------------------------
 *
 * phone.c
 *	  Mask of telephone fields: find the numbers, mask each, hide the rest.
 *
 * A field holds one number, several, or numbers with text around them.  It is
 * cut at separators, each part into text and runs of digits, and each run into
 * numbers.  Text beside a number is masked as a name.  A run that is no number
 * hides itself and all text; a field without any number is hidden whole.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"

#include <string.h>

#include "mask/person_name.h"
#include "mask/phone_number.h"
#include "mask/text.h"

/* most groups that one number is written in */
#define NUMBER_GROUPS 8

typedef struct Field
{
	CpiiText	text;
	CpiiSink	sink;
	CpiiMaskForm form;
	uint32_t	separator;		/* to be written before the next token */
	bool		last_hidden;	/* the token before was the hidden text */
	int			numbers;		/* masked numbers written */
	bool		hide_text;		/* something could not be understood */
} Field;

CPII_WORD_LIST(extension_words,
	"转接", "转", "分机号", "分机", "EXT.", "EXT", "X", "#", ",", "P");

CPII_WORD_LIST(label_words,
	"手机", "手机号", "手机号码", "电话", "电话号码", "联系电话", "联系方式", "固话",
	"座机", "固定电话", "微信", "微信同号", "TEL", "PHONE", "MOBILE");

static bool
is_separator(uint32_t cp)
{
	return cp == '/' || cp == '\\' || cp == 0x3001 || cp == ',' || cp == ';' ||
		cp == '|' || cp == '&' || cp == 0x6216;
}

/* signs inside a written number */
static bool
is_layout(uint32_t cp)
{
	return cp == ' ' || cp == '(' || cp == ')' || cp == '.' || cp == '[' ||
		cp == ']' || cp == 0x3010 || cp == 0x3011 || cpii_utf8_is_dash(cp);
}

/* signs around a text that do not belong to a name */
static bool
is_edge(uint32_t cp)
{
	return is_layout(cp) || cp == ':' || cp == '=' || cp == '\'' || cp == '"' ||
		cp == 0x201C || cp == 0x201D || cp == 0x2018 || cp == 0x2019 ||
		cp == '<' || cp == '>' || cp == 0x3002 || cp == '!' || cp == '+';
}

/*
 * A comma between a number and a few digits that end the part announces an
 * extension (some platforms write virtual numbers so).
 */
static bool
is_extension_comma(const CpiiText *text, int pos)
{
	int			digits = 0;
	int			i = pos - 1;

	if (text->cp[pos] != ',')
		return false;
	while (i >= 0 && text->cp[i] == ' ')
		i--;
	if (i < 0 || !cpii_is_digit(text->cp[i]))
		return false;
	i = pos + 1;
	while (i < text->n && text->cp[i] == ' ')
		i++;
	while (i < text->n && cpii_is_digit(text->cp[i]))
	{
		digits++;
		i++;
	}
	while (i < text->n && text->cp[i] == ' ')
		i++;
	return digits >= 1 && digits <= 6 && (i == text->n || is_separator(text->cp[i]));
}

static void
begin_field(Field *field)
{
	field->sink.len = 0;
	field->sink.overflow = false;
	field->separator = ' ';
	field->last_hidden = false;
	field->numbers = 0;
}

static void
begin_token(Field *field)
{
	if (field->sink.len > 0)
		cpii_sink_cp(&field->sink, field->separator);
	field->separator = ' ';
	field->last_hidden = false;
}

/* several hidden tokens in a row tell no more than one */
static void
write_hidden(Field *field)
{
	if (field->last_hidden && field->separator == ' ')
		return;
	begin_token(field);
	cpii_sink_string(&field->sink, CPII_HIDDEN_TEXT);
	field->last_hidden = true;
}

static void
write_text(Field *field, int from, int end)
{
	size_t		len = field->sink.len;
	uint32_t	separator = field->separator;
	bool		last_hidden = field->last_hidden;
	int			label;

	while (from < end && is_edge(field->text.cp[from]))
		from++;
	while (end > from && is_edge(field->text.cp[end - 1]))
		end--;
	label = cpii_text_match_tail(&field->text, from, end, &label_words);
	if (label == end - from)
		return;					/* nothing, or just what the number is called */

	if (!field->hide_text)
	{
		begin_token(field);
		if (cpii_person_name_span(&field->text, from, end, field->form,
								  &field->sink))
			return;
		field->sink.len = len;
		field->separator = separator;
		field->last_hidden = last_hidden;
	}
	write_hidden(field);
}

/*
 * Split the groups into numbers, the longest first, at blanks only: next[i] is
 * where the number that begins at group i ends.  False when it is impossible.
 */
static bool
split_numbers(const CpiiDigitGroup *groups, int ngroups, bool loose_extension,
			  int *next)
{
	char		masked[CPII_MASKED_NUMBER_SIZE];
	int			i;
	int			j;

	next[ngroups] = ngroups;
	for (i = ngroups - 1; i >= 0; i--)
	{
		next[i] = 0;			/* no way from here */
		for (j = i + NUMBER_GROUPS < ngroups ? i + NUMBER_GROUPS : ngroups; j > i; j--)
		{
			if (j < ngroups &&
				(next[j] == 0 ||
				 (groups[j].join != CPII_JOIN_BLANK && !groups[j].plus)))
				continue;
			if (cpii_phone_number_mask(groups + i, j - i, loose_extension, masked))
			{
				next[i] = j;
				break;
			}
		}
	}
	return next[0] != 0;
}

/* write the masks of the numbers; false, with nothing written, if some is none */
static bool
write_numbers(Field *field, const CpiiDigitGroup *groups, int ngroups)
{
	char		masked[CPII_MASKED_NUMBER_SIZE];
	int			next[CPII_GROUPS_MAX + 1];
	bool		loose_extension = false;
	int			i;

	if (!split_numbers(groups, ngroups, loose_extension, next))
	{
		loose_extension = true;
		if (!split_numbers(groups, ngroups, loose_extension, next))
			return false;
	}
	for (i = 0; i < ngroups; i = next[i])
	{
		(void) cpii_phone_number_mask(groups + i, next[i] - i, loose_extension,
									  masked);
		begin_token(field);
		cpii_sink_string(&field->sink, masked);
		field->numbers++;
	}
	return true;
}

static bool
digit_at(const CpiiText *text, int pos, int end)
{
	return pos < end && cpii_is_digit(text->cp[pos]);
}

static void
read_group(const CpiiText *text, int *pos, int end, CpiiDigitGroup *group)
{
	group->n = 0;
	for (; digit_at(text, *pos, end); (*pos)++)
	{
		if (group->n < CPII_GROUP_DIGITS)
			group->digits[group->n] = (char) text->cp[*pos];
		if (group->n <= CPII_GROUP_DIGITS)
			group->n++;
	}
}

/*
 * Read the run of digits at *pos (a digit, or a plus sign before one) into
 * groups; *pos moves behind it.  Returns the number of groups, or -1 when
 * there are too many (the run is passed over all the same).
 */
static int
read_run(const CpiiText *text, int *pos, int end, CpiiDigitGroup *groups)
{
	CpiiDigitGroup spare;
	CpiiJoin	join = CPII_JOIN_NONE;
	int			n = 0;

	for (;;)
	{
		CpiiDigitGroup *group = n < CPII_GROUPS_MAX ? &groups[n] : &spare;
		bool		blank = false;
		bool		other = false;
		int			i;
		int			word;

		group->join = join;
		group->plus = text->cp[*pos] == '+';
		if (group->plus)
			(*pos)++;
		read_group(text, pos, end, group);
		n++;

		for (i = *pos; i < end && is_layout(text->cp[i]); i++)
		{
			if (text->cp[i] == ' ')
				blank = true;
			else
				other = true;
		}
		join = blank && !other ? CPII_JOIN_BLANK : CPII_JOIN_DASH;
		word = cpii_text_match_any(text, i, end, &extension_words);
		if (word > 0)
		{
			join = CPII_JOIN_EXTENSION;
			for (i += word; i < end && is_layout(text->cp[i]); i++)
				;
		}
		if (!digit_at(text, i, end) &&
			!(join != CPII_JOIN_EXTENSION && i < end && text->cp[i] == '+' &&
			  digit_at(text, i + 1, end)))
			break;
		*pos = i;
	}
	return n <= CPII_GROUPS_MAX ? n : -1;
}

/* one part between separators */
static void
do_part(Field *field, int from, int end)
{
	CpiiDigitGroup groups[CPII_GROUPS_MAX];
	const CpiiText *text = &field->text;
	int			text_start = from;
	int			pos = from;

	while (pos < end)
	{
		int			run_start = pos;
		int			ngroups;

		if (!digit_at(text, pos, end) &&
			!(text->cp[pos] == '+' && digit_at(text, pos + 1, end)))
		{
			pos++;
			continue;
		}
		ngroups = read_run(text, &pos, end, groups);
		write_text(field, text_start, run_start);
		text_start = pos;
		if (ngroups < 0 || !write_numbers(field, groups, ngroups))
		{
			field->hide_text = true;
			write_hidden(field);
		}
	}
	write_text(field, text_start, end);
}

static void
do_field(Field *field)
{
	const CpiiText *text = &field->text;
	int			from = 0;
	int			i;

	begin_field(field);
	for (i = 0; i <= text->n; i++)
	{
		if (i < text->n &&
			(!is_separator(text->cp[i]) || is_extension_comma(text, i)))
			continue;
		do_part(field, from, i);
		if (i < text->n)
			field->separator = text->cp[i];
		from = i + 1;
	}
}

/*
 * A text with stars must be what we write ourselves, token by token, and is
 * written as it is; anything else is hidden.
 */
static bool
copy_masked(Field *field)
{
	const CpiiText *text = &field->text;
	int			from = 0;
	int			i;

	begin_field(field);
	for (i = 0; i <= text->n; i++)
	{
		if (i < text->n && text->cp[i] != ' ' && !is_separator(text->cp[i]))
			continue;
		if (i > from)
		{
			if (cpii_text_stars(text, from, i, sizeof(CPII_HIDDEN_TEXT) - 1))
				write_hidden(field);
			else
			{
				if (cpii_phone_number_is_masked(text, from, i))
					field->numbers++;
				else if (!cpii_person_name_is_masked(text, from, i, field->form))
					return false;
				begin_token(field);
				cpii_sink_text(&field->sink, text, from, i);
			}
		}
		if (i < text->n && text->cp[i] != ' ')
			field->separator = text->cp[i];
		from = i + 1;
	}
	return field->numbers > 0;
}

static bool
is_bare_mobile(const char *in, size_t inlen)
{
	size_t		i;

	if (inlen != 11 || in[0] != '1' || in[1] < '3')
		return false;
	for (i = 1; i < inlen; i++)
		if (!cpii_is_digit(in[i]))
			return false;
	return true;
}

size_t
cpii_mask_phone(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	Field		field;

	if (inlen == 0)
		return 0;
	/* the usual case: a mobile number and nothing else */
	if (is_bare_mobile(in, inlen))
	{
		memcpy(out, "1******", 7);
		memcpy(out + 7, in + 7, 4);
		return 11;
	}
	if (!cpii_text_load(&field.text, in, inlen))
		return cpii_mask_hide(out);
	cpii_sink_init(&field.sink, out, inlen);
	field.form = form;
	field.hide_text = false;

	if (cpii_text_has(&field.text, 0, field.text.n, '*'))
	{
		if (!copy_masked(&field))
			return cpii_mask_hide(out);
		return cpii_sink_finish(&field.sink);
	}

	do_field(&field);
	if (field.numbers == 0)
		return cpii_mask_hide(out);
	/* once more, now hiding the text before what was not understood */
	if (field.hide_text)
		do_field(&field);
	return cpii_sink_finish(&field.sink);
}
