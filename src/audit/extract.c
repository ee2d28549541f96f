/*-------------------------------------------------------------------------
 *
 * extract.c
 *	  Audit records as lines of CSV or JSON, with a signed manifest at the end.
 *
 * What comes out is one file: the lines of the records, and a last line with the
 * manifest, which has the SHA-256 of all lines before it, each with its line
 * feed.  So whoever has the public key can check it anywhere:
 *
 *	  head -n -1 FILE | sha256sum
 *
 * Each record has its own hash and the one before, as in the chain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/checkpoint.h"
#include "audit/ratchet.h"
#include "audit/record.h"
#include "audit/retention.h"
#include "audit/spool.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/hex.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/keyring.h"

#define FETCH_RECORDS 1000
#define CSV_MARK "# "

CPII_EXPORT Datum cpii_audit_extract(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_audit_extract_check(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_extract);
PG_FUNCTION_INFO_V1(cpii_audit_extract_check);

typedef struct Extract
{
	ReturnSetInfo *rsinfo;
	pg_cryptohash_ctx *digest;
	StringInfoData line;
	bool		csv;
	int64		records;
	int64		withheld;
} Extract;

static void
hash_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("cryptographic operation could not be completed")));
}

static void
put_line(Extract *x, const char *text, size_t len)
{
	Datum		value = PointerGetDatum(cstring_to_text_with_len(text, len));
	bool		isnull = false;

	tuplestore_putvalues(x->rsinfo->setResult, x->rsinfo->setDesc, &value, &isnull);
	pfree(DatumGetPointer(value));
	if (pg_cryptohash_update(x->digest, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_update(x->digest, (const uint8 *) "\n", 1) < 0)
		hash_failed();
}

/* every byte stays, or the record's hash could not be computed again */
static void
append_csv(StringInfo line, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfoChar(line, '"');
	for (; *value; value++)
	{
		if (*value == '"')
			appendStringInfoChar(line, '"');
		appendStringInfoChar(line, *value);
	}
	appendStringInfoChar(line, '"');
}

/* the columns but the last, which tells whether the person may see the record */
static void
put_header(Extract *x, TupleDesc desc)
{
	resetStringInfo(&x->line);
	for (int i = 0; i < desc->natts - 1; i++)
		appendStringInfo(&x->line, "%s%s", i == 0 ? "" : ",",
						 NameStr(TupleDescAttr(desc, i)->attname));
	put_line(x, x->line.data, x->line.len);
}

static void
put_record(Extract *x, HeapTuple tup, TupleDesc desc)
{
	bool		isnull;

	if (!DatumGetBool(SPI_getbinval(tup, desc, desc->natts, &isnull)))
	{
		x->withheld++;
		return;
	}
	x->records++;
	resetStringInfo(&x->line);
	if (x->csv)
		for (int i = 1; i < desc->natts; i++)
		{
			if (i > 1)
				appendStringInfoChar(&x->line, ',');
			append_csv(&x->line, SPI_getvalue(tup, desc, i));
		}
	else
		appendStringInfoString(&x->line, SPI_getvalue(tup, desc, 1));
	put_line(x, x->line.data, x->line.len);
}

static void
put_records(Extract *x, TimestampTz from, TimestampTz to, text *staff_no)
{
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[3] = {TimestampTzGetDatum(from), TimestampTzGetDatum(to), PointerGetDatum(staff_no)};
	const char *nulls = staff_no == NULL ? "  n" : "   ";
	Portal		portal;

	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT %s, courier_pii.audit_visible(r.purpose, r.ticket)"
												" FROM courier_pii.audit_record r"
												" WHERE r.at OPERATOR(pg_catalog.>=) $1 AND r.at OPERATOR(pg_catalog.<) $2%s"
												" ORDER BY r.node, r.seq",
												x->csv ? "r.*" : "pg_catalog.row_to_json(r)",
												staff_no == NULL ? " AND $3 IS NULL" :
												" AND r.staff_no OPERATOR(pg_catalog.=) $3"),
									   3, types, values, nulls, true, 0);
	for (bool first = true;; first = false)
	{
		MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "courier_pii extract",
													ALLOCSET_DEFAULT_SIZES);
		MemoryContext old;

		SPI_cursor_fetch(portal, true, FETCH_RECORDS);
		if (first && x->csv)
			put_header(x, SPI_tuptable->tupdesc);
		old = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			put_record(x, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		MemoryContextSwitchTo(old);
		MemoryContextDelete(batch);
		if (SPI_processed == 0)
			break;
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

static char *
manifest(Extract *x, TimestampTz from, TimestampTz to, text *staff_no)
{
	StringInfoData buf;
	char		installation[33];
	char		sha256[2 * PG_SHA256_DIGEST_LENGTH + 1];
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_final(x->digest, digest, sizeof(digest)) < 0)
		hash_failed();
	cpii_hex(digest, sizeof(digest), sha256);
	cpii_hex(cpii_keyring_installation(), 16, installation);
	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"extract\": 1, \"installation\": \"%s\", \"format\": \"%s\", \"from\": \"%s\"",
					 installation, x->csv ? "csv" : "json", timestamptz_to_str(from));
	appendStringInfo(&buf, ", \"to\": \"%s\", \"staff_no\": ", timestamptz_to_str(to));
	if (staff_no == NULL)
		appendStringInfoString(&buf, "null");
	else
		escape_json(&buf, text_to_cstring(staff_no));
	appendStringInfo(&buf, ", \"records\": %lld, \"withheld\": %lld, \"sha256\": \"%s\", \"by\": ",
					 (long long) x->records, (long long) x->withheld, sha256);
	escape_json(&buf, cpii_session_actor()->login_name);
	appendStringInfo(&buf, ", \"at\": %lld",
					 (long long) (GetCurrentTimestamp() + CPII_UNIX_OFFSET));
	return cpii_manifest_sign(buf.data);
}

