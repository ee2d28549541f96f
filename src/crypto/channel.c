/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  Requests to the key agent, through slots in shared memory.
 *
 * A slot's state moves	 IDLE > ASKED > SERVING > SERVED > IDLE.  A process
 * that gives up takes an ASKED slot back, and marks a SERVING one LEFT; the
 * agent then empties it.  All changes are atomic exchanges of the state.
 *
 * Trade-offs against a message queue or a socket: a slot costs 1 kB a process,
 * needs no file, no descriptor and no clean-up after a crash, works from
 * parallel workers and before recovery, and the agent knows from the process
 * table who asks.  It wakes the agent once a request, which is rare: keys are
 * kept by the process that asked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/secret.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "crypto/channel.h"
#include "crypto/epoch_table.h"

/* an answer is waited for so long, an agent that is not there likewise */
#define ANSWER_WAIT_MS 5000
#define POLL_MS 100

typedef enum SlotState
{
	SLOT_IDLE = 0,
	SLOT_ASKED,
	SLOT_SERVING,
	SLOT_SERVED,
	SLOT_LEFT
} SlotState;

typedef struct Slot
{
	pg_atomic_uint32 state;
	int			pid;
	Oid			session;
	Oid			outer;
	int			kind;
	int			class_id;
	int			epoch;
	int			arg;
	int			arg2;
	int			payload_len;
	int			status;
	bool		has_key;
	char		detail[192];
	unsigned char sender[CPII_PUBLIC_LEN];
	unsigned char agent[CPII_PUBLIC_LEN];
	unsigned char payload[CPII_PAYLOAD_LEN + CPII_AEAD_TAG_LEN];
	unsigned char key[CPII_KEY_LEN + CPII_AEAD_TAG_LEN];
} Slot;

typedef struct Channel
{
	/* even: valid; odd: being changed */
	pg_atomic_uint32 pair_version;
	unsigned char agent[CPII_PUBLIC_LEN];
	int			nslots;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Channel;

static Channel *channel = NULL;
static bool exit_registered = false;

/* of the agent process */
static CpiiPair *agent_pair = NULL;

static int
slot_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
channel_size(void)
{
	return add_size(offsetof(Channel, slots), mul_size(slot_count(), sizeof(Slot)));
}

static void
channel_startup(void *area, bool found, LWLockPadded *locks)
{
	channel = area;
	if (found)
		return;
	pg_atomic_init_u32(&channel->pair_version, 0);
	channel->nslots = slot_count();
	for (int i = 0; i < channel->nslots; i++)
		pg_atomic_init_u32(&channel->slots[i].state, SLOT_IDLE);
}

static bool
change_state(Slot *slot, uint32 from, uint32 to)
{
	return pg_atomic_compare_exchange_u32(&slot->state, &from, to);
}

/* take a request back, whatever has become of it */
static void
withdraw(Slot *slot)
{
	if (change_state(slot, SLOT_ASKED, SLOT_IDLE) ||
		change_state(slot, SLOT_SERVING, SLOT_LEFT))
		return;
	if (pg_atomic_read_u32(&slot->state) == SLOT_SERVED)
	{
		cpii_wipe(slot->key, sizeof(slot->key));
		(void) change_state(slot, SLOT_SERVED, SLOT_IDLE);
	}
}

static Slot *
my_slot(void)
{
	int			number = CPII_MY_PROC_NUMBER;

	if (channel == NULL || MyProc == NULL || number < 0 ||
		number >= channel->nslots)
		return NULL;
	return &channel->slots[number];
}

static void
withdraw_at_exit(int code, Datum arg)
{
	Slot	   *slot = my_slot();

	if (slot != NULL && slot->pid == MyProcPid)
		withdraw(slot);
}

static void
wake_agent(void)
{
	int			number = cpii_key_table->agent_proc;

	if (number >= 0 && number < ProcGlobal->allProcCount)
		SetLatch(&ProcGlobal->allProcs[number].procLatch);
}

/* a short sleep; false when the deadline has passed */
static bool
nap_until(TimestampTz deadline)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 POLL_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return GetCurrentTimestamp() < deadline;
}

/* the agent's public key, read whole */
static bool
read_agent_key(unsigned char out[CPII_PUBLIC_LEN])
{
	uint32		before = pg_atomic_read_u32(&channel->pair_version);

	pg_read_barrier();
	memcpy(out, channel->agent, CPII_PUBLIC_LEN);
	pg_read_barrier();
	return before != 0 && before % 2 == 0 &&
		pg_atomic_read_u32(&channel->pair_version) == before;
}

