/*-------------------------------------------------------------------------
 *
 * agent.h
 *	  The key agent: the one process that knows the master key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AGENT_H
#define CPII_AGENT_H

extern void cpii_agent_init(void);

#endif							/* CPII_AGENT_H */
