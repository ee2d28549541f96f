/*-------------------------------------------------------------------------
 *
 * login_rule.h
 *	  When and from where an account may log in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LOGIN_RULE_H
#define CPII_LOGIN_RULE_H

#include "people/lockout.h"
#include "people/roster_table.h"

/* may the account log in at this time?  Hours are those of "timezone" */
extern bool cpii_rule_hours(const RosterFacts *facts, TimestampTz now);

/* may it log in from this place? */
extern bool cpii_rule_address(const RosterFacts *facts, const CpiiPlace *place);

#endif							/* CPII_LOGIN_RULE_H */
