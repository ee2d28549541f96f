/*-------------------------------------------------------------------------
 *
 * lift_search.h
 *	  Comparisons of masked columns with a value become searches by real value.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIFT_SEARCH_H
#define CPII_LIFT_SEARCH_H

#include "nodes/parsenodes.h"

#include "sealed/oids.h"

/* one query level, whose lifted door calls stand in its expressions */
extern void cpii_lift_searches(Query *query, const CpiiOids *oids);

/* is it one of our comparisons on sealed values? */
extern bool cpii_is_sealed_comparison(Oid operator, const CpiiOids *oids);

#endif							/* CPII_LIFT_SEARCH_H */
