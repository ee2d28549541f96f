/*-------------------------------------------------------------------------
 *
 * json.h
 *	  JSON from outside, read without telling anybody what it said.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_JSON_H
#define CPII_JSON_H

#include "utils/jsonb.h"

/*
 * Parse UTF-8 text that is one JSON object; NULL when it is none.  The
 * server's own messages about malformed JSON quote it, and would carry secrets
 * into the log.
 */
extern Jsonb *cpii_json_object(const char *text, size_t len);

/* copy of the string that is the object's member of that name, or NULL */
extern char *cpii_json_string(JsonbContainer *object, const char *name);

/* whole number of the member; false when it is absent or none */
extern bool cpii_json_integer(JsonbContainer *object, const char *name,
							  int64 *value);

#endif							/* CPII_JSON_H */
