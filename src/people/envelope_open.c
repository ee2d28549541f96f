/*-------------------------------------------------------------------------
 *
 * envelope_open.c
 *	  Opening an envelope for a time, and what happens when the time ends.
 *
 * With an approved ticket a person begins an opening in a session of their own.
 * Two custodians give their shares in their sessions within five minutes: each
 * share is encrypted to the opener's process (X25519), so that shared memory
 * never holds one.  The opener's process puts them together, tries the password
 * against the stored verifier, and shows it once.  From the commit on the role
 * may log in until its time ends; it acts for the opener.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/crypt.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/base64url.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/ticket.h"
#include "crypto/handover.h"
#include "people/envelope.h"
#include "people/held.h"
#include "people/password.h"
#include "people/person.h"

CPII_EXPORT Datum cpii_begin_opening(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_give_share(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_open_envelope(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_begin_opening);
PG_FUNCTION_INFO_V1(cpii_give_share);
PG_FUNCTION_INFO_V1(cpii_open_envelope);

#define OPENINGS 16
#define OPENING_SECONDS 300

typedef struct GivenShare
{
	int			number;			/* 0: not given */
	unsigned char public_key[CPII_PUBLIC_LEN];
	unsigned char data[CPII_KEY_LEN + CPII_AEAD_TAG_LEN];
} GivenShare;

typedef struct Opening
{
	int			pid;			/* the opener's; 0: free */
	Oid			role;
	int64		id;
	int64		series;
	TimestampTz until;
	unsigned char public_key[CPII_PUBLIC_LEN];
	int			ngiven;
	GivenShare	given[CPII_ENVELOPE_THRESHOLD];
} Opening;

typedef struct Shared
{
		Opening		openings[OPENINGS];
} Shared;

static Shared *shared = NULL;
static LWLock *lock = NULL;

/* this session's own */
static Opening *mine = NULL;
static CpiiPair *pair = NULL;

/* ---- the place in shared memory ---- */

static void
leave(int code, Datum arg)
{
	if (mine != NULL)
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		if (mine->pid == MyProcPid)
			cpii_wipe(mine, sizeof(*mine));
		LWLockRelease(lock);
		mine = NULL;
	}
	cpii_pair_free(pair);
	pair = NULL;
}

/* the opening of a role's present series that is in time; the caller holds the lock */
static Opening *
find(Oid role, int64 series)
{
	for (int i = 0; i < OPENINGS; i++)
	{
		Opening    *o = &shared->openings[i];

		if (o->pid != 0 && o->role == role && o->series == series &&
			GetCurrentTimestamp() < o->until)
			return o;
	}
	return NULL;
}

static void
enter(Oid role, int64 id, int64 series)
{
	static bool registered = false;
	unsigned char public_key[CPII_PUBLIC_LEN];

	leave(0, (Datum) 0);
	pair = cpii_pair_new(public_key);
	if (pair == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a key pair")));
	if (!registered)
	{
		before_shmem_exit(leave, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < OPENINGS && mine == NULL; i++)
	{
		Opening    *o = &shared->openings[i];

		if (o->pid == 0 || GetCurrentTimestamp() >= o->until)
			mine = o;
	}
	if (mine != NULL)
	{
		memset(mine, 0, sizeof(*mine));
		mine->pid = MyProcPid;
		mine->role = role;
		mine->id = id;
		mine->series = series;
		mine->until = GetCurrentTimestamp() + OPENING_SECONDS * USECS_PER_SEC;
		memcpy(mine->public_key, public_key, sizeof(public_key));
	}
	LWLockRelease(lock);
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many envelopes are being opened"),
				 errdetail("At most %d are possible.", OPENINGS)));
}

static bool
is_open_elsewhere(Oid role, int64 series)
{
	Opening    *o;
	bool		result;

	LWLockAcquire(lock, LW_SHARED);
	o = find(role, series);
	result = o != NULL && o->pid != MyProcPid;
	LWLockRelease(lock);
	return result;
}

