/*-------------------------------------------------------------------------
 *
 * id_number.c
 *	  Mask of identity document numbers: first and last character.
 *
 * The usual forms that keep the first six digits show home district, and the
 * seventeenth digit the sex; we keep neither.  The shape depends on the kind
 * only: resident identity numbers (18 or 15 digits) and everything else.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/text.h"

#define RESIDENT_STARS "****************"
#define OTHER_STARS "******"
#define SHORTEST 6
#define LONGEST 24

/* 18 digits, the last may be X; or the 15 digits of old cards */
static bool
is_resident_number(const CpiiText *text)
{
	int			i;

	if (text->n != 18 && text->n != 15)
		return false;
	for (i = 0; i < text->n; i++)
		if (!cpii_is_digit(text->fold[i]) &&
			!(i == 17 && text->fold[i] == 'X'))
			return false;
	return true;
}

static bool
is_masked_shape(const CpiiText *text)
{
	if (text->n < 3 || !cpii_is_alnum(text->cp[0]) ||
		!cpii_is_alnum(text->cp[text->n - 1]))
		return false;
	return cpii_text_stars(text, 1, text->n - 1, sizeof(RESIDENT_STARS) - 1) ||
		cpii_text_stars(text, 1, text->n - 1, sizeof(OTHER_STARS) - 1);
}

size_t
cpii_mask_id_number(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	const char *stars;
	int			i;
	int			n = 0;

	if (inlen == 0)
		return 0;
	/* an identity number has no place on a label */
	if (form == CPII_FORM_LABEL)
		return cpii_mask_hide(out);
	if (!cpii_text_load_compact(&text, in, inlen, true))
		return cpii_mask_hide(out);

	/* brackets around a check digit, as in A123456(7) */
	for (i = 0; i < text.n; i++)
		if (text.cp[i] != '(' && text.cp[i] != ')')
		{
			text.cp[n] = text.cp[i];
			text.fold[n] = text.fold[i];
			n++;
		}
	text.n = n;

	if (is_masked_shape(&text))
		stars = text.n == 18 ? RESIDENT_STARS : OTHER_STARS;
	else
	{
		if (text.n < SHORTEST || text.n > LONGEST)
			return cpii_mask_hide(out);
		for (i = 0; i < text.n; i++)
			if (!cpii_is_alnum(text.cp[i]))
				return cpii_mask_hide(out);
		stars = is_resident_number(&text) ? RESIDENT_STARS : OTHER_STARS;
	}

	cpii_sink_init(&sink, out, inlen);
	cpii_sink_cp(&sink, text.fold[0]);
	cpii_sink_string(&sink, stars);
	cpii_sink_cp(&sink, text.fold[text.n - 1]);
	return cpii_sink_finish(&sink);
}
