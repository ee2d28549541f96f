/*-------------------------------------------------------------------------
 *
 * roster_read.c
 *	  From the registers to shared memory: one person's accounts as part of a
 *	  change, or all accounts by the background workers.
 *
 * A rebuild must not undo a change that commits while it reads the register:
 * it remembers the generation before its snapshot and leaves entries alone
 * whose last change is younger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include <sys/socket.h>

#include "utils/inet.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errcodes.h"
#include "base/internal.h"
#include "people/held.h"
#include "people/register.h"
#include "people/roster.h"
#include "people/roster_table.h"

/* the file is written anew this often, for times of logins and the clock */
#define LOGIN_SAVE_INTERVAL (60 * USECS_PER_SEC)
#define CLOCK_SAVE_INTERVAL (10 * USECS_PER_MINUTE)
#define POLL_FULL_INTERVAL (10 * USECS_PER_SEC)

extern void cpii_worker_register_task(void (*task) (void), int interval_ms);

/*
 * $1 = staff number, or null for everybody.  Denied accounts come first, should
 * there be no room for all.  An account ends with the person's work, or with
 * the contract of a unit that the person belongs to.
 */
static const char *const read_register =
"WITH RECURSIVE unit (code, ends) AS ("
" SELECT o.code, o.contract_end FROM courier_pii.org_register o"
" WHERE o.parent IS NULL"
" UNION ALL"
" SELECT o.code, LEAST(o.contract_end, u.ends)"
" FROM courier_pii.org_register o JOIN unit u ON o.parent = u.code)"
" SELECT a.login_role::pg_catalog.oid, s.staff_no, s.org,"
" s.details ->> 'client',"
" CASE WHEN a.kind = 'service' THEN a.disabled"
" ELSE s.status <> 'active' OR a.disabled END AS denied,"
" CASE WHEN a.kind = 'service' THEN NULL"
" ELSE LEAST(s.departed_at, u.ends) END,"
" a.kind = 'service', a.sharing,"
" a.must_change AND p.rolpassword IS NOT NULL,"
" CASE WHEN p.rolpassword IS NOT NULL THEN a.password_set_at END,"
" a.from_minute, a.to_minute, a.weekdays, a.addresses"
" FROM courier_pii.account_register a"
" JOIN courier_pii.staff_register s ON s.staff_no = a.staff_no"
" LEFT JOIN unit u ON u.code = s.org"
" LEFT JOIN pg_catalog.pg_authid p ON p.oid = a.login_role"
" WHERE $1::pg_catalog.text IS NULL OR a.staff_no = $1"
" ORDER BY 5 DESC";

/*
 * The same columns of sealed and joint accounts; $2 = role, or null for all.
 * An opened envelope acts for the person who opened it, a joint account for
 * its first custodian.
 */
static const char *const read_held =
"SELECT e.login_role::pg_catalog.oid, s.staff_no, s.org, s.details ->> 'client',"
" e.state <> 'open' OR s.status IS DISTINCT FROM 'active', e.open_until,"
" false, true, false, NULL::pg_catalog.timestamptz, NULL::pg_catalog.int2,"
" NULL::pg_catalog.int2, NULL::pg_catalog.int2, NULL::pg_catalog.cidr[], false"
" FROM courier_pii.sealed_account e"
" LEFT JOIN courier_pii.staff_register s ON s.staff_no = e.opened_by_staff_no"
" WHERE ($1::pg_catalog.text IS NULL OR s.staff_no = $1)"
" AND ($2::pg_catalog.oid IS NULL OR e.login_role = $2)"
" UNION ALL"
" SELECT j.login_role::pg_catalog.oid, s.staff_no, s.org, s.details ->> 'client',"
" j.state <> 'ready' OR s.status IS DISTINCT FROM 'active' OR t.status IS DISTINCT FROM 'active',"
" LEAST(s.departed_at, t.departed_at), false, true, false, j.password_set_at,"
" NULL, NULL, NULL, NULL, j.presence"
" FROM courier_pii.joint_account j"
" LEFT JOIN courier_pii.staff_register s ON s.staff_no = j.first_staff_no"
" LEFT JOIN courier_pii.staff_register t ON t.staff_no = j.second_staff_no"
" WHERE ($1::pg_catalog.text IS NULL OR $1 IN (j.first_staff_no, j.second_staff_no))"
" AND ($2::pg_catalog.oid IS NULL OR j.login_role = $2)"
" ORDER BY 5 DESC";

