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

/* rewrite a query (in place) before it is planned; cheap when nothing is ours */
extern void cpii_lift_query(Query *query);

#endif							/* CPII_LIFT_H */
