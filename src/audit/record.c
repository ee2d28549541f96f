/*-------------------------------------------------------------------------
 *
 * record.c
 *	  Builds one audit record and stores it.
 *
 * A record is built in static memory and handed to the spool in one piece.
 * Nothing here allocates, so that it works in error paths and at process exit.
 * The order of fields and the byte layout are those of chain.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "audit/alert.h"
#include "audit/chain.h"
#include "audit/checkpoint.h"
#include "audit/inflight.h"
#include "audit/key_taken.h"
#include "audit/record.h"
#include "audit/spool.h"
#include "audit/undone.h"
#include "audit/walk.h"
#include "audit/worker.h"
#include "base/classes.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/port.h"
#include "base/settings.h"

#define MAX_SHORT 128
#define MAX_MATTER 256			/* purpose, ticket */
#define MAX_QUERY 4096
#define MAX_DETAIL 4096
#define MAX_RELATIONS 4096
#define MAX_CLASSES 512

static const char *const action_names[] = {
	[CPII_ACT_LOGIN] = "LOGIN",
	[CPII_ACT_LOGIN_DENIED] = "LOGIN_DENIED",
	[CPII_ACT_READ] = "READ",
	[CPII_ACT_SEARCH] = "SEARCH",
	[CPII_ACT_EXPORT] = "EXPORT",
	[CPII_ACT_COPY] = "COPY",
	[CPII_ACT_DESTROY] = "DESTROY",
	[CPII_ACT_WRITE] = "WRITE",
	[CPII_ACT_DENIED] = "DENIED",
	[CPII_ACT_POLICY] = "POLICY",
	[CPII_ACT_REQUEST] = "REQUEST",
	[CPII_ACT_ACCOUNT] = "ACCOUNT",
	[CPII_ACT_PASSWORD] = "PASSWORD",
	[CPII_ACT_KEY] = "KEY",
	[CPII_ACT_DDL] = "DDL",
	[CPII_ACT_MAINTENANCE] = "MAINTENANCE",
	[CPII_ACT_CANARY] = "CANARY",
	[CPII_ACT_SYSTEM] = "SYSTEM",
};

const char *
cpii_action_name(CpiiAction action)
{
	if (action < CPII_ACT_LOGIN || action > CPII_ACT_SYSTEM)
		return "SYSTEM";
	return action_names[action];
}

const char *
cpii_phase_name(CpiiPhase phase)
{
	switch (phase)
	{
		case CPII_PHASE_BEGIN:
			return "BEGIN";
		case CPII_PHASE_END:
			return "END";
		case CPII_PHASE_SINGLE:
			break;
	}
	return "SINGLE";
}

static void
set_text(CpiiRow *row, CpiiFieldNo no, const char *text, size_t max_length)
{
	cpii_row_text(row, no, text, max_length);
	/* do not leave half a character behind */
	if (!row->field[no].null && text[row->field[no].length] != '\0')
		row->field[no].length = pg_mbcliplen(text, strlen(text),
											 (int) max_length);
}

static size_t
class_names(uint32 classes, char *list, size_t size)
{
	size_t		used = 0;

	for (int id = 1; id < 32; id++)
	{
		char		number[16];

		if ((classes & (((uint32) 1) << id)) == 0)
			continue;
		snprintf(number, sizeof(number), "%d", id);
		used = cpii_list_append(list, used, size, cpii_class_is_builtin(id) ?
								cpii_class_table[id].name : number);
	}
	if (classes & 1)
		used = cpii_list_append(list, used, size, "custom");
	return used;
}

/* the detail, with the sequence number of the BEGIN record put in front */
static const char *
full_detail(const CpiiAuditEvent *event, char *buf, size_t size)
{
	const char *rest = event->detail;

	if (rest != NULL && strlen(rest) > MAX_DETAIL)
	{
		/* half a JSON object is none */
		snprintf(buf, size, "{\"detail_too_long\": %zu%s", strlen(rest),
				 event->begin_seq == 0 ? "}" : "");
		if (event->begin_seq != 0)
			snprintf(buf + strlen(buf), size - strlen(buf),
					 ", \"begin_seq\": %llu}",
					 (unsigned long long) event->begin_seq);
		return buf;
	}
	if (event->begin_seq == 0)
		return rest;
	if (rest != NULL)
	{
		while (*rest == ' ')
			rest++;
		rest = *rest == '{' ? rest + 1 : NULL;
	}
	if (rest != NULL)
		while (*rest == ' ')
			rest++;
	snprintf(buf, size, "{\"begin_seq\": %llu%s%s",
			 (unsigned long long) event->begin_seq,
			 rest == NULL || *rest == '}' ? "" : ", ",
			 rest == NULL ? "}" : rest);
	return buf;
}

