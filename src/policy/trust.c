/*-------------------------------------------------------------------------
 *
 * trust.c
 *	  Whose code may run where clear text is shown.
 *
 * A built-in function is harmless unless it is volatile and takes arguments
 * (pg_notify, lo_put, setval, set_config, dozens more: all that can leave
 * something behind are such), or runs SQL that it is given, or was replaced
 * after the cluster was made.  The few volatile ones that leave nothing behind
 * are listed here; one that a later version adds is not trusted until it is
 * listed, too.
 *
 * A listed function is pinned by a digest of its definition: replaced, it is
 * no longer trusted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "crypto/signature.h"
#include "policy/catalog.h"
#include "policy/trust.h"

CPII_EXPORT Datum cpii_trust_function_sql(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_distrust_function(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_function_digest(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_trust_function_sql);
PG_FUNCTION_INFO_V1(cpii_distrust_function);
PG_FUNCTION_INFO_V1(cpii_function_digest);

/* columns of courier_pii.trusted_function_register */
#define TRUSTED_SIGNATURE 1
#define TRUSTED_DIGEST 2

#define DIGEST_HEX_LEN (2 * CPII_SHA256_LEN)

/* ---- built-in functions ---- */

/* volatile, with arguments, and yet nothing stays behind or gets out */
static const char *const harmless[] = {
	"array_sample", "array_shuffle", "currval", "nextval", "pg_sleep",
	"pg_sleep_for", "pg_sleep_until", "random", "random_normal", "setseed",
	NULL
};

/* not volatile, but they run a query over a table that they are told */
static const char *const run_queries[] = {
	"database_to_xml", "database_to_xml_and_xmlschema", "schema_to_xml",
	"schema_to_xml_and_xmlschema", "table_to_xml",
	"table_to_xml_and_xmlschema", NULL
};

static bool
is_one_of(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* answers for built-in functions, by OID: 0 = not asked yet */
#define BUILTIN_HARMLESS 1
#define BUILTIN_RISKY 2
static uint8 builtin[FirstNormalObjectId];

static void register_callbacks(void);

static bool
builtin_is_harmless(Oid function)
{
	if (unlikely(builtin[function] == 0))
	{
		HeapTuple	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
		Form_pg_proc form;
		const char *name;
		bool		risky = true;

		register_callbacks();
		if (HeapTupleIsValid(tup))
		{
			form = (Form_pg_proc) GETSTRUCT(tup);
			name = NameStr(form->proname);

			/* made with the cluster, or replaced since? */
			risky = TransactionIdIsNormal(HeapTupleHeaderGetXmin(tup->t_data)) ||
				is_one_of(name, run_queries) ||
				(form->provolatile == PROVOLATILE_VOLATILE &&
				 form->pronargs > 0 && !is_one_of(name, harmless));
			ReleaseSysCache(tup);
		}
		builtin[function] = risky ? BUILTIN_RISKY : BUILTIN_HARMLESS;
	}
	return builtin[function] == BUILTIN_HARMLESS;
}

/* ---- other functions ---- */

typedef enum Verdict
{
	TRUST_UNKNOWN,
	TRUST_OURS,
	TRUST_YES,
	TRUST_NO
} Verdict;

typedef struct TrustEntry
{
	Oid			function;		/* hash key */
	Verdict		verdict;
} TrustEntry;

/* verdicts about the person and the list of now */
static HTAB *verdicts = NULL;
static Oid	verdict_person = InvalidOid;
static Oid	verdict_register = InvalidOid;

static void
forget_verdicts(void)
{
	if (verdicts != NULL)
		hash_destroy(verdicts);
	verdicts = NULL;
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_verdicts();
	/* replaced built-in functions are judged anew, too */
	memset(builtin, 0, sizeof(builtin));
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == verdict_register)
		forget_verdicts();
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	registered = true;
}

/* the entry of a function, made if need be; never kept across catalog access */
static TrustEntry *
verdict_entry(Oid function)
{
	TrustEntry *entry;
	bool		found;
	Oid			person = cpii_session_actor()->person;

	register_callbacks();
	if (person != verdict_person)
		forget_verdicts();
	if (verdicts == NULL)
	{
		HASHCTL		ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(TrustEntry);
		ctl.hcxt = CacheMemoryContext;
		verdict_person = person;
		verdicts = hash_create("courier_pii trusted functions", 64, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(verdicts, &function, HASH_ENTER, &found);
	if (!found)
		entry->verdict = TRUST_UNKNOWN;
	return entry;
}

static bool
is_ours(Oid function)
{
	Oid			extension = get_extension_oid("courier_pii", true);

	return OidIsValid(extension) &&
		getExtensionOfObject(ProcedureRelationId, function) == extension;
}

static void
append_field(StringInfo buf, const char *value)
{
	/* lengths keep neighbours apart */
	appendStringInfo(buf, "%zu:%s,", strlen(value), value);
}

static void
append_attribute(StringInfo buf, HeapTuple tup, AttrNumber attribute,
				 Oid output_function)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, tup, attribute, &isnull);

	if (isnull)
		appendStringInfoString(buf, "-,");
	else
		append_field(buf, OidOutputFunctionCall(output_function, value));
}

