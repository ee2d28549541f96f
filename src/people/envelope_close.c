/*-------------------------------------------------------------------------
 *
 * envelope_close.c
 *	  The end of an opened envelope.
 *
 * It does not depend on the worker: the roster denies the role from that moment
 * on, and each of its sessions has a timer.  The worker then takes LOGIN away,
 * changes the password and seals the account anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/shmem.h"
#include "crypto/keyring.h"
#include "people/envelope.h"
#include "people/held.h"
#include "people/person.h"

CPII_EXPORT Datum cpii_close_envelope(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_close_envelope);

#define LOOK_MS 1000
#define LOOK_ANYWAY (30 * USECS_PER_SEC)

typedef struct Shared
{
	/* when the worker has to look, in microseconds; 0: nothing is open */
	pg_atomic_uint64 next_end;
} Shared;

static Shared *shared = NULL;

void
cpii_envelope_expect_end(TimestampTz until)
{
	uint64		before = pg_atomic_read_u64(&shared->next_end);

	while ((before == 0 || before > (uint64) until) &&
		   !pg_atomic_compare_exchange_u64(&shared->next_end, &before, (uint64) until))
		;
}

/* ---- closing ---- */

/* is there a key to make new shares with? */
static bool
key_at_hand(void)
{
	unsigned char key[CPII_KEY_LEN];
	bool		result = cpii_keyring_audit_key(key);

	cpii_wipe(key, sizeof(key));
	return result;
}

void
cpii_envelope_close(Oid role, const char *cause, bool reseal)
{
	CpiiSealedAccount account;
	const char *texts[4];

	(void) cpii_sealed_get(role, &account, false);
	if (strcmp(account.state, "open") != 0)
		return;
	texts[0] = account.opening;
	texts[1] = cause;
	texts[2] = cpii_session_actor()->login_name;
	texts[3] = account.role_text;
	cpii_person_run("UPDATE courier_pii.sealed_opening SET closed_at = pg_catalog.clock_timestamp(),"
					" closed_by = $3::pg_catalog.name, cause = $2,"
					" sessions = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_activity(NULL) g"
					" WHERE g.usesysid = $4::pg_catalog.oid)"
					" WHERE id = $1::pg_catalog.int8", 4, texts);
	cpii_held_event(role, "close_envelope", account.opener, NULL, cause);
	/* its sessions end at commit, by the denial */
	cpii_held_set_login(role, false);
	if (reseal && cpii_sealed_custodians_good(role) && key_at_hand())
		cpii_sealed_seal(role, "reseal_envelope");
	else
	{
		cpii_sealed_void(role, account.opener, cause);
		if (reseal && cpii_sealed_custodians_good(role))
			cpii_person_run("UPDATE courier_pii.sealed_account SET reseal_due = true"
							" WHERE login_role = $1::pg_catalog.oid", 1, &texts[3]);
	}
}

Datum
cpii_close_envelope(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor;
	Oid			role;
	CpiiSealedAccount account;
	char	   *state;
	char	   *digest;
	char	   *note;

	cpii_require_preload();
	actor = cpii_session_actor();
	role = cpii_role_argument(fcinfo, 0);
	PreventCommandIfReadOnly("close_envelope()");
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	/* taking away: its opener, a custodian, or a security administrator */
	if (actor->staff_no[0] == '\0' ||
		((account.opener == NULL || strcmp(account.opener, actor->staff_no) != 0) &&
		 cpii_sealed_share_of(&account, actor->staff_no, &state, &digest) == 0))
		cpii_require_duty("pii_security_admin");
	if (strcmp(account.state, "open") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("envelope of role \"%s\" is not open", account.name)));
	note = cpii_text_or_null(fcinfo, 1);
	cpii_envelope_close(role, psprintf("closed by %s%s%s", actor->staff_no[0] ? actor->staff_no : actor->login_name,
									   note ? ": " : "", note ? note : ""), true);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- what time brings; the worker's task ---- */

static Oid *
roles_found(uint64 count)
{
	Oid		   *roles = palloc(Max(count, 1) * sizeof(Oid));

	for (uint64 i = 0; i < count; i++)
		roles[i] = cpii_result_oid(i, 1);
	return roles;
}

static void
close_lapsed(void)
{
	uint64		count = cpii_person_run("SELECT s.login_role::pg_catalog.oid FROM courier_pii.sealed_account s"
										" WHERE s.state = 'open' AND s.open_until <= pg_catalog.clock_timestamp()"
										" FOR UPDATE SKIP LOCKED", 0, NULL);
	Oid		   *roles = roles_found(count);

	for (uint64 i = 0; i < count; i++)
		cpii_envelope_close(roles[i], "time is over", true);
}

/*
 * Shares that nobody fetched are gone with the memory of a server that stopped.
 * One of three is lost then; with two or three of them nobody could open the
 * envelope, and it is sealed anew.
 */
static void
replace_lost_shares(void)
{
	uint64		count;
	Oid		   *roles;

	cpii_person_run("UPDATE courier_pii.sealed_share h SET state = 'lost',"
					" changed_at = pg_catalog.clock_timestamp()"
					" FROM courier_pii.sealed_account s WHERE s.login_role = h.login_role"
					" AND s.series = h.series AND s.state = 'sealed' AND h.state = 'waiting'"
					" AND NOT courier_pii.share_waits(h.login_role, h.series, h.number)",
					0, NULL);
	count = cpii_person_run("SELECT s.login_role::pg_catalog.oid FROM courier_pii.sealed_account s"
							" WHERE (s.state = 'void' AND s.reseal_due) OR (s.state = 'sealed'"
							" AND (SELECT pg_catalog.count(*) FROM courier_pii.sealed_share h"
							" WHERE h.login_role = s.login_role AND h.series = s.series"
							" AND h.state IN ('waiting', 'taken')) < "
							CppAsString2(CPII_ENVELOPE_THRESHOLD) ")"
							" FOR UPDATE SKIP LOCKED", 0, NULL);
	roles = roles_found(count);
	for (uint64 i = 0; i < count; i++)
		if (cpii_sealed_custodians_good(roles[i]) && key_at_hand())
			cpii_sealed_seal(roles[i], "reseal_envelope");
}

static void
envelope_task(void)
{
	static TimestampTz looked_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	uint64		next = pg_atomic_read_u64(&shared->next_end);
	bool		isnull;
	Datum		end;

	if (RecoveryInProgress() ||
		(now >= looked_at && now < looked_at + LOOK_ANYWAY &&
		 (next == 0 || (uint64) now < next)))
		return;
	if (!OidIsValid(cpii_relation_oid("sealed_account", true)))
		return;
	looked_at = now;
	SPI_connect();
	close_lapsed();
	replace_lost_shares();
	cpii_person_run("SELECT pg_catalog.min(s.open_until) FROM courier_pii.sealed_account s"
					" WHERE s.state = 'open'", 0, NULL);
	end = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	/* a time ahead may be that of an opening that has not committed yet */
	if (next == 0 || (uint64) now >= next)
		(void) pg_atomic_compare_exchange_u64(&shared->next_end, &next,
											  isnull ? 0 : (uint64) DatumGetTimestampTz(end));
	SPI_finish();
}

void
cpii_envelope_close_init(void)
{
	cpii_shmem_register_zeros("courier_pii_envelope_end", (void **) &shared, sizeof(Shared), NULL);
	cpii_worker_register_task(envelope_task, LOOK_MS);
}
