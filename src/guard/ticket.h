/*-------------------------------------------------------------------------
 *
 * ticket.h
 *	  Tickets, as the rest of the guard knows them.
 *
 * base/ticket.h is how every room requires a ticket.  Here are the questions
 * that only the guard asks: which ticket does the session name, what does it
 * allow, how much of it is left.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_GUARD_TICKET_H
#define CPII_GUARD_TICKET_H

#include "datatype/timestamp.h"

#include "guard/ticket_state.h"

/* an approved ticket that this session may use, or is using */
typedef struct CpiiTicket
{
	int64		id;
	char		kind[16];
	bool		used;			/* marked as used already */
	int64		max_values;		/* clear values that it allows; -1 = not said */
	int64		max_rows;		/* rows; -1 = not said */
	TimestampTz until;			/* end of its time */
} CpiiTicket;

/*
 * The ticket that courier_pii.ticket names, when it is approved, in time, of
 * this kind and this person's; NULL otherwise.  Uses nothing up and raises
 * nothing about the ticket (a missing key makes it NULL, too).  The result
 * lives until the next call.
 */
extern const CpiiTicket *cpii_ticket_current(const char *kind);

/*
 * A limit is reached: use the session's export ticket for every protected
 * relation that the statement has touched (once per statement; again within it
 * only answers).  Returns what its details bound the statement to by this key
 * ("max_values" or "max_rows"), PG_INT64_MAX when they say nothing; -1 when no
 * ticket is named.  Raises PI002 when it does not fit.
 */
extern int64 cpii_ticket_export(const char *bound);

/*
 * Is this ticket good for an act on the object (NULL: none in particular)?
 * NULL when it is, else why not.  Uses nothing up.
 */
extern const char *cpii_ticket_covers(int64 id, const char *kind,
									  const char *object);

/* use the session's ticket up for several objects of one act */
extern int64 cpii_ticket_redeem_all(const char *kind, const Oid *relids, int n);

/* likewise a ticket by its number; 0 = the one that the session names */
extern int64 cpii_ticket_redeem_number(int64 id, const char *kind,
									   const Oid *relids, int n);

/* ---- between the ticket files ---- */

/* rows of a relation with everything below it, as statistics know */
extern int64 cpii_ticket_estimate(Oid relid);

/* would the request give a role that this login is a member of more? */
extern bool cpii_ticket_widens(const CpiiRequest *request, const CpiiPerson *person);

/* a purpose, and a note to a decision, in bytes */
#define CPII_MAX_PURPOSE 1000

/* raises 22023 for a kind that there is not */
extern void cpii_ticket_check_kind(const char *kind);

/* who asks or decides; after set-up (PI006) somebody of the staff register */
extern CpiiPerson cpii_ticket_person(void);

extern void cpii_ticket_record(const CpiiRequest *request, const char *command,
							   const char *outcome);

/* tell the queue and whoever listens; person and note may be NULL */
extern void cpii_ticket_announce(const CpiiRequest *request, const char *event,
								 const char *person, const char *note);

/*
 * Read the session's ticket when it is good and of this kind; uses nothing up
 * and raises nothing about the ticket.
 */
extern bool cpii_ticket_look(const char *kind, CpiiRequest *request);

/*
 * Use it, once in a statement; false when it is not good (any more).  A ticket
 * that opens a time is used at the first call and only answers afterwards.
 */
extern bool cpii_ticket_take(const char *kind);

extern void cpii_ticket_level_init(void);
extern void cpii_ticket_look_init(void);
extern void cpii_ticket_init(void);

#endif							/* CPII_GUARD_TICKET_H */
