/*-------------------------------------------------------------------------
 *
 * lift_barrier.h
 *	  Barriers of masked views that protect nothing in this query are opened.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIFT_BARRIER_H
#define CPII_LIFT_BARRIER_H

#include "nodes/parsenodes.h"

/* in place; after lifting, and after the person's roles were folded */
extern void cpii_open_barriers(Query *query);

#endif							/* CPII_LIFT_BARRIER_H */
