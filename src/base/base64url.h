/*-------------------------------------------------------------------------
 *
 * base64url.h
 *	  Base 64 with the URL alphabet and without padding (RFC 4648, section 5).
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_BASE64URL_H
#define CPII_BASE64URL_H

/* bytes that an encoding of len bytes may need, with its final zero */
#define CPII_BASE64URL_BOUND(len) (((len) + 2) / 3 * 4 + 1)

/*
 * Decode text; NULL when it is no base64url: padding, white space and the
 * other alphabet are refused.  The result is palloc'd.
 */
extern unsigned char *cpii_base64url_decode(const char *text, size_t len,
											size_t *outlen);

/* encode into out (CPII_BASE64URL_BOUND bytes), ended by a zero byte */
extern void cpii_base64url_encode(const unsigned char *bytes, size_t len,
								  char *out);

#endif							/* CPII_BASE64URL_H */
