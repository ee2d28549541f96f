/*-------------------------------------------------------------------------
 *
 * ticket_use.c
 *	  Using a ticket: is it genuine, in time, this person's, and for this act?
 *
 * Everything is checked again when a ticket is used: digest, seals, approvals,
 * both clocks, person, objects.  The use is on disk before the act begins
 * (ticket_file.c), so a ticket gives one act whatever becomes of it.
 *
 * One act is one top-level statement: a second question within it, for objects
 * that the ticket names, is the same use.  Tickets that open a time (kinds
 * disclosure, maintenance, break_glass) may be used again by the same person
 * until their minutes have passed since the first use.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/partition.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "crypto/keyring.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "guard/ticket_file.h"
#include "guard/ticket_state.h"
#include "people/roster.h"
#include "policy/relation.h"

#define DEFAULT_MINUTES 60
#define MAX_MINUTES 240

/* tickets used in this transaction, whose outcome is still open */
typedef struct OpenUse
{
	int64		id;
	SubTransactionId subid;
	unsigned char digest[CPII_TICKET_DIGEST_PART];
} OpenUse;

#define MAX_OPEN_USES 16
static OpenUse open_uses[MAX_OPEN_USES];
static int	nopen_uses = 0;

/* the ticket that the running statement has used */
static int64 statement_ticket = 0;
static TimestampTz statement_started = 0;
static uint64 statement_account = 0;

/* a ticket that opens a time, as taken in this statement */
static int64 taken_ticket = 0;
static TimestampTz taken_started = 0;
static TimestampTz taken_until = 0;

static CpiiTicket current;

/* ---- does it fit? ---- */

static bool
opens_time(const char *kind)
{
	return strcmp(kind, "disclosure") == 0 || strcmp(kind, "maintenance") == 0 ||
		strcmp(kind, "break_glass") == 0;
}

static int64
minutes_of(const CpiiRequest *request)
{
	int64		minutes = cpii_request_number(request, "minutes", DEFAULT_MINUTES);

	return Max(1, Min(minutes, MAX_MINUTES));
}

/* a relation, not one column of it */
static bool
is_whole(const char *object)
{
	List	   *names;

	return SplitIdentifierString(pstrdup(object), '.', &names) &&
		list_length(names) <= 2;
}

/* is relid the named relation, a partition of it, or its masked view? */
static bool
covers(Oid named, Oid relid)
{
	if (named == relid)
		return true;
	if (cpii_masked_view_base(named) == relid ||
		cpii_masked_view_base(relid) == named)
		return true;
	return get_rel_relispartition(relid) &&
		list_member_oid(get_partition_ancestors(relid), named);
}

static bool
fits(const CpiiRequest *request, const char *object)
{
	Oid			relid;
	char	   *name;
	char	   *all = NULL;

	if (object == NULL)
		return true;
	if (request->nobjects == 0)
		return strcmp(request->kind, "maintenance") == 0 ||
			strcmp(request->kind, "break_glass") == 0;
	name = cpii_object_name(object, &relid);
	if (OidIsValid(relid))
		all = psprintf("%s.*", quote_identifier(get_namespace_name(get_rel_namespace(relid))));
	for (int i = 0; i < request->nobjects; i++)
	{
		Oid			named = request->object_oids[i];

		if (OidIsValid(named) != OidIsValid(relid))
		{
			if (all != NULL && strcmp(request->objects[i], all) == 0)
				return true;
			continue;
		}
		if (!OidIsValid(named))
		{
			if (strcmp(request->objects[i], name) == 0)
				return true;
		}
		else if (is_whole(request->objects[i]) ? covers(named, relid) :
				 (named == relid && strcmp(request->objects[i], name) == 0))
			return true;
	}
	return false;
}

/* ---- is it good? ---- */

/*
 * Enough approvals, each genuine, each by another person who is still at work?
 * When was the last?
 */
