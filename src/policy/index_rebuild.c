/*-------------------------------------------------------------------------
 *
 * index_rebuild.c
 *	  Existing indexes made again over a sealed column: in this transaction, or
 *	  concurrently by a worker, since CREATE INDEX CONCURRENTLY cannot run in a
 *	  procedure.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>

#include "access/genam.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "policy/protect.h"

CPII_EXPORT void cpii_index_worker_main(Datum arg);

/* what the worker is told; fits into bgw_extra */
typedef struct IndexOrder
{
	Oid			database;
	Oid			owner;
	Oid			index;
	AttrNumber	column;
	AttrNumber	by;
	bool		compact;
	char		name[NAMEDATALEN];
} IndexOrder;

bool
cpii_index_compactable(Oid index)
{
	Relation	rel = index_open(index, AccessShareLock);
	Form_pg_index form = rel->rd_index;
	bool		result;

	/* a constraint and ON CONFLICT need the column itself, and so do these */
	result = rel->rd_rel->relam == BTREE_AM_OID && !form->indisunique &&
		!form->indisprimary && !form->indisexclusion && !form->indisreplident &&
		!OidIsValid(get_index_constraint(index));
	index_close(rel, AccessShareLock);
	return result;
}

/* search_tag(column) */
static Node *
tag_of(const char *column)
{
	ColumnRef  *ref = makeNode(ColumnRef);

	ref->fields = list_make1(makeString(pstrdup(column)));
	ref->location = -1;
	return (Node *) makeFuncCall(list_make2(makeString("courier_pii"),
											makeString("search_tag")),
								 list_make1(ref), COERCE_EXPLICIT_CALL, -1);
}

static void
replace_column(List *elements, const char *column, const char *by, bool compact)
{
	ListCell   *lc;

	foreach(lc, elements)
	{
		IndexElem  *element = lfirst_node(IndexElem, lc);

		if (element->name == NULL || strcmp(element->name, column) != 0)
			continue;
		element->collation = NIL;
		element->opclass = NIL;
		if (compact)
		{
			element->name = NULL;
			element->expr = tag_of(by);
		}
		else
			element->name = pstrdup(by);
	}
}

IndexStmt *
cpii_index_again(Oid index, const char *column, const char *by, bool compact,
				 const char *name)
{
	List	   *parsed = raw_parser(pg_get_indexdef_string(index), RAW_PARSE_DEFAULT);
	IndexStmt  *stmt = castNode(IndexStmt, linitial_node(RawStmt, parsed)->stmt);

	compact = compact && cpii_index_compactable(index);
	replace_column(stmt->indexParams, column, by, compact);
	replace_column(stmt->indexIncludingParams, column, by, false);
	if (name != NULL)
		stmt->idxname = pstrdup(name);
	/* those of partitions are made one by one, and attached */
	if (get_rel_relkind(index) == RELKIND_PARTITIONED_INDEX)
		stmt->relation->inh = false;
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

	cpii_internal_begin(&state);
	PushActiveSnapshot(GetTransactionSnapshot());
	ProcessUtility(utility(stmt), "CREATE INDEX", false,
				   PROCESS_UTILITY_SUBCOMMAND, NULL, NULL, None_Receiver, NULL);
	PopActiveSnapshot();
	CommandCounterIncrement();
	cpii_internal_end(&state);
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
							get_attname(relid, order.by, false), order.compact,
							order.name);
	stmt->concurrent = true;
	/* all of it must outlive the commits inside */
	stmts = list_make1(utility(stmt));
	MemoryContextSwitchTo(old);
	PopActiveSnapshot();
	CommitTransactionCommand();

	/* as a client's own statement would run, but not recorded as one */
	cpii_internal_depth++;
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
							   bool compact, const char *name)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	IndexOrder	order;
	BgwHandleStatus status;
	pid_t		pid;
	Dl_info		self;

	StaticAssertStmt(sizeof(IndexOrder) <= BGW_EXTRALEN, "order must fit");
	memset(&order, 0, sizeof(order));
	order.database = MyDatabaseId;
	order.owner = cpii_owner_oid();
	order.index = index;
	order.column = column;
	order.by = by;
	order.compact = compact;
	strlcpy(order.name, name, sizeof(order.name));

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	/* the same file as this one, under whatever path it was preloaded */
	if (dladdr((const void *) cpii_index_worker_main, &self) != 0 &&
		self.dli_fname != NULL && strlen(self.dli_fname) < BGW_MAXLEN)
		strlcpy(worker.bgw_library_name, self.dli_fname, BGW_MAXLEN);
	else
		strlcpy(worker.bgw_library_name, "courier_pii", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cpii_index_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "courier_pii index worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "courier_pii index worker", BGW_MAXLEN);
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
