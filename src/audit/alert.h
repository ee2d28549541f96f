/*-------------------------------------------------------------------------
 *
 * alert.h
 *	  Alerts: rules over audit records, evaluated by the worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_ALERT_H
#define CPII_AUDIT_ALERT_H

extern void cpii_alert_init(void);

#endif							/* CPII_AUDIT_ALERT_H */
