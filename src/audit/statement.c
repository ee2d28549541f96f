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
#include "base/errcodes.h"
#include "base/settings.h"

CpiiStatement cpii_statement;
CpiiAllowanceSource cpii_allowance_source = NULL;
CpiiBeginRecord cpii_begin_record = NULL;

static inline uint32
class_bit(int class_id)
{
	return class_id > 0 && class_id < 32 ? ((uint32) 1) << class_id : 1;
}

static pg_noinline void
admit(void)
{
	cpii_audit_admit();
	cpii_statement.admitted = true;
}

static pg_noinline void
ask_allowance(void)
{
	if (!cpii_statement.admitted)
		admit();
	cpii_statement.allowance = -1;
	cpii_statement.probe_allowance = -1;
	if (cpii_allowance_source != NULL)
		cpii_allowance_source(&cpii_statement);
	cpii_statement.allowance_known = true;
}

static pg_noinline void
over_disclosure_limit(void)
{
	bool		first = !cpii_statement.limit_hit;

	cpii_statement.limit_hit = true;
	if (cpii_enforcement == CPII_ENFORCE_ON)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("disclosure limit reached"),
				 errdetail("%lld clear values were disclosed by this statement; %lld were allowed in this statement and the current window.",
						   (long long) cpii_statement.disclosed,
						   (long long) cpii_statement.allowance),
				 errhint("Narrow the query, or ask a security administrator for a higher limit or an export ticket.")));
	if (first)
		ereport(WARNING,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("disclosure limit reached"),
				 errdetail("%lld clear values were allowed in this statement and the current window.",
						   (long long) cpii_statement.allowance)));
}

static pg_noinline void
over_probe_limit(void)
{
	bool		first = !cpii_statement.limit_hit;

	cpii_statement.limit_hit = true;
	if (cpii_enforcement == CPII_ENFORCE_ON)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("search limit reached"),
				 errdetail("%lld searches by real value were made by this statement; %lld were allowed.",
						   (long long) cpii_statement.probes,
						   (long long) cpii_statement.probe_allowance),
				 errhint("Search for fewer values, or ask a security administrator for a ticket.")));
	if (first)
		ereport(WARNING,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("search limit reached"),
				 errdetail("%lld searches by real value were allowed in this statement.",
						   (long long) cpii_statement.probe_allowance)));
}

void
cpii_statement_disclose(int class_id)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(!s->allowance_known))
		ask_allowance();
	if (unlikely(s->allowance >= 0 && s->disclosed >= s->allowance))
		over_disclosure_limit();
	s->disclosed++;
	if (cpii_inflight != NULL)
		cpii_inflight->disclosed = s->disclosed;
	s->classes |= class_bit(class_id);
	if (unlikely(s->begin_seq == 0 && (s->disclosed & (s->disclosed - 1)) == 0))
	{
		if (cpii_begin_record != NULL)
			cpii_begin_record();
	}
}

void
cpii_statement_mask(int class_id)
{
	if (unlikely(!cpii_statement.admitted) && !cpii_statement.allowance_known)
		admit();
	cpii_statement.masked++;
	if (cpii_inflight != NULL)
		cpii_inflight->masked = cpii_statement.masked;
	cpii_statement.classes |= class_bit(class_id);
}

void
cpii_statement_probe(int class_id)
{
	CpiiStatement *s = &cpii_statement;

	if (unlikely(!s->allowance_known))
		ask_allowance();
	if (unlikely(s->probe_allowance >= 0 && s->probes >= s->probe_allowance))
		over_probe_limit();
	s->probes++;
	if (cpii_inflight != NULL)
		cpii_inflight->probes = s->probes;
	s->classes |= class_bit(class_id);
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
}
