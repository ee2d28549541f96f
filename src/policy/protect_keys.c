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
	char	   *proof;			/* query that says how often it does not hold */
} TakenKey;

/* ---- what can be kept ---- */

/*
 * How values of a type are compared: equal ones have one text, blanks at the
 * end apart, which mean nothing in a sealed value either.  -1 when they may
 * have several, as of a collation that ignores case.
 */
static int
way_to_compare(Oid relid, const char *column)
{
	Oid			type;
	int32		typmod;
	Oid			collation;
	int			scale;

	get_atttypetypmodcoll(relid, get_attnum(relid, column), &type, &typmod, &collation);
	type = getBaseTypeAndTypmod(type, &typmod);
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
			return get_collation_isdeterministic(collation) ? 10000 : -1;
		case INT8OID:
		case INT4OID:
			return 0;
		case NUMERICOID:
			if (typmod < (int32) VARHDRSZ)
				return -1;
			/* 11 bits with sign; below zero no digits of a fraction are shown */
			scale = ((typmod - VARHDRSZ) & 0x7ff) ^ 1024;
			return Max(scale - 1024, 0);
	}
	return -1;
}

List *
cpii_keys_by_other_texts(CpiiGroup *group)
{
	List	   *keys = NIL;
	ListCell   *lc;

	foreach(lc, group->pairs)
	{
		CpiiGroupPair *pair = lfirst(lc);
		int			way = way_to_compare(pair->from_relid, pair->from);

		if (way < 0 || way != way_to_compare(pair->to_relid, pair->to))
			keys = list_append_unique_oid(keys, pair->key);
	}
	return keys;
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

/* the table that has the key */
static Oid
referring(CpiiGroup *group, Oid key)
{
	ListCell   *lc;

	foreach(lc, group->pairs)
		if (((CpiiGroupPair *) lfirst(lc))->key == key)
			return ((CpiiGroupPair *) lfirst(lc))->from_relid;
	return InvalidOid;			/* cannot happen */
}

/* rows of a partitioned table are in its partitions, of any other in itself */
static char *
rows_of(Oid relid)
{
	return psprintf("%s%s", get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					cpii_qualified_name(relid));
}

/*
 * The query that counts rows whose key is not there, or NULL for a key that is
 * not valid.  It compares the sealed columns only: what other columns of the
 * key are compared with could be code of the table's owner.
 */
static char *
proof_of(CpiiGroup *group, Oid key, CpiiSealedName sealed_name, void *arg)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(key)};
	StringInfoData given;
	StringInfoData equal;
	Oid			from_relid;
	Oid			to_relid;

	cpii_internal_execute("SELECT k.conrelid, k.confrelid, k.confmatchtype = 'f', f.attname, t.attname"
						  " FROM pg_catalog.pg_constraint k CROSS JOIN LATERAL ROWS FROM"
						  "  (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS u (f, t)"
						  " JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.f"
						  " JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.t"
						  " WHERE k.oid = $1 AND k.convalidated",
						  1, types, values, NULL, false, 0);
	if (SPI_processed == 0)
		return NULL;
	from_relid = cpii_result_oid(0, 1);
	to_relid = cpii_result_oid(0, 2);
	initStringInfo(&given);
	initStringInfo(&equal);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *from = cpii_result_text(i, 4);
		char	   *to = cpii_result_text(i, 5);
		bool		sealed = in_group(group, key, from);

		if (sealed && sealed_name != NULL)
		{
			from = sealed_name(arg, from_relid, from);
			to = sealed_name(arg, to_relid, to);
		}
		appendStringInfo(&given, "%sf.%s IS NOT NULL",
						 i == 0 ? "" : cpii_result_text(i, 3)[0] == 't' ? " OR " : " AND ",
						 quote_identifier(from));
		if (sealed)
			appendStringInfo(&equal, "%st.%s OPERATOR(pg_catalog.=) f.%s", equal.len > 0 ? " AND " : "",
							 quote_identifier(to), quote_identifier(from));
	}
	return psprintf("SELECT pg_catalog.count(*) FROM %s f WHERE (%s) AND NOT EXISTS (SELECT 1 FROM %s t WHERE %s)",
					rows_of(from_relid), given.data, rows_of(to_relid), equal.data);
}

static void
prove(const char *proof, const char *name, Oid from_relid, const char *hint)
{
	char	   *count;

	if (proof == NULL)
		return;
	cpii_internal_execute(proof, 0, NULL, NULL, NULL, false, 1);
	count = cpii_result_text(0, 1);
	if (strcmp(count, "0") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("foreign key \"%s\" of \"%s\" does not hold", name, get_rel_name(from_relid)),
				 errdetail("Rows whose key is not there: %s.", count),
				 errhint("%s", hint)));
}

void
cpii_keys_prove(CpiiGroup *group, CpiiSealedName sealed_name, void *arg)
{
	ListCell   *lc;

	foreach(lc, group->keys)
	{
		Oid			key = lfirst_oid(lc);

		prove(proof_of(group, key, sealed_name, arg), get_constraint_name(key), referring(group, key),
			  "Correct these rows, then call protect_column_online again, or cancel_protect.");
	}
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
	return SPI_processed == 0 ? NULL : cpii_result_text(0, 1);
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
		key->relid = cpii_result_oid(0, 1);
		key->name = cpii_result_text(0, 2);
		key->definition = cpii_result_text(0, 3);
		key->comment = cpii_result_text(0, 4);
		key->proof = proof_of(group, lfirst_oid(lc), NULL, NULL);
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
 * have such a key; the server's own scan would call what the owner compares
 * other columns with, as us.
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

		if (!proven)
			prove(key->proof, key->name, key->relid, "Correct these rows first.");
		add_without_scan(psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", table, name, key->definition));
		if (key->comment != NULL)
			cpii_internal_execute(psprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", name, table,
										   quote_literal_cstr(key->comment)),
								  0, NULL, NULL, NULL, false, 0);
	}
}