/*
 * Whose record is it?  Inside a running transaction the session's facts are
 * computed afresh; elsewhere (and where nothing may be raised) the last known
 * ones are used.
 */
static const CpiiActor *
find_actor(const CpiiAuditEvent *event, bool may_raise)
{
	const CpiiActor *who = event->actor;

	if (who == NULL && may_raise && IsTransactionState())
		who = cpii_session_actor();
	if (who == NULL)
		who = cpii_session_actor_last();
	return who;
}

static size_t
build(const CpiiAuditEvent *event, const CpiiActor *who, char *body,
	  size_t size)
{
	static char relations[MAX_RELATIONS];
	static char classes[MAX_CLASSES];
	static char detail[MAX_DETAIL + 64];
	CpiiActor	client;
	CpiiRow		row;
	size_t		used;

	cpii_row_clear(&row);
	cpii_row_text(&row, CPII_F_NODE, cpii_spool_node(), CPII_NODE_LEN);
	cpii_row_number(&row, CPII_F_AT, GetCurrentTimestamp() + CPII_UNIX_OFFSET);
	cpii_row_text(&row, CPII_F_PHASE, cpii_phase_name(event->phase), MAX_SHORT);
	cpii_row_text(&row, CPII_F_ACTION, cpii_action_name(event->action), MAX_SHORT);
	set_text(&row, CPII_F_OUTCOME, event->outcome, MAX_SHORT);
	if (event->sqlstate != 0)
		cpii_row_text(&row, CPII_F_SQLSTATE, unpack_sql_state(event->sqlstate), 5);

	if (who != NULL)
	{
		set_text(&row, CPII_F_LOGIN_ROLE, who->login_name, NAMEDATALEN);
		set_text(&row, CPII_F_SESSION_ROLE, who->session_name, NAMEDATALEN);
		set_text(&row, CPII_F_CURRENT_ROLE, who->outer_name, NAMEDATALEN);
		set_text(&row, CPII_F_STAFF_NO, who->staff_no, CPII_STAFF_NO_LEN);
		cpii_row_text(&row, CPII_F_ACTOR_PROOF, cpii_proof_name(who->proof), MAX_SHORT);
		set_text(&row, CPII_F_CLIENT_ADDR, who->client_addr, MAX_SHORT);
		cpii_row_number(&row, CPII_F_CLIENT_PORT, who->client_port);
	}
	else if (MyProcPort != NULL)
	{
		/* before authentication has come to an end */
		cpii_session_fill_client(&client);
		set_text(&row, CPII_F_LOGIN_ROLE, MyProcPort->user_name, NAMEDATALEN);
		cpii_row_text(&row, CPII_F_ACTOR_PROOF,
					  cpii_proof_name(CPII_PROOF_NONE), MAX_SHORT);
		set_text(&row, CPII_F_CLIENT_ADDR, client.client_addr, MAX_SHORT);
		cpii_row_number(&row, CPII_F_CLIENT_PORT, client.client_port);
	}
	set_text(&row, CPII_F_APPLICATION_NAME, application_name, NAMEDATALEN);
	cpii_row_number(&row, CPII_F_PID, MyProcPid);
	cpii_row_number(&row, CPII_F_SESSION_STARTED_AT,
					MyStartTimestamp + CPII_UNIX_OFFSET);
	set_text(&row, CPII_F_PURPOSE, cpii_purpose, MAX_MATTER);
	set_text(&row, CPII_F_TICKET, cpii_ticket, MAX_MATTER);
	set_text(&row, CPII_F_COMMAND, event->command, MAX_SHORT);

	used = 0;
	for (int i = 0; i < event->nrelations; i++)
		if (event->relations[i] != NULL)
			used = cpii_list_append(relations, used, sizeof(relations),
									event->relations[i]);
	row.field[CPII_F_RELATIONS].null = false;
	row.field[CPII_F_RELATIONS].text = relations;
	row.field[CPII_F_RELATIONS].length = used;
	row.field[CPII_F_CLASSES].null = false;
	row.field[CPII_F_CLASSES].text = classes;
	row.field[CPII_F_CLASSES].length =
		class_names(event->classes, classes, sizeof(classes));

	cpii_row_number(&row, CPII_F_ROWS_RETURNED, event->rows_returned);
	cpii_row_number(&row, CPII_F_ROWS_EXAMINED, event->rows_examined);
	cpii_row_number(&row, CPII_F_DISCLOSED, event->disclosed);
	cpii_row_number(&row, CPII_F_MASKED, event->masked);
	cpii_row_number(&row, CPII_F_PROBES, event->probes);
	if (event->query_id != 0)
		cpii_row_number(&row, CPII_F_QUERY_ID, (int64) event->query_id);
	set_text(&row, CPII_F_QUERY, event->query, MAX_QUERY);
	cpii_row_number(&row, CPII_F_DURATION, event->duration);
	cpii_row_text(&row, CPII_F_DETAIL,
				  full_detail(event, detail, sizeof(detail)), sizeof(detail));

	return cpii_row_encode(&row, body, size);
}