static bool
approved(const CpiiRequest *request, TimestampTz *at)
{
	CpiiApproval *approvals;
	int			n = cpii_request_approvals(request->id, &approvals);
	int			good = 0;

	*at = 0;
	for (int i = 0; i < n; i++)
	{
		CpiiApproval *a = &approvals[i];
		unsigned char seal[CPII_MAC_LEN];
		bool		again = false;

		cpii_approval_seal(request, a, seal);
		if (memcmp(seal, a->seal, sizeof(seal)) != 0 ||
			a->approved_at >= request->decide_before ||
			cpii_same_person(&a->approver, &request->requester) ||
			cpii_request_benefits(request, &a->approver) ||
			cpii_roster_left(a->approver.login))
			continue;
		for (int j = 0; j < i; j++)
			again |= cpii_same_person(&a->approver, &approvals[j].approver);
		if (again)
			continue;
		good++;
		*at = Max(*at, a->approved_at);
	}
	return good >= Max(request->needed,
					   cpii_quorum(request->kind, request->estimated_rows));
}

/* the person whose ticket it is */
static bool
is_holder(const CpiiRequest *request)
{
	CpiiPerson	person = cpii_acting_person();

	if (cpii_duties_sealed() && person.staff_no[0] == '\0')
		return false;
	if (request->nbeneficiaries > 0 &&
		(strcmp(request->kind, "disclosure") == 0 ||
		 strcmp(request->kind, "break_glass") == 0))
		return cpii_request_benefits(request, &person);
	return cpii_same_person(&request->requester, &person);
}

/* is the statement that runs the one that used the ticket? */
static bool
same_statement(int64 id)
{
	return statement_ticket == id &&
		statement_started == GetCurrentStatementStartTimestamp() &&
		statement_account == cpii_account_number();
}

/*
 * Everything about a ticket but what it is for.  NULL when it is good; else why
 * not.  *used: it is in use (this statement, or its time runs).
 */
static const char *
judge(int64 id, const char *kind, CpiiRequest *request, bool *used,
	  TimestampTz *until)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz at;
	CpiiTicketMarks marks;

	*used = false;
	if (RecoveryInProgress())
		return "Tickets are used on the primary server only.";
	if (!cpii_request_load(id, false, request))
		return "There is no such request.";
	if (strcmp(request->kind, kind) != 0)
		return psprintf("It is of kind \"%s\", not \"%s\".", request->kind, kind);
	if (!is_holder(request))
		return "It belongs to another person.";
	if (!cpii_request_intact(request))
		return "It is not as it was asked for: its digest or seal does not match the register.";
	cpii_ticket_file_look(id, request->digest, &marks);
	if (marks.revoked_at != 0)
		return "It was revoked.";
	if (strcmp(request->state, "approved") != 0 &&
		strcmp(request->state, "used") != 0)
		return psprintf("It is %s.",
						strcmp(request->state, "pending") == 0 &&
						now >= request->decide_before ? "expired" : request->state);
	if (!approved(request, &at))
		return "Its approvals are not complete, or not genuine.";
	*until = cpii_seconds_after(at, cpii_use_seconds());
	if (marks.used_at != 0)
	{
		*used = true;
		if (opens_time(kind))
		{
			*until = cpii_seconds_after(marks.used_at,
											minutes_of(request) * SECS_PER_MINUTE);
			return now < *until ? NULL : "Its time is over.";
		}
		return same_statement(id) ? NULL : "It was used before.";
	}
	return now < *until ? NULL : "It has expired.";
}

/* ---- using it ---- */

/* the number in courier_pii.ticket; 0 = none is named, -1 = something else */
static int64
named_ticket(void)
{
	char	   *end;
	long long	id;

	if (cpii_ticket == NULL || cpii_ticket[0] == '\0')
		return 0;
	errno = 0;
	id = strtoll(cpii_ticket, &end, 10);
	return errno == 0 && *end == '\0' && id > 0 ? (int64) id : -1;
}

