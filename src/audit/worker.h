/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The background worker: flushes the spool, moves records into the table,
 *	  and runs periodic tasks of other rooms.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_WORKER_H
#define CPII_AUDIT_WORKER_H

/*
 * Have the worker call a function about every interval_ms milliseconds while
 * the extension exists in its database, and once soon after it starts.  Each
 * call has a transaction of its own with an active snapshot; an error ends only
 * that transaction and is logged.  To be called from a room's init function
 * (in the postmaster).  There is no worker while a server is in recovery.
 */
typedef void (*CpiiWorkerTask) (void);
extern void cpii_worker_register_task(CpiiWorkerTask task, int interval_ms);

/*
 * Have the worker leave its database for a moment (it is started again after
 * a second), so that the database can be dropped, renamed or copied.
 */
extern void cpii_worker_step_aside(void);

extern void cpii_worker_init(void);

#endif							/* CPII_AUDIT_WORKER_H */
