/*-------------------------------------------------------------------------
 *
 * held_account.c
 *	  What sealed and joint accounts have in common: nobody else changes them,
 *	  their passwords are set here, and their deadlines end sessions.
 *
 * A held account is an entry of the roster like a person's account: sealed or
 * void, it is denied there, so login, statement, SET ROLE and standby need no
 * rule of their own.  While it is open, it belongs to the person who opened it,
 * and its time is the entry's end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "port/atomics.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/base64url.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "crypto/cipher.h"
#include "people/duty.h"
#include "people/held.h"
#include "people/password.h"
#include "people/person.h"
#include "people/register.h"
#include "people/roster_table.h"

typedef struct Shared
{
	/* the registers have no held accounts; until they were read, they may have */
	pg_atomic_uint32 none;
} Shared;

static Shared *shared = NULL;

/* ---- questions ---- */

bool
cpii_held_any(void)
{
	return shared != NULL && pg_atomic_read_u32(&shared->none) == 0;
}

void
cpii_held_set_any(bool any)
{
	if (shared != NULL)
		pg_atomic_write_u32(&shared->none, any ? 0 : 1);
}

bool
cpii_held_role(Oid role)
{
	RosterEntry *entry;
	bool		held;

	if (cpii_roster_table == NULL || !OidIsValid(role))
		return false;
	LWLockAcquire(cpii_roster_lock, LW_SHARED);
	entry = cpii_roster_find(role);
	held = entry != NULL && (entry->facts.flags & ROSTER_HELD) != 0;
	LWLockRelease(cpii_roster_lock);
	return held;
}

const CpiiActor *
cpii_held_person(void)
{
	const CpiiActor *actor;

	cpii_require_preload();
	actor = cpii_session_actor();
	if (actor->proof != CPII_PROOF_LOGIN || actor->staff_no[0] == '\0' ||
		cpii_held_role(actor->login))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a person with a login of their own may do this"),
				 errhint("Log in as yourself, not through a pool or a held account.")));
	return actor;
}

void
cpii_held_not_custodian(const char *role_name, const char *command)
{
	cpii_audit_note(CPII_ACT_DENIED, command, "denied",
					cpii_json_pairs("role", role_name, "reason", "not a custodian", NULL));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("you are not a custodian of role \"%s\"", role_name)));
}

void
cpii_held_check_role(Oid role)
{
	char		role_text[16];
	const char *texts[1];
	char	   *name = cpii_role_name(role);

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	if (role < FirstNormalObjectId && role != BOOTSTRAP_SUPERUSERID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" belongs to the server", name)));
	if (cpii_duty_is_role(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is a duty, not an account", name)));
	if (role == cpii_session_actor()->login)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an account cannot be taken from its own session"),
				 errhint("Log in as somebody else.")));
	if (cpii_person_run("SELECT 1 FROM courier_pii.account_register a"
						" WHERE a.login_role = $1::pg_catalog.oid", 1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" is somebody's account", name),
				 errhint("Make a role of its own for emergencies or maintenance.")));
	if (cpii_person_run("SELECT 1 FROM courier_pii.sealed_account s"
						" WHERE s.login_role = $1::pg_catalog.oid"
						" UNION ALL SELECT 1 FROM courier_pii.joint_account j"
						" WHERE j.login_role = $1::pg_catalog.oid", 1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("role \"%s\" is a sealed or joint account already", name)));
	if (cpii_person_run("SELECT m.member::pg_catalog.regrole FROM pg_catalog.pg_auth_members m"
						" WHERE m.roleid = $1::pg_catalog.oid LIMIT 1", 1, texts) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" has members", name),
				 errdetail("Role \"%s\" could use its rights without its password.",
						   cpii_result_text(0, 1)),
				 errhint("Revoke the membership first.")));
}

void
cpii_held_check_custodian(const char *staff_no)
{
	if (cpii_person_run("SELECT 1 FROM courier_pii.staff_register s"
						" WHERE s.staff_no = $1 AND s.status = 'active'"
						" AND (s.departed_at IS NULL OR s.departed_at > pg_catalog.clock_timestamp())"
						" AND EXISTS (SELECT 1 FROM courier_pii.account_register a"
						" JOIN pg_catalog.pg_authid r ON r.oid = a.login_role AND r.rolcanlogin"
						" WHERE a.staff_no = s.staff_no AND a.kind <> 'service' AND NOT a.disabled)",
						1, &staff_no) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("custodian is not an active person with a login"),
				 errdetail("Staff number \"%s\" cannot hold a part of a password.", staff_no),
				 errhint("See the view courier_pii.staff.")));
}

/* ---- the catalog's side ---- */

char *
cpii_held_verifier(Oid role)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	char	   *result = NULL;
	bool		isnull;
	Datum		value;

	if (!HeapTupleIsValid(tup))
		return NULL;
	value = SysCacheGetAttr(AUTHOID, tup, Anum_pg_authid_rolpassword, &isnull);
	if (!isnull)
		result = TextDatumGetCString(value);
	ReleaseSysCache(tup);
	return result;
}

void
cpii_held_set_password(Oid role, const char *password, const char *cause)
{
	unsigned char secret[CPII_KEY_LEN];
	char		text[CPII_BASE64URL_BOUND(CPII_KEY_LEN)];
	char	   *name = cpii_role_name(role);

	if (name == NULL)
		return;
	if (password == NULL)
	{
		if (!cpii_random(secret, sizeof(secret)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("no random numbers are available")));
		cpii_base64url_encode(secret, sizeof(secret), text);
		password = text;
	}
	cpii_password_store(role, name, password);
	cpii_wipe(secret, sizeof(secret));
	cpii_wipe(text, sizeof(text));
	cpii_password_enter(role, CPII_PASSWORD_ADMIN, false, cause);
}

