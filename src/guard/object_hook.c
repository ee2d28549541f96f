/*-------------------------------------------------------------------------
 *
 * object_hook.c
 *	  The server's hooks for access to objects and for permissions on
 *	  relations, once for all files of the guard.
 *
 * Every function that a statement may call and every range table passes here:
 * a chain of hooks, one a file, costs a short statement more than what they
 * ask.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "tcop/pquery.h"

#include "base/compat.h"
#include "base/ticket.h"
#include "guard/destroy.h"
#include "guard/guard.h"
#include "guard/maintenance.h"

static ExecutorCheckPerms_hook_type prev_ExecutorCheckPerms = NULL;
static object_access_hook_type prev_object_access = NULL;

List	   *cpii_plain_rtable = NIL;

static void
cpii_object_access(ObjectAccessType access, Oid classId, Oid objectId,
				   int subId, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, classId, objectId, subId, arg);
	if (likely(access == OAT_FUNCTION_EXECUTE))
	{
		if (unlikely(ActivePortal == NULL))
			cpii_access_fast_path(objectId);
		cpii_replication_function(objectId);
		if (unlikely(cpii_duties_sealed()))
			cpii_escape_function(objectId);
	}
	else
	{
		cpii_access_object(access, classId, objectId, subId);
		cpii_destroy_object(access, classId, objectId, subId, arg);
	}
}

static bool
cpii_ExecutorCheckPerms(CPII_CHECK_PERMS_PARAMS)
{
	List	   *plain = cpii_plain_rtable;

	cpii_plain_rtable = NIL;
	if (prev_ExecutorCheckPerms &&
		!prev_ExecutorCheckPerms(CPII_CHECK_PERMS_ARGS))
		return false;
	if ((plain == NIL || rangeTable != plain) &&
		!cpii_access_check_perms(CPII_CHECK_PERMS_ARGS))
		return false;
	if (unlikely(cpii_duties_sealed()))
		cpii_escape_check_perms(CPII_CHECK_PERMS_ARGS);
	return true;
}

void
cpii_object_hook_init(void)
{
	prev_ExecutorCheckPerms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = cpii_ExecutorCheckPerms;
	prev_object_access = object_access_hook;
	object_access_hook = cpii_object_access;
}
