/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  Lists of staff from the personnel department: verdicts, the brake, and
 *	  what is applied.
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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "people/feed_order.h"
#include "people/membership.h"
#include "people/person.h"
#include "people/register.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_apply_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_release_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_reject_hr_feed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_discard_hr_feed_rows(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(cpii_apply_hr_feed);
PG_FUNCTION_INFO_V1(cpii_release_hr_feed);
PG_FUNCTION_INFO_V1(cpii_reject_hr_feed);
PG_FUNCTION_INFO_V1(cpii_discard_hr_feed_rows);

#define MAX_BAD_ROWS 20
#define KEPT_FEEDS 10

/* the feed being worked on, as texts */
typedef struct Feed
{
	char	   *id;
	char	   *source;
	bool		full;
} Feed;

/* who acts: a staff number, or the login of somebody who has none */
static const char *
acting_person(void)
{
	const CpiiActor *actor = cpii_session_actor();

	return actor->proof == CPII_PROOF_NONE ? actor->login_name : actor->staff_no;
}

static uint64
run_feed(const Feed *feed, const char *sql)
{
	return cpii_person_run(sql, 2, (const char *[]) {feed->id, feed->source});
}

/* a number that a query gives */
static int64
count_of(const Feed *feed, const char *sql)
{
	bool		isnull;
	Datum		value;

	(void) run_feed(feed, sql);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}

/* ---- verdicts ---- */

/* $1 = feed, $2 = source; what can be said of a row by itself */
static const char *const reject_rows =
"UPDATE courier_pii.hr_feed_row f SET verdict = 'rejected', problem = p.problem"
" FROM (SELECT r.id, CASE"
" WHEN coalesce(r.staff_no, '') = '' THEN 'staff number is missing'"
" WHEN r.staff_no <> pg_catalog.btrim(r.staff_no) OR pg_catalog.octet_length(r.staff_no) > 63 THEN 'staff number is not valid'"
" WHEN pg_catalog.count(*) OVER (PARTITION BY r.staff_no) > 1 THEN 'staff number occurs more than once'"
" WHEN coalesce(nullif(r.status, ''), 'active') NOT IN ('active', 'suspended', 'departed') THEN 'status is not active, suspended or departed'"
" WHEN r.departs_on <> '' AND courier_pii.feed_date(r.departs_on) IS NULL THEN 'departs_on is not a day written YYYY-MM-DD'"
" WHEN s.status = 'departed' AND coalesce(nullif(r.status, ''), 'active') <> 'departed' THEN 'person has departed and must be reinstated'"
" WHEN s.staff_no IS NULL AND coalesce(nullif(r.status, ''), 'active') <> 'departed' AND coalesce(r.display_name, '') = '' THEN 'name is missing'"
" WHEN coalesce(nullif(r.status, ''), 'active') <> 'departed' AND o.code IS NULL AND (s.staff_no IS NULL OR coalesce(r.org, '') <> '') THEN 'organisation unit does not exist'"
" WHEN s.staff_no IS NULL AND r.login_role <> '' AND l.oid IS NULL THEN 'login role does not exist'"
" WHEN s.staff_no IS NULL AND (l.rolsuper OR pg_catalog.starts_with(l.rolname::pg_catalog.text, 'pg_')"
" OR pg_catalog.starts_with(l.rolname::pg_catalog.text, 'pii_')) THEN 'role cannot be a login of a person'"
" WHEN s.staff_no IS NULL AND l.oid IS NOT NULL AND (a.login_role IS NOT NULL"
" OR pg_catalog.count(*) OVER (PARTITION BY l.oid) > 1 AND l.oid IS NOT NULL) THEN 'login role belongs to somebody else'"
" END AS problem"
" FROM courier_pii.hr_feed_row r"
" LEFT JOIN courier_pii.staff_register s ON s.staff_no = r.staff_no"
" LEFT JOIN courier_pii.org_register o ON o.code = r.org"
" LEFT JOIN pg_catalog.pg_roles l ON l.rolname::pg_catalog.text = r.login_role"
" LEFT JOIN courier_pii.account_register a ON a.login_role = l.oid"
" WHERE r.feed = $1::pg_catalog.int8) p"
" WHERE f.id = p.id AND p.problem IS NOT NULL AND $2 IS NOT NULL";

/* the last day of work ends at midnight, in the server's time zone */
#define DEPARTS_AT \
	"((courier_pii.feed_date(f.departs_on) + 1)::pg_catalog.timestamp" \
	" AT TIME ZONE pg_catalog.current_setting('TimeZone'))"

