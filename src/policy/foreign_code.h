/*-------------------------------------------------------------------------
 *
 * foreign_code.h
 *	  What is neither the server's own nor the extension's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_FOREIGN_CODE_H
#define CPII_FOREIGN_CODE_H

#include "nodes/nodes.h"

extern bool cpii_foreign_function(Oid function, void *context);

/* the type of that extension, not another one of its name */
extern bool cpii_is_citext(Oid type);

/* does the expression call such functions, or the checks of such a domain? */
extern bool cpii_calls_foreign(Node *expression);

/* does it, or has it a value of a type that somebody may have made a cast for? */
extern bool cpii_casts_foreign(Node *expression);

#endif							/* CPII_FOREIGN_CODE_H */
