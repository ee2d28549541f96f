/*-------------------------------------------------------------------------
 *
 * view_follow.h
 *	  Masked views follow the structure of their tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_VIEW_FOLLOW_H
#define CPII_VIEW_FOLLOW_H

#include "nodes/nodes.h"

typedef struct CpiiViewChange CpiiViewChange;

/*
 * Called before and after every utility statement runs.  The first parks the
 * masked views that a change of a table would trip over, and returns NULL when
 * there is nothing to do; the second brings them up to date.  An error in
 * between rolls all of it back with the statement.
 */
extern CpiiViewChange *cpii_views_before(Node *stmt);
extern void cpii_views_after(CpiiViewChange *change);

/* true: several statements of ours belong together, and we see to the views */
extern bool cpii_views_held;

#endif							/* CPII_VIEW_FOLLOW_H */
