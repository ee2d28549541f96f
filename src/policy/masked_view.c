/*-------------------------------------------------------------------------
 *
 * masked_view.c
 *	  Masked views: the table's name and columns, protected ones as text.
 *
 * The view's SQL is plain and visible in \d+: a door call per protected
 * column, the row rules as a WHERE clause.  It belongs to the table's owner,
 * is a security barrier, and is written through by INSTEAD OF triggers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_create_masked_view);
CPII_EXPORT Datum cpii_create_masked_view(PG_FUNCTION_ARGS);

/* the mask that was asked for a native column, or NULL */
static char *
native_mask(Jsonb *masks, const char *column)
{
	JsonbValue	key;
	JsonbValue *value;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, column);
	key.val.string.len = (int) strlen(column);
	value = findJsonbValueFromContainer(&masks->root, JB_FOBJECT, &key);
	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mask of column \"%s\" must be a string", column)));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* the door's function for a native column with this mask; NULL when none fits */
static const char *
native_function(Form_pg_attribute att, const char *mask)
{
	static const char *const units[] = {"hour", "day", "week", "month"};
	Oid			type = getBaseType(att->atttypid);
	bool		known = false;

	if (strcmp(mask, "region") == 0)
		return type == INT4OID ? "show_region" :
			type == INT4ARRAYOID ? "show_regions" : NULL;
	for (int i = 0; i < lengthof(units); i++)
		known |= strcmp(mask, units[i]) == 0;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized mask \"%s\"", mask),
				 errhint("Valid masks are hour, day, week, month, region.")));
	return type == TIMESTAMPTZOID ? "show_time" :
		type == TIMESTAMPOID ? "show_timestamp" :
		type == DATEOID ? "show_date" : NULL;
}

void
cpii_check_masks(Jsonb *masks, Relation rel)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(masks))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("masks must be a JSON object"),
				 errhint("For example {\"created_at\": \"day\"}.")));
	it = JsonbIteratorInit(&masks->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *name;
		char	   *mask;
		AttrNumber	attnum;
		Form_pg_attribute att;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(v.val.string.val, v.val.string.len);
		attnum = get_attnum(RelationGetRelid(rel), name);
		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							name, RelationGetRelationName(rel))));
		if (cpii_class_of_type(get_atttype(RelationGetRelid(rel), attnum), -1) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("mask of protected column \"%s\" follows from its class",
							name),
					 errhint("Name only columns of native types.")));
		mask = native_mask(masks, name);
		att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		if (native_function(att, mask) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("mask \"%s\" does not apply to column \"%s\"", mask, name),
					 errdetail("The column is of type %s.",
							   format_type_be(att->atttypid))));
	}
}

/* the door call for a native column with mask day, hour, month or region */
static void
append_native(StringInfo sql, Relation rel, Form_pg_attribute att,
			  const char *mask, const char *scope)
{
	appendStringInfo(sql, "courier_pii.%s(t.%s, %s::pg_catalog.regclass, %d::pg_catalog.int2, %s, %s)",
					 native_function(att, mask),
					 quote_identifier(NameStr(att->attname)),
					 quote_literal_cstr(cpii_qualified_name(RelationGetRelid(rel))),
					 att->attnum, scope, quote_literal_cstr(mask));
}

/*
 * The type of a view's column.  *unfit tells that the mask asked for does not
 * apply to the column's type (any more).
 */
static Oid
shown_type(Form_pg_attribute att, const char *mask, int32 *typmod, Oid *collation,
		   bool *unfit)
{
	*unfit = false;
	*typmod = att->atttypmod;
	*collation = att->attcollation;
	if (cpii_class_of_type(att->atttypid, att->atttypmod) != 0)
	{
		*typmod = -1;
		*collation = DEFAULT_COLLATION_OID;
		return TEXTOID;
	}
	if (mask == NULL)
		return att->atttypid;
	if (native_function(att, mask) == NULL)
	{
		*unfit = true;
		return att->atttypid;
	}
	*typmod = -1;
	return getBaseType(att->atttypid);
}

