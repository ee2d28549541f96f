/*-------------------------------------------------------------------------
 *
 * spool_key.c
 *	  Keys that authenticate records of the spool until they are chained.
 *
 * The page with the key is made by the postmaster and inherited by everybody;
 * "life" and "key" never change afterwards, so no lock is needed to sign.
 * Nothing here raises an error, except when memory is short.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit/segment.h"
#include "audit/spool_key.h"
#include "base/secret.h"
#include "base/shmem.h"
#include "crypto/agent.h"
#include "crypto/keyring.h"
#include "crypto/locked.h"

#define FILE_NAME "keys"
#define NONCE_LEN 16
#define PAD_INPUT (8 + NONCE_LEN)
#define WRAPPED_END (PAD_INPUT + CPII_KEY_LEN)
#define CARE_MS 5000
#define MAX_LIVES 64
#define MAX_FILE (CPII_SPOOL_KEY_ENTRY * 100000)

typedef struct Page
{
	uint64		life;			/* 0 = there is no key */
	uint64		from_seq;		/* first record of this life; 0 = not known yet */
	bool		stored;
	unsigned char key[CPII_KEY_LEN];
} Page;

static Page *page = NULL;
static LWLock *lock = NULL;

/* this process's context of the key */
static CpiiMac *signer = NULL;

static void
file_path(char *path)
{
	snprintf(path, MAXPGPATH, "%s/%s", cpii_segment_directory, FILE_NAME);
}

/* ---- signing ---- */

void
cpii_spool_key_start(void)
{
	bool		locked = false;

	if (page != NULL)
		return;
	page = cpii_locked_shared(sizeof(Page), &locked);
	if (page == NULL || !cpii_random(page->key, CPII_KEY_LEN) ||
		!cpii_random((unsigned char *) &page->life, sizeof(page->life)))
	{
		if (page != NULL)
			page->life = 0;
		ereport(LOG,
				(errmsg("audit records cannot be authenticated before they are ingested"),
				 errdetail("There is no memory or no random number for a key.")));
	}
}

void
cpii_spool_key_from(uint64 seq)
{
	if (page != NULL && page->from_seq == 0)
		page->from_seq = seq;
}

bool
cpii_spool_key_begin(const char *body, size_t length)
{
	if (page == NULL || page->life == 0)
		return true;
	if (signer == NULL)
		signer = cpii_mac_new(page->key, CPII_KEY_LEN);
	return signer != NULL &&
		cpii_mac_begin(signer, (const unsigned char *) body, length);
}

bool
cpii_spool_key_end(char *numbers)
{
	unsigned char tag[CPII_MAC_LEN];

	if (page == NULL || page->life == 0)
	{
		memset(numbers + 8, 0, 8 + CPII_SPOOL_TAG_LEN);
		return true;
	}
	cpii_segment_put64(numbers + 8, page->life);
	if (!cpii_mac_end(signer, (unsigned char *) numbers, 16, tag))
		return false;
	memcpy(numbers + 16, tag, CPII_SPOOL_TAG_LEN);
	return true;
}

/* ---- the file ---- */

static bool
wrapping_keys(const unsigned char *audit, unsigned char *wrap,
			  unsigned char *authenticate)
{
	static const char wrap_label[] = "audit spool wrap";
	static const char authenticate_label[] = "audit spool authentication";

	return cpii_mac_once(audit, (const unsigned char *) wrap_label,
						 strlen(wrap_label), wrap) &&
		cpii_mac_once(audit, (const unsigned char *) authenticate_label,
					  strlen(authenticate_label), authenticate);
}

/* wraps and unwraps */
static bool
apply_pad(const unsigned char *wrap, const unsigned char *entry, unsigned char *key)
{
	unsigned char pad[CPII_MAC_LEN];
	bool		ok = cpii_mac_once(wrap, entry, PAD_INPUT, pad);

	for (int i = 0; ok && i < CPII_KEY_LEN; i++)
		key[i] ^= pad[i];
	cpii_wipe(pad, sizeof(pad));
	return ok;
}

