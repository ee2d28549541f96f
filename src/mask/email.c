/*-------------------------------------------------------------------------
 *
 * email.c
 *	  Mask of e-mail addresses: first character and domain.
 *
 * A local part of one character is not shown at all.  A domain that carries
 * seven digits or more could be a phone number: then everything is hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/text.h"

#define LONGEST_LOCAL 64
#define MOST_DOMAIN_DIGITS 6

static bool
is_local_character(uint32_t cp)
{
	return cpii_is_alnum(cp) || cp == '.' || cp == '_' || cp == '-' ||
		cp == '+' || cp == '%' || cp == '\'' || cp == '=' || cp == '&' ||
		cp == '#' || cp == '~';
}

/* labels of letters, digits and inner hyphens; the last one letters only */
static bool
is_domain(const CpiiText *text, int from)
{
	int			labels = 0;
	int			digits = 0;
	int			start = from;
	int			last_start = from;
	int			i;

	if (text->n - from > 253)
		return false;
	for (i = from; i <= text->n; i++)
	{
		if (i == text->n || text->cp[i] == '.')
		{
			if (i == start || i - start > 63 ||
				text->cp[start] == '-' || text->cp[i - 1] == '-')
				return false;
			labels++;
			last_start = start;
			start = i + 1;
		}
		else if (!cpii_is_alnum(text->cp[i]) && text->cp[i] != '-')
			return false;
		else if (cpii_is_digit(text->cp[i]))
			digits++;
	}
	if (labels < 2 || digits > MOST_DOMAIN_DIGITS ||
		text->n - last_start < 2)
		return false;
	for (i = last_start; i < text->n; i++)
		if (!cpii_utf8_is_letter(text->cp[i]))
			return false;
	return true;
}

size_t
cpii_mask_email(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	int			at = 0;
	int			i;
	bool		masked;

	if (inlen == 0)
		return 0;
	/* an e-mail address has no place on a label */
	if (form == CPII_FORM_LABEL)
		return cpii_mask_hide(out);
	if (!cpii_text_load(&text, in, inlen))
		return cpii_mask_hide(out);

	while (at < text.n && text.cp[at] != '@')
		at++;
	if (at == 0 || at == text.n || at > LONGEST_LOCAL ||
		!is_domain(&text, at + 1))
		return cpii_mask_hide(out);

	masked = cpii_text_stars(&text, 0, at, 3) ||
		(cpii_text_stars(&text, 1, at, 3) && is_local_character(text.cp[0]));
	for (i = 0; !masked && i < at; i++)
		if (!is_local_character(text.cp[i]))
			return cpii_mask_hide(out);

	cpii_sink_init(&sink, out, inlen);
	if (at > 1 && text.cp[0] != '*')
		cpii_sink_cp(&sink, text.cp[0]);
	cpii_sink_string(&sink, "***@");
	for (i = at + 1; i < text.n; i++)
		cpii_sink_cp(&sink, cpii_is_upper(text.cp[i]) ?
					 text.cp[i] - 'A' + 'a' : text.cp[i]);
	return cpii_sink_finish(&sink);
}