bool
cpii_masked_view_fits(Relation rel, Relation view, Jsonb *masks)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleDesc	shown = RelationGetDescr(view);
	int			columns;
	AttrNumber *order = cpii_view_columns(rel, &columns);
	int			n = 0;

	for (int i = 0; i < columns && n < shown->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, order[i] - 1);
		Form_pg_attribute have = TupleDescAttr(shown, n);
		int32		typmod;
		Oid			collation;
		bool		unfit;

		n++;
		if (strcmp(NameStr(att->attname), NameStr(have->attname)) != 0 ||
			shown_type(att, native_mask(masks, NameStr(att->attname)),
					   &typmod, &collation, &unfit) != have->atttypid ||
			typmod != have->atttypmod || collation != have->attcollation)
			return false;
	}
	return n == shown->natts;
}

char *
cpii_masked_view_definition(Relation rel, const char *view, Jsonb *masks, bool replace)
{
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *table = cpii_qualified_name(RelationGetRelid(rel));
	char	   *visible = cpii_row_rules_visible(RelationGetRelid(rel));
	StringInfoData sql;
	int			columns;
	AttrNumber *order = cpii_view_columns(rel, &columns);

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE %sVIEW %s WITH (security_barrier) AS SELECT ",
					 replace ? "OR REPLACE " : "", view);
	for (int i = 0; i < columns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, order[i] - 1);
		const char *name = NameStr(att->attname);
		char	   *mask;
		int32		typmod;
		Oid			collation;
		bool		unfit;

		if (i > 0)
			appendStringInfoString(&sql, ", ");
		mask = native_mask(masks, name);
		(void) shown_type(att, mask, &typmod, &collation, &unfit);
		if (cpii_class_of_type(att->atttypid, att->atttypmod) != 0)
			appendStringInfo(&sql, "courier_pii.show_column(t.%s, %s::pg_catalog.regclass, %d::pg_catalog.int2, %s)",
							 quote_identifier(name), quote_literal_cstr(table),
							 att->attnum,
							 cpii_row_rules_scope(RelationGetRelid(rel), name));
		else if (unfit)
		{
			/* the column's type was changed: nothing is shown, rather than all */
			ereport(WARNING,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("mask \"%s\" does not apply to column \"%s\", which is hidden now",
							mask, name),
					 errdetail("The column is of type %s.", format_type_be(att->atttypid)),
					 errhint("Give it another mask with courier_pii.refresh_masked_view.")));
			appendStringInfo(&sql, "NULL::%s",
							 format_type_extended(att->atttypid, att->atttypmod,
												  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		}
		else if (mask != NULL)
			append_native(&sql, rel, att, mask,
						  cpii_row_rules_scope(RelationGetRelid(rel), name));
		else
			appendStringInfo(&sql, "t.%s", quote_identifier(name));
		appendStringInfo(&sql, " AS %s", quote_identifier(name));
	}
	appendStringInfo(&sql, " FROM %s t", table);
	if (visible != NULL)
		appendStringInfo(&sql, " WHERE %s", visible);
	return sql.data;
}

void
cpii_run(const char *sql)
{
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
}

/*
 * Nullable columns with a default: the view gets the same default, so that an
 * INSERT that leaves the column out and one that says NULL stay different.
 * NOT NULL columns need none: there a NULL means the default (masked_write.c).
 */
void
cpii_copy_defaults(Relation rel, const char *view)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			types[2] = {REGCLASSOID, INT2OID};

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Datum		values[2];

		if (att->attisdropped || !att->atthasdef || att->attgenerated ||
			att->attnotnull || att->attidentity ||
			cpii_class_of_type(att->atttypid, att->atttypmod) != 0)
			continue;
		values[0] = ObjectIdGetDatum(RelationGetRelid(rel));
		values[1] = Int16GetDatum(att->attnum);
		cpii_internal_execute("SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
							  " FROM pg_catalog.pg_attrdef d"
							  " WHERE d.adrelid = $1 AND d.adnum = $2",
							  2, types, values, NULL, false, 1);
		if (SPI_processed == 1)
			cpii_run(psprintf("ALTER VIEW %s ALTER COLUMN %s SET DEFAULT %s", view,
						 quote_identifier(NameStr(att->attname)),
						 cpii_result_text(0, 1)));
	}
}

