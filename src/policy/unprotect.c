/*-------------------------------------------------------------------------
 *
 * unprotect.c
 *	  unprotect_column: a sealed column becomes a text column again, and indexes
 *	  on its search tags become indexes on it.
 *
 * Once the duties are sealed this needs a ticket of kind "unprotect".  The
 * function that opens values works only while unprotect_column runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_unprotect_column);
PG_FUNCTION_INFO_V1(cpii_open_existing);
CPII_EXPORT Datum cpii_unprotect_column(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_open_existing(PG_FUNCTION_ARGS);

static bool unprotecting = false;
static int64 values_opened = 0;

/* open_existing(sealed): for unprotect_column only */
Datum
cpii_open_existing(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	CpiiEnvelope env;
	size_t		len;
	size_t		slen;
	char	   *plain;
	char	   *server;
	text	   *result;

	if (!unprotecting || cpii_internal_depth == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is for unprotect_column", "open_existing")));
	cpii_parse_or_damaged(value, &env);
	plain = cpii_open(&env, &len);
	server = cpii_from_utf8(plain, len, &slen);
	result = cstring_to_text_with_len(server, (int) slen);
	cpii_wipe(plain, len);
	values_opened++;
	PG_RETURN_TEXT_P(result);
}

/* indexes that are made again on the column, see cpii_indexes_take */
static Datum
indexes_of_tags(Relation rel, const char *column)
{
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
		if (cpii_index_is_of_tags(lfirst_oid(lc), column))
			found = lappend_oid(found, lfirst_oid(lc));
	return cpii_oid_array(found);
}

static void
refuse_dependents(Relation rel, const char *column, AttrNumber attnum)
{
	Oid			types[3] = {REGCLASSOID, INT2OID, OIDARRAYOID};
	Datum		values[3] = {ObjectIdGetDatum(RelationGetRelid(rel)), Int16GetDatum(attnum),
	indexes_of_tags(rel, column)};
	StringInfoData list;

	cpii_internal_execute("SELECT DISTINCT CASE WHEN d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
						  "  THEN 'view ' || (SELECT w.ev_class::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_rewrite w WHERE w.oid = d.objid)"
						  "  ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END"
						  " FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_index i ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid"
						  " WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1 AND d.refobjsubid = $2"
						  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w JOIN courier_pii.masked_view_register m ON m.view = w.ev_class"
						  "   WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid)"
						  " AND (d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass,"
						  "  'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,"
						  "  'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_publication_rel'::pg_catalog.regclass,"
						  "  'pg_catalog.pg_statistic_ext'::pg_catalog.regclass)"
						  " OR EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass"
						  "   AND k.oid = d.objid AND k.contype IN ('c', 'f', 'x'))"
						  " OR i.indpred::pg_catalog.text ~ (':varattno (0|' || $2::pg_catalog.text || ') ')"
						  " OR (i.indexprs::pg_catalog.text ~ (':varattno (0|' || $2::pg_catalog.text || ') ') AND i.indexrelid <> ALL ($3)))"
						  " ORDER BY 1",
						  3, types, values, NULL, false, 0);
	if (SPI_processed == 0)
		return;
	initStringInfo(&list);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 cpii_result_text(i, 1));
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot unprotect column \"%s\" because other objects work on its sealed values", column),
			 errdetail("Objects: %s.", list.data),
			 errhint("Drop them first.")));
}

/* the default as a literal of its clear text; NULL without one */
static char *
clear_default(Relation rel, AttrNumber attnum)
{
	Oid			types[2] = {REGCLASSOID, INT2OID};
	Datum		values[2] = {ObjectIdGetDatum(RelationGetRelid(rel)), Int16GetDatum(attnum)};
	char	   *expr;

	cpii_internal_execute("SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
						  " FROM pg_catalog.pg_attrdef d WHERE d.adrelid = $1 AND d.adnum = $2",
						  2, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return NULL;
	expr = cpii_result_text(0, 1);
	if (strncmp(expr, "NULL", 4) == 0)
		return NULL;
	/* it would be run with our rights */
	if (cpii_default_is_foreign(RelationGetRelid(rel), attnum))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot open the default of the column, which calls functions of others"),
				 errhint("Drop the default first.")));
	cpii_internal_execute(psprintf("SELECT pg_catalog.quote_literal(courier_pii.open_existing((%s)::courier_pii.sealed))", expr),
						  0, NULL, NULL, NULL, false, 1);
	return cpii_result_text(0, 1);
}

static void
open_column(Relation rel, const char *table, const char *column, AttrNumber attnum)
{
	StringInfoData sql;
	const char *name = quote_identifier(column);
	char	   *deflt = clear_default(rel, attnum);
	Oid			relid = RelationGetRelid(rel);
	List	   *indexes;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ", table);
	if (deflt != NULL)
		appendStringInfo(&sql, "ALTER COLUMN %s DROP DEFAULT, ", name);
	appendStringInfo(&sql, "ALTER COLUMN %s TYPE pg_catalog.text USING courier_pii.open_existing(%s)", name, name);
	if (deflt != NULL)
		appendStringInfo(&sql, ", ALTER COLUMN %s SET DEFAULT %s", name, deflt);
	table_close(rel, NoLock);
	indexes = cpii_indexes_take(relid, column, false);
	cpii_internal_execute(sql.data, 0, NULL, NULL, NULL, false, 0);
	cpii_indexes_make(indexes);
}

/* unprotect_column(tbl, col) */
Datum
cpii_unprotect_column(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	Relation	rel;
	AttrNumber	attnum;
	Form_pg_attribute att;
	int			class_id;
	int64		ticket;
	char	   *table;
	StringInfoData detail;

	cpii_require_preload();
	rel = table_open(relid, AccessExclusiveLock);
	table = cpii_qualified_name(relid);
	cpii_protect_check_table(rel);
	attnum = get_attnum(relid, column);
	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	class_id = cpii_class_of_type(att->atttypid, att->atttypmod);
	if (class_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of relation \"%s\" is not protected",
						column, RelationGetRelationName(rel))));
	SPI_connect();
	refuse_dependents(rel, column, attnum);
	ticket = cpii_require_ticket("unprotect",
								 psprintf("%s.%s", table, quote_identifier(column)),
								 false);
	values_opened = 0;
	unprotecting = true;
	PG_TRY();
	{
		open_column(rel, table, column, attnum);
	}
	PG_FINALLY();
	{
		unprotecting = false;
	}
	PG_END_TRY();
	SPI_finish();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, table);
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, column);
	appendStringInfo(&detail, ", \"class\": \"%s\", \"values\": " INT64_FORMAT,
					 cpii_class_name(class_id), values_opened);
	if (ticket != 0)
		appendStringInfo(&detail, ", \"ticket\": " INT64_FORMAT, ticket);
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, "unprotect_column", "ok", detail.data);
	PG_RETURN_VOID();
}
