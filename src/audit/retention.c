/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Months of audit records: exported with a signed manifest, then dropped.
 *
 * A month goes only when it is older than courier_pii.audit_keep_months, and
 * when what is in it now is what a manifest of ours says was exported.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/timestamp.h"

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
#include "base/settings.h"
#include "base/ticket.h"
#include "crypto/keyring.h"

#define SIGNATURE_MARK ", \"signature\": \""

CPII_EXPORT Datum cpii_audit_export_month(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_drop_audit_month(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_export_month);
PG_FUNCTION_INFO_V1(cpii_drop_audit_month);

typedef struct Month
{
	int			year;
	int			month;
	char		name[8];		/* YYYY-MM */
	char		partition[NAMEDATALEN];
	char		from[40];
	char		to[40];
} Month;

static void
get_month(DateADT date, Month *m)
{
	int			day;
	int			next_year;
	int			next_month;

	if (DATE_NOT_FINITE(date))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("month must be finite")));
	j2date(date + POSTGRES_EPOCH_JDATE, &m->year, &m->month, &day);
	if (m->year < 2000 || m->year > 9998)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("month is out of range")));
	next_year = m->year + (m->month == 12);
	next_month = m->month % 12 + 1;
	snprintf(m->name, sizeof(m->name), "%04d-%02d", m->year, m->month);
	snprintf(m->partition, sizeof(m->partition), "audit_record_%04d_%02d",
			 m->year, m->month);
	snprintf(m->from, sizeof(m->from), "%04d-%02d-01 00:00:00+00", m->year, m->month);
	snprintf(m->to, sizeof(m->to), "%04d-%02d-01 00:00:00+00", next_year, next_month);
	if (!OidIsValid(cpii_relation_oid(m->partition, true)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no partition of audit records for %s", m->name)));
}

/* hexadecimal SHA-256 of a file; false when there is none */
static bool
digest_file(const char *path, char *hex)
{
	pg_cryptohash_ctx *context;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *buffer;
	ssize_t		n;
	bool		ok;
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);

	if (fd < 0)
		return false;
	context = pg_cryptohash_create(PG_SHA256);
	buffer = palloc(256 * 1024);
	ok = context != NULL && pg_cryptohash_init(context) >= 0;
	while (ok && (n = read(fd, buffer, 256 * 1024)) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		ok = n > 0 && pg_cryptohash_update(context, (uint8 *) buffer, n) >= 0;
	}
	ok = ok && pg_cryptohash_final(context, digest, sizeof(digest)) >= 0;
	pg_cryptohash_free(context);
	CloseTransientFile(fd);
	pfree(buffer);
	if (!ok)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	cpii_hex(digest, sizeof(digest), hex);
	return true;
}

char *
cpii_manifest_run(const char *node, int64 first_seq, int64 last_seq,
				  const unsigned char *prev_hash, const unsigned char *last_hash)
{
	StringInfoData buf;
	char		hex[2 * CPII_HASH_LEN + 1];

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	escape_json(&buf, node);
	appendStringInfo(&buf, ", %lld, %lld, \"", (long long) first_seq, (long long) last_seq);
	cpii_hex(prev_hash, CPII_HASH_LEN, hex);
	appendStringInfo(&buf, "%s\", \"", hex);
	cpii_hex(last_hash, CPII_HASH_LEN, hex);
	appendStringInfo(&buf, "%s\"]", hex);
	return buf.data;
}

static void
get_hash(HeapTuple tup, TupleDesc desc, int column, unsigned char *hash)
{
	bool		isnull;
	bytea	   *value = DatumGetByteaPP(SPI_getbinval(tup, desc, column, &isnull));

	if (isnull || VARSIZE_ANY_EXHDR(value) != CPII_HASH_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("an audit record has no valid hash"),
				 errhint("Run courier_pii.audit_verify().")));
	memcpy(hash, VARDATA_ANY(value), CPII_HASH_LEN);
}

/*
 * What the month holds: '"records": n, "runs": [...]'.  A run is an unbroken
 * sequence of numbers of one node.  With "keep" the runs go into audit_retired.
 */
