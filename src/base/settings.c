/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Definitions of all settings, in alphabetical order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "base/settings.h"

char	   *cpii_actor_key_file = NULL;
int			cpii_audit_backlog_limit = 4096;
char	   *cpii_audit_checkpoint_directory = NULL;
char	   *cpii_audit_directory = NULL;
char	   *cpii_audit_export_directory = NULL;
int			cpii_audit_keep_months = 36;
int			cpii_audit_on_failure = CPII_AUDIT_DENY;
char	   *cpii_audit_ship_conninfo = NULL;
int			cpii_audit_spool_keep = 600;
char	   *cpii_audit_syslog = NULL;
int			cpii_audit_sync = CPII_SYNC_BULK;
char	   *cpii_database = NULL;
int			cpii_default_limit_day = 20000;
int			cpii_default_limit_hour = 5000;
int			cpii_default_limit_statement = 1000;
int			cpii_default_masked_limit_day = -1;
int			cpii_default_masked_limit_hour = -1;
int			cpii_default_masked_limit_statement = -1;
int			cpii_default_probe_limit = 1000;
int			cpii_default_probe_limit_day = 20000;
int			cpii_default_probe_limit_hour = 5000;
int			cpii_default_sealed_limit_day = -1;
int			cpii_default_sealed_limit_hour = -1;
int			cpii_default_sealed_limit_statement = -1;
int			cpii_destroy_backup_within = 7 * 24 * 3600;
int			cpii_approval_login_age = 600;
int			cpii_destroy_limit = 1000;
char	   *cpii_destroy_window = NULL;
int			cpii_enforcement = CPII_ENFORCE_ON;
int			cpii_estimate_factor = 10;
int			cpii_feed_brake_floor = 5;
int			cpii_feed_brake_percent = 5;
int			cpii_inactive_days = 30;
char	   *cpii_export_directory = NULL;
char	   *cpii_key_command = NULL;
int			cpii_key_command_timeout = 10;
int			cpii_key_epoch_months = 1;
int			cpii_online_share = 20;
char	   *cpii_key_file = NULL;
int			cpii_key_source = CPII_KEY_SOURCE_FILE;
char	   *cpii_key_store = NULL;
int			cpii_key_watch = 64;
int			cpii_leaver_quarantine_days = 90;
int			cpii_login_address_conflict = CPII_CONFLICT_LOG;
int			cpii_login_address_settle = 120;
int			cpii_login_failure_window = 900;
int			cpii_login_lock_time = 1800;
int			cpii_login_max_failures = 5;
int			cpii_max_staff = 20000;
char	   *cpii_node_name = NULL;
int			cpii_mask_cache = 1024;
int			cpii_password_classes = 3;
char	   *cpii_password_dictionary = NULL;
int			cpii_password_grace = 3;
int			cpii_envelope_emergency = CPII_EMERGENCY_REFUSE;
int			cpii_envelope_time = 2 * 3600;
int			cpii_password_history = 12;
int			cpii_password_max_age = 30;
int			cpii_password_max_run = 3;
int			cpii_password_min_age = 1;
int			cpii_password_min_length = 12;
int			cpii_password_prehashed = CPII_PREHASHED_REJECT;
char	   *cpii_purpose = NULL;
bool		cpii_redact_log = true;
int			cpii_sealed_export = CPII_SEALED_EXPORT_RECORD;
char	   *cpii_ticket = NULL;
int			cpii_ticket_decide_within = 24 * 3600;
int			cpii_ticket_use_within = 4 * 3600;
int			cpii_shown_memory = 64 * 1024;
int			cpii_unregistered_login = CPII_UNREGISTERED_ALLOW;

static const struct config_enum_entry key_source_options[] = {
	{"file", CPII_KEY_SOURCE_FILE, false},
	{"command", CPII_KEY_SOURCE_COMMAND, false},
	{"custodians", CPII_KEY_SOURCE_CUSTODIANS, false},
	{NULL, 0, false}
};

