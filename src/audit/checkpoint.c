/*-------------------------------------------------------------------------
 *
 * checkpoint.c
 *	  Signed statements of where the chain stands, sent out of the server.
 *
 * The worker makes one for every node whose records have grown: into the table
 * audit_checkpoint, a file of the checkpoint directory, and the system log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/checkpoint.h"
#include "audit/ratchet.h"
#include "audit/spool.h"
#include "audit/syslog.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/hex.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/settings.h"
#include "crypto/keyring.h"

#define CHECK_MS 5000
#define DUE_RECORDS 1000
#define DUE_SECONDS 60

CPII_EXPORT Datum cpii_audit_checkpoint(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_audit_public_key(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_checkpoint);
PG_FUNCTION_INFO_V1(cpii_audit_public_key);

int
cpii_timeline(void)
{
	if (RecoveryInProgress())
	{
		TimeLineID	timeline = 0;

		(void) GetXLogReplayRecPtr(&timeline);
		return (int) timeline;
	}
	return (int) GetWALInsertionTimeLine();
}

/* the bytes that are signed */
static size_t
message(const CpiiCheckpoint *c, char *buf, size_t size)
{
	char		hash[2 * CPII_HASH_LEN + 1];

	cpii_hex(c->hash, CPII_HASH_LEN, hash);
	return snprintf(buf, size,
					"courier_pii audit checkpoint 1\n%s\n%s\n%lld\n%lld\n%s\n%d\n%d\n%lld\n",
					c->installation, c->node, (long long) c->seq,
					(long long) c->records, hash, c->generation, c->timeline,
					(long long) c->at);
}

void
cpii_checkpoint_line(const CpiiCheckpoint *c, char *line, size_t size)
{
	char		hash[2 * CPII_HASH_LEN + 1];
	char		signature[2 * CPII_ED25519_SIGNATURE_LEN + 1];

	cpii_hex(c->hash, CPII_HASH_LEN, hash);
	cpii_hex(c->signature, CPII_ED25519_SIGNATURE_LEN, signature);
	snprintf(line, size,
			 "{\"checkpoint\": 1, \"installation\": \"%s\", \"node\": \"%s\", \"seq\": %lld,"
			 " \"records\": %lld, \"hash\": \"%s\", \"generation\": %d, \"timeline\": %d,"
			 " \"at\": %lld, \"signature\": \"%s\"}",
			 c->installation, c->node, (long long) c->seq, (long long) c->records,
			 hash, c->generation, c->timeline, (long long) c->at, signature);
}

bool
cpii_checkpoint_parse(const char *line, CpiiCheckpoint *c)
{
	char		hash[2 * CPII_HASH_LEN + 1] = "";
	char		signature[2 * CPII_ED25519_SIGNATURE_LEN + 1] = "";
	char		again[CPII_CHECKPOINT_LINE];
	long long	seq;
	long long	records;
	long long	at;

	memset(c, 0, sizeof(*c));
	if (sscanf(line,
			   "{\"checkpoint\": 1, \"installation\": \"%32[0-9a-f]\", \"node\": \"%64[^\"]\", \"seq\": %lld,"
			   " \"records\": %lld, \"hash\": \"%64[0-9a-f]\", \"generation\": %d, \"timeline\": %d,"
			   " \"at\": %lld, \"signature\": \"%128[0-9a-f]\"}",
			   c->installation, c->node, &seq, &records, hash, &c->generation,
			   &c->timeline, &at, signature) != 9 ||
		strlen(hash) != 2 * CPII_HASH_LEN ||
		strlen(signature) != 2 * CPII_ED25519_SIGNATURE_LEN ||
		!cpii_unhex(hash, CPII_HASH_LEN, c->hash) ||
		!cpii_unhex(signature, CPII_ED25519_SIGNATURE_LEN, c->signature))
		return false;
	c->seq = seq;
	c->records = records;
	c->at = at;
	cpii_checkpoint_line(c, again, sizeof(again));
	return strcmp(again, line) == 0;
}