static void
copy_text(SPITupleTable *rows, uint64 row, int column, char *to, Size size)
{
	char	   *value = SPI_getvalue(rows->vals[row], rows->tupdesc, column);

	strlcpy(to, value ? value : "", size);
}

/* a value that is a null-free scalar, or the default */
static Datum
scalar(HeapTuple row, TupleDesc desc, int column, Datum when_null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, column, &isnull);

	return isnull ? when_null : value;
}

static void
copy_networks(RosterFacts *facts, Datum array)
{
	ArrayType  *networks = DatumGetArrayTypeP(array);
	Datum	   *values;
	bool	   *nulls;
	int			count;

	deconstruct_array(networks, CIDROID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &count);
	for (int i = 0; i < count && facts->nnetworks < ROSTER_NETWORKS; i++)
	{
		RosterNetwork *to = &facts->networks[facts->nnetworks];
		inet	   *from;

		if (nulls[i])
			continue;
		from = DatumGetInetPP(values[i]);
		to->family = (uint8) ip_family(from);
		to->bits = (uint8) ip_bits(from);
		memcpy(to->address, ip_addr(from), ip_addrsize(from));
		facts->nnetworks++;
	}
}

/* one row of either query */
static void
copy_account(HeapTuple row, SPITupleTable *rows, uint64 n, RosterAccount *a)
{
	RosterFacts *f = &a->facts;
	TupleDesc	desc = rows->tupdesc;
	Datum		networks;
	bool		isnull;

	a->role = DatumGetObjectId(scalar(row, desc, 1, (Datum) 0));
	copy_text(rows, n, 2, f->staff_no, sizeof(f->staff_no));
	copy_text(rows, n, 3, f->org, sizeof(f->org));
	copy_text(rows, n, 4, f->client, sizeof(f->client));
	f->flags = f->staff_no[0] != '\0' ? ROSTER_PERSON : 0;
	if (DatumGetBool(scalar(row, desc, 5, BoolGetDatum(false))))
		f->flags |= ROSTER_DENIED;
	f->not_after = DatumGetTimestampTz(scalar(row, desc, 6,
											  TimestampTzGetDatum(DT_NOEND)));
	if (DatumGetBool(scalar(row, desc, 7, BoolGetDatum(false))))
		f->flags |= ROSTER_SERVICE;
	if (DatumGetBool(scalar(row, desc, 8, BoolGetDatum(false))))
		f->flags |= ROSTER_SHARED;
	if (DatumGetBool(scalar(row, desc, 9, BoolGetDatum(false))))
		f->flags |= ROSTER_MUST_CHANGE;
	f->password_set = DatumGetTimestampTz(scalar(row, desc, 10,
												 TimestampTzGetDatum(DT_NOBEGIN)));
	f->from_minute = DatumGetInt16(scalar(row, desc, 11, Int16GetDatum(-1)));
	f->to_minute = DatumGetInt16(scalar(row, desc, 12, Int16GetDatum(-1)));
	f->weekdays = (uint8) DatumGetInt16(scalar(row, desc, 13,
											   Int16GetDatum(ROSTER_ALL_DAYS)));
	networks = SPI_getbinval(row, desc, 14, &isnull);
	if (!isnull)
		copy_networks(f, networks);
}

