/*-------------------------------------------------------------------------
 *
 * protect_swap.c
 *	  The sealed column that stands beside a column until it takes its place.
 *
 * Everything is found by name, so that an interrupted job finds what it made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "policy/protect_group.h"
#include "policy/protect_swap.h"
#include "policy/view_follow.h"
#include "sealed/seal.h"

void
cpii_swap_run(const char *sql)
{
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
}

char *
cpii_swap_name(CpiiJob *job)
{
	return psprintf(CPII_SWAP_COLUMN "%d", job->attnum);
}

static char *
trigger_name(CpiiJob *job)
{
	/* triggers fire by name: after those that change the value */
	return psprintf("zz_courier_pii_sync_%d", job->attnum);
}

static char *
constraint_name(CpiiJob *job)
{
	return psprintf("courier_pii_complete_%d", job->attnum);
}

const char *
cpii_swap_column(CpiiJob *job)
{
	return quote_identifier(cpii_swap_name(job));
}

/* rows of a query over the tree ($1) and the column's name ($2) */
uint64
cpii_swap_query(CpiiJob *job, const char *sql)
{
	Oid			types[2] = {OIDOID, NAMEOID};
	Datum		values[2] = {ObjectIdGetDatum(job->relid), NameGetDatum(&job->col)};

	cpii_internal_execute(sql, 2, types, values, NULL, false, 0);
	return SPI_processed;
}

bool
cpii_swap_bool(uint64 row, int column)
{
	char	   *value = cpii_result_text(row, column);

	return value != NULL && value[0] == 't';
}

List *
cpii_swap_statements(CpiiJob *job, const char *sql)
{
	uint64		n = cpii_swap_query(job, sql);
	List	   *statements = NIL;

	for (uint64 i = 0; i < n; i++)
		statements = lappend(statements, cpii_result_text(i, 1));
	return statements;
}

void
cpii_swap_run_all(List *statements)
{
	ListCell   *lc;

	foreach(lc, statements)
		cpii_swap_run(lfirst(lc));
}

/* ---- begin ---- */

static void
prepare(CpiiJob *job)
{
	cpii_swap_run(psprintf("ALTER TABLE %s ADD COLUMN %s courier_pii.%s",
						   cpii_qualified_name(job->relid), cpii_swap_column(job),
						   cpii_class_name(job->class_id)));
	/* partitions inherit triggers, other children do not */
	cpii_swap_run_all(cpii_swap_statements(job, psprintf(CPII_SWAP_TREE "SELECT pg_catalog.format('CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %%I.%%I"
						   " FOR EACH ROW EXECUTE FUNCTION courier_pii.protect_sync(%%L, %%L, %%L)', n.nspname, c.relname, $2, %s, '%d')"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " WHERE NOT c.relispartition ORDER BY t.depth, t.oid",
						   trigger_name(job), quote_literal_cstr(cpii_swap_name(job)), job->class_id)));
	/* also where a replica or a restore writes */
	cpii_swap_run_all(cpii_swap_statements(job, psprintf(CPII_SWAP_TREE "SELECT pg_catalog.format('ALTER TABLE ONLY %%I.%%I ENABLE ALWAYS TRIGGER %s', n.nspname, c.relname)"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " WHERE $2 IS NOT NULL ORDER BY t.depth, t.oid",
						   trigger_name(job))));
}

void
cpii_swap_prepare(CpiiJob *job)
{
	/* the sealed column is in no view */
	cpii_views_held = true;
	PG_TRY();
	{
		prepare(job);
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
}

/*
 * The constraint that proves that nothing is missing.  It is made after the
 * rows are copied: while there is one, each statement that writes to the table
 * prepares it anew, which takes as long as the trigger itself.
 */
static void
add_constraint(CpiiJob *job)
{
	const char *sealed = cpii_swap_column(job);
	Relation	rel;
	bool		notnull;

	if (cpii_swap_query(job, psprintf("SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 AND k.conname = '%s' AND $2 IS NOT NULL",
									  constraint_name(job))) > 0)
		return;
	cpii_job_lock_table(job->relid, AccessExclusiveLock);
	rel = table_open(job->relid, NoLock);
	notnull = CPII_HOLDS_NO_NULL(RelationGetDescr(rel),
								 get_attnum(job->relid, NameStr(job->col)) - 1);
	table_close(rel, NoLock);
	cpii_views_held = true;
	PG_TRY();
	{
		cpii_swap_run(notnull ?
					  psprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID",
							   cpii_qualified_name(job->relid), constraint_name(job), sealed) :
					  psprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK ((%s IS NULL) = (%s IS NULL)) NOT VALID",
							   cpii_qualified_name(job->relid), constraint_name(job), sealed,
							   quote_identifier(NameStr(job->col))));
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
	cpii_job_commit(job);
}

void
cpii_swap_validate(CpiiJob *job)
{
	add_constraint(job);
	cpii_swap_run(psprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s",
						   cpii_qualified_name(job->relid), constraint_name(job)));
}

