/*-------------------------------------------------------------------------
 *
 * forbidden.c
 *	  Utility statements after the duties are sealed: which need a maintenance
 *	  window, and which are ways round the library.
 *
 * Taking rights away stays free.  Destroying has tickets of its own
 * (destroy.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "guard/maintenance.h"
#include "guard/ticket.h"
#include "people/duty.h"
#include "policy/relation.h"

static const char *
tag_of(Node *stmt)
{
	return GetCommandTagName(CreateCommandTag(stmt));
}

static void
window(Node *stmt, const char *object)
{
	cpii_maintenance_require(CPII_POWER_WINDOW, tag_of(stmt),
							 psprintf("%s is not allowed", tag_of(stmt)), object);
}

/* for objects that only this database has */
static void
window_here(Node *stmt, const char *object)
{
	if (cpii_in_protected_database())
		window(stmt, object);
}

static void
never(Node *stmt, const char *what, const char *object)
{
	cpii_maintenance_require(CPII_POWER_EMERGENCY, tag_of(stmt),
							 psprintf("%s is not allowed", what), object);
}

/* ---- relations ---- */

static void
protected_relation(Node *stmt, Oid relid)
{
	if (OidIsValid(relid) &&
		(cpii_relation_flags(relid) & (CPII_REL_PROTECTED | CPII_REL_OURS)))
		window(stmt, quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												get_rel_name(relid)));
}

static void
protected_range(Node *stmt, RangeVar *rv)
{
	if (rv != NULL)
		protected_relation(stmt, RangeVarGetRelid(rv, NoLock, true));
}

static void
check_drop(DropStmt *drop)
{
	ListCell   *lc;

	switch (drop->removeType)
	{
		case OBJECT_EXTENSION:
		case OBJECT_EVENT_TRIGGER:
		case OBJECT_SCHEMA:
			foreach(lc, drop->objects)
				window_here((Node *) drop, strVal(lfirst(lc)));
			break;
		case OBJECT_VIEW:
			foreach(lc, drop->objects)
				protected_range((Node *) drop, makeRangeVarFromNameList(lfirst(lc)));
			break;
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
			foreach(lc, drop->objects)
			{
				List	   *names = list_copy(lfirst_node(List, lc));

				if (list_length(names) > 1)
					protected_range((Node *) drop,
									makeRangeVarFromNameList(list_truncate(names, list_length(names) - 1)));
			}
			break;
		default:
			break;
	}
}

/* ---- roles ---- */

/* options that only take something away */
static bool
only_takes(List *options)
{
	ListCell   *lc;

	if (options == NIL)
		return false;
	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (option->arg == NULL || !IsA(option->arg, Boolean) ||
			boolVal(option->arg) || strcmp(option->defname, "inherit") == 0)
			return false;
	}
	return true;
}

static void
check_alter_role(AlterRoleStmt *alter)
{
	Oid			role = get_rolespec_oid(alter->role, true);
	const CpiiActor *actor = cpii_session_actor();
	ListCell   *lc;
	bool		others = false;

	foreach(lc, alter->options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);
		char		staff_no[CPII_STAFF_NO_LEN];
		char		org[CPII_ORG_LEN];

		if (strcmp(option->defname, "password") != 0)
			others = true;
		else if (OidIsValid(role) && role != actor->login &&
				 option->arg != NULL &&
				 cpii_person_lookup != NULL &&
				 cpii_person_lookup(role, staff_no, org))
			never((Node *) alter, "changing the password of another person",
				  GetUserNameFromId(role, true));
		else if (role != actor->login)
			others = true;
	}
	if (others && !only_takes(alter->options))
		window((Node *) alter, OidIsValid(role) ? GetUserNameFromId(role, true) : NULL);
}

