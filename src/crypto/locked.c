/*-------------------------------------------------------------------------
 *
 * locked.c
 *	  Memory that is not swapped, dumped or inherited, and processes that
 *	  cannot be dumped or traced by their own account.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/mman.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include "base/secret.h"
#include "crypto/locked.h"

static size_t
whole_pages(size_t size)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* zeroed pages that stay in memory and out of core dumps; size in whole pages */
static void *
map_locked(size_t size, int sharing, bool *locked)
{
	void	   *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
						 sharing | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	*locked = mlock(p, size) == 0;
#ifdef MADV_DONTDUMP
	(void) madvise(p, size, MADV_DONTDUMP);
#endif
	return p;
}

void *
cpii_locked_alloc(size_t size, bool *locked)
{
	void	   *p;

	size = whole_pages(size);
	p = map_locked(size, MAP_PRIVATE, locked);
#ifdef MADV_DONTFORK
	if (p != NULL)
		(void) madvise(p, size, MADV_DONTFORK);
#endif
	return p;
}

void *
cpii_locked_shared(size_t size, bool *locked)
{
	return map_locked(whole_pages(size), MAP_SHARED, locked);
}

void
cpii_locked_free(void *p, size_t size)
{
	if (p == NULL)
		return;
	size = whole_pages(size);
	cpii_wipe(p, size);
	(void) munlock(p, size);
	(void) munmap(p, size);
}

void
cpii_process_harden(void)
{
	struct rlimit none = {0, 0};

	(void) setrlimit(RLIMIT_CORE, &none);
#ifdef PR_SET_DUMPABLE
	(void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}
