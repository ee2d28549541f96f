/*-------------------------------------------------------------------------
 *
 * lift_write.h
 *	  UPDATE and DELETE of a masked view: rows are locked before they are shown.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LIFT_WRITE_H
#define CPII_LIFT_WRITE_H

#include "nodes/parsenodes.h"

/*
 * Position in the range table of the subquery that stands for the masked view
 * which this query updates or deletes from; 0 for any other query.  To be
 * asked before the query is lifted.
 */
extern int	cpii_written_view(Query *query);

/* lock the rows of that subquery, if its conditions allow; after lifting */
extern void cpii_lock_written_rows(Query *query, int rtindex);

#endif							/* CPII_LIFT_WRITE_H */
