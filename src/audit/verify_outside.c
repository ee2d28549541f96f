/*-------------------------------------------------------------------------
 *
 * verify_outside.c
 *	  Compares the audit table with what was written down elsewhere: signed
 *	  checkpoints, signed manifests of dropped months, and the spool.
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
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/keyring.h"

#define CHUNK_RECORDS 2000

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
cpii_verify_load_runs(CpiiVerifier *v)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(v->node)};
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
			strstr(manifest, cpii_manifest_run(v->node, run->first_seq, run->last_seq,
											   run->prev_hash, run->last_hash)) != NULL)
			v->nruns++;
		else
			cpii_verify_report(v, v->node, -1, run->first_seq,
							   "changed: no signed manifest says that these records were exported and dropped");
	}
}

/* ---- checkpoints ---- */

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
	cpii_internal_execute("SELECT hash FROM courier_pii.audit_record"
						  " WHERE node OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.=) $2",
						  2, types, values, NULL, true, 1);
	if (SPI_processed == 0)
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
	if (get_bytes(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, hash, CPII_HASH_LEN) &&
		memcmp(hash, c->hash, CPII_HASH_LEN) == 0)
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

/* ---- the spool ---- */

typedef struct Expected
{
	int64		seq;
	char	   *canonical;
	size_t		length;
} Expected;

/* canonical bytes of records of the table, from one number to another */
static int
load_expected(const char *node, int64 from, int64 to, Expected *expected)
{
	Oid			types[3] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[3] = {CStringGetTextDatum(node), Int64GetDatum(from), Int64GetDatum(to)};
	char	   *canonical = palloc(CPII_MAX_CANONICAL);
	SPITupleTable *rows;
	int			n;

	cpii_internal_execute("SELECT * FROM courier_pii.audit_record"
						  " WHERE node OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.>=) $2"
						  " AND seq OPERATOR(pg_catalog.<=) $3 ORDER BY seq",
						  3, types, values, NULL, true, CHUNK_RECORDS);
	rows = SPI_tuptable;
	n = (int) SPI_processed;
	for (int i = 0; i < n; i++)
	{
		Datum		columns[CPII_N_COLUMNS];
		bool		nulls[CPII_N_COLUMNS];
		CpiiRow		row;

		heap_deform_tuple(rows->vals[i], rows->tupdesc, columns, nulls);
		cpii_row_from_datums(&row, columns, nulls);
		expected[i].seq = row.field[CPII_F_SEQ].number;
		expected[i].length = cpii_row_encode(&row, canonical, CPII_MAX_CANONICAL);
		expected[i].canonical = palloc(expected[i].length + 1);
		memcpy(expected[i].canonical, canonical, expected[i].length);
	}
	return n;
}

/* is the record what went into the table? */
static bool
same_record(const CpiiSpoolRecord *record, const Expected *expected, char *canonical)
{
	CpiiRow		row;
	Datum		values[CPII_N_COLUMNS];
	bool		nulls[CPII_N_COLUMNS];

	/* most records are the same to the byte */
	if (record->length == expected->length &&
		memcmp(record->body, expected->canonical, record->length) == 0)
		return true;
	if (!cpii_row_decode(record->body, record->length, &row))
		return false;
	cpii_row_number(&row, CPII_F_SEQ, (int64) record->seq);
	cpii_row_to_datums(&row, values, nulls);
	cpii_row_from_datums(&row, values, nulls);
	return cpii_row_encode(&row, canonical, CPII_MAX_CANONICAL) == expected->length &&
		memcmp(canonical, expected->canonical, expected->length) == 0;
}

static void
check_segment(CpiiVerifier *v, const CpiiSegment *segment, const CpiiProgress *progress,
			  uint64 end)
{
	MemoryContext per_chunk = AllocSetContextCreate(CurrentMemoryContext,
													"courier_pii spool check",
													ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	char	   *canonical = palloc(CPII_MAX_CANONICAL);
	Expected   *expected = palloc(sizeof(Expected) * CHUNK_RECORDS);
	CpiiSpoolRecord record = {0};
	int			n = 0;
	int			at = 0;
	uint64		position = CPII_SEGMENT_HEADER;
	uint64		last = segment->first_seq - 1;

	while (cpii_spool_record(segment, position, last, &record))
	{
		if (record.seq > progress->seq)
			break;
		if (record.damaged_before)
			cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last + 1,
							   "damaged: the record in the spool cannot be read");
		else if (record.seq != last + 1)
			cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last + 1,
							   "missing: the record is not in the spool");
		if (record.seq >= progress->start_seq)
		{
			while (at < n && expected[at].seq < (int64) record.seq)
				at++;
			if (at >= n)
			{
				CHECK_FOR_INTERRUPTS();
				MemoryContextReset(per_chunk);
				MemoryContextSwitchTo(per_chunk);
				n = load_expected(segment->node, (int64) record.seq, (int64) progress->seq, expected);
				SPI_freetuptable(SPI_tuptable);
				MemoryContextSwitchTo(old);
				at = 0;
			}
			/* what is missing in the table was reported there, or dropped */
			if (at < n && expected[at].seq == (int64) record.seq)
			{
				MemoryContextSwitchTo(per_chunk);
				if (!same_record(&record, &expected[at], canonical))
					cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) record.seq,
									   "changed: the record in the spool is not the one in the table");
				MemoryContextSwitchTo(old);
			}
		}
		last = record.seq;
		position = record.end;
		if (last == progress->seq &&
			(progress->segment != segment->segment || progress->offset != record.end))
			cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last,
							   "changed: the progress row does not point behind this record");
	}
	/* unreadable bytes behind the last record */
	if (record.damaged_before && position < end && last <= progress->seq)
		cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last + 1,
						   "damaged: unreadable bytes in the spool");
	MemoryContextDelete(per_chunk);
}

void
cpii_verify_spool_copy(CpiiVerifier *v)
{
	CpiiSpoolState state;
	uint64		number;
	uint64		before = 0;

	cpii_spool_state(&state);
	PushActiveSnapshot(GetLatestSnapshot());
	for (number = cpii_spool_next_segment(1); number != 0 && number <= state.segment;
		 number = cpii_spool_next_segment(number + 1))
	{
		CpiiSegment segment;
		CpiiProgress progress;

		CHECK_FOR_INTERRUPTS();
		if (before != 0 && number != before + 1)
			cpii_verify_report(v, cpii_spool_node(), (int64) before + 1, -1,
							   "missing segment: the spool has earlier and later ones");
		before = number;
		if (!cpii_spool_read(number, 0, number == state.segment ? state.offset : CPII_SEGMENT_SIZE,
							 &segment))
		{
			/* removed in between? */
			if (cpii_spool_next_segment(number) == number)
				cpii_verify_report(v, cpii_spool_node(), (int64) number, -1,
								   "damaged: the spool segment cannot be read");
			continue;
		}
		cpii_ingest_progress(segment.node, &progress);
		if (progress.found && segment.first_seq <= progress.seq)
			check_segment(v, &segment, &progress, segment.end);
		else if (!progress.found && strcmp(segment.node, cpii_spool_node()) != 0)
			cpii_verify_report(v, segment.node, (int64) number, -1,
							   "unexpected: no records of this server were ever ingested");
		pfree(segment.data);
	}
	PopActiveSnapshot();
}
