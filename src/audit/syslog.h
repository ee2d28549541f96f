/*-------------------------------------------------------------------------
 *
 * syslog.h
 *	  One line to the system log, here or on another machine.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SYSLOG_H
#define CPII_AUDIT_SYSLOG_H

/* severities of RFC 5424 */
#define CPII_SYSLOG_ALERT	1
#define CPII_SYSLOG_WARNING 4
#define CPII_SYSLOG_NOTICE	5

/*
 * Send a message (RFC 5424, facility authpriv) to where courier_pii.audit_syslog
 * says: "local" (/dev/log), the path of a datagram socket, or "host:port" (UDP).
 * Never blocks, never raises.  False with errno when it was not sent; true also
 * when the setting is empty.
 */
extern bool cpii_syslog(int severity, const char *kind, const char *text);

#endif							/* CPII_AUDIT_SYSLOG_H */
