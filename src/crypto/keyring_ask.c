/*-------------------------------------------------------------------------
 *
 * keyring_ask.c
 *	  Questions to the key agent, and what its refusals look like.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errcodes.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "crypto/keyring_ask.h"
#include "crypto/keyring_inside.h"

static void
report_unavailable(const CpiiAnswer *answer, int class_id, int epoch)
{
	char	   *detail = NULL;
	char	   *hint = NULL;

	switch ((CpiiAnswerStatus) answer->status)
	{
		case CPII_ANSWER_DESTROYED:
			ereport(ERROR,
					(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
					 errmsg("epoch destroyed: values of class \"%s\", epoch %d, cannot be read any more",
							cpii_key_class_name(class_id), epoch),
					 errdetail("The secret of this epoch was destroyed on purpose.")));
			break;
		case CPII_ANSWER_NO_STORE:
			cpii_key_table_get_reason(&detail, &hint);
			ereport(ERROR,
					(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
					 errmsg("key store is missing"),
					 detail ? errdetail_internal("%s", detail) : 0,
					 hint ? errhint("%s", hint) : 0));
			break;
		case CPII_ANSWER_SEALED:
			cpii_key_table_get_reason(&detail, &hint);
			break;
		case CPII_ANSWER_NO_SECRET:
			detail = psprintf("The key store has no secret of class \"%s\", epoch %d.",
							  cpii_key_class_name(class_id), epoch);
			hint = "Copy the secret from the key store of the server that sealed the value.";
			break;
		case CPII_ANSWER_ABSENT:
			detail = "The key agent does not run or does not answer.";
			hint = "It is started again by itself; look at the server log.";
			break;
		case CPII_ANSWER_REFUSED:
			detail = answer->detail[0] ? pstrdup(answer->detail) : "The account is disabled.";
			break;
		case CPII_ANSWER_FULL:
		case CPII_ANSWER_DAMAGED:
		case CPII_ANSWER_SHARE:
		case CPII_ANSWER_FAILED:
		case CPII_ANSWER_RETRY:
		case CPII_ANSWER_OK:
			detail = answer->detail[0] ? pstrdup(answer->detail) : NULL;
			break;
	}
	ereport(ERROR,
			(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
			 errmsg("encryption key is not available"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

void
cpii_keyring_ask(int kind, int class_id, int epoch, int arg, int arg2, CpiiAnswer *answer)
{
	CpiiRequest request = {0};

	request.kind = kind;
	request.class_id = class_id;
	request.epoch = epoch;
	request.arg = arg;
	request.arg2 = arg2;
	cpii_channel_ask(&request, answer);
	if (answer->status != CPII_ANSWER_OK)
	{
		cpii_wipe(answer->key, sizeof(answer->key));
		report_unavailable(answer, class_id, answer->epoch);
	}
}

bool
cpii_keyring_audit_key(unsigned char key[CPII_KEY_LEN])
{
	CpiiRequest request = {0};
	CpiiAnswer	answer;
	bool		ok;

	cpii_keyring_prepare();
	request.kind = CPII_ASK_AUDIT_KEY;
	cpii_channel_ask(&request, &answer);
	ok = answer.status == CPII_ANSWER_OK;
	if (ok)
		memcpy(key, answer.key, CPII_KEY_LEN);
	cpii_wipe(answer.key, sizeof(answer.key));
	return ok;
}

int
cpii_keyring_new_epoch(int class_id, int suite, int tag_scope)
{
	CpiiAnswer	answer;

	cpii_keyring_prepare();
	for (;;)
	{
		int			before = cpii_keyring_current_epoch(class_id);
		CpiiEpochEntry *entry;

		cpii_keyring_ask(CPII_ASK_NEW_EPOCH, class_id, before, suite, tag_scope, &answer);
		entry = cpii_epoch_find(class_id, answer.epoch);
		/* somebody else's new epoch may have other properties */
		if (entry != NULL && answer.epoch != before &&
			(suite == 0 || entry->suite == suite) &&
			(tag_scope < 0 || entry->tag_scope == tag_scope))
			return answer.epoch;
	}
}

void
cpii_keyring_destroy_epoch(int class_id, int epoch)
{
	CpiiAnswer	answer;

	cpii_keyring_prepare();
	cpii_keyring_ask(CPII_ASK_DESTROY, class_id, epoch, 0, 0, &answer);
}

/* ask with a share, or none; raises 22023 when it cannot be used */
static void
ask_with_share(int kind, const char *share, size_t len, CpiiAnswer *answer)
{
	CpiiRequest request = {0};

	cpii_keyring_prepare();
	request.kind = kind;
	request.payload = (const unsigned char *) share;
	request.payload_len = Min(len, CPII_PAYLOAD_LEN);
	cpii_channel_ask(&request, answer);
	if (answer->status == CPII_ANSWER_SHARE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("share was not accepted"),
				 answer->detail[0] ? errdetail_internal("%s", answer->detail) : 0));
}

int
cpii_keyring_unseal(const char *share, size_t len)
{
	CpiiAnswer	answer;

	ask_with_share(CPII_ASK_UNSEAL, share, len, &answer);
	if (answer.status != CPII_ANSWER_OK)
		report_unavailable(&answer, 0, 0);
	return answer.epoch;
}

int
cpii_keyring_change_master(const char *share, size_t len)
{
	CpiiAnswer	answer;

	ask_with_share(CPII_ASK_CHANGE_MASTER, share, len, &answer);
	if (answer.status == CPII_ANSWER_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the master key was not changed"),
				 answer.detail[0] ? errdetail_internal("%s", answer.detail) : 0));
	if (answer.status != CPII_ANSWER_OK)
		report_unavailable(&answer, 0, 0);
	return answer.epoch;
}

char *
cpii_keyring_unavailable(void)
{
	char	   *detail = NULL;
	char	   *hint = NULL;

	switch ((CpiiAgentState) pg_atomic_read_u32(&cpii_key_table->agent_state))
	{
		case CPII_AGENT_READY:
			if (pg_atomic_read_u32(&cpii_key_table->store_lost) == 0)
				return NULL;
			cpii_key_table_get_reason(&detail, &hint);
			break;
		case CPII_AGENT_SEALED:
			cpii_key_table_get_reason(&detail, &hint);
			break;
		case CPII_AGENT_ABSENT:
			detail = pstrdup("The key agent does not run.");
			break;
		case CPII_AGENT_STARTING:
			detail = pstrdup("The key agent is fetching the master key.");
			break;
	}
	return detail ? detail : pstrdup("The key is not available.");
}