bool
cpii_checkpoint_signed(const CpiiCheckpoint *c, const unsigned char *public_key)
{
	char		bytes[CPII_CHECKPOINT_LINE];
	size_t		length = message(c, bytes, sizeof(bytes));

	return length < sizeof(bytes) &&
		cpii_ed25519_verify(public_key, (unsigned char *) bytes, length, c->signature);
}

bool
cpii_checkpoint_path(const char *node, char *path, size_t size)
{
	char		name[CPII_NODE_LEN + 1];

	if (cpii_audit_checkpoint_directory == NULL ||
		cpii_audit_checkpoint_directory[0] == '\0')
		return false;
	strlcpy(name, node, sizeof(name));
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char) *p) && *p != '-' && *p != '_' && *p != '.')
			*p = '_';
	snprintf(path, size, "%s/checkpoints-%s.jsonl", cpii_audit_checkpoint_directory, name);
	return true;
}

/* ---- sinks ---- */

static bool
append_line(const char *node, const char *line)
{
	char		path[MAXPGPATH];
	char		text[CPII_CHECKPOINT_LINE + 1];
	int			length = snprintf(text, sizeof(text), "%s\n", line);
	int			fd;
	bool		ok;

	if (!cpii_checkpoint_path(node, path, sizeof(path)))
		return true;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | PG_BINARY | O_CLOEXEC,
			  S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	errno = 0;
	ok = write(fd, text, length) == length && pg_fsync(fd) == 0;
	close(fd);
	return ok;
}

static void
send_out(const CpiiCheckpoint *c)
{
	static TimestampTz logged_at = 0;
	char		line[CPII_CHECKPOINT_LINE];
	bool		file_ok;
	bool		syslog_ok;

	cpii_checkpoint_line(c, line, sizeof(line));
	file_ok = append_line(c->node, line);
	if (!file_ok && TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("audit checkpoint could not be written to \"%s\": %m",
						cpii_audit_checkpoint_directory)));
	syslog_ok = cpii_syslog(CPII_SYSLOG_NOTICE, "checkpoint", line);
	if (!syslog_ok && TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
		ereport(LOG,
				(errmsg("audit checkpoint could not be sent to \"%s\": %m",
						cpii_audit_syslog)));
	if (!file_ok || !syslog_ok)
		logged_at = GetCurrentTimestamp();
}

static void
store(const CpiiCheckpoint *c)
{
	Oid			types[8] = {TEXTOID, INT8OID, INT8OID, BYTEAOID, INT4OID, INT4OID, INT8OID, BYTEAOID};
	Datum		values[8];

	values[0] = CStringGetTextDatum(c->node);
	values[1] = Int64GetDatum(c->seq);
	values[2] = Int64GetDatum(c->records);
	values[3] = cpii_bytea(c->hash, CPII_HASH_LEN);
	values[4] = Int32GetDatum(c->generation);
	values[5] = Int32GetDatum(c->timeline);
	values[6] = Int64GetDatum(c->at);
	values[7] = cpii_bytea(c->signature, CPII_ED25519_SIGNATURE_LEN);
	cpii_internal_execute("INSERT INTO courier_pii.audit_checkpoint"
						  " (node, seq, records, hash, generation, timeline, at, signature)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
						  " ON CONFLICT (node, seq, timeline) DO NOTHING",
						  8, types, values, NULL, false, 0);
}

