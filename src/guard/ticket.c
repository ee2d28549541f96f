/*-------------------------------------------------------------------------
 *
 * ticket.c
 *	  Requests and decisions: request, approve, reject, cancel, revoke.
 *
 * Every function: who acts first, then the request's own state and digest,
 * then the register, the queue, the notification and the record.  Persons are
 * compared, not roles: neither SET ROLE nor a second login nor a function with
 * other rights makes somebody another person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
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
#include "guard/ticket_file.h"
#include "guard/ticket_state.h"

#define CHANNEL "courier_pii_requests"
#define MAX_PURPOSE 1000
#define MAX_DETAILS 16384
#define MAX_OBJECTS 100

PG_FUNCTION_INFO_V1(cpii_request);
PG_FUNCTION_INFO_V1(cpii_approve);
PG_FUNCTION_INFO_V1(cpii_reject);
PG_FUNCTION_INFO_V1(cpii_cancel);
PG_FUNCTION_INFO_V1(cpii_revoke_ticket);
PG_FUNCTION_INFO_V1(cpii_set_quorum);
CPII_EXPORT Datum cpii_request(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_approve(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reject(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_cancel(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_revoke_ticket(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_quorum(PG_FUNCTION_ARGS);

static const char *const kinds[] = {
	"export", "copy", "destroy", "maintenance", "disclosure", "policy",
	"reinstate", "break_glass", "unprotect", "key_destroy"
};

static void
check_kind(const char *kind)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized kind of request"),
			 errhint("Valid kinds are export, copy, destroy, maintenance, disclosure, policy, reinstate, break_glass, unprotect, key_destroy.")));
}

/* after set-up only people of the roster ask and decide */
static CpiiPerson
known_person(void)
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

static void
announce(const CpiiRequest *request, const char *event, const char *person,
		 const char *note)
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

static void
record(const CpiiRequest *request, const char *command, const char *outcome)
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

void
cpii_ticket_record(const CpiiRequest *request, const char *command,
				   const char *outcome)
{
	record(request, command, outcome);
}

void
cpii_ticket_announce(const CpiiRequest *request, const char *event,
					 const char *person)
{
	announce(request, event, person, NULL);
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

static Datum
bytes(const unsigned char *data, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return PointerGetDatum(result);
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
	values[14] = bytes(request->digest, sizeof(request->digest));
	values[15] = bytes(request->seal, sizeof(request->seal));
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
	check_kind(request.kind);
	if (request.purpose[strspn(request.purpose, " \t\r\n")] == '\0' ||
		strlen(request.purpose) > MAX_PURPOSE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("purpose must not be empty or longer than %d bytes",
						MAX_PURPOSE)));
	request.details = PG_ARGISNULL(2) ?
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
		PG_GETARG_JSONB_P(2);
	if (!JB_ROOT_IS_OBJECT(request.details) ||
		VARSIZE(request.details) > MAX_DETAILS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("details must be a JSON object of at most %d bytes",
						MAX_DETAILS)));
	request.requester = known_person();
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
	announce(&request, "requested", request.requester.name, NULL);
	SPI_finish();
	record(&request, "request", "ok");
	PG_RETURN_INT64(request.id);
}

/* ---- deciding ---- */

/*
 * Lock and check the request of argument 0 for a decision.  Whatever a clock
 * has ended meanwhile counts as ended.
 */
static void
load_argument(FunctionCallInfo fcinfo, CpiiRequest *request)
{
	CpiiTicketMarks marks;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null", "request_id")));
	if (!cpii_request_load(PG_GETARG_INT64(0), true, request))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("request does not exist")));
	cpii_request_check(request);
	cpii_ticket_file_look(request->id, request->digest, &marks);
	if (strcmp(request->state, "approved") == 0 && marks.revoked_at != 0)
		request->state = pstrdup("revoked");
	else if (strcmp(request->state, "approved") == 0 && marks.used_at != 0)
		request->state = pstrdup("used");
	else if (strcmp(request->state, "pending") == 0 &&
			 GetCurrentTimestamp() >= request->decide_before)
		request->state = pstrdup("expired");
}

static char *
note_argument(FunctionCallInfo fcinfo)
{
	char	   *note = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (note != NULL && strlen(note) > MAX_PURPOSE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("note must not be longer than %d bytes", MAX_PURPOSE)));
	return note;
}

