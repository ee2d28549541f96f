/*-------------------------------------------------------------------------
 *
 * exposure.c
 *	  The advisor: plain columns that look like personal data.
 *
 * Names of columns are judged first, then a bounded sample of the stored
 * values.  The sample is read past all rights, since the security administrator
 * who asks may read no table: hence only tables are read, row by row and by no
 * statement (no view, no foreign table, nothing that runs code of others), only
 * columns of built-in text and number types, and only shares come out, rounded
 * to twentieths, never a value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "audit/record.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "policy/foreign_code.h"
#include "policy/policy.h"
#include "policy/suspect_text.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_suspect_class);
PG_FUNCTION_INFO_V1(cpii_find_suspects);
CPII_EXPORT Datum cpii_suspect_class(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_find_suspects(PG_FUNCTION_ARGS);

#define MAX_SAMPLE 10000
/* a larger value is judged by its beginning */
#define MAX_VALUE 4096

/* what a sample of one column showed */
typedef struct ColumnSample
{
	char	   *name;
	Oid			type;			/* below domains */
	AttrNumber	attnum;
	Oid			output;
	bool		sampled;
	int			values;			/* not null, not empty */
	int			hits[CPII_CLASS_LAST_SEALED + 1];	/* [0]: embedded */
	int			distinct;		/* of the first characters, coarsely */
	bits8		seen[1024];
} ColumnSample;

/* suspect_class(column): the class that a name suggests; NULL when it is weak */
Datum
cpii_suspect_class(PG_FUNCTION_ARGS)
{
	bool		weak;
	int			class_id;
	char	   *name = NameStr(*PG_GETARG_NAME(0));

	class_id = cpii_suspect_name(name, &weak);
	if (class_id == 0 || weak)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(cpii_class_table[class_id].name));
}

static bool
can_hold_texts(Oid type)
{
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case INT8OID:
		case NUMERICOID:
		case JSONOID:
		case JSONBOID:
		case XMLOID:
		case TEXTARRAYOID:
		case VARCHARARRAYOID:
			return true;
		default:
			return cpii_is_citext(type);
	}
}

/* columns worth looking at: not protected, of a type that can hold texts */
static int
list_columns(Relation rel, ColumnSample *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			type;
		bool		varlena;

		if (att->attisdropped)
			continue;
		type = getBaseType(att->atttypid);
		if (!can_hold_texts(type) ||
			cpii_class_of_type(att->atttypid, att->atttypmod) != 0)
			continue;
		memset(&columns[n], 0, sizeof(ColumnSample));
		columns[n].name = pstrdup(NameStr(att->attname));
		columns[n].type = type;
		columns[n].attnum = att->attnum;
		getTypeOutputInfo(type, &columns[n].output, &varlena);
		n++;
	}
	return n;
}

static void
judge_value(ColumnSample *column, char *text)
{
	size_t		len = strlen(text);
	size_t		utf8_len;
	char	   *utf8;
	unsigned	classes;
	uint32		hash;

	if (len > MAX_VALUE)
		len = pg_mbcliplen(text, len, MAX_VALUE);
	if (len == 0)
		return;
	utf8 = cpii_to_utf8(text, len, &utf8_len);
	classes = cpii_suspect_value(utf8, utf8_len);
	column->values++;
	for (int i = 0; i <= CPII_CLASS_LAST_SEALED; i++)
		if (classes & (1u << i))
			column->hits[i]++;
	hash = 2166136261u;
	for (size_t i = 0; i < utf8_len; i++)
		hash = (hash ^ (unsigned char) utf8[i]) * 16777619u;
	hash %= sizeof(column->seen) * 8;
	if (!(column->seen[hash / 8] & (1 << (hash % 8))))
	{
		column->seen[hash / 8] |= 1 << (hash % 8);
		column->distinct++;
	}
}

