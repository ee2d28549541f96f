/*-------------------------------------------------------------------------
 *
 * login_hook.c
 *	  Refuses the login of a disabled account and tells an ended session why.
 *
 * The login is refused after the authentication method has said yes, so that
 * only who knows the password learns that the account is disabled.  At that
 * point shared catalogs can be read, no others, and nothing can be written but
 * the audit spool.
 *
 * A session that is ended because its account was disabled dies of SIGTERM,
 * which the server reports as 57P01; the log hook turns that message into
 * PI005 before it is sent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/port.h"

#include "access/xact.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"

#include "audit/record.h"
#include "base/errcodes.h"
#include "base/session.h"
#include "crypto/shamir.h"
#include "base/settings.h"
#include "people/held.h"
#include "people/lockout.h"
#include "people/login_hook.h"
#include "people/login_rule.h"
#include "people/password.h"
#include "people/roster_table.h"

static ClientAuthentication_hook_type prev_client_authentication_hook = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;

void
cpii_login_role_name(Oid role, bool catalog, char *name)
{
	const CpiiActor *actor = cpii_session_actor_last();
	char	   *found;

	if (MyProcPort != NULL && MyProcPort->user_name != NULL &&
		MyProc != NULL && MyProc->roleId == role)
		strlcpy(name, MyProcPort->user_name, NAMEDATALEN);
	else if (actor != NULL && actor->login == role)
		strlcpy(name, actor->login_name, NAMEDATALEN);
	else if (actor != NULL && actor->session == role)
		strlcpy(name, actor->session_name, NAMEDATALEN);
	else if (actor != NULL && actor->outer == role)
		strlcpy(name, actor->outer_name, NAMEDATALEN);
	else if (catalog && IsTransactionState() &&
			 (found = GetUserNameFromId(role, true)) != NULL)
		strlcpy(name, found, NAMEDATALEN);
	else
		snprintf(name, NAMEDATALEN, "%u", role);
}

/*
 * The actor of a login that is not a session yet.  The text of an unknown user
 * name is not kept: people type passwords there.
 */
static void
fill_actor(CpiiActor *actor, Oid role, const char *name)
{
	memset(actor, 0, sizeof(*actor));
	actor->login = actor->session = actor->outer = role;
	strlcpy(actor->login_name, OidIsValid(role) ? name : "unknown",
			NAMEDATALEN);
	strlcpy(actor->session_name, actor->login_name, NAMEDATALEN);
	strlcpy(actor->outer_name, actor->login_name, NAMEDATALEN);
	actor->privileged = OidIsValid(role) && superuser_arg(role);
	actor->proof = CPII_PROOF_NONE;
	if (OidIsValid(role) && cpii_person_lookup != NULL &&
		cpii_person_lookup(role, actor->staff_no, actor->org))
		actor->proof = CPII_PROOF_LOGIN;
	cpii_session_fill_client(actor);
}

static void
record_login(const CpiiActor *actor, CpiiAction action, const char *outcome,
			 int sqlstate, const char *detail)
{
	CpiiAuditEvent event;

	memset(&event, 0, sizeof(event));
	event.phase = CPII_PHASE_SINGLE;
	event.action = action;
	event.outcome = outcome;
	event.sqlstate = sqlstate;
	event.detail = detail;
	event.actor = actor;
	(void) cpii_audit_write_noerror(&event, false);
}

/* why a login with the right password is refused; NULL: it is not */
typedef struct Refusal
{
	const char *reason;			/* for the record */
	const char *message;		/* with the role's name */
	const char *hint;
} Refusal;

