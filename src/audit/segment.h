/*-------------------------------------------------------------------------
 *
 * segment.h
 *	  Files of the spool; shared by spool.c and segment.c only.
 *
 * The layout is described in spool.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SEGMENT_H
#define CPII_AUDIT_SEGMENT_H

#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"

#include "audit/spool.h"

/* a spare segment, made ahead by the worker */
#define SPARE_NAME "spare"

/* where the files are; set once at start */
extern char cpii_segment_directory[MAXPGPATH];

/* why the last call of this process did not work */
extern char cpii_segment_problem_text[256];

typedef enum CpiiSegmentWanted
{
	CPII_SEGMENT_LOWEST_FROM,				/* lowest number >= bound */
	CPII_SEGMENT_HIGHEST_BELOW				/* highest number < bound */
} CpiiSegmentWanted;

/* remember why something did not work (errno); always false */
extern bool cpii_segment_problem(const char *what, const char *path);

extern void cpii_segment_path(char *path, uint64 number);

/* a segment's number; 0 = none; *error = -1: the directory cannot be read */
extern uint64 cpii_segment_find(CpiiSegmentWanted wanted, uint64 bound, int *error);

/* a file of CPII_SEGMENT_SIZE zeros, not flushed; its descriptor or -1 */
extern int	cpii_segment_create_zeroed(const char *path);

/* make a segment with its header, from the spare if there is one; flushed */
extern bool cpii_segment_create(uint64 number, uint64 first_seq, const char *node);

/* ---- numbers and sizes as they are in the files ---- */

static inline uint64
cpii_segment_get64(const char *p)
{
	uint64		v;

	memcpy(&v, p, sizeof(v));
	return pg_ntoh64(v);
}

static inline uint32
cpii_segment_get32(const char *p)
{
	uint32		v;

	memcpy(&v, p, sizeof(v));
	return pg_ntoh32(v);
}

static inline void
cpii_segment_put64(char *p, uint64 v)
{
	v = pg_hton64(v);
	memcpy(p, &v, sizeof(v));
}

static inline void
cpii_segment_put32(char *p, uint32 v)
{
	v = pg_hton32(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint32
cpii_segment_checksum(const char *data, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, len);
	FIN_CRC32C(crc);
	return crc;
}

static inline uint64
cpii_segment_record_size(size_t body_length)
{
	return TYPEALIGN64(8, CPII_SPOOL_RECORD_HEADER + body_length);
}

#endif							/* CPII_AUDIT_SEGMENT_H */
