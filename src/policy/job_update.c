/*-------------------------------------------------------------------------
 *
 * job_update.c
 *	  The UPDATE statements of jobs, and the code of others that they call.
 *
 * Whoever owns a table decides what an UPDATE of it calls: constraints, indexes
 * and triggers that fire always.  So it runs with the owner's rights and as a
 * security-restricted operation, as VACUUM and REINDEX do, never with those of
 * the extension's owner.  Where such code is called, the statement counts as one
 * of the person who runs the job, not as one of ours: that code is shown and may
 * search what it could in any other statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
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

uint64
cpii_job_update(Oid relid, const char *sql, int nargs, Oid *types, Datum *values)
{
	CpiiInternalState state;
	Relation	rel;
	bool		guarded;
	int			rc;

	/* whoever wants to give it another trigger, constraint or index waits */
	rel = table_open(relid, RowExclusiveLock);
	guarded = update_calls(rel);
	cpii_internal_begin(&state);
	(void) set_config_option("session_replication_role", "replica",
							 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   state.sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	table_close(rel, NoLock);
	/* an error puts this right, too */
	if (guarded)
		cpii_internal_depth--;
	rc = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);
	if (guarded)
		cpii_internal_depth++;
	cpii_internal_end(&state);
	if (rc < 0)
		elog(ERROR, "internal statement returned %s", SPI_result_code_string(rc));
	return SPI_processed;
}
