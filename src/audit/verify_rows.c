/*-------------------------------------------------------------------------
 *
 * verify_rows.c
 *	  Reads every record of the audit table once and checks it.
 *
 * Partitions are read from end to end, past every index: what an index hides
 * or adds does not matter, and nothing has to be sorted.  A record's own hash
 * needs no other record, since it names its predecessor's.  Records are kept in
 * the order of the chain, apart from rare exceptions, so the links are checked
 * on the way; a record that does not follow the one before begins a new piece.
 * Putting the few pieces together is left to verify.c.
 *
 * A record that the spool has too is compared with that copy on the way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "audit/record.h"
#include "audit/verify.h"
#include "base/internal.h"

/* rows between two looks for a cancel, and resets of memory */
#define ROWS 64

typedef struct RowScan
{
	CpiiVerifier *v;
	CpiiCopies *copies;
	int			last;			/* number of the node last met, -1 = none */
	char	   *canonical;
} RowScan;

static CpiiNode *
find_node(RowScan *scan, Datum value, bool isnull)
{
	CpiiVerifier *v = scan->v;
	text	   *name = isnull ? NULL : DatumGetTextPP(value);
	const char *bytes = isnull ? "" : VARDATA_ANY(name);
	size_t		length = isnull ? 0 : VARSIZE_ANY_EXHDR(name);
	CpiiNode   *node;
	MemoryContext old;

	for (int i = -1; i < v->nnodes; i++)
	{
		int			number = i < 0 ? scan->last : i;

		if (number < 0)
			continue;
		node = &v->nodes[number];
		if (strncmp(node->name, bytes, length) == 0 && node->name[length] == '\0')
		{
			scan->last = number;
			return node;
		}
	}
	old = MemoryContextSwitchTo(v->context);
	v->nodes = v->nodes == NULL ? palloc0(sizeof(CpiiNode)) :
		repalloc(v->nodes, sizeof(CpiiNode) * (v->nnodes + 1));
	scan->last = v->nnodes++;
	node = &v->nodes[scan->last];
	memset(node, 0, sizeof(*node));
	node->name = pnstrdup(bytes, length);
	node->spool_from = cpii_copies_from(scan->copies, node->name);
	cpii_verify_load_wanted(v, node);
	MemoryContextSwitchTo(old);
	cpii_ingest_progress(node->name, &node->progress);
	if (!node->progress.found)
		cpii_verify_report(v, node->name, -1, -1,
						   "missing: there are records of this server, but no progress row");
	return node;
}

static CpiiPiece *
new_piece(CpiiVerifier *v, CpiiNode *node)
{
	if (node->npieces == node->maxpieces)
	{
		node->maxpieces = Max(node->maxpieces * 2, 16);
		node->pieces = node->pieces == NULL ?
			MemoryContextAlloc(v->context, sizeof(CpiiPiece) * node->maxpieces) :
			repalloc_huge(node->pieces, sizeof(CpiiPiece) * node->maxpieces);
	}
	return memset(&node->pieces[node->npieces++], 0, sizeof(CpiiPiece));
}

static bool
get_hash(Datum value, bool isnull, unsigned char *hash)
{
	text	   *bytes = isnull ? NULL : DatumGetTextPP(value);

	if (bytes == NULL || VARSIZE_ANY_EXHDR(bytes) != CPII_HASH_LEN)
		return false;
	memcpy(hash, VARDATA_ANY(bytes), CPII_HASH_LEN);
	return true;
}

/* is it a record of the worker about this? */
static bool
is_note(const Datum *values, const bool *nulls, const char *what)
{
	text	   *command = nulls[CPII_F_COMMAND] ? NULL : DatumGetTextPP(values[CPII_F_COMMAND]);

	return command != NULL && VARSIZE_ANY_EXHDR(command) == strlen(what) &&
		memcmp(VARDATA_ANY(command), what, strlen(what)) == 0;
}

/* what the worker found in the spool is said for good */
static void
report_refused(CpiiVerifier *v, const CpiiNode *node, int64 segment, int64 seq,
			   Datum detail)
{
	static const char mark[] = "\"problem\": \"";
	char	   *text = DatumGetCString(DirectFunctionCall1(jsonb_out, detail));
	char	   *problem = strstr(text, mark);

	problem = problem == NULL ? "unexpected" :
		pnstrdup(problem + strlen(mark), strcspn(problem + strlen(mark), "\""));
	cpii_verify_report(v, node->name, segment, seq,
					   "%s: records of the spool were not taken: %s", problem, text);
}

/* the record follows the last one of the piece: do both fit together? */
static void
check_next(CpiiVerifier *v, const CpiiNode *node, const CpiiPiece *piece,
		   int64 segment, int64 seq, int generation,
		   const unsigned char *prev_hash, bool intact)
{
	if (intact && memcmp(prev_hash, piece->last_hash, CPII_HASH_LEN) != 0)
		cpii_verify_report(v, node->name, segment, seq, CPII_PROBLEM_REORDERED);
	if (segment < piece->last_segment)
		cpii_verify_report(v, node->name, segment, seq, CPII_PROBLEM_SEGMENT);
	if (intact && piece->keyed_seq >= 0 && generation < piece->last_generation)
		cpii_verify_report(v, node->name, segment, seq, "%s",
						   CPII_PROBLEM_GENERATION(generation));
}

