/*-------------------------------------------------------------------------
 *
 * masked_write.c
 *	  Writing through a masked view: its INSTEAD OF trigger.
 *
 * Inside a write the door shows masks only, so OLD holds masks.  A column is
 * written when NEW differs from OLD; a mask that comes back unchanged leaves
 * the stored value alone, and any other text that looks masked is refused by
 * the sealed type (PI007).  Rows are found by the primary key or another
 * unique key of native columns that the view does not cut.  The base table is changed with the rights of
 * the view's owner, as for any view.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_operator.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "policy/policy.h"
#include "policy/relation.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_masked_view_write);
CPII_EXPORT Datum cpii_masked_view_write(PG_FUNCTION_ARGS);

#define MAX_STATEMENT_LEN 8192

/* saved plans by statement text; SPI keeps them valid */
typedef struct SavedPlan
{
	char		sql[MAX_STATEMENT_LEN];
	SPIPlanPtr	plan;
} SavedPlan;

static HTAB *saved_plans = NULL;

/* a statement under construction */
typedef struct Statement
{
	StringInfoData sql;
	int			nargs;
	Oid			types[2 * MaxHeapAttributeNumber];
	Datum		values[2 * MaxHeapAttributeNumber];
	char		nulls[2 * MaxHeapAttributeNumber];
} Statement;

static SPIPlanPtr
plan_for(Statement *s)
{
	SavedPlan  *entry;
	bool		found;
	char		key[MAX_STATEMENT_LEN];
	SPIPlanPtr	plan;

	if (s->sql.len >= MAX_STATEMENT_LEN)
		return SPI_prepare(s->sql.data, s->nargs, s->types);
	if (saved_plans == NULL)
	{
		HASHCTL		ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = MAX_STATEMENT_LEN;
		ctl.entrysize = sizeof(SavedPlan);
		ctl.hcxt = TopMemoryContext;
		saved_plans = hash_create("courier_pii view writes", 16, &ctl,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	strlcpy(key, s->sql.data, sizeof(key));
	entry = hash_search(saved_plans, key, HASH_FIND, &found);
	if (found)
		return entry->plan;
	plan = SPI_prepare(s->sql.data, s->nargs, s->types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a view write: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	entry = hash_search(saved_plans, key, HASH_ENTER, &found);
	entry->plan = plan;
	return plan;
}

static int
add_arg(Statement *s, Oid type, Datum value, bool isnull)
{
	s->types[s->nargs] = type;
	s->values[s->nargs] = value;
	s->nulls[s->nargs] = isnull ? 'n' : ' ';
	return ++s->nargs;
}

/* run with the rights of the view's owner */
static uint64
execute(Statement *s, Oid owner)
{
	SPIPlanPtr	plan;
	Oid			userid;
	int			sec_context;
	int			rc;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	plan = plan_for(s);
	rc = SPI_execute_plan(plan, s->values, s->nulls, false, 0);
	SetUserIdAndSecContext(userid, sec_context);
	if (rc < 0)
		elog(ERROR, "view write returned %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * A sealed value is no text that the view ever showed.  Whoever got one
 * elsewhere could put it into a row that shows it: only those who may write the
 * table itself may hand it in here.
 */
static void
refuse_sealed(Relation base, Form_pg_attribute att, Datum value, bool isnull, AclMode mode)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(base), NameStr(att->attname));
	Form_pg_attribute batt;
	Oid			output;
	bool		varlena;
	char	   *text;

	if (isnull || attnum <= 0)
		return;
	batt = TupleDescAttr(RelationGetDescr(base), attnum - 1);
	if (cpii_class_of_type(batt->atttypid, batt->atttypmod) == 0)
		return;
	getTypeOutputInfo(att->atttypid, &output, &varlena);
	text = OidOutputFunctionCall(output, value);
	if (strncmp(text, "pii:1", 5) == 0 &&
		pg_class_aclcheck(RelationGetRelid(base), GetUserId(), mode) != ACLCHECK_OK &&
		pg_attribute_aclcheck(RelationGetRelid(base), attnum, GetUserId(), mode) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("sealed value cannot be written through a masked view"),
				 errdetail("It could be another row's value for column \"%s\".", NameStr(att->attname)),
				 errhint("Write the real value, or restore into the table itself.")));
	pfree(text);
}

/* does the view show this column as it is, neither protected nor cut? */
static bool
shown_as_it_is(Relation view, const char *column)
{
	ListCell   *lc;

	foreach(lc, get_view_query(view)->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk && entry->resname != NULL &&
			strcmp(entry->resname, column) == 0)
			return IsA(entry->expr, Var);
	}
	return false;
}

int
cpii_row_identity(Relation view, Relation rel, AttrNumber *attnums, Oid *operators)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	int			best = 0;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool		usable = form->indisunique && form->indisvalid &&
			form->indimmediate &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

		for (int i = 0; usable && i < form->indnkeyatts; i++)
		{
			AttrNumber	attnum = form->indkey.values[i];
			Form_pg_attribute att;

			if (attnum <= 0)
			{
				usable = false;
				break;
			}
			att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
			usable = att->attnotnull &&
				cpii_class_of_type(att->atttypid, att->atttypmod) == 0 &&
				shown_as_it_is(view, NameStr(att->attname));
		}
		if (usable && (best == 0 || form->indisprimary))
		{
			best = form->indnkeyatts;
			for (int i = 0; i < best; i++)
			{
				attnums[i] = form->indkey.values[i];
				operators[i] = get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
												   index->rd_opcintype[i], BTEqualStrategyNumber);
			}
			if (form->indisprimary)
			{
				index_close(index, AccessShareLock);
				break;
			}
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return best;
}