/* SPI is connected; an account of a person, or only held ones, or all */
static RosterAccount *
read_accounts(const char *staff_no, Oid role, bool read_only,
			  MemoryContext context, uint64 *count)
{
	Oid			types[2] = {TEXTOID, OIDOID};
	Datum		values[2] = {(Datum) 0, (Datum) 0};
	char		nulls[2] = {'n', 'n'};
	RosterAccount *accounts;
	bool		everybody = staff_no == NULL && !OidIsValid(role);
	uint64		n = 0;

	if (staff_no != NULL)
	{
		values[0] = CStringGetTextDatum(staff_no);
		nulls[0] = ' ';
	}
	if (OidIsValid(role))
	{
		values[1] = ObjectIdGetDatum(role);
		nulls[1] = ' ';
	}
	if (!OidIsValid(role))
	{
		cpii_internal_execute(read_register, 1, types, values, nulls, read_only, 0);
		n = SPI_processed;
	}
	accounts = MemoryContextAllocHuge(context, Max(n, 1) * sizeof(RosterAccount));
	memset(accounts, 0, Max(n, 1) * sizeof(RosterAccount));
	for (uint64 i = 0; i < n; i++)
		copy_account(SPI_tuptable->vals[i], SPI_tuptable, i, &accounts[i]);
	*count = n;

	/* they are few, mostly none */
	if ((everybody || cpii_held_any()) &&
		OidIsValid(cpii_relation_oid("sealed_account", true)))
	{
		cpii_internal_execute(read_held, 2, types, values, nulls, read_only, 0);
		n = SPI_processed;
		if (everybody)
			cpii_held_set_any(n > 0);
		if (n > 0)
		{
			accounts = repalloc_huge(accounts, (*count + n) * sizeof(RosterAccount));
			memset(accounts + *count, 0, n * sizeof(RosterAccount));
		}
		for (uint64 i = 0; i < n; i++)
		{
			RosterAccount *a = &accounts[*count + i];

			copy_account(SPI_tuptable->vals[i], SPI_tuptable, i, a);
			a->facts.flags |= ROSTER_HELD;
			if (DatumGetBool(scalar(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
									15, BoolGetDatum(false))))
				a->facts.flags |= ROSTER_JOINT;
		}
		*count += n;
	}
	return accounts;
}

RosterAccount *
cpii_roster_read(const char *staff_no, bool read_only, MemoryContext context,
				 uint64 *count)
{
	return read_accounts(staff_no, InvalidOid, read_only, context, count);
}

static void
announce(const char *staff_no, Oid role)
{
	uint64		count;
	RosterAccount *accounts = read_accounts(staff_no, role, false,
											CurrentMemoryContext, &count);

	for (uint64 i = 0; i < count; i++)
		cpii_roster_change(&accounts[i]);
	pfree(accounts);
}

void
cpii_roster_announce(const char *staff_no)
{
	announce(staff_no, InvalidOid);
}

void
cpii_roster_announce_role(Oid role)
{
	announce(NULL, role);
}

void
cpii_roster_announce_all(void)
{
	uint64		count;
	RosterAccount *accounts = cpii_roster_read(NULL, false,
											   CurrentMemoryContext, &count);

	for (uint64 i = 0; i < count; i++)
	{
		RosterEntry *entry;
		bool		same;

		LWLockAcquire(cpii_roster_lock, LW_SHARED);
		entry = cpii_roster_find(accounts[i].role);
		same = entry != NULL &&
			memcmp(&entry->facts, &accounts[i].facts, sizeof(RosterFacts)) == 0;
		LWLockRelease(cpii_roster_lock);
		/* denials were announced one by one, when they were made */
		if (!same && (accounts[i].facts.flags & ROSTER_DENIED) == 0)
			cpii_roster_change(&accounts[i]);
	}
	pfree(accounts);
}

/* ---- rebuilding ---- */

/* set what may be set, forget who is gone; returns how many did not fit */
static uint64
install_accounts(const RosterAccount *accounts, uint64 count, uint64 as_of)
{
	static uint32 last_round = 0;
	uint32		round = ++last_round;
	uint64		left_out = 0;
	bool		changed = false;
	RosterEntry *entries;

	LWLockAcquire(cpii_roster_lock, LW_EXCLUSIVE);
	if (cpii_roster_room() < cpii_roster_table->capacity / 4)
		cpii_roster_compact();
	entries = cpii_roster_entries();
	for (uint32 i = 0; i < cpii_roster_table->nentries; i++)
		entries[i].round = 0;

	for (uint64 i = 0; i < count; i++)
	{
		RosterEntry *entry = cpii_roster_enter(accounts[i].role);

		if (entry == NULL)
		{
			left_out++;
			continue;
		}
		entry->round = round;
		if (entry->stamp <= as_of && cpii_roster_set(entry, &accounts[i]))
			changed = true;
	}
	for (uint32 i = 0; i < cpii_roster_table->nentries; i++)
	{
		RosterEntry *entry = &entries[i];

		if (entry->round == round || entry->stamp > as_of ||
			entry->facts.flags == 0)
			continue;
		memset(&entry->facts, 0, sizeof(RosterFacts));
		entry->facts.not_after = DT_NOEND;
		changed = true;
	}
	if (changed)
	{
		pg_atomic_fetch_add_u64(&cpii_roster_table->generation, 1);
		pg_atomic_write_u32(&cpii_roster_table->unsaved, 1);
	}
	LWLockRelease(cpii_roster_lock);
	return left_out;
}

