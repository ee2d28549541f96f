/*-------------------------------------------------------------------------
 *
 * shown_cache.h
 *	  What this backend has masked before: sealed value to mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SHOWN_CACHE_H
#define CPII_SHOWN_CACHE_H

#include "mask/mask.h"

/*
 * The mask of a sealed value (its bytes, all of them) in this form, palloc'd in
 * the server encoding, or NULL.  The caller has decided that the person may see
 * this form, and that the key is at hand.
 */
extern text *cpii_shown_find(const bytea *value, CpiiMaskForm form);

/* remember it */
extern void cpii_shown_keep(const bytea *value, CpiiMaskForm form,
							const text *mask);

#endif							/* CPII_SHOWN_CACHE_H */
