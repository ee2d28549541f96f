/*-------------------------------------------------------------------------
 *
 * search.c
 *	  Search by real value: search keys, planner support, tail tags.
 *
 * "column = literal" reaches us as sealed = token.  The support function turns
 * it into "column = search_key(token, class)", which an index can use because
 * search_key is stable.  A probe is counted and the permission checked when
 * search_key runs, once per distinct input of a plan node, never while
 * planning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"
#include "sealed/search.h"

PG_FUNCTION_INFO_V1(cpii_search_key_sealed);
PG_FUNCTION_INFO_V1(cpii_search_key_text);
PG_FUNCTION_INFO_V1(cpii_search_keys_sealed);
PG_FUNCTION_INFO_V1(cpii_search_keys_text);
PG_FUNCTION_INFO_V1(cpii_sealed_eq_support);
PG_FUNCTION_INFO_V1(cpii_sealed_eqsel);
CPII_EXPORT Datum cpii_search_key_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_key_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_keys_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_keys_text(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_eq_support(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_sealed_eqsel(PG_FUNCTION_ARGS);

/* ---- OIDs ---- */

static CpiiOids oids;
static bool oids_valid = false;
static bool callback_registered = false;

static void
objects_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	oids_valid = false;
}

static Oid
our_function(const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString("courier_pii"),
									 makeString(pstrdup(name))),
						  nargs, types, true);
}

static void
add_quiet(Oid function)
{
	if (OidIsValid(function) && oids.nquiet < CPII_MAX_QUIET)
		oids.quiet[oids.nquiet++] =
			GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function));
}

static void
fill_quiet(void)
{
	static const char *const plain[] = {
		"actor_staff_no", "actor_login", "actor_org", "actor_client"
	};
	static const struct
	{
		const char *name;
		Oid			type;
	}			native[] =
	{
		{"show_time", TIMESTAMPTZOID},
		{"show_timestamp", TIMESTAMPOID},
		{"show_date", DATEOID},
		{"show_region", INT4OID},
		{"show_regions", INT4ARRAYOID},
	};
	Oid			args[5] = {InvalidOid, REGCLASSOID, INT2OID, BOOLOID, TEXTOID};

	add_quiet(oids.eq_function);
	add_quiet(oids.search_key_sealed);
	add_quiet(oids.search_key_text);
	add_quiet(oids.search_keys_sealed);
	add_quiet(oids.search_keys_text);
	add_quiet(oids.show);
	add_quiet(oids.show_column);
	add_quiet(oids.acts_as);
	for (int i = 0; i < lengthof(plain); i++)
		add_quiet(our_function(plain[i], 0, args));
	for (int i = 0; i < lengthof(native); i++)
	{
		args[0] = native[i].type;
		add_quiet(our_function(native[i].name, 5, args));
	}
	args[0] = TEXTOID;
	add_quiet(our_function("org_within", 1, args));
	args[0] = oids.sealed_array;
	oids.search_tags = our_function("search_tags", 1, args);
	args[0] = oids.sealed;
	oids.search_tag = our_function("search_tag", 1, args);
	oids.tail4 = our_function("tail4", 1, args);
	args[0] = args[1] = TEXTOID;
	oids.tail4_text = our_function("tail4", 1, args);
	oids.tail4_of = our_function("tail4_of", 2, args);
	add_quiet(oids.search_tag);
	add_quiet(oids.search_tags);
	add_quiet(oids.tail4);
	add_quiet(oids.tail4_text);
	add_quiet(oids.tail4_of);
}

