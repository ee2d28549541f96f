/*-------------------------------------------------------------------------
 *
 * ticket_decide.c
 *	  Decisions on requests: approve, reject, cancel, revoke, and how many
 *	  approvals there have to be.
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
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
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

PG_FUNCTION_INFO_V1(cpii_approve);
PG_FUNCTION_INFO_V1(cpii_reject);
PG_FUNCTION_INFO_V1(cpii_cancel);
PG_FUNCTION_INFO_V1(cpii_revoke_ticket);
PG_FUNCTION_INFO_V1(cpii_set_quorum);
CPII_EXPORT Datum cpii_approve(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reject(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_cancel(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_revoke_ticket(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_quorum(PG_FUNCTION_ARGS);

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

	if (note != NULL && strlen(note) > CPII_MAX_PURPOSE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("note must not be longer than %d bytes", CPII_MAX_PURPOSE)));
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
	cpii_ticket_record(request, command, "denied");
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

/* the request ends here: decided, told and recorded */
static void
finish(const CpiiRequest *request, const char *command, const char *state,
	   const char *person, const char *note)
{
	SPI_connect();
	decide(request, state, person, note, GetCurrentTimestamp(), 0);
	cpii_ticket_announce(request, state, person, note);
	SPI_finish();
	cpii_ticket_record(request, command, "ok");
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
	person = cpii_ticket_person();
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
	values[6] = cpii_bytea(mine.seal, sizeof(mine.seal));
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
	cpii_ticket_announce(&request, n + 1 >= needed ? "approved" : "approved in part",
						 person.name, note);
	SPI_finish();
	cpii_ticket_record(&request, "approve", "ok");
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
	person = cpii_ticket_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (strcmp(request.state, "pending") != 0)
		wrong_state(&request, "pending");
	refuse_own(&request, &person, "reject");
	finish(&request, "reject", "rejected", person.name, note);
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
		cpii_ticket_record(&request, "cancel", "denied");
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("request was made by another person")));
	}
	if (strcmp(request.state, "pending") != 0 &&
		strcmp(request.state, "approved") != 0)
		wrong_state(&request, "pending or approved");
	cpii_ticket_file_revoke(request.id, request.digest);
	finish(&request, "cancel", "cancelled", person.name, note);
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
	person = cpii_ticket_person();
	note = note_argument(fcinfo);
	load_argument(fcinfo, &request);
	if (strcmp(request.state, "approved") != 0 &&
		strcmp(request.state, "used") != 0)
		wrong_state(&request, "approved or in use");
	refuse_own(&request, &person, "revoke_ticket");
	cpii_ticket_file_revoke(request.id, request.digest);
	finish(&request, "revoke_ticket", "revoked", person.name, note);
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
	cpii_ticket_check_kind(kind);
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
