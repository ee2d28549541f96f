/*-------------------------------------------------------------------------
 *
 * seal_duties.c
 *	  The end of set-up: from then on superusers have no powers of their own.
 *
 * Shared memory answers whether the duties are sealed.  A file in the data
 * directory makes the answer known before the first connection, the register
 * makes it known to standbys and to restored databases.  The file says
 * "pending" before the commit of the sealing: a server that crashes in between
 * counts as sealed until its worker has read the register.
 *
 * A mark beside the keys, outside of the data directory, tells that the row and
 * the file were there: without the library both can be removed.  Then the
 * server counts as sealed, and says so in its log, audit trail and posture.
 *
 * Nothing here takes the seal away.  A register that was restored from a dump
 * of another server counts from the next start, so that the restore itself can
 * be finished.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "audit/worker.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/shmem.h"
#include "base/snapshot.h"
#include "base/ticket.h"
#include "crypto/keystore.h"
#include "people/duty.h"
#include "people/person.h"

CPII_EXPORT Datum cpii_seal_duties(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_duties_are_sealed(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_duty_seal_removed(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_seal_duties);
PG_FUNCTION_INFO_V1(cpii_duties_are_sealed);
PG_FUNCTION_INFO_V1(cpii_duty_seal_removed);

#define DUTIES_FILE "courier_pii_duties"
#define DUTIES_FILE_VERSION 1
#define FOLLOW_MS 5000

#define DUTIES_OPEN 0
#define DUTIES_PENDING 1
#define DUTIES_SEALED 2

typedef struct DutiesShared
{
	pg_atomic_uint32 state;
	pg_atomic_uint32 followed;	/* the register was read since the start */
	pg_atomic_uint32 restored;	/* the register was filled from a dump since then */
	pg_atomic_uint32 removed;	/* the seal was removed outside the library */
} DutiesShared;

static DutiesShared *shared = NULL;
static bool sealing = false;	/* this transaction seals */
static bool file_pending = false;

/* ---- the answer ---- */

static bool
sealed(void)
{
	return shared != NULL &&
		pg_atomic_read_u32(&shared->state) != DUTIES_OPEN;
}

static bool
write_state(uint32 state)
{
	if (cpii_snapshot_write(DUTIES_FILE, DUTIES_FILE_VERSION, &state,
							sizeof(state), 1))
		return true;
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not write file \"%s\": %m", DUTIES_FILE)));
	return false;
}

static void
load_state(void)
{
	uint32		count;
	const char *problem;
	uint32	   *state = cpii_snapshot_read(DUTIES_FILE, DUTIES_FILE_VERSION,
										   sizeof(uint32), &count, &problem);

	if (problem != NULL)
	{
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is ignored: %s", DUTIES_FILE, problem),
				 errdetail("The duties count as sealed until the background worker has read the register.")));
		pg_atomic_write_u32(&shared->state, DUTIES_PENDING);
	}
	else if (state != NULL && count == 1)
		pg_atomic_write_u32(&shared->state, Min(*state, DUTIES_SEALED));
	free(state);
}

/* ---- the mark beside the keys ---- */

static bool
mark_path(char *path)
{
	const char *directory = cpii_keystore_directory();

	if (directory == NULL)
		return false;
	snprintf(path, MAXPGPATH, "%s/duties-" UINT64_FORMAT, directory,
			 GetSystemIdentifier());
	return true;
}

static bool
mark_exists(void)
{
	char		path[MAXPGPATH];
	struct stat st;

	return mark_path(path) && stat(path, &st) == 0;
}

/* once is enough; a key store that cannot be written is not this file's matter */
static void
write_mark(void)
{
	char		path[MAXPGPATH];
	int			fd;

	if (RecoveryInProgress() || !mark_path(path))
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd >= 0)
	{
		(void) fsync(fd);
		close(fd);
	}
	else if (errno != EEXIST)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
}

/* ---- following the register ---- */

static void
tell_removed(const char *what)
{
	pg_atomic_write_u32(&shared->removed, 1);
	ereport(LOG,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("the seal of the duties was removed outside of the library"),
			 errdetail("%s  The duties count as sealed.", what),
			 errhint("See the audit trail for who had access, and restore register \"duty_seal\" from a backup.")));
	cpii_audit_note(CPII_ACT_SYSTEM, "duty_seal", "error",
					cpii_json_pairs("problem", what, NULL));
}

