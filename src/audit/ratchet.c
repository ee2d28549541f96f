/*-------------------------------------------------------------------------
 *
 * ratchet.c
 *	  Keys of the audit chain, each made from the one before it.
 *
 * Only the worker moves the ratchet.  The new file is on disk under its name
 * before a record is hashed with the new key; what it replaces is overwritten
 * first.  (A file system may keep old blocks; the wrapping is for that.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/pg_bswap.h"
#include "storage/fd.h"

#include "audit/ratchet.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "crypto/keystore.h"
#include "crypto/signature.h"

#define START_NAME "audit-start.key"
#define CURRENT_NAME "audit-current.key"
#define MAGIC "CPIIAKEY"
#define NONCE_LEN 16
#define HEAD_LEN (8 + 8 + NONCE_LEN)
#define FILE_LEN (HEAD_LEN + CPII_KEY_LEN + CPII_MAC_LEN)

static bool
derive(const unsigned char *key, const char *what, unsigned char *out)
{
	return cpii_mac_once(key, (const unsigned char *) what, strlen(what), out);
}

bool
cpii_ratchet_step(unsigned char key[CPII_KEY_LEN])
{
	static const char label[] = "courier_pii audit ratchet";
	unsigned char next[CPII_KEY_LEN];
	bool		ok = cpii_mac_once(key, (const unsigned char *) label, sizeof(label) - 1, next);

	if (ok)
		memcpy(key, next, CPII_KEY_LEN);
	cpii_wipe(next, sizeof(next));
	return ok;
}

static bool
file_path(char *path, const char *name)
{
	const char *directory = cpii_keystore_directory();

	if (directory == NULL || directory[0] == '\0')
		return false;
	snprintf(path, MAXPGPATH, "%s/%s", directory, name);
	return true;
}

/* the two keys of the wrapping */
static bool
wrapping_keys(unsigned char *wrap, unsigned char *authenticate)
{
	unsigned char audit[CPII_KEY_LEN];
	bool		ok = cpii_keyring_audit_key(audit) &&
		derive(audit, "audit key wrap", wrap) &&
		derive(audit, "audit key authentication", authenticate);

	cpii_wipe(audit, sizeof(audit));
	return ok;
}

/* the pad for a file's head, XORed onto the key */
static bool
apply_pad(const unsigned char *wrap, const unsigned char *head, unsigned char *key)
{
	unsigned char pad[CPII_MAC_LEN];

	if (!cpii_mac_once(wrap, head, HEAD_LEN, pad))
		return false;
	for (int i = 0; i < CPII_KEY_LEN; i++)
		key[i] ^= pad[i];
	cpii_wipe(pad, sizeof(pad));
	return true;
}

static CpiiRatchetResult
read_file(const char *name, unsigned char *key, int *generation)
{
	char		path[MAXPGPATH];
	unsigned char file[FILE_LEN];
	unsigned char wrap[CPII_KEY_LEN];
	unsigned char authenticate[CPII_KEY_LEN];
	unsigned char expected[CPII_MAC_LEN];
	CpiiRatchetResult result = CPII_RATCHET_BAD;
	uint64		number;
	int			fd;

	if (!wrapping_keys(wrap, authenticate) || !file_path(path, name))
		return CPII_RATCHET_NO_MASTER;
	fd = open(path, O_RDONLY | PG_BINARY | O_CLOEXEC, 0);
	if (fd < 0)
		result = errno == ENOENT ? CPII_RATCHET_MISSING : CPII_RATCHET_BAD;
	else
	{
		if (pg_pread(fd, file, sizeof(file), 0) == sizeof(file) &&
			memcmp(file, MAGIC, 8) == 0 &&
			cpii_mac_once(authenticate, file, FILE_LEN - CPII_MAC_LEN, expected) &&
			memcmp(expected, file + FILE_LEN - CPII_MAC_LEN, CPII_MAC_LEN) == 0)
		{
			memcpy(&number, file + 8, 8);
			*generation = (int) pg_ntoh64(number);
			memcpy(key, file + HEAD_LEN, CPII_KEY_LEN);
			if (apply_pad(wrap, file, key))
				result = CPII_RATCHET_OK;
		}
		close(fd);
	}
	cpii_wipe(wrap, sizeof(wrap));
	cpii_wipe(authenticate, sizeof(authenticate));
	return result;
}

