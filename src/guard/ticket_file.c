/*-------------------------------------------------------------------------
 *
 * ticket_file.c
 *	  The file that remembers which tickets were used or revoked.
 *
 * One lightweight lock covers looking and appending.  Tickets are rare, so the
 * file is read from its beginning each time: a year of a hundred tickets a day
 * is 3.5 MB.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/errcodes.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "guard/ticket_file.h"

#define FILE_NAME "courier_pii_tickets"
#define MARKS_AT_ONCE 512

static LWLock *file_lock = NULL;

static void
file_path(char *path)
{
	snprintf(path, MAXPGPATH, "%s/%s", cpii_audit_directory, FILE_NAME);
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

static uint32
mark_crc(const char *mark)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, mark, 20);
	COMP_CRC32C(crc, mark + 24, CPII_TICKET_DIGEST_PART);
	FIN_CRC32C(crc);
	return crc;
}

static void
encode(char *mark, int64 id, TimestampTz at, CpiiMarkKind kind,
	   const unsigned char *digest)
{
	put64(mark, (uint64) id);
	put64(mark + 8, (uint64) at);
	put32(mark + 16, kind);
	memcpy(mark + 24, digest, CPII_TICKET_DIGEST_PART);
	put32(mark + 20, mark_crc(mark));
}

static void
add_mark(const char *mark, int64 id, const unsigned char *digest,
		 CpiiTicketMarks *marks)
{
	TimestampTz at;

	if ((int64) get64(mark) != id || get32(mark + 20) != mark_crc(mark) ||
		memcmp(mark + 24, digest, CPII_TICKET_DIGEST_PART) != 0)
		return;
	at = (TimestampTz) get64(mark + 8);
	switch (get32(mark + 16))
	{
		case CPII_MARK_USED:
			marks->used_at = at;
			break;
		case CPII_MARK_REVOKED:
			marks->revoked_at = at;
			break;
		case CPII_MARK_COMMITTED:
		case CPII_MARK_ROLLED_BACK:
			marks->ended = (int) get32(mark + 16);
			break;
		default:
			break;
	}
}

/* returns the end of the last whole mark, or -1 with errno set */
static off_t
scan(int fd, int64 id, const unsigned char *digest, CpiiTicketMarks *marks)
{
	static char buf[MARKS_AT_ONCE * CPII_TICKET_MARK_SIZE];
	off_t		at = 0;

	memset(marks, 0, sizeof(*marks));
	for (;;)
	{
		ssize_t		got = pg_pread(fd, buf, sizeof(buf), at);
		int			n;

		if (got < 0)
			return -1;
		n = got / CPII_TICKET_MARK_SIZE;
		for (int i = 0; i < n; i++)
			add_mark(buf + i * CPII_TICKET_MARK_SIZE, id, digest, marks);
		at += (off_t) n * CPII_TICKET_MARK_SIZE;
		if (n < MARKS_AT_ONCE)
			return at;
	}
}

static bool
append(int fd, off_t end, int64 id, CpiiMarkKind kind,
	   const unsigned char *digest, bool sync)
{
	char		mark[CPII_TICKET_MARK_SIZE];

	encode(mark, id, GetCurrentTimestamp(), kind, digest);
	errno = 0;
	if (pg_pwrite(fd, mark, sizeof(mark), end) != sizeof(mark))
	{
		if (errno == 0)
			errno = ENOSPC;
		return false;
	}
	return !sync || pg_fsync(fd) == 0;
}

/* open for appending; a new file's name is flushed too */
static int
open_to_append(const char *path)
{
	int			fd = open(path, O_RDWR | PG_BINARY, 0);
	int			dir;

	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = open(path, O_RDWR | O_CREAT | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return fd;
	dir = open(cpii_audit_directory, O_RDONLY | PG_BINARY, 0);
	if (dir >= 0)
	{
		(void) pg_fsync(dir);
		close(dir);
	}
	return fd;
}

static void
problem(const char *path, int saved_errno)
{
	errno = saved_errno;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not keep the file of used tickets \"%s\": %m", path),
			 errhint("Tickets cannot be used until the audit directory can be read and written.")));
}

void
cpii_ticket_file_look(int64 id, const unsigned char *digest,
					  CpiiTicketMarks *marks)
{
	char		path[MAXPGPATH];
	int			fd;
	off_t		end = 0;
	int			saved = 0;

	memset(marks, 0, sizeof(*marks));
	file_path(path);
	LWLockAcquire(file_lock, LW_EXCLUSIVE);
	fd = open(path, O_RDONLY | PG_BINARY, 0);
	if (fd >= 0)
	{
		end = scan(fd, id, digest, marks);
		saved = errno;
		close(fd);
	}
	else if (errno != ENOENT)
	{
		end = -1;
		saved = errno;
	}
	LWLockRelease(file_lock);
	if (end < 0)
		problem(path, saved);
}

/* look, and append unless "once" and there is a mark that forbids it */
static bool
mark(int64 id, const unsigned char *digest, CpiiMarkKind kind, bool once,
	 bool sync, CpiiTicketMarks *marks, int *saved)
{
	char		path[MAXPGPATH];
	int			fd;
	bool		ok = false;

	*saved = 0;
	file_path(path);
	LWLockAcquire(file_lock, LW_EXCLUSIVE);
	fd = open_to_append(path);
	if (fd < 0)
		*saved = errno;
	else
	{
		off_t		end = scan(fd, id, digest, marks);

		if (end < 0)
			*saved = errno;
		else if (!once || (marks->used_at == 0 && marks->revoked_at == 0))
		{
			ok = append(fd, end, id, kind, digest, sync);
			if (!ok)
				*saved = errno;
		}
		close(fd);
	}
	LWLockRelease(file_lock);
	return ok;
}

bool
cpii_ticket_file_use(int64 id, const unsigned char *digest,
					 CpiiTicketMarks *marks)
{
	char		path[MAXPGPATH];
	int			saved;
	bool		ok = mark(id, digest, CPII_MARK_USED, true, true, marks, &saved);

	file_path(path);
	if (saved != 0)
		problem(path, saved);
	return ok;
}

void
cpii_ticket_file_revoke(int64 id, const unsigned char *digest)
{
	CpiiTicketMarks marks;
	char		path[MAXPGPATH];
	int			saved;

	file_path(path);
	if (!mark(id, digest, CPII_MARK_REVOKED, false, true, &marks, &saved))
		problem(path, saved);
}

void
cpii_ticket_file_ended(int64 id, const unsigned char *digest,
					   CpiiMarkKind kind)
{
	CpiiTicketMarks marks;
	int			saved;

	if (!mark(id, digest, kind, false, false, &marks, &saved))
		ereport(LOG,
				(errcode(CPII_ERRCODE_AUDIT_FAILURE),
				 errmsg("could not note how the transaction of a ticket ended")));
}

void
cpii_ticket_file_init(void)
{
	cpii_shmem_register_zeros("courier_pii_tickets", NULL, 0, &file_lock);
}
