/*-------------------------------------------------------------------------
 *
 * held_room.c
 *	  Where shares and halves of passwords wait for somebody.
 *
 * They are in shared memory only, never in a table, a file or WAL: what was not
 * fetched before the server stops is lost, and has to be made anew.  They are
 * encrypted with a key that the key agent gives, so that a memory dump tells
 * nothing.  A secret appears at the commit of the transaction that made it, is
 * wiped the moment it is taken, and is never given out twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/errcodes.h"
#include "base/secret.h"
#include "base/shmem.h"
#include "crypto/cipher.h"
#include "crypto/keyring.h"
#include "people/held.h"

#define PLACES 512

typedef struct Secret
{
	Oid			role;			/* InvalidOid: free */
	int			number;
	int64		series;
	TimestampTz until;			/* DT_NOEND: until it is taken */
	int			len;
	unsigned char nonce[CPII_NONCE_LEN];
	unsigned char tag[CPII_AEAD_TAG_LEN];
	unsigned char data[HELD_SECRET_MAX];
} Secret;

typedef struct Room
{
	Secret		places[PLACES];
} Room;

/* what this transaction does when it commits */
typedef struct Waiting
{
	struct Waiting *next;
	SubTransactionId subid;
	bool		forget;			/* wipe what the role has */
	Secret		secret;
} Waiting;

static Room *room = NULL;
static LWLock *lock = NULL;
static Waiting *waiting = NULL;	/* newest first; lives in TopTransactionContext */

/* ---- encryption ---- */

static CpiiCipher *
room_cipher(void)
{
	static const char info[] = "courier_pii shares that wait";
	unsigned char audit[CPII_KEY_LEN];
	unsigned char key[CPII_KEY_LEN];
	CpiiCipher *cipher = NULL;
	bool		have = cpii_keyring_audit_key(audit);

	if (have && cpii_hkdf(audit, sizeof(audit), (const unsigned char *) info, sizeof(info) - 1,
						  (const unsigned char *) info, sizeof(info) - 1, key))
		cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	cpii_wipe(audit, sizeof(audit));
	cpii_wipe(key, sizeof(key));
	if (cipher == NULL)
	{
		char	   *why = cpii_keyring_unavailable();

		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("shares of a password cannot be kept without a key"),
				 why ? errdetail("%s", why) : 0));
	}
	return cipher;
}

/* what a secret is bound to */
static size_t
binding(const Secret *s, unsigned char *aad)
{
	memcpy(aad, &s->role, sizeof(s->role));
	memcpy(aad + sizeof(s->role), &s->series, sizeof(s->series));
	memcpy(aad + sizeof(s->role) + sizeof(s->series), &s->number, sizeof(s->number));
	return sizeof(s->role) + sizeof(s->series) + sizeof(s->number);
}

#define BINDING_LEN (sizeof(Oid) + sizeof(int64) + sizeof(int))

/* ---- at the end of the transaction; nothing here raises ---- */

static void
publish(const Secret *secret)
{
	Secret	   *place = NULL;

	for (int i = 0; i < PLACES && place == NULL; i++)
		if (!OidIsValid(room->places[i].role) ||
			(room->places[i].role == secret->role &&
			 room->places[i].series == secret->series &&
			 room->places[i].number == secret->number))
			place = &room->places[i];
	if (place != NULL)
		*place = *secret;
	else
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("shared memory has no room for another share"),
				 errhint("Have the custodians fetch theirs, and seal the account anew.")));
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (waiting == NULL)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		Waiting    *oldest_first = NULL;

		while (waiting != NULL)
		{
			Waiting    *w = waiting;

			waiting = w->next;
			w->next = oldest_first;
			oldest_first = w;
		}
		LWLockAcquire(lock, LW_EXCLUSIVE);
		for (Waiting *w = oldest_first; w != NULL; w = w->next)
		{
			if (!w->forget)
			{
				publish(&w->secret);
				continue;
			}
			for (int i = 0; i < PLACES; i++)
				if (room->places[i].role == w->secret.role)
					cpii_wipe(&room->places[i], sizeof(Secret));
		}
		LWLockRelease(lock);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		waiting = NULL;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (waiting != NULL && waiting->subid >= mySubid)
			waiting = waiting->next;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Waiting *w = waiting; w != NULL && w->subid >= mySubid; w = w->next)
			w->subid = parentSubid;
}

static Waiting *
wait_for_commit(void)
{
	static bool registered = false;
	Waiting    *w;

	if (room == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shares of a password cannot be kept on this server")));
	if (!registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
		registered = true;
	}
	w = MemoryContextAllocZero(TopTransactionContext, sizeof(Waiting));
	w->subid = GetCurrentSubTransactionId();
	w->next = waiting;
	waiting = w;
	return w;
}

void
cpii_held_put(Oid role, int64 series, int number, const unsigned char *data,
			  size_t len, int seconds)
{
	CpiiCipher *cipher = room_cipher();
	Waiting    *w;
	Secret	   *s;
	unsigned char aad[BINDING_LEN];
	bool		ok;

	Assert(len <= HELD_SECRET_MAX);
	w = wait_for_commit();
	s = &w->secret;
	s->role = role;
	s->series = series;
	s->number = number;
	s->until = seconds > 0 ? GetCurrentTimestamp() + seconds * USECS_PER_SEC : DT_NOEND;
	s->len = (int) len;
	ok = cpii_nonce(s->nonce) &&
		cpii_cipher_seal(cipher, s->nonce, aad, binding(s, aad), NULL, 0,
						 data, len, s->data, s->tag);
	cpii_cipher_free(cipher);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not encrypt a share of a password")));
}

void
cpii_held_forget(Oid role)
{
	Waiting    *w;

	if (room == NULL)
		return;
	w = wait_for_commit();
	w->forget = true;
	w->secret.role = role;
}

/* ---- taking ---- */

/* the place of a secret that is in time; the caller holds the lock */
static Secret *
find(Oid role, int64 series, int number)
{
	for (int i = 0; i < PLACES; i++)
	{
		Secret	   *s = &room->places[i];

		if (s->role == role && s->series == series && s->number == number)
		{
			if (TIMESTAMP_IS_NOEND(s->until) || s->until > GetCurrentTimestamp())
				return s;
			cpii_wipe(s, sizeof(Secret));
			return NULL;
		}
	}
	return NULL;
}

bool
cpii_held_present(Oid role, int64 series, int number)
{
	bool		present;

	if (room == NULL)
		return false;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	present = find(role, series, number) != NULL;
	LWLockRelease(lock);
	return present;
}

int
cpii_held_take(Oid role, int64 series, int number,
			   unsigned char out[HELD_SECRET_MAX])
{
	CpiiCipher *cipher;
	Secret		copy;
	Secret	   *s;
	unsigned char aad[BINDING_LEN];
	bool		ok;

	if (!cpii_held_present(role, series, number))
		return -1;
	/* the key first: without it the secret stays where it is */
	cipher = room_cipher();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	s = find(role, series, number);
	if (s != NULL)
	{
		copy = *s;
		cpii_wipe(s, sizeof(Secret));
	}
	LWLockRelease(lock);
	ok = s != NULL &&
		cpii_cipher_open(cipher, copy.nonce, aad, binding(&copy, aad), NULL, 0,
						 copy.data, (size_t) copy.len, copy.tag, out);
	cpii_cipher_free(cipher);
	return ok ? copy.len : -1;
}

/* ---- shared memory ---- */

void
cpii_held_room_init(void)
{
	cpii_shmem_register_zeros("courier_pii_held_shares", (void **) &room, sizeof(Room), &lock);
}
