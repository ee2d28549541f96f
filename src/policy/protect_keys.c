/*-------------------------------------------------------------------------
 *
 * protect_keys.c
 *	  Foreign keys made again over sealed columns.
 *
 * Equal sealed values are what equal texts were, so a key that held holds
 * again.  That is proven by a query before clear text goes, where readers and
 * writers go on meanwhile; so that the key itself can be made without a scan,
 * in the transaction that puts the columns in their places.  Not for a moment
 * is it not enforced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "policy/policy.h"
#include "policy/protect.h"
#include "policy/protect_group.h"
#include "sealed/seal.h"

/* a key that was dropped and is to be made again */
typedef struct TakenKey
{
	Oid			relid;
	char	   *name;
	char	   *definition;
	char	   *comment;
} TakenKey;

static char *
column_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Oid
column_oid(uint64 row, int column)
{
	bool		isnull;

	return DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
										  column, &isnull));
}

/* ---- proof ---- */

static bool
in_group(CpiiGroup *group, Oid key, const char *from)
{
	ListCell   *lc;

	foreach(lc, group->pairs)
	{
		CpiiGroupPair *pair = lfirst(lc);

		if (pair->key == key && strcmp(pair->from, from) == 0)
			return true;
	}
	return false;
}

/* rows of a partitioned table are in its partitions, of any other in itself */
static char *
rows_of(Oid relid)
{
	return psprintf("%s%s", get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					cpii_qualified_name(relid));
}

static void
prove(CpiiGroup *group, Oid key, CpiiSealedName sealed_name, void *arg)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(key)};
	StringInfoData given;
	StringInfoData equal;
	char	   *name;
	char	   *count;
	Oid			from_relid;
	Oid			to_relid;

	cpii_internal_execute("SELECT k.conname, k.conrelid, k.confrelid, k.confmatchtype = 'f', f.attname, t.attname, n.nspname, o.oprname"
						  " FROM pg_catalog.pg_constraint k CROSS JOIN LATERAL ROWS FROM"
						  "  (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop)) AS u (f, t, o)"
						  " JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.f"
						  " JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.t"
						  " JOIN pg_catalog.pg_operator o ON o.oid = u.o"
						  " JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
						  " WHERE k.oid = $1 AND k.convalidated",
						  1, types, values, NULL, false, 0);
	if (SPI_processed == 0)
		return;
	name = column_text(0, 1);
	from_relid = column_oid(0, 2);
	to_relid = column_oid(0, 3);
	initStringInfo(&given);
	initStringInfo(&equal);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *from = column_text(i, 5);
		char	   *to = column_text(i, 6);
		char	   *op = psprintf("%s.%s", quote_identifier(column_text(i, 7)), column_text(i, 8));

		if (in_group(group, key, from))
		{
			from = sealed_name(arg, from_relid, from);
			to = sealed_name(arg, to_relid, to);
			op = "pg_catalog.=";
		}
		appendStringInfo(&given, "%sf.%s IS NOT NULL",
						 i == 0 ? "" : column_text(i, 4)[0] == 't' ? " OR " : " AND ",
						 quote_identifier(from));
		appendStringInfo(&equal, "%st.%s OPERATOR(%s) f.%s", i > 0 ? " AND " : "",
						 quote_identifier(to), op, quote_identifier(from));
	}
	cpii_internal_execute(psprintf("SELECT pg_catalog.count(*) FROM %s f WHERE (%s) AND NOT EXISTS (SELECT 1 FROM %s t WHERE %s)",
								   rows_of(from_relid), given.data, rows_of(to_relid), equal.data),
						  0, NULL, NULL, NULL, false, 1);
	count = column_text(0, 1);
	if (strcmp(count, "0") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("foreign key \"%s\" of \"%s\" does not hold", name, get_rel_name(from_relid)),
				 errdetail("Rows of \"%s\" whose key is not in \"%s\": %s.",
						   get_rel_name(from_relid), get_rel_name(to_relid), count),
				 errhint("Correct these rows, then call protect_column_online again, or cancel_protect.")));
}

