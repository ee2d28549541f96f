/*-------------------------------------------------------------------------
 *
 * keystore_file.c
 *	  One file of the key store: read, written whole or not at all, shredded.
 *
 * A file is written under a temporary name, flushed, and then linked or renamed
 * to its final name, and the directory is flushed: it exists whole or not at
 * all after any crash.  Whatever "fsync" is set to: a secret that is lost takes
 * its values along.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"
#include "crypto/keystore.h"
#include "crypto/keystore_file.h"

#define OLD_SECONDS 60

/* no link to another file is followed, no pipe waited for */
#define NO_SURPRISE (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* flush the entries of a directory */
static void
flush_directory(const char *dir)
{
	int			fd = OpenTransientFile(dir, O_RDONLY);

	if (fd < 0)
		return;
	(void) fsync(fd);
	CloseTransientFile(fd);
}

const char *
cpii_keystore_directory(void)
{
	static char path[MAXPGPATH];

	if (cpii_key_store != NULL && cpii_key_store[0] != '\0')
		return cpii_key_store;
	if (cpii_key_file == NULL || cpii_key_file[0] == '\0')
		return NULL;
	snprintf(path, sizeof(path), "%s.store", cpii_key_file);
	return path;
}

bool
cpii_store_usable(bool create, bool *missing, const char **detail)
{
	const char *dir = cpii_keystore_directory();
	struct stat st;

	*missing = false;
	if (dir == NULL)
	{
		*detail = "No key store is configured.";
		return false;
	}
	if (stat(dir, &st) != 0)
	{
		if (errno != ENOENT || !create)
		{
			*missing = (errno == ENOENT);
			*detail = psprintf("Could not open key store \"%s\": %s.", dir,
							   strerror(errno));
			return false;
		}
		if (mkdir(dir, S_IRWXU) != 0 && errno != EEXIST)
		{
			*detail = psprintf("Could not create key store \"%s\": %s.", dir,
							   strerror(errno));
			return false;
		}
		if (stat(dir, &st) != 0)
			return false;
	}
	if (!S_ISDIR(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0 ||
		(st.st_uid != geteuid() && st.st_uid != 0))
	{
		*detail = psprintf("Key store \"%s\" is accessible to other users or not a directory.",
						   dir);
		return false;
	}
	if (cpii_custody_inside_data_directory(dir))
	{
		*detail = psprintf("Key store \"%s\" lies inside the data directory.",
						   dir);
		return false;
	}
	return true;
}

void
cpii_store_path(char *path, const char *name)
{
	snprintf(path, MAXPGPATH, "%s/%s", cpii_keystore_directory(), name);
}

bool
cpii_store_read(const char *name, char *buf, size_t size, bool *missing,
				const char **detail)
{
	char		path[MAXPGPATH];
	struct stat st;
	int			fd;
	ssize_t		len;

	*missing = false;
	cpii_store_path(path, name);
	fd = OpenTransientFile(path, O_RDONLY | NO_SURPRISE | PG_BINARY);
	if (fd < 0)
	{
		*missing = (errno == ENOENT);
		*detail = psprintf("Could not open \"%s\": %s.", path, strerror(errno));
		return false;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
	{
		CloseTransientFile(fd);
		*detail = psprintf("\"%s\" is not a regular file.", path);
		return false;
	}
	len = read(fd, buf, size - 1);
	CloseTransientFile(fd);
	if (len < 0)
	{
		*detail = psprintf("Could not read \"%s\".", path);
		return false;
	}
	/* what holds a zero byte is no text of ours: let it be read as damaged */
	if (memchr(buf, '\0', len) != NULL)
		len = 0;
	buf[len] = '\0';
	return true;
}

bool
cpii_store_write(const char *name, const char *text, bool replace,
				 const char **detail)
{
	const char *dir = cpii_keystore_directory();
	char		path[MAXPGPATH];
	char		temp[MAXPGPATH + 32];
	size_t		len = strlen(text);
	int			fd;
	bool		ok;

	cpii_store_path(path, name);
	snprintf(temp, sizeof(temp), "%s.%d.tmp", path, MyProcPid);
	(void) unlink(temp);
	fd = OpenTransientFilePerm(temp, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY,
							   S_IRUSR | S_IWUSR);
	if (fd < 0)
	{
		*detail = psprintf("Could not create \"%s\": %s.", temp,
						   strerror(errno));
		return false;
	}
	errno = ENOSPC;				/* what a short write means */
	ok = write(fd, text, len) == (ssize_t) len && fsync(fd) == 0;
	if (CloseTransientFile(fd) != 0)
		ok = false;
	if (ok)
		ok = replace ? rename(temp, path) == 0 :
			(link(temp, path) == 0 || errno == EEXIST);
	if (!ok)
		*detail = psprintf("Could not write \"%s\": %s.", path,
						   strerror(errno));
	(void) unlink(temp);
	if (ok)
		flush_directory(dir);
	return ok;
}

bool
cpii_store_exists(const char *name)
{
	char		path[MAXPGPATH];
	struct stat st;

	cpii_store_path(path, name);
	return stat(path, &st) == 0;
}

bool
cpii_store_shred(const char *name, const char **detail)
{
	char		path[MAXPGPATH];
	struct stat st;
	unsigned char noise[CPII_STORE_FILE_LEN];
	int			fd;
	bool		ok;

	cpii_store_path(path, name);
	fd = OpenTransientFile(path, O_WRONLY | NO_SURPRISE | PG_BINARY);
	if (fd < 0)
	{
		if (errno == ENOENT)
			return true;
		*detail = psprintf("Could not open \"%s\": %s.", path, strerror(errno));
		return false;
	}
	errno = EINVAL;
	ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (ok)
	{
		size_t		len = Min((size_t) st.st_size, sizeof(noise));

		ok = cpii_random(noise, sizeof(noise)) &&
			write(fd, noise, len) == (ssize_t) len &&
			fsync(fd) == 0;
	}
	if (CloseTransientFile(fd) != 0)
		ok = false;
	if (ok)
		ok = unlink(path) == 0;
	if (!ok)
		*detail = psprintf("Could not overwrite and remove \"%s\": %s.", path,
						   strerror(errno));
	flush_directory(cpii_keystore_directory());
	return ok;
}

bool
cpii_store_is_old(const char *name)
{
	char		path[MAXPGPATH];
	struct stat st;

	cpii_store_path(path, name);
	return stat(path, &st) == 0 && time(NULL) - st.st_mtime > OLD_SECONDS;
}
