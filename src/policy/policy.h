/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  What the policy room's own files share: rules, views, checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_POLICY_H
#define CPII_POLICY_H

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

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

/* run a statement of our own, with SPI connected */
extern void cpii_run(const char *sql);

/* ---- masked_view.c: what a masked view consists of ---- */

/* raise unless every key of masks names a native column that it can cut */
extern void cpii_check_masks(Jsonb *masks, Relation rel);

/* CREATE [OR REPLACE] VIEW for the table */
extern char *cpii_masked_view_definition(Relation rel, const char *view,
										 Jsonb *masks, bool replace);

/* ---- column_order.c ---- */

/* a column of protect_column_online before it takes its place: in no view */
#define CPII_SWAP_COLUMN "courier_pii_sealed_"
extern bool cpii_is_swap_column(Form_pg_attribute att);

/* the columns of a table that a masked view shows, in its order */
extern AttrNumber *cpii_view_columns(Relation rel, int *count);

/*
 * Can CREATE OR REPLACE VIEW bring the view up to date: are its columns the
 * first ones of the table still, by name and type?
 */
extern bool cpii_masked_view_fits(Relation rel, Relation view, Jsonb *masks);

extern void cpii_copy_defaults(Relation rel, const char *view);
extern void cpii_copy_comments(Relation rel, const char *view);

/* ---- view_rebuild.c: making it again ---- */

/* DROP TABLE takes the view along without CASCADE */
extern void cpii_view_goes_with_table(Oid view, Oid tbl);

/*
 * Registered masked views that show one of these relations or whose row rules
 * read one; and the same locked against use, since readers lock a view before
 * its table, and so do we.
 */
extern List *cpii_masked_views_of(List *relids);
extern List *cpii_masked_views_over(List *relids);

/* let the view depend on no column, so that the table can be changed */
extern void cpii_park_masked_view(Oid view);

/*
 * Bring the view up to date with its table, rules and masks (NULL: as they
 * are).  Rights, comments, triggers and views that build on it are kept; the
 * result is its OID, a new one when columns went away or changed their type.
 */
extern Oid	cpii_rebuild_masked_view(Oid view, Jsonb *masks);

/* bring all masked views of a table up to date after a rule changed */
extern void cpii_refresh_masked_views(Oid relid);

/* ---- rule_names.c: names that row rules hold ---- */

/* tables that row rules name, to be compared after a renaming */
typedef struct CpiiRuleTables CpiiRuleTables;
extern CpiiRuleTables *cpii_rule_tables(void);

/* name the tables of conditions anew where a name has lost its meaning */
extern void cpii_follow_table_names(CpiiRuleTables *before);

/* a column of these relations has another name now: rules, masks, disclosures */
extern void cpii_follow_column_name(List *relids, const char *from, const char *to);

/* raise 2BP01 when a row rule tests this column of one of the relations */
extern void cpii_refuse_ruled_column(List *relids, const char *column);

/* forget masks, scopes and disclosures of columns that are gone */
extern void cpii_forget_lost_columns(List *relids);

/* ---- row_rule.c ---- */

struct CpiiCondition;

/* the table of an "in" condition: beside the ruled table, else by search_path */
extern Oid	cpii_condition_table(const struct CpiiCondition *c, Oid relid,
								 bool missing_ok);

/* key columns by which a row of the view is found; 0 = no usable key */
extern int	cpii_row_identity(Relation view, Relation rel, AttrNumber *attnums,
							  Oid *operators);

#endif							/* CPII_POLICY_H */
