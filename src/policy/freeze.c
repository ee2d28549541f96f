/*-------------------------------------------------------------------------
 *
 * freeze.c
 *	  The emergency brake: masks for a person, a class, or everybody, from the
 *	  next value on.
 *
 * A freeze is a row of a register, which every session reads with the rest of
 * its policy, after a restart and on a standby as well.  A statement that runs
 * already reads no register, so the freeze is also in shared memory, where the
 * door looks at each value: one atomic read while nothing changes.
 *
 * A freeze works before its transaction commits, and is withdrawn if that
 * fails.  An end of a freeze works when its transaction has committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/shmem.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/freeze.h"
#include "sealed/seal.h"

#define MAX_FREEZES 256
#define WHAT_LEN 80				/* "person:" and a staff number or role name */

/* columns of courier_pii.freeze_register */
#define FREEZE_WHAT 1

typedef struct Freeze
{
	char		what[WHAT_LEN]; /* "all", "class:phone", "person:K1" */
} Freeze;

typedef struct FreezeTable
{
	pg_atomic_uint64 generation;
	int			count;
	Freeze		freezes[MAX_FREEZES];
} FreezeTable;

/* what holds for the person who acts */
typedef struct Held
{
	bool		all;			/* everybody, or the person */
	uint32		classes;		/* bit n = built-in class n */
	bool		custom;			/* a company's own classes, all of them */
} Held;

static FreezeTable *table = NULL;
static LWLock *table_lock = NULL;

static Held by_register;
static Held by_memory;
static uint64 seen_generation = 0;

/* what this transaction froze or released, to be put right when it ends */
typedef struct Change
{
	struct Change *next;
	char		what[WHAT_LEN];
	bool		release;
	SubTransactionId subid;
} Change;

static Change *changes = NULL;

PG_FUNCTION_INFO_V1(cpii_freeze);
PG_FUNCTION_INFO_V1(cpii_unfreeze);
CPII_EXPORT Datum cpii_freeze(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_unfreeze(PG_FUNCTION_ARGS);

/* ---- at the door ---- */

static void
hold(Held *held, const char *what, const CpiiActor *who)
{
	if (strcmp(what, "all") == 0)
		held->all = true;
	else if (strncmp(what, "person:", 7) == 0)
	{
		if (strcmp(what + 7, who->login_name) == 0 ||
			(who->proof != CPII_PROOF_NONE &&
			 strcmp(what + 7, who->staff_no) == 0))
			held->all = true;
	}
	else if (strncmp(what, "class:", 6) == 0)
	{
		for (int i = CPII_CLASS_FIRST; i <= CPII_CLASS_LAST; i++)
		{
			if (strcmp(what + 6, cpii_class_table[i].name) == 0)
			{
				held->classes |= (uint32) 1 << i;
				return;
			}
		}
		held->custom = true;
	}
}

static pg_noinline void
look_again(uint64 generation)
{
	const CpiiActor *who = cpii_session_actor();

	memset(&by_memory, 0, sizeof(by_memory));
	LWLockAcquire(table_lock, LW_SHARED);
	for (int i = 0; i < table->count; i++)
		hold(&by_memory, table->freezes[i].what, who);
	LWLockRelease(table_lock);
	seen_generation = generation;
}

bool
cpii_freeze_applies(int class_id)
{
	uint64		generation;

	if (table == NULL)
		return false;
	generation = pg_atomic_read_u64(&table->generation);
	if (unlikely(generation != seen_generation))
		look_again(generation);
	if (likely(!by_memory.all && !by_register.all &&
			   (by_memory.classes | by_register.classes) == 0 &&
			   !by_memory.custom && !by_register.custom))
		return false;
	if (by_memory.all || by_register.all)
		return true;
	if (cpii_class_is_builtin(class_id))
		return ((by_memory.classes | by_register.classes) >> class_id & 1) != 0;
	return by_memory.custom || by_register.custom;
}

void
cpii_freeze_load(const CpiiActor *who)
{
	Oid			relid = cpii_relation_oid("freeze_register", true);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;

	memset(&by_register, 0, sizeof(by_register));
	seen_generation = 0;
	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		d = heap_getattr(tup, FREEZE_WHAT, RelationGetDescr(rel), &isnull);

		hold(&by_register, TextDatumGetCString(d), who);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* ---- shared memory ---- */

static void
remember(const char *what)
{
	bool		full = false;
	int			i;

	LWLockAcquire(table_lock, LW_EXCLUSIVE);
	for (i = 0; i < table->count; i++)
		if (strcmp(table->freezes[i].what, what) == 0)
			break;
	if (i == MAX_FREEZES)
		full = true;
	else if (i == table->count)
		strlcpy(table->freezes[table->count++].what, what, WHAT_LEN);
	LWLockRelease(table_lock);
	if (full)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d freezes", MAX_FREEZES),
				 errhint("Freeze all, or release some.")));
	pg_atomic_fetch_add_u64(&table->generation, 1);
}

static void
forget(const char *what)
{
	LWLockAcquire(table_lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->count; i++)
	{
		if (strcmp(table->freezes[i].what, what) == 0)
		{
			table->freezes[i] = table->freezes[--table->count];
			break;
		}
	}
	LWLockRelease(table_lock);
	pg_atomic_fetch_add_u64(&table->generation, 1);
}

