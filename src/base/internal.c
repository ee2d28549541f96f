/*-------------------------------------------------------------------------
 *
 * internal.c
 *	  Statements that the extension itself runs, and names of its objects.
 *
 * cpii_internal_depth and cpii_planning_depth are reset at (sub)transaction
 * abort to what the (sub)transaction began with, so an error cannot leave a
 * mark behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"
#include "base/transaction.h"

int			cpii_internal_depth = 0;
int			cpii_planning_depth = 0;
bool		cpii_preloaded = false;

/* what cpii_internal_depth is outside of our own statements */
static int	outermost_depth = 0;

PG_FUNCTION_INFO_V1(cpii_check_install);
CPII_EXPORT Datum cpii_check_install(PG_FUNCTION_ARGS);

void
cpii_require_preload(void)
{
	if (!cpii_preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("courier_pii must be loaded via \"shared_preload_libraries\""),
				 errhint("Add \"courier_pii\" to \"shared_preload_libraries\" in postgresql.conf and restart the server.")));
}

Oid
cpii_schema_oid(bool missing_ok)
{
	return get_namespace_oid("courier_pii", missing_ok);
}

Datum
cpii_oid_array(List *oids)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, oids)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(elems, n, OIDOID, sizeof(Oid), true,
										   TYPALIGN_INT));
}

Datum
cpii_bytea(const void *data, size_t len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return PointerGetDatum(result);
}

Oid
cpii_relation_oid(const char *name, bool missing_ok)
{
	Oid			nsp = cpii_schema_oid(missing_ok);
	Oid			rel = InvalidOid;

	if (OidIsValid(nsp))
		rel = get_relname_relid(name, nsp);
	if (!OidIsValid(rel) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"courier_pii.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION courier_pii in this database.")));
	return rel;
}

Oid
cpii_owner_oid(void)
{
	Oid			nsp = cpii_schema_oid(false);
	HeapTuple	tup = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	Oid			owner;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for schema %u", nsp);
	owner = ((Form_pg_namespace) GETSTRUCT(tup))->nspowner;
	ReleaseSysCache(tup);
	return owner;
}

void
cpii_internal_process(void)
{
	outermost_depth = 1;
	cpii_internal_depth = 1;
}

bool
cpii_is_internal_process(void)
{
	return outermost_depth > 0;
}

void
cpii_internal_begin(CpiiInternalState *state)
{
	Oid			owner = cpii_owner_oid();

	GetUserIdAndSecContext(&state->userid, &state->sec_context);
	state->guc_nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(owner,
						   state->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	cpii_internal_depth++;
}

void
cpii_internal_end(CpiiInternalState *state)
{
	cpii_internal_depth--;
	SetUserIdAndSecContext(state->userid, state->sec_context);
	AtEOXact_GUC(false, state->guc_nestlevel);
}

int
cpii_internal_execute(const char *sql, int nargs, Oid *argtypes, Datum *values,
					  const char *nulls, bool read_only, long count)
{
	CpiiInternalState state;
	int			rc;

	cpii_internal_begin(&state);
	rc = SPI_execute_with_args(sql, nargs, argtypes, values, nulls,
							   read_only, count);
	cpii_internal_end(&state);
	if (rc < 0)
		elog(ERROR, "internal statement returned %s", SPI_result_code_string(rc));
	return rc;
}

char *
cpii_result_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Datum
result_number(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
									  column, &isnull);

	return isnull ? (Datum) 0 : value;
}

Oid
cpii_result_oid(uint64 row, int column)
{
	return DatumGetObjectId(result_number(row, column));
}

int64
cpii_result_int64(uint64 row, int column)
{
	Datum		value = result_number(row, column);

	/* where 8 bytes are passed by reference, no value is no pointer */
	return value == (Datum) 0 ? 0 : DatumGetInt64(value);
}

List *
cpii_internal_oids(const char *sql, int nargs, Oid *argtypes, Datum *values)
{
	List	   *result = NIL;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	cpii_internal_execute(sql, nargs, argtypes, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Oid			oid = cpii_result_oid(i, 1);
		MemoryContext old = MemoryContextSwitchTo(caller);

		if (OidIsValid(oid))
			result = lappend_oid(result, oid);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return result;
}

bool
cpii_in_protected_database(void)
{
	static Oid	asked = InvalidOid;
	static bool answer = false;

	if (asked != MyDatabaseId)
	{
		char	   *here = get_database_name(MyDatabaseId);

		answer = here != NULL && strcmp(here, cpii_database) == 0;
		asked = MyDatabaseId;
	}
	return answer;
}

/*
 * Called by the install script before it makes anything: the library must be
 * preloaded, and this must be the database that the settings name.
 */
Datum
cpii_check_install(PG_FUNCTION_ARGS)
{
	char	   *here = get_database_name(MyDatabaseId);

	if (IsBinaryUpgrade)
		PG_RETURN_VOID();
	cpii_require_preload();
	if (strcmp(here, cpii_database) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("courier_pii protects database \"%s\" only", cpii_database),
				 errdetail("This is database \"%s\".", here),
				 errhint("Set courier_pii.database and restart the server.")));
	PG_RETURN_VOID();
}

/* ---- restoring the mark after errors ---- */

#define MAX_SUBXACT_MARKS 64

typedef struct SubxactMark
{
	SubTransactionId subid;
	int			depth;
	int			planning;
} SubxactMark;

static SubxactMark marks[MAX_SUBXACT_MARKS];
static int	nmarks = 0;

static void
internal_xact_callback(XactEvent event)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT ||
		event == XACT_EVENT_PREPARE || event == XACT_EVENT_PARALLEL_ABORT ||
		event == XACT_EVENT_PARALLEL_COMMIT)
	{
		cpii_internal_depth = outermost_depth;
		cpii_planning_depth = 0;
		nmarks = 0;
	}
}

static void
internal_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						  SubTransactionId parentSubid)
{
	if (event == SUBXACT_EVENT_START_SUB)
	{
		/* deeper nesting than we track can only start outside internal code */
		if (nmarks < MAX_SUBXACT_MARKS &&
			(cpii_internal_depth > 0 || cpii_planning_depth > 0))
		{
			marks[nmarks].subid = mySubid;
			marks[nmarks].depth = cpii_internal_depth;
			marks[nmarks].planning = cpii_planning_depth;
			nmarks++;
			cpii_transaction_busy = true;
		}
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		int			depth = outermost_depth;
		int			planning = 0;

		while (nmarks > 0 && marks[nmarks - 1].subid >= mySubid)
		{
			depth = marks[nmarks - 1].depth;
			planning = marks[nmarks - 1].planning;
			nmarks--;
		}
		cpii_internal_depth = depth;
		cpii_planning_depth = planning;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		while (nmarks > 0 && marks[nmarks - 1].subid >= mySubid)
			nmarks--;
	}
}

void
cpii_internal_init(void)
{
	cpii_at_transaction(internal_xact_callback, internal_subxact_callback);
}
