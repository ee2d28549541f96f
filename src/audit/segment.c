/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Files of the spool: finding, making and reading segments.
 *
 * No shared state but the directory's name; nothing here raises an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/timestamp.h"

#include "audit/segment.h"
#include "audit/spool_key.h"

#define SEGMENT_MAGIC "CPIIAUDT"
#define SEGMENT_VERSION 2
#define SEGMENT_PREFIX "segment-"

char		cpii_segment_directory[MAXPGPATH];
char		cpii_segment_problem_text[256];

static bool
all_zero(const char *data, uint64 len)
{
	for (uint64 i = 0; i < len; i++)
		if (data[i] != 0)
			return false;
	return true;
}

void
cpii_segment_path(char *path, uint64 number)
{
	snprintf(path, MAXPGPATH, "%s/%s%012llu", cpii_segment_directory, SEGMENT_PREFIX,
			 (unsigned long long) number);
}

/* remember why something did not work; always false */
bool
cpii_segment_problem(const char *what, const char *path)
{
	int			save_errno = errno;

	snprintf(cpii_segment_problem_text, sizeof(cpii_segment_problem_text), "could not %s \"%s\": %s",
			 what, path, strerror(save_errno));
	return false;
}

/* number of a segment file, 0 for other names */
static uint64
segment_number(const char *name)
{
	const char *digits = name + strlen(SEGMENT_PREFIX);

	if (strncmp(name, SEGMENT_PREFIX, strlen(SEGMENT_PREFIX)) != 0 ||
		strlen(digits) < 12 || strspn(digits, "0123456789") != strlen(digits))
		return 0;
	return strtoull(digits, NULL, 10);
}

/* look through the directory; 0 = none; -1 in *error = cannot read it */
uint64
cpii_segment_find(CpiiSegmentWanted wanted, uint64 bound, int *error)
{
	DIR		   *dir = opendir(cpii_segment_directory);
	struct dirent *entry;
	uint64		best = 0;

	if (error)
		*error = 0;
	if (dir == NULL)
	{
		cpii_segment_problem("open directory", cpii_segment_directory);
		if (error)
			*error = -1;
		return 0;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		uint64		n = segment_number(entry->d_name);

		if (n == 0)
			continue;
		if (wanted == CPII_SEGMENT_LOWEST_FROM && n >= bound && (best == 0 || n < best))
			best = n;
		if (wanted == CPII_SEGMENT_HIGHEST_BELOW && n < bound && n > best)
			best = n;
	}
	closedir(dir);
	return best;
}

static bool
sync_directory(void)
{
	int			fd = open(cpii_segment_directory, O_RDONLY | PG_BINARY, 0);
	bool		ok;

	if (fd < 0)
		return cpii_segment_problem("open directory", cpii_segment_directory);
	ok = pg_fsync(fd) == 0 || errno == EBADF || errno == EINVAL;
	if (!ok)
		cpii_segment_problem("flush directory", cpii_segment_directory);
	close(fd);
	return ok;
}

/* a file of CPII_SEGMENT_SIZE zeros, not flushed; returns its descriptor */
int
cpii_segment_create_zeroed(const char *path)
{
	static const char zeros[128 * 1024] = {0};
	int			fd;

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
	{
		cpii_segment_problem("create file", path);
		return -1;
	}
	for (uint64 done = 0; done < CPII_SEGMENT_SIZE; done += sizeof(zeros))
	{
		errno = 0;
		if (pg_pwrite(fd, zeros, sizeof(zeros), (off_t) done) != sizeof(zeros))
		{
			if (errno == 0)
				errno = ENOSPC;
			cpii_segment_problem("write file", path);
			close(fd);
			unlink(path);
			return -1;
		}
	}
	return fd;
}

/* ---- reading ---- */

bool
cpii_spool_read(uint64 number, uint64 start, uint64 end, CpiiSegment *segment)
{
	char		path[MAXPGPATH];
	char		header[CPII_SEGMENT_HEADER];
	int			fd;
	uint64		done = 0;

	cpii_segment_path(path, number);
	fd = open(path, O_RDONLY | PG_BINARY, 0);
	if (fd < 0)
		return cpii_segment_problem("open file", path);
	if (pg_pread(fd, header, sizeof(header), 0) != sizeof(header) ||
		memcmp(header, SEGMENT_MAGIC, 8) != 0 ||
		cpii_segment_get32(header + 8) != SEGMENT_VERSION ||
		cpii_segment_get32(header + 12) != cpii_segment_checksum(header + 16, sizeof(header) - 16) ||
		cpii_segment_get64(header + 16) != number)
	{
		snprintf(cpii_segment_problem_text, sizeof(cpii_segment_problem_text),
				 "file \"%s\" has no valid header", path);
		close(fd);
		errno = 0;
		return false;
	}
	segment->keys = NULL;
	segment->segment = number;
	segment->first_seq = cpii_segment_get64(header + 24);
	memcpy(segment->node, header + 40, CPII_NODE_LEN);
	segment->node[CPII_NODE_LEN] = '\0';
	segment->start = Max(start, CPII_SEGMENT_HEADER);
	segment->end = Max(Min(end, CPII_SEGMENT_SIZE), segment->start);
	segment->data = palloc_extended(segment->end - segment->start + 1,
									MCXT_ALLOC_NO_OOM);
	if (segment->data == NULL)
	{
		errno = ENOMEM;
		close(fd);
		return cpii_segment_problem("read file", path);
	}
	while (done < segment->end - segment->start)
	{
		ssize_t		n = pg_pread(fd, segment->data + done,
								 segment->end - segment->start - done,
								 (off_t) (segment->start + done));

		if (n < 0)
		{
			cpii_segment_problem("read file", path);
			pfree(segment->data);
			close(fd);
			return false;
		}
		if (n == 0)
			break;				/* shorter than it should be */
		done += n;
	}
	segment->end = segment->start + done;
	close(fd);
	return true;
}

