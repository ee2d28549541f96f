/*-------------------------------------------------------------------------
 *
 * package.c
 *	  Encrypted packages: the rows of a masked view, with decoys, encrypted for
 *	  one recipient.
 *
 * Order: the ticket is used, the BEGIN record is written, the rows are read
 * through the door with the caller's rights, the marks of the decoys are put
 * into register and audit trail, and only then the package exists.  The audit
 * trail keeps the marks when the transaction is rolled back after the package
 * has left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/cms.h"
#include "guard/guard.h"
#include "guard/leak_mark.h"
#include "guard/ticket.h"
#include "policy/policy.h"
#include "policy/relation.h"
#include "sealed/seal.h"

#define DEFAULT_DECOYS 5
#define MAX_DECOYS 50
#define MAX_COLUMNS 200
#define ID_BYTES 8

PG_FUNCTION_INFO_V1(cpii_export_sealed);
CPII_EXPORT Datum cpii_export_sealed(PG_FUNCTION_ARGS);

typedef struct Package
{
	Oid			view;
	Oid			base;
	char		id[2 * ID_BYTES + 1];
	int64		ticket;
	int64		max_rows;
	int			ndecoys;
	int			ncolumns;
	CpiiMarkColumn columns[MAX_COLUMNS];
	bool		protected_column[MAX_COLUMNS];
	char	 ***rows;
	int64		nrows;
	StringInfoData csv;
} Package;

static char *
hex(const unsigned char *bytes, int n)
{
	char	   *out = palloc(2 * n + 1);

	for (int i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return out;
}

static unsigned int
random_below(unsigned int n)
{
	uint32		value;

	if (!cpii_random((unsigned char *) &value, sizeof(value)))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not generate random bytes")));
	return value % n;
}

/* ---- rows ---- */

static void
describe(Package *package, TupleDesc desc)
{
	package->ncolumns = desc->natts;
	if (desc->natts > MAX_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("an export has at most %d columns", MAX_COLUMNS)));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AttrNumber	attnum = get_attnum(package->base, NameStr(att->attname));
		Oid			type = attnum > 0 ? get_atttype(package->base, attnum) : InvalidOid;

		package->columns[i].class_id = OidIsValid(type) ? cpii_class_of_type(type, -1) : 0;
		package->protected_column[i] = package->columns[i].class_id != 0;
		package->columns[i].number = att->atttypid == INT2OID ||
			att->atttypid == INT4OID || att->atttypid == INT8OID;
		package->columns[i].unique = package->nrows > 1;
		package->columns[i].largest = PG_INT64_MIN;
	}
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* which native columns have no value twice; the largest of whole numbers */
static void
study(Package *package)
{
	char	  **texts = palloc(sizeof(char *) * Max(package->nrows, 1));

	for (int c = 0; c < package->ncolumns; c++)
	{
		CpiiMarkColumn *column = &package->columns[c];
		int64		n = 0;

		for (int64 r = 0; r < package->nrows; r++)
		{
			char	   *text = package->rows[r][c];

			if (text == NULL)
				continue;
			texts[n++] = text;
			if (column->number)
				column->largest = Max(column->largest, strtoll(text, NULL, 10));
		}
		qsort(texts, n, sizeof(char *), compare_texts);
		for (int64 i = 1; i < n && column->unique; i++)
			if (strcmp(texts[i - 1], texts[i]) == 0)
				column->unique = false;
		if (n < package->nrows)
			column->unique = false;
	}
	pfree(texts);
}

/* read the view with the caller's rights, through the door */
static void
read_rows(Package *package)
{
	TupleDesc	desc;
	int			rc = SPI_execute(psprintf("SELECT * FROM %s", cpii_qualified_name(package->view)),
								 false, package->max_rows >= 0 ? package->max_rows + 1 : 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "statement returned %s", SPI_result_code_string(rc));
	if (package->max_rows >= 0 && (int64) SPI_processed > package->max_rows)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("more rows are exported than the ticket allows"),
				 errdetail("The ticket allows %lld rows.", (long long) package->max_rows)));
	desc = SPI_tuptable->tupdesc;
	package->nrows = (int64) SPI_processed;
	package->rows = palloc_extended(sizeof(char **) * Max(package->nrows, 1), MCXT_ALLOC_HUGE);
	describe(package, desc);
	for (int64 r = 0; r < package->nrows; r++)
	{
		package->rows[r] = palloc(sizeof(char *) * package->ncolumns);
		for (int c = 0; c < package->ncolumns; c++)
			package->rows[r][c] = SPI_getvalue(SPI_tuptable->vals[r], desc, c + 1);
	}
	for (int c = 0; c < package->ncolumns; c++)
		appendStringInfo(&package->csv, "%s%s", c > 0 ? "," : "",
						 quote_identifier(NameStr(TupleDescAttr(desc, c)->attname)));
	appendStringInfoChar(&package->csv, '\n');
	study(package);
}

