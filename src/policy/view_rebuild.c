/*-------------------------------------------------------------------------
 *
 * view_rebuild.c
 *	  Bringing masked views up to date with their tables.
 *
 * A view in PostgreSQL holds its table's columns fast.  Before a change that
 * this would forbid, the view is parked: it keeps its columns, rights and
 * identity but takes them from nothing.  Afterwards it is defined anew in
 * place, or, where columns went away or changed their type, dropped and made
 * again together with the views that build on it.  All of it is one
 * transaction with the change itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "policy/relation.h"

PG_FUNCTION_INFO_V1(cpii_refresh_masked_view);
CPII_EXPORT Datum cpii_refresh_masked_view(PG_FUNCTION_ARGS);

void
cpii_view_goes_with_table(Oid view, Oid tbl)
{
	ObjectAddress depender;
	ObjectAddress referenced;

	/* one entry is enough */
	(void) deleteDependencyRecordsForSpecific(RelationRelationId, view,
											  DEPENDENCY_AUTO,
											  RelationRelationId, tbl);
	ObjectAddressSet(depender, RelationRelationId, view);
	ObjectAddressSet(referenced, RelationRelationId, tbl);
	recordDependencyOn(&depender, &referenced, DEPENDENCY_AUTO);
}

List *
cpii_masked_views_of(List *relids)
{
	Oid			types[1] = {OIDARRAYOID};
	Datum		values[1];

	values[0] = cpii_oid_array(relids);
	return cpii_internal_oids("SELECT m.view::pg_catalog.oid FROM courier_pii.masked_view_register m"
							  " JOIN pg_catalog.pg_class v ON v.oid = m.view AND v.relkind = 'v'"
							  " WHERE m.tbl::pg_catalog.oid = ANY ($1) OR EXISTS"
							  "  (SELECT 1 FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.objid = w.oid"
							  "    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
							  "    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							  "    WHERE w.ev_class = m.view AND d.refobjid = ANY ($1))"
							  " ORDER BY 1",
							  1, types, values);
}

List *
cpii_masked_views_over(List *relids)
{
	List	   *views = cpii_masked_views_of(relids);
	ListCell   *lc;

	foreach(lc, views)
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
	return views;
}

static char *
qualified_collation(Oid collation)
{
	HeapTuple	tup = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char	   *result;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tup);
	result = quote_qualified_identifier(get_namespace_name(form->collnamespace),
										NameStr(form->collname));
	ReleaseSysCache(tup);
	return result;
}

void
cpii_park_masked_view(Oid view)
{
	Relation	rel = table_open(view, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *name = cpii_qualified_name(view);
	StringInfoData sql;
	List	   *defaults = NIL;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE OR REPLACE VIEW %s WITH (security_barrier) AS SELECT ", name);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		appendStringInfo(&sql, "%sNULL::%s", i > 0 ? ", " : "",
						 format_type_extended(att->atttypid, att->atttypmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		if (OidIsValid(att->attcollation) &&
			att->attcollation != get_typcollation(att->atttypid))
			appendStringInfo(&sql, " COLLATE %s", qualified_collation(att->attcollation));
		appendStringInfo(&sql, " AS %s", quote_identifier(NameStr(att->attname)));
		/* a default can hold a sequence of the column fast */
		if (att->atthasdef)
			defaults = lappend(defaults,
							   psprintf("ALTER VIEW %s ALTER COLUMN %s DROP DEFAULT",
										name, quote_identifier(NameStr(att->attname))));
	}
	table_close(rel, NoLock);
	cpii_run(sql.data);
	foreach(lc, defaults)
		cpii_run(lfirst(lc));
	CommandCounterIncrement();
}

/* ---- dropping and making again ---- */

/* what is kept of a view while it does not exist */
typedef struct KeptView
{
	Oid			oid;
	bool		ours;			/* a registered masked view */
	char	   *name;
	char	   *create;			/* of other views */
	List	   *after;			/* statements: owner, comments, triggers, ... */
	Acl		   *acl;			/* NULL: the default */
	List	   *column_names;	/* columns with rights of their own */
	List	   *column_acls;
} KeptView;

static List *
statements_of(const char *sql, Oid oid)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(oid)};
	List	   *result = NIL;

	cpii_internal_execute(sql, 1, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		result = lappend(result, cpii_result_text(i, 1));
	return result;
}

