/*-------------------------------------------------------------------------
 *
 * view_calls.h
 *	  Calls of the door and of acts_as() in a query, before it is lifted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_VIEW_CALLS_H
#define CPII_VIEW_CALLS_H

#include "nodes/parsenodes.h"

#include "sealed/oids.h"

/* the call of show_column that an expression is, or NULL */
extern FuncExpr *cpii_door_call(Node *expr, const CpiiOids *oids);

/* the view that a subquery was made of, or InvalidOid */
extern Oid	cpii_view_of(RangeTblEntry *rte);

/*
 * Decide acts_as('role') for the person who is acting (in place).  True when
 * there was one: the plan then depends on the role and on the policy.
 */
extern bool cpii_fold_roles(Query *query, const CpiiOids *oids);

/*
 * Marks the subquery of a registered masked view while a query is rewritten:
 * inner queries have no identifier of their own.
 */
#define CPII_VIEW_QUERY_ID UINT64CONST(0x63706969766965)

/* mark the door calls of registered masked views (show.h says why) */
extern void cpii_mark_view_calls(Query *query, const CpiiOids *oids);

#endif							/* CPII_VIEW_CALLS_H */
