/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Who may touch the extension's own relations, and which columns may exist.
 *
 * Registers change only through functions of the extension, audit records not
 * at all, whoever asks; audit records are read by auditors only.  A sealed
 * column without a class is refused when it is made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "audit/statement.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "base/transaction.h"
#include "guard/guard.h"
#include "people/password.h"
#include "people/duty.h"
#include "people/roster.h"
#include "policy/relation.h"
#include "sealed/seal.h"

static Oid	restore_relid = InvalidOid;
static List *restored_registers = NIL;

void
cpii_access_allow_restore(Oid relid)
{
	restore_relid = relid;
	cpii_transaction_busy = true;
}

/* is this range table that of the client's own statement, a plain INSERT? */
static bool
clients_own_insert(List *rangeTable)
{
	PlannedStmt *stmt;

	if (ActivePortal == NULL || list_length(ActivePortal->stmts) != 1)
		return false;
	stmt = linitial_node(PlannedStmt, ActivePortal->stmts);
	return stmt->commandType == CMD_INSERT && stmt->rtable == rangeTable;
}

/*
 * INSERT into one of our registers: a dump made of INSERT statements is being
 * restored when a superuser begins with a register that is empty, in set-up.
 * The session may go on as long as it lasts: a single COPY could bring in the
 * same rows.  The statement is the client's own, never one of a function.
 */
static bool
allowed_by_restore(Oid relid, int flags)
{
	MemoryContext old;

	if ((flags & CPII_REL_AUDIT) || cpii_duties_sealed() || !superuser() ||
		!superuser_arg(GetSessionUserId()))
		return false;
	if (list_member_oid(restored_registers, relid))
		return true;
	if (!cpii_register_empty(relid))
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (strcmp(get_rel_name(relid), "duty_seal") == 0)
		cpii_duties_restored();
	restored_registers = lappend_oid(restored_registers, relid);
	MemoryContextSwitchTo(old);
	cpii_audit_note(CPII_ACT_POLICY, "restore", "ok",
					psprintf("{\"register\": \"%s\", \"by\": \"INSERT\"}",
							 get_rel_name(relid)));
	return true;
}

/* no row was ever stored in it */
bool
cpii_register_empty(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		empty = rel->rd_rel->relkind == RELKIND_RELATION &&
		RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	return empty;
}

/* may the person do this to one of our relations? */
static bool
allowed(Oid relid, AclMode required, List *rangeTable, bool report)
{
	int			flags = cpii_relation_flags(relid);

	if (!(flags & CPII_REL_OURS))
		return true;
	/* staging: who may insert there is a matter of ordinary rights */
	if (required == ACL_INSERT &&
		relid == cpii_relation_oid("hr_feed_row", true))
		return true;
	if (required & (ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE))
	{
		if (relid == restore_relid && required == ACL_INSERT)
		{
			restore_relid = InvalidOid;
			return true;
		}
		if (report && required == ACL_INSERT &&
			clients_own_insert(rangeTable) && allowed_by_restore(relid, flags))
			return true;
		if (report)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 (flags & CPII_REL_AUDIT) ?
					 errmsg("audit records cannot be changed") :
					 errmsg("register \"%s\" cannot be changed directly", get_rel_name(relid)),
					 (flags & CPII_REL_AUDIT) ? 0 :
					 errhint("Use the functions of schema courier_pii.")));
		return false;
	}
	if ((flags & CPII_REL_AUDIT) && (required & ACL_SELECT) &&
		!cpii_session_has_duty("pii_auditor"))
	{
		if (report)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for %s", get_rel_name(relid)),
					 errdetail("Only members of \"pii_auditor\" read the audit trail.")));
		return false;
	}
	return true;
}

/*
 * The server's own checks of foreign keys lock rows of the registers, which
 * needs the right to update.  Only they run in this security context; jobs that
 * write to people's tables add a restriction to it.
 */
