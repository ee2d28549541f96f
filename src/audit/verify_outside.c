/*-------------------------------------------------------------------------
 *
 * verify_outside.c
 *	  Compares the audit table with what was written down elsewhere: signed
 *	  checkpoints and signed manifests of dropped months.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit/checkpoint.h"
#include "audit/ratchet.h"
#include "audit/retention.h"
#include "audit/spool.h"
#include "audit/verify.h"
#include "base/hex.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/keyring.h"

static bool
get_public_key(unsigned char *public_key)
{
	unsigned char private_key[CPII_KEY_LEN];
	bool		ok = cpii_ratchet_signing_key(private_key, public_key);

	cpii_wipe(private_key, sizeof(private_key));
	return ok;
}

static bool
get_bytes(HeapTuple tup, TupleDesc desc, int column, unsigned char *to, size_t length)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tup, desc, column, &isnull);
	bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(value);

	if (bytes == NULL || VARSIZE_ANY_EXHDR(bytes) != length)
		return false;
	memcpy(to, VARDATA_ANY(bytes), length);
	return true;
}

/* ---- months that were dropped ---- */

void
cpii_verify_load_runs(CpiiVerifier *v, const char *node)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(node)};
	unsigned char public_key[CPII_KEY_LEN];
	bool		have_key = get_public_key(public_key);

	v->nruns = 0;
	cpii_internal_execute("SELECT first_seq, last_seq, prev_hash, last_hash, manifest"
						  " FROM courier_pii.audit_retired"
						  " WHERE node OPERATOR(pg_catalog.=) $1 ORDER BY first_seq",
						  1, types, values, NULL, true, 0);
	v->runs = palloc0(sizeof(CpiiRun) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tup = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CpiiRun    *run = &v->runs[v->nruns];
		char	   *manifest = SPI_getvalue(tup, desc, 5);
		bool		isnull;

		run->first_seq = DatumGetInt64(SPI_getbinval(tup, desc, 1, &isnull));
		run->last_seq = DatumGetInt64(SPI_getbinval(tup, desc, 2, &isnull));
		if (get_bytes(tup, desc, 3, run->prev_hash, CPII_HASH_LEN) &&
			get_bytes(tup, desc, 4, run->last_hash, CPII_HASH_LEN) && have_key &&
			manifest != NULL && cpii_manifest_signed(manifest, public_key) &&
			strstr(manifest, cpii_manifest_run(node, run->first_seq, run->last_seq,
											   run->prev_hash, run->last_hash)) != NULL)
			v->nruns++;
		else
			cpii_verify_report(v, node, -1, run->first_seq,
							   "changed: no signed manifest says that these records were exported and dropped");
	}
}

/* ---- checkpoints ---- */

static int
compare_wanted(const void *a, const void *b)
{
	int64		x = ((const CpiiWanted *) a)->seq;
	int64		y = ((const CpiiWanted *) b)->seq;

	return x < y ? -1 : x > y;
}

static void
want(CpiiNode *node, int64 *room, int64 seq)
{
	if (node->nwanted == *room)
	{
		*room = Max(*room * 2, 64);
		node->wanted = node->wanted == NULL ? palloc(sizeof(CpiiWanted) * *room) :
			repalloc_huge(node->wanted, sizeof(CpiiWanted) * *room);
	}
	node->wanted[node->nwanted].seq = seq;
	node->wanted[node->nwanted++].found = false;
}

