/*-------------------------------------------------------------------------
 *
 * appoint.c
 *	  Who holds which duty.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "people/person.h"
#include "people/roster.h"

CPII_EXPORT Datum cpii_appoint(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_appoint);

/* ---- duties ---- */

/* the duties that exclude each other, and superuser */
static const char *const exclusive_duties[] = {
	"pii_security_admin", "pii_auditor", "pii_account_admin"
};

static bool
is_exclusive_duty(const char *duty)
{
	for (int i = 0; i < lengthof(exclusive_duties); i++)
		if (strcmp(duty, exclusive_duties[i]) == 0)
			return true;
	return false;
}

/*
 * Would anybody who is, or is a member of, the role then hold two duties, or a
 * duty and superuser?  Membership is followed through all groups and does not
 * count superuser power.
 */
static const char *const find_conflict =
"WITH RECURSIVE holder (oid) AS ("
" SELECT $2::pg_catalog.oid"
" UNION"
" SELECT m.member FROM pg_catalog.pg_auth_members m"
" JOIN holder h ON h.oid = m.roleid),"
" belongs (holder, oid) AS ("
" SELECT h.oid, h.oid FROM holder h"
" UNION"
" SELECT b.holder, m.roleid FROM pg_catalog.pg_auth_members m"
" JOIN belongs b ON b.oid = m.member)"
" SELECT pg_catalog.pg_get_userbyid(b.holder),"
" CASE WHEN r.rolsuper THEN 'superuser' ELSE r.rolname::pg_catalog.text END"
" FROM belongs b JOIN pg_catalog.pg_roles r ON r.oid = b.oid"
" WHERE r.rolsuper OR r.rolname <> $1 AND r.rolname IN"
" ('pii_security_admin', 'pii_auditor', 'pii_account_admin')"
" LIMIT 1";

Datum
cpii_appoint(PG_FUNCTION_ARGS)
{
	const char *texts[2];
	char		role_text[16];
	Oid			role;
	char	   *name;

	cpii_require_duty("pii_security_admin");
	texts[0] = cpii_text_argument(fcinfo, 0, "duty");
	if (!is_exclusive_duty(texts[0]) && strcmp(texts[0], "pii_backup") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("duty \"%s\" does not exist", texts[0]),
				 errhint("The duties are pii_security_admin, pii_auditor, pii_account_admin and pii_backup.")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role must not be null")));
	role = PG_GETARG_OID(1);
	name = GetUserNameFromId(role, true);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	if (IsReservedName(name) || strncmp(name, "pii_", 4) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot be appointed", name),
				 errdetail("It is a group that rights are granted through.")));
	if (cpii_roster_left(role))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" cannot be appointed", name),
				 errdetail("Its account is disabled.")));
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[1] = role_text;

	SPI_connect();
	if (is_exclusive_duty(texts[0]))
	{
		/* two appointments at once must see each other */
		cpii_person_run("LOCK TABLE pg_catalog.pg_auth_members IN SHARE ROW EXCLUSIVE MODE",
			0, NULL);
		if (cpii_person_run(find_conflict, 2, texts) > 0)
		{
			char	   *holder = cpii_result_text(0, 1);
			char	   *other = cpii_result_text(0, 2);

			ereport(ERROR,
					(errcode(ERRCODE_INVALID_GRANT_OPERATION),
					 errmsg("role \"%s\" cannot be appointed to duty \"%s\"",
							name, texts[0]),
					 errdetail("Role \"%s\" holds \"%s\", which excludes it.",
							   holder, other),
					 errhint("Appoint another person.")));
		}
	}
	/* a refusal for another reason does not cost the ticket */
	(void) cpii_require_ticket("policy", psprintf("%s/%s", texts[0], name), false);
	cpii_person_run(psprintf("GRANT %s TO %s", quote_identifier(texts[0]),
				 quote_identifier(name)), 0, NULL);
	cpii_audit_note(CPII_ACT_ACCOUNT, "appoint", "ok",
					cpii_json_pairs("duty", texts[0], "role", name, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}