void
cpii_duties_restored(void)
{
	if (shared != NULL)
		pg_atomic_write_u32(&shared->restored, 1);
}

void
cpii_duties_follow(void)
{
	bool		first = pg_atomic_exchange_u32(&shared->followed, 1) == 0;
	Oid			types[2] = {TEXTOID, BOOLOID};
	Datum		values[2];
	uint32		state = pg_atomic_read_u32(&shared->state);
	bool		found;

	if ((state == DUTIES_SEALED && !first) ||
		!OidIsValid(cpii_relation_oid("duty_seal", true)))
		return;
	values[0] = CStringGetTextDatum(psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	/* of another server: before pg_upgrade, or restored at an earlier time */
	values[1] = BoolGetDatum(pg_atomic_read_u32(&shared->restored) == 0);
	SPI_connect();
	cpii_internal_execute("SELECT 1 FROM courier_pii.duty_seal s"
						  " WHERE $2 OR s.server = $1 LIMIT 1",
						  2, types, values, NULL, true, 0);
	found = SPI_processed > 0;
	SPI_finish();
	if (found)
	{
		pg_atomic_write_u32(&shared->state, DUTIES_SEALED);
		if (state != DUTIES_SEALED)
			(void) write_state(DUTIES_SEALED);
		write_mark();
	}
	else if (state == DUTIES_SEALED)
		tell_removed("The register has no row, but a file of the data directory.");
	else if (mark_exists())
	{
		pg_atomic_write_u32(&shared->state, DUTIES_SEALED);
		(void) write_state(DUTIES_SEALED);
		tell_removed("Neither the register nor the data directory knows the seal; the key store does.");
	}
	else if (state == DUTIES_PENDING)
	{
		pg_atomic_write_u32(&shared->state, DUTIES_OPEN);
		(void) write_state(DUTIES_OPEN);
	}
}

/* ---- sealing ---- */

static void
xact_callback(XactEvent event, void *arg)
{
	if (!sealing)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			sealing = false;
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that seals the duties")));
			break;
		case XACT_EVENT_PRE_COMMIT:
			if (!write_state(DUTIES_PENDING))
				ereport(ERROR,
						(errcode(ERRCODE_IO_ERROR),
						 errmsg("could not write file \"%s\"", DUTIES_FILE)));
			file_pending = true;
			break;
		case XACT_EVENT_COMMIT:
			pg_atomic_write_u32(&shared->state, DUTIES_SEALED);
			(void) write_state(DUTIES_SEALED);
			write_mark();
			sealing = file_pending = false;
			break;
		case XACT_EVENT_ABORT:
			if (file_pending && pg_atomic_read_u32(&shared->state) == DUTIES_OPEN)
				(void) write_state(DUTIES_OPEN);
			sealing = file_pending = false;
			break;
		default:
			break;
	}
}

#define HOLDERS \
	"WITH RECURSIVE duty (name) AS (VALUES ('pii_security_admin')," \
	" ('pii_auditor'), ('pii_account_admin'))," \
	" member (duty, oid) AS (SELECT d.name, r.oid FROM duty d" \
	" JOIN pg_catalog.pg_roles r ON r.rolname = d.name" \
	" UNION SELECT b.duty, m.member FROM member b" \
	" JOIN pg_catalog.pg_auth_members m ON m.roleid = b.oid)," \
	" holder (duty, oid, staff_no) AS (SELECT b.duty, b.oid, s.staff_no FROM member b" \
	" JOIN pg_catalog.pg_roles r ON r.oid = b.oid AND r.rolcanlogin" \
	" JOIN courier_pii.account_register a ON a.login_role::pg_catalog.oid = b.oid" \
	" JOIN courier_pii.staff_register s ON s.staff_no = a.staff_no" \
	" AND s.status = 'active')"

