/*-------------------------------------------------------------------------
 *
 * protect_swap_index.c
 *	  Indexes of a column made again over the sealed column beside it.
 *
 * One is found by the number of the old one in its name, so that an interrupted
 * job finds what it made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "policy/protect_swap.h"

static char *
index_name(Oid old)
{
	return psprintf("courier_pii_ix_%u", old);
}

CpiiSwapIndex *
cpii_swap_find_indexes(CpiiJob *job, int *count)
{
	uint64		n;
	CpiiSwapIndex *list;

	n = cpii_swap_query(job, CPII_SWAP_TREE "SELECT i.indexrelid, i.indrelid, COALESCE(h.inhparent, 0::pg_catalog.oid), c.relkind = 'I',"
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
						" WHERE a.attnum = ANY (i.indkey::pg_catalog.int2[]) AND i.indisvalid AND c.relname !~ '^courier_pii_ix_[0-9]+$'"
						" ORDER BY t.depth, i.indexrelid");
	list = palloc0(sizeof(CpiiSwapIndex) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		CpiiSwapIndex *index = &list[i];

		index->oid = cpii_result_oid(i, 1);
		index->relid = cpii_result_oid(i, 2);
		index->parent = cpii_result_oid(i, 3);
		index->partitioned = cpii_swap_bool(i, 4);
		index->clustered = cpii_swap_bool(i, 5);
		index->replica = cpii_swap_bool(i, 6);
		index->name = cpii_result_text(i, 7);
		index->constraint = cpii_result_text(i, 8);
		index->definition = cpii_result_text(i, 9);
		index->primary = cpii_swap_bool(i, 10);
		index->deferral = cpii_result_text(i, 11);
		index->comment = cpii_result_text(i, 12);
		index->constraint_comment = cpii_result_text(i, 13);
		index->made = cpii_result_oid(i, 14);
		index->valid = cpii_swap_bool(i, 15);
	}
	*count = (int) n;
	return list;
}

CpiiSwapIndex *
cpii_swap_index_of(CpiiSwapIndex *list, int n, Oid oid)
{
	for (int i = 0; i < n; i++)
		if (list[i].oid == oid)
			return &list[i];
	return NULL;
}

static char *
qualified_index(CpiiSwapIndex *index, const char *name)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(index->relid)), name);
}

/* of a partitioned table: an index of its own, to which those of partitions are attached */
static void
make_partitioned(CpiiJob *job, CpiiSwapIndex *index)
{
	if (OidIsValid(index->made) || index->constraint != NULL)
		return;
	cpii_job_lock_table(index->relid, ShareLock);
	cpii_index_create(cpii_index_again(index->oid, NameStr(job->col), cpii_swap_name(job),
									   index_name(index->oid)));
	cpii_job_commit(job);
}

static void
make_leaf(CpiiJob *job, CpiiSwapIndex *index)
{
	Oid			made;

	if (OidIsValid(index->made))
	{
		if (index->valid)
			return;
		/* left by a build that was interrupted */
		cpii_job_lock_table(index->relid, AccessExclusiveLock);
		cpii_swap_run(psprintf("DROP INDEX %s", qualified_index(index, index_name(index->oid))));
		cpii_job_commit(job);
	}
	(void) cpii_index_create_concurrently(index->oid,
										  get_attnum(index->relid, NameStr(job->col)),
										  get_attnum(index->relid, cpii_swap_name(job)),
										  index_name(index->oid));
	made = get_relname_relid(index_name(index->oid), get_rel_namespace(index->relid));
	if (!OidIsValid(made) || !get_index_isvalid(made))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not build index \"%s\" again over the protected column", index->name),
				 errdetail("The reason is in the server log. Values of a unique index that differ only in spelling, such as blanks and hyphens, are equal once protected."),
				 errhint("Call protect_column_online again, or cancel_protect.")));
}

