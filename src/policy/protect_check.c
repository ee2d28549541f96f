/*-------------------------------------------------------------------------
 *
 * protect_check.c
 *	  What protecting a column would break, told before anything is changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "crypto/keyring.h"
#include "policy/foreign_code.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "sealed/seal.h"

/* what was found against protecting */
typedef struct Facts
{
	StringInfoData list;
	bool		any;
	bool		dependents;		/* other objects use the clear text */
} Facts;

/* types whose text form is the value people mean */
static bool
supported_type(Oid type, const CpiiProtect *column)
{
	type = getBaseType(type);
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return true;
		case BYTEAOID:
			return column->pgcrypto;
		case NAMEOID:
		case INT8OID:
		case INT4OID:
		case NUMERICOID:
			return !column->pgcrypto;
		case JSONOID:
		case JSONBOID:
			return !column->pgcrypto && column->class_id == CPII_CLASS_NOTE;
	}
	return !column->pgcrypto && cpii_is_citext(type);
}

int
cpii_sealed_class_or_error(const char *name)
{
	int			class_id = cpii_class_by_name_or_error(name);

	if (!cpii_class_is_sealed(class_id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns of class \"%s\" are not sealed", name),
				 errhint("Give such a column a mask in create_masked_view.")));
	return class_id;
}

void
cpii_protect_check_table(Relation rel)
{
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
	cpii_require_table_duty(RelationGetRelid(rel));
	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partition", RelationGetRelationName(rel)),
				 errhint("Protect the column of the partitioned table.")));
}

void
cpii_protect_check_relid(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);

	cpii_protect_check_table(rel);
	table_close(rel, AccessShareLock);
}

/* the column exists and can be sealed at all */
static void
check_column(Relation rel, CpiiProtect *column)
{
	Form_pg_attribute att;
	int			have;

	column->attnum = get_attnum(RelationGetRelid(rel), column->column);
	if (column->attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column->column, RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), column->attnum - 1);
	column->type = att->atttypid;
	if (att->attinhcount > 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("column \"%s\" of relation \"%s\" is inherited",
						column->column, RelationGetRelationName(rel)),
				 errhint("Protect the column of the table that it is inherited from.")));
	have = cpii_class_of_type(att->atttypid, att->atttypmod);
	if (have != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("column \"%s\" of relation \"%s\" is already protected",
						column->column, RelationGetRelationName(rel)),
				 errdetail("Its class is \"%s\".", cpii_class_name(have))));
	if (!supported_type(att->atttypid, column))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be protected as class \"%s\"",
						column->column, format_type_be(att->atttypid),
						cpii_class_name(column->class_id)),
				 column->pgcrypto ?
				 errhint("Messages of pgcrypto are in columns of type bytea, or armored in texts.") :
				 errhint("Texts and whole numbers can be protected; json and jsonb as class \"note\".")));
	if (att->attgenerated || att->attidentity)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot protect generated column \"%s\"", column->column)));
}

/* protect_column_online has not come to its end with it */
static void
refuse_unfinished(Oid relid, const char *column)
{
	Oid			types[2] = {OIDOID, NAMEOID};
	NameData	name;
	Datum		values[2] = {ObjectIdGetDatum(relid), NameGetDatum(&name)};

	namestrcpy(&name, column);
	cpii_internal_execute("SELECT 1 FROM courier_pii.column_job j WHERE j.relid = $1 AND j.col = $2 AND j.kind = 'protect'",
						  2, types, values, NULL, true, 1);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("column \"%s\" of relation \"%s\" is being protected online",
						column, get_rel_name(relid)),
				 errhint("Let protect_column_online go on with it, or give it up with cancel_protect.")));
}

/* one text per row of a query, joined; or NULL */
static char *
joined(const char *sql, int nargs, Oid *types, Datum *values)
{
	StringInfoData list;

	cpii_internal_execute(sql, nargs, types, values, NULL, true, 0);
	if (SPI_processed == 0)
		return NULL;
	initStringInfo(&list);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 cpii_result_text(i, 1));
	return list.data;
}

