/*-------------------------------------------------------------------------
 *
 * walk.c
 *	  Steps through waybill numbers, counted per person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "audit/walk.h"
#include "base/classes.h"
#include "base/errcodes.h"
#include "base/session.h"
#include "base/shmem.h"
#include "crypto/keyring.h"

#define SLOTS 1024
/* numbers this far apart are neighbours: some are given out to others */
#define NEAR 10
/* after such a pause a walk begins anew */
#define PAUSE_MS 3600000
#define MIN_DIGITS 6
/* more digits than that: the last ones tell a step */
#define MAX_DIGITS 15

typedef struct Slot
{
	uint64		who;			/* hash of the person; the latest one wins */
	uint64		last;			/* last number plus the person's pad */
	TimestampTz at;
	int			steps;
} Slot;

static Slot *slots = NULL;
static LWLock *lock = NULL;

/*
 * The number in a waybill number: its last run of digits.  In the form of the
 * postal union (two letters, eight digits, a check digit, two letters) the check
 * digit does not count.
 */
static bool
number_in(const char *text, size_t len, uint64 *number)
{
	size_t		end = len;
	size_t		start;

	while (end > 0 && (text[end - 1] < '0' || text[end - 1] > '9'))
		end--;
	start = end;
	while (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9')
		start--;
	if (end - start < MIN_DIGITS)
		return false;
	if (end - start == 9 && start == 2 && len == end + 2)
		end--;
	if (end - start > MAX_DIGITS)
		start = end - MAX_DIGITS;
	*number = 0;
	for (size_t i = start; i < end; i++)
		*number = *number * 10 + (text[i] - '0');
	return true;
}

static uint64
pad_of(const char *person, size_t len)
{
	static const char domain[] = "\0waybill walk";
	char		text[sizeof(domain) + NAMEDATALEN + CPII_STAFF_NO_LEN];
	unsigned char mac[CPII_MAC_LEN];
	uint64		pad;

	memcpy(text, domain, sizeof(domain));
	memcpy(text + sizeof(domain), person, len);
	if (!cpii_mac(cpii_keyring_mac(CPII_CLASS_WAYBILL_NO, CPII_MAC_TOKEN, 0),
				  (unsigned char *) text, sizeof(domain) + len, mac))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	memcpy(&pad, mac, sizeof(pad));
	return pad;
}

int
cpii_walk_step(const char *waybill_no, size_t len)
{
	const CpiiActor *who = cpii_session_actor();
	const char *person = who->staff_no[0] != '\0' ? who->staff_no : who->login_name;
	TimestampTz now = GetCurrentTimestamp();
	uint64		number;
	uint64		hash;
	uint64		distance;
	Slot	   *slot;
	int			steps;

	if (slots == NULL || !number_in(waybill_no, len, &number))
		return 0;
	number += pad_of(person, strlen(person));
	hash = hash_bytes_extended((const unsigned char *) person, strlen(person), 1) | 1;
	slot = &slots[hash / 2 % SLOTS];

	LWLockAcquire(lock, LW_EXCLUSIVE);
	distance = Min(number - slot->last, slot->last - number);
	if (slot->who != hash || distance > NEAR ||
		TimestampDifferenceExceeds(slot->at, now, PAUSE_MS))
		slot->steps = 1;
	else if (distance > 0)
		slot->steps++;
	slot->who = hash;
	slot->last = number;
	slot->at = now;
	steps = slot->steps;
	LWLockRelease(lock);
	return steps;
}

void
cpii_walk_init(void)
{
	cpii_shmem_register_zeros("courier_pii walk", (void **) &slots, SLOTS * sizeof(Slot), &lock);
}
