/*-------------------------------------------------------------------------
 *
 * sealed_case.c
 *	  Cases of law enforcement: records about them are for named readers only.
 *
 * A record is about a case when its purpose is the case's number, or its ticket
 * one of the case's.  The records themselves are not touched: they stay in the
 * chain, and in what audit_verify() checks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/ticket.h"
#include "crypto/cipher.h"
#include "crypto/keyring.h"

#define MAX_CASE_NO 200

CPII_EXPORT Datum cpii_audit_visible(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_seal_case(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_unseal_case(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_visible);
PG_FUNCTION_INFO_V1(cpii_seal_case);
PG_FUNCTION_INFO_V1(cpii_unseal_case);

/* what the person who asks may not see, as known to one call site */
typedef struct Withheld
{
	int			n;
	char	  **purpose;
	int			nt;
	char	  **ticket;
} Withheld;

static bool
is_reader(Datum readers)
{
	Datum	   *roles;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(readers), REGROLEOID, sizeof(Oid), true,
					  TYPALIGN_INT, &roles, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && cpii_session_acts_as(cpii_session_actor(), DatumGetObjectId(roles[i])))
			return true;
	return false;
}

static Withheld *
read_withheld(MemoryContext context)
{
	CpiiInternalState internal;
	Withheld   *w = MemoryContextAllocZero(context, sizeof(Withheld));
	SPITupleTable *cases;
	uint64		n;

	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("SELECT case_no, tickets, readers FROM courier_pii.audit_case"
						  " WHERE lifted_at IS NULL",
						  0, NULL, NULL, NULL, true, 0);
	n = SPI_processed;
	cases = SPI_tuptable;
	cpii_internal_end(&internal);
	w->purpose = MemoryContextAlloc(context, sizeof(char *) * Max(n, 1));
	w->ticket = MemoryContextAlloc(context, sizeof(char *));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		tickets = SPI_getbinval(cases->vals[i], cases->tupdesc, 2, &isnull);
		Datum	   *elems;
		bool	   *nulls;
		int			nelems;

		if (is_reader(SPI_getbinval(cases->vals[i], cases->tupdesc, 3, &isnull)))
			continue;
		w->purpose[w->n++] = MemoryContextStrdup(context, SPI_getvalue(cases->vals[i], cases->tupdesc, 1));
		deconstruct_array(DatumGetArrayTypeP(tickets), TEXTOID, -1, false,
						  TYPALIGN_INT, &elems, &nulls, &nelems);
		w->ticket = repalloc(w->ticket, sizeof(char *) * (w->nt + nelems + 1));
		for (int j = 0; j < nelems; j++)
			w->ticket[w->nt++] = MemoryContextStrdup(context, TextDatumGetCString(elems[j]));
	}
	SPI_finish();
	return w;
}

static bool
among(text *value, char **list, int n)
{
	size_t		len = VARSIZE_ANY_EXHDR(value);

	for (int i = 0; i < n; i++)
		if (strlen(list[i]) == len && memcmp(list[i], VARDATA_ANY(value), len) == 0)
			return true;
	return false;
}

/* audit_visible(purpose, ticket): may the person see records of these? */
Datum
cpii_audit_visible(PG_FUNCTION_ARGS)
{
	Withheld   *w = fcinfo->flinfo->fn_extra;

	if (w == NULL)
	{
		cpii_require_preload();
		w = fcinfo->flinfo->fn_extra = read_withheld(fcinfo->flinfo->fn_mcxt);
	}
	PG_RETURN_BOOL(w->n == 0 ||
				   !((!PG_ARGISNULL(0) && among(PG_GETARG_TEXT_PP(0), w->purpose, w->n)) ||
					 (!PG_ARGISNULL(1) && among(PG_GETARG_TEXT_PP(1), w->ticket, w->nt))));
}

static void
check_readers(ArrayType *readers)
{
	Oid			duty = get_role_oid("pii_auditor", false);
	Datum	   *roles;
	bool	   *nulls;
	int			n;

	deconstruct_array(readers, REGROLEOID, sizeof(Oid), true, TYPALIGN_INT, &roles, &nulls, &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a sealed case needs a reader")));
	for (int i = 0; i < n; i++)
		if (nulls[i] || !is_member_of_role_nosuper(DatumGetObjectId(roles[i]), duty))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a reader of a sealed case must be a member of \"pii_auditor\"")));
}

