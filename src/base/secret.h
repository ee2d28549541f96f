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

/* overwrite memory in a way that the compiler may not remove */
extern void cpii_wipe(void *p, size_t len);

/* true when equal; time depends on len only */
extern bool cpii_secret_equal(const void *a, const void *b, size_t len);

#endif							/* CPII_SECRET_H */