/* fill in and hand over; false: try again (agent is not there or changes) */
static bool
submit(Slot *slot, const CpiiRequest *request, CpiiPair *pair,
	   const unsigned char sender[CPII_PUBLIC_LEN], CpiiHandover *keys)
{
	uint32		state = pg_atomic_read_u32(&cpii_key_table->agent_state);

	if (state == CPII_AGENT_ABSENT || state == CPII_AGENT_STARTING ||
		pg_atomic_read_u32(&slot->state) != SLOT_IDLE ||
		!read_agent_key(slot->agent) ||
		!cpii_handover_keys(pair, slot->agent, sender, keys))
		return false;
	slot->pid = MyProcPid;
	slot->session = GetSessionUserId();
	slot->outer = GetOuterUserId();
	slot->kind = request->kind;
	slot->class_id = request->class_id;
	slot->epoch = request->epoch;
	slot->arg = request->arg;
	slot->arg2 = request->arg2;
	slot->payload_len = 0;
	if (request->payload != NULL)
	{
		Assert(request->payload_len <= CPII_PAYLOAD_LEN);
		if (!cpii_handover_seal(keys->request, request->payload,
								request->payload_len, slot->payload))
			return false;
		slot->payload_len = (int) request->payload_len + CPII_AEAD_TAG_LEN;
	}
	memcpy(slot->sender, sender, CPII_PUBLIC_LEN);
	pg_write_barrier();
	(void) change_state(slot, SLOT_IDLE, SLOT_ASKED);
	wake_agent();
	return true;
}

static void
take_answer(Slot *slot, const CpiiHandover *keys, CpiiAnswer *answer)
{
	pg_read_barrier();
	answer->status = slot->status;
	answer->epoch = slot->epoch;
	strlcpy(answer->detail, slot->detail, sizeof(answer->detail));
	if (slot->has_key &&
		!cpii_handover_open(keys->answer, slot->key, sizeof(slot->key), answer->key))
		answer->status = CPII_ANSWER_FAILED;
	cpii_wipe(slot->key, sizeof(slot->key));
	cpii_wipe(slot->payload, sizeof(slot->payload));
	(void) change_state(slot, SLOT_SERVED, SLOT_IDLE);
}

void
cpii_channel_ask(const CpiiRequest *request, CpiiAnswer *answer)
{
	Slot	   *slot = my_slot();
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   ANSWER_WAIT_MS +
													   (request->kind == CPII_ASK_CHANGE_MASTER ?
														1000 * cpii_key_command_timeout : 0));
	unsigned char sender[CPII_PUBLIC_LEN];
	CpiiHandover keys;
	CpiiPair   *volatile pair;
	volatile bool submitted = false;

	memset(answer, 0, sizeof(*answer));
	answer->status = CPII_ANSWER_ABSENT;
	if (slot == NULL || !IsUnderPostmaster)
		return;
	pair = cpii_pair_new(sender);
	if (pair == NULL)
	{
		answer->status = CPII_ANSWER_FAILED;
		return;
	}
	if (!exit_registered)
	{
		before_shmem_exit(withdraw_at_exit, (Datum) 0);
		exit_registered = true;
	}
	/* what a predecessor with this slot left */
	withdraw(slot);

	PG_TRY();
	{
		for (;;)
		{
			if (!submitted)
				submitted = submit(slot, request, pair, sender, &keys);
			else if (pg_atomic_read_u32(&slot->state) == SLOT_SERVED)
			{
				take_answer(slot, &keys, answer);
				if (answer->status != CPII_ANSWER_RETRY)
					break;
				answer->status = CPII_ANSWER_ABSENT;
				submitted = false;
			}
			if (!nap_until(deadline))
				break;
		}
		if (answer->status == CPII_ANSWER_ABSENT && submitted)
			withdraw(slot);
	}
	PG_CATCH();
	{
		withdraw(slot);
		cpii_pair_free(pair);
		cpii_wipe(&keys, sizeof(keys));
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpii_pair_free(pair);
	cpii_wipe(&keys, sizeof(keys));
}

/* ---- the agent's side ---- */

