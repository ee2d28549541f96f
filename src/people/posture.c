/*-------------------------------------------------------------------------
 *
 * posture.c
 *	  What the view courier_pii.posture cannot ask in SQL: is a stored password
 *	  one that anybody would try first?  And the later security releases that
 *	  an administrator enters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "libpq/crypt.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/syscache.h"

#include "audit/checkpoint.h"
#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/session.h"
#include "people/person.h"
#include "people/posture.h"

CPII_EXPORT Datum cpii_weak_password(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_set_safe_minor_version(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_weak_password);
PG_FUNCTION_INFO_V1(cpii_set_safe_minor_version);

static const char *const usual[] = {
	"", "postgres", "password", "123456", "admin", "changeme"
};

/* one slow comparison for each guess */
Datum
cpii_weak_password(PG_FUNCTION_ARGS)
{
	HeapTuple	tup;
	Datum		value;
	bool		isnull;
	char	   *name;
	char	   *verifier;
	const char *detail = NULL;

	cpii_require_preload();
	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(PG_GETARG_OID(0)));
	if (!HeapTupleIsValid(tup))
		PG_RETURN_BOOL(false);
	value = SysCacheGetAttr(AUTHOID, tup, Anum_pg_authid_rolpassword, &isnull);
	verifier = isnull ? NULL : TextDatumGetCString(value);
	name = pstrdup(NameStr(((Form_pg_authid) GETSTRUCT(tup))->rolname));
	ReleaseSysCache(tup);
	if (verifier == NULL)
		PG_RETURN_BOOL(false);
	if (plain_crypt_verify(name, verifier, name, &detail) == STATUS_OK)
		PG_RETURN_BOOL(true);
	for (int i = 0; i < lengthof(usual); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (plain_crypt_verify(name, verifier, usual[i], &detail) == STATUS_OK)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

Datum
cpii_set_safe_minor_version(PG_FUNCTION_ARGS)
{
	int			major = PG_GETARG_INT32(0);
	int			minor = PG_GETARG_INT32(1);
	const char *texts[4];

	cpii_require_duty("pii_security_admin");
	if (major < 15 || major > 999 || minor < 0 || minor > 999)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no version %d.%d", major, minor)));
	if (DATE_NOT_FINITE(PG_GETARG_DATEADT(2)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the day of the release must be finite")));
	texts[0] = psprintf("%d", major);
	texts[1] = psprintf("%d", minor);
	texts[2] = DatumGetCString(DirectFunctionCall1(date_out, PG_GETARG_DATUM(2)));
	texts[3] = cpii_session_actor()->login_name;
	SPI_connect();
	cpii_person_run("INSERT INTO courier_pii.minor_version_register (major, minor, released, set_by)"
					" VALUES ($1::pg_catalog.int4, $2::pg_catalog.int4, $3::pg_catalog.date, $4)"
					" ON CONFLICT (major) DO UPDATE SET minor = EXCLUDED.minor,"
					" released = EXCLUDED.released, set_by = EXCLUDED.set_by,"
					" set_at = pg_catalog.statement_timestamp()", 4, texts);
	cpii_audit_note(CPII_ACT_POLICY, "set_safe_minor_version", "ok",
					cpii_json_pairs("major", texts[0], "minor", texts[1], NULL));
	SPI_finish();
	PG_RETURN_VOID();
}

void
cpii_posture_note_timeline(void)
{
	const char *texts[1];

	texts[0] = psprintf("%d", cpii_timeline());
	cpii_person_run("INSERT INTO courier_pii.timeline_register (timeline)"
					" SELECT $1::pg_catalog.int4 WHERE NOT EXISTS (SELECT 1"
					" FROM courier_pii.timeline_register t WHERE t.timeline >= $1::pg_catalog.int4)",
					1, texts);
}
