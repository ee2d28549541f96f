/*-------------------------------------------------------------------------
 *
 * canary.h
 *	  Decoy rows: nobody has a reason to see them, so whoever does is recorded
 *	  apart.
 *
 * A decoy is recognised at the door by the search tags of its values.  What is
 * known of decoys is stored sealed: the table tells a database administrator
 * their number and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_POLICY_CANARY_H
#define CPII_POLICY_CANARY_H

#include "sealed/envelope.h"

/* decoy values known to this backend; -1: not read yet */
extern int	cpii_canary_values;

extern void cpii_canary_look(const CpiiEnvelope *env, bool clear);

/*
 * Called by the door before a value is shown: a decoy in clear is recorded at
 * once (action CANARY), a masked one is remembered in cpii_statement.canary.
 */
static inline void
cpii_canary_check(const CpiiEnvelope *env, bool clear)
{
	if (unlikely(cpii_canary_values != 0) && env->tag != NULL)
		cpii_canary_look(env, clear);
}

#endif							/* CPII_POLICY_CANARY_H */
