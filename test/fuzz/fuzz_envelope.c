/*-------------------------------------------------------------------------
 *
 * fuzz_envelope.c
 *	  libFuzzer target: any bytes as a sealed value and as a share.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/shamir.h"
#include "sealed/envelope.h"

#define CHECK(condition) \
	do { if (!(condition)) abort(); } while (0)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
envelope(const unsigned char *bytes, size_t len)
{
	CpiiEnvelope env;
	const unsigned char *id;
	size_t		idlen;
	int			class_id;

	CHECK(cpii_envelope_compare(bytes, len, bytes, len) == 0);
	cpii_envelope_identity(bytes, len, &id, &idlen, &class_id);
	CHECK(id >= bytes && id + idlen <= bytes + len);
	if (!cpii_envelope_parse(bytes, len, &env))
		return;
	CHECK(env.aad == bytes && env.aadlen <= len);
	if (env.nonce != NULL)
		CHECK(env.aead_tag + CPII_AEAD_TAG_LEN == bytes + len &&
			  env.ciphertext + env.ciphertextlen == env.aead_tag);
}

static void
share(const char *text, size_t len)
{
	CpiiShare	parsed;
	CpiiShare	again;
	char		out[CPII_SHARE_TEXT_LEN];

	if (cpii_share_parse(text, len, &parsed) != CPII_SHARE_GOOD)
		return;
	CHECK(cpii_share_print(&parsed, out));
	CHECK(cpii_share_parse(out, strlen(out), &again) == CPII_SHARE_GOOD);
	CHECK(memcmp(&parsed, &again, sizeof(parsed)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a copy of its own size, so that a byte too far is noticed */
	unsigned char *copy = malloc(size > 0 ? size : 1);

	memcpy(copy, data, size);
	envelope(copy, size);
	share((const char *) copy, size);
	free(copy);
	return 0;
}
