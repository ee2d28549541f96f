/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  The registers of limits, read for the person who acts.
 *
 * The widest of the person's entries counts, limit by limit; without an entry
 * the settings do.  Called when the policy cache is loaded (catalog.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "policy/catalog.h"

/* columns of courier_pii.disclosure_limit; hour and day follow */
#define LIMIT_GRANTEE 1
#define LIMIT_STATEMENT 2

/* likewise of courier_pii.budget, the first is the same */
#define BUDGET_KIND 2
#define BUDGET_STATEMENT 3

static void
widen(int64 *limit, bool *set, Datum d, bool isnull)
{
	int64		value = isnull ? -1 : DatumGetInt64(d);

	if (!*set)
		*limit = value;
	else if (*limit != -1 && (value == -1 || value > *limit))
		*limit = value;
	*set = true;
}

const char *
cpii_budget_name(CpiiBudget budget)
{
	static const char *const names[] = {"clear", "probes", "masked", "sealed"};

	return names[budget];
}

bool
cpii_budget_by_name(const char *name, CpiiBudget *budget)
{
	for (int i = 0; i < CPII_NBUDGETS; i++)
	{
		if (strcmp(name, cpii_budget_name(i)) == 0)
		{
			*budget = i;
			return true;
		}
	}
	return false;
}

CpiiLimits
cpii_policy_default_limits(CpiiBudget budget)
{
	CpiiLimits	result = {-1, -1, -1};

	switch (budget)
	{
		case CPII_BUDGET_CLEAR:
			result.per_statement = cpii_default_limit_statement;
			result.per_hour = cpii_default_limit_hour;
			result.per_day = cpii_default_limit_day;
			break;
		case CPII_BUDGET_PROBES:
			result.per_statement = cpii_default_probe_limit;
			result.per_hour = cpii_default_probe_limit_hour;
			result.per_day = cpii_default_probe_limit_day;
			break;
		case CPII_BUDGET_MASKED:
			result.per_statement = cpii_default_masked_limit_statement;
			result.per_hour = cpii_default_masked_limit_hour;
			result.per_day = cpii_default_masked_limit_day;
			break;
		default:
			result.per_statement = cpii_default_sealed_limit_statement;
			result.per_hour = cpii_default_sealed_limit_hour;
			result.per_day = cpii_default_sealed_limit_day;
			break;
	}
	return result;
}

char *
cpii_limits_text(const int64 limits[3])
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < 3; i++)
	{
		if (i > 0)
			appendStringInfoChar(&buf, '/');
		if (limits[i] < 0)
			appendStringInfoString(&buf, "unlimited");
		else
			appendStringInfo(&buf, INT64_FORMAT, limits[i]);
	}
	return buf.data;
}

static bool
wider(int64 wanted, Datum now, bool unlimited)
{
	return !unlimited && (wanted < 0 || wanted > DatumGetInt64(now));
}

bool
cpii_limits_raised(Oid grantee, CpiiBudget budget, const int64 wanted[3])
{
	CpiiLimits	defaults = cpii_policy_default_limits(budget);
	int64		by_default[3] = {defaults.per_statement, defaults.per_hour, defaults.per_day};
	Oid			types[2] = {OIDOID, TEXTOID};
	Datum		values[2];
	bool		own = false;
	bool		result = false;

	values[0] = ObjectIdGetDatum(grantee);
	values[1] = CStringGetTextDatum(cpii_budget_name(budget));
	SPI_connect();
	/* widest wins: an entry can lift what another entry of a member holds down */
	cpii_internal_execute(budget == CPII_BUDGET_CLEAR ?
						  "SELECT l.per_statement, l.per_hour, l.per_day, l.grantee::pg_catalog.oid = $1"
						  " FROM courier_pii.disclosure_limit l"
						  " WHERE $2 IS NOT NULL AND (l.grantee::pg_catalog.oid = $1 OR EXISTS (SELECT"
						  " FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper"
						  " AND pg_catalog.pg_has_role(r.oid, l.grantee::pg_catalog.oid, 'MEMBER')"
						  " AND pg_catalog.pg_has_role(r.oid, $1, 'MEMBER')))"
						  :
						  "SELECT l.per_statement, l.per_hour, l.per_day, l.grantee::pg_catalog.oid = $1"
						  " FROM courier_pii.budget l"
						  " WHERE l.kind = $2 AND (l.grantee::pg_catalog.oid = $1 OR EXISTS (SELECT"
						  " FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper"
						  " AND pg_catalog.pg_has_role(r.oid, l.grantee::pg_catalog.oid, 'MEMBER')"
						  " AND pg_catalog.pg_has_role(r.oid, $1, 'MEMBER')))",
						  2, types, values, NULL, true, 0);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;

		own |= DatumGetBool(SPI_getbinval(SPI_tuptable->vals[row],
										  SPI_tuptable->tupdesc, 4, &isnull));
		for (int i = 0; i < 3; i++)
		{
			Datum		now = SPI_getbinval(SPI_tuptable->vals[row],
											SPI_tuptable->tupdesc, i + 1, &isnull);

			result |= wider(wanted[i], now, isnull);
		}
	}
	SPI_finish();
	for (int i = 0; i < 3 && !own; i++)
		result |= wider(wanted[i], Int64GetDatum(by_default[i]), by_default[i] < 0);
	return result;
}

/* the entries of one register; set[] tells which limits an entry has set */
static void
load_limit_register(const char *register_name, bool has_kind,
					CpiiLimits limits[CPII_NBUDGETS],
					bool set[CPII_NBUDGETS][3])
{
	Oid			relid = cpii_relation_oid(register_name, true);
	AttrNumber	first = has_kind ? BUDGET_STATEMENT : LIMIT_STATEMENT;
	Relation	rel;
	TupleDesc	desc;
	SysScanDesc scan;
	HeapTuple	tup;

	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, AccessShareLock);
	desc = RelationGetDescr(rel);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		CpiiBudget	budget = CPII_BUDGET_CLEAR;
		Datum		d = heap_getattr(tup, LIMIT_GRANTEE, desc, &isnull);

		if (!cpii_policy_acts_as(DatumGetObjectId(d)))
			continue;
		if (has_kind &&
			!cpii_budget_by_name(TextDatumGetCString(heap_getattr(tup, BUDGET_KIND, desc, &isnull)),
								 &budget))
			continue;
		d = heap_getattr(tup, first, desc, &isnull);
		widen(&limits[budget].per_statement, &set[budget][0], d, isnull);
		d = heap_getattr(tup, first + 1, desc, &isnull);
		widen(&limits[budget].per_hour, &set[budget][1], d, isnull);
		d = heap_getattr(tup, first + 2, desc, &isnull);
		widen(&limits[budget].per_day, &set[budget][2], d, isnull);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

void
cpii_limits_load(bool superuser_person, CpiiLimits limits[CPII_NBUDGETS])
{
	bool		set[CPII_NBUDGETS][3] = {{false}};

	for (int i = 0; i < CPII_NBUDGETS; i++)
		limits[i] = cpii_policy_default_limits(i);
	load_limit_register("disclosure_limit", false, limits, set);
	load_limit_register("budget", true, limits, set);
	if (superuser_person)
	{
		CpiiLimits *clear = &limits[CPII_BUDGET_CLEAR];

		clear->per_statement = clear->per_hour = clear->per_day = 0;
		/* imports and tests search a lot while the database is set up */
		if (!cpii_duties_sealed())
			limits[CPII_BUDGET_PROBES].per_hour =
				limits[CPII_BUDGET_PROBES].per_day = -1;
	}
}
