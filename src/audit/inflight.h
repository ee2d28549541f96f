/*-------------------------------------------------------------------------
 *
 * inflight.h
 *	  Statements that have a BEGIN record and no END yet, kept in a file that
 *	  survives the death of their backend and of the server.
 *
 * The file "inflight" of the audit directory is mapped by all processes.  Each
 * backend has one slot in it with the bytes of its BEGIN record and counters
 * that the door and the receiver of rows keep up to date by plain stores.  A
 * server that starts (or starts again after a crash) finds the slots of the
 * dead and writes their END records, with outcome "crash" and those counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_INFLIGHT_H
#define CPII_AUDIT_INFLIGHT_H

typedef struct CpiiInflightCounts
{
	int64		rows;
	int64		disclosed;
	int64		masked;
	int64		probes;
} CpiiInflightCounts;

/* NULL unless this backend's statement has a slot */
extern volatile CpiiInflightCounts *cpii_inflight;

/* a BEGIN record is about to be written; take the slot */
extern void cpii_inflight_begin(const char *body, size_t length);

/* it was written (seq 0: it was not) */
extern void cpii_inflight_begun(uint64 seq);

/* its END record was written */
extern void cpii_inflight_end(void);

/* push the counters towards the disk (worker) */
extern void cpii_inflight_sync(void);

/*
 * Map the file and close what a former life of the server left.  In the
 * postmaster, when the spool is ready and no backend lives.
 */
extern void cpii_inflight_start(void);

#endif							/* CPII_AUDIT_INFLIGHT_H */
