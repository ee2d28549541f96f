/*-------------------------------------------------------------------------
 *
 * shown_cache.h
 *	  What this backend has masked before: sealed value to mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SHOWN_CACHE_H
#define CPII_SHOWN_CACHE_H

#include "base/settings.h"
#include "mask/mask.h"

/* memory of one entry; longer pairs of value and mask are not kept */
#define CPII_SHOWN_ENTRY 256

/*
 * The mask of a sealed value (its bytes, all of them) in this form, palloc'd in
 * the server encoding, or NULL.  The caller has decided that the person may see
 * this form, and that the key is at hand.
 */
extern text *cpii_shown_find(const bytea *value, CpiiMaskForm form);

/* how many masks there is room for */
static inline int64
cpii_shown_room(void)
{
	return (int64) cpii_mask_cache * 1024 / CPII_SHOWN_ENTRY;
}

/* remember it */
extern void cpii_shown_keep(const bytea *value, CpiiMaskForm form,
							const text *mask);

#endif							/* CPII_SHOWN_CACHE_H */