static void
no_ticket(const char *kind, const char *object)
{
	StringInfoData details;

	initStringInfo(&details);
	if (object != NULL)
	{
		StringInfoData json;

		initStringInfo(&json);
		appendStringInfoString(&json, "{\"object\": ");
		escape_json(&json, object);
		appendStringInfoChar(&json, '}');
		appendStringInfo(&details, ", %s", quote_literal_cstr(json.data));
	}
	ereport(ERROR,
			(errcode(CPII_ERRCODE_LIMIT_REACHED),
			 errmsg("an approved ticket of kind \"%s\" is required", kind),
			 object ? errdetail("The act is on \"%s\".", object) : 0,
			 errhint("Ask with courier_pii.request('%s', purpose%s); when another person has approved, SET courier_pii.ticket to the number.",
					 kind, details.data)));
}

static void
bad_ticket(int64 id, const CpiiRequest *request, const char *kind, const char *why)
{
	if (request != NULL && request->requester.name != NULL)
		cpii_ticket_record(request, "use_ticket", "denied");
	else
		cpii_audit_note(CPII_ACT_REQUEST, "use_ticket", "denied",
						psprintf("{\"request\": %lld, \"kind\": \"%s\"}",
								 (long long) Max(id, 0), kind));
	ereport(ERROR,
			(errcode(CPII_ERRCODE_TICKET_INVALID),
			 errmsg("ticket cannot be used"),
			 errdetail("%s", why),
			 errhint("See the view courier_pii.requests.")));
}

/* ---- how the transactions of uses end ---- */

static void
ended(const OpenUse *use, CpiiMarkKind kind)
{
	cpii_ticket_file_ended(use->id, use->digest, kind);
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
	{
		for (int i = 0; i < nopen_uses; i++)
			ended(&open_uses[i], event == XACT_EVENT_COMMIT ?
				  CPII_MARK_COMMITTED : CPII_MARK_ROLLED_BACK);
		nopen_uses = 0;
	}
	else if (event == XACT_EVENT_PREPARE)
		nopen_uses = 0;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	int			kept = 0;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = 0; i < nopen_uses; i++)
	{
		if (open_uses[i].subid >= mySubid)
		{
			if (event == SUBXACT_EVENT_ABORT_SUB)
			{
				ended(&open_uses[i], CPII_MARK_ROLLED_BACK);
				continue;
			}
			open_uses[i].subid = parentSubid;
		}
		open_uses[kept++] = open_uses[i];
	}
	nopen_uses = kept;
}

/* ---- marking ---- */

static void
remember_use(const CpiiRequest *request)
{
	static bool registered = false;

	statement_ticket = request->id;
	statement_started = GetCurrentStatementStartTimestamp();
	statement_account = cpii_account_number();
	if (!registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
		registered = true;
	}
	if (nopen_uses < MAX_OPEN_USES)
	{
		OpenUse    *use = &open_uses[nopen_uses++];

		use->id = request->id;
		use->subid = GetCurrentSubTransactionId();
		memcpy(use->digest, request->digest, sizeof(use->digest));
	}
}

/* mark as used; why not, when somebody was faster */
static const char *
use(CpiiRequest *request)
{
	CpiiTicketMarks marks;

	if (!cpii_ticket_file_use(request->id, request->digest, &marks))
		return marks.revoked_at != 0 ? "It was revoked." : "It was used before.";
	remember_use(request);
	cpii_ticket_record(request, "use_ticket", "ok");
	return NULL;
}

static int64
redeem(int64 id, const char *kind, const char **objects, int n)
{
	CpiiRequest request = {0};
	bool		used;
	TimestampTz until;
	const char *why;

	if (id == 0)
		no_ticket(kind, n > 0 ? objects[0] : NULL);
	if (id < 0)
		bad_ticket(id, NULL, kind, "Its value is not the number of a request.");
	why = judge(id, kind, &request, &used, &until);
	for (int i = 0; why == NULL && i < n; i++)
		if (!fits(&request, objects[i]))
			why = psprintf("It does not name \"%s\".", objects[i]);
	if (why == NULL && !used)
		why = use(&request);
	if (why != NULL)
		bad_ticket(id, &request, kind, why);
	return id;
}

