/*-------------------------------------------------------------------------
 *
 * show.c
 *	  The one door: the only place where clear text comes out.
 *
 * Everything that shows a sealed value goes through cpii_show(): masked views,
 * the cast to text, the function show().  The order is fixed: decide what this
 * person may see, count it against the statement's account (which may refuse),
 * then open the value.  Search by real value asks here for permission too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "audit/statement.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/keyring.h"
#include "mask/mask.h"
#include "policy/catalog.h"
#include "policy/show.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"

/* literals that a person without search permission may seal in one statement */
#define LITERALS_WITHOUT_SEARCH 20

/* length of a pseudonym after its mark */
#define TOKEN_DIGITS 16

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

/* UTF-8 to a text of the server encoding */
static text *
to_text(const char *utf8, size_t len)
{
	size_t		slen;
	char	   *server = cpii_from_utf8(utf8, len, &slen);

	return cstring_to_text_with_len(server, (int) slen);
}

static text *
show_clear(const CpiiEnvelope *env)
{
	size_t		len;
	char	   *plain = cpii_open(env, &len);
	text	   *result = to_text(plain, len);

	cpii_wipe(plain, len);
	pfree(plain);
	return result;
}

static text *
show_masked(const CpiiEnvelope *env, CpiiMaskForm form)
{
	size_t		len;
	char	   *plain = cpii_open(env, &len);
	char	   *masked = palloc(cpii_mask_bound(len));
	size_t		mlen = cpii_mask(env->class_id, form, plain, len, masked);

	cpii_wipe(plain, len);
	pfree(plain);
	return to_text(masked, mlen);
}

/*
 * A stable pseudonym: the same for equal values of a class, joinable, not
 * reversible without the key.
 */
static text *
show_token(const CpiiEnvelope *env)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	unsigned char mac[CPII_MAC_LEN];
	char		out[1 + TOKEN_DIGITS];
	CpiiMac    *key = cpii_keyring_mac(env->class_id, CPII_MAC_TOKEN);
	bool		ok;

	if (env->tag != NULL)
		ok = cpii_mac(key, env->tag, CPII_SEARCH_TAG_LEN, mac);
	else
	{
		size_t		len;
		char	   *plain = cpii_open(env, &len);
		char	   *normal = palloc(CPII_NORMALISE_BOUND(len));
		size_t		nlen = cpii_normalise(env->class_id, plain, len, normal);

		ok = cpii_mac(key, (unsigned char *) normal, nlen, mac);
		cpii_wipe(plain, len);
		cpii_wipe(normal, nlen);
	}
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	out[0] = '~';
	for (int i = 0; i < TOKEN_DIGITS; i++)
		out[1 + i] = digits[mac[i] & 31];
	return cstring_to_text_with_len(out, sizeof(out));
}

