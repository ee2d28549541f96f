/*-------------------------------------------------------------------------
 *
 * protect.c
 *	  protect_column: one ALTER TABLE that seals an existing column.
 *
 * Before anything is changed, everything that could not be kept is looked for
 * and named in one error.  NOT NULL, UNIQUE, primary keys, indexes, constant
 * defaults, grants, comments and partitions are kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "crypto/keyring.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_protect_column);
CPII_EXPORT Datum cpii_protect_column(PG_FUNCTION_ARGS);

/* types whose text form is the value people mean */
static bool
supported_type(Oid type, int class_id)
{
	char	   *name;

	type = getBaseType(type);
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case INT8OID:
		case INT4OID:
		case NUMERICOID:
			return true;
		case JSONOID:
		case JSONBOID:
			return class_id == CPII_CLASS_NOTE;
	}
	name = format_type_be(type);
	return strcmp(name, "citext") == 0 || strcmp(name, "public.citext") == 0;
}

/* one text per row of a query over ($1 regclass, $2 int2), joined; or NULL */
static char *
obstacles(const char *sql, Oid relid, AttrNumber attnum)
{
	Oid			types[2] = {REGCLASSOID, INT2OID};
	Datum		values[2] = {ObjectIdGetDatum(relid), Int16GetDatum(attnum)};
	StringInfoData list;

	cpii_internal_execute(sql, 2, types, values, NULL, true, 0);
	if (SPI_processed == 0)
		return NULL;
	initStringInfo(&list);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	return list.data;
}

static void
refuse_obstacles(Relation rel, const char *column, AttrNumber attnum, int class_id)
{
	Oid			relid = RelationGetRelid(rel);
	char	   *found;

	found = obstacles("SELECT DISTINCT CASE WHEN d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
					  "  THEN 'view ' || (SELECT w.ev_class::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_rewrite w WHERE w.oid = d.objid)"
					  "  ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END"
					  " FROM pg_catalog.pg_depend d"
					  " WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
					  " AND d.refobjid = $1 AND d.refobjsubid = $2"
					  /* masked views follow the table */
					  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w JOIN courier_pii.masked_view_register m ON m.view = w.ev_class"
					  "   WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid)"
					  " AND (d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass,"
					  "  'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,"
					  "  'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_publication_rel'::pg_catalog.regclass,"
					  "  'pg_catalog.pg_statistic_ext'::pg_catalog.regclass)"
					  " OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND EXISTS"
					  "  (SELECT 1 FROM pg_catalog.pg_attrdef a WHERE a.oid = d.objid AND a.adnum <> $2)))",
					  relid, attnum);
	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot protect column \"%s\" because other objects depend on it", column),
				 errdetail("These objects use the clear text: %s.", found),
				 errhint("Drop them first, and make them again over the masked view.")));

	found = obstacles("SELECT pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_constraint c"
					  " WHERE c.contype IN ('c', 'x') AND c.conrelid = $1 AND $2 = ANY (c.conkey)",
					  relid, attnum);
	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot protect column \"%s\" because constraints test its clear text", column),
				 errdetail("Constraints: %s.", found),
				 errhint("Drop these constraints first.")));

	found = obstacles("SELECT pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_constraint c"
					  " WHERE c.contype = 'f' AND ((c.conrelid = $1 AND $2 = ANY (c.conkey))"
					  " OR (c.confrelid = $1 AND $2 = ANY (c.confkey)))",
					  relid, attnum);
	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot protect column \"%s\" because it takes part in foreign keys", column),
				 errdetail("Foreign keys: %s.", found),
				 errhint("Drop them, protect the columns on both sides, and add them again: sealed columns of one class can reference each other.")));

	found = obstacles("SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
					  " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam"
					  " WHERE i.indrelid = $1 AND ("
					  "  ((i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND EXISTS"
					  "   (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
					  "     AND d.objid = i.indexrelid AND d.refobjid = $1 AND d.refobjsubid = $2"
					  "     AND NOT ($2 = ANY (i.indkey::pg_catalog.int2[]) AND i.indexprs IS NULL AND i.indpred IS NULL)))"
					  "  OR ($2 = ANY (i.indkey::pg_catalog.int2[]) AND (m.amname NOT IN ('btree', 'hash') OR EXISTS"
					  "   (SELECT 1 FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) k"
					  "     JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k] WHERE i.indkey[k] = $2 AND NOT o.opcdefault"
					  "       AND o.opcname NOT IN ('varchar_ops', 'bpchar_ops', 'text_ops')))))",
					  relid, attnum);
	if (found != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot protect column \"%s\" because indexes work on its clear text", column),
				 errdetail("Indexes: %s.", found),
				 errhint("Drop these indexes first; equality can be indexed again afterwards.")));

	if (!cpii_class_table[class_id].searchable)
	{
		found = obstacles("SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
						  " WHERE i.indrelid = $1 AND $2 = ANY (i.indkey::pg_catalog.int2[])",
						  relid, attnum);
		if (found != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot keep indexes on column \"%s\" of class \"%s\"",
							column, cpii_class_name(class_id)),
					 errdetail("Values of this class cannot be compared. Indexes: %s.", found),
					 errhint("Drop these indexes first.")));
	}
}

