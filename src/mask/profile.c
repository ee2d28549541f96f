/*-------------------------------------------------------------------------
 *
 * profile.c
 *	  Masks of a company's own classes: a built-in mask, or first and last
 *	  characters around a fixed number of stars.
 *
 * Never more than half of the characters are shown: a text too short for its
 * profile is hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"

#include <string.h>

#include "base/classes.h"
#include "mask/text.h"

#define STARS "****"
#define NSTARS 4

/* a number from 1 to CPII_PROFILE_MOST at *s, which moves behind it */
static bool
read_number(const char **s, int *number)
{
	if (**s < '1' || **s > '0' + CPII_PROFILE_MOST)
		return false;
	*number = **s - '0';
	(*s)++;
	return true;
}

static bool
read_word(const char **s, const char *word)
{
	size_t		len = strlen(word);

	if (strncmp(*s, word, len) != 0)
		return false;
	*s += len;
	return true;
}

static bool
parse(const char *name, CpiiMaskProfile *profile)
{
	const char *s = name;
	int			id;

	for (id = CPII_CLASS_FIRST; id <= CPII_CLASS_LAST_SEALED; id++)
		if (id != CPII_CLASS_NOTE && strcmp(name, cpii_class_table[id].name) == 0)
		{
			profile->class_id = id;
			return true;
		}
	if (read_word(&s, "first_last("))
		return read_number(&s, &profile->first) && read_word(&s, ",") &&
			read_number(&s, &profile->last) && strcmp(s, ")") == 0;
	if (read_word(&s, "first("))
		return read_number(&s, &profile->first) && strcmp(s, ")") == 0;
	if (read_word(&s, "last("))
		return read_number(&s, &profile->last) && strcmp(s, ")") == 0;
	return strcmp(name, "hidden") == 0;
}

bool
cpii_mask_profile_parse(const char *name, CpiiMaskProfile *profile)
{
	const CpiiMaskProfile hidden = {0, 0, 0};

	*profile = hidden;
	if (parse(name, profile))
		return true;
	*profile = hidden;
	return false;
}

size_t
cpii_mask_profile(const CpiiMaskProfile *profile, CpiiMaskForm form,
				  const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	int			shown = profile->first + profile->last;
	int			tail;

	if (profile->class_id != 0)
		return cpii_mask(profile->class_id, form, in, inlen, out);
	if (inlen == 0)
		return 0;
	if (shown == 0 || !cpii_text_load_compact(&text, in, inlen, false))
		return cpii_mask_hide(out);
	tail = text.n - profile->last;
	if (cpii_text_has(&text, 0, text.n, '*'))
	{
		/* our own output, and nothing else that has stars */
		if (text.n != shown + NSTARS ||
			!cpii_text_stars(&text, profile->first, tail, NSTARS) ||
			cpii_text_has(&text, 0, profile->first, '*') ||
			cpii_text_has(&text, tail, text.n, '*'))
			return cpii_mask_hide(out);
	}
	else if (text.n < 2 * shown)
		return cpii_mask_hide(out);
	cpii_sink_init(&sink, out, inlen);
	cpii_sink_text(&sink, &text, 0, profile->first);
	cpii_sink_string(&sink, STARS);
	cpii_sink_text(&sink, &text, tail, text.n);
	return cpii_sink_finish(&sink);
}
