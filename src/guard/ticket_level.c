/*-------------------------------------------------------------------------
 *
 * ticket_level.c
 *	  Tickets and levels: a disclosure ticket shows a named person more of named
 *	  tables or rows for some minutes; an export ticket may show less.
 *
 * The details of such a ticket: "class" or "classes", "level" (default clear),
 * "table" or "tables", and, to name rows, "key" (a column) with "values".
 * Without tables it gives nothing.  The door asks here for each value that the
 * person would not see at that level anyway; the ticket is judged once in each
 * statement and used at the first value that it widens.
 *
 * Named rows are known by their sealed values: no two rows have the same, since
 * every sealing has a nonce of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "policy/catalog.h"
#include "policy/column_job.h"
#include "policy/foreign_code.h"
#include "policy/policy.h"
#include "policy/relation.h"
#include "sealed/seal.h"

#define MAX_CLASSES 16
#define MAX_TABLES 16
#define MAX_ROWS 1000
#define VALUE_DIGEST 16

typedef struct ValueEntry
{
	unsigned char digest[VALUE_DIGEST];
} ValueEntry;

/* the ticket as judged in this statement; nclasses 0 = it gives nothing */
static TimestampTz judged_at = 0;
static uint64 judged_account = 0;
static char judged_name[32];
static int	classes[MAX_CLASSES];
static int	nclasses = 0;
static Oid	tables[MAX_TABLES];
static int	ntables = 0;
static CpiiLevel given;
static CpiiLevel cap = CPII_LEVEL_CLEAR;	/* of an export ticket */
static HTAB *rows = NULL;		/* NULL: all rows of the tables */
static MemoryContext context = NULL;
static bool judging = false;

static void
value_digest(const bytea *value, unsigned char *digest)
{
	unsigned char full[CPII_SHA256_LEN];

	if (!cpii_sha256((const unsigned char *) VARDATA_ANY(value),
					 VARSIZE_ANY_EXHDR(value), full))
		memset(full, 0, sizeof(full));
	memcpy(digest, full, VALUE_DIGEST);
}

/* rows are named by texts: nobody's own cast may make them for us */
static void
check_key(Oid relid, const char *key)
{
	Oid			type = getBaseType(get_atttype(relid, get_attnum(relid, key)));
	Oid			function;

	if (find_coercion_pathway(TEXTOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC &&
		cpii_foreign_function(function, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("ticket cannot name rows of table \"%s\" by column \"%s\"",
						get_rel_name(relid), key),
				 errdetail("Type %s is cast to text by function \"%s\".",
						   format_type_be(type), get_func_name(function)),
				 errhint("Name the rows by another column.")));
}

/* remember the sealed values of the rows that the ticket names */
static void
load_rows(Oid relid, const char *key, char **values, int n)
{
	Oid			types[1] = {TEXTARRAYOID};
	Datum		args[1];
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));
	char		kind = get_rel_relkind(relid);
	uint64		found;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_MATVIEW)
		return;
	check_key(relid, key);
	for (int i = 0; i < n; i++)
		elems[i] = CStringGetTextDatum(values[i]);
	args[0] = PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
	SPI_connect();
	found = cpii_table_read(relid,
							psprintf("SELECT t.* FROM %s t WHERE t.%s::pg_catalog.text = ANY ($1)",
									 cpii_qualified_name(relid), quote_identifier(key)),
							1, types, args, true, MAX_ROWS);
	for (uint64 i = 0; i < found; i++)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;

		for (int c = 1; c <= desc->natts; c++)
		{
			bool		isnull;
			Datum		value;
			unsigned char digest[VALUE_DIGEST];

			if (cpii_class_of_type(TupleDescAttr(desc, c - 1)->atttypid,
								   TupleDescAttr(desc, c - 1)->atttypmod) == 0)
				continue;
			value = SPI_getbinval(SPI_tuptable->vals[i], desc, c, &isnull);
			if (isnull)
				continue;
			value_digest(DatumGetByteaPP(value), digest);
			(void) hash_search(rows, digest, HASH_ENTER, NULL);
		}
	}
	SPI_finish();
}

