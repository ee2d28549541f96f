/*-------------------------------------------------------------------------
 *
 * pure_query.h
 *	  Queries that nothing of ours has anything to do with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PURE_QUERY_H
#define CPII_PURE_QUERY_H

#include "nodes/parsenodes.h"

/*
 * Does the query read nothing but relations that are nothing to us, and call
 * nothing but harmless built-in functions?  False when it is not known: only
 * what most short statements are made of is looked at.  The planner may add
 * relations (children), which the caller looks at.
 */
extern bool cpii_query_is_pure(Query *query);

#endif							/* CPII_PURE_QUERY_H */
