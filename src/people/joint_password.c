/*-------------------------------------------------------------------------
 *
 * joint_password.c
 *	  Maintenance accounts whose password has two halves, typed by two people.
 *
 * Each of the two sets a half in a session of their own; neither knows the
 * other.  The first half waits in shared memory, encrypted, for ten minutes.
 * With the second the server sets the password: first half, then second.  To
 * log in, both type their half, one after the other.
 *
 * Where presence is demanded, a session of the account runs statements only
 * while the second person has a session in which attend_joint() was called.
 * When that ends, the running statement is cancelled and further ones are
 * refused until the person is back: the session pauses.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/shmem.h"
#include "crypto/keyring.h"
#include "people/held.h"
#include "people/password.h"
#include "people/person.h"
#include "people/roster.h"
#include "people/roster_table.h"

CPII_EXPORT Datum cpii_create_joint_account(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_joint_custodians(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_joint_password(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_void_joint_password(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_attend_joint(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_leave_joint(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_create_joint_account);
PG_FUNCTION_INFO_V1(cpii_set_joint_custodians);
PG_FUNCTION_INFO_V1(cpii_set_joint_password);
PG_FUNCTION_INFO_V1(cpii_void_joint_password);
PG_FUNCTION_INFO_V1(cpii_attend_joint);
PG_FUNCTION_INFO_V1(cpii_leave_joint);

#define HALF_SECONDS 600
#define HALF_MAX 128
#define PLACES 128

/* somebody is there */
typedef struct Attendance
{
	int			pid;			/* 0: free */
	Oid			role;
} Attendance;

typedef struct Shared
{
	Attendance	places[PLACES];
} Shared;

static Shared *shared = NULL;
static LWLock *lock = NULL;
static bool attending = false;

/* a row of courier_pii.joint_account; lives as long as SPI */
typedef struct JointAccount
{
	Oid			role;
	char		role_text[16];
	char	   *name;
	char	   *custodians[2];
	char	   *state;
	int64		series;
} JointAccount;

/* ---- the register ---- */

static void
get_account(Oid role, JointAccount *account)
{
	const char *texts[1];

	account->role = role;
	account->name = cpii_role_name(role);
	snprintf(account->role_text, sizeof(account->role_text), "%u", role);
	texts[0] = account->role_text;
	if (cpii_person_run("SELECT j.first_staff_no, j.second_staff_no, j.state, j.series"
						" FROM courier_pii.joint_account j"
						" WHERE j.login_role = $1::pg_catalog.oid FOR UPDATE", 1, texts) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("role \"%s\" is not a joint account", account->name),
				 errhint("See the view courier_pii.joint_accounts.")));
	account->custodians[0] = cpii_result_text(0, 1);
	account->custodians[1] = cpii_result_text(0, 2);
	account->state = cpii_result_text(0, 3);
	account->series = cpii_result_int64(0, 4);
}

/* 1, 2, or 0: no custodian */
static int
half_of(const JointAccount *account, const char *staff_no)
{
	for (int i = 0; i < 2; i++)
		if (strcmp(account->custodians[i], staff_no) == 0)
			return i + 1;
	return 0;
}

/*
 * The account is in this state from now on, with the password that the role
 * has now.  A new series makes halves that wait worthless.
 */
static void
set_state(Oid role, const char *state, const char *why)
{
	char		role_text[16];
	const char *texts[3];

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = state;
	texts[2] = why;
	cpii_person_run("UPDATE courier_pii.joint_account j SET state = $2, series = j.series + 1,"
					" password_set_at = CASE WHEN $2 = 'ready' THEN pg_catalog.clock_timestamp() END,"
					" void_reason = $3,"
					" fingerprint = (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.rolpassword, 'UTF8')), 'hex')"
					" FROM pg_catalog.pg_authid r WHERE r.oid = j.login_role)"
					" WHERE j.login_role = $1::pg_catalog.oid", 3, texts);
	cpii_held_announce(role);
}

/* nobody logs in until both set new halves; who attended does so no more */
static void
take_away(Oid role, const char *state, const char *why)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES; i++)
		if (shared->places[i].role == role)
			shared->places[i].pid = 0;
	LWLockRelease(lock);
	cpii_held_forget(role);
	cpii_held_set_password(role, NULL, "joint password is void");
	cpii_held_set_login(role, false);
	set_state(role, state, why);
}

void
cpii_joint_person_left(const char *staff_no, const char *status)
{
	uint64		count;
	Oid		   *roles;

	count = cpii_person_run("SELECT j.login_role::pg_catalog.oid FROM courier_pii.joint_account j"
							" WHERE j.state <> 'void' AND $1 IN (j.first_staff_no, j.second_staff_no)",
							1, &staff_no);
	roles = palloc(Max(count, 1) * sizeof(Oid));
	for (uint64 i = 0; i < count; i++)
		roles[i] = cpii_result_oid(i, 1);
	for (uint64 i = 0; i < count; i++)
	{
		char	   *why = psprintf("custodian %s is %s", staff_no, status);

		take_away(roles[i], "void", why);
		cpii_held_event(roles[i], "joint_password_void", staff_no, NULL, why);
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("the joint password of role \"%s\" is void", cpii_role_name(roles[i])),
				 errhint("A security administrator has to call courier_pii.set_joint_custodians().")));
	}
}

