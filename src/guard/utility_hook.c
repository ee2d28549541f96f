/*-------------------------------------------------------------------------
 *
 * utility_hook.c
 *	  Utility statements: accounts for COPY, cursors, DO and the like, records of
 *	  destruction and structure changes.
 *
 * Transaction control passes untouched: it must work in a failed transaction,
 * where no catalog can be read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/prepare.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

#include "audit/statement.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/destroy.h"
#include "guard/guard.h"
#include "guard/maintenance.h"
#include "guard/spill.h"
#include "people/duty.h"
#include "people/held.h"
#include "people/password.h"
#include "people/roster.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "policy/probe.h"
#include "policy/relation.h"
#include "policy/view_follow.h"

static ProcessUtility_hook_type prev_ProcessUtility = NULL;
static int	utility_depth = 0;

static void
call_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	CpiiViewChange *views = NULL;
	CpiiDutyConflicts *duties = NULL;

	/* masked views follow the structure of their tables */
	if (IsTransactionState() && !IsAbortedTransactionBlockState())
	{
		views = cpii_views_before(pstmt->utilityStmt);
		duties = cpii_duty_before(pstmt->utilityStmt);
	}
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
	cpii_views_after(views);
	cpii_duty_after(duties, pstmt->utilityStmt);
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

/* a masked view's definition follows from the policy: nobody edits it */
static void
refuse_view_change(Node *stmt)
{
	Oid			relid = InvalidOid;

	if (cpii_internal_depth > 0 || creating_extension)
		return;
	if (IsA(stmt, ViewStmt))
		relid = range_var_oid(((ViewStmt *) stmt)->view);
	else if (IsA(stmt, RuleStmt))
		relid = range_var_oid(((RuleStmt *) stmt)->relation);
	else if (IsA(stmt, AlterTableStmt))
	{
		ListCell   *lc;

		foreach(lc, ((AlterTableStmt *) stmt)->cmds)
		{
			AlterTableType type = lfirst_node(AlterTableCmd, lc)->subtype;

			if (type == AT_SetRelOptions || type == AT_ResetRelOptions ||
				type == AT_ReplaceRelOptions)
				relid = range_var_oid(((AlterTableStmt *) stmt)->relation);
		}
	}
	if (OidIsValid(relid) && get_rel_relkind(relid) == RELKIND_VIEW &&
		OidIsValid(cpii_masked_view_base(relid)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("masked view \"%s\" cannot be redefined", get_rel_name(relid)),
				 errhint("Change row rules with courier_pii.set_row_rule, or drop the view and create it again.")));
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

/* DROP, RENAME and copy of the home database wait for its other sessions */
static bool
wants_home_database(Node *stmt)
{
	const char *name = NULL;
	ListCell   *lc;

	if (IsA(stmt, DropdbStmt))
		name = ((DropdbStmt *) stmt)->dbname;
	else if (IsA(stmt, RenameStmt) &&
			 ((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
		name = ((RenameStmt *) stmt)->subname;
	else if (IsA(stmt, CreatedbStmt))
	{
		foreach(lc, ((CreatedbStmt *) stmt)->options)
		{
			DefElem    *option = lfirst_node(DefElem, lc);

			if (strcmp(option->defname, "template") == 0 && option->arg)
				name = defGetString(option);
		}
	}
	return name != NULL && strcmp(name, cpii_database) == 0;
}

/* what one utility statement needs around its run */
typedef struct Frame
{
	bool		opened;
	bool		sealed_copy;	/* COPY of a table: rows are in the completion */
	bool		save_no_clear;
	bool		save_writing;
	int			save_depth;
	List	   *published;		/* ALTER PUBLICATION: what it sent before */
	PlannedStmt *run;			/* what is handed on, perhaps rewritten */
	DestReceiver *dest;
	CpiiStoreReceiver store;
} Frame;

/* FETCH from a portal that was shown something in clear */
static bool
fetches_clear(Node *stmt)
{
	Portal		portal = IsA(stmt, FetchStmt) ?
		GetPortalByName(((FetchStmt *) stmt)->portalname) : NULL;

	return PortalIsValid(portal) && cpii_spill_portal_shown(portal);
}

/* do its rows go to the store of the running portal, and to the client later? */
static bool
collects_rows(Node *stmt, DestReceiver *dest)
{
	return (IsA(stmt, ExecuteStmt) || IsA(stmt, FetchStmt)) &&
		dest != NULL && dest->mydest == DestTuplestore &&
		ActivePortal != NULL && ActivePortal->strategy == PORTAL_UTIL_SELECT;
}

/*
 * What a held cursor gives after the transaction was fetched for the person
 * who acted in it; the next one behind the pool would read it.
 */
static void
refuse_held_cursor(const DeclareCursorStmt *stmt)
{
	Oid			person;

	if ((stmt->options & CURSOR_OPT_HOLD) && cpii_session_token_person(&person))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a cursor cannot outlive the transaction of the acting person"),
				 errhint("Declare the cursor without WITH HOLD.")));
}

static bool
executes_write(ExecuteStmt *stmt)
{
	PreparedStatement *prepared = FetchPreparedStatement(stmt->name, false);

	if (prepared == NULL)
		return false;
	switch (prepared->plansource->commandTag)
	{
		case CMDTAG_INSERT:
		case CMDTAG_UPDATE:
		case CMDTAG_MERGE:
			return true;
		default:
			return false;
	}
}

static void
enter_statement(Node *stmt, Frame *frame)
{
	cpii_destroy_utility(stmt);
	switch (nodeTag(stmt))
	{
		case T_CopyStmt:
			frame->sealed_copy = cpii_copy_enter((CopyStmt *) stmt, &frame->run);
			break;
		case T_CreateTableAsStmt:
		case T_RefreshMatViewStmt:
			cpii_account_action(CPII_ACT_COPY);
			cpii_statement.no_clear = true;
			break;
		case T_ExecuteStmt:
			/* its values are made before the plan runs */
			cpii_statement.writing = executes_write((ExecuteStmt *) stmt);
			break;
		case T_DeclareCursorStmt:
			refuse_held_cursor((DeclareCursorStmt *) stmt);
			break;
		case T_AlterPublicationStmt:
			frame->published = cpii_published_tables(((AlterPublicationStmt *) stmt)->pubname);
			break;
		case T_ViewStmt:
			refuse_view_change(stmt);
			break;
		case T_AlterTableStmt:
		case T_TruncateStmt:
		case T_DropStmt:
		case T_RenameStmt:
		case T_RuleStmt:
		case T_CreateTrigStmt:
			refuse_view_change(stmt);
			cpii_account_action(inspect_structure(stmt));
			cpii_statement.no_clear = true;
			break;
		default:
			break;
	}
}

/* ALTER SYSTEM, ALTER ROLE or DATABASE ... SET of one of our settings */
static void
note_setting(Node *stmt)
{
	VariableSetStmt *set = NULL;
	const char *name;

	if (IsA(stmt, AlterSystemStmt))
		set = ((AlterSystemStmt *) stmt)->setstmt;
	else if (IsA(stmt, AlterRoleSetStmt))
		set = ((AlterRoleSetStmt *) stmt)->setstmt;
	else if (IsA(stmt, AlterDatabaseSetStmt))
		set = ((AlterDatabaseSetStmt *) stmt)->setstmt;
	if (set == NULL)
		return;
	name = set->kind == VAR_RESET_ALL ? "all" : set->name;
	if (name != NULL && (strcmp(name, "all") == 0 ||
						 pg_strncasecmp(name, "courier_pii.", 12) == 0))
		cpii_audit_note(CPII_ACT_POLICY, GetCommandTagName(CreateCommandTag(stmt)),
						"ok", psprintf("{\"setting\": \"%s\"}", name));
}

/* what it took with it, and cached decisions and plans that it made stale */
static void
after_statement(Node *stmt, const Frame *frame)
{
	if (IsA(stmt, CreatePublicationStmt))
		cpii_publication_changed(((CreatePublicationStmt *) stmt)->pubname, NIL);
	else if (IsA(stmt, AlterPublicationStmt))
		cpii_publication_changed(((AlterPublicationStmt *) stmt)->pubname,
								 frame->published);
	if (changes_memberships(stmt))
		cpii_policy_changed();
	note_setting(stmt);
	if (IsA(stmt, VariableSetStmt))
	{
		const char *name = ((VariableSetStmt *) stmt)->name;

		if (name != NULL && (strcmp(name, "role") == 0 ||
							 strcmp(name, "session_authorization") == 0))
			ResetPlanCache();
	}
}

static void
leave_frame(const Frame *frame)
{
	utility_depth = frame->save_depth;
	cpii_statement.no_clear = frame->save_no_clear;
	cpii_statement.writing = frame->save_writing;
}

static void
cpii_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	Frame		frame;
	QueryCompletion completion;

	if (utility_depth == 0 && cpii_internal_depth == 0)
		cpii_roster_check();
	if (cpii_roster_restricted && cpii_internal_depth == 0)
		cpii_password_gate_utility(pstmt->utilityStmt);
	if (cpii_internal_depth == 0)
		cpii_held_utility(pstmt->utilityStmt);
	cpii_forbidden_utility(pstmt->utilityStmt);
	if (cpii_internal_depth == 0)
		cpii_prepared_utility(pstmt->utilityStmt);

	if (cpii_internal_depth > 0 || is_plain(pstmt->utilityStmt) ||
		!IsTransactionState() || IsAbortedTransactionBlockState())
	{
		/* our own statements have verifiers in them */
		if (cpii_internal_depth > 0 && IsA(pstmt->utilityStmt, AlterRoleStmt))
			cpii_password_scrub(queryString, pstmt->stmt_location, pstmt->stmt_len);
		call_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
		return;
	}

	if (wants_home_database(pstmt->utilityStmt))
		cpii_worker_step_aside();

	/* before EXECUTE takes a plan that a change of policy has made stale */
	if (utility_depth == 0)
		AcceptInvalidationMessages();
	InitializeQueryCompletion(&completion);
	frame.run = pstmt;
	frame.dest = dest;
	frame.sealed_copy = false;
	frame.published = NIL;
	frame.save_depth = utility_depth;
	frame.opened = cpii_account_open(CreateCommandTag(pstmt->utilityStmt),
									 queryString, pstmt->queryId);
	frame.save_no_clear = frame.opened ? false : cpii_statement.no_clear;
	frame.save_writing = frame.opened ? false : cpii_statement.writing;

	PG_TRY();
	{
		utility_depth++;
		enter_statement(pstmt->utilityStmt, &frame);
		/* EXPLAIN shows constants without running anything */
		if (unlikely(cpii_probe_waits))
			cpii_probe_early();
		if (collects_rows(pstmt->utilityStmt, dest))
			frame.dest = cpii_spill_portal_store(&frame.store, ActivePortal, dest, false,
												 fetches_clear(pstmt->utilityStmt));
		cpii_password_before(pstmt, queryString);
		call_ProcessUtility(frame.run, queryString,
							readOnlyTree && frame.run == pstmt, context, params,
							queryEnv, frame.dest, &completion);
		if (frame.sealed_copy)
		{
			cpii_meter_sealed_rows((int64) completion.nprocessed);
			cpii_account_rows((int64) completion.nprocessed);
			cpii_account_examined((int64) completion.nprocessed);
		}
		cpii_password_after(pstmt);
		after_statement(pstmt->utilityStmt, &frame);
	}
	PG_CATCH();
	{
		leave_frame(&frame);
		if (frame.opened)
			cpii_account_close_error();
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (qc != NULL && completion.commandTag != CMDTAG_UNKNOWN)
		CopyQueryCompletion(qc, &completion);
	leave_frame(&frame);
	if (frame.opened)
		cpii_account_close();
}

void
cpii_utility_init(void)
{
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = cpii_ProcessUtility;
}
