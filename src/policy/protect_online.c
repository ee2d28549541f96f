/*-------------------------------------------------------------------------
 *
 * protect_online.c
 *	  protect_column_online: seal a column of a table that is in use.
 *
 * A second column gets the sealed values: a trigger seals what is written from
 * now on, batches seal what is there.  Its indexes are built concurrently.
 * When a validated constraint proves that nothing is missing, one short
 * exclusive lock puts it in the first one's place.  Then the clear text that
 * the dropped column left in the file is overwritten.
 *
 * Phases: copying, checking, indexing, wiping.  Each commits as it goes and
 * can be interrupted at any moment; the same CALL goes on from there.
 *
 * Columns that foreign keys connect have a job each, and take their places in
 * one transaction.  Until then the keys hold between the clear texts, from then
 * on between the sealed values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "policy/catalog.h"
#include "policy/column_job.h"
#include "policy/policy.h"
#include "policy/probe.h"
#include "policy/protect.h"
#include "policy/protect_group.h"
#include "policy/protect_swap.h"
#include "sealed/seal.h"

/* blocks whose dropped values are overwritten in one transaction */
#define WIPE_BLOCKS 64

#define STAYS_DONE "What is done stays done."

PG_FUNCTION_INFO_V1(cpii_protect_column_online);
PG_FUNCTION_INFO_V1(cpii_cancel_protect);
PG_FUNCTION_INFO_V1(cpii_protect_sync);
CPII_EXPORT Datum cpii_protect_column_online(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_cancel_protect(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_protect_sync(PG_FUNCTION_ARGS);

/* ---- the trigger ---- */

/* a plain value as UTF-8 text, as a cast to text would give it */
static char *
plain_text(Datum value, Oid type, size_t *len, char **server)
{
	Oid			output;
	bool		varlena;
	size_t		n;

	getTypeOutputInfo(type, &output, &varlena);
	*server = OidOutputFunctionCall(output, value);
	n = strlen(*server);
	if (getBaseType(type) == BPCHAROID)
		while (n > 0 && (*server)[n - 1] == ' ')
			n--;
	return cpii_to_utf8(*server, n, len);
}

/*
 * protect_sync(column, sealed column, class): a row trigger that keeps the
 * sealed column equal to the other one.  A sealed value stays as it is while
 * its clear text does.
 */
Datum
cpii_protect_sync(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	row;
	int			from;
	int			to;
	Datum		value;
	Datum		sealed = (Datum) 0;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) || data->tg_trigger->tgnargs != 3)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for protect_column_online", "protect_sync")));
	cpii_require_preload();
	desc = RelationGetDescr(data->tg_relation);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	from = SPI_fnumber(desc, data->tg_trigger->tgargs[0]);
	to = SPI_fnumber(desc, data->tg_trigger->tgargs[1]);
	if (from <= 0 || to <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" that is being protected does not exist any more",
						data->tg_trigger->tgargs[from <= 0 ? 0 : 1])));
	value = heap_getattr(row, from, desc, &isnull);
	if (!isnull)
	{
		Form_pg_attribute att = TupleDescAttr(desc, from - 1);
		char	   *server;
		char	   *utf8;
		size_t		len;

		if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		{
			bool		oldnull;
			bool		oldsealednull;
			Datum		oldvalue = heap_getattr(data->tg_trigtuple, from, desc, &oldnull);
			Datum		oldsealed = heap_getattr(data->tg_trigtuple, to, desc, &oldsealednull);

			if (!oldnull && !oldsealednull &&
				datum_image_eq(value, oldvalue, att->attbyval, att->attlen))
				return PointerGetDatum(heap_modify_tuple_by_cols(row, desc, 1, &to,
																 &oldsealed, &oldsealednull));
		}
		cpii_probe_existing(atoi(data->tg_trigger->tgargs[2]));
		utf8 = plain_text(value, att->atttypid, &len, &server);
		sealed = PointerGetDatum(cpii_seal_value(atoi(data->tg_trigger->tgargs[2]),
												 utf8, len));
		if (utf8 != server)
			cpii_wipe(utf8, len);
		cpii_wipe(server, strlen(server));
	}
	return PointerGetDatum(heap_modify_tuple_by_cols(row, desc, 1, &to, &sealed, &isnull));
}

/* ---- phases ---- */

static void
note(CpiiJob *job, const char *command, const char *outcome)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, cpii_qualified_name(job->relid));
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, NameStr(job->col));
	appendStringInfo(&detail, ", \"class\": \"%s\", \"rows\": " INT64_FORMAT "}",
					 cpii_class_name(job->class_id), job->rows_done);
	cpii_audit_note(CPII_ACT_POLICY, command, outcome, detail.data);
}

static List *
columns_of(List *jobs)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);

		columns = lappend(columns, cpii_group_column(job->relid, NameStr(job->col)));
	}
	return columns;
}

static List *
tables_of(List *jobs)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, jobs)
		tables = list_append_unique_oid(tables, ((CpiiJob *) lfirst(lc))->relid);
	return tables;
}