static void
check_record(RowScan *scan, const Datum *values, const bool *nulls)
{
	CpiiVerifier *v = scan->v;
	CpiiNode   *node = find_node(scan, values[CPII_F_NODE], nulls[CPII_F_NODE]);
	CpiiPiece  *piece = node->npieces == 0 ? NULL : &node->pieces[node->npieces - 1];
	const CpiiProgress *progress = &node->progress;
	unsigned char prev_hash[CPII_HASH_LEN] = {0};
	unsigned char hash[CPII_HASH_LEN];
	unsigned char computed[CPII_HASH_LEN];
	int64		seq = DatumGetInt64(values[CPII_F_SEQ]);
	int64		segment = DatumGetInt64(values[CPII_COL_SEGMENT]);
	int			generation = DatumGetInt32(values[CPII_COL_KEY_GENERATION]);
	size_t		length = cpii_row_encode_datums(values, nulls, scan->canonical,
												CPII_MAX_CANONICAL);
	bool		have_hash = get_hash(values[CPII_COL_HASH], nulls[CPII_COL_HASH], hash);
	bool		intact;
	int64		copied_to;

	if (!have_hash)
		memset(hash, 0, sizeof(hash));
	intact = length > 0 && have_hash &&
		get_hash(values[CPII_COL_PREV_HASH], nulls[CPII_COL_PREV_HASH], prev_hash) &&
		generation >= 0 &&
		(!progress->found || generation <= progress->key_generation);
	if (intact)
	{
		cpii_chain_hash(v->chain, generation, prev_hash, seq, scan->canonical,
						length, computed);
		intact = memcmp(computed, hash, CPII_HASH_LEN) == 0;
	}
	if (!intact)
		cpii_verify_report(v, node->name, segment, seq,
						   "changed: the record does not match its hash");
	if (segment < 1 || (progress->found && segment > (int64) progress->segment))
		cpii_verify_report(v, node->name, segment, seq, CPII_PROBLEM_SEGMENT);
	if (is_note(values, nulls, CPII_COMMAND_REFUSED) && !nulls[CPII_F_DETAIL])
		report_refused(v, node, segment, seq, values[CPII_F_DETAIL]);
	if (is_note(values, nulls, CPII_COMMAND_PROGRESS))
		cpii_verify_report(v, node->name, segment, seq,
						   "changed: the progress row did not match the record before this one");
	if (seq >= node->spool_from && progress->found &&
		seq >= (int64) progress->start_seq &&
		!cpii_copies_agree(scan->copies, node->name, seq, scan->canonical,
						   length, &copied_to))
		cpii_verify_report(v, node->name, copied_to, seq,
						   "changed: the record in the spool is not the one in the table");

	if (piece != NULL && seq == piece->last_seq + 1)
		check_next(v, node, piece, segment, seq, generation, prev_hash, intact);
	else
	{
		piece = new_piece(v, node);
		piece->first_seq = seq;
		piece->first_segment = segment;
		piece->first_intact = intact;
		piece->keyed_seq = -1;
		if (intact)
			memcpy(piece->prev_hash, prev_hash, CPII_HASH_LEN);
		node->next_wanted = cpii_verify_first_wanted(node, seq);
	}
	if (node->next_wanted < node->nwanted &&
		node->wanted[node->next_wanted].seq == seq)
	{
		node->wanted[node->next_wanted].found = true;
		memcpy(node->wanted[node->next_wanted++].hash, hash, CPII_HASH_LEN);
	}
	piece->last_seq = seq;
	piece->last_segment = segment;
	memcpy(piece->last_hash, hash, CPII_HASH_LEN);
	/* a bad generation was reported; do not report its successors for it */
	if (intact)
	{
		if (piece->keyed_seq < 0)
		{
			piece->keyed_seq = seq;
			piece->keyed_generation = generation;
		}
		piece->last_generation = generation;
	}
	v->records++;
}

static void
read_partition(RowScan *scan, Relation rel, TupleDesc expected)
{
	TupleConversionMap *map = convert_tuples_by_name(RelationGetDescr(rel), expected);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TupleTableSlot *converted = map == NULL ? NULL :
		MakeSingleTupleTableSlot(expected, &TTSOpsVirtual);
	TableScanDesc heap = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	MemoryContext per_rows = AllocSetContextCreate(CurrentMemoryContext,
												   "courier_pii audit_verify",
												   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_rows);
	int			n = 0;

	while (table_scan_getnextslot(heap, ForwardScanDirection, slot))
	{
		TupleTableSlot *row = slot;

		if (map != NULL)
			row = execute_attr_map_slot(map->attrMap, slot, converted);
		slot_getallattrs(row);
		check_record(scan, row->tts_values, row->tts_isnull);
		if (++n % ROWS == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(per_rows);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_rows);
	table_endscan(heap);
	if (converted != NULL)
		ExecDropSingleTupleTableSlot(converted);
	ExecDropSingleTupleTableSlot(slot);
}

void
cpii_verify_rows(CpiiVerifier *v)
{
	Relation	parent = table_open(cpii_relation_oid("audit_record", false), AccessShareLock);
	TupleDesc	expected = RelationGetDescr(parent);
	List	   *children = find_all_inheritors(RelationGetRelid(parent), AccessShareLock, NULL);
	ListCell   *lc;
	RowScan		scan = {.v = v, .last = -1};

	cpii_row_check_columns(expected);
	scan.canonical = palloc(CPII_MAX_CANONICAL);
	scan.copies = cpii_copies_open();
	/* as they were made, and so mostly by months */
	list_sort(children, list_oid_cmp);
	foreach(lc, children)
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);

		if (rel->rd_rel->relkind == RELKIND_RELATION)
			read_partition(&scan, rel, expected);
		else if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
			cpii_verify_report(v, "", -1, -1,
							   "unexpected: partition \"%s\" is not a table",
							   RelationGetRelationName(rel));
		table_close(rel, NoLock);
	}
	table_close(parent, NoLock);
	pfree(scan.canonical);
}
