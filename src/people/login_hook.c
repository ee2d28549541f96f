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
#include "people/login_hook.h"
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

static void
client_authentication(Port *port, int status)
{
	CpiiActor	actor;
	Oid			role;

	if (prev_client_authentication_hook)
		prev_client_authentication_hook(port, status);

	/* EOF: the client went away to ask for a password; no attempt yet */
	if (cpii_roster_table == NULL || status == STATUS_EOF)
		return;

	role = get_role_oid(port->user_name, true);
	fill_actor(&actor, role, port->user_name);

	if (status != STATUS_OK)
	{
		record_login(&actor, CPII_ACT_LOGIN_DENIED, "denied",
					 ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					 "{\"reason\": \"authentication failed\"}");
		return;
	}
	if (OidIsValid(cpii_roster_denied(role, role, role)))
	{
		record_login(&actor, CPII_ACT_LOGIN_DENIED, "denied",
					 CPII_ERRCODE_ACCOUNT_DISABLED,
					 "{\"reason\": \"account disabled\"}");
		ereport(FATAL,
				(errcode(CPII_ERRCODE_ACCOUNT_DISABLED),
				 errmsg("account of role \"%s\" is disabled",
						actor.login_name)));
	}
	if (actor.proof == CPII_PROOF_LOGIN)
		record_login(&actor, CPII_ACT_LOGIN, "ok", 0, NULL);
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
