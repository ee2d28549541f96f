/*-------------------------------------------------------------------------
 *
 * secret_file.c
 *	  The text of a secret's file in the key store, and its check value.
 *	  Pure.
 *
 * A text has one form only, so that damage shows as such: whatever is read is
 * written again and compared.  A change that leaves the form right is a change
 * of the secret or of what is said of it, and then the check value differs.
 * The moment of its making alone is not covered: it makes the calendar's next
 * epoch come early or late.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/secret_file.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/secret.h"

void
cpii_secret_print(const unsigned char secret[CPII_SECRET_LEN],
				  const CpiiSecretInfo *info, char text[CPII_SECRET_TEXT_LEN])
{
	char		check[2 * CPII_SECRET_CHECK_LEN + 1];
	int			len = 2 * CPII_SECRET_LEN;

	cpii_hex(secret, CPII_SECRET_LEN, text);
	cpii_hex(info->check, CPII_SECRET_CHECK_LEN, check);
	len += snprintf(text + len, CPII_SECRET_TEXT_LEN - len,
					"\nsuite %d tags %d digest %d created %lld",
					info->suite, info->tag_scope, info->tag_digest,
					(long long) info->created);
	if (info->master > 1)
		len += snprintf(text + len, CPII_SECRET_TEXT_LEN - len, " master %d",
						info->master);
	snprintf(text + len, CPII_SECRET_TEXT_LEN - len, "\ncheck %s\n", check);
}

bool
cpii_secret_parse(const char *text, unsigned char secret[CPII_SECRET_LEN],
				  CpiiSecretInfo *info)
{
	char		again[CPII_SECRET_TEXT_LEN];
	char		check[2 * CPII_SECRET_CHECK_LEN + 1];
	const char *line;
	long long	created;
	bool		ok;

	memset(info, 0, sizeof(*info));
	info->master = 1;
	if (strlen(text) < 2 * CPII_SECRET_LEN ||
		!cpii_unhex(text, CPII_SECRET_LEN, secret) ||
		sscanf(text + 2 * CPII_SECRET_LEN,
			   "\nsuite %9d tags %9d digest %9d created %18lld master %9d",
			   &info->suite, &info->tag_scope, &info->tag_digest, &created,
			   &info->master) < 4 ||
		(line = strstr(text, "\ncheck ")) == NULL ||
		sscanf(line, "\ncheck %16[0-9a-f]", check) != 1 ||
		strlen(check) != 2 * CPII_SECRET_CHECK_LEN ||
		!cpii_unhex(check, CPII_SECRET_CHECK_LEN, info->check))
		return false;
	info->created = created;
	cpii_secret_print(secret, info, again);
	ok = strcmp(again, text) == 0;
	cpii_wipe(again, sizeof(again));
	return ok;
}

bool
cpii_secret_check(const unsigned char key[CPII_KEY_LEN], int class_id, int epoch,
				  const unsigned char secret[CPII_SECRET_LEN],
				  const CpiiSecretInfo *info,
				  unsigned char out[CPII_SECRET_CHECK_LEN])
{
	unsigned char input[CPII_SECRET_LEN + 80];
	unsigned char full[CPII_MAC_LEN];
	CpiiMac    *mac = cpii_mac_new(key, CPII_KEY_LEN);
	char	   *said = (char *) input + CPII_SECRET_LEN;
	int			len;
	bool		ok;

	memcpy(input, secret, CPII_SECRET_LEN);
	len = snprintf(said, 80, "%d %d %d %d %d", class_id, epoch, info->suite,
				   info->tag_scope, info->tag_digest);
	if (info->master > 1)
		len += snprintf(said + len, 80 - len, " %d", info->master);
	ok = mac != NULL && cpii_mac(mac, input, CPII_SECRET_LEN + len, full);
	cpii_mac_free(mac);
	cpii_wipe(input, sizeof(input));
	if (ok)
		memcpy(out, full, CPII_SECRET_CHECK_LEN);
	return ok;
}
