/*-------------------------------------------------------------------------
 *
 * errcodes.h
 *	  The private SQLSTATE class of courier_pii, and nothing else.
 *
 * Classes that begin with A-H or 0-4 belong to the SQL standard; "PI" is free
 * for us.  Every other situation uses a standard code.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ERRCODES_H
#define CPII_ERRCODES_H

#include "utils/elog.h"

/* a disclosure limit was reached, or a bulk operation needs a ticket */
#define CPII_ERRCODE_LIMIT_REACHED		MAKE_SQLSTATE('P','I','0','0','1')
/* a ticket is invalid, expired or used */
#define CPII_ERRCODE_TICKET_INVALID		MAKE_SQLSTATE('P','I','0','0','2')
/* an audit record could not be stored */
#define CPII_ERRCODE_AUDIT_FAILURE		MAKE_SQLSTATE('P','I','0','0','3')
/* a key is not available: server sealed, or epoch destroyed */
#define CPII_ERRCODE_KEY_UNAVAILABLE	MAKE_SQLSTATE('P','I','0','0','4')
/* the account is disabled (FATAL) */
#define CPII_ERRCODE_ACCOUNT_DISABLED	MAKE_SQLSTATE('P','I','0','0','5')
/* a duty or an approval is missing */
#define CPII_ERRCODE_DUTY_MISSING		MAKE_SQLSTATE('P','I','0','0','6')
/* a masked value cannot be stored */
#define CPII_ERRCODE_MASKED_VALUE		MAKE_SQLSTATE('P','I','0','0','7')
/* context (actor, purpose) is required */
#define CPII_ERRCODE_CONTEXT_REQUIRED	MAKE_SQLSTATE('P','I','0','0','8')

#endif							/* CPII_ERRCODES_H */
