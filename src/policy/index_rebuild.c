/*-------------------------------------------------------------------------
 *
 * index_rebuild.c
 *	  Existing indexes made again over a sealed column: in this transaction, or
 *	  concurrently by a worker, since CREATE INDEX CONCURRENTLY cannot run in a
 *	  procedure.
 *
 * A btree index keeps whole sealed values.  So plain indexes on the column alone
 * become indexes on search_tag(column), which are as small as on the text, and
 * are found by plans all the same (sealed/search_tag.c).  Those of partitions are
 * of one kind with the index that they belong to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "commands/comment.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/background.h"
#include "base/compat.h"
#include "base/internal.h"
#include "policy/protect.h"
#include "sealed/oids.h"
#include "sealed/search.h"

CPII_EXPORT void cpii_index_worker_main(Datum arg);

/* what the worker is told; fits into bgw_extra */
typedef struct IndexOrder
{
	Oid			database;
	Oid			owner;
	Oid			index;
	AttrNumber	column;
	AttrNumber	by;
	char		name[NAMEDATALEN];
} IndexOrder;

/* does the index consist of search_tag(column) and nothing else? */
static bool
is_tag(Relation rel, AttrNumber column)
{
	FuncExpr   *call;
	Node	   *arg;
	List	   *expressions = RelationGetIndexExpressions(rel);
	const CpiiOids *oids = cpii_oids();

	if (oids == NULL || rel->rd_index->indkey.values[0] != 0 ||
		list_length(expressions) != 1 || !IsA(linitial(expressions), FuncExpr))
		return false;
	call = linitial_node(FuncExpr, expressions);
	if (call->funcid != oids->search_tag)
		return false;
	arg = cpii_strip_relabel(linitial(call->args));
	return IsA(arg, Var) && ((Var *) arg)->varattno == column;
}

/*
 * An index on this column alone, or on its tags alone, that nothing but plans
 * relies on?  One on tags can be no index of anything else, so it goes back to
 * the column whatever its state.
 */
static bool
is_plain(Oid index, const char *column, bool of_tags)
{
	Relation	rel = index_open(index, AccessShareLock);
	Form_pg_index form = rel->rd_index;
	AttrNumber	attnum = get_attnum(form->indrelid, column);
	bool		result;

	result = rel->rd_rel->relam == BTREE_AM_OID && form->indnatts == 1 &&
		(of_tags || (form->indisvalid && !form->indisclustered)) &&
		!form->indisunique && !form->indisprimary &&
		!form->indisexclusion && !form->indisreplident &&
		(of_tags ? is_tag(rel, attnum) : form->indkey.values[0] == attnum) &&
		!OidIsValid(get_index_constraint(index));
	index_close(rel, AccessShareLock);
	return result;
}

/* the same of all the indexes that it is one of */
static bool
all_plain(Oid index, const char *column, bool of_tags)
{
	Oid			root = index;
	ListCell   *lc;

	if (get_rel_relispartition(index))
		root = llast_oid(get_partition_ancestors(index));
	foreach(lc, find_all_inheritors(root, NoLock, NULL))
		if (!is_plain(lfirst_oid(lc), column, of_tags))
			return false;
	return true;
}

bool
cpii_index_is_of_tags(Oid index, const char *column)
{
	return all_plain(index, column, true);
}

bool
cpii_index_becomes_tag(Oid index, const char *column)
{
	return all_plain(index, column, false);
}

static void
replace_column(List *elements, const char *column, const char *by)
{
	ListCell   *lc;

	foreach(lc, elements)
	{
		IndexElem  *element = lfirst_node(IndexElem, lc);

		if (element->name == NULL || strcmp(element->name, column) != 0)
			continue;
		element->collation = NIL;
		element->opclass = NIL;
		element->name = pstrdup(by);
	}
}

/* the one column of the index by its tags, or by itself */
static void
set_tag(IndexStmt *stmt, const char *column, bool of_tags)
{
	IndexElem  *element = linitial_node(IndexElem, stmt->indexParams);
	ColumnRef  *ref = makeNode(ColumnRef);

	ref->fields = list_make1(makeString(pstrdup(column)));
	ref->location = -1;
	element->name = of_tags ? NULL : pstrdup(column);
	element->expr = !of_tags ? NULL :
		(Node *) makeFuncCall(list_make2(makeString("courier_pii"), makeString("search_tag")),
							  list_make1(ref), COERCE_EXPLICIT_CALL, -1);
}