/* ---- beginning ---- */

/* the ticket's number, or 0 in an emergency without one */
static int64
use_ticket(const CpiiSealedAccount *account)
{
	const CpiiActor *actor = cpii_session_actor();
	const char *texts[1];
	int64		ticket;

	if (cpii_envelope_emergency == CPII_EMERGENCY_LOCAL &&
		actor->client_addr[0] == '\0' &&
		(cpii_ticket == NULL || cpii_ticket[0] == '\0'))
	{
		cpii_audit_note(CPII_ACT_DENIED, "begin_opening", "ok",
						cpii_json_pairs("alarm", "envelope is opened without a ticket",
										"role", account->name, NULL));
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("the envelope of role \"%s\" is opened without a ticket", account->name)));
		return 0;
	}
	ticket = cpii_require_ticket("break_glass", psprintf("envelope/%s", account->name), true);
	texts[0] = psprintf("%lld", (long long) ticket);
	if (cpii_person_run("SELECT 1 FROM courier_pii.request_register r"
						" WHERE r.id = $1::pg_catalog.int8 AND pg_catalog.cardinality(r.objects) > 0",
						1, texts) == 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("ticket cannot be used"),
				 errdetail("It does not name \"envelope/%s\".", account->name)));
	if (cpii_person_run("SELECT 1 FROM courier_pii.sealed_opening o"
						" WHERE o.ticket = $1::pg_catalog.int8 AND o.opened_at IS NOT NULL",
						1, texts) > 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("ticket cannot be used"),
				 errdetail("It has opened an envelope before.")));
	return ticket;
}

Datum
cpii_begin_opening(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_held_person();
	Oid			role = cpii_role_argument(fcinfo, 0);
	CpiiSealedAccount account;
	const char *texts[7];
	int64		ticket;
	int64		id;

	if (shared == NULL)
		cpii_require_preload();
	PreventInTransactionBlock(true, "begin_opening()");
	PreventCommandIfReadOnly("begin_opening()");
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	cpii_sealed_require(&account);
	if (is_open_elsewhere(role, account.series))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("another session is opening the envelope of role \"%s\"", account.name)));
	ticket = use_ticket(&account);
	texts[0] = account.role_text;
	texts[1] = account.name;
	texts[2] = account.series_text;
	texts[3] = ticket ? psprintf("%lld", (long long) ticket) : NULL;
	texts[4] = cpii_text_or_null(fcinfo, 1);
	if (texts[4] == NULL && cpii_purpose != NULL && cpii_purpose[0] != '\0')
		texts[4] = cpii_purpose;
	texts[5] = actor->login_name;
	texts[6] = actor->staff_no;
	(void) cpii_person_run("INSERT INTO courier_pii.sealed_opening"
						   " (login_role, role_name, series, ticket, purpose, begun_by, begun_by_staff_no)"
						   " VALUES ($1::pg_catalog.oid, $2::pg_catalog.name, $3::pg_catalog.int8,"
						   " $4::pg_catalog.int8,"
						   " coalesce($5, (SELECT r.purpose FROM courier_pii.request_register r WHERE r.id = $4::pg_catalog.int8)),"
						   " $6::pg_catalog.name, $7) RETURNING id", 7, texts);
	id = cpii_result_int64(0, 1);
	cpii_held_event(role, "begin_opening", NULL, texts[3], texts[4]);
	enter(role, id, account.series);
	SPI_finish();
	ereport(NOTICE,
			(errmsg("two custodians have five minutes to give their shares"),
			 errhint("Each calls courier_pii.give_share(); then call courier_pii.open_envelope() in this session.")));
	PG_RETURN_INT64(id);
}

/* ---- giving ---- */

