/*-------------------------------------------------------------------------
 *
 * feed_order.c
 *	  Numbered personnel feeds are applied in their order.
 *
 * A list of changes that comes before the one it follows must wait, or an older
 * state would be put over a newer one.  Only what takes rights away is done at
 * once.  A number is used up when its feed was applied or put aside; the first
 * number of a source is whatever comes first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"

#include "audit/record.h"
#include "base/internal.h"
#include "people/feed_order.h"
#include "people/person.h"

/* the last number of the source that is used up; no row: there is none */
#define LAST_NUMBER \
	"(SELECT pg_catalog.max(l.sequence) FROM courier_pii.hr_feed l" \
	" WHERE l.source = $2 AND l.state IN ('applied', 'rejected'))"

/* the first value of the first row, or NULL */
static char *
first_text(const char *sql, const char *feed, const char *source)
{
	if (cpii_person_run(sql, 2, (const char *[]) {feed, source}) == 0)
		return NULL;
	return cpii_result_text(0, 1);
}

void
cpii_feed_number(const char *feed, const char *source)
{
	char	   *problem;

	problem = first_text("SELECT CASE WHEN pg_catalog.count(DISTINCT coalesce(r.sequence, '')) > 1"
						 " THEN 'its rows have different numbers'"
						 " WHEN pg_catalog.max(r.sequence) !~ '^[1-9][0-9]{0,17}$' THEN 'its number is not valid' END"
						 " FROM courier_pii.hr_feed_row r"
						 " WHERE r.feed = $1::pg_catalog.int8 AND $2 IS NOT NULL", feed, source);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("personnel feed cannot be applied: %s", problem)));
	problem = first_text("SELECT r.sequence FROM courier_pii.hr_feed_row r"
						 " WHERE r.feed = $1::pg_catalog.int8 AND EXISTS (SELECT 1"
						 " FROM courier_pii.hr_feed h WHERE h.source = $2 AND h.state <> 'deciding'"
						 " AND (h.sequence = r.sequence::pg_catalog.int8 AND h.state <> 'rejected'"
						 " OR r.sequence::pg_catalog.int8 <= " LAST_NUMBER ")) LIMIT 1",
						 feed, source);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("personnel feed number %s was here before", problem),
				 errhint("See the view courier_pii.hr_feeds.")));
	(void) first_text("UPDATE courier_pii.hr_feed h SET sequence = (SELECT r.sequence::pg_catalog.int8"
					  " FROM courier_pii.hr_feed_row r WHERE r.feed = h.id LIMIT 1)"
					  " WHERE h.id = $1::pg_catalog.int8 AND $2 IS NOT NULL RETURNING h.id",
					  feed, source);
}

char *
cpii_feed_gap(const char *feed, const char *source)
{
	return first_text("SELECT CASE WHEN h.sequence = g.last + 2 THEN pg_catalog.format('number %s is missing', g.last + 1)"
					  " ELSE pg_catalog.format('numbers %s to %s are missing', g.last + 1, h.sequence - 1) END"
					  " FROM courier_pii.hr_feed h, (SELECT " LAST_NUMBER ") g (last)"
					  " WHERE h.id = $1::pg_catalog.int8 AND h.sequence > g.last + 1",
					  feed, source);
}

char *
cpii_feed_next(const char *source)
{
	return first_text("SELECT h.id FROM courier_pii.hr_feed h WHERE h.source = $2 AND h.state = 'waiting'"
					  " AND h.sequence = " LAST_NUMBER " + 1 AND $1 IS NOT NULL", "", source);
}

void
cpii_feed_supersede(const char *feed, const char *source)
{
	(void) first_text("UPDATE courier_pii.hr_feed h SET state = 'rejected',"
					  " held_because = 'a later complete list was applied'"
					  " WHERE h.source = $2 AND h.state = 'waiting' AND h.sequence <"
					  " (SELECT f.sequence FROM courier_pii.hr_feed f WHERE f.id = $1::pg_catalog.int8)"
					  " RETURNING h.id", feed, source);
}

void
cpii_feed_alarm(const char *now)
{
	uint64		count = cpii_person_run("UPDATE courier_pii.hr_feed h SET alarmed_at = $1::pg_catalog.timestamptz"
										" WHERE h.state = 'waiting' AND h.alarmed_at IS NULL"
										" AND h.asked_at < $1::pg_catalog.timestamptz - '1 hour'::pg_catalog.interval"
										" RETURNING h.id, h.source, h.held_because", 1, &now);
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < count; i++)
	{
		char	   *feed = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		char	   *source = SPI_getvalue(rows->vals[i], rows->tupdesc, 2);
		char	   *why = SPI_getvalue(rows->vals[i], rows->tupdesc, 3);

		ereport(LOG,
				(errmsg("personnel feed %s has waited for an hour: %s", feed, why)));
		cpii_audit_note(CPII_ACT_SYSTEM, "feed_waits", "error",
						cpii_json_pairs("feed", feed, "source", source,
										"why", why, NULL));
	}
}