/* judge the rows of these blocks; how many rows are wanted still */
static int
sample_blocks(Relation rel, ColumnSample *columns, int n, BlockNumber first,
			  BlockNumber last, int rows)
{
	MemoryContext values = AllocSetContextCreate(CurrentMemoryContext,
												 "courier_pii sample",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(values);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;
	ItemPointerData from;
	ItemPointerData until;

	ItemPointerSet(&from, first, FirstOffsetNumber);
	ItemPointerSet(&until, last, MaxOffsetNumber);
	MemoryContextSwitchTo(old);
	scan = table_beginscan_tidrange(rel, GetActiveSnapshot(), &from, &until);
	while (rows > 0 && table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		MemoryContext row = AllocSetContextCreate(values, "courier_pii sample row",
												  ALLOCSET_DEFAULT_SIZES);

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(row);
		for (int i = 0; i < n; i++)
		{
			bool		isnull;
			Datum		value = slot_getattr(slot, columns[i].attnum, &isnull);

			if (!isnull)
				judge_value(&columns[i], OidOutputFunctionCall(columns[i].output, value));
		}
		MemoryContextSwitchTo(old);
		MemoryContextDelete(row);
		rows--;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(values);
	return rows;
}

/*
 * Blocks at equal distances, some more than needed for dead rows.  No statement
 * reads them: planning one calls what indexes and statistics are made from.
 */
static void
sample_table(Relation rel, ColumnSample *columns, int n, int rows)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	double		tuples = rel->rd_rel->reltuples;
	BlockNumber wanted = blocks;

	if (rel->rd_tableam->scan_set_tidrange == NULL)
		return;
	if (blocks > 50 && tuples > 0)
		wanted = (BlockNumber) Min(blocks, Max(5, blocks * (4.0 * rows / tuples)));
	if (wanted == blocks && blocks > 0)
		(void) sample_blocks(rel, columns, n, 0, blocks - 1, rows);
	else if (blocks > 0)
	{
		uint32		start = pg_prng_uint32(&pg_global_prng_state) % (blocks / wanted);

		for (BlockNumber i = 0; i < wanted && rows > 0; i++)
		{
			BlockNumber block = start + (BlockNumber) ((uint64) i * blocks / wanted);

			if (block < blocks)
				rows = sample_blocks(rel, columns, n, block, block, rows);
		}
	}
	for (int i = 0; i < n; i++)
		columns[i].sampled = true;
}

/* the class that the values suggest, and the share of them that do; 0 = none */
static int
class_of_values(const ColumnSample *column, double *share)
{
	int			best = 0;

	*share = 0;
	if (column->values == 0)
		return 0;
	for (int i = 1; i <= CPII_CLASS_LAST_SEALED; i++)
	{
		double		part = (double) column->hits[i] / column->values;
		double		enough = i == CPII_CLASS_PERSON_NAME ? 0.6 : 0.3;

		/* a few words that come again and again are no names of people */
		if (i == CPII_CLASS_PERSON_NAME &&
			column->distinct < Max(5, column->values / 20))
			continue;
		if (part >= enough && part > *share)
		{
			best = i;
			*share = part;
		}
	}
	if (best == 0 && column->hits[CPII_SUSPECT_EMBEDDED] > 0 &&
		column->hits[CPII_SUSPECT_EMBEDDED] * 100 >= column->values)
	{
		*share = (double) column->hits[CPII_SUSPECT_EMBEDDED] / column->values;
		return CPII_CLASS_NOTE;
	}
	return best;
}

static void
report_column(ReturnSetInfo *rsinfo, Oid relid, const ColumnSample *column,
			  int *found)
{
	bool		weak;
	int			by_name = cpii_suspect_name(column->name, &weak);
	double		share;
	int			by_value = class_of_values(column, &share);
	const char *evidence;
	int			class_id;
	Datum		values[7];
	bool		nulls[7] = {0};

	if (by_value == 0 && (by_name == 0 || weak))
		return;
	/* nothing in it looks like what the name says: a name alone proves less */
	if (by_value == 0 && column->values >= 20 &&
		(by_name == CPII_CLASS_PHONE || by_name == CPII_CLASS_ID_NUMBER || by_name == CPII_CLASS_EMAIL))
		evidence = "name only";
	else if (by_value == 0)
		evidence = "name";
	else if (by_name == by_value || (by_name == CPII_CLASS_NOTE && by_value != 0))
		evidence = "name and content";
	else
		evidence = by_value == CPII_CLASS_NOTE ? "embedded in content" : "content";
	class_id = by_value != 0 ? by_value : by_name;
	/* JSON and arrays can only be protected as a whole */
	if (column->type == JSONOID || column->type == JSONBOID)
		class_id = CPII_CLASS_NOTE;

	values[0] = ObjectIdGetDatum(relid);
	values[1] = CStringGetDatum(column->name);
	values[1] = DirectFunctionCall1(namein, values[1]);
	values[2] = CStringGetTextDatum(format_type_be(column->type));
	values[3] = CStringGetTextDatum(cpii_class_table[class_id].name);
	values[4] = CStringGetTextDatum(evidence);
	values[5] = Int32GetDatum((int) (share * 20 + 0.5) * 5);
	nulls[5] = by_value == 0;
	values[6] = Int32GetDatum(column->values);
	nulls[6] = !column->sampled;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	(*found)++;
}

static void
look_at(ReturnSetInfo *rsinfo, Oid relid, int rows, int *tables, int *found)
{
	Relation	rel;
	ColumnSample *columns;
	int			n;
	char		kind = get_rel_relkind(relid);
	bool		locked;

	/* who holds the table against reading is not waited for */
	locked = ConditionalLockRelationOid(relid, AccessShareLock);
	if (!locked)
	{
		ereport(NOTICE,
				(errmsg("relation \"%s\" is locked and was left out", get_rel_name(relid))));
		return;
	}
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		return;
	columns = palloc(sizeof(ColumnSample) * Max(RelationGetDescr(rel)->natts, 1));
	n = list_columns(rel, columns);
	if (n > 0 && rows > 0 && (kind == RELKIND_RELATION || kind == RELKIND_MATVIEW) &&
		!RELATION_IS_OTHER_TEMP(rel) && RelationIsPopulated(rel))
	{
		sample_table(rel, columns, n, rows);
		(*tables)++;
	}
	for (int i = 0; i < n; i++)
		report_column(rsinfo, relid, &columns[i], found);
	relation_close(rel, AccessShareLock);
	pfree(columns);
}

static List *
relations_to_look_at(void)
{
	return cpii_internal_oids("SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
							  " WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'courier_pii', 'pg_toast')"
							  " AND n.nspname NOT LIKE 'pg\\_toast\\_temp%' AND n.nspname NOT LIKE 'pg\\_temp%'"
							  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							  "  AND d.objid = c.oid AND d.deptype = 'e')"
							  " ORDER BY n.nspname, c.relname",
							  0, NULL, NULL);
}

/* find_suspects(sample_rows) */
Datum
cpii_find_suspects(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			rows = PG_GETARG_INT32(0);
	int			tables = 0;
	int			found = 0;
	MemoryContext context;
	MemoryContext old;
	List	   *relids;
	ListCell   *lc;

	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor"))
		cpii_require_duty("pii_security_admin");
	if (rows < 0 || rows > MAX_SAMPLE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample_rows must be between 0 and %d", MAX_SAMPLE)));
	InitMaterializedSRF(fcinfo, 0);
	relids = relations_to_look_at();
	context = AllocSetContextCreate(CurrentMemoryContext, "courier_pii advisor",
									ALLOCSET_DEFAULT_SIZES);
	foreach(lc, relids)
	{
		old = MemoryContextSwitchTo(context);
		look_at(rsinfo, lfirst_oid(lc), rows, &tables, &found);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	if (rows > 0)
		cpii_audit_note(CPII_ACT_POLICY, "find_suspects", "ok",
						psprintf("{\"tables\": %d, \"rows\": %d, \"suspects\": %d}",
								 tables, rows, found));
	return (Datum) 0;
}
