/*-------------------------------------------------------------------------
 *
 * base64url.c
 *	  Base 64 with the URL alphabet and without padding, by way of
 *	  PostgreSQL's own base 64.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"

#include "base/base64url.h"
#include "base/compat.h"

unsigned char *
cpii_base64url_decode(const char *text, size_t len, size_t *outlen)
{
	size_t		padded = (len + 3) / 4 * 4;
	char	   *base64 = palloc(padded + 1);
	unsigned char *bytes;
	int			n;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c == '-')
			c = '+';
		else if (c == '_')
			c = '/';
		else if (c == '+' || c == '/' || c == '=' || (unsigned char) c <= ' ')
			return NULL;
		base64[i] = c;
	}
	for (size_t i = len; i < padded; i++)
		base64[i] = '=';
	bytes = palloc(pg_b64_dec_len((int) padded) + 1);
	n = (len % 4 == 1) ? -1 :
		pg_b64_decode(base64, (int) padded, (CPII_BASE64_BYTES *) bytes,
					  pg_b64_dec_len((int) padded));
	pfree(base64);
	if (n < 0)
		return NULL;
	*outlen = n;
	return bytes;
}

void
cpii_base64url_encode(const unsigned char *bytes, size_t len, char *out)
{
	int			n = pg_b64_encode((const CPII_BASE64_BYTES *) bytes, (int) len,
								  out, CPII_BASE64URL_BOUND(len));

	if (n < 0)
		elog(ERROR, "could not encode in base 64");
	while (n > 0 && out[n - 1] == '=')
		n--;
	out[n] = '\0';
	for (int i = 0; i < n; i++)
	{
		if (out[i] == '+')
			out[i] = '-';
		else if (out[i] == '/')
			out[i] = '_';
	}
}