static void
append_row(Package *package, char **row)
{
	for (int c = 0; c < package->ncolumns; c++)
	{
		if (c > 0)
			appendStringInfoChar(&package->csv, ',');
		if (row[c] == NULL)
			continue;
		if (row[c][0] != '\0' && strpbrk(row[c], ",\"\r\n") == NULL)
		{
			appendStringInfoString(&package->csv, row[c]);
			continue;
		}
		appendStringInfoChar(&package->csv, '"');
		for (const char *p = row[c]; *p != '\0'; p++)
		{
			if (*p == '"')
				appendStringInfoChar(&package->csv, '"');
			appendStringInfoChar(&package->csv, *p);
		}
		appendStringInfoChar(&package->csv, '"');
	}
	appendStringInfoChar(&package->csv, '\n');
}

/* ---- marks ---- */

static void
store_fingerprint(const Package *package, int decoy, const CpiiFingerprint *print)
{
	Oid			types[4] = {TEXTOID, INT4OID, BOOLOID, BYTEAOID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(package->id);
	values[1] = Int32GetDatum(decoy);
	values[2] = BoolGetDatum(print->pair);
	values[3] = cpii_bytea(print->bytes, sizeof(print->bytes));
	cpii_internal_execute("INSERT INTO courier_pii.export_decoy"
						  " (export_id, decoy, pair, fingerprint) VALUES ($1, $2, $3, $4)",
						  4, types, values, NULL, false, 0);
}

static void
mark_decoy(Package *package, int decoy, char **row)
{
	CpiiFingerprint prints[CPII_MAX_FINGERPRINTS];
	int			n = cpii_fingerprints((const char *const *) row,
									  package->protected_column,
									  package->ncolumns, prints);
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"export\": \"%s\", \"ticket\": %lld, \"decoy\": %d, \"decoys\": %d, \"marks\": [",
					 package->id, (long long) package->ticket, decoy, package->ndecoys);
	for (int i = 0; i < n; i++)
	{
		store_fingerprint(package, decoy, &prints[i]);
		if (i < 60)
			appendStringInfo(&detail, "%s\"%c:%s\"", i > 0 ? ", " : "",
							 prints[i].pair ? 'p' : 'r', hex(prints[i].bytes, sizeof(prints[i].bytes)));
	}
	appendStringInfoString(&detail, "]}");
	cpii_audit_note(CPII_ACT_EXPORT, "export_mark", "ok", detail.data);
}

/* all rows, with the decoys at random places */
static void
write_rows(Package *package)
{
	int64		at[MAX_DECOYS];
	int			decoys = package->nrows > 0 ? package->ndecoys : 0;

	package->ndecoys = decoys;
	for (int d = 0; d < decoys; d++)
		at[d] = random_below((unsigned int) Min(package->nrows, PG_INT32_MAX));
	for (int64 r = 0; r < package->nrows; r++)
	{
		append_row(package, package->rows[r]);
		for (int d = 0; d < decoys; d++)
		{
			char	  **row;

			if (at[d] != r)
				continue;
			row = cpii_decoy_row(package->columns, package->ncolumns, package->rows[r]);
			mark_decoy(package, d + 1, row);
			append_row(package, row);
		}
	}
}

/* ---- the package ---- */

static void
write_file(const Package *package, const unsigned char *data, size_t len)
{
	char		path[MAXPGPATH];
	int			fd;
	bool		ok;

	snprintf(path, sizeof(path), "%s/%s.p7m", cpii_export_directory, package->id);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	errno = 0;
	ok = write(fd, data, len) == (ssize_t) len && pg_fsync(fd) == 0;
	if (close(fd) != 0 || !ok)
	{
		int			saved = errno ? errno : ENOSPC;

		(void) unlink(path);
		errno = saved;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
	}
}

