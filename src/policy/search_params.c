/*-------------------------------------------------------------------------
 *
 * search_params.c
 *	  Parameters that are only searched for tell the planner nothing.
 *
 * The planner knows no value that is searched for: its functions do not say it
 * while a plan is made.  So a plan for one value of a parameter is no better than
 * one for all, but with guessed row counts it may look cheaper, and then each
 * execution is planned anew.  Here the planner is not told such values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "nodes/primnodes.h"

#include "policy/search_params.h"
#include "sealed/oids.h"

typedef struct ParamContext
{
	const CpiiOids *oids;
	bool		searched;		/* within a function that searches */
	Bitmapset  *within;			/* numbers of parameters there, */
	Bitmapset  *outside;		/* and elsewhere */
} ParamContext;

static bool
is_search(Oid function, const CpiiOids *oids)
{
	return function == oids->tail4_of ||
		function == oids->search_key_text || function == oids->search_key_sealed ||
		function == oids->search_keys_text || function == oids->search_keys_sealed;
}

static bool
param_walker(Node *node, void *arg)
{
	ParamContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		Bitmapset **set = context->searched ? &context->within : &context->outside;

		*set = bms_add_member(*set, ((Param *) node)->paramid);
		return false;
	}
	if (IsA(node, FuncExpr) && !context->searched &&
		is_search(((FuncExpr *) node)->funcid, context->oids))
	{
		context->searched = true;
		(void) expression_tree_walker(node, param_walker, arg);
		context->searched = false;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, param_walker, arg, 0);
	return expression_tree_walker(node, param_walker, arg);
}

ParamListInfo
cpii_hide_searched(ParamListInfo params, Query *query)
{
	ParamContext context = {cpii_oids(), false, NULL, NULL};
	ParamListInfo result;
	int			id = -1;

	if (params == NULL || params->numParams == 0 || context.oids == NULL)
		return params;
	(void) query_tree_walker(query, param_walker, &context, 0);
	context.within = bms_del_members(context.within, context.outside);
	if (bms_is_empty(context.within))
		return params;
	/* variables of a function are fetched now; the plan's run fetches them again */
	result = copyParamList(params);
	while ((id = bms_next_member(context.within, id)) >= 0)
		if (id <= result->numParams)
			result->params[id - 1].pflags &= ~PARAM_FLAG_CONST;
	return result;
}
