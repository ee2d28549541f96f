/*-------------------------------------------------------------------------
 *
 * mask.c
 *	  Choose the mask of a class; recognise masked text.
 *
 * Pure.  A class without a mask of its own (note, a company's classes, numbers
 * that we do not know) is hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"

#include <string.h>

#include "base/classes.h"
#include "mask/region_index.h"
#include "mask/text.h"

void
cpii_mask_prepare(void)
{
	cpii_utf8_prepare();
	cpii_region_prepare();
}

/*
 * Twice the input for texts of several numbers, and room for the longest fixed
 * shape.  Output that would still not fit is hidden by the sink.
 */
size_t
cpii_mask_bound(size_t inlen)
{
	return inlen * 2 + 64;
}

size_t
cpii_mask(int class_id, CpiiMaskForm form, const char *in, size_t inlen,
		  char *out)
{
	if (inlen == 0)
		return 0;

	switch (class_id)
	{
		case CPII_CLASS_PERSON_NAME:
			return cpii_mask_person_name(form, in, inlen, out);
		case CPII_CLASS_PHONE:
			return cpii_mask_phone(form, in, inlen, out);
		case CPII_CLASS_ADDRESS:
			return cpii_mask_address(form, in, inlen, out);
		case CPII_CLASS_ID_NUMBER:
			return cpii_mask_id_number(form, in, inlen, out);
		case CPII_CLASS_UNIT_NAME:
			return cpii_mask_unit_name(form, in, inlen, out);
		case CPII_CLASS_WAYBILL_NO:
			return cpii_mask_waybill_no(form, in, inlen, out);
		case CPII_CLASS_ITEM:
			return cpii_mask_item(form, in, inlen, out);
		case CPII_CLASS_EMAIL:
			return cpii_mask_email(form, in, inlen, out);
		case CPII_CLASS_ACCOUNT_NO:
			return cpii_mask_account_no(form, in, inlen, out);
		default:
			return cpii_mask_hide(out);
	}
}

/* nothing but the hidden text, blanks and zero-width characters aside */
static bool
is_hidden_text(const char *in, size_t inlen)
{
	CpiiText	text;

	return cpii_text_load(&text, in, inlen) &&
		cpii_text_stars(&text, 0, text.n, (int) sizeof(CPII_HIDDEN_TEXT) - 1);
}

/* a token is its mark and sixteen of these (see policy/show.c) */
static bool
is_token(const char *in, size_t inlen)
{
	size_t		i;

	if (inlen != CPII_TOKEN_LEN || in[0] != CPII_TOKEN_MARK)
		return false;
	for (i = 1; i < inlen; i++)
		if (memchr(CPII_TOKEN_DIGITS, in[i], sizeof(CPII_TOKEN_DIGITS) - 1) == NULL)
			return false;
	return true;
}

bool
cpii_looks_masked(int class_id, const char *in, size_t inlen)
{
	const char *p;

	if (is_token(in, inlen))
		return true;

	/* classes that are hidden whole, and items, may hold stars of their own */
	if (!cpii_class_is_builtin(class_id) || class_id == CPII_CLASS_ITEM ||
		class_id == CPII_CLASS_NOTE)
		return is_hidden_text(in, inlen);

	if (inlen == 0)
		return false;
	if (memchr(in, '*', inlen) != NULL)
		return true;
	/* full-width star, U+FF0A */
	for (p = in; (p = memchr(p, 0xEF, inlen - (size_t) (p - in))) != NULL; p++)
		if (inlen - (size_t) (p - in) >= 3 &&
			(unsigned char) p[1] == 0xBC && (unsigned char) p[2] == 0x8A)
			return true;
	return false;
}
