/*-------------------------------------------------------------------------
 *
 * roster.c
 *	  Who may work: the check at each statement, of the table in shared memory.
 *
 * The check needs no catalog, no system call and no lock while nothing has
 * changed: one or two atomic reads and a few comparisons, and once in a second,
 * for a session with a deadline ahead, the clock.  Three identities are checked (authenticated,
 * session and outer role); the current role is not, because functions that
 * belong to a person who left must go on working for others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/session.h"
#include "base/settings.h"
#include "people/held.h"
#include "people/lockout.h"
#include "people/login_hook.h"
#include "people/password.h"
#include "people/register.h"
#include "people/duty.h"
#include "people/roster.h"
#include "people/roster_table.h"
#include "policy/gate.h"
#include "people/set_actor.h"

/* what a clock may be ahead of the machine's uptime and be believed */
#define CLOCK_JUMP USECS_PER_HOUR

/* the latest time that was seen may be behind the clock by this much */
#define CLOCK_STEP USECS_PER_SEC

bool		cpii_roster_restricted = false;
bool		cpii_roster_must_change = false;
Oid			cpii_roster_joint = InvalidOid;

/* this backend's last verdict */
static struct
{
	bool		valid;
	uint64		generation;
	Oid			login;
	Oid			session;
	Oid			outer;
	Oid			denied;
	TimestampTz deadline;		/* when the verdict must be looked up again */
	TimestampTz held_until;		/* end of an opened envelope's login */
}			verdict;

/* microseconds that the machine runs, sleep included */
static uint64
uptime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64) ts.tv_sec * USECS_PER_SEC + (uint64) ts.tv_nsec / 1000;
}

/*
 * A clock that jumps ahead while the server runs is believed for the moment,
 * but not remembered, or a mistake could only be undone by waiting.
 */
TimestampTz
cpii_roster_now(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		mark = pg_atomic_read_u64(&cpii_roster_table->clock_mark);
	uint64		then = pg_atomic_read_u64(&cpii_roster_table->clock_mark_uptime);
	uint64		up;

	if ((uint64) now <= mark)
		return (TimestampTz) mark;
	up = uptime();
	if (then != 0 && up >= then &&
		(uint64) now - mark > up - then + CLOCK_JUMP)
		return now;
	while ((uint64) now > mark)
	{
		if (pg_atomic_compare_exchange_u64(&cpii_roster_table->clock_mark,
										   &mark, (uint64) now))
		{
			pg_atomic_write_u64(&cpii_roster_table->clock_mark_uptime, up);
			return now;
		}
	}
	return (TimestampTz) mark;
}

/* when the password of this account must have been changed, at the latest */
static TimestampTz
password_deadline(const RosterFacts *facts)
{
	if (facts->flags & ROSTER_MUST_CHANGE)
		return DT_NOBEGIN;
	if (cpii_password_max_age == 0 || (facts->flags & ROSTER_SERVICE) ||
		TIMESTAMP_IS_NOBEGIN(facts->password_set))
		return DT_NOEND;
	return facts->password_set +
		(cpii_password_max_age + cpii_password_grace) * USECS_PER_DAY;
}

/* for the gate: is the password younger than it may become? */
static bool
password_in_date(Oid role, TimestampTz *until)
{
	RosterFacts facts;

	*until = DT_NOEND;
	if (!cpii_roster_person(role, &facts))
		return true;
	if (facts.flags & ROSTER_MUST_CHANGE)
		return false;
	if (cpii_password_max_age == 0 || (facts.flags & ROSTER_SERVICE) ||
		TIMESTAMP_IS_NOBEGIN(facts.password_set))
		return true;
	*until = facts.password_set + cpii_password_max_age * USECS_PER_DAY;
	return *until > cpii_roster_now();
}

/*
 * Is one role denied now?  Lowers *deadline to the moment when that may
 * change by itself.
 */
static bool
role_denied(Oid role, TimestampTz *deadline)
{
	RosterEntry *entry;

	if (!OidIsValid(role) || (entry = cpii_roster_find(role)) == NULL)
		return false;
	if (entry->facts.flags & ROSTER_DENIED)
		return true;
	/* a denial that this very transaction has pending must let it commit */
	if (entry->pending_deny > 0 &&
		entry->pending_deny > cpii_roster_own_denials(role))
		return true;
	if (!TIMESTAMP_IS_NOEND(entry->facts.not_after))
	{
		if (entry->facts.not_after <= cpii_roster_now())
			return true;
		*deadline = Min(*deadline, entry->facts.not_after);
	}
	return false;
}

