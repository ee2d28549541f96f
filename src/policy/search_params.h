/*-------------------------------------------------------------------------
 *
 * search_params.h
 *	  Parameters that are only searched for tell the planner nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SEARCH_PARAMS_H
#define CPII_SEARCH_PARAMS_H

#include "nodes/params.h"
#include "nodes/parsenodes.h"

/*
 * The parameters to plan the query with: the same ones, or a copy in which those
 * that stand only within calls of search_key(), search_keys() and tail4_of() are
 * no constants.  After masked views were lifted.
 */
extern ParamListInfo cpii_hide_searched(ParamListInfo params, Query *query);

#endif							/* CPII_SEARCH_PARAMS_H */
