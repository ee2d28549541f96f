/*-------------------------------------------------------------------------
 *
 * sealed_account.c
 *	  Emergency accounts whose password lies in an envelope: made, void when a
 *	  custodian leaves, sealed anew.
 *
 * The password is the text of 32 random bytes.  The server keeps its verifier,
 * as of any password; the bytes are shared among three custodians, any two of
 * whom can put them together, and are wiped (sealed_share.c).  Of a share the
 * register has a digest, so that a wrong one is known as such when it is given.
 *
 * While it is sealed, the role has NOLOGIN and is denied in the roster.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/base64url.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/ticket.h"
#include "crypto/custody.h"
#include "people/envelope.h"
#include "people/held.h"
#include "people/password.h"
#include "people/person.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_create_envelope(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reseal_envelope(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_release_account(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_create_envelope);
PG_FUNCTION_INFO_V1(cpii_reseal_envelope);
PG_FUNCTION_INFO_V1(cpii_release_account);

/* ---- the register ---- */

bool
cpii_sealed_get(Oid role, CpiiSealedAccount *account, bool missing_ok)
{
	char		role_text[16];
	const char *texts[1];
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;

	memset(account, 0, sizeof(*account));
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	if (cpii_person_run("SELECT s.state, s.series, s.set_id, s.opened_by_staff_no, s.open_until,"
						" coalesce(s.opening, 0) FROM courier_pii.sealed_account s"
						" WHERE s.login_role = $1::pg_catalog.oid FOR UPDATE", 1, texts) == 0)
	{
		char	   *name = cpii_role_name(role);

		if (missing_ok)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not a sealed account", name ? name : role_text),
				 errhint("See the view courier_pii.envelopes.")));
	}
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	account->role = role;
	strlcpy(account->role_text, role_text, sizeof(account->role_text));
	account->name = cpii_role_name(role);
	account->state = SPI_getvalue(row, desc, 1);
	account->series = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
	account->series_text = SPI_getvalue(row, desc, 2);
	account->set_id = SPI_getvalue(row, desc, 3);
	account->opener = SPI_getvalue(row, desc, 4);
	account->opening = SPI_getvalue(row, desc, 6);
	return true;
}

static void
require_state(const CpiiSealedAccount *account, const char *state, const char *hint)
{
	if (strcmp(account->state, state) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("envelope of role \"%s\" is %s, not %s", account->name,
						account->state, state),
				 errhint("%s", hint)));
}

void
cpii_sealed_require(const CpiiSealedAccount *account)
{
	require_state(account, "sealed",
				  strcmp(account->state, "open") == 0
				  ? "End it with courier_pii.close_envelope()."
				  : "A security administrator has to call courier_pii.reseal_envelope().");
}

char *
cpii_sealed_digest(const CpiiShare *share)
{
	unsigned char text[CPII_SHARE_SET_LEN + 1 + CPII_KEY_LEN];
	unsigned char sum[CPII_SHA256_LEN];
	char	   *hex = palloc(2 * CPII_SHA256_LEN + 1);
	bool		ok;

	memcpy(text, share->set, CPII_SHARE_SET_LEN);
	text[CPII_SHARE_SET_LEN] = (unsigned char) share->number;
	memcpy(text + CPII_SHARE_SET_LEN + 1, share->data, CPII_KEY_LEN);
	ok = cpii_sha256(text, sizeof(text), sum);
	cpii_wipe(text, sizeof(text));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the digest of a share")));
	hex_encode((const char *) sum, sizeof(sum), hex);
	hex[2 * CPII_SHA256_LEN] = '\0';
	return hex;
}

/* the set that shares of a secret belong to */
bool
cpii_sealed_set_id(const unsigned char secret[CPII_KEY_LEN],
				   unsigned char set[CPII_SHARE_SET_LEN])
{
	unsigned char check[CPII_MAC_LEN];

	if (!cpii_key_check_value(secret, check))
		return false;
	memcpy(set, check, CPII_SHARE_SET_LEN);
	return true;
}

/* ---- sealing ---- */

