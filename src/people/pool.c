/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  What a connection pool may ask: the verifier of an account at work.
 *
 * A pool that checks passwords itself looks them up with a query.  Here it gets
 * none of an account that is denied, locked, out of its hours, or powerful; so
 * whoever left is refused at the pool already.  The one role that may ask is
 * named by a security administrator.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "people/lockout.h"
#include "people/login_rule.h"
#include "people/person.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_pool_admits(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_pool_role(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_pool_admits);
PG_FUNCTION_INFO_V1(cpii_set_pool_role);

/* nobody reaches a sealed or joint account through a pool */
static bool
person_facts(Oid role, RosterFacts *facts)
{
	return cpii_roster_person(role, facts) && (facts->flags & ROSTER_HELD) == 0;
}

static bool
holds_duty(Oid role)
{
	static const char *const duties[] = {
		"pii_security_admin", "pii_auditor", "pii_account_admin", "pii_backup"
	};

	for (int i = 0; i < lengthof(duties); i++)
	{
		Oid			duty = get_role_oid(duties[i], true);

		if (OidIsValid(duty) && is_member_of_role_nosuper(role, duty))
			return true;
	}
	return false;
}

/*
 * Would this role be let in now?  Its address is not known here: the rules on
 * addresses are applied when the pool connects.  Logins fail at the pool with
 * the pool's address, so a lock counts from there and from everywhere.
 */
Datum
cpii_pool_admits(PG_FUNCTION_ARGS)
{
	Oid			role = PG_GETARG_OID(0);
	RosterFacts facts;
	CpiiPlace	place;

	cpii_require_preload();
	cpii_place_of_client(&place);
	if (superuser_arg(role) || holds_duty(role) ||
		OidIsValid(cpii_roster_denied(role, role, role)) ||
		cpii_lockout_locked(role, &place))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(!person_facts(role, &facts) ||
				   cpii_rule_hours(&facts, GetCurrentTimestamp()));
}

/* only an application's own login, with no power beside */
static void
require_plain_role(Oid role, const char *name)
{
	RosterFacts facts;
	const char *why = NULL;

	if (IsReservedName(name) || strncmp(name, "pii_", 4) == 0)
		why = "It is a group that rights are granted through.";
	else if (superuser_arg(role))
		why = "It is a superuser.";
	else if (holds_duty(role))
		why = "It holds a duty.";
	else if (person_facts(role, &facts) && (facts.flags & ROSTER_SERVICE) == 0)
		why = "It is a person's own account.";
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot look passwords up", name),
				 errdetail("%s", why),
				 errhint("Make a role for the connection pool alone.")));
}

/* name the role that may call pool_auth(); null: nobody may */
Datum
cpii_set_pool_role(PG_FUNCTION_ARGS)
{
	char	   *name = NULL;
	uint64		count;
	char	  **grantees;

	cpii_require_duty("pii_security_admin");
	if (!PG_ARGISNULL(0))
	{
		Oid			role = cpii_role_argument(fcinfo, 0);

		name = cpii_role_name(role);
		require_plain_role(role, name);
		(void) cpii_require_ticket("policy", psprintf("pool_role/%s", name), false);
	}

	SPI_connect();
	count = cpii_person_run("SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC'"
							" ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END"
							" FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a"
							" WHERE p.oid = 'courier_pii.pool_auth(pg_catalog.text)'::pg_catalog.regprocedure"
							" AND a.grantee <> p.proowner", 0, NULL);
	grantees = palloc(Max(count, 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		grantees[i] = cpii_result_text(i, 1);
	for (uint64 i = 0; i < count; i++)
		cpii_person_run(psprintf("REVOKE ALL ON FUNCTION courier_pii.pool_auth(pg_catalog.text) FROM %s CASCADE",
								 grantees[i]), 0, NULL);
	if (name != NULL)
	{
		cpii_person_run(psprintf("GRANT EXECUTE ON FUNCTION courier_pii.pool_auth(pg_catalog.text) TO %s",
								 quote_identifier(name)), 0, NULL);
		cpii_person_run(psprintf("GRANT USAGE ON SCHEMA courier_pii TO %s",
								 quote_identifier(name)), 0, NULL);
	}
	cpii_audit_note(CPII_ACT_POLICY, "set_pool_role", "ok",
					cpii_json_pairs("role", name, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}