/* does the role carry rights that somebody decided on? */
static bool
is_business_role(Oid role, const char *name)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(role)};
	bool		result;

	if (cpii_duty_is_role(name))
		return true;
	/* what is known of roles is known there */
	if (!cpii_in_protected_database())
		return true;
	if (!OidIsValid(cpii_relation_oid("disclosure", true)))
		return false;
	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.disclosures d"
							 " WHERE d.grantee::pg_catalog.oid = $1"
							 " UNION ALL SELECT 1 FROM courier_pii.limits l"
							 " WHERE l.grantee::pg_catalog.oid = $1"
							 " UNION ALL SELECT 1 FROM courier_pii.row_rules r"
							 " WHERE r.grantee::pg_catalog.oid = $1"
							 " UNION ALL SELECT 1 FROM courier_pii.post_right p"
							 " WHERE p.role::pg_catalog.oid = $1 LIMIT 1",
						  1, types, values, NULL, true, 0);
	result = SPI_processed > 0;
	SPI_finish();
	return result;
}

static void
check_role_grant(Node *stmt, const char *name, List *members)
{
	Oid			role = get_role_oid(name, true);
	ListCell   *lc;

	if (!OidIsValid(role))
		return;
	if (strncmp(name, "pg_", 3) == 0)
		window(stmt, name);
	else if (is_business_role(role, name))
	{
		if (!cpii_in_protected_database() || cpii_ticket_current("policy") == NULL)
			never(stmt, "granting a role that carries rights to personal data", name);
		else
			foreach(lc, members)
			{
				Oid			member = get_rolespec_oid(lfirst(lc), true);

				(void) cpii_require_ticket("policy",
										   psprintf("%s/%s", name, OidIsValid(member) ?
													GetUserNameFromId(member, true) : ""), true);
			}
	}
}

static void
check_grant_role(GrantRoleStmt *grant)
{
	ListCell   *lc;

	foreach(lc, grant->granted_roles)
	{
		const char *name = lfirst_node(AccessPriv, lc)->priv_name;

		if (grant->is_grant)
			check_role_grant((Node *) grant, name, grant->grantee_roles);
		else if (cpii_duty_is_role(name))
			window((Node *) grant, name);
	}
}

static void
check_create_role(CreateRoleStmt *create)
{
	ListCell   *lc;

	foreach(lc, create->options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);
		ListCell   *cell;

		if (strcmp(option->defname, "addroleto") != 0)
			continue;
		foreach(cell, (List *) option->arg)
			check_role_grant((Node *) create,
							 get_rolespec_name(lfirst_node(RoleSpec, cell)), NIL);
	}
	window((Node *) create, create->role);
}

/* ---- settings ---- */

static void
check_setting(Node *stmt, VariableSetStmt *set, bool all)
{
	const char *name = set->kind == VAR_RESET_ALL ? "all" : set->name;

	if (name != NULL &&
		(all || strcmp(name, "all") == 0 ||
		 pg_strncasecmp(name, "courier_pii.", 12) == 0 ||
		 strstr(name, "preload_libraries") != NULL ||
		 pg_strcasecmp(name, "session_replication_role") == 0 ||
		 pg_strcasecmp(name, "role") == 0))
		window(stmt, name);
}

/* ---- files, libraries, languages ---- */

static bool
below(const char *path, const char *directory)
{
	return directory != NULL && directory[0] != '\0' &&
		path_is_prefix_of_path(directory, path);
}

static void
check_file(Node *stmt, const char *name, const char *what)
{
	char	   *path = make_absolute_path(name);

	canonicalize_path(path);
	if (below(path, cpii_key_store) || below(path, cpii_key_file) ||
		below(path, cpii_audit_directory) || below(path, cpii_actor_key_file) ||
		below(path, DataDir))
		never(stmt, what, NULL);
	else
		window(stmt, NULL);
	free(path);
}

static void
check_copy(CopyStmt *copy)
{
	if (copy->is_program)
		never((Node *) copy, "COPY with PROGRAM", NULL);
	else if (copy->filename != NULL)
		check_file((Node *) copy, copy->filename, "COPY with a file of the server itself");
}

static void
check_language(Node *stmt, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);
		const char *name;
		HeapTuple	tup;
		bool		trusted = true;

		if (strcmp(option->defname, "language") != 0)
			continue;
		name = strVal(option->arg);
		tup = SearchSysCache1(LANGNAME, CStringGetDatum(name));
		if (HeapTupleIsValid(tup))
		{
			Form_pg_language form = (Form_pg_language) GETSTRUCT(tup);

			trusted = form->lanpltrusted;
			ReleaseSysCache(tup);
		}
		if (!trusted)
			never(stmt, "code in an untrusted language", name);
	}
}

