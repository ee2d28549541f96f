/*-------------------------------------------------------------------------
 *
 * custody.c
 *	  Where the master key comes from: the choice of the source, and "file".
 *
 * The file holds 32 raw bytes or 64 hexadecimal digits (a final newline is
 * allowed).  It must be a regular file of the server account or of root that
 * nobody else can read, outside the data directory, so that a base backup does
 * not carry the key along.  A key is never made here: a missing file means a
 * sealed server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/hex.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"

#define MAX_KEY_FILE_LEN 128

bool
cpii_custody_inside_data_directory(const char *path)
{
	char		real_path[MAXPGPATH];
	char		real_data[MAXPGPATH];
	char	   *p;

	if (!is_absolute_path(path))
		return true;
	p = realpath(path, NULL);
	strlcpy(real_path, p ? p : path, MAXPGPATH);
	free(p);
	p = realpath(DataDir, NULL);
	strlcpy(real_data, p ? p : DataDir, MAXPGPATH);
	free(p);
	canonicalize_path(real_path);
	return path_is_prefix_of_path(real_data, real_path);
}

bool
cpii_key_check_value(const unsigned char master[CPII_KEY_LEN],
					 unsigned char check[CPII_MAC_LEN])
{
	static const char text[] = "courier_pii key check";
	CpiiMac    *mac = cpii_mac_new(master, CPII_KEY_LEN);
	bool		ok = mac != NULL &&
		cpii_mac(mac, (const unsigned char *) text, sizeof(text) - 1, check);

	cpii_mac_free(mac);
	return ok;
}

bool
cpii_custody_decode(const unsigned char *buf, size_t len,
					unsigned char key[CPII_KEY_LEN])
{
	if (len == CPII_KEY_LEN)
	{
		memcpy(key, buf, CPII_KEY_LEN);
		return true;
	}
	while (len > 2 * CPII_KEY_LEN &&
		   (buf[len - 1] == '\n' || buf[len - 1] == '\r'))
		len--;
	return len == 2 * CPII_KEY_LEN &&
		cpii_unhex((const char *) buf, CPII_KEY_LEN, key);
}

static bool
key_from_file(bool next, unsigned char key[CPII_KEY_LEN],
			  const char **detail, const char **hint)
{
	const char *path;
	struct stat st;
	unsigned char buf[MAX_KEY_FILE_LEN + 1];
	ssize_t		len;
	int			fd;
	bool		ok;

	if (cpii_key_file == NULL || cpii_key_file[0] == '\0')
	{
		*detail = "No key file is configured.";
		*hint = "Set courier_pii.key_file and restart the server.";
		return false;
	}
	path = next ? psprintf("%s.next", cpii_key_file) : cpii_key_file;
	if (cpii_custody_inside_data_directory(path))
	{
		*detail = psprintf("Key file \"%s\" lies inside the data directory.",
						   path);
		*hint = "Move it out of the data directory, so that backups do not carry the key.";
		return false;
	}

	/* a pipe or a device must not make us wait */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | PG_BINARY);
	if (fd < 0)
	{
		*detail = psprintf("Could not open key file \"%s\": %s.",
						   path, strerror(errno));
		*hint = "Check courier_pii.key_file.";
		return false;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
	{
		CloseTransientFile(fd);
		*detail = psprintf("Key file \"%s\" is not a regular file.",
						   path);
		*hint = "Check courier_pii.key_file.";
		return false;
	}
	if ((st.st_uid != geteuid() && st.st_uid != 0) ||
		(st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		CloseTransientFile(fd);
		*detail = psprintf("Key file \"%s\" is accessible to other users; its mode is %04o.",
						   path, (unsigned int) (st.st_mode & 07777));
		*hint = "Set the mode to 0600 and the owner to the server account.";
		return false;
	}
	len = read(fd, buf, sizeof(buf));
	CloseTransientFile(fd);
	if (len < 0)
	{
		*detail = psprintf("Could not read key file \"%s\".", path);
		*hint = "Check courier_pii.key_file.";
		return false;
	}
	ok = cpii_custody_decode(buf, (size_t) len, key);
	cpii_wipe(buf, sizeof(buf));
	if (!ok)
	{
		*detail = psprintf("Key file \"%s\" has the wrong length or form.",
						   path);
		*hint = "A key file holds 32 raw bytes or 64 hexadecimal digits.";
	}
	return ok;
}

bool
cpii_custody_repeatable(void)
{
	return cpii_key_source == CPII_KEY_SOURCE_FILE;
}

bool
cpii_custody_master_key(bool next, unsigned char key[CPII_KEY_LEN],
						const char **detail, const char **hint)
{
	*detail = NULL;
	*hint = NULL;
	switch (cpii_key_source)
	{
		case CPII_KEY_SOURCE_FILE:
			return key_from_file(next, key, detail, hint);
		case CPII_KEY_SOURCE_COMMAND:
			return cpii_custody_run_command(next, key, detail, hint);
		case CPII_KEY_SOURCE_CUSTODIANS:
			*detail = cpii_custodians_entered() == 0 ?
				"No custodian has entered a share." :
				psprintf("Custodians have entered %d shares; more are needed.",
						 cpii_custodians_entered());
			*hint = "Each custodian enters a share with courier_pii.unseal().";
			break;
	}
	return false;
}