void
cpii_verify_load_wanted(CpiiVerifier *v, CpiiNode *node)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(node->name)};
	char		path[MAXPGPATH];
	char		line[CPII_CHECKPOINT_LINE + 2];
	int64		room = 0;
	int64		n = 0;
	FILE	   *file = NULL;

	cpii_internal_execute("SELECT seq FROM courier_pii.audit_checkpoint"
						  " WHERE node OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		want(node, &room, cpii_result_int64(i, 1));
	SPI_freetuptable(SPI_tuptable);
	if (cpii_checkpoint_path(node->name, path, sizeof(path)))
		file = AllocateFile(path, "r");
	if (file != NULL)
	{
		CpiiCheckpoint c;

		while (fgets(line, sizeof(line), file) != NULL)
		{
			line[strcspn(line, "\n")] = '\0';
			if (cpii_checkpoint_parse(line, &c))
				want(node, &room, c.seq);
		}
		FreeFile(file);
	}
	if (node->nwanted == 0)
		return;
	qsort(node->wanted, node->nwanted, sizeof(CpiiWanted), compare_wanted);
	for (int64 i = 0; i < node->nwanted; i++)
		if (i == 0 || node->wanted[i].seq != node->wanted[n - 1].seq)
			node->wanted[n++] = node->wanted[i];
	node->nwanted = n;
}

