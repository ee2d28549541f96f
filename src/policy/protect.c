/*-------------------------------------------------------------------------
 *
 * protect.c
 *	  protect_column, protect_columns: one ALTER TABLE that seals existing
 *	  columns, and one for each table that foreign keys connect them with.
 *
 * Before anything is changed, everything that could not be kept is looked for
 * and named in one error (protect_check.c).  NOT NULL, UNIQUE, primary keys,
 * indexes, constant defaults, grants, comments and partitions are kept; plain
 * indexes become indexes on search_tag() (index_rebuild.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "policy/catalog.h"
#include "policy/column_job.h"
#include "policy/policy.h"
#include "policy/probe.h"
#include "policy/protect.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_protect_column);
PG_FUNCTION_INFO_V1(cpii_protect_columns);
PG_FUNCTION_INFO_V1(cpii_seal_pgcrypto);
CPII_EXPORT Datum cpii_protect_column(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_protect_columns(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_seal_pgcrypto(PG_FUNCTION_ARGS);

/*
 * The key of pgcrypto while protect_column runs.  Not part of any statement,
 * which an error would show.
 */
static char *pgcrypto_key = NULL;
static Size pgcrypto_key_len = 0;

/* ---- values that pgcrypto encrypted ---- */

/* its functions, wherever it is installed */
static Oid	pgp_sym_decrypt;
static Oid	raw_decrypt;
static Oid	dearmor;

static Oid
find_function(const char *schema, const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString(pstrdup(schema)),
									 makeString(pstrdup(name))),
						  nargs, types, false);
}

static void
find_pgcrypto(void)
{
	Oid			message[3] = {BYTEAOID, TEXTOID, InvalidOid};
	Oid			raw[3] = {BYTEAOID, BYTEAOID, TEXTOID};
	Oid			armored[1] = {TEXTOID};
	char	   *schema;

	cpii_internal_execute("SELECT n.nspname FROM pg_catalog.pg_extension e"
						  " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
						  " WHERE e.extname = 'pgcrypto'",
						  0, NULL, NULL, NULL, true, 1);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" does not exist", "pgcrypto")));
	schema = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	pgp_sym_decrypt = find_function(schema, "pgp_sym_decrypt", 2, message);
	raw_decrypt = find_function(schema, "decrypt", 3, raw);
	dearmor = find_function(schema, "dearmor", 1, armored);
}

/* an OpenPGP message begins with a session key packet of version 4 */
static bool
is_openpgp(const bytea *message)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(message);

	return VARSIZE_ANY_EXHDR(message) > 4 && (p[0] == 0xc3 || p[0] == 0x8c) &&
		p[2] == 4 && p[3] >= 1 && p[3] <= 13;
}

static text *
pgcrypto_decrypt(bytea *message)
{
	Datum		key = PointerGetDatum(cstring_to_text_with_len(pgcrypto_key, (int) pgcrypto_key_len));

	if (is_openpgp(message))
		return DatumGetTextPP(OidFunctionCall2(pgp_sym_decrypt,
											   PointerGetDatum(message), key));
	/* text and bytea have one form */
	return DatumGetTextPP(OidFunctionCall3(raw_decrypt, PointerGetDatum(message),
										   key, CStringGetTextDatum("aes")));
}

/*
 * seal_pgcrypto(bytea or text, class): for protect_column only, with the key
 * that was given there.  A text is an armored message.
 */
Datum
cpii_seal_pgcrypto(PG_FUNCTION_ARGS)
{
	bytea	   *message = PG_GETARG_BYTEA_PP(0);
	text	   *plain;
	size_t		len;
	char	   *utf8;
	bytea	   *result;

	if (pgcrypto_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" is for protect_column", "seal_pgcrypto")));
	if (get_fn_expr_argtype(fcinfo->flinfo, 0) == TEXTOID)
		message = DatumGetByteaPP(OidFunctionCall1(dearmor, PointerGetDatum(message)));
	plain = pgcrypto_decrypt(message);
	pg_verifymbstr(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), false);
	utf8 = cpii_to_utf8(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), &len);
	cpii_probe_existing(PG_GETARG_INT32(1));
	result = cpii_seal_value(PG_GETARG_INT32(1), utf8, len);
	cpii_wipe(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	PG_RETURN_BYTEA_P(result);
}

/* ---- protect_column, protect_columns ---- */

static void
append_column(StringInfo sql, const CpiiProtect *column)
{
	const char *name = quote_identifier(column->column);
	const char *class_name = cpii_class_name(column->class_id);

	if (column->deflt != NULL)
		appendStringInfo(sql, "ALTER COLUMN %s DROP DEFAULT, ", name);
	appendStringInfo(sql, "ALTER COLUMN %s TYPE courier_pii.%s USING courier_pii.%s(%s%s, %d)::courier_pii.%s",
					 name, class_name,
					 column->pgcrypto ? "seal_pgcrypto" : "seal_existing", name,
					 column->pgcrypto && getBaseType(column->type) == BYTEAOID ?
					 "::pg_catalog.bytea" : "::pg_catalog.text",
					 column->class_id, class_name);
	if (column->deflt != NULL)
		appendStringInfo(sql, ", ALTER COLUMN %s SET DEFAULT %s", name,
						 quote_literal_cstr(column->deflt));
}