/* an object in our schema */
static bool
is_ours(List *names)
{
	return list_length(names) > 1 &&
		strcmp(strVal(linitial(names)), "courier_pii") == 0;
}

static void
check_rename(RenameStmt *rename)
{
	if (rename->renameType == OBJECT_ROLE || rename->renameType == OBJECT_DATABASE)
		window((Node *) rename, rename->subname);
	else if (rename->renameType == OBJECT_SCHEMA)
		window_here((Node *) rename, rename->subname);
	else
		protected_range((Node *) rename, rename->relation);
}

/* somebody else would own our schema or functions, or the database */
static void
check_owner(AlterOwnerStmt *alter)
{
	switch (alter->objectType)
	{
		case OBJECT_SCHEMA:
			window_here((Node *) alter, strVal(alter->object));
			break;
		case OBJECT_DATABASE:
			if (strcmp(strVal(alter->object), cpii_database) == 0)
				window((Node *) alter, cpii_database);
			break;
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
			if (is_ours(castNode(ObjectWithArgs, alter->object)->objname))
				window_here((Node *) alter, "courier_pii");
			break;
		default:
			break;
	}
}

/* protected relations of a schema: all its tables are granted */
static void
schema_relations(Node *stmt, const char *schema)
{
	Oid			types[1] = {NAMEOID};
	NameData	name;
	Datum		values[1] = {NameGetDatum(&name)};
	Oid		   *relids;
	uint64		n;

	namestrcpy(&name, schema);
	SPI_connect();
	cpii_internal_execute("SELECT c.oid FROM pg_catalog.pg_class c"
						  " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
						  " WHERE n.nspname OPERATOR(pg_catalog.=) $1"
						  " AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
						  1, types, values, NULL, true, 0);
	n = SPI_processed;
	relids = SPI_palloc(sizeof(Oid) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		relids[i] = cpii_result_oid(i, 1);
	SPI_finish();
	for (uint64 i = 0; i < n; i++)
		protected_relation(stmt, relids[i]);
	pfree(relids);
}

static void
check_object_grant(GrantStmt *grant)
{
	ListCell   *lc;

	if (!grant->is_grant || !cpii_in_protected_database())
		return;
	foreach(lc, grant->objects)
	{
		if (grant->targtype == ACL_TARGET_ALL_IN_SCHEMA)
		{
			if (strcmp(strVal(lfirst(lc)), "courier_pii") == 0)
				window((Node *) grant, "courier_pii");
			if (grant->objtype == OBJECT_TABLE)
				schema_relations((Node *) grant, strVal(lfirst(lc)));
		}
		else if (grant->targtype != ACL_TARGET_OBJECT)
			continue;
		else if (grant->objtype == OBJECT_TABLE)
			protected_range((Node *) grant, lfirst(lc));
		else if ((grant->objtype == OBJECT_FUNCTION || grant->objtype == OBJECT_PROCEDURE ||
				  grant->objtype == OBJECT_ROUTINE) &&
				 is_ours(lfirst_node(ObjectWithArgs, lc)->objname))
			window((Node *) grant, "courier_pii");
	}
}

/* a program or a file of the server behind a foreign table */
static void
check_foreign_options(Node *stmt, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (option->defaction == DEFELEM_DROP)
			continue;
		if (strcmp(option->defname, "program") == 0)
			never(stmt, "a foreign table on a program", NULL);
		else if (strcmp(option->defname, "filename") == 0 && option->arg != NULL)
			check_file(stmt, defGetString(option), "a foreign table on a file of the server itself");
	}
}

static void
check_alter_table(AlterTableStmt *alter)
{
	ListCell   *lc;

	protected_range((Node *) alter, alter->relation);
	foreach(lc, alter->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_GenericOptions)
			check_foreign_options((Node *) alter, (List *) cmd->def);
	}
}

