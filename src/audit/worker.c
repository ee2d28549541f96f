/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker: flushes the spool, moves records into the table,
 *	  and runs periodic tasks of other rooms.
 *
 * The worker holds no transaction while it waits.  It looks for the extension
 * whenever it starts a transaction and locks it against removal until the end
 * of that transaction, so CREATE and DROP EXTENSION can come at any time.
 *
 * A worker cannot change its database, and cannot start in one that does not
 * exist.  When an attempt to connect has failed, the next worker process
 * connects to no database, waits until the database is there, and makes room
 * for one that connects to it: the server log stays quiet meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/resource.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit/inflight.h"
#include "audit/ingest.h"
#include "audit/partition.h"
#include "audit/record.h"
#include "audit/ship.h"
#include "audit/spool.h"
#include "audit/spool_key.h"
#include "audit/worker.h"
#include "base/background.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"

#define CYCLE_MS 200
#define WORKER_NICE 10
#define RESTART_SECONDS 1
#define EXTENSION_CHECK_MS 1000
#define PARTITION_CHECK_MS 3600000
#define DATABASE_CHECK_MS 1000
#define REFUSED_WAIT_MS 60000
#define ERROR_LOG_INTERVAL_MS 60000
#define LOCK_TIMEOUT "2s"
#define MAX_TASKS 16

typedef struct Task
{
	CpiiWorkerTask run;
	int			interval_ms;
	TimestampTz due;
	TimestampTz logged_at;
} Task;

static Task tasks[MAX_TASKS];
static int	ntasks = 0;

/* of this worker process */
static Oid	extension_oid = InvalidOid;
static TimestampTz extension_checked_at = 0;
static TimestampTz partitions_due = 0;
static TimestampTz ingest_logged_at = 0;
static TimestampTz partitions_logged_at = 0;

CPII_EXPORT void cpii_worker_main(Datum arg);
CPII_EXPORT Datum cpii_audit_state(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_audit_flush(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_state);
PG_FUNCTION_INFO_V1(cpii_audit_flush);

void
cpii_worker_register_task(CpiiWorkerTask task, int interval_ms)
{
	if (ntasks >= MAX_TASKS)
		elog(ERROR, "too many worker tasks");
	tasks[ntasks].run = task;
	tasks[ntasks].interval_ms = interval_ms;
	tasks[ntasks].due = 0;
	tasks[ntasks].logged_at = 0;
	ntasks++;
}

static bool
elapsed(TimestampTz since, int ms)
{
	return since == 0 ||
		TimestampDifferenceExceeds(since, GetCurrentTimestamp(), ms);
}

/* ---- transactions of the worker ---- */

/*
 * Does the extension exist?  Then it is locked until the end of the
 * transaction.  Somebody else's lock (CREATE or DROP EXTENSION under way)
 * counts as no.
 */
static bool
have_extension(void)
{
	Oid			oid = get_extension_oid("courier_pii", true);

	if (OidIsValid(oid))
	{
		if (!ConditionalLockDatabaseObject(ExtensionRelationId, oid, 0,
										   AccessShareLock))
			return false;
		oid = get_extension_oid("courier_pii", true);
	}
	if (oid != extension_oid)
	{
		extension_oid = oid;
		partitions_due = 0;
		cpii_ingest_restart();
		cpii_spool_set_ingested(0, false);
		for (int i = 0; i < ntasks; i++)
			tasks[i].due = 0;
	}
	extension_checked_at = GetCurrentTimestamp();
	return OidIsValid(oid);
}

/*
 * End a failed transaction and log why, at most once a minute.  Returns the
 * SQLSTATE.  Lock timeouts are nothing to report: the work is tried again.
 */
static int
recover_from_error(MemoryContext context, const char *what,
				   TimestampTz *logged_at)
{
	ErrorData  *error;
	int			sqlstate;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	sqlstate = error->sqlerrcode;
	if (sqlstate != ERRCODE_LOCK_NOT_AVAILABLE &&
		elapsed(*logged_at, ERROR_LOG_INTERVAL_MS))
	{
		*logged_at = GetCurrentTimestamp();
		ereport(LOG,
				(errcode(sqlstate),
				 errmsg("courier_pii worker: %s failed: %s", what, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->context ? errcontext("%s", error->context) : 0));
	}
	FreeErrorData(error);
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
	return sqlstate;
}

static void
ingest(MemoryContext context)
{
	CpiiSpoolState state;

	/* nothing new, and we know that the extension is the same as before */
	cpii_spool_state(&state);
	if (!state.ready || (state.ingested_seq + 1 == state.next_seq &&
						 !elapsed(extension_checked_at, EXTENSION_CHECK_MS)))
		return;
	if (!OidIsValid(extension_oid) &&
		!elapsed(extension_checked_at, EXTENSION_CHECK_MS))
		return;

	for (;;)
	{
		CpiiIngestResult result = {0};
		bool		present = false;

		CHECK_FOR_INTERRUPTS();
		PG_TRY();
		{
			cpii_background_begin("ingesting audit records");
			present = have_extension();
			if (present)
				cpii_ingest_batch(&result);
			cpii_background_end();
		}
		PG_CATCH();
		{
			int			sqlstate = recover_from_error(context, "ingest of audit records",
													  &ingest_logged_at);

			if (ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_DATA_EXCEPTION)
				cpii_ingest_careful();
			else
				cpii_ingest_restart();
			return;
		}
		PG_END_TRY();
		if (!present)
			return;
		if (result.last_seq != 0)
			cpii_spool_set_ingested(result.last_seq, !result.more);
		cpii_spool_remove_before(result.done_before);
		if (!result.more)
			return;
		/* do not forget the flush while there is a lot to move */
		(void) cpii_spool_sync();
	}
}

static void
partitions(MemoryContext context)
{
	if (!OidIsValid(extension_oid) || GetCurrentTimestamp() < partitions_due)
		return;
	partitions_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 PARTITION_CHECK_MS);
	PG_TRY();
	{
		cpii_background_begin("making audit partitions");
		if (have_extension())
			cpii_partition_make();
		cpii_background_end();
	}
	PG_CATCH();
	{
		(void) recover_from_error(context, "making audit partitions",
								  &partitions_logged_at);
		/* somebody reads the table just now: soon again */
		partitions_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 ERROR_LOG_INTERVAL_MS);
	}
	PG_END_TRY();
}

