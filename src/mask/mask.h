/*-------------------------------------------------------------------------
 *
 * mask.h
 *	  Masks: pure functions from text to text, one file per class.
 *
 * Input and output are UTF-8 (the caller converts from the server encoding).
 * No palloc, no settings, no catalog: the room compiles outside the server for
 * unit tests and fuzzing.  Its only state are tables worked out once from
 * constants; not for several threads before cpii_mask_prepare.
 *
 * Every mask is idempotent, safe for any bytes (malformed UTF-8 is treated as
 * "cannot be parsed"), and fails closed: what cannot be parsed is hidden whole
 * ("***").  An empty input stays empty.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_MASK_H
#define CPII_MASK_H

#include <stdbool.h>
#include <stddef.h>

typedef enum CpiiMaskForm
{
	CPII_FORM_MASKED,			/* what office roles see by default */
	CPII_FORM_LABEL				/* the privacy form of the e-waybill standard:
								 * addresses keep street and building; what has
								 * no place on a label (identity and account
								 * numbers, e-mail) is hidden; the rest as masked */
} CpiiMaskForm;

/* what a hidden value looks like, whatever its class and length */
#define CPII_HIDDEN_TEXT "***"

/* what a token looks like: the mark and digits of base 32 */
#define CPII_TOKEN_MARK '~'
#define CPII_TOKEN_DIGITS "0123456789abcdefghjkmnpqrstvwxyz"
#define CPII_TOKEN_LEN 17

/* work the tables out, to be shared by processes that are forked later */
extern void cpii_mask_prepare(void);

/*
 * Upper bound of the output of cpii_mask for an input of inlen bytes.
 */
extern size_t cpii_mask_bound(size_t inlen);

/*
 * Mask in[0..inlen) of class class_id (see base/classes.h) into out, which has
 * room for at least cpii_mask_bound(inlen) bytes.  Returns the output length;
 * no terminator is written.  A class without a mask of its own (note, a
 * company's own, unknown) is hidden.
 */
extern size_t cpii_mask(int class_id, CpiiMaskForm form,
						const char *in, size_t inlen, char *out);

/*
 * How a company's own class is masked: as a built-in class, or by first and
 * last characters (class_id 0), of which never more than half are shown.
 */
typedef struct CpiiMaskProfile
{
	int			class_id;
	int			first;			/* both 0: hidden */
	int			last;
} CpiiMaskProfile;

/* most characters that a profile shows at one end */
#define CPII_PROFILE_MOST 8

/*
 * Read "hidden", the name of a built-in class with a mask, "first(N)",
 * "last(N)" or "first_last(N,M)"; false when it is none of these.
 */
extern bool cpii_mask_profile_parse(const char *name, CpiiMaskProfile *profile);

/* cpii_mask by a profile */
extern size_t cpii_mask_profile(const CpiiMaskProfile *profile, CpiiMaskForm form,
								const char *in, size_t inlen, char *out);

/*
 * Does the text look like the output of a mask of this class, so that storing
 * it would destroy a real value?  A token always does.  For item, note, a
 * company's own and unknown classes else only the hidden text itself counts;
 * for the others any '*' or full-width '＊'.
 */
extern bool cpii_looks_masked(int class_id, const char *in, size_t inlen);

/* one per class; same contract as cpii_mask */
extern size_t cpii_mask_person_name(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_phone(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_address(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_id_number(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_unit_name(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_waybill_no(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_item(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_email(CpiiMaskForm form, const char *in, size_t inlen, char *out);
extern size_t cpii_mask_account_no(CpiiMaskForm form, const char *in, size_t inlen, char *out);

#endif							/* CPII_MASK_H */
