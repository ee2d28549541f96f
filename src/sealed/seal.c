/*-------------------------------------------------------------------------
 *
 * seal.c
 *	  From plaintext to sealed value and back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/memutils.h"

#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "crypto/keystore.h"
#include "sealed/custom_class.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"

CpiiLiteralProbe cpii_literal_probe_hook = NULL;
CpiiExistingProbe cpii_existing_probe_hook = NULL;
CpiiSearchProbe cpii_search_probe_hook = NULL;

static void
crypto_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("cryptographic operation could not be completed")));
}

void
cpii_report_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("sealed value is damaged"),
			 errdetail("The value does not have the form of a sealed value, or its authentication tag does not match.")));
	pg_unreachable();
}

void
cpii_parse_or_damaged(const bytea *value, CpiiEnvelope *envelope)
{
	if (!cpii_envelope_parse((const unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), envelope))
		cpii_report_damaged();
}

char *
cpii_to_utf8(const char *text, size_t len, size_t *outlen)
{
	char	   *utf8 = pg_server_to_any(text, (int) len, PG_UTF8);

	*outlen = (utf8 == text) ? len : strlen(utf8);
	return utf8;
}

char *
cpii_from_utf8(const char *text, size_t len, size_t *outlen)
{
	char	   *server = pg_any_to_server(text, (int) len, PG_UTF8);

	*outlen = (server == text) ? len : strlen(server);
	return server;
}

/*
 * The tags of a text: of the whole with one key, of its last four characters
 * with the other; either may be NULL.
 */
static void
make_tags(int class_id, CpiiMac *search, CpiiMac *tail, const char *text, size_t len,
		  unsigned char search_tag[CPII_MAC_LEN], unsigned char tail_tag[CPII_MAC_HEAD_LEN])
{
	char		small[256];
	char	   *room;
	const char *normalised;
	size_t		nlen;
	bool		ok = true;

	room = CPII_NORMALISE_BOUND(len) <= sizeof(small) ?
		small : palloc(CPII_NORMALISE_BOUND(len));
	normalised = cpii_normalised(class_id, text, len, room, &nlen);
	if (search != NULL)
		ok = cpii_mac(search, (const unsigned char *) normalised, nlen, search_tag);
	if (tail != NULL && ok)
	{
		size_t		from;

		/* what is not in the room is digits, a byte each */
		if (normalised == room)
			from = cpii_normalise_tail4(normalised, nlen);
		else
			from = nlen > 4 ? nlen - 4 : 0;
		ok = cpii_mac_head(tail, (const unsigned char *) normalised + from,
						   nlen - from, tail_tag);
	}
	if (normalised == room)
		cpii_wipe(room, nlen);
	if (room != small)
		pfree(room);
	if (!ok)
		crypto_failed();
}

static int
value_flags(int class_id)
{
	int			flags = 0;

	if (cpii_class_is_searchable(class_id))
		flags |= CPII_FLAG_TAG;
	if (cpii_class_is_builtin(class_id) && cpii_class_table[class_id].tail)
		flags |= CPII_FLAG_TAIL;
	return flags;
}

/* its text form, a third longer, must fit into a text */
#define MAX_SEALED_LEN (MaxAllocSize / 4 * 3 - 1024)

static bytea *
seal_with(int class_id, int flags, const char *text, size_t len)
{
	const CpiiSealKeys *keys = cpii_keyring_seal_keys(class_id,
													  (flags & CPII_FLAG_TAG) != 0,
													  (flags & CPII_FLAG_TAIL) != 0);
	unsigned char search_tag[CPII_MAC_LEN];
	unsigned char tail_tag[CPII_MAC_HEAD_LEN];
	unsigned char associated[CPII_ENVELOPE_AAD_ROOM];
	size_t		aadlen;
	size_t		size;
	bytea	   *result;
	unsigned char *p;

	if (keys->tail == NULL)
		flags &= ~CPII_FLAG_TAIL;
	size = cpii_envelope_size(flags, len);
	/* what could be stored but not dumped would be lost */
	if (size > MAX_SEALED_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too long to be sealed"),
				 errdetail("The text form of the sealed value would exceed the maximum length of a text.")));
	if (flags & CPII_FLAG_TAG)
		make_tags(class_id, keys->search, keys->tail, text, len, search_tag, tail_tag);
	aadlen = cpii_envelope_associated(associated, keys->suite, flags, class_id,
									  keys->epoch, search_tag, tail_tag,
									  keys->installation);
	result = (bytea *) palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	p = (unsigned char *) VARDATA(result);
	/* in whole words, never beyond the nonce that is written next */
	memcpy(p, associated, 24);
	p += aadlen;
	if (!cpii_cipher_seal_fresh(keys->cipher, associated, aadlen + CPII_INSTALLATION_LEN,
								(const unsigned char *) text, len, p))
		crypto_failed();
	return result;
}

bytea *
cpii_seal_value(int class_id, const char *text, size_t len)
{
	return seal_with(class_id, value_flags(class_id), text, len);
}

bytea *
cpii_seal_token(const char *text, size_t len)
{
	return seal_with(CPII_CLASS_LITERAL, CPII_FLAG_TOKEN, text, len);
}

bytea *
cpii_seal_search_key(int class_id, int epoch, const char *text, size_t len)
{
	int			flags = CPII_FLAG_SEARCH | CPII_FLAG_TAG;
	size_t		size = cpii_envelope_size(flags, 0);
	unsigned char tag[CPII_MAC_LEN];
	bytea	   *result;

	if (!cpii_class_is_searchable(class_id))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("values of class \"%s\" cannot be searched by equality",
						cpii_class_name(class_id)),
				 errdetail("Values of this class carry no search tag.")));
	result = (bytea *) palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	cpii_envelope_header((unsigned char *) VARDATA(result),
						 CPII_SUITE_AES_256_GCM, flags, class_id, 0);
	make_tags(class_id, cpii_keyring_mac(class_id, CPII_MAC_SEARCH, epoch), NULL,
			  text, len, tag, NULL);
	memcpy(VARDATA(result) + CPII_ENVELOPE_HEADER_LEN, tag, CPII_SEARCH_TAG_LEN);
	return result;
}

