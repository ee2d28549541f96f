/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  Lists of staff from the personnel department: handed in, held, let through
 *	  or put aside.
 *
 * A feed is decided as a whole and applied in one transaction.  The most
 * likely disaster is a list that says everybody left; so a feed that disables
 * more than a share of the people, or looks damaged, is held until another
 * person lets the very same list through.  Nobody is enabled by a feed who was
 * disabled before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "people/feed.h"
#include "people/feed_order.h"
#include "people/person.h"
#include "people/register.h"

CPII_EXPORT Datum cpii_apply_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_release_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reject_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_discard_hr_feed_rows(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_apply_hr_feed);
PG_FUNCTION_INFO_V1(cpii_release_hr_feed);
PG_FUNCTION_INFO_V1(cpii_reject_hr_feed);
PG_FUNCTION_INFO_V1(cpii_discard_hr_feed_rows);

/* who acts: a staff number, or the login of somebody who has none */
static const char *
acting_person(void)
{
	const CpiiActor *actor = cpii_session_actor();

	return actor->proof == CPII_PROOF_NONE ? actor->login_name : actor->staff_no;
}

uint64
cpii_feed_run(const CpiiFeed *feed, const char *sql)
{
	return cpii_person_run(sql, 2, (const char *[]) {feed->id, feed->source});
}

static void
set_state(const CpiiFeed *feed, const char *state, const char *because,
		  const char *decided_by)
{
	const char *texts[4] = {feed->id, state, because, decided_by};

	cpii_person_run("UPDATE courier_pii.hr_feed SET state = $2, held_because = coalesce($3, held_because),"
					" decided_by = $4,"
					" decided_at = CASE WHEN $4 IS NULL THEN NULL ELSE pg_catalog.statement_timestamp() END"
					" WHERE id = $1::pg_catalog.int8", 4, texts);
}

/* feeds that have waited for this one, or for the one before it */
static void
follow(char *source)
{
	char	   *id;

	while ((id = cpii_feed_next(source)) != NULL)
	{
		CpiiFeed	next = {id, source, false};

		cpii_feed_judge(&next);
		cpii_feed_apply(&next);
		set_state(&next, "applied", NULL, NULL);
	}
}

/*
 * Apply a feed that may pass.  Of one that others must come before only what
 * takes rights away is done now.
 */
static void
pass(const CpiiFeed *feed, const char *decided_by)
{
	char	   *gap = feed->full ? NULL : cpii_feed_gap(feed->id, feed->source);

	if (gap != NULL)
	{
		cpii_feed_take_away(feed);
		set_state(feed, "waiting", gap, decided_by);
		return;
	}
	cpii_feed_apply(feed);
	set_state(feed, "applied", NULL, decided_by);
	if (feed->full)
		cpii_feed_supersede(feed->id, feed->source);
	follow(feed->source);
}

/* the function's row: the feed as it stands */
static Datum
feed_row(FunctionCallInfo fcinfo, const CpiiFeed *feed, char **state)
{
	TupleDesc	desc;
	HeapTuple	tup;
	Datum		values[9];
	bool		nulls[9];
	MemoryContext old;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	(void) cpii_feed_run(feed, "SELECT h.id, h.state, h.row_count, h.hired, h.changed, h.departed,"
						 " h.unchanged, h.rejected, CASE WHEN h.state IN ('held', 'waiting') THEN h.held_because END"
						 " FROM courier_pii.hr_feed h"
						 " WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	for (int i = 0; i < 9; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								  i + 1, &nulls[i]);
	*state = cpii_result_text(0, 2);
	cpii_audit_note(CPII_ACT_ACCOUNT, "apply_hr_feed", "ok",
					cpii_json_pairs("feed", feed->id, "source", feed->source,
									"state", *state,
									"departed", cpii_result_text(0, 6),
									NULL));
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	tup = heap_form_tuple(desc, values, nulls);
	MemoryContextSwitchTo(old);
	return HeapTupleGetDatum(tup);
}

Datum
cpii_apply_hr_feed(PG_FUNCTION_ARGS)
{
	CpiiFeed	feed;
	Datum		result;
	char	   *reasons;
	char	   *state;
	bool		empty;
	const char *texts[3];

	cpii_require_duty("pii_account_admin");
	feed.source = cpii_text_argument(fcinfo, 0, "source");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("full must not be null")));
	feed.full = PG_GETARG_BOOL(1);

	SPI_connect();
	/* one feed at a time */
	cpii_person_run("LOCK TABLE courier_pii.hr_feed IN SHARE ROW EXCLUSIVE MODE", 0, NULL);
	texts[0] = feed.source;
	texts[1] = feed.full ? "true" : "false";
	texts[2] = acting_person();
	cpii_person_run("INSERT INTO courier_pii.hr_feed (source, full_list, asked_by)"
					" VALUES ($1, $2::pg_catalog.bool, $3) RETURNING id", 3, texts);
	feed.id = cpii_result_text(0, 1);
	(void) cpii_feed_run(&feed, "UPDATE courier_pii.hr_feed_row SET feed = $1::pg_catalog.int8"
						 " WHERE source = $2 AND feed IS NULL");
	cpii_feed_number(feed.id, feed.source);
	cpii_feed_judge(&feed);
	reasons = cpii_feed_brake(&feed, &empty);
	if (reasons[0] != '\0')
		set_state(&feed, "held", reasons, NULL);
	else
		pass(&feed, NULL);
	result = feed_row(fcinfo, &feed, &state);
	if (reasons[0] != '\0')
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("personnel feed %s is held: %s", feed.id, reasons),
				 errhint("See the view courier_pii.hr_feed_held; another person lets it through with courier_pii.release_hr_feed().")));
	SPI_finish();
	return result;
}

