/*-------------------------------------------------------------------------
 *
 * spool.c
 *	  The append-only spool: preallocated segments, one write(2) per record.
 *
 * Locking: the one lock protects every plain field of SpoolShared and all
 * writing to segment files.  A record is on its way to the kernel before the
 * lock is released, so whatever a backend was told is stored survives its own
 * death and that of the whole server; flushing to disk happens outside the
 * lock (spool_flush.c), and spool_room.c looks after what is left of the disk.
 * Nothing here raises an error.
 *
 * A server that starts finds the end of the last segment by reading it.  If
 * something unreadable follows the last record (a write that was cut off, or
 * damage), the segment is left as it is and a new one is begun.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "audit/inflight.h"
#include "audit/segment.h"
#include "audit/spool.h"
#include "audit/spool_key.h"
#include "audit/spool_shared.h"
#include "base/settings.h"
#include "base/shmem.h"

#define LOCK_NAME "lock"
#define LOSS_LOG_INTERVAL_MS 60000

CpiiSpoolShared *cpii_spool_shared = NULL;

/* short for it in this file */
#define shared cpii_spool_shared

static char node_name[CPII_NODE_LEN + 1];

/* this process's descriptor of the segment that is written */
int			cpii_spool_fd = -1;
static uint64 descriptor_segment = 0;

/* the lock on the directory, and the process that took it */
static int	lock_fd = -1;
static int	lock_pid = 0;

/* ---- writing; the lock is held ---- */

static void
forget_descriptor(void)
{
	if (cpii_spool_fd >= 0)
	{
		close(cpii_spool_fd);
		ReleaseExternalFD();
	}
	cpii_spool_fd = -1;
	descriptor_segment = 0;
}

/* have cpii_spool_fd be the segment that is written */
bool
cpii_spool_open_current(void)
{
	char		path[MAXPGPATH];

	if (cpii_spool_fd >= 0 && descriptor_segment == shared->segment)
		return true;
	forget_descriptor();
	cpii_segment_path(path, shared->segment);
	cpii_spool_fd = BasicOpenFilePerm(path, O_RDWR | PG_BINARY, S_IRUSR | S_IWUSR);
	if (cpii_spool_fd < 0)
		return cpii_segment_problem("open file", path);
	ReserveExternalFD();
	descriptor_segment = shared->segment;
	return true;
}