/* the most epochs that one search looks for */
#define MAX_SEARCH_EPOCHS 1024

List *
cpii_seal_search_keys(int class_id, const char *text, size_t len)
{
	int		   *epochs = palloc(sizeof(int) * MAX_SEARCH_EPOCHS);
	int			n = cpii_keyring_search_epochs(class_id, epochs, MAX_SEARCH_EPOCHS);
	List	   *keys = NIL;

	for (int i = 0; i < n; i++)
		keys = lappend(keys, cpii_seal_search_key(class_id, epochs[i], text, len));
	pfree(epochs);
	return keys;
}

int32
cpii_seal_tail(int class_id, const char *text, size_t len)
{
	unsigned char tag[CPII_MAC_HEAD_LEN];

	if (!cpii_class_is_builtin(class_id) || !cpii_class_table[class_id].tail)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("values of class \"%s\" carry no tag of their last four characters",
						cpii_class_name(class_id))));
	if (cpii_keyring_search_scoped(class_id))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("values of class \"%s\" cannot be searched by their last four characters",
						cpii_class_name(class_id)),
				 errdetail("The search scope of the class is or was \"epoch\", and values then carry no such tag.")));
	make_tags(class_id, NULL, cpii_keyring_mac(class_id, CPII_MAC_TAIL, 0),
			  text, len, NULL, tag);
	return (int32) ((uint32) tag[0] << 24 | (uint32) tag[1] << 16 |
					(uint32) tag[2] << 8 | (uint32) tag[3]);
}

void
cpii_open_into(const CpiiEnvelope *envelope, unsigned char *out)
{
	CpiiCipher *cipher;

	if (envelope->nonce == NULL)
		cpii_report_damaged();
	cipher = cpii_keyring_open_cipher(envelope->class_id, envelope->epoch);
	/* each epoch has one suite */
	if (envelope->suite != (int) cpii_cipher_suite(cipher) ||
		!cpii_cipher_open(cipher, envelope->nonce,
						  envelope->aad, envelope->aadlen,
						  cpii_keyring_installation(), CPII_INSTALLATION_LEN,
						  envelope->ciphertext, envelope->ciphertextlen,
						  envelope->aead_tag, out))
		cpii_report_damaged();
}

char *
cpii_open(const CpiiEnvelope *envelope, size_t *len)
{
	char	   *text = palloc(envelope->ciphertextlen + 1);

	cpii_open_into(envelope, (unsigned char *) text);
	text[envelope->ciphertextlen] = '\0';
	*len = envelope->ciphertextlen;
	return text;
}

text *
cpii_open_text(const CpiiEnvelope *envelope)
{
	text	   *result = palloc(VARHDRSZ + envelope->ciphertextlen);

	SET_VARSIZE(result, VARHDRSZ + envelope->ciphertextlen);
	cpii_open_into(envelope, (unsigned char *) VARDATA(result));
	return result;
}

int
cpii_class_by_name(const char *name)
{
	const CpiiCustomClass *custom;

	for (int i = CPII_CLASS_FIRST; i <= CPII_CLASS_LAST; i++)
		if (strcmp(cpii_class_table[i].name, name) == 0)
			return i;
	custom = cpii_custom_class_by_name(name);
	return custom != NULL ? custom->class_id : 0;
}

int
cpii_class_by_name_or_error(const char *name)
{
	int			class_id = cpii_class_by_name(name);

	if (class_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized data class \"%s\"", name),
				 errhint("Valid classes are person_name, phone, address, id_number, unit_name, waybill_no, item, note, email, account_no; for native columns also time and region.")));
	return class_id;
}

const char *
cpii_class_name(int class_id)
{
	if (cpii_class_is_builtin(class_id))
		return cpii_class_table[class_id].name;
	/* messages need names, but not at any price */
	if (cpii_class_is_custom(class_id) && IsTransactionState())
	{
		const CpiiCustomClass *custom = cpii_custom_class(class_id);

		if (custom != NULL)
			return pstrdup(custom->name);
	}
	return psprintf("%d", class_id);
}

/* ---- the base type's OID, cached ---- */

static Oid	sealed_type = InvalidOid;
static bool sealed_type_known = false;
static bool callback_registered = false;

static void
type_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	sealed_type_known = false;
}

Oid
cpii_sealed_type(void)
{
	if (!sealed_type_known)
	{
		Oid			nsp = cpii_schema_oid(true);

		if (!callback_registered)
		{
			CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
			CacheRegisterSyscacheCallback(NAMESPACEOID, type_changed, (Datum) 0);
			callback_registered = true;
		}
		sealed_type = OidIsValid(nsp) ?
			GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
							CStringGetDatum("sealed"), ObjectIdGetDatum(nsp)) :
			InvalidOid;
		sealed_type_known = true;
	}
	return sealed_type;
}

int
cpii_class_of_type(Oid type, int32 typmod)
{
	Oid			sealed = cpii_sealed_type();

	if (!OidIsValid(sealed))
		return 0;
	if (type != sealed)
	{
		if (type < FirstNormalObjectId)
			return 0;			/* no built-in type is a domain over ours */
		type = getBaseTypeAndTypmod(type, &typmod);
	}
	return (type == sealed && typmod > 0) ? typmod : 0;
}
