/*-------------------------------------------------------------------------
 *
 * statement_hooks.c
 *	  Planner and executor hooks: one account per top-level statement.
 *
 * The account is opened by the outermost executor run or utility statement and
 * closed when it ends, by success, error, or process exit (FATAL).  Nested
 * statements, whoever runs them, count into it.
 *
 * The record comes before the data: a small result is still in the send buffer
 * when its one record is written at the end.  When the result grows beyond what
 * the buffer certainly holds, or code runs that could talk to the client by
 * itself (functions that are not built in), a BEGIN record is written first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/detoast.h"
#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/redact.h"
#include "audit/statement.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "people/roster.h"
#include "policy/catalog.h"
#include "policy/lift.h"
#include "policy/policy.h"
#include "sealed/search.h"

/* the send buffer holds 8 kB; stay well below it by a careful estimate */
#define BUFFERED_BYTES 6000

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
	int64		sent_estimate;	/* bytes that may be in the send buffer */
	bool		watched;		/* a receiver of ours sees every row first */
} Account;

static Account account;

/* an account is open, or closed but its last record is not written yet */
static volatile sig_atomic_t unsettled = false;

/* a BEGIN record is being written: messages must not ask for another */
static bool beginning = false;
static int	exec_depth = 0;
static Oid	last_outer = InvalidOid;

static planner_hook_type prev_planner = NULL;
static ExecutorStart_hook_type prev_ExecutorStart = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;

static void close_with(int sqlstate);

/* ---- the account ---- */

/* FATAL and proc_exit do not pass PG_CATCH */
static void
close_at_exit(int code, Datum arg)
{
	if (cpii_statement.open)
		close_with(ERRCODE_ADMIN_SHUTDOWN);
}

bool
cpii_account_open(CommandTag tag, const char *source, uint64 query_id)
{
	static bool exit_registered = false;

	if (cpii_statement.open || cpii_internal_depth > 0)
		return false;
	if (!exit_registered)
	{
		before_shmem_exit(close_at_exit, (Datum) 0);
		cpii_outflow_start_backend();
		exit_registered = true;
	}
	cpii_statement_reset();
	cpii_statement.open = true;
	unsettled = true;
	beginning = false;
	account.number++;
	account.tag = tag;
	account.action = CPII_ACT_READ;
	account.source = source;
	account.query_id = query_id;
	account.started = GetCurrentStatementStartTimestamp();
	account.rows = 0;
	account.sent_estimate = 0;
	account.watched = false;
	return true;
}

void
cpii_account_action(CpiiAction action)
{
	account.action = action;
}

void
cpii_account_rows(int64 rows)
{
	account.rows += rows;
}

static bool
worth_a_record(void)
{
	return cpii_statement.nrelations > 0 || cpii_statement.disclosed > 0 ||
		cpii_statement.masked > 0 || cpii_statement.probes > 0 ||
		cpii_statement.limit_hit;
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
	event->rows_returned = account.rows;
	event->rows_examined = cpii_statement.disclosed + cpii_statement.masked;
	event->disclosed = cpii_statement.disclosed;
	event->masked = cpii_statement.masked;
	event->probes = cpii_statement.probes;
	event->query_id = account.query_id;
	event->duration = GetCurrentTimestamp() - account.started;
	event->begin_seq = cpii_statement.begin_seq;
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
	return !unsettled || cpii_statement.begin_seq != 0 ||
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

void
cpii_account_close(void)
{
	int64		disclosed = cpii_statement.disclosed;

	if (worth_a_record())
	{
		CpiiAuditEvent event;
		char		query[MAX_QUERY_TEXT];

		(void) cpii_session_actor();
		fill_event(&event, query, true);
		if (event.action == CPII_ACT_READ && event.disclosed == 0 &&
			event.masked == 0 && event.probes > 0)
			event.action = CPII_ACT_SEARCH;
		event.phase = cpii_statement.begin_seq ? CPII_PHASE_END : CPII_PHASE_SINGLE;
		event.outcome = "ok";

		/*
		 * Closed whatever happens now: an error here must not be recorded as
		 * another end of the same statement.
		 */
		cpii_statement.open = false;
		cpii_meter_charge(disclosed);
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
		PG_FINALLY();
		{
			unsettled = false;
		}
		PG_END_TRY();
		if (cpii_statement.limit_hit && cpii_enforcement == CPII_ENFORCE_ON)
			record_refusal(&event);
	}
	cpii_statement.open = false;
	unsettled = false;
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
			return "denied";
		case ERRCODE_QUERY_CANCELED:
			return "cancelled";
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
			return "terminated";
	}
	return "error";
}

