/*-------------------------------------------------------------------------
 *
 * phone_number.c
 *	  One telephone number: its kinds and their masks.
 *
 *	  mobile			1******5678			virtual		1******5678-****
 *	  landline			010-******78		0571-******7	with extension -***
 *	  no area code		******78			400 and 800	400******1
 *	  abroad			+852-******78		Taiwan mobile, local form 0******678
 *
 * Invariant: six digits or more of each number are hidden, its extension
 * always.  Layout (blanks, hyphens, brackets) is lost.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/phone_number.h"

#include <stdio.h>
#include <string.h>

#define HIDDEN "******"
#define NHIDDEN 6
#define EXTENSION_LONGEST 6

/* the digits of all groups of one number, without the extension */
#define JOINED_MAX 20

typedef enum Kind
{
	KIND_MOBILE,
	KIND_OTHER
} Kind;

static bool
starts_with(const char *digits, const char *prefix)
{
	return strncmp(digits, prefix, strlen(prefix)) == 0;
}

static bool
is_mobile(const char *digits)
{
	return strlen(digits) == 11 && digits[0] == '1' && digits[1] >= '3';
}

/* digits of the area code of a number that begins with zero, or 0 */
static int
area_length(const char *digits)
{
	if (digits[0] != '0' || strlen(digits) < 4)
		return 0;
	if (starts_with(digits, "010") || digits[1] == '2')
		return 3;
	if (digits[1] >= '3' && digits[1] <= '9')
		return 4;
	return 0;
}

static void
put(char *masked, const char *before, int nbefore, const char *dash,
	const char *tail)
{
	snprintf(masked, CPII_MASKED_NUMBER_SIZE, "%.*s%s%s%s", nbefore, before, dash,
			 HIDDEN, tail);
}

static bool
mask_landline(const char *digits, char *masked)
{
	int			area = area_length(digits);
	int			local = (int) strlen(digits) - area;

	if (area == 0 || local < 7 || local > 8 || digits[area] == '0')
		return false;
	put(masked, digits, area, "-", digits + area + NHIDDEN);
	return true;
}

static bool
mask_without_area(const char *digits, char *masked)
{
	size_t		n = strlen(digits);

	if (n < 7 || n > 8 || digits[0] == '0')
		return false;
	put(masked, "", 0, "", digits + NHIDDEN);
	return true;
}

static bool
mask_service(const char *digits, char *masked)
{
	if (strlen(digits) != 10 ||
		!(starts_with(digits, "400") || starts_with(digits, "800")))
		return false;
	put(masked, digits, 3, "", digits + 3 + NHIDDEN);
	return true;
}

static bool
mask_mobile(const char *digits, char *masked)
{
	/* a zero was dialled before mobile numbers of another city */
	if (digits[0] == '0' && is_mobile(digits + 1))
		digits++;
	if (!is_mobile(digits))
		return false;
	put(masked, digits, 1, "", digits + 1 + NHIDDEN);
	return true;
}

/* length of the country code that digits begin with, or 0 */
static int
country_code_length(const char *digits)
{
	static const char *const two[] = {
		"20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43",
		"44", "45", "46", "47", "48", "49", "51", "52", "53", "54", "55", "56",
		"57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84",
		"86", "90", "91", "92", "93", "94", "95", "98", NULL
	};
	const char *const *code;

	if (strlen(digits) < 8 || digits[0] == '0')
		return 0;
	if (digits[0] == '1' || digits[0] == '7')
		return 1;
	for (code = two; *code; code++)
		if (starts_with(digits, *code))
			return 2;
	return 3;
}

/* digits begin with the country code */
static bool
mask_abroad(const char *digits, char *masked)
{
	int			code = country_code_length(digits);
	int			national = (int) strlen(digits) - code;
	int			shown = national - NHIDDEN;
	char		prefix[8];

	if (code == 0 || starts_with(digits, "86") || national < 7 || national > 12)
		return false;
	if (shown > 4)
		shown = 4;
	snprintf(prefix, sizeof(prefix), "+%.*s", code, digits);
	put(masked, prefix, (int) strlen(prefix), "-",
		digits + strlen(digits) - shown);
	return true;
}

/* Hongkong, Macau and Taiwan are often written without a plus sign */
static bool
is_near_abroad(const char *digits)
{
	size_t		n = strlen(digits);

	return ((starts_with(digits, "852") || starts_with(digits, "853")) && n == 11) ||
		(starts_with(digits, "886") && n == 12);
}

