/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  Byte layout of a sealed value.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "sealed/envelope.h"

#include <string.h>

#include "base/words.h"
#include "crypto/cipher.h"

static inline size_t
aad_size(int flags)
{
	return CPII_ENVELOPE_HEADER_LEN +
		((flags & CPII_FLAG_TAG) ? CPII_SEARCH_TAG_LEN : 0) +
		((flags & CPII_FLAG_TAIL) ? CPII_TAIL_TAG_LEN : 0);
}

size_t
cpii_envelope_aad_size(int flags)
{
	return aad_size(flags);
}

size_t
cpii_envelope_size(int flags, size_t textlen)
{
	size_t		size = cpii_envelope_aad_size(flags);

	if (!(flags & CPII_FLAG_SEARCH))
		size += CPII_NONCE_LEN + textlen + CPII_AEAD_TAG_LEN;
	return size;
}

void
cpii_envelope_header(unsigned char *out, int suite, int flags, int class_id,
					 int epoch)
{
	out[0] = (unsigned char) (CPII_ENVELOPE_VERSION << 4 | suite);
	out[1] = (unsigned char) flags;
	out[2] = (unsigned char) (class_id >> 8);
	out[3] = (unsigned char) class_id;
	out[4] = (unsigned char) (epoch >> 8);
	out[5] = (unsigned char) epoch;
}

/* len bytes of a number, fewer than eight, and sixteen more; returns len */
static inline size_t
append(unsigned char *out, uint64_t number, int len, const unsigned char *more)
{
	uint64_t	low = cpii_load8(more);
	uint64_t	high = cpii_load8(more + 8);

	cpii_store16(out, number | low << (8 * len),
				 low >> (64 - 8 * len) | high << (8 * len));
	cpii_store8(out + 16, high >> (64 - 8 * len));
	return (size_t) len;
}

size_t
cpii_envelope_associated(unsigned char out[CPII_ENVELOPE_AAD_ROOM],
						 int suite, int flags, int class_id, int epoch,
						 const unsigned char *tag, const unsigned char *tail,
						 const unsigned char *installation)
{
	uint64_t	header = (uint64_t) (CPII_ENVELOPE_VERSION << 4 | suite) |
		(uint64_t) flags << 8 |
		(uint64_t) (class_id >> 8 & 0xff) << 16 | (uint64_t) (class_id & 0xff) << 24 |
		(uint64_t) (epoch >> 8 & 0xff) << 32 | (uint64_t) (epoch & 0xff) << 40;

	/* the header has six bytes, which leave two of a number of eight */
	if (flags & CPII_FLAG_TAG)
	{
		uint64_t	first = cpii_load8(tag);
		uint64_t	last = cpii_load4(tag + 8);

		cpii_store16(out, header | first << 48, first >> 16 | last << 48);
		if (flags & CPII_FLAG_TAIL)
			return 16 + append(out + 16, last >> 16 | (uint64_t) cpii_load4(tail) << 16, 6,
							   installation);
		return 16 + append(out + 16, last >> 16, 2, installation);
	}
	return append(out, header, 6, installation);
}

bool
cpii_envelope_parse(const unsigned char *bytes, size_t len,
					CpiiEnvelope *envelope)
{
	const unsigned char *p;
	size_t		fixed;

	if (len < CPII_ENVELOPE_HEADER_LEN)
		return false;
	if (bytes[0] >> 4 != CPII_ENVELOPE_VERSION)
		return false;
	envelope->suite = bytes[0] & 0x0f;
	if (envelope->suite < CPII_SUITE_AES_256_GCM ||
		envelope->suite > CPII_SUITE_SM4_GCM)
		return false;
	envelope->flags = bytes[1];
	if (envelope->flags & ~CPII_FLAG_ALL)
		return false;
	envelope->class_id = bytes[2] << 8 | bytes[3];
	envelope->epoch = bytes[4] << 8 | bytes[5];

	/* class 0 is the mark of query tokens, and tokens carry no tags */
	if (((envelope->flags & CPII_FLAG_TOKEN) != 0) != (envelope->class_id == 0))
		return false;
	if ((envelope->flags & CPII_FLAG_TOKEN) &&
		envelope->flags != CPII_FLAG_TOKEN)
		return false;

	fixed = aad_size(envelope->flags);
	if (!(envelope->flags & CPII_FLAG_SEARCH))
		fixed += CPII_NONCE_LEN + CPII_AEAD_TAG_LEN;
	if (len < fixed)
		return false;
	if ((envelope->flags & CPII_FLAG_SEARCH) &&
		(len != fixed || !(envelope->flags & CPII_FLAG_TAG)))
		return false;

	p = bytes + CPII_ENVELOPE_HEADER_LEN;
	envelope->tag = NULL;
	envelope->tail = NULL;
	if (envelope->flags & CPII_FLAG_TAG)
	{
		envelope->tag = p;
		p += CPII_SEARCH_TAG_LEN;
	}
	if (envelope->flags & CPII_FLAG_TAIL)
	{
		envelope->tail = p;
		p += CPII_TAIL_TAG_LEN;
	}
	envelope->aad = bytes;
	envelope->aadlen = p - bytes;
	if (envelope->flags & CPII_FLAG_SEARCH)
	{
		envelope->nonce = NULL;
		envelope->ciphertext = NULL;
		envelope->ciphertextlen = 0;
		envelope->aead_tag = NULL;
	}
	else
	{
		envelope->nonce = p;
		envelope->ciphertext = p + CPII_NONCE_LEN;
		envelope->ciphertextlen = len - fixed;
		envelope->aead_tag = envelope->ciphertext + envelope->ciphertextlen;
	}
	return true;
}

void
cpii_envelope_identity(const unsigned char *bytes, size_t len,
					   const unsigned char **id, size_t *idlen, int *class_id)
{
	*class_id = len >= 4 ? (bytes[2] << 8 | bytes[3]) : -1;
	if (len >= CPII_ENVELOPE_HEADER_LEN + CPII_SEARCH_TAG_LEN &&
		(bytes[1] & CPII_FLAG_TAG))
	{
		*id = bytes + CPII_ENVELOPE_HEADER_LEN;
		*idlen = CPII_SEARCH_TAG_LEN;
	}
	else
	{
		*id = bytes;
		*idlen = len;
	}
}

int
cpii_envelope_compare(const unsigned char *a, size_t alen,
					  const unsigned char *b, size_t blen)
{
	const unsigned char *aid;
	const unsigned char *bid;
	size_t		aidlen;
	size_t		bidlen;
	int			aclass;
	int			bclass;
	bool		atagged;
	bool		btagged;
	int			cmp;

	cpii_envelope_identity(a, alen, &aid, &aidlen, &aclass);
	cpii_envelope_identity(b, blen, &bid, &bidlen, &bclass);
	if (aclass != bclass)
		return aclass < bclass ? -1 : 1;
	atagged = aid != a;
	btagged = bid != b;
	if (atagged != btagged)
		return atagged ? -1 : 1;
	cmp = memcmp(aid, bid, aidlen < bidlen ? aidlen : bidlen);
	if (cmp != 0)
		return cmp < 0 ? -1 : 1;
	if (aidlen != bidlen)
		return aidlen < bidlen ? -1 : 1;
	return 0;
}
