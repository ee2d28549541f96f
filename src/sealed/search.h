/*-------------------------------------------------------------------------
 *
 * search.h
 *	  Search by real value: how planning makes a comparison one of search keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SEARCH_H
#define CPII_SEARCH_H

#include "nodes/nodes.h"
#include "nodes/primnodes.h"

/* the expression below changes of its type that change no value */
extern Node *cpii_strip_relabel(Node *node);

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