static void
close_with(int sqlstate)
{
	CpiiAuditEvent event;
	char		query[MAX_QUERY_TEXT];
	const char *outcome = outcome_of(sqlstate);
	int64		disclosed = cpii_statement.disclosed;
	bool		refused = strcmp(outcome, "denied") == 0;

	if (!cpii_statement.open)
		return;
	cpii_statement.open = false;
	cpii_meter_charge(disclosed);
	if (!worth_a_record())
	{
		unsettled = false;
		return;
	}
	fill_event(&event, query, false);
	event.outcome = outcome;
	event.sqlstate = sqlstate;
	if (refused && event.disclosed == 0 && event.begin_seq == 0)
		event.action = CPII_ACT_DENIED;
	event.phase = event.begin_seq ? CPII_PHASE_END : CPII_PHASE_SINGLE;
	(void) cpii_audit_write_noerror(&event, true);
	unsettled = false;
	if (event.action != CPII_ACT_DENIED &&
		(refused || sqlstate == CPII_ERRCODE_LIMIT_REACHED))
		record_refusal(&event);
}

void
cpii_account_close_error(void)
{
	close_with(geterrcode());
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
		if (!account.watched || exec_depth > 1)
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
		cpii_meter_charge(1);
		(void) cpii_audit_write(&event, false);
		cpii_statement_reset();
	}
}

bool
cpii_account_touch_plan(PlannedStmt *plan)
{
	ListCell   *lc;
	bool		any = false;

	foreach(lc, plan->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && OidIsValid(rte->relid) &&
			(cpii_relation_flags(rte->relid) & CPII_REL_PROTECTED))
		{
			cpii_statement_touch(rte->relid);
			any = true;
		}
	}
	return any;
}

/* ---- watching the rows of a top-level SELECT ---- */

typedef struct WatchReceiver
{
	DestReceiver pub;
	DestReceiver *inner;
} WatchReceiver;

/* a careful upper estimate of the bytes that a row puts on the wire */
static int64
row_bytes(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	int64		bytes = 16;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		bytes += 8;
		if (slot->tts_isnull[i])
			continue;
		if (att->attlen > 0)
			bytes += 2 * att->attlen + 40;
		else if (att->attlen == -1)
			bytes += (att->atttypid == TEXTOID || att->atttypid == VARCHAROID) ?
				2 * toast_raw_datum_size(slot->tts_values[i]) :
				8 * toast_raw_datum_size(slot->tts_values[i]) + 40;
		else
			bytes += 2 * strlen(DatumGetCString(slot->tts_values[i]));
	}
	return bytes;
}

static bool
watch_receive(TupleTableSlot *slot, DestReceiver *self)
{
	WatchReceiver *watch = (WatchReceiver *) self;

	if (cpii_statement.begin_seq == 0)
	{
		account.sent_estimate += row_bytes(slot);
		if (account.sent_estimate > BUFFERED_BYTES)
			cpii_account_begin(false);
	}
	return watch->inner->receiveSlot(slot, watch->inner);
}

static void
watch_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	WatchReceiver *watch = (WatchReceiver *) self;

	watch->inner->rStartup(watch->inner, operation, typeinfo);
}

static void
watch_shutdown(DestReceiver *self)
{
	WatchReceiver *watch = (WatchReceiver *) self;

	watch->inner->rShutdown(watch->inner);
}

