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

/* of the key that the store asks for, and of the one to follow it */
static Entered *sets[2] = {NULL, NULL};

int
cpii_custodians_entered(void)
{
	return sets[0] ? sets[0]->n : 0;
}

static void
forget(bool next)
{
	cpii_locked_free(sets[next], sizeof(Entered));
	sets[next] = NULL;
}

void
cpii_custodians_forget(void)
{
	forget(false);
	forget(true);
}

/* does the share belong to the key that the store asks for?  -1: no store yet */
static int
of_the_store(const CpiiShare *share)
{
	CpiiInstallation installation = {0};
	const char *detail;
	bool		missing;

	if (!cpii_keystore_installation(false, &installation, &missing, &detail))
		return -1;
	return memcmp(installation.check, share->set, CPII_SHARE_SET_LEN) == 0;
}

int
cpii_custodians_enter(bool next, const unsigned char *text, size_t len,
					  unsigned char key[CPII_KEY_LEN], const char **detail)
{
	Entered    *entered;
	CpiiShare  *fresh;
	unsigned char check[CPII_MAC_LEN];
	bool		locked;

	*detail = NULL;
	if (sets[next] == NULL)
		sets[next] = cpii_locked_alloc(sizeof(Entered), &locked);
	entered = sets[next];
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
	if (of_the_store(fresh) == (next ? 1 : 0) ||
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
		forget(next);
		return -1;
	}
	forget(next);
	return 0;
}