static void
note_protected(const char *table, const CpiiProtect *column)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"table\": ");
	escape_json(&detail, table);
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, column->column);
	appendStringInfo(&detail, ", \"class\": \"%s\"%s}",
					 cpii_class_name(column->class_id),
					 column->pgcrypto ? ", \"from\": \"pgcrypto\"" : "");
	cpii_audit_note(CPII_ACT_POLICY, "protect_column", "ok", detail.data);
}

static void
run_each(List *statements)
{
	ListCell   *lc;

	foreach(lc, statements)
		cpii_internal_execute(lfirst(lc), 0, NULL, NULL, NULL, false, 0);
}

/* one ALTER for all its columns; plain indexes become hash indexes */
static void
alter_table(const CpiiProtectTable *table)
{
	char	   *name = cpii_qualified_name(table->relid);
	StringInfoData sql;
	List	   *indexes = NIL;
	List	   *defaults = NIL;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ", name);
	foreach(lc, table->columns)
	{
		CpiiProtect *column = lfirst(lc);
		List	   *before;

		if (foreach_current_index(lc) > 0)
			appendStringInfoString(&sql, ", ");
		append_column(&sql, column);
		defaults = list_concat(defaults, cpii_protect_part_defaults(table->relid, column->column, &before));
		run_each(before);
	}
	foreach(lc, table->columns)
		indexes = list_concat(indexes, cpii_indexes_take(table->relid, ((CpiiProtect *) lfirst(lc))->column, true));
	cpii_internal_execute(sql.data, 0, NULL, NULL, NULL, false, 0);
	run_each(defaults);
	/* plans over the indexes are estimated from the column's statistics */
	if (indexes != NIL)
		cpii_internal_execute(psprintf("ANALYZE %s (%s)", name,
									   quote_identifier(((CpiiProtect *) linitial(table->columns))->column)),
							  0, NULL, NULL, NULL, false, 0);
	cpii_indexes_make(indexes);
}

/* the given column, or one of the same class that goes along */
static CpiiProtect *
column_of_group(const CpiiGroupColumn *wanted, Oid relid, CpiiProtect *columns, int n)
{
	CpiiProtect *along;

	for (int i = 0; wanted->relid == relid && i < n; i++)
		if (strcmp(columns[i].column, wanted->name) == 0)
			return &columns[i];
	along = palloc0(sizeof(CpiiProtect));
	along->column = wanted->name;
	return along;
}

static CpiiProtect *
side_of_pair(List *tables, Oid relid, const char *name)
{
	Oid			top = cpii_group_top(relid, name);
	ListCell   *lt;
	ListCell   *lc;

	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);

		if (table->relid != top)
			continue;
		foreach(lc, table->columns)
			if (strcmp(((CpiiProtect *) lfirst(lc))->column, name) == 0)
				return lfirst(lc);
	}
	elog(ERROR, "column \"%s\" of relation %u is not in its group", name, top);
	return NULL;				/* keep compiler quiet */
}

/*
 * Columns that keys connect get one class: each pair makes both sides equal,
 * until nothing changes any more.
 */
static void
spread_classes(CpiiGroup *group, List *tables)
{
	bool		changed;

	do
	{
		ListCell   *lc;

		changed = false;
		foreach(lc, group->pairs)
		{
			CpiiGroupPair *pair = lfirst(lc);
			CpiiProtect *from = side_of_pair(tables, pair->from_relid, pair->from);
			CpiiProtect *to = side_of_pair(tables, pair->to_relid, pair->to);

			if (from->class_id == to->class_id)
				continue;
			if (from->class_id != 0 && to->class_id != 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("columns \"%s\" and \"%s\" that a foreign key connects cannot be of two classes",
								from->column, to->column)));
			from->class_id = to->class_id = Max(from->class_id, to->class_id);
			from->pgcrypto = to->pgcrypto = from->pgcrypto || to->pgcrypto;
			changed = true;
		}
	} while (changed);
}

/* the tables of the group, the one given first among them, with their columns */
static List *
tables_of_group(CpiiGroup *group, Oid relid, CpiiProtect *columns, int n)
{
	List	   *tables = NIL;
	ListCell   *lt;
	ListCell   *lc;

	foreach(lt, cpii_group_tables(group))
	{
		CpiiProtectTable *table = palloc0(sizeof(CpiiProtectTable));

		table->relid = lfirst_oid(lt);
		/* of the table given in the order given */
		for (int i = 0; table->relid == relid && i < n; i++)
			table->columns = lappend(table->columns, &columns[i]);
		foreach(lc, group->columns)
		{
			CpiiGroupColumn *wanted = lfirst(lc);

			if (wanted->relid == table->relid)
				table->columns = list_append_unique_ptr(table->columns,
														column_of_group(wanted, relid, columns, n));
		}
		tables = lappend(tables, table);
	}
	return tables;
}

