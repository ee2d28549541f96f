/*-------------------------------------------------------------------------
 *
 * duty.c
 *	  The duties exclude each other, and superuser, by whatever statement
 *	  somebody gets them.
 *
 * Memberships are followed through all groups, without counting superuser
 * power.  Conflicts that exist already do not stand in the way of a statement
 * that makes no new one, or nobody could take them away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "port/pg_bitutils.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/settings.h"
#include "people/duty.h"
#include "people/person.h"

static const char *const duties[] = {
	"pii_security_admin", "pii_auditor", "pii_account_admin", "superuser"
};

#define SUPERUSER_BIT 3

/* role, and the duties that it holds by itself or through groups */
typedef struct Holder
{
	Oid			role;
	uint8		held;
} Holder;

struct CpiiDutyConflicts
{
	HTAB	   *holders;
};

/* ---- who holds what ---- */

static void
add_holder(HTAB *holders, Oid role, uint8 held)
{
	bool		found;
	Holder	   *holder = hash_search(holders, &role, HASH_ENTER, &found);

	if (!found)
		holder->held = 0;
	holder->held |= held;
}

static void
add_superusers(HTAB *holders)
{
	Relation	rel = table_open(AuthIdRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tup);

		if (form->rolsuper)
			add_holder(holders, form->oid, 1 << SUPERUSER_BIT);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* all memberships; their number */
static int
read_members(FormData_pg_auth_members **members)
{
	Relation	rel = table_open(AuthMemRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tup;
	int			n = 0;
	int			room = 256;

	*members = palloc(room * sizeof(FormData_pg_auth_members));
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		if (n == room)
		{
			room *= 2;
			*members = repalloc(*members, room * sizeof(FormData_pg_auth_members));
		}
		(*members)[n++] = *(Form_pg_auth_members) GETSTRUCT(tup);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return n;
}

static HTAB *
read_holders(void)
{
	HASHCTL		ctl;
	HTAB	   *holders;
	FormData_pg_auth_members *members;
	int			n;
	bool		more = true;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Holder);
	ctl.hcxt = CurrentMemoryContext;
	holders = hash_create("courier_pii duties", 64, &ctl,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < SUPERUSER_BIT; i++)
	{
		Oid			role = get_role_oid(duties[i], true);

		if (OidIsValid(role))
			add_holder(holders, role, 1 << i);
	}
	add_superusers(holders);
	n = read_members(&members);
	while (more)
	{
		more = false;
		for (int i = 0; i < n; i++)
		{
			Holder	   *group = hash_search(holders, &members[i].roleid, HASH_FIND, NULL);
			Holder	   *member;

			if (group == NULL)
				continue;
			member = hash_search(holders, &members[i].member, HASH_FIND, NULL);
			if (member != NULL && (group->held & ~member->held) == 0)
				continue;
			add_holder(holders, members[i].member, group->held);
			more = true;
		}
	}
	pfree(members);
	return holders;
}

/* ---- refusing ---- */

void
cpii_duty_refuse(const char *command, const char *what, const char *object,
				 const char *hint)
{
	bool		warn = cpii_enforcement == CPII_ENFORCE_WARN;

	cpii_audit_note(CPII_ACT_DENIED, command, warn ? "ok" : "denied",
					cpii_json_pairs("refused", what, "object", object, NULL));
	ereport(warn ? WARNING : ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("%s", what),
			 object ? errdetail("The statement acts on \"%s\".", object) : 0,
			 hint ? errhint("%s", hint) : 0));
}

bool
cpii_duty_is_role(const char *name)
{
	for (int i = 0; i < SUPERUSER_BIT; i++)
		if (strcmp(name, duties[i]) == 0)
			return true;
	return strcmp(name, "pii_backup") == 0;
}

/* ---- around statements ---- */

static bool
can_conflict(Node *stmt)
{
	if (IsA(stmt, GrantRoleStmt))
		return ((GrantRoleStmt *) stmt)->is_grant;
	return IsA(stmt, AlterRoleStmt) || IsA(stmt, CreateRoleStmt);
}

CpiiDutyConflicts *
cpii_duty_before(Node *stmt)
{
	CpiiDutyConflicts *result;

	if (!can_conflict(stmt) || cpii_internal_depth > 0 || !cpii_preloaded)
		return NULL;
	result = palloc(sizeof(CpiiDutyConflicts));
	result->holders = read_holders();
	return result;
}

void
cpii_duty_after(CpiiDutyConflicts *before, Node *stmt)
{
	HTAB	   *holders;
	HASH_SEQ_STATUS seq;
	Holder	   *holder;

	if (before == NULL)
		return;
	CommandCounterIncrement();
	holders = read_holders();
	hash_seq_init(&seq, holders);
	while ((holder = hash_seq_search(&seq)) != NULL)
	{
		Holder	   *was;
		char	   *name;
		int			first;
		int			second;

		if (pg_popcount32(holder->held) < 2)
			continue;
		was = hash_search(before->holders, &holder->role, HASH_FIND, NULL);
		if (was != NULL && was->held == holder->held)
			continue;
		first = pg_rightmost_one_pos32(holder->held);
		second = pg_rightmost_one_pos32(holder->held & (holder->held - 1));
		name = GetUserNameFromId(holder->role, true);
		hash_seq_term(&seq);
		cpii_duty_refuse(GetCommandTagName(CreateCommandTag(stmt)),
						 psprintf("\"%s\" and \"%s\" exclude each other",
								  duties[first], duties[second]),
						 name, "Give the duty to another person.");
		break;
	}
	hash_destroy(holders);
	hash_destroy(before->holders);
}

bool
cpii_holds_duty(Oid role)
{
	for (int i = 0; i < SUPERUSER_BIT; i++)
	{
		Oid			duty = get_role_oid(duties[i], true);

		if (OidIsValid(duty) && is_member_of_role_nosuper(role, duty))
			return true;
	}
	return false;
}
