/*-------------------------------------------------------------------------
 *
 * guess.c
 *	  What somebody who knows a person would try as a password: the birthday
 *	  and the telephone number, kept as keyed digests.
 *
 * Neither is stored.  The digests are cut to four bytes and keyed with a key
 * from the key store, so that a copy of the register tells nobody a birthday.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "people/password.h"
#include "people/password_rule.h"

#define DIGEST_LEN 4
#define RECORD_LEN (1 + DIGEST_LEN)

CPII_EXPORT Datum cpii_person_guess(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_person_guess);

/* false when no key is available */
static bool
guess_key(unsigned char *key)
{
	static const char purpose[] = "courier_pii person guess";
	static unsigned char kept[CPII_KEY_LEN];
	static bool known = false;
	unsigned char audit[CPII_KEY_LEN];
	unsigned int len;

	/* deriving it reads files, and a feed asks for it row by row */
	if (known)
	{
		memcpy(key, kept, sizeof(kept));
		return true;
	}
	if (!cpii_keyring_audit_key(audit))
		return false;
	if (HMAC(EVP_sha256(), audit, sizeof(audit), (const unsigned char *) purpose,
			 sizeof(purpose) - 1, key, &len) == NULL)
		elog(ERROR, "could not compute HMAC");
	cpii_wipe(audit, sizeof(audit));
	memcpy(kept, key, sizeof(kept));
	known = true;
	return true;
}

static void
digest(const unsigned char *key, const char *piece, size_t len,
	   unsigned char *record)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int mac_len;

	if (HMAC(EVP_sha256(), key, CPII_KEY_LEN, (const unsigned char *) piece, len,
			 mac, &mac_len) == NULL)
		elog(ERROR, "could not compute HMAC");
	record[0] = (unsigned char) len;
	memcpy(record + 1, mac, DIGEST_LEN);
}

bytea *
cpii_guess_digests(const char *birthday, const char *phone)
{
	char		forms[CPII_MAX_DATE_FORMS + 4][CPII_PIECE_MAX + 1];
	unsigned char key[CPII_KEY_LEN];
	bytea	   *result;
	int			n = 0;
	int			year,
				month,
				day;

	if (birthday != NULL &&
		(sscanf(birthday, "%4d-%2d-%2d", &year, &month, &day) == 3 ||
		 sscanf(birthday, "%4d/%2d/%2d", &year, &month, &day) == 3 ||
		 sscanf(birthday, "%4d%2d%2d", &year, &month, &day) == 3))
		n = cpii_date_forms(year, month, day, forms, CPII_MAX_DATE_FORMS);
	if (phone != NULL)
	{
		static const int tails[] = {4, 6, 8, 11};
		char		digits[32];
		int			used = 0;

		for (const char *p = phone; *p != '\0' && used < (int) sizeof(digits) - 1; p++)
			if (*p >= '0' && *p <= '9')
				digits[used++] = *p;
		digits[used] = '\0';
		for (int i = 0; i < lengthof(tails); i++)
			if (used >= tails[i])
				strlcpy(forms[n++], digits + used - tails[i], CPII_PIECE_MAX + 1);
	}
	if (n == 0 || !guess_key(key))
		return NULL;
	result = palloc(VARHDRSZ + n * RECORD_LEN);
	SET_VARSIZE(result, VARHDRSZ + n * RECORD_LEN);
	for (int i = 0; i < n; i++)
		digest(key, forms[i], strlen(forms[i]),
			   (unsigned char *) VARDATA(result) + i * RECORD_LEN);
	cpii_wipe(key, sizeof(key));
	cpii_wipe(forms, sizeof(forms));
	return result;
}

bool
cpii_guess_known(const bytea *digests, const char *piece, size_t len)
{
	const unsigned char *records = (const unsigned char *) VARDATA_ANY(digests);
	int			count = VARSIZE_ANY_EXHDR(digests) / RECORD_LEN;
	unsigned char key[CPII_KEY_LEN];
	unsigned char record[RECORD_LEN];
	bool		length_used = false;
	bool		found = false;

	for (int i = 0; i < count && !length_used; i++)
		length_used = records[i * RECORD_LEN] == len;
	if (!length_used || !guess_key(key))
		return false;
	digest(key, piece, len, record);
	for (int i = 0; i < count && !found; i++)
		found = memcmp(records + i * RECORD_LEN, record, RECORD_LEN) == 0;
	cpii_wipe(key, sizeof(key));
	return found;
}

/* for statements of the extension: digests of a birthday and a telephone number */
Datum
cpii_person_guess(PG_FUNCTION_ARGS)
{
	bytea	   *result = cpii_guess_digests(PG_ARGISNULL(0) ? NULL
											: text_to_cstring(PG_GETARG_TEXT_PP(0)),
											PG_ARGISNULL(1) ? NULL
											: text_to_cstring(PG_GETARG_TEXT_PP(1)));

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(result);
}
