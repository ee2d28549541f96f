/*-------------------------------------------------------------------------
 *
 * json.c
 *	  JSON from outside, read without telling anybody what it said.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/json.h"
#include "base/secret.h"

Jsonb *
cpii_json_object(const char *text, size_t len)
{
	char	   *copy;
	char	   *server;
	Jsonb	   *result = NULL;

	if (len > MaxAllocSize / 8 || !pg_verify_mbstr(PG_UTF8, text, (int) len, true))
		return NULL;
	copy = pnstrdup(text, len);
	server = pg_any_to_server(copy, (int) len, PG_UTF8);
	if (pg_parse_json(CPII_JSON_LEXER(server, (int) strlen(server)),
					  &nullSemAction) == JSON_SUCCESS)
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													CStringGetDatum(server)));
		if (!JB_ROOT_IS_OBJECT(result))
			result = NULL;
	}
	if (server != copy)
		cpii_wipe(server, strlen(server));
	cpii_wipe(copy, len);
	return result;
}

char *
cpii_json_string(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, name, (int) strlen(name), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

bool
cpii_json_integer(JsonbContainer *object, const char *name, int64 *value)
{
	JsonbValue	found;
	char	   *digits;
	char	   *end;

	if (getKeyJsonValueFromContainer(object, name, (int) strlen(name), &found) == NULL ||
		found.type != jbvNumeric)
		return false;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out,
												 NumericGetDatum(found.val.numeric)));
	errno = 0;
	*value = strtoll(digits, &end, 10);
	return errno == 0 && *end == '\0';
}
