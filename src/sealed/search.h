/*-------------------------------------------------------------------------
 *
 * search.h
 *	  Search by real value: keys, planner support, and the OIDs they need.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SEARCH_H
#define CPII_SEARCH_H

#include "nodes/nodes.h"
#include "nodes/primnodes.h"

#include "sealed/envelope.h"

#define CPII_MAX_QUIET 24

/* objects of the extension that planning needs; all invalid without it */
typedef struct CpiiOids
{
	Oid			sealed;			/* base type */
	Oid			sealed_array;
	Oid			eq_operator;	/* sealed = sealed */
	Oid			eq_function;
	Oid			ne_operator;	/* sealed <> sealed */
	Oid			eq_text_operator;	/* sealed = text */
	Oid			ne_text_operator;	/* sealed <> text */
	Oid			search_key_sealed;	/* search_key(sealed, int4) */
	Oid			search_key_text;	/* search_key(text, int4, bool) */
	Oid			search_keys_sealed; /* search_keys(sealed[], int4) */
	Oid			search_keys_text;	/* search_keys(text[], int4, bool) */
	Oid			show;			/* show(sealed) */
	Oid			show_column;	/* show_column(sealed, regclass, int2, bool) */
	Oid			tail4;			/* tail4(sealed) */
	Oid			tail4_text;		/* tail4(text), of a masked view's column */
	Oid			tail4_of;
	Oid			search_tag;		/* search_tag(sealed) */
	Oid			search_tags;	/* search_tags(sealed[]) */
	Oid			acts_as;		/* acts_as(name) */

	/* functions that plans over masked views call and that send nothing to the
	 * client by themselves */
	int			nquiet;
	uint32		quiet[CPII_MAX_QUIET];	/* as plans name them: hash values */
} CpiiOids;

/* NULL when the extension is not in this database */
extern const CpiiOids *cpii_oids(void);

/* class of an expression of type sealed or a domain over it; 0 = not known */
extern int	cpii_expression_class(Node *node);

/* value = text, as an index can use it; both nodes are taken over */
extern Node *cpii_make_search(Node *value, int class_id, Node *text,
							  bool through_view);
/* value = ANY (text[]), through a masked view */
extern Node *cpii_make_search_any(Node *value, int class_id, Node *texts,
								  int location);

/*
 * Rewrite "sealed = ANY (array)" or "<> ALL" and the like, over an array of
 * tokens or texts, so that it compares with search keys; returns the clause.
 */
extern Node *cpii_prepare_array_search(ScalarArrayOpExpr *clause);

#endif							/* CPII_SEARCH_H */