static char *
contents(const Month *m, const char *keep, int64 *records)
{
	StringInfoData buf;
	StringInfoData sql;
	uint64		n;
	SPITupleTable *runs;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH r AS (SELECT node, seq, seq OPERATOR(pg_catalog.-) pg_catalog.row_number()"
					 " OVER (PARTITION BY node ORDER BY seq) AS island FROM courier_pii.%s),"
					 " s AS (SELECT node, pg_catalog.min(seq) AS first_seq, pg_catalog.max(seq) AS last_seq,"
					 " pg_catalog.count(*) AS n FROM r GROUP BY node, island)"
					 " SELECT s.node, s.first_seq, s.last_seq, s.n, f.prev_hash, l.hash"
					 " FROM s JOIN courier_pii.%s f ON f.node OPERATOR(pg_catalog.=) s.node AND f.seq OPERATOR(pg_catalog.=) s.first_seq"
					 " JOIN courier_pii.%s l ON l.node OPERATOR(pg_catalog.=) s.node AND l.seq OPERATOR(pg_catalog.=) s.last_seq"
					 " ORDER BY s.node, s.first_seq",
					 m->partition, m->partition, m->partition);
	cpii_internal_execute(sql.data, 0, NULL, NULL, NULL, true, 0);
	n = SPI_processed;
	runs = SPI_tuptable;
	*records = 0;
	initStringInfo(&buf);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tup = runs->vals[i];
		char	   *node = SPI_getvalue(tup, runs->tupdesc, 1);
		bool		isnull;
		int64		first = DatumGetInt64(SPI_getbinval(tup, runs->tupdesc, 2, &isnull));
		int64		last = DatumGetInt64(SPI_getbinval(tup, runs->tupdesc, 3, &isnull));
		unsigned char prev_hash[CPII_HASH_LEN];
		unsigned char last_hash[CPII_HASH_LEN];

		*records += DatumGetInt64(SPI_getbinval(tup, runs->tupdesc, 4, &isnull));
		get_hash(tup, runs->tupdesc, 5, prev_hash);
		get_hash(tup, runs->tupdesc, 6, last_hash);
		appendStringInfo(&buf, "%s%s", i == 0 ? "" : ", ",
						 cpii_manifest_run(node, first, last, prev_hash, last_hash));
		if (keep != NULL)
		{
			Oid			types[7] = {TEXTOID, INT8OID, INT8OID, BYTEAOID, BYTEAOID, TEXTOID, TEXTOID};
			Datum		values[7];

			values[0] = CStringGetTextDatum(node);
			values[1] = Int64GetDatum(first);
			values[2] = Int64GetDatum(last);
			values[3] = SPI_getbinval(tup, runs->tupdesc, 5, &isnull);
			values[4] = SPI_getbinval(tup, runs->tupdesc, 6, &isnull);
			values[5] = CStringGetTextDatum(psprintf("%s-01", m->name));
			values[6] = CStringGetTextDatum(keep);
			cpii_internal_execute("INSERT INTO courier_pii.audit_retired"
								  " (node, first_seq, last_seq, prev_hash, last_hash, month, manifest, dropped_at)"
								  " VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.date, $7, pg_catalog.clock_timestamp())",
								  7, types, values, NULL, false, 0);
		}
	}
	return psprintf("\"records\": %lld, \"runs\": [%s]", (long long) *records, buf.data);
}

static char *
file_name(const Month *m)
{
	if (cpii_audit_export_directory == NULL || cpii_audit_export_directory[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("audit records cannot be exported"),
				 errdetail("Setting courier_pii.audit_export_directory is empty.")));
	return psprintf("%s/audit-%s.csv", cpii_audit_export_directory, m->name);
}

static void
write_manifest(const char *path, const char *manifest)
{
	int			fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	ssize_t		length = strlen(manifest);

	if (fd < 0 || write(fd, manifest, length) != length ||
		write(fd, "\n", 1) != 1 || pg_fsync(fd) != 0 || CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
}

char *
cpii_manifest_sign(const char *body)
{
	unsigned char private_key[CPII_KEY_LEN];
	unsigned char public_key[CPII_KEY_LEN];
	unsigned char signature[CPII_ED25519_SIGNATURE_LEN];
	char		hex[2 * CPII_ED25519_SIGNATURE_LEN + 1];
	bool		ok = cpii_ratchet_signing_key(private_key, public_key) &&
		cpii_ed25519_sign(private_key, (const unsigned char *) body, strlen(body), signature);

	cpii_wipe(private_key, sizeof(private_key));
	if (!ok)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("the manifest cannot be signed without the audit key"),
				 errhint("Make the master key available to this server.")));
	cpii_hex(signature, sizeof(signature), hex);
	return psprintf("%s" SIGNATURE_MARK "%s\"}", body, hex);
}

bool
cpii_manifest_signed(const char *manifest, const unsigned char *public_key)
{
	unsigned char signature[CPII_ED25519_SIGNATURE_LEN];
	const char *mark = strstr(manifest, SIGNATURE_MARK);
	const char *hex = mark ? mark + strlen(SIGNATURE_MARK) : NULL;

	return hex != NULL && strlen(hex) == 2 * sizeof(signature) + 2 &&
		strcmp(hex + 2 * sizeof(signature), "\"}") == 0 &&
		cpii_unhex(hex, sizeof(signature), signature) &&
		cpii_ed25519_verify(public_key, (const unsigned char *) manifest,
							mark - manifest, signature);
}

void
cpii_manifest_formats(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO, YMD"}, {"intervalstyle", "postgres"},
		{"bytea_output", "hex"}, {"timezone", "UTC"},
	};

	/* undone at the end of the internal statement's nest level */
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

