/*-------------------------------------------------------------------------
 *
 * key_command.c
 *	  What administrators do with keys: look, roll, choose, destroy, unseal.
 *
 * The key agent does the work and is asked through the keyring; here stand the
 * checks of duty, ticket and use, and the records.  Changes of keys do not
 * roll back with the transaction, so each is recorded when it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "audit/worker.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "crypto/keyring.h"
#include "policy/column_job.h"
#include "policy/key_command.h"
#include "policy/protect_group.h"
#include "sealed/seal.h"

#define DUTY "pii_security_admin"
#define ROLL_CHECK_MS 60000

PG_FUNCTION_INFO_V1(cpii_key_status);
PG_FUNCTION_INFO_V1(cpii_new_epoch);
PG_FUNCTION_INFO_V1(cpii_set_suite);
PG_FUNCTION_INFO_V1(cpii_set_search_scope);
PG_FUNCTION_INFO_V1(cpii_destroy_epoch);
PG_FUNCTION_INFO_V1(cpii_unseal);
PG_FUNCTION_INFO_V1(cpii_change_master_key);
PG_FUNCTION_INFO_V1(cpii_epoch_of);
CPII_EXPORT Datum cpii_key_status(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_new_epoch(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_suite(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_search_scope(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_destroy_epoch(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_unseal(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_change_master_key(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_epoch_of(PG_FUNCTION_ARGS);

/* ---- view key_status ---- */

static void
status_row(ReturnSetInfo *rsinfo, int class_id, CpiiEpochEntry *entry,
		   const char *reason)
{
	Datum		values[7];
	bool		nulls[7] = {0};
	uint32		state = entry ? pg_atomic_read_u32(&entry->state) : CPII_EPOCH_ABSENT;
	const char *name = "pending";
	const char *check = reason ? reason : "ok";

	if (entry != NULL)
		switch ((CpiiEpochState) state)
		{
			case CPII_EPOCH_ABSENT:
				name = "missing";
				check = "not in the key store";
				break;
			case CPII_EPOCH_ACTIVE:
				name = reason ? "sealed" : "active";
				break;
			case CPII_EPOCH_OPEN_ONLY:
				name = reason ? "sealed" : "decrypt-only";
				break;
			case CPII_EPOCH_DAMAGED:
				name = "damaged";
				check = "file of the key store is damaged";
				break;
			case CPII_EPOCH_DESTROYED:
				name = "destroyed";
				check = "destroyed";
				break;
		}
	else if (reason != NULL)
		name = "sealed";
	if (reason != NULL && (entry == NULL || state != CPII_EPOCH_DESTROYED) &&
		pg_atomic_read_u32(&cpii_key_table->store_lost) != 0)
	{
		name = "missing";
		check = reason;
	}
	values[0] = CStringGetTextDatum(cpii_class_name(class_id));
	values[1] = Int32GetDatum(entry ? entry->epoch : 1);
	values[2] = CStringGetTextDatum(name);
	nulls[3] = entry != NULL && entry->suite == 0;
	values[3] = nulls[3] ? (Datum) 0 :
		CStringGetTextDatum(cpii_suite_name(entry ? entry->suite : CPII_SUITE_AES_256_GCM) ?
							cpii_suite_name(entry ? entry->suite : CPII_SUITE_AES_256_GCM) :
							"unknown");
	nulls[4] = entry == NULL || entry->created_at == 0;
	values[4] = nulls[4] ? (Datum) 0 : TimestampTzGetDatum(entry->created_at);
	values[5] = Int64GetDatum(entry ? (int64) pg_atomic_read_u64(&entry->taken) : 0);
	values[6] = CStringGetTextDatum(check);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* rows of view key_status: every epoch, and the classes that have none yet */
Datum
cpii_key_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *reason;
	uint32		n;

	cpii_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	reason = cpii_keyring_unavailable();
	n = pg_atomic_read_u32(&cpii_key_table->nepochs);
	pg_read_barrier();
	for (int class_id = CPII_CLASS_FIRST; class_id <= CPII_CLASS_LAST_SEALED; class_id++)
		if (cpii_key_class_find(class_id) == NULL)
			status_row(rsinfo, class_id, NULL, reason);
	for (uint32 i = 0; i < n; i++)
		if (cpii_key_table->epochs[i].class_id != CPII_CLASS_LITERAL)
			status_row(rsinfo, cpii_key_table->epochs[i].class_id,
					   &cpii_key_table->epochs[i], reason);
	return (Datum) 0;
}

