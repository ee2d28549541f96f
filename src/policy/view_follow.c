/*-------------------------------------------------------------------------
 *
 * view_follow.c
 *	  Masked views follow the structure of their tables.
 *
 * ALTER TABLE, renaming and dropping come through the utility hook.  What a
 * change needs of the views is done around it in the same transaction, so that
 * an existing company's migrations go on working.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "policy/catalog.h"
#include "policy/policy.h"
#include "policy/relation.h"
#include "policy/view_follow.h"
#include "sealed/seal.h"

typedef enum ChangeKind
{
	CHANGE_COLUMNS,				/* ALTER TABLE */
	CHANGE_COLUMN_NAME,
	CHANGE_NAMES,				/* of a table or schema, or a table moves */
	CHANGE_DROP
} ChangeKind;

struct CpiiViewChange
{
	ChangeKind	kind;
	Oid			relid;
	List	   *relids;			/* the relation and what inherits from it */
	List	   *views;
	bool		columns_lost;
	char	   *from;
	char	   *to;
	CpiiRuleTables *tables;
};

bool		cpii_views_held = false;

/* do masked views show what this subcommand changes; must they be parked? */
static bool
concerns_views(AlterTableType type, bool *park)
{
	switch (type)
	{
		case AT_DropColumn:
		case AT_AlterColumnType:
			*park = true;
			return true;
		case AT_AddColumn:
		case AT_ColumnDefault:
		case AT_DropExpression:
		case AT_SetNotNull:
		case AT_DropNotNull:
		case AT_AddIdentity:
		case AT_SetIdentity:
		case AT_DropIdentity:
		case AT_ChangeOwner:
			return true;
		default:
			return false;
	}
}

/* the table a statement names, if the caller may change it */
static Oid
own_table(RangeVar *rv)
{
	Oid			relid = rv ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;
	char		kind = OidIsValid(relid) ? get_rel_relkind(relid) : 0;

	if ((kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE) ||
		!cpii_class_ownercheck(relid, GetUserId()))
		return InvalidOid;
	return relid;
}

static CpiiViewChange *
new_change(ChangeKind kind, Oid relid)
{
	CpiiViewChange *change = palloc0(sizeof(CpiiViewChange));

	change->kind = kind;
	change->relid = relid;
	if (OidIsValid(relid))
		change->relids = find_all_inheritors(relid, NoLock, NULL);
	return change;
}

static CpiiViewChange *
before_alter(AlterTableStmt *stmt)
{
	CpiiViewChange *change;
	bool		concerned = false;
	bool		park = false;
	bool		lost = false;
	ListCell   *lc;
	Oid			relid;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		concerned |= concerns_views(cmd->subtype, &park);
		lost |= cmd->subtype == AT_DropColumn;
	}
	if (!concerned || !OidIsValid(relid = own_table(stmt->relation)))
		return NULL;
	change = new_change(CHANGE_COLUMNS, relid);
	change->columns_lost = lost;
	change->views = cpii_masked_views_over(change->relids);
	if (change->views == NIL)
		return NULL;
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_DropColumn && cmd->name != NULL)
			cpii_refuse_ruled_column(change->relids, cmd->name);
	}
	if (park)
	{
		SPI_connect();
		foreach(lc, change->views)
			cpii_park_masked_view(lfirst_oid(lc));
		SPI_finish();
	}
	return change;
}

static CpiiViewChange *
before_rename(RenameStmt *stmt)
{
	CpiiViewChange *change;
	Oid			relid = InvalidOid;

	if (stmt->renameType == OBJECT_SCHEMA)
	{
		change = new_change(CHANGE_NAMES, InvalidOid);
		change->tables = cpii_rule_tables();
		return change;
	}
	if (stmt->renameType != OBJECT_TABLE &&
		(stmt->renameType != OBJECT_COLUMN || stmt->relationType != OBJECT_TABLE))
		return NULL;
	if (!OidIsValid(relid = own_table(stmt->relation)))
		return NULL;
	change = new_change(stmt->renameType == OBJECT_TABLE ? CHANGE_NAMES : CHANGE_COLUMN_NAME,
						relid);
	change->to = pstrdup(stmt->newname);
	if (change->kind == CHANGE_COLUMN_NAME)
		change->from = pstrdup(stmt->subname);
	else
	{
		change->from = get_rel_name(relid);
		change->tables = cpii_rule_tables();
	}
	change->views = cpii_masked_views_over(change->relids);
	return change;
}

