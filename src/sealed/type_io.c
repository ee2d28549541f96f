/*-------------------------------------------------------------------------
 *
 * type_io.c
 *	  Text and binary forms of the type sealed, its type modifier and the
 *	  coercions that make values.
 *
 * The text form is "pii:1" and the envelope in base64url; the binary form is
 * the envelope.  Output never depends on who asks and never fails for lack of
 * a key.  Input takes an envelope byte for byte, or plain text: with a type
 * modifier it becomes a value at once, without one a query token.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/base64url.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "mask/utf8.h"
#include "sealed/custom_class.h"
#include "sealed/seal.h"

#define TEXT_PREFIX "pii:1"
#define TEXT_PREFIX_LEN 5

PG_FUNCTION_INFO_V1(cpii_sealed_in);
PG_FUNCTION_INFO_V1(cpii_sealed_out);
PG_FUNCTION_INFO_V1(cpii_sealed_recv);
PG_FUNCTION_INFO_V1(cpii_sealed_send);
PG_FUNCTION_INFO_V1(cpii_sealed_typmod_in);
PG_FUNCTION_INFO_V1(cpii_sealed_typmod_out);
PG_FUNCTION_INFO_V1(cpii_sealed_coerce);
PG_FUNCTION_INFO_V1(cpii_seal_text);
PG_FUNCTION_INFO_V1(cpii_seal_bpchar);
PG_FUNCTION_INFO_V1(cpii_seal_existing);
CPII_EXPORT Datum cpii_sealed_in(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_out(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_recv(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_send(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_typmod_in(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_typmod_out(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_coerce(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_seal_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_seal_bpchar(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_seal_existing(PG_FUNCTION_ARGS);

static void
report_wrong_class(int have, int want)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("sealed value is of class \"%s\", not \"%s\"",
					cpii_class_name(have), cpii_class_name(want)),
			 errdetail("A sealed value cannot move to a column of another class.")));
}

/* refuse to store the output of a mask over a real value */
static void
refuse_mask(int class_id, const char *utf8, size_t len)
{
	/* no mask has nothing but digits; most numbers need no other question */
	if (!cpii_all_digits(utf8, len) && cpii_value_looks_masked(class_id, utf8, len))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_MASKED_VALUE),
				 errmsg("masked value cannot be stored"),
				 errdetail("The text for class \"%s\" looks like the output of a mask.",
						   cpii_class_name(class_id)),
				 errhint("Write the real value, or leave the column out of the statement.")));
}

/* the envelope for this column, or itself when the column is not known */
static void
check_stored_form(const unsigned char *bytes, size_t len, int32 typmod)
{
	CpiiEnvelope env;

	if (!cpii_envelope_parse(bytes, len, &env))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid sealed value"),
				 errdetail("It is not a whole envelope of a known version.")));
	if (typmod <= 0)
		return;
	if (env.flags & CPII_FLAG_SEARCH)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("search key cannot be stored")));
	if (!(env.flags & CPII_FLAG_TOKEN) && env.class_id != typmod)
		report_wrong_class(env.class_id, typmod);
}

/* turn a token into a value of the class */
static bytea *
token_to_value(const CpiiEnvelope *token, int class_id)
{
	size_t		len;
	char	   *text = cpii_open(token, &len);
	bytea	   *result;

	refuse_mask(class_id, text, len);
	if (cpii_literal_probe_hook)
		cpii_literal_probe_hook(class_id, text, len);
	result = cpii_seal_value(class_id, text, len);
	cpii_wipe(text, len);
	pfree(text);
	return result;
}

/* plain text in the server encoding */
static bytea *
plain_to_sealed(const char *text, size_t len, int32 typmod)
{
	size_t		ulen = len;
	char	   *utf8 = (char *) text;
	bytea	   *result;

	cpii_require_preload();
	if (GetDatabaseEncoding() != PG_UTF8)
		utf8 = cpii_to_utf8(text, len, &ulen);
	if (typmod > 0)
	{
		refuse_mask(typmod, utf8, ulen);
		if (cpii_literal_probe_hook)
			cpii_literal_probe_hook(typmod, utf8, ulen);
		result = cpii_seal_value(typmod, utf8, ulen);
	}
	else
		result = cpii_seal_token(utf8, ulen);
	if (utf8 != text)
	{
		cpii_wipe(utf8, ulen);
		pfree(utf8);
	}
	return result;
}

static bytea *
bytes_to_sealed(const unsigned char *bytes, size_t len, int32 typmod)
{
	bytea	   *result;
	CpiiEnvelope env;

	check_stored_form(bytes, len, typmod);
	if (typmod > 0 && cpii_envelope_parse(bytes, len, &env) &&
		(env.flags & CPII_FLAG_TOKEN))
		return token_to_value(&env, typmod);
	result = (bytea *) palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return result;
}