static void
run_task(Task *task, MemoryContext context)
{
	if (!OidIsValid(extension_oid) || GetCurrentTimestamp() < task->due)
		return;
	CHECK_FOR_INTERRUPTS();
	PG_TRY();
	{
		cpii_background_begin("running a periodic task");
		if (have_extension())
			task->run();
		cpii_background_end();
	}
	PG_CATCH();
	{
		(void) recover_from_error(context, "a periodic task",
								  &task->logged_at);
	}
	PG_END_TRY();
	task->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											task->interval_ms);
}

/* ---- the process ---- */

/*
 * Does our database exist?  Without a database there are no index scans yet,
 * so read the (small) shared catalog from end to end.
 */
static bool
database_exists(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tup;
	bool		found = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (!found && (tup = heap_getnext(scan, ForwardScanDirection)) != NULL)
		found = strcmp(NameStr(((Form_pg_database) GETSTRUCT(tup))->datname),
					   cpii_database) == 0;
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return found;
}

/* connected to no database: wait until ours exists, then make room */
static void
wait_for_database(int starts)
{
	bool		first = true;

	for (;;)
	{
		if (database_exists())
		{
			/*
			 * When it is there at the first look for the second time,
			 * something else is wrong with it.
			 */
			if (first && starts >= 3)
				cpii_background_nap(REFUSED_WAIT_MS);
			proc_exit(1);		/* the postmaster starts the next one */
		}
		first = false;
		(void) cpii_spool_sync();
		cpii_background_nap(DATABASE_CHECK_MS);
	}
}

static void
forget_worker(int code, Datum arg)
{
	cpii_spool_set_worker(0, NULL);
}

static void
note_start(MemoryContext context)
{
	static TimestampTz logged_at = 0;

	if (!cpii_spool_first_start())
		return;
	PG_TRY();
	{
		cpii_background_begin("recording the start of the server");
		cpii_audit_note(CPII_ACT_SYSTEM, "START", "ok",
						"{\"version\": \"" COURIER_PII_VERSION "\"}");
		cpii_background_end();
	}
	PG_CATCH();
	{
		(void) recover_from_error(context, "recording the start", &logged_at);
	}
	PG_END_TRY();
}

/* one round on a standby: flush, hand over, remove what the primary has */
static void
serve_standby(MemoryContext context)
{
	static TimestampTz logged_at = 0;
	CpiiProgress progress = {0};

	if (cpii_audit_sync != CPII_SYNC_OFF)
	{
		(void) cpii_spool_sync();
		cpii_inflight_sync();
	}
	cpii_spool_prepare_spare();
	cpii_spool_key_care();
	PG_TRY();
	{
		cpii_background_begin("handing over audit records");
		if (have_extension())
		{
			SPI_connect();
			cpii_ingest_progress(cpii_spool_node(), &progress);
			SPI_finish();
		}
		cpii_background_end();
	}
	PG_CATCH();
	{
		(void) recover_from_error(context, "handing over audit records", &logged_at);
		return;
	}
	PG_END_TRY();
	cpii_ship(&progress);
	if (progress.found)
	{
		cpii_spool_set_ingested(progress.seq, false);
		cpii_spool_remove_before(progress.segment);
	}
}

