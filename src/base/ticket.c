/*-------------------------------------------------------------------------
 *
 * ticket.c
 *	  The seam between the rooms that need a ticket and the guard, which knows
 *	  tickets.  Fails closed: without the guard there is no ticket.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errcodes.h"
#include "base/ticket.h"

CpiiDutiesSealed cpii_duties_sealed_hook = NULL;
CpiiTicketRedeem cpii_ticket_redeem_hook = NULL;

bool
cpii_duties_sealed(void)
{
	return cpii_duties_sealed_hook != NULL && cpii_duties_sealed_hook();
}

int64
cpii_require_ticket(const char *kind, const char *object, bool always)
{
	if (!always && !cpii_duties_sealed())
		return 0;
	if (cpii_ticket_redeem_hook == NULL)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("an approved ticket of kind \"%s\" is required", kind)));
	return cpii_ticket_redeem_hook(kind, object);
}
