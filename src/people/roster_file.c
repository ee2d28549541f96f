/*-------------------------------------------------------------------------
 *
 * roster_file.c
 *	  The snapshot of the roster in the data directory.
 *
 * It is read while the server starts, before the first connection, so that a
 * disabled account is refused from the first moment on.  It is a copy: the
 * staff register is the truth, and the worker rebuilds the roster from it.  A
 * denial that was pending when the file was written is read as a denial.
 *
 * Saving happens in commit callbacks, where nothing may be raised: plain
 * system calls and malloc only, failures are logged and the worker tries again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/timestamp.h"

#include "base/snapshot.h"
#include "people/lockout.h"
#include "people/roster_table.h"

#define ROSTER_FILE "courier_pii_roster"
#define ROSTER_FILE_MAGIC UINT64CONST(0x5254535249495043)
#define ROSTER_FILE_VERSION 4
#define CLOCK_TOLERANCE (5 * USECS_PER_SEC)

typedef struct RosterFileHeader
{
	uint64		magic;
	uint32		version;
	uint32		account_size;
	uint32		count;
	uint32		lock_size;
	uint32		nlocks;
	pg_crc32c	crc;			/* of accounts and locks */
	uint32		unused;
	TimestampTz saved_at;
} RosterFileHeader;

typedef struct RosterFileAccount
{
	Oid			role;
	uint32		unused;
	RosterFacts facts;
	TimestampTz last_login;
} RosterFileAccount;

/* locks of failed logins, until their table is made */
static CpiiLoginLock *loaded_locks = NULL;
static uint32 nloaded_locks = 0;

static pg_crc32c
content_crc(const RosterFileHeader *header, const RosterFileAccount *accounts,
			const CpiiLoginLock *locks)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, accounts, sizeof(RosterFileAccount) * header->count);
	COMP_CRC32C(crc, locks, sizeof(CpiiLoginLock) * header->nlocks);
	FIN_CRC32C(crc);
	return crc;
}

/* ---- reading ---- */

/* all bytes, or false; "why" tells what is wrong */
static bool
read_accounts(int fd, RosterFileHeader *header, RosterFileAccount **accounts,
			  CpiiLoginLock **locks, const char **why)
{
	struct stat st;
	Size		size;
	Size		locks_size;

	*accounts = NULL;
	*locks = NULL;
	*why = "it cannot be read";
	if (fstat(fd, &st) != 0 ||
		read(fd, header, sizeof(*header)) != sizeof(*header))
		return false;
	*why = "it is not a roster file of this version";
	if (header->magic != ROSTER_FILE_MAGIC ||
		header->version != ROSTER_FILE_VERSION ||
		header->account_size != sizeof(RosterFileAccount) ||
		header->lock_size != sizeof(CpiiLoginLock))
		return false;
	*why = "its length is wrong";
	size = (Size) header->count * sizeof(RosterFileAccount);
	locks_size = (Size) header->nlocks * sizeof(CpiiLoginLock);
	if ((Size) st.st_size != sizeof(*header) + size + locks_size)
		return false;
	*accounts = malloc(Max(size, 1));
	*locks = malloc(Max(locks_size, 1));
	*why = "there is not enough memory";
	if (*accounts == NULL || *locks == NULL)
		return false;
	*why = "it cannot be read";
	if (read(fd, *accounts, size) != (ssize_t) size ||
		read(fd, *locks, locks_size) != (ssize_t) locks_size)
		return false;
	*why = "its checksum is wrong";
	return content_crc(header, *accounts, *locks) == header->crc;
}

static void
load_account(RosterFileAccount *from)
{
	RosterEntry *entry = cpii_roster_enter(from->role);

	if (entry == NULL)
		return;
	entry->facts = from->facts;
	entry->last_login = from->last_login;
}

