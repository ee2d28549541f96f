/*-------------------------------------------------------------------------
 *
 * destroy.c
 *	  Destruction of protected data needs a ticket: TRUNCATE, DROP, DETACH,
 *	  dropped columns, and DELETE of more rows than the limit.
 *
 * Drops are caught object by object, where the server drops them, so that no
 * way around is left: DROP SCHEMA, OWNED BY, CASCADE, a dropped type, code of
 * functions.  Deleted rows are counted over everything that one statement of
 * the client does, but for those that purge() itself deletes by its ticket.
 * What holds no rows may go freely.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "guard/destroy.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "guard/ticket_state.h"
#include "policy/relation.h"
#include "sealed/seal.h"

const CpiiPurgeBatch *cpii_destroy_batch = NULL;

/* start of the statement that the following are about */
static TimestampTz counted_since = 0;

/* rows of protected tables that the client's statement has deleted */
static int64 deleted_rows = 0;
/* a warning was given for them */
static bool deletion_answered = false;

/* DROP EXTENSION was answered as a whole: our own tables may be gone already */
static bool dropping_ourselves = false;

/* ---- when data may be destroyed at all ---- */

/* is it inside courier_pii.destroy_window, by the server's own time zone? */
static bool
in_window(void)
{
	int			from;
	int			until;
	pg_time_t	now = (pg_time_t) time(NULL);
	struct pg_tm *tm = pg_localtime(&now, log_timezone);
	int			minute;

	if (!cpii_destroy_window_minutes(cpii_destroy_window, &from, &until))
		return true;
	minute = tm->tm_hour * 60 + tm->tm_min;
	if (from <= until)
		return minute >= from && minute < until;
	return minute >= from || minute < until;	/* over midnight */
}

static bool
has_verified_backup(void)
{
	Oid			types[1] = {INT4OID};
	Datum		args[1] = {Int32GetDatum(cpii_destroy_backup_within)};
	bool		result;

	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	cpii_internal_execute("SELECT 1 FROM courier_pii.backup_register b"
						  " WHERE b.verified_at <= pg_catalog.clock_timestamp()"
						  " AND b.verified_at >= b.taken_at"
						  " AND b.taken_at > pg_catalog.clock_timestamp()"
						  " - pg_catalog.make_interval(secs => $1) LIMIT 1",
						  1, types, args, NULL, true, 1);
	PopActiveSnapshot();
	result = SPI_processed > 0;
	SPI_finish();
	return result;
}

void
cpii_destroy_conditions(void)
{
	if (!in_window())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("personal data are not destroyed at this time of day"),
				 errdetail("It is possible during %s.", cpii_destroy_window)));
	if (cpii_duties_sealed() && cpii_destroy_backup_within > 0 &&
		!has_verified_backup())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("personal data are not destroyed without a verified backup"),
				 errdetail("No backup of the last %d seconds is registered as verified.",
						   cpii_destroy_backup_within),
				 errhint("Verify a backup and enter it with courier_pii.register_backup().")));
}

/* a ticket for these relations; in "warn" mode a warning and a record */
static void
require_ticket(const Oid *relids, int n)
{
	if (cpii_enforcement == CPII_ENFORCE_WARN &&
		(cpii_destroy_batch == NULL || cpii_destroy_batch->ticket == 0) &&
		cpii_ticket_current("destroy") == NULL)
	{
		ereport(WARNING,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("an approved ticket of kind \"%s\" would be required", "destroy")));
		cpii_audit_note(CPII_ACT_DESTROY, "destroy without a ticket", "ok", NULL);
		return;
	}
	cpii_destroy_conditions();
	(void) cpii_ticket_redeem_number(cpii_destroy_batch ? cpii_destroy_batch->ticket : 0,
									 "destroy", relids, n);
}

/* ---- tables with rows ---- */

static bool
has_rows(Oid relid)
{
	Relation	rel;
	TableScanDesc scan;
	TupleTableSlot *slot;
	Snapshot	snapshot;
	bool		result;

	if (get_rel_relkind(relid) != RELKIND_RELATION &&
		get_rel_relkind(relid) != RELKIND_MATVIEW)
		return false;
	rel = table_open(relid, AccessShareLock);
	slot = table_slot_create(rel, NULL);
	/* committed by anybody, or by this transaction's earlier commands */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	result = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
is_protected_table(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			kind == RELKIND_MATVIEW) &&
		(cpii_relation_flags(relid) & CPII_REL_PROTECTED) != 0;
}

