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
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "policy/protect_swap.h"
#include "policy/view_follow.h"
#include "sealed/seal.h"

/* relations of the tree of $1, parents first */
#define TREE \
	"WITH RECURSIVE branch AS (SELECT $1 AS oid, 0 AS depth" \
	" UNION SELECT h.inhrelid, b.depth + 1 FROM pg_catalog.pg_inherits h JOIN branch b ON h.inhparent = b.oid)," \
	" tree AS (SELECT b.oid, pg_catalog.max(b.depth) AS depth FROM branch b GROUP BY b.oid) "

/* an index of the column that must be made again */
typedef struct SwapIndex
{
	Oid			oid;
	Oid			relid;
	Oid			parent;			/* the index it is attached to, or 0 */
	bool		partitioned;
	bool		clustered;
	bool		replica;
	char	   *name;
	char	   *constraint;		/* name, or NULL */
	char	   *definition;		/* of the constraint */
	bool		primary;
	char	   *deferral;		/* DEFERRABLE ..., or "" */
	char	   *comment;
	char	   *constraint_comment;
	Oid			made;			/* the new one, or 0 */
	bool		valid;
} SwapIndex;

static void
run(const char *sql)
{
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
}

static char *
swap_name(CpiiJob *job)
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

static char *
index_name(Oid old)
{
	return psprintf("courier_pii_ix_%u", old);
}

const char *
cpii_swap_column(CpiiJob *job)
{
	return quote_identifier(swap_name(job));
}

/* rows of a query over the tree ($1) and the column's name ($2) */
static uint64
query(CpiiJob *job, const char *sql)
{
	Oid			types[2] = {OIDOID, NAMEOID};
	Datum		values[2] = {ObjectIdGetDatum(job->relid), NameGetDatum(&job->col)};

	cpii_internal_execute(sql, 2, types, values, NULL, false, 0);
	return SPI_processed;
}

static char *
column_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Oid
column_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(d);
}

static bool
column_bool(uint64 row, int column)
{
	char	   *value = column_text(row, column);

	return value != NULL && value[0] == 't';
}

/* run every statement that a query over tree and column gives */
static void
run_each(CpiiJob *job, const char *sql)
{
	uint64		n = query(job, sql);
	char	  **statements = palloc(sizeof(char *) * Max(n, 1));

	for (uint64 i = 0; i < n; i++)
		statements[i] = column_text(i, 1);
	for (uint64 i = 0; i < n; i++)
		run(statements[i]);
}

/* ---- begin ---- */

static void
prepare(CpiiJob *job, bool notnull)
{
	const char *table = cpii_qualified_name(job->relid);
	const char *column = quote_identifier(NameStr(job->col));
	const char *sealed = cpii_swap_column(job);

	run(psprintf(notnull ?
				 "ALTER TABLE %s ADD COLUMN %s courier_pii.%s, ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID" :
				 "ALTER TABLE %s ADD COLUMN %s courier_pii.%s, ADD CONSTRAINT %s CHECK ((%s IS NULL) = (%s IS NULL)) NOT VALID",
				 table, sealed, cpii_class_name(job->class_id),
				 constraint_name(job), sealed, column));
	/* partitions inherit triggers, other children do not */
	run_each(job, psprintf(TREE "SELECT pg_catalog.format('CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %%I.%%I"
						   " FOR EACH ROW EXECUTE FUNCTION courier_pii.protect_sync(%%L, %%L, %%L)', n.nspname, c.relname, $2, %s, '%d')"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " WHERE NOT c.relispartition ORDER BY t.depth, t.oid",
						   trigger_name(job), quote_literal_cstr(swap_name(job)), job->class_id));
	/* also where a replica or a restore writes */
	run_each(job, psprintf(TREE "SELECT pg_catalog.format('ALTER TABLE ONLY %%I.%%I ENABLE ALWAYS TRIGGER %s', n.nspname, c.relname)"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " WHERE $2 IS NOT NULL ORDER BY t.depth, t.oid",
						   trigger_name(job)));
}

