/*-------------------------------------------------------------------------
 *
 * actor_token.h
 *	  The token that names a person behind a pool; private to the people room.
 *
 * A token is a JSON Web Token (RFC 7519) in compact form, signed with HS256 or
 * EdDSA (RFC 8037).  Claims, all required: "sub" the staff number, "aud" the
 * installation (cpii_actor_audience), "iat" and "exp" in seconds since 1970,
 * at most 60 seconds apart, "jti" a nonce of 8 to 128 characters.  A header
 * "kid" chooses among several keys; the algorithm is the key's, whatever the
 * header says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ACTOR_TOKEN_H
#define CPII_ACTOR_TOKEN_H

#include "base/session.h"

#define ACTOR_TOKEN_SECONDS 60	/* longest validity */
#define ACTOR_CLOCK_SECONDS 5	/* how far ahead the issuer's clock may be */

typedef struct ActorClaims
{
	char		staff_no[CPII_STAFF_NO_LEN];
	int64		expires;		/* seconds since 1970 */
	unsigned char nonce[16];	/* digest of key id and "jti" */
} ActorClaims;

/* whom tokens of this database are for: "courier_pii/SYSTEM/DATABASE" */
extern char *cpii_actor_audience(void);

/* raises 28000 (without saying which check failed to the client) */
extern void cpii_actor_token_verify(const char *token, size_t len,
									ActorClaims *claims);

/* sign a token with the first key that can; palloc'd */
extern char *cpii_actor_token_make(const char *staff_no, int seconds);

#endif							/* CPII_ACTOR_TOKEN_H */
