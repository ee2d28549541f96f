/*-------------------------------------------------------------------------
 *
 * show.h
 *	  The one door: the only place where clear text comes out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SHOW_H
#define CPII_SHOW_H

/*
 * What the person who is acting is shown of a sealed value: a text in the
 * server encoding.  Decides, counts, and only then opens.  relid and attnum
 * name the base column (0 when not known); in_scope tells whether the row is
 * in the person's scope.  Raises PI001 over a limit, PI004 without a key,
 * XX001 for a damaged value.
 */
extern text *cpii_show(bytea *value, Oid relid, AttrNumber attnum, bool in_scope);

/*
 * The planner hook puts this into the parse location of the door calls that
 * stand in a registered masked view.  No query text has such a location, so a
 * call that somebody writes by hand cannot claim a row scope or a column.
 */
#define CPII_VIEW_MARK (-7419)

#endif							/* CPII_SHOW_H */