static IndexStmt *
statement_of(Oid index)
{
	int			guc_level = NewGUCNestLevel();
	List	   *parsed;
	IndexStmt  *stmt;

	/* as it is read again in cpii_index_create: names of others are qualified */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	parsed = raw_parser(pg_get_indexdef_string(index), RAW_PARSE_DEFAULT);
	AtEOXact_GUC(true, guc_level);
	stmt = castNode(IndexStmt, linitial_node(RawStmt, parsed)->stmt);
	/* those of partitions are made one by one, and attached */
	if (get_rel_relkind(index) == RELKIND_PARTITIONED_INDEX)
		stmt->relation->inh = false;
	return stmt;
}

IndexStmt *
cpii_index_again(Oid index, const char *column, const char *by, const char *name)
{
	IndexStmt  *stmt = statement_of(index);

	replace_column(stmt->indexParams, column, by);
	replace_column(stmt->indexIncludingParams, column, by);
	if (cpii_index_becomes_tag(index, column))
		set_tag(stmt, by, true);
	stmt->idxname = pstrdup(name);
	return stmt;
}

static PlannedStmt *
utility(IndexStmt *stmt)
{
	PlannedStmt *pstmt = makeNode(PlannedStmt);

	pstmt->commandType = CMD_UTILITY;
	pstmt->canSetTag = true;
	pstmt->utilityStmt = (Node *) stmt;
	pstmt->stmt_location = -1;
	return pstmt;
}

void
cpii_index_create(IndexStmt *stmt)
{
	CpiiInternalState state;
	int			guc_level = NewGUCNestLevel();

	/* where the statement names no tablespace, the database's is meant */
	(void) set_config_option("default_tablespace", "", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	cpii_internal_begin(&state);
	PushActiveSnapshot(GetTransactionSnapshot());
	ProcessUtility(utility(stmt), "CREATE INDEX", false,
				   PROCESS_UTILITY_SUBCOMMAND, NULL, NULL, None_Receiver, NULL);
	PopActiveSnapshot();
	CommandCounterIncrement();
	cpii_internal_end(&state);
	AtEOXact_GUC(true, guc_level);
}

/* ---- those that become another kind in one ALTER TABLE ---- */

/* an index that was dropped and is to be made again */
typedef struct TakenIndex
{
	IndexStmt  *stmt;
	char	   *parent;			/* the index it is attached to, qualified, or NULL */
	char	   *comment;
	bool		clustered;
} TakenIndex;

static char *
qualified_name(Oid index)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(index)),
									  get_rel_name(index));
}

static TakenIndex *
take_index(Oid index, const char *column, bool protecting)
{
	TakenIndex *taken = palloc0(sizeof(TakenIndex));

	taken->stmt = statement_of(index);
	replace_column(taken->stmt->indexParams, column, column);
	set_tag(taken->stmt, column, protecting);
	taken->comment = GetComment(index, RelationRelationId, 0);
	taken->clustered = get_index_isclustered(index);
	if (get_rel_relispartition(index))
		taken->parent = qualified_name(get_partition_parent(index, false));
	return taken;
}

List *
cpii_indexes_take(Oid relid, const char *column, bool protecting)
{
	List	   *list = NIL;
	List	   *roots = NIL;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessExclusiveLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);
		List	   *indexes = RelationGetIndexList(rel);
		ListCell   *li;

		table_close(rel, NoLock);
		foreach(li, indexes)
		{
			TakenIndex *taken;

			if (!all_plain(lfirst_oid(li), column, !protecting))
				continue;
			taken = take_index(lfirst_oid(li), column, protecting);
			list = lappend(list, taken);
			if (taken->parent == NULL)
				roots = lappend(roots, qualified_name(lfirst_oid(li)));
		}
	}
	/* parts go with what they are attached to */
	foreach(lc, roots)
		cpii_internal_execute(psprintf("DROP INDEX %s", (char *) lfirst(lc)),
							  0, NULL, NULL, NULL, false, 0);
	return list;
}

