/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  Wiped buffers and comparison without early exit.
 *
 * Pure: no palloc, no settings, no catalog.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SECRET_H
#define CPII_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* overwrite memory in a way that the compiler may not remove */
extern void cpii_wipe(void *p, size_t len);

/*
 * The same for a few bytes of a size that the compiler knows: two or three
 * stores in place of a call.  The empty instruction reads the memory, as far
 * as the compiler can tell, so the stores before it stay.
 */
static inline void
cpii_wipe_few(void *p, size_t len)
{
#if defined(__GNUC__)
	memset(p, 0, len);
	__asm__ __volatile__("" : : "r" (p) : "memory");
#else
	cpii_wipe(p, len);
#endif
}

/* true when equal; time depends on len only */
extern bool cpii_secret_equal(const void *a, const void *b, size_t len);

#endif							/* CPII_SECRET_H */
