/*-------------------------------------------------------------------------
 *
 * maintenance.c
 *	  Maintenance windows: begun with an approved ticket, in one session, until
 *	  its minutes are over.
 *
 * The window lives in the memory of the session that began it; a place in
 * shared memory shows it to those who watch.  The ticket is judged again for
 * every statement that needs the window, so that revoking it closes the window
 * at once.  A rolled-back begin_maintenance() leaves the window open: the
 * ticket is used up all the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "audit/redact.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/ticket.h"
#include "guard/maintenance.h"
#include "guard/ticket.h"
#include "people/duty.h"

CPII_EXPORT Datum cpii_begin_maintenance(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_end_maintenance(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_maintenance_rows(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_begin_maintenance);
PG_FUNCTION_INFO_V1(cpii_end_maintenance);
PG_FUNCTION_INFO_V1(cpii_maintenance_rows);

#define PLACES 64
#define MAX_TEXT 1024

typedef struct Place
{
	int			pid;			/* 0: free */
	int64		ticket;
	bool		emergency;
	char		login[NAMEDATALEN];
	char		staff_no[CPII_STAFF_NO_LEN];
	TimestampTz began_at;
	TimestampTz until;
	int64		statements;
	TimestampTz last_at;
	char		last[256];		/* without literals */
} Place;

typedef struct Shared
{
	Place		places[PLACES];
} Shared;

static Shared *shared = NULL;
static LWLock *lock = NULL;

/* the session's own window */
static Place *mine = NULL;
static TimestampTz noted_at = 0;

/* ---- places ---- */

static void
leave(int code, Datum arg)
{
	if (mine == NULL)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	mine->pid = 0;
	LWLockRelease(lock);
	mine = NULL;
}

static void
enter(int64 ticket, bool emergency, TimestampTz until)
{
	static bool registered = false;
	const CpiiActor *actor = cpii_session_actor();

	if (!registered)
	{
		before_shmem_exit(leave, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES && mine == NULL; i++)
		if (shared->places[i].pid == 0)
			mine = &shared->places[i];
	if (mine != NULL)
	{
		memset(mine, 0, sizeof(*mine));
		mine->pid = MyProcPid;
		mine->ticket = ticket;
		mine->emergency = emergency;
		mine->began_at = GetCurrentTimestamp();
		mine->until = until;
		strlcpy(mine->login, actor->login_name, sizeof(mine->login));
		strlcpy(mine->staff_no, actor->staff_no, sizeof(mine->staff_no));
	}
	LWLockRelease(lock);
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many maintenance windows are open"),
				 errdetail("At most %d are possible.", PLACES)));
}

/* ---- questions ---- */

bool
cpii_maintenance_applies(void)
{
	return cpii_duties_sealed() && cpii_internal_depth == 0 &&
		!creating_extension && !IsParallelWorker() &&
		IsUnderPostmaster && MyProcPort != NULL &&
		!IsBinaryUpgrade && IsTransactionState() &&
		!IsAbortedTransactionBlockState();
}

/* NULL when the session's window covers the object; else why not */
static const char *
judge(const char *object)
{
	if (mine == NULL)
		return "No maintenance window is open in this session.";
	if (GetCurrentTimestamp() >= mine->until)
		return "The maintenance window is over.";
	return cpii_ticket_covers(mine->ticket,
							  mine->emergency ? "break_glass" : "maintenance", object);
}

bool
cpii_maintenance_emergency(void)
{
	return mine != NULL && mine->emergency && judge(NULL) == NULL;
}

void
cpii_maintenance_require(CpiiPower power, const char *command,
						 const char *what, const char *object)
{
	const char *why;

	if (cpii_maintenance_emergency())
		return;
	if (power == CPII_POWER_EMERGENCY)
	{
		cpii_duty_refuse(command, what, object,
						 "In an emergency ask for a ticket of kind \"break_glass\" and call courier_pii.begin_maintenance().");
		return;
	}
	why = judge(object);
	if (why != NULL)
		cpii_duty_refuse(command, psprintf("%s outside of a maintenance window", what),
						 object,
						 psprintf("%s  Ask with courier_pii.request('maintenance', ...) and call courier_pii.begin_maintenance().", why));
}

/* ---- recording ---- */

