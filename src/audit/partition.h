/*-------------------------------------------------------------------------
 *
 * partition.h
 *	  Partitions of the audit table, one a month.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_PARTITION_H
#define CPII_AUDIT_PARTITION_H

#include "datatype/timestamp.h"

/*
 * Records may come late (a standby's, or after a long rest of the worker): make
 * their months' partitions, inside SPI.  What no partition can be made for goes
 * into the default one.
 */
extern void cpii_partition_cover(TimestampTz first, TimestampTz last);

/* make the partitions for this month and the next one */
extern void cpii_partition_make(void);

#endif							/* CPII_AUDIT_PARTITION_H */