/*
 * Lock a feed that is held (or, where that will do, waits) and read it; returns
 * who asked for it.
 */
static char *
get_held(FunctionCallInfo fcinfo, CpiiFeed *feed, bool waiting)
{
	char	   *asked_by;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("feed_id must not be null")));
	feed->id = psprintf(INT64_FORMAT, PG_GETARG_INT64(0));
	cpii_person_run("LOCK TABLE courier_pii.hr_feed IN SHARE ROW EXCLUSIVE MODE", 0, NULL);
	if (cpii_person_run("SELECT h.source, h.full_list::pg_catalog.text, h.asked_by"
						" FROM courier_pii.hr_feed h"
						" WHERE h.id = $1::pg_catalog.int8"
						" AND (h.state = 'held' OR h.state = $2)",
						2, (const char *[]) {feed->id, waiting ? "waiting" : "held"}) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("personnel feed %s is not held", feed->id),
				 errhint("See the view courier_pii.hr_feeds.")));
	feed->source = cpii_result_text(0, 1);
	feed->full = cpii_result_text(0, 2)[0] == 't';
	asked_by = cpii_result_text(0, 3);
	return asked_by;
}

Datum
cpii_release_hr_feed(PG_FUNCTION_ARGS)
{
	CpiiFeed	feed;
	Datum		result;
	char	   *asked_by;
	char	   *digest;
	char	   *state;
	bool		empty;

	if (!cpii_session_has_duty("pii_security_admin"))
		cpii_require_duty("pii_account_admin");
	digest = cpii_text_argument(fcinfo, 1, "digest");
	SPI_connect();
	asked_by = get_held(fcinfo, &feed, false);
	if (strcmp(asked_by, acting_person()) == 0)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_DUTY_MISSING),
				 errmsg("another person must let personnel feed %s through", feed.id)));
	cpii_feed_judge(&feed);
	(void) cpii_feed_brake(&feed, &empty);
	if (empty)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an empty list cannot be applied"),
				 errhint("Reject it with courier_pii.reject_hr_feed().")));
	if (cpii_person_run("SELECT 1 FROM courier_pii.hr_feed h WHERE h.id = $1::pg_catalog.int8"
						" AND h.digest = $2", 2, (const char *[]) {feed.id, digest}) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the digest is not that of the list"),
				 errdetail("The list may have changed since."),
				 errhint("Look at courier_pii.hr_feed_held and take the digest of courier_pii.hr_feeds.")));
	pass(&feed, acting_person());
	result = feed_row(fcinfo, &feed, &state);
	SPI_finish();
	return result;
}

Datum
cpii_reject_hr_feed(PG_FUNCTION_ARGS)
{
	CpiiFeed	feed;

	if (!cpii_session_has_duty("pii_security_admin"))
		cpii_require_duty("pii_account_admin");
	SPI_connect();
	(void) get_held(fcinfo, &feed, true);
	set_state(&feed, "rejected", NULL, acting_person());
	/* its number is used up */
	follow(feed.source);
	cpii_audit_note(CPII_ACT_ACCOUNT, "reject_hr_feed", "ok",
					cpii_json_pairs("feed", feed.id, NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_discard_hr_feed_rows(PG_FUNCTION_ARGS)
{
	const char *source;
	uint64		count;

	cpii_require_duty("pii_account_admin");
	source = cpii_text_argument(fcinfo, 0, "source");
	SPI_connect();
	count = cpii_person_run("DELETE FROM courier_pii.hr_feed_row f"
							" WHERE f.source = $1 AND f.feed IS NULL", 1, &source);
	SPI_finish();
	PG_RETURN_INT64((int64) count);
}