/*
 * "column = $n" by the index's operator, whatever the writer's search_path
 * finds: it is called with the rights of the view's owner.  Domains are
 * compared as what is below them, lest an operator of their own be found.
 */
static void
append_equal(StringInfo sql, Form_pg_attribute att, Oid operator, int n)
{
	Oid			base = getBaseType(att->atttypid);
	HeapTuple	tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	const char *as = "";

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "key column has no equality operator");
	form = (Form_pg_operator) GETSTRUCT(tup);
	if (base != att->atttypid)
		as = psprintf("::%s",
					  format_type_extended(base, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
										   FORMAT_TYPE_FORCE_QUALIFY));
	appendStringInfo(sql, "%s%s OPERATOR(%s.%s) $%d%s",
					 quote_identifier(NameStr(att->attname)), as,
					 quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname), n, as);
	ReleaseSysCache(tup);
}

/* " WHERE key = $n AND ..." from the old row */
static void
append_identity(Statement *s, Relation view, Relation base, HeapTuple old)
{
	TupleDesc	viewdesc = RelationGetDescr(view);
	AttrNumber	attnums[INDEX_MAX_KEYS];
	Oid			operators[INDEX_MAX_KEYS];
	int			n = cpii_row_identity(view, base, attnums, operators);

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot find the row to change behind masked view of \"%s\"",
						RelationGetRelationName(base)),
				 errdetail("The table has no primary key or other unique key of not null columns that the view shows as they are."),
				 errhint("Add a primary key to the table.")));
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(base), attnums[i] - 1);
		int			viewatt = SPI_fnumber(viewdesc, NameStr(att->attname));
		bool		isnull;
		Datum		value;

		if (viewatt <= 0)
			elog(ERROR, "key column is missing in the masked view");
		value = heap_getattr(old, viewatt, viewdesc, &isnull);
		appendStringInfoString(&s->sql, i == 0 ? " WHERE " : " AND ");
		append_equal(&s->sql, att, operators[i], add_arg(s, att->atttypid, value, isnull));
	}
}

static bool
same(Form_pg_attribute att, Datum a, bool anull, Datum b, bool bnull)
{
	if (anull || bnull)
		return anull && bnull;
	return datum_image_eq(a, b, att->attbyval, att->attlen);
}

/*
 * Columns that the view shows as they are stored, marked by their position:
 * these alone can be handed back from the table or compared with it.
 */