/* number of mainland China; with "trunk" its area code may lack the zero */
static bool
mask_domestic(const char *digits, bool trunk, char *masked, Kind *kind)
{
	char		with_zero[JOINED_MAX + 2];

	*kind = KIND_MOBILE;
	if (mask_mobile(digits, masked))
		return true;
	*kind = KIND_OTHER;
	if (mask_service(digits, masked) || mask_landline(digits, masked) ||
		mask_without_area(digits, masked))
		return true;
	if (!trunk)
		return false;
	snprintf(with_zero, sizeof(with_zero), "0%.*s", JOINED_MAX, digits);
	return mask_landline(with_zero, masked);
}

static bool
mask_joined(const char *digits, const CpiiDigitGroup *first, char *masked,
			Kind *kind)
{
	*kind = KIND_OTHER;
	if (first->plus || starts_with(digits, "00"))
	{
		const char *number = first->plus ? digits : digits + 2;

		if (starts_with(number, "86"))
			return mask_domestic(number + 2, true, masked, kind);
		return mask_abroad(number, masked);
	}
	if (mask_domestic(digits, false, masked, kind))
		return true;
	*kind = KIND_OTHER;
	/* 86 alone means mainland China before a mobile number or on its own */
	if (starts_with(digits, "86") && is_mobile(digits + 2))
	{
		*kind = KIND_MOBILE;
		return mask_mobile(digits + 2, masked);
	}
	if (starts_with(digits, "86") && first->n == 2 &&
		mask_domestic(digits + 2, true, masked, kind))
		return true;
	*kind = KIND_OTHER;
	if (is_near_abroad(digits))
		return mask_abroad(digits, masked);
	/* mobile number of Taiwan as dialled there */
	if (starts_with(digits, "09") && strlen(digits) == 10)
	{
		put(masked, "0", 1, "", digits + 7);
		return true;
	}
	return false;
}

/* join the groups; false when they are too long or an extension is inside */
static bool
join_groups(const CpiiDigitGroup *groups, int ngroups, char *digits)
{
	int			n = 0;
	int			i;

	for (i = 0; i < ngroups; i++)
	{
		if (groups[i].n > CPII_GROUP_DIGITS || n + groups[i].n > JOINED_MAX ||
			(i > 0 && (groups[i].plus || groups[i].join == CPII_JOIN_EXTENSION)))
			return false;
		memcpy(digits + n, groups[i].digits, (size_t) groups[i].n);
		n += groups[i].n;
	}
	digits[n] = '\0';
	return n > 0;
}

bool
cpii_phone_number_mask(const CpiiDigitGroup *groups, int ngroups,
					   bool loose_extension, char *masked)
{
	char		digits[JOINED_MAX + 1];
	const CpiiDigitGroup *last = &groups[ngroups - 1];
	Kind		kind;

	if (join_groups(groups, ngroups, digits) &&
		mask_joined(digits, groups, masked, &kind))
		return true;

	/* the last group as an extension */
	if (ngroups < 2 || last->plus || last->n > EXTENSION_LONGEST ||
		(last->join == CPII_JOIN_BLANK && !loose_extension) ||
		!join_groups(groups, ngroups - 1, digits) ||
		!mask_joined(digits, groups, masked, &kind))
		return false;
	strcat(masked, kind == KIND_MOBILE ? "-****" : "-***");
	return true;
}

/* length of the run of digits at pos */
static int
digit_run(const CpiiText *text, int pos, int end)
{
	int			n = 0;

	while (pos + n < end && cpii_is_digit(text->cp[pos + n]))
		n++;
	return n;
}

bool
cpii_phone_number_is_masked(const CpiiText *text, int from, int end)
{
	bool		plus = from < end && text->cp[from] == '+';
	int			pos = from + (plus ? 1 : 0);
	int			before = digit_run(text, pos, end);
	bool		dash;
	bool		mobile;
	int			after;
	int			first = before > 0 ? (int) text->cp[pos] : 0;

	pos += before;
	dash = pos < end && text->cp[pos] == '-';
	if (dash)
		pos++;
	if (pos + NHIDDEN > end || !cpii_text_stars(text, pos, pos + NHIDDEN, NHIDDEN))
		return false;
	pos += NHIDDEN;
	after = digit_run(text, pos, end);
	pos += after;

	mobile = !plus && !dash && before == 1 && first == '1' && after == 4;
	if (!mobile && !(plus && dash && before >= 1 && before <= 3 &&
					 after >= 1 && after <= 4) &&
		!(!plus && dash && (before == 3 || before == 4) && first == '0' &&
		  after >= 1 && after <= 2) &&
		!(!plus && !dash && before == 0 && after >= 1 && after <= 2) &&
		!(!plus && !dash && before == 3 && (first == '4' || first == '8') &&
		  after == 1) &&
		!(!plus && !dash && before == 1 && first == '0' && after == 3))
		return false;
	if (pos == end)
		return true;
	return text->cp[pos] == '-' &&
		cpii_text_stars(text, pos + 1, end, mobile ? 4 : 3);
}
