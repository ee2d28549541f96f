/*-------------------------------------------------------------------------
 *
 * membership.c
 *	  Group roles that come and go with a post.
 *
 * The security administrator says which group roles belong to a post; hire()
 * and transfer() grant them, and whatever an account has been granted ends
 * with the post, whoever gave it.  What was taken is remembered, never given
 * back by itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "people/membership.h"
#include "people/person.h"
#include "policy/catalog.h"

CPII_EXPORT Datum cpii_set_post_rights(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_set_post_rights);

/* what the role granted to others stays theirs */
static void
grant_again(const char *role_text, const char *grantor)
{
	const char *find = CPII_GRANT_AGAIN;
	uint64		count;
	char	 ***found;

	if (find == NULL)
		return;
	count = cpii_person_run(find, 1, &role_text);
	found = palloc(Max(count, 1) * sizeof(char **));
	for (uint64 i = 0; i < count; i++)
	{
		found[i] = palloc(3 * sizeof(char *));
		for (int k = 0; k < 3; k++)
			found[i][k] = cpii_result_text(i, k + 1);
	}
	for (uint64 i = 0; i < count; i++)
	{
		cpii_person_run(found[i][2], 0, NULL);
		cpii_audit_note(CPII_ACT_ACCOUNT, "keep_membership", "ok",
						cpii_json_pairs("role", found[i][0], "member", found[i][1],
										"granted_by", grantor, NULL));
	}
}

int
cpii_membership_take(Oid role, const char *staff_no, const char *cause)
{
	const char *texts[4];
	char		role_text[16];
	char	   *member = cpii_role_name(role);
	char	  **revokes;
	uint64		count;

	if (member == NULL)
		return 0;
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = staff_no;
	texts[2] = cause;
	texts[3] = cpii_session_actor()->login_name;
	cpii_person_run("INSERT INTO courier_pii.membership_taken"
			 " (login_role, staff_no, group_role, admin_option, cause, taken_by)"
			 " SELECT m.member, $2, m.roleid, pg_catalog.bool_or(m.admin_option), $3,"
			 " $4::pg_catalog.name"
			 " FROM pg_catalog.pg_auth_members m WHERE m.member = $1::pg_catalog.oid"
			 " GROUP BY m.member, m.roleid", 4, texts);
	count = cpii_person_run("SELECT pg_catalog.format('REVOKE %I FROM %I%s', g.rolname, $2,"
					 " CASE WHEN b.rolname IS NULL THEN ''"
					 " ELSE pg_catalog.format(' GRANTED BY %I', b.rolname) END || '" CPII_REVOKE_MEMBERSHIP "')"
					 " FROM pg_catalog.pg_auth_members m"
					 " JOIN pg_catalog.pg_roles g ON g.oid = m.roleid"
					 " LEFT JOIN pg_catalog.pg_roles b ON b.oid = m.grantor"
					 " WHERE m.member = $1::pg_catalog.oid",
					 2, (const char *[]) {role_text, member});
	revokes = palloc(Max(count, 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		revokes[i] = cpii_result_text(i, 1);
	if (count > 0)
		grant_again(role_text, member);
	for (uint64 i = 0; i < count; i++)
		cpii_person_run(revokes[i], 0, NULL);
	/* what was disclosed to the role by its name ends as well */
	if (cpii_person_run("DELETE FROM courier_pii.disclosure WHERE grantee = $1::pg_catalog.oid",
				 1, texts) + count > 0)
		cpii_policy_changed();
	return (int) count;
}

void
cpii_post_grant(Oid role, const char *post)
{
	char	   *member = cpii_role_name(role);
	char	  **grants;
	uint64		count;

	if (post == NULL || member == NULL)
		return;
	count = cpii_person_run("SELECT pg_catalog.format('GRANT %I TO %I', g.rolname, $2)"
					 " FROM courier_pii.post_right p"
					 " JOIN pg_catalog.pg_roles g ON g.oid = p.role"
					 " WHERE p.post = $1", 2, (const char *[]) {post, member});
	grants = palloc(Max(count, 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		grants[i] = cpii_result_text(i, 1);
	for (uint64 i = 0; i < count; i++)
		cpii_person_run(grants[i], 0, NULL);
	if (count > 0)
		cpii_policy_changed();
}

static const char *const find_powerful =
"WITH RECURSIVE up (oid) AS (SELECT $1::pg_catalog.oid UNION"
" SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN up u ON u.oid = m.member)"
" SELECT r.rolname FROM up u JOIN pg_catalog.pg_roles r ON r.oid = u.oid"
" WHERE r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls"
" OR r.rolcreatedb OR pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pg_')"
" OR pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pii_') LIMIT 1";

char *
cpii_powerful_role(Oid role)
{
	const char *text = psprintf("%u", role);

	return cpii_person_run(find_powerful, 1, &text) > 0 ?
		cpii_result_text(0, 1) : NULL;
}

/* the rights of a post from now on; who has the post already is not changed */
Datum
cpii_set_post_rights(PG_FUNCTION_ARGS)
{
	const char *texts[3];
	ArrayType  *roles;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	StringInfoData object;

	cpii_require_duty("pii_security_admin");
	texts[0] = cpii_text_argument(fcinfo, 0, "post");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("roles must not be null"),
				 errhint("An empty array takes the rights of the post away.")));
	roles = PG_GETARG_ARRAYTYPE_P(1);
	deconstruct_array(roles, REGROLEOID, 4, true, TYPALIGN_INT, &values, &nulls,
					  &count);
	initStringInfo(&object);
	appendStringInfo(&object, "post_rights/%s", texts[0]);
	SPI_connect();
	cpii_person_run("DELETE FROM courier_pii.post_right WHERE post = $1", 1, texts);
	for (int i = 0; i < count; i++)
	{
		char		role_text[16];
		char	   *name = nulls[i] ? NULL : cpii_role_name(DatumGetObjectId(values[i]));
		char	   *powerful;

		if (name == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("roles must be roles that exist")));
		snprintf(role_text, sizeof(role_text), "%u", DatumGetObjectId(values[i]));
		texts[1] = role_text;
		texts[2] = cpii_session_actor()->login_name;
		powerful = cpii_powerful_role(DatumGetObjectId(values[i]));
		if (powerful != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("role \"%s\" cannot belong to a post", name),
					 errdetail("It has, or is a member of, \"%s\", which is more than an ordinary right.",
							   powerful)));
		cpii_person_run("INSERT INTO courier_pii.post_right (post, role, changed_by)"
				 " VALUES ($1, $2::pg_catalog.oid, $3::pg_catalog.name)"
				 " ON CONFLICT DO NOTHING", 3, texts);
		appendStringInfo(&object, "/%s", name);
	}
	if (count > 0)
		(void) cpii_require_ticket("policy", object.data, false);
	cpii_audit_note(CPII_ACT_POLICY, "set_post_rights", "ok",
					cpii_json_pairs("post", texts[0], "roles",
									OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(1)),
									NULL));
	SPI_finish();
	PG_RETURN_VOID();
}
