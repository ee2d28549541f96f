/*-------------------------------------------------------------------------
 *
 * lift_with.h
 *	  WITH queries that read masked views are put where they are used.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIFT_WITH_H
#define CPII_LIFT_WITH_H

#include "nodes/parsenodes.h"

/* in place, before lifting; in the query and all below it */
extern void cpii_inline_with_queries(Query *query);

#endif							/* CPII_LIFT_WITH_H */