Datum
cpii_audit_export_month(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	Month		m;
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData sql;
	char	   *path;
	char	   *what;
	char	   *manifest;
	char		sha256[2 * PG_SHA256_DIGEST_LENGTH + 1];
	char		installation[33];
	int64		records;

	cpii_require_preload();
	cpii_require_duty("pii_auditor");
	get_month(PG_GETARG_DATEADT(0), &m);
	path = file_name(&m);

	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_manifest_formats();
	what = contents(&m, NULL, &records);
	initStringInfo(&sql);
	appendStringInfo(&sql, "COPY (SELECT * FROM courier_pii.%s ORDER BY node, seq) TO %s"
					 " (FORMAT csv, HEADER, ENCODING 'UTF8')",
					 m.partition, quote_literal_cstr(path));
	cpii_internal_execute(sql.data, 0, NULL, NULL, NULL, false, 0);
	if (!digest_file(path, sha256))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	cpii_hex(cpii_keyring_installation(), 16, installation);
	manifest = cpii_manifest_sign(psprintf("{\"manifest\": 1, \"installation\": \"%s\", \"month\": \"%s\","
							 " \"file\": \"audit-%s.csv\", \"sha256\": \"%s\", %s, \"at\": %lld",
							 installation, m.name, m.name, sha256, what,
							 (long long) (GetCurrentTimestamp() + CPII_UNIX_OFFSET)));
	write_manifest(psprintf("%s/audit-%s.manifest", cpii_audit_export_directory, m.name), manifest);
	manifest = MemoryContextStrdup(caller, manifest);
	cpii_internal_end(&internal);
	SPI_finish();

	cpii_audit_note(CPII_ACT_EXPORT, "audit_export_month", "ok",
					psprintf("{\"month\": \"%s\", \"records\": %lld, \"sha256\": \"%s\"}",
							 m.name, (long long) records, sha256));
	PG_RETURN_TEXT_P(cstring_to_text(manifest));
}

static void
refuse_young(const Month *m)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			age;

	if (timestamp2tm(GetCurrentTimestamp(), NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "current time is out of range");
	/* whole months between the end of that one and the beginning of this one */
	age = (tm.tm_year * 12 + tm.tm_mon) - (m->year * 12 + m->month) - 1;
	if (age >= cpii_audit_keep_months)
		return;
	cpii_audit_note(CPII_ACT_DESTROY, "drop_audit_month", "denied",
					psprintf("{\"month\": \"%s\"}", m->name));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("audit records of %s must be kept", m->name),
			 errdetail("They are kept for %d months (courier_pii.audit_keep_months).",
					   cpii_audit_keep_months)));
}

/* raise unless the manifest is ours and says what is there now */
static void
check_manifest(const Month *m, const char *manifest, const char *what)
{
	unsigned char private_key[CPII_KEY_LEN];
	unsigned char public_key[CPII_KEY_LEN];
	char		sha256[2 * PG_SHA256_DIGEST_LENGTH + 1];
	const char *problem = NULL;

	if (!cpii_ratchet_signing_key(private_key, public_key))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("the manifest cannot be checked without the audit key"),
				 errhint("Make the master key available to this server.")));
	cpii_wipe(private_key, sizeof(private_key));
	if (!cpii_manifest_signed(manifest, public_key))
		problem = "It is not signed with the key of this installation, or was changed.";
	else if (strstr(manifest, psprintf("\"month\": \"%s\",", m->name)) == NULL)
		problem = "It is of another month.";
	else if (strstr(manifest, what) == NULL)
		problem = "The records have changed since they were exported.";
	else if (cpii_audit_export_directory[0] != '\0' &&
			 digest_file(psprintf("%s/audit-%s.csv", cpii_audit_export_directory, m->name), sha256) &&
			 strstr(manifest, psprintf("\"sha256\": \"%s\"", sha256)) == NULL)
		problem = "The exported file has changed.";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the manifest does not cover the audit records of %s", m->name),
				 errdetail_internal("%s", problem),
				 errhint("Export the month with courier_pii.audit_export_month.")));
}

Datum
cpii_drop_audit_month(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	Month		m;
	char	   *manifest = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *what;
	int64		records;

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	get_month(PG_GETARG_DATEADT(0), &m);
	refuse_young(&m);
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute(psprintf("LOCK TABLE courier_pii.%s IN ACCESS EXCLUSIVE MODE", m.partition),
						  0, NULL, NULL, NULL, false, 0);
	what = contents(&m, NULL, &records);
	check_manifest(&m, manifest, what);
	(void) cpii_require_ticket("destroy", psprintf("courier_pii.%s", m.partition), false);
	(void) contents(&m, manifest, &records);
	cpii_internal_execute(psprintf("ALTER EXTENSION courier_pii DROP TABLE courier_pii.%s", m.partition),
						  0, NULL, NULL, NULL, false, 0);
	cpii_internal_execute(psprintf("DROP TABLE courier_pii.%s", m.partition),
						  0, NULL, NULL, NULL, false, 0);
	cpii_internal_end(&internal);
	SPI_finish();

	cpii_audit_note(CPII_ACT_DESTROY, "drop_audit_month", "ok",
					psprintf("{\"month\": \"%s\", \"records\": %lld}", m.name,
							 (long long) records));
	PG_RETURN_INT64(records);
}