void
cpii_held_set_login(Oid role, bool login)
{
	char	   *name = cpii_role_name(role);

	if (name != NULL)
		cpii_person_run(psprintf("ALTER ROLE %s %s", quote_identifier(name),
								 login ? "LOGIN" : "NOLOGIN"), 0, NULL);
}

void
cpii_held_event(Oid role, const char *event, const char *staff_no,
				const char *ticket, const char *detail)
{
	const CpiiActor *actor = cpii_session_actor();
	char		role_text[16];
	const char *texts[8];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = cpii_role_name(role);
	texts[2] = event;
	texts[3] = actor->login_name;
	texts[4] = staff_no != NULL ? staff_no
		: actor->staff_no[0] != '\0' ? actor->staff_no : NULL;
	texts[5] = actor->client_addr[0] != '\0' ? actor->client_addr : NULL;
	texts[6] = ticket;
	texts[7] = detail;
	cpii_person_run("INSERT INTO courier_pii.held_account_event"
					" (login_role, role_name, event, by_role, staff_no, client_addr, ticket, detail)"
					" VALUES ($1::pg_catalog.oid, $2::pg_catalog.name, $3, $4::pg_catalog.name, $5, $6,"
					" $7::pg_catalog.int8, $8)", 8, texts);
	cpii_audit_note(CPII_ACT_PASSWORD, event, "ok",
					cpii_json_pairs("role", texts[1], "staff_no", texts[4],
									"ticket", ticket, "about", detail, NULL));
}

void
cpii_held_announce(Oid role)
{
	cpii_held_set_any(true);
	cpii_roster_announce_role(role);
}

/* ---- statements of others ---- */

static void
refuse(Node *stmt, Oid role)
{
	cpii_duty_refuse(GetCommandTagName(CreateCommandTag(stmt)),
					 "a sealed or joint account is changed by its custodians only",
					 cpii_role_name(role),
					 "See courier_pii.reseal_envelope(), courier_pii.set_joint_password() and courier_pii.release_account().");
}

static void
refuse_role(Node *stmt, Oid role)
{
	if (cpii_held_role(role))
		refuse(stmt, role);
}

static void
refuse_specs(Node *stmt, List *specs)
{
	ListCell   *lc;

	foreach(lc, specs)
		refuse_role(stmt, get_rolespec_oid(lfirst(lc), true));
}

/* options that only take something away */
static bool
only_takes(List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (option->arg == NULL || !IsA(option->arg, Boolean) ||
			boolVal(option->arg))
			return false;
	}
	return options != NIL;
}

void
cpii_held_utility(Node *stmt)
{
	ListCell   *lc;

	if (!cpii_held_any() || !IsTransactionState() || IsAbortedTransactionBlockState())
		return;
	switch (nodeTag(stmt))
	{
		case T_AlterRoleStmt:
			if (!only_takes(((AlterRoleStmt *) stmt)->options))
				refuse_role(stmt, get_rolespec_oid(((AlterRoleStmt *) stmt)->role, true));
			break;
		case T_AlterRoleSetStmt:
			if (((AlterRoleSetStmt *) stmt)->role != NULL)
				refuse_role(stmt, get_rolespec_oid(((AlterRoleSetStmt *) stmt)->role, true));
			break;
		case T_GrantRoleStmt:
			if (!((GrantRoleStmt *) stmt)->is_grant)
				break;
			foreach(lc, ((GrantRoleStmt *) stmt)->granted_roles)
				refuse_role(stmt, get_role_oid(lfirst_node(AccessPriv, lc)->priv_name, true));
			refuse_specs(stmt, ((GrantRoleStmt *) stmt)->grantee_roles);
			break;
		case T_CreateRoleStmt:
			foreach(lc, ((CreateRoleStmt *) stmt)->options)
			{
				DefElem    *option = lfirst_node(DefElem, lc);

				if (strcmp(option->defname, "addroleto") == 0 ||
					strcmp(option->defname, "rolemembers") == 0 ||
					strcmp(option->defname, "adminmembers") == 0)
					refuse_specs(stmt, (List *) option->arg);
			}
			break;
		case T_DropRoleStmt:
			refuse_specs(stmt, ((DropRoleStmt *) stmt)->roles);
			break;
		default:
			break;
	}
}

/* ---- deadlines ---- */

/* as if somebody had ended the session: the log hook tells the client why */
static void
time_is_over(void)
{
	(void) kill(MyProcPid, SIGTERM);
}

void
cpii_held_end_at(TimestampTz when)
{
	static bool registered = false;
	static TimeoutId timeout;

	if (MyBackendType != B_BACKEND && MyBackendType != B_WAL_SENDER)
		return;
	if (!registered)
	{
		timeout = RegisterTimeout(USER_TIMEOUT, time_is_over);
		registered = true;
	}
	/* an error in the session takes all timers away, so it is set each time */
	enable_timeout_at(timeout, when);
}

/* ---- start ---- */

static void
person_left(const char *staff_no, const char *status)
{
	if (!OidIsValid(cpii_relation_oid("sealed_account", true)))
		return;
	cpii_sealed_person_left(staff_no, status);
	cpii_joint_person_left(staff_no, status);
}

void
cpii_held_init(void)
{
	cpii_shmem_register_zeros("courier_pii_held_accounts", (void **) &shared, sizeof(Shared), NULL);
	cpii_held_room_init();
	cpii_register_person_left(person_left);
	cpii_envelope_init();
	cpii_joint_init();
}
