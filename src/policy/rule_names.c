/*-------------------------------------------------------------------------
 *
 * rule_names.c
 *	  Names that row rules, masks and disclosures hold, when tables change.
 *
 * Conditions are stored as the text that somebody wrote, so that they can be
 * read and dumped.  When a table or column gets another name, the text gets it
 * too; a column that a rule tests cannot be dropped, for a rule must not
 * become wider or vanish by the way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "access/xact.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "policy/condition.h"
#include "policy/policy.h"

/* where one condition stands */
typedef struct CpiiRuleCondition
{
	int64		rule;			/* row_rule.id */
	char	   *name;			/* of the rule */
	Oid			tbl;			/* ruled table */
	const char *list;			/* "visible" or "scope" */
	int			position;		/* from 1 */
	CpiiCondition c;
	Oid			table;			/* of an "in" condition, as it is found now */
} CpiiRuleCondition;

struct CpiiRuleTables
{
	List	   *conditions;
};

/* all conditions of all rules that can be read; in the caller's memory */
static List *
all_conditions(void)
{
	List	   *result = NIL;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	cpii_internal_execute("SELECT r.id, r.tbl::pg_catalog.oid, 'visible', v.n, v.t, r.rule FROM courier_pii.row_rule r,"
						  "  LATERAL pg_catalog.unnest(r.visible) WITH ORDINALITY v(t, n)"
						  " UNION ALL SELECT r.id, r.tbl::pg_catalog.oid, 'scope', v.n, v.t, r.rule FROM courier_pii.row_rule r,"
						  "  LATERAL pg_catalog.unnest(r.scope) WITH ORDINALITY v(t, n)",
						  0, NULL, NULL, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		MemoryContext old = MemoryContextSwitchTo(caller);
		CpiiRuleCondition *one = palloc0(sizeof(CpiiRuleCondition));
		const char *problem;

		one->rule = DatumGetInt64(SPI_getbinval(tup, desc, 1, &isnull));
		one->tbl = DatumGetObjectId(SPI_getbinval(tup, desc, 2, &isnull));
		one->list = strcmp(SPI_getvalue(tup, desc, 3), "scope") == 0 ? "scope" : "visible";
		one->position = (int) DatumGetInt64(SPI_getbinval(tup, desc, 4, &isnull));
		one->name = SPI_getvalue(tup, desc, 6);
		if (cpii_condition_parse(SPI_getvalue(tup, desc, 5), &one->c, &problem))
		{
			if (one->c.is_in)
				one->table = cpii_condition_table(&one->c, one->tbl, true);
			result = lappend(result, one);
		}
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return result;
}

static void
store(CpiiRuleCondition *one)
{
	char	   *text = palloc(CPII_CONDITION_TEXT_LEN);
	Oid			types[3] = {INT8OID, INT4OID, TEXTOID};
	Datum		values[3];

	cpii_condition_print(&one->c, text);
	values[0] = Int64GetDatum(one->rule);
	values[1] = Int32GetDatum(one->position);
	values[2] = CStringGetTextDatum(text);
	SPI_connect();
	cpii_internal_execute(psprintf("UPDATE courier_pii.row_rule SET %s[$2] = $3 WHERE id = $1", one->list),
						  3, types, values, NULL, false, 0);
	SPI_finish();
}

CpiiRuleTables *
cpii_rule_tables(void)
{
	CpiiRuleTables *tables = palloc(sizeof(CpiiRuleTables));

	tables->conditions = all_conditions();
	return tables;
}

void
cpii_follow_table_names(CpiiRuleTables *before)
{
	ListCell   *lc;

	CommandCounterIncrement();
	foreach(lc, before->conditions)
	{
		CpiiRuleCondition *one = lfirst(lc);

		if (!one->c.is_in || !OidIsValid(one->table) ||
			get_rel_name(one->table) == NULL ||
			cpii_condition_table(&one->c, one->tbl, true) == one->table)
			continue;
		strlcpy(one->c.schema, get_namespace_name(get_rel_namespace(one->table)),
				sizeof(one->c.schema));
		strlcpy(one->c.table, get_rel_name(one->table), sizeof(one->c.table));
		store(one);
	}
}

/* does the condition name this column of one of the relations?  With to, rename it. */
static bool
names_column(CpiiRuleCondition *one, List *relids, const char *column, const char *to)
{
	bool		found = false;
	bool		of_ruled = list_member_oid(relids, one->tbl);
	bool		of_table = one->c.is_in && list_member_oid(relids, one->table);

	if (of_ruled && one->c.is_in && strcmp(one->c.column, column) == 0)
	{
		found = true;
		if (to)
			strlcpy(one->c.column, to, sizeof(one->c.column));
	}
	if (of_table && strcmp(one->c.table_column, column) == 0)
	{
		found = true;
		if (to)
			strlcpy(one->c.table_column, to, sizeof(one->c.table_column));
	}
	if (one->c.is_in ? of_table : of_ruled)
		for (int i = 0; i < (one->c.is_in ? one->c.ntests : 1); i++)
		{
			if (strcmp(one->c.tests[i].column, column) != 0)
				continue;
			found = true;
			if (to)
				strlcpy(one->c.tests[i].column, to, sizeof(one->c.tests[i].column));
		}
	return found;
}

void
cpii_follow_column_name(List *relids, const char *from, const char *to)
{
	Oid			types[3] = {OIDARRAYOID, TEXTOID, TEXTOID};
	Datum		values[3] = {cpii_oid_array(relids), CStringGetTextDatum(from), CStringGetTextDatum(to)};
	ListCell   *lc;

	SPI_connect();
	cpii_internal_execute("UPDATE courier_pii.masked_view_register m"
						  " SET masks = (m.masks - $2) || pg_catalog.jsonb_build_object($3, m.masks -> $2)"
						  " WHERE m.tbl::pg_catalog.oid = ANY ($1) AND m.masks ? $2",
						  3, types, values, NULL, false, 0);
	cpii_internal_execute("UPDATE courier_pii.row_rule r"
						  " SET scope_columns = pg_catalog.array_replace(r.scope_columns, $2::pg_catalog.name, $3::pg_catalog.name)"
						  " WHERE r.tbl::pg_catalog.oid = ANY ($1) AND $2::pg_catalog.name = ANY (r.scope_columns)",
						  3, types, values, NULL, false, 0);
	cpii_internal_execute("UPDATE courier_pii.disclosure d SET col = $3::pg_catalog.name"
						  " WHERE d.tbl::pg_catalog.oid = ANY ($1) AND d.col = $2::pg_catalog.name",
						  3, types, values, NULL, false, 0);
	SPI_finish();
	foreach(lc, all_conditions())
		if (names_column(lfirst(lc), relids, from, to))
			store(lfirst(lc));
}

void
cpii_refuse_ruled_column(List *relids, const char *column)
{
	ListCell   *lc;

	foreach(lc, all_conditions())
	{
		CpiiRuleCondition *one = lfirst(lc);

		if (names_column(one, relids, column, NULL))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop column \"%s\" because row rules depend on it", column),
					 errdetail("Row rule \"%s\" of table \"%s\" tests it.",
							   one->name, get_rel_name(one->tbl)),
					 errhint("Change the rule with courier_pii.set_row_rule or drop it with courier_pii.drop_row_rule first.")));
	}
}

