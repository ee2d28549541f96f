/*-------------------------------------------------------------------------
 *
 * password_register.c
 *	  The register of password changes: who, whose, when, how and why.
 *
 * A line is written in the transaction of the change, so one that is rolled
 * back leaves none.  ALTER ROLE and CREATE ROLE are seen by the guard's utility
 * hook, which calls us before and after; the functions of password.c enter
 * their changes themselves.  What bypasses both (a change of the catalog by a
 * superuser, or while the library was not loaded) is found by comparing the
 * fingerprint of the stored verifier with that of the last line.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "people/password.h"
#include "people/person.h"
#include "people/roster_table.h"
#include "policy/catalog.h"

/* the check hook has seen a password in the running statement */
static bool noted = false;
static bool noted_prehashed = false;

static const char *
how_name(CpiiPasswordHow how)
{
	switch (how)
	{
		case CPII_PASSWORD_SELF:
			return "self";
		case CPII_PASSWORD_ADMIN:
			return "admin";
		case CPII_PASSWORD_PREHASHED:
			return "prehashed";
		case CPII_PASSWORD_TAKEN:
			return "taken";
		case CPII_PASSWORD_LEAK:
			return "leak";
		case CPII_PASSWORD_CATALOG:
			return "catalog";
	}
	return "";
}

void
cpii_password_enter(Oid role, CpiiPasswordHow how, bool must_change,
					const char *reason)
{
	const CpiiActor *actor = cpii_session_actor();
	const char *texts[8];
	char		role_text[16];
	char	   *name;

	CommandCounterIncrement();
	name = cpii_role_name(role);
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = how_name(how);
	texts[2] = actor->login_name;
	texts[3] = actor->proof == CPII_PROOF_NONE ? NULL : actor->staff_no;
	texts[4] = actor->client_addr[0] ? actor->client_addr : NULL;
	texts[5] = reason != NULL ? reason
		: cpii_purpose != NULL && cpii_purpose[0] != '\0' ? cpii_purpose : NULL;
	texts[6] = must_change ? "true" : "false";
	texts[7] = psprintf("%d", Max(cpii_password_history, 1));

	cpii_person_run("INSERT INTO courier_pii.password_change"
			 " (login_role, role_name, staff_no, how, changed_by, changed_by_staff_no,"
			 " client_addr, reason, valid_until, fingerprint)"
			 " SELECT r.oid, r.rolname, (SELECT a.staff_no FROM courier_pii.account_register a"
			 " WHERE a.login_role = r.oid), $2, $3::pg_catalog.name, $4, $5, $6, r.rolvaliduntil,"
			 " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')"
			 " FROM pg_catalog.pg_authid r WHERE r.oid = $1::pg_catalog.oid",
			 6, texts);
	cpii_person_run("INSERT INTO courier_pii.password_history (login_role, verifier)"
			 " SELECT r.oid, r.rolpassword FROM pg_catalog.pg_authid r"
			 " WHERE r.oid = $1::pg_catalog.oid AND r.rolpassword IS NOT NULL", 1, texts);
	cpii_person_run("DELETE FROM courier_pii.password_history h WHERE h.login_role = $1::pg_catalog.oid"
			 " AND h.id NOT IN (SELECT k.id FROM courier_pii.password_history k"
			 " WHERE k.login_role = $1::pg_catalog.oid ORDER BY k.id DESC"
			 " LIMIT $2::pg_catalog.int8)", 2, (const char *[]) {role_text, texts[7]});
	if (cpii_person_run("UPDATE courier_pii.account_register SET must_change = $2::pg_catalog.bool,"
				 " password_set_at = pg_catalog.clock_timestamp()"
				 " WHERE login_role = $1::pg_catalog.oid RETURNING staff_no",
				 2, (const char *[]) {role_text, texts[6]}) > 0)
		cpii_roster_announce(cpii_result_text(0, 1));
	/* the gate "password" looks anew */
	cpii_policy_changed();
	cpii_audit_note(CPII_ACT_PASSWORD, "password", "ok",
					cpii_json_pairs("role", name, "how", texts[1],
									"reason", texts[5], NULL));
}

void
cpii_password_take(Oid role, const char *reason)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		isnull = true;
	char	   *name;

	if (!HeapTupleIsValid(tup))
		return;
	(void) SysCacheGetAttr(AUTHOID, tup, Anum_pg_authid_rolpassword, &isnull);
	name = pstrdup(NameStr(((Form_pg_authid) GETSTRUCT(tup))->rolname));
	ReleaseSysCache(tup);
	if (isnull)
		return;
	cpii_person_run(psprintf("ALTER ROLE %s PASSWORD NULL", quote_identifier(name)), 0, NULL);
	cpii_password_enter(role, CPII_PASSWORD_TAKEN, false, reason);
}