/* the same over ($1 regclass, $2 int2) */
static char *
names(const char *sql, Oid relid, AttrNumber attnum)
{
	Oid			types[2] = {REGCLASSOID, INT2OID};
	Datum		values[2] = {ObjectIdGetDatum(relid), Int16GetDatum(attnum)};

	return joined(sql, 2, types, values);
}

static void
add_fact(Facts *facts, const char *what, const char *column, const char *found)
{
	if (found == NULL)
		return;
	if (facts->any)
		appendStringInfoChar(&facts->list, '\n');
	appendStringInfo(&facts->list, "%s \"%s\": %s.", what, column, found);
	facts->any = true;
}

static void
add_dependents(Facts *facts, Oid relid, const CpiiProtect *column)
{
	char	   *found;

	found = names("SELECT DISTINCT CASE WHEN d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
				  "  THEN 'view ' || (SELECT w.ev_class::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_rewrite w WHERE w.oid = d.objid)"
				  "  ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END"
				  " FROM pg_catalog.pg_depend d"
				  " WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
				  " AND d.refobjid = $1 AND d.refobjsubid = $2"
	/* masked views follow the table */
				  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w JOIN courier_pii.masked_view_register m ON m.view = w.ev_class"
				  "   WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid)"
	/* what a part has from its parent is told once */
				  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass"
				  "   AND g.oid = d.objid AND g.tgparentid <> 0)"
				  " AND (d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass,"
				  "  'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,"
				  "  'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_publication_rel'::pg_catalog.regclass,"
				  "  'pg_catalog.pg_statistic_ext'::pg_catalog.regclass)"
				  " OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND EXISTS"
				  "  (SELECT 1 FROM pg_catalog.pg_attrdef a WHERE a.oid = d.objid AND a.adnum <> $2)))"
				  " ORDER BY 1",
				  relid, column->attnum);
	if (found != NULL)
		facts->dependents = true;
	add_fact(facts, "Objects that use the clear text of", column->label, found);
}

static void
add_constraints_and_indexes(Facts *facts, Oid relid, const CpiiProtect *column)
{
	add_fact(facts, "Constraints that test the clear text of", column->label,
			 names("SELECT pg_catalog.quote_ident(c.conname) FROM pg_catalog.pg_constraint c"
				   " WHERE c.contype IN ('c', 'x') AND c.conrelid = $1 AND $2 = ANY (c.conkey) AND c.conislocal"
				   " ORDER BY 1",
				   relid, column->attnum));
	add_fact(facts, "Indexes on the clear text of", column->label,
			 names("SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
				   " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam"
				   " WHERE i.indrelid = $1 AND NOT c.relispartition AND ("
	/* the column, or the whole row, in an expression or a predicate */
				   "  pg_catalog.concat(i.indexprs, i.indpred) ~ (':varattno (0|' || $2::pg_catalog.text || ') ')"
				   "  OR ($2 = ANY (i.indkey::pg_catalog.int2[]) AND (m.amname NOT IN ('btree', 'hash') OR EXISTS"
				   "   (SELECT 1 FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) k"
				   "     JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k] WHERE i.indkey[k] = $2 AND NOT o.opcdefault"
				   "       AND o.opcname NOT IN ('varchar_ops', 'bpchar_ops', 'text_ops')))))"
				   " ORDER BY 1",
				   relid, column->attnum));
	if (!cpii_class_is_searchable(column->class_id))
		add_fact(facts, "Indexes on values that cannot be compared once protected,", column->label,
				 names("SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
					   " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
					   " WHERE i.indrelid = $1 AND NOT c.relispartition AND $2 = ANY (i.indkey::pg_catalog.int2[])"
					   " ORDER BY 1",
					   relid, column->attnum));
}

