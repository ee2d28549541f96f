/*-------------------------------------------------------------------------
 *
 * live.c
 *	  Who is disclosing how much right now, and an end to it.
 *
 * Each session has a place of its own in shared memory and writes it when it
 * takes a block of a budget and when a statement ends; statements that take
 * nothing write nothing.  Readers lock one place at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "guard/live.h"

#define TEXT_LEN 64

typedef struct LiveSlot
{
	slock_t		mutex;
	int			pid;			/* 0 = free */
	CpiiPersonKey person;
	int64		session[CPII_NBUDGETS]; /* taken by the statements that ended */
	int64		statement[CPII_NBUDGETS];	/* by the one that runs, so far */
	char		ticket[TEXT_LEN];
	char		purpose[TEXT_LEN];
} LiveSlot;

static LiveSlot *slots = NULL;
static LiveSlot *my_slot = NULL;

PG_FUNCTION_INFO_V1(cpii_live_sessions);
PG_FUNCTION_INFO_V1(cpii_live_persons);
PG_FUNCTION_INFO_V1(cpii_end_session);
CPII_EXPORT Datum cpii_live_sessions(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_live_persons(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_end_session(PG_FUNCTION_ARGS);

static Size
live_size(void)
{
	return mul_size(sizeof(LiveSlot), MaxBackends);
}

static void
live_shmem_init(void *area, bool found, LWLockPadded *locks)
{
	slots = (LiveSlot *) area;
	if (found)
		return;
	for (int i = 0; i < MaxBackends; i++)
		SpinLockInit(&slots[i].mutex);
}

static void
leave_at_exit(int code, Datum arg)
{
	SpinLockAcquire(&my_slot->mutex);
	my_slot->pid = 0;
	SpinLockRelease(&my_slot->mutex);
	my_slot = NULL;
}

void
cpii_live_start(void)
{
	CpiiPersonKey person;
	int			place = CPII_MY_BACKEND_PLACE;

	if (slots == NULL || my_slot != NULL || place < 0 || place >= MaxBackends)
		return;
	cpii_person_key(cpii_session_actor(), &person);
	my_slot = &slots[place];
	SpinLockAcquire(&my_slot->mutex);
	my_slot->pid = MyProcPid;
	my_slot->person = person;
	memset(my_slot->session, 0, sizeof(my_slot->session));
	memset(my_slot->statement, 0, sizeof(my_slot->statement));
	my_slot->ticket[0] = my_slot->purpose[0] = '\0';
	SpinLockRelease(&my_slot->mutex);
	before_shmem_exit(leave_at_exit, (Datum) 0);
}

static void
note_matter(void)
{
	/* cut at a byte: the reader makes it valid text again */
	strlcpy(my_slot->ticket, cpii_ticket ? cpii_ticket : "", TEXT_LEN);
	strlcpy(my_slot->purpose, cpii_purpose ? cpii_purpose : "", TEXT_LEN);
}

void
cpii_live_progress(const int64 counts[CPII_NBUDGETS])
{
	if (my_slot == NULL)
		return;
	SpinLockAcquire(&my_slot->mutex);
	memcpy(my_slot->statement, counts, sizeof(my_slot->statement));
	note_matter();
	SpinLockRelease(&my_slot->mutex);
}

void
cpii_live_settle(const CpiiPersonKey *person, const int64 taken[CPII_NBUDGETS])
{
	if (my_slot == NULL)
		return;
	SpinLockAcquire(&my_slot->mutex);
	my_slot->person = *person;
	for (int b = 0; b < CPII_NBUDGETS; b++)
	{
		my_slot->session[b] += taken[b];
		my_slot->statement[b] = 0;
	}
	note_matter();
	SpinLockRelease(&my_slot->mutex);
}

/* ---- views ---- */

static Datum
valid_text(const char *s)
{
	int			len = pg_mbcliplen(s, (int) strlen(s), (int) strlen(s));

	return PointerGetDatum(cstring_to_text_with_len(s, len));
}

/* a person as two columns: staff number, login role; the other one is null */
static void
person_columns(const CpiiPersonKey *person, Datum *values, bool *nulls)
{
	nulls[0] = OidIsValid(person->role);
	nulls[1] = !nulls[0];
	if (nulls[1])
		values[0] = CStringGetTextDatum(person->staff_no);
	else
		values[1] = ObjectIdGetDatum(person->role);
}

/*
 * live_sessions(): pid, staff_no, role, for each budget taken by the session
 * (the running statement included) and by the running statement, hours, days,
 * ticket, purpose
 */
Datum
cpii_live_sessions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MaxBackends; i++)
	{
		LiveSlot	slot;
		CpiiWindowTotals totals;
		Datum		values[3 + 4 * CPII_NBUDGETS + 2];
		bool		nulls[3 + 4 * CPII_NBUDGETS + 2] = {0};
		int			n = 3;

		if (slots[i].pid == 0)
			continue;
		SpinLockAcquire(&slots[i].mutex);
		slot = slots[i];
		SpinLockRelease(&slots[i].mutex);
		if (slot.pid == 0)
			continue;
		cpii_window_totals(&slot.person, &totals);
		values[0] = Int32GetDatum(slot.pid);
		person_columns(&slot.person, &values[1], &nulls[1]);
		for (int b = 0; b < CPII_NBUDGETS; b++)
			values[n++] = Int64GetDatum(slot.session[b] + slot.statement[b]);
		for (int b = 0; b < CPII_NBUDGETS; b++)
			values[n++] = Int64GetDatum(slot.statement[b]);
		for (int b = 0; b < CPII_NBUDGETS; b++)
			values[n++] = Int64GetDatum(totals.hour[b]);
		for (int b = 0; b < CPII_NBUDGETS; b++)
			values[n++] = Int64GetDatum(totals.day[b]);
		nulls[n] = slot.ticket[0] == '\0';
		if (!nulls[n])
			values[n] = valid_text(slot.ticket);
		n++;
		nulls[n] = slot.purpose[0] == '\0';
		if (!nulls[n])
			values[n] = valid_text(slot.purpose);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* live_persons(): staff_no, role, hours and days of each budget */
Datum
cpii_live_persons(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CpiiWindowTotals *everybody;
	int			count;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	everybody = cpii_window_everybody(&count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[2 + 2 * CPII_NBUDGETS];
		bool		nulls[2 + 2 * CPII_NBUDGETS] = {0};

		person_columns(&everybody[i].person, values, nulls);
		for (int b = 0; b < CPII_NBUDGETS; b++)
		{
			values[2 + b] = Int64GetDatum(everybody[i].hour[b]);
			values[2 + CPII_NBUDGETS + b] = Int64GetDatum(everybody[i].day[b]);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* end_session(pid): taking away needs no approval; false: no such session */
Datum
cpii_end_session(PG_FUNCTION_ARGS)
{
	int			pid = PG_GETARG_INT32(0);
	PGPROC	   *proc;
	char	   *role;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	proc = BackendPidGetProc(pid);
	if (proc == NULL || CPII_IS_WORKER_PROC(proc) || !OidIsValid(proc->roleId))
	{
		ereport(WARNING,
				(errmsg("PID %d is not a client's session", pid)));
		PG_RETURN_BOOL(false);
	}
	role = GetUserNameFromId(proc->roleId, true);
	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"pid\": %d, \"login_role\": ", pid);
	escape_json(&detail, role != NULL ? role : "");
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_ACCOUNT, "end_session", "ok", detail.data);
	if (kill(pid, SIGTERM) != 0)
	{
		ereport(WARNING,
				(errmsg("could not send signal to process %d: %m", pid)));
		PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

void
cpii_live_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		cpii_shmem_register("courier_pii_sessions", live_size, live_shmem_init, 0);
}
