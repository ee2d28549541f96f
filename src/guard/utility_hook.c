/*-------------------------------------------------------------------------
 *
 * utility_hook.c
 *	  Utility statements: accounts for COPY, cursors, DO and the like, COPY of
 *	  a masked view, records of destruction and structure changes.
 *
 * Transaction control passes untouched: it must work in a failed transaction,
 * where no catalog can be read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"

#include "audit/statement.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "guard/guard.h"
#include "people/roster.h"
#include "policy/catalog.h"
#include "policy/policy.h"

static ProcessUtility_hook_type prev_ProcessUtility = NULL;
static int	utility_depth = 0;

static void
call_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/* statements that neither read nor touch data */
static bool
is_plain(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_TransactionStmt:
		case T_VariableShowStmt:
		case T_DeallocateStmt:
		case T_ListenStmt:
		case T_UnlistenStmt:
		case T_NotifyStmt:
		case T_CheckPointStmt:
		case T_DiscardStmt:
		case T_ConstraintsSetStmt:
		case T_ClosePortalStmt:
		case T_LockStmt:
		case T_LoadStmt:
			return true;
		default:
			return false;
	}
}

static Oid
range_var_oid(RangeVar *rv)
{
	return rv ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;
}

/* COPY masked_view TO becomes COPY (SELECT ... FROM masked_view) TO */
static CopyStmt *
copy_of_view(CopyStmt *copy)
{
	CopyStmt   *result = copyObject(copy);
	SelectStmt *select = makeNode(SelectStmt);
	ListCell   *lc;

	if (copy->attlist == NIL)
	{
		ColumnRef  *all = makeNode(ColumnRef);
		ResTarget  *target = makeNode(ResTarget);

		all->fields = list_make1(makeNode(A_Star));
		all->location = -1;
		target->val = (Node *) all;
		target->location = -1;
		select->targetList = list_make1(target);
	}
	foreach(lc, copy->attlist)
	{
		ColumnRef  *column = makeNode(ColumnRef);
		ResTarget  *target = makeNode(ResTarget);

		column->fields = list_make1(copyObject(lfirst(lc)));
		column->location = -1;
		target->val = (Node *) column;
		target->location = -1;
		select->targetList = lappend(select->targetList, target);
	}
	select->fromClause = list_make1(copyObject(copy->relation));
	result->relation = NULL;
	result->attlist = NIL;
	result->query = (Node *) select;
	return result;
}

/* COPY FROM into a register of ours that is still empty: pg_restore */
static void
note_restore(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		empty = rel->rd_rel->relkind == RELKIND_RELATION &&
		RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	if (empty && superuser())
	{
		cpii_access_allow_restore(relid);
		cpii_audit_note(CPII_ACT_POLICY, "restore", "ok",
						psprintf("{\"register\": \"%s\"}", get_rel_name(relid)));
	}
}

static void
refuse_audit_change(Oid relid)
{
	int			flags;

	if (!OidIsValid(relid) || creating_extension || cpii_internal_depth > 0)
		return;
	flags = cpii_relation_flags(relid);
	if (flags & CPII_REL_AUDIT)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("audit records cannot be changed"),
				 errdetail("\"%s\" is part of the audit trail.", get_rel_name(relid))));
}

/* relations that a DROP, TRUNCATE or ALTER names; returns the action to record */
static CpiiAction
inspect_structure(Node *stmt)
{
	CpiiAction	action = CPII_ACT_DDL;
	List	   *named = NIL;
	ListCell   *lc;
	bool		truncate = false;

	switch (nodeTag(stmt))
	{
		case T_TruncateStmt:
			action = CPII_ACT_DESTROY;
			named = ((TruncateStmt *) stmt)->relations;
			truncate = true;
			break;
		case T_DropStmt:
			{
				DropStmt   *drop = (DropStmt *) stmt;

				action = CPII_ACT_DESTROY;
				if (drop->removeType != OBJECT_TABLE &&
					drop->removeType != OBJECT_VIEW)
					return action;
				foreach(lc, drop->objects)
					named = lappend(named, makeRangeVarFromNameList(lfirst(lc)));
				break;
			}
		case T_AlterTableStmt:
			named = list_make1(((AlterTableStmt *) stmt)->relation);
			foreach(lc, ((AlterTableStmt *) stmt)->cmds)
			{
				AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

				if (cmd->subtype == AT_DropColumn ||
					cmd->subtype == AT_DetachPartition)
					action = CPII_ACT_DESTROY;
			}
			break;
		case T_RenameStmt:
			named = list_make1(((RenameStmt *) stmt)->relation);
			break;
		case T_RuleStmt:
			named = list_make1(((RuleStmt *) stmt)->relation);
			break;
		case T_CreateTrigStmt:
			named = list_make1(((CreateTrigStmt *) stmt)->relation);
			break;
		default:
			return action;
	}
	foreach(lc, named)
	{
		Oid			relid = range_var_oid(lfirst(lc));

		if (!OidIsValid(relid))
			continue;
		refuse_audit_change(relid);
		if (truncate && cpii_internal_depth == 0 &&
			(cpii_relation_flags(relid) & CPII_REL_OURS))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("cannot truncate register \"%s\"", get_rel_name(relid))));
		if (cpii_relation_flags(relid) & CPII_REL_PROTECTED)
			cpii_statement_touch(relid);
	}
	return action;
}

