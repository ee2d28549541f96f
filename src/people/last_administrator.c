/*-------------------------------------------------------------------------
 *
 * last_administrator.c
 *	  Is somebody the last who can administer?
 *
 * Asked while a client logs in: only the catalogs of roles and shared memory
 * can be read, and those by their heaps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "people/last_administrator.h"
#include "people/roster_table.h"

/*
 * Members of a role, at any depth.  Heap scans: while a client logs in, not all
 * indexes of the catalog of memberships can be used.
 */
static List *
members_of(Oid role)
{
	Relation	rel = table_open(AuthMemRelationId, AccessShareLock);
	List	   *found = list_make1_oid(role);
	bool		more = true;

	while (more)
	{
		TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
		HeapTuple	tup;

		more = false;
		while ((tup = heap_getnext(scan, ForwardScanDirection)) != NULL)
		{
			Form_pg_auth_members m = (Form_pg_auth_members) GETSTRUCT(tup);

			if (list_member_oid(found, m->roleid) &&
				!list_member_oid(found, m->member))
			{
				found = lappend_oid(found, m->member);
				more = true;
			}
		}
		table_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* can anybody but this role log in and is in the group (NIL: is a superuser)? */
static bool
somebody_else(Oid role, List *group, bool (*locked) (Oid role))
{
	Relation	rel = table_open(AuthIdRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple	tup;
	bool		found = false;

	while (!found && (tup = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tup);

		if (form->oid == role || !form->rolcanlogin ||
			(group == NIL ? !form->rolsuper : !list_member_oid(group, form->oid)))
			continue;
		found = !locked(form->oid) &&
			!OidIsValid(cpii_roster_denied(form->oid, form->oid, form->oid));
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

bool
cpii_is_last_administrator(Oid role, bool (*locked) (Oid role))
{
	static const char *const duties[] = {"pii_security_admin", "pii_account_admin"};

	if (superuser_arg(role) && !somebody_else(role, NIL, locked))
		return true;
	for (int i = 0; i < lengthof(duties); i++)
	{
		Oid			duty = get_role_oid(duties[i], true);
		List	   *members;

		if (!OidIsValid(duty))
			continue;
		members = members_of(duty);
		if (list_member_oid(members, role) && !somebody_else(role, members, locked))
			return true;
	}
	return false;
}