/* ---- the swap ---- */

/* statements that give the column what the other one has beside its values */
static List *
column_extras(CpiiJob *job)
{
	return cpii_swap_statements(job, CPII_SWAP_TREE
			  "SELECT pg_catalog.format('COMMENT ON COLUMN %I.%I.%I IS %L', n.nspname, c.relname, $2, d.description)"
			  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2"
			  " JOIN pg_catalog.pg_description d ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = c.oid AND d.objsubid = a.attnum"
			  " UNION ALL"
			  " SELECT pg_catalog.format('GRANT %s (%I) ON %I.%I TO %s%s', x.privilege_type, $2, n.nspname, c.relname,"
			  "   CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END,"
			  "   CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
			  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2"
			  " CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x"
			  " UNION ALL"
			  " SELECT pg_catalog.format('ALTER TABLE ONLY %I.%I ALTER COLUMN %I SET STATISTICS %s', n.nspname, c.relname, $2, a.attstattarget)"
			  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2"
			  " WHERE a.attstattarget >= 0"
			  " UNION ALL"
			  " SELECT pg_catalog.format('COMMENT ON CONSTRAINT %I ON %I.%I IS %L', k.conname, n.nspname, c.relname, d.description)"
			  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2"
			  " JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND k.coninhcount = 0"
			  " JOIN pg_catalog.pg_description d ON d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objoid = k.oid");
}

/*
 * Statements that make the column NOT NULL as it was, parents first.  Since 18
 * that is a constraint, with a name and its own ways; before, it is a mark, which
 * children have from their parent.
 */
static List *
not_null_again(CpiiJob *job)
{
	return cpii_swap_statements(job, CPII_SWAP_TREE
			  "SELECT CASE WHEN k.oid IS NULL THEN pg_catalog.format('ALTER TABLE %I.%I ALTER COLUMN %I SET NOT NULL', n.nspname, c.relname, $2)"
			  " ELSE pg_catalog.format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid)) END"
			  " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2"
			  " LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]"
			  " WHERE a.attnotnull AND COALESCE(k.coninhcount = 0, NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h"
			  "  JOIN pg_catalog.pg_attribute p ON p.attrelid = h.inhparent AND p.attname = $2 WHERE h.inhrelid = c.oid AND p.attnotnull))"
			  " ORDER BY t.depth, c.oid");
}

/* where the column stood, for views that are made later */
static void
remember_place(CpiiJob *job)
{
	cpii_swap_query(job, "DELETE FROM courier_pii.column_place p WHERE p.tbl = $1 AND p.col = $2");
	cpii_swap_query(job, "INSERT INTO courier_pii.column_place (tbl, col, before_col)"
					" SELECT a.attrelid, a.attname, (SELECT b.attname FROM pg_catalog.pg_attribute b"
					"  WHERE b.attrelid = a.attrelid AND b.attnum > a.attnum AND NOT b.attisdropped"
					"  AND b.attname !~ '^courier_pii_sealed_[0-9]+$' ORDER BY b.attnum LIMIT 1)"
					" FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2");
}

static void
drop_triggers(CpiiJob *job)
{
	cpii_swap_run_all(cpii_swap_statements(job, psprintf(CPII_SWAP_TREE "SELECT pg_catalog.format('DROP TRIGGER %s ON %%I.%%I', n.nspname, c.relname)"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND g.tgname = '%s' AND g.tgparentid = 0"
						   " WHERE $2 IS NOT NULL ORDER BY t.depth, t.oid",
						   trigger_name(job), trigger_name(job))));
}

/* take the column's place, everything else being ready */
static void
take_place(CpiiJob *job, CpiiSwapIndex *list, int n, char *deflt)
{
	const char *table = cpii_qualified_name(job->relid);
	const char *column = quote_identifier(NameStr(job->col));
	const char *sealed = cpii_swap_column(job);
	List	   *ignored;
	List	   *defaults = cpii_protect_part_defaults(job->relid, NameStr(job->col), &ignored);
	List	   *extras;
	List	   *not_null;

	extras = column_extras(job);
	not_null = not_null_again(job);
	remember_place(job);
	drop_triggers(job);
	cpii_swap_run(psprintf("ALTER TABLE %s DROP COLUMN %s", table, column));
	cpii_swap_run(psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", table, sealed, column));
	/* our constraint is the proof: no scan; one that names both columns is gone */
	cpii_swap_run_all(not_null);
	cpii_swap_run(psprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", table, constraint_name(job)));
	if (deflt != NULL)
		cpii_swap_run(psprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", table, column,
							   quote_literal_cstr(deflt)));
	cpii_swap_run_all(defaults);
	cpii_swap_names(list, n);
	cpii_swap_run_all(extras);
}

/* what one column needs to take its place */
typedef struct Ready
{
	CpiiJob    *job;
	CpiiSwapIndex *indexes;
	int			n;
	char	   *deflt;
} Ready;

/* false when an index of it is not made again yet */
static bool
is_ready(CpiiJob *job, Ready *ready)
{
	AttrNumber	attnum = get_attnum(job->relid, NameStr(job->col));

	ready->job = job;
	ready->indexes = cpii_swap_find_indexes(job, &ready->n);
	for (int i = 0; i < ready->n; i++)
		if (!ready->indexes[i].valid &&
			!(ready->indexes[i].partitioned && ready->indexes[i].constraint != NULL))
			return false;
	if (attnum != job->attnum || !cpii_protect_default(job->relid, attnum, &ready->deflt))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" changed meanwhile", NameStr(job->col)),
				 errdetail("It was made again, or its default is no constant any more.")));
	return true;
}

