/*-------------------------------------------------------------------------
 *
 * feed_judge.c
 *	  What a list of staff says of each person, and whether it may be true.
 *
 * The list is written beside the registers with a verdict for each row; nothing
 * of the registers is changed here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"

#include "base/internal.h"
#include "base/settings.h"
#include "people/feed.h"

#define MAX_BAD_ROWS 20

/* a number that a query gives */
static int64
count_of(const CpiiFeed *feed, const char *sql)
{
	bool		isnull;
	Datum		value;

	(void) cpii_feed_run(feed, sql);
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

void
cpii_feed_judge(const CpiiFeed *feed)
{
	(void) cpii_feed_run(feed, "DELETE FROM courier_pii.hr_feed_departure"
						 " WHERE feed = $1::pg_catalog.int8 AND $2 IS NOT NULL");
	(void) cpii_feed_run(feed, "UPDATE courier_pii.hr_feed_row SET verdict = NULL, problem = NULL"
						 " WHERE feed = $1::pg_catalog.int8 AND verdict IS NOT NULL AND $2 IS NOT NULL");
	(void) cpii_feed_run(feed, reject_rows);
	(void) cpii_feed_run(feed, judge_rows);
	(void) cpii_feed_run(feed, list_departures);
	if (feed->full)
		(void) cpii_feed_run(feed, list_missing);
	(void) cpii_feed_run(feed, "UPDATE courier_pii.hr_feed h SET"
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

char *
cpii_feed_brake(const CpiiFeed *feed, bool *empty)
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
	if (cpii_feed_run(feed, find_last_holder) > 0)
		add_reason(&reasons, psprintf("nobody would hold duty %s any more",
									  cpii_result_text(0, 1)));
	return reasons.data;
}