static uint64
store(const CpiiAuditEvent *event, bool sync, bool may_raise,
	  const char **why)
{
	/* head of the spool, body, padding */
	static char record[CPII_SPOOL_RECORD_HEADER + CPII_MAX_BODY + 8];
	const CpiiActor *who = find_actor(event, may_raise);
	size_t		length;
	uint64		seq;

	length = build(event, who, record + CPII_SPOOL_RECORD_HEADER,
				   CPII_MAX_BODY);
	if (length == 0)
	{
		*why = "the record is too long";
		return 0;
	}
	sync = cpii_audit_sync == CPII_SYNC_ALL ||
		(cpii_audit_sync == CPII_SYNC_BULK && sync);
	if (event->phase == CPII_PHASE_BEGIN)
		cpii_inflight_begin(record + CPII_SPOOL_RECORD_HEADER, length);
	seq = cpii_spool_append(record, length, sync, why);
	if (event->phase == CPII_PHASE_BEGIN)
	{
		cpii_inflight_begun(seq);
		if (cpii_inflight != NULL)
		{
			cpii_inflight->rows = event->rows_returned;
			cpii_inflight->disclosed = event->disclosed;
			cpii_inflight->masked = event->masked;
			cpii_inflight->probes = event->probes;
		}
	}
	else if (event->begin_seq != 0 && seq != 0)
		cpii_inflight_end();
	cpii_undone_remember(event, seq);
	return seq;
}

static void
log_loss(const char *why, bool lost)
{
	if (cpii_spool_count_loss(lost))
		ereport(LOG,
				(errcode(CPII_ERRCODE_AUDIT_FAILURE),
				 errmsg("audit record could not be stored"),
				 errdetail_internal("%s", why)));
}

static void
report_failure(void)
{
	ereport(ERROR,
			(errcode(CPII_ERRCODE_AUDIT_FAILURE),
			 errmsg("audit record could not be stored"),
			 errdetail("Access to personal data without a record is not allowed."),
			 errhint("The server log tells the cause; an administrator must make the audit directory writable.")));
}

void
cpii_audit_admit(void)
{
	const char *why = NULL;

	if (!cpii_spool_present() || cpii_spool_admit(&why))
		return;
	log_loss(why, cpii_audit_on_failure != CPII_AUDIT_DENY);
	if (cpii_audit_on_failure == CPII_AUDIT_DENY)
		report_failure();
}

uint64
cpii_audit_write(const CpiiAuditEvent *event, bool sync)
{
	const char *why = NULL;
	uint64		seq;

	if (!cpii_spool_present())
	{
		if (IsBinaryUpgrade)
			return 0;
		cpii_require_preload();
		elog(ERROR, "audit spool was not set up");
	}

	seq = store(event, sync, true, &why);
	if (seq != 0)
		return seq;

	log_loss(why, true);
	if (cpii_audit_on_failure == CPII_AUDIT_DENY)
		report_failure();
	return 0;
}

uint64
cpii_audit_write_noerror(const CpiiAuditEvent *event, bool sync)
{
	const char *why = NULL;
	uint64		seq;

	if (!cpii_spool_present())
		return 0;
	seq = store(event, sync, false, &why);
	if (seq == 0)
		log_loss(why, true);
	return seq;
}

void
cpii_audit_note(CpiiAction action, const char *command, const char *outcome,
				const char *detail)
{
	CpiiAuditEvent event = {0};

	event.phase = CPII_PHASE_SINGLE;
	event.action = action;
	event.outcome = outcome;
	event.command = command;
	event.detail = detail;
	(void) cpii_audit_write(&event, true);
}

void
cpii_audit_init(void)
{
	cpii_spool_init();
	cpii_undone_init();
	cpii_walk_init();
	cpii_key_taken_init();
	cpii_alert_init();
	cpii_checkpoint_init();
	cpii_worker_init();
}