static bool *
plain_columns(Relation view, Oid base)
{
	Query	   *query = get_view_query(view);
	bool	   *plain = palloc0(sizeof(bool) * RelationGetDescr(view)->natts);
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk && IsA(tle->expr, Var) &&
			tle->resno <= RelationGetDescr(view)->natts &&
			rt_fetch(((Var *) tle->expr)->varno, query->rtable)->relid == base)
			plain[tle->resno - 1] = true;
	}
	return plain;
}

/*
 * " RETURNING ..." for all plain columns; their attribute numbers go to cols.
 * The table's triggers, defaults and generated columns may have changed them.
 */
static int
append_returning(Statement *s, TupleDesc viewdesc, const bool *plain, int *cols)
{
	int			n = 0;

	for (int i = 0; i < viewdesc->natts; i++)
	{
		if (!plain[i])
			continue;
		appendStringInfo(&s->sql, "%s%s", n ? ", " : " RETURNING ",
						 quote_identifier(NameStr(TupleDescAttr(viewdesc, i)->attname)));
		cols[n++] = i + 1;
	}
	return n;
}

/* the new row with what the table returned */
static HeapTuple
with_returned(HeapTuple new, TupleDesc viewdesc, int n, int *cols)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));

	if (n == 0)
		return new;
	for (int i = 0; i < n; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								  i + 1, &nulls[i]);
	return heap_modify_tuple_by_cols(new, viewdesc, n, cols, values, nulls);
}

static HeapTuple
write_insert(Relation view, Relation base, HeapTuple new)
{
	TupleDesc	viewdesc = RelationGetDescr(view);
	TupleDesc	basedesc = RelationGetDescr(base);
	Statement  *s = palloc0(sizeof(Statement));
	StringInfoData params;
	int		   *cols = palloc(sizeof(int) * viewdesc->natts);
	int			ncols;

	initStringInfo(&s->sql);
	initStringInfo(&params);
	appendStringInfo(&s->sql, "INSERT INTO %s (", cpii_qualified_name(RelationGetRelid(base)));
	for (int i = 0; i < viewdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(viewdesc, i);
		AttrNumber	baseatt = get_attnum(RelationGetRelid(base), NameStr(att->attname));
		Form_pg_attribute batt;
		Datum		value;
		bool		isnull;
		bool		sealed;

		if (baseatt <= 0)
			continue;
		batt = TupleDescAttr(basedesc, baseatt - 1);
		sealed = cpii_class_of_type(batt->atttypid, batt->atttypmod) != 0;
		value = heap_getattr(new, i + 1, viewdesc, &isnull);
		if (batt->attgenerated ||
			(isnull && (batt->attidentity ||
						(batt->atthasdef && (batt->attnotnull || sealed)))))
			continue;			/* the table fills it in */
		refuse_sealed(base, att, value, isnull, ACL_INSERT);
		appendStringInfo(&s->sql, "%s%s", s->nargs ? ", " : "",
						 quote_identifier(NameStr(att->attname)));
		appendStringInfo(&params, "%s$%d", s->nargs ? ", " : "", s->nargs + 1);
		(void) add_arg(s, att->atttypid, value, isnull);
	}
	if (s->nargs == 0)
	{
		/* nothing but defaults */
		resetStringInfo(&s->sql);
		appendStringInfo(&s->sql, "INSERT INTO %s DEFAULT VALUES",
						 cpii_qualified_name(RelationGetRelid(base)));
	}
	else
		appendStringInfo(&s->sql, ") VALUES (%s)", params.data);
	ncols = append_returning(s, viewdesc,
							 plain_columns(view, RelationGetRelid(base)), cols);
	if (execute(s, view->rd_rel->relowner) == 0)
		return NULL;			/* a trigger of the table suppressed the row */
	return with_returned(new, viewdesc, ncols, cols);
}

/*
 * No row was changed.  Was it because another session had changed a column
 * meanwhile that this UPDATE changes too?  On a table, the statement would
 * have been worked out anew; what we hold was computed from an old row.
 */
