/*-------------------------------------------------------------------------
 *
 * account.c
 *	  The account of a top-level statement and the audit records made of it.
 *
 * An account is opened by the outermost executor run or utility statement and
 * closed when it ends, by success, error, or process exit (FATAL).  Nested
 * statements, whoever runs them, count into it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "audit/redact.h"
#include "audit/statement.h"
#include "audit/subject.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "guard/live.h"
#include "policy/gate.h"
#include "policy/relation.h"

/* a read of this many clear values is bulk */
#define BULK_VALUES 100

#define MAX_QUERY_TEXT 4096

typedef struct Account
{
	uint64		number;			/* of this backend's accounts */
	CommandTag	tag;
	CpiiAction	action;
	const char *source;			/* lives as long as the statement */
	uint64		query_id;
	TimestampTz started;
	int64		rows;
	int64		seen;			/* of them, by a receiver of ours */
	QueryDesc  *running;		/* the outermost plan, while it runs */
	int64		examined_before;	/* in earlier slices of it */
	int64		examined;		/* rows that scans of protected tables met */
	bool		watched;		/* a receiver of ours sees every row first */
} Account;

static Account account;

/* an account is open, or closed but its last record is not written yet */
volatile sig_atomic_t cpii_account_unsettled = false;

/* a BEGIN record is being written: messages must not ask for another */
static bool beginning = false;

bool		cpii_account_started = false;

static void close_with(int sqlstate, const char *outcome);

/* FATAL and proc_exit do not pass PG_CATCH */
static void
close_at_exit(int code, Datum arg)
{
	if (!cpii_statement.open)
		return;
	if (account.running != NULL)
		account.examined += cpii_examined(account.running) - account.examined_before;
	if (ClientConnectionLost)
		close_with(ERRCODE_CONNECTION_FAILURE, "client_lost");
	else
		close_with(ERRCODE_ADMIN_SHUTDOWN, "terminated");
}

void
cpii_account_start(void)
{
	before_shmem_exit(close_at_exit, (Datum) 0);
	cpii_outflow_start_backend();
	cpii_live_start();
	cpii_account_started = true;
}

bool
cpii_account_open(CommandTag tag, const char *source, uint64 query_id)
{
	if (cpii_statement.open || cpii_internal_depth > 0)
		return false;
	if (unlikely(!cpii_account_started))
		cpii_account_start();
	cpii_meter_open();
	cpii_statement_reset();
	cpii_statement.open = true;
	cpii_account_unsettled = true;
	beginning = false;
	account.number++;
	account.tag = tag;
	account.action = CPII_ACT_READ;
	account.source = source;
	account.query_id = query_id;
	account.started = GetCurrentStatementStartTimestamp();
	account.rows = 0;
	account.seen = 0;
	account.running = NULL;
	account.examined = 0;
	account.watched = false;
	return true;
}

uint64
cpii_account_number(void)
{
	return account.number;
}

void
cpii_account_action(CpiiAction action)
{
	account.action = action;
}

/* a nested statement does more than read: the whole statement does */
void
cpii_account_widen(CpiiAction action)
{
	if (account.action == CPII_ACT_READ)
		account.action = action;
}

void
cpii_account_watched(void)
{
	account.watched = true;
}

void
cpii_account_rows(int64 rows)
{
	account.rows += rows;
}

void
cpii_account_examined(int64 rows)
{
	account.examined += rows;
}

void
cpii_account_seen(int64 rows)
{
	account.seen = rows;
}

void
cpii_account_running(QueryDesc *query, int64 examined)
{
	account.running = query;
	account.examined_before = examined;
}

/*
 * Names of the touched relations, looked up while the catalog can be read;
 * error paths reuse them.
 */
static const char *relation_names[CPII_MAX_STATEMENT_RELATIONS];
static char relation_buffer[CPII_MAX_STATEMENT_RELATIONS][NAMEDATALEN * 2 + 2];
static int	nrelation_names = 0;
static Oid	named_relations[CPII_MAX_STATEMENT_RELATIONS];

