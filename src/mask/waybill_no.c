/*-------------------------------------------------------------------------
 *
 * waybill_no.c
 *	  Mask of waybill, order and pick-up numbers: carrier prefix and tail.
 *
 * The number of stars is fixed, so that the length does not tell.  Never more
 * than half of a number is shown: short numbers lose their prefix.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/text.h"

#define STARS "********"
#define NSTARS 8
#define TAIL 4
#define SHORTEST 8
#define LONGEST 40

static bool
all_alnum(const CpiiText *text, int from, int end)
{
	int			i;

	for (i = from; i < end; i++)
		if (!cpii_is_alnum(text->cp[i]))
			return false;
	return true;
}

/* two or three leading letters, else the first two characters */
static int
prefix_length(const CpiiText *text)
{
	int			letters = 0;

	while (letters < text->n && cpii_is_upper(text->fold[letters]))
		letters++;
	return letters == 3 ? 3 : 2;
}

static bool
is_masked_shape(const CpiiText *text)
{
	int			prefix = text->n - NSTARS - TAIL;

	return (prefix == 0 || prefix == 2 || prefix == 3) &&
		all_alnum(text, 0, prefix) &&
		cpii_text_stars(text, prefix, prefix + NSTARS, NSTARS) &&
		all_alnum(text, prefix + NSTARS, text->n);
}

size_t
cpii_mask_waybill_no(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	int			prefix;
	int			i;

	(void) form;
	if (inlen == 0)
		return 0;
	if (!cpii_text_load_compact(&text, in, inlen, true))
		return cpii_mask_hide(out);

	if (is_masked_shape(&text))
		prefix = text.n - NSTARS - TAIL;
	else
	{
		if (text.n < SHORTEST || text.n > LONGEST ||
			!all_alnum(&text, 0, text.n))
			return cpii_mask_hide(out);
		prefix = prefix_length(&text);
		if ((prefix + TAIL) * 2 > text.n)
			prefix = 2;
		if ((prefix + TAIL) * 2 > text.n)
			prefix = 0;
	}

	cpii_sink_init(&sink, out, inlen);
	for (i = 0; i < prefix; i++)
		cpii_sink_cp(&sink, text.fold[i]);
	cpii_sink_string(&sink, STARS);
	for (i = text.n - TAIL; i < text.n; i++)
		cpii_sink_cp(&sink, text.fold[i]);
	return cpii_sink_finish(&sink);
}