void
cpii_maintenance_note(const char *command, const char *source)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	bool		emergency;
	char		text[MAX_TEXT];
	CpiiAuditEvent event;
	char		detail[96];

	if (source == NULL || noted_at == now)
		return;
	emergency = cpii_maintenance_emergency();
	if (!emergency && (mine == NULL || GetCurrentTimestamp() >= mine->until))
		return;
	noted_at = now;
	(void) cpii_redact(source, strlen(source), text, sizeof(text));
	if (mine != NULL)
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		mine->statements++;
		mine->last_at = now;
		strlcpy(mine->last, text, sizeof(mine->last));
		LWLockRelease(lock);
	}
	snprintf(detail, sizeof(detail), "{\"maintenance_ticket\": %lld, \"emergency\": %s}",
			 (long long) (mine ? mine->ticket : 0), emergency ? "true" : "false");
	memset(&event, 0, sizeof(event));
	event.phase = CPII_PHASE_SINGLE;
	event.action = CPII_ACT_MAINTENANCE;
	event.outcome = "begun";
	event.command = command;
	event.query = text;
	event.detail = detail;
	(void) cpii_audit_write(&event, true);
}

/* ---- functions ---- */

/* begin_maintenance(ticket) -> when it ends */
Datum
cpii_begin_maintenance(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	const CpiiTicket *ticket;
	TimestampTz until;
	CpiiRequest request = {0};
	bool		emergency;

	cpii_require_preload();
	if (mine != NULL && GetCurrentTimestamp() < mine->until)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a maintenance window is open in this session"),
				 errhint("End it with courier_pii.end_maintenance().")));
	leave(0, (Datum) 0);
	SetConfigOption("courier_pii.ticket", psprintf("%lld", (long long) id),
					PGC_USERSET, PGC_S_SESSION);
	/* a ticket of kind break_glass opens an emergency */
	emergency = cpii_request_load(id, false, &request) &&
		strcmp(request.kind, "break_glass") == 0;
	(void) cpii_require_ticket(emergency ? "break_glass" : "maintenance", NULL, true);
	ticket = cpii_ticket_current(emergency ? "break_glass" : "maintenance");
	if (ticket == NULL)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("ticket cannot be used")));
	until = ticket->until;
	enter(id, emergency, until);
	cpii_audit_note(CPII_ACT_MAINTENANCE, "begin_maintenance", "ok",
					psprintf("{\"maintenance_ticket\": %lld, \"emergency\": %s, \"until\": \"%s\"}",
							 (long long) id, emergency ? "true" : "false", timestamptz_to_str(until)));
	PG_RETURN_TIMESTAMPTZ(until);
}

Datum
cpii_end_maintenance(PG_FUNCTION_ARGS)
{
	int64		ticket;
	int64		statements;

	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no maintenance window is open in this session")));
	ticket = mine->ticket;
	statements = mine->statements;
	leave(0, (Datum) 0);
	cpii_audit_note(CPII_ACT_MAINTENANCE, "end_maintenance", "ok",
					psprintf("{\"maintenance_ticket\": %lld, \"statements\": %lld}",
							 (long long) ticket, (long long) statements));
	PG_RETURN_VOID();
}

Datum
cpii_maintenance_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Place		places[PLACES];

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(lock, LW_SHARED);
	memcpy(places, shared->places, sizeof(places));
	LWLockRelease(lock);
	for (int i = 0; i < PLACES; i++)
	{
		Place	   *p = &places[i];
		Datum		values[10];
		bool		nulls[10] = {false};

		if (p->pid == 0)
			continue;
		values[0] = Int32GetDatum(p->pid);
		values[1] = CStringGetTextDatum(p->login);
		values[2] = CStringGetTextDatum(p->staff_no);
		nulls[2] = p->staff_no[0] == '\0';
		values[3] = Int64GetDatum(p->ticket);
		values[4] = TimestampTzGetDatum(p->began_at);
		values[5] = TimestampTzGetDatum(p->until);
		values[6] = Int64GetDatum(p->statements);
		values[7] = TimestampTzGetDatum(p->last_at);
		nulls[7] = p->last_at == 0;
		values[8] = CStringGetTextDatum(p->last);
		nulls[8] = p->last[0] == '\0';
		values[9] = BoolGetDatum(p->emergency);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- shared memory ---- */

void
cpii_maintenance_init(void)
{
	cpii_shmem_register_zeros("courier_pii_maintenance", (void **) &shared, sizeof(Shared), &lock);
	cpii_escape_init();
}
