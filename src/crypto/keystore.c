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
 * Secrets are never replaced, counts are; each file exists whole or not at all
 * after any crash (keystore_file.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"

#include "base/hex.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/epoch_table.h"
#include "crypto/keystore.h"
#include "crypto/keystore_file.h"

#define MAX_INSTALLATION_LEN (256 + CPII_MAX_FORMER * (2 * CPII_WRAPPED_LEN + 16))
#define MAX_NAME_LEN 160

static char *
print_installation(const CpiiInstallation *in)
{
	StringInfoData text;
	char		hex[2 * CPII_WRAPPED_LEN + 1];

	initStringInfo(&text);
	cpii_hex(in->uuid, CPII_INSTALLATION_LEN, hex);
	appendStringInfo(&text, "%s\n", hex);
	cpii_hex(in->check, CPII_MAC_LEN, hex);
	appendStringInfo(&text, "%s\n", hex);
	for (int i = 0; i < in->nformer; i++)
	{
		cpii_hex(in->former[i], CPII_WRAPPED_LEN, hex);
		appendStringInfo(&text, "former %s\n", hex);
	}
	return text.data;
}

static bool
write_installation(const CpiiInstallation *in, bool replace, const char **detail)
{
	return cpii_store_write("installation", print_installation(in), replace, detail);
}

/* to the byte: what would be written differently is damaged */
static bool
parse_installation(const char *buf, CpiiInstallation *out)
{
	static const char former[] = "former ";
	const size_t start = 2 * CPII_INSTALLATION_LEN + 1 + 2 * CPII_MAC_LEN + 1;
	const size_t line = sizeof(former) - 1 + 2 * CPII_WRAPPED_LEN + 1;
	size_t		len = strlen(buf);

	memset(out, 0, sizeof(*out));
	if (len < start || (len - start) % line != 0 ||
		(len - start) / line > CPII_MAX_FORMER ||
		!cpii_unhex(buf, CPII_INSTALLATION_LEN, out->uuid) ||
		!cpii_unhex(buf + 2 * CPII_INSTALLATION_LEN + 1, CPII_MAC_LEN, out->check))
		return false;
	out->nformer = (int) ((len - start) / line);
	for (int i = 0; i < out->nformer; i++)
		if (!cpii_unhex(buf + start + i * line + sizeof(former) - 1,
						CPII_WRAPPED_LEN, out->former[i]))
			return false;
	return strcmp(print_installation(out), buf) == 0;
}

bool
cpii_keystore_installation(bool create, CpiiInstallation *installation,
						   bool *missing, const char **detail)
{
	char		buf[MAX_INSTALLATION_LEN];

	if (!cpii_store_usable(create, missing, detail))
		return false;
	if (!cpii_store_read("installation", buf, sizeof(buf), missing, detail))
	{
		CpiiInstallation fresh = {0};

		if (!*missing || !create)
			return false;
		if (!cpii_random(fresh.uuid, sizeof(fresh.uuid)))
			return false;
		memcpy(fresh.check, installation->check, sizeof(fresh.check));
		if (!write_installation(&fresh, false, detail) ||
			!cpii_store_read("installation", buf, sizeof(buf), missing, detail))
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

	return cpii_store_usable(false, &missing, detail) &&
		write_installation(installation, true, detail);
}

static void
epoch_name(int class_id, int epoch, const char *suffix, char *name)
{
	snprintf(name, MAX_NAME_LEN, "class-%05d-epoch-%05d.%s", class_id, epoch,
			 suffix);
}

bool
cpii_keystore_missing(int class_id, int epoch)
{
	char		secret[MAX_NAME_LEN];
	char		tombstone[MAX_NAME_LEN];

	epoch_name(class_id, epoch, "secret", secret);
	epoch_name(class_id, epoch, "destroyed", tombstone);
	return !cpii_store_exists(secret) && !cpii_store_exists(tombstone);
}

CpiiStoreResult
cpii_keystore_read(int class_id, int epoch,
				   unsigned char secret[CPII_SECRET_LEN], CpiiSecretInfo *info,
				   const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		buf[CPII_SECRET_TEXT_LEN];
	bool		missing;
	bool		ok;

	if (!cpii_store_usable(false, &missing, detail))
		return missing ? CPII_STORE_MISSING : CPII_STORE_FAILED;
	epoch_name(class_id, epoch, "destroyed", name);
	if (cpii_store_exists(name))
		return CPII_STORE_DESTROYED;
	epoch_name(class_id, epoch, "secret", name);
	if (!cpii_store_read(name, buf, sizeof(buf), &missing, detail))
		return missing ? CPII_STORE_MISSING : CPII_STORE_FAILED;
	ok = cpii_secret_parse(buf, secret, info);
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
	char		text[CPII_SECRET_TEXT_LEN];
	bool		missing;
	bool		ok;

	if (!cpii_store_usable(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, "secret", name);
	cpii_secret_print(secret, info, text);
	ok = cpii_store_write(name, text, false, detail);
	cpii_wipe(text, sizeof(text));
	return ok;
}

bool
cpii_keystore_destroy(int class_id, int epoch, const char **detail)
{
	char		name[MAX_NAME_LEN];
	char		text[64];
	bool		missing;

	if (!cpii_store_usable(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, "destroyed", name);
	snprintf(text, sizeof(text), "destroyed %lld\n", (long long) time(NULL));
	if (!cpii_store_write(name, text, false, detail))
		return false;
	epoch_name(class_id, epoch, "secret", name);
	return cpii_store_shred(name, detail);
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

	if (!cpii_store_usable(false, &missing, detail))
		return false;
	epoch_name(class_id, epoch, count_suffix(), name);
	snprintf(text, sizeof(text), UINT64_FORMAT "\n", count);
	return cpii_store_write(name, text, true, detail);
}

/* first word that is a number in a small file; 0 when there is none */
static uint64
number_in_file(const char *name)
{
	char		buf[CPII_STORE_FILE_LEN];
	bool		missing;
	const char *detail;
	char	   *p = buf;

	if (!cpii_store_read(name, buf, sizeof(buf), &missing, &detail))
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

	if (!cpii_store_usable(false, &missing, detail))
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
			if (cpii_store_is_old(de->d_name))
				(void) cpii_store_shred(de->d_name, detail);
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
			if (!cpii_store_shred(secret_name, detail))
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
