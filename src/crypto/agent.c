/*-------------------------------------------------------------------------
 *
 * agent.c
 *	  The key agent: the one process that knows the master key.
 *
 * A background worker without a database, there from the start of the server
 * (also on a standby).  It fetches the master key from its source, keeps it in
 * locked memory (vault.c), and gives derived keys to processes that ask
 * (channel.c) if the roster does not speak against their account.
 *
 * When it ends, the postmaster starts another; processes keep the keys that
 * they have, and wait a moment for others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/background.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/settings.h"
#include "crypto/agent.h"
#include "crypto/agent_watch.h"
#include "crypto/custody.h"
#include "crypto/keyring.h"
#include "crypto/locked.h"
#include "crypto/store_watch.h"
#include "crypto/vault.h"

#define RESTART_SECONDS 1
/* how soon a key store that is gone, or back, is noticed when nobody asks */
#define IDLE_MS 5000
/* while something is missing that may come by itself */
#define SEALED_MS 500

static bool source_asked = false;
static TimestampTz tried_at = 0;
/* a key store is not made during recovery */
static bool tried_in_recovery = false;

void		(*cpii_agent_unsealed_hook) (const unsigned char audit_key[CPII_KEY_LEN]) = NULL;

CPII_EXPORT void cpii_agent_main(Datum arg);

static void
set_state(CpiiAgentState state)
{
	pg_atomic_write_u32(&cpii_key_table->agent_state, state);
}

static void
call_unsealed_hook(void)
{
	unsigned char key[CPII_KEY_LEN];

	if (cpii_agent_unsealed_hook != NULL &&
		cpii_vault_audit_key(key) == CPII_ANSWER_OK)
		cpii_agent_unsealed_hook(key);
	cpii_wipe(key, sizeof(key));
}

/*
 * The key was not the one of the store, and is forgotten.  After a change of
 * the master key the new one may still be in the place for the next one.
 */
static bool
try_next(void)
{
	const char *detail = NULL;
	const char *hint = NULL;

	if (cpii_vault_has_master() ||
		!cpii_custody_master_key(true, cpii_vault_master(), &detail, &hint))
		return false;
	cpii_vault_set_master();
	if (!cpii_vault_verify(&detail, &hint))
		return false;
	ereport(LOG,
			(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
			 errmsg("courier_pii: the master key was changed, and the new one is not in the old one's place yet")));
	return true;
}

/*
 * Try to become ready: fetch the master key if it is not there, verify it.
 * "again" asks a source that was asked before, too.
 */
static void
try_unseal(bool again)
{
	const char *detail = NULL;
	const char *hint = NULL;

	if (cpii_vault_ready())
		return;
	tried_at = GetCurrentTimestamp();
	tried_in_recovery = RecoveryInProgress();
	if (!cpii_vault_has_master())
	{
		if (source_asked && !again && !cpii_custody_repeatable())
			return;
		source_asked = true;
		if (cpii_custody_master_key(false, cpii_vault_master(), &detail, &hint))
			cpii_vault_set_master();
	}
	if (cpii_vault_has_master() &&
		(cpii_vault_verify(&detail, &hint) || try_next()))
	{
		cpii_vault_read_store();
		call_unsealed_hook();
		cpii_key_table_reason(NULL, NULL);
		set_state(CPII_AGENT_READY);
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg("courier_pii: encryption keys are available")));
		return;
	}
	if (pg_atomic_read_u32(&cpii_key_table->agent_state) != CPII_AGENT_SEALED || again)
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg("courier_pii: encryption keys are not available"),
				 detail ? errdetail_internal("%s", detail) : 0,
				 hint ? errhint("%s", hint) : 0));
	cpii_key_table_reason(detail, hint);
	set_state(CPII_AGENT_SEALED);
}

/* ---- requests ---- */

static void
set_detail(CpiiAnswer *answer, const char *detail)
{
	if (detail != NULL)
		strlcpy(answer->detail, detail, sizeof(answer->detail));
}

static void
enter_share(const CpiiRequest *request, CpiiAnswer *answer)
{
	const char *detail = NULL;
	const char *hint = NULL;
	int			missing;

	answer->status = CPII_ANSWER_SHARE;
	if (cpii_key_source != CPII_KEY_SOURCE_CUSTODIANS)
		set_detail(answer, "The key source is not \"custodians\".");
	else if (cpii_vault_ready())
		set_detail(answer, "The keys are available already.");
	else if (request->payload == NULL)
		set_detail(answer, "There is no share.");
	else
	{
		int			before = cpii_custodians_entered();

		missing = cpii_custodians_enter(false, request->payload, request->payload_len,
										cpii_vault_master(), &detail);
		set_detail(answer, detail);
		if (missing < 0)
		{
			/* they did not fit: the next one looks at the key check first */
			if (cpii_custodians_entered() < before)
				cpii_key_table_reason(detail, "Each custodian enters a share with courier_pii.unseal().");
			return;
		}
		answer->status = CPII_ANSWER_OK;
		answer->epoch = missing;
		if (missing > 0)
		{
			(void) cpii_custody_master_key(false, cpii_vault_master(), &detail, &hint);
			cpii_key_table_reason(detail, hint);
			return;
		}
		cpii_vault_set_master();
		try_unseal(true);
		if (!cpii_vault_ready())
		{
			char	   *reason;
			char	   *unused;

			cpii_vault_forget();
			cpii_key_table_get_reason(&reason, &unused);
			answer->status = CPII_ANSWER_SHARE;
			set_detail(answer, reason);
		}
	}
}

