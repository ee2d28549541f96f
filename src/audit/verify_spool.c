/*-------------------------------------------------------------------------
 *
 * verify_spool.c
 *	  Compares records of the audit table with their copies in the spool, and
 *	  looks for holes and damage in the part of the spool that was ingested.
 *
 * Segments are read when the first of their records is asked for.  Two are
 * held, for the records of a segment come one behind the other, and those of a
 * server that was renamed are next to each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit/spool.h"
#include "audit/spool_key.h"
#include "audit/verify.h"

#define HELD 2
#define SMALLEST_RECORD (CPII_SPOOL_RECORD_HEADER + 8)
#define MAX_RECORDS (CPII_SEGMENT_SIZE / SMALLEST_RECORD)

typedef struct Known
{
	uint64		number;
	int64		first_seq;
	char		node[CPII_NODE_LEN + 1];
} Known;

typedef struct Held
{
	int			known;			/* which one, -1 = none */
	uint64		used;
	CpiiSegment segment;
	uint32	   *offset;			/* of each record behind first_seq, 0 = none */
	int			n;
} Held;

struct CpiiCopies
{
	MemoryContext context;
	Known	   *known;
	int			nknown;
	Held		held[HELD];
	uint64		clock;
};

/* how far a segment is written */
static uint64
written_end(const CpiiSpoolState *state, uint64 number)
{
	return number == state->segment ? state->offset : CPII_SEGMENT_SIZE;
}

CpiiCopies *
cpii_copies_open(void)
{
	CpiiCopies *copies = palloc0(sizeof(CpiiCopies));
	CpiiSpoolState state;
	int			max = 64;

	cpii_spool_state(&state);
	copies->context = CurrentMemoryContext;
	copies->known = palloc(sizeof(Known) * max);
	for (int i = 0; i < HELD; i++)
		copies->held[i].known = -1;
	for (uint64 number = cpii_spool_next_segment(1); number != 0 && number <= state.segment;
		 number = cpii_spool_next_segment(number + 1))
	{
		CpiiSegment segment;
		Known	   *known;

		/* the header alone; what cannot be read is reported later */
		if (!cpii_spool_read(number, 0, 0, &segment))
			continue;
		if (copies->nknown == max)
		{
			max *= 2;
			copies->known = repalloc(copies->known, sizeof(Known) * max);
		}
		known = &copies->known[copies->nknown++];
		known->number = number;
		known->first_seq = (int64) segment.first_seq;
		strlcpy(known->node, segment.node, sizeof(known->node));
		pfree(segment.data);
	}
	return copies;
}

int64
cpii_copies_from(const CpiiCopies *copies, const char *node)
{
	int64		from = PG_INT64_MAX;

	for (int i = 0; i < copies->nknown; i++)
		if (strcmp(copies->known[i].node, node) == 0)
			from = Min(from, copies->known[i].first_seq);
	return from;
}

/* the segment that has this number of the node, -1 = none */
static int
find_known(const CpiiCopies *copies, const char *node, int64 seq)
{
	int			found = -1;

	for (int i = 0; i < copies->nknown; i++)
	{
		const Known *known = &copies->known[i];

		if (known->first_seq <= seq && strcmp(known->node, node) == 0 &&
			(found < 0 || known->first_seq >= copies->known[found].first_seq))
			found = i;
	}
	return found;
}

static void
release(Held *held)
{
	if (held->known >= 0 && held->offset != NULL)
	{
		pfree(held->segment.data);
		pfree(held->offset);
	}
	held->known = -1;
	held->offset = NULL;
	held->n = 0;
}

/* read a segment and note where its records are; nothing when it is gone */
static void
load(CpiiCopies *copies, Held *held, int number)
{
	MemoryContext old = MemoryContextSwitchTo(copies->context);
	const Known *known = &copies->known[number];
	CpiiSegment *segment = &held->segment;
	CpiiSpoolState state;
	CpiiSpoolRecord record;
	uint64		position = CPII_SEGMENT_HEADER;
	uint64		last = known->first_seq - 1;

	release(held);
	held->known = number;
	cpii_spool_state(&state);
	if (cpii_spool_read(known->number, 0, written_end(&state, known->number), segment))
	{
		held->offset = palloc0(sizeof(uint32) * MAX_RECORDS);
		while (cpii_spool_record(segment, position, last, &record))
		{
			uint64		i = record.seq - known->first_seq;

			if (i < MAX_RECORDS)
			{
				held->offset[i] = (uint32) record.offset;
				held->n = (int) i + 1;
			}
			last = record.seq;
			position = record.end;
		}
	}
	MemoryContextSwitchTo(old);
}

