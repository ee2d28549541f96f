/*-------------------------------------------------------------------------
 *
 * replication.c
 *	  Ways to take a copy of everything: replication connections, for standbys,
 *	  base backups and logical decoding, and publications.
 *
 * What they take is ciphertext, but all of it.  The server calls nobody while a
 * replication connection works, so the login is the place: it is recorded as
 * an export, and with courier_pii.sealed_export = 'ticket' refused to everybody
 * but pii_backup, superusers included.  The same holds for the functions that
 * read or make a slot, or begin a backup, from SQL.  A publication names tables:
 * publishing one that is protected is an export of it, for which a ticket does
 * as well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/port.h"

#include "access/transam.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/walsender.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "audit/record.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "policy/relation.h"

static ClientAuthentication_hook_type prev_client_authentication = NULL;

static bool
is_backup_role(Oid role)
{
	Oid			backup = get_role_oid("pii_backup", true);

	return OidIsValid(backup) && is_member_of_role_nosuper(role, backup);
}

static void
record(const CpiiActor *actor, const char *command, bool refused)
{
	CpiiAuditEvent event;

	memset(&event, 0, sizeof(event));
	event.phase = CPII_PHASE_SINGLE;
	event.action = refused ? CPII_ACT_DENIED : CPII_ACT_EXPORT;
	event.outcome = refused ? "denied" : "ok";
	event.sqlstate = refused ? CPII_ERRCODE_LIMIT_REACHED : 0;
	event.command = command;
	event.actor = actor;
	(void) cpii_audit_write_noerror(&event, true);
}

static void
client_authentication(Port *port, int status)
{
	CpiiActor	actor;
	Oid			role;
	bool		refused;

	if (prev_client_authentication)
		prev_client_authentication(port, status);
	if (!am_walsender || status != STATUS_OK)
		return;
	role = get_role_oid(port->user_name, true);
	refused = cpii_sealed_export == CPII_SEALED_EXPORT_TICKET &&
		!is_backup_role(role);

	memset(&actor, 0, sizeof(actor));
	actor.login = actor.session = actor.outer = role;
	strlcpy(actor.login_name, port->user_name, NAMEDATALEN);
	strlcpy(actor.session_name, port->user_name, NAMEDATALEN);
	strlcpy(actor.outer_name, port->user_name, NAMEDATALEN);
	actor.privileged = OidIsValid(role) && superuser_arg(role);
	actor.proof = CPII_PROOF_NONE;
	if (OidIsValid(role) && cpii_person_lookup != NULL &&
		cpii_person_lookup(role, actor.staff_no, actor.org))
		actor.proof = CPII_PROOF_LOGIN;
	cpii_session_fill_client(&actor);
	record(&actor, "REPLICATION LOGIN", refused);
	if (refused)
		ereport(FATAL,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 errmsg("replication connections are reserved for role \"%s\"",
						"pii_backup")));
}

/* functions that hand out the changes of a slot, make one, or begin a backup */
static inline bool
reads_slot(Oid function)
{
	switch (function)
	{
		case F_PG_LOGICAL_SLOT_GET_CHANGES:
		case F_PG_LOGICAL_SLOT_PEEK_CHANGES:
		case F_PG_LOGICAL_SLOT_GET_BINARY_CHANGES:
		case F_PG_LOGICAL_SLOT_PEEK_BINARY_CHANGES:
		case F_PG_CREATE_LOGICAL_REPLICATION_SLOT:
		case F_PG_CREATE_PHYSICAL_REPLICATION_SLOT:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL_NAME:
		case F_PG_COPY_PHYSICAL_REPLICATION_SLOT_NAME_NAME:
		case F_PG_COPY_PHYSICAL_REPLICATION_SLOT_NAME_NAME_BOOL:
		case F_PG_BACKUP_START:
			return true;
		default:
			return false;
	}
}