static bool
make_entry(const unsigned char *audit, unsigned char *entry)
{
	unsigned char wrap[CPII_KEY_LEN];
	unsigned char authenticate[CPII_KEY_LEN];
	bool		ok;

	memset(entry, 0, CPII_SPOOL_KEY_ENTRY);
	cpii_segment_put64((char *) entry, page->life);
	memcpy(entry + PAD_INPUT, page->key, CPII_KEY_LEN);
	ok = cpii_random(entry + 8, NONCE_LEN) &&
		wrapping_keys(audit, wrap, authenticate) &&
		apply_pad(wrap, entry, entry + PAD_INPUT) &&
		cpii_mac_once(authenticate, entry, WRAPPED_END, entry + WRAPPED_END);
	cpii_wipe(wrap, sizeof(wrap));
	cpii_wipe(authenticate, sizeof(authenticate));
	if (!ok)
		cpii_wipe(entry, CPII_SPOOL_KEY_ENTRY);
	return ok;
}

/* behind the last whole entry: a write may have been cut off */
static bool
append_entry(const unsigned char *entry)
{
	char		path[MAXPGPATH];
	struct stat st;
	bool		ok;
	int			fd;

	file_path(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	ok = fstat(fd, &st) == 0 &&
		pg_pwrite(fd, entry, CPII_SPOOL_KEY_ENTRY,
				  st.st_size - st.st_size % CPII_SPOOL_KEY_ENTRY) == CPII_SPOOL_KEY_ENTRY &&
		pg_fsync(fd) == 0;
	close(fd);
	if (ok)
		fsync_fname(cpii_segment_directory, true);
	return ok;
}

static void
store_key(const unsigned char audit[CPII_KEY_LEN])
{
	unsigned char entry[CPII_SPOOL_KEY_ENTRY];

	if (page == NULL || page->life == 0 || page->stored)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!page->stored)
		page->stored = make_entry(audit, entry) && append_entry(entry);
	LWLockRelease(lock);
	if (!page->stored)
		ereport(LOG,
				(errmsg("the key of the audit spool could not be stored in \"%s\"",
						cpii_segment_directory),
				 errdetail("Records cannot be authenticated when the server ends before they are ingested.")));
}

void
cpii_spool_key_care(void)
{
	static TimestampTz tried_at = 0;
	unsigned char audit[CPII_KEY_LEN];
	TimestampTz now;

	if (page == NULL || page->life == 0 || page->stored)
		return;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(tried_at, now, CARE_MS))
		return;
	tried_at = now;
	if (cpii_keyring_audit_key(audit))
		store_key(audit);
	cpii_wipe(audit, sizeof(audit));
}

/* ---- checking ---- */

typedef struct Life
{
	uint64		life;
	CpiiMac    *mac;			/* NULL: unknown */
} Life;

struct CpiiSpoolKeys
{
	MemoryContextCallback callback;
	MemoryContext context;
	bool		own;			/* of this server's spool */
	const char *entries;
	size_t		length;
	bool		loaded;
	int			nlives;
	Life		lives[MAX_LIVES];
};

static void
release(void *arg)
{
	CpiiSpoolKeys *keys = arg;

	for (int i = 0; i < keys->nlives; i++)
		cpii_mac_free(keys->lives[i].mac);
	keys->nlives = 0;
}

/* the whole file; an empty one when there is none */
static void
read_entries(CpiiSpoolKeys *keys)
{
	char		path[MAXPGPATH];
	struct stat st;
	char	   *data = NULL;
	int			fd;

	keys->loaded = true;
	keys->entries = "";
	keys->length = 0;
	file_path(path);
	fd = open(path, O_RDONLY | O_CLOEXEC | PG_BINARY, 0);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= MAX_FILE)
	{
		data = MemoryContextAlloc(keys->context, (Size) st.st_size);
		if (pg_pread(fd, data, (size_t) st.st_size, 0) == st.st_size)
		{
			keys->entries = data;
			keys->length = (size_t) st.st_size;
		}
	}
	close(fd);
}

CpiiSpoolKeys *
cpii_spool_keys_open(const char *entries, size_t length)
{
	CpiiSpoolKeys *keys = palloc0(sizeof(CpiiSpoolKeys));

	keys->own = entries == NULL;
	keys->entries = entries;
	keys->length = length;
	keys->loaded = entries != NULL;
	keys->context = CurrentMemoryContext;
	keys->callback.func = release;
	keys->callback.arg = keys;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &keys->callback);
	return keys;
}

static const unsigned char *
next_entry(const CpiiSpoolKeys *keys, uint64 life, size_t *at)
{
	while (*at + CPII_SPOOL_KEY_ENTRY <= keys->length)
	{
		const char *entry = keys->entries + *at;

		*at += CPII_SPOOL_KEY_ENTRY;
		if (cpii_segment_get64(entry) == life)
			return (const unsigned char *) entry;
	}
	return NULL;
}

