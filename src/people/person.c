/*-------------------------------------------------------------------------
 *
 * person.c
 *	  What the files about registers share: arguments, statements whose
 *	  parameters are texts, and the row of one person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "people/person.h"

/* ---- arguments ---- */

char *
cpii_text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
cpii_code_argument(FunctionCallInfo fcinfo, int n, const char *name, int room)
{
	char	   *value = cpii_text_or_null(fcinfo, n);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	if (value[0] == '\0' || value[0] == ' ' || value[strlen(value) - 1] == ' ')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty or begin or end with a space",
						name)));
	if ((int) strlen(value) >= room)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("At most %d bytes are possible.", room - 1)));
	return value;
}

char *
cpii_text_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	return cpii_code_argument(fcinfo, n, name, 256);
}

Oid
cpii_role_argument(FunctionCallInfo fcinfo, int n)
{
	Oid			role;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role must not be null")));
	role = PG_GETARG_OID(n);
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	return role;
}

char *
cpii_json_pairs(const char *key,...)
{
	StringInfoData buf;
	va_list		args;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	va_start(args, key);
	for (const char *k = key; k != NULL; k = va_arg(args, const char *))
	{
		const char *value = va_arg(args, const char *);

		if (buf.len > 1)
			appendStringInfoString(&buf, ", ");
		escape_json(&buf, k);
		appendStringInfoString(&buf, ": ");
		if (value != NULL)
			escape_json(&buf, value);
		else
			appendStringInfoString(&buf, "null");
	}
	va_end(args);
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* ---- statements ---- */

uint64
cpii_person_run(const char *sql, int nargs, const char **texts)
{
	Oid			types[CPII_MAX_RUN_ARGS];
	Datum		values[CPII_MAX_RUN_ARGS];
	char		nulls[CPII_MAX_RUN_ARGS];

	Assert(nargs <= CPII_MAX_RUN_ARGS);
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = texts[i] ? ' ' : 'n';
		values[i] = texts[i] ? CStringGetTextDatum(texts[i]) : (Datum) 0;
	}
	cpii_internal_execute(sql, nargs, types, values, nulls, false, 0);
	return SPI_processed;
}

void
cpii_require_org(const char *code, const char *argument)
{
	if (cpii_person_run("SELECT 1 FROM courier_pii.org_register o WHERE o.code = $1",
			1, &code) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("organisation unit given as %s does not exist",
						argument),
				 errhint("See the view courier_pii.org_units, or add it with courier_pii.add_org().")));
}

void
cpii_get_person(const char *staff_no, CpiiPerson *person)
{
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;
	Datum		value;

	if (cpii_person_run("SELECT s.login_role::pg_catalog.oid, s.org, s.post,"
			" s.details ->> 'client', s.status, s.departed_at"
			" FROM courier_pii.staff_register s WHERE s.staff_no = $1"
			" FOR UPDATE", 1, &staff_no) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("staff number does not exist"),
				 errhint("See the view courier_pii.staff for the numbers in use.")));
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	person->staff_no = pstrdup(staff_no);
	value = SPI_getbinval(row, desc, 1, &isnull);
	person->login = isnull ? InvalidOid : DatumGetObjectId(value);
	person->org = SPI_getvalue(row, desc, 2);
	person->post = SPI_getvalue(row, desc, 3);
	person->client = SPI_getvalue(row, desc, 4);
	person->status = SPI_getvalue(row, desc, 5);
	value = SPI_getbinval(row, desc, 6, &isnull);
	person->departed_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

void
cpii_update_status(const CpiiPerson *person, const char *reason)
{
	const char *texts[5];

	texts[0] = person->staff_no;
	texts[1] = person->status;
	texts[2] = TIMESTAMP_IS_NOEND(person->departed_at) ? NULL
		: timestamptz_to_str(person->departed_at);
	texts[3] = reason;
	texts[4] = cpii_session_actor()->login_name;
	cpii_person_run("UPDATE courier_pii.staff_register SET status = $2,"
			 " departed_at = $3::pg_catalog.timestamptz,"
			 " reason = coalesce($4, reason),"
			 " changed_at = pg_catalog.statement_timestamp(), changed_by = $5::pg_catalog.name"
			 " WHERE staff_no = $1", 5, texts);
}

char *
cpii_role_name(Oid role)
{
	return GetUserNameFromId(role, true);
}