static void
watch_destroy(DestReceiver *self)
{
	/* the inner receiver belongs to the portal */
}

/*
 * Does the plan run only built-in code and ours?  Plans record the functions
 * they depend on that are not built in, by hash value.
 */
static bool
plan_is_quiet(PlannedStmt *plan)
{
	const CpiiOids *oids = cpii_oids();
	ListCell   *lc;

	if (plan->invalItems == NIL)
		return true;
	if (oids == NULL)
		return false;
	foreach(lc, plan->invalItems)
	{
		PlanInvalItem *item = lfirst(lc);
		bool		known = false;

		if (item->cacheId != PROCOID)
			continue;
		for (int i = 0; i < oids->nquiet && !known; i++)
			known = item->hashValue ==
				GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(oids->quiet[i]));
		if (!known)
			return false;
	}
	return true;
}

/* ---- hooks ---- */

static PlannedStmt *
cpii_planner(Query *parse, const char *query_string, int cursorOptions,
			 ParamListInfo boundParams)
{
	PlannedStmt *result;
	volatile bool decided = false;

	if (IsTransactionState())
		decided = cpii_lift_query(parse);
	cpii_planning_depth++;
	PG_TRY();
	{
		if (prev_planner)
			result = prev_planner(parse, query_string, cursorOptions, boundParams);
		else
			result = standard_planner(parse, query_string, cursorOptions, boundParams);
	}
	PG_FINALLY();
	{
		cpii_planning_depth--;
	}
	PG_END_TRY();

	/*
	 * Roles were decided in the plan: it depends on the role, and on one
	 * policy relation that every policy and membership change invalidates.
	 */
	if (decided)
	{
		result->dependsOnRole = true;
		result->relationOids = list_append_unique_oid(result->relationOids,
													  cpii_policy_version_relation());
	}
	return result;
}

/*
 * Row rules are folded into plans for a set of roles.  The plan cache watches
 * the current role only; a change of the outer role voids the rest.
 */
static void
watch_outer_role(void)
{
	Oid			outer = GetOuterUserId();

	if (last_outer != outer)
	{
		if (OidIsValid(last_outer))
			ResetPlanCache();
		last_outer = outer;
	}
}

static void
call_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
}

static void
cpii_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	bool		opened;
	int			nrelations;

	if (exec_depth == 0 && cpii_internal_depth == 0 && !IsParallelWorker())
	{
		cpii_roster_check();
		watch_outer_role();
	}
	if (IsParallelWorker() || cpii_internal_depth > 0)
	{
		call_ExecutorStart(queryDesc, eflags);
		return;
	}
	cpii_meter_forget_slices(queryDesc);

	/* an account of its own, so that a refused permission is recorded */
	opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
							   queryDesc->sourceText,
							   queryDesc->plannedstmt->queryId);
	nrelations = cpii_statement.nrelations;
	if (cpii_account_touch_plan(queryDesc->plannedstmt))
	{
		PG_TRY();
		{
			(void) cpii_session_actor();
			name_relations(true);
			call_ExecutorStart(queryDesc, eflags);
		}
		PG_CATCH();
		{
			if (opened)
				cpii_account_close_error();
			PG_RE_THROW();
		}
		PG_END_TRY();
		/* nothing was read yet; the run will touch them again */
		cpii_statement.nrelations = nrelations;
	}
	else
		call_ExecutorStart(queryDesc, eflags);
	if (opened)
	{
		cpii_statement.open = false;
		unsettled = false;
	}
}

static void
call_ExecutorRun(CPII_EXECUTOR_RUN_PARAMS)
{
	if (prev_ExecutorRun)
		prev_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	else
		standard_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
}

/* what a plan does with rows, and what to put back when its run ends */
typedef struct Frame
{
	bool		opened;
	bool		no_clear;
	bool		writing;
	CpiiAction	action;
	bool		save_no_clear;
	bool		save_writing;
	int			save_planning;
	int			save_depth;
	DestReceiver *save_dest;
	int64		disclosed;		/* before the run */
} Frame;

