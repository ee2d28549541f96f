/*-------------------------------------------------------------------------
 *
 * feed_apply.c
 *	  Applying a list of staff: hires, changes and departures, by the verdicts
 *	  of feed_judge.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/internal.h"
#include "base/session.h"
#include "people/feed.h"
#include "people/membership.h"
#include "people/person.h"
#include "people/register.h"
#include "people/roster_table.h"

#define KEPT_FEEDS 10

static void
apply_hires(const CpiiFeed *feed)
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
members(const CpiiFeed *feed, const char *sql, uint64 *count)
{
	Member	   *list;

	*count = cpii_feed_run(feed, sql);
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
apply_changes(const CpiiFeed *feed)
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
apply_departures(const CpiiFeed *feed)
{
	uint64		count = cpii_feed_run(feed, "SELECT d.staff_no, d.cause, d.effective_at"
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

void
cpii_feed_take_away(const CpiiFeed *feed)
{
	apply_departures(feed);
	cpii_roster_announce_all();
}

void
cpii_feed_apply(const CpiiFeed *feed)
{
	apply_hires(feed);
	apply_changes(feed);
	cpii_feed_take_away(feed);
	/* rows of old feeds have served their purpose */
	(void) cpii_feed_run(feed, "DELETE FROM courier_pii.hr_feed_row f WHERE f.source = $2"
						 " AND f.feed IS NOT NULL AND f.feed NOT IN (SELECT h.id FROM courier_pii.hr_feed h"
						 " WHERE h.source = $2 AND (h.state IN ('held', 'waiting') OR h.id <= $1::pg_catalog.int8)"
						 " ORDER BY h.id DESC LIMIT " CppAsString2(KEPT_FEEDS) ")");
}
