/*-------------------------------------------------------------------------
 *
 * lockout.h
 *	  Failed logins: who is locked for how long, and what is worth a record.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LOCKOUT_H
#define CPII_LOCKOUT_H

#include "datatype/timestamp.h"

/* where a connection comes from; zeros: a local socket */
typedef struct CpiiPlace
{
	uint8		family;			/* as in type inet, 0 = local socket */
	uint8		address[16];
} CpiiPlace;

/* the place of this connection */
extern void cpii_place_of_client(CpiiPlace *place);

/*
 * Through a tunnel everybody comes from the machine itself.  Then who the client
 * is outside of the database (certificate, account of the operating system)
 * takes the place of the address.  False: the address is that of a tunnel, and
 * nothing else is known.
 */
extern bool cpii_place_identify(CpiiPlace *place);

/*
 * Count a failed login of a role (InvalidOid: a name that nobody has).  Returns
 * whether a record is due, with the number of failures that went without one
 * since the last.  *delay: microseconds to wait before answering.
 */
extern bool cpii_lockout_failed(Oid role, const CpiiPlace *place, bool tls,
								bool counts, int *suppressed, long *delay);

/* is the role locked, for this place or altogether? */
extern bool cpii_lockout_locked(Oid role, const CpiiPlace *place);

/* a refused login with the right password: is a record due? */
extern bool cpii_lockout_refused(Oid role, const CpiiPlace *place,
								 int *suppressed);

/* a login was let in: its place starts anew */
extern void cpii_lockout_succeeded(Oid role, const CpiiPlace *place);

/*
 * Enter this session's place; returns whether an older session of the role
 * comes from another place.  With "refuse" such a session is not entered.
 */
extern bool cpii_lockout_enter_session(Oid role, const CpiiPlace *place,
									   bool refuse);

/* what the roster file keeps of failed logins: failures of a role at a place */
typedef struct CpiiLoginLock
{
	Oid			role;
	int32		failures;
	CpiiPlace	place;
	TimestampTz window_start;
	TimestampTz locked_until;
} CpiiLoginLock;

#define CPII_MAX_LOGIN_LOCKS 4096

/*
 * Copy what is worth keeping, at most CPII_MAX_LOGIN_LOCKS; returns the number.
 * Without "locked" nobody else runs.  Never raises.
 */
extern uint32 cpii_lockout_copy(CpiiLoginLock *locks, bool locked);

/* at server start: put one back */
extern void cpii_lockout_restore(const CpiiLoginLock *lock);

extern void cpii_lockout_init(void);

#endif							/* CPII_LOCKOUT_H */