static void
wrong_share(const CpiiSealedAccount *account, const char *detail)
{
	cpii_audit_note(CPII_ACT_DENIED, "give_share", "denied",
					cpii_json_pairs("role", account->name, "reason", detail, NULL));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("wrong share"),
			 errdetail("%s", detail)));
}

/* is the text the very share that the register says the custodian has? */
static void
check_share(const CpiiSealedAccount *account, const char *text,
			const char *staff_no, CpiiShare *share)
{
	char		set_hex[2 * CPII_SHARE_SET_LEN + 1];
	char	   *state;
	char	   *digest;
	int			number = cpii_sealed_share_of(account, staff_no, &state, &digest);

	if (number == 0)
		cpii_held_not_custodian(account->name, "give_share");
	switch (cpii_share_parse(text, strlen(text), share))
	{
		case CPII_SHARE_GOOD:
			break;
		case CPII_SHARE_FORM:
			wrong_share(account, "The text does not have the form of a share.");
			break;
		case CPII_SHARE_CHECKSUM:
			wrong_share(account, "The checksum of the share does not match; it was mistyped.");
			break;
	}
	hex_encode((const char *) share->set, CPII_SHARE_SET_LEN, set_hex);
	set_hex[2 * CPII_SHARE_SET_LEN] = '\0';
	if (strcmp(set_hex, account->set_id) != 0)
		wrong_share(account, "It belongs to another envelope, or to an earlier sealing.");
	if (share->number != number)
		wrong_share(account, "It is another custodian's.");
	if (strcmp(state, "taken") != 0)
		wrong_share(account, strcmp(state, "lost") == 0 ? "It was reported lost."
					: "It was never fetched.");
	if (strcmp(cpii_sealed_digest(share), digest) != 0)
		wrong_share(account, "It is not the share that was handed out.");
}

static void
seal_to_opener(const Opening *to, const CpiiShare *share, GivenShare *given)
{
	CpiiPair   *own;
	CpiiHandover keys;
	bool		ok;

	memset(given, 0, sizeof(*given));
	given->number = share->number;
	own = cpii_pair_new(given->public_key);
	ok = own != NULL &&
		cpii_handover_keys(own, to->public_key, given->public_key, &keys) &&
		cpii_handover_seal(keys.request, share->data, CPII_KEY_LEN, given->data);
	cpii_pair_free(own);
	cpii_wipe(&keys, sizeof(keys));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not encrypt a share")));
}

Datum
cpii_give_share(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor;
	Oid			role;
	char	   *text;
	CpiiSealedAccount account;
	CpiiShare	share;
	Opening		opening;
	Opening    *o;
	GivenShare	given;
	bool		again = false;
	int			missing = -1;
	const char *texts[2];

	cpii_password_scrub_call();
	actor = cpii_held_person();
	role = cpii_role_argument(fcinfo, 0);
	text = cpii_text_or_null(fcinfo, 1);
	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("share must not be null")));
	PreventInTransactionBlock(true, "give_share()");
	PreventCommandIfReadOnly("give_share()");
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	cpii_sealed_require(&account);
	check_share(&account, text, actor->staff_no, &share);
	cpii_wipe(text, strlen(text));

	memset(&opening, 0, sizeof(opening));
	LWLockAcquire(lock, LW_SHARED);
	o = find(role, account.series);
	if (o != NULL)
		opening = *o;
	LWLockRelease(lock);
	if (opening.pid != 0)
	{
		seal_to_opener(&opening, &share, &given);
		LWLockAcquire(lock, LW_EXCLUSIVE);
		o = find(role, account.series);
		if (o != NULL && o->id == opening.id)
		{
			for (int i = 0; i < o->ngiven; i++)
				again |= o->given[i].number == given.number;
			if (!again && o->ngiven < CPII_ENVELOPE_THRESHOLD)
				o->given[o->ngiven++] = given;
			missing = CPII_ENVELOPE_THRESHOLD - o->ngiven;
		}
		LWLockRelease(lock);
	}
	cpii_wipe(&share, sizeof(share));
	if (missing < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nobody is opening the envelope of role \"%s\"", account.name),
				 errhint("The person with the ticket calls courier_pii.begin_opening() first, and stays connected.")));
	if (again)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("your share was given already")));
	texts[0] = psprintf("%lld", (long long) opening.id);
	texts[1] = actor->staff_no;
	cpii_person_run("UPDATE courier_pii.sealed_opening SET given_by = given_by || $2"
					" WHERE id = $1::pg_catalog.int8", 2, texts);
	cpii_held_event(role, "give_share", NULL, NULL, psprintf("opening %s", texts[0]));
	SPI_finish();
	PG_RETURN_INT32(missing);
}

