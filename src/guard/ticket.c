/*-------------------------------------------------------------------------
 *
 * ticket.c
 *	  Requests: asking for a ticket, and what everybody learns of one.
 *
 * Who acts first, then the request's digest, then the register, the queue, the
 * notification and the record.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "guard/ticket_state.h"

#define CHANNEL "courier_pii_requests"
#define MAX_DETAILS 16384
#define MAX_OBJECTS 100

PG_FUNCTION_INFO_V1(cpii_request);
CPII_EXPORT Datum cpii_request(PG_FUNCTION_ARGS);

static const char *const kinds[] = {
	"export", "copy", "destroy", "maintenance", "disclosure", "policy",
	"reinstate", "break_glass", "unprotect", "key_destroy"
};

void
cpii_ticket_check_kind(const char *kind)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized kind of request"),
			 errhint("Valid kinds are export, copy, destroy, maintenance, disclosure, policy, reinstate, break_glass, unprotect, key_destroy.")));
}

CpiiPerson
cpii_ticket_person(void)
{
	CpiiPerson	person = cpii_acting_person();

	if (cpii_duties_sealed() && person.staff_no[0] == '\0')
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("only a person of the staff register can do this"),
				 errdetail("Login \"%s\" belongs to nobody.",
						   cpii_session_actor()->login_name),
				 errhint("Ask an account administrator to enter the person with courier_pii.hire().")));
	return person;
}

/* ---- queue, notification, record ---- */

void
cpii_ticket_announce(const CpiiRequest *request, const char *event,
					 const char *person, const char *note)
{
	Oid			types[4] = {INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	StringInfoData buf;

	values[0] = Int64GetDatum(request->id);
	values[1] = CStringGetTextDatum(event);
	values[2] = person ? CStringGetTextDatum(person) : (Datum) 0;
	nulls[2] = person ? ' ' : 'n';
	values[3] = note ? CStringGetTextDatum(note) : (Datum) 0;
	nulls[3] = note ? ' ' : 'n';
	cpii_internal_execute("INSERT INTO courier_pii.request_notice"
						  " (request_id, event, person, note)"
						  " VALUES ($1, $2, $3, $4)",
						  4, types, values, nulls, false, 0);

	/* whoever listens learns that there is something, not what it is about */
	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"request\": %lld, \"kind\": \"%s\", \"event\": \"%s\"}",
					 (long long) request->id, request->kind, event);
	Async_Notify(CHANNEL, buf.data);
}

void
cpii_ticket_record(const CpiiRequest *request, const char *command,
				   const char *outcome)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"request\": %lld, \"kind\": \"%s\", \"requester\": ",
					 (long long) request->id, request->kind);
	escape_json(&buf, request->requester.name);
	appendStringInfoString(&buf, ", \"digest\": \"");
	for (int i = 0; i < CPII_SHA256_LEN; i++)
		appendStringInfo(&buf, "%02x", request->digest[i]);
	appendStringInfoString(&buf, "\", \"objects\": [");
	for (int i = 0; i < Min(request->nobjects, 16); i++)
	{
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		escape_json(&buf, request->objects[i]);
	}
	appendStringInfoString(&buf, "]}");
	cpii_audit_note(CPII_ACT_REQUEST, command, outcome, buf.data);
}

/* ---- asking ---- */

/* texts of some keys of the details: strings, numbers, arrays of them */
#define TEXTS_OF_KEYS(keys) \
	"SELECT DISTINCT o.t FROM pg_catalog.jsonb_each($1) e," \
	" LATERAL (SELECT e.value #>> '{}' WHERE pg_catalog.jsonb_typeof(e.value) IN ('string', 'number')" \
	" UNION ALL SELECT x FROM pg_catalog.jsonb_array_elements_text(" \
	"CASE WHEN pg_catalog.jsonb_typeof(e.value) = 'array' THEN e.value ELSE '[]' END) x) o(t)" \
	" WHERE e.key IN (" keys ") AND o.t <> '' ORDER BY 1"

static int
texts_of(Jsonb *details, const char *sql, char ***texts)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext spi;
	Oid			types[1] = {JSONBOID};
	Datum		values[1] = {JsonbPGetDatum(details)};
	int			n;

	SPI_connect();
	cpii_internal_execute(sql, 1, types, values, NULL, true, 0);
	n = (int) SPI_processed;
	if (n > MAX_OBJECTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the details name too many objects or persons"),
				 errdetail("At most %d are possible.", MAX_OBJECTS)));
	spi = MemoryContextSwitchTo(context);
	*texts = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*texts)[i] = cpii_result_text(i, 1);
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return n;
}

/* rows of the named relations, as far as statistics know; -1 = none is named */
static int64
estimate_rows(const CpiiRequest *request)
{
	int64		rows = -1;

	for (int i = 0; i < request->nobjects; i++)
	{
		if (OidIsValid(request->object_oids[i]))
			rows = Max(rows, 0) + cpii_ticket_estimate(request->object_oids[i]);
	}
	return rows;
}