static const Refusal disabled = {
	"account disabled", gettext_noop("account of role \"%s\" is disabled"), NULL
};
static const Refusal held = {
	"account is sealed or joint", gettext_noop("account of role \"%s\" is disabled"),
	gettext_noop("It is sealed in an envelope, or its custodians are not both at work.")
};
static const Refusal locked = {
	"account locked", gettext_noop("account of role \"%s\" is locked"),
	gettext_noop("There were too many failed logins.  Wait, or ask an account administrator to unlock it.")
};
static const Refusal outside_hours = {
	"outside hours", gettext_noop("account of role \"%s\" cannot log in at this time"), NULL
};
static const Refusal other_address = {
	"unregistered address", gettext_noop("account of role \"%s\" cannot log in from this address"), NULL
};
static const Refusal shared = {
	"in use elsewhere", gettext_noop("account of role \"%s\" is in use at another address"), NULL
};
static const Refusal unregistered = {
	"unregistered", gettext_noop("account of role \"%s\" is not registered"),
	gettext_noop("Ask an account administrator to enter it.")
};

/* the rules of an account; false facts->flags: it belongs to nobody */
static const Refusal *
rules_refuse(Oid role, const RosterFacts *facts, const CpiiPlace *place)
{
	if ((facts->flags & (ROSTER_PERSON | ROSTER_HELD)) == 0)
	{
		/* the emergency path: a superuser on the machine itself */
		if (cpii_unregistered_login == CPII_UNREGISTERED_REJECT &&
			!(place->family == 0 && superuser_arg(role)))
			return &unregistered;
		return NULL;
	}
	if (!cpii_rule_hours(facts, GetCurrentTimestamp()))
		return &outside_hours;
	if (!cpii_rule_address(facts, place))
		return &other_address;
	return NULL;
}

/* a copy of what is known of the role; zeros when nobody has it */
static void
copy_facts(Oid role, RosterFacts *facts)
{
	RosterEntry *entry;

	memset(facts, 0, sizeof(*facts));
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(role);
	if (entry != NULL)
		*facts = entry->facts;
	LWLockRelease(cpii_roster_lock);
}

static void
note_login(Oid role)
{
	RosterEntry *entry;

	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(role);
	/* two at once write nearly the same */
	if (entry != NULL)
		entry->last_login = GetCurrentTimestamp();
	LWLockRelease(cpii_roster_lock);
	pg_atomic_write_u32(&cpii_roster_table->unsaved_logins, 1);
}

static const char *
reason_detail(char *buffer, Size size, const char *reason, int suppressed)
{
	if (suppressed > 0)
		snprintf(buffer, size, "{\"reason\": \"%s\", \"not_recorded\": %d}",
				 reason, suppressed);
	else
		snprintf(buffer, size, "{\"reason\": \"%s\"}", reason);
	return buffer;
}

static void
refuse_login(const CpiiActor *actor, const CpiiPlace *place,
			 const Refusal *refusal)
{
	char		detail[128];
	int			suppressed;

	if (cpii_lockout_refused(actor->login, place, &suppressed))
		record_login(actor, CPII_ACT_LOGIN_DENIED, "denied",
					 CPII_ERRCODE_ACCOUNT_DISABLED,
					 reason_detail(detail, sizeof(detail), refusal->reason,
								   suppressed));
	ereport(FATAL,
			(errcode(CPII_ERRCODE_ACCOUNT_DISABLED),
			 errmsg(refusal->message, actor->login_name),
			 refusal->hint ? errhint("%s", _(refusal->hint)) : 0));
}

/*
 * The password was wrong, or the role cannot log in.  One whose password has
 * expired fails with the right one too, so it is not counted.
 */
static void
login_failed(const CpiiActor *actor, const CpiiPlace *place, bool tls)
{
	bool		expired = OidIsValid(actor->login) &&
		cpii_password_expired(actor->login);
	char		detail[128];
	int			suppressed;
	long		delay;

	if (cpii_lockout_failed(actor->login, place, tls, !expired, &suppressed,
							&delay))
		record_login(actor, CPII_ACT_LOGIN_DENIED, "denied",
					 ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					 reason_detail(detail, sizeof(detail),
								   cpii_held_role(actor->login) ? held.reason
								   : expired ? "password has expired"
								   : "authentication failed", suppressed));
}