/* ---- opening ---- */

/* the secret from what was given; raises when it is not the right one */
static void
combine(const CpiiSealedAccount *account, const Opening *o,
		unsigned char secret[CPII_KEY_LEN])
{
	CpiiShare	shares[CPII_ENVELOPE_THRESHOLD];
	unsigned char set[CPII_SHARE_SET_LEN];
	char		set_hex[2 * CPII_SHARE_SET_LEN + 1];
	CpiiHandover keys;
	bool		ok = pair != NULL;

	memset(shares, 0, sizeof(shares));
	for (int i = 0; ok && i < CPII_ENVELOPE_THRESHOLD; i++)
	{
		const GivenShare *g = &o->given[i];

		shares[i].threshold = CPII_ENVELOPE_THRESHOLD;
		shares[i].number = g->number;
		ok = cpii_handover_keys(pair, g->public_key, g->public_key, &keys) &&
			cpii_handover_open(keys.request, g->data, sizeof(g->data), shares[i].data);
	}
	cpii_wipe(&keys, sizeof(keys));
	ok = ok && cpii_shamir_combine(shares, CPII_ENVELOPE_THRESHOLD, secret) &&
		cpii_sealed_set_id(secret, set);
	cpii_wipe(shares, sizeof(shares));
	if (ok)
	{
		hex_encode((const char *) set, CPII_SHARE_SET_LEN, set_hex);
		set_hex[2 * CPII_SHARE_SET_LEN] = '\0';
		ok = strcmp(set_hex, account->set_id) == 0;
	}
	if (!ok)
	{
		cpii_wipe(secret, CPII_KEY_LEN);
		leave(0, (Datum) 0);
		wrong_share(account, "The shares together do not make the password; at least one is wrong.  Begin again.");
	}
}

/* the shortest of what setting, ticket and person say */
static TimestampTz
end_of_time(FunctionCallInfo fcinfo, const char *opening)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = now + (int64) cpii_envelope_time * USECS_PER_SEC;

	if (cpii_person_run("SELECT o.minutes FROM (SELECT (r.details ->> 'minutes')::pg_catalog.numeric AS minutes"
						" FROM courier_pii.sealed_opening n JOIN courier_pii.request_register r ON r.id = n.ticket"
						" WHERE n.id = $1::pg_catalog.int8"
						" AND r.details ->> 'minutes' ~ '^[0-9]{1,4}$') o"
						" WHERE o.minutes >= 1", 1, &opening) > 0)
	{
		char	   *minutes = cpii_result_text(0, 1);

		until = Min(until, now + atoi(minutes) * USECS_PER_MINUTE);
	}
	if (!PG_ARGISNULL(1))
	{
		TimestampTz wanted = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
																	 TimestampTzGetDatum(now),
																	 PG_GETARG_DATUM(1)));

		if (wanted <= now)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time must be longer than nothing")));
		until = Min(until, wanted);
	}
	return until;
}