/* a job for each column of the group, in its order; the first is there already */
static List *
make_jobs(CpiiJob *first, CpiiGroup *group)
{
	List	   *jobs = NIL;
	ListCell   *lc;

	foreach(lc, group->columns)
	{
		CpiiGroupColumn *column = lfirst(lc);
		CpiiJob    *job = first;

		if (column->relid != first->relid || strcmp(column->name, NameStr(first->col)) != 0)
			job = cpii_job_add(first, column->relid, column->name);
		job->class_id = first->class_id;
		job->place = foreach_current_index(lc);
		jobs = lappend(jobs, job);
	}
	return jobs;
}

/* the jobs as tables with columns, for the checks */
static List *
protected_tables(List *jobs)
{
	List	   *tables = NIL;
	ListCell   *lt;
	ListCell   *lc;

	foreach(lt, tables_of(jobs))
	{
		CpiiProtectTable *table = palloc0(sizeof(CpiiProtectTable));

		table->relid = lfirst_oid(lt);
		foreach(lc, jobs)
		{
			CpiiJob    *job = lfirst(lc);
			CpiiProtect *column;

			if (job->relid != table->relid)
				continue;
			column = palloc0(sizeof(CpiiProtect));
			column->column = NameStr(job->col);
			column->class_id = job->class_id;
			table->columns = lappend(table->columns, column);
		}
		tables = lappend(tables, table);
	}
	return tables;
}

/* the checks left what they found of each column */
static CpiiProtect *
found_of(List *tables, CpiiJob *job)
{
	ListCell   *lt;
	ListCell   *lc;

	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);

		foreach(lc, table->columns)
			if (table->relid == job->relid &&
				strcmp(((CpiiProtect *) lfirst(lc))->column, NameStr(job->col)) == 0)
				return lfirst(lc);
	}
	return NULL;				/* cannot happen */
}

static void
changed_meanwhile(CpiiJob *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" changed meanwhile", NameStr(job->col))));
}

/* everything that must be right before the first change, then that change */
static List *
prepare(CpiiJob *first, const char *class_name)
{
	List	   *jobs = list_make1(first);
	List	   *tables;
	CpiiGroup  *group;
	ListCell   *lc;
	int			epoch;

	first->class_id = cpii_sealed_class_or_error(class_name);
	cpii_protect_check_relid(first->relid);
	group = cpii_group_find(columns_of(jobs));
	cpii_group_tell(group, columns_of(jobs));
	jobs = make_jobs(first, group);
	tables = protected_tables(jobs);
	cpii_protect_check(tables, group, true);
	/* no key: say so before a table is touched */
	(void) cpii_keyring_seal_cipher(first->class_id, &epoch);
	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);

		job->attnum = found_of(tables, job)->attnum;
		if (list_length(jobs) > 1)
			job->key_group = ((int64) first->relid << 16) | (uint16) get_attnum(first->relid, NameStr(first->col));
		cpii_job_find_parts(job);
		cpii_job_refuse_prepared(job, "Nothing was changed.");
	}

	cpii_job_lock_tables(tables_of(jobs), AccessExclusiveLock);
	if (!cpii_group_within(cpii_group_find(columns_of(jobs)), columns_of(jobs)))
		changed_meanwhile(first);
	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);
		CpiiProtect *found = found_of(tables, job);

		if (get_attnum(job->relid, NameStr(job->col)) != found->attnum ||
			get_atttype(job->relid, found->attnum) != found->type)
			changed_meanwhile(job);
		cpii_swap_prepare(job);
		strlcpy(job->phase, "copying", sizeof(job->phase));
		cpii_job_insert(job);
		note(job, "protect_column_online", "begin");
	}
	cpii_jobs_commit(jobs);
	return jobs;
}

/* the trigger seals; a row that was sealed meanwhile is none of ours */
static char *
copy_statement(CpiiJob *job, Oid part)
{
	const char *table = cpii_qualified_name(part);
	const char *column = quote_identifier(NameStr(job->col));
	const char *sealed = cpii_swap_column(job);

	return psprintf("UPDATE ONLY %s SET %s = %s WHERE ctid = ANY (ARRAY("
					"SELECT ctid FROM ONLY %s WHERE ctid >= $1 AND ctid < $2 AND %s IS NOT NULL AND %s IS NULL"
					" FOR NO KEY UPDATE SKIP LOCKED))",
					table, column, column, table, column, sealed);
}

static char *
left_condition(CpiiJob *job)
{
	return psprintf("%s IS NOT NULL AND %s IS NULL",
					quote_identifier(NameStr(job->col)), cpii_swap_column(job));
}

static char *
left_change(CpiiJob *job)
{
	const char *column = quote_identifier(NameStr(job->col));

	return psprintf("%s = %s", column, column);
}