bool
cpii_default_is_foreign(Oid relid, AttrNumber attnum)
{
	char	   *tree = names("SELECT d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d"
							 " WHERE d.adrelid = $1 AND d.adnum = $2",
							 relid, attnum);

	return tree != NULL && cpii_casts_foreign(stringToNode(tree));
}

bool
cpii_protect_default(Oid relid, AttrNumber attnum, char **token)
{
	char	   *expr = names("SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
							 " FROM pg_catalog.pg_attrdef d WHERE d.adrelid = $1 AND d.adnum = $2",
							 relid, attnum);


	*token = NULL;
	if (expr == NULL || strncmp(expr, "NULL", 4) == 0)
		return true;
	/* a constant deparses as a quoted string, perhaps with a cast, or a number */
	if (expr[0] != '\'' || strchr(expr, '(') != NULL)
		return false;
	/* that cast is not always shown, and it is run with our rights */
	if (cpii_default_is_foreign(relid, attnum))
		return false;
	cpii_internal_execute(psprintf("SELECT courier_pii.seal((%s)::pg_catalog.text, -1, false)::courier_pii.sealed", expr),
						  0, NULL, NULL, NULL, true, 1);
	*token = cpii_result_text(0, 1);
	return true;
}

List *
cpii_protect_part_defaults(Oid relid, const char *column, List **before)
{
	List	   *after = NIL;
	const char *expression = "SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
		" FROM pg_catalog.pg_attrdef d WHERE d.adrelid = $1 AND d.adnum = $2";
	char	   *common = names(expression, relid, get_attnum(relid, column));
	ListCell   *lc;

	*before = NIL;
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		Oid			oid = lfirst_oid(lc);
		AttrNumber	attnum = get_attnum(oid, column);
		char	   *own = names(expression, oid, attnum);
		char	   *drop = psprintf("ALTER TABLE ONLY %s ALTER COLUMN %s DROP DEFAULT",
									cpii_qualified_name(oid), quote_identifier(column));
		char	   *token;

		if (oid == relid || get_rel_relkind(oid) == RELKIND_FOREIGN_TABLE ||
			strcmp(own ? own : "", common ? common : "") == 0)
			continue;
		if (own != NULL)
			*before = lappend(*before, drop);
		if (cpii_protect_default(oid, attnum, &token) && token != NULL)
			drop = psprintf("ALTER TABLE ONLY %s ALTER COLUMN %s SET DEFAULT %s",
							cpii_qualified_name(oid), quote_identifier(column),
							quote_literal_cstr(token));
		after = lappend(after, drop);
	}
	return after;
}

static void
add_default(Facts *facts, Oid relid, CpiiProtect *column)
{
	bool		kept = cpii_protect_default(relid, column->attnum, &column->deflt);

	if (kept && column->pgcrypto && column->deflt != NULL)
		kept = false;
	if (!kept)
		add_fact(facts, "A default that is no constant text, of", column->label,
				 column->pgcrypto ? "a message of pgcrypto" : "an expression");
}

/*
 * What partitions and inheriting tables have of their own on the column: they
 * go with it, or would stop the work at its end.
 */
static void
add_facts_of_parts(Facts *facts, Oid relid, const CpiiProtect *column)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Oid			oid = lfirst_oid(lc);
		CpiiProtect part = *column;
		char	   *ignored;

		if (oid == relid)
			continue;
		part.attnum = get_attnum(oid, column->column);
		part.label = psprintf("%s.%s", get_rel_name(oid), column->column);
		add_dependents(facts, oid, &part);
		add_constraints_and_indexes(facts, oid, &part);
		if (!cpii_protect_default(oid, part.attnum, &ignored))
			add_fact(facts, "A default that is no constant text, of", part.label,
					 "an expression");
	}
}