void
cpii_roster_file_load(void)
{
	RosterFileHeader header;
	RosterFileAccount *accounts = NULL;
	CpiiLoginLock *locks = NULL;
	const char *why;
	int			fd = open(ROSTER_FILE, O_RDONLY | PG_BINARY, 0);

	if (fd < 0)
	{
		/* a new server has none */
		if (errno != ENOENT)
			ereport(WARNING,
					(errcode_for_file_access(),
					 errmsg("could not open roster file \"%s\": %m",
							ROSTER_FILE),
					 errdetail("Accounts are known again when the background worker has read the staff register.")));
		return;
	}

	if (read_accounts(fd, &header, &accounts, &locks, &why))
	{
		/* time does not go back, whatever the clock says now */
		pg_atomic_write_u64(&cpii_roster_table->clock_mark,
							(uint64) header.saved_at);
		if (header.saved_at > GetCurrentTimestamp() + CLOCK_TOLERANCE)
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the clock is behind the time of the roster file"),
					 errdetail("Departures are judged by the later time."),
					 errhint("Set the clock right.")));
		/* denials first, should the table have become smaller */
		for (uint32 i = 0; i < header.count; i++)
			if (accounts[i].facts.flags & ROSTER_DENIED)
				load_account(&accounts[i]);
		for (uint32 i = 0; i < header.count; i++)
			if ((accounts[i].facts.flags & ROSTER_DENIED) == 0)
				load_account(&accounts[i]);
		loaded_locks = locks;
		nloaded_locks = header.nlocks;
		locks = NULL;
	}
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("roster file \"%s\" is ignored: %s", ROSTER_FILE, why),
				 errdetail("Accounts are known again when the background worker has read the staff register.")));
	free(accounts);
	free(locks);
	close(fd);
}

void
cpii_roster_file_give_locks(void)
{
	for (uint32 i = 0; i < nloaded_locks; i++)
		cpii_lockout_restore(&loaded_locks[i]);
	free(loaded_locks);
	loaded_locks = NULL;
	nloaded_locks = 0;
}

/* ---- writing ---- */

static void
copy_accounts(RosterFileAccount *to)
{
	RosterEntry *entries = cpii_roster_entries();

	for (uint32 i = 0; i < cpii_roster_table->nentries; i++, to++)
	{
		RosterEntry *from = &entries[i];

		memset(to, 0, sizeof(*to));
		to->role = from->role;
		to->facts = from->facts;
		if (from->pending_deny > 0)
			to->facts.flags |= ROSTER_DENIED;
		to->last_login = from->last_login;
	}
}

static bool
save(bool locked)
{
	RosterFileHeader header;
	RosterFileAccount *accounts;
	CpiiLoginLock *locks;
	uint32		nlocks = 0;
	bool		good = false;

	locks = malloc(sizeof(CpiiLoginLock) * CPII_MAX_LOGIN_LOCKS);
	/* their lock is taken before that of the roster, never after */
	if (locks != NULL)
		nlocks = cpii_lockout_copy(locks, locked);
	if (locked)
		LWLockAcquire(cpii_roster_lock, LW_SHARED);
	memset(&header, 0, sizeof(header));
	header.magic = ROSTER_FILE_MAGIC;
	header.version = ROSTER_FILE_VERSION;
	header.account_size = sizeof(RosterFileAccount);
	header.count = cpii_roster_table->nentries;
	header.lock_size = sizeof(CpiiLoginLock);
	header.nlocks = nlocks;
	header.saved_at = cpii_roster_now();
	accounts = malloc(Max(sizeof(RosterFileAccount) * header.count, 1));
	if (accounts != NULL && locks != NULL)
	{
		pg_atomic_write_u32(&cpii_roster_table->unsaved, 0);
		pg_atomic_write_u32(&cpii_roster_table->unsaved_logins, 0);
		copy_accounts(accounts);
	}
	else
		errno = ENOMEM;
	if (locked)
		LWLockRelease(cpii_roster_lock);

	if (accounts != NULL && locks != NULL)
	{
		CpiiFilePart parts[] = {
			{&header, sizeof(header)},
			{accounts, sizeof(RosterFileAccount) * header.count},
			{locks, sizeof(CpiiLoginLock) * header.nlocks}
		};

		header.crc = content_crc(&header, accounts, locks);
		good = cpii_file_replace(ROSTER_FILE, parts, lengthof(parts));
	}
	if (!good)
	{
		pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write roster file \"%s\": %m", ROSTER_FILE)));
	}
	free(accounts);
	free(locks);
	return good;
}

bool
cpii_roster_file_save(void)
{
	bool		good;

	/* the second of two writers must copy after the first, not before */
	LWLockAcquire(cpii_roster_file_lock, LW_EXCLUSIVE);
	good = save(true);
	LWLockRelease(cpii_roster_file_lock);
	return good;
}

void
cpii_roster_file_save_at_exit(int code, Datum arg)
{
	/* after a crash shared memory may be damaged: keep the old file */
	if (code == 0 && cpii_roster_table != NULL)
		(void) save(false);
}
