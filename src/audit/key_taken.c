/*-------------------------------------------------------------------------
 *
 * key_taken.c
 *	  A record of processes that have been given many keys.
 *
 * Written by the key agent, about another process: it knows the process and
 * its login role from the process table, and the person from the roster.  It
 * has no catalogs, so that the role stands there by its number.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/key_taken.h"
#include "audit/record.h"
#include "base/session.h"
#include "crypto/agent_watch.h"

static void
record_taken(const CpiiTaken *taken)
{
	CpiiAuditEvent event = {0};
	CpiiActor	actor = {0};
	char		detail[128];

	actor.login = taken->login;
	actor.client_port = -1;
	snprintf(actor.login_name, sizeof(actor.login_name), "%u", taken->login);
	if (cpii_person_lookup != NULL &&
		cpii_person_lookup(taken->login, actor.staff_no, actor.org))
		actor.proof = CPII_PROOF_LOGIN;
	snprintf(detail, sizeof(detail),
			 "{\"pid\": %d, \"role\": %u, \"keys\": %d, \"classes\": %d}",
			 taken->pid, taken->login, taken->keys, taken->classes);
	event.phase = CPII_PHASE_SINGLE;
	event.action = CPII_ACT_KEY;
	event.outcome = "ok";
	event.command = "keys_taken";
	event.detail = detail;
	event.actor = &actor;
	(void) cpii_audit_write_noerror(&event, false);
}

void
cpii_key_taken_init(void)
{
	cpii_agent_taken_hook = record_taken;
}