static const struct config_enum_entry audit_failure_options[] = {
	{"deny", CPII_AUDIT_DENY, false},
	{"allow", CPII_AUDIT_ALLOW, false},
	{NULL, 0, false}
};

static const struct config_enum_entry audit_sync_options[] = {
	{"off", CPII_SYNC_OFF, false},
	{"bulk", CPII_SYNC_BULK, false},
	{"all", CPII_SYNC_ALL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry emergency_options[] = {
	{"refuse", CPII_EMERGENCY_REFUSE, false},
	{"local", CPII_EMERGENCY_LOCAL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry conflict_options[] = {
	{"off", CPII_CONFLICT_OFF, false},
	{"log", CPII_CONFLICT_LOG, false},
	{"reject", CPII_CONFLICT_REJECT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry unregistered_options[] = {
	{"allow", CPII_UNREGISTERED_ALLOW, false},
	{"reject", CPII_UNREGISTERED_REJECT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry prehashed_options[] = {
	{"reject", CPII_PREHASHED_REJECT, false},
	{"guess", CPII_PREHASHED_GUESS, false},
	{"allow", CPII_PREHASHED_ALLOW, false},
	{NULL, 0, false}
};

static const struct config_enum_entry sealed_export_options[] = {
	{"record", CPII_SEALED_EXPORT_RECORD, false},
	{"ticket", CPII_SEALED_EXPORT_TICKET, false},
	{NULL, 0, false}
};

static const struct config_enum_entry enforcement_options[] = {
	{"warn", CPII_ENFORCE_WARN, false},
	{"on", CPII_ENFORCE_ON, false},
	{NULL, 0, false}
};

/* purpose and ticket go into every record: bound their length */
static bool
check_short_text(char **newval, void **extra, GucSource source)
{
	if (*newval && strlen(*newval) > 256)
	{
		GUC_check_errdetail("The value must not be longer than 256 bytes.");
		return false;
	}
	return true;
}

bool
cpii_destroy_window_minutes(const char *text, int *from, int *until)
{
	int			h1;
	int			m1;
	int			h2;
	int			m2;
	int			used = 0;

	if (text == NULL || text[0] == '\0' ||
		sscanf(text, "%2d:%2d-%2d:%2d%n", &h1, &m1, &h2, &m2, &used) != 4 ||
		text[used] != '\0' || h1 < 0 || h1 > 23 || m1 < 0 || m1 > 59 ||
		h2 < 0 || h2 > 24 || m2 < 0 || m2 > 59 || h2 * 60 + m2 > 24 * 60)
		return false;
	*from = h1 * 60 + m1;
	*until = h2 * 60 + m2;
	return *from != *until;
}

static bool
check_window(char **newval, void **extra, GucSource source)
{
	int			from;
	int			until;

	if (*newval == NULL || (*newval)[0] == '\0' ||
		cpii_destroy_window_minutes(*newval, &from, &until))
		return true;
	GUC_check_errdetail("A time of day has the form \"22:00-05:00\".");
	return false;
}

void
cpii_settings_init(void)
{
	DefineCustomStringVariable("courier_pii.actor_key_file",
							   "Sets the file with the keys that actor tokens are checked with.",
							   NULL, &cpii_actor_key_file, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.approval_login_age",
							"Sets how long after the login a person may approve, once the duties are sealed.",
							"0 = as long as the session lasts.",
							&cpii_approval_login_age, 600, 0, 86400,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.audit_backlog_limit",
							"Sets how many audit records may wait to be ingested before access to personal data is refused.",
							"From half of it on, statements wait a little.  0: no limit.",
							&cpii_audit_backlog_limit, 4096, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.audit_checkpoint_directory",
							   "Sets the directory that signed checkpoints of the audit chain are written to.",
							   "It should belong to somebody else, or lie on another machine.  Empty: none.",
							   &cpii_audit_checkpoint_directory, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.audit_directory",
							   "Sets the directory of the audit spool.",
							   "A relative path is taken from the data directory; a directory outside it is recommended.",
							   &cpii_audit_directory, "courier_pii_audit",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.audit_export_directory",
							   "Sets the directory that exported months of audit records are written to.",
							   NULL, &cpii_audit_export_directory, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.audit_keep_months",
							"Sets how many months audit records are kept at least.",
							NULL, &cpii_audit_keep_months, 36, 6, 1200,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.audit_on_failure",
							 "Sets what happens to access to personal data when an audit record cannot be stored.",
							 NULL, &cpii_audit_on_failure, CPII_AUDIT_DENY, audit_failure_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.audit_ship_conninfo",
							   "Sets how a standby connects to the primary to hand over its audit records.",
							   "Empty: they stay in its spool until it is promoted.",
							   &cpii_audit_ship_conninfo, "",
							   PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.audit_spool_keep",
							"Sets how long spool segments are kept after their records are in the table.",
							"A former primary finds there what its successor has not got.",
							&cpii_audit_spool_keep, 600, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.audit_sync",
							 "Sets which audit records are flushed to disk before the statement goes on.",
							 NULL, &cpii_audit_sync, CPII_SYNC_BULK, audit_sync_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.audit_syslog",
							   "Sets where checkpoints and alerts are sent as syslog messages.",
							   "\"local\", the path of a datagram socket, or host:port for UDP.  Empty: nowhere.",
							   &cpii_audit_syslog, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.database",
							   "Sets the one database of this server that is protected.",
							   NULL, &cpii_database, "postgres",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_limit_day",
							"Sets the number of clear values per day for a person without a limit entry.",
							NULL, &cpii_default_limit_day, 20000, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_limit_hour",
							"Sets the number of clear values per hour for a person without a limit entry.",
							NULL, &cpii_default_limit_hour, 5000, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_limit_statement",
							"Sets the number of clear values per statement for a person without a limit entry.",
							NULL, &cpii_default_limit_statement, 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_masked_limit_day",
							"Sets the number of masked values per day for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_masked_limit_day, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_masked_limit_hour",
							"Sets the number of masked values per hour for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_masked_limit_hour, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_masked_limit_statement",
							"Sets the number of masked values per statement for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_masked_limit_statement, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_probe_limit",
							"Sets the number of searches by real value per statement.",
							"Equality searches and seals of literals outside plain INSERT are counted as probes.",
							&cpii_default_probe_limit, 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_probe_limit_day",
							"Sets the number of searches by real value per day for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_probe_limit_day, 20000, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_probe_limit_hour",
							"Sets the number of searches by real value per hour for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_probe_limit_hour, 5000, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_sealed_limit_day",
							"Sets the number of rows of sealed values sent out per day for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_sealed_limit_day, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_sealed_limit_hour",
							"Sets the number of rows of sealed values sent out per hour for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_sealed_limit_hour, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.default_sealed_limit_statement",
							"Sets the number of rows of sealed values sent out per statement for a person without a budget entry.",
							"-1 is no limit.", &cpii_default_sealed_limit_statement, -1, -1, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.destroy_backup_within",
							"Sets how old the verified backup may be that destruction of personal data asks for.",
							"Asked for once the duties are sealed; 0 never.",
							&cpii_destroy_backup_within, 7 * 24 * 3600, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.destroy_limit",
							"Sets the number of rows of protected tables that a statement may delete without a ticket.",
							NULL, &cpii_destroy_limit, 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.destroy_window",
							   "Sets the time of day at which personal data may be destroyed.",
							   "Two times such as 22:00-05:00, in the time zone log_timezone; empty: always.",
							   &cpii_destroy_window, "",
							   PGC_SIGHUP, GUC_NOT_IN_SAMPLE, check_window, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.enforcement",
							 "Sets whether limits are enforced or only reported.",
							 "With \"warn\" a statement over its limit is recorded and warned about, not ended.  Masks are never affected.",
							 &cpii_enforcement, CPII_ENFORCE_ON, enforcement_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.envelope_emergency",
							 "Sets whether an envelope may be opened without a ticket.",
							 NULL, &cpii_envelope_emergency, CPII_EMERGENCY_REFUSE, emergency_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.envelope_time",
							"Sets the longest time for which an opened envelope's account may log in.",
							NULL, &cpii_envelope_time, 2 * 3600, 1, 24 * 3600,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.estimate_factor",
							"Sets how far above the limit an estimate must be to refuse a statement before its first row.",
							"A multiple of the person's limit per statement; 0 turns estimates off.",
							&cpii_estimate_factor, 10, 0, 1000000,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.export_directory",
							   "Sets the directory that encrypted packages are written to.",
							   "Empty: packages are handed to the client only.",
							   &cpii_export_directory, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.hr_feed_brake_floor",
							"Sets the number of departures that a personnel feed may always contain.",
							NULL, &cpii_feed_brake_floor, 5, 0, 1000000,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.hr_feed_brake_percent",
							"Sets the share of accounts, in percent, that a personnel feed may disable without release by another person.",
							NULL, &cpii_feed_brake_percent, 5, 1, 100,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.inactive_days",
							"Sets the days without a login after which a person is suspended.",
							"0 turns it off.", &cpii_inactive_days, 30, 0, 3650,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.key_command",
							   "Sets the command that prints the master key.",
							   "An absolute path and arguments, separated by blanks; no shell.  It is run once.",
							   &cpii_key_command, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.key_command_timeout",
							"Sets how long the key command may take.",
							NULL, &cpii_key_command_timeout, 10, 1, 300,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.key_epoch_months",
							"Sets after how many months a class gets a new epoch by itself.",
							"0 turns this off.",
							&cpii_key_epoch_months, 1, 0, 120,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.key_file",
							   "Sets the file that holds the master key.",
							   "32 raw bytes or 64 hexadecimal digits; owned by the server account with mode 0600 or 0400, outside the data directory.",
							   &cpii_key_file, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.key_source",
							 "Sets where the master key comes from.",
							 NULL, &cpii_key_source, CPII_KEY_SOURCE_FILE, key_source_options,
							 PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.key_store",
							   "Sets the directory of the epoch secrets.",
							   "Must lie outside the data directory and outside database backups.  Empty: the key file's name with \".store\" appended.",
							   &cpii_key_store, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.key_watch",
							"Sets after how many data keys a session is recorded.",
							"Again at each doubling.  0 turns this off.",
							&cpii_key_watch, 64, 0, 8192,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.leaver_quarantine_days",
							"Sets the days after a departure before the login role may be dropped.",
							NULL, &cpii_leaver_quarantine_days, 90, 0, 3650,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.login_address_conflict",
							 "Sets what happens when an account is used from two addresses at once.",
							 NULL, &cpii_login_address_conflict, CPII_CONFLICT_LOG, conflict_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.login_address_settle",
							"Sets how old a session must be to conflict with a login from another address.",
							NULL, &cpii_login_address_settle, 120, 0, 86400,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.login_failure_window",
							"Sets the time in which failed logins are counted; half of them are forgotten each time it passes.",
							NULL, &cpii_login_failure_window, 900, 1, 86400,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.login_lock_time",
							"Sets for how long failed logins lock an account.",
							NULL, &cpii_login_lock_time, 1800, 1, 604800,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.login_max_failures",
							"Sets the number of failed logins from one address that locks an account for that address.",
							"Four times as many from anywhere lock it altogether.  0 turns locking off.", &cpii_login_max_failures, 5, 0, 1000,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.mask_cache",
							"Sets the memory in which a session keeps masks that it has worked out.",
							"Only masks are kept, never clear text.  Zero keeps none.",
							&cpii_mask_cache, 1024, 0, 1024 * 1024,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.max_staff",
							"Sets the number of accounts that shared memory has room for.",
							NULL, &cpii_max_staff, 20000, 100, 1000000,
							PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.node_name",
							   "Sets the name of this server in audit records.",
							   "Empty: the host's name.",
							   &cpii_node_name, "",
							   PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.online_share",
							"Sets the share of the time that online protection and resealing work while others do.",
							"While nobody else is at work they do not pause.  0 stops them until it is raised.",
							&cpii_online_share, 20, 0, 100,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_classes",
							"Sets how many kinds of characters a password must contain: lower case, upper case, digits, others.",
							NULL, &cpii_password_classes, 3, 1, 4,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.password_dictionary",
							   "Sets the dictionary of cracklib, without the ending of its files.",
							   "Empty: only the built-in list of common passwords is used.",
							   &cpii_password_dictionary, "/var/cache/cracklib/cracklib_dict",
							   PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_grace",
							"Sets the days after password_max_age until nothing but a change of the password is possible.",
							NULL, &cpii_password_grace, 3, 0, 365,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_history",
							"Sets the number of earlier passwords that may not be used again.",
							NULL, &cpii_password_history, 12, 0, 100,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_max_age",
							"Sets the days after which a password must be changed.",
							"0 turns it off.", &cpii_password_max_age, 30, 0, 3650,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_max_run",
							"Sets the longest run of equal, consecutive or neighbouring characters in a password.",
							NULL, &cpii_password_max_run, 3, 2, 32,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_min_age",
							"Sets the days before a person may change a password again.",
							NULL, &cpii_password_min_age, 1, 0, 365,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.password_min_length",
							"Sets the least number of characters of a password.",
							NULL, &cpii_password_min_length, 12, 1, 128,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.password_prehashed",
							 "Sets what happens when a person's password arrives already hashed.",
							 NULL, &cpii_password_prehashed, CPII_PREHASHED_REJECT, prehashed_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.purpose",
							   "States the matter that the session works on.",
							   "Recorded with every access; use SET LOCAL behind a connection pool.",
							   &cpii_purpose, "",
							   PGC_USERSET, GUC_NOT_IN_SAMPLE, check_short_text, NULL, NULL);
	DefineCustomBoolVariable("courier_pii.redact_log",
							 "Keeps literals of statements in the protected database out of the server log.",
							 "They are kept out of pg_stat_activity and pg_stat_statements, too, where a statement touches protected relations.",
							 &cpii_redact_log, true,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.sealed_export",
							 "Sets whether COPY of protected tables, as by pg_dump, is only recorded or needs a ticket.",
							 "Members of pii_backup need none.",
							 &cpii_sealed_export, CPII_SEALED_EXPORT_RECORD, sealed_export_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.shown_memory",
							"Sets the memory for each sort, hash or store of a statement that shows values in clear.",
							"It takes the place of a smaller work_mem, since such values are not written to temporary files.",
							&cpii_shown_memory, 64 * 1024, 64, MAX_KILOBYTES - 1,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("courier_pii.ticket",
							   "States the ticket that the session works under.",
							   NULL, &cpii_ticket, "",
							   PGC_USERSET, GUC_NOT_IN_SAMPLE, check_short_text, NULL, NULL);

	DefineCustomIntVariable("courier_pii.ticket_decide_within",
							"Sets the time within which a request must be decided.",
							NULL, &cpii_ticket_decide_within, 24 * 3600, 1, 24 * 3600,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("courier_pii.ticket_use_within",
							"Sets the time within which an approved ticket must be used.",
							NULL, &cpii_ticket_use_within, 4 * 3600, 1, 4 * 3600,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomEnumVariable("courier_pii.unregistered_login",
							 "Sets whether roles that belong to nobody may log in.",
							 NULL, &cpii_unregistered_login, CPII_UNREGISTERED_ALLOW, unregistered_options,
							 PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);

	MarkGUCPrefixReserved("courier_pii");
}
