/*-------------------------------------------------------------------------
 *
 * operators.c
 *	  Comparison and hashing of sealed values.
 *
 * The btree and hash support functions are total: they never raise and need
 * no key.  "=" alone knows query tokens, for places where the planner could
 * not turn them into search keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "sealed/seal.h"
#include "sealed/search.h"

PG_FUNCTION_INFO_V1(cpii_sealed_eq);
PG_FUNCTION_INFO_V1(cpii_sealed_ne);
PG_FUNCTION_INFO_V1(cpii_sealed_lt);
PG_FUNCTION_INFO_V1(cpii_sealed_le);
PG_FUNCTION_INFO_V1(cpii_sealed_gt);
PG_FUNCTION_INFO_V1(cpii_sealed_ge);
PG_FUNCTION_INFO_V1(cpii_sealed_cmp);
PG_FUNCTION_INFO_V1(cpii_sealed_hash);
PG_FUNCTION_INFO_V1(cpii_sealed_hash_extended);
PG_FUNCTION_INFO_V1(cpii_sealed_eq_text);
PG_FUNCTION_INFO_V1(cpii_sealed_ne_text);
PG_FUNCTION_INFO_V1(cpii_text_eq_sealed);
PG_FUNCTION_INFO_V1(cpii_text_ne_sealed);
CPII_EXPORT Datum cpii_sealed_eq(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_ne(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_lt(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_le(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_gt(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_ge(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_cmp(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_hash(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_hash_extended(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_eq_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_ne_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_text_eq_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_text_ne_sealed(PG_FUNCTION_ARGS);

#define BYTES(v) ((const unsigned char *) VARDATA_ANY(v))
#define NBYTES(v) VARSIZE_ANY_EXHDR(v)

static int
compare(FunctionCallInfo fcinfo)
{
	bytea	   *a = PG_GETARG_BYTEA_PP(0);
	bytea	   *b = PG_GETARG_BYTEA_PP(1);

	return cpii_envelope_compare(BYTES(a), NBYTES(a), BYTES(b), NBYTES(b));
}

static bool
is_token(bytea *v)
{
	return NBYTES(v) > 1 && (BYTES(v)[1] & CPII_FLAG_TOKEN);
}

typedef struct TokenCache
{
	int			class_id;
	int			epoch;			/* of the tags, see cpii_keyring_tag_epoch */
	Size		inlen;
	char	   *in;				/* the token or text */
	bytea	   *key;
} TokenCache;

static int
class_of(bytea *v)
{
	return NBYTES(v) >= 4 ? (BYTES(v)[2] << 8 | BYTES(v)[3]) : 0;
}

static int
epoch_of(bytea *v)
{
	return NBYTES(v) >= 6 ? (BYTES(v)[4] << 8 | BYTES(v)[5]) : 0;
}

/*
 * The search key for a token or text met at run time, kept at the call site
 * while the other side's rows go by.  One probe, also when they are of epochs
 * whose tags differ.
 */
static bytea *
runtime_key(FunctionCallInfo fcinfo, const void *in, Size inlen, bool text_input,
			bytea *value)
{
	TokenCache *cache = fcinfo->flinfo->fn_extra;
	int			class_id = class_of(value);
	int			epoch = cpii_keyring_tag_epoch(class_id, epoch_of(value));
	MemoryContext old;
	bytea	   *key;
	bool		same;

	same = cache != NULL && cache->class_id == class_id &&
		cache->inlen == inlen && memcmp(cache->in, in, inlen) == 0;
	if (same && cache->epoch == epoch)
		return cache->key;

	if (text_input)
	{
		size_t		len;
		char	   *utf8 = cpii_to_utf8(in, inlen, &len);

		if (cpii_search_probe_hook && !same)
			cpii_search_probe_hook(class_id, false, utf8, len);
		key = cpii_seal_search_key(class_id, epoch, utf8, len);
	}
	else
	{
		CpiiEnvelope env;
		size_t		len;
		char	   *text;

		if (!cpii_envelope_parse(in, inlen, &env))
			cpii_report_damaged();
		text = cpii_open(&env, &len);
		if (cpii_search_probe_hook && !same)
			cpii_search_probe_hook(class_id, false, text, len);
		key = cpii_seal_search_key(class_id, epoch, text, len);
		cpii_wipe(text, len);
		pfree(text);
	}

	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	if (cache == NULL)
		cache = fcinfo->flinfo->fn_extra = palloc0(sizeof(TokenCache));
	else
	{
		pfree(cache->in);
		pfree(cache->key);
	}
	cache->class_id = class_id;
	cache->epoch = epoch;
	cache->in = palloc(Max(inlen, 1));
	memcpy(cache->in, in, inlen);
	cache->inlen = inlen;
	cache->key = palloc(VARSIZE_ANY(key));
	memcpy(cache->key, key, VARSIZE_ANY(key));
	MemoryContextSwitchTo(old);
	return cache->key;
}