void
cpii_swap_prepare(CpiiJob *job, bool notnull)
{
	/* the sealed column is in no view */
	cpii_views_held = true;
	PG_TRY();
	{
		prepare(job, notnull);
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
}

void
cpii_swap_validate(CpiiJob *job)
{
	run(psprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s",
				 cpii_qualified_name(job->relid), constraint_name(job)));
}

/* ---- indexes ---- */

static SwapIndex *
find_indexes(CpiiJob *job, int *count)
{
	uint64		n;
	SwapIndex  *list;

	n = query(job, TREE "SELECT i.indexrelid, i.indrelid, COALESCE(h.inhparent, 0::pg_catalog.oid), c.relkind = 'I',"
			  " i.indisclustered, i.indisreplident, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid),"
			  " k.contype = 'p', CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END,"
			  " pg_catalog.obj_description(i.indexrelid, 'pg_class'), pg_catalog.obj_description(k.oid, 'pg_constraint'),"
			  " COALESCE(m.oid, 0::pg_catalog.oid), COALESCE(x.indisvalid, false)"
			  " FROM tree t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid"
			  " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
			  " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = $2"
			  " LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid"
			  " LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')"
			  " LEFT JOIN pg_catalog.pg_class m ON m.relname = 'courier_pii_ix_' || i.indexrelid::pg_catalog.text AND m.relnamespace = c.relnamespace"
			  " LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = m.oid"
			  " WHERE a.attnum = ANY (i.indkey::pg_catalog.int2[]) AND i.indisvalid"
			  " ORDER BY t.depth, i.indexrelid");
	list = palloc0(sizeof(SwapIndex) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		SwapIndex  *index = &list[i];

		index->oid = column_oid(i, 1);
		index->relid = column_oid(i, 2);
		index->parent = column_oid(i, 3);
		index->partitioned = column_bool(i, 4);
		index->clustered = column_bool(i, 5);
		index->replica = column_bool(i, 6);
		index->name = column_text(i, 7);
		index->constraint = column_text(i, 8);
		index->definition = column_text(i, 9);
		index->primary = column_bool(i, 10);
		index->deferral = column_text(i, 11);
		index->comment = column_text(i, 12);
		index->constraint_comment = column_text(i, 13);
		index->made = column_oid(i, 14);
		index->valid = column_bool(i, 15);
	}
	*count = (int) n;
	return list;
}

static SwapIndex *
find_by_oid(SwapIndex *list, int n, Oid oid)
{
	for (int i = 0; i < n; i++)
		if (list[i].oid == oid)
			return &list[i];
	return NULL;
}

static char *
qualified_index(SwapIndex *index, const char *name)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(index->relid)), name);
}

/* of a partitioned table: an index of its own, to which those of partitions are attached */
static void
make_partitioned(CpiiJob *job, SwapIndex *index)
{
	if (OidIsValid(index->made) || index->constraint != NULL)
		return;
	cpii_job_lock_table(index->relid, ShareLock);
	cpii_index_create(cpii_index_again(index->oid, NameStr(job->col), swap_name(job),
									   index_name(index->oid)));
	cpii_job_commit(job);
}

static void
make_leaf(CpiiJob *job, SwapIndex *index)
{
	Oid			made;

	if (OidIsValid(index->made))
	{
		if (index->valid)
			return;
		/* left by a build that was interrupted */
		cpii_job_lock_table(index->relid, AccessExclusiveLock);
		run(psprintf("DROP INDEX %s", qualified_index(index, index_name(index->oid))));
		cpii_job_commit(job);
	}
	(void) cpii_index_create_concurrently(index->oid,
										  get_attnum(index->relid, NameStr(job->col)),
										  get_attnum(index->relid, swap_name(job)),
										  index_name(index->oid));
	made = get_relname_relid(index_name(index->oid), get_rel_namespace(index->relid));
	if (!OidIsValid(made) || !get_index_isvalid(made))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not build index \"%s\" again over the protected column", index->name),
				 errdetail("The reason is in the server log. Values of a unique index that differ only in spelling, such as blanks and hyphens, are equal once protected."),
				 errhint("Call protect_column_online again, or cancel_protect.")));
}

