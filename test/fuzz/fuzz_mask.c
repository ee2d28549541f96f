/*-------------------------------------------------------------------------
 *
 * fuzz_mask.c
 *	  libFuzzer target: any text through any mask.
 *
 * First byte: class; second: form; the rest: the text.  Beyond what the
 * sanitizers see: output within its bound, well-formed, idempotent, and the
 * digits of the phone class.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/classes.h"
#include "mask/mask.h"
#include "mask/utf8.h"

#define CHECK(condition) \
	do { if (!(condition)) abort(); } while (0)

static int
count_digits(const char *s, size_t len, bool *valid)
{
	size_t		pos = 0;
	int			count = 0;

	*valid = true;
	while (pos < len)
	{
		uint32_t	cp;
		int			used = cpii_utf8_decode(s + pos, len - pos, &cp);

		if (used == 0)
		{
			*valid = false;
			return 0;
		}
		cp = cpii_utf8_half_width(cp);
		if (cpii_is_digit(cp))
			count++;
		pos += (size_t) used;
	}
	return count;
}

/* masks of a company's own classes */
static void
check_profile(uint8_t choice, const char *in, size_t inlen)
{
	static const char *const names[] = {
		"hidden", "first(1)", "last(8)", "first_last(2,1)", "phone", "address"
	};
	CpiiMaskProfile profile;
	size_t		outlen;
	size_t		againlen;
	char	   *out = malloc(cpii_mask_bound(inlen));
	char	   *again;
	bool		valid;

	CHECK(cpii_mask_profile_parse(names[choice % 6], &profile));
	outlen = cpii_mask_profile(&profile, CPII_FORM_MASKED, in, inlen, out);
	CHECK(outlen <= cpii_mask_bound(inlen));
	(void) count_digits(out, outlen, &valid);
	CHECK(valid);
	again = malloc(cpii_mask_bound(outlen));
	againlen = cpii_mask_profile(&profile, CPII_FORM_MASKED, out, outlen, again);
	CHECK(againlen == outlen && memcmp(again, out, outlen) == 0);
	free(again);
	free(out);
}

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int			class_id;
	CpiiMaskForm form;
	size_t		inlen;
	size_t		outlen;
	size_t		againlen;
	char	   *in;
	char	   *out;
	char	   *again;
	bool		valid;
	int			before;
	int			after;

	if (size < 2)
		return 0;
	class_id = data[0] % (CPII_CLASS_LAST + 2);
	form = data[1] % 2 ? CPII_FORM_LABEL : CPII_FORM_MASKED;
	inlen = size - 2;
	in = malloc(inlen > 0 ? inlen : 1);
	memcpy(in, data + 2, inlen);

	out = malloc(cpii_mask_bound(inlen));
	outlen = cpii_mask(class_id, form, in, inlen, out);
	CHECK(outlen <= cpii_mask_bound(inlen));
	CHECK((inlen == 0) == (outlen == 0));

	before = count_digits(in, inlen, &valid);
	CHECK(valid || (outlen == 3 && memcmp(out, CPII_HIDDEN_TEXT, 3) == 0));
	after = count_digits(out, outlen, &valid);
	CHECK(valid);
	if (!cpii_looks_masked(CPII_CLASS_PHONE, in, inlen))
	{
		if (class_id == CPII_CLASS_PHONE)
			CHECK(after == 0 || before - after >= 6);
		if (class_id == CPII_CLASS_PERSON_NAME || class_id == CPII_CLASS_ITEM ||
			class_id == CPII_CLASS_UNIT_NAME ||
			(class_id == CPII_CLASS_ADDRESS && form == CPII_FORM_MASKED))
			CHECK(after == 0);
	}

	again = malloc(cpii_mask_bound(outlen));
	againlen = cpii_mask(class_id, form, out, outlen, again);
	CHECK(againlen == outlen && memcmp(again, out, outlen) == 0);
	(void) cpii_looks_masked(class_id, in, inlen);
	if (class_id > CPII_CLASS_LAST)
		check_profile(data[1], in, inlen);

	free(again);
	free(out);
	free(in);
	return 0;
}
