/*-------------------------------------------------------------------------
 *
 * roster_change.c
 *	  Changes of accounts as part of a transaction, and the rebuild of the
 *	  roster from the staff register.
 *
 * A denial is set in shared memory before the transaction commits, so that it
 * holds while the commit is on its way; the snapshot file is written with it
 * before the commit and again after it, so that it survives a crash at any
 * point.  At commit it becomes final and the sessions of the login role are
 * ended; at abort, of a subtransaction too, it is withdrawn.  The commit and
 * abort callbacks never raise: they use memory, signals and the log only.
 *
 * A rebuild must not undo a change that commits while it reads the register:
 * it remembers the generation before its snapshot and leaves entries alone
 * whose last change is younger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "people/register.h"
#include "people/roster.h"
#include "people/roster_table.h"

/* window counters alone are worth a new file this often */
#define WINDOW_SAVE_INTERVAL (60 * USECS_PER_SEC)

extern void cpii_worker_register_task(void (*task) (void), int interval_ms);

typedef struct PendingChange
{
	struct PendingChange *next;
	SubTransactionId subid;
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
		if (c->account.denied && c->account.role == role)
			n++;
	return n;
}

static bool
any_denial_pending(void)
{
	for (PendingChange *c = pending; c != NULL; c = c->next)
		if (c->account.denied)
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

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	entry = cpii_roster_enter(account->role);
	if (entry == NULL)
	{
		cpii_roster_compact();
		entry = cpii_roster_enter(account->role);
	}
	if (entry != NULL)
	{
		if (account->denied)
		{
			entry->pending_deny++;
			pg_atomic_fetch_add_u64(&cpii_roster_table->generation, 1);
		}
		else
			entry->pending_other++;
		change->next = pending;
		pending = change;
	}
	LWLockRelease(cpii_roster_lock);

	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("shared memory has no room for another account"),
				 errhint("Raise \"courier_pii.max_staff\" and restart the server.")));
}

/* ---- ending sessions ---- */

/*
 * Send SIGTERM to the sessions of a login role (or, with InvalidOid, of every
 * denied role), our own excepted: it meets the check at its next statement.
 * What was read without a lock is checked again under the array lock, so that
 * the signal cannot reach another process that got the same number.
 */
static void
end_sessions(Oid role)
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
			(void) kill(-pid, SIGTERM);
#else
			(void) kill(pid, SIGTERM);
#endif
		}
		LWLockRelease(ProcArrayLock);
	}
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
		(void) cpii_roster_set(entry, &c->account);
		entry->stamp = generation;
		if (c->account.denied)
			entry->pending_deny--;
		else
			entry->pending_other--;
	}
	pg_atomic_write_u64(&cpii_roster_table->generation, generation);
	pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
	LWLockRelease(cpii_roster_lock);

	/* new people can wait for the worker, people who left cannot */
	if (denials)
	{
		(void) cpii_roster_file_save();
		for (PendingChange *c = oldest_first; c != NULL; c = c->next)
			if (c->account.denied)
				end_sessions(c->account.role);
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
		if (pending->account.denied)
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
change_xact_callback(XactEvent event, void *arg)
{
	if (unlikely(pending != NULL))
		end_pending(event);
}

static void
change_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						SubTransactionId parentSubid, void *arg)
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

/* ---- rebuilding ---- */

static const char *const read_register =
"SELECT s.login_role::pg_catalog.oid, s.staff_no, s.org,"
" s.details ->> 'client', s.status <> 'active', s.departed_at"
" FROM courier_pii.staff_register s"
" WHERE s.login_role IS NOT NULL"
" ORDER BY 5 DESC";

static void
copy_text(SPITupleTable *rows, uint64 row, int column, char *to, Size size)
{
	char	   *value = SPI_getvalue(rows->vals[row], rows->tupdesc, column);

	strlcpy(to, value ? value : "", size);
}

