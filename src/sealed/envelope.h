/*-------------------------------------------------------------------------
 *
 * envelope.h
 *	  Byte layout of a sealed value.  Pure.
 *
 *	  0	  1  version (high nibble, now 1) and suite (low nibble)
 *	  1	  1  flags
 *	  2	  2  class number, big endian
 *	  4	  2  epoch, big endian
 *	  6	 12  search tag			 when flag TAG
 *		  4  tail tag			 when flag TAIL
 *		 12  nonce				 not in search keys
 *		  n  ciphertext			 likewise
 *		 16  AEAD tag			 likewise
 *
 * Everything before the nonce, and the installation's identity, is associated
 * data of the AEAD: class, epoch, suite and tags cannot be exchanged.
 *
 * Three kinds share the layout: values (what tables hold), query tokens (a
 * literal whose class is not known yet, class 0), and search keys (tags only;
 * the other side of a comparison).  Only values may be stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ENVELOPE_H
#define CPII_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPII_ENVELOPE_VERSION 1
#define CPII_ENVELOPE_HEADER_LEN 6
#define CPII_SEARCH_TAG_LEN 12
#define CPII_TAIL_TAG_LEN 4

#define CPII_FLAG_TAG 0x01
#define CPII_FLAG_TAIL 0x02
#define CPII_FLAG_TOKEN 0x04
#define CPII_FLAG_SEARCH 0x08
#define CPII_FLAG_ALL 0x0f

typedef struct CpiiEnvelope
{
	int			suite;
	int			flags;
	int			class_id;
	int			epoch;
	const unsigned char *tag;	/* NULL when absent */
	const unsigned char *tail;	/* NULL when absent */
	const unsigned char *aad;	/* the start of the bytes */
	size_t		aadlen;
	const unsigned char *nonce; /* NULL in search keys */
	const unsigned char *ciphertext;
	size_t		ciphertextlen;
	const unsigned char *aead_tag;
} CpiiEnvelope;

/*
 * Parse bytes; pointers go into them.  False when the bytes are not a whole
 * envelope of a version and suite that we know, or break a rule above.
 */
extern bool cpii_envelope_parse(const unsigned char *bytes, size_t len,
								CpiiEnvelope *envelope);

/* length of an envelope with these flags over textlen bytes of plaintext */
extern size_t cpii_envelope_size(int flags, size_t textlen);

/* length of the part before the nonce */
extern size_t cpii_envelope_aad_size(int flags);

/*
 * The associated data of a value in one piece: the header, tags by flags (the
 * bytes that the envelope has of them; a tail tag comes only with a search tag)
 * and the installation's identity of 16 bytes.  Returns the length of what
 * precedes the identity, with which the envelope begins.
 */
#define CPII_ENVELOPE_AAD_ROOM 40
extern size_t cpii_envelope_associated(unsigned char out[CPII_ENVELOPE_AAD_ROOM],
									   int suite, int flags, int class_id, int epoch,
									   const unsigned char *tag,
									   const unsigned char *tail,
									   const unsigned char *installation);

/* write the fixed header; the caller fills tags, nonce and the rest */
extern void cpii_envelope_header(unsigned char *out, int suite, int flags,
								 int class_id, int epoch);

/*
 * Total order of envelopes: by class, then by search tag where both have one,
 * then by all bytes.  Never fails, needs no key; malformed bytes order by
 * themselves.
 */
extern int	cpii_envelope_compare(const unsigned char *a, size_t alen,
								  const unsigned char *b, size_t blen);

/* the bytes that equal values share, for hashing */
extern void cpii_envelope_identity(const unsigned char *bytes, size_t len,
								   const unsigned char **id, size_t *idlen,
								   int *class_id);

#endif							/* CPII_ENVELOPE_H */