static bool
below_has_rows(Oid relid)
{
	List	   *all = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell   *lc;

	foreach(lc, all)
		if (has_rows(lfirst_oid(lc)))
			return true;
	return false;
}

/* ---- drops and truncations, one object at a time ---- */

static bool
exempt(void)
{
	return cpii_internal_depth > 0 || creating_extension ||
		(dropping_ourselves &&
		 counted_since == GetCurrentStatementStartTimestamp()) ||
		IsParallelWorker() || !cpii_preloaded || !IsTransactionState();
}

static void
destroyed_table(Oid relid)
{
	if (is_protected_table(relid) && has_rows(relid))
	{
		cpii_statement_touch(relid);
		cpii_account_prepare();
		require_ticket(&relid, 1);
	}
}

static void
dropped_column(Oid relid, AttrNumber attnum)
{
	Oid			type = get_atttype(relid, attnum);

	if (OidIsValid(type) && cpii_class_of_type(type, -1) != 0 &&
		is_protected_table(relid) && below_has_rows(relid))
	{
		cpii_statement_touch(relid);
		cpii_account_prepare();
		require_ticket(&relid, 1);
	}
}

static pg_noinline void
relation_accessed(ObjectAccessType access, Oid objectId, int subId, void *arg)
{
	if (exempt())
		return;
	if (access == OAT_TRUNCATE)
		destroyed_table(objectId);
	else if (access == OAT_DROP)
	{
		ObjectAccessDrop *drop = arg;

		/* the server's own temporary relations, as of a rewrite */
		if (drop != NULL && (drop->dropflags & PERFORM_DELETION_INTERNAL))
			return;
		if (subId != 0)
			dropped_column(objectId, subId);
		else
			destroyed_table(objectId);
	}
}

void
cpii_destroy_object(ObjectAccessType access, Oid classId, Oid objectId,
					int subId, void *arg)
{
	if (classId == RelationRelationId)
		relation_accessed(access, objectId, subId, arg);
}

/* what was counted belongs to an earlier statement of the client: forget it */
static void
new_statement(void)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (counted_since == now)
		return;
	counted_since = now;
	deleted_rows = 0;
	deletion_answered = false;
	dropping_ourselves = false;
}

/* ---- what is seen in the statement only ---- */

static void
detached_partition(Oid relid)
{
	if (OidIsValid(relid) && is_protected_table(relid) && below_has_rows(relid))
		require_ticket(&relid, 1);
}

/* all protected tables with rows: DROP EXTENSION ... CASCADE takes their columns */
static void
dropped_extension(DropStmt *drop)
{
	ListCell   *lc;
	bool		ours = false;
	Oid		   *relids;
	int			n = 0;
	uint64		found;

	foreach(lc, drop->objects)
		if (strcmp(strVal(lfirst(lc)), "courier_pii") == 0)
			ours = true;
	if (!ours || !OidIsValid(cpii_sealed_type()) ||
		drop->behavior != DROP_CASCADE)
		return;
	SPI_connect();
	cpii_internal_execute("SELECT DISTINCT p.tbl::pg_catalog.oid"
						  " FROM courier_pii.protected_columns p",
						  0, NULL, NULL, NULL, true, 0);
	found = SPI_processed;
	relids = SPI_palloc(sizeof(Oid) * (found + 1));
	for (uint64 i = 0; i < found; i++)
	{
		Oid			relid = cpii_result_oid(i, 1);

		if (has_rows(relid))
			relids[n++] = relid;
	}
	SPI_finish();
	if (n > 0)
		require_ticket(relids, n);
	new_statement();
	dropping_ourselves = true;
}

void
cpii_destroy_utility(Node *stmt)
{
	ListCell   *lc;

	if (exempt())
		return;
	if (IsA(stmt, DropdbStmt) && cpii_duties_sealed() &&
		strcmp(((DropdbStmt *) stmt)->dbname, cpii_database) == 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("the protected database cannot be dropped"),
				 errdetail("The duties are sealed.")));
	if (IsA(stmt, AlterTableStmt))
	{
		foreach(lc, ((AlterTableStmt *) stmt)->cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

			if (cmd->subtype == AT_DetachPartition && IsA(cmd->def, PartitionCmd))
				detached_partition(RangeVarGetRelid(((PartitionCmd *) cmd->def)->name,
													NoLock, true));
		}
	}
	else if (IsA(stmt, DropStmt) &&
			 ((DropStmt *) stmt)->removeType == OBJECT_EXTENSION)
		dropped_extension((DropStmt *) stmt);
}

