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
	int			nlocks;
	CpiiShmemSize size;
	CpiiShmemInit init;			/* NULL: the three below are all there is to do */
	Size		fixed_size;
	void	  **area;
	LWLock	  **lock;
} ShmemRoom;

static ShmemRoom rooms[MAX_ROOMS];
static int	nrooms = 0;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static ShmemRoom *
new_room(const char *name, int nlocks)
{
	if (nrooms >= MAX_ROOMS)
		elog(ERROR, "too many shared memory rooms");
	memset(&rooms[nrooms], 0, sizeof(ShmemRoom));
	rooms[nrooms].name = name;
	rooms[nrooms].nlocks = nlocks;
	return &rooms[nrooms++];
}

void
cpii_shmem_register(const char *name, CpiiShmemSize size, CpiiShmemInit init,
					int nlocks)
{
	ShmemRoom  *room = new_room(name, nlocks);

	room->size = size;
	room->init = init;
}

void
cpii_shmem_register_zeros(const char *name, void **area, Size size, LWLock **lock)
{
	ShmemRoom  *room = new_room(name, lock != NULL ? 1 : 0);

	room->area = area;
	room->fixed_size = size;
	room->lock = lock;
}

static Size
room_size(const ShmemRoom *room)
{
	return room->size != NULL ? room->size() : room->fixed_size;
}

static void
cpii_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	for (int i = 0; i < nrooms; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(room_size(&rooms[i])));
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
		ShmemRoom  *room = &rooms[i];
		Size		size = room_size(room);
		bool		found = true;
		void	   *area = size > 0 ? ShmemInitStruct(room->name, size, &found) : NULL;
		LWLockPadded *locks = room->nlocks > 0 ? GetNamedLWLockTranche(room->name) : NULL;

		if (!found)
			memset(area, 0, size);
		if (room->area != NULL)
			*room->area = area;
		if (room->lock != NULL)
			*room->lock = &locks[0].lock;
		if (room->init != NULL)
			room->init(area, found, locks);
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