/* likewise: must the password be changed before anything else? */
static bool
role_restricted(Oid role, TimestampTz *deadline)
{
	RosterEntry *entry = cpii_roster_find(role);
	TimestampTz due;

	if (entry == NULL || (entry->facts.flags & ROSTER_PERSON) == 0)
		return false;
	due = password_deadline(&entry->facts);
	if (TIMESTAMP_IS_NOEND(due))
		return false;
	if (TIMESTAMP_IS_NOBEGIN(due) || due <= cpii_roster_now())
		return true;
	*deadline = Min(*deadline, due);
	return false;
}

/* when the time of an opened envelope ends; DT_NOEND for all other accounts */
static TimestampTz
end_of_held(Oid role)
{
	RosterEntry *entry = cpii_roster_find(role);

	return entry != NULL && (entry->facts.flags & ROSTER_HELD) ?
		entry->facts.not_after : DT_NOEND;
}

/*
 * The first of the roles whose sessions need a second person.  Who is present
 * changes without a new generation, so nothing is remembered then.
 */
static Oid
joint_role(Oid login, Oid session, Oid outer, TimestampTz *deadline)
{
	Oid			roles[3] = {login, session, outer};

	if (!cpii_held_any())
		return InvalidOid;
	for (int i = 0; i < lengthof(roles); i++)
	{
		RosterEntry *entry = OidIsValid(roles[i]) ? cpii_roster_find(roles[i]) : NULL;

		if (entry != NULL && (entry->facts.flags & ROSTER_JOINT))
		{
			*deadline = DT_NOBEGIN;
			return roles[i];
		}
	}
	return InvalidOid;
}

Oid
cpii_roster_denied(Oid login, Oid session, Oid outer)
{
	uint64		generation;
	TimestampTz deadline = DT_NOEND;
	TimestampTz held_until;
	Oid			denied = InvalidOid;

	if (cpii_roster_table == NULL)
		return InvalidOid;

	generation = pg_atomic_read_u64(&cpii_roster_table->generation);
	if (verdict.valid && verdict.generation == generation &&
		verdict.login == login && verdict.session == session &&
		verdict.outer == outer &&
		(TIMESTAMP_IS_NOEND(verdict.deadline) ||
		 cpii_roster_now() < verdict.deadline))
		return verdict.denied;

	/* what is known of the person may have changed as well */
	if (!verdict.valid || verdict.generation != generation)
		cpii_session_forget();

	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	if (role_denied(login, &deadline))
		denied = login;
	else if (session != login && role_denied(session, &deadline))
		denied = session;
	else if (outer != login && outer != session &&
			 role_denied(outer, &deadline))
		denied = outer;
	cpii_roster_must_change = role_restricted(login, &deadline);
	held_until = end_of_held(login);
	cpii_roster_joint = joint_role(login, session, outer, &deadline);
	cpii_roster_restricted = cpii_roster_must_change || OidIsValid(cpii_roster_joint);
	LWLockRelease(cpii_roster_lock);

	verdict.generation = generation;
	verdict.login = login;
	verdict.session = session;
	verdict.outer = outer;
	verdict.denied = denied;
	verdict.deadline = deadline;
	verdict.held_until = held_until;
	verdict.valid = true;
	return denied;
}

static bool
account_denied(Oid login, Oid session, Oid outer)
{
	return OidIsValid(cpii_roster_denied(login, session, outer));
}

/*
 * A login of nobody, where such logins are rejected.  The first superuser may
 * come in over a local socket, and is what repairs begin with.
 */
static bool
account_stranger(Oid login)
{
	RosterEntry *entry;
	bool		known;

	if (cpii_roster_table == NULL || login == BOOTSTRAP_SUPERUSERID ||
		cpii_unregistered_login != CPII_UNREGISTERED_REJECT)
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(login);
	known = entry != NULL && (entry->facts.flags & (ROSTER_PERSON | ROSTER_HELD)) != 0;
	LWLockRelease(cpii_roster_lock);
	return !known;
}

/* a password that is overdue, or a joint account with one person alone */
static bool
account_waits(Oid login)
{
	RosterEntry *entry;
	TimestampTz deadline = DT_NOEND;
	bool		overdue;
	bool		joint;

	if (cpii_roster_table == NULL)
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	overdue = role_restricted(login, &deadline);
	entry = cpii_roster_find(login);
	joint = entry != NULL && (entry->facts.flags & ROSTER_JOINT) != 0;
	LWLockRelease(cpii_roster_lock);
	return overdue || (joint && !cpii_joint_attended(login));
}

static bool
person_lookup(Oid login, char *staff_no, char *org)
{
	RosterEntry *entry;
	bool		found = false;

	if (cpii_roster_table == NULL)
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(login);
	if (entry != NULL && (entry->facts.flags & ROSTER_PERSON))
	{
		strlcpy(staff_no, entry->facts.staff_no, CPII_STAFF_NO_LEN);
		strlcpy(org, entry->facts.org, CPII_ORG_LEN);
		found = true;
	}
	LWLockRelease(cpii_roster_lock);
	return found;
}