Datum
cpii_open_envelope(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_held_person();
	Oid			role = cpii_role_argument(fcinfo, 0);
	CpiiSealedAccount account;
	unsigned char secret[CPII_KEY_LEN];
	char		password[CPII_BASE64URL_BOUND(CPII_KEY_LEN)];
	Opening		opening;
	const char *texts[5];
	char	   *verifier;
	const char *detail = NULL;
	TimestampTz until;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	Datum		result;
	MemoryContext caller = CurrentMemoryContext;

	cpii_session_require_spelled("open_envelope");
	PreventInTransactionBlock(true, "open_envelope()");
	PreventCommandIfReadOnly("open_envelope()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	memset(&opening, 0, sizeof(opening));
	if (mine != NULL)
	{
		LWLockAcquire(lock, LW_SHARED);
		if (mine->pid == MyProcPid && mine->role == role &&
			GetCurrentTimestamp() < mine->until)
			opening = *mine;
		LWLockRelease(lock);
	}
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	cpii_sealed_require(&account);
	if (opening.pid == 0 || opening.series != account.series)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session is not opening the envelope of role \"%s\"", account.name),
				 errhint("Call courier_pii.begin_opening() first; the shares have to come within five minutes.")));
	if (opening.ngiven < CPII_ENVELOPE_THRESHOLD)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg_plural("%d share is missing", "%d shares are missing",
							   CPII_ENVELOPE_THRESHOLD - opening.ngiven,
							   CPII_ENVELOPE_THRESHOLD - opening.ngiven),
				 errhint("Custodians call courier_pii.give_share() in sessions of their own.")));
	combine(&account, &opening, secret);
	cpii_base64url_encode(secret, sizeof(secret), password);
	cpii_wipe(secret, sizeof(secret));
	verifier = cpii_held_verifier(role);
	if (verifier == NULL ||
		plain_crypt_verify(account.name, verifier, password, &detail) != STATUS_OK)
	{
		/* the right password, but somebody changed the catalog behind it */
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("password of role \"%s\" was changed without a record", account.name),
				 errhint("It is set again to that of the envelope.  Find out who did it.")));
		cpii_held_event(role, "catalog_changed", NULL, NULL, "password was changed without a record");
		cpii_held_set_password(role, password, "envelope is opened");
	}
	texts[0] = psprintf("%lld", (long long) opening.id);
	until = end_of_time(fcinfo, texts[0]);
	texts[1] = timestamptz_to_str(until);
	texts[2] = account.role_text;
	texts[3] = actor->staff_no;
	texts[1] = pstrdup(texts[1]);
	cpii_person_run("UPDATE courier_pii.sealed_opening SET opened_at = pg_catalog.clock_timestamp(),"
					" ends_at = $2::pg_catalog.timestamptz WHERE id = $1::pg_catalog.int8", 2, texts);
	cpii_person_run("UPDATE courier_pii.sealed_account SET state = 'open', opening = $1::pg_catalog.int8,"
					" open_until = $2::pg_catalog.timestamptz, opened_by_staff_no = $4"
					" WHERE login_role = $3::pg_catalog.oid", 4, texts);
	cpii_person_run("UPDATE courier_pii.sealed_share SET state = 'void'"
					" WHERE login_role = $1::pg_catalog.oid", 1, &texts[2]);
	cpii_held_set_login(role, true);
	cpii_held_announce(role);
	cpii_held_event(role, "open_envelope", NULL, NULL,
					psprintf("opening %s until %s", texts[0], texts[1]));
	SPI_finish();
	MemoryContextSwitchTo(caller);
	leave(0, (Datum) 0);
	cpii_envelope_expect_end(until);
	values[0] = CStringGetTextDatum(password);
	values[1] = TimestampTzGetDatum(until);
	cpii_wipe(password, sizeof(password));
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	PG_RETURN_DATUM(result);
}

/* ---- shared memory ---- */

void
cpii_envelope_init(void)
{
	cpii_shmem_register_zeros("courier_pii_openings", (void **) &shared, sizeof(Shared), &lock);
	cpii_envelope_close_init();
}
