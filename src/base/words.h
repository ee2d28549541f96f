/*-------------------------------------------------------------------------
 *
 * words.h
 *	  Bytes as numbers, and sixteen bytes stored at once.
 *
 * A processor hands on what it has just stored only to a load of bytes that
 * one store wrote.  A block that was stored in pieces and is loaded whole waits
 * for all of them to reach the cache, some forty cycles, as long as its
 * encryption takes.  So blocks for OpenSSL are put together in registers.
 *
 * Pure.  Numbers are little-endian on every machine: the first byte is the
 * lowest one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_WORDS_H
#define CPII_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

static inline uint64_t
cpii_load8(const void *p)
{
	uint64_t	n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static inline uint32_t
cpii_load4(const void *p)
{
	uint32_t	n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static inline void
cpii_store8(void *p, uint64_t n)
{
	memcpy(p, &n, sizeof(n));
}

static inline void
cpii_store4(void *p, uint32_t n)
{
	memcpy(p, &n, sizeof(n));
}

#else

static inline uint64_t
cpii_load8(const void *p)
{
	uint64_t	n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | ((const unsigned char *) p)[i];
	return n;
}

static inline uint32_t
cpii_load4(const void *p)
{
	uint32_t	n = 0;

	for (int i = 3; i >= 0; i--)
		n = n << 8 | ((const unsigned char *) p)[i];
	return n;
}

static inline void
cpii_store8(void *p, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		((unsigned char *) p)[i] = (unsigned char) (n >> (8 * i));
}

static inline void
cpii_store4(void *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		((unsigned char *) p)[i] = (unsigned char) (n >> (8 * i));
}

#endif

/* the number of at most 8 bytes; reads no byte beyond them */
static inline uint64_t
cpii_load_few(const unsigned char *p, size_t len)
{
	uint64_t	n = 0;

	if (len >= 8)
		return cpii_load8(p);
	if (len >= 4)
		return cpii_load4(p) | (uint64_t) cpii_load4(p + len - 4) << (8 * (len - 4));
	while (len > 0)
		n = n << 8 | p[--len];
	return n;
}

/* two numbers as sixteen bytes, in one store where the machine has one */
static inline void
cpii_store16(void *p, uint64_t low, uint64_t high)
{
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	typedef uint64_t Both __attribute__((vector_size(16)));
	Both		both = {low, high};

	memcpy(p, &both, sizeof(both));
#else
	cpii_store8(p, low);
	cpii_store8((unsigned char *) p + 8, high);
#endif
}

#endif							/* CPII_WORDS_H */