/*
 * Case, readers and tickets as the object of a ticket names them: keyed, since
 * all auditors see requests, and few know the case.
 */
static char *
case_object(FunctionCallInfo fcinfo)
{
	unsigned char key[CPII_KEY_LEN];
	unsigned char sum[CPII_MAC_LEN];
	char	   *plain = psprintf("case/%s/%s/%s", text_to_cstring(PG_GETARG_TEXT_PP(0)),
								OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(1)),
								OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(2)));
	CpiiMac    *mac;
	StringInfoData buf;
	bool		ok;

	if (!cpii_keyring_audit_key(key))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("key of the audit trail is not available")));
	mac = cpii_mac_new(key, sizeof(key));
	ok = mac != NULL && cpii_mac(mac, (unsigned char *) plain, strlen(plain), sum);
	if (mac != NULL)
		cpii_mac_free(mac);
	cpii_wipe(key, sizeof(key));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	initStringInfo(&buf);
	appendStringInfoString(&buf, "case/");
	for (int i = 0; i < 16; i++)
		appendStringInfo(&buf, "%02x", sum[i]);
	return buf.data;
}

/* seal_case(case_no, readers, tickets): a second call replaces both lists */
Datum
cpii_seal_case(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	text	   *case_no = PG_GETARG_TEXT_PP(0);
	Oid			types[4] = {TEXTOID, REGROLEARRAYOID, INT8ARRAYOID, TEXTOID};
	Datum		values[4];
	size_t		len = VARSIZE_ANY_EXHDR(case_no);
	int64		id;

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	if (len == 0 || len > MAX_CASE_NO)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of a case must have 1 to %d bytes", MAX_CASE_NO)));
	check_readers(PG_GETARG_ARRAYTYPE_P(1));
	/* hiding records from auditors is a power that one person must not have */
	if (cpii_duties_sealed())
		(void) cpii_require_ticket("policy", case_object(fcinfo), false);

	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = CStringGetTextDatum(cpii_session_actor()->login_name);
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("INSERT INTO courier_pii.audit_case AS c"
						  " (case_no, readers, tickets, sealed_by, sealed_at)"
						  " VALUES ($1, $2, $3::pg_catalog.text[], $4, pg_catalog.clock_timestamp())"
						  " ON CONFLICT (case_no) DO UPDATE SET readers = excluded.readers,"
						  " tickets = excluded.tickets, sealed_by = excluded.sealed_by,"
						  " sealed_at = excluded.sealed_at, lifted_by = NULL, lifted_at = NULL"
						  " RETURNING id",
						  4, types, values, NULL, false, 0);
	id = cpii_result_int64(0, 1);
	cpii_internal_end(&internal);
	SPI_finish();
	/* not its number: this record is for all auditors */
	cpii_audit_note(CPII_ACT_POLICY, "seal_case", "ok",
					psprintf("{\"case\": %lld}", (long long) id));
	PG_RETURN_INT64(id);
}

Datum
cpii_unseal_case(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	int64		id = PG_GETARG_INT64(0);
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2];

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(cpii_session_actor()->login_name);
	SPI_connect();
	cpii_internal_begin(&internal);
	cpii_internal_execute("UPDATE courier_pii.audit_case SET lifted_by = $2,"
						  " lifted_at = pg_catalog.clock_timestamp()"
						  " WHERE id OPERATOR(pg_catalog.=) $1 AND lifted_at IS NULL",
						  2, types, values, NULL, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no sealed case %lld", (long long) id)));
	/* shows the records to all auditors again */
	(void) cpii_require_ticket("policy", psprintf("case/%lld/none", (long long) id), false);
	cpii_internal_end(&internal);
	SPI_finish();
	cpii_audit_note(CPII_ACT_POLICY, "unseal_case", "ok",
					psprintf("{\"case\": %lld}", (long long) id));
	PG_RETURN_VOID();
}
