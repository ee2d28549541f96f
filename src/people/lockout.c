/*-------------------------------------------------------------------------
 *
 * lockout.c
 *	  Failed logins and live sessions by place, in shared memory.
 *
 * Failures are counted for a role and an address together, so that nobody can
 * lock a colleague out from elsewhere, and (four times the number) for the
 * role alone, which stops many addresses from guessing together.  Every window
 * that passes halves the counts.  The last person who can administer is never
 * locked: their failures are answered slowly instead, a few at a time.
 *
 * libpq's sslmode=prefer makes two connections of one attempt, with and then
 * without TLS; the second one does not count.
 *
 * All of this runs while a client logs in, where only shared memory and the
 * catalogs of roles can be read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/port.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "people/last_administrator.h"
#include "people/lockout.h"
#include "people/person.h"
#include "people/roster_table.h"

#define ATTEMPT_SLOTS CPII_MAX_LOGIN_LOCKS
#define ATTEMPT_PROBES 16
#define ROLE_FACTOR 4			/* failures from anywhere that lock a role */
#define TWIN_TIME (2 * USECS_PER_SEC)
#define RECORDS_PER_MINUTE 5
#define DELAY_USECS USECS_PER_SEC
#define MAX_DELAYED 5

CPII_EXPORT Datum cpii_account_states(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_unlock(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_account_states);
PG_FUNCTION_INFO_V1(cpii_unlock);

/* failures of a role from a place; "anywhere" has family 255 */
typedef struct Attempt
{
	Oid			role;
	CpiiPlace	place;
	bool		used;
	bool		last_tls;
	int32		failures;
	int32		suppressed;		/* without a record since the last one */
	int32		recorded;		/* in this minute */
	TimestampTz window_start;
	TimestampTz minute_start;
	TimestampTz last_at;
	TimestampTz locked_until;
} Attempt;

/* one for each backend */
typedef struct LiveSession
{
	Oid			role;
	CpiiPlace	place;
	TimestampTz since;
} LiveSession;

typedef struct LoginTable
{
	int32		delayed;		/* logins that wait for a slow answer */
	int32		nsessions;
	Attempt		attempts[ATTEMPT_SLOTS];
	LiveSession sessions[FLEXIBLE_ARRAY_MEMBER];
} LoginTable;

static LoginTable *logins = NULL;
static LWLock *logins_lock = NULL;

static const CpiiPlace anywhere = {.family = 255};

static Size
logins_size(void)
{
	return add_size(offsetof(LoginTable, sessions),
					mul_size(sizeof(LiveSession), MaxBackends));
}

static void
logins_init(void *area, bool found, LWLockPadded *locks)
{
	logins = (LoginTable *) area;
	logins_lock = &locks[0].lock;
	if (found)
		return;
	logins->nsessions = MaxBackends;
	cpii_roster_file_give_locks();
}

void
cpii_place_of_client(CpiiPlace *place)
{
	memset(place, 0, sizeof(*place));
	if (MyProcPort == NULL)
		return;
	if (MyProcPort->raddr.addr.ss_family == AF_INET)
	{
		struct sockaddr_in *a = (struct sockaddr_in *) &MyProcPort->raddr.addr;

		place->family = PGSQL_AF_INET;
		memcpy(place->address, &a->sin_addr, 4);
	}
	else if (MyProcPort->raddr.addr.ss_family == AF_INET6)
	{
		struct sockaddr_in6 *a = (struct sockaddr_in6 *) &MyProcPort->raddr.addr;

		place->family = PGSQL_AF_INET6;
		memcpy(place->address, &a->sin6_addr, 16);
	}
}

static bool
is_loopback(const CpiiPlace *place)
{
	static const uint8 loopback6[16] = {[15] = 1};

	return (place->family == PGSQL_AF_INET && place->address[0] == 127) ||
		(place->family == PGSQL_AF_INET6 &&
		 memcmp(place->address, loopback6, 16) == 0);
}

bool
cpii_place_identify(CpiiPlace *place)
{
	const char *identity = CPII_AUTHN_ID();
	bool		tunnel = is_loopback(place);
	uint64		hash;

	if (!tunnel && place->family != 0)
		return true;
	/* passwords prove no more than the name of the role */
	if (identity == NULL || strcmp(identity, MyProcPort->user_name) == 0)
		return !tunnel;
	hash = hash_bytes_extended((const unsigned char *) identity,
							   (int) strlen(identity), 0);
	for (int i = 0; i < 8; i++)
		place->address[8 + i] ^= (uint8) (hash >> (8 * i));
	return true;
}

static bool
same_place(const CpiiPlace *a, const CpiiPlace *b)
{
	return memcmp(a, b, sizeof(CpiiPlace)) == 0;
}

/* ---- attempts; the caller holds the lock in exclusive mode ---- */

/* the windows that have passed halve the count */
static void
decay(Attempt *a, TimestampTz now)
{
	int64		window = cpii_login_failure_window * USECS_PER_SEC;
	int64		passed = (now - a->window_start) / window;

	if (passed <= 0)
		return;
	a->failures = passed >= 31 ? 0 : a->failures >> passed;
	a->window_start += passed * window;
}

/*
 * The slot of a role and place, or the one to be used for it: a free one, else
 * among a few candidates the one that is not locked and was used least lately.
 */
static Attempt *
attempt_slot(Oid role, const CpiiPlace *place, bool create)
{
	uint32		hash = hash_combine(murmurhash32(role),
									hash_bytes((const unsigned char *) place,
											   sizeof(CpiiPlace)));
	TimestampTz now = GetCurrentTimestamp();
	Attempt    *victim = NULL;

	for (int i = 0; i < ATTEMPT_PROBES; i++)
	{
		Attempt    *a = &logins->attempts[(hash + i) % ATTEMPT_SLOTS];

		if (a->used && a->role == role && same_place(&a->place, place))
			return a;
		if (!a->used)
		{
			if (victim == NULL || victim->used)
				victim = a;
		}
		else if (victim == NULL ||
				 (victim->used &&
				  ((victim->locked_until > now) > (a->locked_until > now) ||
				   ((victim->locked_until > now) == (a->locked_until > now) &&
					victim->last_at > a->last_at))))
			victim = a;
	}
	if (!create)
		return NULL;
	memset(victim, 0, sizeof(Attempt));
	victim->used = true;
	victim->role = role;
	victim->place = *place;
	victim->window_start = victim->minute_start = now;
	return victim;
}

/* is a record due?  At most a few a minute for one role and place */
static bool
record_due(Attempt *a, TimestampTz now, int *suppressed)
{
	if (now - a->minute_start >= USECS_PER_MINUTE || now < a->minute_start)
	{
		a->minute_start = now;
		a->recorded = 0;
	}
	if (a->recorded >= RECORDS_PER_MINUTE)
	{
		a->suppressed++;
		return false;
	}
	a->recorded++;
	*suppressed = a->suppressed;
	a->suppressed = 0;
	return true;
}

/* ---- failed logins ---- */

static bool
locked_altogether(Oid role)
{
	Attempt    *a = attempt_slot(role, &anywhere, false);

	return a != NULL && a->locked_until > GetCurrentTimestamp();
}

bool
cpii_lockout_failed(Oid role, const CpiiPlace *place, bool tls, bool counts,
					int *suppressed, long *delay)
{
	TimestampTz now = GetCurrentTimestamp();
	Attempt    *a;
	bool		due;
	bool		over = false;
	bool		newly_locked = false;

	*delay = 0;
	*suppressed = 0;
	LWLockAcquire(logins_lock, LW_EXCLUSIVE);
	a = attempt_slot(role, place, true);
	/* the second half of one attempt */
	if (a->last_tls && !tls && now - a->last_at < TWIN_TIME)
		counts = false;
	a->last_tls = tls;
	a->last_at = now;
	due = record_due(a, now, suppressed);
	if (counts && OidIsValid(role) && cpii_login_max_failures > 0)
	{
		Attempt    *all = attempt_slot(role, &anywhere, true);

		decay(a, now);
		decay(all, now);
		/* who is locked is not locked longer by more failures */
		if (a->locked_until > now || all->locked_until > now)
		{
			LWLockRelease(logins_lock);
			return due;
		}
		a->failures++;
		all->failures++;
		all->last_at = now;
		over = a->failures >= cpii_login_max_failures ||
			all->failures >= cpii_login_max_failures * ROLE_FACTOR;
		if (over && cpii_is_last_administrator(role, locked_altogether))
		{
			if (logins->delayed < MAX_DELAYED)
			{
				logins->delayed++;
				*delay = DELAY_USECS;
			}
			over = false;
		}
		if (over && a->failures >= cpii_login_max_failures)
			a->locked_until = now + cpii_login_lock_time * USECS_PER_SEC;
		if (over && all->failures >= cpii_login_max_failures * ROLE_FACTOR)
			all->locked_until = now + cpii_login_lock_time * USECS_PER_SEC;
		newly_locked = over;
	}
	LWLockRelease(logins_lock);
	/* a restart must not be the way to more guesses */
	if (newly_locked)
		(void) cpii_roster_file_save();

	if (*delay > 0)
	{
		pg_usleep(*delay);
		LWLockAcquire(logins_lock, LW_EXCLUSIVE);
		logins->delayed--;
		LWLockRelease(logins_lock);
	}
	return due;
}

uint32
cpii_lockout_copy(CpiiLoginLock *locks, bool locked)
{
	uint32		n = 0;

	if (logins == NULL)
		return 0;
	if (locked)
		LWLockAcquire(logins_lock, LW_SHARED);
	for (int i = 0; i < ATTEMPT_SLOTS; i++)
	{
		Attempt    *a = &logins->attempts[i];

		if (!a->used || !OidIsValid(a->role) ||
			(a->failures == 0 && a->locked_until == 0))
			continue;
		/* written as bytes */
		memset(&locks[n], 0, sizeof(CpiiLoginLock));
		locks[n].role = a->role;
		locks[n].failures = a->failures;
		locks[n].place = a->place;
		locks[n].window_start = a->window_start;
		locks[n].locked_until = a->locked_until;
		n++;
	}
	if (locked)
		LWLockRelease(logins_lock);
	return n;
}

void
cpii_lockout_restore(const CpiiLoginLock *lock)
{
	Attempt    *a = attempt_slot(lock->role, &lock->place, true);

	a->failures = lock->failures;
	a->window_start = lock->window_start;
	a->locked_until = lock->locked_until;
	a->last_at = lock->window_start;
}

bool
cpii_lockout_locked(Oid role, const CpiiPlace *place)
{
	TimestampTz now = GetCurrentTimestamp();
	Attempt    *a;
	bool		locked;

	if (cpii_login_max_failures == 0)
		return false;
	LWLockAcquire(logins_lock, LW_SHARED);
	a = attempt_slot(role, place, false);
	locked = (a != NULL && a->locked_until > now) || locked_altogether(role);
	LWLockRelease(logins_lock);
	return locked;
}

bool
cpii_lockout_refused(Oid role, const CpiiPlace *place, int *suppressed)
{
	bool		due;

	*suppressed = 0;
	LWLockAcquire(logins_lock, LW_EXCLUSIVE);
	due = record_due(attempt_slot(role, place, true), GetCurrentTimestamp(),
					 suppressed);
	LWLockRelease(logins_lock);
	return due;
}

void
cpii_lockout_succeeded(Oid role, const CpiiPlace *place)
{
	Attempt    *a;

	LWLockAcquire(logins_lock, LW_SHARED);
	a = attempt_slot(role, place, false);
	LWLockRelease(logins_lock);
	if (a == NULL || a->failures == 0)
		return;
	LWLockAcquire(logins_lock, LW_EXCLUSIVE);
	a = attempt_slot(role, place, false);
	if (a != NULL)
		a->failures = 0;
	LWLockRelease(logins_lock);
}

/* ---- live sessions ---- */

static void
forget_session(int code, Datum arg)
{
	logins->sessions[DatumGetInt32(arg)].role = InvalidOid;
}

bool
cpii_lockout_enter_session(Oid role, const CpiiPlace *place, bool refuse)
{
	int			mine = (int) (MyProc - ProcGlobal->allProcs);
	TimestampTz now = GetCurrentTimestamp();
	bool		conflict = false;

	if (mine < 0 || mine >= logins->nsessions)
		return false;
	LWLockAcquire(logins_lock, LW_EXCLUSIVE);
	for (int i = 0; i < logins->nsessions && !conflict; i++)
	{
		LiveSession *s = &logins->sessions[i];

		conflict = s->role == role && i != mine &&
			!same_place(&s->place, place) &&
			now - s->since >= cpii_login_address_settle * USECS_PER_SEC;
	}
	if (!conflict || !refuse)
	{
		LiveSession *s = &logins->sessions[mine];

		s->role = role;
		s->place = *place;
		s->since = now;
	}
	LWLockRelease(logins_lock);
	if (!conflict || !refuse)
		on_shmem_exit(forget_session, Int32GetDatum(mine));
	return conflict;
}

/* ---- SQL functions ---- */

typedef struct State
{
	Oid			role;
	int32		failures;
	TimestampTz last_login;
	TimestampTz locked_until;
} State;

/* login_role, last_login_at, locked_until, failures */
Datum
cpii_account_states(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();
	Attempt    *attempts;
	State	   *states;
	uint32		count;
	Datum		values[4];
	bool		nulls[4] = {false};

	cpii_require_preload();
	attempts = palloc(sizeof(logins->attempts));
	InitMaterializedSRF(fcinfo, 0);

	/* nothing may fail while locks are held: copy, then make rows */
	states = palloc0(sizeof(State) * Max(cpii_roster_table->capacity, 1));
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	count = cpii_roster_table->nentries;
	for (uint32 i = 0; i < count; i++)
	{
		states[i].role = cpii_roster_entries()[i].role;
		states[i].last_login = cpii_roster_entries()[i].last_login;
	}
	LWLockRelease(cpii_roster_lock);
	LWLockAcquire(logins_lock, LW_SHARED);
	memcpy(attempts, logins->attempts, sizeof(logins->attempts));
	LWLockRelease(logins_lock);

	for (int n = 0; n < ATTEMPT_SLOTS; n++)
	{
		Attempt    *a = &attempts[n];
		uint32		i = 0;

		if (!a->used || !OidIsValid(a->role))
			continue;
		while (i < count && states[i].role != a->role)
			i++;
		if (i == count && count < cpii_roster_table->capacity)
			states[count++].role = a->role;
		if (i == count)
			continue;
		states[i].locked_until = Max(states[i].locked_until, a->locked_until);
		/* the sum of all places is in one slot */
		if (same_place(&a->place, &anywhere))
			states[i].failures = a->failures;
	}
	for (uint32 i = 0; i < count; i++)
	{
		values[0] = ObjectIdGetDatum(states[i].role);
		values[1] = TimestampTzGetDatum(states[i].last_login);
		nulls[1] = states[i].last_login == 0;
		values[2] = TimestampTzGetDatum(states[i].locked_until);
		nulls[2] = states[i].locked_until <= now;
		values[3] = Int32GetDatum(states[i].failures);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
cpii_unlock(PG_FUNCTION_ARGS)
{
	Oid			role;

	cpii_require_duty("pii_account_admin");
	role = cpii_role_argument(fcinfo, 0);
	LWLockAcquire(logins_lock, LW_EXCLUSIVE);
	for (int i = 0; i < ATTEMPT_SLOTS; i++)
	{
		if (logins->attempts[i].used && logins->attempts[i].role == role)
			logins->attempts[i].used = false;
	}
	LWLockRelease(logins_lock);
	(void) cpii_roster_file_save();
	cpii_audit_note(CPII_ACT_ACCOUNT, "unlock", "ok",
					cpii_json_pairs("role", cpii_role_name(role), NULL));
	PG_RETURN_VOID();
}

void
cpii_lockout_init(void)
{
	cpii_shmem_register("courier_pii_logins", logins_size, logins_init, 1);
}
