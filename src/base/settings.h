/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  All settings of courier_pii (prefix "courier_pii.").
 *
 * Enforcement settings are POSTMASTER or SIGHUP, never SUSET: since
 * PostgreSQL 15 a SUSET setting can be handed to anyone with GRANT SET ON
 * PARAMETER.  Only "purpose" and "ticket" belong to the user.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SETTINGS_H
#define CPII_SETTINGS_H

typedef enum CpiiKeySource
{
	CPII_KEY_SOURCE_FILE,
	CPII_KEY_SOURCE_COMMAND,
	CPII_KEY_SOURCE_CUSTODIANS
} CpiiKeySource;

typedef enum CpiiAuditFailure
{
	CPII_AUDIT_DENY,
	CPII_AUDIT_ALLOW
} CpiiAuditFailure;

typedef enum CpiiAuditSync
{
	CPII_SYNC_OFF,
	CPII_SYNC_BULK,
	CPII_SYNC_ALL
} CpiiAuditSync;

typedef enum CpiiAddressConflict
{
	CPII_CONFLICT_OFF,
	CPII_CONFLICT_LOG,
	CPII_CONFLICT_REJECT
} CpiiAddressConflict;

/* opening an envelope without a ticket */
typedef enum CpiiEmergency
{
	CPII_EMERGENCY_REFUSE,
	CPII_EMERGENCY_LOCAL		/* from the server's own machine */
} CpiiEmergency;

typedef enum CpiiUnregisteredLogin
{
	CPII_UNREGISTERED_ALLOW,
	CPII_UNREGISTERED_REJECT
} CpiiUnregisteredLogin;

typedef enum CpiiPrehashed
{
	CPII_PREHASHED_REJECT,
	CPII_PREHASHED_GUESS,
	CPII_PREHASHED_ALLOW
} CpiiPrehashed;

typedef enum CpiiSealedExport
{
	CPII_SEALED_EXPORT_RECORD,
	CPII_SEALED_EXPORT_TICKET
} CpiiSealedExport;

typedef enum CpiiEnforcement
{
	CPII_ENFORCE_WARN,
	CPII_ENFORCE_ON
} CpiiEnforcement;

/* POSTMASTER */
extern char *cpii_actor_key_file;
extern char *cpii_audit_checkpoint_directory;
extern char *cpii_audit_directory;
extern char *cpii_audit_export_directory;
extern char *cpii_audit_syslog;
extern char *cpii_database;
extern char *cpii_export_directory;
extern char *cpii_key_command;
extern char *cpii_key_file;
extern int	cpii_key_source;
extern char *cpii_key_store;
extern int	cpii_key_watch;
extern int	cpii_max_staff;
extern char *cpii_node_name;

/* SIGHUP */
extern int	cpii_audit_backlog_limit;
extern int	cpii_audit_keep_months;
extern char *cpii_audit_ship_conninfo;
extern int	cpii_audit_on_failure;
extern int	cpii_audit_spool_keep;
extern int	cpii_audit_sync;
extern int	cpii_default_limit_day;
extern int	cpii_default_limit_hour;
extern int	cpii_default_limit_statement;
extern int	cpii_default_masked_limit_day;
extern int	cpii_default_masked_limit_hour;
extern int	cpii_default_masked_limit_statement;
extern int	cpii_default_probe_limit;
extern int	cpii_default_probe_limit_day;
extern int	cpii_default_probe_limit_hour;
extern int	cpii_default_sealed_limit_day;
extern int	cpii_default_sealed_limit_hour;
extern int	cpii_default_sealed_limit_statement;
extern int	cpii_destroy_backup_within;
extern int	cpii_approval_login_age;
extern int	cpii_destroy_limit;
extern char *cpii_destroy_window;
extern int	cpii_sealed_export;
extern int	cpii_enforcement;
extern int	cpii_estimate_factor;
extern bool cpii_redact_log;
extern int	cpii_ticket_decide_within;
extern int	cpii_ticket_use_within;
extern int	cpii_key_command_timeout;
extern int	cpii_key_epoch_months;
extern int	cpii_online_share;
extern int	cpii_feed_brake_floor;
extern int	cpii_feed_brake_percent;
extern int	cpii_inactive_days;
extern int	cpii_leaver_quarantine_days;
extern int	cpii_login_address_conflict;
extern int	cpii_login_address_settle;
extern int	cpii_login_failure_window;
extern int	cpii_login_lock_time;
extern int	cpii_login_max_failures;
extern int	cpii_password_classes;
extern char *cpii_password_dictionary;
extern int	cpii_password_grace;
extern int	cpii_envelope_emergency;	/* CpiiEmergency */
extern int	cpii_envelope_time;	/* seconds */
extern int	cpii_password_history;
extern int	cpii_password_max_age;
extern int	cpii_password_max_run;
extern int	cpii_password_min_age;
extern int	cpii_password_min_length;
extern int	cpii_password_prehashed;
extern int	cpii_shown_memory;	/* kB */
extern int	cpii_unregistered_login;

/* USERSET */
extern int	cpii_mask_cache;	/* kB; 0 = off */
extern char *cpii_purpose;
extern char *cpii_ticket;

/*
 * Minutes of the day of a window "HH:MM-HH:MM"; false when the text is empty
 * or no window.
 */
extern bool cpii_destroy_window_minutes(const char *text, int *from, int *until);

extern void cpii_settings_init(void);

#endif							/* CPII_SETTINGS_H */
