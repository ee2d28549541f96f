/*-------------------------------------------------------------------------
 *
 * walk.h
 *	  Does a person search for waybill numbers one after another?
 *
 * A record holds no numbers, so the steps are counted where the number is known.
 * What is kept in shared memory between searches, over all sessions of a person,
 * is the last number plus a keyed pad of that person: it tells nothing without
 * the key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_WALK_H
#define CPII_AUDIT_WALK_H

/*
 * The person who is acting searches for a waybill number (UTF-8).  Returns how
 * many searches in a row went to a number close to the one before, 0 for text
 * without a number.  Raises PI004 without the key.
 */
extern int	cpii_walk_step(const char *waybill_no, size_t len);

extern void cpii_walk_init(void);

#endif							/* CPII_AUDIT_WALK_H */
