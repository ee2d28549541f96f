/*-------------------------------------------------------------------------
 *
 * keystore.c
 *	  The directory of epoch secrets and of the installation's identity.
 *
 * Files, mode 0600 in a directory of mode 0700:
 *	  installation						identity and key check value
 *	  class-NNNNN-epoch-NNNNN.secret	the secret, and its properties
 *	  class-NNNNN-epoch-NNNNN.destroyed	the tombstone of a destroyed secret
 *	  class-NNNNN-epoch-NNNNN.count-X	messages sealed by server X
 * A file is written under a temporary name, flushed, and then linked (secrets,
 * which are never replaced) or renamed (counts) to its final name, and the
 * directory is flushed: it exists whole or not at all after any crash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"

#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"
#include "crypto/epoch_table.h"
#include "crypto/keystore.h"

#define MAX_STORE_FILE_LEN 512
#define MAX_INSTALLATION_LEN (256 + CPII_MAX_FORMER * (2 * CPII_WRAPPED_LEN + 16))
#define MAX_NAME_LEN 160
#define OLD_SECONDS 60

/*
 * Flush the entries of a directory, whatever "fsync" is set to: a secret that
 * is lost takes its values along.
 */
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
usable_directory(bool create, bool *missing, const char **detail)
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


static void
store_path(char *path, const char *name)
{
	snprintf(path, MAXPGPATH, "%s/%s", cpii_keystore_directory(), name);
}

/* *missing tells "no such file" from other failures */
static bool
read_store_file(const char *name, char *buf, size_t size, bool *missing,
				const char **detail)
{
	char		path[MAXPGPATH];
	int			fd;
	ssize_t		len;

	*missing = false;
	store_path(path, name);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		*missing = (errno == ENOENT);
		*detail = psprintf("Could not open \"%s\": %s.", path, strerror(errno));
		return false;
	}
	len = read(fd, buf, size - 1);
	CloseTransientFile(fd);
	if (len < 0)
	{
		*detail = psprintf("Could not read \"%s\".", path);
		return false;
	}
	buf[len] = '\0';
	return true;
}

/*
 * Write a file whole.  With "replace" it takes the place of an older one; else
 * an existing one is left alone (not an error).
 */
