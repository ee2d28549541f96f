/*-------------------------------------------------------------------------
 *
 * plan_roles.c
 *	  Which roles were decided in the plans of this session.
 *
 * Changes of memberships and policy void plans by themselves (the plans name a
 * relation that stands for the policy); this file is about changes of the
 * person only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "base/session.h"
#include "policy/catalog.h"
#include "policy/plan_roles.h"

typedef struct DecidedRole
{
	Oid			role;			/* hash key */
	bool		acts;
} DecidedRole;

static HTAB *decided = NULL;
static Oid	last_person = InvalidOid;
static Oid	last_outer = InvalidOid;

bool
cpii_plan_acts_as(Oid role)
{
	DecidedRole *entry;
	bool		acts = cpii_policy_acts_as(role);

	if (decided == NULL)
	{
		HASHCTL		ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(DecidedRole);
		ctl.hcxt = CacheMemoryContext;
		decided = hash_create("courier_pii roles in plans", 16, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(decided, &role, HASH_ENTER, NULL);
	entry->acts = acts;
	return acts;
}

void
cpii_plan_roles_forget(void)
{
	if (decided == NULL)
		return;
	hash_destroy(decided);
	decided = NULL;
	ResetPlanCache();
}

void
cpii_plan_roles_check(void)
{
	const CpiiActor *who = cpii_session_actor();
	HASH_SEQ_STATUS status;
	DecidedRole *entry;

	if (who->person == last_person && who->outer == last_outer)
		return;
	last_person = who->person;
	last_outer = who->outer;
	if (decided == NULL)
		return;
	hash_seq_init(&status, decided);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (cpii_policy_acts_as(entry->role) != entry->acts)
		{
			hash_seq_term(&status);
			cpii_plan_roles_forget();
			return;
		}
	}
}
