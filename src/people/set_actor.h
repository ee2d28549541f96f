/*-------------------------------------------------------------------------
 *
 * set_actor.h
 *	  Who acts behind a pool of connections, for one transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SET_ACTOR_H
#define CPII_SET_ACTOR_H

/* shared memory of used nonces, transaction callbacks */
extern void cpii_set_actor_init(void);

#endif							/* CPII_SET_ACTOR_H */