static const char *const judge_rows =
"UPDATE courier_pii.hr_feed_row f SET problem = NULL, verdict = CASE"
" WHEN s.staff_no IS NULL AND f.status = 'departed' THEN 'unchanged'"
" WHEN s.staff_no IS NULL THEN 'hire'"
" WHEN s.status = 'departed' THEN 'unchanged'"
" WHEN f.departs_on <> '' AND " DEPARTS_AT " <= pg_catalog.now() THEN 'depart'"
" WHEN f.status = 'departed' AND coalesce(f.departs_on, '') = '' THEN 'depart'"
" WHEN f.departs_on <> '' AND (s.departed_at IS NULL OR " DEPARTS_AT " < s.departed_at) THEN 'depart later'"
" WHEN f.status = 'suspended' AND s.status = 'active' THEN 'suspend'"
" WHEN f.org <> '' AND f.org <> s.org OR f.post <> '' AND f.post IS DISTINCT FROM s.post"
" OR f.display_name <> '' AND f.display_name <> s.display_name THEN 'change'"
" ELSE 'unchanged' END"
" FROM courier_pii.hr_feed_row r"
" LEFT JOIN courier_pii.staff_register s ON s.staff_no = r.staff_no"
" WHERE r.feed = $1::pg_catalog.int8 AND f.id = r.id"
" AND f.verdict IS DISTINCT FROM 'rejected' AND $2 IS NOT NULL";

static const char *const list_departures =
"INSERT INTO courier_pii.hr_feed_departure (feed, staff_no, cause, effective_at)"
" SELECT f.feed, f.staff_no, CASE f.verdict WHEN 'depart' THEN 'listed'"
" WHEN 'suspend' THEN 'suspended' ELSE 'later' END,"
" CASE WHEN f.verdict = 'depart later' THEN " DEPARTS_AT " END"
" FROM courier_pii.hr_feed_row f WHERE f.feed = $1::pg_catalog.int8"
" AND f.verdict IN ('depart', 'suspend', 'depart later') AND $2 IS NOT NULL";

/* a row that was rejected still says that the person is there */
static const char *const list_missing =
"INSERT INTO courier_pii.hr_feed_departure (feed, staff_no, cause)"
" SELECT $1::pg_catalog.int8, s.staff_no, 'missing'"
" FROM courier_pii.staff_register s"
" WHERE s.status <> 'departed' AND (s.source = $2 OR s.source IS NULL)"
" AND NOT EXISTS (SELECT 1 FROM courier_pii.hr_feed_row f"
" WHERE f.feed = $1::pg_catalog.int8 AND f.staff_no = s.staff_no)";

static const char *const find_last_holder =
"SELECT d.rolname FROM pg_catalog.pg_roles d"
" JOIN pg_catalog.pg_auth_members m ON m.roleid = d.oid"
" JOIN pg_catalog.pg_roles w ON w.oid = m.member AND w.rolcanlogin"
" LEFT JOIN courier_pii.account_register a ON a.login_role = m.member"
" LEFT JOIN courier_pii.hr_feed_departure x ON x.staff_no = a.staff_no"
" AND x.feed = $1::pg_catalog.int8"
" WHERE d.rolname IN ('pii_security_admin', 'pii_auditor', 'pii_account_admin')"
" AND $2 IS NOT NULL GROUP BY d.rolname"
" HAVING pg_catalog.count(x.staff_no) > 0 AND pg_catalog.count(x.staff_no) = pg_catalog.count(*)";

static void
decide(const Feed *feed)
{
	(void) run_feed(feed, "DELETE FROM courier_pii.hr_feed_departure"
					" WHERE feed = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	(void) run_feed(feed, "UPDATE courier_pii.hr_feed_row SET verdict = NULL, problem = NULL"
					" WHERE feed = $1::pg_catalog.int8 AND verdict IS NOT NULL AND $2 IS NOT NULL");
	(void) run_feed(feed, reject_rows);
	(void) run_feed(feed, judge_rows);
	(void) run_feed(feed, list_departures);
	if (feed->full)
		(void) run_feed(feed, list_missing);
	(void) run_feed(feed, "UPDATE courier_pii.hr_feed h SET"
					" row_count = c.rows, hired = c.hired, changed = c.changed,"
					" unchanged = c.unchanged, rejected = c.rejected, departed = greatest(d.departed,"
					" CASE WHEN h.state = 'waiting' THEN h.departed ELSE 0 END),"
					" digest = d.digest"
					" FROM (SELECT pg_catalog.count(*) AS rows,"
					" pg_catalog.count(*) FILTER (WHERE f.verdict = 'hire') AS hired,"
					" pg_catalog.count(*) FILTER (WHERE f.verdict = 'change') AS changed,"
					" pg_catalog.count(*) FILTER (WHERE f.verdict = 'unchanged') AS unchanged,"
					" pg_catalog.count(*) FILTER (WHERE f.verdict = 'rejected') AS rejected"
					" FROM courier_pii.hr_feed_row f WHERE f.feed = $1::pg_catalog.int8) c,"
					" (SELECT pg_catalog.count(*) AS departed,"
					" pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce("
					" pg_catalog.string_agg(d.staff_no || ' ' || d.cause, E'\\n' ORDER BY d.staff_no COLLATE \"C\"),"
					" ''), 'UTF8')), 'hex') AS digest"
					" FROM courier_pii.hr_feed_departure d WHERE d.feed = $1::pg_catalog.int8) d"
					" WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL");
}

