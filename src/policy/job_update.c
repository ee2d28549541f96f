/*-------------------------------------------------------------------------
 *
 * job_update.c
 *	  Statements of ours on tables of others, and the code of others that they
 *	  call: the UPDATE statements of jobs, and what is read.
 *
 * Whoever owns a table decides what an UPDATE of it calls: constraints, indexes
 * and triggers that fire always.  So it runs with the owner's rights and as a
 * security-restricted operation, as VACUUM and REINDEX do, never with those of
 * the extension's owner; so does a SELECT, whose planning alone evaluates what
 * is immutable in indexes, constraints and statistics.  Where such code is called, the statement counts as one
 * of the person who runs the job, not as one of ours: that code is shown and may
 * search what it could in any other statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "policy/column_job.h"
#include "policy/foreign_code.h"

static bool
triggers_call(TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if ((trigger->tgenabled == TRIGGER_FIRES_ALWAYS ||
			 trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA) &&
			cpii_foreign_function(trigger->tgfoid, NULL))
			return true;
	}
	return false;
}

static bool
rules_call(RuleLock *rules)
{
	for (int i = 0; rules != NULL && i < rules->numLocks; i++)
		if (rules->rules[i]->enabled == RULE_FIRES_ALWAYS ||
			rules->rules[i]->enabled == RULE_FIRES_ON_REPLICA)
			return true;
	return false;
}

static bool
constraints_call(TupleConstr *constraints)
{
	if (constraints == NULL)
		return false;
	for (int i = 0; i < constraints->num_check; i++)
		if (cpii_calls_foreign(stringToNode(constraints->check[i].ccbin)))
			return true;
	/* a default is of interest where it makes a generated column */
	for (int i = 0; constraints->has_generated_stored && i < constraints->num_defval; i++)
		if (cpii_calls_foreign(stringToNode(constraints->defval[i].adbin)))
			return true;
	return false;
}

static bool
indexes_call(Relation rel)
{
	bool		found = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		found = found || cpii_calls_foreign((Node *) RelationGetIndexExpressions(index)) ||
			cpii_calls_foreign((Node *) RelationGetIndexPredicate(index));
		index_close(index, NoLock);
	}
	return found;
}

/* can an UPDATE of the table call code that is not the server's nor ours? */
static bool
update_calls(Relation rel)
{
	return triggers_call(rel->trigdesc) || rules_call(rel->rd_rules) ||
		constraints_call(RelationGetDescr(rel)->constr) || indexes_call(rel) ||
		cpii_calls_foreign((Node *) RelationGetPartitionQual(rel));
}

/* planning calls what is immutable in indexes, constraints and statistics */
static bool
read_calls(Oid relid)
{
	bool		found = false;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);
		List	   *statistics = RelationGetStatExtList(rel);

		/* what those are made from is not worth the look */
		found = found || statistics != NIL || update_calls(rel);
		list_free(statistics);
		table_close(rel, NoLock);
	}
	return found;
}

/* as the table's owner */
static uint64
run_as_owner(Oid relid, bool update, const char *sql, int nargs, Oid *types,
			 Datum *values, bool read_only, long count)
{
	/* whoever wants to give it another trigger, constraint or index waits */
	Relation	rel = table_open(relid, update ? RowExclusiveLock : AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;
	bool		calls = update ? update_calls(rel) : read_calls(relid);
	CpiiInternalState state;
	int			rc;

	table_close(rel, NoLock);
	cpii_internal_begin(&state);
	if (update)
		(void) set_config_option("session_replication_role", "replica",
								 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	SetUserIdAndSecContext(owner,
						   state.sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	/* it calls code of others; an error puts this right, too */
	if (calls)
		cpii_internal_depth--;
	rc = SPI_execute_with_args(sql, nargs, types, values, NULL, read_only, count);
	if (calls)
		cpii_internal_depth++;
	cpii_internal_end(&state);
	if (rc < 0)
		elog(ERROR, "internal statement returned %s", SPI_result_code_string(rc));
	return SPI_processed;
}

uint64
cpii_job_update(Oid relid, const char *sql, int nargs, Oid *types, Datum *values)
{
	return run_as_owner(relid, true, sql, nargs, types, values, false, 0);
}

uint64
cpii_table_read(Oid relid, const char *sql, int nargs, Oid *types, Datum *values,
				bool read_only, long count)
{
	return run_as_owner(relid, false, sql, nargs, types, values, read_only, count);
}
