/*-------------------------------------------------------------------------
 *
 * undone.h
 *	  Records of changes whose transaction was rolled back afterwards.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_UNDONE_H
#define CPII_AUDIT_UNDONE_H

#include "audit/record.h"

/*
 * A record says that a change was made.  When its (sub)transaction is rolled
 * back, one more record with outcome "rollback" names it by its number.
 */
extern void cpii_undone_remember(const CpiiAuditEvent *event, uint64 seq);

extern void cpii_undone_init(void);

#endif							/* CPII_AUDIT_UNDONE_H */