static void
change_master(const CpiiRequest *request, CpiiAnswer *answer)
{
	/* others are served while a command gets the next key */
	static bool changing = false;
	const char *detail = NULL;
	const char *hint = NULL;
	bool		have;

	if (changing)
	{
		answer->status = CPII_ANSWER_FAILED;
		set_detail(answer, "The master key is being changed already.");
		return;
	}
	answer->status = CPII_ANSWER_SHARE;
	if (cpii_key_source == CPII_KEY_SOURCE_CUSTODIANS)
	{
		int			missing = -1;

		if (request->payload == NULL)
			detail = "The key source is \"custodians\": they enter shares of the new key.";
		else
			missing = cpii_custodians_enter(true, request->payload, request->payload_len,
											cpii_vault_next(), &detail);
		set_detail(answer, detail);
		if (missing < 0)
			return;
		answer->epoch = missing;
		if (missing > 0)
		{
			answer->status = CPII_ANSWER_OK;
			return;
		}
		have = true;
	}
	else if (request->payload != NULL)
	{
		set_detail(answer, "The key source is not \"custodians\".");
		return;
	}
	else
	{
		changing = true;
		have = cpii_custody_master_key(true, cpii_vault_next(), &detail, &hint);
		changing = false;
	}
	answer->status = have && cpii_vault_change(&detail) ?
		CPII_ANSWER_OK : CPII_ANSWER_FAILED;
	set_detail(answer, detail);
}

static void
serve_epoch(const CpiiRequest *request, CpiiAnswer *answer)
{
	CpiiKeyClass *class = cpii_key_class_find(request->class_id);
	CpiiEpochEntry *now = class ? cpii_epoch_current(class) : NULL;
	CpiiAnswerStatus status = CPII_ANSWER_OK;
	const char *detail = NULL;

	/* a class does not begin anew behind the back of those who need its values */
	if (request->kind == CPII_ASK_SEAL_KEY && now == NULL)
	{
		int			lost = cpii_vault_lost_epoch(request->class_id);

		if (lost >= 0)
		{
			answer->status = CPII_ANSWER_NO_SECRET;
			answer->epoch = lost;
			return;
		}
	}
	if (request->kind == CPII_ASK_NEW_EPOCH ?
		(now ? now->epoch : 0) == request->epoch : now == NULL)
		now = cpii_vault_make_epoch(request->class_id,
									request->kind == CPII_ASK_NEW_EPOCH ? request->arg : 0,
									request->kind == CPII_ASK_NEW_EPOCH ? request->arg2 : -1,
									&detail, &status);
	if (now != NULL && request->kind == CPII_ASK_SEAL_KEY)
		status = cpii_vault_data_key(now->class_id, now->epoch, answer->key, &detail);
	if (now != NULL)
		answer->epoch = now->epoch;
	answer->status = status;
	set_detail(answer, detail);
}

/* keys of whole classes and of the audit trail come from the master key alone */
static bool
needs_store(const CpiiRequest *request)
{
	return request->kind != CPII_ASK_AUDIT_KEY &&
		request->kind != CPII_ASK_IDENTITY &&
		!(request->kind == CPII_ASK_MAC_KEY && request->epoch == 0);
}

/* keys of values, and what changes them */
static bool
is_class_key(const CpiiRequest *request)
{
	return request->class_id != CPII_CLASS_LITERAL &&
		(request->kind == CPII_ASK_SEAL_KEY || request->kind == CPII_ASK_OPEN_KEY ||
		 request->kind == CPII_ASK_MAC_KEY || request->kind == CPII_ASK_NEW_EPOCH);
}

