/*-------------------------------------------------------------------------
 *
 * fuzz_normalise.c
 *	  libFuzzer target: any text through normalisation, of any class.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/classes.h"
#include "sealed/normalise.h"

#define CHECK(condition) \
	do { if (!(condition)) abort(); } while (0)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int			class_id;
	size_t		inlen;
	size_t		outlen;
	size_t		againlen;
	char	   *in;
	char	   *out;
	char	   *again;

	if (size < 1)
		return 0;
	class_id = data[0] % (CPII_CLASS_LAST + 2);
	inlen = size - 1;
	in = malloc(inlen > 0 ? inlen : 1);
	memcpy(in, data + 1, inlen);

	out = malloc(CPII_NORMALISE_BOUND(inlen));
	outlen = cpii_normalise(class_id, in, inlen, out);
	CHECK(outlen <= inlen);
	CHECK(cpii_normalise_tail4(out, outlen) <= outlen);

	again = malloc(CPII_NORMALISE_BOUND(outlen));
	againlen = cpii_normalise(class_id, out, outlen, again);
	CHECK(againlen == outlen && memcmp(again, out, outlen) == 0);

	free(again);
	free(out);
	free(in);
	return 0;
}