/* an index was made for one of its columns: two cannot take their places in it */
static void
refuse_shared_indexes(Ready *ready, int n)
{
	for (int a = 0; a < n; a++)
		for (int b = 0; b < a; b++)
			for (int i = 0; i < ready[b].n; i++)
				if (cpii_swap_index_of(ready[a].indexes, ready[a].n, ready[b].indexes[i].oid) != NULL)
					ereport(ERROR,
							(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							 errmsg("index \"%s\" is on two of the columns that are protected together",
									ready[b].indexes[i].name),
							 errhint("Drop it and call protect_column_online again, or cancel_protect.")));
}

/* the keys as they are now, of these columns and no others */
static CpiiGroup *
keys_of(List *jobs)
{
	List	   *columns = NIL;
	CpiiGroup  *group;
	ListCell   *lc;

	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);

		columns = lappend(columns, cpii_group_column(job->relid, NameStr(job->col)));
	}
	group = cpii_group_find(columns);
	if (!cpii_group_within(group, columns))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign keys connect column \"%s\" with other columns now",
						((CpiiGroupColumn *) linitial(columns))->name),
				 errhint("Drop the foreign keys that were made meanwhile and call protect_column_online again, or cancel_protect.")));
	return group;
}

static char *
sealed_beside(void *arg, Oid relid, const char *column)
{
	Oid			top = cpii_group_top(relid, column);
	ListCell   *lc;

	foreach(lc, (List *) arg)
	{
		CpiiJob    *job = lfirst(lc);

		if (job->relid == top && strcmp(NameStr(job->col), column) == 0)
			return cpii_swap_name(job);
	}
	elog(ERROR, "column \"%s\" of relation %u is not being protected", column, top);
	return NULL;				/* keep compiler quiet */
}

void
cpii_swap_prove_keys(List *jobs)
{
	cpii_keys_prove(keys_of(jobs), sealed_beside, jobs);
}

static void
swap(Ready *ready, int n, List *views, CpiiGroup *group)
{
	List	   *keys;
	ListCell   *lc;

	foreach(lc, views)
		cpii_park_masked_view(lfirst_oid(lc));
	keys = cpii_keys_take(group);
	for (int i = 0; i < n; i++)
		cpii_swap_drop_orphans(ready[i].job);
	for (int i = 0; i < n; i++)
		take_place(ready[i].job, ready[i].indexes, ready[i].n, ready[i].deflt);
	cpii_keys_make(keys, true);
	foreach(lc, views)
		(void) cpii_rebuild_masked_view(lfirst_oid(lc), NULL);
}

bool
cpii_swap(List *jobs)
{
	int			guc_level;
	Ready	   *ready = palloc0(sizeof(Ready) * list_length(jobs));
	CpiiGroup  *group;
	List	   *trees = NIL;
	List	   *views;
	ListCell   *lc;
	int			n = 0;

	foreach(lc, jobs)
		if (!is_ready(lfirst(lc), &ready[n++]))
			return false;
	refuse_shared_indexes(ready, n);
	group = keys_of(jobs);
	/* "index will be renamed" and the like */
	guc_level = NewGUCNestLevel();
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	foreach(lc, jobs)
	{
		CpiiJob    *job = lfirst(lc);

		cpii_job_find_parts(job);
		for (int i = 0; i < job->nparts; i++)
			job->part_attnums[i] = get_attnum(job->parts[i], NameStr(job->col));
		trees = list_concat_unique_oid(trees, find_all_inheritors(job->relid, NoLock, NULL));
	}
	views = cpii_masked_views_over(trees);
	cpii_views_held = true;
	PG_TRY();
	{
		swap(ready, n, views, group);
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, guc_level);
	return true;
}

void
cpii_swap_undo(CpiiJob *job)
{
	const char *table = cpii_qualified_name(job->relid);

	cpii_views_held = true;
	PG_TRY();
	{
		drop_triggers(job);
		cpii_swap_run(psprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", table, constraint_name(job)));
		/* its indexes go with it */
		cpii_swap_run(psprintf("ALTER TABLE %s DROP COLUMN IF EXISTS %s", table, cpii_swap_column(job)));
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
}