static void
name_relations(bool catalog)
{
	nrelation_names = 0;
	for (int i = 0; i < cpii_statement.nrelations; i++)
	{
		Oid			relid = cpii_statement.relations[i];
		char	   *buf = relation_buffer[i];

		if (named_relations[i] != relid || buf[0] == '\0')
		{
			char	   *name = catalog ? get_rel_name(relid) : NULL;
			char	   *nsp = name ? get_namespace_name(get_rel_namespace(relid)) : NULL;

			if (nsp != NULL)
				snprintf(buf, sizeof(relation_buffer[i]), "%s.%s", nsp, name);
			else
				snprintf(buf, sizeof(relation_buffer[i]), "%u", relid);
			named_relations[i] = relid;
		}
		relation_names[nrelation_names++] = buf;
	}
}

/* a relation was renamed or dropped: look its name up again */
static void
forget_names(Datum arg, Oid relid)
{
	for (int i = 0; i < CPII_MAX_STATEMENT_RELATIONS; i++)
		if (relid == InvalidOid || named_relations[i] == relid)
			named_relations[i] = InvalidOid;
}

/* remember who acts and what is touched, for error paths without a catalog */
void
cpii_account_prepare(void)
{
	(void) cpii_session_actor();
	name_relations(true);
}

/* details are objects of ours, and short */
static const char *
target_detail(const char *detail)
{
	static char buf[4352];

	if (cpii_statement.target == NULL)
		return detail;
	snprintf(buf, sizeof(buf), "{\"target\": \"%s\"%s%s", cpii_statement.target,
			 detail == NULL ? "}" : ", ", detail == NULL ? "" : detail + 1);
	return buf;
}

static void
fill_event(CpiiAuditEvent *event, char *query, bool catalog)
{
	memset(event, 0, sizeof(*event));
	name_relations(catalog);
	event->action = account.action;
	event->command = GetCommandTagName(account.tag);
	event->relations = relation_names;
	event->nrelations = nrelation_names;
	event->classes = cpii_statement.classes;
	event->rows_returned = Max(account.rows, account.seen);
	event->rows_examined = account.examined;
	event->disclosed = cpii_statement.disclosed;
	event->masked = cpii_statement.masked;
	event->probes = cpii_statement.probes + cpii_statement.noted;
	event->query_id = account.query_id;
	event->duration = GetCurrentTimestamp() - account.started;
	event->begin_seq = cpii_statement.begin_seq;
	if (cpii_statement.disclosed > 0)
		event->detail = cpii_gate_detail();
	else if (OidIsValid(cpii_statement.untrusted))
		event->detail = cpii_trojan_detail(catalog);
	event->detail = target_detail(cpii_subject_detail(event->detail));
	if (account.source != NULL)
	{
		(void) cpii_redact(account.source, strlen(account.source), query, MAX_QUERY_TEXT);
		event->query = query;
	}
}

void
cpii_account_begin(bool sync)
{
	CpiiAuditEvent event;
	char		query[MAX_QUERY_TEXT];

	if (!cpii_statement.open || cpii_statement.begin_seq != 0)
		return;
	(void) cpii_session_actor();
	fill_event(&event, query, true);
	event.phase = CPII_PHASE_BEGIN;
	event.outcome = "begun";
	beginning = true;
	cpii_statement.begin_seq = cpii_audit_write(&event, sync);
	beginning = false;
}

bool
cpii_account_recorded(void)
{
	return !cpii_account_unsettled || cpii_statement.begin_seq != 0 ||
		(cpii_statement.disclosed == 0 && cpii_statement.masked == 0);
}

bool
cpii_account_begin_noerror(void)
{
	CpiiAuditEvent event;
	char		query[MAX_QUERY_TEXT];

	if (!cpii_statement.open || beginning)
		return false;
	fill_event(&event, query, false);
	event.phase = CPII_PHASE_BEGIN;
	event.outcome = "begun";
	beginning = true;
	cpii_statement.begin_seq = cpii_audit_write_noerror(&event, false);
	beginning = false;
	return cpii_statement.begin_seq != 0;
}

