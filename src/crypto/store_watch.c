/*-------------------------------------------------------------------------
 *
 * store_watch.c
 *	  Noticing that the key store is gone, inside the key agent.
 *
 * A key store that is lost takes every value along, unless there is a backup of
 * it.  The worst that a server can do then is to go on quietly with a store
 * that it has just made: the loss is noticed months later, when the backups are
 * gone too.  So no store is made where one was, no key is made in a store that
 * was emptied, and nothing more is sealed with keys whose secrets are gone.
 * What sessions can still read, they may read.
 *
 * The file of the data directory holds the identity in hexadecimal digits and
 * a line end.  It is no secret.  Base backups and standbys have it too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/errcodes.h"
#include "base/hex.h"
#include "base/snapshot.h"
#include "crypto/epoch_table.h"
#include "crypto/keyring.h"
#include "crypto/store_watch.h"
#include "crypto/vault.h"

#define MARK_FILE "courier_pii_key_store"
#define MARK_LEN (2 * CPII_INSTALLATION_LEN)

bool
cpii_store_remembered(unsigned char uuid[CPII_INSTALLATION_LEN])
{
	char		buf[MARK_LEN];
	int			fd = OpenTransientFile(MARK_FILE, O_RDONLY | PG_BINARY);
	ssize_t		len;

	if (fd < 0)
		return false;
	len = read(fd, buf, MARK_LEN);
	CloseTransientFile(fd);
	return len == MARK_LEN && cpii_unhex(buf, CPII_INSTALLATION_LEN, uuid);
}

bool
cpii_store_remember(const unsigned char uuid[CPII_INSTALLATION_LEN])
{
	char		buf[MARK_LEN + 2];
	CpiiFilePart part = {buf, MARK_LEN + 1};

	cpii_hex(uuid, CPII_INSTALLATION_LEN, buf);
	buf[MARK_LEN] = '\n';
	return cpii_file_replace(MARK_FILE, &part, 1);
}

void
cpii_store_lost_reason(const char **detail, const char **hint)
{
	*detail = psprintf("Key store \"%s\" is missing or empty, but values were sealed with it.",
					   cpii_keystore_directory() ? cpii_keystore_directory() : "");
	*hint = "Restore the key store from its backup. No other one is made.";
}

/* from now on whoever takes a block of a counter must ask */
static void
stop_sealing(void)
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nepochs);

	/* literals of queries are not kept, so searching goes on */
	for (uint32 i = 0; i < n; i++)
		if (cpii_key_table->epochs[i].class_id != CPII_CLASS_LITERAL)
			(void) pg_atomic_exchange_u64(&cpii_key_table->epochs[i].reserved, 0);
}

bool
cpii_store_watch(void)
{
	CpiiInstallation installation = {0};
	const char *detail = NULL;
	const char *hint = NULL;
	bool		missing;
	bool		there;
	bool		lost = pg_atomic_read_u32(&cpii_key_table->store_lost) != 0;

	if (!cpii_vault_ready())
		return false;
	there = cpii_keystore_installation(false, &installation, &missing, &detail) &&
		memcmp(installation.uuid, cpii_key_table->installation,
			   sizeof(installation.uuid)) == 0;
	if (there == !lost)
		return there;
	if (there)
	{
		cpii_vault_read_store();
		cpii_key_table_reason(NULL, NULL);
		pg_atomic_write_u32(&cpii_key_table->store_lost, 0);
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg("courier_pii: the key store is back")));
		return true;
	}
	/* a store that is there, but cannot be read, has a reason of its own */
	if (missing || detail == NULL)
		cpii_store_lost_reason(&detail, &hint);
	cpii_key_table_reason(detail, hint);
	pg_atomic_write_u32(&cpii_key_table->store_lost, 1);
	stop_sealing();
	ereport(LOG,
			(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
			 errmsg("courier_pii: the key store is missing"),
			 errdetail_internal("%s", detail),
			 hint ? errhint("%s", hint) : 0));
	return false;
}
