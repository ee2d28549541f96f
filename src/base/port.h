/*-------------------------------------------------------------------------
 *
 * port.h
 *	  The server's Port structure, without the need for GSSAPI headers.
 *
 * Debian's server headers ask for <gssapi/gssapi.h>, which comes with another
 * package.  Port keeps a pointer in its place either way, so its layout is the
 * same.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PORT_H
#define CPII_PORT_H

#undef ENABLE_GSS
#include "libpq/libpq-be.h"

#endif							/* CPII_PORT_H */