void
cpii_keys_prove(CpiiGroup *group, CpiiSealedName sealed_name, void *arg)
{
	ListCell   *lc;

	foreach(lc, group->keys)
		prove(group, lfirst_oid(lc), sealed_name, arg);
}

char *
cpii_keys_of_class(int class_id)
{
	Oid			types[1] = {NAMEOID};
	NameData	class_name;
	Datum		values[1] = {NameGetDatum(&class_name)};

	namestrcpy(&class_name, cpii_class_name(class_id));
	cpii_internal_execute("SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%s of %s', pg_catalog.quote_ident(k.conname), k.conrelid::pg_catalog.regclass), ', ')"
						  " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)"
						  " JOIN pg_catalog.pg_type y ON y.oid = a.atttypid"
						  " WHERE k.contype = 'f' AND k.conparentid = 0 AND y.typname = $1"
						  " AND y.typnamespace = 'courier_pii'::pg_catalog.regnamespace",
						  1, types, values, NULL, false, 1);
	return SPI_processed == 0 ? NULL : column_text(0, 1);
}

/* ---- dropped and made again ---- */

List *
cpii_keys_take(CpiiGroup *group)
{
	List	   *taken = NIL;
	ListCell   *lc;

	foreach(lc, group->keys)
	{
		Oid			types[1] = {OIDOID};
		Datum		values[1] = {ObjectIdGetDatum(lfirst_oid(lc))};
		TakenKey   *key = palloc0(sizeof(TakenKey));

		cpii_internal_execute("SELECT k.conrelid, k.conname, pg_catalog.pg_get_constraintdef(k.oid),"
							  " pg_catalog.obj_description(k.oid, 'pg_constraint')"
							  " FROM pg_catalog.pg_constraint k WHERE k.oid = $1",
							  1, types, values, NULL, false, 1);
		if (SPI_processed == 0)
			continue;
		key->relid = column_oid(0, 1);
		key->name = column_text(0, 2);
		key->definition = column_text(0, 3);
		key->comment = column_text(0, 4);
		taken = lappend(taken, key);
	}
	foreach(lc, taken)
	{
		TakenKey   *key = lfirst(lc);

		cpii_internal_execute(psprintf("ALTER TABLE %s DROP CONSTRAINT %s",
									   cpii_qualified_name(key->relid), quote_identifier(key->name)),
							  0, NULL, NULL, NULL, false, 0);
	}
	return taken;
}

/*
 * Without a scan, and valid when it was: as the server makes the keys of a new
 * table.  "NOT VALID" would leave it unproven, and partitioned tables cannot
 * have such a key.
 */
static void
add_without_scan(const char *sql)
{
	AlterTableStmt *stmt = castNode(AlterTableStmt,
									linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt);
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	PlannedStmt *pstmt = makeNode(PlannedStmt);
	CpiiInternalState state;

	castNode(Constraint, cmd->def)->skip_validation = true;
	pstmt->commandType = CMD_UTILITY;
	pstmt->canSetTag = true;
	pstmt->utilityStmt = (Node *) stmt;
	pstmt->stmt_location = -1;
	cpii_internal_begin(&state);
	PushActiveSnapshot(GetTransactionSnapshot());
	ProcessUtility(pstmt, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
	PopActiveSnapshot();
	CommandCounterIncrement();
	cpii_internal_end(&state);
}

void
cpii_keys_make(List *taken, bool proven)
{
	ListCell   *lc;

	foreach(lc, taken)
	{
		TakenKey   *key = lfirst(lc);
		const char *table = cpii_qualified_name(key->relid);
		const char *name = quote_identifier(key->name);
		char	   *sql = psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", table, name,
								   key->definition);

		if (proven)
			add_without_scan(sql);
		else
			cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
		if (key->comment != NULL)
			cpii_internal_execute(psprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", name, table,
										   quote_literal_cstr(key->comment)),
								  0, NULL, NULL, NULL, false, 0);
	}
}