static bool
changes_memberships(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_GrantRoleStmt:
		case T_AlterRoleStmt:
		case T_CreateRoleStmt:
		case T_DropRoleStmt:
			return true;
		default:
			return false;
	}
}

static void
cpii_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	bool		opened = false;
	bool		save_no_clear = cpii_statement.no_clear;
	bool		save_writing = cpii_statement.writing;
	int			save_depth = utility_depth;
	QueryCompletion local_qc;

	if (utility_depth == 0 && cpii_internal_depth == 0)
		cpii_roster_check();

	if (cpii_internal_depth > 0 || is_plain(stmt) || !IsTransactionState() ||
		IsAbortedTransactionBlockState())
	{
		call_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
		return;
	}

	if (qc == NULL)
	{
		InitializeQueryCompletion(&local_qc);
		qc = &local_qc;
	}
	opened = cpii_account_open(CreateCommandTag(stmt), queryString, pstmt->queryId);
	if (opened)
		save_no_clear = save_writing = false;

	PG_TRY();
	{
		bool		sealed_copy = false;

		utility_depth++;
		switch (nodeTag(stmt))
		{
			case T_CopyStmt:
				{
					CopyStmt   *copy = (CopyStmt *) stmt;
					Oid			relid = range_var_oid(copy->relation);
					int			flags = OidIsValid(relid) ? cpii_relation_flags(relid) : 0;

					if (copy->is_from)
					{
						cpii_statement.writing = true;
						if (flags & CPII_REL_PROTECTED)
						{
							cpii_statement_touch(relid);
							cpii_account_action(CPII_ACT_WRITE);
						}
						if ((flags & CPII_REL_OURS) && !(flags & CPII_REL_AUDIT))
							note_restore(relid);
					}
					else
					{
						cpii_account_action(CPII_ACT_EXPORT);
						if ((flags & CPII_REL_PROTECTED) &&
							OidIsValid(cpii_masked_view_base(relid)))
						{
							pstmt = copyObject(pstmt);
							pstmt->utilityStmt = (Node *) copy_of_view(copy);
							readOnlyTree = false;
						}
						else if (flags & CPII_REL_PROTECTED)
						{
							/* sealed values leave: recorded before the first row */
							cpii_statement_touch(relid);
							sealed_copy = true;
							cpii_account_begin(true);
						}
					}
					break;
				}
			case T_CreateTableAsStmt:
			case T_RefreshMatViewStmt:
				cpii_account_action(CPII_ACT_COPY);
				cpii_statement.no_clear = true;
				break;
			case T_AlterTableStmt:
			case T_TruncateStmt:
			case T_DropStmt:
			case T_RenameStmt:
			case T_RuleStmt:
			case T_CreateTrigStmt:
				cpii_account_action(inspect_structure(stmt));
				cpii_statement.no_clear = true;
				break;
			default:
				break;
		}

		call_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);

		if (sealed_copy)
			cpii_account_rows((int64) qc->nprocessed);
		if (changes_memberships(stmt))
			cpii_policy_changed();
		if (IsA(stmt, VariableSetStmt))
		{
			const char *name = ((VariableSetStmt *) stmt)->name;

			if (name != NULL && (strcmp(name, "role") == 0 ||
								 strcmp(name, "session_authorization") == 0))
				ResetPlanCache();
		}
	}
	PG_CATCH();
	{
		utility_depth = save_depth;
		if (opened)
			cpii_account_close_error();
		cpii_statement.no_clear = save_no_clear;
		cpii_statement.writing = save_writing;
		PG_RE_THROW();
	}
	PG_END_TRY();

	utility_depth = save_depth;
	cpii_statement.no_clear = save_no_clear;
	cpii_statement.writing = save_writing;
	if (opened)
		cpii_account_close();
}

void
cpii_utility_init(void)
{
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = cpii_ProcessUtility;
}