/* all tables of the group, referenced ones first, until no key leads to another one */
static CpiiGroup *
lock_group(List *given)
{
	CpiiGroup  *group = cpii_group_find(given);
	List	   *locked = NIL;
	List	   *wanted;
	ListCell   *lc;

	cpii_group_tell(group, given);
	while ((wanted = list_difference_oid(cpii_group_tables(group), locked)) != NIL)
	{
		/* who may not is told before anybody waits */
		foreach(lc, wanted)
			cpii_require_table_duty(lfirst_oid(lc));
		/* writers may hold one and want another: nobody waits for us for long */
		if (list_length(cpii_group_tables(group)) > 1)
			cpii_job_lock_tables(wanted, AccessExclusiveLock);
		foreach(lc, wanted)
		{
			Relation	rel = table_open(lfirst_oid(lc), AccessExclusiveLock);

			cpii_protect_check_table(rel);
			/* our own lock on an open relation would count as "in use" */
			table_close(rel, NoLock);
		}
		locked = list_concat(locked, wanted);
		group = cpii_group_find(given);
	}
	return group;
}

static void
protect(Oid relid, CpiiProtect *columns, int n)
{
	CpiiGroup  *group;
	List	   *tables;
	List	   *given = NIL;
	List	   *keys;
	ListCell   *lt;
	ListCell   *lc;

	cpii_require_preload();
	cpii_protect_check_relid(relid);
	SPI_connect();
	for (int i = 0; i < n; i++)
		given = lappend(given, cpii_group_column(relid, columns[i].column));
	group = lock_group(given);
	tables = tables_of_group(group, relid, columns, n);
	spread_classes(group, tables);
	cpii_protect_check(tables, group, false);
	if (pgcrypto_key != NULL)
		find_pgcrypto();
	foreach(lt, tables)
	{
		foreach(lc, ((CpiiProtectTable *) lfirst(lt))->columns)
		{
			int			epoch;

			/* no key: say so before the table is touched */
			(void) cpii_keyring_seal_cipher(((CpiiProtect *) lfirst(lc))->class_id, &epoch);
		}
	}
	keys = cpii_keys_take(group);
	foreach(lt, tables)
		alter_table(lfirst(lt));
	cpii_keys_make(keys, false);
	SPI_finish();
	cpii_policy_changed();
	foreach(lt, tables)
	{
		CpiiProtectTable *table = lfirst(lt);

		foreach(lc, table->columns)
			note_protected(cpii_qualified_name(table->relid), lfirst(lc));
	}
}

/* protect_column(tbl, col, class, pgcrypto_key) */
Datum
cpii_protect_column(PG_FUNCTION_ARGS)
{
	CpiiProtect column;
	text	   *key;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("table, column and class must not be null")));
	memset(&column, 0, sizeof(column));
	column.column = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	column.class_id = cpii_sealed_class_or_error(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (PG_NARGS() < 4 || PG_ARGISNULL(3))
	{
		protect(PG_GETARG_OID(0), &column, 1);
		PG_RETURN_VOID();
	}

	column.pgcrypto = true;
	key = PG_GETARG_TEXT_PP(3);
	pgcrypto_key = VARDATA_ANY(key);
	pgcrypto_key_len = VARSIZE_ANY_EXHDR(key);
	PG_TRY();
	{
		protect(PG_GETARG_OID(0), &column, 1);
	}
	PG_FINALLY();
	{
		pgcrypto_key = NULL;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

/* protect_columns(tbl, jsonb): {"column": "class", ...}, one rewrite of the table */
Datum
cpii_protect_columns(PG_FUNCTION_ARGS)
{
	Jsonb	   *given = PG_GETARG_JSONB_P(1);
	CpiiProtect *columns;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	int			n = 0;

	if (!JB_ROOT_IS_OBJECT(given) || JB_ROOT_COUNT(given) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must be a JSON object of columns and classes"),
				 errhint("For example {\"recv_phone\": \"phone\", \"recv_name\": \"person_name\"}.")));
	columns = palloc0(sizeof(CpiiProtect) * JB_ROOT_COUNT(given));
	it = JsonbIteratorInit(&given->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			columns[n].column = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("class of column \"%s\" must be a string", columns[n].column)));
			columns[n].class_id =
				cpii_sealed_class_or_error(pnstrdup(v.val.string.val, v.val.string.len));
			n++;
		}
	}
	protect(PG_GETARG_OID(0), columns, n);
	PG_RETURN_VOID();
}
