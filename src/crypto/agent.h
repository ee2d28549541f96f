/*-------------------------------------------------------------------------
 *
 * agent.h
 *	  The key agent: the one process that knows the master key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AGENT_H
#define CPII_AGENT_H

#include "crypto/cipher.h"

/* called in the agent, with the audit key, before others may ask for keys */
extern void (*cpii_agent_unsealed_hook) (const unsigned char audit_key[CPII_KEY_LEN]);

extern void cpii_agent_init(void);

#endif							/* CPII_AGENT_H */