/* retried until it works: nothing may be ingested before */
static void
note_timeline(MemoryContext context)
{
	static TimestampTz logged_at = 0;
	volatile bool done = false;

	while (!done)
	{
		PG_TRY();
		{
			cpii_background_begin("noting the timeline");
			if (have_extension())
				cpii_ingest_note_timeline();
			cpii_background_end();
			done = true;
		}
		PG_CATCH();
		{
			(void) recover_from_error(context, "noting the timeline", &logged_at);
		}
		PG_END_TRY();
		if (!done)
			cpii_background_nap(CYCLE_MS);
	}
}

void
cpii_worker_main(Datum arg)
{
	MemoryContext context;
	int			starts;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);

	/*
	 * Records are safe in the spool; moving them must not take the processor
	 * from those who work.  A failure does not matter.
	 */
	(void) setpriority(PRIO_PROCESS, 0, WORKER_NICE);
	BackgroundWorkerUnblockSignals();

	/* attempts to connect and waits take turns until one succeeds */
	starts = cpii_spool_worker_starts();
	if (starts % 2 == 1)
	{
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
		wait_for_database(starts);
	}
	BackgroundWorkerInitializeConnection(cpii_database, NULL, 0);
	cpii_spool_worker_connected();

	/* the next step forgets segments, so the commit must be on disk */
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	context = cpii_background_start("courier_pii worker");
	before_shmem_exit(forget_worker, (Datum) 0);
	cpii_spool_set_worker(MyProcPid, MyLatch);

	while (RecoveryInProgress())
	{
		note_start(context);
		serve_standby(context);
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		cpii_background_nap(CYCLE_MS);
	}
	cpii_ship_disconnect();
	note_timeline(context);

	/* the first look at the table may move the spool on, see ingest.c */
	ingest(context);
	note_start(context);

	for (;;)
	{
		if (cpii_audit_sync != CPII_SYNC_OFF)
		{
			(void) cpii_spool_sync();
			cpii_inflight_sync();
		}
		cpii_spool_key_care();
		ingest(context);
		partitions(context);
		for (int i = 0; i < ntasks; i++)
			run_task(&tasks[i], context);
		cpii_spool_prepare_spare();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		cpii_background_nap(CYCLE_MS);
	}
}

void
cpii_worker_step_aside(void)
{
	CpiiSpoolState state;

	cpii_spool_state(&state);
	if (state.worker_pid != 0)
		(void) kill(state.worker_pid, SIGTERM);
}

void
cpii_worker_init(void)
{
	BackgroundWorker worker;

	cpii_background_describe(&worker, "cpii_worker_main", "courier_pii worker");
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}

/* ---- SQL functions ---- */

/* node, segment, byte_offset, written_seq, ingested_seq, lost, ready,
 * worker_pid, caught_up_at, flushed_seq, state */
Datum
cpii_audit_state(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[11];
	bool		nulls[11] = {0};
	CpiiSpoolState state;

	cpii_require_preload();
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);
	cpii_spool_state(&state);
	values[0] = CStringGetTextDatum(cpii_spool_node());
	values[1] = Int64GetDatum((int64) state.segment);
	values[2] = Int64GetDatum((int64) state.offset);
	values[3] = Int64GetDatum((int64) (state.ready ? state.next_seq - 1 : 0));
	values[4] = Int64GetDatum((int64) state.ingested_seq);
	values[5] = Int64GetDatum((int64) state.lost);
	values[6] = BoolGetDatum(state.ready);
	values[7] = Int32GetDatum(state.worker_pid);
	nulls[7] = state.worker_pid == 0;
	values[8] = TimestampTzGetDatum(state.caught_up_at);
	nulls[8] = state.caught_up_at == 0;
	values[9] = Int64GetDatum((int64) Min(state.synced_seq, state.next_seq - 1));
	values[10] = CStringGetTextDatum(state.refusing & CPII_REFUSE_BROKEN ? "broken" :
									 state.refusing & CPII_REFUSE_FULL ? "full" :
									 state.refusing & CPII_REFUSE_BACKLOG ? "backlog" :
									 state.delay > 0 ? "slow" : "ok");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}

/*
 * Wait until every record that is in the spool now is in the table.  False
 * when that took longer than the timeout.
 */
Datum
cpii_audit_flush(PG_FUNCTION_ARGS)
{
	Interval   *timeout = PG_GETARG_INTERVAL_P(0);
	int64		usecs = timeout->time +
		((int64) timeout->month * DAYS_PER_MONTH + timeout->day) * USECS_PER_DAY;
	TimestampTz deadline = GetCurrentTimestamp() + Min(usecs, USECS_PER_DAY);
	CpiiSpoolState state;
	uint64		target;

	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor") && !superuser())
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("permission denied: duty \"%s\" is required", "pii_auditor"),
				 errhint("Ask a member of role \"%s\".", "pii_auditor")));
	cpii_spool_state(&state);
	target = state.next_seq - 1;
	while (state.ready && state.ingested_seq < target)
	{
		if (GetCurrentTimestamp() >= deadline)
			PG_RETURN_BOOL(false);
		cpii_spool_wake_worker();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		cpii_spool_state(&state);
	}
	PG_RETURN_BOOL(state.ready);
}
