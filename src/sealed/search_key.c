/*-------------------------------------------------------------------------
 *
 * search_key.c
 *	  What an index or a filter is searched with: search_key, search_keys.
 *
 * A search key is the tag that a value of this text has; where the tags of a
 * class differ from epoch to epoch there is one for each.  Making it is a
 * probe: it is counted, and the permission checked, here, once per distinct
 * input of a plan node and never while planning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_search_key_sealed);
PG_FUNCTION_INFO_V1(cpii_search_key_text);
PG_FUNCTION_INFO_V1(cpii_search_keys_sealed);
PG_FUNCTION_INFO_V1(cpii_search_keys_text);
CPII_EXPORT Datum cpii_search_key_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_key_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_keys_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_keys_text(PG_FUNCTION_ARGS);

/* all keys to look for: one, or one for each epoch; a probe in any case */
static List *
search_keys_of_text(text *value, int class_id, bool through_view)
{
	size_t		len;
	char	   *utf8;

	utf8 = cpii_to_utf8(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &len);
	if (cpii_search_probe_hook)
		cpii_search_probe_hook(class_id, through_view, utf8, len);
	return cpii_seal_search_keys(class_id, utf8, len);
}

static List *
search_keys_of_sealed(bytea *value, int class_id)
{
	CpiiEnvelope env;
	List	   *keys;
	size_t		len;
	char	   *text;

	cpii_parse_or_damaged(value, &env);
	if (!(env.flags & CPII_FLAG_TOKEN))
		return list_make1(value);
	text = cpii_open(&env, &len);
	if (cpii_search_probe_hook)
		cpii_search_probe_hook(class_id, false, text, len);
	keys = cpii_seal_search_keys(class_id, text, len);
	cpii_wipe(text, len);
	pfree(text);
	return keys;
}

/*
 * The last input and result of this call site, so that a filter evaluated for
 * every row counts one probe, not one per row.
 */
typedef struct KeyCache
{
	int			class_id;
	Size		inlen;
	char	   *in;
	Datum		result;
} KeyCache;

static bool
cached_key(FunctionCallInfo fcinfo, const void *in, Size inlen, int class_id,
		   Datum *result)
{
	KeyCache   *cache = fcinfo->flinfo->fn_extra;

	if (cache != NULL && cache->class_id == class_id &&
		cache->inlen == inlen && memcmp(cache->in, in, inlen) == 0)
	{
		*result = cache->result;
		return true;
	}
	return false;
}

/* keep a copy of input and result in the call site's context */
static Datum
keep_key(FunctionCallInfo fcinfo, const void *in, Size inlen, int class_id,
		 void *result)
{
	KeyCache   *cache = fcinfo->flinfo->fn_extra;
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	void	   *copy = palloc(VARSIZE_ANY(result));

	memcpy(copy, result, VARSIZE_ANY(result));
	if (cache == NULL)
		cache = fcinfo->flinfo->fn_extra = palloc0(sizeof(KeyCache));
	else
	{
		/* the old result may still be referenced by the caller's expression */
		cpii_wipe(cache->in, cache->inlen);
		pfree(cache->in);
	}
	cache->in = palloc(Max(inlen, 1));
	memcpy(cache->in, in, inlen);
	cache->inlen = inlen;
	cache->class_id = class_id;
	cache->result = PointerGetDatum(copy);
	MemoryContextSwitchTo(old);
	return cache->result;
}

/* search_key(value, class) of a token or value, or of a text with its origin */
static Datum
search_key(FunctionCallInfo fcinfo, bool from_text)
{
	bytea	   *value;
	int			class_id = PG_GETARG_INT32(1);
	Datum		result;

	if (cpii_planning_depth > 0)
		PG_RETURN_NULL();
	value = PG_GETARG_BYTEA_PP(0);
	if (cached_key(fcinfo, value, VARSIZE_ANY(value), class_id, &result))
		return result;
	return keep_key(fcinfo, value, VARSIZE_ANY(value), class_id,
					linitial(from_text ?
							 search_keys_of_text((text *) value, class_id, PG_GETARG_BOOL(2)) :
							 search_keys_of_sealed(value, class_id)));
}

Datum
cpii_search_key_sealed(PG_FUNCTION_ARGS)
{
	return search_key(fcinfo, false);
}

Datum
cpii_search_key_text(PG_FUNCTION_ARGS)
{
	return search_key(fcinfo, true);
}

/* an array of the same length that costs no probe, for estimates only */
static ArrayType *
estimate_array(int n)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));
	bytea	   *dummy = palloc0(VARHDRSZ + cpii_envelope_size(CPII_FLAG_SEARCH | CPII_FLAG_TAG, 0));

	SET_VARSIZE(dummy, VARHDRSZ + cpii_envelope_size(CPII_FLAG_SEARCH | CPII_FLAG_TAG, 0));
	for (int i = 0; i < n; i++)
		elems[i] = PointerGetDatum(dummy);
	return construct_array(elems, n, cpii_sealed_type(), -1, false, TYPALIGN_INT);
}

static Datum
search_keys(FunctionCallInfo fcinfo, bool from_text)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			class_id = PG_GETARG_INT32(1);
	Datum	   *elems;
	bool	   *nulls;
	List	   *keys = NIL;
	Datum		cached;
	int			n;
	int			lower = 1;

	deconstruct_array(array, from_text ? TEXTOID : ARR_ELEMTYPE(array), -1,
					  false, TYPALIGN_INT, &elems, &nulls, &n);
	if (cpii_planning_depth > 0)
		PG_RETURN_ARRAYTYPE_P(estimate_array(n));
	if (cached_key(fcinfo, array, VARSIZE(array), class_id, &cached))
		return cached;

	/* nulls stay: "x <> ALL" must be unknown with one */
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			keys = lappend(keys, NULL);
		else if (from_text)
			keys = list_concat(keys, search_keys_of_text(DatumGetTextPP(elems[i]), class_id,
														 PG_GETARG_BOOL(2)));
		else
			keys = list_concat(keys, search_keys_of_sealed(DatumGetByteaPP(elems[i]), class_id));
	}
	n = list_length(keys);
	elems = palloc(sizeof(Datum) * Max(n, 1));
	nulls = palloc(sizeof(bool) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		elems[i] = PointerGetDatum(list_nth(keys, i));
		nulls[i] = list_nth(keys, i) == NULL;
	}
	return keep_key(fcinfo, array, VARSIZE(array), class_id,
					construct_md_array(elems, nulls, 1, &n, &lower,
									   cpii_sealed_type(), -1, false,
									   TYPALIGN_INT));
}

Datum
cpii_search_keys_sealed(PG_FUNCTION_ARGS)
{
	return search_keys(fcinfo, false);
}

Datum
cpii_search_keys_text(PG_FUNCTION_ARGS)
{
	return search_keys(fcinfo, true);
}
