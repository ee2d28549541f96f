/*-------------------------------------------------------------------------
 *
 * ticket_look.c
 *	  Looking at requests: the view of them, what an approver should know, and
 *	  the worker's task that writes into the register what the clocks and the
 *	  file of used tickets say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "audit/worker.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "guard/ticket.h"
#include "guard/ticket_file.h"
#include "guard/ticket_state.h"
#include "people/duty.h"
#include "policy/relation.h"

#define RECONCILE_MS 1000

PG_FUNCTION_INFO_V1(cpii_request_rows);
PG_FUNCTION_INFO_V1(cpii_request_review);
CPII_EXPORT Datum cpii_request_rows(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_request_review(PG_FUNCTION_ARGS);

/* ---- what the register says, put right by clocks and marks ---- */

typedef struct Truth
{
	const char *state;
	TimestampTz used_at;		/* 0 = not */
	const char *outcome;		/* NULL: as the register says */
} Truth;

static Truth
truth(const char *state, int64 id, const unsigned char *digest,
	  TimestampTz decide_before, TimestampTz use_before, TimestampTz used_at)
{
	TimestampTz now = GetCurrentTimestamp();
	Truth		result = {state, used_at, NULL};
	CpiiTicketMarks marks;

	if (strcmp(state, "pending") == 0)
	{
		if (now >= decide_before)
			result.state = "expired";
		return result;
	}
	if (strcmp(state, "approved") != 0)
		return result;
	cpii_ticket_file_look(id, digest, &marks);
	if (marks.used_at != 0)
	{
		result.used_at = marks.used_at;
		result.state = "used";
		result.outcome = marks.ended == CPII_MARK_COMMITTED ? "done" :
			marks.ended == CPII_MARK_ROLLED_BACK ? "rolled back" : NULL;
	}
	if (marks.revoked_at != 0)
		result.state = "revoked";
	else if (marks.used_at == 0 && now >= use_before)
		result.state = "expired";
	return result;
}

static bool
sees_all(void)
{
	return cpii_session_has_duty("pii_security_admin") ||
		cpii_session_has_duty("pii_auditor") ||
		(!cpii_duties_sealed() && superuser_arg(cpii_session_actor()->login) &&
		 superuser_arg(GetOuterUserId()));
}

static TimestampTz
time_of(HeapTuple row, TupleDesc desc, int no)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, no, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

static bool
digest_of(HeapTuple row, TupleDesc desc, int no, unsigned char *digest)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, no, &isnull);
	bytea	   *bytes;

	if (isnull)
		return false;
	bytes = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(bytes) != CPII_SHA256_LEN)
		return false;
	memcpy(digest, VARDATA_ANY(bytes), CPII_SHA256_LEN);
	return true;
}

/*
 * request_rows(): id, kind, state, requester, purpose, details, requested_at,
 * decided_by, decided_at, expires_at, used_at, outcome
 */