/* hexadecimal SHA-256 of everything that says what a function does; false: gone */
static bool
function_digest(Oid function, char hex[DIGEST_HEX_LEN + 1])
{
	HeapTuple	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	StringInfoData buf;
	unsigned char digest[CPII_SHA256_LEN];

	if (!HeapTupleIsValid(tup))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tup);
	initStringInfo(&buf);
	append_field(&buf, get_language_name(form->prolang, false));
	appendStringInfo(&buf, "%c%c%d%d%d,", form->prokind, form->provolatile,
					 form->prosecdef, form->proisstrict, form->proretset);
	append_field(&buf, format_type_be_qualified(form->prorettype));
	append_field(&buf, format_procedure_qualified(function));
	append_attribute(&buf, tup, Anum_pg_proc_prosrc, F_TEXTOUT);
	append_attribute(&buf, tup, Anum_pg_proc_probin, F_TEXTOUT);
	append_attribute(&buf, tup, Anum_pg_proc_prosqlbody, F_PG_NODE_TREE_OUT);
	append_attribute(&buf, tup, Anum_pg_proc_proconfig, F_ARRAY_OUT);
	append_attribute(&buf, tup, Anum_pg_proc_proargdefaults, F_PG_NODE_TREE_OUT);
	ReleaseSysCache(tup);
	if (!cpii_sha256((unsigned char *) buf.data, buf.len, digest))
		elog(ERROR, "could not compute digest");
	hex_encode((char *) digest, sizeof(digest), hex);
	hex[DIGEST_HEX_LEN] = '\0';
	pfree(buf.data);
	return true;
}

/* is the function, as it is now, on the list? */
static bool
is_listed(Oid function)
{
	Oid			relid = cpii_relation_oid("trusted_function_register", true);
	Oid			index = cpii_relation_oid("trusted_function_register_pkey", true);
	char		digest[DIGEST_HEX_LEN + 1];
	ScanKeyData key;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;
	bool		listed = false;

	verdict_register = relid;
	if (!OidIsValid(relid) || !OidIsValid(index) ||
		!function_digest(function, digest))
		return false;
	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, TRUSTED_SIGNATURE, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(format_procedure_qualified(function)));
	scan = systable_beginscan(rel, index, true, NULL, 1, &key);
	if (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		d = heap_getattr(tup, TRUSTED_DIGEST, RelationGetDescr(rel),
									 &isnull);

		listed = strcmp(TextDatumGetCString(d), digest) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return listed;
}

static bool
is_own(Oid function)
{
	HeapTuple	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		own = false;

	if (HeapTupleIsValid(tup))
	{
		own = ((Form_pg_proc) GETSTRUCT(tup))->proowner ==
			cpii_session_actor()->person;
		ReleaseSysCache(tup);
	}
	return own;
}

bool
cpii_trust_is_known(Oid function)
{
	Verdict		verdict;

	if (function < FirstNormalObjectId)
		return builtin_is_harmless(function);
	verdict = verdict_entry(function)->verdict;
	if (verdict == TRUST_UNKNOWN && is_ours(function))
		verdict = verdict_entry(function)->verdict = TRUST_OURS;
	return verdict == TRUST_OURS;
}

bool
cpii_trust_function(Oid function)
{
	Verdict		verdict;

	if (function < FirstNormalObjectId)
		return builtin_is_harmless(function);
	verdict = verdict_entry(function)->verdict;
	if (verdict == TRUST_UNKNOWN)
	{
		verdict = is_ours(function) ? TRUST_OURS :
			is_own(function) || is_listed(function) ? TRUST_YES : TRUST_NO;
		verdict_entry(function)->verdict = verdict;
	}
	return verdict != TRUST_NO;
}

/* ---- the functions of a query ---- */

static bool
collect_function(Oid function, void *arg)
{
	List	  **found = arg;

	if (OidIsValid(function) && !cpii_trust_is_known(function))
		*found = list_append_unique_oid(*found, function);
	return false;
}

static bool collect_walker(Node *node, void *arg);

/* what a domain's checks call */
static void
collect_domain(Oid type, List **found)
{
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_DOMAIN_CONSTR_INFO);
	DomainConstraintRef *ref;
	ListCell   *lc;

	if (cache->domainData == NULL)
		return;
	/* not on the stack: the memory context calls it back when it is reset */
	ref = palloc(sizeof(DomainConstraintRef));
	InitDomainConstraintRef(type, ref, CurrentMemoryContext, false);
	foreach(lc, ref->constraints)
	{
		DomainConstraintState *constraint = lfirst(lc);

		(void) collect_walker((Node *) constraint->check_expr, found);
	}
}

static void
collect_operators(List *clauses, List **found)
{
	ListCell   *lc;

	foreach(lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);

		if (OidIsValid(clause->eqop))
			(void) collect_function(get_opcode(clause->eqop), found);
		if (OidIsValid(clause->sortop))
			(void) collect_function(get_opcode(clause->sortop), found);
	}
}

