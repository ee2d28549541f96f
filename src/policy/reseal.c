/*-------------------------------------------------------------------------
 *
 * reseal.c
 *	  reseal: seal the values of a column anew under the active epoch.
 *
 * Rows of other epochs are found by the header, without a key, so the work can
 * be repeated and goes on after any end.  An UPDATE computes the new value
 * from the row's newest version: a concurrent change is never lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "policy/column_job.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "sealed/seal.h"

/* passes over a table that others write to without end */
#define MAX_PASSES 20

PG_FUNCTION_INFO_V1(cpii_reseal);
PG_FUNCTION_INFO_V1(cpii_reseal_value);
PG_FUNCTION_INFO_V1(cpii_sealed_epoch);
CPII_EXPORT Datum cpii_reseal(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reseal_value(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_epoch(PG_FUNCTION_ARGS);

static bool resealing = false;
static int	active_epoch;
static char *destroyed_epochs;	/* list for SQL, never empty */

/* sealed_epoch(sealed): the epoch that a value says it was sealed in */
Datum
cpii_sealed_epoch(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	CpiiEnvelope env;

	if (!cpii_envelope_parse((unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), &env))
		PG_RETURN_NULL();
	PG_RETURN_INT32(env.epoch);
}

/* reseal_value(sealed): for reseal only */
Datum
cpii_reseal_value(PG_FUNCTION_ARGS)
{
	CpiiEnvelope env;
	char	   *plain;
	size_t		len;
	bytea	   *result;

	if (!resealing)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is for reseal", "reseal_value")));
	cpii_parse_or_damaged(PG_GETARG_BYTEA_PP(0), &env);
	plain = cpii_open(&env, &len);
	result = cpii_seal_value(env.class_id, plain, len);
	cpii_wipe(plain, len);
	PG_RETURN_BYTEA_P(result);
}

static char *
old_condition(CpiiJob *job)
{
	return psprintf("courier_pii.sealed_epoch(%s) OPERATOR(pg_catalog.<>) ALL (ARRAY[%d, %s])",
					quote_identifier(NameStr(job->col)), active_epoch,
					destroyed_epochs);
}

static char *
new_value(CpiiJob *job)
{
	const char *column = quote_identifier(NameStr(job->col));

	return psprintf("%s = courier_pii.reseal_value(%s)", column, column);
}

static char *
reseal_statement(CpiiJob *job, Oid part)
{
	const char *table = cpii_qualified_name(part);

	return psprintf("UPDATE ONLY %s SET %s WHERE ctid = ANY (ARRAY("
					"SELECT ctid FROM ONLY %s WHERE ctid >= $1 AND ctid < $2 AND %s FOR UPDATE SKIP LOCKED)) AND %s",
					table, new_value(job), table, old_condition(job), old_condition(job));
}

/* what is to be done, from the key store's own words */
static void
read_epochs(CpiiJob *job)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(cpii_class_name(job->class_id))};

	(void) cpii_keyring_seal_cipher(job->class_id, &active_epoch);
	cpii_internal_execute("SELECT COALESCE(pg_catalog.string_agg(k.epoch::pg_catalog.text, ', '), '-1')"
						  " FROM courier_pii.key_status k WHERE k.class = $1 AND k.state = 'destroyed'",
						  1, types, values, NULL, false, 1);
	destroyed_epochs = cpii_result_text(0, 1);
}

/* until those who write now have ended: their rows may be of the old epoch */
static void
wait_for_writers(CpiiJob *job)
{
	cpii_job_commit(job);
	for (int i = 0; i < job->nparts; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, job->parts[i]);
		WaitForLockers(tag, ShareLock, false);
	}
}

/* is a row of another epoch left? */
static bool
any_left(CpiiJob *job)
{
	for (int i = 0; i < job->nparts; i++)
	{
		if (get_rel_name(job->parts[i]) == NULL)
			continue;
		if (cpii_table_read(job->parts[i],
							psprintf("SELECT 1 FROM ONLY %s WHERE %s LIMIT 1",
									 cpii_qualified_name(job->parts[i]), old_condition(job)),
							0, NULL, NULL, false, 1) > 0)
			return true;
	}
	return false;
}

static void
note(CpiiJob *job, const char *outcome)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, cpii_qualified_name(job->relid));
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, NameStr(job->col));
	appendStringInfo(&detail, ", \"epoch\": %d, \"values\": " INT64_FORMAT "}",
					 active_epoch, job->rows_done);
	cpii_audit_note(CPII_ACT_KEY, "reseal", outcome, detail.data);
}

static void
begin(CpiiJob *job)
{
	Relation	rel = table_open(job->relid, AccessShareLock);
	Form_pg_attribute att;

	cpii_protect_check_table(rel);
	job->attnum = get_attnum(job->relid, NameStr(job->col));
	if (job->attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						NameStr(job->col), RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), job->attnum - 1);
	job->class_id = cpii_class_of_type(att->atttypid, att->atttypmod);
	if (job->class_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of relation \"%s\" is not protected",
						NameStr(job->col), RelationGetRelationName(rel))));
	table_close(rel, AccessShareLock);
	cpii_job_find_parts(job);
	strlcpy(job->phase, "resealing", sizeof(job->phase));
	cpii_job_insert(job);
}

/* until no row of another epoch is left */
static void
run_passes(CpiiJob *job)
{
	for (int pass = 0;; pass++)
	{
		cpii_job_run_batches(job, reseal_statement);
		cpii_job_phase(job, "checking");
		cpii_job_refuse_prepared(job, "Values in them may be of an older epoch; all others are resealed.");
		wait_for_writers(job);
		cpii_job_run_stragglers(job, old_condition, new_value);
		if (!any_left(job))
			break;
		if (pass >= MAX_PASSES)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("values of older epochs keep appearing in \"%s\"", get_rel_name(job->relid)),
					 errhint("Look for sessions that copy sealed values, then call reseal again.")));
		cpii_job_phase(job, "resealing");
	}
}

/* reseal(tbl, col, batch_rows, pause_ms) */
Datum
cpii_reseal(PG_FUNCTION_ARGS)
{
	bool		resumed;
	CpiiJob    *job;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments must not be null")));
	if (PG_GETARG_INT32(2) < 1 || PG_GETARG_INT32(3) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch_rows must be at least 1 and pause_ms not negative")));
	job = cpii_job_open(fcinfo, "reseal", PG_GETARG_OID(0),
						NameStr(*PG_GETARG_NAME(1)), &resumed);
	job->batch_rows = PG_GETARG_INT32(2);
	job->pause_ms = PG_GETARG_INT32(3);
	if (!resumed)
		begin(job);
	read_epochs(job);
	note(job, "begin");
	cpii_job_commit(job);

	resealing = true;
	PG_TRY();
	{
		run_passes(job);
	}
	PG_FINALLY();
	{
		resealing = false;
	}
	PG_END_TRY();
	note(job, "ok");
	cpii_job_close(job);
	return (Datum) 0;
}
