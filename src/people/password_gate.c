/*-------------------------------------------------------------------------
 *
 * password_gate.c
 *	  A session whose password must be changed before anything else.
 *
 * Such a session can log in, look at nothing but the server's own catalogs and
 * call functions, among them change_password(): a statement that names no table
 * passes, at any depth, and everything that such a function runs is asked in
 * turn.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "base/errcodes.h"
#include "base/internal.h"
#include "people/held.h"
#include "people/password.h"
#include "people/roster.h"

static void
refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PASSWORD),
			 errmsg("password must be changed first"),
			 errhint("Use courier_pii.change_password(old, new).")));
}

void
cpii_password_gate_plan(const PlannedStmt *plan)
{
	ListCell   *lc;

	if (OidIsValid(cpii_roster_joint))
		cpii_joint_gate(cpii_roster_joint);
	if (!cpii_roster_must_change)
		return;
	if (plan->commandType != CMD_SELECT || plan->hasModifyingCTE)
		refuse();
	foreach(lc, plan->relationOids)
	{
		if (lfirst_oid(lc) >= FirstNormalObjectId)
			refuse();
	}
}

/* what a session that pauses may do: undo, and settings of its own */
static bool
ends_or_sets(Node *stmt)
{
	if (IsA(stmt, VariableSetStmt) || IsA(stmt, VariableShowStmt))
		return true;
	return IsA(stmt, TransactionStmt) &&
		(((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK ||
		 ((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_TO ||
		 IsAbortedTransactionBlockState());
}

void
cpii_password_gate_utility(Node *stmt)
{
	if (OidIsValid(cpii_roster_joint) && !ends_or_sets(stmt))
		cpii_joint_gate(cpii_roster_joint);
	if (!cpii_roster_must_change)
		return;
	switch (nodeTag(stmt))
	{
		case T_TransactionStmt:
		case T_VariableSetStmt:
		case T_VariableShowStmt:
		case T_DeallocateStmt:
		case T_DiscardStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_ClosePortalStmt:
		case T_DoStmt:
			return;
		case T_AlterRoleStmt:
			/* one's own, and nothing but the password */
			if (list_length(((AlterRoleStmt *) stmt)->options) == 1 &&
				strcmp(linitial_node(DefElem, ((AlterRoleStmt *) stmt)->options)->defname,
					   "password") == 0 &&
				get_rolespec_oid(((AlterRoleStmt *) stmt)->role, true) ==
				GetAuthenticatedUserId())
				return;
			break;
		default:
			break;
	}
	refuse();
}

/* a fast-path call passes no other gate, so that one function is named */
void
cpii_password_gate_call(Oid function)
{
	const char *name = get_func_name(function);

	if (OidIsValid(cpii_roster_joint))
		cpii_joint_gate(cpii_roster_joint);
	if (!cpii_roster_must_change)
		return;
	if (name == NULL || strcmp(name, "change_password") != 0 ||
		get_func_namespace(function) != cpii_schema_oid(true))
		refuse();
}
