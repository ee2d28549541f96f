/*-------------------------------------------------------------------------
 *
 * roster_change.c
 *	  Changes of accounts as part of a transaction.
 *
 * A denial is set in shared memory before the transaction commits, so that it
 * holds while the commit is on its way; the snapshot file is written with it
 * before the commit and again after it, so that it survives a crash at any
 * point.  At commit it becomes final and the sessions of the login role are
 * ended; at abort, of a subtransaction too, it is withdrawn.  The commit and
 * abort callbacks never raise: they use memory, signals and the log only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/errcodes.h"
#include "base/transaction.h"
#include "people/roster.h"
#include "people/roster_table.h"

#define MANY_DENIALS 16

typedef struct PendingChange
{
	struct PendingChange *next;
	SubTransactionId subid;
	bool		end_only;		/* no change of the account, its sessions end */
	RosterAccount account;
} PendingChange;

/* newest first; lives in TopTransactionContext */
static PendingChange *pending = NULL;

/* the snapshot file was written with our denials, which are not committed */
static bool file_is_ahead = false;

uint32
cpii_roster_own_denials(Oid role)
{
	uint32		n = 0;

	for (PendingChange *c = pending; c != NULL; c = c->next)
		if ((c->account.facts.flags & ROSTER_DENIED) && c->account.role == role)
			n++;
	return n;
}

static bool
any_denial_pending(void)
{
	for (PendingChange *c = pending; c != NULL; c = c->next)
		if (c->account.facts.flags & ROSTER_DENIED)
			return true;
	return false;
}

void
cpii_roster_change(const RosterAccount *account)
{
	PendingChange *change;
	RosterEntry *entry;

	/* everything that can fail comes before shared memory is touched */
	change = MemoryContextAlloc(TopTransactionContext, sizeof(PendingChange));
	change->subid = GetCurrentSubTransactionId();
	change->account = *account;
	change->end_only = false;

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	entry = cpii_roster_enter(account->role);
	if (entry == NULL)
	{
		cpii_roster_compact();
		entry = cpii_roster_enter(account->role);
	}
	if (entry != NULL)
	{
		if (account->facts.flags & ROSTER_DENIED)
		{
			entry->pending_deny++;
			pg_atomic_fetch_add_u64(&cpii_roster_table->generation, 1);
		}
		else
			entry->pending_other++;
		change->next = pending;
		pending = change;
		cpii_transaction_busy = true;
	}
	LWLockRelease(cpii_roster_lock);

	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("shared memory has no room for another account"),
				 errhint("Raise \"courier_pii.max_staff\" and restart the server.")));
}

void
cpii_roster_change_end(Oid role)
{
	RosterAccount account;
	RosterEntry *entry;

	memset(&account, 0, sizeof(account));
	account.role = role;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(role);
	if (entry != NULL)
		account.facts = entry->facts;
	LWLockRelease(cpii_roster_lock);
	/* not a denial: the next login is welcome */
	account.facts.flags &= ~ROSTER_DENIED;
	cpii_roster_change(&account);
	pending->end_only = true;
}

/* ---- ending sessions ---- */

/*
 * Send a signal to the sessions of a login role (or, with InvalidOid, of every
 * denied role), our own excepted: it meets the check at its next statement.
 * What was read without a lock is checked again under the array lock, so that
 * the signal cannot reach another process that got the same number.
 */
static void
signal_sessions(Oid role, int sig)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		volatile PGPROC *proc = &ProcGlobal->allProcs[i];
		int			pid = proc->pid;
		Oid			owner = proc->roleId;

		if (pid == 0 || pid == MyProcPid || !OidIsValid(owner))
			continue;
		if (OidIsValid(role) ? owner != role
			: !OidIsValid(cpii_roster_denied(owner, owner, owner)))
			continue;

		LWLockAcquire(ProcArrayLock, LW_SHARED);
		if (BackendPidGetProcWithLock(pid) == proc && proc->roleId == owner)
		{
#ifdef HAVE_SETSID
			(void) kill(-pid, sig);
#else
			(void) kill(pid, sig);
#endif
		}
		LWLockRelease(ProcArrayLock);
	}
}

void
cpii_roster_end_sessions(Oid role)
{
	signal_sessions(role, SIGTERM);
}

void
cpii_roster_cancel_statements(Oid role)
{
	signal_sessions(role, SIGINT);
}

/* ---- the end of the transaction ---- */