/* position of the first one that is not before this number */
int64
cpii_verify_first_wanted(const CpiiNode *node, int64 seq)
{
	int64		low = 0;
	int64		high = node->nwanted;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (node->wanted[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* the hash that the table has for this record; false when it has none */
static bool
find_hash(CpiiVerifier *v, const CpiiCheckpoint *c, unsigned char *hash)
{
	Oid			types[2] = {TEXTOID, INT8OID};
	Datum		values[2];
	bool		found;

	for (int i = 0; i < v->nnodes; i++)
	{
		const CpiiNode *node = &v->nodes[i];
		int64		at;

		if (strcmp(node->name, c->node) != 0)
			continue;
		at = cpii_verify_first_wanted(node, c->seq);
		if (at < node->nwanted && node->wanted[at].seq == c->seq && node->wanted[at].found)
		{
			memcpy(hash, node->wanted[at].hash, CPII_HASH_LEN);
			return true;
		}
	}
	/* newer than what was read? */
	values[0] = CStringGetTextDatum(c->node);
	values[1] = Int64GetDatum(c->seq);
	PushActiveSnapshot(GetLatestSnapshot());
	cpii_internal_execute("SELECT hash FROM courier_pii.audit_record"
						  " WHERE node OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.=) $2",
						  2, types, values, NULL, true, 1);
	PopActiveSnapshot();
	found = SPI_processed > 0;
	if (found && !get_bytes(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, hash, CPII_HASH_LEN))
		memset(hash, 0, CPII_HASH_LEN);
	return found;
}

static void
check_one(CpiiVerifier *v, const CpiiCheckpoint *c, const unsigned char *public_key,
		  const char *where)
{
	Oid			types[2] = {TEXTOID, INT8OID};
	Oid			types3[3] = {TEXTOID, INT4OID, INT8OID};
	Datum		values[2] = {CStringGetTextDatum(c->node), Int64GetDatum(c->seq)};
	Datum		values3[3] = {values[0], Int32GetDatum(c->timeline), values[1]};
	unsigned char hash[CPII_HASH_LEN];

	if (!cpii_checkpoint_signed(c, public_key))
	{
		cpii_verify_report(v, c->node, -1, c->seq,
						   "changed: the checkpoint in the %s does not match its signature", where);
		return;
	}
	if (!find_hash(v, c, hash))
	{
		/* dropped with its month, or cut off */
		cpii_internal_execute("SELECT last_hash FROM courier_pii.audit_retired"
							  " WHERE node OPERATOR(pg_catalog.=) $1"
							  " AND first_seq OPERATOR(pg_catalog.<=) $2 AND last_seq OPERATOR(pg_catalog.>=) $2",
							  2, types, values, NULL, true, 1);
		if (SPI_processed == 0)
			cpii_verify_report(v, c->node, -1, c->seq,
							   "cut tail: a checkpoint in the %s names this record, which is not there", where);
		return;
	}
	if (memcmp(hash, c->hash, CPII_HASH_LEN) == 0)
		return;
	/* chained again after a promotion that had not got it? */
	cpii_internal_execute("SELECT 1 FROM courier_pii.audit_switch s"
						  " WHERE s.node OPERATOR(pg_catalog.=) $1"
						  " AND s.timeline OPERATOR(pg_catalog.>) $2 AND s.seq OPERATOR(pg_catalog.<) $3"
						  " AND EXISTS (SELECT 1 FROM courier_pii.audit_record r"
						  " WHERE r.command OPERATOR(pg_catalog.=) 'PROMOTE' AND r.action OPERATOR(pg_catalog.=) 'SYSTEM'"
						  " AND r.detail OPERATOR(pg_catalog.@>) pg_catalog.jsonb_build_object('timeline', s.timeline, 'heads', pg_catalog.jsonb_build_object(s.node, s.seq)))",
						  3, types3, values3, NULL, true, 1);
	if (SPI_processed == 0)
		cpii_verify_report(v, c->node, -1, c->seq,
						   "fork: a checkpoint in the %s knows another record of this number", where);
}

static void
check_table(CpiiVerifier *v, const char *installation, const unsigned char *public_key)
{
	SPITupleTable *rows;
	uint64		n;

	cpii_internal_execute("SELECT node, seq, records, hash, generation, timeline, at, signature"
						  " FROM courier_pii.audit_checkpoint ORDER BY node, seq",
						  0, NULL, NULL, NULL, true, 0);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tup = rows->vals[i];
		CpiiCheckpoint c = {0};
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		strlcpy(c.installation, installation, sizeof(c.installation));
		strlcpy(c.node, SPI_getvalue(tup, rows->tupdesc, 1), sizeof(c.node));
		c.seq = DatumGetInt64(SPI_getbinval(tup, rows->tupdesc, 2, &isnull));
		c.records = DatumGetInt64(SPI_getbinval(tup, rows->tupdesc, 3, &isnull));
		c.generation = DatumGetInt32(SPI_getbinval(tup, rows->tupdesc, 5, &isnull));
		c.timeline = DatumGetInt32(SPI_getbinval(tup, rows->tupdesc, 6, &isnull));
		c.at = DatumGetInt64(SPI_getbinval(tup, rows->tupdesc, 7, &isnull));
		if (!get_bytes(tup, rows->tupdesc, 4, c.hash, CPII_HASH_LEN) ||
			!get_bytes(tup, rows->tupdesc, 8, c.signature, CPII_ED25519_SIGNATURE_LEN))
			cpii_verify_report(v, c.node, -1, c.seq,
							   "changed: the checkpoint in the table cannot be read");
		else
			check_one(v, &c, public_key, "table");
	}
}

static void
check_file(CpiiVerifier *v, const char *node, const unsigned char *public_key)
{
	char		path[MAXPGPATH];
	char		line[CPII_CHECKPOINT_LINE + 2];
	FILE	   *file;

	if (!cpii_checkpoint_path(node, path, sizeof(path)))
		return;
	file = AllocateFile(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		CpiiCheckpoint c;
		size_t		length = strlen(line);

		CHECK_FOR_INTERRUPTS();
		if (length > 0 && line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (!cpii_checkpoint_parse(line, &c))
			cpii_verify_report(v, node, -1, -1,
							   "changed: a line of file \"%s\" is no checkpoint", path);
		else if (strcmp(c.node, node) == 0)
			check_one(v, &c, public_key, "checkpoint directory");
	}
	FreeFile(file);
}

void
cpii_verify_checkpoints(CpiiVerifier *v)
{
	unsigned char public_key[CPII_KEY_LEN];
	char		installation[33];
	SPITupleTable *nodes;
	uint64		n;

	if (!get_public_key(public_key))
		return;
	cpii_hex(cpii_keyring_installation(), 16, installation);
	check_table(v, installation, public_key);
	cpii_internal_execute("SELECT node FROM courier_pii.audit_progress ORDER BY node",
						  0, NULL, NULL, NULL, true, 0);
	nodes = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
		check_file(v, SPI_getvalue(nodes->vals[i], nodes->tupdesc, 1), public_key);
}