static void
report_concurrent_change(Relation view, Relation base, HeapTuple old)
{
	Statement  *s = palloc0(sizeof(Statement));
	TransactionId xmin;
	bool		isnull;

	initStringInfo(&s->sql);
	appendStringInfo(&s->sql, "SELECT t.xmin FROM %s AS t", cpii_qualified_name(RelationGetRelid(base)));
	append_identity(s, view, base, old);
	if (execute(s, view->rd_rel->relowner) == 0)
		return;
	xmin = DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[0],
											   SPI_tuptable->tupdesc, 1, &isnull));
	/* met twice by one statement: the first change stands, as on a table */
	if (isnull || !TransactionIdIsCurrentTransactionId(xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("A row behind masked view \"%s\" was changed by another session.",
						   RelationGetRelationName(view)),
				 errhint("Run the statement again.")));
}

static HeapTuple
write_update(Relation view, Relation base, HeapTuple old, HeapTuple new)
{
	TupleDesc	viewdesc = RelationGetDescr(view);
	bool	   *plain = plain_columns(view, RelationGetRelid(base));
	int		   *cols = palloc(sizeof(int) * viewdesc->natts);
	int			ncols;
	Statement  *s = palloc0(sizeof(Statement));
	StringInfoData unchanged;

	initStringInfo(&s->sql);
	initStringInfo(&unchanged);
	appendStringInfo(&s->sql, "UPDATE %s AS t SET ", cpii_qualified_name(RelationGetRelid(base)));
	for (int i = 0; i < viewdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(viewdesc, i);
		const char *name = quote_identifier(NameStr(att->attname));
		bool		onull;
		bool		nnull;
		Datum		o = heap_getattr(old, i + 1, viewdesc, &onull);
		Datum		n = heap_getattr(new, i + 1, viewdesc, &nnull);

		if (same(att, o, onull, n, nnull) ||
			get_attnum(RelationGetRelid(base), NameStr(att->attname)) <= 0)
			continue;
		refuse_sealed(base, att, n, nnull, ACL_UPDATE);
		appendStringInfo(&s->sql, "%s%s = $%d", s->nargs ? ", " : "", name,
						 s->nargs + 1);
		(void) add_arg(s, att->atttypid, n, nnull);
		if (plain[i])
			appendStringInfo(&unchanged,
							 " AND pg_catalog.record_image_eq(ROW(t.%s), ROW($%d))",
							 name, add_arg(s, att->atttypid, o, onull));
	}
	if (s->nargs == 0)
		return new;				/* everything came back as it was shown */
	append_identity(s, view, base, old);
	appendStringInfoString(&s->sql, unchanged.data);
	ncols = append_returning(s, viewdesc, plain, cols);
	if (execute(s, view->rd_rel->relowner) == 0)
	{
		if (unchanged.len > 0)
			report_concurrent_change(view, base, old);
		return NULL;
	}
	return with_returned(new, viewdesc, ncols, cols);
}

static HeapTuple
write_delete(Relation view, Relation base, HeapTuple old)
{
	Statement  *s = palloc0(sizeof(Statement));

	initStringInfo(&s->sql);
	appendStringInfo(&s->sql, "DELETE FROM %s", cpii_qualified_name(RelationGetRelid(base)));
	append_identity(s, view, base, old);
	return execute(s, view->rd_rel->relowner) > 0 ? old : NULL;
}

/* masked_view_write(): trigger */
Datum
cpii_masked_view_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	view;
	Relation	base;
	Oid			base_oid;
	HeapTuple	result;
	MemoryContext caller = CurrentMemoryContext;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired INSTEAD OF, for each row of a masked view",
						"masked_view_write")));
	cpii_require_preload();
	view = trigger->tg_relation;
	base_oid = cpii_masked_view_base(RelationGetRelid(view));
	if (!OidIsValid(base_oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not a registered masked view",
						RelationGetRelationName(view))));

	SPI_connect();
	base = table_open(base_oid, RowExclusiveLock);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		result = write_insert(view, base, trigger->tg_trigtuple);
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		result = write_update(view, base, trigger->tg_trigtuple, trigger->tg_newtuple);
	else
		result = write_delete(view, base, trigger->tg_trigtuple);
	if (result != NULL && result != trigger->tg_trigtuple &&
		result != trigger->tg_newtuple)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		result = heap_copytuple(result);
		MemoryContextSwitchTo(old);
	}
	table_close(base, NoLock);
	SPI_finish();
	return PointerGetDatum(result);
}