/* ---- making ---- */

/* the two people that arguments name; SPI is connected */
static void
check_two(const char *first, const char *second)
{
	if (strcmp(first, second) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("custodians must be different people")));
	cpii_held_check_custodian(first);
	cpii_held_check_custodian(second);
}

Datum
cpii_create_joint_account(PG_FUNCTION_ARGS)
{
	Oid			role;
	char		role_text[16];
	const char *texts[6];

	cpii_require_duty("pii_security_admin");
	role = cpii_role_argument(fcinfo, 0);
	PreventCommandIfReadOnly("create_joint_account()");
	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = cpii_code_argument(fcinfo, 1, "first", CPII_STAFF_NO_LEN);
	texts[2] = cpii_code_argument(fcinfo, 2, "second", CPII_STAFF_NO_LEN);
	texts[3] = cpii_text_or_null(fcinfo, 3);
	texts[4] = PG_ARGISNULL(4) || PG_GETARG_BOOL(4) ? "true" : "false";
	texts[5] = cpii_session_actor()->login_name;
	SPI_connect();
	cpii_held_check_role(role);
	check_two(texts[1], texts[2]);
	cpii_person_run("INSERT INTO courier_pii.joint_account"
					" (login_role, first_staff_no, second_staff_no, purpose, presence, made_by)"
					" VALUES ($1::pg_catalog.oid, $2, $3, $4, $5::pg_catalog.bool, $6::pg_catalog.name)",
					6, texts);
	take_away(role, "incomplete", NULL);
	cpii_held_event(role, "create_joint_account", NULL, NULL,
					psprintf("custodians %s, %s", texts[1], texts[2]));
	SPI_finish();
	ereport(NOTICE,
			(errmsg("two people have to set their halves of the password"),
			 errhint("Each calls courier_pii.set_joint_password() in a session of their own.")));
	PG_RETURN_VOID();
}

Datum
cpii_set_joint_custodians(PG_FUNCTION_ARGS)
{
	Oid			role;
	JointAccount account;
	const char *texts[3];

	cpii_require_duty("pii_security_admin");
	role = cpii_role_argument(fcinfo, 0);
	PreventCommandIfReadOnly("set_joint_custodians()");
	texts[1] = cpii_code_argument(fcinfo, 1, "first", CPII_STAFF_NO_LEN);
	texts[2] = cpii_code_argument(fcinfo, 2, "second", CPII_STAFF_NO_LEN);
	SPI_connect();
	get_account(role, &account);
	check_two(texts[1], texts[2]);
	texts[0] = account.role_text;
	cpii_person_run("UPDATE courier_pii.joint_account SET first_staff_no = $2, second_staff_no = $3"
					" WHERE login_role = $1::pg_catalog.oid", 3, texts);
	take_away(role, "incomplete", NULL);
	cpii_held_event(role, "set_joint_custodians", NULL, NULL,
					psprintf("custodians %s, %s", texts[1], texts[2]));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- setting ---- */

/* both halves are there: first, then second */
static void
set_whole(const JointAccount *account, int number, const char *half,
		  const unsigned char *other, int other_len)
{
	char		whole[2 * HALF_MAX + 1];
	size_t		len = strlen(half);

	if (number == 1)
	{
		memcpy(whole, half, len);
		memcpy(whole + len, other, other_len);
	}
	else
	{
		memcpy(whole, other, other_len);
		memcpy(whole + other_len, half, len);
	}
	whole[len + other_len] = '\0';
	cpii_password_check_reuse(account->role, account->name, whole);
	cpii_held_set_password(account->role, whole, "both halves were set");
	cpii_wipe(whole, sizeof(whole));
	cpii_held_set_login(account->role, true);
	set_state(account->role, "ready", NULL);
}

/* returns whether the password is complete */
Datum
cpii_set_joint_password(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor;
	Oid			role;
	JointAccount account;
	unsigned char other[HELD_SECRET_MAX];
	char	   *half;
	int			number;
	int			len;

	cpii_password_scrub_call();
	actor = cpii_held_person();
	role = cpii_role_argument(fcinfo, 0);
	half = cpii_text_or_null(fcinfo, 1);
	if (half == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("half must not be null")));
	if (strlen(half) > HALF_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("half is longer than %d bytes", HALF_MAX)));
	/* the other's half is taken out of memory, which cannot be undone */
	PreventInTransactionBlock(true, "set_joint_password()");
	PreventCommandIfReadOnly("set_joint_password()");
	SPI_connect();
	get_account(role, &account);
	number = half_of(&account, actor->staff_no);
	if (number == 0)
		cpii_held_not_custodian(account.name, "set_joint_password");
	if (strcmp(account.state, "void") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the joint password of role \"%s\" is void", account.name),
				 errhint("A security administrator has to call courier_pii.set_joint_custodians().")));
	cpii_password_check_half(actor->login, account.name, half);
	len = cpii_held_take(role, account.series, 3 - number, other);
	if (len > 0 && len <= HALF_MAX)
	{
		set_whole(&account, number, half, other, len);
		cpii_wipe(other, sizeof(other));
		cpii_held_forget(role);
		cpii_held_event(role, "joint_password_set", NULL, NULL,
						psprintf("halves of %s, %s", account.custodians[0], account.custodians[1]));
	}
	else
	{
		cpii_held_put(role, account.series, number, (unsigned char *) half,
					  strlen(half), HALF_SECONDS);
		cpii_held_event(role, "joint_half_set", NULL, NULL, psprintf("half %d", number));
		ereport(NOTICE,
				(errmsg("the other person has ten minutes to set the other half"),
				 errhint("Until then the old password holds.")));
	}
	cpii_wipe(half, strlen(half));
	SPI_finish();
	PG_RETURN_BOOL(len > 0);
}

