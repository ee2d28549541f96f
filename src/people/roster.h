/*-------------------------------------------------------------------------
 *
 * roster.h
 *	  Shared memory that knows who may work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ROSTER_H
#define CPII_ROSTER_H

/* shared memory, snapshot file, login hook; installs cpii_person_lookup and
 * cpii_account_denied of base/session.h */
extern void cpii_people_init(void);

/*
 * Raise FATAL PI005 when the account of the session (authenticated, session or
 * outer role) is disabled.  Called by the guard at each top-level statement,
 * portal slice, utility statement and fast-path call.  Cheap when nothing
 * changed.
 */
extern void cpii_roster_check(void);

/*
 * Set by the check: the session may not run everything.  The guard then asks
 * cpii_password_gate_... (password.h).
 */
extern bool cpii_roster_restricted;

/*
 * Why: the password must be changed, or the session is one of a joint account
 * (the role), which runs statements only while two people are there.
 */
extern bool cpii_roster_must_change;
extern Oid	cpii_roster_joint;

/*
 * Make shared memory say what the staff register says; the background worker
 * does it at its start and every ten seconds.  Needs a transaction.
 */
extern void cpii_roster_rebuild(void);

/*
 * Is the account of another role denied at this moment, or gone?  Leaves what
 * is known of the session's own roles alone.
 */
extern bool cpii_roster_left(Oid role);

#endif							/* CPII_ROSTER_H */