/* the entry that is genuine: anybody can append others */
static CpiiMac *
find_key(CpiiSpoolKeys *keys, uint64 life)
{
	unsigned char audit[CPII_KEY_LEN];
	unsigned char wrap[CPII_KEY_LEN];
	unsigned char authenticate[CPII_KEY_LEN];
	unsigned char key[CPII_KEY_LEN];
	unsigned char expected[CPII_MAC_LEN];
	const unsigned char *entry;
	CpiiMac    *mac = NULL;
	size_t		at = 0;

	if (!keys->loaded)
		read_entries(keys);
	if (next_entry(keys, life, &at) == NULL)
		return NULL;
	if (cpii_keyring_audit_key(audit) && wrapping_keys(audit, wrap, authenticate))
	{
		at = 0;
		while (mac == NULL && (entry = next_entry(keys, life, &at)) != NULL)
		{
			if (!cpii_mac_once(authenticate, entry, WRAPPED_END, expected) ||
				!cpii_secret_equal(expected, entry + WRAPPED_END, CPII_MAC_LEN))
				continue;
			memcpy(key, entry + PAD_INPUT, CPII_KEY_LEN);
			if (apply_pad(wrap, entry, key))
				mac = cpii_mac_new(key, CPII_KEY_LEN);
		}
	}
	cpii_wipe(audit, sizeof(audit));
	cpii_wipe(wrap, sizeof(wrap));
	cpii_wipe(authenticate, sizeof(authenticate));
	cpii_wipe(key, sizeof(key));
	return mac;
}

static CpiiMac *
key_of(CpiiSpoolKeys *keys, uint64 life)
{
	Life	   *slot;

	for (int i = keys->nlives - 1; i >= 0; i--)
		if (keys->lives[i].life == life)
			return keys->lives[i].mac;
	if (keys->nlives == MAX_LIVES)
	{
		cpii_mac_free(keys->lives[0].mac);
		memmove(&keys->lives[0], &keys->lives[1], sizeof(Life) * (MAX_LIVES - 1));
		keys->nlives--;
	}
	slot = &keys->lives[keys->nlives];
	slot->life = life;
	slot->mac = keys->own && page != NULL && life == page->life ?
		cpii_mac_new(page->key, CPII_KEY_LEN) : find_key(keys, life);
	keys->nlives++;
	return slot->mac;
}

CpiiTagResult
cpii_spool_keys_check(CpiiSpoolKeys *keys, const char *numbers, const char *body,
					  size_t length)
{
	uint64		seq = cpii_segment_get64(numbers);
	uint64		life = cpii_segment_get64(numbers + 8);
	unsigned char tag[CPII_MAC_LEN];
	CpiiMac    *mac;

	/* what this server has written since its start is signed with its key */
	if (keys->own && page != NULL && page->life != 0 && page->from_seq != 0 &&
		seq >= page->from_seq && life != page->life)
		return CPII_TAG_BAD;
	mac = life == 0 ? NULL : key_of(keys, life);
	if (mac == NULL)
		return CPII_TAG_UNKNOWN;
	return cpii_mac_begin(mac, (const unsigned char *) body, length) &&
		cpii_mac_end(mac, (const unsigned char *) numbers, 16, tag) &&
		cpii_secret_equal(tag, numbers + 16, CPII_SPOOL_TAG_LEN) ?
		CPII_TAG_GOOD : CPII_TAG_BAD;
}

char *
cpii_spool_keys_entries(const CpiiSegment *segment, uint64 start, uint64 end,
						size_t *length)
{
	CpiiSpoolKeys *keys = cpii_spool_keys_open(NULL, 0);
	CpiiSpoolRecord record = {0};
	StringInfoData out;
	uint64		seen = 0;

	initStringInfo(&out);
	read_entries(keys);
	while (start < end && cpii_spool_record(segment, start, record.seq, &record))
	{
		const unsigned char *entry;
		size_t		at = 0;

		start = record.end;
		if (record.life == seen)
			continue;
		seen = record.life;
		while ((entry = next_entry(keys, seen, &at)) != NULL)
			appendBinaryStringInfo(&out, (const char *) entry, CPII_SPOOL_KEY_ENTRY);
	}
	*length = out.len;
	return out.data;
}

/* ---- set-up ---- */

void
cpii_spool_key_init(void)
{
	cpii_shmem_register_zeros("courier_pii spool key", NULL, 0, &lock);
	cpii_agent_unsealed_hook = store_key;
}