static int64
redeem_hook(const char *kind, const char *object)
{
	return redeem(named_ticket(), kind, &object, object ? 1 : 0);
}

/* names of relations as the request's objects are written */
static const char **
relation_names(const Oid *relids, int n)
{
	const char **names = palloc(sizeof(char *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		names[i] = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relids[i])),
											  get_rel_name(relids[i]));
	return names;
}

int64
cpii_ticket_redeem_all(const char *kind, const Oid *relids, int n)
{
	return redeem(named_ticket(), kind, relation_names(relids, n), n);
}

int64
cpii_ticket_redeem_number(int64 id, const char *kind, const Oid *relids, int n)
{
	return redeem(id != 0 ? id : named_ticket(), kind, relation_names(relids, n), n);
}

/* ---- asking without using ---- */

static bool
key_at_hand(void)
{
	unsigned char key[CPII_KEY_LEN];
	bool		result = cpii_keyring_audit_key(key);

	cpii_wipe(key, sizeof(key));
	return result;
}

const CpiiTicket *
cpii_ticket_current(const char *kind)
{
	int64		id = named_ticket();
	CpiiRequest request = {0};

	if (id <= 0 || !IsTransactionState() || !key_at_hand() ||
		judge(id, kind, &request, &current.used, &current.until) != NULL)
		return NULL;
	current.id = id;
	strlcpy(current.kind, request.kind, sizeof(current.kind));
	current.max_values = cpii_request_number(&request, "max_values", -1);
	current.max_rows = cpii_request_number(&request, "max_rows", -1);
	return &current;
}

bool
cpii_ticket_look(const char *kind, CpiiRequest *request)
{
	int64		id = named_ticket();
	bool		used;
	TimestampTz until;

	memset(request, 0, sizeof(*request));
	return id > 0 && IsTransactionState() && key_at_hand() &&
		judge(id, kind, request, &used, &until) == NULL;
}

const char *
cpii_ticket_covers(int64 id, const char *kind, const char *object)
{
	CpiiRequest request = {0};
	bool		used;
	TimestampTz until;
	const char *why;

	if (!key_at_hand())
		return "There is no key to judge the ticket with.";
	why = judge(id, kind, &request, &used, &until);
	if (why != NULL)
		return why;
	return fits(&request, object) ? NULL : "The ticket does not name the object.";
}

bool
cpii_ticket_take(const char *kind)
{
	int64		id = named_ticket();
	CpiiRequest request = {0};
	bool		used;
	TimestampTz until;

	if (id <= 0)
		return false;
	if (taken_ticket == id &&
		taken_started == GetCurrentStatementStartTimestamp() &&
		GetCurrentTimestamp() < taken_until)
		return true;
	if (!key_at_hand() || judge(id, kind, &request, &used, &until) != NULL)
		return false;
	if (!used)
	{
		if (use(&request) != NULL ||
			judge(id, kind, &request, &used, &until) != NULL)
			return false;
	}
	taken_ticket = id;
	taken_started = GetCurrentStatementStartTimestamp();
	taken_until = until;
	return true;
}

int64
cpii_ticket_export(const char *bound)
{
	int64		id = named_ticket();
	CpiiRequest request;

	if (id == 0)
		return -1;
	if (cpii_statement.nrelations == 0 ||
		cpii_statement.nrelations >= CPII_MAX_STATEMENT_RELATIONS)
		bad_ticket(id, NULL, "export", "The statement reads too many relations, or none that is known.");
	id = redeem(id, "export",
				relation_names(cpii_statement.relations, cpii_statement.nrelations),
				cpii_statement.nrelations);
	if (!cpii_request_load(id, false, &request))
		return -1;
	return cpii_request_number(&request, bound, PG_INT64_MAX);
}

void
cpii_ticket_init(void)
{
	cpii_ticket_file_init();
	cpii_ticket_redeem_hook = redeem_hook;
	cpii_ticket_look_init();
	cpii_ticket_level_init();
}