/* what protecting in batches cannot keep, and one ALTER can */
static void
add_online_facts(Facts *facts, Oid relid, const CpiiProtect *column)
{
	add_fact(facts, "Publications, which would send a column that the other side does not have yet, of the table of",
			 column->label,
			 names("SELECT DISTINCT pg_catalog.quote_ident(p.pubname::pg_catalog.text)"
				   " FROM pg_catalog.pg_publication_tables p, pg_catalog.pg_partition_tree($1) t"
				   " JOIN pg_catalog.pg_class c ON c.oid = t.relid"
				   " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
				   " WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND $2 > 0"
				   " UNION SELECT DISTINCT pg_catalog.quote_ident(p.pubname::pg_catalog.text)"
				   " FROM pg_catalog.pg_publication_tables p"
				   " JOIN pg_catalog.pg_class c ON c.relname = p.tablename"
				   " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.schemaname"
				   " WHERE c.oid = $1"
				   " ORDER BY 1",
				   relid, column->attnum));
	add_fact(facts, "Foreign tables among the partitions of the table of", column->label,
			 names("SELECT c.oid::pg_catalog.regclass::pg_catalog.text"
				   " FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid"
				   " WHERE h.inhparent = $1 AND c.relkind = 'f' AND $2 > 0 ORDER BY 1",
				   relid, column->attnum));
}

/* functions whose body is a string do not depend on columns: tell at least */
static void
mention_functions(Oid relid, const CpiiProtect *column)
{
	char	   *found;

	found = names("SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text"
				  " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang,"
				  " pg_catalog.pg_attribute a, pg_catalog.pg_class c"
				  " WHERE a.attrelid = $1 AND a.attnum = $2 AND c.oid = $1"
				  " AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL"
				  " AND p.pronamespace <> 'courier_pii'::pg_catalog.regnamespace"
				  " AND pg_catalog.lower(p.prosrc) ~ ('\\m' || pg_catalog.regexp_replace(pg_catalog.lower(a.attname), '\\W', '\\\\\\&', 'g') || '\\M')"
				  " AND (pg_catalog.lower(p.prosrc) ~ ('\\m' || pg_catalog.regexp_replace(pg_catalog.lower(c.relname), '\\W', '\\\\\\&', 'g') || '\\M')"
				  "  OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = $1 AND g.tgfoid = p.oid))"
				  " ORDER BY 1",
				  relid, column->attnum);
	if (found != NULL)
		ereport(NOTICE,
				(errmsg("functions mention column \"%s\" of \"%s\"",
						column->column, get_rel_name(relid)),
				 errdetail("They will find sealed values there: %s.", found),
				 errhint("Let them read the masked view.")));
}

/* ---- foreign keys that are to be kept ---- */

static char *
key_names(List *keys, const char *condition)
{
	Oid			types[1] = {OIDARRAYOID};
	Datum		values[1] = {cpii_oid_array(keys)};

	return joined(psprintf("SELECT pg_catalog.quote_ident(k.conname) FROM pg_catalog.pg_constraint k"
						   " WHERE k.oid = ANY ($1) AND %s ORDER BY 1", condition),
				  1, types, values);
}

static void
add_key_facts(Facts *facts, CpiiGroup *group, const CpiiProtect *first)
{
	if (group->keys == NIL)
		return;
	if (first->pgcrypto)
		add_fact(facts, "Foreign keys over messages of pgcrypto, of", first->label,
				 key_names(group->keys, "true"));
	else if (!cpii_class_is_searchable(first->class_id))
		add_fact(facts, "Foreign keys on values that cannot be compared once protected, of", first->label,
				 key_names(group->keys, "true"));
	else if (cpii_keyring_search_scoped(first->class_id))
		add_fact(facts, "Foreign keys on values that can be compared within one epoch only, of", first->label,
				 key_names(group->keys, "true"));
	if (!first->pgcrypto)
		add_fact(facts, "Foreign keys by which texts that differ are equal, of", first->label,
				 key_names(cpii_keys_by_other_texts(group), "true"));
	add_fact(facts, "Foreign keys whose triggers are switched off or always on, of", first->label,
			 key_names(group->keys, "EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g"
					   " WHERE g.tgconstraint = k.oid AND g.tgenabled <> 'O')"));
}

