/*-------------------------------------------------------------------------
 *
 * meter.c
 *	  How much a statement may still take of each budget.
 *
 * Four budgets are counted apart: clear values, probes, masked values, and rows
 * with sealed values that leave.  Each has a limit per statement, per hour and
 * per day; the last two belong to the person, over all their sessions (see
 * window.c).
 *
 * Limits are handed to the door in blocks of CPII_METER_BLOCK: the shared
 * counters are touched once a block and once when the statement ends, not for
 * each value.  A block is reserved before its first value is shown, so sessions
 * side by side never pass a limit together; what a statement did not use is
 * given back when it ends, so meanwhile a person may be refused one block for
 * each of their other sessions early.
 *
 * What a cursor took in earlier slices is remembered until the transaction
 * ends, so that many small slices give no more than one large one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "audit/statement.h"
#include "base/session.h"
#include "base/transaction.h"
#include "guard/guard.h"
#include "guard/live.h"
#include "guard/window.h"
#include "policy/catalog.h"

/* so many plans of a transaction are forgotten one by one */
#define FEW_SLICES 16

/* one plan that has taken something in this transaction */
typedef struct Slices
{
	const QueryDesc *query;		/* hash key; never followed */
	uint64		account;		/* the account that runs it now */
	int64		settled[CPII_NBUDGETS]; /* taken in earlier accounts */
	int64		current[CPII_NBUDGETS]; /* taken in this account */
} Slices;

HTAB	   *cpii_meter_slices = NULL;

/* the same, kept when it is empty: making one for each statement costs */
static HTAB *slices = NULL;

/* what the open account holds of the windows, and for whom */
static bool holding = false;
static CpiiPersonKey holder;
static int64 reserved[CPII_NBUDGETS];
static int64 settled[CPII_NBUDGETS];	/* counts up to here are in the windows */

/* a ticket lifted limits of the open account up to so much; 0 = it did not */
static int64 lifted_to[CPII_NBUDGETS];

static void
hold_for(const CpiiActor *who)
{
	CpiiPersonKey person;

	cpii_person_key(who, &person);
	if (holding && !cpii_person_same(&person, &holder))
		cpii_meter_settle();	/* another person acts from here on */
	holder = person;
	holding = true;
}

static bool
more(CpiiBudget budget)
{
	CpiiStatement *s = &cpii_statement;
	const CpiiActor *who = cpii_session_actor();
	CpiiLimits	limits = cpii_policy_limits(budget);
	int64		counts[CPII_NBUDGETS];
	int64		used;
	int64		held;
	int64		want = CPII_METER_BLOCK;

	hold_for(who);
	cpii_statement_counts(counts);
	used = counts[budget];
	if (lifted_to[budget] > 0)
	{
		want = Min(want, lifted_to[budget] - s->carried[budget] - used);
		if (want <= 0)
			return false;
		s->granted[budget] = used + want;
		cpii_live_progress(counts);
		return true;
	}
	if ((limits.per_statement < 0 && limits.per_hour < 0 && limits.per_day < 0))
	{
		/* nothing to ask for; the windows learn of it when it ends */
		s->granted[budget] = used + CPII_METER_BLOCK;
		cpii_live_progress(counts);
		return true;
	}
	if (limits.per_statement >= 0)
		want = Min(want, limits.per_statement - s->carried[budget] - used);
	held = reserved[budget] - (used - settled[budget]);
	if (want > 0 && held > 0)
	{
		/* left from before a slice of a cursor was counted in */
		s->granted[budget] = used + Min(want, held);
		return true;
	}
	if (want > 0)
		want = cpii_window_reserve(&holder, budget, want,
								   limits.per_hour, limits.per_day);
	if (want > 0)
	{
		reserved[budget] += want;
		s->granted[budget] = used + want;
		cpii_live_progress(counts);
		return true;
	}
	return cpii_meter_lift(budget) &&
		lifted_to[budget] > s->carried[budget] + used && more(budget);
}

