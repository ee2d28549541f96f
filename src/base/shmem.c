/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory of all rooms: one request, one start-up pass.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/shmem.h"

#define MAX_ROOMS 32

typedef struct ShmemRoom
{
	const char *name;
	CpiiShmemSize size;
	CpiiShmemInit init;
	int			nlocks;
} ShmemRoom;

static ShmemRoom rooms[MAX_ROOMS];
static int	nrooms = 0;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

void
cpii_shmem_register(const char *name, CpiiShmemSize size, CpiiShmemInit init,
					int nlocks)
{
	if (nrooms >= MAX_ROOMS)
		elog(ERROR, "too many shared memory rooms");
	rooms[nrooms].name = name;
	rooms[nrooms].size = size;
	rooms[nrooms].init = init;
	rooms[nrooms].nlocks = nlocks;
	nrooms++;
}

static void
cpii_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	for (int i = 0; i < nrooms; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(rooms[i].size()));
		if (rooms[i].nlocks > 0)
			RequestNamedLWLockTranche(rooms[i].name, rooms[i].nlocks);
	}
}

static void
cpii_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nrooms; i++)
	{
		bool		found;
		void	   *area = ShmemInitStruct(rooms[i].name, rooms[i].size(), &found);

		rooms[i].init(area, found,
					  rooms[i].nlocks > 0 ? GetNamedLWLockTranche(rooms[i].name) : NULL);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Called once from _PG_init, before the rooms register. */
void
cpii_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = cpii_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = cpii_shmem_startup;
}