/* audit_extract("from", "to", format, staff_no) */
Datum
cpii_audit_extract(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	Extract		x = {0};
	char	   *format;
	text	   *staff_no = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	char	   *last;
	Datum		value;
	bool		isnull = false;

	cpii_require_preload();
	cpii_require_duty("pii_auditor");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("times and format of an extract must not be null")));
	format = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (strcmp(format, "csv") != 0 && strcmp(format, "json") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized format \"%s\"", format),
				 errhint("Formats are \"csv\" and \"json\".")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	x.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	x.csv = strcmp(format, "csv") == 0;
	x.digest = pg_cryptohash_create(PG_SHA256);
	if (x.digest == NULL || pg_cryptohash_init(x.digest) < 0)
		hash_failed();

	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_manifest_formats();
	initStringInfo(&x.line);
	put_records(&x, PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1), staff_no);
	last = manifest(&x, PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1), staff_no);
	value = PointerGetDatum(cstring_to_text(psprintf("%s%s", x.csv ? CSV_MARK : "", last)));
	tuplestore_putvalues(x.rsinfo->setResult, x.rsinfo->setDesc, &value, &isnull);
	cpii_internal_end(&internal);
	SPI_finish();
	pg_cryptohash_free(x.digest);

	cpii_audit_note(CPII_ACT_EXPORT, "audit_extract", "ok",
					psprintf("{\"format\": \"%s\", \"records\": %lld, \"withheld\": %lld}", format,
							 (long long) x.records, (long long) x.withheld));
	return (Datum) 0;
}

/* audit_extract_check(file): "intact", or what is wrong */
Datum
cpii_audit_extract_check(PG_FUNCTION_ARGS)
{
	char	   *file = text_to_cstring(PG_GETARG_TEXT_PP(0));
	size_t		len = strlen(file);
	unsigned char private_key[CPII_KEY_LEN];
	unsigned char public_key[CPII_KEY_LEN];
	unsigned char digest[CPII_SHA256_LEN];
	char		sha256[2 * CPII_SHA256_LEN + 1];
	char	   *last;

	cpii_require_preload();
	cpii_require_duty("pii_auditor");
	while (len > 0 && (file[len - 1] == '\n' || file[len - 1] == '\r'))
		file[--len] = '\0';
	last = strrchr(file, '\n');
	last = last == NULL ? file : last + 1;
	if (!cpii_ratchet_signing_key(private_key, public_key))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("the manifest cannot be checked without the audit key"),
				 errhint("Make the master key available to this server.")));
	cpii_wipe(private_key, sizeof(private_key));
	if (!cpii_sha256((unsigned char *) file, last - file, digest))
		hash_failed();
	cpii_hex(digest, sizeof(digest), sha256);
	if (strncmp(last, CSV_MARK, strlen(CSV_MARK)) == 0)
		last += strlen(CSV_MARK);
	if (strncmp(last, "{\"extract\": 1, ", 15) != 0)
		PG_RETURN_TEXT_P(cstring_to_text("the last line is no manifest of an extract"));
	if (!cpii_manifest_signed(last, public_key))
		PG_RETURN_TEXT_P(cstring_to_text("the manifest is not signed with the key of this installation, or was changed"));
	if (strstr(last, psprintf("\"sha256\": \"%s\", \"by\": ", sha256)) == NULL)
		PG_RETURN_TEXT_P(cstring_to_text("the lines are not those of the manifest"));
	PG_RETURN_TEXT_P(cstring_to_text("intact"));
}
