/*-------------------------------------------------------------------------
 *
 * view_upsert.c
 *	  Insert or update through a masked view, as INSERT ... ON CONFLICT does.
 *
 * PostgreSQL allows ON CONFLICT only on tables.  This function does the same
 * with an UPDATE and an INSERT through the view, with the caller's rights and
 * nothing more: a row that the caller does not see is not found, and a key of
 * a protected column is searched for, which needs search permission.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/internal.h"
#include "policy/policy.h"
#include "policy/relation.h"

PG_FUNCTION_INFO_V1(cpii_upsert);
CPII_EXPORT Datum cpii_upsert(PG_FUNCTION_ARGS);

/* another session may insert and delete the key in between; not for ever */
#define MAX_ATTEMPTS 4

typedef struct Cell
{
	char	   *column;
	bool		is_key;
	Oid			type;
	Datum		value;
	bool		isnull;
} Cell;

/* the JSON value as input text of a column; NULL for null */
static char *
value_text(JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(v->val.numeric)));
		default:
			{
				Jsonb	   *json = JsonbValueToJsonb(v);

				return JsonbToCString(NULL, &json->root, VARSIZE(json));
			}
	}
}

static bool
in_key(ArrayType *key, const char *column)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(key, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && strcmp(NameStr(*DatumGetName(elems[i])), column) == 0)
			return true;
	return false;
}

/* the object's members as values of the view's columns */
static int
read_cells(Jsonb *object, Oid view, ArrayType *key, Cell **cells)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	int			n = 0;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row must be a JSON object"),
				 errhint("For example {\"id\": 1, \"state\": \"sent\"}.")));
	*cells = palloc0(sizeof(Cell) * Max(JB_ROOT_COUNT(object), 1));
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Cell	   *cell = &(*cells)[n];
		AttrNumber	attnum;
		Oid			input;
		Oid			ioparam;
		Oid			collation;
		int32		typmod;
		char	   *text;

		if (token != WJB_KEY)
			continue;
		cell->column = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		attnum = get_attnum(view, cell->column);
		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							cell->column, get_rel_name(view))));
		cell->is_key = in_key(key, cell->column);
		get_atttypetypmodcoll(view, attnum, &cell->type, &typmod, &collation);
		text = value_text(&v);
		cell->isnull = text == NULL;
		if (cell->is_key && cell->isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("key column \"%s\" must not be null", cell->column)));
		getTypeInputInfo(cell->type, &input, &ioparam);
		cell->value = OidInputFunctionCall(input, text, ioparam, typmod);
		n++;
	}
	return n;
}

static void
check_key(ArrayType *key, Cell *cells, int n)
{
	Datum	   *elems;
	bool	   *nulls;
	int			nkey;

	deconstruct_array(key, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elems, &nulls, &nkey);
	if (nkey == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key must name at least one column")));
	for (int i = 0; i < nkey; i++)
	{
		bool		found = false;

		for (int j = 0; j < n; j++)
			found |= !nulls[i] && strcmp(cells[j].column, NameStr(*DatumGetName(elems[i]))) == 0;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("row has no value for key column \"%s\"",
							nulls[i] ? "" : NameStr(*DatumGetName(elems[i])))));
	}
}

/* UPDATE of what is no key, or a mere look when everything is key */
static char *
update_sql(const char *view, Cell *cells, int n)
{
	StringInfoData sql;
	bool		any = false;

	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
	{
		if (cells[i].is_key)
			continue;
		appendStringInfo(&sql, any ? ", %s = $%d" : "%s = $%d",
						 quote_identifier(cells[i].column), i + 1);
		any = true;
	}
	if (any)
	{
		char	   *set = sql.data;

		initStringInfo(&sql);
		appendStringInfo(&sql, "UPDATE %s AS t SET %s", view, set);
	}
	else
		appendStringInfo(&sql, "SELECT 1 FROM %s AS t", view);
	any = false;
	for (int i = 0; i < n; i++)
	{
		if (!cells[i].is_key)
			continue;
		appendStringInfo(&sql, "%s t.%s OPERATOR(pg_catalog.=) $%d",
						 any ? " AND" : " WHERE",
						 quote_identifier(cells[i].column), i + 1);
		any = true;
	}
	return sql.data;
}

static char *
insert_sql(const char *view, Cell *cells, int n)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (", view);
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, i > 0 ? ", %s" : "%s", quote_identifier(cells[i].column));
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, i > 0 ? ", $%d" : "$%d", i + 1);
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* false when the key exists (perhaps meanwhile); other errors are raised */
static bool
try_insert(const char *sql, int n, Oid *types, Datum *values, char *nulls,
		   bool last)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		if (SPI_execute_with_args(sql, n, types, values, nulls, false, 0) < 0)
			elog(ERROR, "could not insert");
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION || last)
			ReThrowError(error);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return done;
}

/* upsert(view, row, key) */
Datum
cpii_upsert(PG_FUNCTION_ARGS)
{
	Oid			view = PG_GETARG_OID(0);
	Jsonb	   *object = PG_GETARG_JSONB_P(1);
	ArrayType  *key = PG_GETARG_ARRAYTYPE_P(2);
	Cell	   *cells;
	int			n;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;
	char	   *name;
	const char *result = NULL;

	cpii_require_preload();
	if (get_rel_relkind(view) != RELKIND_VIEW ||
		!OidIsValid(cpii_masked_view_base(view)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a masked view",
						get_rel_name(view) ? get_rel_name(view) : "?"),
				 errhint("On tables use INSERT ... ON CONFLICT.")));
	n = read_cells(object, view, key, &cells);
	check_key(key, cells, n);
	types = palloc(sizeof(Oid) * n);
	values = palloc(sizeof(Datum) * n);
	nulls = palloc(n);
	for (int i = 0; i < n; i++)
	{
		types[i] = cells[i].type;
		values[i] = cells[i].value;
		nulls[i] = cells[i].isnull ? 'n' : ' ';
	}
	name = cpii_qualified_name(view);

	SPI_connect();
	for (int attempt = 1; result == NULL; attempt++)
	{
		if (SPI_execute_with_args(update_sql(name, cells, n), n, types, values,
								  nulls, false, 0) < 0)
			elog(ERROR, "could not update");
		if (SPI_processed > 0)
			result = "updated";
		else if (try_insert(insert_sql(name, cells, n), n, types, values, nulls,
							attempt == MAX_ATTEMPTS))
			result = "inserted";
	}
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}
