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
 * What a cursor gave in earlier slices is remembered until the transaction
 * ends, so that many small slices give no more than one large one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "audit/statement.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "people/roster.h"
#include "policy/catalog.h"

/* one plan that has given clear values in this transaction */
typedef struct Slices
{
	const QueryDesc *query;		/* hash key; never followed */
	uint64		account;		/* the account that runs it now */
	int64		settled;		/* given in earlier accounts */
	int64		current;		/* given in this account */
} Slices;

HTAB	   *cpii_meter_slices = NULL;

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
	allowance = smaller(allowance, limits.per_statement, statement->carried);
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
cpii_meter_enter_slice(const QueryDesc *query, uint64 account)
{
	Slices	   *entry;

	if (cpii_meter_slices == NULL)
		return;
	entry = hash_search(cpii_meter_slices, &query, HASH_FIND, NULL);
	if (entry == NULL || entry->account == account)
		return;
	entry->settled += entry->current;
	entry->current = 0;
	entry->account = account;
	cpii_statement.carried += entry->settled;
	cpii_statement.allowance_known = false;
}

void
cpii_meter_leave_slice(const QueryDesc *query, uint64 account, int64 disclosed)
{
	Slices	   *entry;
	bool		found;

	if (disclosed <= 0)
		return;
	if (cpii_meter_slices == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(const QueryDesc *);
		ctl.entrysize = sizeof(Slices);
		ctl.hcxt = TopMemoryContext;
		cpii_meter_slices = hash_create("courier_pii cursors", 16, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(cpii_meter_slices, &query, HASH_ENTER, &found);
	if (!found)
		entry->settled = entry->current = 0;
	entry->account = account;
	entry->current += disclosed;
}

/* an address may be used again */
void
cpii_meter_forget_slice(const QueryDesc *query)
{
	(void) hash_search(cpii_meter_slices, &query, HASH_REMOVE, NULL);
}

/* the transaction ends */
void
cpii_meter_at_end(void)
{
	if (cpii_meter_slices != NULL)
		hash_destroy(cpii_meter_slices);
	cpii_meter_slices = NULL;
}

void
cpii_meter_init(void)
{
	cpii_allowance_source = fill_allowance;
}
