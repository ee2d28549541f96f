/*-------------------------------------------------------------------------
 *
 * spool.c
 *	  The append-only spool: preallocated segments, one write(2) per record.
 *
 * Locking: the one lock protects every plain field of SpoolShared and all
 * writing to segment files.  A record is on its way to the kernel before the
 * lock is released, so whatever a backend was told is stored survives its own
 * death and that of the whole server; flushing to disk happens outside the
 * lock.  Nothing here raises an error.
 *
 * A server that starts finds the end of the last segment by reading it.  If
 * something unreadable follows the last record (a write that was cut off, or
 * damage), the segment is left as it is and a new one is begun.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "audit/spool.h"
#include "base/settings.h"
#include "base/shmem.h"

#define SEGMENT_MAGIC "CPIIAUDT"
#define SEGMENT_VERSION 1
#define SEGMENT_PREFIX "segment-"
#define SPARE_NAME "spare"
#define LOCK_NAME "lock"
#define RETRY_INTERVAL_MS 5000
#define LOSS_LOG_INTERVAL_MS 60000

typedef struct SpoolShared
{
	LWLock	   *lock;

	/* protected by the lock */
	bool		ready;
	uint64		segment;
	uint64		offset;
	uint64		next_seq;
	TimestampTz retry_at;		/* after a failure: next attempt */
	bool		started;		/* cpii_spool_first_start was called */
	int			worker_starts;	/* since the worker was last connected */
	TimestampTz caught_up_at;
	int			worker_pid;
	Latch	   *worker_latch;

	pg_atomic_uint64 lost;
	pg_atomic_uint64 loss_logged_at;
	pg_atomic_uint64 ingested_seq;
} SpoolShared;

static SpoolShared *shared = NULL;

static char spool_dir[MAXPGPATH];
static char node_name[CPII_NODE_LEN + 1];

/* this process's descriptor of the segment that is written */
static int	own_fd = -1;
static uint64 own_fd_segment = 0;

/* the lock on the directory, and the process that took it */
static int	lock_fd = -1;
static int	lock_pid = 0;

static char problem_text[256];

/* ---- small helpers ---- */

static uint64
get64(const char *p)
{
	uint64		v;

	memcpy(&v, p, sizeof(v));
	return pg_ntoh64(v);
}

static uint32
get32(const char *p)
{
	uint32		v;

	memcpy(&v, p, sizeof(v));
	return pg_ntoh32(v);
}

static void
put64(char *p, uint64 v)
{
	v = pg_hton64(v);
	memcpy(p, &v, sizeof(v));
}

static void
put32(char *p, uint32 v)
{
	v = pg_hton32(v);
	memcpy(p, &v, sizeof(v));
}

static uint32
checksum(const char *data, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, len);
	FIN_CRC32C(crc);
	return crc;
}

static bool
all_zero(const char *data, uint64 len)
{
	for (uint64 i = 0; i < len; i++)
		if (data[i] != 0)
			return false;
	return true;
}

static uint64
record_size(size_t body_length)
{
	return TYPEALIGN64(8, CPII_SPOOL_RECORD_HEADER + body_length);
}

static void
segment_path(char *path, uint64 number)
{
	snprintf(path, MAXPGPATH, "%s/%s%012llu", spool_dir, SEGMENT_PREFIX,
			 (unsigned long long) number);
}

