/*-------------------------------------------------------------------------
 *
 * shamir.c
 *	  Sharing a secret among custodians (Shamir, over GF(256)).  Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "crypto/shamir.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/secret.h"
#include "crypto/signature.h"

/* product in GF(256) with the polynomial of AES, without branches */
static unsigned char
gf_mul(unsigned char a, unsigned char b)
{
	unsigned int product = 0;
	unsigned int x = a;

	for (int i = 0; i < 8; i++)
	{
		product ^= x & (0U - ((unsigned int) b >> i & 1U));
		x = (x << 1) ^ (0x11bU & (0U - (x >> 7 & 1U)));
	}
	return (unsigned char) product;
}

/* the inverse is the 254th power; that of 0 is 0 */
static unsigned char
gf_inverse(unsigned char a)
{
	unsigned char result = 1;

	for (int i = 7; i >= 0; i--)
	{
		result = gf_mul(result, result);
		if (254 >> i & 1)
			result = gf_mul(result, a);
	}
	return result;
}

void
cpii_shamir_share(const unsigned char secret[CPII_KEY_LEN],
				  const unsigned char *coefficients, int threshold,
				  int number, unsigned char out[CPII_KEY_LEN])
{
	for (int i = 0; i < CPII_KEY_LEN; i++)
	{
		unsigned char value = 0;

		for (int k = threshold - 2; k >= 0; k--)
			value = gf_mul((unsigned char) (value ^ coefficients[k * CPII_KEY_LEN + i]),
						   (unsigned char) number);
		out[i] = (unsigned char) (value ^ secret[i]);
	}
}

bool
cpii_shamir_combine(const CpiiShare *shares, int n,
					unsigned char out[CPII_KEY_LEN])
{
	memset(out, 0, CPII_KEY_LEN);
	for (int i = 0; i < n; i++)
	{
		unsigned char weight = 1;

		for (int j = 0; j < n; j++)
		{
			unsigned char xi = (unsigned char) shares[i].number;
			unsigned char xj = (unsigned char) shares[j].number;

			if (j == i)
				continue;
			if (xi == xj)
			{
				cpii_wipe(out, CPII_KEY_LEN);
				return false;
			}
			weight = gf_mul(weight, gf_mul(xj, gf_inverse((unsigned char) (xi ^ xj))));
		}
		for (int k = 0; k < CPII_KEY_LEN; k++)
			out[k] ^= gf_mul(weight, shares[i].data[k]);
	}
	return true;
}

/* ---- text form ---- */

/* read n bytes from digits and step over them */
static bool
read_hex(const char **p, const char *end, unsigned char *out, int n)
{
	if (end - *p < 2 * n || !cpii_unhex(*p, (size_t) n, out))
		return false;
	*p += 2 * n;
	return true;
}

static bool
read_number(const char **p, const char *end, int max, int *out)
{
	int			value = 0;
	const char *start = *p;

	while (*p < end && **p >= '0' && **p <= '9' && *p - start < 3)
		value = value * 10 + (*(*p)++ - '0');
	*out = value;
	return *p > start && *start != '0' && value >= 1 && value <= max;
}

static bool
read_char(const char **p, const char *end, char c)
{
	if (*p >= end || **p != c)
		return false;
	(*p)++;
	return true;
}

static bool
checksum(const char *text, size_t len, unsigned char out[CPII_MAC_LEN])
{
	return cpii_sha256((const unsigned char *) text, len, out);
}

CpiiShareProblem
cpii_share_parse(const char *text, size_t len, CpiiShare *share)
{
	const char *end = text + len;
	const char *p;
	const char *body;
	char		lower[CPII_SHARE_TEXT_LEN];
	unsigned char given[4];
	unsigned char sum[CPII_MAC_LEN];
	CpiiShareProblem result = CPII_SHARE_FORM;

	memset(share, 0, sizeof(*share));
	while (text < end && strchr(" \t\r\n", *text) && *text)
		text++;
	while (end > text && strchr(" \t\r\n", end[-1]) && end[-1])
		end--;
	if (end - text >= CPII_SHARE_TEXT_LEN)
		return CPII_SHARE_FORM;
	/* people who copy by hand mix letter cases */
	for (p = text; p < end; p++)
		lower[p - text] = *p >= 'A' && *p <= 'Z' ? (char) (*p - 'A' + 'a') : *p;
	end = lower + (end - text);
	p = lower;
	if (end - p > 5 && memcmp(p, "pii1-", 5) == 0)
	{
		p += 5;
		if (read_number(&p, end, CPII_SHARE_MAX_THRESHOLD, &share->threshold) &&
			share->threshold >= 2 &&
			read_char(&p, end, '-') &&
			read_number(&p, end, 255, &share->number) &&
			read_char(&p, end, '-') &&
			read_hex(&p, end, share->set, CPII_SHARE_SET_LEN) &&
			read_char(&p, end, '-') &&
			read_hex(&p, end, share->data, CPII_KEY_LEN) &&
			(body = p, read_char(&p, end, '-')) &&
			read_hex(&p, end, given, sizeof(given)) && p == end)
			result = checksum(lower, (size_t) (body - lower), sum) &&
				memcmp(sum, given, sizeof(given)) == 0 ?
				CPII_SHARE_GOOD : CPII_SHARE_CHECKSUM;
	}
	cpii_wipe(lower, sizeof(lower));
	if (result != CPII_SHARE_GOOD)
		cpii_wipe(share, sizeof(*share));
	return result;
}

bool
cpii_share_print(const CpiiShare *share, char out[CPII_SHARE_TEXT_LEN])
{
	unsigned char sum[CPII_MAC_LEN];
	int			len = snprintf(out, CPII_SHARE_TEXT_LEN, "pii1-%d-%d-",
							   share->threshold, share->number);

	cpii_hex(share->set, CPII_SHARE_SET_LEN, out + len);
	len += 2 * CPII_SHARE_SET_LEN;
	out[len++] = '-';
	cpii_hex(share->data, CPII_KEY_LEN, out + len);
	len += 2 * CPII_KEY_LEN;
	if (!checksum(out, (size_t) len, sum))
		return false;
	out[len++] = '-';
	cpii_hex(sum, 4, out + len);
	return true;
}

/* where the next text that begins like a share begins, or NULL */
static const char *
next_share(const char *text)
{
	const char *dash = text;

	/* every statement comes by here: look for the rarest character */
	while ((dash = strchr(dash, '-')) != NULL)
	{
		if (dash - text >= 4 && dash[-1] == '1' &&
			(dash[-2] == 'i' || dash[-2] == 'I') &&
			(dash[-3] == 'i' || dash[-3] == 'I') &&
			(dash[-4] == 'p' || dash[-4] == 'P'))
			return dash - 4;
		dash++;
	}
	return NULL;
}

bool
cpii_share_in(const char *text)
{
	return next_share(text) != NULL;
}

bool
cpii_share_scrub(char *text)
{
	bool		found = false;
	char	   *p = text;

	while ((p = (char *) next_share(p)) != NULL)
	{
		found = true;
		for (p += 5; *p != '\0' && strchr("0123456789abcdefABCDEF-", *p); p++)
			*p = 'x';
	}
	return found;
}
