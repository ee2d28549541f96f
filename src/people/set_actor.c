/*-------------------------------------------------------------------------
 *
 * set_actor.c
 *	  Who acts behind a pool of connections, for one transaction.
 *
 * Invariants:
 * - A nonce is used up before the token's person acts, and stays used up when
 *	 the transaction fails.
 * - The person ends with the transaction, and with a savepoint that is rolled
 *	 back below set_actor(); a failed switch leaves nobody, never somebody else.
 * - Nobody acts as two persons in one transaction: a cursor that one of them
 *	 opened must not go on for the other.
 * - A login that belongs to a person stays that person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/shmem.h"
#include "base/ticket.h"
#include "base/transaction.h"
#include "people/actor_token.h"
#include "people/roster_table.h"
#include "people/set_actor.h"
#include "policy/plan_roles.h"

CPII_EXPORT Datum cpii_set_actor(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_make_actor_token(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_actor_audience_sql(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_set_actor);
PG_FUNCTION_INFO_V1(cpii_make_actor_token);
PG_FUNCTION_INFO_V1(cpii_actor_audience_sql);

/*
 * Nonces in use: 131 072 places of 24 bytes, enough for 2 000 tokens a second.
 * A nonce may stand in any of NONCE_REACH places from where its digest points;
 * a place whose token has expired is free.  When none is free the token is
 * refused: forgetting a nonce would let it be used again.
 */
#define NONCE_PLACES 131072
#define NONCE_REACH 64

typedef struct UsedNonce
{
	unsigned char nonce[16];
	int64		expires;		/* seconds since 1970; 0 = never used */
} UsedNonce;

static UsedNonce *used_nonces = NULL;
static LWLock *nonce_lock = NULL;	/* protects all places */

/* nesting level of the transaction that set_actor() was called in; 0 = none */
static int	set_level = 0;

typedef enum NonceUse
{
	NONCE_FRESH,
	NONCE_USED,
	NONCE_NO_ROOM
} NonceUse;

static NonceUse
use_nonce(const ActorClaims *claims)
{
	int64		now = (int64) time(NULL);
	UsedNonce  *free_place = NULL;
	uint32		start;
	NonceUse	result = NONCE_FRESH;

	memcpy(&start, claims->nonce, sizeof(start));
	LWLockAcquire(nonce_lock, LW_EXCLUSIVE);
	for (uint32 i = 0; i < NONCE_REACH; i++)
	{
		UsedNonce  *place = &used_nonces[(start + i) % NONCE_PLACES];

		if (place->expires <= now)
		{
			if (free_place == NULL)
				free_place = place;
		}
		else if (memcmp(place->nonce, claims->nonce, sizeof(place->nonce)) == 0)
		{
			result = NONCE_USED;
			break;
		}
	}
	if (result == NONCE_FRESH && free_place == NULL)
		result = NONCE_NO_ROOM;
	if (result == NONCE_FRESH)
	{
		memcpy(free_place->nonce, claims->nonce, sizeof(free_place->nonce));
		free_place->expires = claims->expires;
	}
	LWLockRelease(nonce_lock);
	return result;
}

/* ---- the end of it ---- */

static void
forget_actor(void)
{
	if (set_level == 0)
		return;
	set_level = 0;
	cpii_session_clear_token();
	cpii_plan_roles_forget();
}

static void
at_transaction_end(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_actor();
			break;
		default:
			break;
	}
}

static void
at_savepoint_end(SubXactEvent event, SubTransactionId mine,
				 SubTransactionId parent)
{
	int			level = GetCurrentTransactionNestLevel();

	if (set_level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_actor();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		set_level = level - 1;
}

/* ---- the person ---- */

static void
refuse_login(const char *reason)
{
	cpii_audit_note(CPII_ACT_DENIED, "set_actor", "denied",
					psprintf("{\"reason\": \"%s\"}", reason));
}

/* a personal login may not act as somebody else */
static void
check_login(const char *staff_no)
{
	const CpiiActor *who = cpii_session_actor();
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(who->login)};

	if (who->proof != CPII_PROOF_LOGIN || strcmp(who->staff_no, staff_no) == 0)
		return;
	cpii_internal_execute("SELECT 1 FROM courier_pii.staff_register s"
						  " WHERE s.login_role::pg_catalog.oid = $1"
						  " AND s.details->>'kind' = 'pool'",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 1)
		return;
	refuse_login("set_actor by a personal login");
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied: this login belongs to a person"),
			 errhint("Only an application's pooled login may act for the person that a token names.")));
}

