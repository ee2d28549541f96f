/*-------------------------------------------------------------------------
 *
 * ship.h
 *	  Records of a standby on their way to its primary.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SHIP_H
#define CPII_AUDIT_SHIP_H

#include "audit/ingest.h"

/*
 * On a standby (worker): hand over what the primary has not got.  Works by
 * courier_pii.audit_ship_conninfo; never raises.  "own" is the progress row of
 * this node as far as it was replayed.
 */
extern void cpii_ship(const CpiiProgress *own);
extern void cpii_ship_disconnect(void);

#endif							/* CPII_AUDIT_SHIP_H */
