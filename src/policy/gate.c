/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  Conditions on the person that must hold before clear text is shown.
 *
 * The answer belongs to the policy cache: it is worked out when that is loaded
 * (the person, the policy or a register changed, or a date passed) and costs
 * nothing per value.  Somebody who is not in the roster passes none of the
 * gates that look at registers.  The gate "account" (who has left sees
 * nothing) is always on and lives in the people room.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/port.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/gate.h"

#include "miscadmin.h"

CPII_EXPORT Datum cpii_set_gate(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_record_standing(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_end_standing(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_set_gate);
PG_FUNCTION_INFO_V1(cpii_record_standing);
PG_FUNCTION_INFO_V1(cpii_end_standing);

/* columns of courier_pii.gate_setting */
#define SETTING_GATE 1
#define SETTING_MODE 2

/* columns of courier_pii.standing_register */
#define STANDING_STAFF_NO 2
#define STANDING_ORG 3
#define STANDING_GATE 4
#define STANDING_FROM 5
#define STANDING_UNTIL 6

/* columns of courier_pii.org_register */
#define ORG_CODE 1
#define ORG_PARENT 4

/* deepest organisation tree that is followed upwards */
#define ORG_DEPTH 32

typedef enum GateMode
{
	GATE_OFF,
	GATE_WARN,
	GATE_ON
} GateMode;

static const char *const gate_names[CPII_NGATES] = {
	"tls", "password", "agreement", "training", "contract"
};
static const char *const gate_reasons[CPII_NGATES] = {
	"gate \"tls\": the connection is remote and not encrypted",
	"gate \"password\": the password is out of date",
	"gate \"agreement\": no agreement is in force",
	"gate \"training\": training is not in date",
	"gate \"contract\": no contract is in force"
};
static const char *const mode_names[] = {"off", "warn", "on"};

CpiiPasswordInDate cpii_password_in_date = NULL;

/* the last answer: gates not passed, by mode */
static uint32 closed = 0;
static uint32 warned = 0;

/* ---- reading the registers ---- */

static void
load_modes(GateMode modes[CPII_NGATES])
{
	Oid			relid = cpii_relation_oid("gate_setting", true);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;

	for (int i = 0; i < CPII_NGATES; i++)
		modes[i] = GATE_WARN;
	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *gate = TextDatumGetCString(heap_getattr(tup, SETTING_GATE,
															RelationGetDescr(rel), &isnull));
		char	   *mode = TextDatumGetCString(heap_getattr(tup, SETTING_MODE,
															RelationGetDescr(rel), &isnull));

		for (int i = 0; i < CPII_NGATES; i++)
			if (strcmp(gate, gate_names[i]) == 0)
				for (int m = GATE_OFF; m <= GATE_ON; m++)
					if (strcmp(mode, mode_names[m]) == 0)
						modes[i] = m;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Read what the register says of one subject: passed[i] is set when a record of
 * gate i is in force.  *deadline moves to the next date that matters.
 */
static void
load_standing(Relation rel, const char *index, AttrNumber column,
			  const char *subject, bool passed[CPII_NGATES],
			  TimestampTz *deadline)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz ends[CPII_NGATES];

	for (int i = 0; i < CPII_NGATES; i++)
		ends[i] = DT_NOBEGIN;
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(subject));
	scan = systable_beginscan(rel, cpii_relation_oid(index, true), true, NULL,
							  1, &key);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;
		char	   *gate = TextDatumGetCString(heap_getattr(tup, STANDING_GATE, desc, &isnull));
		TimestampTz from = DatumGetTimestampTz(heap_getattr(tup, STANDING_FROM, desc, &isnull));
		Datum		d = heap_getattr(tup, STANDING_UNTIL, desc, &isnull);
		TimestampTz until = isnull ? DT_NOEND : DatumGetTimestampTz(d);

		if (until <= now)
			continue;
		if (from > now)
		{
			*deadline = Min(*deadline, from);
			continue;
		}
		for (int i = 0; i < CPII_NGATES; i++)
			if (strcmp(gate, gate_names[i]) == 0)
			{
				passed[i] = true;
				ends[i] = Max(ends[i], until);
			}
	}
	systable_endscan(scan);
	for (int i = 0; i < CPII_NGATES; i++)
		if (ends[i] != DT_NOBEGIN)
			*deadline = Min(*deadline, ends[i]);
}

/* the unit above, or NULL; palloc'd */
static char *
org_parent(Relation rel, const char *code)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	char	   *parent = NULL;

	ScanKeyInit(&key, ORG_CODE, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(code));
	scan = systable_beginscan(rel, cpii_relation_oid("org_register_pkey", true),
							  true, NULL, 1, &key);
	if (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		d = heap_getattr(tup, ORG_PARENT, RelationGetDescr(rel), &isnull);

		if (!isnull)
			parent = TextDatumGetCString(d);
	}
	systable_endscan(scan);
	return parent;
}