static void
wrong_state(const CpiiRequest *request, const char *wanted)
{
	ereport(ERROR,
			(errcode(CPII_ERRCODE_TICKET_INVALID),
			 errmsg("request is %s", request->state),
			 errdetail("It would have to be %s.", wanted)));
}

/* the person decides, and is neither requester nor somebody it is for */
static void
refuse_own(const CpiiRequest *request, const CpiiPerson *person,
		   const char *command)
{
	const char *why = NULL;

	if (cpii_same_person(&request->requester, person))
		why = "Whoever asks does not decide.";
	else if (cpii_request_benefits(request, person) ||
			 cpii_ticket_widens(request, person))
		why = "Whoever a request is for does not decide.";
	if (why == NULL)
		return;
	record(request, command, "denied");
	ereport(ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("request has to be decided by another person"),
			 errdetail("%s", why)));
}

/*
 * Whoever sits down at a colleague's open session must not decide for him.  A
 * person behind a pool has a token that is a minute old at most.
 */
static void
require_fresh_login(void)
{
	if (!cpii_duties_sealed() || cpii_approval_login_age == 0 ||
		cpii_session_actor()->proof == CPII_PROOF_TOKEN ||
		!TimestampDifferenceExceeds(MyStartTimestamp, GetCurrentTimestamp(),
									cpii_approval_login_age * 1000))
		return;
	ereport(ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("the login is too long ago to approve"),
			 errdetail("It was more than %d seconds ago.", cpii_approval_login_age),
			 errhint("Log in again.")));
}

/* set the state of a request; the statement names who and when */
static void
decide(const CpiiRequest *request, const char *state, const char *person,
	   const char *note, TimestampTz at, TimestampTz use_before)
{
	Oid			types[6] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = Int64GetDatum(request->id);
	values[1] = CStringGetTextDatum(state);
	values[2] = CStringGetTextDatum(person);
	values[3] = note ? CStringGetTextDatum(note) : (Datum) 0;
	nulls[3] = note ? ' ' : 'n';
	values[4] = TimestampTzGetDatum(at);
	values[5] = TimestampTzGetDatum(use_before);
	nulls[5] = use_before != 0 ? ' ' : 'n';
	cpii_internal_execute("UPDATE courier_pii.request_register"
						  " SET state = $2, decided_by = $3, outcome = $4,"
						  " decided_at = $5, use_before = $6 WHERE id = $1",
						  6, types, values, nulls, false, 0);
}

/* approve(request_id, note) */
Datum
cpii_approve(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	CpiiRequest request;
	CpiiApproval *approvals;
	CpiiApproval mine;
	char	   *note;
	int			n;
	int			needed;
	Oid			types[7] = {INT8OID, TEXTOID, TEXTOID, OIDOID, TIMESTAMPTZOID, TEXTOID, BYTEAOID};
	Datum		values[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};

	cpii_require_duty("pii_security_admin");
	cpii_session_require_spelled("approve");
	require_fresh_login();
	person = known_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (strcmp(request.state, "pending") != 0)
		wrong_state(&request, "pending");
	refuse_own(&request, &person, "approve");
	n = cpii_request_approvals(request.id, &approvals);
	for (int i = 0; i < n; i++)
		if (cpii_same_person(&approvals[i].approver, &person))
			ereport(ERROR,
					(errcode(CPII_ERRCODE_DUTY_MISSING),
					 errmsg("request has to be approved by another person"),
					 errdetail("The person has approved it already.")));

	mine.approver = person;
	mine.approved_at = GetCurrentTimestamp();
	cpii_approval_seal(&request, &mine, mine.seal);
	values[0] = Int64GetDatum(request.id);
	values[1] = CStringGetTextDatum(person.name);
	values[2] = CStringGetTextDatum(person.staff_no);
	nulls[2] = person.staff_no[0] == '\0' ? 'n' : ' ';
	values[3] = ObjectIdGetDatum(person.login);
	values[4] = TimestampTzGetDatum(mine.approved_at);
	values[5] = note ? CStringGetTextDatum(note) : (Datum) 0;
	nulls[5] = note ? ' ' : 'n';
	values[6] = bytes(mine.seal, sizeof(mine.seal));
	needed = Max(request.needed, cpii_quorum(request.kind, request.estimated_rows));

	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.request_approval"
						  " (request_id, approver, approver_staff_no,"
						  " approver_login, approved_at, note, seal)"
						  " VALUES ($1, $2, $3, $4::regrole, $5, $6, $7)",
						  7, types, values, nulls, false, 0);
	if (n + 1 >= needed)
		decide(&request, "approved", person.name, NULL, mine.approved_at,
			   cpii_seconds_after(mine.approved_at, cpii_use_seconds()));
	announce(&request, n + 1 >= needed ? "approved" : "approved in part",
			 person.name, note);
	SPI_finish();
	record(&request, "approve", "ok");
	PG_RETURN_VOID();
}

