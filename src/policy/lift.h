/*-------------------------------------------------------------------------
 *
 * lift.h
 *	  What the planner is told about masked views.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIFT_H
#define CPII_LIFT_H

#include "nodes/parsenodes.h"

/*
 * Rewrite a query (in place) before it is planned; cheap when nothing is ours.
 * Returns whether the person's roles were decided: the plan then depends on
 * the role and on the policy.
 */
extern bool cpii_lift_query(Query *query);

/*
 * Can a column of the subquery get another output beside it?  Not where rows are
 * grouped, made distinct or combined by what is shown.
 */
extern bool cpii_can_be_lifted(Query *sub);

#endif							/* CPII_LIFT_H */