void
cpii_copy_comments(Relation rel, const char *view)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(RelationGetRelid(rel))};
	char	  **statements;
	uint64		n;

	cpii_internal_execute("SELECT a.attname, pg_catalog.col_description(a.attrelid, a.attnum)"
						  " FROM pg_catalog.pg_attribute a"
						  " WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped"
						  " AND pg_catalog.col_description(a.attrelid, a.attnum) IS NOT NULL",
						  1, types, values, NULL, false, 0);
	n = SPI_processed;
	statements = palloc(sizeof(char *) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		statements[i] = psprintf("COMMENT ON COLUMN %s.%s IS %s", view,
								 quote_identifier(cpii_result_text(i, 1)),
								 quote_literal_cstr(cpii_result_text(i, 2)));
	for (uint64 i = 0; i < n; i++)
		cpii_run(statements[i]);
}

/*
 * Partitions carry rights of their own, and no row rule binds a view over one:
 * take everybody's rights on them away, but the owner's.
 */
static void
revoke_on_partitions(Relation rel)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(RelationGetRelid(rel))};
	char	  **statements;
	uint64		n;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	cpii_internal_execute("SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %I.%I FROM %s CASCADE', n.nspname, c.relname,"
						  "   CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END)"
						  " FROM pg_catalog.pg_partition_tree($1) p"
						  " JOIN pg_catalog.pg_class c ON c.oid = p.relid"
						  " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						  " CROSS JOIN LATERAL (SELECT (pg_catalog.aclexplode(c.relacl)).grantee"
						  "   UNION SELECT (pg_catalog.aclexplode(a.attacl)).grantee FROM pg_catalog.pg_attribute a"
						  "   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) x"
						  " LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee"
						  " WHERE p.level > 0 AND x.grantee <> c.relowner",
						  1, types, values, NULL, true, 0);
	n = SPI_processed;
	statements = palloc(sizeof(char *) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		statements[i] = cpii_result_text(i, 1);
	for (uint64 i = 0; i < n; i++)
		cpii_run(statements[i]);
}

/*
 * Give the view what other roles have on the table, whole or by column, and
 * take all their rights on the table away.
 */
static void
move_grants(Relation rel, const char *view)
{
	char	   *table = cpii_qualified_name(RelationGetRelid(rel));
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(RelationGetRelid(rel))};
	char	  **statements;
	uint64		n;
	int			m = 0;

	/* grantee 0 is PUBLIC; column "" is the whole table */
	cpii_internal_execute("SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC'"
						  "   ELSE pg_catalog.quote_ident(r.rolname) END,"
						  "  pg_catalog.max(x.col) AS col,"
						  "  pg_catalog.string_agg(DISTINCT x.privilege_type, ',')"
						  "   FILTER (WHERE x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')),"
						  "  x.is_grantable"
						  " FROM (SELECT (pg_catalog.aclexplode(c.relacl)).*, '' AS col, c.relowner"
						  "        FROM pg_catalog.pg_class c WHERE c.oid = $1"
						  "       UNION ALL"
						  "       SELECT (pg_catalog.aclexplode(a.attacl)).*, pg_catalog.quote_ident(a.attname), c.relowner"
						  "        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
						  "        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped) x"
						  " LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee"
						  " WHERE x.grantee <> x.relowner"
						  " GROUP BY x.grantee, r.rolname, x.col, x.is_grantable",
						  1, types, values, NULL, true, 0);
	n = SPI_processed;
	statements = palloc(sizeof(char *) * Max(3 * n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *grantee = SPI_getvalue(tup, desc, 1);
		char	   *column = SPI_getvalue(tup, desc, 2);
		char	   *privileges = SPI_getvalue(tup, desc, 3);
		char	   *grantable = SPI_getvalue(tup, desc, 4);

		if (privileges != NULL)
		{
			StringInfoData list;

			initStringInfo(&list);
			for (char *p = strtok(pstrdup(privileges), ","); p; p = strtok(NULL, ","))
				appendStringInfo(&list, "%s%s%s%s%s", list.len ? ", " : "", p,
								 column[0] ? " (" : "", column,
								 column[0] ? ")" : "");
			statements[m++] = psprintf("GRANT %s ON %s TO %s%s", list.data, view,
									   grantee,
									   strcmp(grantable, "t") == 0 ? " WITH GRANT OPTION" : "");
		}
		statements[m++] = psprintf("REVOKE ALL ON %s FROM %s CASCADE", table, grantee);
		if (column[0])
			statements[m++] = psprintf("REVOKE ALL (%s) ON %s FROM %s CASCADE",
									   column, table, grantee);
	}
	for (int i = 0; i < m; i++)
		cpii_run(statements[i]);
	revoke_on_partitions(rel);
}

/* create_masked_view(tbl, view_schema, masks, move_grants) */
Datum
cpii_create_masked_view(PG_FUNCTION_ARGS)
{
	Oid			relid;
	char	   *schema;
	Jsonb	   *masks;
	Relation	rel;
	char	   *view;
	Oid			nsp;
	Oid			view_oid;
	Oid			types[3] = {REGCLASSOID, REGCLASSOID, JSONBOID};
	Datum		values[3];
	StringInfoData detail;

	cpii_require_preload();
	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameters of create_masked_view must not be null")));
	relid = PG_GETARG_OID(0);
	schema = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	masks = PG_GETARG_JSONB_P(2);
	rel = table_open(relid, ShareLock);
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	cpii_require_table_duty(relid);
	cpii_check_masks(masks, rel);

	view = quote_qualified_identifier(schema, RelationGetRelationName(rel));
	nsp = get_namespace_oid(schema, true);
	if (nsp == RelationGetNamespace(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("masked view needs another schema than its table"),
				 errdetail("Table \"%s\" is in schema \"%s\".",
						   RelationGetRelationName(rel), schema)));
	if (OidIsValid(nsp) &&
		OidIsValid(get_relname_relid(RelationGetRelationName(rel), nsp)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", view),
				 errhint("Choose another view_schema, or drop that relation first.")));

	SPI_connect();
	if (!OidIsValid(nsp))
	{
		cpii_run(psprintf("CREATE SCHEMA %s", quote_identifier(schema)));
		cpii_run(psprintf("GRANT USAGE ON SCHEMA %s TO PUBLIC", quote_identifier(schema)));
	}
	cpii_run(cpii_masked_view_definition(rel, view, masks, false));
	cpii_copy_defaults(rel, view);
	cpii_copy_comments(rel, view);
	cpii_run(psprintf("CREATE TRIGGER masked_view_write INSTEAD OF INSERT OR UPDATE OR DELETE"
				 " ON %s FOR EACH ROW EXECUTE FUNCTION courier_pii.masked_view_write()",
				 view));
	cpii_run(psprintf("ALTER VIEW %s OWNER TO %s", view,
				 quote_identifier(GetUserNameFromId(rel->rd_rel->relowner, false))));
	CommandCounterIncrement();
	view_oid = get_relname_relid(RelationGetRelationName(rel),
								 get_namespace_oid(schema, false));
	cpii_run("DELETE FROM courier_pii.masked_view_register m"
		" WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = m.view)");
	values[0] = ObjectIdGetDatum(view_oid);
	values[1] = ObjectIdGetDatum(relid);
	values[2] = JsonbPGetDatum(masks);
	cpii_internal_execute("INSERT INTO courier_pii.masked_view_register (view, tbl, masks)"
						  " VALUES ($1, $2, $3)", 3, types, values, NULL, false, 0);
	cpii_view_goes_with_table(view_oid, relid);
	if (PG_GETARG_BOOL(3))
		move_grants(rel, view);
	SPI_finish();
	table_close(rel, NoLock);
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"view\": ");
	escape_json(&detail, view);
	appendStringInfo(&detail, ", \"move_grants\": %s}",
					 PG_GETARG_BOOL(3) ? "true" : "false");
	cpii_audit_note(CPII_ACT_POLICY, "create_masked_view", "ok", detail.data);
	PG_RETURN_OID(view_oid);
}
