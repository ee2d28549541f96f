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

/*
 * The DELETE of one batch of purge().  The purge has used its ticket for the rows
 * that this statement itself takes from the table and from what inherits from it.
 * What triggers and foreign keys delete on the way counts as any deletion does,
 * under the same ticket (0: the one that the session names).
 */
typedef struct CpiiPurgeBatch
{
	Oid			relid;
	int64		ticket;
	int64		rows;			/* that the whole purge is to take, -1 = not counted */
	int			depth;			/* of executors around the statement */
} CpiiPurgeBatch;

/* the batch that runs, NULL when none does */
extern const CpiiPurgeBatch *cpii_destroy_batch;

/* an object is accessed, dropped or truncated (one of the server's hooks) */
extern void cpii_destroy_object(ObjectAccessType access, Oid classId,
								Oid objectId, int subId, void *arg);

#endif							/* CPII_DESTROY_H */