static Held *
hold(CpiiCopies *copies, const char *node, int64 seq)
{
	Held	   *oldest = &copies->held[0];
	int			number;

	for (int i = 0; i < HELD; i++)
	{
		Held	   *held = &copies->held[i];
		const Known *known;

		if (held->used < oldest->used)
			oldest = held;
		if (held->known < 0)
			continue;
		known = &copies->known[held->known];
		if (seq >= known->first_seq && seq - known->first_seq < held->n &&
			strcmp(known->node, node) == 0)
		{
			held->used = ++copies->clock;
			return held;
		}
	}
	number = find_known(copies, node, seq);
	if (number < 0)
		return NULL;
	/* it is held, but does not have the record */
	for (int i = 0; i < HELD; i++)
		if (copies->held[i].known == number)
			return NULL;
	load(copies, oldest, number);
	oldest->used = ++copies->clock;
	return seq - copies->known[number].first_seq < oldest->n ? oldest : NULL;
}

/* ingest changes what a column's type would not take */
static bool
same_when_stored(const CpiiSpoolRecord *record, const char *canonical, size_t length)
{
	CpiiRow		row;
	Datum		values[CPII_N_COLUMNS];
	bool		nulls[CPII_N_COLUMNS];
	char	   *stored;
	bool		same;

	if (!cpii_row_decode(record->body, record->length, &row))
		return false;
	cpii_row_number(&row, CPII_F_SEQ, (int64) record->seq);
	cpii_row_to_datums(&row, values, nulls);
	stored = palloc(CPII_MAX_CANONICAL);
	same = cpii_row_encode_datums(values, nulls, stored, CPII_MAX_CANONICAL) == length &&
		memcmp(stored, canonical, length) == 0;
	pfree(stored);
	return same;
}

bool
cpii_copies_agree(CpiiCopies *copies, const char *node, int64 seq,
				  const char *canonical, size_t length, int64 *segment)
{
	Held	   *held = hold(copies, node, seq);
	CpiiSpoolRecord record;
	uint32		offset;

	if (held == NULL)
		return true;
	offset = held->offset[seq - copies->known[held->known].first_seq];
	if (offset == 0 ||
		!cpii_spool_record(&held->segment, offset, (uint64) seq - 1, &record))
		return true;
	*segment = (int64) held->segment.segment;
	/* most records are the same to the byte */
	if (record.length == length && memcmp(record.body, canonical, length) == 0)
		return true;
	return same_when_stored(&record, canonical, length);
}

/* ---- holes and damage ---- */

static void
check_segment(CpiiVerifier *v, const CpiiSegment *segment, const CpiiProgress *progress)
{
	CpiiSpoolRecord record = {0};
	uint64		position = CPII_SEGMENT_HEADER;
	uint64		last = segment->first_seq - 1;

	while (cpii_spool_record(segment, position, last, &record))
	{
		if (record.seq > progress->seq)
			break;
		if (record.damaged_before || record.seq != last + 1)
			cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last + 1,
							   "%s", cpii_spool_problem(&record));
		last = record.seq;
		position = record.end;
		if (last == progress->seq &&
			(progress->segment != segment->segment || progress->offset != record.end))
			cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last,
							   "changed: the progress row does not point behind this record");
	}
	/* unreadable bytes behind the last record */
	if (record.damaged_before && position < segment->end && last <= progress->seq)
		cpii_verify_report(v, segment->node, (int64) segment->segment, (int64) last + 1,
						   "%s", cpii_spool_problem(&record));
}

void
cpii_verify_spool(CpiiVerifier *v)
{
	CpiiSpoolState state;
	uint64		number;
	uint64		before = 0;
	CpiiSpoolKeys *keys = cpii_spool_keys_open(NULL, 0);

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
		if (!cpii_spool_read(number, 0, written_end(&state, number), &segment))
		{
			/* removed in between? */
			if (cpii_spool_next_segment(number) == number)
				cpii_verify_report(v, cpii_spool_node(), (int64) number, -1,
								   "damaged: the spool segment cannot be read");
			continue;
		}
		cpii_ingest_progress(segment.node, &progress);
		segment.keys = keys;
		if (progress.found && segment.first_seq <= progress.seq)
			check_segment(v, &segment, &progress);
		else if (!progress.found && strcmp(segment.node, cpii_spool_node()) != 0)
			cpii_verify_report(v, segment.node, (int64) number, -1,
							   "unexpected: no records of this server were ever ingested");
		pfree(segment.data);
	}
	PopActiveSnapshot();
}