void
cpii_forget_lost_columns(List *relids)
{
	Oid			types[1] = {OIDARRAYOID};
	Datum		values[1] = {cpii_oid_array(relids)};

	SPI_connect();
	cpii_internal_execute("UPDATE courier_pii.masked_view_register m SET masks ="
						  "  (SELECT COALESCE(pg_catalog.jsonb_object_agg(e.key, e.value), '{}'::pg_catalog.jsonb)"
						  "    FROM pg_catalog.jsonb_each(m.masks) e WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a"
						  "     WHERE a.attrelid = m.tbl AND a.attname = e.key AND NOT a.attisdropped))"
						  " WHERE m.tbl::pg_catalog.oid = ANY ($1) AND m.masks <> '{}'",
						  1, types, values, NULL, false, 0);
	/* an empty list stays one: no list would mean all columns */
	cpii_internal_execute("UPDATE courier_pii.row_rule r SET scope_columns = ARRAY"
						  "  (SELECT s.c FROM pg_catalog.unnest(r.scope_columns) s(c) WHERE EXISTS"
						  "   (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.tbl AND a.attname = s.c AND NOT a.attisdropped))"
						  " WHERE r.tbl::pg_catalog.oid = ANY ($1) AND r.scope_columns IS NOT NULL",
						  1, types, values, NULL, false, 0);
	cpii_internal_execute("DELETE FROM courier_pii.disclosure d WHERE d.tbl::pg_catalog.oid = ANY ($1) AND NOT EXISTS"
						  "  (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = d.tbl AND a.attname = d.col AND NOT a.attisdropped)",
						  1, types, values, NULL, false, 0);
	SPI_finish();
}