static bool
write_store_file(const char *name, const char *text, bool replace,
				 const char **detail)
{
	const char *dir = cpii_keystore_directory();
	char		path[MAXPGPATH];
	char		temp[MAXPGPATH + 32];
	size_t		len = strlen(text);
	int			fd;
	bool		ok;

	store_path(path, name);
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

static bool
write_installation(const CpiiInstallation *in, bool replace, const char **detail)
{
	StringInfoData text;
	char		hex[2 * CPII_WRAPPED_LEN + 1];
	bool		ok;

	initStringInfo(&text);
	to_hex(in->uuid, CPII_INSTALLATION_LEN, hex);
	appendStringInfo(&text, "%s\n", hex);
	to_hex(in->check, CPII_MAC_LEN, hex);
	appendStringInfo(&text, "%s\n", hex);
	for (int i = 0; i < in->nformer; i++)
	{
		to_hex(in->former[i], CPII_WRAPPED_LEN, hex);
		appendStringInfo(&text, "former %s\n", hex);
	}
	ok = write_store_file("installation", text.data, replace, detail);
	pfree(text.data);
	return ok;
}

static bool
parse_installation(const char *buf, CpiiInstallation *out)
{
	static const char former[] = "former ";
	const size_t start = 2 * CPII_INSTALLATION_LEN + 1 + 2 * CPII_MAC_LEN;
	const size_t line = sizeof(former) - 1 + 2 * CPII_WRAPPED_LEN;
	const char *p = buf + start;

	memset(out, 0, sizeof(*out));
	if (strlen(buf) < start ||
		!from_hex(buf, out->uuid, CPII_INSTALLATION_LEN) ||
		!from_hex(buf + 2 * CPII_INSTALLATION_LEN + 1, out->check, CPII_MAC_LEN))
		return false;
	if (*p == '\n')
		p++;
	for (; *p != '\0'; p += line + 1)
	{
		if (out->nformer >= CPII_MAX_FORMER || strlen(p) < line + 1 ||
			strncmp(p, former, sizeof(former) - 1) != 0 || p[line] != '\n' ||
			!from_hex(p + sizeof(former) - 1, out->former[out->nformer],
					  CPII_WRAPPED_LEN))
			return false;
		out->nformer++;
	}
	return true;
}

bool
cpii_keystore_installation(bool create, CpiiInstallation *installation,
						   bool *missing, const char **detail)
{
	char		buf[MAX_INSTALLATION_LEN];

	if (!usable_directory(create, missing, detail))
		return false;
	if (!read_store_file("installation", buf, sizeof(buf), missing, detail))
	{
		CpiiInstallation fresh = {0};

		if (!*missing || !create)
			return false;
		if (!cpii_random(fresh.uuid, sizeof(fresh.uuid)))
			return false;
		memcpy(fresh.check, installation->check, sizeof(fresh.check));
		if (!write_installation(&fresh, false, detail) ||
			!read_store_file("installation", buf, sizeof(buf), missing, detail))
			return false;
	}
	*missing = false;
	if (!parse_installation(buf, installation))
	{
		*detail = psprintf("File \"installation\" of key store \"%s\" is damaged.",
						   cpii_keystore_directory());
		return false;
	}
	return true;
}

bool
cpii_keystore_replace_installation(const CpiiInstallation *installation,
								   const char **detail)
{
	bool		missing;

	return usable_directory(false, &missing, detail) &&
		write_installation(installation, true, detail);
}

static void
epoch_name(int class_id, int epoch, const char *suffix, char *name)
{
	snprintf(name, MAX_NAME_LEN, "class-%05d-epoch-%05d.%s", class_id, epoch,
			 suffix);
}

static bool
store_file_exists(const char *name)
{
	char		path[MAXPGPATH];
	struct stat st;

	store_path(path, name);
	return stat(path, &st) == 0;
}

bool
cpii_keystore_missing(int class_id, int epoch)
{
	char		secret[MAX_NAME_LEN];
	char		tombstone[MAX_NAME_LEN];

	epoch_name(class_id, epoch, "secret", secret);
	epoch_name(class_id, epoch, "destroyed", tombstone);
	return !store_file_exists(secret) && !store_file_exists(tombstone);
}

CpiiStoreResult
cpii_keystore_read(int class_id, int epoch,
				   unsigned char secret[CPII_SECRET_LEN], CpiiSecretInfo *info,
				   const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		buf[MAX_STORE_FILE_LEN];
	bool		missing;
	bool		ok;
	char	   *p;
	char	   *q;

	memset(info, 0, sizeof(*info));
	if (!usable_directory(false, &missing, detail))
		return missing ? CPII_STORE_MISSING : CPII_STORE_FAILED;
	epoch_name(class_id, epoch, "destroyed", name);
	if (store_file_exists(name))
		return CPII_STORE_DESTROYED;
	epoch_name(class_id, epoch, "secret", name);
	if (!read_store_file(name, buf, sizeof(buf), &missing, detail))
		return missing ? CPII_STORE_MISSING : CPII_STORE_FAILED;

	info->suite = CPII_SUITE_AES_256_GCM;
	info->tag_scope = CPII_TAGS_CLASS;
	info->tag_digest = CPII_DIGEST_SHA256;
	info->master = 1;
	ok = strlen(buf) >= 2 * CPII_SECRET_LEN &&
		from_hex(buf, secret, CPII_SECRET_LEN);
	p = buf + 2 * CPII_SECRET_LEN;
	if (ok && (p = strstr(p, "\nsuite ")) != NULL)
	{
		long long	created;
		char		hex[17];

		ok = sscanf(p, "\nsuite %d tags %d digest %d created %lld master %d",
					&info->suite, &info->tag_scope, &info->tag_digest,
					&created, &info->master) >= 4 &&
			info->master >= 1 &&
			(q = strstr(p, "\ncheck ")) != NULL &&
			sscanf(q, "\ncheck %16[0-9a-f]\n", hex) == 1 &&
			strlen(hex) == 16 && q[23] == '\n' &&
			from_hex(hex, info->check, sizeof(info->check));
		if (ok)
		{
			info->created = created;
			info->has_check = true;
		}
	}
	else if (ok)
	{
		/* a file of a version that wrote the secret alone */
		char		path[MAXPGPATH];
		struct stat st;

		store_path(path, name);
		if (strlen(buf) > 2 * CPII_SECRET_LEN + 1)
			ok = false;
		else if (stat(path, &st) == 0)
			info->created = (int64) st.st_mtime;
	}
	cpii_wipe(buf, sizeof(buf));
	if (!ok)
	{
		*detail = psprintf("File \"%s\" of the key store is damaged.", name);
		return CPII_STORE_DAMAGED;
	}
	return CPII_STORE_OK;
}

bool
cpii_keystore_write(int class_id, int epoch,
					const unsigned char secret[CPII_SECRET_LEN],
					const CpiiSecretInfo *info, const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		hex_secret[2 * CPII_SECRET_LEN + 1];
	char		hex_check[2 * sizeof(info->check) + 1];
	char		text[MAX_STORE_FILE_LEN];
	bool		missing;
	bool		ok;

	if (!usable_directory(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, "secret", name);
	to_hex(secret, CPII_SECRET_LEN, hex_secret);
	to_hex(info->check, sizeof(info->check), hex_check);
	snprintf(text, sizeof(text),
			 "%s\nsuite %d tags %d digest %d created %lld%s\ncheck %s\n",
			 hex_secret, info->suite, info->tag_scope, info->tag_digest,
			 (long long) info->created,
			 info->master > 1 ? psprintf(" master %d", info->master) : "",
			 hex_check);
	ok = write_store_file(name, text, false, detail);
	cpii_wipe(text, sizeof(text));
	cpii_wipe(hex_secret, sizeof(hex_secret));
	return ok;
}

/* overwrite a file in place with random bytes, flushed; then remove it */
static bool
shred_file(const char *name, const char **detail)
{
	char		path[MAXPGPATH];
	struct stat st;
	unsigned char noise[MAX_STORE_FILE_LEN];
	int			fd;
	bool		ok;

	store_path(path, name);
	fd = OpenTransientFile(path, O_WRONLY | PG_BINARY);
	if (fd < 0)
	{
		if (errno == ENOENT)
			return true;
		*detail = psprintf("Could not open \"%s\": %s.", path, strerror(errno));
		return false;
	}
	ok = fstat(fd, &st) == 0;
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
cpii_keystore_destroy(int class_id, int epoch, const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		text[64];
	bool		missing;

	if (!usable_directory(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, "destroyed", name);
	snprintf(text, sizeof(text), "destroyed %lld\n", (long long) time(NULL));
	if (!write_store_file(name, text, false, detail))
		return false;
	epoch_name(class_id, epoch, "secret", name);
	return shred_file(name, detail);
}

/* this server's name among those that share or copy a store */
static const char *
count_suffix(void)
{
	static char suffix[80] = "";

	if (suffix[0] == '\0')
	{
		char		host[48] = "";
		char	   *p;

		if (cpii_node_name != NULL && cpii_node_name[0] != '\0')
			strlcpy(host, cpii_node_name, sizeof(host));
		else
			(void) gethostname(host, sizeof(host) - 1);
		for (p = host; *p; p++)
			if (!isalnum((unsigned char) *p))
				*p = '_';
		snprintf(suffix, sizeof(suffix), "count-%s-%d", host, PostPortNumber);
	}
	return suffix;
}

bool
cpii_keystore_write_count(int class_id, int epoch, uint64 count,
						  const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		text[64];
	bool		missing;

	if (!usable_directory(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, count_suffix(), name);
	snprintf(text, sizeof(text), UINT64_FORMAT "\n", count);
	return write_store_file(name, text, true, detail);
}

/* a temporary file that no other server can be writing any more */
static bool
old_file(const char *name)
{
	char		path[MAXPGPATH];
	struct stat st;

	store_path(path, name);
	return stat(path, &st) == 0 && time(NULL) - st.st_mtime > OLD_SECONDS;
}

/* first word that is a number in a small file; 0 when there is none */
static uint64
number_in_file(const char *name)
{
	char		buf[MAX_STORE_FILE_LEN];
	bool		missing;
	const char *detail;
	char	   *p = buf;

	if (!read_store_file(name, buf, sizeof(buf), &missing, &detail))
		return 0;
	while (*p && !isdigit((unsigned char) *p))
		p++;
	return strtou64(p, NULL, 10);
}

bool
cpii_keystore_walk(CpiiStoreVisitor visit, const char **detail)
{
	DIR		   *dir;
	struct dirent *de;
	bool		missing;

	if (!usable_directory(false, &missing, detail))
		return false;
	dir = AllocateDir(cpii_keystore_directory());
	if (dir == NULL)
	{
		*detail = psprintf("Could not open key store \"%s\": %s.",
						   cpii_keystore_directory(), strerror(errno));
		return false;
	}
	while ((de = ReadDirExtended(dir, cpii_keystore_directory(), LOG)) != NULL)
	{
		int			class_id;
		int			epoch;
		int			used = 0;
		const char *suffix;
		size_t		len = strlen(de->d_name);
		char		secret_name[MAX_NAME_LEN];

		if (len > 4 && len < MAX_NAME_LEN &&
			strcmp(de->d_name + len - 4, ".tmp") == 0)
		{
			/* half a secret may be a secret: do not only unlink it */
			if (old_file(de->d_name))
				(void) shred_file(de->d_name, detail);
			continue;
		}
		if (sscanf(de->d_name, "class-%5d-epoch-%5d.%n", &class_id, &epoch,
				   &used) != 2 || used == 0 || len >= MAX_NAME_LEN)
			continue;
		suffix = de->d_name + used;
		if (strcmp(suffix, "secret") == 0)
			visit('s', class_id, epoch, 0, false);
		else if (strcmp(suffix, "destroyed") == 0)
		{
			epoch_name(class_id, epoch, "secret", secret_name);
			if (!shred_file(secret_name, detail))
				ereport(LOG,
						(errcode(ERRCODE_IO_ERROR),
						 errmsg("could not finish the destruction of a key"),
						 errdetail("%s", *detail)));
			visit('d', class_id, epoch, number_in_file(de->d_name), false);
		}
		else if (strncmp(suffix, "count-", 6) == 0)
			visit('c', class_id, epoch, number_in_file(de->d_name),
				  strcmp(suffix, count_suffix()) == 0);
	}
	FreeDir(dir);
	return true;
}