/* run the query above; the result is allocated in the caller's context */
static RosterAccount *
read_accounts(uint64 *count)
{
	MemoryContext caller = CurrentMemoryContext;
	RosterAccount *accounts;

	SPI_connect();
	cpii_internal_execute(read_register, 0, NULL, NULL, NULL, true, 0);
	*count = SPI_processed;
	accounts = MemoryContextAllocHuge(caller,
									  Max(*count, 1) * sizeof(RosterAccount));
	for (uint64 i = 0; i < *count; i++)
	{
		RosterAccount *a = &accounts[i];
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		value;

		memset(a, 0, sizeof(*a));
		a->role = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		copy_text(SPI_tuptable, i, 2, a->staff_no, sizeof(a->staff_no));
		copy_text(SPI_tuptable, i, 3, a->org, sizeof(a->org));
		copy_text(SPI_tuptable, i, 4, a->client, sizeof(a->client));
		a->denied = DatumGetBool(SPI_getbinval(row, desc, 5, &isnull));
		value = SPI_getbinval(row, desc, 6, &isnull);
		a->not_after = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	}
	SPI_finish();
	return accounts;
}

/* set what may be set, forget who is gone; returns how many did not fit */
static uint64
install_accounts(const RosterAccount *accounts, uint64 count, uint64 as_of)
{
	static uint32 last_round = 0;
	uint32		round = ++last_round;
	uint64		left_out = 0;
	bool		changed = false;
	RosterEntry *entries;

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	if (cpii_roster_room() < cpii_roster_table->capacity / 4)
		cpii_roster_compact();
	entries = cpii_roster_entries();
	for (uint32 i = 0; i < cpii_roster_table->nentries; i++)
		entries[i].round = 0;

	for (uint64 i = 0; i < count; i++)
	{
		RosterEntry *entry = cpii_roster_enter(accounts[i].role);

		if (entry == NULL)
		{
			left_out++;
			continue;
		}
		entry->round = round;
		if (entry->stamp <= as_of && cpii_roster_set(entry, &accounts[i]))
			changed = true;
	}
	for (uint32 i = 0; i < cpii_roster_table->nentries; i++)
	{
		RosterEntry *entry = &entries[i];

		if (entry->round == round || entry->stamp > as_of ||
			entry->flags == 0)
			continue;
		entry->flags = 0;
		entry->not_after = DT_NOEND;
		changed = true;
	}
	if (changed)
	{
		pg_atomic_fetch_add_u64(&cpii_roster_table->generation, 1);
		pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
	}
	LWLockRelease(cpii_roster_lock);
	return left_out;
}

/*
 * Make shared memory say what the staff register says.  Needs a transaction.
 * Does nothing in a database without the extension.
 */
void
cpii_roster_rebuild(void)
{
	RosterAccount *accounts;
	uint64		count;
	uint64		left_out;
	uint64		as_of;

	if (cpii_roster_table == NULL ||
		!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("staff_register", true)))
		return;

	as_of = pg_atomic_read_u64(&cpii_roster_table->generation);
	pg_memory_barrier();
	PushActiveSnapshot(GetLatestSnapshot());
	accounts = read_accounts(&count);
	PopActiveSnapshot();

	left_out = install_accounts(accounts, count, as_of);
	pfree(accounts);
	if (left_out > 0)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("shared memory has no room for " UINT64_FORMAT " accounts",
						left_out),
				 errdetail("These people are treated as nobody."),
				 errhint("Raise \"courier_pii.max_staff\" and restart the server.")));
}

/* the worker's task; it gives us a transaction and catches errors */
static void
roster_task(void)
{
	static TimestampTz saved_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	cpii_roster_rebuild();
	if (!RecoveryInProgress())
		cpii_register_lapse();

	/* who was missed when the departure committed, or has lapsed since */
	end_sessions(InvalidOid);

	if (pg_atomic_read_u32(&cpii_roster_table->unsaved) != 0 ||
		(pg_atomic_read_u32(&cpii_roster_table->unsaved_windows) != 0 &&
		 now >= saved_at + WINDOW_SAVE_INTERVAL))
	{
		(void) cpii_roster_file_save();
		saved_at = now;
	}
}

void
cpii_roster_change_init(void)
{
	RegisterXactCallback(change_xact_callback, NULL);
	RegisterSubXactCallback(change_subxact_callback, NULL);
	cpii_worker_register_task(roster_task, 10000);
}