/* is there an intact record at this byte? */
static bool
record_at(const CpiiSegment *segment, uint64 offset, uint64 after_seq,
		  CpiiSpoolRecord *record)
{
	const char *p = segment->data + (offset - segment->start);
	uint64		room = segment->end - offset;
	uint32		length;

	if (room < CPII_SPOOL_RECORD_HEADER)
		return false;
	length = cpii_segment_get32(p);
	if (length == 0 || length > CPII_MAX_BODY || cpii_segment_record_size(length) > room)
		return false;
	if (cpii_segment_get32(p + 4) !=
		cpii_segment_checksum(p + 8, CPII_SPOOL_RECORD_HEADER - 8 + length))
		return false;
	if (!all_zero(p + CPII_SPOOL_RECORD_HEADER + length,
				  cpii_segment_record_size(length) - CPII_SPOOL_RECORD_HEADER - length))
		return false;
	if (segment->keys != NULL)
	{
		CpiiTagResult result = cpii_spool_keys_check(segment->keys, p + 8,
													 p + CPII_SPOOL_RECORD_HEADER, length);

		record->changed_before |= result == CPII_TAG_BAD;
		if (result == CPII_TAG_BAD)
			return false;
		record->unprotected = result == CPII_TAG_UNKNOWN;
	}
	record->seq = cpii_segment_get64(p + 8);
	if (record->seq <= after_seq)
	{
		record->reordered_before = true;
		return false;
	}
	record->life = cpii_segment_get64(p + 16);
	record->offset = offset;
	record->end = offset + cpii_segment_record_size(length);
	record->body = p + CPII_SPOOL_RECORD_HEADER;
	record->length = length;
	return true;
}

bool
cpii_spool_record(const CpiiSegment *segment, uint64 offset, uint64 after_seq,
				  CpiiSpoolRecord *record)
{
	record->unprotected = false;
	record->damaged_before = false;
	record->changed_before = false;
	record->reordered_before = false;
	if (record_at(segment, offset, after_seq, record))
		return true;
	if (offset >= segment->end ||
		all_zero(segment->data + (offset - segment->start),
				 segment->end - offset))
		return false;

	/* something unreadable: look for the next record behind it */
	record->damaged_before = true;
	for (offset += 8; offset < segment->end; offset += 8)
		if (record_at(segment, offset, after_seq, record))
			return true;
	return false;
}

const char *
cpii_spool_problem(const CpiiSpoolRecord *record)
{
	return record->changed_before ? "changed: the record in the spool does not match its tag" :
		record->reordered_before ? "reordered: records in the spool are not in their order" :
		record->damaged_before ? "damaged: the record in the spool cannot be read" :
		"missing: the record is not in the spool";
}

uint64
cpii_spool_next_segment(uint64 from)
{
	return cpii_segment_find(CPII_SEGMENT_LOWEST_FROM, from, NULL);
}

/* ---- making ---- */

bool
cpii_segment_create(uint64 number, uint64 first_seq, const char *node)
{
	char		path[MAXPGPATH];
	char		spare[MAXPGPATH];
	char		header[CPII_SEGMENT_HEADER];
	int			fd = -1;

	cpii_segment_path(path, number);
	snprintf(spare, sizeof(spare), "%s/%s", cpii_segment_directory, SPARE_NAME);
	if (rename(spare, path) == 0)
		fd = open(path, O_RDWR | PG_BINARY, 0);
	if (fd < 0)
		fd = cpii_segment_create_zeroed(path);
	if (fd < 0)
		return false;

	memset(header, 0, sizeof(header));
	memcpy(header, SEGMENT_MAGIC, 8);
	cpii_segment_put32(header + 8, SEGMENT_VERSION);
	cpii_segment_put64(header + 16, number);
	cpii_segment_put64(header + 24, first_seq);
	cpii_segment_put64(header + 32, (uint64) (GetCurrentTimestamp() + CPII_UNIX_OFFSET));
	memcpy(header + 40, node, strlen(node));
	cpii_segment_put32(header + 12, cpii_segment_checksum(header + 16, sizeof(header) - 16));
	errno = 0;
	if (pg_pwrite(fd, header, sizeof(header), 0) != sizeof(header))
	{
		if (errno == 0)
			errno = ENOSPC;
		cpii_segment_problem("write file", path);
		close(fd);
		unlink(path);
		return false;
	}
	if (pg_fdatasync(fd) != 0)
	{
		cpii_segment_problem("flush file", path);
		close(fd);
		unlink(path);
		return false;
	}
	close(fd);
	return sync_directory();
}
