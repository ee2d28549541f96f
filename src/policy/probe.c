/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  Searches by real value, and values that are sealed to be compared.
 *
 * Equal values have equal tags.  So whoever seals a guess and sees the tag, and
 * the tags that are stored, knows whose value it is, without any search.  What
 * is sealed is therefore a probe
 *
 * - outside of a plain write, always;
 * - in a plain write (INSERT, UPDATE, MERGE, COPY FROM) from the sealing of the
 *	 duties on, when the writer may read values of the class as they are stored;
 * - likewise while a column is being protected; but protecting is free for
 *	 whoever reads no tables but their own: it counts, and is not refused.
 *
 * Writers who read through masked views only are never counted: they see no tag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/memnodes.h"
#include "replication/logicalworker.h"
#include "tcop/tcopprot.h"

#include "audit/statement.h"
#include "audit/subject.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "base/transaction.h"
#include "policy/catalog.h"
#include "policy/direct_read.h"
#include "policy/probe.h"
#include "sealed/seal.h"

/* literals that a person without search permission may seal in one statement */
#define LITERALS_WITHOUT_SEARCH 20

/* so many kinds of early values are counted apart; those of more go with the last */
#define EARLY_KINDS 16

typedef struct Early
{
	int			class_id;
	SubTransactionId bound;		/* parameters: of a portal that was made in this
								 * subtransaction; else InvalidSubTransactionId */
	int64		values;
} Early;

bool		cpii_probe_waits = false;

/* values sealed before the statement began that answers for them */
static Early early[EARLY_KINDS];
static int	nearly = 0;

/*
 * Those of them that were sealed while a plan was made: when the plan runs and
 * seals them again, they were counted already.
 */
static CpiiSubjects planned;

/*
 * The door and searches are parallel restricted.  What runs in a worker all the
 * same stands in a function that says that it is safe: there would be no account
 * of it, no limit, and nobody to keep it from code of others.
 */
pg_noinline void
cpii_refuse_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
			 errmsg("protected values cannot be shown, searched or made in a parallel worker"),
			 errhint("Declare the function that does it PARALLEL RESTRICTED.")));
}

/* ---- searches ---- */

/* a superuser who logged in as such sets the database up until duties are sealed */
static bool
setting_up(void)
{
	return !cpii_duties_sealed() && !cpii_is_internal_process() &&
		superuser_arg(cpii_session_actor()->login);
}

/*
 * A search by real value.  Through a masked view the permission is asked of
 * everybody; on a base table a superuser may search while setting up.
 */
static void
search_probe(int class_id, bool through_view, const char *text, size_t len)
{
	if (cpii_internal_depth > 0)
		return;
	cpii_require_preload();
	/* without a text: for its last characters */
	if (unlikely(IsParallelWorker()) && (through_view || text == NULL))
		cpii_refuse_worker();
	if (!cpii_policy_searchable(class_id) &&
		(through_view || !setting_up()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to search values of class \"%s\"",
						cpii_class_name(class_id)),
				 errhint("Ask a security administrator for a disclosure that is searchable.")));

	/*
	 * A value counts once in a statement, however many partitions and indexes
	 * its plan looks into.  It is noted after the limit was asked for: what the
	 * limit refused is refused again.
	 */
	if (text == NULL || !cpii_subject_was_searched(class_id, text, len))
		cpii_statement_probe(class_id);
	if (text != NULL)
		cpii_subject_searched(class_id, text, len);
}

/* ---- values that are sealed ---- */

static pg_noinline void
ask_direct_read(int class_id, uint32 bit)
{
	CpiiStatement *s = &cpii_statement;
	CpiiDirectRead reads = cpii_duties_sealed() ? cpii_direct_read(class_id) :
		CPII_READS_NOTHING;

	s->readers_asked |= bit;
	if (reads != CPII_READS_NOTHING)
		s->readers |= bit;
	if (reads == CPII_READS_OTHERS)
		s->readers_of_others |= bit;
}

/* may the writer see the tag of what is sealed?  Asked once in a statement */
static inline CpiiDirectRead
direct_read(int class_id)
{
	const CpiiStatement *s = &cpii_statement;
	uint32		bit = cpii_class_bit(class_id);

	if (unlikely((s->readers_asked & bit) == 0))
		ask_direct_read(class_id, bit);
	if (likely((s->readers & bit) == 0) || !cpii_class_is_searchable(class_id))
		return CPII_READS_NOTHING;
	return (s->readers_of_others & bit) != 0 ? CPII_READS_OTHERS : CPII_READS_OWN;
}