void
cpii_channel_open(void)
{
	unsigned char public_key[CPII_PUBLIC_LEN];
	uint32		version = pg_atomic_read_u32(&channel->pair_version);

	agent_pair = cpii_pair_new(public_key);
	if (agent_pair == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not make a key pair")));
	/* a predecessor may have stopped in the middle of a change */
	version |= 1;
	pg_atomic_write_u32(&channel->pair_version, version);
	pg_write_barrier();
	memcpy(channel->agent, public_key, CPII_PUBLIC_LEN);
	pg_write_barrier();
	pg_atomic_write_u32(&channel->pair_version, version + 1);

	for (int i = 0; i < channel->nslots; i++)
	{
		(void) change_state(&channel->slots[i], SLOT_LEFT, SLOT_IDLE);
		(void) change_state(&channel->slots[i], SLOT_SERVING, SLOT_ASKED);
	}
}

int
cpii_channel_slots(void)
{
	return channel->nslots;
}

void
cpii_channel_close(void)
{
	cpii_pair_free(agent_pair);
	agent_pair = NULL;
}

/* who the server says that the process is */
static bool
caller_of(int number, int pid, PGPROC **proc, Oid *login)
{
	if (number >= ProcGlobal->allProcCount)
		return false;
	*proc = &ProcGlobal->allProcs[number];
	*login = (*proc)->roleId;
	return (*proc)->pid != 0 && (*proc)->pid == pid;
}

/*
 * What is judged is copied first: the process that asks could change its slot
 * meanwhile.
 */
static void
serve_slot(int number, Slot *slot, CpiiServe serve)
{
	Slot		asked = *slot;
	CpiiRequest request;
	CpiiAnswer	answer;
	CpiiHandover keys;
	unsigned char payload[CPII_PAYLOAD_LEN];
	PGPROC	   *proc = NULL;
	Oid			login = InvalidOid;
	bool		has_key;

	memset(&answer, 0, sizeof(answer));
	answer.status = CPII_ANSWER_FAILED;
	answer.epoch = asked.epoch;
	request.kind = asked.kind;
	request.class_id = asked.class_id;
	request.epoch = asked.epoch;
	request.arg = asked.arg;
	request.arg2 = asked.arg2;
	request.number = number;
	request.pid = asked.pid;
	request.service = false;
	request.payload = NULL;
	request.payload_len = 0;

	if (caller_of(number, asked.pid, &proc, &login) &&
		memcmp(asked.agent, channel->agent, CPII_PUBLIC_LEN) == 0 &&
		cpii_handover_keys(agent_pair, asked.sender, asked.sender, &keys))
	{
		if (asked.payload_len > CPII_AEAD_TAG_LEN &&
			asked.payload_len <= (int) sizeof(asked.payload) &&
			cpii_handover_open(keys.request, asked.payload, asked.payload_len, payload))
		{
			request.payload = payload;
			request.payload_len = asked.payload_len - CPII_AEAD_TAG_LEN;
		}
		/* a parallel worker is a part of its leader's session */
		request.service = CPII_IS_WORKER_PROC(proc) && proc->lockGroupLeader == NULL;
		serve(&request, login, asked.session, asked.outer, &answer);
	}
	else
		answer.status = CPII_ANSWER_RETRY;

	slot->status = answer.status;
	slot->epoch = answer.epoch;
	strlcpy(slot->detail, answer.detail, sizeof(slot->detail));
	has_key = answer.status == CPII_ANSWER_OK &&
		(request.kind == CPII_ASK_SEAL_KEY || request.kind == CPII_ASK_OPEN_KEY ||
		 request.kind == CPII_ASK_MAC_KEY || request.kind == CPII_ASK_AUDIT_KEY);
	slot->has_key = has_key;
	if (has_key &&
		!cpii_handover_seal(keys.answer, answer.key, sizeof(answer.key), slot->key))
		slot->status = CPII_ANSWER_FAILED;
	cpii_wipe(&answer, sizeof(answer));
	cpii_wipe(&keys, sizeof(keys));
	cpii_wipe(payload, sizeof(payload));
	cpii_wipe(slot->payload, sizeof(slot->payload));
	pg_write_barrier();
	if (change_state(slot, SLOT_SERVING, SLOT_SERVED))
	{
		if (proc != NULL)
			SetLatch(&proc->procLatch);
	}
	else
	{
		cpii_wipe(slot->key, sizeof(slot->key));
		(void) change_state(slot, SLOT_LEFT, SLOT_IDLE);
	}
}

void
cpii_channel_serve(CpiiServe serve)
{
	for (int i = 0; i < channel->nslots; i++)
	{
		Slot	   *slot = &channel->slots[i];

		if (pg_atomic_read_u32(&slot->state) == SLOT_ASKED &&
			change_state(slot, SLOT_ASKED, SLOT_SERVING))
		{
			pg_read_barrier();
			serve_slot(i, slot, serve);
		}
	}
}

void
cpii_channel_init(void)
{
	cpii_shmem_register("courier_pii key channel", channel_size, channel_startup, 0);
}
