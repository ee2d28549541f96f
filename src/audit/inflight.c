/*-------------------------------------------------------------------------
 *
 * inflight.c
 *	  Statements that have a BEGIN record and no END yet.
 *
 * A slot is taken before the BEGIN record is appended and given back after the
 * END record is.  A death in between leaves a slot whose record may or may not
 * be there; so whoever closes slots looks into the spool first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/inflight.h"
#include "audit/segment.h"
#include "audit/spool.h"

#define FILE_NAME "inflight"
#define FILE_MAGIC "CPIIFLY1"
#define SLOT_SIZE 4096

typedef struct Slot
{
	uint32		active;
	int32		pid;
	uint64		begin_seq;		/* 0: its BEGIN is being written */
	CpiiInflightCounts counts;
	uint32		length;
	char		body[SLOT_SIZE - 64];
} Slot;

typedef struct Header
{
	char		magic[8];
	uint32		slots;
	uint32		slot_size;
} Header;

StaticAssertDecl(sizeof(Slot) <= SLOT_SIZE, "a slot has its size");

volatile CpiiInflightCounts *cpii_inflight = NULL;

static char *mapping = NULL;
static size_t mapping_size = 0;

static inline int
slot_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static inline Slot *
slot_at(int n)
{
	return (Slot *) (mapping + SLOT_SIZE * ((size_t) n + 1));
}

static Slot *
my_slot(void)
{
	int			n;

	if (mapping == NULL || MyProc == NULL)
		return NULL;
	n = (int) (MyProc - ProcGlobal->allProcs);
	return n >= 0 && n < slot_count() ? slot_at(n) : NULL;
}

/* ---- in a backend ---- */

void
cpii_inflight_begin(const char *body, size_t length)
{
	Slot	   *slot = my_slot();

	if (slot == NULL)
		return;
	slot->active = 0;
	slot->begin_seq = 0;
	memset(&slot->counts, 0, sizeof(slot->counts));
	if (length > sizeof(slot->body))
	{
		/* without the long texts it fits */
		CpiiRow		row;

		if (!cpii_row_decode(body, length, &row))
			return;
		row.field[CPII_F_QUERY].null = true;
		row.field[CPII_F_DETAIL].null = true;
		if (row.field[CPII_F_RELATIONS].length > 1024)
			row.field[CPII_F_RELATIONS].length = 0;
		length = cpii_row_encode(&row, slot->body, sizeof(slot->body));
		if (length == 0)
			return;
	}
	else
		memcpy(slot->body, body, length);
	slot->length = (uint32) length;
	slot->pid = MyProcPid;
	pg_write_barrier();
	slot->active = 1;
	cpii_inflight = &slot->counts;
}

void
cpii_inflight_begun(uint64 seq)
{
	Slot	   *slot = my_slot();

	if (slot == NULL || cpii_inflight == NULL)
		return;
	slot->begin_seq = seq;
	if (seq == 0)
		cpii_inflight_end();
}

void
cpii_inflight_end(void)
{
	Slot	   *slot = my_slot();

	cpii_inflight = NULL;
	if (slot != NULL)
		slot->active = 0;
}

void
cpii_inflight_sync(void)
{
	if (mapping != NULL)
		(void) msync(mapping, mapping_size, MS_ASYNC);
}

/* ---- at the start of the server ---- */

/* does a record of the spool answer the slot?  Learns the slot's begin_seq. */
static void
match(Slot *slot, const CpiiSpoolRecord *record)
{
	CpiiRow		row;
	char		mark[64];
	const CpiiField *detail;

	if (slot->begin_seq == 0)
	{
		if (record->length == slot->length &&
			memcmp(record->body, slot->body, record->length) == 0)
			slot->begin_seq = record->seq;
		return;
	}
	if (record->seq <= slot->begin_seq ||
		!cpii_row_decode(record->body, record->length, &row) ||
		row.field[CPII_F_PHASE].length != 3 ||
		memcmp(row.field[CPII_F_PHASE].text, "END", 3) != 0)
		return;
	detail = &row.field[CPII_F_DETAIL];
	snprintf(mark, sizeof(mark), "{\"begin_seq\": %llu",
			 (unsigned long long) slot->begin_seq);
	if (!detail->null && detail->length > strlen(mark) &&
		memcmp(detail->text, mark, strlen(mark)) == 0 &&
		!(detail->text[strlen(mark)] >= '0' && detail->text[strlen(mark)] <= '9'))
		slot->active = 0;
}

/* look for the records of active slots in the last segments */
static void
search_spool(void)
{
	CpiiSpoolState state;
	uint64		number;

	cpii_spool_state(&state);
	for (number = cpii_spool_next_segment(state.segment > 3 ? state.segment - 3 : 1);
		 number != 0; number = cpii_spool_next_segment(number + 1))
	{
		CpiiSegment segment;
		CpiiSpoolRecord record;
		uint64		position = CPII_SEGMENT_HEADER;

		if (!cpii_spool_read(number, 0, CPII_SEGMENT_SIZE, &segment))
			continue;
		record.seq = 0;
		while (cpii_spool_record(&segment, position, record.seq, &record))
		{
			for (int i = 0; i < slot_count(); i++)
				if (slot_at(i)->active)
					match(slot_at(i), &record);
			position = record.end;
		}
		pfree(segment.data);
	}
}