static void
keep_rights(KeptView *kept)
{
	HeapTuple	tup = SearchSysCache1(RELOID, ObjectIdGetDatum(kept->oid));
	Relation	rel;
	bool		isnull;
	Datum		acl;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for relation %u", kept->oid);
	acl = SysCacheGetAttr(RELOID, tup, Anum_pg_class_relacl, &isnull);
	kept->acl = isnull ? NULL : DatumGetAclPCopy(acl);
	ReleaseSysCache(tup);

	rel = table_open(kept->oid, NoLock);
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		tup = SearchSysCache2(ATTNUM, ObjectIdGetDatum(kept->oid),
							  Int16GetDatum(i + 1));
		if (!HeapTupleIsValid(tup))
			continue;
		acl = SysCacheGetAttr(ATTNUM, tup, Anum_pg_attribute_attacl, &isnull);
		if (!isnull)
		{
			kept->column_names = lappend(kept->column_names,
										 pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname)));
			kept->column_acls = lappend(kept->column_acls, DatumGetAclPCopy(acl));
		}
		ReleaseSysCache(tup);
	}
	table_close(rel, NoLock);
}

/* put rights back as they were, grantors and all */
static void
set_acl(Oid catalog, HeapTuple tup, AttrNumber column, Acl *acl, Oid relid,
		int32 subid, Oid owner)
{
	Relation	rel = table_open(catalog, RowExclusiveLock);
	int			natts = RelationGetNumberOfAttributes(rel);
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool	   *nulls = palloc0(sizeof(bool) * natts);
	bool	   *replace = palloc0(sizeof(bool) * natts);
	HeapTuple	changed;
	Oid		   *oldmembers = NULL;
	Oid		   *newmembers = NULL;
	int			nold = 0;
	int			nnew = 0;
	bool		isnull;
	Datum		before = heap_getattr(tup, column, RelationGetDescr(rel), &isnull);

	if (!isnull)
		nold = aclmembers(DatumGetAclPCopy(before), &oldmembers);
	if (acl != NULL)
		nnew = aclmembers(acl, &newmembers);
	replace[column - 1] = true;
	nulls[column - 1] = acl == NULL;
	values[column - 1] = PointerGetDatum(acl);
	changed = heap_modify_tuple(tup, RelationGetDescr(rel), values, nulls, replace);
	CatalogTupleUpdate(rel, &changed->t_self, changed);
	updateAclDependencies(RelationRelationId, relid, subid, owner,
						  nold, oldmembers, nnew, newmembers);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

static void
restore_rights(KeptView *kept, Oid oid)
{
	HeapTuple	tup = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(oid));
	Oid			owner;
	ListCell   *name;
	ListCell   *acl;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for relation %u", oid);
	owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;
	set_acl(RelationRelationId, tup, Anum_pg_class_relacl, kept->acl, oid, 0, owner);
	forboth(name, kept->column_names, acl, kept->column_acls)
	{
		tup = SearchSysCacheCopyAttName(oid, lfirst(name));
		if (!HeapTupleIsValid(tup))
			continue;			/* the column is gone, and rights on it */
		set_acl(AttributeRelationId, tup, Anum_pg_attribute_attacl, lfirst(acl),
				oid, ((Form_pg_attribute) GETSTRUCT(tup))->attnum, owner);
	}
}

static KeptView *
keep_view(Oid oid, bool ours, Oid base)
{
	KeptView   *kept = palloc0(sizeof(KeptView));

	kept->oid = oid;
	kept->ours = ours;
	kept->name = cpii_qualified_name(oid);
	keep_rights(kept);
	if (!ours)
	{
		kept->create = linitial(statements_of("SELECT pg_catalog.format('CREATE VIEW %s%s AS %s', c.oid::pg_catalog.regclass,"
											  "  ' WITH (' || pg_catalog.array_to_string(c.reloptions, ', ') || ')',"
											  "  pg_catalog.pg_get_viewdef(c.oid))"
											  " FROM pg_catalog.pg_class c WHERE c.oid = $1", oid));
		kept->after = statements_of("SELECT pg_catalog.format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', d.adrelid::pg_catalog.regclass,"
									"  a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid))"
									" FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a"
									"  ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = $1", oid);
	}
	kept->after = list_concat(kept->after,
							  statements_of("SELECT pg_catalog.format('ALTER VIEW %s OWNER TO %I', c.oid::pg_catalog.regclass, pg_catalog.pg_get_userbyid(c.relowner))"
											" FROM pg_catalog.pg_class c WHERE c.oid = $1"
											" UNION ALL SELECT pg_catalog.format('COMMENT ON VIEW %s IS %L', $1::pg_catalog.regclass, pg_catalog.obj_description($1, 'pg_class'))"
											"  WHERE pg_catalog.obj_description($1, 'pg_class') IS NOT NULL"
											" UNION ALL SELECT pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal"
											" UNION ALL SELECT pg_catalog.pg_get_ruledef(w.oid) FROM pg_catalog.pg_rewrite w WHERE w.ev_class = $1 AND w.rulename <> '_RETURN'",
											oid));
	/* comments on columns that still exist */
	kept->after = list_concat(kept->after,
							  statements_of(psprintf("SELECT pg_catalog.format('COMMENT ON COLUMN %%s.%%I IS %%L', a.attrelid::pg_catalog.regclass, a.attname,"
													 "  pg_catalog.col_description(a.attrelid, a.attnum))"
													 " FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0"
													 " AND pg_catalog.col_description(a.attrelid, a.attnum) IS NOT NULL"
													 " AND (%u = 0 OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b"
													 "  WHERE b.attrelid = %u AND b.attname = a.attname AND NOT b.attisdropped))",
													 base, base), oid));
	return kept;
}