static Oid
comparison(const char *name, Oid right)
{
	return GetSysCacheOid4(OPERNAMENSP, Anum_pg_operator_oid,
						   CStringGetDatum(name),
						   ObjectIdGetDatum(oids.sealed),
						   ObjectIdGetDatum(right),
						   ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
}

const CpiiOids *
cpii_oids(void)
{
	if (!oids_valid)
	{
		Oid			args[4] = {InvalidOid, INT4OID, BOOLOID, InvalidOid};

		if (!callback_registered)
		{
			CacheRegisterSyscacheCallback(TYPEOID, objects_changed, (Datum) 0);
			CacheRegisterSyscacheCallback(NAMESPACEOID, objects_changed, (Datum) 0);
			callback_registered = true;
		}
		memset(&oids, 0, sizeof(oids));
		oids.sealed = cpii_sealed_type();
		/* before the look-ups: they may themselves process invalidations */
		oids_valid = true;
		if (OidIsValid(oids.sealed))
		{
			oids.sealed_array = get_array_type(oids.sealed);
			args[0] = oids.sealed;
			oids.search_key_sealed = our_function("search_key", 2, args);
			args[0] = TEXTOID;
			oids.search_key_text = our_function("search_key", 3, args);
			args[0] = oids.sealed_array;
			oids.search_keys_sealed = our_function("search_keys", 2, args);
			args[0] = TEXTARRAYOID;
			oids.search_keys_text = our_function("search_keys", 3, args);
			args[0] = oids.sealed;
			oids.show = our_function("show", 1, args);
			args[1] = REGCLASSOID;
			args[2] = INT2OID;
			args[3] = BOOLOID;
			oids.show_column = our_function("show_column", 4, args);
			args[0] = NAMEOID;
			oids.acts_as = our_function("acts_as", 1, args);
			oids.eq_operator = comparison("=", oids.sealed);
			oids.ne_operator = comparison("<>", oids.sealed);
			oids.eq_text_operator = comparison("=", TEXTOID);
			oids.ne_text_operator = comparison("<>", TEXTOID);
			oids.eq_function = OidIsValid(oids.eq_operator) ?
				get_opcode(oids.eq_operator) : InvalidOid;
			fill_quiet();
		}
	}
	if (!OidIsValid(oids.sealed))
		return NULL;
	if (OidIsValid(oids.show_column) && OidIsValid(oids.acts_as) &&
		OidIsValid(oids.eq_operator))
		return &oids;
	/* half-made (CREATE EXTENSION is running): look again next time */
	oids_valid = false;
	return NULL;
}

/* ---- search keys ---- */

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

/* ---- planner support ---- */

static Node *
strip_relabel(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

int
cpii_expression_class(Node *node)
{
	node = strip_relabel(node);
	if (node == NULL)
		return 0;
	return cpii_class_of_type(exprType(node), exprTypmod(node));
}

/* is the node already a call of one of our search key functions? */
static bool
is_search_key(Node *node, const CpiiOids *o)
{
	if (!IsA(node, FuncExpr))
		return false;
	return ((FuncExpr *) node)->funcid == o->search_key_sealed ||
		((FuncExpr *) node)->funcid == o->search_key_text ||
		((FuncExpr *) node)->funcid == o->search_keys_sealed ||
		((FuncExpr *) node)->funcid == o->search_keys_text;
}

/* search_key(s) of sealed input, or of text with the mark of its origin */
static Node *
make_key_call(Oid function, Oid result, Node *arg, int class_id, bool of_text,
			  bool through_view)
{
	List	   *args = list_make2(arg, makeConst(INT4OID, -1, InvalidOid,
												 sizeof(int32),
												 Int32GetDatum(class_id),
												 false, true));

	if (of_text)
		args = lappend(args, makeBoolConst(through_view, false));
	return (Node *) makeFuncExpr(function, result, args, InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

static Node *
make_eq(Node *left, Node *right, const CpiiOids *o)
{
	OpExpr	   *op = (OpExpr *) make_opclause(o->eq_operator, BOOLOID, false,
											  (Expr *) left, (Expr *) right,
											  InvalidOid, InvalidOid);

	op->opfuncid = o->eq_function;
	return (Node *) op;
}

/* a bare column of a domain type, as an argument of a sealed function */
static Node *
as_sealed(Node *node, const CpiiOids *o)
{
	if (exprType(node) != o->sealed)
		return (Node *) makeRelabelType((Expr *) node, o->sealed, -1,
										InvalidOid, COERCE_IMPLICIT_CAST);
	return node;
}

static Node *
make_any(Node *value, Node *keys, int location, const CpiiOids *o)
{
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	any->opno = o->eq_operator;
	any->opfuncid = o->eq_function;
	any->useOr = true;
	any->inputcollid = InvalidOid;
	any->args = list_make2(as_sealed(value, o), keys);
	any->location = location;
	return (Node *) any;
}

/* value = (text or sealed), as one key or, where tags differ, as several */
static Node *
make_search(Node *value, int class_id, Node *other, bool of_text,
			bool through_view, const CpiiOids *o)
{
	ArrayExpr  *array;

	if (!cpii_keyring_search_scoped(class_id))
		return make_eq(as_sealed(value, o),
					   make_key_call(of_text ? o->search_key_text : o->search_key_sealed,
									 o->sealed, other, class_id, of_text,
									 through_view),
					   o);
	array = makeNode(ArrayExpr);
	array->element_typeid = of_text ? TEXTOID : o->sealed;
	array->array_typeid = of_text ? TEXTARRAYOID : o->sealed_array;
	array->elements = list_make1(other);
	array->location = -1;
	return make_any(value, make_key_call(of_text ? o->search_keys_text :
										 o->search_keys_sealed, o->sealed_array,
										 (Node *) array, class_id, of_text,
										 through_view), -1, o);
}

Node *
cpii_make_search(Node *value, int class_id, Node *text, bool through_view)
{
	return make_search(value, class_id, text, true, through_view, cpii_oids());
}

Node *
cpii_make_search_any(Node *value, int class_id, Node *texts, int location)
{
	const CpiiOids *o = cpii_oids();

	return make_any(value, make_key_call(o->search_keys_text, o->sealed_array,
										 texts, class_id, true, true),
					location, o);
}

Node *
cpii_prepare_array_search(ScalarArrayOpExpr *clause)
{
	const CpiiOids *o = cpii_oids();
	Node	   *value = linitial(clause->args);
	Node	   *array = lsecond(clause->args);
	int			class_id;

	class_id = cpii_expression_class(value);
	if (o == NULL || class_id == 0)
		return (Node *) clause;
	if (clause->opno == o->eq_text_operator || clause->opno == o->ne_text_operator)
	{
		if (exprType(array) != TEXTARRAYOID)
			return (Node *) clause;
		clause->opno = clause->opno == o->eq_text_operator ?
			o->eq_operator : o->ne_operator;
		clause->opfuncid = get_opcode(clause->opno);
		clause->inputcollid = InvalidOid;
		linitial(clause->args) = as_sealed(value, o);
		lsecond(clause->args) = make_key_call(o->search_keys_text,
											  o->sealed_array, array, class_id,
											  true, false);
	}
	else if (clause->opno == o->eq_operator || clause->opno == o->ne_operator)
	{
		array = strip_relabel(array);
		if (is_search_key(array, o) || exprType(array) != o->sealed_array)
			return (Node *) clause;
		lsecond(clause->args) = make_key_call(o->search_keys_sealed,
											  o->sealed_array, array, class_id,
											  false, false);
	}
	return (Node *) clause;
}

/*
 * Support function of sealed = sealed, sealed = text and text = sealed.
 */
Datum
cpii_sealed_eq_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *result = NULL;

	if (IsA(request, SupportRequestSimplify))
	{
		FuncExpr   *call = ((SupportRequestSimplify *) request)->fcall;
		const CpiiOids *o = cpii_oids();

		if (o != NULL && list_length(call->args) == 2)
		{
			Node	   *left = linitial(call->args);
			Node	   *right = lsecond(call->args);
			int			lclass = cpii_expression_class(left);
			int			rclass = cpii_expression_class(right);
			Node	   *value = NULL;
			Node	   *other = NULL;
			int			class_id = 0;

			if (lclass != 0 && rclass == 0)
			{
				value = left;
				other = right;
				class_id = lclass;
			}
			else if (rclass != 0 && lclass == 0)
			{
				value = right;
				other = left;
				class_id = rclass;
			}
			if (value != NULL && !is_search_key(strip_relabel(other), o))
			{
				Oid			type = exprType(other);

				if (type == o->sealed)
					result = make_search(value, class_id, other, false, false, o);
				else if (type == TEXTOID)
					result = cpii_make_search(value, class_id, other, false);
			}
		}
	}
	PG_RETURN_POINTER(result);
}

/*
 * Selectivity of "=": from the number of distinct values.  Unlike eqsel it
 * never evaluates the other side, which would open literals while planning.
 */
Datum
cpii_sealed_eqsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid			operator = PG_GETARG_OID(1);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	double		selectivity = 0.005;	/* as DEFAULT_EQ_SEL */

	for (int i = 0; i < 2 && list_length(args) == 2; i++)
	{
		VariableStatData vardata;

		examine_variable(root, list_nth(args, i), varRelid, &vardata);
		if (vardata.rel != NULL)
		{
			selectivity = var_eq_non_const(&vardata, operator, InvalidOid,
										   list_nth(args, 1 - i), i == 0, false);
			ReleaseVariableStats(vardata);
			break;
		}
		ReleaseVariableStats(vardata);
	}
	PG_RETURN_FLOAT8(selectivity);
}