/* checkpoints for the nodes that are due; all that have grown with "force" */
static int
make_checkpoints(bool force)
{
	unsigned char private_key[CPII_KEY_LEN];
	unsigned char public_key[CPII_KEY_LEN];
	char		installation[33];
	int			made = 0;
	CpiiCheckpoint *list;
	int			n;

	if (!cpii_ratchet_signing_key(private_key, public_key))
		return 0;
	cpii_hex(cpii_keyring_installation(), 16, installation);
	cpii_internal_execute("SELECT p.node, p.seq, p.seq - p.start_seq + 1, p.head_hash, p.key_generation,"
						  " coalesce(c.seq, p.start_seq - 1), coalesce(c.at, 0)"
						  " FROM courier_pii.audit_progress p LEFT JOIN LATERAL"
						  " (SELECT k.seq, k.at FROM courier_pii.audit_checkpoint k"
						  " WHERE k.node OPERATOR(pg_catalog.=) p.node"
						  " ORDER BY k.seq DESC LIMIT 1) c ON true"
						  " WHERE p.seq OPERATOR(pg_catalog.>) coalesce(c.seq, p.start_seq - 1)",
						  0, NULL, NULL, NULL, true, 0);
	n = (int) SPI_processed;
	list = palloc0(sizeof(CpiiCheckpoint) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CpiiCheckpoint *c = &list[made];
		bool		isnull;
		bytea	   *hash;
		int64		last_seq;
		int64		last_at;
		char		bytes[CPII_CHECKPOINT_LINE];
		size_t		length;

		strlcpy(c->installation, installation, sizeof(c->installation));
		strlcpy(c->node, SPI_getvalue(tup, desc, 1), sizeof(c->node));
		c->seq = DatumGetInt64(SPI_getbinval(tup, desc, 2, &isnull));
		c->records = DatumGetInt64(SPI_getbinval(tup, desc, 3, &isnull));
		hash = DatumGetByteaPP(SPI_getbinval(tup, desc, 4, &isnull));
		if (VARSIZE_ANY_EXHDR(hash) != CPII_HASH_LEN)
			continue;
		memcpy(c->hash, VARDATA_ANY(hash), CPII_HASH_LEN);
		c->generation = DatumGetInt32(SPI_getbinval(tup, desc, 5, &isnull));
		last_seq = DatumGetInt64(SPI_getbinval(tup, desc, 6, &isnull));
		last_at = DatumGetInt64(SPI_getbinval(tup, desc, 7, &isnull));
		c->at = GetCurrentTimestamp() + CPII_UNIX_OFFSET;
		c->timeline = cpii_timeline();
		if (!force && c->seq - last_seq < DUE_RECORDS &&
			c->at - last_at < (int64) DUE_SECONDS * USECS_PER_SEC)
			continue;
		length = message(c, bytes, sizeof(bytes));
		if (length < sizeof(bytes) &&
			cpii_ed25519_sign(private_key, (unsigned char *) bytes, length, c->signature))
			made++;
	}
	cpii_wipe(private_key, sizeof(private_key));
	for (int i = 0; i < made; i++)
	{
		store(&list[i]);
		send_out(&list[i]);
	}
	return made;
}

static void
checkpoint_task(void)
{
	SPI_connect();
	(void) make_checkpoints(false);
	SPI_finish();
}

/* now, for everything that is in the table; the number of checkpoints made */
Datum
cpii_audit_checkpoint(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	int			made;

	cpii_require_preload();
	cpii_require_duty("pii_auditor");
	SPI_connect();
	cpii_internal_begin(&internal);
	made = make_checkpoints(true);
	cpii_internal_end(&internal);
	SPI_finish();
	PG_RETURN_INT32(made);
}

/* hexadecimal digits of the Ed25519 key that checks checkpoints and manifests */
Datum
cpii_audit_public_key(PG_FUNCTION_ARGS)
{
	unsigned char private_key[CPII_KEY_LEN];
	unsigned char public_key[CPII_KEY_LEN];
	char		hex[2 * CPII_KEY_LEN + 1];

	cpii_require_preload();
	if (!cpii_ratchet_signing_key(private_key, public_key))
		PG_RETURN_NULL();
	cpii_wipe(private_key, sizeof(private_key));
	cpii_hex(public_key, sizeof(public_key), hex);
	PG_RETURN_TEXT_P(cstring_to_text(hex));
}

void
cpii_checkpoint_init(void)
{
	cpii_worker_register_task(checkpoint_task, CHECK_MS);
}