void
cpii_forbidden_utility(Node *stmt)
{
	if (!cpii_maintenance_applies() || IsA(stmt, TransactionStmt))
		return;
	cpii_maintenance_note(tag_of(stmt), debug_query_string);
	switch (nodeTag(stmt))
	{
		case T_LoadStmt:
			never(stmt, "LOAD", NULL);
			break;
		case T_CopyStmt:
			check_copy((CopyStmt *) stmt);
			break;
		case T_DoStmt:
			check_language(stmt, ((DoStmt *) stmt)->args);
			break;
		case T_CreateFunctionStmt:
			check_language(stmt, ((CreateFunctionStmt *) stmt)->options);
			if (is_ours(((CreateFunctionStmt *) stmt)->funcname))
				window(stmt, "courier_pii");
			break;
		case T_AlterFunctionStmt:
			if (is_ours((List *) ((AlterFunctionStmt *) stmt)->func->objname))
				window(stmt, "courier_pii");
			break;
		case T_CreatePLangStmt:
			window_here(stmt, ((CreatePLangStmt *) stmt)->plname);
			break;
		case T_CreateExtensionStmt:
			window_here(stmt, ((CreateExtensionStmt *) stmt)->extname);
			break;
		case T_AlterExtensionStmt:
			window_here(stmt, ((AlterExtensionStmt *) stmt)->extname);
			break;
		case T_AlterExtensionContentsStmt:
			window_here(stmt, ((AlterExtensionContentsStmt *) stmt)->extname);
			break;
		case T_CreateEventTrigStmt:
			window_here(stmt, ((CreateEventTrigStmt *) stmt)->trigname);
			break;
		case T_AlterEventTrigStmt:
			window_here(stmt, ((AlterEventTrigStmt *) stmt)->trigname);
			break;
		case T_AlterSystemStmt:
			check_setting(stmt, ((AlterSystemStmt *) stmt)->setstmt, true);
			break;
		case T_AlterRoleSetStmt:
			check_setting(stmt, ((AlterRoleSetStmt *) stmt)->setstmt, false);
			break;
		case T_AlterDatabaseSetStmt:
			check_setting(stmt, ((AlterDatabaseSetStmt *) stmt)->setstmt, false);
			break;
		case T_AlterRoleStmt:
			check_alter_role((AlterRoleStmt *) stmt);
			break;
		case T_CreateRoleStmt:
			check_create_role((CreateRoleStmt *) stmt);
			break;
		case T_DropRoleStmt:
		case T_ReassignOwnedStmt:
		case T_DropOwnedStmt:
			window(stmt, NULL);
			break;
		case T_GrantRoleStmt:
			check_grant_role((GrantRoleStmt *) stmt);
			break;
		case T_GrantStmt:
			check_object_grant((GrantStmt *) stmt);
			break;
		case T_AlterOwnerStmt:
			check_owner((AlterOwnerStmt *) stmt);
			break;
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) stmt);
			break;
		case T_CreateSubscriptionStmt:
			/* rows written with another server's texts, in nobody's session */
			window_here(stmt, ((CreateSubscriptionStmt *) stmt)->subname);
			break;
		case T_AlterSubscriptionStmt:
			window_here(stmt, ((AlterSubscriptionStmt *) stmt)->subname);
			break;
		case T_CreateForeignTableStmt:
			check_foreign_options(stmt, ((CreateForeignTableStmt *) stmt)->options);
			break;
		case T_ViewStmt:
			protected_range(stmt, ((ViewStmt *) stmt)->view);
			break;
		case T_IndexStmt:
			protected_range(stmt, ((IndexStmt *) stmt)->relation);
			break;
		case T_RuleStmt:
			protected_range(stmt, ((RuleStmt *) stmt)->relation);
			break;
		case T_CreateTrigStmt:
			protected_range(stmt, ((CreateTrigStmt *) stmt)->relation);
			break;
		case T_CreatePolicyStmt:
			protected_range(stmt, ((CreatePolicyStmt *) stmt)->table);
			break;
		case T_AlterPolicyStmt:
			protected_range(stmt, ((AlterPolicyStmt *) stmt)->table);
			break;
		case T_AlterObjectSchemaStmt:
			protected_range(stmt, ((AlterObjectSchemaStmt *) stmt)->relation);
			break;
		case T_RenameStmt:
			check_rename((RenameStmt *) stmt);
			break;
		case T_DropStmt:
			check_drop((DropStmt *) stmt);
			break;
		default:
			break;
	}
}
