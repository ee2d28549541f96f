/*-------------------------------------------------------------------------
 *
 * register.h
 *	  The registers of organisation units and staff.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_REGISTER_H
#define CPII_REGISTER_H

/*
 * Complete departures whose time has come: status, NOLOGIN, roster.  Needs a
 * transaction on a server that can write; called by the background worker.
 */
extern void cpii_register_lapse(void);

#endif							/* CPII_REGISTER_H */