/* ---- deletions ---- */

/* protected relations that a node of the plan changes */
static int
changed_relations(ModifyTableState *node, Oid *relids, int room)
{
	int			n = 0;

	for (int i = 0; i < node->mt_nrels && n < room; i++)
	{
		Oid			relid = RelationGetRelid(node->resultRelInfo[i].ri_RelationDesc);

		if (cpii_relation_flags(relid) & CPII_REL_PROTECTED)
			relids[n++] = relid;
	}
	return n;
}

/*
 * Is it purge()'s own statement?  A rule of the table may have made it one on
 * another table.
 */
static bool
is_purge_batch(const Oid *relids, int n)
{
	List	   *all;

	if (cpii_destroy_batch == NULL ||
		cpii_executor_depth != cpii_destroy_batch->depth + 1)
		return false;
	all = find_all_inheritors(cpii_destroy_batch->relid, NoLock, NULL);
	for (int i = 0; i < n; i++)
		if (!list_member_oid(all, relids[i]))
			return false;
	return true;
}

/* rows that the ticket at hand bounds the statement to, -1 = it says nothing */
static int64
rows_of_ticket(void)
{
	const CpiiTicket *ticket;
	CpiiRequest request = {0};

	if (cpii_destroy_batch != NULL && cpii_destroy_batch->ticket != 0)
		return cpii_request_load(cpii_destroy_batch->ticket, false, &request) ?
			cpii_request_number(&request, "max_rows", -1) : -1;
	ticket = cpii_ticket_current("destroy");
	return ticket != NULL ? ticket->max_rows : -1;
}

static void
deleted(ModifyTableState *node, int64 rows)
{
	Oid			relids[CPII_MAX_STATEMENT_RELATIONS];
	int			n = changed_relations(node, relids, lengthof(relids));
	int64		all;
	int64		allowed;

	if (n == 0 || rows <= 0 || exempt() || is_purge_batch(relids, n))
		return;
	new_statement();
	deleted_rows += rows;
	if (deleted_rows <= cpii_destroy_limit)
		return;
	all = deleted_rows;
	if (cpii_destroy_batch != NULL && cpii_destroy_batch->rows > 0)
		all += cpii_destroy_batch->rows;
	allowed = rows_of_ticket();
	if (allowed >= 0 && all > allowed)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("more rows are deleted than the ticket allows"),
				 errdetail("The statement deletes at least %lld rows; the ticket allows %lld.",
						   (long long) all, (long long) allowed)));
	if (cpii_enforcement == CPII_ENFORCE_WARN && deletion_answered)
		return;
	deletion_answered = true;
	require_ticket(relids, n);
}

void
cpii_destroy_after_run(QueryDesc *queryDesc)
{
	PlanState  *top = queryDesc->planstate;

	if (top == NULL || !IsA(top, ModifyTableState) || queryDesc->estate == NULL)
		return;
	if (((ModifyTableState *) top)->operation == CMD_DELETE)
		deleted((ModifyTableState *) top, (int64) queryDesc->estate->es_processed);
	else if (((ModifyTableState *) top)->operation == CMD_MERGE)
		deleted((ModifyTableState *) top,
				(int64) ((ModifyTableState *) top)->mt_merge_deleted);
}

void
cpii_destroy_after_finish(QueryDesc *queryDesc)
{
	ListCell   *lc;

	if (queryDesc->estate == NULL)
		return;
	foreach(lc, queryDesc->estate->es_auxmodifytables)
	{
		ModifyTableState *node = lfirst_node(ModifyTableState, lc);
		PlanState  *child = outerPlanState(node);

		if (node->operation == CMD_MERGE)
			deleted(node, (int64) node->mt_merge_deleted);
		else if (node->operation == CMD_DELETE && child != NULL &&
				 child->instrument != NULL)
			deleted(node, (int64) (child->instrument->ntuples +
								   child->instrument->tuplecount));
	}
}