/* plain text, or the text form of an envelope */
static bytea *
text_to_sealed(const char *p, size_t len, int32 typmod)
{
	unsigned char *bytes;
	size_t		n;

	if (len < TEXT_PREFIX_LEN || memcmp(p, TEXT_PREFIX, TEXT_PREFIX_LEN) != 0)
		return plain_to_sealed(p, len, typmod);
	bytes = cpii_base64url_decode(p + TEXT_PREFIX_LEN, len - TEXT_PREFIX_LEN, &n);
	if (bytes == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid sealed value"),
				 errdetail("The text after \"pii:1\" is not base64url.")));
	return bytes_to_sealed(bytes, n, typmod);
}

Datum
cpii_sealed_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);

	PG_RETURN_BYTEA_P(text_to_sealed(text, strlen(text), typmod));
}

Datum
cpii_sealed_out(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(value);
	char	   *out = palloc(TEXT_PREFIX_LEN + CPII_BASE64URL_BOUND(len));

	memcpy(out, TEXT_PREFIX, TEXT_PREFIX_LEN);
	cpii_base64url_encode((unsigned char *) VARDATA_ANY(value), len,
						  out + TEXT_PREFIX_LEN);
	PG_RETURN_CSTRING(out);
}

/*
 * A binary message is an envelope when its first byte says so; no text begins
 * with that control character.  Anything else is plain text of the client.
 */
Datum
cpii_sealed_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			len = buf->len - buf->cursor;

	if (len > 0 &&
		((unsigned char) buf->data[buf->cursor]) >> 4 == CPII_ENVELOPE_VERSION)
	{
		const char *bytes = pq_getmsgbytes(buf, len);

		PG_RETURN_BYTEA_P(bytes_to_sealed((const unsigned char *) bytes, len,
										  typmod));
	}
	else
	{
		int			n;
		char	   *text = pq_getmsgtext(buf, len, &n);

		PG_RETURN_BYTEA_P(text_to_sealed(text, n, typmod));
	}
}

Datum
cpii_sealed_send(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* sealed(phone) or sealed(2) */
Datum
cpii_sealed_typmod_in(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *elems;
	int			n;
	char	   *name;
	char	   *end;
	long		number;

	deconstruct_array(array, CSTRINGOID, -2, false, TYPALIGN_CHAR,
					  &elems, NULL, &n);
	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type \"sealed\" takes one data class")));
	name = DatumGetCString(elems[0]);
	errno = 0;
	number = strtol(name, &end, 10);
	if (*name != '\0' && *end == '\0')
	{
		/* numbers of classes that are not loaded yet must restore */
		if (errno != 0 || !cpii_class_is_sealed(number))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("data class number must be between 1 and %d, or %d and %d",
							CPII_CLASS_LAST_SEALED, CPII_CLASS_FIRST_CUSTOM,
							CPII_CLASS_LAST_CUSTOM)));
	}
	else
	{
		number = cpii_class_by_name_or_error(name);
		if (!cpii_class_is_sealed(number))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("columns of class \"%s\" are not sealed", name)));
	}
	PG_RETURN_INT32((int32) number);
}

Datum
cpii_sealed_typmod_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(psprintf("(%d)", PG_GETARG_INT32(0)));
}

/*
 * sealed_coerce(sealed, int4, bool): the length coercion.  A token becomes a
 * value, a value of the class passes, everything else is refused.
 */
Datum
cpii_sealed_coerce(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	int32		typmod = PG_GETARG_INT32(1);
	CpiiEnvelope env;

	if (typmod <= 0)
		PG_RETURN_BYTEA_P(value);
	cpii_parse_or_damaged(value, &env);
	if (env.flags & CPII_FLAG_TOKEN)
		PG_RETURN_BYTEA_P(token_to_value(&env, typmod));
	check_stored_form((const unsigned char *) VARDATA_ANY(value),
					  VARSIZE_ANY_EXHDR(value), typmod);
	PG_RETURN_BYTEA_P(value);
}

/* seal(text, int4, bool): the cast from text and varchar */
Datum
cpii_seal_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BYTEA_P(text_to_sealed(VARDATA_ANY(value),
									 VARSIZE_ANY_EXHDR(value),
									 PG_GETARG_INT32(1)));
}

/* seal(character, int4, bool): padding is no part of the value */
Datum
cpii_seal_bpchar(PG_FUNCTION_ARGS)
{
	BpChar	   *value = PG_GETARG_BPCHAR_PP(0);

	PG_RETURN_BYTEA_P(text_to_sealed(VARDATA_ANY(value),
									 bpchartruelen(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)),
									 PG_GETARG_INT32(1)));
}

/*
 * seal_existing(text, class int4): for protect_column only.  Takes what a
 * table already holds, texts that look masked included: refusing them would
 * lose data.
 */
Datum
cpii_seal_existing(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	int32		class_id = PG_GETARG_INT32(1);
	size_t		len;
	char	   *utf8;

	cpii_require_preload();
	if (cpii_existing_probe_hook)
		cpii_existing_probe_hook(class_id);
	utf8 = cpii_to_utf8(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &len);
	PG_RETURN_BYTEA_P(cpii_seal_value(class_id, utf8, len));
}