/* somebody else may know it, or it is not needed any more */
Datum
cpii_void_joint_password(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor;
	Oid			role;
	JointAccount account;
	char	   *note;

	cpii_require_preload();
	actor = cpii_session_actor();
	role = cpii_role_argument(fcinfo, 0);
	note = cpii_text_or_null(fcinfo, 1);
	PreventCommandIfReadOnly("void_joint_password()");
	SPI_connect();
	get_account(role, &account);
	if (actor->staff_no[0] == '\0' || half_of(&account, actor->staff_no) == 0)
		cpii_require_duty("pii_security_admin");
	take_away(role, "incomplete", note);
	cpii_held_event(role, "joint_password_void", NULL, NULL, note);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- the second person's presence ---- */

bool
cpii_joint_attended(Oid role)
{
	bool		found = false;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < PLACES && !found; i++)
		found = shared->places[i].pid != 0 && shared->places[i].role == role;
	LWLockRelease(lock);
	return found;
}

/* this session's person is gone; statements of roles without another stop */
static void
leave(int code, Datum arg)
{
	Oid			left[PLACES];
	int			n = 0;

	if (!attending)
		return;
	attending = false;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES; i++)
		if (shared->places[i].pid == MyProcPid)
		{
			left[n++] = shared->places[i].role;
			shared->places[i].pid = 0;
		}
	LWLockRelease(lock);
	for (int i = 0; i < n; i++)
		if (!cpii_joint_attended(left[i]))
		{
			/* a function can catch the cancellation, but gets no key then */
			cpii_keyring_recall();
			cpii_roster_cancel_statements(left[i]);
		}
}

static void
enter(Oid role)
{
	static bool registered = false;
	Attendance *place = NULL;

	if (!registered)
	{
		before_shmem_exit(leave, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES; i++)
	{
		Attendance *a = &shared->places[i];

		if (a->pid == MyProcPid && a->role == role)
		{
			place = a;
			break;
		}
		if (a->pid == 0 && place == NULL)
			place = a;
	}
	if (place != NULL)
	{
		place->pid = MyProcPid;
		place->role = role;
		attending = true;
	}
	LWLockRelease(lock);
	if (place == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many people attend joint accounts"),
				 errdetail("At most %d are possible.", PLACES)));
}

Datum
cpii_attend_joint(PG_FUNCTION_ARGS)
{
	const CpiiActor *actor = cpii_held_person();
	Oid			role = cpii_role_argument(fcinfo, 0);
	JointAccount account;

	cpii_session_require_spelled("attend_joint");
	PreventCommandIfReadOnly("attend_joint()");
	SPI_connect();
	get_account(role, &account);
	if (half_of(&account, actor->staff_no) != 2)
		cpii_held_not_custodian(account.name, "attend_joint");
	cpii_held_event(role, "attend_joint", NULL, NULL, NULL);
	SPI_finish();
	enter(role);
	PG_RETURN_VOID();
}

Datum
cpii_leave_joint(PG_FUNCTION_ARGS)
{
	cpii_require_preload();
	if (!attending)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session attends no joint account")));
	leave(0, (Datum) 0);
	cpii_audit_note(CPII_ACT_PASSWORD, "leave_joint", "ok", "{}");
	PG_RETURN_VOID();
}

void
cpii_joint_gate(Oid role)
{
	if (cpii_joint_attended(role))
		return;
	cpii_audit_note(CPII_ACT_DENIED, "joint_session", "denied",
					"{\"reason\": \"second person is not present\"}");
	ereport(ERROR,
			(errcode(CPII_ERRCODE_DUTY_MISSING),
			 errmsg("the second person is not present"),
			 errdetail("A session of a joint account works while both custodians are there."),
			 errhint("The second custodian calls courier_pii.attend_joint() and stays connected.")));
}

/* ---- shared memory ---- */

void
cpii_joint_init(void)
{
	cpii_shmem_register_zeros("courier_pii_joint", (void **) &shared, sizeof(Shared), &lock);
}
