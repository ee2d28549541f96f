/*-------------------------------------------------------------------------
 *
 * escape.c
 *	  Ways round the library that are no utility statements: functions that
 *	  read and write the server's files, direct changes of catalogs, and
 *	  settings, whatever sets them.
 *
 * The check of a setting is put in front of the server's own, so that SET,
 * set_config(), ALTER ROLE ... SET, options of a connection and SET clauses of
 * functions all pass it.  A value of the configuration file is not refused: the
 * server has to start (view posture tells of it).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc_tables.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/maintenance.h"

static GucEnumCheckHook prev_replication_role = NULL;
static GucBoolCheckHook prev_table_mods = NULL;
static GucStringCheckHook prev_authorization = NULL;

CPII_DEFINE_SEARCH_SETTING

/* ---- functions ---- */

static const char *const file_functions[] = {
	"pg_read_file", "pg_read_file_old", "pg_read_binary_file", "pg_ls_dir",
	"pg_stat_file", "lo_import", "lo_export",
	"pg_file_write", "pg_file_rename", "pg_file_unlink", "pg_file_sync"
};

static bool
is_file_function(Oid function)
{
	char	   *name = get_func_name(function);
	bool		result = false;

	for (int i = 0; name != NULL && !result && i < lengthof(file_functions); i++)
		result = strcmp(name, file_functions[i]) == 0;
	if (name != NULL)
		pfree(name);
	return result;
}

/*
 * Built-in functions are judged for everybody, since EXECUTE on them can be
 * granted, and only once each.  Those of extensions ask for the role that owns
 * the files themselves, unless the user is a superuser.
 */
static void
check_function(Oid function)
{
	static uint8 known[FirstUnpinnedObjectId];	/* 0: not judged, 1: no, 2: yes */

	if (function < lengthof(known))
	{
		if (known[function] == 0)
			known[function] = is_file_function(function) ? 2 : 1;
		if (known[function] == 1)
			return;
	}
	else if (!superuser() || !is_file_function(function))
		return;
	cpii_maintenance_require(CPII_POWER_EMERGENCY, "FUNCTION",
							 "reading or writing files of the server is not allowed",
							 get_func_name(function));
}

void
cpii_escape_function(Oid function)
{
	if (cpii_maintenance_applies())
		check_function(function);
}

/* ---- catalogs ---- */

void
cpii_escape_check_perms(CPII_CHECK_PERMS_PARAMS)
{
	ListCell   *lc;
	Oid			relid;
	AclMode		required;

	if (!cpii_maintenance_applies())
		return;
	CPII_FOREACH_PERMISSION(lc, relid, required)
	{
		if (IsCatalogRelationOid(relid) &&
			(required & (ACL_INSERT | ACL_UPDATE | ACL_DELETE)))
			cpii_maintenance_require(CPII_POWER_EMERGENCY, "CATALOG",
									 "changing a system catalog directly is not allowed",
									 get_rel_name(relid));
	}
	cpii_maintenance_note("statement", debug_query_string);
}

/* ---- settings ---- */

/* may this source be judged?  Not the files, nor what the server sets itself */
static bool
judged(GucSource source)
{
	return source > PGC_S_ARGV && cpii_maintenance_applies();
}

static bool
check_replication_role(int *newval, void **extra, GucSource source)
{
	if (judged(source) && *newval != 0)
		cpii_maintenance_require(CPII_POWER_EMERGENCY, "SET",
								 "setting \"session_replication_role\" is not allowed", NULL);
	return prev_replication_role == NULL || prev_replication_role(newval, extra, source);
}

static bool
check_table_mods(bool *newval, void **extra, GucSource source)
{
	if (judged(source) && *newval)
		cpii_maintenance_require(CPII_POWER_EMERGENCY, "SET",
								 "setting \"allow_system_table_mods\" is not allowed", NULL);
	return prev_table_mods == NULL || prev_table_mods(newval, extra, source);
}

static bool
check_authorization(char **newval, void **extra, GucSource source)
{
	if (*newval != NULL && judged(source))
	{
		Oid			role = get_role_oid(*newval, true);
		char		staff_no[CPII_STAFF_NO_LEN];
		char		org[CPII_ORG_LEN];

		if (OidIsValid(role) && role != cpii_session_actor()->login &&
			cpii_person_lookup != NULL && cpii_person_lookup(role, staff_no, org))
			cpii_maintenance_require(CPII_POWER_EMERGENCY, "SET SESSION AUTHORIZATION",
									 "working as another person is not allowed", *newval);
	}
	return prev_authorization == NULL || prev_authorization(newval, extra, source);
}

void
cpii_escape_init(void)
{
	struct config_generic *setting;

	setting = cpii_find_setting("session_replication_role");
	if (setting != NULL && setting->vartype == PGC_ENUM)
	{
		prev_replication_role = ((struct config_enum *) setting)->check_hook;
		((struct config_enum *) setting)->check_hook = check_replication_role;
	}
	setting = cpii_find_setting("allow_system_table_mods");
	if (setting != NULL && setting->vartype == PGC_BOOL)
	{
		prev_table_mods = ((struct config_bool *) setting)->check_hook;
		((struct config_bool *) setting)->check_hook = check_table_mods;
	}
	setting = cpii_find_setting("session_authorization");
	if (setting != NULL && setting->vartype == PGC_STRING)
	{
		prev_authorization = ((struct config_string *) setting)->check_hook;
		((struct config_string *) setting)->check_hook = check_authorization;
	}
}
