/*-------------------------------------------------------------------------
 *
 * agent_watch.c
 *	  Who takes unusually many keys, inside the key agent.
 *
 * A session asks once for each class and epoch that it meets, so the number of
 * data keys that it has been given tells how much of the company's data it
 * could read.  Somebody at a counter needs a few; whoever reads years of every
 * class, or collects keys, needs many.  Counts are of the agent's own memory
 * and belong to a process, by the place and number that the server knows it by.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "base/settings.h"
#include "crypto/agent_watch.h"
#include "crypto/channel.h"

typedef struct Taker
{
	int			pid;
	int			keys;
	uint32		classes;		/* bit n = class n; bit 0 = a company's own */
} Taker;

static Taker *takers = NULL;

void		(*cpii_agent_taken_hook) (const CpiiTaken *taken) = NULL;

/* 1, 2, 4 ... times the setting */
static bool
worth_noting(int keys)
{
	int			times = keys / cpii_key_watch;

	return keys % cpii_key_watch == 0 && (times & (times - 1)) == 0;
}

void
cpii_agent_taken(int number, int pid, Oid login, int class_id)
{
	Taker	   *taker;
	CpiiTaken	taken;

	if (takers == NULL)
		takers = MemoryContextAllocZero(TopMemoryContext,
										sizeof(Taker) * cpii_channel_slots());
	taker = &takers[number];
	if (taker->pid != pid)
		memset(taker, 0, sizeof(*taker));
	taker->pid = pid;
	taker->keys++;
	taker->classes |= (uint32) 1 << (class_id > 0 && class_id < 32 ? class_id : 0);
	if (cpii_key_watch == 0 || cpii_agent_taken_hook == NULL || !worth_noting(taker->keys))
		return;
	taken.pid = pid;
	taken.login = login;
	taken.keys = taker->keys;
	taken.classes = pg_popcount32(taker->classes);
	cpii_agent_taken_hook(&taken);
}
