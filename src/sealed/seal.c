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

/* the first bytes of the keyed hash of normalised text */
static void
keyed_tag(int class_id, CpiiMacPurpose purpose, int epoch, const char *text,
		  size_t len, unsigned char *out, size_t outlen)
{
	unsigned char mac[CPII_MAC_LEN];

	if (!cpii_mac(cpii_keyring_mac(class_id, purpose, epoch),
				  (const unsigned char *) text, len, mac))
		crypto_failed();
	memcpy(out, mac, outlen);
}

/* tags of a text at out, by flags; returns the position after them */
static unsigned char *
write_tags(int class_id, int epoch, int flags, const char *text, size_t len,
		   unsigned char *out)
{
	char		small[256];
	char	   *normalised;
	size_t		nlen;

	if (!(flags & (CPII_FLAG_TAG | CPII_FLAG_TAIL)))
		return out;
	normalised = CPII_NORMALISE_BOUND(len) <= sizeof(small) ?
		small : palloc(CPII_NORMALISE_BOUND(len));
	nlen = cpii_normalise(class_id, text, len, normalised);
	if (flags & CPII_FLAG_TAG)
	{
		keyed_tag(class_id, CPII_MAC_SEARCH, epoch, normalised, nlen, out,
				  CPII_SEARCH_TAG_LEN);
		out += CPII_SEARCH_TAG_LEN;
	}
	if (flags & CPII_FLAG_TAIL)
	{
		size_t		from = cpii_normalise_tail4(normalised, nlen);

		keyed_tag(class_id, CPII_MAC_TAIL, epoch, normalised + from, nlen - from,
				  out, CPII_TAIL_TAG_LEN);
		out += CPII_TAIL_TAG_LEN;
	}
	cpii_wipe(normalised, nlen);
	if (normalised != small)
		pfree(normalised);
	return out;
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
	int			epoch;
	CpiiCipher *cipher = cpii_keyring_seal_cipher(class_id, &epoch);
	size_t		size;
	bytea	   *result;
	unsigned char *start;
	unsigned char *p;

	/* four characters are too few to keep apart from those who guess */
	if ((flags & CPII_FLAG_TAIL) && cpii_keyring_tag_epoch(class_id, epoch) != 0)
		flags &= ~CPII_FLAG_TAIL;
	size = cpii_envelope_size(flags, len);
	/* what could be stored but not dumped would be lost */
	if (size > MAX_SEALED_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too long to be sealed"),
				 errdetail("The text form of the sealed value would exceed the maximum length of a text.")));
	result = (bytea *) palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	start = (unsigned char *) VARDATA(result);
	cpii_envelope_header(start, cpii_cipher_suite(cipher), flags, class_id, epoch);
	p = write_tags(class_id, epoch, flags, text, len,
				   start + CPII_ENVELOPE_HEADER_LEN);
	if (!cpii_cipher_nonce(cipher, p) ||
		!cpii_cipher_seal(cipher, p, start, p - start,
						  cpii_keyring_installation(), CPII_INSTALLATION_LEN,
						  (const unsigned char *) text, len,
						  p + CPII_NONCE_LEN, p + CPII_NONCE_LEN + len))
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
	(void) write_tags(class_id, epoch, CPII_FLAG_TAG, text, len,
					  (unsigned char *) VARDATA(result) + CPII_ENVELOPE_HEADER_LEN);
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
	unsigned char tag[CPII_TAIL_TAG_LEN];

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
	(void) write_tags(class_id, 0, CPII_FLAG_TAIL, text, len, tag);
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