static void
attach_partitions(CpiiJob *job)
{
	int			n;
	SwapIndex  *list = find_indexes(job, &n);

	for (int i = 0; i < n; i++)
	{
		SwapIndex  *parent = find_by_oid(list, n, list[i].parent);

		/* attaching what is attached does nothing */
		if (parent != NULL && list[i].constraint == NULL)
			run(psprintf("ALTER INDEX %s ATTACH PARTITION %s",
						 qualified_index(parent, index_name(parent->oid)),
						 qualified_index(&list[i], index_name(list[i].oid))));
	}
}

void
cpii_swap_indexes(CpiiJob *job)
{
	int			n;
	SwapIndex  *list = find_indexes(job, &n);

	/* plans over the indexes are estimated from the column's statistics */
	if (n > 0)
	{
		run(psprintf("ANALYZE %s (%s)", cpii_qualified_name(job->relid),
					 cpii_swap_column(job)));
		cpii_job_commit(job);
	}
	for (int i = 0; i < n; i++)
		if (list[i].partitioned)
			make_partitioned(job, &list[i]);
	for (int i = 0; i < n; i++)
		if (!list[i].partitioned)
			make_leaf(job, &list[i]);
	attach_partitions(job);
	cpii_job_commit(job);
}

/* ---- the swap ---- */

static void
swap_constraint(SwapIndex *index)
{
	char	   *table = cpii_qualified_name(index->relid);
	const char *name = quote_identifier(index->constraint);

	if (index->partitioned)
		run(psprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s", table, name,
					 index->definition));
	else
		run(psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s%s", table, name,
					 index->primary ? "PRIMARY KEY" : "UNIQUE",
					 quote_identifier(index_name(index->oid)), index->deferral));
	if (index->constraint_comment != NULL)
		run(psprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", name, table,
					 quote_literal_cstr(index->constraint_comment)));
}

/* the new indexes get the names and marks of the old ones */
static void
swap_indexes(SwapIndex *list, int n)
{
	for (int i = 0; i < n; i++)
	{
		SwapIndex  *index = &list[i];

		if (index->constraint != NULL)
			swap_constraint(index);
		else
			run(psprintf("ALTER INDEX %s RENAME TO %s",
						 qualified_index(index, index_name(index->oid)),
						 quote_identifier(index->name)));
		if (index->comment != NULL)
			run(psprintf("COMMENT ON INDEX %s IS %s", qualified_index(index, index->name),
						 quote_literal_cstr(index->comment)));
		if (index->clustered)
			run(psprintf("ALTER TABLE %s CLUSTER ON %s", cpii_qualified_name(index->relid),
						 quote_identifier(index->name)));
		if (index->replica)
			run(psprintf("ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %s",
						 cpii_qualified_name(index->relid), quote_identifier(index->name)));
	}
	for (int i = 0; i < n; i++)
	{
		SwapIndex  *parent = find_by_oid(list, n, list[i].parent);

		if (parent != NULL && list[i].constraint != NULL)
			run(psprintf("ALTER INDEX %s ATTACH PARTITION %s",
						 qualified_index(parent, parent->name),
						 qualified_index(&list[i], list[i].name)));
	}
}