/* remember why something did not work; always false */
static bool
problem(const char *what, const char *path)
{
	int			save_errno = errno;

	snprintf(problem_text, sizeof(problem_text), "could not %s \"%s\": %s",
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

typedef enum SegmentWanted
{
	LOWEST_FROM,				/* lowest number >= bound */
	HIGHEST_BELOW				/* highest number < bound */
} SegmentWanted;

/* look through the directory; 0 = none; -1 in *error = cannot read it */
static uint64
find_segment(SegmentWanted wanted, uint64 bound, int *error)
{
	DIR		   *dir = opendir(spool_dir);
	struct dirent *entry;
	uint64		best = 0;

	if (error)
		*error = 0;
	if (dir == NULL)
	{
		problem("open directory", spool_dir);
		if (error)
			*error = -1;
		return 0;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		uint64		n = segment_number(entry->d_name);

		if (n == 0)
			continue;
		if (wanted == LOWEST_FROM && n >= bound && (best == 0 || n < best))
			best = n;
		if (wanted == HIGHEST_BELOW && n < bound && n > best)
			best = n;
	}
	closedir(dir);
	return best;
}

static bool
sync_directory(void)
{
	int			fd = open(spool_dir, O_RDONLY | PG_BINARY, 0);
	bool		ok;

	if (fd < 0)
		return problem("open directory", spool_dir);
	ok = pg_fsync(fd) == 0 || errno == EBADF || errno == EINVAL;
	if (!ok)
		problem("flush directory", spool_dir);
	close(fd);
	return ok;
}

/* a file of CPII_SEGMENT_SIZE zeros, not flushed; returns its descriptor */
static int
create_zeroed(const char *path)
{
	static const char zeros[128 * 1024] = {0};
	int			fd;

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
	{
		problem("create file", path);
		return -1;
	}
	for (uint64 done = 0; done < CPII_SEGMENT_SIZE; done += sizeof(zeros))
	{
		errno = 0;
		if (pg_pwrite(fd, zeros, sizeof(zeros), (off_t) done) != sizeof(zeros))
		{
			if (errno == 0)
				errno = ENOSPC;
			problem("write file", path);
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

	segment_path(path, number);
	fd = open(path, O_RDONLY | PG_BINARY, 0);
	if (fd < 0)
		return problem("open file", path);
	if (pg_pread(fd, header, sizeof(header), 0) != sizeof(header) ||
		memcmp(header, SEGMENT_MAGIC, 8) != 0 ||
		get32(header + 8) != SEGMENT_VERSION ||
		get32(header + 12) != checksum(header + 16, sizeof(header) - 16) ||
		get64(header + 16) != number)
	{
		snprintf(problem_text, sizeof(problem_text),
				 "file \"%s\" has no valid header", path);
		close(fd);
		errno = 0;
		return false;
	}
	segment->segment = number;
	segment->first_seq = get64(header + 24);
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
		return problem("read file", path);
	}
	while (done < segment->end - segment->start)
	{
		ssize_t		n = pg_pread(fd, segment->data + done,
								 segment->end - segment->start - done,
								 (off_t) (segment->start + done));

		if (n < 0)
		{
			problem("read file", path);
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
	length = get32(p);
	if (length == 0 || length > CPII_MAX_BODY || record_size(length) > room)
		return false;
	record->seq = get64(p + 8);
	if (record->seq <= after_seq)
		return false;
	if (get32(p + 4) != checksum(p + 8, 8 + length))
		return false;
	record->offset = offset;
	record->end = offset + record_size(length);
	record->body = p + CPII_SPOOL_RECORD_HEADER;
	record->length = length;
	return true;
}

bool
cpii_spool_record(const CpiiSegment *segment, uint64 offset, uint64 after_seq,
				  CpiiSpoolRecord *record)
{
	record->damaged_before = false;
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

uint64
cpii_spool_next_segment(uint64 from)
{
	return find_segment(LOWEST_FROM, from, NULL);
}

/* ---- writing; the lock is held ---- */

static void
forget_descriptor(void)
{
	if (own_fd >= 0)
	{
		close(own_fd);
		ReleaseExternalFD();
	}
	own_fd = -1;
	own_fd_segment = 0;
}

/* have own_fd be the segment that is written */
static bool
open_current(void)
{
	char		path[MAXPGPATH];

	if (own_fd >= 0 && own_fd_segment == shared->segment)
		return true;
	forget_descriptor();
	segment_path(path, shared->segment);
	own_fd = BasicOpenFilePerm(path, O_RDWR | PG_BINARY, S_IRUSR | S_IWUSR);
	if (own_fd < 0)
		return problem("open file", path);
	ReserveExternalFD();
	own_fd_segment = shared->segment;
	return true;
}

/* begin a segment and make it the one that is written */
static bool
begin_segment(uint64 number, uint64 first_seq)
{
	char		path[MAXPGPATH];
	char		spare[MAXPGPATH];
	char		header[CPII_SEGMENT_HEADER];
	int			fd = -1;

	segment_path(path, number);
	snprintf(spare, sizeof(spare), "%s/%s", spool_dir, SPARE_NAME);
	if (rename(spare, path) == 0)
		fd = open(path, O_RDWR | PG_BINARY, 0);
	if (fd < 0)
		fd = create_zeroed(path);
	if (fd < 0)
		return false;

	memset(header, 0, sizeof(header));
	memcpy(header, SEGMENT_MAGIC, 8);
	put32(header + 8, SEGMENT_VERSION);
	put64(header + 16, number);
	put64(header + 24, first_seq);
	put64(header + 32, (uint64) (GetCurrentTimestamp() + CPII_UNIX_OFFSET));
	memcpy(header + 40, node_name, strlen(node_name));
	put32(header + 12, checksum(header + 16, sizeof(header) - 16));
	errno = 0;
	if (pg_pwrite(fd, header, sizeof(header), 0) != sizeof(header))
	{
		if (errno == 0)
			errno = ENOSPC;
		problem("write file", path);
		close(fd);
		unlink(path);
		return false;
	}
	if (pg_fdatasync(fd) != 0)
	{
		problem("flush file", path);
		close(fd);
		unlink(path);
		return false;
	}
	close(fd);
	if (!sync_directory())
		return false;

	shared->segment = number;
	shared->offset = CPII_SEGMENT_HEADER;
	shared->next_seq = first_seq;
	return true;
}

/* move a segment file out of the way; it stays in the directory */
static void
set_aside(uint64 number, const char *why)
{
	char		path[MAXPGPATH];
	char		aside[MAXPGPATH + 64];

	segment_path(path, number);
	snprintf(aside, sizeof(aside), "%s.%s.%lld", path, why,
			 (long long) (GetCurrentTimestamp() + CPII_UNIX_OFFSET));
	if (rename(path, aside) == 0)
		ereport(LOG,
				(errmsg("audit segment \"%s\" was set aside as \"%s\"",
						path, aside)));
}

static void
unlock_directory(void)
{
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
}

/*
 * Two servers must not write to one directory.  The lock belongs to this
 * process (usually the postmaster) and ends with it; forked children do not
 * hold it.
 */
static bool
lock_directory(void)
{
	char		path[MAXPGPATH];
	struct flock lock = {0};

	if (lock_fd >= 0 && lock_pid == MyProcPid)
		return true;
	unlock_directory();
	snprintf(path, sizeof(path), "%s/%s", spool_dir, LOCK_NAME);
	lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | PG_BINARY,
				   S_IRUSR | S_IWUSR);
	if (lock_fd < 0)
		return problem("create file", path);
	lock.l_type = F_WRLCK;
	lock.l_whence = SEEK_SET;
	if (fcntl(lock_fd, F_SETLK, &lock) != 0)
	{
		snprintf(problem_text, sizeof(problem_text),
				 "directory \"%s\" is in use by another server", spool_dir);
		unlock_directory();
		return false;
	}
	lock_pid = MyProcPid;
	return true;
}

/*
 * Find the end of what is stored, or begin the first segment.  Called in the
 * postmaster before any other process exists, and again under the lock when
 * that failed.
 */
static bool
recover(void)
{
	uint64		highest;
	uint64		number;
	uint64		last_seq = 0;
	int			error;
	struct stat st;

	if (mkdir(spool_dir, S_IRWXU) != 0 && errno != EEXIST)
		return problem("create directory", spool_dir);
	if (stat(spool_dir, &st) == 0 && S_ISDIR(st.st_mode) &&
		(st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		ereport(LOG,
				(errmsg("audit directory \"%s\" is open to other users of the machine",
						spool_dir),
				 errhint("Set its permissions to 0700.")));

	if (!lock_directory())
		return false;

	highest = find_segment(HIGHEST_BELOW, PG_UINT64_MAX, &error);
	if (error != 0)
		return false;
	for (number = highest; number > 0;
		 number = find_segment(HIGHEST_BELOW, number, &error))
	{
		CpiiSegment segment;
		CpiiSpoolRecord record;
		uint64		end = CPII_SEGMENT_HEADER;
		bool		damaged = false;

		if (!cpii_spool_read(number, 0, CPII_SEGMENT_SIZE, &segment))
		{
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
				errno == EACCES || errno == EIO)
				return false;
			/* begun, but the header was never written, or destroyed */
			set_aside(number, "damaged");
			continue;
		}
		last_seq = segment.first_seq - 1;
		while (cpii_spool_record(&segment, end, last_seq, &record))
		{
			damaged |= record.damaged_before;
			last_seq = record.seq;
			end = record.end;
		}
		damaged |= record.damaged_before;
		if (damaged)
			ereport(LOG,
					(errmsg("audit segment %llu has unreadable bytes",
							(unsigned long long) number),
					 errdetail("The last readable record has sequence number %llu; a new segment is begun.",
							   (unsigned long long) last_seq)));
		if (!damaged && number == highest &&
			segment.end == CPII_SEGMENT_SIZE &&
			strcmp(segment.node, node_name) == 0)
		{
			shared->segment = number;
			shared->offset = end;
			shared->next_seq = last_seq + 1;
			pfree(segment.data);
			return true;
		}
		pfree(segment.data);
		break;
	}
	return begin_segment(highest + 1, last_seq + 1);
}

static bool
make_ready(void)
{
	TimestampTz now;

	if (shared->ready)
		return true;
	now = GetCurrentTimestamp();
	if (now < shared->retry_at)
	{
		snprintf(problem_text, sizeof(problem_text),
				 "the spool directory is not usable");
		return false;
	}
	shared->retry_at = TimestampTzPlusMilliseconds(now, RETRY_INTERVAL_MS);
	if (!recover())
	{
		/* another process of this server tries the next time */
		unlock_directory();
		return false;
	}
	shared->retry_at = 0;
	shared->ready = true;
	return true;
}

/*
 * The current segment is full.  When no further one can be made (full disk),
 * not every record tries again, for an attempt is expensive.
 */
static bool
begin_next_segment(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now < shared->retry_at)
	{
		snprintf(problem_text, sizeof(problem_text),
				 "no new segment could be made in \"%s\"", spool_dir);
		return false;
	}
	if (pg_fdatasync(own_fd) != 0)
		return problem("flush the segment in", spool_dir);
	if (!begin_segment(shared->segment + 1, shared->next_seq))
	{
		shared->retry_at = TimestampTzPlusMilliseconds(now, RETRY_INTERVAL_MS);
		return false;
	}
	return open_current();
}

uint64
cpii_spool_append(char *record, size_t body_length, bool sync,
				  const char **why)
{
	uint64		size = record_size(body_length);
	uint64		seq = 0;

	*why = problem_text;
	Assert(body_length > 0 && body_length <= CPII_MAX_BODY);
	memset(record + CPII_SPOOL_RECORD_HEADER + body_length, 0,
		   size - CPII_SPOOL_RECORD_HEADER - body_length);
	put32(record, (uint32) body_length);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (make_ready() && open_current() &&
		(shared->offset + size <= CPII_SEGMENT_SIZE || begin_next_segment()))
	{
		put64(record + 8, shared->next_seq);
		put32(record + 4, checksum(record + 8, 8 + body_length));
		errno = 0;
		if (pg_pwrite(own_fd, record, size, (off_t) shared->offset) ==
			(ssize_t) size)
		{
			seq = shared->next_seq++;
			shared->offset += size;
		}
		else
		{
			if (errno == 0)
				errno = ENOSPC;
			problem("write to a segment in", spool_dir);
		}
	}
	LWLockRelease(shared->lock);

	if (seq != 0 && sync && pg_fdatasync(own_fd) != 0)
	{
		problem("flush a segment in", spool_dir);
		return 0;
	}
	return seq;
}

bool
cpii_spool_count_loss(void)
{
	uint64		now = (uint64) GetCurrentTimestamp();
	uint64		last;

	if (shared == NULL)
		return true;
	pg_atomic_fetch_add_u64(&shared->lost, 1);
	last = pg_atomic_read_u64(&shared->loss_logged_at);
	if (now - last < (uint64) LOSS_LOG_INTERVAL_MS * 1000)
		return false;
	return pg_atomic_compare_exchange_u64(&shared->loss_logged_at, &last, now);
}

/* ---- for the worker ---- */

bool
cpii_spool_sync(void)
{
	static uint64 synced_segment = 0;
	static uint64 synced_offset = 0;
	uint64		segment = 0;
	uint64		offset = 0;
	bool		usable;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	usable = shared->ready && open_current();
	segment = shared->segment;
	offset = shared->offset;
	LWLockRelease(shared->lock);

	if (!usable)
		return false;
	/* earlier segments were flushed when they were full */
	if (segment == synced_segment && offset == synced_offset)
		return true;
	if (pg_fdatasync(own_fd) != 0)
	{
		problem("flush a segment in", spool_dir);
		if (cpii_spool_count_loss())
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("audit records could not be flushed"),
					 errdetail_internal("%s", problem_text)));
		return false;
	}
	synced_segment = segment;
	synced_offset = offset;
	return true;
}

void
cpii_spool_prepare_spare(void)
{
	char		spare[MAXPGPATH];
	char		temporary[MAXPGPATH + 8];
	struct stat st;
	uint64		offset;
	int			fd;

	LWLockAcquire(shared->lock, LW_SHARED);
	offset = shared->ready ? shared->offset : 0;
	LWLockRelease(shared->lock);
	if (offset < CPII_SEGMENT_SIZE / 2)
		return;

	snprintf(spare, sizeof(spare), "%s/%s", spool_dir, SPARE_NAME);
	if (stat(spare, &st) == 0)
		return;
	snprintf(temporary, sizeof(temporary), "%s.new", spare);
	fd = create_zeroed(temporary);
	if (fd < 0)
		return;
	if (pg_fdatasync(fd) == 0)
		(void) rename(temporary, spare);
	close(fd);
}

void
cpii_spool_remove_before(uint64 segment)
{
	static uint64 removed_before = 0;
	CpiiSpoolState state;
	uint64		number = removed_before;

	cpii_spool_state(&state);
	segment = Min(segment, state.segment);
	if (!state.ready || segment <= removed_before)
		return;
	while ((number = cpii_spool_next_segment(number)) != 0 && number < segment)
	{
		char		path[MAXPGPATH];

		segment_path(path, number);
		if (unlink(path) != 0 && errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
		number++;
	}
	removed_before = segment;
}

void
cpii_spool_skip_to(uint64 segment, uint64 seq)
{
	uint64		number = 0;
	uint64		was = 0;
	bool		done = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (make_ready() && shared->next_seq <= seq)
	{
		was = shared->next_seq;
		segment = Max(segment, shared->segment) + 1;
		while ((number = cpii_spool_next_segment(number)) != 0)
		{
			set_aside(number, "orphan");
			number++;
		}
		done = begin_segment(segment, seq + 1);
	}
	LWLockRelease(shared->lock);

	if (done)
		ereport(LOG,
				(errmsg("the audit spool was behind the database and goes on with segment %llu",
						(unsigned long long) segment),
				 errdetail("The spool's next sequence number was %llu, but the database holds records up to %llu of this server.",
						   (unsigned long long) was, (unsigned long long) seq),
				 errhint("If two servers write records under one name, set courier_pii.node_name.")));
}

void
cpii_spool_set_ingested(uint64 seq, bool caught_up)
{
	pg_atomic_write_u64(&shared->ingested_seq, seq);
	if (caught_up)
	{
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		shared->caught_up_at = GetCurrentTimestamp();
		LWLockRelease(shared->lock);
	}
}

void
cpii_spool_set_worker(int pid, Latch *latch)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->worker_pid = pid;
	shared->worker_latch = latch;
	LWLockRelease(shared->lock);
}

void
cpii_spool_wake_worker(void)
{
	Latch	   *latch;

	LWLockAcquire(shared->lock, LW_SHARED);
	latch = shared->worker_latch;
	LWLockRelease(shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

bool
cpii_spool_first_start(void)
{
	bool		first;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	first = !shared->started;
	shared->started = true;
	LWLockRelease(shared->lock);
	return first;
}

int
cpii_spool_worker_starts(void)
{
	int			starts;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	starts = shared->worker_starts++;
	LWLockRelease(shared->lock);
	return starts;
}

void
cpii_spool_worker_connected(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->worker_starts = 0;
	LWLockRelease(shared->lock);
}

void
cpii_spool_state(CpiiSpoolState *state)
{
	memset(state, 0, sizeof(*state));
	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_SHARED);
	state->ready = shared->ready;
	state->segment = shared->segment;
	state->offset = shared->offset;
	state->next_seq = shared->next_seq;
	state->caught_up_at = shared->caught_up_at;
	state->worker_pid = shared->worker_pid;
	LWLockRelease(shared->lock);
	state->ingested_seq = pg_atomic_read_u64(&shared->ingested_seq);
	state->lost = pg_atomic_read_u64(&shared->lost);
}

/* ---- set-up ---- */

bool
cpii_spool_present(void)
{
	return shared != NULL;
}

const char *
cpii_spool_node(void)
{
	return node_name;
}

static Size
spool_shmem_size(void)
{
	return sizeof(SpoolShared);
}

static void
spool_shmem_init(void *area, bool found, LWLockPadded *locks)
{
	shared = (SpoolShared *) area;
	if (found)
		return;
	memset(shared, 0, sizeof(*shared));
	shared->lock = &locks[0].lock;
	pg_atomic_init_u64(&shared->lost, 0);
	pg_atomic_init_u64(&shared->loss_logged_at, 0);
	pg_atomic_init_u64(&shared->ingested_seq, 0);
	/* after a crash the postmaster comes here again */
	forget_descriptor();
	if (!make_ready())
		ereport(LOG,
				(errmsg("audit spool is not usable"),
				 errdetail_internal("%s", problem_text),
				 errhint("Until it is, access to personal data is refused or not recorded, see courier_pii.audit_on_failure.")));
}

void
cpii_spool_init(void)
{
	if (cpii_node_name != NULL && cpii_node_name[0] != '\0')
		strlcpy(node_name, cpii_node_name, sizeof(node_name));
	else if (gethostname(node_name, sizeof(node_name)) != 0 ||
			 node_name[0] == '\0')
		strlcpy(node_name, "localhost", sizeof(node_name));
	node_name[CPII_NODE_LEN] = '\0';

	if (is_absolute_path(cpii_audit_directory))
		strlcpy(spool_dir, cpii_audit_directory, sizeof(spool_dir));
	else
		snprintf(spool_dir, sizeof(spool_dir), "%s/%s", DataDir,
				 cpii_audit_directory);

	cpii_shmem_register("courier_pii audit", spool_shmem_size,
						spool_shmem_init, 1);
}