/* the registered view's table and masks; false when it is none */
static bool
registered(Oid view, Oid *base, Jsonb **masks)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(view)};
	bool		isnull;

	cpii_internal_execute("SELECT m.tbl::pg_catalog.oid, m.masks FROM courier_pii.masked_view_register m WHERE m.view = $1",
						  1, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	*base = cpii_result_oid(0, 1);
	*masks = DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 2, &isnull));
	return true;
}

/* views that build on this one, itself first; 2BP01 for what cannot be made again */
static List *
dependent_views(Oid view)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(view)};
	List	   *result;
	ListCell   *lc;

	result = cpii_internal_oids("WITH RECURSIVE v(oid, depth) AS (SELECT $1, 0 UNION"
								" SELECT w.ev_class, v.depth + 1 FROM v"
								"  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
								"   AND d.refobjid = v.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
								"  JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid AND w.ev_class <> v.oid)"
								" SELECT c.oid, c.relkind FROM v JOIN pg_catalog.pg_class c ON c.oid = v.oid"
								" GROUP BY c.oid, c.relkind ORDER BY pg_catalog.max(v.depth), c.oid",
								1, types, values);
	foreach(lc, result)
	{
		Oid			oid = lfirst_oid(lc);

		if (get_rel_relkind(oid) != RELKIND_VIEW)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot change the columns of masked view \"%s\" because other objects depend on it",
							get_rel_name(view)),
					 errdetail("\"%s\" is made of it.", get_rel_name(oid)),
					 errhint("Drop it first, and make it again afterwards.")));
	}
	return result;
}

static void
define_in_place(Oid view, Relation base, Jsonb *masks)
{
	char	   *name = cpii_qualified_name(view);

	cpii_run(cpii_masked_view_definition(base, name, masks, true));
}

/* defaults and owner follow the table */
static void
follow_defaults_and_owner(Oid view, Relation base)
{
	Relation	rel = table_open(view, NoLock);
	char	   *name = cpii_qualified_name(view);
	bool		other_owner = rel->rd_rel->relowner != base->rd_rel->relowner;
	List	   *drops = NIL;
	ListCell   *lc;

	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (att->atthasdef)
			drops = lappend(drops, psprintf("ALTER VIEW %s ALTER COLUMN %s DROP DEFAULT",
											name, quote_identifier(NameStr(att->attname))));
	}
	table_close(rel, NoLock);
	foreach(lc, drops)
		cpii_run(lfirst(lc));
	cpii_copy_defaults(base, name);
	if (other_owner)
		cpii_run(psprintf("ALTER VIEW %s OWNER TO %s", name,
						  quote_identifier(GetUserNameFromId(base->rd_rel->relowner, false))));
}

/* register the new OID of a view that was made again */
static void
register_again(Oid before, Oid after, Oid base)
{
	Oid			types[2] = {REGCLASSOID, REGCLASSOID};
	Datum		values[2] = {ObjectIdGetDatum(before), ObjectIdGetDatum(after)};

	cpii_internal_execute("UPDATE courier_pii.masked_view_register SET view = $2 WHERE view = $1",
						  2, types, values, NULL, false, 0);
	cpii_view_goes_with_table(after, base);
}

/* a view that builds on a masked view, or 2BP01 when it needs what is gone */
static void
make_dependent(KeptView *kept)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		cpii_run(kept->create);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot change the columns of a masked view because view %s depends on them",
						kept->name),
				 errdetail("Making that view again failed: %s.", error->message),
				 errhint("Drop or change that view first.")));
	}
	PG_END_TRY();
}

