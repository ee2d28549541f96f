/*-------------------------------------------------------------------------
 *
 * store_watch.h
 *	  Noticing that the key store is gone, inside the key agent.
 *
 * The data directory remembers which key store its values were sealed with, so
 * that a store that is missing, emptied or another one is told from a server
 * that has none yet.  For the agent process only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_STORE_WATCH_H
#define CPII_STORE_WATCH_H

#include "crypto/keystore.h"

/* the identity that the data directory remembers; false when it knows none */
extern bool cpii_store_remembered(unsigned char uuid[CPII_INSTALLATION_LEN]);
/* remember it; false with errno */
extern bool cpii_store_remember(const unsigned char uuid[CPII_INSTALLATION_LEN]);

/* what to say of a store that is not where it was */
extern void cpii_store_lost_reason(const char **detail, const char **hint);

/*
 * Is the store still the one that the keys came from?  When it is not, the
 * shared table says so and nobody gets more of a counter; when it has come
 * back, it is read again.  True when it is there.
 */
extern bool cpii_store_watch(void);

#endif							/* CPII_STORE_WATCH_H */