/* ---- the brake ---- */

static void
add_reason(StringInfo reasons, const char *text)
{
	if (reasons->len > 0)
		appendStringInfoString(reasons, "; ");
	appendStringInfoString(reasons, text);
}

/* why the feed must be looked at, or an empty string; *empty: never to be let through */
static char *
brake(const Feed *feed, bool *empty)
{
	StringInfoData reasons;
	int64		active = count_of(feed, "SELECT pg_catalog.count(*) FROM courier_pii.staff_register s"
								  " WHERE s.status = 'active' AND $1 IS NOT NULL AND $2 IS NOT NULL");
	int64		rows = count_of(feed, "SELECT h.row_count FROM courier_pii.hr_feed h"
								" WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	int64		bad = count_of(feed, "SELECT h.rejected FROM courier_pii.hr_feed h"
							   " WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	int64		departed = count_of(feed, "SELECT h.departed FROM courier_pii.hr_feed h"
									" WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	int64		recent = count_of(feed, "SELECT pg_catalog.sum(h.departed)::pg_catalog.int8"
								  " FROM courier_pii.hr_feed h WHERE h.state IN ('applied', 'waiting') AND h.decided_by IS NULL"
								  " AND h.asked_at > pg_catalog.now() - '1 day'::pg_catalog.interval"
								  " AND h.id <> $1::pg_catalog.int8 AND $2 IS NOT NULL");
	int64		before = count_of(feed, "SELECT coalesce((SELECT h.row_count FROM courier_pii.hr_feed h"
								  " WHERE h.source = $2 AND h.full_list AND h.state = 'applied'"
								  " AND h.id <> $1::pg_catalog.int8 ORDER BY h.id DESC LIMIT 1), 0)");
	int64		limit = Max((int64) cpii_feed_brake_floor,
							active * cpii_feed_brake_percent / 100);

	initStringInfo(&reasons);
	*empty = feed->full && rows == 0;
	if (*empty)
		add_reason(&reasons, "the list is empty");
	if (departed > limit)
		add_reason(&reasons, psprintf(INT64_FORMAT " of " INT64_FORMAT " people would be disabled, more than " INT64_FORMAT,
									  departed, active, limit));
	else if (departed > 0 && departed + recent > 2 * limit)
		add_reason(&reasons, psprintf(INT64_FORMAT " people would be disabled in a day, more than " INT64_FORMAT,
									  departed + recent, 2 * limit));
	if (bad > MAX_BAD_ROWS || (bad > cpii_feed_brake_floor && bad * 100 > rows))
		add_reason(&reasons, psprintf(INT64_FORMAT " rows are bad", bad));
	if (feed->full && before - rows > cpii_feed_brake_floor && rows * 5 < before * 4)
		add_reason(&reasons, psprintf("the list has " INT64_FORMAT " rows, the one before had " INT64_FORMAT,
									  rows, before));
	if (run_feed(feed, find_last_holder) > 0)
		add_reason(&reasons, psprintf("nobody would hold duty %s any more",
									  cpii_result_text(0, 1)));
	return reasons.data;
}

/* ---- applying ---- */