static void
wipe(CpiiJob *job)
{
	Relation	stats;

	for (; job->part < job->nparts; job->part++, job->next_block = 0)
	{
		for (;;)
		{
			Relation	rel = try_relation_open(job->parts[job->part], RowExclusiveLock);
			TimestampTz began = GetCurrentTimestamp();
			BlockNumber blocks;
			BlockNumber to;

			CHECK_FOR_INTERRUPTS();
			if (rel == NULL)
				break;
			blocks = RelationGetNumberOfBlocks(rel);
			to = Min(blocks, job->next_block + WIPE_BLOCKS);
			if (job->next_block < to && job->part_attnums[job->part] > 0)
				cpii_wipe_dropped(rel, job->part_attnums[job->part],
								  job->next_block, to);
			relation_close(rel, NoLock);
			if (to >= blocks)
				break;
			job->next_block = to;
			cpii_job_commit(job);
			cpii_throttle_pause(&job->throttle,
								TimestampDifferenceMilliseconds(began, GetCurrentTimestamp()), 0);
		}
		cpii_job_commit(job);
	}
	/* samples of the clear text were in the statistics */
	stats = table_open(StatisticRelationId, RowExclusiveLock);
	cpii_wipe_unused_space(stats);
	table_close(stats, RowExclusiveLock);
}

/* until every row is sealed, which is proven */
static void
fill(CpiiJob *job)
{
	if (strcmp(job->phase, "copying") == 0)
	{
		cpii_job_run_batches(job, copy_statement);
		cpii_job_refuse_prepared(job, STAYS_DONE);
		cpii_job_run_stragglers(job, left_condition, left_change);
		cpii_job_phase(job, "checking");
	}
	if (strcmp(job->phase, "checking") == 0)
	{
		cpii_swap_validate(job);
		cpii_job_phase(job, "indexing");
	}
}

static void
refuse_prepared(List *jobs)
{
	ListCell   *lc;

	foreach(lc, jobs)
		cpii_job_refuse_prepared(lfirst(lc), STAYS_DONE);
}

/* all of them take their places at once */
static void
swap(List *jobs)
{
	bool		proven = false;
	ListCell   *lc;

	for (;;)
	{
		refuse_prepared(jobs);
		foreach(lc, jobs)
			cpii_swap_indexes(lfirst(lc));
		if (!proven)
		{
			cpii_swap_prove_keys(jobs);
			cpii_jobs_commit(jobs);
			proven = true;
		}
		refuse_prepared(jobs);
		cpii_job_lock_tables(tables_of(jobs), AccessExclusiveLock);
		if (cpii_swap(jobs))
			break;
		cpii_jobs_commit(jobs);
	}
	cpii_policy_changed();
	foreach(lc, jobs)
		note(lfirst(lc), "protect_column_online", "ok");
	cpii_jobs_phase(jobs, "wiping");
}

Datum
cpii_protect_column_online(PG_FUNCTION_ARGS)
{
	Oid			relid;
	char	   *class_name;
	bool		resumed;
	CpiiJob    *job;
	List	   *jobs;
	ListCell   *lc;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments must not be null")));
	relid = PG_GETARG_OID(0);
	class_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (PG_GETARG_INT32(3) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch_rows must be at least 1")));
	job = cpii_job_open(fcinfo, "protect", relid, NameStr(*PG_GETARG_NAME(1)), &resumed);
	job->batch_rows = PG_GETARG_INT32(3);
	if (!resumed)
		jobs = prepare(job, class_name);
	else
	{
		if (cpii_sealed_class_or_error(class_name) != job->class_id)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is being protected as class \"%s\"",
							NameStr(job->col), cpii_class_name(job->class_id))));
		jobs = cpii_job_members(job);
		ereport(NOTICE,
				(errmsg("going on in phase \"%s\"", job->phase)));
		cpii_jobs_commit(jobs);
	}
	foreach(lc, jobs)
		fill(lfirst(lc));
	if (strcmp(job->phase, "indexing") == 0)
		swap(jobs);
	foreach(lc, jobs)
		wipe(lfirst(lc));
	cpii_jobs_close(jobs);
	return (Datum) 0;
}

/* cancel_protect(tbl, col): as if it had not begun; not once it is protected */
Datum
cpii_cancel_protect(PG_FUNCTION_ARGS)
{
	bool		resumed;
	CpiiJob    *job = cpii_job_open(fcinfo, "protect", PG_GETARG_OID(0),
									NameStr(*PG_GETARG_NAME(1)), &resumed);
	List	   *jobs;
	ListCell   *lc;

	if (!resumed)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("column \"%s\" is not being protected", NameStr(job->col))));
	if (strcmp(job->phase, "wiping") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" is protected already", NameStr(job->col)),
				 errhint("Call protect_column_online again to overwrite what is left of its clear text.")));
	jobs = cpii_job_members(job);
	cpii_jobs_commit(jobs);
	cpii_job_lock_tables(tables_of(jobs), AccessExclusiveLock);
	foreach(lc, jobs)
	{
		cpii_swap_undo(lfirst(lc));
		note(lfirst(lc), "cancel_protect", "ok");
	}
	cpii_jobs_close(jobs);
	return (Datum) 0;
}
