/*-------------------------------------------------------------------------
 *
 * oids.c
 *	  Objects of the extension that planning needs, looked up once.
 *
 * Planning meets types and operators all the time, so what they are is kept
 * until a type or a schema changes.  While CREATE EXTENSION runs only some of
 * them exist: until the last one does there is no answer, and nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "parser/parse_func.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "sealed/oids.h"
#include "sealed/seal.h"

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