bool
cpii_roster_client(Oid login, char *client)
{
	RosterEntry *entry;
	bool		found = false;

	if (cpii_roster_table == NULL)
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(login);
	if (entry != NULL && (entry->facts.flags & ROSTER_PERSON))
	{
		strlcpy(client, entry->facts.client, ROSTER_CLIENT_LEN);
		found = true;
	}
	LWLockRelease(cpii_roster_lock);
	return found;
}

static bool
is_own_worker(void)
{
	return MyBgworkerEntry != NULL &&
		strncmp(MyBgworkerEntry->bgw_type, "courier_pii ", 12) == 0;
}

static pg_noinline void
check_again(void)
{
	Oid			denied;
	Oid			person;
	TimestampTz acting_until = DT_NOEND;
	CpiiAuditEvent event;
	char		name[NAMEDATALEN];

	if (cpii_roster_table == NULL || !IsUnderPostmaster || MyProc == NULL ||
		!OidIsValid(MyProc->roleId))
		return;

	if (cpii_session_token_person(&person) && OidIsValid(person))
	{
		if (OidIsValid(cpii_roster_denied(person, person, person)))
			ereport(ERROR,
					(errcode(CPII_ERRCODE_ACCOUNT_DISABLED),
					 errmsg("account of the acting person is disabled")));
		acting_until = verdict.deadline;
	}

	denied = cpii_roster_denied(MyProc->roleId, GetSessionUserId(),
								GetOuterUserId());
	if (likely(!OidIsValid(denied)))
	{
		if (!TIMESTAMP_IS_NOEND(verdict.held_until))
			cpii_held_end_at(verdict.held_until);
		verdict.deadline = Min(verdict.deadline, acting_until);
		return;
	}
	if (CPII_IS_AUTOVACUUM() || is_own_worker())
		return;

	memset(&event, 0, sizeof(event));
	event.phase = CPII_PHASE_SINGLE;
	event.action = CPII_ACT_DENIED;
	event.outcome = "denied";
	event.sqlstate = CPII_ERRCODE_ACCOUNT_DISABLED;
	event.detail = "{\"reason\": \"account disabled\"}";
	event.actor = IsTransactionState() ? cpii_session_actor()
		: cpii_session_actor_last();
	if (event.actor != NULL)
		(void) cpii_audit_write_noerror(&event, false);

	/*
	 * A background worker may be a scheduler's: it gets an ERROR, because its
	 * process must survive to run other people's jobs.
	 */
	cpii_login_role_name(denied, true, name);
	ereport(MyBgworkerEntry != NULL ? ERROR : FATAL,
			(errcode(CPII_ERRCODE_ACCOUNT_DISABLED),
			 errmsg("account of role \"%s\" is disabled", name)));
}

/*
 * Is a deadline surely ahead?  The start of the statement will do for a clock
 * while it is about the latest time that was seen, so that of a second's
 * statements only one asks the clock and moves that time on.
 */
static inline bool
surely_ahead(TimestampTz deadline)
{
	TimestampTz start = GetCurrentStatementStartTimestamp();
	TimestampTz mark;

	if (TIMESTAMP_IS_NOEND(deadline))
		return true;
	mark = (TimestampTz) pg_atomic_read_u64(&cpii_roster_table->clock_mark);
	return start > mark - CLOCK_STEP && start < mark + CLOCK_STEP &&
		start < deadline && mark < deadline;
}

void
cpii_roster_check(void)
{
	/* what most statements meet: a verdict that has no reason to change */
	if (likely(verdict.valid &&
			   verdict.generation == pg_atomic_read_u64(&cpii_roster_table->generation) &&
			   verdict.login == MyProc->roleId &&
			   verdict.session == GetSessionUserId() &&
			   verdict.outer == GetOuterUserId() &&
			   !OidIsValid(verdict.denied) &&
			   surely_ahead(verdict.deadline)))
		return;
	check_again();
}

/* ---- start ---- */

void
cpii_people_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	cpii_roster_table_init();
	cpii_person_lookup = person_lookup;
	cpii_account_denied = account_denied;
	cpii_account_stranger = account_stranger;
	cpii_account_waits = account_waits;
	cpii_password_in_date = password_in_date;
	cpii_roster_change_init();
	cpii_set_actor_init();
	cpii_roster_read_init();
	cpii_lockout_init();
	cpii_login_hook_init();
	cpii_leaver_init();
	cpii_password_init();
	cpii_standby_init();
	cpii_duties_init();
	cpii_held_init();
}

bool
cpii_roster_left(Oid role)
{
	TimestampTz deadline = DT_NOEND;
	bool		result;

	if (cpii_roster_table == NULL)
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	result = role_denied(role, &deadline);
	LWLockRelease(cpii_roster_lock);
	return result || !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}
