/*-------------------------------------------------------------------------
 *
 * keystore.c
 *	  The directory of epoch secrets and of the installation's identity.
 *
 * Files: "installation" (identity and key check value, two hexadecimal lines)
 * and "class-NNNNN-epoch-NNNNN.secret" (one hexadecimal line), mode 0600 in a
 * directory of mode 0700.  A file is written under a temporary name, flushed,
 * and then linked to its final name, so that it exists whole or not at all and
 * the first of two writers wins.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"
#include "crypto/keystore.h"

#define MAX_STORE_FILE_LEN 512

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

static void
to_hex(const unsigned char *in, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = '\0';
}

/* len bytes from exactly 2 * len digits; false on anything else */
static bool
from_hex(const char *in, unsigned char *out, size_t len)
{
	for (size_t i = 0; i < 2 * len; i++)
	{
		int			c = pg_tolower((unsigned char) in[i]);
		int			v;

		if (c >= '0' && c <= '9')
			v = c - '0';
		else if (c >= 'a' && c <= 'f')
			v = c - 'a' + 10;
		else
			return false;
		if (i % 2 == 0)
			out[i / 2] = (unsigned char) (v << 4);
		else
			out[i / 2] |= (unsigned char) v;
	}
	return true;
}

/* the directory, checked; with create, made when missing */
static bool
usable_directory(bool create, const char **detail)
{
	const char *dir = cpii_keystore_directory();
	struct stat st;

	if (dir == NULL)
	{
		*detail = "No key store is configured.";
		return false;
	}
	if (stat(dir, &st) != 0)
	{
		if (errno != ENOENT || !create)
		{
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

/* *missing tells "no such file" from other failures */
static bool
read_store_file(const char *name, char *buf, bool *missing,
				const char **detail)
{
	char		path[MAXPGPATH];
	int			fd;
	ssize_t		len;

	*missing = false;
	snprintf(path, sizeof(path), "%s/%s", cpii_keystore_directory(), name);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		*missing = (errno == ENOENT);
		*detail = psprintf("Could not open \"%s\": %s.", path, strerror(errno));
		return false;
	}
	len = read(fd, buf, MAX_STORE_FILE_LEN - 1);
	CloseTransientFile(fd);
	if (len < 0)
	{
		*detail = psprintf("Could not read \"%s\".", path);
		return false;
	}
	buf[len] = '\0';
	return true;
}

/* write a new file; an existing one is left alone (not an error) */
static bool
create_store_file(const char *name, const char *text, const char **detail)
{
	const char *dir = cpii_keystore_directory();
	char		path[MAXPGPATH];
	char		temp[MAXPGPATH + 32];
	size_t		len = strlen(text);
	int			fd;
	bool		ok;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
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
	ok = write(fd, text, len) == (ssize_t) len && pg_fsync(fd) == 0;
	if (CloseTransientFile(fd) != 0)
		ok = false;
	if (ok && link(temp, path) != 0 && errno != EEXIST)
		ok = false;
	if (!ok)
		*detail = psprintf("Could not write \"%s\": %s.", path,
						   strerror(errno));
	(void) unlink(temp);
	if (ok)
		fsync_fname(dir, true);
	return ok;
}

bool
cpii_keystore_installation(bool create, unsigned char uuid[CPII_INSTALLATION_LEN],
						   unsigned char check[CPII_MAC_LEN],
						   const char **detail)
{
	char		buf[MAX_STORE_FILE_LEN];
	bool		missing;

	if (!usable_directory(create, detail))
		return false;
	if (!read_store_file("installation", buf, &missing, detail))
	{
		unsigned char fresh[CPII_INSTALLATION_LEN];
		char		hex_uuid[2 * CPII_INSTALLATION_LEN + 1];
		char		hex_check[2 * CPII_MAC_LEN + 1];
		char		text[MAX_STORE_FILE_LEN];

		if (!missing || !create)
			return false;
		if (!cpii_random(fresh, sizeof(fresh)))
			return false;
		to_hex(fresh, sizeof(fresh), hex_uuid);
		to_hex(check, CPII_MAC_LEN, hex_check);
		snprintf(text, sizeof(text), "%s\n%s\n", hex_uuid, hex_check);
		if (!create_store_file("installation", text, detail) ||
			!read_store_file("installation", buf, &missing, detail))
			return false;
	}
	if (strlen(buf) < 2 * CPII_INSTALLATION_LEN + 1 + 2 * CPII_MAC_LEN ||
		!from_hex(buf, uuid, CPII_INSTALLATION_LEN) ||
		!from_hex(buf + 2 * CPII_INSTALLATION_LEN + 1, check, CPII_MAC_LEN))
	{
		*detail = psprintf("File \"installation\" of key store \"%s\" is damaged.",
						   cpii_keystore_directory());
		return false;
	}
	return true;
}

static void
secret_name(int class_id, int epoch, char *name, size_t size)
{
	snprintf(name, size, "class-%05d-epoch-%05d.secret", class_id, epoch);
}

bool
cpii_keystore_secret(int class_id, int epoch, bool create,
					 unsigned char secret[CPII_SECRET_LEN], const char **detail)
{
	char		name[64];
	char		buf[MAX_STORE_FILE_LEN];
	bool		missing;
	bool		ok;

	if (!usable_directory(false, detail))
		return false;
	secret_name(class_id, epoch, name, sizeof(name));
	if (!read_store_file(name, buf, &missing, detail))
	{
		unsigned char fresh[CPII_SECRET_LEN];

		if (!missing || !create)
			return false;
		if (!cpii_random(fresh, sizeof(fresh)))
			return false;
		to_hex(fresh, sizeof(fresh), buf);
		strlcat(buf, "\n", sizeof(buf));
		cpii_wipe(fresh, sizeof(fresh));
		if (!create_store_file(name, buf, detail) ||
			!read_store_file(name, buf, &missing, detail))
			return false;
	}
	ok = strlen(buf) >= 2 * CPII_SECRET_LEN &&
		from_hex(buf, secret, CPII_SECRET_LEN);
	cpii_wipe(buf, sizeof(buf));
	if (!ok)
		*detail = psprintf("File \"%s\" of the key store is damaged.", name);
	return ok;
}

bool
cpii_keystore_secret_exists(int class_id, int epoch, time_t *created)
{
	const char *dir = cpii_keystore_directory();
	char		name[64];
	char		path[MAXPGPATH];
	struct stat st;

	if (dir == NULL)
		return false;
	secret_name(class_id, epoch, name, sizeof(name));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (stat(path, &st) != 0)
		return false;
	*created = st.st_mtime;
	return true;
}
