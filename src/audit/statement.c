/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The account of the statement that is running.
 *
 * The door calls in here once per value: the usual path is a few comparisons
 * and an increment, everything else is in functions of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/inflight.h"
#include "audit/record.h"
#include "audit/statement.h"
#include "audit/subject.h"
#include "base/classes.h"
#include "base/errcodes.h"
#include "base/settings.h"

CpiiStatement cpii_statement;
CpiiBudgetSource cpii_budget_source = NULL;
CpiiBeginRecord cpii_begin_record = NULL;
CpiiBeforeClear cpii_before_clear = NULL;

static pg_noinline void
admit(void)
{
	cpii_audit_admit();
	cpii_statement.admitted = true;
}

void
cpii_statement_counts(int64 counts[CPII_NBUDGETS])
{
	counts[CPII_BUDGET_CLEAR] = cpii_statement.disclosed;
	counts[CPII_BUDGET_PROBES] = cpii_statement.probes;
	counts[CPII_BUDGET_MASKED] = cpii_statement.masked;
	counts[CPII_BUDGET_SEALED] = cpii_statement.sealed;
}

static const char *
limit_message(CpiiBudget budget)
{
	switch (budget)
	{
		case CPII_BUDGET_PROBES:
			return "search limit reached";
		case CPII_BUDGET_MASKED:
			return "masked value limit reached";
		case CPII_BUDGET_SEALED:
			return "sealed export limit reached";
		default:
			return "disclosure limit reached";
	}
}

static const char *
limit_detail(CpiiBudget budget)
{
	switch (budget)
	{
		case CPII_BUDGET_PROBES:
			return "%lld values were searched for or sealed by this statement; no more are allowed in it and the current window.";
		case CPII_BUDGET_MASKED:
			return "%lld masked values were shown by this statement; no more are allowed in it and the current window.";
		case CPII_BUDGET_SEALED:
			return "%lld rows with sealed values were sent by this statement; no more are allowed in it and the current window.";
		default:
			return "%lld clear values were disclosed by this statement; no more are allowed in it and the current window.";
	}
}

static const char *
limit_hint(CpiiBudget budget)
{
	if (budget != CPII_BUDGET_PROBES)
		return "Narrow the statement, or ask a security administrator for a higher limit or an export ticket.";
	if (cpii_statement.writing)
		return "Let somebody write who cannot read the table itself, or ask a security administrator for a higher budget of probes.";
	return "Narrow the statement, or ask a security administrator for a higher budget of probes.";
}

/* nothing is granted any more: ask the guard, and refuse when it has nothing */
static pg_noinline void
ask_for_more(CpiiBudget budget)
{
	CpiiStatement *s = &cpii_statement;
	int64		counts[CPII_NBUDGETS];

	if (!s->admitted)
		admit();
	/* nothing is granted before the first one */
	if (budget == CPII_BUDGET_CLEAR && cpii_before_clear != NULL)
		cpii_before_clear();
	if (cpii_budget_source == NULL)
	{
		s->granted[budget] = PG_INT64_MAX;
		return;
	}
	if (cpii_budget_source(budget))
		return;
	cpii_statement_counts(counts);
	s->limit_hit = true;
	if (cpii_enforcement != CPII_ENFORCE_ON)
		s->granted[budget] = PG_INT64_MAX;	/* warn once */
	ereport(cpii_enforcement == CPII_ENFORCE_ON ? ERROR : WARNING,
			(errcode(CPII_ERRCODE_LIMIT_REACHED),
			 errmsg_internal("%s", _(limit_message(budget))),
			 errdetail_internal(limit_detail(budget), (long long) counts[budget]),
			 errhint("%s", _(limit_hint(budget)))));
}

void
cpii_statement_disclose(int class_id)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(s->disclosed >= s->granted[CPII_BUDGET_CLEAR]))
		ask_for_more(CPII_BUDGET_CLEAR);
	s->disclosed++;
	if (cpii_inflight != NULL)
		cpii_inflight->disclosed = s->disclosed;
	s->classes |= cpii_class_bit(class_id);
	if (unlikely(s->begin_seq == 0 && (s->disclosed & (s->disclosed - 1)) == 0))
	{
		if (cpii_begin_record != NULL)
			cpii_begin_record();
	}
}

void
cpii_statement_mask(int class_id)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(s->masked >= s->granted[CPII_BUDGET_MASKED]))
		ask_for_more(CPII_BUDGET_MASKED);
	s->masked++;
	if (cpii_inflight != NULL)
		cpii_inflight->masked = s->masked;
	s->classes |= cpii_class_bit(class_id);
}

/* both kinds of probes, for whoever looks on */
static inline void
show_probes(int class_id)
{
	if (cpii_inflight != NULL)
		cpii_inflight->probes = cpii_statement.probes + cpii_statement.noted;
	cpii_statement.classes |= cpii_class_bit(class_id);
}

void
cpii_statement_probe(int class_id)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(s->probes >= s->granted[CPII_BUDGET_PROBES]))
		ask_for_more(CPII_BUDGET_PROBES);
	s->probes++;
	show_probes(class_id);
}

void
cpii_statement_note_probe(int class_id)
{
	if (!cpii_statement.admitted)
		admit();
	cpii_statement.noted++;
	show_probes(class_id);
}

void
cpii_statement_sealed_row(void)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(s->sealed >= s->granted[CPII_BUDGET_SEALED]))
		ask_for_more(CPII_BUDGET_SEALED);
	s->sealed++;
}

void
cpii_statement_touch(Oid relid)
{
	CpiiStatement *s = &cpii_statement;

	for (int i = 0; i < s->nrelations; i++)
		if (s->relations[i] == relid)
			return;
	/* more relations than fit: the first ones name the event well enough */
	if (s->nrelations < CPII_MAX_STATEMENT_RELATIONS)
		s->relations[s->nrelations++] = relid;
}

void
cpii_statement_reset(void)
{
	memset(&cpii_statement, 0, sizeof(cpii_statement));
	cpii_subject_reset();
}
