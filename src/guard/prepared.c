/*-------------------------------------------------------------------------
 *
 * prepared.c
 *	  Prepared transactions of people who left.
 *
 * A prepared transaction is no dependency of the role that prepared it: the
 * role could be dropped, the transaction would stay with an owner that nobody
 * knows, and whoever commits it would bring in what a former employee left
 * behind.  So a role is not dropped while it has any, and what belongs to a
 * disabled account is neither committed nor, after the duties are sealed, rolled
 * back without an approved maintenance window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/internal.h"
#include "base/session.h"
#include "guard/guard.h"
#include "guard/maintenance.h"
#include "people/duty.h"
#include "people/person.h"

/*
 * The first value that a query with one parameter gives; false: no row.  It runs
 * with the caller's rights and search_path, in whatever database this is: it
 * must name the schemas of its operators, too.
 */
static bool
ask(const char *sql, Oid type, Datum value, Datum *answer)
{
	bool		found = false;
	bool		isnull;

	cpii_internal_depth++;
	SPI_connect();
	if (SPI_execute_with_args(sql, 1, &type, &value, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read prepared transactions");
	if (SPI_processed > 0)
	{
		*answer = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								1, &isnull);
		found = !isnull;
	}
	SPI_finish();
	cpii_internal_depth--;
	return found;
}

static void
check_drop_role(DropRoleStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->roles)
	{
		RoleSpec   *spec = lfirst_node(RoleSpec, lc);
		Oid			role;
		Datum		count;

		if (spec->roletype != ROLESPEC_CSTRING ||
			!OidIsValid(role = get_role_oid(spec->rolename, true)))
			continue;
		if (ask("SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xact() p"
				" WHERE p.ownerid OPERATOR(pg_catalog.=) $1"
				" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
				OIDOID, ObjectIdGetDatum(role), &count))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("role \"%s\" cannot be dropped because it has prepared transactions",
							spec->rolename),
					 errdetail("Without it they would belong to nobody (" INT64_FORMAT ").",
							   DatumGetInt64(count)),
					 errhint("See pg_prepared_xacts, and roll them back first.")));
	}
}

static void
check_finish(TransactionStmt *stmt, const char *command)
{
	Datum		owner;
	Oid			role;

	if (!ask("SELECT p.ownerid FROM pg_catalog.pg_prepared_xact() p"
			 " WHERE p.gid OPERATOR(pg_catalog.=) $1",
			 TEXTOID, CStringGetTextDatum(stmt->gid), &owner))
		return;
	role = DatumGetObjectId(owner);
	if (cpii_account_denied == NULL || !cpii_account_denied(role, role, role))
		return;
	if (cpii_maintenance_applies())
		cpii_maintenance_require(CPII_POWER_WINDOW, command,
								 psprintf("%s of somebody who left is not allowed", command),
								 stmt->gid);
	else if (stmt->kind == TRANS_STMT_COMMIT_PREPARED)
		cpii_duty_refuse(command, "COMMIT PREPARED of somebody who left is not allowed",
						 stmt->gid,
						 "Roll it back, or reinstate the person first.");
	cpii_audit_note(CPII_ACT_ACCOUNT, command, "ok",
					cpii_json_pairs("gid", stmt->gid, NULL));
}

void
cpii_prepared_utility(Node *stmt)
{
	if (IsA(stmt, DropRoleStmt))
	{
		if (IsTransactionState() && !IsAbortedTransactionBlockState())
			check_drop_role((DropRoleStmt *) stmt);
	}
	else if (IsA(stmt, TransactionStmt))
	{
		TransactionStmtKind kind = ((TransactionStmt *) stmt)->kind;

		/* inside of a block the server refuses it */
		if ((kind == TRANS_STMT_COMMIT_PREPARED ||
			 kind == TRANS_STMT_ROLLBACK_PREPARED) &&
			IsTransactionState() && !IsTransactionBlock())
			check_finish((TransactionStmt *) stmt,
						 kind == TRANS_STMT_COMMIT_PREPARED ?
						 "COMMIT PREPARED" : "ROLLBACK PREPARED");
	}
}