/*
 * Passwords of people that are not those of their last line.  The first
 * password of an account has no line when it was set before the account was
 * entered; that one is taken as known.
 */
void
cpii_password_find_unexplained(void)
{
	uint64		count;
	Oid		   *roles;

	/* the first look at an account */
	cpii_person_run("INSERT INTO courier_pii.password_change"
			 " (login_role, role_name, staff_no, how, changed_by, reason, fingerprint)"
			 " SELECT r.oid, r.rolname, a.staff_no, 'first', 'unknown', 'set before the account was entered',"
			 " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')"
			 " FROM courier_pii.account_register a JOIN pg_catalog.pg_authid r ON r.oid = a.login_role"
			 " WHERE r.rolpassword IS NOT NULL AND NOT EXISTS"
			 " (SELECT 1 FROM courier_pii.password_change c WHERE c.login_role = a.login_role)",
			 0, NULL);
	count = cpii_person_run("SELECT r.oid FROM courier_pii.account_register a"
					 " JOIN pg_catalog.pg_authid r ON r.oid = a.login_role"
					 " JOIN LATERAL (SELECT c.fingerprint FROM courier_pii.password_change c"
					 " WHERE c.login_role = a.login_role ORDER BY c.id DESC LIMIT 1) c ON true"
					 " WHERE c.fingerprint IS DISTINCT FROM"
					 " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')",
					 0, NULL);
	roles = palloc(Max(count, 1) * sizeof(Oid));
	for (uint64 i = 0; i < count; i++)
		roles[i] = cpii_result_oid(i, 1);
	for (uint64 i = 0; i < count; i++)
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("password of role \"%s\" was changed without a record",
						cpii_role_name(roles[i])),
				 errhint("Find out who did it; the password must be changed at the next login.")));
		cpii_password_enter(roles[i], CPII_PASSWORD_CATALOG, true,
							"changed without a record");
	}
}

/* ---- statements of others ---- */

void
cpii_password_noted(bool prehashed)
{
	noted = true;
	noted_prehashed = prehashed;
}

static DefElem *
password_option(List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "password") == 0)
			return option;
	}
	return NULL;
}

void
cpii_password_before(PlannedStmt *pstmt, const char *queryString)
{
	noted = false;
	switch (nodeTag(pstmt->utilityStmt))
	{
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_CreateUserMappingStmt:
		case T_AlterUserMappingStmt:
		case T_CreateSubscriptionStmt:
		case T_AlterSubscriptionStmt:
		case T_CreateForeignServerStmt:
		case T_AlterForeignServerStmt:
			cpii_password_scrub(queryString, pstmt->stmt_location, pstmt->stmt_len);
			break;
		case T_DoStmt:
		case T_CallStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
			cpii_password_scrub_if_any(queryString, pstmt->stmt_location,
									   pstmt->stmt_len,
									   IsA(pstmt->utilityStmt, PrepareStmt));
			break;
		default:
			break;
	}
}

/* the statement was successful; it may have set or removed a password */
void
cpii_password_after(PlannedStmt *pstmt)
{
	Node	   *stmt = pstmt->utilityStmt;
	DefElem    *option = NULL;
	Oid			role = InvalidOid;
	CpiiPasswordHow how;

	if (IsA(stmt, CreateRoleStmt))
	{
		option = password_option(((CreateRoleStmt *) stmt)->options);
		role = get_role_oid(((CreateRoleStmt *) stmt)->role, true);
	}
	else if (IsA(stmt, AlterRoleStmt))
	{
		option = password_option(((AlterRoleStmt *) stmt)->options);
		role = get_rolespec_oid(((AlterRoleStmt *) stmt)->role, true);
	}
	if (option == NULL || !OidIsValid(role) ||
		!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("password_history", true)))
		return;
	if (!noted)
		how = CPII_PASSWORD_TAKEN;
	else if (noted_prehashed)
		how = CPII_PASSWORD_PREHASHED;
	else
		how = GetAuthenticatedUserId() == role ? CPII_PASSWORD_SELF
			: CPII_PASSWORD_ADMIN;
	noted = false;
	SPI_connect();
	/* while setting up, first passwords are given to many people at once */
	cpii_password_enter(role, how, how == CPII_PASSWORD_ADMIN &&
						cpii_duties_sealed(), NULL);
	SPI_finish();
}