static bool
in_foreign_key_check(void)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	return (context & (SECURITY_NOFORCE_RLS | SECURITY_RESTRICTED_OPERATION)) ==
		SECURITY_NOFORCE_RLS;
}

bool
cpii_access_check_perms(CPII_CHECK_PERMS_PARAMS)
{
	ListCell   *lc;
	Oid			relid;
	AclMode		required;

	if (cpii_internal_depth > 0 || creating_extension || IsParallelWorker() ||
		in_foreign_key_check() || !OidIsValid(cpii_sealed_type()))
		return true;
	CPII_FOREACH_PERMISSION(lc, relid, required)
	{
		if (!allowed(relid, required, rangeTable, ereport_on_violation))
			return false;
	}
	return true;
}

/*
 * Could a value of this type hold a sealed value without a class: the type
 * itself, or a domain, array or row type made of it?
 */
static bool
holds_classless(Oid type, int32 typmod)
{
	Oid			sealed = cpii_sealed_type();
	Oid			element;

	check_stack_depth();
	if (type != sealed && type < FirstNormalObjectId)
		return false;
	type = getBaseTypeAndTypmod(type, &typmod);
	if (type == sealed)
		return typmod <= 0;
	element = get_element_type(type);
	if (OidIsValid(element))
		return holds_classless(element, typmod);
	if (get_typtype(type) == TYPTYPE_COMPOSITE)
	{
		TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped &&
				holds_classless(att->atttypid, att->atttypmod))
				return true;
		}
	}
	return false;
}

/*
 * Columns that have just been made (attnum 0: all of a new relation) are not
 * visible yet: read them with a snapshot that sees our own changes.
 */
static void
refuse_classless_columns(Oid relid, int attnum)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tup;
	int			nkeys = 1;

	if (!OidIsValid(cpii_sealed_type()))
		return;
	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	if (attnum != 0)
		ScanKeyInit(&keys[nkeys++], Anum_pg_attribute_attnum,
					BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(attnum));
	rel = table_open(AttributeRelationId, AccessShareLock);
	scan = systable_beginscan(rel, AttributeRelidNumIndexId, true, SnapshotSelf,
							  nkeys, keys);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tup);

		if (att->attnum > 0 && !att->attisdropped &&
			holds_classless(att->atttypid, att->atttypmod))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("column \"%s\" has type sealed without a data class",
							NameStr(att->attname)),
					 errhint("Use one of the domains, such as courier_pii.phone.")));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Tables hold values, and row types can be their columns; views and indexes
 * are only shapes.
 */
static bool
stores_rows(Oid relid)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tup;
	bool		result = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	rel = table_open(RelationRelationId, AccessShareLock);
	scan = systable_beginscan(rel, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
	{
		char		kind = ((Form_pg_class) GETSTRUCT(tup))->relkind;

		result = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			kind == RELKIND_MATVIEW || kind == RELKIND_FOREIGN_TABLE ||
			kind == RELKIND_COMPOSITE_TYPE;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* fast-path calls pass no executor hook, and have no portal */
void
cpii_access_fast_path(Oid function)
{
	if (cpii_statement.open || cpii_internal_depth > 0 || IsParallelWorker())
		return;
	cpii_roster_check();
	if (cpii_roster_restricted)
		cpii_password_gate_call(function);
}

void
cpii_access_object(ObjectAccessType access, Oid classId, Oid objectId, int subId)
{
	if ((access == OAT_POST_CREATE || access == OAT_POST_ALTER) &&
		classId == RelationRelationId && objectId >= FirstNormalObjectId &&
		cpii_preloaded && !creating_extension && !IsBootstrapProcessingMode())
	{
		if (stores_rows(objectId))
			refuse_classless_columns(objectId, subId);
	}
}

/* a transaction or a part of it failed */
void
cpii_access_at_abort(void)
{
	restore_relid = InvalidOid;
	cpii_plain_rtable = NIL;
}