CpiiViewChange *
cpii_views_before(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
		case T_DropStmt:
		case T_DropOwnedStmt:
			break;
		default:
			return NULL;
	}
	if (cpii_views_held || !cpii_preloaded || creating_extension ||
		!OidIsValid(cpii_sealed_type()) ||
		!OidIsValid(cpii_relation_oid("masked_view_register", true)))
		return NULL;
	if (IsA(stmt, AlterTableStmt))
		return before_alter((AlterTableStmt *) stmt);
	if (IsA(stmt, RenameStmt))
		return before_rename((RenameStmt *) stmt);
	if (IsA(stmt, AlterObjectSchemaStmt))
	{
		CpiiViewChange *change;

		if (((AlterObjectSchemaStmt *) stmt)->objectType != OBJECT_TABLE)
			return NULL;
		change = new_change(CHANGE_NAMES, InvalidOid);
		change->tables = cpii_rule_tables();
		return change;
	}
	if (cpii_internal_depth > 0)
		return NULL;
	if (IsA(stmt, DropStmt) &&
		((DropStmt *) stmt)->removeType != OBJECT_TABLE &&
		((DropStmt *) stmt)->removeType != OBJECT_VIEW &&
		((DropStmt *) stmt)->removeType != OBJECT_SCHEMA)
		return NULL;
	return new_change(CHANGE_DROP, InvalidOid);
}

/* the table has another name now, and the masked view has the table's name */
static void
rename_views(CpiiViewChange *change)
{
	ListCell   *lc;

	foreach(lc, change->views)
	{
		Oid			view = lfirst_oid(lc);
		char	   *name = get_rel_name(view);

		if (name == NULL || cpii_masked_view_base(view) != change->relid ||
			strcmp(name, change->from) != 0)
			continue;
		if (OidIsValid(get_relname_relid(change->to, get_rel_namespace(view))))
			ereport(WARNING,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("masked view \"%s\" keeps its name", name),
					 errdetail("Its schema has a relation \"%s\" already.", change->to)));
		else
			cpii_run(psprintf("ALTER VIEW %s RENAME TO %s", cpii_qualified_name(view),
							  quote_identifier(change->to)));
	}
}

static void
rename_columns(CpiiViewChange *change)
{
	ListCell   *lc;

	foreach(lc, change->views)
	{
		Oid			view = lfirst_oid(lc);

		if (list_member_oid(change->relids, cpii_masked_view_base(view)) &&
			get_attnum(view, change->from) > 0 && get_attnum(view, change->to) <= 0)
			cpii_run(psprintf("ALTER VIEW %s RENAME COLUMN %s TO %s",
							  cpii_qualified_name(view),
							  quote_identifier(change->from),
							  quote_identifier(change->to)));
	}
}

/* registers must not speak of relations that are gone: numbers are used again */
static void
forget_dropped(void)
{
	static const char *const queries[] = {
		"SELECT 1 FROM courier_pii.masked_view_register m WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = m.view)"
		" OR NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = m.tbl)"
		" UNION ALL SELECT 1 FROM courier_pii.row_rule r WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = r.tbl)"
		" UNION ALL SELECT 1 FROM courier_pii.disclosure d WHERE d.tbl IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = d.tbl)",
		"DELETE FROM courier_pii.masked_view_register m WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = m.view) OR NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = m.tbl)",
		"DELETE FROM courier_pii.row_rule r WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = r.tbl)",
		"DELETE FROM courier_pii.disclosure d WHERE d.tbl IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = d.tbl)",
	};
	uint64		lost;

	/* the extension itself may be gone */
	CommandCounterIncrement();
	if (!OidIsValid(cpii_relation_oid("masked_view_register", true)))
		return;
	SPI_connect();
	cpii_internal_execute(queries[0], 0, NULL, NULL, NULL, false, 0);
	lost = SPI_processed;
	for (int i = 1; lost > 0 && i < lengthof(queries); i++)
		cpii_internal_execute(queries[i], 0, NULL, NULL, NULL, false, 0);
	SPI_finish();
	if (lost == 0)
		return;
	cpii_policy_changed();
	cpii_audit_note(CPII_ACT_POLICY, "forget_dropped", "ok",
					psprintf("{\"entries\": " UINT64_FORMAT "}", lost));
}

void
cpii_views_after(CpiiViewChange *change)
{
	ListCell   *lc;

	if (change == NULL)
		return;
	CommandCounterIncrement();
	switch (change->kind)
	{
		case CHANGE_COLUMNS:
			if (change->columns_lost)
				cpii_forget_lost_columns(change->relids);
			CommandCounterIncrement();
			foreach(lc, change->views)
				(void) cpii_rebuild_masked_view(lfirst_oid(lc), NULL);
			break;
		case CHANGE_COLUMN_NAME:
			SPI_connect();
			rename_columns(change);
			SPI_finish();
			cpii_follow_column_name(change->relids, change->from, change->to);
			break;
		case CHANGE_NAMES:
			cpii_follow_table_names(change->tables);
			if (change->views != NIL)
			{
				SPI_connect();
				rename_views(change);
				SPI_finish();
			}
			break;
		case CHANGE_DROP:
			forget_dropped();
			return;
	}
	if (change->views != NIL)
		cpii_policy_changed();
}
