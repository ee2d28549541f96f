/*-------------------------------------------------------------------------
 *
 * actor_key.c
 *	  The keys that actor tokens are signed with.
 *
 * courier_pii.actor_key_file holds one of
 *	- a JSON Web Key Set (RFC 7517) of up to 16 keys, "OKP"/"Ed25519" or "oct",
 *	  each with a "kid": the form to use when keys are changed without a gap;
 *	- one Ed25519 key in PEM form (a private key can sign as well);
 *	- 32 raw bytes or 64 hexadecimal digits: one HMAC secret.
 * Like the key file it must belong to the server account or root, be closed
 * to others unless it holds public keys only, and lie outside the data
 * directory.  Reading it again when its change time moved makes a new key
 * effective without a restart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "base/base64url.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"
#include "crypto/keyring.h"
#include "crypto/signature.h"
#include "people/actor_key.h"

#define MAX_FILE_LEN 16384
#define SHORTEST_SECRET 32

static ActorKey keys[ACTOR_KEYS];
static int	nkeys = 0;
static struct stat loaded;		/* the file that the keys came from */

const char *
cpii_actor_algorithm(const ActorKey *key)
{
	return key->algorithm == ACTOR_HS256 ? "HS256" : "EdDSA";
}

static void
forget_keys(void)
{
	cpii_wipe(keys, sizeof(keys));
	nkeys = 0;
}

static void
unusable(const char *detail)
{
	forget_keys();
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("actor key file \"%s\" cannot be used", cpii_actor_key_file),
			 errdetail("%s", detail),
			 errhint("It holds a JSON Web Key Set, one Ed25519 key in PEM form, or an HMAC secret of 32 bytes.")));
}

/* ---- JSON Web Key Set ---- */

static void
add_web_key(JsonbContainer *object)
{
	char	   *id = cpii_json_string(object, "kid");
	char	   *type = cpii_json_string(object, "kty");
	char	   *curve = cpii_json_string(object, "crv");
	char	   *encoded;
	unsigned char *bytes;
	size_t		len = 0;
	ActorKey   *key;

	if (nkeys == ACTOR_KEYS)
		unusable("It holds more than 16 keys.");
	if (id == NULL || id[0] == '\0' || strlen(id) >= ACTOR_KEY_ID_LEN)
		unusable("A key has no \"kid\", or one that is too long.");
	for (int i = 0; i < nkeys; i++)
		if (strcmp(keys[i].id, id) == 0)
			unusable("Two keys have the same \"kid\".");
	key = &keys[nkeys];
	strlcpy(key->id, id, sizeof(key->id));
	if (type != NULL && strcmp(type, "oct") == 0)
	{
		key->algorithm = ACTOR_HS256;
		encoded = cpii_json_string(object, "k");
		bytes = encoded ? cpii_base64url_decode(encoded, strlen(encoded), &len) : NULL;
		if (bytes == NULL || len < SHORTEST_SECRET || len > sizeof(key->secret))
			unusable("A secret (\"k\") has fewer than 32 or more than 64 bytes.");
		memcpy(key->secret, bytes, len);
		key->secret_len = len;
		key->can_sign = true;
		cpii_wipe(bytes, len);
		cpii_wipe(encoded, strlen(encoded));
	}
	else if (type != NULL && strcmp(type, "OKP") == 0 &&
			 curve != NULL && strcmp(curve, "Ed25519") == 0)
	{
		key->algorithm = ACTOR_EDDSA;
		encoded = cpii_json_string(object, "x");
		bytes = encoded ? cpii_base64url_decode(encoded, strlen(encoded), &len) : NULL;
		if (bytes == NULL || len != sizeof(key->public_key))
			unusable("A public key (\"x\") does not have 32 bytes.");
		memcpy(key->public_key, bytes, len);
	}
	else
		unusable("A key is neither \"oct\" nor \"OKP\" on curve Ed25519.");
	nkeys++;
}

