/*-------------------------------------------------------------------------
 *
 * search_tag.h
 *	  Indexes over search tags, and the plans that use them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SEARCH_TAG_H
#define CPII_SEARCH_TAG_H

#include "nodes/pathnodes.h"

/*
 * Add to a table's paths those over its indexes on search_tag(column), for
 * conditions "column = value" and "column = ANY (values)".  Puts such conditions
 * on the table alone as conditions on the tags.
 */
extern void cpii_search_tag_paths(PlannerInfo *root, RelOptInfo *rel);

#endif							/* CPII_SEARCH_TAG_H */