/* a value was sealed for the statement that is running */
static inline void
count_literal(int class_id)
{
	if (cpii_statement.writing)
	{
		if (unlikely(direct_read(class_id) != CPII_READS_NOTHING))
			cpii_statement_probe(class_id);
		return;
	}
	if (cpii_statement.probes >= LITERALS_WITHOUT_SEARCH &&
		!cpii_policy_searchable(class_id))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("search limit reached"),
				 errdetail("More than %d literals were sealed outside a plain write without search permission.",
						   LITERALS_WITHOUT_SEARCH)));
	cpii_statement_probe(class_id);
}

/*
 * Are parameters of a portal read?  They are made in its memory; literals are
 * made where the statement is parsed.
 */
static bool
is_binding(void)
{
	return cpii_planning_depth == 0 &&
		strcmp(CurrentMemoryContext->name, "PortalContext") == 0;
}

/*
 * Portals end with the (sub)transaction that made them, when it is undone: what
 * was bound to them reaches nobody.  Prepared statements, with their literals,
 * stay.
 */
static void
forget_bound(SubTransactionId since)
{
	int			kept = 0;

	for (int i = 0; i < nearly; i++)
		if (early[i].bound == InvalidSubTransactionId || early[i].bound < since)
			early[kept++] = early[i];
	nearly = kept;
	cpii_probe_waits = nearly > 0;
}

static void
at_transaction(XactEvent event)
{
	if (event == XACT_EVENT_ABORT && nearly > 0)
		forget_bound(TopSubTransactionId);
}

static void
at_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && nearly > 0)
		forget_bound(mine);
}

/* no statement runs yet: the next one will answer for it */
static void
note_early(int class_id, const char *text, size_t len)
{
	SubTransactionId bound = is_binding() ? GetCurrentSubTransactionId() :
		InvalidSubTransactionId;
	int			i = 0;

	/* rows of a publication, written for its subscription's owner */
	if (IsLogicalWorker())
		return;
	/* a call without a statement, which nobody would answer for */
	if (MyProcPort != NULL && debug_query_string == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("protected values cannot be made by a function call of the protocol"),
				 errhint("Call the function in a SELECT statement.")));
	if (cpii_planning_depth > 0 && !cpii_subject_add(&planned, class_id, text, len))
		return;
	while (i < nearly && i < EARLY_KINDS - 1 &&
		   (early[i].class_id != class_id || early[i].bound != bound))
		i++;
	if (i == nearly)
	{
		early[i].class_id = class_id;
		early[i].bound = bound;
		early[i].values = 0;
		nearly++;
	}
	else if (early[i].bound != bound)
		early[i].bound = InvalidSubTransactionId;
	early[i].values++;
	cpii_probe_waits = true;
}

void
cpii_probe_early(void)
{
	Early		waiting[EARLY_KINDS];
	int			n = nearly;

	/* whatever comes of it: asked for once */
	memcpy(waiting, early, sizeof(waiting));
	nearly = 0;
	cpii_probe_waits = false;
	for (int i = 0; i < n; i++)
		for (int64 k = 0; k < waiting[i].values; k++)
			count_literal(waiting[i].class_id);
	if (!cpii_statement.writing)
		cpii_subject_merge(&cpii_subjects.searched, &planned);
	planned.n = planned.looks = 0;
}

/* a literal becomes a value; text is UTF-8 */
static void
literal_probe(int class_id, const char *text, size_t len)
{
	if (cpii_internal_depth > 0)
		return;
	if (unlikely(IsParallelWorker()))
		cpii_refuse_worker();
	if (!cpii_statement.open)
		note_early(class_id, text, len);
	else if (cpii_statement.writing)
		count_literal(class_id);
	/* a value counts once, in how many rows it is ever made */
	else if (!cpii_subject_was_searched(class_id, text, len))
	{
		count_literal(class_id);
		cpii_subject_searched(class_id, text, len);
	}
}

void
cpii_probe_existing(int class_id)
{
	if (!cpii_statement.open)
		return;
	switch (direct_read(class_id))
	{
		case CPII_READS_OTHERS:
			cpii_statement_probe(class_id);
			break;
		case CPII_READS_OWN:
			cpii_statement_note_probe(class_id);
			break;
		default:
			break;
	}
}

void
cpii_probe_init(void)
{
	cpii_search_probe_hook = search_probe;
	cpii_literal_probe_hook = literal_probe;
	cpii_existing_probe_hook = cpii_probe_existing;
	cpii_at_transaction(at_transaction, at_subtransaction);
}