/* reject(request_id, note) */
Datum
cpii_reject(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	CpiiRequest request;
	char	   *note;

	cpii_require_duty("pii_security_admin");
	cpii_session_require_spelled("reject");
	person = known_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (strcmp(request.state, "pending") != 0)
		wrong_state(&request, "pending");
	refuse_own(&request, &person, "reject");
	SPI_connect();
	decide(&request, "rejected", person.name, note, GetCurrentTimestamp(), 0);
	announce(&request, "rejected", person.name, note);
	SPI_finish();
	record(&request, "reject", "ok");
	PG_RETURN_VOID();
}

/* cancel(request_id, note): take back one's own, approved or not */
Datum
cpii_cancel(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	CpiiRequest request;
	char	   *note;

	cpii_require_preload();
	person = cpii_acting_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (!cpii_same_person(&request.requester, &person))
	{
		record(&request, "cancel", "denied");
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("request was made by another person")));
	}
	if (strcmp(request.state, "pending") != 0 &&
		strcmp(request.state, "approved") != 0)
		wrong_state(&request, "pending or approved");
	cpii_ticket_file_revoke(request.id, request.digest);
	SPI_connect();
	decide(&request, "cancelled", person.name, note, GetCurrentTimestamp(), 0);
	announce(&request, "cancelled", person.name, note);
	SPI_finish();
	record(&request, "cancel", "ok");
	PG_RETURN_VOID();
}

/*
 * revoke_ticket(request_id, note): void at once, for running windows too, and
 * whatever becomes of this transaction.
 */
Datum
cpii_revoke_ticket(PG_FUNCTION_ARGS)
{
	CpiiPerson	person;
	CpiiRequest request;
	char	   *note;

	cpii_require_duty("pii_security_admin");
	person = known_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (strcmp(request.state, "approved") != 0 &&
		strcmp(request.state, "used") != 0)
		wrong_state(&request, "approved or in use");
	refuse_own(&request, &person, "revoke_ticket");
	cpii_ticket_file_revoke(request.id, request.digest);
	SPI_connect();
	decide(&request, "revoked", person.name, note, GetCurrentTimestamp(), 0);
	announce(&request, "revoked", person.name, note);
	SPI_finish();
	record(&request, "revoke_ticket", "ok");
	PG_RETURN_VOID();
}

/* set_quorum(kind, approvals, above_rows): fewer approvals need a ticket */
Datum
cpii_set_quorum(PG_FUNCTION_ARGS)
{
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			approvals = PG_GETARG_INT32(1);
	int64		above = PG_GETARG_INT64(2);
	Oid			types[4] = {TEXTOID, INT4OID, INT8OID, NAMEOID};
	Datum		values[4];
	NameData	set_by;

	cpii_require_duty("pii_security_admin");
	check_kind(kind);
	if (approvals < 1 || approvals > 5 || above < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("approvals must be from 1 to 5, and above_rows not negative")));
	if (approvals < cpii_quorum(kind, above))
		(void) cpii_require_ticket("policy",
								   psprintf("quorum/%s/%d/%lld", kind, approvals, (long long) above),
								   false);
	namestrcpy(&set_by, cpii_session_actor()->login_name);
	values[0] = CStringGetTextDatum(kind);
	values[1] = Int32GetDatum(approvals);
	values[2] = Int64GetDatum(above);
	values[3] = NameGetDatum(&set_by);
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.quorum_rule AS q"
						  " (kind, approvals, above_rows, set_by)"
						  " VALUES ($1, $2, $3, $4)"
						  " ON CONFLICT (kind, above_rows) DO UPDATE SET"
						  " approvals = excluded.approvals,"
						  " set_by = excluded.set_by, set_at = pg_catalog.now()",
						  4, types, values, NULL, false, 0);
	SPI_finish();
	cpii_audit_note(CPII_ACT_POLICY, "set_quorum", "ok",
					psprintf("{\"kind\": \"%s\", \"approvals\": %d, \"above_rows\": %lld}",
							 kind, approvals, (long long) above));
	PG_RETURN_VOID();
}