static pg_noinline void
slot_function(Oid function)
{
	bool		refused;

	if (cpii_internal_depth > 0 || !IsUnderPostmaster)
		return;
	refused = cpii_sealed_export == CPII_SEALED_EXPORT_TICKET &&
		!cpii_session_has_duty("pii_backup");
	record(cpii_session_actor(), get_func_name(function), refused);
	if (refused)
		ereport(ERROR,
				(errcode(CPII_ERRCODE_LIMIT_REACHED),
				 function == F_PG_BACKUP_START ?
				 errmsg("backups are reserved for role \"%s\"", "pii_backup") :
				 errmsg("replication slots are reserved for role \"%s\"",
						"pii_backup")));
}

/*
 * Functions that read files of the server, or pages of a table, past every
 * table.  What they give is sealed, and a copy all the same.
 */
static const char *const raw_functions[] = {
	"pg_read_file", "pg_read_binary_file", "get_raw_page",
	"pg_get_wal_block_info", "pg_get_wal_fpi_info"
};

static pg_noinline void
raw_function(Oid function)
{
	char	   *name;

	/* others may not call them, unless they were allowed to on purpose */
	if (cpii_internal_depth > 0 || !IsUnderPostmaster || !superuser())
		return;
	name = get_func_name(function);
	for (int i = 0; name != NULL && i < lengthof(raw_functions); i++)
		if (strcmp(name, raw_functions[i]) == 0)
			record(cpii_session_actor(), name, false);
}

/* of the server's own functions those that read files have these numbers */
static inline bool
may_read_raw(Oid function)
{
	switch (function)
	{
		case F_PG_READ_FILE_TEXT:
#ifdef F_PG_READ_FILE_TEXT_BOOL
		case F_PG_READ_FILE_TEXT_BOOL:
		case F_PG_READ_BINARY_FILE_TEXT_BOOL:
#endif
		case F_PG_READ_FILE_TEXT_INT8_INT8:
		case F_PG_READ_FILE_TEXT_INT8_INT8_BOOL:
		case F_PG_READ_BINARY_FILE_TEXT:
		case F_PG_READ_BINARY_FILE_TEXT_INT8_INT8:
		case F_PG_READ_BINARY_FILE_TEXT_INT8_INT8_BOOL:
			return true;
		default:
			return function >= FirstNormalObjectId;
	}
}

void
cpii_replication_function(Oid function)
{
	if (unlikely(reads_slot(function)))
		slot_function(function);
	else if (unlikely(may_read_raw(function)))
		raw_function(function);
}

List *
cpii_published_tables(const char *publication)
{
	Oid			types[1] = {NAMEOID};
	Datum		values[1];

	values[0] = DirectFunctionCall1(namein, CStringGetDatum(publication));
	return cpii_internal_oids("SELECT c.oid FROM pg_catalog.pg_publication_tables p"
							  " JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname"
							  " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename"
							  " WHERE p.pubname = $1 ORDER BY c.oid",
							  1, types, values);
}

void
cpii_publication_changed(const char *publication, const List *before)
{
	List	   *tables = cpii_published_tables(publication);
	Oid		   *taken = palloc(sizeof(Oid) * Max(list_length(tables), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, tables)
	{
		Oid			relid = lfirst_oid(lc);

		if (!list_member_oid(before, relid) &&
			(cpii_relation_flags(relid) & CPII_REL_PROTECTED))
			taken[n++] = relid;
	}
	if (n == 0)
		return;
	cpii_account_action(CPII_ACT_EXPORT);
	for (int i = 0; i < n; i++)
		cpii_statement_touch(taken[i]);
	if (cpii_sealed_export == CPII_SEALED_EXPORT_TICKET &&
		!cpii_session_has_duty("pii_backup"))
		(void) cpii_ticket_redeem_all("export", taken, n);
}

void
cpii_replication_init(void)
{
	prev_client_authentication = ClientAuthentication_hook;
	ClientAuthentication_hook = client_authentication;
}
