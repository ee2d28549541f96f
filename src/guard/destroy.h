/*-------------------------------------------------------------------------
 *
 * destroy.h
 *	  Destruction of protected data needs a ticket.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_DESTROY_H
#define CPII_DESTROY_H

#include "catalog/objectaccess.h"
#include "executor/executor.h"

/* what a utility statement destroys that is seen before it runs only */
extern void cpii_destroy_utility(Node *stmt);

/* after a plan ran, and after it was finished: raise when too much is deleted */
extern void cpii_destroy_after_run(QueryDesc *queryDesc);
extern void cpii_destroy_after_finish(QueryDesc *queryDesc);

/* raise unless data may be destroyed now: time of day, verified backup */
extern void cpii_destroy_conditions(void);

/* purge() has used a ticket for what it deletes */
extern bool cpii_destroy_purging;

/* an object is accessed, dropped or truncated (one of the server's hooks) */
extern void cpii_destroy_object(ObjectAccessType access, Oid classId,
								Oid objectId, int subId, void *arg);

#endif							/* CPII_DESTROY_H */
