/*-------------------------------------------------------------------------
 *
 * spool_room.c
 *	  Room for audit records: spare segments, the reserve, the backlog.
 *
 * Segments are made ahead and filled with zeros, so that a record never meets
 * a full disk.  When no further segment can be made, new statements that touch
 * personal data are refused while the current segment still has a reserve for
 * the records of those at work and of the refusals.  Everybody else goes on.
 *
 * When the worker does not keep up, statements wait a little from half of
 * courier_pii.audit_backlog_limit on, and are refused above it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "audit/segment.h"
#include "audit/spool.h"
#include "audit/spool_shared.h"
#include "base/settings.h"

#define MAX_DELAY_USEC 10000
#define REMOVE_CHECK_MS 10000

void
cpii_spool_refuse(uint32 why)
{
	pg_atomic_fetch_or_u32(&cpii_spool_shared->refusing, why);
}

static void
no_longer(uint32 why)
{
	pg_atomic_fetch_and_u32(&cpii_spool_shared->refusing, ~why);
}

/* ---- spare segments ---- */

static void
spare_path(char *path)
{
	snprintf(path, MAXPGPATH, "%s/%s", cpii_segment_directory, SPARE_NAME);
}

static bool
have_spare(void)
{
	char		spare[MAXPGPATH];
	struct stat st;

	spare_path(spare);
	return stat(spare, &st) == 0 && st.st_size == CPII_SEGMENT_SIZE;
}

static bool
make_spare(bool flush)
{
	char		spare[MAXPGPATH];
	char		temporary[MAXPGPATH + 32];
	int			fd;
	bool		ok;

	/* two processes may be at it */
	spare_path(spare);
	snprintf(temporary, sizeof(temporary), "%s.%d", spare, (int) getpid());
	fd = cpii_segment_create_zeroed(temporary);
	if (fd < 0)
		return false;
	ok = !flush || pg_fdatasync(fd) == 0;
	close(fd);
	if (ok && rename(temporary, spare) == 0)
		return true;
	unlink(temporary);
	return false;
}

void
cpii_spool_check_room(void)
{
	if (cpii_spool_shared->offset < CPII_SPOOL_RESERVE_AT || have_spare() ||
		make_spare(false))
		no_longer(CPII_REFUSE_FULL);
	else
	{
		cpii_spool_refuse(CPII_REFUSE_FULL);
		cpii_spool_shared->admit_at =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CPII_SPOOL_RETRY_MS);
	}
}

void
cpii_spool_prepare_spare(void)
{
	CpiiSpoolState state;

	cpii_spool_state(&state);
	if (!state.ready || state.offset < CPII_SEGMENT_SIZE / 2 || have_spare())
		return;
	if (make_spare(true))
		no_longer(CPII_REFUSE_FULL);
}

/* ---- the backlog ---- */

void
cpii_spool_check_backlog(void)
{
	uint64		done = pg_atomic_read_u64(&cpii_spool_shared->done_before);
	uint64		segments = cpii_spool_shared->segment > done ?
		cpii_spool_shared->segment - done : 0;
	uint64		megabytes = segments * (CPII_SEGMENT_SIZE / (1024 * 1024));
	uint64		limit = (uint64) cpii_audit_backlog_limit;
	uint64		delay = 0;

	if (limit > 0 && megabytes > limit / 2)
		delay = Min(MAX_DELAY_USEC, MAX_DELAY_USEC * (megabytes - limit / 2) / Max(limit / 2, 1));
	pg_atomic_write_u32(&cpii_spool_shared->delay, (uint32) delay);
	if (limit > 0 && megabytes > limit)
		cpii_spool_refuse(CPII_REFUSE_BACKLOG);
	else
		no_longer(CPII_REFUSE_BACKLOG);
}

void
cpii_spool_remove_before(uint64 segment)
{
	static TimestampTz looked_at = 0;
	CpiiSpoolState state;
	uint64		number = 0;
	TimestampTz now = GetCurrentTimestamp();

	cpii_spool_state(&state);
	segment = Min(segment, state.segment);
	if (!state.ready)
		return;
	if (segment > state.done_before)
	{
		LWLockAcquire(cpii_spool_shared->lock, LW_EXCLUSIVE);
		pg_atomic_write_u64(&cpii_spool_shared->done_before, segment);
		cpii_spool_check_backlog();
		LWLockRelease(cpii_spool_shared->lock);
	}
	else if (!TimestampDifferenceExceeds(looked_at, now, REMOVE_CHECK_MS))
		return;
	looked_at = now;
	while ((number = cpii_spool_next_segment(number)) != 0 && number < segment)
	{
		char		path[MAXPGPATH];
		struct stat st;

		cpii_segment_path(path, number);
		number++;
		if (stat(path, &st) != 0 ||
			(cpii_audit_spool_keep > 0 &&
			 st.st_mtime + cpii_audit_spool_keep > time(NULL)))
			continue;
		if (unlink(path) != 0 && errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
	}
}

/* ---- admission ---- */

/* the directory works again if something can be written where records go */
static bool
writable(void)
{
	static const char zeros[CPII_SPOOL_RECORD_HEADER] = {0};
	CpiiSpoolShared *shared = cpii_spool_shared;

	if (!cpii_spool_make_ready() || !cpii_spool_open_current())
		return false;
	if (shared->offset + sizeof(zeros) > CPII_SEGMENT_SIZE)
		return true;
	errno = 0;
	if (pg_pwrite(cpii_spool_fd, zeros, sizeof(zeros), (off_t) shared->offset) ==
		sizeof(zeros))
		return true;
	if (errno == 0)
		errno = ENOSPC;
	return cpii_segment_problem("write to a segment in", cpii_segment_directory);
}

static pg_noinline bool
look_again(const char **problem)
{
	CpiiSpoolShared *shared = cpii_spool_shared;
	uint32		refusing;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (GetCurrentTimestamp() >= shared->admit_at)
	{
		shared->admit_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   CPII_SPOOL_RETRY_MS);
		/* what a setting or the worker has changed */
		cpii_spool_check_backlog();
		if (writable())
		{
			no_longer(CPII_REFUSE_BROKEN);
			cpii_spool_check_room();
		}
	}
	refusing = pg_atomic_read_u32(&shared->refusing);
	LWLockRelease(shared->lock);
	if (refusing & CPII_REFUSE_BROKEN)
		*problem = "the spool directory is not usable";
	else if (refusing & CPII_REFUSE_FULL)
		*problem = "there is no room for further audit records";
	else if (refusing & CPII_REFUSE_BACKLOG)
		*problem = "too many audit records wait to be ingested";
	return refusing == 0;
}

bool
cpii_spool_admit(const char **problem)
{
	uint32		delay;

	if (unlikely(pg_atomic_read_u32(&cpii_spool_shared->refusing) != 0) &&
		!look_again(problem))
		return false;
	delay = pg_atomic_read_u32(&cpii_spool_shared->delay);
	if (unlikely(delay > 0))
	{
		cpii_spool_wake_worker();
		pg_usleep(delay);
	}
	return true;
}