Datum
cpii_request_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CpiiPerson	person;
	Oid			types[3] = {BOOLOID, TEXTOID, OIDOID};
	Datum		args[3];

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	person = cpii_acting_person();
	args[0] = BoolGetDatum(sees_all());
	args[1] = CStringGetTextDatum(person.staff_no);
	args[2] = ObjectIdGetDatum(person.login);
	SPI_connect();
	cpii_internal_execute("SELECT r.id, r.kind, r.state, r.requester, r.purpose,"
						  " r.details, r.requested_at, r.decided_by, r.decided_at,"
						  " r.use_before, r.used_at, r.outcome, r.decide_before, r.digest"
						  " FROM courier_pii.request_register r"
						  " WHERE $1 OR CASE WHEN r.requester_staff_no IS NOT NULL AND $2 <> ''"
						  " THEN r.requester_staff_no = $2"
						  " ELSE r.requester_login::pg_catalog.oid = $3 END"
						  " OR ($2 <> '' AND $2 = ANY (r.beneficiaries))"
						  " ORDER BY r.id",
						  3, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Datum		values[12];
		bool		nulls[12];
		unsigned char digest[CPII_SHA256_LEN];
		char	   *state = SPI_getvalue(row, desc, 3);
		TimestampTz use_before = time_of(row, desc, 10);
		TimestampTz decide_before = time_of(row, desc, 13);
		Truth		now = {state, time_of(row, desc, 11), NULL};

		for (int c = 0; c < 12; c++)
			values[c] = SPI_getbinval(row, desc, c + 1, &nulls[c]);
		if (digest_of(row, desc, 14, digest))
			now = truth(state, DatumGetInt64(values[0]), digest, decide_before,
						use_before, now.used_at);
		values[2] = CStringGetTextDatum(now.state);
		/* the clock that runs, or the last one that ran */
		values[9] = TimestampTzGetDatum(use_before != 0 ? use_before : decide_before);
		nulls[9] = false;
		values[10] = TimestampTzGetDatum(now.used_at);
		nulls[10] = now.used_at == 0;
		if (now.outcome != NULL)
		{
			values[11] = CStringGetTextDatum(now.outcome);
			nulls[11] = false;
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

/* ---- what an approver should know ---- */

int64
cpii_ticket_estimate(Oid relid)
{
	Oid			base = cpii_masked_view_base(relid);
	Oid			types[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(OidIsValid(base) ? base : relid)};
	int64		rows;

	/* a table that was never analyzed: guess from its size */
	SPI_connect();
	cpii_internal_execute("SELECT coalesce(pg_catalog.sum(CASE"
						  " WHEN c.relkind NOT IN ('r', 'm') THEN 0"
						  " WHEN c.reltuples >= 0 THEN c.reltuples"
						  " ELSE pg_catalog.pg_relation_size(c.oid) / 150 END), 0)::bigint"
						  " FROM (SELECT $1 AS relid UNION SELECT p.relid::oid"
						  " FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p) t"
						  " JOIN pg_catalog.pg_class c ON c.oid = t.relid",
						  1, types, args, NULL, true, 0);
	rows = SPI_processed > 0 ? cpii_result_int64(0, 1) : 0;
	SPI_finish();
	return rows;
}

/*
 * A ticket of kind policy or disclosure names a role, as in the object
 * "role/class/level": whoever is a member profits.
 */
bool
cpii_ticket_widens(const CpiiRequest *request, const CpiiPerson *person)
{
	for (int i = 0; i < request->nbeneficiaries + request->nobjects; i++)
	{
		char	   *name = pstrdup(i < request->nbeneficiaries ?
								   request->beneficiaries[i] :
								   request->objects[i - request->nbeneficiaries]);
		char	   *rest;

		for (char *word = strtok_r(name, "/:", &rest); word != NULL;
			 word = strtok_r(NULL, "/:", &rest))
		{
			Oid			role = get_role_oid(word, true);

			/* an approver holds the duty that somebody else is appointed to */
			if (OidIsValid(role) && !cpii_duty_is_role(word) &&
				is_member_of_role_nosuper(person->login, role))
				return true;
			if (person->staff_no[0] != '\0' && strcmp(word, person->staff_no) == 0)
				return true;
		}
	}
	return false;
}

static void
put(ReturnSetInfo *rsinfo, const char *section, const char *item, const char *value)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	values[0] = CStringGetTextDatum(section);
	values[1] = CStringGetTextDatum(item);
	nulls[2] = value == NULL;
	values[2] = value ? CStringGetTextDatum(value) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* rows of a query with columns item, value */
static void
put_query(ReturnSetInfo *rsinfo, const char *section, const char *sql,
		  int nargs, Oid *types, Datum *args)
{
	SPI_connect();
	cpii_internal_execute(sql, nargs, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		put(rsinfo, section, cpii_result_text(i, 1), cpii_result_text(i, 2));
	SPI_finish();
}

static void
review_relation(ReturnSetInfo *rsinfo, Oid relid, const char *name)
{
	Oid			base = cpii_masked_view_base(relid);
	Oid			types[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(OidIsValid(base) ? base : relid)};

	put(rsinfo, "taken", name, psprintf("about %lld rows",
										(long long) cpii_ticket_estimate(relid)));
	put_query(rsinfo, "classes",
			  "SELECT a.attrelid::pg_catalog.regclass::text || '.' || a.attname,"
			  " courier_pii.class_name(t.typtypmod)"
			  " FROM pg_catalog.pg_attribute a"
			  " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
			  " WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped"
			  " AND t.typbasetype = 'courier_pii.sealed'::pg_catalog.regtype"
			  " ORDER BY a.attnum", 1, types, args);
}

/* "schema.*" means all protected tables of the schema */
static void
review_schema(ReturnSetInfo *rsinfo, const char *object)
{
	Oid			types[1] = {TEXTOID};
	Datum		args[1];

	if (strlen(object) < 3 || strcmp(object + strlen(object) - 2, ".*") != 0)
		return;
	args[0] = CStringGetTextDatum(pnstrdup(object, strlen(object) - 2));
	put_query(rsinfo, "taken",
			  "SELECT DISTINCT p.tbl::text, 'about '"
			  " || greatest(c.reltuples, 0)::bigint || ' rows'"
			  " FROM courier_pii.protected_columns p"
			  " JOIN pg_catalog.pg_class c ON c.oid = p.tbl"
			  " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			  " WHERE pg_catalog.quote_ident(n.nspname) = $1 ORDER BY 1",
			  1, types, args);
}

/* request_review(id): section, item, value */
Datum
cpii_request_review(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CpiiRequest request;
	Oid			types[2] = {TEXTOID, INT8OID};
	Datum		args[2];

	cpii_require_preload();
	if (!sees_all())
		cpii_require_duty("pii_security_admin");
	InitMaterializedSRF(fcinfo, 0);
	if (!cpii_request_load(PG_GETARG_INT64(0), false, &request))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("request does not exist")));
	put(rsinfo, "request", "kind", request.kind);
	put(rsinfo, "request", "purpose", request.purpose);
	put(rsinfo, "request", "requester", request.requester.name);
	put(rsinfo, "request", "details", request.details_text);
	put(rsinfo, "request", "approvals needed",
		psprintf("%d", Max(request.needed, cpii_quorum(request.kind, request.estimated_rows))));
	put(rsinfo, "request", "register",
		cpii_request_intact(&request) ? "as it was asked for" : "CHANGED: do not approve");
	if (request.nobjects == 0)
		put(rsinfo, "taken", "nothing is named", NULL);
	for (int i = 0; i < request.nobjects; i++)
	{
		Oid			relid;

		if (!OidIsValid(request.object_oids[i]))
		{
			put(rsinfo, "taken", request.objects[i], NULL);
			review_schema(rsinfo, request.objects[i]);
			continue;
		}
		(void) cpii_object_name(request.objects[i], &relid);
		if (relid != request.object_oids[i])
			put(rsinfo, "taken", request.objects[i],
				"another relation has this name now: the ticket would not fit");
		else
			review_relation(rsinfo, relid, request.objects[i]);
	}
	for (int i = 0; i < request.nbeneficiaries; i++)
		put(rsinfo, "for", request.beneficiaries[i], NULL);

	args[0] = CStringGetTextDatum(request.requester.name);
	args[1] = Int64GetDatum(request.id);
	put_query(rsinfo, "requests of 90 days",
			  "SELECT r.kind || ', ' || r.state, pg_catalog.count(*)::text"
			  " FROM courier_pii.request_register r"
			  " WHERE r.requester = $1 AND r.id <> $2"
			  " AND r.requested_at > pg_catalog.now() - '90 days'::pg_catalog.interval"
			  " GROUP BY 1 ORDER BY 1", 2, types, args);
	put_query(rsinfo, "audit of 30 days",
			  "SELECT v.item, v.value::text FROM (SELECT"
			  " pg_catalog.sum(l.disclosed) AS disclosed,"
			  " pg_catalog.count(*) FILTER (WHERE l.action IN ('EXPORT', 'COPY')) AS exports,"
			  " pg_catalog.count(*) FILTER (WHERE l.action = 'DESTROY') AS destructions,"
			  " pg_catalog.count(*) FILTER (WHERE l.outcome IN ('denied', 'blocked')) AS refused"
			  " FROM courier_pii.audit_log l"
			  " WHERE coalesce(l.staff_no, l.login_role) = $1 AND l.phase <> 'BEGIN'"
			  " AND l.at > pg_catalog.now() - '30 days'::pg_catalog.interval) s,"
			  " LATERAL (VALUES ('clear values', s.disclosed), ('exports and copies', s.exports),"
			  " ('destructions', s.destructions), ('refused', s.refused)) v(item, value)",
			  1, types, args);
	return (Datum) 0;
}

/* ---- the worker's task ---- */

static void
settle(int64 id, const Truth *now)
{
	Oid			types[4] = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	CpiiRequest request;

	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(now->state);
	values[2] = TimestampTzGetDatum(now->used_at);
	nulls[2] = now->used_at == 0 ? 'n' : ' ';
	values[3] = now->outcome ? CStringGetTextDatum(now->outcome) : (Datum) 0;
	nulls[3] = now->outcome ? ' ' : 'n';
	cpii_internal_execute("UPDATE courier_pii.request_register r SET state = $2,"
						  " used_at = $3, outcome = coalesce($4, r.outcome)"
						  " WHERE r.id = $1 AND r.state IN ('pending', 'approved')",
						  4, types, values, nulls, false, 0);
	if (cpii_request_load(id, false, &request))
	{
		cpii_ticket_announce(&request, now->state, NULL, NULL);
		if (strcmp(now->state, "expired") == 0)
			cpii_ticket_record(&request, "expire", "ok");
	}
}

/*
 * A ticket that opens a time stays approved in the register while its time may
 * run, so that revoking is possible; an open transaction has no outcome yet.
 */
static void
reconcile(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (RecoveryInProgress() ||
		!OidIsValid(cpii_relation_oid("request_register", true)))
		return;
	SPI_connect();
	cpii_internal_execute("SELECT r.id, r.state, r.digest, r.decide_before, r.use_before"
						  " FROM courier_pii.request_register r"
						  " WHERE r.state IN ('pending', 'approved') ORDER BY r.id",
						  0, NULL, NULL, NULL, true, 1000);
	{
		SPITupleTable *table = SPI_tuptable;
		uint64		n = SPI_processed;

		for (uint64 i = 0; i < n; i++)
		{
			HeapTuple	row = table->vals[i];
			unsigned char digest[CPII_SHA256_LEN];
			char	   *state = SPI_getvalue(row, table->tupdesc, 2);
			bool		isnull;
			int64		id = DatumGetInt64(SPI_getbinval(row, table->tupdesc, 1, &isnull));
			Truth		now;

			if (!digest_of(row, table->tupdesc, 3, digest))
				continue;
			now = truth(state, id, digest, time_of(row, table->tupdesc, 4),
						time_of(row, table->tupdesc, 5), 0);
			if (strcmp(now.state, state) == 0)
				continue;
			/* wait for the end of the transaction, for as long as it may take */
			if (strcmp(now.state, "used") == 0 && now.outcome == NULL &&
				!TimestampDifferenceExceeds(now.used_at, GetCurrentTimestamp(),
											24 * 3600 * 1000))
				continue;
			settle(id, &now);
		}
	}
	SPI_finish();
	MemoryContextSwitchTo(context);
}

void
cpii_ticket_look_init(void)
{
	cpii_worker_register_task(reconcile, RECONCILE_MS);
}