/* ---- new epochs ---- */

static int
class_argument(const text *name)
{
	int			class_id = cpii_class_by_name_or_error(text_to_cstring(name));

	if (class_id > CPII_CLASS_LAST_SEALED && class_id < CPII_CLASS_FIRST_CUSTOM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of class \"%s\" are not sealed", cpii_class_name(class_id))));
	return class_id;
}

static void
note(const char *command, const char *outcome, int class_id, int epoch,
	 const char *more)
{
	char	   *detail = psprintf("{\"class\": \"%s\", \"epoch\": %d%s}",
								  cpii_class_name(class_id), epoch, more);

	cpii_audit_note(CPII_ACT_KEY, command, outcome, detail);
}

/*
 * A new epoch for each class that has an active one which is due (NULL: all),
 * recorded with what began it.
 */
static void
begin_epochs(const char *by, bool (*is_due) (CpiiEpochEntry *entry))
{
	uint32		n = pg_atomic_read_u32(&cpii_key_table->nclasses);

	for (uint32 i = 0; i < n; i++)
	{
		CpiiKeyClass *class = &cpii_key_table->classes[i];
		CpiiEpochEntry *entry = cpii_epoch_current(class);

		if (class->class_id == CPII_CLASS_LITERAL || entry == NULL ||
			(is_due != NULL && !is_due(entry)))
			continue;
		note("new_epoch", "ok", class->class_id,
			 cpii_keyring_new_epoch(class->class_id, 0, -1),
			 psprintf(", \"by\": \"%s\"", by));
	}
}

Datum
cpii_new_epoch(PG_FUNCTION_ARGS)
{
	int			class_id;
	int			epoch;

	cpii_require_duty(DUTY);
	class_id = class_argument(PG_GETARG_TEXT_PP(0));
	epoch = cpii_keyring_new_epoch(class_id, 0, -1);
	note("new_epoch", "ok", class_id, epoch, "");
	PG_RETURN_INT32(epoch);
}

Datum
cpii_set_suite(PG_FUNCTION_ARGS)
{
	int			class_id;
	char	   *name;
	int			suite;
	int			epoch;
	CpiiEpochEntry *now;

	cpii_require_duty(DUTY);
	class_id = class_argument(PG_GETARG_TEXT_PP(0));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	suite = cpii_suite_by_name(name);
	if (suite == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized encryption suite \"%s\"", name),
				 errhint("Valid suites are AES-256-GCM, SM4-CTR-HMAC-SM3, SM4-GCM.")));
	if (!cpii_suite_available((CpiiSuite) suite))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("encryption suite %s is not available", cpii_suite_name(suite)),
				 errdetail("This OpenSSL does not offer it.")));
	epoch = cpii_keyring_current_epoch(class_id);
	now = epoch != 0 ? cpii_epoch_find(class_id, epoch) : NULL;
	if (now == NULL || now->suite != suite)
		epoch = cpii_keyring_new_epoch(class_id, suite, -1);
	note("set_suite", "ok", class_id, epoch,
		 psprintf(", \"suite\": \"%s\"", cpii_suite_name(suite)));
	PG_RETURN_INT32(epoch);
}

/* tags of two epochs differ: a reference to an older value would find nothing */
static void
refuse_foreign_keys(int class_id)
{
	char	   *keys;

	SPI_connect();
	keys = cpii_keys_of_class(class_id);
	if (keys != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("foreign keys compare values of class \"%s\" across epochs",
						cpii_class_name(class_id)),
				 errdetail("Foreign keys: %s.", keys),
				 errhint("Drop them first.")));
	SPI_finish();
}

Datum
cpii_set_search_scope(PG_FUNCTION_ARGS)
{
	int			class_id;
	char	   *name;
	int			scope;
	int			epoch;
	CpiiEpochEntry *now;

	cpii_require_duty(DUTY);
	class_id = class_argument(PG_GETARG_TEXT_PP(0));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (pg_strcasecmp(name, "class") == 0)
		scope = CPII_TAGS_CLASS;
	else if (pg_strcasecmp(name, "epoch") == 0)
		scope = CPII_TAGS_EPOCH;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized search scope \"%s\"", name),
				 errhint("Valid scopes are class and epoch.")));
	epoch = cpii_keyring_current_epoch(class_id);
	now = epoch != 0 ? cpii_epoch_find(class_id, epoch) : NULL;
	if (now == NULL || now->tag_scope != scope)
	{
		if (scope == CPII_TAGS_EPOCH)
			refuse_foreign_keys(class_id);
		epoch = cpii_keyring_new_epoch(class_id, 0, scope);
		/* plans hold what a search looked for */
		CacheInvalidateRelcacheAll();
	}
	note("set_search_scope", "ok", class_id, epoch, psprintf(", \"scope\": \"%s\"", name));
	PG_RETURN_INT32(epoch);
}

