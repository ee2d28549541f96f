/*-------------------------------------------------------------------------
 *
 * password_change.c
 *	  Functions that set passwords and take them away.
 *
 * The caller's own statement is never run with other rights: the functions
 * here build a statement of their own, with the hashed password in it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "libpq/crypt.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/ticket.h"
#include "people/duty.h"
#include "people/held.h"
#include "people/lockout.h"
#include "people/password.h"
#include "people/password_rule.h"
#include "people/person.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_change_password(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_password(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_suspect_leak(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_change_password);
PG_FUNCTION_INFO_V1(cpii_set_password);
PG_FUNCTION_INFO_V1(cpii_suspect_leak);

/* set a password that was checked, by a statement of our own */
void
cpii_password_store(Oid role, const char *role_name, const char *password)
{
	char	   *verifier = encrypt_password(PASSWORD_TYPE_SCRAM_SHA_256, role_name,
											password);
	char	   *sql = psprintf("ALTER ROLE %s PASSWORD %s",
							   quote_identifier(role_name),
							   quote_literal_cstr(verifier));

	cpii_password_own_change = true;
	PG_TRY();
	{
		cpii_person_run(sql, 0, NULL);
	}
	PG_FINALLY();
	{
		cpii_password_own_change = false;
		cpii_wipe(sql, strlen(sql));
	}
	PG_END_TRY();
}

static char *
password_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* the password of a sealed or joint account is nobody's alone */
static void
refuse_held(Oid role)
{
	if (cpii_held_role(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("password of role \"%s\" is held by custodians",
						GetUserNameFromId(role, false)),
				 errhint("See courier_pii.reseal_envelope() and courier_pii.set_joint_password().")));
}

/* a person's own password: the old one proves who asks */
Datum
cpii_change_password(PG_FUNCTION_ARGS)
{
	Oid			role = GetAuthenticatedUserId();
	char	   *role_name;
	char	   *verifier;
	char	   *old_password;
	char	   *new_password;
	const char *detail = NULL;

	cpii_require_preload();
	cpii_password_scrub_call();
	old_password = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	new_password = password_argument(fcinfo, 1, "new_password");
	refuse_held(role);
	PreventCommandIfReadOnly("change_password()");
	role_name = GetUserNameFromId(role, false);
	verifier = cpii_held_verifier(role);
	if (verifier != NULL &&
		(old_password == NULL ||
		 plain_crypt_verify(role_name, verifier, old_password,
							&detail) != STATUS_OK))
	{
		CpiiPlace	place;
		int			suppressed;
		long		delay;

		/* guessing here is guessing at the door */
		cpii_place_of_client(&place);
		(void) cpii_lockout_failed(role, &place, false, true, &suppressed, &delay);
		cpii_audit_note(CPII_ACT_PASSWORD, "change_password", "denied",
						"{\"reason\": \"old password is wrong\"}");
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PASSWORD),
				 errmsg("old password is wrong")));
	}
	if (old_password != NULL && cpii_password_similar(old_password, new_password))
		cpii_password_refuse_weak("it is too similar to the old one");
	cpii_password_check(role, role_name, new_password);

	SPI_connect();
	cpii_password_store(role, role_name, new_password);
	cpii_password_enter(role, CPII_PASSWORD_SELF, false, cpii_text_or_null(fcinfo, 2));
	SPI_finish();
	cpii_wipe(new_password, strlen(new_password));
	if (old_password != NULL)
		cpii_wipe(old_password, strlen(old_password));
	PG_RETURN_VOID();
}

/* somebody else's password, to be changed at the next login */
Datum
cpii_set_password(PG_FUNCTION_ARGS)
{
	Oid			role;
	char	   *role_name;
	char	   *password;
	RosterFacts facts;

	cpii_password_scrub_call();
	cpii_require_duty("pii_account_admin");
	role = cpii_role_argument(fcinfo, 0);
	role_name = cpii_role_name(role);
	password = password_argument(fcinfo, 1, "new_password");
	refuse_held(role);
	if (!cpii_roster_person(role, &facts) || superuser_arg(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" is not an account of anybody", role_name),
				 errhint("Enter it with courier_pii.hire() or courier_pii.add_account().")));
	if (cpii_session_actor()->login == role)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("your own password is changed with the old one"),
				 errhint("Use courier_pii.change_password().")));
	cpii_password_check(role, role_name, password);
	/* or whoever sets passwords could work, and approve, as any of the others */
	if (cpii_duties_sealed() && cpii_holds_duty(role))
		(void) cpii_require_ticket("policy", psprintf("password/%s", role_name), false);

	SPI_connect();
	cpii_password_store(role, role_name, password);
	cpii_password_enter(role, CPII_PASSWORD_ADMIN,
						(facts.flags & ROSTER_SERVICE) == 0,
						cpii_text_or_null(fcinfo, 2));
	SPI_finish();
	cpii_wipe(password, strlen(password));
	PG_RETURN_VOID();
}

/*
 * Somebody else may know the password: it is taken away, and sessions that may
 * have used it end.  Everybody can do that for themselves.
 */
Datum
cpii_suspect_leak(PG_FUNCTION_ARGS)
{
	Oid			role;
	char	   *role_name;
	RosterFacts facts;

	cpii_require_preload();
	role = cpii_role_argument(fcinfo, 0);
	role_name = cpii_role_name(role);
	if (GetAuthenticatedUserId() != role &&
		!cpii_session_has_duty("pii_security_admin"))
		cpii_require_duty("pii_account_admin");
	refuse_held(role);
	if (!cpii_roster_person(role, &facts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not an account of anybody", role_name),
				 errhint("Enter it with courier_pii.hire() or courier_pii.add_account().")));

	SPI_connect();
	cpii_person_run(psprintf("ALTER ROLE %s PASSWORD NULL", quote_identifier(role_name)),
			 0, NULL);
	cpii_password_enter(role, CPII_PASSWORD_LEAK, true, cpii_text_or_null(fcinfo, 1));
	cpii_roster_change_end(role);
	SPI_finish();
	ereport(NOTICE,
			(errmsg("role \"%s\" has no password now, and its sessions end", role_name),
			 errhint("An account administrator sets a new one with courier_pii.set_password().")));
	PG_RETURN_VOID();
}
