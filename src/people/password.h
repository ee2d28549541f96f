/*-------------------------------------------------------------------------
 *
 * password.h
 *	  Passwords: rules, history, the register of changes, and the session that
 *	  may do nothing but change one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PASSWORD_H
#define CPII_PASSWORD_H

#include "access/parallel.h"
#include "nodes/plannodes.h"

#include "base/compat.h"
#include "base/internal.h"
#include "people/roster.h"

/* ---- password.c ---- */

/*
 * Raise unless this clear password may be set for the role (InvalidOid: it is
 * being made).  Looks at the register where it can be read.
 */
extern void cpii_password_check(Oid role, const char *role_name,
								const char *password);

/* the same for one person's half of a joint password of a role */
extern void cpii_password_check_half(Oid person, const char *role_name,
									 const char *half);
/* raise when the role had this password before */
extern void cpii_password_check_reuse(Oid role, const char *role_name,
									  const char *password);

/* has the password's own end ("VALID UNTIL") passed?  Shared catalogs only */
extern bool cpii_password_expired(Oid role);

/* the function that is changing a password passes the password hook */
extern bool cpii_password_own_change;

/* raise 22023 with this reason */
pg_noreturn extern void cpii_password_refuse_weak(const char *why);

extern void cpii_password_init(void);

/* ---- password_change.c ---- */

/*
 * Set a password without asking the rules; the text is nowhere but in the
 * catalog, as a verifier.  SPI is connected.
 */
extern void cpii_password_store(Oid role, const char *role_name,
								const char *password);

/* ---- password_register.c ---- */

/* how a password was set */
typedef enum CpiiPasswordHow
{
	CPII_PASSWORD_SELF,			/* by the person */
	CPII_PASSWORD_ADMIN,		/* by somebody else */
	CPII_PASSWORD_PREHASHED,	/* arrived hashed */
	CPII_PASSWORD_TAKEN,		/* taken away */
	CPII_PASSWORD_LEAK,			/* taken away on suspicion of a leak */
	CPII_PASSWORD_CATALOG		/* changed behind our back */
} CpiiPasswordHow;

/*
 * Enter the password that the role has now into register and history.  SPI is
 * connected.  must_change: the person has to change it first.
 */
extern void cpii_password_enter(Oid role, CpiiPasswordHow how,
								bool must_change, const char *reason);

/* take the role's password away; SPI is connected */
extern void cpii_password_take(Oid role, const char *reason);

/* find changes that bypassed the hook; SPI is connected */
extern void cpii_password_find_unexplained(void);

/* what the guard's utility hook calls before and after each statement */
extern void cpii_password_before(PlannedStmt *pstmt, const char *queryString);
extern void cpii_password_after(PlannedStmt *pstmt);

/* called by the check hook: the statement sets a password */
extern void cpii_password_noted(bool prehashed);

/* ---- password_gate.c ---- */

/*
 * Called by the guard when cpii_roster_restricted: raise unless the statement
 * can do nothing but change the password.
 */
extern void cpii_password_gate_plan(const PlannedStmt *plan);

/*
 * The same, for every plan: asked at the start and again at each run, because a
 * portal may have been opened before.
 */
static inline void
cpii_password_gate(const PlannedStmt *plan)
{
	if (unlikely(cpii_roster_restricted) && cpii_internal_depth == 0 &&
		!IsParallelWorker())
		cpii_password_gate_plan(plan);
}
extern void cpii_password_gate_utility(Node *stmt);
/* a function called without a statement, over the fast path */
extern void cpii_password_gate_call(Oid function);

/* ---- password_scrub.c ---- */

/* remove the literals of the running statement where others can read it */
extern void cpii_password_scrub(const char *text, int location, int length);
/* the same where the text looks as if it held a password */
extern void cpii_password_scrub_if_any(const char *text, int location,
									   int length, bool prepare);
/* likewise of a statement that calls one of our functions with a password */
extern void cpii_password_scrub_call(void);
/* for the log hook: a message about to be written */
extern void cpii_password_scrub_message(ErrorData *edata);

/* ---- guess.c ---- */

/* digests of what somebody who knows the person would try first; NULL: no key */
extern bytea *cpii_guess_digests(const char *birthday, const char *phone);
/* is the piece one of them? */
extern bool cpii_guess_known(const bytea *digests, const char *piece,
							 size_t len);

#endif							/* CPII_PASSWORD_H */