static void
make_shares(const CpiiSealedAccount *account, const char *series_text,
			int64 series, const unsigned char *secret,
			const unsigned char *set, char **custodians)
{
	unsigned char coefficients[(CPII_ENVELOPE_THRESHOLD - 1) * CPII_KEY_LEN];
	const char *texts[5];

	if (!cpii_random(coefficients, sizeof(coefficients)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("no random numbers are available")));
	for (int i = 0; i < CPII_ENVELOPE_SHARES; i++)
	{
		CpiiShare	share;

		memset(&share, 0, sizeof(share));
		share.threshold = CPII_ENVELOPE_THRESHOLD;
		share.number = i + 1;
		memcpy(share.set, set, CPII_SHARE_SET_LEN);
		cpii_shamir_share(secret, coefficients, share.threshold, share.number,
						  share.data);
		texts[0] = account->role_text;
		texts[1] = series_text;
		texts[2] = psprintf("%d", share.number);
		texts[3] = custodians[i];
		texts[4] = cpii_sealed_digest(&share);
		cpii_held_put(account->role, series, share.number, share.data,
					  CPII_KEY_LEN, 0);
		cpii_wipe(&share, sizeof(share));
		cpii_person_run("INSERT INTO courier_pii.sealed_share"
						" (login_role, series, number, staff_no, digest)"
						" VALUES ($1::pg_catalog.oid, $2::pg_catalog.int8, $3::pg_catalog.int4, $4, $5)",
						5, texts);
	}
	cpii_wipe(coefficients, sizeof(coefficients));
}

void
cpii_sealed_seal(Oid role, const char *event)
{
	CpiiSealedAccount account;
	unsigned char secret[CPII_KEY_LEN];
	unsigned char set[CPII_SHARE_SET_LEN];
	char		set_hex[2 * CPII_SHARE_SET_LEN + 1];
	char		password[CPII_BASE64URL_BOUND(CPII_KEY_LEN)];
	char	   *custodians[CPII_ENVELOPE_SHARES];
	const CpiiActor *actor = cpii_session_actor();
	const char *texts[4];
	char	   *series_text;
	int64		series;

	(void) cpii_sealed_get(role, &account, false);
	if (!cpii_random(secret, sizeof(secret)) || !cpii_sealed_set_id(secret, set))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("no random numbers are available")));
	hex_encode((const char *) set, sizeof(set), set_hex);
	set_hex[2 * CPII_SHARE_SET_LEN] = '\0';
	cpii_held_forget(role);

	cpii_base64url_encode(secret, sizeof(secret), password);
	cpii_held_set_password(role, password, "sealed in an envelope");
	cpii_wipe(password, sizeof(password));
	cpii_held_set_login(role, false);

	texts[0] = account.role_text;
	texts[1] = set_hex;
	texts[2] = actor->login_name;
	texts[3] = actor->staff_no[0] != '\0' ? actor->staff_no : NULL;
	cpii_person_run("UPDATE courier_pii.sealed_share SET state = 'void'"
					" WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_person_run("UPDATE courier_pii.sealed_account s SET state = 'sealed',"
					" series = s.series + 1, set_id = $2, sealed_at = pg_catalog.clock_timestamp(),"
					" sealed_by = $3::pg_catalog.name, sealed_by_staff_no = $4,"
					" fingerprint = (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')"
					" FROM pg_catalog.pg_authid r WHERE r.oid = s.login_role),"
					" open_until = NULL, opened_by_staff_no = NULL, opening = NULL,"
					" void_reason = NULL, reseal_due = false"
					" WHERE s.login_role = $1::pg_catalog.oid"
					" RETURNING s.series, s.custodians[1], s.custodians[2], s.custodians[3]",
					4, texts);
	series = cpii_result_int64(0, 1);
	series_text = cpii_result_text(0, 1);
	for (int i = 0; i < CPII_ENVELOPE_SHARES; i++)
		custodians[i] = cpii_result_text(0, i + 2);
	make_shares(&account, series_text, series, secret, set, custodians);
	cpii_wipe(secret, sizeof(secret));
	cpii_held_announce(role);
	cpii_held_event(role, event, NULL, NULL,
					psprintf("custodians %s, %s, %s", custodians[0], custodians[1],
							 custodians[2]));
}

bool
cpii_sealed_custodians_good(Oid role)
{
	char		role_text[16];
	const char *texts[1];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	return cpii_person_run("SELECT 1 FROM courier_pii.sealed_account e"
						   " WHERE e.login_role = $1::pg_catalog.oid"
						   " AND (SELECT pg_catalog.count(*) FROM courier_pii.staff_register s"
						   " WHERE s.staff_no = ANY (e.custodians) AND s.status = 'active') = "
						   CppAsString2(CPII_ENVELOPE_SHARES), 1, texts) > 0;
}

