/*-------------------------------------------------------------------------
 *
 * register.h
 *	  The registers of organisation units, staff and accounts: what other
 *	  files call when somebody leaves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_REGISTER_H
#define CPII_REGISTER_H

/*
 * Called in the transaction in which a person departs or is suspended, after
 * the registers were changed: custodians, approvals and the like end here.
 * May raise, which undoes the departure; better not.
 */
typedef void (*CpiiPersonLeft) (const char *staff_no, const char *status);
extern void cpii_register_person_left(CpiiPersonLeft callback);

/* suspend a person who is active; SPI is connected */
extern void cpii_leaver_suspend(const char *staff_no, const char *reason);

/* a person departs now; SPI is connected.  False: had departed already */
extern bool cpii_leaver_depart(const char *staff_no, const char *reason);

/* set a departure for a time to come; SPI is connected */
extern void cpii_leaver_depart_at(const char *staff_no, TimestampTz effective,
								  const char *reason);

/* registers the worker's task that completes what time has brought */
extern void cpii_leaver_init(void);

#endif							/* CPII_REGISTER_H */
