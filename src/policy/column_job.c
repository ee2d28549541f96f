/*-------------------------------------------------------------------------
 *
 * column_job.c
 *	  The register of jobs that work on all rows of a column: where each is, so
 *	  that it goes on from there after any end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "policy/column_job.h"
#include "policy/policy.h"
#include "policy/throttle.h"

/* ---- the register ---- */

static void
lock_job(Oid relid, const char *col)
{
	LOCKTAG		tag;
	Oid			reg = cpii_relation_oid("column_job", false);

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, reg, relid, 0);
	/* for the session: it must outlive the commits; an error releases it */
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another session works on the columns of \"%s\"",
						get_rel_name(relid)),
				 errhint("See courier_pii.stat_progress_protect.")));
}

static void
unlock_job(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, cpii_relation_oid("column_job", false),
					   relid, 0);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

static void
read_parts(CpiiJob *job, Datum oids, Datum attnums)
{
	Datum	   *elems;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(oids), OIDOID, sizeof(Oid), true,
					  TYPALIGN_INT, &elems, NULL, &n);
	job->nparts = n;
	job->parts = palloc(sizeof(Oid) * Max(n, 1));
	job->part_attnums = palloc0(sizeof(AttrNumber) * Max(n, 1));
	for (int i = 0; i < n; i++)
		job->parts[i] = DatumGetObjectId(elems[i]);
	deconstruct_array(DatumGetArrayTypeP(attnums), INT2OID, sizeof(int16), true,
					  TYPALIGN_SHORT, &elems, NULL, &n);
	for (int i = 0; i < n && i < job->nparts; i++)
		job->part_attnums[i] = DatumGetInt16(elems[i]);
}

static bool
load_job(CpiiJob *job)
{
	Oid			types[3] = {OIDOID, NAMEOID, TEXTOID};
	Datum		values[3];
	HeapTuple	tup;
	TupleDesc	desc;
	bool		isnull;

	values[0] = ObjectIdGetDatum(job->relid);
	values[1] = NameGetDatum(&job->col);
	values[2] = CStringGetTextDatum(job->kind);
	cpii_internal_execute("SELECT j.phase, j.attnum, j.class, j.parts, j.part_attnums, j.part, j.next_block, j.rows_total, j.rows_done, j.key_group, j.place"
						  " FROM courier_pii.column_job j WHERE j.relid = $1 AND j.col = $2 AND j.kind = $3",
						  3, types, values, NULL, true, 1);
	if (SPI_processed == 0)
		return false;
	tup = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	strlcpy(job->phase, SPI_getvalue(tup, desc, 1), sizeof(job->phase));
	job->attnum = DatumGetInt16(SPI_getbinval(tup, desc, 2, &isnull));
	job->class_id = DatumGetInt32(SPI_getbinval(tup, desc, 3, &isnull));
	read_parts(job, SPI_getbinval(tup, desc, 4, &isnull),
			   SPI_getbinval(tup, desc, 5, &isnull));
	job->part = DatumGetInt32(SPI_getbinval(tup, desc, 6, &isnull));
	job->next_block = (BlockNumber) DatumGetInt64(SPI_getbinval(tup, desc, 7, &isnull));
	job->rows_total = DatumGetInt64(SPI_getbinval(tup, desc, 8, &isnull));
	job->rows_done = DatumGetInt64(SPI_getbinval(tup, desc, 9, &isnull));
	job->key_group = DatumGetInt64(SPI_getbinval(tup, desc, 10, &isnull));
	job->place = DatumGetInt32(SPI_getbinval(tup, desc, 11, &isnull));
	return true;
}

/* a job that no other session works on; its row is loaded when there is one */
static CpiiJob *
take_job(const char *kind, Oid relid, const char *col, bool *resumed)
{
	CpiiJob    *job = palloc0(sizeof(CpiiJob));

	job->relid = relid;
	namestrcpy(&job->col, col);
	strlcpy(job->kind, kind, sizeof(job->kind));
	job->batch = AllocSetContextCreate(CurrentMemoryContext, "courier_pii batch",
									   ALLOCSET_DEFAULT_SIZES);
	lock_job(relid, col);
	*resumed = load_job(job);
	return job;
}

/* in the order of the table's columns */
enum
{
	JOB_RELID = 1,
	JOB_COL,
	JOB_KIND,
	JOB_PHASE,
	JOB_ATTNUM,
	JOB_CLASS,
	JOB_PARTS
};

/* is the job's row about this table, or one that it is a part of? */
static bool
is_of_table(HeapTuple row, TupleDesc desc, Oid relid)
{
	bool		isnull;
	ArrayType  *parts;
	Oid		   *oids;

	if (DatumGetObjectId(heap_getattr(row, JOB_RELID, desc, &isnull)) == relid)
		return true;
	parts = DatumGetArrayTypeP(heap_getattr(row, JOB_PARTS, desc, &isnull));
	oids = (Oid *) ARR_DATA_PTR(parts);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(parts), ARR_DIMS(parts)); i++)
		if (oids[i] == relid)
			return true;
	return false;
}