static void
answer_request(const CpiiRequest *request, Oid login, Oid session, Oid outer,
			   CpiiAnswer *answer)
{
	CpiiEpochEntry *entry;
	const char *detail = NULL;

	/* the roster's word; of itself the asking process says its other roles only */
	if (cpii_account_denied != NULL && OidIsValid(login) &&
		cpii_account_denied(login, session, outer))
	{
		answer->status = CPII_ANSWER_REFUSED;
		set_detail(answer, "The account is disabled.");
		return;
	}
	if (cpii_account_stranger != NULL && OidIsValid(login) &&
		!request->service && is_class_key(request) && cpii_account_stranger(login))
	{
		answer->status = CPII_ANSWER_REFUSED;
		set_detail(answer, "Nobody of the registers answers for this account.");
		ereport(LOG,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("courier_pii: a key was refused to role %u, for which nobody answers", login)));
		return;
	}
	if (cpii_account_waits != NULL && OidIsValid(login) && !request->service &&
		is_class_key(request) && cpii_account_waits(login))
	{
		answer->status = CPII_ANSWER_REFUSED;
		set_detail(answer, "The account may do nothing until its password is changed, or until its second person is there.");
		return;
	}
	if (request->kind == CPII_ASK_UNSEAL)
	{
		enter_share(request, answer);
		return;
	}
	if (!cpii_vault_ready() &&
		((tried_in_recovery && !RecoveryInProgress()) ||
		 TimestampDifferenceExceeds(tried_at, GetCurrentTimestamp(), SEALED_MS)))
		try_unseal(false);
	if (!cpii_vault_ready())
	{
		answer->status = pg_atomic_read_u32(&cpii_key_table->store_lost) != 0 ?
			CPII_ANSWER_NO_STORE : CPII_ANSWER_SEALED;
		return;
	}
	if (needs_store(request) && !cpii_store_watch())
	{
		answer->status = CPII_ANSWER_NO_STORE;
		return;
	}
	switch (request->kind)
	{
		case CPII_ASK_SEAL_KEY:
		case CPII_ASK_NEW_EPOCH:
			serve_epoch(request, answer);
			return;
		case CPII_ASK_OPEN_KEY:
			answer->status = cpii_vault_data_key(request->class_id, request->epoch,
												 answer->key, &detail);
			break;
		case CPII_ASK_MAC_KEY:
			answer->status = cpii_vault_mac_key(request->class_id, request->epoch,
												request->arg, answer->key, &detail);
			break;
		case CPII_ASK_AUDIT_KEY:
			answer->status = cpii_vault_audit_key(answer->key);
			break;
		case CPII_ASK_IDENTITY:
			answer->status = CPII_ANSWER_OK;
			break;
		case CPII_ASK_RESERVE:
			entry = cpii_epoch_find(request->class_id, request->epoch);
			answer->status = entry == NULL ? CPII_ANSWER_NO_SECRET :
				cpii_vault_reserve(entry, &detail) ? CPII_ANSWER_OK : CPII_ANSWER_FAILED;
			break;
		case CPII_ASK_CHANGE_MASTER:
			change_master(request, answer);
			return;
		case CPII_ASK_DESTROY:
			answer->status = cpii_vault_destroy(request->class_id, request->epoch,
												&detail);
			break;
	}
	set_detail(answer, detail);
}

static void
serve(const CpiiRequest *request, Oid login, Oid session, Oid outer,
	  CpiiAnswer *answer)
{
	answer_request(request, login, session, outer, answer);
	if (answer->status == CPII_ANSWER_OK && !request->service &&
		request->class_id != CPII_CLASS_LITERAL &&
		(request->kind == CPII_ASK_SEAL_KEY || request->kind == CPII_ASK_OPEN_KEY))
		cpii_agent_taken(request->number, request->pid, login, request->class_id);
}

static void
serve_others(void)
{
	cpii_channel_serve(serve);
}

/* ---- the process ---- */

/*
 * Where logins of nobody are rejected from now on, sessions of nobody lose the
 * keys that they have: everybody asks again.
 */
static void
follow_logins(void)
{
	bool		rejected = cpii_unregistered_login == CPII_UNREGISTERED_REJECT;

	if (rejected && !cpii_key_table->nobody_rejected)
		cpii_keyring_recall();
	cpii_key_table->nobody_rejected = rejected;
}

static void
reload(void)
{
	ProcessConfigFile(PGC_SIGHUP);
	follow_logins();
	/* on another server with the same store */
	if (cpii_vault_superseded())
		cpii_vault_forget();
	cpii_vault_read_store();
	try_unseal(true);
}

static void
agent_exit(int code, Datum arg)
{
	set_state(CPII_AGENT_ABSENT);
	cpii_key_table->agent_proc = -1;
	cpii_key_table->agent_pid = 0;
	cpii_vault_write_counts();
	cpii_custodians_forget();
	cpii_channel_close();
	cpii_vault_close();
}

void
cpii_agent_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	cpii_process_harden();

	context = AllocSetContextCreate(TopMemoryContext, "courier_pii key agent",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	set_state(CPII_AGENT_STARTING);
	before_shmem_exit(agent_exit, (Datum) 0);
	cpii_vault_open();
	cpii_channel_open();
	cpii_key_table->agent_pid = MyProcPid;
	cpii_key_table->agent_proc = CPII_MY_PROC_NUMBER;
	cpii_custody_waits = serve_others;
	follow_logins();
	cpii_vault_read_store();
	try_unseal(true);

	while (!ShutdownRequestPending)
	{
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			reload();
		}
		cpii_channel_serve(serve);
		if (cpii_vault_ready())
			(void) cpii_store_watch();
		if (cpii_vault_has_master() && !cpii_vault_ready())
			try_unseal(false);
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 cpii_vault_has_master() && !cpii_vault_ready() ?
						 SEALED_MS : IDLE_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	/* not 0, which would mean "never again" */
	proc_exit(1);
}

void
cpii_agent_init(void)
{
	BackgroundWorker worker;

	cpii_background_describe(&worker, "cpii_agent_main", "courier_pii key agent");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}
