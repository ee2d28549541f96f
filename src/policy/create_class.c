/*-------------------------------------------------------------------------
 *
 * create_class.c
 *	  create_class: a company's own data class, a row and a domain.
 *
 * The number says whether values can be searched (odd) and is all that a column
 * type knows, so that tables, values and indexes of a dump come back before
 * the register of classes does.  The mask is looked up when a value is shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/syscache.h"

#include "audit/record.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "mask/mask.h"
#include "policy/catalog.h"
#include "sealed/custom_class.h"
#include "sealed/seal.h"

PG_FUNCTION_INFO_V1(cpii_create_class);
CPII_EXPORT Datum cpii_create_class(PG_FUNCTION_ARGS);

static void
require_good_name(const char *name)
{
	size_t		len = strlen(name);

	if (len == 0 || len >= NAMEDATALEN ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != len ||
		(name[0] >= '0' && name[0] <= '9'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a data class \"%s\"", name),
				 errdetail("A name begins with a lower-case letter and holds lower-case letters, digits and underscores, at most %d.",
						   NAMEDATALEN - 1)));
	if (cpii_class_by_name(name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("data class \"%s\" already exists", name)));
	if (SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name),
							  ObjectIdGetDatum(cpii_schema_oid(false))))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("type \"courier_pii.%s\" already exists", name)));
}

/* the next free number, odd for a class with search */
static int
next_number(bool searchable)
{
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(searchable ? 1 : 0)};
	bool		isnull;
	int			last;

	/* one at a time */
	cpii_internal_execute("LOCK TABLE courier_pii.custom_class IN EXCLUSIVE MODE",
						  0, NULL, NULL, NULL, false, 0);
	cpii_internal_execute("SELECT pg_catalog.max(c.id) FROM courier_pii.custom_class c WHERE c.id % 2 = $1",
						  1, types, values, NULL, false, 1);
	last = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		return CPII_CLASS_FIRST_CUSTOM + (searchable ? 1 : 0);
	if (last + 2 > CPII_CLASS_LAST_CUSTOM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("no number is left for another data class")));
	return last + 2;
}

/* create_class(name, mask, search): the number of the new class */
Datum
cpii_create_class(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *mask;
	bool		searchable;
	int			class_id;
	CpiiMaskProfile profile;
	Oid			types[4] = {INT4OID, TEXTOID, TEXTOID, NAMEOID};
	Datum		values[4];
	NameData	created_by;
	StringInfoData detail;

	cpii_require_duty("pii_security_admin");
	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameter \"%s\" must not be null",
							i == 0 ? "name" : i == 1 ? "mask" : "search")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	mask = text_to_cstring(PG_GETARG_TEXT_PP(1));
	searchable = PG_GETARG_BOOL(2);
	if (!cpii_mask_profile_parse(mask, &profile))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized mask \"%s\"", mask),
				 errhint("Valid masks are hidden, first(N), last(N), first_last(N,M) with N and M from 1 to %d, and the names of the built-in classes.",
						 CPII_PROFILE_MOST)));

	SPI_connect();
	class_id = next_number(searchable);
	require_good_name(name);
	namestrcpy(&created_by, cpii_session_actor()->login_name);
	values[0] = Int32GetDatum(class_id);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(mask);
	values[3] = NameGetDatum(&created_by);
	cpii_internal_execute("INSERT INTO courier_pii.custom_class (id, name, mask, created_by)"
						  " VALUES ($1, $2, $3, $4)",
						  4, types, values, NULL, false, 0);
	/* the name needs no quotes: see require_good_name */
	cpii_internal_execute(psprintf("CREATE DOMAIN courier_pii.%s AS courier_pii.sealed(%d)",
								   quote_identifier(name), class_id),
						  0, NULL, NULL, NULL, false, 0);
	SPI_finish();
	cpii_custom_class_changed();
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"class\": \"%s\", \"number\": %d, \"mask\": ",
					 name, class_id);
	escape_json(&detail, mask);
	appendStringInfo(&detail, ", \"search\": %s}", searchable ? "true" : "false");
	cpii_audit_note(CPII_ACT_POLICY, "create_class", "ok", detail.data);
	PG_RETURN_INT32(class_id);
}