static void
classify(QueryDesc *queryDesc, Frame *frame)
{
	PlannedStmt *plan = queryDesc->plannedstmt;
	CommandDest dest = queryDesc->dest ? queryDesc->dest->mydest : DestNone;

	frame->no_clear = false;
	frame->writing = false;
	frame->action = CPII_ACT_READ;
	if (dest == DestIntoRel || dest == DestTransientRel)
	{
		frame->no_clear = true;
		frame->action = CPII_ACT_COPY;
	}
	else if (dest == DestCopyOut)
		frame->action = CPII_ACT_EXPORT;
	switch (plan->commandType)
	{
		case CMD_SELECT:
			if (plan->hasModifyingCTE)
				frame->no_clear = frame->writing = true;
			break;
		case CMD_DELETE:
			frame->no_clear = true;
			frame->action = CPII_ACT_DESTROY;
			break;
		case CMD_INSERT:
		case CMD_UPDATE:
		case CMD_MERGE:
			frame->no_clear = frame->writing = true;
			frame->action = CPII_ACT_WRITE;
			break;
		default:
			break;
	}
}

static bool
goes_to_client(DestReceiver *dest)
{
	return dest != NULL &&
		(dest->mydest == DestRemote || dest->mydest == DestRemoteExecute ||
		 dest->mydest == DestRemoteSimple);
}

/*
 * Likewise by way of COPY, or of the tuple store that collects the rows of
 * EXECUTE and FETCH for the client.
 */
static bool
goes_out(DestReceiver *dest, int depth)
{
	return goes_to_client(dest) ||
		(dest != NULL && (dest->mydest == DestCopyOut ||
						  (dest->mydest == DestTuplestore && depth == 0)));
}

static void
leave_frame(QueryDesc *queryDesc, const Frame *frame)
{
	queryDesc->dest = frame->save_dest;
	exec_depth = frame->save_depth;
	cpii_planning_depth = frame->save_planning;
	cpii_statement.no_clear = frame->save_no_clear;
	cpii_statement.writing = frame->save_writing;
}

/* everything that happens before the executor produces its first row */
static void
enter_frame(QueryDesc *queryDesc, Frame *frame, WatchReceiver *watch)
{
	PlannedStmt *plan = queryDesc->plannedstmt;
	bool		touched = cpii_account_touch_plan(plan);

	if (touched)
	{
		(void) cpii_session_actor();
		name_relations(true);
	}
	if (frame->opened)
		account.action = frame->action;
	else if (touched && frame->action != CPII_ACT_READ &&
			 account.action == CPII_ACT_READ)
		account.action = frame->action; /* a DO block that writes */
	if (touched && plan->commandType == CMD_SELECT &&
		(frame->action == CPII_ACT_EXPORT || frame->action == CPII_ACT_COPY))
		cpii_account_begin(true);
	if (frame->no_clear)
		cpii_statement.no_clear = true;
	cpii_statement.writing = frame->writing;

	if (frame->opened && touched && goes_to_client(queryDesc->dest) &&
		plan_is_quiet(plan))
	{
		watch->pub.receiveSlot = watch_receive;
		watch->pub.rStartup = watch_startup;
		watch->pub.rShutdown = watch_shutdown;
		watch->pub.rDestroy = watch_destroy;
		watch->pub.mydest = queryDesc->dest->mydest;
		watch->inner = queryDesc->dest;
		queryDesc->dest = &watch->pub;
		account.watched = true;
	}
	exec_depth++;
	cpii_planning_depth = 0;
}

