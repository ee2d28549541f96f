/*-------------------------------------------------------------------------
 *
 * key_taken.h
 *	  A record of processes that have been given many keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_KEY_TAKEN_H
#define CPII_AUDIT_KEY_TAKEN_H

extern void cpii_key_taken_init(void);

#endif							/* CPII_AUDIT_KEY_TAKEN_H */
