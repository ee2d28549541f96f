/*-------------------------------------------------------------------------
 *
 * foreign_code.c
 *	  What is neither the server's own nor the extension's.
 *
 * Statements of ours must not call it with the rights of the extension's owner,
 * a superuser: whoever owns a table decides what its expressions call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "policy/foreign_code.h"

bool
cpii_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId &&
		get_func_namespace(function) != cpii_schema_oid(false);
}

static bool
is_foreign_type(Oid type)
{
	HeapTuple	tup;
	bool		foreign;

	if (type < FirstNormalObjectId)
		return false;
	tup = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tup))
		return true;
	foreign = ((Form_pg_type) GETSTRUCT(tup))->typnamespace != cpii_schema_oid(false);
	ReleaseSysCache(tup);
	return foreign;
}

bool
cpii_is_citext(Oid type)
{
	Oid			extension = get_extension_oid("citext", true);

	return OidIsValid(extension) &&
		getExtensionOfObject(TypeRelationId, type) == extension;
}

static bool
calls(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CoerceToDomain) && is_foreign_type(castNode(CoerceToDomain, node)->resulttype))
		return true;
	if (check_functions_in_node(node, cpii_foreign_function, context))
		return true;
	return expression_tree_walker(node, calls, context);
}

bool
cpii_calls_foreign(Node *expression)
{
	return calls(expression, NULL);
}

static bool
has_foreign_value(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Const) && is_foreign_type(castNode(Const, node)->consttype) &&
		!cpii_is_citext(castNode(Const, node)->consttype))
		return true;
	return expression_tree_walker(node, has_foreign_value, context);
}

bool
cpii_casts_foreign(Node *expression)
{
	return calls(expression, NULL) || has_foreign_value(expression, NULL);
}