/*
 * Make shared memory say what the staff register says.  Needs a transaction.
 * Does nothing in a database without the extension.
 */
void
cpii_roster_rebuild(void)
{
	MemoryContext caller = CurrentMemoryContext;
	RosterAccount *accounts;
	uint64		count;
	uint64		left_out;
	uint64		as_of;

	if (cpii_roster_table == NULL ||
		!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("account_register", true)))
		return;

	as_of = pg_atomic_read_u64(&cpii_roster_table->generation);
	pg_memory_barrier();
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	accounts = cpii_roster_read(NULL, true, caller, &count);
	SPI_finish();
	PopActiveSnapshot();

	left_out = install_accounts(accounts, count, as_of);
	pfree(accounts);
	if (left_out > 0)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("shared memory has no room for " UINT64_FORMAT " accounts",
						left_out),
				 errdetail("These people are treated as nobody."),
				 errhint("Raise \"courier_pii.max_staff\" and restart the server.")));
}

static void
save_when_due(void)
{
	static TimestampTz saved_at = 0;
	TimestampTz now = cpii_roster_now();

	if (pg_atomic_read_u32(&cpii_roster_table->unsaved) != 0 ||
		now >= saved_at + CLOCK_SAVE_INTERVAL ||
		(pg_atomic_read_u32(&cpii_roster_table->unsaved_logins) != 0 &&
		 now >= saved_at + LOGIN_SAVE_INTERVAL))
	{
		(void) cpii_roster_file_save();
		saved_at = now;
	}
}

/* the worker's task; it gives us a transaction and catches errors */
static void
roster_task(void)
{
	cpii_roster_rebuild();

	/* who was missed when the departure committed, or has lapsed since */
	cpii_roster_end_sessions(InvalidOid);
	save_when_due();
}

/*
 * Has a committed transaction changed a register since the last call?  Every
 * change leaves a younger transaction number in some row, and rows are never
 * deleted, so the sum of the numbers grows.
 */
static bool
registers_changed(void)
{
	static char last[64] = "";
	char	   *sum;
	bool		changed;

	SPI_connect();
	cpii_internal_execute("SELECT pg_catalog.concat("
						  " (SELECT pg_catalog.sum(r.xmin::pg_catalog.text::pg_catalog.int8) FROM courier_pii.staff_register r), ' ',"
						  " (SELECT pg_catalog.sum(r.xmin::pg_catalog.text::pg_catalog.int8) FROM courier_pii.account_register r), ' ',"
						  " (SELECT pg_catalog.sum(r.xmin::pg_catalog.text::pg_catalog.int8) FROM courier_pii.org_register r), ' ',"
						  " (SELECT pg_catalog.sum(r.xmin::pg_catalog.text::pg_catalog.int8) FROM courier_pii.sealed_account r), ' ',"
						  " (SELECT pg_catalog.sum(r.xmin::pg_catalog.text::pg_catalog.int8) FROM courier_pii.joint_account r))",
						  0, NULL, NULL, NULL, true, 1);
	sum = cpii_result_text(0, 1);
	changed = strcmp(sum, last) != 0;
	strlcpy(last, sum, sizeof(last));
	SPI_finish();
	return changed;
}

void
cpii_roster_poll(void)
{
	static TimestampTz read_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!OidIsValid(cpii_schema_oid(true)) ||
		!OidIsValid(cpii_relation_oid("account_register", true)))
		return;
	if (registers_changed() || now < read_at ||
		now >= read_at + POLL_FULL_INTERVAL)
	{
		cpii_roster_rebuild();
		read_at = now;
	}
	cpii_roster_end_sessions(InvalidOid);
	save_when_due();
}

void
cpii_roster_read_init(void)
{
	cpii_worker_register_task(roster_task, 10000);
}