static void
make_again(KeptView *kept)
{
	Oid			base;
	Oid			after;
	Jsonb	   *masks;
	ListCell   *lc;
	List	   *name = textToQualifiedNameList(cstring_to_text(kept->name));

	if (kept->ours)
	{
		Relation	rel;

		if (!registered(kept->oid, &base, &masks))
			elog(ERROR, "masked view is not registered");
		rel = table_open(base, AccessShareLock);
		cpii_run(cpii_masked_view_definition(rel, kept->name, masks, false));
		CommandCounterIncrement();
		after = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, false);
		cpii_copy_defaults(rel, kept->name);
		register_again(kept->oid, after, base);
		table_close(rel, NoLock);
	}
	else
	{
		make_dependent(kept);
		CommandCounterIncrement();
		after = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, false);
	}
	foreach(lc, kept->after)
		cpii_run(lfirst(lc));
	CommandCounterIncrement();
	restore_rights(kept, after);
	kept->oid = after;
}

static Oid
drop_and_make(Oid view)
{
	List	   *kept = NIL;
	StringInfoData drop;
	ListCell   *lc;

	initStringInfo(&drop);
	foreach(lc, dependent_views(view))
	{
		Oid			base = InvalidOid;
		Jsonb	   *masks;
		bool		ours = registered(lfirst_oid(lc), &base, &masks);
		KeptView   *one;

		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
		one = keep_view(lfirst_oid(lc), ours, base);
		kept = lappend(kept, one);
		appendStringInfo(&drop, "%s%s", drop.len ? ", " : "DROP VIEW ", one->name);
	}
	cpii_run(drop.data);
	foreach(lc, kept)
		make_again(lfirst(lc));
	return ((KeptView *) linitial(kept))->oid;
}

Oid
cpii_rebuild_masked_view(Oid view, Jsonb *masks)
{
	Oid			base;
	Jsonb	   *stored;
	Relation	rel;
	Relation	shown;
	bool		fits;

	SPI_connect();
	if (!registered(view, &base, &stored) ||
		get_rel_relkind(view) != RELKIND_VIEW || get_rel_name(base) == NULL)
	{
		SPI_finish();
		return InvalidOid;
	}
	rel = table_open(base, AccessShareLock);
	if (masks != NULL)
	{
		Oid			types[2] = {REGCLASSOID, JSONBOID};
		Datum		values[2] = {ObjectIdGetDatum(view), JsonbPGetDatum(masks)};

		cpii_check_masks(masks, rel);
		cpii_internal_execute("UPDATE courier_pii.masked_view_register SET masks = $2 WHERE view = $1",
							  2, types, values, NULL, false, 0);
		stored = masks;
	}
	shown = table_open(view, NoLock);
	fits = cpii_masked_view_fits(rel, shown, stored);
	table_close(shown, NoLock);
	if (fits)
	{
		define_in_place(view, rel, stored);
		CommandCounterIncrement();
		follow_defaults_and_owner(view, rel);
	}
	else
		view = drop_and_make(view);
	cpii_view_goes_with_table(view, base);
	table_close(rel, NoLock);
	SPI_finish();
	CommandCounterIncrement();
	return view;
}

void
cpii_refresh_masked_views(Oid relid)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *views;
	ListCell   *lc;

	views = cpii_internal_oids("SELECT m.view::pg_catalog.oid FROM courier_pii.masked_view_register m"
							   " JOIN pg_catalog.pg_class c ON c.oid = m.view"
							   " WHERE m.tbl = $1 ORDER BY 1",
							   1, types, values);
	foreach(lc, views)
	{
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
		(void) cpii_rebuild_masked_view(lfirst_oid(lc), NULL);
	}
}

/* refresh_masked_view(view, masks) */
Datum
cpii_refresh_masked_view(PG_FUNCTION_ARGS)
{
	Oid			view;
	Oid			base;
	Jsonb	   *masks;
	char	   *name;
	StringInfoData detail;

	cpii_require_preload();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	view = PG_GETARG_OID(0);
	masks = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	base = get_rel_relkind(view) == RELKIND_VIEW ? cpii_masked_view_base(view) : InvalidOid;
	if (!OidIsValid(base))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a masked view",
						get_rel_name(view) ? get_rel_name(view) : "?"),
				 errhint("Masked views are listed in courier_pii.masked_views.")));
	cpii_require_table_duty(base);
	LockRelationOid(view, AccessExclusiveLock);
	name = cpii_qualified_name(view);
	/* times and regions may be shown finer than before */
	if (masks != NULL)
		(void) cpii_require_ticket("policy",
								   psprintf("masks/%s/%s", name,
											JsonbToCString(NULL, &masks->root, 256)), false);
	view = cpii_rebuild_masked_view(view, masks);
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"view\": ");
	escape_json(&detail, name);
	appendStringInfo(&detail, ", \"new_masks\": %s}", masks ? "true" : "false");
	cpii_audit_note(CPII_ACT_POLICY, "refresh_masked_view", "ok", detail.data);
	PG_RETURN_OID(view);
}