static bool
is_bulk(void)
{
	return cpii_statement.begin_seq != 0 ||
		cpii_statement.disclosed >= BULK_VALUES ||
		account.action == CPII_ACT_EXPORT || account.action == CPII_ACT_COPY ||
		account.action == CPII_ACT_DESTROY;
}

/* the refusal itself, so that auditors find all of them in one place */
static void
record_refusal(CpiiAuditEvent *event)
{
	event->action = CPII_ACT_DENIED;
	event->phase = CPII_PHASE_SINGLE;
	event->disclosed = event->masked = event->rows_returned = 0;
	event->rows_examined = event->probes = 0;
	(void) cpii_audit_write_noerror(event, true);
}

/* masks of a decoy left in an export: nobody had a reason to take it along */
static void
record_canary(const CpiiAuditEvent *done)
{
	CpiiAuditEvent event = *done;
	char		detail[64];

	snprintf(detail, sizeof(detail), "{\"canary\": %lld}", (long long) cpii_statement.canary);
	event.action = CPII_ACT_CANARY;
	event.phase = CPII_PHASE_SINGLE;
	event.command = "exported";
	event.detail = detail;
	event.disclosed = event.probes = event.rows_returned = event.rows_examined = 0;
	event.masked = 1;
	event.begin_seq = 0;
	(void) cpii_audit_write_noerror(&event, true);
}

static bool
canary_left(void)
{
	return cpii_statement.canary != 0 && cpii_statement.canary_shown == 0 &&
		(account.action == CPII_ACT_EXPORT || account.action == CPII_ACT_COPY);
}