static void
act_as(const char *staff_no)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(staff_no)};
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;
	Oid			person;
	char	   *org;

	cpii_internal_execute("SELECT s.login_role::pg_catalog.oid, s.org,"
						  " s.status = 'active' AND (s.departed_at IS NULL"
						  " OR s.departed_at > pg_catalog.clock_timestamp())"
						  " FROM courier_pii.staff_register s"
						  " WHERE s.staff_no = $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
	{
		refuse_login("actor token names nobody");
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("actor token is invalid"),
				 errhint("The person must be in the staff register.")));
	}
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	person = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
	if (isnull)
		person = InvalidOid;
	org = SPI_getvalue(row, desc, 2);
	if (!DatumGetBool(SPI_getbinval(row, desc, 3, &isnull)) ||
		(OidIsValid(person) &&
		 OidIsValid(cpii_roster_denied(person, person, person))))
	{
		refuse_login("actor's account disabled");
		ereport(ERROR,
				(errcode(CPII_ERRCODE_ACCOUNT_DISABLED),
				 errmsg("account of the acting person is disabled")));
	}
	cpii_session_set_token(person, staff_no, org);
}

Datum
cpii_set_actor(PG_FUNCTION_ARGS)
{
	text	   *token = PG_GETARG_TEXT_PP(0);
	ActorClaims claims;
	CpiiActor	before = *cpii_session_actor();

	cpii_require_preload();
	cpii_actor_token_verify(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token),
							&claims);
	switch (use_nonce(&claims))
	{
		case NONCE_FRESH:
			break;
		case NONCE_USED:
			refuse_login("actor token used again");
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
					 errmsg("actor token was used before"),
					 errhint("Ask the gateway for a new token for each transaction.")));
			break;
		case NONCE_NO_ROOM:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many actor tokens are in use"),
					 errhint("Let tokens be valid for a shorter time.")));
			break;
	}
	if (before.proof == CPII_PROOF_TOKEN)
	{
		if (strcmp(before.staff_no, claims.staff_no) == 0)
			PG_RETURN_VOID();
		refuse_login("second actor in one transaction");
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("another person acts in this transaction"),
				 errhint("Begin a new transaction for each person.")));
	}
	SPI_connect();
	check_login(claims.staff_no);
	act_as(claims.staff_no);
	SPI_finish();
	set_level = GetCurrentTransactionNestLevel();
	cpii_transaction_busy = true;
	cpii_plan_roles_check();
	PG_RETURN_VOID();
}

/*
 * A token for trying things out: a superuser, until the duties are sealed.
 * Whoever could make tokens later could be anybody.
 */
Datum
cpii_make_actor_token(PG_FUNCTION_ARGS)
{
	char	   *staff_no = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int32		seconds = PG_GETARG_INT32(1);
	char	   *token;

	cpii_require_preload();
	if (cpii_duties_sealed() || !superuser_arg(cpii_session_actor()->login) ||
		!superuser_arg(GetOuterUserId()))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("permission denied to make an actor token"),
				 errdetail("Only a superuser may, and only until the duties are sealed."),
				 errhint("Sign tokens at the gateway, with tools/actor_token or a library for JSON Web Tokens.")));
	if (seconds < 1 || seconds > ACTOR_TOKEN_SECONDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("validity of an actor token must be between 1 and %d seconds",
						ACTOR_TOKEN_SECONDS)));
	if (staff_no[0] == '\0' || strlen(staff_no) >= CPII_STAFF_NO_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("staff number is empty or too long")));
	token = cpii_actor_token_make(staff_no, seconds);
	cpii_audit_note(CPII_ACT_ACCOUNT, "make_actor_token", "ok", NULL);
	PG_RETURN_TEXT_P(cstring_to_text(token));
}

Datum
cpii_actor_audience_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(cpii_actor_audience()));
}

void
cpii_set_actor_init(void)
{
	cpii_shmem_register_zeros("courier_pii_actor", (void **) &used_nonces,
							  NONCE_PLACES * sizeof(UsedNonce), &nonce_lock);
	cpii_at_transaction(at_transaction_end, at_savepoint_end);
}