/* the person's own records, and those of the units that the person belongs to */
static void
load_registers(const CpiiActor *who, bool passed[CPII_NGATES],
			   TimestampTz *deadline)
{
	Oid			standing = cpii_relation_oid("standing_register", true);
	Oid			orgs = cpii_relation_oid("org_register", true);
	Relation	rel;
	Relation	org_rel;
	char	   *org;

	if (who->proof == CPII_PROOF_NONE || !OidIsValid(standing) || !OidIsValid(orgs))
		return;
	rel = table_open(standing, AccessShareLock);
	load_standing(rel, "standing_register_staff_no", STANDING_STAFF_NO,
				  who->staff_no, passed, deadline);
	org_rel = table_open(orgs, AccessShareLock);
	org = pstrdup(who->org);
	for (int depth = 0; org != NULL && org[0] != '\0' && depth < ORG_DEPTH; depth++)
	{
		load_standing(rel, "standing_register_org", STANDING_ORG, org, passed,
					  deadline);
		org = org_parent(org_rel, org);
	}
	table_close(org_rel, AccessShareLock);
	table_close(rel, AccessShareLock);
}

static bool
tls_passed(const CpiiActor *who)
{
	return MyProcPort == NULL || MyProcPort->ssl_in_use ||
		who->client_addr[0] == '\0' ||
		strcmp(who->client_addr, "127.0.0.1") == 0 ||
		strcmp(who->client_addr, "::1") == 0;
}

static bool
password_passed(const CpiiActor *who, TimestampTz *deadline)
{
	TimestampTz until = DT_NOEND;

	/* behind a pool the person proved who they are to the gateway */
	if (cpii_password_in_date == NULL || who->proof == CPII_PROOF_TOKEN)
		return true;
	if (!cpii_password_in_date(who->login, &until))
		return false;
	*deadline = Min(*deadline, until);
	return true;
}

void
cpii_gate_load(const CpiiActor *who, TimestampTz *deadline)
{
	GateMode	modes[CPII_NGATES];
	bool		passed[CPII_NGATES] = {false};
	bool		registers = false;

	closed = warned = 0;
	if (who->privileged)
		return;
	load_modes(modes);
	for (int i = CPII_GATE_AGREEMENT; i <= CPII_GATE_CONTRACT; i++)
		registers |= modes[i] != GATE_OFF;
	if (registers)
		load_registers(who, passed, deadline);
	passed[CPII_GATE_TLS] = tls_passed(who);
	if (modes[CPII_GATE_PASSWORD] != GATE_OFF)
		passed[CPII_GATE_PASSWORD] = password_passed(who, deadline);
	for (int i = 0; i < CPII_NGATES; i++)
	{
		if (passed[i] || modes[i] == GATE_OFF)
			continue;
		if (modes[i] == GATE_ON)
			closed |= 1u << i;
		else
			warned |= 1u << i;
	}
}

/* ---- the answer ---- */

bool
cpii_gate_closed(void)
{
	return closed != 0;
}

CpiiLevel
cpii_gate_level(CpiiLevel level)
{
	return closed != 0 && level > CPII_LEVEL_MASKED ? CPII_LEVEL_MASKED : level;
}

const char *
cpii_gate_reason(void)
{
	for (int i = 0; i < CPII_NGATES; i++)
		if (closed & (1u << i))
			return gate_reasons[i];
	return NULL;
}

const char *
cpii_gate_detail(void)
{
	static char detail[128];
	static uint32 told = 0;		/* what the text says */
	char	   *end;

	if (warned == 0)
		return NULL;
	if (warned == told)
		return detail;
	told = warned;
	strcpy(detail, "{\"gates_not_passed\": [");
	for (int i = 0; i < CPII_NGATES; i++)
		if (warned & (1u << i))
		{
			end = detail + strlen(detail);
			snprintf(end, sizeof(detail) - (end - detail), "%s\"%s\"",
					 end[-1] == '[' ? "" : ", ", gate_names[i]);
		}
	strlcat(detail, "]}", sizeof(detail));
	return detail;
}

/* ---- changing ---- */

static int
gate_by_name(const char *name)
{
	for (int i = 0; i < CPII_NGATES; i++)
		if (strcmp(name, gate_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized gate \"%s\"", name),
			 strcmp(name, "account") == 0 ?
			 errdetail("The gate \"account\" is always on.") : 0,
			 errhint("Valid gates are tls, password, agreement, training, contract.")));
	return -1;
}