static void
close_slot(Slot *slot)
{
	static char record[CPII_SPOOL_RECORD_HEADER + CPII_MAX_BODY + 8];
	char		detail[64];
	const char *why;
	CpiiRow		row;
	size_t		length;

	if (slot->length > sizeof(slot->body) ||
		!cpii_row_decode(slot->body, slot->length, &row))
		return;
	cpii_row_text(&row, CPII_F_PHASE, "END", 8);
	cpii_row_text(&row, CPII_F_OUTCOME, "crash", 8);
	cpii_row_number(&row, CPII_F_DURATION,
					GetCurrentTimestamp() + CPII_UNIX_OFFSET - row.field[CPII_F_AT].number);
	cpii_row_number(&row, CPII_F_AT, GetCurrentTimestamp() + CPII_UNIX_OFFSET);
	cpii_row_number(&row, CPII_F_ROWS_RETURNED, slot->counts.rows);
	cpii_row_number(&row, CPII_F_DISCLOSED, slot->counts.disclosed);
	cpii_row_number(&row, CPII_F_MASKED, slot->counts.masked);
	cpii_row_number(&row, CPII_F_PROBES, slot->counts.probes);
	cpii_row_number(&row, CPII_F_ROWS_EXAMINED,
					slot->counts.disclosed + slot->counts.masked);
	snprintf(detail, sizeof(detail), "{\"begin_seq\": %llu}",
			 (unsigned long long) slot->begin_seq);
	cpii_row_text(&row, CPII_F_DETAIL, detail, sizeof(detail));
	length = cpii_row_encode(&row, record + CPII_SPOOL_RECORD_HEADER, CPII_MAX_BODY);
	if (length == 0 || cpii_spool_append(record, length, false, &why) == 0)
		ereport(LOG,
				(errmsg("the end of an interrupted statement could not be recorded"),
				 errdetail("Its BEGIN record has sequence number %llu.",
						   (unsigned long long) slot->begin_seq)));
}

static void
close_slots(void)
{
	bool		any = false;

	for (int i = 0; i < slot_count(); i++)
		any |= slot_at(i)->active != 0;
	if (!any)
		return;
	search_spool();
	for (int i = 0; i < slot_count(); i++)
	{
		Slot	   *slot = slot_at(i);

		/* without a BEGIN record nothing had left */
		if (slot->active && slot->begin_seq != 0)
			close_slot(slot);
		slot->active = 0;
	}
}

/* a file of the right size and shape */
static bool
fits(int fd, int slots)
{
	struct stat st;
	Header		header;

	return fstat(fd, &st) == 0 &&
		st.st_size == (off_t) SLOT_SIZE * (slots + 1) &&
		pg_pread(fd, &header, sizeof(header), 0) == sizeof(header) &&
		memcmp(header.magic, FILE_MAGIC, 8) == 0 &&
		header.slots == (uint32) slots && header.slot_size == SLOT_SIZE;
}

static bool
make_file(int fd, int slots)
{
	char		page[SLOT_SIZE] = {0};
	Header	   *header = (Header *) page;

	memcpy(header->magic, FILE_MAGIC, 8);
	header->slots = (uint32) slots;
	header->slot_size = SLOT_SIZE;
	if (ftruncate(fd, 0) != 0)
		return false;
	for (int i = 0; i <= slots; i++)
	{
		if (pg_pwrite(fd, page, SLOT_SIZE, (off_t) SLOT_SIZE * i) != SLOT_SIZE)
			return false;
		memset(page, 0, sizeof(page));
	}
	return true;
}

static char *
map(int fd, int slots)
{
	char	   *p = mmap(NULL, (size_t) SLOT_SIZE * (slots + 1),
						 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* close what a server with another max_connections left */
static void
close_other_size(int fd)
{
	Header		header;
	struct stat st;

	if (fstat(fd, &st) != 0 ||
		pg_pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
		memcmp(header.magic, FILE_MAGIC, 8) != 0 ||
		header.slot_size != SLOT_SIZE || header.slots > 1000000 ||
		st.st_size != (off_t) SLOT_SIZE * (header.slots + 1))
		return;
	for (uint32 i = 0; i < header.slots; i++)
	{
		Slot		slot;

		if (pg_pread(fd, &slot, sizeof(slot), (off_t) SLOT_SIZE * (i + 1)) == sizeof(slot) &&
			slot.active && slot.begin_seq != 0)
			close_slot(&slot);
	}
}

void
cpii_inflight_start(void)
{
	char		path[MAXPGPATH];
	int			fd;

	if (mapping == NULL)
	{
		snprintf(path, sizeof(path), "%s/%s", cpii_segment_directory, FILE_NAME);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | PG_BINARY, S_IRUSR | S_IWUSR);
		if (fd >= 0)
		{
			if (!fits(fd, slot_count()))
			{
				close_other_size(fd);
				if (!make_file(fd, slot_count()))
				{
					close(fd);
					unlink(path);
					fd = -1;
				}
			}
			if (fd >= 0)
			{
				mapping = map(fd, slot_count());
				close(fd);
			}
		}
		if (mapping == NULL)
		{
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not map file \"%s\": %m", path),
					 errdetail("Statements that a crash cuts off stay without an END record.")));
			return;
		}
		mapping_size = (size_t) SLOT_SIZE * (slot_count() + 1);
	}
	close_slots();
}