static void
read_web_keys(char *text)
{
	Jsonb	   *set = cpii_json_object(text, strlen(text));
	JsonbValue	list;
	JsonbValue	element;
	JsonbIterator *it;
	JsonbIteratorToken token;

	if (set == NULL ||
		getKeyJsonValueFromContainer(&set->root, "keys", 4, &list) == NULL ||
		list.type != jbvBinary ||
		!JsonContainerIsArray(list.val.binary.data))
		unusable("It is no JSON object with a member \"keys\" that is an array.");
	it = JsonbIteratorInit(list.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvBinary ||
			!JsonContainerIsObject(element.val.binary.data))
			unusable("A member of \"keys\" is no object.");
		add_web_key(element.val.binary.data);
	}
	if (nkeys == 0)
		unusable("It holds no key.");
	cpii_wipe(set, VARSIZE(set));
}

/* ---- one key ---- */

static bool
read_secret(const char *text, size_t len)
{
	ActorKey   *key = &keys[0];

	key->algorithm = ACTOR_HS256;
	key->can_sign = true;
	if (len == SHORTEST_SECRET)
		memcpy(key->secret, text, len);
	else
	{
		while (len > 2 * SHORTEST_SECRET &&
			   (text[len - 1] == '\n' || text[len - 1] == '\r'))
			len--;
		if (len != 2 * SHORTEST_SECRET)
			return false;
		for (size_t i = 0; i < len; i++)
			if (!isxdigit((unsigned char) text[i]))
				return false;
		hex_decode(text, len, (char *) key->secret);
	}
	key->secret_len = SHORTEST_SECRET;
	nkeys = 1;
	return true;
}

static void
read_key_file(void)
{
	char	   *text = palloc0(MAX_FILE_LEN + 1);
	struct stat st;
	ssize_t		len;
	ActorKey   *key = &keys[0];
	bool		secret = true;
	int			fd;

	forget_keys();
	if (cpii_custody_inside_data_directory(cpii_actor_key_file))
		unusable("It must be named by an absolute path outside the data directory.");
	fd = OpenTransientFile(cpii_actor_key_file, O_RDONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open actor key file \"%s\": %m",
						cpii_actor_key_file)));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		unusable("It is not a regular file.");
	len = read(fd, text, MAX_FILE_LEN + 1);
	CloseTransientFile(fd);
	if (len <= 0 || len > MAX_FILE_LEN)
		unusable("It is empty, too long or cannot be read.");

	if (text[0] == '{')
	{
		read_web_keys(text);
		secret = false;
		for (int i = 0; i < nkeys; i++)
			secret |= keys[i].can_sign;
	}
	else if (cpii_ed25519_from_pem(text, len, key->public_key, key->secret,
								   &key->can_sign))
	{
		key->algorithm = ACTOR_EDDSA;
		key->secret_len = key->can_sign ? CPII_ED25519_KEY_LEN : 0;
		secret = key->can_sign;
		nkeys = 1;
	}
	else if (!read_secret(text, len))
		unusable("It has none of the known forms.");
	cpii_wipe(text, len);
	pfree(text);

	/* whoever may write it may name anybody; whoever reads a secret, too */
	if ((st.st_uid != geteuid() && st.st_uid != 0) ||
		(st.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
		(secret && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0))
		unusable("It is accessible to other users.");
	loaded = st;
}

/* the installation's own key, for trying things out */
static void
make_own_key(void)
{
	static const char label[] = "actor token";
	ActorKey   *key = &keys[0];
	CpiiMac    *mac = cpii_keyring_mac(CPII_CLASS_LITERAL, CPII_MAC_TOKEN, 0);

	if (!cpii_mac(mac, (const unsigned char *) label, sizeof(label) - 1,
				  key->secret))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	key->algorithm = ACTOR_HS256;
	key->secret_len = CPII_MAC_LEN;
	key->can_sign = true;
	nkeys = 1;
}

const ActorKey *
cpii_actor_keys(int *n)
{
	if (cpii_actor_key_file == NULL || cpii_actor_key_file[0] == '\0')
	{
		forget_keys();
		make_own_key();
	}
	else
	{
		struct stat st;

		if (nkeys == 0 || stat(cpii_actor_key_file, &st) != 0 ||
			st.st_ino != loaded.st_ino || st.st_size != loaded.st_size ||
			st.st_ctime != loaded.st_ctime)
			read_key_file();
	}
	*n = nkeys;
	return keys;
}
