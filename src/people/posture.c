/*-------------------------------------------------------------------------
 *
 * posture.c
 *	  What the view courier_pii.posture cannot ask in SQL: is a stored password
 *	  one that anybody would try first?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "libpq/crypt.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/internal.h"

CPII_EXPORT Datum cpii_weak_password(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_weak_password);

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