/*
 * A transaction (or the part of it from "from" on) ended.  Freezes stay when
 * it committed, releases are done then; the other way round when it failed.
 */
static void
end_changes(bool committed, SubTransactionId from)
{
	while (changes != NULL && changes->subid >= from)
	{
		Change	   *c = changes;

		changes = c->next;
		if (c->release == committed)
			forget(c->what);
		free(c);
	}
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (likely(changes == NULL))
		return;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		end_changes(event == XACT_EVENT_COMMIT, TopSubTransactionId);
	else if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has frozen or released"),
				 errhint("Use COMMIT.")));
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_changes(false, mySubid);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Change *c = changes; c != NULL && c->subid >= mySubid; c = c->next)
			c->subid = parentSubid;
	}
}

static void
note_change(const char *what, bool release)
{
	static bool registered = false;
	Change	   *c = malloc(sizeof(Change));

	/* few sessions ever freeze: the others need no callbacks */
	if (!registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
		registered = true;
	}
	if (c == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	strlcpy(c->what, what, WHAT_LEN);
	c->release = release;
	c->subid = GetCurrentSubTransactionId();
	c->next = changes;
	changes = c;
}

/* ---- functions ---- */

static bool
is_staff_no(const char *name)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];

	values[0] = CStringGetTextDatum(name);
	cpii_internal_execute("SELECT FROM courier_pii.staff_register s WHERE s.staff_no = $1",
						  1, types, values, NULL, true, 1);
	return SPI_processed > 0;
}

/*
 * "all", a class, or a person (staff number or login role); "class:" and
 * "person:" in front say which is meant.  SPI is connected.
 */
static char *
what_is(const char *name)
{
	char	   *result = NULL;

	if (strcmp(name, "all") == 0)
		result = pstrdup(name);
	else if (strncmp(name, "class:", 6) == 0)
	{
		(void) cpii_class_by_name_or_error(name + 6);
		result = pstrdup(name);
	}
	else if (strncmp(name, "person:", 7) != 0 && cpii_class_by_name(name) != 0)
		result = psprintf("class:%s", name);
	else
	{
		const char *person = strncmp(name, "person:", 7) == 0 ? name + 7 : name;

		if (is_staff_no(person) || OidIsValid(get_role_oid(person, true)))
			result = psprintf("person:%s", person);
	}
	if (result == NULL || strlen(result) >= WHAT_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing of that name can be frozen"),
				 errhint("Name a staff number, a login role, a data class, or \"all\".")));
	return result;
}

static void
record(const char *command, const char *what, const char *reason)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"what\": ");
	escape_json(&detail, what);
	if (reason != NULL)
	{
		appendStringInfoString(&detail, ", \"reason\": ");
		escape_json(&detail, reason);
	}
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_POLICY, command, "ok", detail.data);
}

static char *
checked_what(FunctionCallInfo fcinfo)
{
	cpii_require_duty("pii_security_admin");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null", "what")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* freeze(what, reason): taking away needs no approval; false: it was frozen */
Datum
cpii_freeze(PG_FUNCTION_ARGS)
{
	char	   *what = checked_what(fcinfo);
	char	   *reason = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			types[3] = {TEXTOID, TEXTOID, NAMEOID};
	Datum		values[3];
	char		nulls[3] = {' ', ' ', ' '};
	NameData	by;
	bool		fresh;

	SPI_connect();
	what = what_is(what);
	values[0] = CStringGetTextDatum(what);
	values[1] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[1] = reason ? ' ' : 'n';
	namestrcpy(&by, cpii_session_actor()->login_name);
	values[2] = NameGetDatum(&by);
	cpii_internal_execute("INSERT INTO courier_pii.freeze_register (what, reason, frozen_by)"
						  " VALUES ($1, $2, $3) ON CONFLICT (what) DO NOTHING",
						  3, types, values, nulls, false, 0);
	fresh = SPI_processed > 0;
	if (fresh)
	{
		note_change(what, false);
		remember(what);
		cpii_policy_changed();
	}
	record("freeze", what, reason);
	SPI_finish();
	PG_RETURN_BOOL(fresh);
}

/* unfreeze(what): gives back, so it needs a ticket once the duties are sealed */
Datum
cpii_unfreeze(PG_FUNCTION_ARGS)
{
	char	   *what = checked_what(fcinfo);
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	bool		was;

	SPI_connect();
	what = what_is(what);
	(void) cpii_require_ticket("policy", psprintf("unfreeze/%s", what), false);
	values[0] = CStringGetTextDatum(what);
	cpii_internal_execute("DELETE FROM courier_pii.freeze_register f WHERE f.what = $1",
						  1, types, values, NULL, false, 0);
	was = SPI_processed > 0;
	if (was)
	{
		note_change(what, true);
		cpii_policy_changed();
	}
	record("unfreeze", what, NULL);
	SPI_finish();
	PG_RETURN_BOOL(was);
}

/* ---- start ---- */

static Size
freeze_size(void)
{
	return sizeof(FreezeTable);
}

static void
freeze_shmem_init(void *area, bool found, LWLockPadded *locks)
{
	table = (FreezeTable *) area;
	table_lock = &locks[0].lock;
	if (found)
		return;
	pg_atomic_init_u64(&table->generation, 1);
}

void
cpii_freeze_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	cpii_shmem_register("courier_pii_freeze", freeze_size, freeze_shmem_init, 1);
}