/* statements that give the column what the other one has beside its values */
static char **
column_extras(CpiiJob *job, int *count)
{
	uint64		n;
	char	  **list;

	n = query(job, TREE
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
			  " WHERE a.attstattarget >= 0");
	list = palloc(sizeof(char *) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		list[i] = column_text(i, 1);
	*count = (int) n;
	return list;
}

/* where the column stood, for views that are made later */
static void
remember_place(CpiiJob *job)
{
	query(job, "DELETE FROM courier_pii.column_place p WHERE p.tbl = $1 AND p.col = $2");
	query(job, "INSERT INTO courier_pii.column_place (tbl, col, before_col)"
		  " SELECT a.attrelid, a.attname, (SELECT b.attname FROM pg_catalog.pg_attribute b"
		  "  WHERE b.attrelid = a.attrelid AND b.attnum > a.attnum AND NOT b.attisdropped"
		  "  AND b.attname !~ '^courier_pii_sealed_[0-9]+$' ORDER BY b.attnum LIMIT 1)"
		  " FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2");
}

static void
drop_triggers(CpiiJob *job)
{
	run_each(job, psprintf(TREE "SELECT pg_catalog.format('DROP TRIGGER %s ON %%I.%%I', n.nspname, c.relname)"
						   " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						   " JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND g.tgname = '%s' AND g.tgparentid = 0"
						   " WHERE $2 IS NOT NULL ORDER BY t.depth, t.oid",
						   trigger_name(job), trigger_name(job)));
}

/* take the column's place, everything else being ready */
static void
take_place(CpiiJob *job, SwapIndex *list, int n, char *deflt)
{
	const char *table = cpii_qualified_name(job->relid);
	const char *column = quote_identifier(NameStr(job->col));
	const char *sealed = cpii_swap_column(job);
	List	   *ignored;
	List	   *defaults = cpii_protect_part_defaults(job->relid, NameStr(job->col), &ignored);
	ListCell   *lc;
	char	  **extras;
	int			nextras;

	extras = column_extras(job, &nextras);
	remember_place(job);
	drop_triggers(job);
	/* the constraint is the proof: no scan */
	if (query(job, "SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnotnull") > 0)
		run(psprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table, sealed));
	run(psprintf("ALTER TABLE %s DROP CONSTRAINT %s", table, constraint_name(job)));
	run(psprintf("ALTER TABLE %s DROP COLUMN %s", table, column));
	run(psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", table, sealed, column));
	if (deflt != NULL)
		run(psprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", table, column,
					 quote_literal_cstr(deflt)));
	foreach(lc, defaults)
		run(lfirst(lc));
	swap_indexes(list, n);
	for (int i = 0; i < nextras; i++)
		run(extras[i]);
}

bool
cpii_swap(CpiiJob *job)
{
	AttrNumber	attnum = get_attnum(job->relid, NameStr(job->col));
	int			guc_level = NewGUCNestLevel();
	List	   *views;
	ListCell   *lc;
	char	   *deflt;
	int			n;
	SwapIndex  *list = find_indexes(job, &n);

	for (int i = 0; i < n; i++)
		if (!list[i].valid && !(list[i].partitioned && list[i].constraint != NULL))
			return false;
	if (attnum != job->attnum || !cpii_protect_default(job->relid, attnum, &deflt))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" changed meanwhile", NameStr(job->col)),
				 errdetail("It was made again, or its default is no constant any more.")));
	/* "index will be renamed" and the like */
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	cpii_job_find_parts(job);
	for (int i = 0; i < job->nparts; i++)
		job->part_attnums[i] = get_attnum(job->parts[i], NameStr(job->col));
	views = cpii_masked_views_over(find_all_inheritors(job->relid, NoLock, NULL));
	cpii_views_held = true;
	PG_TRY();
	{
		foreach(lc, views)
			cpii_park_masked_view(lfirst_oid(lc));
		take_place(job, list, n, deflt);
		foreach(lc, views)
			(void) cpii_rebuild_masked_view(lfirst_oid(lc), NULL);
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
		run(psprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", table, constraint_name(job)));
		/* its indexes go with it */
		run(psprintf("ALTER TABLE %s DROP COLUMN IF EXISTS %s", table, cpii_swap_column(job)));
	}
	PG_FINALLY();
	{
		cpii_views_held = false;
	}
	PG_END_TRY();
}
