/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  What the policy room's own files share: rules, views, checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_POLICY_H
#define CPII_POLICY_H

#include "lib/stringinfo.h"

/*
 * Raise unless the caller may change how this table is protected: its owner, a
 * security administrator, or a superuser while setting up.
 */
extern void cpii_require_table_duty(Oid relid);

/* "schema"."table" */
extern char *cpii_qualified_name(Oid relid);

/*
 * The condition that a row is visible by the table's rules, in SQL over alias
 * "t"; NULL when the table has no rules.
 */
extern char *cpii_row_rules_visible(Oid relid);

/* the condition that a column's row is in scope; "false" without rules */
extern char *cpii_row_rules_scope(Oid relid, const char *column);

/* make the masked views of a table again after a rule changed */
extern void cpii_refresh_masked_views(Oid relid);

/* key columns by which a row of the view is found; 0 = no usable key */
extern int	cpii_row_identity(Relation view, Relation rel, AttrNumber *attnums);

#endif							/* CPII_POLICY_H */
