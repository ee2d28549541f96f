/*-------------------------------------------------------------------------
 *
 * trust.h
 *	  Whose code may run where clear text is shown.
 *
 * Clear text is shown only to code that is built into the server (and cannot
 * carry it elsewhere), is ours, belongs to the person who acts, or was listed
 * by the security administrator.  Anybody else's function, operator, cast,
 * aggregate, domain check or foreign data wrapper could keep what it is given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TRUST_H
#define CPII_TRUST_H

#include "nodes/parsenodes.h"

/*
 * OIDs of the functions that a query calls and that somebody must vouch for:
 * all but harmless built-in ones and our own.  For a query after view
 * expansion.
 */
extern List *cpii_trust_collect(Query *query);

/* may this function be given clear text of the person who acts now? */
extern bool cpii_trust_function(Oid function);

/*
 * Is the function the server's own, or the extension's?  Cheap: no answer of
 * this kind changes for a built-in function.
 */
extern bool cpii_trust_is_known(Oid function);

#endif							/* CPII_TRUST_H */