/* set_gate(gate, mode): loosening needs a ticket once the duties are sealed */
Datum
cpii_set_gate(PG_FUNCTION_ARGS)
{
	char	   *gate = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *mode = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			number = gate_by_name(gate);
	int			wanted = -1;
	GateMode	modes[CPII_NGATES];
	Oid			types[3] = {TEXTOID, TEXTOID, NAMEOID};
	Datum		values[3] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	NameData	who;

	for (int m = GATE_OFF; m <= GATE_ON; m++)
		if (strcmp(mode, mode_names[m]) == 0)
			wanted = m;
	if (wanted < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized mode \"%s\"", mode),
				 errhint("Valid modes are off, warn, on.")));
	cpii_require_duty("pii_security_admin");
	load_modes(modes);
	if (wanted < (int) modes[number])
		(void) cpii_require_ticket("policy", psprintf("gate/%s/%s", gate, mode),
								   false);

	namestrcpy(&who, cpii_session_actor()->login_name);
	values[2] = NameGetDatum(&who);
	SPI_connect();
	cpii_internal_execute("INSERT INTO courier_pii.gate_setting (gate, mode, set_by)"
						  " VALUES ($1, $2, $3) ON CONFLICT (gate) DO UPDATE"
						  " SET mode = excluded.mode, set_by = excluded.set_by,"
						  " set_at = pg_catalog.now()",
						  3, types, values, NULL, false, 0);
	SPI_finish();
	cpii_policy_changed();
	cpii_audit_note(CPII_ACT_POLICY, "set_gate", "ok",
					psprintf("{\"gate\": \"%s\", \"mode\": \"%s\"}", gate, mode));
	PG_RETURN_VOID();
}

static void
require_people_duty(void)
{
	if (!cpii_session_has_duty("pii_security_admin"))
		cpii_require_duty("pii_account_admin");
}

static void
note_standing(const char *function, const char *gate, const char *key,
			  const char *subject)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"gate\": \"%s\", \"%s\": ", gate, key);
	escape_json(&detail, subject);
	appendStringInfoChar(&detail, '}');
	cpii_audit_note(CPII_ACT_ACCOUNT, function, "ok", detail.data);
}

/* one of staff_no (argument 1) and org (2) is given; returns which */
static int
subject_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1) == PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("exactly one of staff_no and org must be given")));
	return PG_ARGISNULL(1) ? 2 : 1;
}

static int
register_gate_argument(FunctionCallInfo fcinfo)
{
	int			number;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("gate must not be null")));
	number = gate_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (number < CPII_GATE_AGREEMENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gate \"%s\" has no register", gate_names[number]),
				 errhint("Gates with a register are agreement, training, contract.")));
	return number;
}

/* record_standing(gate, staff_no, org, valid_from, valid_until, evidence) */
Datum
cpii_record_standing(PG_FUNCTION_ARGS)
{
	int			gate = register_gate_argument(fcinfo);
	int			subject = subject_argument(fcinfo);
	Oid			types[7] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, NAMEOID};
	Datum		values[7];
	char		nulls[7];
	NameData	who;

	require_people_duty();
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4) &&
		PG_GETARG_TIMESTAMPTZ(4) <= PG_GETARG_TIMESTAMPTZ(3))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("valid_until must be later than valid_from")));
	namestrcpy(&who, cpii_session_actor()->login_name);
	for (int i = 0; i < 6; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[6] = NameGetDatum(&who);
	nulls[6] = ' ';

	SPI_connect();
	cpii_internal_execute(subject == 1 ?
						  "SELECT 1 FROM courier_pii.staff_register s WHERE s.staff_no = $2" :
						  "SELECT 1 FROM courier_pii.org_register o WHERE o.code = $3",
						  7, types, values, nulls, true, 1);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(subject == 1 ? "staff number does not exist" :
						"organisation unit does not exist")));
	cpii_internal_execute("INSERT INTO courier_pii.standing_register"
						  " (gate, staff_no, org, valid_from, valid_until, evidence, recorded_by)"
						  " VALUES ($1, $2, $3, coalesce($4, pg_catalog.now()), $5, $6, $7)",
						  7, types, values, nulls, false, 0);
	SPI_finish();
	cpii_policy_changed();
	note_standing("record_standing", gate_names[gate],
				  subject == 1 ? "staff_no" : "org",
				  text_to_cstring(PG_GETARG_TEXT_PP(subject)));
	PG_RETURN_VOID();
}

/* end_standing(gate, staff_no, org): what is in force ends now; returns how many */
Datum
cpii_end_standing(PG_FUNCTION_ARGS)
{
	int			gate = register_gate_argument(fcinfo);
	int			subject = subject_argument(fcinfo);
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	char		nulls[3];
	int64		ended;

	require_people_duty();
	for (int i = 0; i < 3; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	SPI_connect();
	cpii_internal_execute("UPDATE courier_pii.standing_register s"
						  " SET valid_until = greatest(s.valid_from, pg_catalog.now())"
						  " WHERE s.gate = $1 AND s.staff_no IS NOT DISTINCT FROM $2"
						  " AND s.org IS NOT DISTINCT FROM $3"
						  " AND (s.valid_until IS NULL OR s.valid_until > pg_catalog.now())",
						  3, types, values, nulls, false, 0);
	ended = (int64) SPI_processed;
	SPI_finish();
	cpii_policy_changed();
	note_standing("end_standing", gate_names[gate],
				  subject == 1 ? "staff_no" : "org",
				  text_to_cstring(PG_GETARG_TEXT_PP(subject)));
	PG_RETURN_INT64(ended);
}