void
cpii_indexes_make(List *list)
{
	ListCell   *lc;

	/* parents are first: parts can be attached when they are made */
	foreach(lc, list)
	{
		TakenIndex *taken = lfirst(lc);
		char	   *schema = taken->stmt->relation->schemaname;
		char	   *name = taken->stmt->idxname;
		char	   *qualified = quote_qualified_identifier(schema, name);

		cpii_index_create(taken->stmt);
		if (taken->comment != NULL)
			CreateComments(get_relname_relid(name, get_namespace_oid(schema, false)),
						   RelationRelationId, 0, taken->comment);
		if (taken->clustered)
			cpii_internal_execute(psprintf("ALTER TABLE %s CLUSTER ON %s",
										   quote_qualified_identifier(schema, taken->stmt->relation->relname),
										   quote_identifier(name)),
								  0, NULL, NULL, NULL, false, 0);
		if (taken->parent != NULL)
			cpii_internal_execute(psprintf("ALTER INDEX %s ATTACH PARTITION %s",
										   taken->parent, qualified),
								  0, NULL, NULL, NULL, false, 0);
	}
}

/* ---- the worker ---- */

void
cpii_index_worker_main(Datum arg)
{
	IndexOrder	order;
	IndexStmt  *stmt;
	List	   *stmts;
	Relation	index;
	Oid			relid;
	Portal		portal;
	MemoryContext lasting;
	MemoryContext old;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, order.owner, 0);
	lasting = AllocSetContextCreate(TopMemoryContext, "courier_pii index worker",
									ALLOCSET_DEFAULT_SIZES);

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	index = index_open(order.index, AccessShareLock);
	relid = index->rd_index->indrelid;
	index_close(index, AccessShareLock);
	old = MemoryContextSwitchTo(lasting);
	stmt = cpii_index_again(order.index, get_attname(relid, order.column, false),
							get_attname(relid, order.by, false), order.name);
	stmt->concurrent = true;
	SetConfigOption("default_tablespace", "", PGC_USERSET, PGC_S_SESSION);
	/* one core for this, the others for those who use the table */
	SetConfigOption("max_parallel_maintenance_workers", "0", PGC_USERSET, PGC_S_SESSION);
	/* all of it must outlive the commits inside */
	stmts = list_make1(utility(stmt));
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();

	/* as a client's own statement would run, but not recorded as one */
	cpii_internal_process();
	StartTransactionCommand();
	portal = CreateNewPortal();
	portal->visible = false;
	PortalDefineQuery(portal, NULL, "CREATE INDEX CONCURRENTLY",
					  CMDTAG_CREATE_INDEX, stmts, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) CPII_PORTAL_RUN(portal, None_Receiver);
	PortalDrop(portal, false);
	CommitTransactionCommand();
	proc_exit(0);
}

bool
cpii_index_create_concurrently(Oid index, AttrNumber column, AttrNumber by,
							   const char *name)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	IndexOrder	order;
	BgwHandleStatus status;
	pid_t		pid;

	StaticAssertStmt(sizeof(IndexOrder) <= BGW_EXTRALEN, "order must fit");
	memset(&order, 0, sizeof(order));
	order.database = MyDatabaseId;
	order.owner = cpii_owner_oid();
	order.index = index;
	order.column = column;
	order.by = by;
	strlcpy(order.name, name, sizeof(order.name));

	cpii_background_describe(&worker, "cpii_index_worker_main",
							 "courier_pii index worker");
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &order, sizeof(order));

	/* whoever builds concurrently waits for older snapshots: keep none */
	SPI_commit();
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a worker that builds an index"),
				 errhint("Raise max_worker_processes, or try again later: what is done stays done.")));
	PG_TRY();
	{
		status = WaitForBackgroundWorkerStartup(handle, &pid);
		if (status == BGWH_STARTED)
			status = WaitForBackgroundWorkerShutdown(handle);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pfree(handle);
	return status == BGWH_STOPPED;
}
