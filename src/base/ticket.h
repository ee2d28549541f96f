/*-------------------------------------------------------------------------
 *
 * ticket.h
 *	  What any room may ask about exceptional powers: is set-up over, and does
 *	  the person hold an approved ticket for this act?
 *
 * The workflow of requests and approvals lives in the guard; the rooms below
 * it reach it only through the two hooks here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TICKET_H
#define CPII_TICKET_H

/*
 * Installed by the people room: did seal_duties() end set-up?  Must not raise;
 * answers without catalog access.  Without the hook set-up goes on.
 */
typedef bool (*CpiiDutiesSealed) (void);
extern CpiiDutiesSealed cpii_duties_sealed_hook;

extern bool cpii_duties_sealed(void);

/*
 * Installed by the guard: use up the ticket that the setting
 * courier_pii.ticket names, for one act of "kind" (as in request()) on
 * "object".  Returns the ticket's number; raises PI001 when no ticket is
 * named, PI002 when it does not fit, was used, revoked or has expired.
 *
 * object names what is acted upon, as the request's details name it:
 * "schema.table", "schema.table.column", "class/epoch", a staff number; NULL
 * when the kind has no object.
 */
typedef int64 (*CpiiTicketRedeem) (const char *kind, const char *object);
extern CpiiTicketRedeem cpii_ticket_redeem_hook;

/*
 * Require a ticket for an act.  Until the duties are sealed the act passes
 * without one (0 is returned) unless always is true: widening a right needs no
 * ticket in set-up, destroying data always does.
 */
extern int64 cpii_require_ticket(const char *kind, const char *object,
								 bool always);

#endif							/* CPII_TICKET_H */
