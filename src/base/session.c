/*-------------------------------------------------------------------------
 *
 * session.c
 *	  Who is acting: the facts of one session that decisions and records need.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "common/ip.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/port.h"
#include "base/session.h"
#include "base/ticket.h"

CpiiPersonLookup cpii_person_lookup = NULL;
CpiiAccountDenied cpii_account_denied = NULL;
CpiiAccountStranger cpii_account_stranger = NULL;
CpiiAccountWaits cpii_account_waits = NULL;

static CpiiActor actor;
static bool actor_valid = false;
static bool actor_known = false;	/* computed at least once */
static bool callback_registered = false;

/* who acts behind a pool in this transaction, while token_valid */
static bool token_valid = false;
static Oid	token_person = InvalidOid;
static char token_staff_no[CPII_STAFF_NO_LEN];
static char token_org[CPII_ORG_LEN];

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	actor_valid = false;
}

static bool
role_name(Oid role, char *buf)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		super = false;

	if (HeapTupleIsValid(tup))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tup);

		strlcpy(buf, NameStr(form->rolname), NAMEDATALEN);
		super = form->rolsuper;
		ReleaseSysCache(tup);
	}
	else
		snprintf(buf, NAMEDATALEN, "%u", role); /* dropped meanwhile */
	return super;
}

void
cpii_session_fill_client(CpiiActor *a)
{
	a->client_addr[0] = '\0';
	a->client_port = -1;
	if (MyProcPort == NULL)
		return;
	if (MyProcPort->raddr.addr.ss_family == AF_INET ||
		MyProcPort->raddr.addr.ss_family == AF_INET6)
	{
		char		port[NI_MAXSERV];

		if (pg_getnameinfo_all(&MyProcPort->raddr.addr,
							   MyProcPort->raddr.salen,
							   a->client_addr, sizeof(a->client_addr),
							   port, sizeof(port),
							   NI_NUMERICHOST | NI_NUMERICSERV) == 0)
			a->client_port = atoi(port);
		else
			a->client_addr[0] = '\0';
	}
}

const CpiiActor *
cpii_session_actor(void)
{
	Oid			login = GetAuthenticatedUserId();
	Oid			session = GetSessionUserId();
	Oid			outer = GetOuterUserId();

	if (!OidIsValid(login))
		login = session;

	if (actor_valid && actor.login == login && actor.session == session &&
		actor.outer == outer)
		return &actor;

	if (!callback_registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
		callback_registered = true;
	}

	actor.login = login;
	actor.session = session;
	actor.outer = outer;
	actor.privileged = role_name(login, actor.login_name);
	(void) role_name(session, actor.session_name);
	if (role_name(outer, actor.outer_name))
		actor.privileged = true;
	cpii_session_fill_client(&actor);

	actor.staff_no[0] = '\0';
	actor.org[0] = '\0';
	actor.proof = CPII_PROOF_NONE;
	actor.person = login;
	if (token_valid)
	{
		actor.person = token_person;
		if (OidIsValid(token_person) && superuser_arg(token_person))
			actor.privileged = true;
		actor.proof = CPII_PROOF_TOKEN;
		strlcpy(actor.staff_no, token_staff_no, sizeof(actor.staff_no));
		strlcpy(actor.org, token_org, sizeof(actor.org));
	}
	else if (cpii_person_lookup != NULL &&
		cpii_person_lookup(login, actor.staff_no, actor.org))
		actor.proof = CPII_PROOF_LOGIN;

	actor_valid = true;
	actor_known = true;
	return &actor;
}

const CpiiActor *
cpii_session_actor_last(void)
{
	return actor_known ? &actor : NULL;
}

void
cpii_session_forget(void)
{
	actor_valid = false;
}

void
cpii_session_set_token(Oid person, const char *staff_no, const char *org)
{
	token_person = person;
	strlcpy(token_staff_no, staff_no, sizeof(token_staff_no));
	strlcpy(token_org, org, sizeof(token_org));
	token_valid = true;
	cpii_session_forget();
}

void
cpii_session_clear_token(void)
{
	if (token_valid)
	{
		token_valid = false;
		cpii_session_forget();
	}
}

bool
cpii_session_token_person(Oid *person)
{
	*person = token_person;
	return token_valid;
}

bool
cpii_session_acts_as(const CpiiActor *who, Oid role)
{
	if (!OidIsValid(who->person) ||
		!is_member_of_role_nosuper(who->person, role))
		return false;
	if (who->proof == CPII_PROOF_TOKEN && who->outer == who->login)
		return CPII_CAN_USE_ROLE(who->person, role);
	return has_privs_of_role(who->outer, role);
}

const char *
cpii_proof_name(CpiiProof proof)
{
	switch (proof)
	{
		case CPII_PROOF_NONE:
			return "none";
		case CPII_PROOF_LOGIN:
			return "login";
		case CPII_PROOF_TOKEN:
			return "token";
	}
	return "none";
}

bool
cpii_session_has_duty(const char *duty)
{
	Oid			role = get_role_oid(duty, true);

	return OidIsValid(role) &&
		cpii_session_acts_as(cpii_session_actor(), role);
}

void
cpii_require_duty(const char *duty)
{
	cpii_require_preload();

	if (cpii_session_has_duty(duty))
		return;
	/* set-up: a superuser who logged in as such may call everything */
	if (!cpii_duties_sealed() &&
		superuser_arg(cpii_session_actor()->login) &&
		superuser_arg(GetOuterUserId()))
		return;
	ereport(ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("permission denied: duty \"%s\" is required", duty),
			 errhint("Ask a member of role \"%s\".", duty)));
}

void
cpii_session_require_spelled(const char *command)
{
	const char *text = debug_query_string;
	size_t		len = strlen(command);

	for (const char *p = text; p != NULL && *p != '\0'; p++)
	{
		if (pg_strncasecmp(p, command, len) == 0)
		{
			const char *rest = p + len;

			while (*rest == '"' || isspace((unsigned char) *rest))
				rest++;
			if (*rest == '(')
				return;
		}
	}
	ereport(ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("%s() has to be called by the statement that the person sends",
					command),
			 errdetail("The call came from a view, trigger or function.")));
}

void
cpii_report_activity(const char *text)
{
	char	   *blank = palloc(pgstat_track_activity_query_size);

	memset(blank, ' ', pgstat_track_activity_query_size - 1);
	blank[pgstat_track_activity_query_size - 1] = '\0';
	pgstat_report_activity(STATE_RUNNING, blank);
	pfree(blank);
	pgstat_report_activity(STATE_RUNNING, text);
}

void
cpii_session_init(void)
{
}
