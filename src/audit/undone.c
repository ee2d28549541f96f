/*-------------------------------------------------------------------------
 *
 * undone.c
 *	  Records of changes whose transaction was rolled back afterwards.
 *
 * A statement's record is written when it ends, long before its transaction
 * does.  What was only read stays read; what was changed may be undone, and
 * the trail must not say that rows were destroyed when they are still there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"

#include "audit/undone.h"
#include "base/transaction.h"

#define MAX_REMEMBERED 64

typedef struct Change
{
	CpiiAction	action;
	uint64		seq;
	int			level;			/* nesting level of its transaction */
} Change;

static Change changes[MAX_REMEMBERED];
static int	nchanges = 0;
static bool overflow = false;

static bool
is_change(CpiiAction action)
{
	switch (action)
	{
		case CPII_ACT_COPY:
		case CPII_ACT_DESTROY:
		case CPII_ACT_WRITE:
		case CPII_ACT_POLICY:
		case CPII_ACT_ACCOUNT:
		case CPII_ACT_DDL:
		case CPII_ACT_MAINTENANCE:
			return true;
		default:
			return false;
	}
}

/* the one that matters most, when several are undone at once */
static int
gravity(CpiiAction action)
{
	return action == CPII_ACT_DESTROY ? 4 : action == CPII_ACT_COPY ? 3 :
		action == CPII_ACT_WRITE ? 1 : 2;
}

void
cpii_undone_remember(const CpiiAuditEvent *event, uint64 seq)
{
	if (seq == 0 || !is_change(event->action) || event->phase == CPII_PHASE_BEGIN ||
		event->outcome == NULL || strcmp(event->outcome, "ok") != 0 ||
		!IsTransactionState() || IsParallelWorker())
		return;
	if (nchanges == MAX_REMEMBERED)
	{
		/* the first and the last ones tell enough */
		overflow = true;
		nchanges--;
	}
	changes[nchanges].action = event->action;
	changes[nchanges].seq = seq;
	changes[nchanges].level = GetCurrentTransactionNestLevel();
	nchanges++;
	cpii_transaction_busy = true;
}

/* record that the changes of this level and deeper ones are undone */
static void
undo(int level)
{
	CpiiAuditEvent event = {0};
	char		detail[MAX_REMEMBERED * 24 + 64];
	size_t		used;
	int			first = nchanges;

	while (first > 0 && changes[first - 1].level >= level)
		first--;
	if (first == nchanges)
		return;
	used = snprintf(detail, sizeof(detail), "{\"rolled_back\": [");
	for (int i = first; i < nchanges; i++)
	{
		used += snprintf(detail + used, sizeof(detail) - used, "%s%llu",
						 i == first ? "" : ", ", (unsigned long long) changes[i].seq);
		if (event.action == 0 || gravity(changes[i].action) > gravity(event.action))
			event.action = changes[i].action;
	}
	snprintf(detail + used, sizeof(detail) - used, "]%s}",
			 overflow ? ", \"more\": true" : "");
	nchanges = first;
	event.phase = CPII_PHASE_SINGLE;
	event.outcome = "rollback";
	event.command = "ROLLBACK";
	event.detail = detail;
	(void) cpii_audit_write_noerror(&event, false);
}

static void
xact_callback(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
			undo(0);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			nchanges = 0;
			break;
		default:
			return;
	}
	overflow = false;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine,
				 SubTransactionId parent)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		undo(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = 0; i < nchanges; i++)
			changes[i].level = Min(changes[i].level, level - 1);
	}
}

void
cpii_undone_init(void)
{
	cpii_at_transaction(xact_callback, subxact_callback);
}
