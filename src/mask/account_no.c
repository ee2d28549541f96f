/*-------------------------------------------------------------------------
 *
 * account_no.c
 *	  Mask of bank and payment accounts: the last four digits.
 *
 * Only numbers of at least twelve digits are understood; accounts that are a
 * phone number or an e-mail address are hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/text.h"

#define STARS "************"
#define NSTARS 12
#define TAIL 4
#define SHORTEST 12
#define LONGEST 32

static bool
all_digits(const CpiiText *text, int from, int end)
{
	int			i;

	for (i = from; i < end; i++)
		if (!cpii_is_digit(text->cp[i]))
			return false;
	return true;
}

size_t
cpii_mask_account_no(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	bool		masked;

	if (inlen == 0)
		return 0;
	/* an account has no place on a label */
	if (form == CPII_FORM_LABEL)
		return cpii_mask_hide(out);
	if (!cpii_text_load_compact(&text, in, inlen, true))
		return cpii_mask_hide(out);

	masked = text.n == NSTARS + TAIL &&
		cpii_text_stars(&text, 0, NSTARS, NSTARS) &&
		all_digits(&text, NSTARS, text.n);
	if (!masked && (text.n < SHORTEST || text.n > LONGEST ||
					!all_digits(&text, 0, text.n)))
		return cpii_mask_hide(out);

	cpii_sink_init(&sink, out, inlen);
	cpii_sink_string(&sink, STARS);
	cpii_sink_text(&sink, &text, text.n - TAIL, text.n);
	return cpii_sink_finish(&sink);
}
