/*-------------------------------------------------------------------------
 *
 * held.h
 *	  Held accounts: logins whose password nobody knows alone.  A sealed account
 *	  has its password in an envelope of three shares, a joint account one of
 *	  two halves.  Private to the people room, but for the two questions of the
 *	  guard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_HELD_H
#define CPII_HELD_H

#include "datatype/timestamp.h"
#include "nodes/nodes.h"

#include "base/compat.h"
#include "base/session.h"

/* ---- held_account.c ---- */

/* is the role a held account?  Shared memory only, in every database */
extern bool cpii_held_role(Oid role);

/* are there any? */
extern bool cpii_held_any(void);
/* the registers have some, or none (any more) */
extern void cpii_held_set_any(bool any);

/*
 * Called by the guard for each utility statement that is not ours: raises
 * PI006, after a record, when it would change a held account.
 */
extern void cpii_held_utility(Node *stmt);

/*
 * The person who acts, by a login of their own: shares and halves are not for
 * roles behind a pool, nor for roles that are nobody's.
 */
extern const CpiiActor *cpii_held_person(void);

/* record and raise 42501: who acts is no custodian of that role */
pg_noreturn extern void cpii_held_not_custodian(const char *role_name,
												const char *command);

/* may the role become a held account?  SPI is connected */
extern void cpii_held_check_role(Oid role);

/* an active person of the register, with a login; SPI is connected */
extern void cpii_held_check_custodian(const char *staff_no);

/*
 * Set a password that is written nowhere; NULL: one that nobody knows.  The
 * cause goes into the register of passwords.  SPI is connected.
 */
extern void cpii_held_set_password(Oid role, const char *password,
								   const char *cause);

/* LOGIN or NOLOGIN; SPI is connected */
extern void cpii_held_set_login(Oid role, bool login);

/* the verifier that the catalog has for the role, or NULL */
extern char *cpii_held_verifier(Oid role);

/* a line of the register of envelopes and joint passwords; SPI is connected */
extern void cpii_held_event(Oid role, const char *event, const char *staff_no,
							const char *ticket, const char *detail);

/* the register's words for shared memory, as part of the transaction */
extern void cpii_held_announce(Oid role);

/* end this process at a time, whatever it does then */
extern void cpii_held_end_at(TimestampTz when);

extern void cpii_held_init(void);

/* ---- held_room.c: what waits to be fetched, in shared memory only ---- */

#define HELD_SECRET_MAX 256

/*
 * Keep a secret from the commit on, for some seconds (0: until it is taken).
 * It is encrypted; raises PI004 without a key.
 */
extern void cpii_held_put(Oid role, int64 series, int number,
						  const unsigned char *data, size_t len, int seconds);
/* its length, after it was wiped in shared memory; -1: it is not there */
extern int	cpii_held_take(Oid role, int64 series, int number,
						   unsigned char out[HELD_SECRET_MAX]);
extern bool cpii_held_present(Oid role, int64 series, int number);
/* at commit, whatever of the role waits is wiped */
extern void cpii_held_forget(Oid role);
extern void cpii_held_room_init(void);

/* ---- sealed_account.c ---- */

/* new password, new shares; the account is NOLOGIN then.  SPI is connected */
extern void cpii_sealed_seal(Oid role, const char *event);
/* are the custodians all at work? */
extern bool cpii_sealed_custodians_good(Oid role);
/* the envelope is worth nothing any more; SPI is connected */
extern void cpii_sealed_void(Oid role, const char *staff_no, const char *why);
extern void cpii_sealed_person_left(const char *staff_no, const char *status);

/* ---- envelope_close.c ---- */

/*
 * End the time of an open account: sessions, password, LOGIN; then seal it
 * anew when that can be done.  SPI is connected.
 */
extern void cpii_envelope_close(Oid role, const char *cause, bool reseal);
/* an envelope is opened until then: have the worker look */
extern void cpii_envelope_expect_end(TimestampTz until);
extern void cpii_envelope_close_init(void);

/* ---- envelope_open.c ---- */
extern void cpii_envelope_init(void);

/* ---- joint_password.c ---- */
extern void cpii_joint_person_left(const char *staff_no, const char *status);
/* raise PI006 unless the second person is present; needs no catalog */
extern void cpii_joint_gate(Oid role);
/* is a second person there for this joint account?  Takes a lock, no catalog */
extern bool cpii_joint_attended(Oid role);
extern void cpii_joint_init(void);

#endif							/* CPII_HELD_H */