static void
forget(void)
{
	nclasses = ntables = 0;
	cap = CPII_LEVEL_CLEAR;
	rows = NULL;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"courier_pii disclosure ticket",
										ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(context);
}

static void
load(const CpiiRequest *request)
{
	char	   *name = cpii_request_detail(request, "level");
	char	   *key = cpii_request_detail(request, "key");
	char	  **texts;
	int			n;

	if (!cpii_level_by_name(name ? name : "clear", &given))
		return;
	for (int i = 0; i < request->nobjects && ntables < MAX_TABLES; i++)
	{
		Oid			relid = request->object_oids[i];
		Oid			base;

		if (!OidIsValid(relid) || get_rel_name(relid) == NULL)
			continue;
		base = cpii_masked_view_base(relid);
		tables[ntables++] = OidIsValid(base) ? base : relid;
	}
	if (key != NULL)
	{
		HASHCTL		ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = VALUE_DIGEST;
		ctl.entrysize = sizeof(ValueEntry);
		ctl.hcxt = context;
		rows = hash_create("courier_pii ticket rows", 64, &ctl,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		n = cpii_request_texts(request, "values", &texts);
		for (int i = 0; i < ntables; i++)
			if (get_attnum(tables[i], key) > 0)
				load_rows(tables[i], key, texts, n);
	}
	n = cpii_request_texts(request, "class", &texts);
	for (int i = 0; i < n && nclasses < MAX_CLASSES; i++)
		classes[nclasses++] = cpii_class_by_name(texts[i]);
	n = cpii_request_texts(request, "classes", &texts);
	for (int i = 0; i < n && nclasses < MAX_CLASSES; i++)
		classes[nclasses++] = cpii_class_by_name(texts[i]);
}

/* judge the ticket once in each statement: a revocation holds from the next on */
static void
judge_again(void)
{
	CpiiRequest request;
	MemoryContext old;

	if (judging)
		return;
	if (judged_at == GetCurrentStatementStartTimestamp() &&
		judged_account == cpii_account_number() &&
		strncmp(judged_name, cpii_ticket, sizeof(judged_name) - 1) == 0)
		return;
	judged_at = GetCurrentStatementStartTimestamp();
	judged_account = cpii_account_number();
	strlcpy(judged_name, cpii_ticket, sizeof(judged_name));
	forget();
	old = MemoryContextSwitchTo(context);
	if (cpii_ticket_look("disclosure", &request))
	{
		/* code of a table's owner may come back here: the ticket gives it nothing */
		judging = true;
		PG_TRY();
		{
			load(&request);
		}
		PG_FINALLY();
		{
			judging = false;
		}
		PG_END_TRY();
	}
	else if (cpii_ticket_look("export", &request))
	{
		/* an export may be approved for masked values or tokens only */
		char	   *name = cpii_request_detail(&request, "level");

		if (name != NULL && !cpii_level_by_name(name, &cap))
			cap = CPII_LEVEL_HIDDEN;
	}
	MemoryContextSwitchTo(old);
}

/* the level of a value with what the session's ticket gives or takes */
static CpiiLevel
ticket_level(int class_id, Oid relid, const bytea *value, CpiiLevel level,
			 bool may_widen)
{
	bool		found = false;

	if (cpii_internal_depth > 0)
		return level;
	judge_again();
	if (cap < level)
		return cap;
	if (!may_widen || given <= level)
		return level;
	for (int i = 0; i < nclasses; i++)
		found |= classes[i] == class_id;
	if (!found)
		return level;
	found = false;
	for (int i = 0; i < ntables; i++)
		found |= tables[i] == relid;
	if (!found)
		return level;
	if (rows != NULL)
	{
		unsigned char digest[VALUE_DIGEST];

		value_digest(value, digest);
		if (hash_search(rows, digest, HASH_FIND, NULL) == NULL)
			return level;
	}
	/* the first value: the ticket's minutes begin, on disk, before it is shown */
	if (!cpii_ticket_take("disclosure"))
		return level;
	return given;
}

void
cpii_ticket_level_init(void)
{
	cpii_ticket_level_hook = ticket_level;
}
