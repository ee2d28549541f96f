/*-------------------------------------------------------------------------
 *
 * protect_swap.h
 *	  The sealed column that stands beside a column until it takes its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PROTECT_SWAP_H
#define CPII_PROTECT_SWAP_H

#include "policy/column_job.h"

/* quoted name of the sealed column */
extern const char *cpii_swap_column(CpiiJob *job);

/* add column, trigger and constraint; the table is locked exclusively */
extern void cpii_swap_prepare(CpiiJob *job, bool notnull);
/* prove that every row is sealed; readers and writers go on */
extern void cpii_swap_validate(CpiiJob *job);
/* make every index of the column again, concurrently; commits */
extern void cpii_swap_indexes(CpiiJob *job);
/*
 * Put the sealed column in the place; the table is locked exclusively.  False
 * when an index appeared meanwhile: it has to be made again first.
 */
extern bool cpii_swap(CpiiJob *job);
/* take all of it away again */
extern void cpii_swap_undo(CpiiJob *job);

#endif							/* CPII_PROTECT_SWAP_H */