static bool
sealed_equal(FunctionCallInfo fcinfo)
{
	bytea	   *a = PG_GETARG_BYTEA_PP(0);
	bytea	   *b = PG_GETARG_BYTEA_PP(1);

	if (is_token(a) != is_token(b))
	{
		bytea	   *token = is_token(a) ? a : b;
		bytea	   *value = is_token(a) ? b : a;

		if (cpii_planning_depth > 0)
			return false;
		a = value;
		b = runtime_key(fcinfo, BYTES(token), NBYTES(token), false,
						value);
	}
	else if (is_token(a))
	{
		/* two literals of no class: equal when their texts are */
		CpiiEnvelope ea;
		CpiiEnvelope eb;
		size_t		alen;
		size_t		blen;
		char	   *atext;
		char	   *btext;

		if (NBYTES(a) != NBYTES(b))
			return false;
		cpii_parse_or_damaged(a, &ea);
		cpii_parse_or_damaged(b, &eb);
		atext = cpii_open(&ea, &alen);
		btext = cpii_open(&eb, &blen);
		return alen == blen && memcmp(atext, btext, alen) == 0;
	}
	return cpii_envelope_compare(BYTES(a), NBYTES(a), BYTES(b), NBYTES(b)) == 0;
}

Datum
cpii_sealed_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sealed_equal(fcinfo));
}

Datum
cpii_sealed_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!sealed_equal(fcinfo));
}

Datum
cpii_sealed_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
cpii_sealed_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
cpii_sealed_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
cpii_sealed_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
cpii_sealed_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

Datum
cpii_sealed_hash(PG_FUNCTION_ARGS)
{
	bytea	   *v = PG_GETARG_BYTEA_PP(0);
	const unsigned char *id;
	size_t		len;
	int			class_id;

	cpii_envelope_identity(BYTES(v), NBYTES(v), &id, &len, &class_id);
	return hash_any(id, (int) len);
}

Datum
cpii_sealed_hash_extended(PG_FUNCTION_ARGS)
{
	bytea	   *v = PG_GETARG_BYTEA_PP(0);
	const unsigned char *id;
	size_t		len;
	int			class_id;

	cpii_envelope_identity(BYTES(v), NBYTES(v), &id, &len, &class_id);
	return hash_any_extended(id, (int) len, PG_GETARG_INT64(1));
}

static bool
equal_text(FunctionCallInfo fcinfo, bytea *value, text *other)
{
	bytea	   *key;

	if (cpii_planning_depth > 0)
		return false;
	if (is_token(value))
	{
		CpiiEnvelope env;
		size_t		len;
		size_t		tlen;
		char	   *opened;
		char	   *utf8;

		cpii_parse_or_damaged(value, &env);
		opened = cpii_open(&env, &len);
		utf8 = cpii_to_utf8(VARDATA_ANY(other), VARSIZE_ANY_EXHDR(other), &tlen);
		return len == tlen && memcmp(opened, utf8, len) == 0;
	}
	key = runtime_key(fcinfo, VARDATA_ANY(other), VARSIZE_ANY_EXHDR(other),
					  true, value);
	return cpii_envelope_compare(BYTES(value), NBYTES(value),
								 BYTES(key), NBYTES(key)) == 0;
}

Datum
cpii_sealed_eq_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_text(fcinfo, PG_GETARG_BYTEA_PP(0), PG_GETARG_TEXT_PP(1)));
}

Datum
cpii_sealed_ne_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_text(fcinfo, PG_GETARG_BYTEA_PP(0), PG_GETARG_TEXT_PP(1)));
}

Datum
cpii_text_eq_sealed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_text(fcinfo, PG_GETARG_BYTEA_PP(1), PG_GETARG_TEXT_PP(0)));
}

Datum
cpii_text_ne_sealed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_text(fcinfo, PG_GETARG_BYTEA_PP(1), PG_GETARG_TEXT_PP(0)));
}