void
cpii_account_close_used(void)
{
	CpiiAuditEvent event;
	char		query[MAX_QUERY_TEXT];

	(void) cpii_session_actor();
	fill_event(&event, query, true);
	if (event.action == CPII_ACT_READ && event.disclosed == 0 &&
		event.masked == 0 && event.probes > 0)
		event.action = cpii_statement.probes > 0 ? CPII_ACT_SEARCH : CPII_ACT_WRITE;
	event.phase = cpii_statement.begin_seq ? CPII_PHASE_END : CPII_PHASE_SINGLE;
	event.outcome = "ok";

	/*
	 * Closed whatever happens now: an error here must not be recorded as
	 * another end of the same statement.
	 */
	cpii_statement.open = false;
	cpii_meter_settle();
	if (cpii_statement.limit_hit)
	{
		/* the error was caught by the statement's code, or was a warning */
		event.sqlstate = CPII_ERRCODE_LIMIT_REACHED;
		if (cpii_enforcement == CPII_ENFORCE_ON)
			event.outcome = "blocked";
	}
	PG_TRY();
	{
		(void) cpii_audit_write(&event, is_bulk());
	}
	PG_CATCH();
	{
		/* its rows are in the send buffer, and must not leave */
		if (event.phase == CPII_PHASE_SINGLE && event.rows_returned > 0 &&
			(event.disclosed > 0 || event.masked > 0))
			cpii_outflow_abandon();
		cpii_account_unsettled = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_account_unsettled = false;
	if (unlikely(canary_left()))
		record_canary(&event);
	if (cpii_statement.limit_hit && cpii_enforcement == CPII_ENFORCE_ON)
		record_refusal(&event);
}

static const char *
outcome_of(int sqlstate)
{
	switch (sqlstate)
	{
		case CPII_ERRCODE_LIMIT_REACHED:
			return "blocked";
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
		case CPII_ERRCODE_DUTY_MISSING:
		case CPII_ERRCODE_ACCOUNT_DISABLED:
		case CPII_ERRCODE_TICKET_INVALID:
		case CPII_ERRCODE_CONTEXT_REQUIRED:
		case CPII_ERRCODE_AUDIT_FAILURE:
			return "denied";
		case ERRCODE_QUERY_CANCELED:
			return "cancelled";
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
			return "terminated";
	}
	return "error";
}

/*
 * The error that is being handled was a timeout, not somebody's wish: only the
 * untranslated message tells.
 */
static bool
timed_out(int sqlstate)
{
	MemoryContext old;
	ErrorData  *error;
	bool		result;

	if (sqlstate != ERRCODE_QUERY_CANCELED)
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	error = CopyErrorData();
	result = error->message_id != NULL &&
		strstr(error->message_id, "statement timeout") != NULL;
	FreeErrorData(error);
	MemoryContextSwitchTo(old);
	return result;
}

static void
close_with(int sqlstate, const char *outcome)
{
	CpiiAuditEvent event;
	char		query[MAX_QUERY_TEXT];
	bool		refused = strcmp(outcome, "denied") == 0;

	if (!cpii_statement.open)
		return;
	cpii_statement.open = false;
	cpii_meter_settle();
	if (!cpii_statement_used())
	{
		cpii_account_unsettled = false;
		return;
	}
	fill_event(&event, query, false);
	event.outcome = outcome;
	event.sqlstate = sqlstate;
	if (refused && event.disclosed == 0 && event.begin_seq == 0)
		event.action = CPII_ACT_DENIED;
	event.phase = event.begin_seq ? CPII_PHASE_END : CPII_PHASE_SINGLE;
	(void) cpii_audit_write_noerror(&event, true);
	cpii_account_unsettled = false;
	if (unlikely(canary_left()))
		record_canary(&event);
	if (event.action != CPII_ACT_DENIED &&
		(refused || sqlstate == CPII_ERRCODE_LIMIT_REACHED))
		record_refusal(&event);
}

void
cpii_account_close_error(void)
{
	int			sqlstate = geterrcode();

	close_with(sqlstate, timed_out(sqlstate) ? "timeout" : outcome_of(sqlstate));
}

/*
 * The door discloses outside any account (fast-path function call) or while
 * code runs that may talk to the client early.
 */
static void
begin_record(void)
{
	if (cpii_statement.open)
	{
		if (!account.watched || cpii_executor_depth > 1)
			cpii_account_begin(false);
	}
	else if (cpii_internal_depth == 0)
	{
		CpiiAuditEvent event;

		(void) cpii_session_actor();
		memset(&event, 0, sizeof(event));
		event.phase = CPII_PHASE_SINGLE;
		event.action = CPII_ACT_READ;
		event.outcome = "ok";
		event.command = "FUNCTION CALL";
		event.disclosed = 1;
		event.rows_returned = 1;
		event.classes = cpii_statement.classes;
		cpii_meter_settle();
		(void) cpii_audit_write(&event, false);
		cpii_meter_open();
		cpii_statement_reset();
	}
}

bool
cpii_account_touch_plan(PlannedStmt *plan)
{
	ListCell   *lc;
	bool		any = false;

	if (cpii_plan_has(plan, CPII_PLAN_KNOWN))
	{
		foreach(lc, plan->invalItems)
		{
			PlanInvalItem *item = lfirst_node(PlanInvalItem, lc);

			if (item->cacheId != CPII_MARK_RELATION)
				break;
			cpii_statement_touch(item->hashValue);
			any = true;
		}
		return any;
	}
	foreach(lc, plan->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (CPII_NAMES_RELATION(rte) &&
			(cpii_relation_flags(rte->relid) & CPII_REL_RECORDED))
		{
			cpii_statement_touch(rte->relid);
			any = true;
		}
	}
	return any;
}

void
cpii_account_at_abort(void)
{
	if (cpii_statement.open)
		close_with(ERRCODE_INTERNAL_ERROR, "error");
	cpii_meter_open();
	cpii_statement_reset();
}

void
cpii_account_init(void)
{
	cpii_begin_record = begin_record;
	cpii_outflow_init();
	CacheRegisterRelcacheCallback(forget_names, (Datum) 0);
}