/* whoever has read a partition in an open transaction still holds its indexes */
static void
attach_partitions(CpiiJob *job)
{
	int			n;
	CpiiSwapIndex *list = cpii_swap_find_indexes(job, &n);

	for (int i = 0; i < n; i++)
	{
		CpiiSwapIndex *parent = cpii_swap_index_of(list, n, list[i].parent);

		if (parent == NULL || list[i].constraint != NULL ||
			get_rel_relispartition(list[i].made))
			continue;
		cpii_job_lock_table(list[i].made, AccessExclusiveLock);
		cpii_swap_run(psprintf("ALTER INDEX %s ATTACH PARTITION %s",
							   qualified_index(parent, index_name(parent->oid)),
							   qualified_index(&list[i], index_name(list[i].oid))));
		cpii_job_commit(job);
	}
}

void
cpii_swap_indexes(CpiiJob *job)
{
	int			n;
	CpiiSwapIndex *list = cpii_swap_find_indexes(job, &n);

	/* plans over the indexes are estimated from the column's statistics */
	if (n > 0)
	{
		cpii_swap_run(psprintf("ANALYZE %s (%s)", cpii_qualified_name(job->relid),
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

void
cpii_swap_drop_orphans(CpiiJob *job)
{
	cpii_swap_run_all(cpii_swap_statements(job, CPII_SWAP_TREE "SELECT pg_catalog.format('DROP INDEX %I.%I', n.nspname, c.relname)"
						" FROM tree t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid"
						" JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
						" WHERE c.relname ~ '^courier_pii_ix_[0-9]+$' AND NOT c.relispartition AND $2 IS NOT NULL AND NOT EXISTS"
						"  (SELECT 1 FROM pg_catalog.pg_index o WHERE o.indrelid = i.indrelid AND c.relname = 'courier_pii_ix_' || o.indexrelid::pg_catalog.text)"));
}

/* ---- their names ---- */

static void
swap_constraint(CpiiSwapIndex *index)
{
	char	   *table = cpii_qualified_name(index->relid);
	const char *name = quote_identifier(index->constraint);

	if (index->partitioned)
		cpii_swap_run(psprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s", table, name,
							   index->definition));
	else
		cpii_swap_run(psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s%s", table, name,
							   index->primary ? "PRIMARY KEY" : "UNIQUE",
							   quote_identifier(index_name(index->oid)), index->deferral));
	if (index->constraint_comment != NULL)
		cpii_swap_run(psprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", name, table,
							   quote_literal_cstr(index->constraint_comment)));
}

void
cpii_swap_names(CpiiSwapIndex *list, int n)
{
	for (int i = 0; i < n; i++)
	{
		CpiiSwapIndex *index = &list[i];

		if (index->constraint != NULL)
			swap_constraint(index);
		else
			cpii_swap_run(psprintf("ALTER INDEX %s RENAME TO %s",
								   qualified_index(index, index_name(index->oid)),
								   quote_identifier(index->name)));
		if (index->comment != NULL)
			cpii_swap_run(psprintf("COMMENT ON INDEX %s IS %s", qualified_index(index, index->name),
								   quote_literal_cstr(index->comment)));
		if (index->clustered)
			cpii_swap_run(psprintf("ALTER TABLE %s CLUSTER ON %s", cpii_qualified_name(index->relid),
								   quote_identifier(index->name)));
		if (index->replica)
			cpii_swap_run(psprintf("ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %s",
								   cpii_qualified_name(index->relid), quote_identifier(index->name)));
	}
	for (int i = 0; i < n; i++)
	{
		CpiiSwapIndex *parent = cpii_swap_index_of(list, n, list[i].parent);

		if (parent != NULL && list[i].constraint != NULL)
			cpii_swap_run(psprintf("ALTER INDEX %s ATTACH PARTITION %s",
								   qualified_index(parent, parent->name),
								   qualified_index(&list[i], list[i].name)));
	}
}