bool
cpii_job_fills(Oid relid, const char *column)
{
	Oid			reg;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	row;
	bool		found = false;

	if (strncmp(column, CPII_SWAP_COLUMN, strlen(CPII_SWAP_COLUMN)) != 0)
		return false;
	reg = cpii_relation_oid("column_job", true);
	if (!OidIsValid(reg))
		return false;
	rel = table_open(reg, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(row = systable_getnext(scan)))
	{
		bool		isnull;
		TupleDesc	desc = RelationGetDescr(rel);
		int			attnum = DatumGetInt16(heap_getattr(row, JOB_ATTNUM, desc, &isnull));

		found = strcmp(TextDatumGetCString(heap_getattr(row, JOB_KIND, desc, &isnull)), "protect") == 0 &&
			strcmp(TextDatumGetCString(heap_getattr(row, JOB_PHASE, desc, &isnull)), "wiping") != 0 &&
			strcmp(column, psprintf(CPII_SWAP_COLUMN "%d", attnum)) == 0 &&
			is_of_table(row, desc, relid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

CpiiJob *
cpii_job_open(FunctionCallInfo fcinfo, const char *kind, Oid relid,
			  const char *col, bool *resumed)
{
	cpii_require_preload();
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("this procedure cannot run inside a transaction block"),
				 errdetail("It commits after each batch.")));
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	cpii_require_table_duty(relid);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	return take_job(kind, relid, col, resumed);
}

CpiiJob *
cpii_job_add(const CpiiJob *first, Oid relid, const char *col)
{
	bool		resumed;
	CpiiJob    *job;

	cpii_require_table_duty(relid);
	job = take_job(first->kind, relid, col, &resumed);
	if (resumed)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("column \"%s\" of relation \"%s\" is being protected alone",
						col, get_rel_name(relid)),
				 errhint("Let protect_column_online go on with it, or give it up with cancel_protect.")));
	job->batch_rows = first->batch_rows;
	return job;
}

List *
cpii_job_members(CpiiJob *first)
{
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2];
	List	   *jobs = NIL;
	SPITupleTable *found;
	uint64		n;
	bool		gone = false;

	if (first->key_group == 0)
		return list_make1(first);
	values[0] = Int64GetDatum(first->key_group);
	values[1] = CStringGetTextDatum(first->kind);
	cpii_internal_execute("SELECT j.relid, j.col FROM courier_pii.column_job j WHERE j.key_group = $1 AND j.kind = $2 ORDER BY j.place",
						  2, types, values, NULL, true, 0);
	found = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool		ignored;
		Oid			relid = DatumGetObjectId(SPI_getbinval(found->vals[i], found->tupdesc, 1, &ignored));
		char	   *col = SPI_getvalue(found->vals[i], found->tupdesc, 2);
		CpiiJob    *job = first;

		if (get_rel_name(relid) == NULL)
		{
			gone = true;
			continue;
		}
		if (relid != first->relid || strcmp(col, NameStr(first->col)) != 0)
		{
			cpii_require_table_duty(relid);
			job = take_job(first->kind, relid, col, &ignored);
			job->batch_rows = first->batch_rows;
		}
		jobs = lappend(jobs, job);
	}
	/* a table that was dropped takes its jobs along */
	if (gone)
		cpii_internal_execute("DELETE FROM courier_pii.column_job j WHERE j.key_group = $1 AND j.kind = $2"
							  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = j.relid)",
							  2, types, values, NULL, false, 0);
	return jobs;
}

static void
store_job(CpiiJob *job, const char *sql)
{
	Oid			types[14] = {OIDOID, NAMEOID, TEXTOID, TEXTOID, INT2OID, INT4OID,
	OIDARRAYOID, INT2ARRAYOID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID};
	Datum		values[14];
	Datum	   *oids = palloc(sizeof(Datum) * Max(job->nparts, 1));
	Datum	   *attnums = palloc(sizeof(Datum) * Max(job->nparts, 1));

	for (int i = 0; i < job->nparts; i++)
	{
		oids[i] = ObjectIdGetDatum(job->parts[i]);
		attnums[i] = Int16GetDatum(job->part_attnums[i]);
	}
	values[0] = ObjectIdGetDatum(job->relid);
	values[1] = NameGetDatum(&job->col);
	values[2] = CStringGetTextDatum(job->kind);
	values[3] = CStringGetTextDatum(job->phase);
	values[4] = Int16GetDatum(job->attnum);
	values[5] = Int32GetDatum(job->class_id);
	values[6] = PointerGetDatum(construct_array(oids, job->nparts, OIDOID,
												sizeof(Oid), true, TYPALIGN_INT));
	values[7] = PointerGetDatum(construct_array(attnums, job->nparts, INT2OID,
												sizeof(int16), true, TYPALIGN_SHORT));
	values[8] = Int32GetDatum(job->part);
	values[9] = Int64GetDatum((int64) job->next_block);
	values[10] = Int64GetDatum(Max(job->rows_total, job->rows_done));
	values[11] = Int64GetDatum(job->rows_done);
	values[12] = Int64GetDatum(job->key_group);
	values[13] = Int32GetDatum(job->place);
	cpii_internal_execute(sql, lengthof(values), types, values, NULL, false, 0);
}