/* each of the columns gets an index of its own online: not one for two of them */
static void
add_shared_indexes(Facts *facts, const CpiiProtectTable *table)
{
	Oid			types[2] = {OIDARRAYOID, NAMEARRAYOID};
	Datum		values[2];
	Datum	   *columns = palloc(sizeof(Datum) * list_length(table->columns));
	ListCell   *lc;
	int			n = 0;

	if (list_length(table->columns) < 2)
		return;
	foreach(lc, table->columns)
	{
		NameData   *name = palloc(sizeof(NameData));

		namestrcpy(name, ((CpiiProtect *) lfirst(lc))->column);
		columns[n++] = NameGetDatum(name);
	}
	values[0] = cpii_oid_array(find_all_inheritors(table->relid, NoLock, NULL));
	values[1] = PointerGetDatum(construct_array(columns, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
	add_fact(facts, "Indexes on two of the columns that are protected together, of",
			 ((CpiiProtect *) linitial(table->columns))->label,
			 joined("SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
					" WHERE i.indrelid = ANY ($1) AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a"
					"  WHERE a.attrelid = i.indrelid AND a.attname = ANY ($2) AND a.attnum = ANY (i.indkey::pg_catalog.int2[])) > 1"
					" ORDER BY 1",
					2, types, values));
}

/* ---- all of it ---- */

static void
add_column_facts(Facts *facts, Oid relid, CpiiProtect *column, bool online)
{
	add_dependents(facts, relid, column);
	add_constraints_and_indexes(facts, relid, column);
	add_default(facts, relid, column);
	add_facts_of_parts(facts, relid, column);
	if (online)
		add_online_facts(facts, relid, column);
}

static void
raise_facts(const Facts *facts, List *tables)
{
	CpiiProtectTable *first = linitial(tables);
	CpiiProtect *column = linitial(first->columns);

	ereport(ERROR,
			(errcode(facts->dependents ? ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST :
					 ERRCODE_FEATURE_NOT_SUPPORTED),
			 list_length(tables) > 1 ?
			 errmsg("cannot protect columns of %d tables and keep what works on their clear text",
					list_length(tables)) :
			 list_length(first->columns) == 1 ?
			 errmsg("cannot protect column \"%s\" and keep what works on its clear text",
					column->column) :
			 errmsg("cannot protect columns of \"%s\" and keep what works on their clear text",
					get_rel_name(first->relid)),
			 errdetail("%s", facts->list.data),
			 errhint("Drop these first. Make views and functions again over the masked view; equality indexes and foreign keys can be made again on protected columns of one class.")));
}

void
cpii_protect_check(List *tables, CpiiGroup *group, bool online)
{
	Facts		facts;
	ListCell   *lt;
	ListCell   *lc;

	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);
		Relation	rel = table_open(table->relid, AccessShareLock);

		cpii_protect_check_table(rel);
		if (online && rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot protect a temporary table in batches"),
					 errhint("Use courier_pii.protect_column.")));
		foreach(lc, table->columns)
		{
			CpiiProtect *column = lfirst(lc);

			check_column(rel, column);
			refuse_unfinished(table->relid, column->column);
			column->label = list_length(tables) == 1 ? column->column :
				psprintf("%s.%s", RelationGetRelationName(rel), column->column);
		}
		table_close(rel, AccessShareLock);
	}
	memset(&facts, 0, sizeof(facts));
	initStringInfo(&facts.list);
	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);

		foreach(lc, table->columns)
			add_column_facts(&facts, table->relid, lfirst(lc), online);
		if (online)
			add_shared_indexes(&facts, table);
	}
	add_key_facts(&facts, group, linitial(((CpiiProtectTable *) linitial(tables))->columns));
	if (facts.any)
		raise_facts(&facts, tables);
	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);

		foreach(lc, table->columns)
			mention_functions(table->relid, lfirst(lc));
	}
}