text *
cpii_show(bytea *value, Oid relid, AttrNumber attnum, bool in_scope)
{
	CpiiEnvelope env;
	CpiiLevel	level;

	cpii_require_preload();
	cpii_parse_or_damaged(value, &env);
	if (env.flags & (CPII_FLAG_TOKEN | CPII_FLAG_SEARCH))
		return cstring_to_text(CPII_HIDDEN_TEXT);

	level = cpii_matrix_shown(cpii_policy_level(env.class_id, relid, attnum),
							  in_scope, cpii_statement.no_clear);
	if (level == CPII_LEVEL_CLEAR)
	{
		cpii_statement_disclose(env.class_id);
		return show_clear(&env);
	}
	cpii_statement_mask(env.class_id);
	switch (level)
	{
		case CPII_LEVEL_MASKED:
			return show_masked(&env, CPII_FORM_MASKED);
		case CPII_LEVEL_LABEL:
			return show_masked(&env, CPII_FORM_LABEL);
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

/* args: value, regclass, int2, bool in scope, text unit; clear or not? */
static bool
native_is_clear(FunctionCallInfo fcinfo, int class_id, bool *hidden)
{
	CpiiLevel	level;

	cpii_require_preload();
	level = cpii_policy_level(class_id,
							  PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1),
							  PG_ARGISNULL(2) ? InvalidAttrNumber : PG_GETARG_INT16(2));
	level = cpii_matrix_shown(level, !PG_ARGISNULL(3) && PG_GETARG_BOOL(3), false);
	*hidden = level == CPII_LEVEL_HIDDEN;
	return level == CPII_LEVEL_CLEAR;
}

Datum
cpii_show_time(PG_FUNCTION_ARGS)
{
	bool		hidden;

	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (native_is_clear(fcinfo, CPII_CLASS_TIME, &hidden))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (hidden)
		PG_RETURN_NULL();
	return DirectFunctionCall2(timestamptz_trunc, PG_GETARG_DATUM(4),
							   PG_GETARG_DATUM(0));
}

Datum
cpii_show_timestamp(PG_FUNCTION_ARGS)
{
	bool		hidden;

	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (native_is_clear(fcinfo, CPII_CLASS_TIME, &hidden))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (hidden)
		PG_RETURN_NULL();
	return DirectFunctionCall2(timestamp_trunc, PG_GETARG_DATUM(4),
							   PG_GETARG_DATUM(0));
}

Datum
cpii_show_date(PG_FUNCTION_ARGS)
{
	bool		hidden;
	Datum		day;

	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (native_is_clear(fcinfo, CPII_CLASS_TIME, &hidden))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (hidden)
		PG_RETURN_NULL();
	day = DirectFunctionCall1(date_timestamp, PG_GETARG_DATUM(0));
	day = DirectFunctionCall2(timestamp_trunc, PG_GETARG_DATUM(4), day);
	return DirectFunctionCall1(timestamp_date, day);
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
	bool		hidden;

	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (native_is_clear(fcinfo, CPII_CLASS_REGION, &hidden))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (hidden)
		PG_RETURN_NULL();
	PG_RETURN_INT32(coarse_region(PG_GETARG_INT32(0)));
}

Datum
cpii_show_regions(PG_FUNCTION_ARGS)
{
	bool		hidden;
	ArrayType  *in;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(0) || cpii_planning_depth > 0)
		PG_RETURN_NULL();
	if (native_is_clear(fcinfo, CPII_CLASS_REGION, &hidden))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (hidden)
		PG_RETURN_NULL();
	in = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(in, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &elems, &nulls, &n);
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

Datum
cpii_effective_disclosures(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int class_id = CPII_CLASS_FIRST; class_id <= CPII_CLASS_LAST; class_id++)
	{
		Datum		values[4];
		bool		nulls[4] = {0};

		values[0] = CStringGetTextDatum(cpii_class_table[class_id].name);
		values[1] = CStringGetTextDatum(cpii_level_name(cpii_policy_level(class_id, InvalidOid, InvalidAttrNumber)));
		values[2] = BoolGetDatum(cpii_policy_searchable(class_id));
		values[3] = CStringGetTextDatum(cpii_policy_reason(class_id));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- search ---- */

/* a superuser who logged in as such sets the database up until duties are sealed */
static bool
setting_up(void)
{
	return superuser_arg(cpii_session_actor()->login);
}

/*
 * A search by real value.  Through a masked view the permission is asked of
 * everybody; on a base table a superuser may search while setting up.
 */
static void
search_probe(int class_id, bool through_view)
{
	if (cpii_internal_depth > 0)
		return;
	cpii_require_preload();
	if (!cpii_policy_searchable(class_id) &&
		(through_view || !setting_up()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to search values of class \"%s\"",
						cpii_class_name(class_id)),
				 errhint("Ask a security administrator for a disclosure that is searchable.")));
	cpii_statement_probe(class_id);
}

/* a literal becomes a value: free in a plain write, else a probe */
static void
literal_probe(int class_id)
{
	/* parameters are bound before their statement runs: its search counts */
	if (cpii_internal_depth > 0 || !cpii_statement.open ||
		cpii_statement.writing)
		return;
	if (cpii_statement.probes >= LITERALS_WITHOUT_SEARCH &&
		!cpii_policy_searchable(class_id))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("search limit reached"),
				 errdetail("More than %d literals were sealed outside a plain write without search permission.",
						   LITERALS_WITHOUT_SEARCH)));
	cpii_statement_probe(class_id);
}

void
cpii_show_init(void)
{
	cpii_search_probe_hook = search_probe;
	cpii_literal_probe_hook = literal_probe;
}