/* ---- destruction ---- */

/* epoch in the header of a value, which needs no key; 0 for other things */
Datum
cpii_epoch_of(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_P_SLICE(0, 0, CPII_ENVELOPE_HEADER_LEN);
	unsigned char *p = (unsigned char *) VARDATA_ANY(value);

	if (VARSIZE_ANY_EXHDR(value) < CPII_ENVELOPE_HEADER_LEN)
		PG_RETURN_INT32(0);
	PG_RETURN_INT32(p[4] << 8 | p[5]);
}

/*
 * Name of a column that has a value of the epoch, or NULL.  The tables are
 * locked against writers until the end of the transaction, so that none of
 * those that are at work can bring one in unseen.
 */
static char *
column_in_need(int class_id, int epoch)
{
	Oid			argtypes[2] = {INT4OID, OIDOID};
	Datum		args[2];
	char	   *found = NULL;
	uint64		n;
	char	  **names;
	char	  **columns;
	Oid		   *relids;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	args[0] = Int32GetDatum(class_id);
	args[1] = ObjectIdGetDatum(cpii_sealed_type());
	cpii_internal_execute("SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(a.attname), c.oid"
						  " FROM pg_catalog.pg_attribute a"
						  " JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid"
						  " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
						  " JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid"
						  " WHERE c.relkind IN ('r', 'm') AND NOT a.attisdropped AND a.attnum OPERATOR(pg_catalog.>) 0"
						  " AND ((t.oid OPERATOR(pg_catalog.=) $2 AND a.atttypmod OPERATOR(pg_catalog.=) $1)"
						  " OR (t.typbasetype OPERATOR(pg_catalog.=) $2 AND t.typtypmod OPERATOR(pg_catalog.=) $1))"
						  " ORDER BY 1, a.attnum",
						  2, argtypes, args, NULL, true, 0);
	n = SPI_processed;
	names = palloc(sizeof(char *) * Max(n, 1));
	columns = palloc(sizeof(char *) * Max(n, 1));
	relids = palloc(sizeof(Oid) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		names[i] = cpii_result_text(i, 1);
		columns[i] = cpii_result_text(i, 2);
		relids[i] = cpii_result_oid(i, 3);
	}
	args[0] = Int32GetDatum(epoch);
	for (uint64 i = 0; i < n && found == NULL; i++)
	{
		cpii_internal_execute(psprintf("LOCK TABLE ONLY %s IN SHARE MODE", names[i]),
							  0, NULL, NULL, NULL, false, 0);
		if (cpii_table_read(relids[i],
							psprintf("SELECT 1 FROM ONLY %s"
									 " WHERE courier_pii.sealed_epoch(%s::courier_pii.sealed) OPERATOR(pg_catalog.=) $1 LIMIT 1",
									 names[i], columns[i]),
							1, argtypes, args, false, 1) > 0)
			found = MemoryContextStrdup(caller, psprintf("%s.%s", names[i], columns[i]));
	}
	SPI_finish();
	return found;
}

Datum
cpii_destroy_epoch(PG_FUNCTION_ARGS)
{
	int			class_id;
	int			epoch = PG_GETARG_INT32(1);
	bool		force = PG_GETARG_BOOL(2);
	CpiiEpochState state;
	int64		ticket;
	char	   *more;

	cpii_require_duty(DUTY);
	class_id = class_argument(PG_GETARG_TEXT_PP(0));
	state = cpii_keyring_epoch_state(class_id, epoch);
	if (state == CPII_EPOCH_ABSENT)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("class \"%s\" has no epoch %d", cpii_class_name(class_id), epoch)));
	if (state == CPII_EPOCH_DESTROYED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("epoch %d of class \"%s\" is destroyed already", epoch,
						cpii_class_name(class_id))));
	if (!force)
	{
		char	   *column;

		if (state == CPII_EPOCH_ACTIVE)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("epoch %d of class \"%s\" is the active one", epoch,
							cpii_class_name(class_id)),
					 errhint("Call courier_pii.new_epoch() first.")));
		column = column_in_need(class_id, epoch);
		if (column != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("epoch %d of class \"%s\" is needed by stored values", epoch,
							cpii_class_name(class_id)),
					 errdetail("Column %s has values of this epoch.", column),
					 errhint("Reseal or delete them, or use force => true to lose them.")));
	}
	ticket = cpii_require_ticket("key_destroy",
								 psprintf("%s/%d%s", cpii_class_name(class_id), epoch,
										  force ? "/force" : ""), false);
	more = psprintf(", \"force\": %s, \"ticket\": " INT64_FORMAT,
					force ? "true" : "false", ticket);
	/* the record comes first: what follows cannot be taken back */
	note("destroy_epoch", "ok", class_id, epoch, more);
	PG_TRY();
	{
		cpii_keyring_destroy_epoch(class_id, epoch);
	}
	PG_CATCH();
	{
		note("destroy_epoch", "error", class_id, epoch, more);
		PG_RE_THROW();
	}
	PG_END_TRY();
	CacheInvalidateRelcacheAll();
	PG_RETURN_VOID();
}

