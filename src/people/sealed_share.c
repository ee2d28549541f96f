/*-------------------------------------------------------------------------
 *
 * sealed_share.c
 *	  Shares of envelopes, as their custodians deal with them.
 *
 * Each custodian fetches a share once, in a session of their own, out of shared
 * memory; whoever loses it says so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/custody.h"
#include "people/envelope.h"
#include "people/held.h"
#include "people/person.h"

CPII_EXPORT Datum cpii_take_share(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_report_share_lost(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_share_waits(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_take_share);
PG_FUNCTION_INFO_V1(cpii_report_share_lost);
PG_FUNCTION_INFO_V1(cpii_share_waits);

/* the number of the caller's share of the present series; 0: none */
int
cpii_sealed_share_of(const CpiiSealedAccount *account, const char *staff_no,
					 char **state, char **digest)
{
	const char *texts[3];

	texts[0] = account->role_text;
	texts[1] = account->series_text;
	texts[2] = staff_no;
	if (cpii_person_run("SELECT h.number, h.state, h.digest FROM courier_pii.sealed_share h"
						" WHERE h.login_role = $1::pg_catalog.oid"
						" AND h.series = $2::pg_catalog.int8 AND h.staff_no = $3"
						" FOR UPDATE", 3, texts) == 0)
		return 0;
	*state = cpii_result_text(0, 2);
	*digest = cpii_result_text(0, 3);
	return atoi(cpii_result_text(0, 1));
}

static void
set_share_state(const CpiiSealedAccount *account, int number, const char *state)
{
	const char *texts[4];

	texts[0] = account->role_text;
	texts[1] = account->series_text;
	texts[2] = psprintf("%d", number);
	texts[3] = state;
	cpii_person_run("UPDATE courier_pii.sealed_share SET state = $4,"
					" changed_at = pg_catalog.clock_timestamp()"
					" WHERE login_role = $1::pg_catalog.oid AND series = $2::pg_catalog.int8"
					" AND number = $3::pg_catalog.int4", 4, texts);
}

/* the caller's share, once */
Datum
cpii_take_share(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_held_person();
	Oid			role = cpii_sealed_role_argument(fcinfo);
	CpiiSealedAccount account;
	CpiiShare	share;
	unsigned char data[HELD_SECRET_MAX];
	unsigned char set[CPII_SHARE_SET_LEN + 1];
	char	   *state;
	char	   *digest;
	char		text[CPII_SHARE_TEXT_LEN];
	int			number;
	Datum		result;
	MemoryContext caller = CurrentMemoryContext;
	bool		printed;

	cpii_session_require_spelled("take_share");
	/* what was shown must not be undone */
	PreventInTransactionBlock(true, "take_share()");
	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	cpii_sealed_require(&account);
	number = cpii_sealed_share_of(&account, actor->staff_no, &state, &digest);
	if (number == 0)
		cpii_held_not_custodian(account.name, "take_share");
	if (strcmp(state, "waiting") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("your share of role \"%s\" was shown before", account.name),
				 errhint("If it is lost, call courier_pii.report_share_lost().")));
	if (cpii_held_take(role, account.series, number, data) != CPII_KEY_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("your share of role \"%s\" is not there any more", account.name),
				 errdetail("The server was restarted before it was fetched, or it was shown before."),
				 errhint("A security administrator has to call courier_pii.reseal_envelope().")));
	memset(&share, 0, sizeof(share));
	share.threshold = CPII_ENVELOPE_THRESHOLD;
	share.number = number;
	(void) hex_decode(account.set_id, 2 * CPII_SHARE_SET_LEN, (char *) set);
	memcpy(share.set, set, CPII_SHARE_SET_LEN);
	memcpy(share.data, data, CPII_KEY_LEN);
	cpii_wipe(data, sizeof(data));
	set_share_state(&account, number, "taken");
	cpii_held_event(role, "take_share", NULL, NULL, psprintf("share %d", number));
	printed = cpii_share_print(&share, text);
	cpii_wipe(&share, sizeof(share));
	SPI_finish();
	MemoryContextSwitchTo(caller);
	if (!printed)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not write a share")));
	result = CStringGetTextDatum(text);
	cpii_wipe(text, sizeof(text));
	PG_RETURN_DATUM(result);
}

/* a custodian lost a share, or somebody else may have seen it */
Datum
cpii_report_share_lost(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_held_person();
	Oid			role = cpii_sealed_role_argument(fcinfo);
	CpiiSealedAccount account;
	char	   *state;
	char	   *digest;
	int			number;
	const char *texts[2];

	SPI_connect();
	(void) cpii_sealed_get(role, &account, false);
	number = cpii_sealed_share_of(&account, actor->staff_no, &state, &digest);
	if (number == 0)
		cpii_held_not_custodian(account.name, "report_share_lost");
	set_share_state(&account, number, "lost");
	cpii_held_event(role, "share_lost", NULL, NULL, cpii_text_or_null(fcinfo, 1));
	texts[0] = account.role_text;
	texts[1] = account.series_text;
	if (cpii_person_run("SELECT 1 FROM courier_pii.sealed_share h"
						" WHERE h.login_role = $1::pg_catalog.oid AND h.series = $2::pg_catalog.int8"
						" AND h.state IN ('waiting', 'taken')", 2, texts) < CPII_ENVELOPE_THRESHOLD)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("the envelope of role \"%s\" cannot be opened any more", account.name),
				 errhint("A security administrator has to call courier_pii.reseal_envelope() now.")));
	else
		ereport(NOTICE,
				(errmsg("the other two shares still open the envelope"),
				 errhint("A security administrator should call courier_pii.reseal_envelope().")));
	SPI_finish();
	PG_RETURN_VOID();
}

/* does the share wait in this server's memory? */
Datum
cpii_share_waits(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(cpii_held_present(PG_GETARG_OID(0), PG_GETARG_INT64(1),
									 PG_GETARG_INT32(2)));
}
