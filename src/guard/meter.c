/*-------------------------------------------------------------------------
 *
 * meter.c
 *	  How many clear values a person may still be shown.
 *
 * The unit is one clear value.  A statement's allowance is what is left of the
 * smallest of three limits: per statement, per hour, per day.  It is worked
 * out at the first clear value of the statement; what was disclosed is charged
 * to the hour and day when the statement ends, so statements that run side by
 * side may together pass a window by one statement each.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/statement.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "people/roster.h"
#include "policy/catalog.h"

static int64
smaller(int64 allowance, int64 limit, int64 used)
{
	int64		left;

	if (limit < 0)
		return allowance;
	left = Max(limit - used, 0);
	return (allowance < 0 || left < allowance) ? left : allowance;
}

static void
fill_allowance(CpiiStatement *statement)
{
	CpiiLimits	limits = cpii_policy_limits();
	int64		hour;
	int64		day;
	int64		allowance = -1;

	cpii_roster_window_used(cpii_session_actor()->login, &hour, &day);
	allowance = smaller(allowance, limits.per_statement, 0);
	allowance = smaller(allowance, limits.per_hour, hour);
	allowance = smaller(allowance, limits.per_day, day);
	statement->allowance = allowance;
	statement->probe_allowance = cpii_default_probe_limit;
}

void
cpii_meter_charge(int64 disclosed)
{
	const CpiiActor *who = cpii_session_actor_last();

	if (disclosed > 0 && who != NULL)
		cpii_roster_window_add(who->login, disclosed);
}

void
cpii_meter_init(void)
{
	cpii_allowance_source = fill_allowance;
}