static void
cpii_ExecutorRun(CPII_EXECUTOR_RUN_PARAMS)
{
	Frame		frame;
	WatchReceiver watch;

	frame.save_planning = cpii_planning_depth;
	frame.save_depth = exec_depth;
	frame.save_dest = queryDesc->dest;
	if (cpii_internal_depth > 0 || IsParallelWorker())
	{
		cpii_planning_depth = 0;
		PG_TRY();
		{
			call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
		}
		PG_FINALLY();
		{
			cpii_planning_depth = frame.save_planning;
		}
		PG_END_TRY();
		return;
	}

	if (exec_depth == 0)
		cpii_roster_check();
	frame.opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
									 queryDesc->sourceText,
									 queryDesc->plannedstmt->queryId);
	classify(queryDesc, &frame);
	frame.save_no_clear = frame.opened ? false : cpii_statement.no_clear;
	frame.save_writing = frame.opened ? false : cpii_statement.writing;
	frame.disclosed = cpii_statement.disclosed;

	PG_TRY();
	{
		/* a slice that goes on from an earlier statement; nested ones do not */
		if (!CPII_EXECUTE_ONCE)
			cpii_meter_enter_slice(queryDesc, account.number);
		enter_frame(queryDesc, &frame, &watch);
		call_ExecutorRun(CPII_EXECUTOR_RUN_ARGS);
	}
	PG_CATCH();
	{
		leave_frame(queryDesc, &frame);
		if (frame.opened)
		{
			if (queryDesc->estate && queryDesc->plannedstmt->commandType == CMD_SELECT)
				account.rows += queryDesc->estate->es_processed;
			cpii_account_close_error();
		}
		PG_RE_THROW();
	}
	PG_END_TRY();

	leave_frame(queryDesc, &frame);
	if (!CPII_EXECUTE_ONCE)
		cpii_meter_leave_slice(queryDesc, account.number,
							   cpii_statement.disclosed - frame.disclosed);
	if (queryDesc->estate != NULL &&
		(frame.opened || goes_out(queryDesc->dest, frame.save_depth)))
		account.rows += queryDesc->estate->es_processed;
	if (frame.opened)
		cpii_account_close();
}

static void
call_ExecutorFinish(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish)
		prev_ExecutorFinish(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/* AFTER triggers run here: an account of their own, and no clear text */
static void
cpii_ExecutorFinish(QueryDesc *queryDesc)
{
	Frame		frame;

	if (cpii_internal_depth > 0 || IsParallelWorker())
	{
		call_ExecutorFinish(queryDesc);
		return;
	}
	frame.save_planning = cpii_planning_depth;
	frame.save_depth = exec_depth;
	frame.save_dest = queryDesc->dest;
	frame.opened = cpii_account_open(CreateCommandTag((Node *) queryDesc->plannedstmt),
									 queryDesc->sourceText,
									 queryDesc->plannedstmt->queryId);
	frame.save_no_clear = frame.opened ? false : cpii_statement.no_clear;
	frame.save_writing = frame.opened ? false : cpii_statement.writing;
	PG_TRY();
	{
		exec_depth++;
		if (queryDesc->plannedstmt->commandType != CMD_SELECT)
			cpii_statement.no_clear = true;
		call_ExecutorFinish(queryDesc);
	}
	PG_CATCH();
	{
		leave_frame(queryDesc, &frame);
		if (frame.opened)
			cpii_account_close_error();
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave_frame(queryDesc, &frame);
	if (frame.opened)
		cpii_account_close();
}

/* an error outside our blocks must not leave an account open */
static void
xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
	{
		exec_depth = 0;
		if (cpii_statement.open)
			close_with(ERRCODE_INTERNAL_ERROR);
		cpii_statement_reset();
	}
}

void
cpii_guard_init(void)
{
	cpii_meter_init();
	cpii_access_init();
	cpii_utility_init();
	cpii_outflow_init();
	cpii_begin_record = begin_record;

	prev_planner = planner_hook;
	planner_hook = cpii_planner;
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = cpii_ExecutorStart;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = cpii_ExecutorRun;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = cpii_ExecutorFinish;
	RegisterXactCallback(xact_callback, NULL);
	CacheRegisterRelcacheCallback(forget_names, (Datum) 0);
}
