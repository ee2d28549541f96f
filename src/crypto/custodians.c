/*-------------------------------------------------------------------------
 *
 * custodians.c
 *	  The key source "custodians": the master key from shares.
 *
 * Shares wait in locked memory of the key agent until there are enough, and are
 * then wiped.  A share names the set that it belongs to; one of another key is
 * refused as soon as it is entered, so that nobody can spoil the others'.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/secret.h"
#include "crypto/custody.h"
#include "crypto/keystore.h"
#include "crypto/locked.h"
#include "crypto/shamir.h"

typedef struct Entered
{
	int			n;
	CpiiShare	shares[CPII_SHARE_MAX_THRESHOLD];
	CpiiShare	fresh;
} Entered;

static Entered *entered = NULL;

int
cpii_custodians_entered(void)
{
	return entered ? entered->n : 0;
}

void
cpii_custodians_forget(void)
{
	cpii_locked_free(entered, sizeof(Entered));
	entered = NULL;
}

/* does the key store belong to another key than the share? */
static bool
foreign_set(const CpiiShare *share)
{
	unsigned char uuid[CPII_INSTALLATION_LEN];
	unsigned char check[CPII_MAC_LEN];
	const char *detail;
	bool		missing;

	return cpii_keystore_installation(false, uuid, check, &missing, &detail) &&
		memcmp(check, share->set, CPII_SHARE_SET_LEN) != 0;
}

int
cpii_custodians_enter(const unsigned char *text, size_t len,
					  unsigned char key[CPII_KEY_LEN], const char **detail)
{
	CpiiShare  *fresh;
	unsigned char check[CPII_MAC_LEN];
	bool		locked;

	*detail = NULL;
	if (entered == NULL)
		entered = cpii_locked_alloc(sizeof(Entered), &locked);
	if (entered == NULL)
	{
		*detail = "There is no memory.";
		return -1;
	}
	fresh = &entered->fresh;
	switch (cpii_share_parse((const char *) text, len, fresh))
	{
		case CPII_SHARE_GOOD:
			break;
		case CPII_SHARE_FORM:
			*detail = "The text does not have the form of a share.";
			return -1;
		case CPII_SHARE_CHECKSUM:
			*detail = "The checksum of the share does not match; it was mistyped.";
			return -1;
	}
	if (foreign_set(fresh) ||
		(entered->n > 0 &&
		 (memcmp(entered->shares[0].set, fresh->set, CPII_SHARE_SET_LEN) != 0 ||
		  entered->shares[0].threshold != fresh->threshold)))
	{
		*detail = "The share belongs to another master key or to another set of shares.";
		cpii_wipe(fresh, sizeof(*fresh));
		return -1;
	}
	for (int i = 0; i < entered->n; i++)
		if (entered->shares[i].number == fresh->number)
		{
			*detail = "A share with this number was entered already.";
			cpii_wipe(fresh, sizeof(*fresh));
			return -1;
		}
	entered->shares[entered->n++] = *fresh;
	cpii_wipe(fresh, sizeof(*fresh));
	if (entered->n < entered->shares[0].threshold)
		return entered->shares[0].threshold - entered->n;

	if (!cpii_shamir_combine(entered->shares, entered->n, key) ||
		!cpii_key_check_value(key, check) ||
		memcmp(check, entered->shares[0].set, CPII_SHARE_SET_LEN) != 0)
	{
		*detail = "The shares together do not make the master key; at least one is wrong.  All must be entered again.";
		cpii_wipe(key, CPII_KEY_LEN);
		cpii_custodians_forget();
		return -1;
	}
	cpii_custodians_forget();
	return 0;
}
