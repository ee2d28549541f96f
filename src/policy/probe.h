/*-------------------------------------------------------------------------
 *
 * probe.h
 *	  Searches by real value, and values that are sealed to be compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PROBE_H
#define CPII_PROBE_H

/*
 * Were values sealed before a statement began, as a parameter, in an array or
 * row literal, while a plan was made?  The next statement that runs answers for
 * them: its hook calls cpii_probe_early() once its account is open and it is
 * known whether it writes.  May raise PI001.
 */
extern bool cpii_probe_waits;
extern void cpii_probe_early(void);

/* raise: there is no account in a parallel worker */
extern void cpii_refuse_worker(void);

/* a value of a column is sealed while the column is being protected */
extern void cpii_probe_existing(int class_id);

/* install the probe hooks of the sealed room */
extern void cpii_probe_init(void);

#endif							/* CPII_PROBE_H */