static bool
write_whole(const char *path, const unsigned char *file)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY | O_CLOEXEC,
						  S_IRUSR | S_IWUSR);
	bool		ok;

	if (fd < 0)
		return false;
	ok = pg_pwrite(fd, file, FILE_LEN, 0) == FILE_LEN && pg_fsync(fd) == 0;
	close(fd);
	return ok;
}

/* make a file; with "fresh" only when there is none of that name */
static bool
write_file(const char *name, const unsigned char *key, int generation, bool fresh)
{
	static const unsigned char nothing[FILE_LEN] = {0};
	char		path[MAXPGPATH];
	char		temporary[MAXPGPATH + 8];
	unsigned char file[FILE_LEN];
	unsigned char wrap[CPII_KEY_LEN];
	unsigned char authenticate[CPII_KEY_LEN];
	uint64		number = pg_hton64((uint64) generation);
	int			fd;
	bool		ok;

	if (!wrapping_keys(wrap, authenticate) || !file_path(path, name))
		return false;
	memcpy(file, MAGIC, 8);
	memcpy(file + 8, &number, 8);
	ok = cpii_random(file + 16, NONCE_LEN);
	memcpy(file + HEAD_LEN, key, CPII_KEY_LEN);
	ok = ok && apply_pad(wrap, file, file + HEAD_LEN) &&
		cpii_mac_once(authenticate, file, FILE_LEN - CPII_MAC_LEN,
					  file + FILE_LEN - CPII_MAC_LEN);
	cpii_wipe(wrap, sizeof(wrap));
	cpii_wipe(authenticate, sizeof(authenticate));

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	ok = ok && write_whole(temporary, file);
	if (ok && fresh)
	{
		ok = link(temporary, path) == 0;
		unlink(temporary);
	}
	else if (ok)
	{
		/* the old key must not be found in a block that was given back */
		fd = open(path, O_WRONLY | PG_BINARY | O_CLOEXEC, 0);
		ok = rename(temporary, path) == 0;
		if (fd >= 0)
		{
			if (ok && pg_pwrite(fd, nothing, FILE_LEN, 0) == FILE_LEN)
				(void) pg_fdatasync(fd);
			close(fd);
		}
	}
	if (ok)
		fsync_fname(cpii_keystore_directory(), true);
	return ok;
}

CpiiRatchetResult
cpii_ratchet_start(unsigned char key[CPII_KEY_LEN])
{
	int			generation = 0;
	CpiiRatchetResult result = read_file(START_NAME, key, &generation);

	return result == CPII_RATCHET_OK && generation != 1 ? CPII_RATCHET_BAD : result;
}

CpiiRatchetResult
cpii_ratchet_current(int floor, unsigned char key[CPII_KEY_LEN], int *generation)
{
	CpiiRatchetResult result = read_file(CURRENT_NAME, key, generation);

	if (result == CPII_RATCHET_MISSING)
	{
		/* the first key of all, or the one that a copy of the store begins with */
		result = cpii_ratchet_start(key);
		*generation = 1;
		if (result == CPII_RATCHET_MISSING && floor == 0)
			result = cpii_random(key, CPII_KEY_LEN) &&
				write_file(START_NAME, key, 1, true) ?
				CPII_RATCHET_OK : CPII_RATCHET_BAD;
		if (result == CPII_RATCHET_OK && !write_file(CURRENT_NAME, key, 1, false))
			result = CPII_RATCHET_BAD;
	}
	if (result != CPII_RATCHET_OK || *generation >= floor)
		return result;
	while (*generation < floor)
	{
		if (!cpii_ratchet_step(key))
			return CPII_RATCHET_BAD;
		(*generation)++;
	}
	return cpii_ratchet_store(key, *generation) ? CPII_RATCHET_OK : CPII_RATCHET_BAD;
}

bool
cpii_ratchet_store(const unsigned char key[CPII_KEY_LEN], int generation)
{
	return write_file(CURRENT_NAME, key, generation, false);
}

bool
cpii_ratchet_signing_key(unsigned char private_key[CPII_KEY_LEN],
						 unsigned char public_key[CPII_KEY_LEN])
{
	unsigned char audit[CPII_KEY_LEN];
	bool		ok = cpii_keyring_audit_key(audit) &&
		derive(audit, "audit checkpoint signature", private_key) &&
		cpii_ed25519_public(private_key, public_key);

	cpii_wipe(audit, sizeof(audit));
	return ok;
}
