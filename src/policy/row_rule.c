/*-------------------------------------------------------------------------
 *
 * row_rule.c
 *	  Row rules: which rows a role sees, and in which rows "scoped" is clear.
 *
 * A rule's conditions are data (condition.h).  They are checked when the rule
 * is set, and turned into SQL of the masked view, where every name is
 * resolved, quoted and schema-qualified by us; a user's text is never run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_oper.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/condition.h"
#include "policy/policy.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_set_row_rule);
PG_FUNCTION_INFO_V1(cpii_drop_row_rule);
CPII_EXPORT Datum cpii_set_row_rule(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_drop_row_rule(PG_FUNCTION_ARGS);

static void
parse_condition(const char *text, CpiiCondition *condition)
{
	const char *problem;

	if (!cpii_condition_parse(text, condition, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid row rule condition"),
				 errdetail("In this condition %s.", problem),
				 errhint("Forms are <column> = <value>, <column> within <value>, and <column> in <table>.<column> where <test> and ...")));
}

static Oid
column_type(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, get_rel_name(relid))));
	return get_atttype(relid, attnum);
}

static bool
is_text_type(Oid type)
{
	type = getBaseType(type);
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID ||
		type == NAMEOID;
}

Oid
cpii_condition_table(const CpiiCondition *c, Oid relid, bool missing_ok)
{
	Oid			table = InvalidOid;

	if (c->schema[0] != '\0')
	{
		Oid			nsp = get_namespace_oid(c->schema, true);

		if (OidIsValid(nsp))
			table = get_relname_relid(c->table, nsp);
	}
	else
	{
		table = get_relname_relid(c->table, get_rel_namespace(relid));
		if (!OidIsValid(table))
			table = RelnameGetRelid(c->table);
	}
	if (!OidIsValid(table) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", c->table)));
	return table;
}

/*
 * A constant must be a value of the column's type, before a view holds it.  What
 * the type's owner made it call is called as in any statement of ours, never with
 * the rights of the officer who sets the rule.
 */
static void
check_constant(Oid type, const char *text)
{
	CpiiInternalState internal;
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(type, &input, &ioparam);
	cpii_internal_begin(&internal);
	(void) OidInputFunctionCall(input, unconstify(char *, text), ioparam, -1);
	cpii_internal_end(&internal);
}

/*
 * Can the two columns of an "in" condition be compared?  Sealed ones only with
 * their own class: a comparison with text would be a search by real value.
 */
static void
check_comparable(Oid relid, const char *column, Oid table, const char *table_column)
{
	Oid			left = column_type(relid, column);
	Oid			right = column_type(table, table_column);
	Operator	operator;

	if (cpii_class_of_type(left, -1) != cpii_class_of_type(right, -1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row rule cannot compare column \"%s\" with column \"%s\"",
						column, table_column),
				 errhint("A protected column may only be matched with a column of the same class.")));
	operator = oper(NULL, list_make1(makeString("=")), left, right, true, -1);
	if (operator == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("row rule cannot compare column \"%s\" with column \"%s\"",
						column, table_column),
				 errdetail("One is of type %s, the other of type %s.",
						   format_type_be(left), format_type_be(right))));
	ReleaseSysCache(operator);
}

static void
append_value(StringInfo sql, const CpiiValue *value)
{
	switch (value->kind)
	{
		case CPII_VALUE_STAFF_NO:
			appendStringInfoString(sql, "courier_pii.actor_staff_no()");
			break;
		case CPII_VALUE_LOGIN:
			appendStringInfoString(sql, "courier_pii.actor_login()");
			break;
		case CPII_VALUE_ORG:
			appendStringInfoString(sql, "courier_pii.actor_org()");
			break;
		case CPII_VALUE_CLIENT:
			appendStringInfoString(sql, "courier_pii.actor_client()");
			break;
		case CPII_VALUE_TODAY:
			appendStringInfoString(sql, "CURRENT_DATE");
			break;
		case CPII_VALUE_CONST:
			appendStringInfoString(sql, quote_literal_cstr(value->text));
			break;
	}
}

static void
append_test(StringInfo sql, const char *alias, Oid relid, const CpiiTest *test)
{
	Oid			type = column_type(relid, test->column);
	Oid			base = getBaseType(type);
	const char *column = quote_identifier(test->column);

	if (cpii_class_of_type(type, -1) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row rule cannot test protected column \"%s\"",
						test->column),
				 errhint("A protected column may only be matched with a column of the same class.")));

	if (test->kind == CPII_TEST_WITHIN)
	{
		if (test->value.kind == CPII_VALUE_TODAY)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"within\" takes an organisation, not a date")));
		appendStringInfo(sql, "%s.%s%s IN (SELECT o.code FROM courier_pii.org_within(",
						 alias, column, is_text_type(type) ? "" : "::pg_catalog.text");
		append_value(sql, &test->value);
		if (test->value.kind == CPII_VALUE_LOGIN)
			appendStringInfoString(sql, "::pg_catalog.text");
		appendStringInfoString(sql, ") o(code))");
		return;
	}

	if (test->value.kind == CPII_VALUE_TODAY)
	{
		if (base == DATEOID)
			appendStringInfo(sql, "%s.%s = CURRENT_DATE", alias, column);
		else if (base == TIMESTAMPOID || base == TIMESTAMPTZOID)
			appendStringInfo(sql, "(%s.%s >= CURRENT_DATE AND %s.%s < CURRENT_DATE + 1)",
							 alias, column, alias, column);
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is neither a date nor a time",
							test->column)));
		return;
	}

	if (test->value.kind == CPII_VALUE_CONST)
		check_constant(type, test->value.text);
	appendStringInfo(sql, "%s.%s = ", alias, column);
	append_value(sql, &test->value);
	if (test->value.kind == CPII_VALUE_LOGIN && is_text_type(type))
		appendStringInfoString(sql, "::pg_catalog.text");
	else if (!is_text_type(type))
	{
		if (test->value.kind == CPII_VALUE_CONST)
			appendStringInfo(sql, "::%s", format_type_be_qualified(type));
		else
			appendStringInfo(sql, "::pg_catalog.text::%s",
							 format_type_be_qualified(type));
	}
}