void
cpii_job_insert(CpiiJob *job)
{
	store_job(job, "INSERT INTO courier_pii.column_job (relid, col, kind, phase, attnum, class, parts, part_attnums, part, next_block, rows_total, rows_done, key_group, place, pid)"
			  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, pg_catalog.pg_backend_pid())");
}

static void
update_job(CpiiJob *job)
{
	store_job(job, "UPDATE courier_pii.column_job j SET phase = $4, attnum = $5, class = $6, parts = $7, part_attnums = $8,"
			  " part = $9, next_block = $10, rows_total = $11, rows_done = $12, key_group = $13, place = $14, pid = pg_catalog.pg_backend_pid()"
			  " WHERE j.relid = $1 AND j.col = $2 AND j.kind = $3");
}

/* the next transaction reads what is committed, whatever the session's default */
static void
next_transaction(void)
{
	SPI_commit();
	XactIsoLevel = XACT_READ_COMMITTED;
}

void
cpii_jobs_commit(List *jobs)
{
	ListCell   *lc;

	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);
		MemoryContext old = MemoryContextSwitchTo(job->batch);

		update_job(job);
		MemoryContextSwitchTo(old);
	}
	next_transaction();
	foreach(lc, jobs)
		MemoryContextReset(((CpiiJob *) lfirst(lc))->batch);
}

void
cpii_job_commit(CpiiJob *job)
{
	List	   *jobs = list_make1(job);

	cpii_jobs_commit(jobs);
	list_free(jobs);
}

void
cpii_job_phase(CpiiJob *job, const char *phase)
{
	cpii_jobs_phase(list_make1(job), phase);
}

void
cpii_jobs_phase(List *jobs, const char *phase)
{
	ListCell   *lc;

	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);

		strlcpy(job->phase, phase, sizeof(job->phase));
		job->part = 0;
		job->next_block = 0;
	}
	cpii_jobs_commit(jobs);
}

void
cpii_jobs_close(List *jobs)
{
	ListCell   *lc;

	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);
		Oid			types[3] = {OIDOID, NAMEOID, TEXTOID};
		Datum		values[3];

		values[0] = ObjectIdGetDatum(job->relid);
		values[1] = NameGetDatum(&job->col);
		values[2] = CStringGetTextDatum(job->kind);
		cpii_internal_execute("DELETE FROM courier_pii.column_job j WHERE j.relid = $1 AND j.col = $2 AND j.kind = $3",
							  3, types, values, NULL, false, 0);
	}
	next_transaction();
	foreach(lc, jobs)
		unlock_job(((CpiiJob *) lfirst(lc))->relid);
	SPI_finish();
}

void
cpii_job_close(CpiiJob *job)
{
	cpii_jobs_close(list_make1(job));
}

void
cpii_job_find_parts(CpiiJob *job)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(job->relid)};

	cpii_internal_execute("WITH RECURSIVE tree AS (SELECT $1 AS oid"
						  " UNION SELECT h.inhrelid FROM pg_catalog.pg_inherits h JOIN tree t ON h.inhparent = t.oid)"
						  " SELECT c.oid, pg_catalog.sum(GREATEST(c.reltuples, 0)) OVER ()::pg_catalog.int8"
						  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid"
						  " WHERE c.relkind = 'r' ORDER BY c.oid",
						  1, types, values, NULL, true, 0);
	job->nparts = (int) SPI_processed;
	job->parts = palloc(sizeof(Oid) * Max(job->nparts, 1));
	job->part_attnums = palloc0(sizeof(AttrNumber) * Max(job->nparts, 1));
	for (int i = 0; i < job->nparts; i++)
	{
		job->parts[i] = cpii_result_oid(i, 1);
		job->rows_total = cpii_result_int64(i, 2);
	}
}

/* ---- prepared transactions ---- */

void
cpii_job_refuse_prepared(CpiiJob *job, const char *detail)
{
	Oid			types[1] = {OIDARRAYOID};
	Datum		values[1];
	Datum	   *oids = palloc(sizeof(Datum) * Max(job->nparts, 1));

	for (int i = 0; i < job->nparts; i++)
		oids[i] = ObjectIdGetDatum(job->parts[i]);
	values[0] = PointerGetDatum(construct_array(oids, job->nparts, OIDOID, sizeof(Oid),
												true, TYPALIGN_INT));
	cpii_internal_execute("SELECT pg_catalog.count(DISTINCT l.virtualtransaction) FROM pg_catalog.pg_locks l"
						  " WHERE l.locktype = 'relation' AND l.relation = ANY ($1) AND l.pid IS NULL"
						  " AND l.mode <> 'AccessShareLock' AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())",
						  1, types, values, NULL, false, 1);
	if (strcmp(cpii_result_text(0, 1), "0") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("prepared transactions hold rows of \"%s\"", get_rel_name(job->relid)),
				 errdetail("%s", detail),
				 errhint("Commit or roll back the transactions in pg_prepared_xacts, then call %s again.",
						 strcmp(job->kind, "reseal") == 0 ? "reseal" : "protect_column_online")));
}