static Datum
text_array(char **texts, int n)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elems[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

static Datum
oid_array(const Oid *oids, int n)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elems[i] = ObjectIdGetDatum(oids[i]);
	return PointerGetDatum(construct_array(elems, n, OIDOID, sizeof(Oid), true,
										   TYPALIGN_INT));
}

static void
store(CpiiRequest *request)
{
	Oid			types[16] = {INT8OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID,
		TEXTOID, OIDOID, TEXTARRAYOID, TEXTARRAYOID, OIDARRAYOID, INT8OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, BYTEAOID, BYTEAOID};
	Datum		values[16];
	char		nulls[16];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(request->id);
	values[1] = CStringGetTextDatum(request->kind);
	values[2] = CStringGetTextDatum(request->purpose);
	values[3] = JsonbPGetDatum(request->details);
	values[4] = CStringGetTextDatum(request->requester.name);
	values[5] = CStringGetTextDatum(request->requester.staff_no);
	if (request->requester.staff_no[0] == '\0')
		nulls[5] = 'n';
	values[6] = ObjectIdGetDatum(request->requester.login);
	values[7] = text_array(request->beneficiaries, request->nbeneficiaries);
	values[8] = text_array(request->objects, request->nobjects);
	values[9] = oid_array(request->object_oids, request->nobjects);
	values[10] = Int64GetDatum(request->estimated_rows);
	if (request->estimated_rows < 0)
		nulls[10] = 'n';
	values[11] = TimestampTzGetDatum(request->requested_at);
	values[12] = TimestampTzGetDatum(request->decide_before);
	values[13] = Int32GetDatum(request->needed);
	values[14] = cpii_bytea(request->digest, sizeof(request->digest));
	values[15] = cpii_bytea(request->seal, sizeof(request->seal));
	cpii_internal_execute("INSERT INTO courier_pii.request_register"
						  " (id, kind, purpose, details, requester,"
						  " requester_staff_no, requester_login, beneficiaries,"
						  " objects, object_oids, estimated_rows, requested_at,"
						  " decide_before, approvals_needed, digest, seal)"
						  " VALUES ($1, $2, $3, $4, $5, $6, $7::regrole, $8, $9,"
						  " $10, $11, $12, $13, $14, $15, $16)",
						  16, types, values, nulls, false, 0);
}

static int64
next_number(void)
{
	cpii_internal_execute("SELECT pg_catalog.nextval('courier_pii.request_register_id_seq')",
						  0, NULL, NULL, NULL, false, 0);
	return cpii_result_int64(0, 1);
}

/* request(kind, purpose, details): the number of the request */
Datum
cpii_request(PG_FUNCTION_ARGS)
{
	CpiiRequest request;

	cpii_require_preload();
	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("parameter \"%s\" must not be null",
							i == 0 ? "kind" : "purpose")));
	memset(&request, 0, sizeof(request));
	request.kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	request.purpose = text_to_cstring(PG_GETARG_TEXT_PP(1));
	cpii_ticket_check_kind(request.kind);
	if (request.purpose[strspn(request.purpose, " \t\r\n")] == '\0' ||
		strlen(request.purpose) > CPII_MAX_PURPOSE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("purpose must not be empty or longer than %d bytes",
						CPII_MAX_PURPOSE)));
	request.details = PG_ARGISNULL(2) ?
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
		PG_GETARG_JSONB_P(2);
	if (!JB_ROOT_IS_OBJECT(request.details) ||
		VARSIZE(request.details) > MAX_DETAILS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("details must be a JSON object of at most %d bytes",
						MAX_DETAILS)));
	request.requester = cpii_ticket_person();
	request.details_text = JsonbToCString(NULL, &request.details->root,
										  VARSIZE(request.details));
	request.nbeneficiaries = texts_of(request.details,
									  TEXTS_OF_KEYS("'beneficiary', 'beneficiaries', 'person', 'staff_no', 'grantee'"),
									  &request.beneficiaries);
	request.nobjects = texts_of(request.details,
								TEXTS_OF_KEYS("'object', 'objects', 'table', 'tables', 'relation', 'relations', 'staff_no'"),
								&request.objects);
	request.object_oids = palloc0(sizeof(Oid) * Max(request.nobjects, 1));
	for (int i = 0; i < request.nobjects; i++)
		request.objects[i] = cpii_object_name(request.objects[i],
											  &request.object_oids[i]);
	request.estimated_rows = estimate_rows(&request);
	request.requested_at = GetCurrentTimestamp();
	request.decide_before = cpii_seconds_after(request.requested_at,
												   cpii_decide_seconds());
	request.needed = cpii_quorum(request.kind, request.estimated_rows);

	SPI_connect();
	request.id = next_number();
	cpii_request_digest(&request, request.digest);
	cpii_request_seal(&request, request.seal);
	store(&request);
	cpii_ticket_announce(&request, "requested", request.requester.name, NULL);
	SPI_finish();
	cpii_ticket_record(&request, "request", "ok");
	PG_RETURN_INT64(request.id);
}