static void
apply_pending(void)
{
	PendingChange *oldest_first = NULL;
	bool		denials = any_denial_pending();
	uint64		generation;

	while (pending != NULL)
	{
		PendingChange *c = pending;

		pending = c->next;
		c->next = oldest_first;
		oldest_first = c;
	}

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	generation = pg_atomic_read_u64(&cpii_roster_table->generation) + 1;
	for (PendingChange *c = oldest_first; c != NULL; c = c->next)
	{
		RosterEntry *entry = cpii_roster_find(c->account.role);

		if (entry == NULL)
			continue;			/* cannot happen: it keeps its place */
		if (!c->end_only)
			(void) cpii_roster_set(entry, &c->account);
		entry->stamp = generation;
		if (c->account.facts.flags & ROSTER_DENIED)
			entry->pending_deny--;
		else
			entry->pending_other--;
	}
	pg_atomic_write_u64(&cpii_roster_table->generation, generation);
	pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
	LWLockRelease(cpii_roster_lock);

	for (PendingChange *c = oldest_first; c != NULL; c = c->next)
		if (c->end_only)
			cpii_roster_end_sessions(c->account.role);

	/* new people can wait for the worker, people who left cannot */
	if (denials)
	{
		int			count = 0;

		for (PendingChange *c = oldest_first; c != NULL; c = c->next)
			if (c->account.facts.flags & ROSTER_DENIED)
			{
				/* of many, all at once is quicker than one after the other */
				if (++count > MANY_DENIALS)
				{
					cpii_roster_end_sessions(InvalidOid);
					break;
				}
				cpii_roster_end_sessions(c->account.role);
			}
		/* the file already has the denials, as pending ones */
		(void) cpii_roster_file_save();
	}
}

/* the record of changes that were announced but did not happen */
static void
record_withdrawal(int count)
{
	CpiiAuditEvent event;
	char		detail[64];

	memset(&event, 0, sizeof(event));
	snprintf(detail, sizeof(detail), "{\"rolled_back\": %d}", count);
	event.phase = CPII_PHASE_SINGLE;
	event.action = CPII_ACT_ACCOUNT;
	event.outcome = "cancelled";
	event.command = "rollback";
	event.detail = detail;
	event.actor = cpii_session_actor_last();
	if (event.actor != NULL)
		(void) cpii_audit_write_noerror(&event, false);
}

/*
 * Withdraw what is pending since this subtransaction began (it and its
 * children have larger numbers than what came before).
 */
static void
withdraw_pending(SubTransactionId subid)
{
	bool		denials = false;
	int			count = 0;

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	for (; pending != NULL && pending->subid >= subid; pending = pending->next)
	{
		RosterEntry *entry = cpii_roster_find(pending->account.role);

		count++;
		if (entry == NULL)
			continue;			/* cannot happen: it keeps its place */
		if (pending->account.facts.flags & ROSTER_DENIED)
		{
			entry->pending_deny--;
			denials = true;
		}
		else
			entry->pending_other--;
	}
	if (denials)
	{
		pg_atomic_fetch_add_u64(&cpii_roster_table->generation, 1);
		/* a file that somebody else wrote meanwhile holds them */
		pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
	}
	LWLockRelease(cpii_roster_lock);

	if (file_is_ahead)
		(void) cpii_roster_file_save();
	if (count > 0)
		record_withdrawal(count);
}

/* apart, so that a transaction with nothing pending pays next to nothing */
static pg_noinline void
end_pending(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (any_denial_pending())
			{
				file_is_ahead = true;
				(void) cpii_roster_file_save();
			}
			break;
		case XACT_EVENT_COMMIT:
			apply_pending();
			file_is_ahead = false;
			break;
		case XACT_EVENT_ABORT:
			withdraw_pending(TopSubTransactionId);
			file_is_ahead = false;
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has changed accounts"),
					 errhint("Use COMMIT.")));
			break;
		default:
			break;
	}
}

static void
change_xact_callback(XactEvent event)
{
	if (unlikely(pending != NULL))
		end_pending(event);
}

static void
change_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						SubTransactionId parentSubid)
{
	if (pending == NULL)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		withdraw_pending(mySubid);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (PendingChange *c = pending; c != NULL && c->subid >= mySubid;
			 c = c->next)
			c->subid = parentSubid;
	}
}

void
cpii_roster_change_init(void)
{
	cpii_at_transaction(change_xact_callback, change_subxact_callback);
}