/* the wrapper of a foreign table may send values to another server */
static void
collect_wrapper(Oid relid, List **found)
{
	ForeignServer *server = GetForeignServer(GetForeignServerIdByRelId(relid));

	(void) collect_function(GetForeignDataWrapper(server->fdwid)->fdwhandler,
							found);
}

static void
collect_table(RangeTblEntry *rte, List **found)
{
	if (rte->rtekind != RTE_RELATION)
		return;
	if (rte->relkind == RELKIND_FOREIGN_TABLE)
		collect_wrapper(rte->relid, found);
	if (rte->tablesample != NULL)
		(void) collect_function(rte->tablesample->tsmhandler, found);
}

static bool
collect_walker(Node *node, void *arg)
{
	List	  **found = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *lc;

		collect_operators(query->sortClause, found);
		collect_operators(query->groupClause, found);
		collect_operators(query->distinctClause, found);
		foreach(lc, query->rtable)
			collect_table(lfirst_node(RangeTblEntry, lc), found);
		return query_tree_walker(query, collect_walker, arg, 0);
	}
	(void) check_functions_in_node(node, collect_function, arg);
	if (IsA(node, CoerceToDomain))
		collect_domain(((CoerceToDomain *) node)->resulttype, found);
	else if (IsA(node, MinMaxExpr))
		(void) collect_function(lookup_type_cache(((MinMaxExpr *) node)->minmaxtype,
												  TYPECACHE_CMP_PROC)->cmp_proc,
								arg);
	else if (IsA(node, WindowClause))
	{
		collect_operators(((WindowClause *) node)->partitionClause, found);
		collect_operators(((WindowClause *) node)->orderClause, found);
	}
	return expression_tree_walker(node, collect_walker, arg);
}

List *
cpii_trust_collect(Query *query)
{
	List	   *found = NIL;

	(void) collect_walker((Node *) query, &found);
	return found;
}

/* ---- the list ---- */

static char *
signature_argument(FunctionCallInfo fcinfo)
{
	Oid			function = PG_GETARG_OID(0);
	HeapTuple	tup = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tup))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	ReleaseSysCache(tup);
	return format_procedure_qualified(function);
}

static void
note_trust(const char *command, const char *signature)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"function\": ");
	escape_json(&detail, signature);
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, command, "ok", detail.data);
}

/* trust_function(func, note): a widening, as it is now */
Datum
cpii_trust_function_sql(PG_FUNCTION_ARGS)
{
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, NAMEOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	char		digest[DIGEST_HEX_LEN + 1];
	char	   *signature;
	NameData	who;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("function must not be null")));
	cpii_require_duty("pii_security_admin");
	signature = signature_argument(fcinfo);
	if (!function_digest(PG_GETARG_OID(0), digest))
		elog(ERROR, "cache lookup failed for function %u", PG_GETARG_OID(0));
	/* the code that was approved, not what it became meanwhile */
	(void) cpii_require_ticket("policy", psprintf("function/%s/%s", signature, digest),
							   false);

	namestrcpy(&who, cpii_session_actor()->login_name);
	values[0] = CStringGetTextDatum(signature);
	values[1] = CStringGetTextDatum(digest);
	values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	if (PG_ARGISNULL(1))
		nulls[2] = 'n';
	values[3] = NameGetDatum(&who);
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.trusted_function_register"
						  " (signature, digest, note, trusted_by)"
						  " VALUES ($1, $2, $3, $4) ON CONFLICT (signature) DO UPDATE"
						  " SET digest = excluded.digest, note = excluded.note,"
						  " trusted_by = excluded.trusted_by,"
						  " trusted_at = pg_catalog.now()",
						  4, types, values, nulls, false, 0);
	SPI_finish();
	CacheInvalidateRelcacheByRelid(cpii_relation_oid("trusted_function_register", false));
	note_trust("trust_function", signature);
	PG_RETURN_VOID();
}

/* distrust_function(signature): taking away is free; also for what was dropped */
Datum
cpii_distrust_function(PG_FUNCTION_ARGS)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	char	   *signature = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		gone;
	LOCAL_FCINFO(call, 1);
	Datum		function;

	cpii_require_duty("pii_security_admin");
	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = values[0];
	call->args[0].isnull = false;
	function = to_regprocedure(call);
	if (!call->isnull)
	{
		signature = format_procedure_qualified(DatumGetObjectId(function));
		values[0] = CStringGetTextDatum(signature);
	}
	SPI_connect();
	cpii_internal_execute("DELETE FROM courier_pii.trusted_function_register t"
						  " WHERE t.signature = $1",
						  1, types, values, NULL, false, 0);
	gone = SPI_processed > 0;
	SPI_finish();
	if (gone)
	{
		CacheInvalidateRelcacheByRelid(cpii_relation_oid("trusted_function_register", false));
		note_trust("distrust_function", signature);
	}
	PG_RETURN_BOOL(gone);
}

/* digest of a function's definition; NULL when there is no such function */
Datum
cpii_function_digest(PG_FUNCTION_ARGS)
{
	char		digest[DIGEST_HEX_LEN + 1];

	if (!function_digest(PG_GETARG_OID(0), digest))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(digest));
}