static void
append_condition(StringInfo sql, Oid relid, Oid owner, const char *text)
{
	CpiiCondition c;
	Oid			table;

	parse_condition(text, &c);
	if (!c.is_in)
	{
		append_test(sql, "t", relid, &c.tests[0]);
		return;
	}
	table = cpii_condition_table(&c, relid, false);
	check_comparable(relid, c.column, table, c.table_column);
	if (pg_class_aclcheck(table, owner, ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", get_rel_name(table)),
				 errdetail("The owner of the ruled table must be allowed to read it.")));
	appendStringInfo(sql, "t.%s IN (SELECT d.%s FROM %s d WHERE ",
					 quote_identifier(c.column),
					 quote_identifier(c.table_column),
					 cpii_qualified_name(table));
	for (int i = 0; i < c.ntests; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, " AND ");
		append_test(sql, "d", table, &c.tests[i]);
	}
	appendStringInfoChar(sql, ')');
}

static Oid
relation_owner(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	Oid			owner;

	if (!RelationIsValid(rel))
		elog(ERROR, "could not open relation %u", relid);
	owner = rel->rd_rel->relowner;
	RelationClose(rel);
	return owner;
}

/* elements of a text or name array; null elements are refused */
static int
array_texts(Datum array, Oid elemtype, char ***texts)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	if (elemtype == TEXTOID)
		deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
						  TYPALIGN_INT, &elems, &nulls, &n);
	else
		deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN,
						  false, TYPALIGN_CHAR, &elems, &nulls, &n);
	*texts = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("row rule lists must not contain nulls")));
		(*texts)[i] = elemtype == TEXTOID ? TextDatumGetCString(elems[i]) :
			pstrdup(NameStr(*DatumGetName(elems[i])));
	}
	return n;
}

/*
 * OR over the table's rules of (acts_as(role) AND conditions).  With column,
 * only rules whose scope covers it, by their scope list; an empty scope list
 * puts no row in scope.  NULL when no rule took part.
 */
static char *
rules_expression(Oid relid, const char *column)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	Oid			owner = relation_owner(relid);
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData sql;
	int			used = 0;
	char	   *result = NULL;

	SPI_connect();
	initStringInfo(&sql);
	cpii_internal_execute("SELECT r.grantee, r.visible, r.scope, r.scope_columns"
						  " FROM courier_pii.row_rule r WHERE r.tbl = $1"
						  " ORDER BY r.rule, r.grantee::pg_catalog.oid",
						  1, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		char	   *role = GetUserNameFromId(DatumGetObjectId(SPI_getbinval(tup, desc, 1, &isnull)), true);
		char	  **texts;
		int			n;

		if (role == NULL)
			continue;			/* the role is gone, and so is its rule */
		if (column != NULL)
		{
			Datum		columns = SPI_getbinval(tup, desc, 4, &isnull);
			bool		covered = isnull;

			if (!isnull)
			{
				char	  **names;
				int			m = array_texts(columns, NAMEOID, &names);

				for (int j = 0; j < m; j++)
					covered |= strcmp(names[j], column) == 0;
			}
			if (!covered)
				continue;
		}
		n = array_texts(SPI_getbinval(tup, desc, column ? 3 : 2, &isnull),
						TEXTOID, &texts);
		if (column != NULL && n == 0)
			continue;
		appendStringInfo(&sql, "%s(courier_pii.acts_as(%s::pg_catalog.name)",
						 used > 0 ? " OR " : "", quote_literal_cstr(role));
		for (int j = 0; j < n; j++)
		{
			appendStringInfoString(&sql, " AND ");
			append_condition(&sql, relid, owner, texts[j]);
		}
		appendStringInfoChar(&sql, ')');
		used++;
	}
	if (used > 0)
		result = MemoryContextStrdup(caller, sql.data);
	SPI_finish();
	return result;
}

char *
cpii_row_rules_visible(Oid relid)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	char	   *visible;
	bool		any;

	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.row_rule r WHERE r.tbl = $1",
						  1, types, values, NULL, false, 1);
	any = SPI_processed > 0;
	SPI_finish();
	if (!any)
		return NULL;
	visible = rules_expression(relid, NULL);
	return visible ? visible : pstrdup("false");
}

