/*-------------------------------------------------------------------------
 *
 * tail.c
 *	  Search by the last four characters: the tag in a value's header, and what
 *	  to compare it with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"
#include "sealed/search.h"

PG_FUNCTION_INFO_V1(cpii_tail4);
PG_FUNCTION_INFO_V1(cpii_tail4_text);
PG_FUNCTION_INFO_V1(cpii_tail4_of);
CPII_EXPORT Datum cpii_tail4(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_tail4_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_tail4_of(PG_FUNCTION_ARGS);

/* tail4(sealed): from the header alone, so that an index needs no key */
Datum
cpii_tail4(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	CpiiEnvelope env;

	if (!cpii_envelope_parse((unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), &env) ||
		env.tail == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT32((int32) ((uint32) env.tail[0] << 24 |
							 (uint32) env.tail[1] << 16 |
							 (uint32) env.tail[2] << 8 | (uint32) env.tail[3]));
}

/*
 * tail4(text): stands for tail4() of the real value behind a masked view's
 * column; the planner hook puts that in where it is compared with tail4_of().
 */
Datum
cpii_tail4_text(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("tail4() of a text can only be compared with tail4_of()"),
			 errdetail("The text must be a protected column of a masked view.")));
	PG_RETURN_NULL();
}

/* the last input of this call site of tail4_of, and its result */
typedef struct TailCache
{
	int			class_id;
	Size		inlen;
	char	   *in;
	int32		result;
} TailCache;

/*
 * tail4_of(class, tail): what to compare tail4() with.  A probe for each
 * distinct input of a call site, not for each row that a filter looks at.
 */
Datum
cpii_tail4_of(PG_FUNCTION_ARGS)
{
	TailCache  *cache = fcinfo->flinfo->fn_extra;
	int			class_id;
	text	   *tail;
	Size		tail_len;
	size_t		len;
	char	   *utf8;

	/* some value, which costs no probe and estimates tell nothing of */
	if (cpii_planning_depth > 0)
		PG_RETURN_INT32(0);
	cpii_require_preload();
	class_id = cpii_class_by_name_or_error(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	tail = PG_GETARG_TEXT_PP(1);
	tail_len = VARSIZE_ANY_EXHDR(tail);
	if (cache != NULL && cache->class_id == class_id &&
		cache->inlen == tail_len &&
		memcmp(cache->in, VARDATA_ANY(tail), tail_len) == 0)
		PG_RETURN_INT32(cache->result);
	if (cpii_search_probe_hook)
		cpii_search_probe_hook(class_id, false, NULL, 0);
	utf8 = cpii_to_utf8(VARDATA_ANY(tail), tail_len, &len);
	if (cache == NULL)
		cache = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(TailCache));
	else
	{
		cpii_wipe(cache->in, cache->inlen);
		pfree(cache->in);
	}
	/* never a half-filled entry, should the key not be available */
	cache->class_id = 0;
	cache->inlen = tail_len;
	cache->in = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, Max(tail_len, 1));
	memcpy(cache->in, VARDATA_ANY(tail), tail_len);
	cache->result = cpii_seal_tail(class_id, utf8, len);
	cache->class_id = class_id;
	PG_RETURN_INT32(cache->result);
}