static void
register_export(const Package *package, const unsigned char *data, size_t len,
				const char *recipient)
{
	Oid			types[8] = {TEXTOID, INT8OID, TEXTOID, TEXTOID, INT8OID, INT4OID, TEXTOID, TEXTOID};
	Datum		values[8];
	unsigned char digest[CPII_SHA256_LEN];
	unsigned char whom[CPII_SHA256_LEN];
	StringInfoData detail;

	if (!cpii_sha256(data, len, digest) ||
		!cpii_sha256((const unsigned char *) recipient, strlen(recipient), whom))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	values[0] = CStringGetTextDatum(package->id);
	values[1] = Int64GetDatum(package->ticket);
	values[2] = CStringGetTextDatum(cpii_acting_person().name);
	values[3] = CStringGetTextDatum(cpii_qualified_name(package->view));
	values[4] = Int64GetDatum(package->nrows);
	values[5] = Int32GetDatum(package->ndecoys);
	values[6] = CStringGetTextDatum(hex(digest, sizeof(digest)));
	values[7] = CStringGetTextDatum(hex(whom, sizeof(whom)));
	cpii_internal_execute("INSERT INTO courier_pii.export_register"
						  " (export_id, ticket, person, relation, rows, decoys,"
						  " package_digest, recipient_digest)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
						  8, types, values, NULL, false, 0);
	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"export\": \"%s\", \"ticket\": %lld, \"rows\": %lld, \"digest\": \"%s\", \"recipient\": \"%s\"}",
					 package->id, (long long) package->ticket, (long long) package->nrows,
					 hex(digest, sizeof(digest)), hex(whom, sizeof(whom)));
	cpii_audit_note(CPII_ACT_EXPORT, "export_sealed", "ok", detail.data);
}

/* what the ticket says of the package */
static void
read_ticket(Package *package)
{
	CpiiRequest request;
	int64		decoys;

	package->ticket = cpii_ticket_redeem_all("export", &package->view, 1);
	if (!cpii_request_load(package->ticket, false, &request))
		elog(ERROR, "request %lld is missing", (long long) package->ticket);
	package->max_rows = cpii_request_number(&request, "max_rows", -1);
	decoys = cpii_request_number(&request, "decoys", DEFAULT_DECOYS);
	package->ndecoys = (int) Min(decoys, MAX_DECOYS);
}

/* export_sealed(relation, recipient, to_file): export_id, package */
Datum
cpii_export_sealed(PG_FUNCTION_ARGS)
{
	Package    *package = palloc0(sizeof(Package));
	char	   *recipient = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		to_file = PG_GETARG_BOOL(2);
	unsigned char id[ID_BYTES];
	unsigned char *data;
	size_t		len;
	const char *why;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	MemoryContext context = CurrentMemoryContext;

	cpii_require_preload();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	package->view = PG_GETARG_OID(0);
	package->base = cpii_masked_view_base(package->view);
	if (!OidIsValid(package->base))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("only masked views are exported in packages"),
				 errhint("See the view courier_pii.masked_views.")));
	/* a recipient who cannot be encrypted for must not cost the ticket */
	if (!cpii_cms_encrypt(recipient, "", 0, &data, &len, &why))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("recipient is not usable: %s", why)));
	cpii_cms_free(data);
	if (to_file && (cpii_export_directory == NULL || cpii_export_directory[0] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("courier_pii.export_directory is not set")));
	if (!cpii_random(id, sizeof(id)))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not generate random bytes")));
	strlcpy(package->id, hex(id, sizeof(id)), sizeof(package->id));

	cpii_statement_touch(package->view);
	cpii_account_action(CPII_ACT_EXPORT);
	cpii_account_prepare();
	read_ticket(package);
	cpii_account_begin(true);

	SPI_connect();
	initStringInfo(&package->csv);
	read_rows(package);
	write_rows(package);
	if (!cpii_cms_encrypt(recipient, package->csv.data, package->csv.len, &data, &len, &why))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("package could not be encrypted: %s", why)));
	cpii_wipe(package->csv.data, package->csv.len);
	register_export(package, data, len, recipient);
	cpii_account_rows(package->nrows);
	if (to_file)
	{
		write_file(package, data, len);
		nulls[1] = true;
	}
	else
	{
		MemoryContext spi = MemoryContextSwitchTo(context);
		bytea	   *result = palloc_extended(VARHDRSZ + len, MCXT_ALLOC_HUGE);

		SET_VARSIZE(result, VARHDRSZ + len);
		memcpy(VARDATA(result), data, len);
		values[1] = PointerGetDatum(result);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	cpii_cms_free(data);
	values[0] = CStringGetTextDatum(package->id);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