static void
apply_hires(const Feed *feed)
{
	const char *by = cpii_session_actor()->login_name;
	const char *texts[3] = {feed->id, feed->source, by};

	cpii_person_run("INSERT INTO courier_pii.staff_register"
					" (staff_no, display_name, login_role, org, post, source, changed_by)"
					" SELECT f.staff_no, f.display_name, l.oid, f.org, nullif(f.post, ''), $2, $3::pg_catalog.name"
					" FROM courier_pii.hr_feed_row f"
					" LEFT JOIN pg_catalog.pg_roles l ON l.rolname::pg_catalog.text = f.login_role"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'hire'", 3, texts);
	cpii_person_run("INSERT INTO courier_pii.post_register (staff_no, org, post, changed_by)"
					" SELECT s.staff_no, s.org, s.post, $3::pg_catalog.name"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'hire' AND $2 IS NOT NULL", 3, texts);
	cpii_person_run("INSERT INTO courier_pii.account_register (login_role, staff_no, kind)"
					" SELECT s.login_role, s.staff_no, 'human'"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'hire' AND s.login_role IS NOT NULL"
					" AND $2 IS NOT NULL AND $3 IS NOT NULL", 3, texts);
	cpii_person_run("INSERT INTO courier_pii.person_guess (staff_no, digests)"
					" SELECT g.staff_no, g.d FROM (SELECT f.staff_no,"
					" courier_pii.person_guess(nullif(f.birthday, ''), nullif(f.phone, '')) AS d"
					" FROM courier_pii.hr_feed_row f WHERE f.feed = $1::pg_catalog.int8"
					" AND f.verdict = 'hire' AND coalesce(f.birthday, '') || coalesce(f.phone, '') <> ''"
					" AND $2 IS NOT NULL AND $3 IS NOT NULL) g WHERE g.d IS NOT NULL"
					" ON CONFLICT (staff_no) DO UPDATE SET digests = EXCLUDED.digests", 3, texts);
	/* neither is needed any longer */
	cpii_person_run("UPDATE courier_pii.hr_feed_row SET birthday = NULL, phone = NULL"
					" WHERE feed = $1::pg_catalog.int8 AND (birthday IS NOT NULL OR phone IS NOT NULL)"
					" AND $2 IS NOT NULL AND $3 IS NOT NULL", 3, texts);
}

/* a list of (staff number, post, role) for which groups must be granted */
typedef struct Member
{
	char	   *staff_no;
	char	   *post;
	Oid			role;
} Member;

static Member *
members(const Feed *feed, const char *sql, uint64 *count)
{
	Member	   *list;

	*count = run_feed(feed, sql);
	list = palloc(Max(*count, 1) * sizeof(Member));
	for (uint64 i = 0; i < *count; i++)
	{
		list[i].staff_no = cpii_result_text(i, 1);
		list[i].post = cpii_result_text(i, 2);
		list[i].role = cpii_result_oid(i, 3);
	}
	return list;
}

static void
apply_changes(const Feed *feed)
{
	const char *texts[3] = {feed->id, feed->source, cpii_session_actor()->login_name};
	uint64		nhired;
	uint64		nmoved;
	Member	   *hired;
	Member	   *moved;

	moved = members(feed, "SELECT s.staff_no, f.post, s.login_role::pg_catalog.oid"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'change'"
					" AND f.post <> '' AND f.post IS DISTINCT FROM s.post AND s.login_role IS NOT NULL"
					" AND $2 IS NOT NULL", &nmoved);
	hired = members(feed, "SELECT s.staff_no, s.post, s.login_role::pg_catalog.oid"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'hire' AND s.login_role IS NOT NULL"
					" AND EXISTS (SELECT 1 FROM courier_pii.post_right p WHERE p.post = s.post)"
					" AND $2 IS NOT NULL", &nhired);
	cpii_person_run("UPDATE courier_pii.post_register p SET to_at = pg_catalog.statement_timestamp()"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'change' AND p.staff_no = f.staff_no"
					" AND p.to_at IS NULL AND (f.org <> '' AND f.org <> s.org OR f.post <> '' AND f.post IS DISTINCT FROM s.post)"
					" AND $2 IS NOT NULL AND $3 IS NOT NULL", 3, texts);
	cpii_person_run("UPDATE courier_pii.staff_register s SET source = $2,"
					" org = CASE WHEN f.verdict = 'change' THEN coalesce(nullif(f.org, ''), s.org) ELSE s.org END,"
					" post = CASE WHEN f.verdict = 'change' THEN coalesce(nullif(f.post, ''), s.post) ELSE s.post END,"
					" display_name = CASE WHEN f.verdict = 'change' THEN coalesce(nullif(f.display_name, ''), s.display_name)"
					" ELSE s.display_name END,"
					" changed_at = pg_catalog.statement_timestamp(), changed_by = $3::pg_catalog.name"
					" FROM courier_pii.hr_feed_row f WHERE f.feed = $1::pg_catalog.int8 AND f.staff_no = s.staff_no"
					" AND f.verdict <> 'rejected' AND (f.verdict = 'change' OR s.source IS DISTINCT FROM $2)", 3, texts);
	cpii_person_run("INSERT INTO courier_pii.post_register (staff_no, org, post, changed_by)"
					" SELECT s.staff_no, s.org, s.post, $3::pg_catalog.name"
					" FROM courier_pii.hr_feed_row f JOIN courier_pii.staff_register s ON s.staff_no = f.staff_no"
					" WHERE f.feed = $1::pg_catalog.int8 AND f.verdict = 'change' AND $2 IS NOT NULL"
					" ON CONFLICT DO NOTHING", 3, texts);
	for (uint64 i = 0; i < nmoved; i++)
	{
		(void) cpii_membership_take(moved[i].role, moved[i].staff_no, "transfer");
		cpii_post_grant(moved[i].role, moved[i].post);
	}
	for (uint64 i = 0; i < nhired; i++)
		cpii_post_grant(hired[i].role, hired[i].post);
}

static void
apply_departures(const Feed *feed)
{
	uint64		count = run_feed(feed, "SELECT d.staff_no, d.cause, d.effective_at"
								 " FROM courier_pii.hr_feed_departure d"
								 " WHERE d.feed = $1::pg_catalog.int8 AND $2 IS NOT NULL"
								 " ORDER BY d.staff_no");
	SPITupleTable *rows = SPI_tuptable;
	char	   *reason = psprintf("personnel feed %s of %s", feed->id, feed->source);

	for (uint64 i = 0; i < count; i++)
	{
		char	   *staff_no = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		char	   *cause = SPI_getvalue(rows->vals[i], rows->tupdesc, 2);
		bool		isnull;
		Datum		at = SPI_getbinval(rows->vals[i], rows->tupdesc, 3, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (strcmp(cause, "suspended") == 0)
			cpii_leaver_suspend(staff_no, reason);
		else if (!isnull)
			cpii_leaver_depart_at(staff_no, DatumGetTimestampTz(at), reason);
		else
			(void) cpii_leaver_depart(staff_no, reason);
		cpii_audit_note(CPII_ACT_ACCOUNT, "depart", "ok",
						cpii_json_pairs("staff_no", staff_no, "feed", feed->id,
										"cause", cause, NULL));
	}
}

static void
apply(const Feed *feed)
{
	apply_hires(feed);
	apply_changes(feed);
	apply_departures(feed);
	cpii_roster_announce_all();
	/* rows of old feeds have served their purpose */
	(void) run_feed(feed, "DELETE FROM courier_pii.hr_feed_row f WHERE f.source = $2"
					" AND f.feed IS NOT NULL AND f.feed NOT IN (SELECT h.id FROM courier_pii.hr_feed h"
					" WHERE h.source = $2 AND (h.state IN ('held', 'waiting') OR h.id <= $1::pg_catalog.int8)"
					" ORDER BY h.id DESC LIMIT " CppAsString2(KEPT_FEEDS) ")");
}

/* ---- functions ---- */

static void
set_state(const Feed *feed, const char *state, const char *because,
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
		Feed		next = {id, source, false};

		decide(&next);
		apply(&next);
		set_state(&next, "applied", NULL, NULL);
	}
}

/*
 * Apply a feed that may pass.  Of one that others must come before only what
 * takes rights away is done now.
 */
static void
pass(const Feed *feed, const char *decided_by)
{
	char	   *gap = feed->full ? NULL : cpii_feed_gap(feed->id, feed->source);

	if (gap != NULL)
	{
		apply_departures(feed);
		cpii_roster_announce_all();
		set_state(feed, "waiting", gap, decided_by);
		return;
	}
	apply(feed);
	set_state(feed, "applied", NULL, decided_by);
	if (feed->full)
		cpii_feed_supersede(feed->id, feed->source);
	follow(feed->source);
}

/* the function's row: the feed as it stands */
static Datum
feed_row(FunctionCallInfo fcinfo, const Feed *feed, char **state)
{
	TupleDesc	desc;
	HeapTuple	tup;
	Datum		values[9];
	bool		nulls[9];
	MemoryContext old;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	(void) run_feed(feed, "SELECT h.id, h.state, h.row_count, h.hired, h.changed, h.departed,"
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
	Feed		feed;
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
	(void) run_feed(&feed, "UPDATE courier_pii.hr_feed_row SET feed = $1::pg_catalog.int8"
					" WHERE source = $2 AND feed IS NULL");
	cpii_feed_number(feed.id, feed.source);
	decide(&feed);
	reasons = brake(&feed, &empty);
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
get_held(FunctionCallInfo fcinfo, Feed *feed, bool waiting)
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
	Feed		feed;
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
	decide(&feed);
	(void) brake(&feed, &empty);
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
	Feed		feed;

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