/* begin a segment and make it the one that is written */
static bool
begin_segment(uint64 number, uint64 first_seq)
{
	if (!cpii_segment_create(number, first_seq, node_name))
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

	cpii_segment_path(path, number);
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
	snprintf(path, sizeof(path), "%s/%s", cpii_segment_directory, LOCK_NAME);
	lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | PG_BINARY,
				   S_IRUSR | S_IWUSR);
	if (lock_fd < 0)
		return cpii_segment_problem("create file", path);
	lock.l_type = F_WRLCK;
	lock.l_whence = SEEK_SET;
	if (fcntl(lock_fd, F_SETLK, &lock) != 0)
	{
		snprintf(cpii_segment_problem_text, sizeof(cpii_segment_problem_text),
				 "directory \"%s\" is in use by another server", cpii_segment_directory);
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

	if (mkdir(cpii_segment_directory, S_IRWXU) != 0 && errno != EEXIST)
		return cpii_segment_problem("create directory", cpii_segment_directory);
	if (stat(cpii_segment_directory, &st) == 0 && S_ISDIR(st.st_mode) &&
		(st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		ereport(LOG,
				(errmsg("audit directory \"%s\" is open to other users of the machine",
						cpii_segment_directory),
				 errhint("Set its permissions to 0700.")));

	if (!lock_directory())
		return false;

	highest = cpii_segment_find(CPII_SEGMENT_HIGHEST_BELOW, PG_UINT64_MAX, &error);
	if (error != 0)
		return false;
	for (number = highest; number > 0;
		 number = cpii_segment_find(CPII_SEGMENT_HIGHEST_BELOW, number, &error))
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

bool
cpii_spool_make_ready(void)
{
	TimestampTz now;

	if (shared->ready)
		return true;
	now = GetCurrentTimestamp();
	if (now < shared->retry_at)
	{
		snprintf(cpii_segment_problem_text, sizeof(cpii_segment_problem_text),
				 "the spool directory is not usable");
		return false;
	}
	shared->retry_at = TimestampTzPlusMilliseconds(now, CPII_SPOOL_RETRY_MS);
	if (!recover())
	{
		/* another process of this server tries the next time */
		unlock_directory();
		return false;
	}
	shared->retry_at = 0;
	shared->ready = true;
	cpii_spool_key_from(shared->next_seq);
	pg_atomic_write_u64(&shared->done_before, cpii_spool_next_segment(1));
	if (shared->offset >= CPII_SPOOL_RESERVE_AT)
		cpii_spool_check_room();
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
		snprintf(cpii_segment_problem_text, sizeof(cpii_segment_problem_text),
				 "no new segment could be made in \"%s\"", cpii_segment_directory);
		return false;
	}
	if (pg_fdatasync(cpii_spool_fd) != 0)
		return cpii_segment_problem("flush the segment in", cpii_segment_directory);
	pg_atomic_write_u64(&shared->synced_seq, shared->next_seq - 1);
	if (!begin_segment(shared->segment + 1, shared->next_seq))
	{
		shared->retry_at = TimestampTzPlusMilliseconds(now, CPII_SPOOL_RETRY_MS);
		return false;
	}
	cpii_spool_check_backlog();
	return cpii_spool_open_current();
}

static bool
cannot_sign(void)
{
	strlcpy(cpii_segment_problem_text, "a record could not be signed",
			sizeof(cpii_segment_problem_text));
	return false;
}

uint64
cpii_spool_append(char *record, size_t body_length, bool sync,
				  const char **why)
{
	uint64		size = cpii_segment_record_size(body_length);
	uint64		seq = 0;
	bool		signing;

	*why = cpii_segment_problem_text;
	Assert(body_length > 0 && body_length <= CPII_MAX_BODY);
	memset(record + CPII_SPOOL_RECORD_HEADER + body_length, 0,
		   size - CPII_SPOOL_RECORD_HEADER - body_length);
	cpii_segment_put32(record, (uint32) body_length);
	signing = cpii_spool_key_begin(record + CPII_SPOOL_RECORD_HEADER, body_length);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (!signing)
		(void) cannot_sign();
	else if (cpii_spool_make_ready() && cpii_spool_open_current() &&
		(shared->offset + size <= CPII_SEGMENT_SIZE || begin_next_segment()))
	{
		cpii_segment_put64(record + 8, shared->next_seq);
		signing = cpii_spool_key_end(record + 8) || cannot_sign();
		cpii_segment_put32(record + 4,
						   cpii_segment_checksum(record + 8, CPII_SPOOL_RECORD_HEADER - 8 + body_length));
		errno = 0;
		if (signing &&
			pg_pwrite(cpii_spool_fd, record, size, (off_t) shared->offset) ==
			(ssize_t) size)
		{
			uint64		before = shared->offset;

			seq = shared->next_seq++;
			shared->offset += size;
			if (unlikely(before < CPII_SPOOL_RESERVE_AT &&
						 shared->offset >= CPII_SPOOL_RESERVE_AT))
				cpii_spool_check_room();
		}
		else if (signing)
		{
			if (errno == 0)
				errno = ENOSPC;
			cpii_segment_problem("write to a segment in", cpii_segment_directory);
		}
	}
	if (seq == 0)
		cpii_spool_refuse(CPII_REFUSE_BROKEN);
	LWLockRelease(shared->lock);

	if (seq != 0 && sync && !cpii_spool_flush_to(seq))
		return 0;
	return seq;
}

bool
cpii_spool_count_loss(bool lost)
{
	uint64		now = (uint64) GetCurrentTimestamp();
	uint64		last;

	if (shared == NULL)
		return true;
	if (lost)
		pg_atomic_fetch_add_u64(&shared->lost, 1);
	last = pg_atomic_read_u64(&shared->loss_logged_at);
	if (now - last < (uint64) LOSS_LOG_INTERVAL_MS * 1000)
		return false;
	return pg_atomic_compare_exchange_u64(&shared->loss_logged_at, &last, now);
}

/* ---- for the worker ---- */

void
cpii_spool_skip_to(uint64 segment, uint64 seq)
{
	uint64		number = 0;
	uint64		was = 0;
	bool		done = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (cpii_spool_make_ready() && shared->next_seq <= seq)
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
	state->synced_seq = pg_atomic_read_u64(&shared->synced_seq);
	state->done_before = pg_atomic_read_u64(&shared->done_before);
	state->refusing = pg_atomic_read_u32(&shared->refusing);
	state->delay = pg_atomic_read_u32(&shared->delay);
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
	return sizeof(CpiiSpoolShared);
}

static void
spool_shmem_init(void *area, bool found, LWLockPadded *locks)
{
	shared = (CpiiSpoolShared *) area;
	if (found)
		return;
	shared->lock = &locks[0].lock;
	shared->sync_lock = &locks[1].lock;
	pg_atomic_init_u64(&shared->lost, 0);
	pg_atomic_init_u64(&shared->loss_logged_at, 0);
	pg_atomic_init_u64(&shared->ingested_seq, 0);
	pg_atomic_init_u64(&shared->synced_seq, 0);
	pg_atomic_init_u64(&shared->done_before, 0);
	pg_atomic_init_u32(&shared->refusing, 0);
	pg_atomic_init_u32(&shared->delay, 0);
	cpii_spool_key_start();
	/* after a crash the postmaster comes here again */
	forget_descriptor();
	if (!cpii_spool_make_ready())
	{
		cpii_spool_refuse(CPII_REFUSE_BROKEN);
		ereport(LOG,
				(errmsg("audit spool is not usable"),
				 errdetail_internal("%s", cpii_segment_problem_text),
				 errhint("Until it is, access to personal data is refused or not recorded, see courier_pii.audit_on_failure.")));
	}
	else
	{
		cpii_inflight_start();
		/* children shall not keep a segment open that will be removed */
		forget_descriptor();
	}
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
		strlcpy(cpii_segment_directory, cpii_audit_directory, sizeof(cpii_segment_directory));
	else
		snprintf(cpii_segment_directory, sizeof(cpii_segment_directory), "%s/%s", DataDir,
				 cpii_audit_directory);

	cpii_spool_key_init();
	cpii_shmem_register("courier_pii audit", spool_shmem_size,
						spool_shmem_init, 2);
}