/* three different people who can hold a share; SPI is connected */
static void
check_custodians(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count != CPII_ENVELOPE_SHARES || ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an envelope has exactly %d custodians", CPII_ENVELOPE_SHARES)));
	for (int i = 0; i < count; i++)
	{
		char	   *staff_no;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("custodians must not be null")));
		staff_no = TextDatumGetCString(values[i]);
		for (int j = 0; j < i; j++)
			if (strcmp(staff_no, TextDatumGetCString(values[j])) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("custodians must be different people")));
		cpii_held_check_custodian(staff_no);
	}
}

/* is another way in left, when this role cannot log in? */
static void
warn_of_last_superuser(Oid role)
{
	char		role_text[16];
	const char *texts[1];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	if (superuser_arg(role) &&
		cpii_person_run("SELECT 1 FROM pg_catalog.pg_authid r WHERE r.rolsuper"
						" AND r.rolcanlogin AND r.oid <> $1::pg_catalog.oid LIMIT 1", 1, texts) == 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("no other superuser can log in"),
				 errdetail("Without two shares and an approved ticket the server can be administered in single-user mode only."),
				 errhint("Have all custodians fetch their shares now, and try the opening once.")));
}

Oid
cpii_sealed_role_argument(FunctionCallInfo fcinfo)
{
	Oid			role = cpii_role_argument(fcinfo, 0);

	PreventCommandIfReadOnly("sealed accounts");
	return role;
}

Datum
cpii_create_envelope(PG_FUNCTION_ARGS)
{
	Oid			role;
	Oid			types[4] = {OIDOID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	cpii_require_duty("pii_security_admin");
	role = cpii_sealed_role_argument(fcinfo);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("custodians must not be null")));
	SPI_connect();
	cpii_held_check_role(role);
	check_custodians(PG_GETARG_ARRAYTYPE_P(1));
	warn_of_last_superuser(role);
	values[0] = ObjectIdGetDatum(role);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	values[3] = CStringGetTextDatum(cpii_session_actor()->login_name);
	cpii_internal_execute("INSERT INTO courier_pii.sealed_account"
						  " (login_role, state, custodians, purpose, sealed_by)"
						  " VALUES ($1, 'void', $2, $3, $4::pg_catalog.name)",
						  4, types, values, nulls, false, 0);
	cpii_sealed_seal(role, "seal_envelope");
	SPI_finish();
	ereport(NOTICE,
			(errmsg("three custodians have to fetch their shares"),
			 errhint("Each calls courier_pii.take_share() in a session of their own.")));
	PG_RETURN_VOID();
}

Datum
cpii_reseal_envelope(PG_FUNCTION_ARGS)
{
	Oid			role;
	CpiiSealedAccount account;

	cpii_require_duty("pii_security_admin");
	role = cpii_sealed_role_argument(fcinfo);
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	if (strcmp(account.state, "open") == 0)
		require_state(&account, "sealed", "End it with courier_pii.close_envelope().");
	if (!PG_ARGISNULL(1))
	{
		Oid			types[2] = {OIDOID, TEXTARRAYOID};
		Datum		values[2];

		check_custodians(PG_GETARG_ARRAYTYPE_P(1));
		values[0] = ObjectIdGetDatum(role);
		values[1] = PG_GETARG_DATUM(1);
		cpii_internal_execute("UPDATE courier_pii.sealed_account SET custodians = $2"
							  " WHERE login_role = $1", 2, types, values, NULL, false, 0);
	}
	else if (!cpii_sealed_custodians_good(role))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a custodian of role \"%s\" is not at work", account.name),
				 errhint("Name three custodians.")));
	cpii_sealed_seal(role, "reseal_envelope");
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- the end of an envelope ---- */