static void
not_ready(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("duties cannot be sealed"),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* SPI is connected */
static void
check_holders(void)
{
	if (cpii_person_run(HOLDERS " SELECT pg_catalog.string_agg(d.name, ', ' ORDER BY d.name) FROM duty d"
						" WHERE NOT EXISTS (SELECT FROM holder h WHERE h.duty = d.name)"
						" HAVING pg_catalog.count(*) > 0", 0, NULL) > 0)
		not_ready(psprintf("No active person of the staff register holds: %s.",
						   cpii_result_text(0, 1)),
				  "Enter the persons with courier_pii.hire() and appoint them with courier_pii.appoint().");
	if (cpii_person_run(HOLDERS " SELECT h.staff_no FROM holder h GROUP BY h.staff_no"
						" HAVING pg_catalog.count(DISTINCT h.duty) > 1 LIMIT 1",
						0, NULL) > 0)
		not_ready(psprintf("Person \"%s\" holds several duties.", cpii_result_text(0, 1)),
				  "Appoint another person.");
	if (cpii_person_run(HOLDERS " SELECT r.rolname FROM member b"
						" JOIN pg_catalog.pg_roles r ON r.oid = b.oid WHERE r.rolsuper"
						" UNION ALL SELECT r.rolname FROM holder h"
						" JOIN courier_pii.account_register a ON a.staff_no = h.staff_no"
						" JOIN pg_catalog.pg_roles r ON r.oid = a.login_role::pg_catalog.oid"
						" WHERE r.rolsuper LIMIT 1", 0, NULL) > 0)
		not_ready(psprintf("Superuser \"%s\" holds a duty.", cpii_result_text(0, 1)),
				  "Give the duty to another person.");
	if (cpii_person_run(HOLDERS " SELECT 1 FROM holder h WHERE h.duty = 'pii_security_admin'"
						" GROUP BY h.duty HAVING pg_catalog.count(DISTINCT h.staff_no) < 2",
						0, NULL) > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("there is only one security administrator"),
				 errdetail("Nobody can approve what this person asks for."),
				 errhint("Appoint a second one.")));
}

Datum
cpii_seal_duties(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	const CpiiActor *actor;
	const char *texts[3];

	cpii_require_duty("pii_security_admin");
	if (shared == NULL || RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("duties cannot be sealed on this server")));
	if (sealed() || sealing)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("duties are sealed already")));
	if (GetCurrentTransactionNestLevel() > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("duties cannot be sealed inside a subtransaction")));
	if (!registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		registered = true;
	}
	actor = cpii_session_actor();
	texts[0] = actor->login_name;
	texts[1] = actor->staff_no[0] ? actor->staff_no : NULL;
	texts[2] = psprintf(UINT64_FORMAT, GetSystemIdentifier());
	SPI_connect();
	/* nobody gets or loses a duty meanwhile */
	cpii_person_run("LOCK TABLE pg_catalog.pg_auth_members IN SHARE ROW EXCLUSIVE MODE",
					0, NULL);
	/* somebody else was faster, and had the lock */
	if (sealed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("duties are sealed already")));
	check_holders();
	cpii_person_run(HOLDERS " INSERT INTO courier_pii.duty_seal"
					" (sealed_by, sealed_by_staff_no, server, holders)"
					" SELECT $1, $2, $3, (SELECT pg_catalog.jsonb_agg(DISTINCT"
					" pg_catalog.jsonb_build_object('duty', h.duty, 'staff_no', h.staff_no,"
					" 'login_role', pg_catalog.pg_get_userbyid(h.oid))) FROM holder h)",
					3, texts);
	sealing = true;
	cpii_audit_note(CPII_ACT_POLICY, "seal_duties", "ok", "{}");
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
cpii_duties_are_sealed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sealed());
}

Datum
cpii_duty_seal_removed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(shared != NULL && pg_atomic_read_u32(&shared->removed) != 0);
}

/* ---- shared memory ---- */

static Size
shared_size(void)
{
	return sizeof(DutiesShared);
}

static void
shared_init(void *area, bool found, LWLockPadded *locks)
{
	shared = area;
	if (found)
		return;
	pg_atomic_init_u32(&shared->state, DUTIES_OPEN);
	pg_atomic_init_u32(&shared->followed, 0);
	pg_atomic_init_u32(&shared->restored, 0);
	pg_atomic_init_u32(&shared->removed, 0);
	load_state();
	/* nothing of the first seconds is done by somebody who removed the file */
	if (pg_atomic_read_u32(&shared->state) == DUTIES_OPEN && mark_exists())
		pg_atomic_write_u32(&shared->state, DUTIES_PENDING);
}

void
cpii_duties_init(void)
{
	cpii_shmem_register("courier_pii_duties", shared_size, shared_init, 0);
	cpii_duties_sealed_hook = sealed;
	cpii_worker_register_task(cpii_duties_follow, FOLLOW_MS);
}