static void
client_authentication(Port *port, int status)
{
	CpiiActor	actor;
	CpiiPlace	place;
	RosterFacts facts;
	const Refusal *refusal;
	bool		conflict = false;
	bool		tunnel = false;
	Oid			role;

	if (prev_client_authentication_hook)
		prev_client_authentication_hook(port, status);

	/* EOF: the client went away to ask for a password; no attempt yet */
	if (cpii_roster_table == NULL || status == STATUS_EOF)
		return;

	role = get_role_oid(port->user_name, true);
	fill_actor(&actor, role, port->user_name);
	cpii_place_of_client(&place);

	if (status != STATUS_OK)
	{
		login_failed(&actor, &place, port->ssl_in_use);
		return;
	}
	if (!OidIsValid(role))
		return;					/* the server says so itself */
	if (OidIsValid(cpii_roster_denied(role, role, role)))
		refuse_login(&actor, &place, cpii_held_role(role) ? &held : &disabled);
	if (cpii_lockout_locked(role, &place))
		refuse_login(&actor, &place, &locked);
	copy_facts(role, &facts);
	refusal = rules_refuse(role, &facts, &place);
	if (refusal != NULL)
		refuse_login(&actor, &place, refusal);
	if ((facts.flags & ROSTER_PERSON) != 0 &&
		(facts.flags & (ROSTER_SERVICE | ROSTER_SHARED)) == 0 &&
		cpii_login_address_conflict != CPII_CONFLICT_OFF)
	{
		bool		refuse = cpii_login_address_conflict == CPII_CONFLICT_REJECT;
		CpiiPlace	whence = place;

		tunnel = !cpii_place_identify(&whence);
		conflict = cpii_lockout_enter_session(role, &whence, refuse);
		if (conflict && refuse)
			refuse_login(&actor, &place, &shared);
	}
	cpii_lockout_succeeded(role, &place);
	if ((facts.flags & ROSTER_HELD) && !TIMESTAMP_IS_NOEND(facts.not_after))
		cpii_held_end_at(facts.not_after);
	if (actor.proof == CPII_PROOF_LOGIN)
	{
		note_login(role);
		record_login(&actor, CPII_ACT_LOGIN, "ok", 0,
					 conflict && tunnel ? "{\"conflict\": \"in use at another address\", \"address\": \"not meaningful\"}" :
					 conflict ? "{\"conflict\": \"in use at another address\"}" :
					 tunnel ? "{\"address\": \"not meaningful\"}" : NULL);
	}
}

/* a custodian's share of the master key must not reach the log */
static void
hide_shares(ErrorData *edata)
{
	char	   *texts[] = {edata->message, edata->detail, edata->detail_log,
	edata->hint, edata->context, edata->internalquery};

	for (int i = 0; i < lengthof(texts); i++)
		if (texts[i] != NULL)
			(void) cpii_share_scrub(texts[i]);
	if (debug_query_string != NULL && cpii_share_in(debug_query_string))
		edata->hide_stmt = true;
}

/*
 * Background workers are left alone: some report SIGTERM from within the
 * signal handler, where no lock may be taken.
 */
static void
emit_log(ErrorData *edata)
{
	static bool inside = false;

	if (edata->elevel == FATAL &&
		edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN && !inside &&
		(MyBackendType == B_BACKEND || MyBackendType == B_WAL_SENDER) &&
		MyProc != NULL && OidIsValid(MyProc->roleId))
	{
		Oid			denied;

		inside = true;
		denied = cpii_roster_denied(MyProc->roleId, GetSessionUserId(),
									GetOuterUserId());
		if (OidIsValid(denied))
		{
			char		name[NAMEDATALEN];
			Size		size = NAMEDATALEN + 64;
			char	   *message = MemoryContextAlloc(edata->assoc_context, size);

			cpii_login_role_name(denied, false, name);
			snprintf(message, size, _("account of role \"%s\" is disabled"),
					 name);
			edata->sqlerrcode = CPII_ERRCODE_ACCOUNT_DISABLED;
			edata->message = message;
		}
		inside = false;
	}
	hide_shares(edata);
	if (!inside && MyProc != NULL)
	{
		inside = true;
		cpii_password_scrub_message(edata);
		inside = false;
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
cpii_login_hook_init(void)
{
	prev_client_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = client_authentication;
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = emit_log;
}
