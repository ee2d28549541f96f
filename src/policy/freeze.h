/*-------------------------------------------------------------------------
 *
 * freeze.h
 *	  The emergency brake: masks for a person, a class, or everybody, from the
 *	  next value on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_FREEZE_H
#define CPII_FREEZE_H

#include "base/session.h"

/* is the person who acts, or the class, frozen?  One atomic read, usually. */
extern bool cpii_freeze_applies(int class_id);

/* read the register for this person; called when the policy cache is loaded */
extern void cpii_freeze_load(const CpiiActor *who);

extern void cpii_freeze_init(void);

#endif							/* CPII_FREEZE_H */