/* ---- custodians ---- */

Datum
cpii_unseal(PG_FUNCTION_ARGS)
{
	text	   *share = PG_GETARG_TEXT_PP(0);
	int			missing;

	cpii_require_preload();
	/* nobody may read the share in pg_stat_activity */
	cpii_report_activity("SELECT courier_pii.unseal('...')");
	PG_TRY();
	{
		missing = cpii_keyring_unseal(VARDATA_ANY(share), VARSIZE_ANY_EXHDR(share));
	}
	PG_CATCH();
	{
		cpii_audit_note(CPII_ACT_KEY, "unseal", "denied", "{}");
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_audit_note(CPII_ACT_KEY, "unseal", "ok",
					psprintf("{\"shares_missing\": %d}", missing));
	PG_RETURN_INT32(missing);
}

/* ---- another master key ---- */

/* change_master_key(share): how many shares are still missing */
Datum
cpii_change_master_key(PG_FUNCTION_ARGS)
{
	text	   *share = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	int64		ticket = 0;
	int			missing;

	cpii_require_preload();
	/* nobody may read the share in pg_stat_activity */
	if (share != NULL)
		cpii_report_activity("SELECT courier_pii.change_master_key('...')");
	else
	{
		/* with shares, as many custodians as it takes agree */
		cpii_require_duty(DUTY);
		ticket = cpii_require_ticket("policy", "master_key", false);
	}
	PG_TRY();
	{
		missing = cpii_keyring_change_master(share ? VARDATA_ANY(share) : NULL,
											 share ? VARSIZE_ANY_EXHDR(share) : 0);
	}
	PG_CATCH();
	{
		cpii_audit_note(CPII_ACT_KEY, "change_master_key", "denied", "{}");
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_audit_note(CPII_ACT_KEY, "change_master_key", "ok",
					psprintf("{\"shares_missing\": %d, \"ticket\": " INT64_FORMAT "}",
							 missing, ticket));
	if (missing == 0)
	{
		/* nothing new is sealed with what was derived of the old key */
		begin_epochs("change_master_key", NULL);
		if (share == NULL)
			ereport(NOTICE,
					(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
					 errmsg("the master key was changed"),
					 errhint("Put the new key in the old one's place now, and copy the key store.")));
	}
	PG_RETURN_INT32(missing);
}

/* ---- the monthly roll ---- */

/* months of the calendar (UTC) between two moments */
static int
months_between(TimestampTz from, TimestampTz to)
{
	pg_time_t	a = timestamptz_to_time_t(from);
	pg_time_t	b = timestamptz_to_time_t(to);
	struct pg_tm am = *pg_gmtime(&a);
	struct pg_tm bm = *pg_gmtime(&b);

	return (bm.tm_year - am.tm_year) * 12 + bm.tm_mon - am.tm_mon;
}

static bool
is_of_the_past(CpiiEpochEntry *entry)
{
	return pg_atomic_read_u64(&entry->taken) != 0 &&
		months_between(entry->created_at, GetCurrentTimestamp()) >= cpii_key_epoch_months;
}

/* a new epoch for each class whose active one is old and was used */
static void
roll_epochs(void)
{
	if (cpii_key_epoch_months != 0 && cpii_keyring_unavailable() == NULL)
		begin_epochs("calendar", is_of_the_past);
}

void
cpii_key_command_init(void)
{
	cpii_worker_register_task(roll_epochs, ROLL_CHECK_MS);
}