char *
cpii_row_rules_scope(Oid relid, const char *column)
{
	char	   *scope = rules_expression(relid, column);

	return scope ? scope : pstrdup("false");
}

/* row rules of a table */
static uint64
count_rules(Oid relid)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	uint64		result;

	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.row_rule r WHERE r.tbl = $1",
						  1, types, values, NULL, true, 0);
	result = SPI_processed;
	SPI_finish();
	return result;
}

/* set_row_rule(tbl, grantee, rule, visible, scope, scope_columns) */
Datum
cpii_set_row_rule(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Oid			role;
	char	   *role_name;
	Oid			types[7] = {REGCLASSOID, REGROLEOID, NAMEOID, TEXTARRAYOID, TEXTARRAYOID, NAMEARRAYOID, NAMEOID};
	Datum		values[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};
	NameData	set_by;
	StringInfoData scratch;
	char	  **texts;
	int			n;

	cpii_require_preload();
	for (int i = 0; i < 5; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameters of a row rule must not be null"),
					 errhint("Only scope_columns may be null.")));
	relid = PG_GETARG_OID(0);
	role = PG_GETARG_OID(1);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	cpii_require_duty("pii_security_admin");
	role_name = GetUserNameFromId(role, false);

	/* every condition must be sound before anything is stored */
	initStringInfo(&scratch);
	for (int arg = 3; arg <= 4; arg++)
	{
		n = array_texts(PG_GETARG_DATUM(arg), TEXTOID, &texts);
		for (int i = 0; i < n; i++)
			append_condition(&scratch, relid, relation_owner(relid), texts[i]);
	}
	if (!PG_ARGISNULL(5))
	{
		n = array_texts(PG_GETARG_DATUM(5), NAMEOID, &texts);
		for (int i = 0; i < n; i++)
			(void) column_type(relid, texts[i]);
	}

	/* the first rule of a table takes rows away; any other may give some */
	if (array_texts(PG_GETARG_DATUM(4), TEXTOID, &texts) > 0 ||
		count_rules(relid) > 0)
		(void) cpii_require_ticket("policy",
								   psprintf("row_rule/%s/%s/%s/visible %s/scope %s/columns %s",
											cpii_qualified_name(relid), role_name,
											NameStr(*PG_GETARG_NAME(2)),
											OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(3)),
											OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(4)),
											PG_ARGISNULL(5) ? "all" :
											OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(5))),
								   false);

	namestrcpy(&set_by, cpii_session_actor()->login_name);
	for (int i = 0; i < 6; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[6] = NameGetDatum(&set_by);
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.row_rule AS r"
						  " (tbl, grantee, rule, visible, scope, scope_columns, set_by)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7)"
						  " ON CONFLICT (tbl, grantee, rule) DO UPDATE SET"
						  " visible = excluded.visible, scope = excluded.scope,"
						  " scope_columns = excluded.scope_columns,"
						  " set_by = excluded.set_by, set_at = pg_catalog.now()",
						  7, types, values, nulls, false, 0);
	SPI_finish();
	CommandCounterIncrement();
	cpii_refresh_masked_views(relid);
	cpii_policy_changed();

	resetStringInfo(&scratch);
	appendStringInfoString(&scratch, "{\"table\": ");
	escape_json(&scratch, cpii_qualified_name(relid));
	appendStringInfoString(&scratch, ", \"grantee\": ");
	escape_json(&scratch, role_name);
	appendStringInfoString(&scratch, ", \"rule\": ");
	escape_json(&scratch, NameStr(*PG_GETARG_NAME(2)));
	appendStringInfoChar(&scratch, '}');
	cpii_audit_note(CPII_ACT_POLICY, "set_row_rule", "ok", scratch.data);
	PG_RETURN_VOID();
}

/* drop_row_rule(tbl, grantee, rule) */
Datum
cpii_drop_row_rule(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			types[3] = {REGCLASSOID, REGROLEOID, NAMEOID};
	Datum		values[3] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	uint64		gone;
	int			rules;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	rules = count_rules(relid);
	SPI_connect();
	cpii_internal_execute("DELETE FROM courier_pii.row_rule r"
						  " WHERE r.tbl = $1 AND r.grantee = $2 AND r.rule = $3",
						  3, types, values, NULL, false, 0);
	gone = SPI_processed;
	SPI_finish();
	if (gone == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("row rule \"%s\" does not exist",
						NameStr(*PG_GETARG_NAME(2)))));
	/* without its last rule a table shows all its rows */
	if (rules == 1)
		(void) cpii_require_ticket("policy",
								   psprintf("row_rule/%s/none", cpii_qualified_name(relid)),
								   false);
	CommandCounterIncrement();
	cpii_refresh_masked_views(relid);
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, cpii_qualified_name(relid));
	appendStringInfoString(&detail, ", \"rule\": ");
	escape_json(&detail, NameStr(*PG_GETARG_NAME(2)));
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, "drop_row_rule", "ok", detail.data);
	PG_RETURN_VOID();
}