void
cpii_sealed_void(Oid role, const char *staff_no, const char *why)
{
	char		role_text[16];
	const char *texts[2];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = why;
	cpii_held_forget(role);
	cpii_held_set_password(role, NULL, "envelope is void");
	cpii_held_set_login(role, false);
	cpii_person_run("UPDATE courier_pii.sealed_share SET state = 'void'"
					" WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_person_run("UPDATE courier_pii.sealed_account s SET state = 'void', void_reason = $2,"
					" open_until = NULL, opened_by_staff_no = NULL, opening = NULL,"
					" fingerprint = (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')"
					" FROM pg_catalog.pg_authid r WHERE r.oid = s.login_role)"
					" WHERE s.login_role = $1::pg_catalog.oid", 2, texts);
	cpii_held_announce(role);
	cpii_held_event(role, "envelope_void", staff_no, NULL, why);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("the envelope of role \"%s\" is void", cpii_role_name(role)),
			 errhint("A security administrator has to call courier_pii.reseal_envelope() with three custodians.")));
}

/* the shares are worth nothing at once; the rest when its time ends */
static void
custodian_left_open(Oid role, const char *staff_no, const char *why)
{
	char		role_text[16];
	const char *texts[2];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = why;
	cpii_person_run("UPDATE courier_pii.sealed_share SET state = 'void'"
					" WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_person_run("UPDATE courier_pii.sealed_account SET void_reason = $2"
					" WHERE login_role = $1::pg_catalog.oid", 2, texts);
	cpii_held_event(role, "custodian_left", staff_no, NULL, why);
}

void
cpii_sealed_person_left(const char *staff_no, const char *status)
{
	uint64		count;
	Oid		   *roles;
	bool	   *opener;
	bool	   *open;

	count = cpii_person_run("SELECT s.login_role::pg_catalog.oid,"
							" s.state = 'open' AND s.opened_by_staff_no = $1,"
							" s.state = 'open' FROM courier_pii.sealed_account s"
							" WHERE s.state <> 'void' AND ($1 = ANY (s.custodians)"
							" OR s.state = 'open' AND s.opened_by_staff_no = $1)", 1, &staff_no);
	roles = palloc(Max(count, 1) * sizeof(Oid));
	opener = palloc(Max(count, 1) * sizeof(bool));
	open = palloc(Max(count, 1) * sizeof(bool));
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;

		roles[i] = cpii_result_oid(i, 1);
		opener[i] = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i],
											   SPI_tuptable->tupdesc, 2, &isnull));
		open[i] = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i],
											 SPI_tuptable->tupdesc, 3, &isnull));
	}
	for (uint64 i = 0; i < count; i++)
	{
		char	   *why = psprintf("%s %s is %s", opener[i] ? "opener" : "custodian",
								   staff_no, status);

		/* an emergency goes on: who leaves never knew the password */
		if (open[i] && !opener[i])
			custodian_left_open(roles[i], staff_no, why);
		else if (open[i])
			cpii_envelope_close(roles[i], why, true);
		else
			cpii_sealed_void(roles[i], staff_no, why);
	}
}

/* the account is an ordinary role again, without LOGIN */
Datum
cpii_release_account(PG_FUNCTION_ARGS)
{
	Oid			role;
	CpiiSealedAccount account;
	char	   *name;
	char		role_text[16];
	const char *texts[1];
	int64		ticket;
	RosterAccount free_account;

	cpii_require_duty("pii_security_admin");
	role = cpii_sealed_role_argument(fcinfo);
	name = cpii_role_name(role);
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	SPI_connect();
	if (cpii_sealed_get(role, &account, true) && strcmp(account.state, "open") == 0)
		require_state(&account, "sealed", "End it with courier_pii.close_envelope().");
	if (!cpii_held_role(role))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not a sealed or joint account", name)));
	/* somebody alone could give it a password then */
	ticket = cpii_require_ticket("policy", psprintf("release/%s", name), false);
	cpii_held_forget(role);
	cpii_held_set_password(role, NULL, "released");
	cpii_held_set_login(role, false);
	cpii_person_run("DELETE FROM courier_pii.sealed_share WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_person_run("DELETE FROM courier_pii.sealed_account WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_person_run("DELETE FROM courier_pii.joint_account WHERE login_role = $1::pg_catalog.oid", 1, texts);
	cpii_held_event(role, "release_account", NULL,
					ticket ? psprintf("%lld", (long long) ticket) : NULL, NULL);
	memset(&free_account, 0, sizeof(free_account));
	free_account.role = role;
	free_account.facts.not_after = DT_NOEND;
	cpii_roster_change(&free_account);
	SPI_finish();
	PG_RETURN_VOID();
}
