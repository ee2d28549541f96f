/*-------------------------------------------------------------------------
 *
 * show.c
 *	  The one door: the only place where clear text comes out.
 *
 * Everything that shows a sealed value goes through cpii_show(): masked views,
 * the cast to text, the function show().  The order is fixed: decide what this
 * person may see, count it against the statement's account (which may refuse),
 * then open the value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "audit/statement.h"
#include "audit/subject.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "crypto/keyring.h"
#include "mask/mask.h"
#include "policy/canary.h"
#include "policy/catalog.h"
#include "policy/probe.h"
#include "policy/show.h"
#include "policy/shown_cache.h"
#include "sealed/custom_class.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"

/* room for all but long texts */
#define MASK_BUFFER 512

PG_FUNCTION_INFO_V1(cpii_show_value);
PG_FUNCTION_INFO_V1(cpii_show_column);
PG_FUNCTION_INFO_V1(cpii_show_time);
PG_FUNCTION_INFO_V1(cpii_show_timestamp);
PG_FUNCTION_INFO_V1(cpii_show_date);
PG_FUNCTION_INFO_V1(cpii_show_region);
PG_FUNCTION_INFO_V1(cpii_show_regions);
PG_FUNCTION_INFO_V1(cpii_acts_as);
PG_FUNCTION_INFO_V1(cpii_effective_disclosures);
CPII_EXPORT Datum cpii_show_value(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_column(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_time(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_timestamp(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_date(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_region(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_show_regions(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_acts_as(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_effective_disclosures(PG_FUNCTION_ARGS);

/*
 * UTF-8 to a text of the server encoding.  What a value holds was checked when
 * it was sealed, and masks write nothing else, so UTF-8 needs no check here.
 */
static text *
to_text(const char *utf8, size_t len)
{
	size_t		slen;
	char	   *server;

	if (GetDatabaseEncoding() == PG_UTF8)
		return cstring_to_text_with_len(utf8, (int) len);
	server = cpii_from_utf8(utf8, len, &slen);
	return cstring_to_text_with_len(server, (int) slen);
}

static text *
show_clear(const CpiiEnvelope *env)
{
	size_t		len;
	char	   *plain;
	text	   *result;

	/* the usual encoding: opened where it is returned, without a copy */
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		result = cpii_open_text(env);
		cpii_subject_shown(env->class_id, VARDATA(result), VARSIZE(result) - VARHDRSZ);
		return result;
	}
	plain = cpii_open(env, &len);
	result = to_text(plain, len);
	cpii_subject_shown(env->class_id, plain, len);
	cpii_wipe(plain, len);
	pfree(plain);
	return result;
}

/* the mask of any class; a company's own that is not registered is hidden */
static size_t
mask_value(int class_id, CpiiMaskForm form, const char *in, size_t inlen,
		   char *out)
{
	const CpiiCustomClass *custom;

	if (!cpii_class_is_custom(class_id))
		return cpii_mask(class_id, form, in, inlen, out);
	custom = cpii_custom_class(class_id);
	return custom == NULL ? cpii_mask(class_id, form, in, inlen, out) :
		cpii_mask_profile(&custom->mask, form, in, inlen, out);
}

/*
 * Are masks of the running statement looked for among those that the session
 * keeps?  Not when it has shown more than there is room for: it reads past.
 */
static inline bool
remembers(int class_id)
{
	/* a company may change its own masks: those are always worked out */
	return cpii_class_is_builtin(class_id) &&
		cpii_statement.masked <= cpii_shown_room();
}

static text *
show_masked(const bytea *value, const CpiiEnvelope *env, CpiiMaskForm form)
{
	char		small[MASK_BUFFER];
	char	   *plain = small;
	size_t		len = env->ciphertextlen;
	bool		remember = remembers(env->class_id);
	text	   *result;

	if (remember)
	{
		/* no mask without the key, whatever is remembered */
		(void) cpii_keyring_open_cipher(env->class_id, env->epoch);
		result = cpii_shown_find(value, form);
		if (result != NULL)
			return result;
	}
	if (len > sizeof(small))
		plain = palloc(len);
	cpii_open_into(env, (unsigned char *) plain);
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		/* the usual encoding: written where it is returned */
		result = (text *) palloc(VARHDRSZ + cpii_mask_bound(len));
		SET_VARSIZE(result, VARHDRSZ + mask_value(env->class_id, form, plain, len,
												  VARDATA(result)));
	}
	else
	{
		char	   *masked = palloc(cpii_mask_bound(len));
		size_t		mlen = mask_value(env->class_id, form, plain, len, masked);

		result = to_text(masked, mlen);
		pfree(masked);
	}
	cpii_wipe(plain, len);
	if (plain != small)
		pfree(plain);
	if (remember)
		cpii_shown_keep(value, form, result);
	return result;
}

/*
 * Hash a value for the purpose that the session states: what is collected for
 * one purpose cannot be joined with what was collected for another.
 */
static bool
purpose_mac(CpiiMac *key, const unsigned char *in, size_t inlen,
			unsigned char mac[CPII_MAC_LEN])
{
	size_t		plen = cpii_purpose != NULL ? strlen(cpii_purpose) : 0;
	unsigned char *all;
	bool		ok;

	if (plen == 0)
		return cpii_mac(key, in, inlen, mac);
	/* no purpose holds a zero byte, so no two pairs read the same */
	all = palloc(plen + 1 + inlen);
	memcpy(all, cpii_purpose, plen + 1);
	memcpy(all + plen + 1, in, inlen);
	ok = cpii_mac(key, all, plen + 1 + inlen, mac);
	cpii_wipe(all, plen + 1 + inlen);
	pfree(all);
	return ok;
}

/*
 * A stable pseudonym: the same for equal values of a class and one purpose,
 * joinable, not reversible without the key.
 */
static text *
show_token(const CpiiEnvelope *env)
{
	static const char digits[] = CPII_TOKEN_DIGITS;
	unsigned char mac[CPII_MAC_LEN];
	char		out[CPII_TOKEN_LEN];
	CpiiMac    *key = cpii_keyring_mac(env->class_id, CPII_MAC_TOKEN, 0);
	bool		ok;

	if (env->tag != NULL)
		ok = purpose_mac(key, env->tag, CPII_SEARCH_TAG_LEN, mac);
	else
	{
		size_t		len;
		char	   *plain = cpii_open(env, &len);
		char	   *normal = palloc(CPII_NORMALISE_BOUND(len));
		size_t		nlen = cpii_normalise(env->class_id, plain, len, normal);

		ok = purpose_mac(key, (unsigned char *) normal, nlen, mac);
		cpii_wipe(plain, len);
		cpii_wipe(normal, nlen);
	}
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	out[0] = CPII_TOKEN_MARK;
	for (int i = 0; i < CPII_TOKEN_LEN - 1; i++)
		out[1 + i] = digits[mac[i] & 31];
	return cstring_to_text_with_len(out, sizeof(out));
}

text *
cpii_show(bytea *value, Oid relid, AttrNumber attnum, bool in_scope)
{
	CpiiEnvelope env;
	CpiiLevel	level;

	cpii_require_preload();
	if (unlikely(IsParallelWorker()))
		cpii_refuse_worker();
	cpii_parse_or_damaged(value, &env);
	if (env.flags & (CPII_FLAG_TOKEN | CPII_FLAG_SEARCH))
		return cstring_to_text(CPII_HIDDEN_TEXT);

	level = cpii_matrix_shown(cpii_policy_value_level(env.class_id, relid, attnum, value),
							  in_scope, cpii_statement.no_clear);
	if (level == CPII_LEVEL_CLEAR)
	{
		cpii_statement_disclose(env.class_id);
		cpii_canary_check(&env, true);
		return show_clear(&env);
	}
	cpii_statement_mask(env.class_id);
	cpii_canary_check(&env, false);
	switch (level)
	{
		case CPII_LEVEL_MASKED:
			return show_masked(value, &env, CPII_FORM_MASKED);
		case CPII_LEVEL_LABEL:
			return show_masked(value, &env, CPII_FORM_LABEL);
		case CPII_LEVEL_TOKEN:
			return show_token(&env);
		default:
			return cstring_to_text(CPII_HIDDEN_TEXT);
	}
}

/* show(sealed), also the cast to text */
Datum
cpii_show_value(PG_FUNCTION_ARGS)
{
	if (cpii_planning_depth > 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cpii_show(PG_GETARG_BYTEA_PP(0), InvalidOid,
							   InvalidAttrNumber, false));
}

/* does the call stand in a registered masked view? */
static bool
called_from_view(FunctionCallInfo fcinfo)
{
	Node	   *expr = fcinfo->flinfo ? fcinfo->flinfo->fn_expr : NULL;

	return expr != NULL && IsA(expr, FuncExpr) &&
		((FuncExpr *) expr)->location == CPII_VIEW_MARK;
}

/*
 * show_column(sealed, regclass, int2, bool): as masked views call it.  Not
 * strict: a row scope that is unknown is no scope.  Anybody may call it, but
 * only a masked view's call can say which column and scope it speaks of.
 */
Datum
cpii_show_column(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (!called_from_view(fcinfo))
		PG_RETURN_TEXT_P(cpii_show(PG_GETARG_BYTEA_PP(0), InvalidOid,
								   InvalidAttrNumber, false));
	PG_RETURN_TEXT_P(cpii_show(PG_GETARG_BYTEA_PP(0),
							   PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1),
							   PG_ARGISNULL(2) ? InvalidAttrNumber : PG_GETARG_INT16(2),
							   !PG_ARGISNULL(3) && PG_GETARG_BOOL(3)));
}

/* ---- native columns that a masked view coarsens ---- */

/*
 * args: value, regclass, int2, bool in scope, text unit.  True when the value
 * is to be made coarse; else the caller returns what is in fcinfo: the value
 * as it is, or null when it is hidden.
 */
static bool
is_coarse(FunctionCallInfo fcinfo, int class_id, Datum *shown)
{
	CpiiLevel	level;

	*shown = (Datum) 0;
	fcinfo->isnull = true;
	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		return false;
	cpii_require_preload();
	level = cpii_policy_level(class_id,
							  PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1),
							  PG_ARGISNULL(2) ? InvalidAttrNumber : PG_GETARG_INT16(2));
	level = cpii_matrix_shown(level, !PG_ARGISNULL(3) && PG_GETARG_BOOL(3), false);
	if (level == CPII_LEVEL_HIDDEN)
		return false;
	fcinfo->isnull = false;
	if (level != CPII_LEVEL_CLEAR)
		return true;
	*shown = PG_GETARG_DATUM(0);
	return false;
}

Datum
cpii_show_time(PG_FUNCTION_ARGS)
{
	Datum		shown;

	if (is_coarse(fcinfo, CPII_CLASS_TIME, &shown))
		shown = DirectFunctionCall2(timestamptz_trunc, PG_GETARG_DATUM(4),
									PG_GETARG_DATUM(0));
	return shown;
}

Datum
cpii_show_timestamp(PG_FUNCTION_ARGS)
{
	Datum		shown;

	if (is_coarse(fcinfo, CPII_CLASS_TIME, &shown))
		shown = DirectFunctionCall2(timestamp_trunc, PG_GETARG_DATUM(4),
									PG_GETARG_DATUM(0));
	return shown;
}

Datum
cpii_show_date(PG_FUNCTION_ARGS)
{
	Datum		shown;

	if (is_coarse(fcinfo, CPII_CLASS_TIME, &shown))
	{
		shown = DirectFunctionCall1(date_timestamp, PG_GETARG_DATUM(0));
		shown = DirectFunctionCall2(timestamp_trunc, PG_GETARG_DATUM(4), shown);
		shown = DirectFunctionCall1(timestamp_date, shown);
	}
	return shown;
}

/* codes of six digits (GB/T 2260): keep the province */
static int32
coarse_region(int32 code)
{
	if (code >= 100000 && code <= 999999)
		return code / 10000 * 10000;
	return 0;
}

Datum
cpii_show_region(PG_FUNCTION_ARGS)
{
	Datum		shown;

	if (is_coarse(fcinfo, CPII_CLASS_REGION, &shown))
		shown = Int32GetDatum(coarse_region(PG_GETARG_INT32(0)));
	return shown;
}

Datum
cpii_show_regions(PG_FUNCTION_ARGS)
{
	Datum		shown;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	if (!is_coarse(fcinfo, CPII_CLASS_REGION, &shown))
		return shown;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &elems, &nulls, &n);
	/* the first code is the province; finer ones go */
	if (n > 0 && !nulls[0])
		elems[0] = Int32GetDatum(coarse_region(DatumGetInt32(elems[0])));
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, (n > 0 && !nulls[0]) ? 1 : 0,
										  INT4OID, sizeof(int32), true,
										  TYPALIGN_INT));
}

/* ---- roles of the person ---- */

/* acts_as(name): is the person acting in this role? */
Datum
cpii_acts_as(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);

	cpii_require_preload();
	PG_RETURN_BOOL(cpii_policy_acts_as(role));
}

static void
put_disclosure(ReturnSetInfo *rsinfo, int class_id, const char *name)
{
	Datum		values[4];
	bool		nulls[4] = {0};

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(cpii_level_name(cpii_policy_level(class_id, InvalidOid, InvalidAttrNumber)));
	values[2] = BoolGetDatum(cpii_policy_searchable(class_id));
	values[3] = CStringGetTextDatum(cpii_policy_reason(class_id));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
cpii_effective_disclosures(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const CpiiCustomClass *custom;
	int			ncustom;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int class_id = CPII_CLASS_FIRST; class_id <= CPII_CLASS_LAST; class_id++)
		put_disclosure(rsinfo, class_id, cpii_class_table[class_id].name);
	custom = cpii_custom_classes(&ncustom);
	for (int i = 0; i < ncustom; i++)
		put_disclosure(rsinfo, custom[i].class_id, custom[i].name);
	return (Datum) 0;
}