bool
cpii_meter_lift(CpiiBudget budget)
{
	if (lifted_to[budget] == 0)
		lifted_to[budget] = Max(cpii_gate_ticket(budget), 0);
	return lifted_to[budget] > 0;
}

bool
cpii_meter_is_limited(CpiiBudget budget)
{
	CpiiLimits	limits = cpii_policy_limits(budget);

	return limits.per_statement >= 0 || limits.per_hour >= 0 ||
		limits.per_day >= 0;
}

void
cpii_meter_sealed_rows(int64 rows)
{
	hold_for(cpii_session_actor());
	cpii_statement.sealed += rows;
}

void
cpii_meter_settle(void)
{
	int64		counts[CPII_NBUDGETS];
	int64		taken[CPII_NBUDGETS];

	if (!holding)
		return;
	cpii_statement_counts(counts);
	for (int b = 0; b < CPII_NBUDGETS; b++)
	{
		taken[b] = counts[b] - settled[b];
		if (taken[b] != reserved[b])
			cpii_window_add(&holder, b, taken[b] - reserved[b]);
		reserved[b] = 0;
		settled[b] = counts[b];
		cpii_statement.granted[b] = 0;
	}
	cpii_live_settle(&holder, taken);
	holding = false;
}

void
cpii_meter_open(void)
{
	if (unlikely(holding))
		cpii_meter_settle();
	memset(settled, 0, sizeof(settled));
	memset(lifted_to, 0, sizeof(lifted_to));
}

void
cpii_meter_enter_slice(const QueryDesc *query, uint64 account)
{
	Slices	   *entry;
	int64		counts[CPII_NBUDGETS];

	if (cpii_meter_slices == NULL)
		return;
	entry = hash_search(cpii_meter_slices, &query, HASH_FIND, NULL);
	if (entry == NULL || entry->account == account)
		return;
	entry->account = account;
	cpii_statement_counts(counts);
	for (int b = 0; b < CPII_NBUDGETS; b++)
	{
		entry->settled[b] += entry->current[b];
		entry->current[b] = 0;
		cpii_statement.carried[b] += entry->settled[b];
		cpii_statement.granted[b] = counts[b];
	}
}

void
cpii_meter_leave_slice(const QueryDesc *query, uint64 account,
					   const int64 before[CPII_NBUDGETS])
{
	Slices	   *entry;
	int64		counts[CPII_NBUDGETS];
	bool		any = false;
	bool		found;

	cpii_statement_counts(counts);
	for (int b = 0; b < CPII_NBUDGETS; b++)
		any |= counts[b] != before[b];
	if (!any)
		return;
	cpii_transaction_busy = true;
	if (slices == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(const QueryDesc *);
		ctl.entrysize = sizeof(Slices);
		ctl.hcxt = TopMemoryContext;
		slices = hash_create("courier_pii cursors", 16, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	cpii_meter_slices = slices;
	entry = hash_search(cpii_meter_slices, &query, HASH_ENTER, &found);
	if (!found)
	{
		memset(entry->settled, 0, sizeof(entry->settled));
		memset(entry->current, 0, sizeof(entry->current));
	}
	entry->account = account;
	for (int b = 0; b < CPII_NBUDGETS; b++)
		entry->current[b] += counts[b] - before[b];
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
	if (cpii_meter_slices == NULL)
		return;
	cpii_meter_slices = NULL;
	if (hash_get_num_entries(slices) > FEW_SLICES)
	{
		hash_destroy(slices);
		slices = NULL;
	}
	else if (hash_get_num_entries(slices) > 0)
	{
		HASH_SEQ_STATUS seq;
		Slices	   *entry;

		hash_seq_init(&seq, slices);
		while ((entry = hash_seq_search(&seq)) != NULL)
			(void) hash_search(slices, &entry->query, HASH_REMOVE, NULL);
	}
}

void
cpii_meter_init(void)
{
	cpii_budget_source = more;
	cpii_window_init();
	cpii_live_init();
}
