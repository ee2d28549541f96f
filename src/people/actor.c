/*-------------------------------------------------------------------------
 *
 * actor.c
 *	  What SQL can ask about people: who is acting, what lies below an
 *	  organisation unit, what a person who leaves leaves behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inet.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_actor_staff_no(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_actor_login(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_actor_org(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_actor_client(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_actor_record(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_org_within(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_actor_staff_no);
PG_FUNCTION_INFO_V1(cpii_actor_login);
PG_FUNCTION_INFO_V1(cpii_actor_org);
PG_FUNCTION_INFO_V1(cpii_actor_client);
PG_FUNCTION_INFO_V1(cpii_actor_record);
PG_FUNCTION_INFO_V1(cpii_org_within);

/* ---- who is acting ---- */

Datum
cpii_actor_staff_no(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_session_actor();

	if (actor->proof == CPII_PROOF_NONE)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(actor->staff_no));
}

Datum
cpii_actor_login(PG_FUNCTION_ARGS)
{
	Name		name = palloc0(NAMEDATALEN);

	namestrcpy(name, cpii_session_actor()->login_name);
	PG_RETURN_NAME(name);
}

Datum
cpii_actor_org(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_session_actor();

	if (actor->proof == CPII_PROOF_NONE)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(actor->org));
}

/* the client company that the person works for: "client" in hire's details */
Datum
cpii_actor_client(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_session_actor();
	char		client[ROSTER_CLIENT_LEN];

	if (actor->proof == CPII_PROOF_NONE || !OidIsValid(actor->person) ||
		!cpii_roster_client(actor->person, client) || client[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(client));
}

/* the row of view courier_pii.actor */
Datum
cpii_actor_record(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_session_actor();
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};
	NameData	login;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	namestrcpy(&login, actor->login_name);
	values[0] = CStringGetTextDatum(actor->staff_no);
	values[1] = NameGetDatum(&login);
	values[2] = CStringGetTextDatum(cpii_proof_name(actor->proof));
	values[3] = CStringGetTextDatum(actor->org);
	values[4] = (Datum) 0;
	nulls[0] = nulls[3] = actor->proof == CPII_PROOF_NONE;
	nulls[4] = actor->client_addr[0] == '\0';
	if (!nulls[4])
	{
		char		address[sizeof(actor->client_addr)];
		char	   *zone;

		/* type inet knows no zone of a link-local address */
		strlcpy(address, actor->client_addr, sizeof(address));
		zone = strchr(address, '%');
		if (zone != NULL)
			*zone = '\0';
		values[4] = DirectFunctionCall1(inet_in, CStringGetDatum(address));
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/* ---- sets ---- */

/* run a query whose columns are all texts and add its rows to the result */
static void
add_rows(ReturnSetInfo *result, const char *sql, int nargs, Oid *types,
		 Datum *values)
{
	int			natts = result->setDesc->natts;

	cpii_internal_execute(sql, nargs, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		columns[3];
		bool		nulls[3];

		Assert(natts <= 3);
		for (int c = 0; c < natts; c++)
			columns[c] = SPI_getbinval(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc, c + 1, &nulls[c]);
		tuplestore_putvalues(result->setResult, result->setDesc,
							 columns, nulls);
	}
}

Datum
cpii_org_within(PG_FUNCTION_ARGS)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {PG_GETARG_DATUM(0)};

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	add_rows((ReturnSetInfo *) fcinfo->resultinfo,
			 "WITH RECURSIVE tree (code) AS ("
			 " SELECT o.code FROM courier_pii.org_register o WHERE o.code = $1"
			 " UNION"
			 " SELECT o.code FROM courier_pii.org_register o"
			 " JOIN tree t ON o.parent = t.code)"
			 " SELECT t.code FROM tree t", 1, types, values);
	SPI_finish();
	return (Datum) 0;
}
