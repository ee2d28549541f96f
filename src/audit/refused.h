/*-------------------------------------------------------------------------
 *
 * refused.h
 *	  Records of the spool that do not go into the table: who is told.
 *
 * Each case is recorded (SYSTEM), logged, and so raises an alert; the segment
 * is kept under another name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_REFUSED_H
#define CPII_AUDIT_REFUSED_H

#include "audit/spool.h"

/* the next record that goes in, after number last_seq; what lies in between? */
extern void cpii_refused_look(const CpiiSegment *segment, uint64 last_seq,
							  const CpiiSpoolRecord *record);

/* end of a batch: records that could not be checked */
extern void cpii_refused_end(const CpiiSegment *segment);

/* refused records behind which there is nothing yet */
extern void cpii_refused_tail(const CpiiSegment *segment, uint64 last_seq,
							  const CpiiSpoolRecord *record);

#endif							/* CPII_AUDIT_REFUSED_H */