/*
 * The column's default as the text form of a query token, NULL when there is
 * none.  Only constants can be kept: an expression would work on clear text.
 */
static char *
sealed_default(Relation rel, const char *column, AttrNumber attnum)
{
	char	   *expr = obstacles("SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
								 " FROM pg_catalog.pg_attrdef d WHERE d.adrelid = $1 AND d.adnum = $2",
								 RelationGetRelid(rel), attnum);

	if (expr == NULL)
		return NULL;
	/* a constant deparses as a quoted string, perhaps with a cast, or a number */
	if (expr[0] != '\'' || strchr(expr, '(') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot keep the default of column \"%s\"", column),
				 errdetail("Only a constant text can be the default of a protected column."),
				 errhint("Drop the default first.")));
	cpii_internal_execute(psprintf("SELECT courier_pii.seal((%s)::pg_catalog.text, -1, false)::courier_pii.sealed", expr),
						  0, NULL, NULL, NULL, true, 1);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* protect_column(tbl, col, class) */
Datum
cpii_protect_column(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	char	   *class_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	int			class_id;
	Relation	rel;
	AttrNumber	attnum;
	Form_pg_attribute att;
	char	   *table;
	char	   *deflt;
	int			epoch;
	StringInfoData sql;
	StringInfoData detail;

	cpii_require_preload();
	class_id = cpii_class_by_name_or_error(class_name);
	if (class_id > CPII_CLASS_LAST_SEALED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns of class \"%s\" are not sealed", class_name),
				 errhint("Give such a column a mask in create_masked_view.")));
	rel = table_open(relid, AccessExclusiveLock);
	table = cpii_qualified_name(relid);
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	if (IsCatalogRelation(rel) ||
		RelationGetNamespace(rel) == cpii_schema_oid(false))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot protect columns of system relation \"%s\"",
						RelationGetRelationName(rel))));
	cpii_require_table_duty(relid);
	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partition", RelationGetRelationName(rel)),
				 errhint("Protect the column of the partitioned table.")));
	attnum = get_attnum(relid, column);
	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (cpii_class_of_type(att->atttypid, att->atttypmod) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("column \"%s\" of relation \"%s\" is already protected",
						column, RelationGetRelationName(rel)),
				 errdetail("Its class is \"%s\".",
						   cpii_class_name(cpii_class_of_type(att->atttypid, att->atttypmod)))));
	if (!supported_type(att->atttypid, class_id))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be protected as class \"%s\"",
						column, format_type_be(att->atttypid), class_name),
				 errhint("Texts and whole numbers can be protected; json and jsonb as class \"note\".")));
	if (att->attgenerated || att->attidentity)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot protect generated column \"%s\"", column)));

	SPI_connect();
	refuse_obstacles(rel, column, attnum, class_id);
	/* no key: say so before the table is touched */
	(void) cpii_keyring_seal_cipher(class_id, &epoch);
	deflt = sealed_default(rel, column, attnum);

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ", table);
	if (deflt != NULL)
		appendStringInfo(&sql, "ALTER COLUMN %s DROP DEFAULT, ", quote_identifier(column));
	appendStringInfo(&sql, "ALTER COLUMN %s TYPE courier_pii.%s USING"
					 " courier_pii.seal_existing(%s::pg_catalog.text, %d)::courier_pii.%s",
					 quote_identifier(column), class_name,
					 quote_identifier(column), class_id, class_name);
	if (deflt != NULL)
		appendStringInfo(&sql, ", ALTER COLUMN %s SET DEFAULT %s",
						 quote_identifier(column), quote_literal_cstr(deflt));

	/* our own lock on an open relation would count as "in use" */
	table_close(rel, NoLock);
	cpii_internal_execute(sql.data, 0, NULL, NULL, NULL, false, 0);
	SPI_finish();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, table);
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, column);
	appendStringInfo(&detail, ", \"class\": \"%s\"}", class_name);
	cpii_audit_note(CPII_ACT_POLICY, "protect_column", "ok", detail.data);
	PG_RETURN_VOID();
}
