/*-------------------------------------------------------------------------
 *
 * spool.h
 *	  The append-only spool: preallocated segments, one write(2) per record.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SPOOL_H
#define CPII_AUDIT_SPOOL_H

/* see record.h; the room's owner refines this interface */

#endif							/* CPII_AUDIT_SPOOL_H */
