/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Who is acting: the facts of one session that decisions and records need.
 *
 * Four identities are kept apart: the authenticated (login) role, the session
 * role, the outer role (SET ROLE) and the current role (which a SECURITY
 * DEFINER function changes).  Decisions use login and outer only.
 *
 * Behind a pool of connections the login role is the application's.  A signed
 * token then names the person for one transaction, and that person's own role
 * takes the place of the login role in every decision.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SESSION_H
#define CPII_SESSION_H

#include "datatype/timestamp.h"

#define CPII_STAFF_NO_LEN 64
#define CPII_ORG_LEN 64

typedef enum CpiiProof
{
	CPII_PROOF_NONE,			/* the login role is nobody in the roster */
	CPII_PROOF_LOGIN,			/* the login role belongs to a person */
	CPII_PROOF_TOKEN			/* a signed token named the person */
} CpiiProof;

typedef struct CpiiActor
{
	Oid			login;
	Oid			session;
	Oid			outer;
	char		login_name[NAMEDATALEN];
	char		session_name[NAMEDATALEN];
	char		outer_name[NAMEDATALEN];	/* recorded as current_role */
	bool		privileged;		/* login or outer is a superuser */
	Oid			person;			/* whose memberships decide: the login role, or the
								 * role of the person that a token named */
	CpiiProof	proof;
	char		staff_no[CPII_STAFF_NO_LEN];	/* "" when proof is none */
	char		org[CPII_ORG_LEN];
	char		client_addr[64];	/* "" for a local socket */
	int			client_port;	/* -1 for a local socket */
} CpiiActor;

/*
 * The actor now; recomputed when an identity changed since the last call.
 * Needs catalog access (a valid transaction).  Never raises for an unknown
 * person; the result lives in backend memory.
 */
extern const CpiiActor *cpii_session_actor(void);

/*
 * The actor as last computed, without any catalog access: for error paths and
 * process exit.  NULL when none was computed yet.
 */
extern const CpiiActor *cpii_session_actor_last(void);

/* fill client_addr and client_port from the connection, if there is one */
extern void cpii_session_fill_client(CpiiActor *a);

/* forget the computed actor (role renamed, roster changed, actor token) */
extern void cpii_session_forget(void);

extern const char *cpii_proof_name(CpiiProof proof);

/*
 * A verified token named a person: until cpii_session_clear_token() that
 * person acts.  person is InvalidOid for somebody without a role, who then
 * holds no disclosure at all.
 */
extern void cpii_session_set_token(Oid person, const char *staff_no,
								   const char *org);
extern void cpii_session_clear_token(void);
/* the role of the person that a token named; false without such a token */
extern bool cpii_session_token_person(Oid *person);

/*
 * Does the person act in this role: a member by the person's own role
 * (ignoring superuser power), and by the current (outer) role, too, where that
 * narrows?  A pooled connection's own role narrows nothing.
 */
extern bool cpii_session_acts_as(const CpiiActor *who, Oid role);

/*
 * Installed by the people room: look the login role up in the roster.  Returns
 * false when nobody has that login; else fills staff_no and org (buffers of
 * the sizes above).  No catalog access; must not raise.
 */
typedef bool (*CpiiPersonLookup) (Oid login, char *staff_no, char *org);
extern CpiiPersonLookup cpii_person_lookup;

/*
 * Installed by the people room: is the account of any of these roles denied
 * at this moment?  Cheap: one atomic read in the common case.
 */
typedef bool (*CpiiAccountDenied) (Oid login, Oid session, Oid outer);
extern CpiiAccountDenied cpii_account_denied;

/*
 * Installed by the people room: does nobody of the registers answer for this
 * login role, where the settings ask for somebody?  No catalog access.
 */
typedef bool (*CpiiAccountStranger) (Oid login);
extern CpiiAccountStranger cpii_account_stranger;

/*
 * Installed by the people room: may sessions of this login role do nothing yet,
 * because the password must be changed first, or because a joint account's
 * second person is not there?  No catalog access.
 */
typedef bool (*CpiiAccountWaits) (Oid login);
extern CpiiAccountWaits cpii_account_waits;

/* is the role a member (ignoring superuser power) of a duty role by name? */
extern bool cpii_session_has_duty(const char *duty);

/*
 * Raise unless the caller may use functions of this duty: a member of the duty
 * role (login and outer both), or, until the duties are sealed, a superuser.
 */
extern void cpii_require_duty(const char *duty);

/*
 * Some acts are the person's: the statement that the client sent has to spell
 * the call of this function out.  Otherwise somebody could put it into a view,
 * trigger or function and wait for the person to touch it.  Raises PI006.
 */
extern void cpii_session_require_spelled(const char *command);

/*
 * Replace the text in pg_stat_activity; nothing of a longer one stays behind
 * it in shared memory, where a core dump would show it.
 */
extern void cpii_report_activity(const char *text);

extern void cpii_session_init(void);

#endif							/* CPII_SESSION_H */
