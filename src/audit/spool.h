/*-------------------------------------------------------------------------
 *
 * spool.h
 *	  The append-only spool: preallocated segments, one write(2) per record.
 *
 * A segment file is CPII_SEGMENT_SIZE bytes: a header, records one behind the
 * other, zeros.  All numbers are big endian.
 *
 *	  header (CPII_SEGMENT_HEADER bytes): magic 8, version 4, crc32c 4 (of what
 *		  follows it), segment number 8, first sequence number 8, created 8
 *		  (microseconds since 1970), node name 64, zeros
 *	  record (padded with zeros to a multiple of 8): body length 4, crc32c 4 (of
 *		  what follows it), sequence number 8, life 8, tag 16 (see spool_key.h),
 *		  body (see chain.h)
 *
 * Sequence numbers have no holes over all segments.  One lightweight lock
 * covers position, sequence number and write; everything in shared memory can
 * be found again from the files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SPOOL_H
#define CPII_AUDIT_SPOOL_H

#include "datatype/timestamp.h"
#include "storage/latch.h"

#define CPII_SEGMENT_SIZE		(16 * 1024 * 1024)
#define CPII_SEGMENT_HEADER		128
#define CPII_SPOOL_RECORD_HEADER 40
#define CPII_MAX_BODY			16384
#define CPII_NODE_LEN			64

/* microseconds between the two epochs: 1970 and 2000 */
#define CPII_UNIX_OFFSET \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* is there a spool at all (library preloaded, no binary upgrade)? */
extern bool cpii_spool_present(void);

/* name of this server in records */
extern const char *cpii_spool_node(void);

/*
 * Append one record.  The body begins CPII_SPOOL_RECORD_HEADER bytes after
 * "record", and there is room for 8 bytes of padding behind it.  Never raises:
 * returns the sequence number, or 0 with *problem set to a text that lives
 * until the next call.
 */
extern uint64 cpii_spool_append(char *record, size_t body_length, bool sync,
								const char **problem);

/*
 * May a statement that discloses, masks or searches begin?  False with *problem
 * set when the spool cannot take its record: the disk is full and the rest is
 * kept for those who are at work, writing failed, or the backlog is too long.
 * May sleep for some milliseconds when the worker falls behind.
 */
extern bool cpii_spool_admit(const char **problem);

/* have records up to this one flushed to disk, together with what others wait for */
extern bool cpii_spool_flush_to(uint64 seq);

/*
 * A record could not be stored (lost), or a statement was refused before it had
 * one (not lost).  True when it is time to log it.
 */
extern bool cpii_spool_count_loss(bool lost);

typedef struct CpiiSpoolState
{
	bool		ready;
	uint64		segment;		/* the one that is written */
	uint64		offset;			/* end of its last record */
	uint64		next_seq;
	uint64		ingested_seq;	/* everything up to here is in the table */
	uint64		lost;			/* records that could not be stored */
	TimestampTz caught_up_at;	/* when the table last held everything */
	int			worker_pid;		/* 0 = none */
	uint64		synced_seq;		/* everything up to here is on disk */
	uint64		done_before;	/* segments before this one are ingested */
	uint32		refusing;		/* CPII_REFUSE_... */
	uint32		delay;			/* microseconds that a statement waits */
} CpiiSpoolState;

/* why statements are refused */
#define CPII_REFUSE_BROKEN	0x01	/* the last write failed */
#define CPII_REFUSE_FULL	0x02	/* no room for a further segment */
#define CPII_REFUSE_BACKLOG 0x04	/* courier_pii.audit_backlog_limit */

extern void cpii_spool_state(CpiiSpoolState *state);

/* ---- for the worker ---- */

extern void cpii_spool_set_ingested(uint64 seq, bool caught_up);
extern void cpii_spool_set_worker(int pid, Latch *latch);
extern void cpii_spool_wake_worker(void);

/* flush what was written since the last call; false (and a LOG line) on error */
extern bool cpii_spool_sync(void);

/* make a spare segment ready when the current one fills up */
extern void cpii_spool_prepare_spare(void);

/*
 * Segments before this one are in the table: remove those that are older than
 * courier_pii.audit_spool_keep.
 */
extern void cpii_spool_remove_before(uint64 segment);

/*
 * The database knows a position that the spool has not reached (the spool was
 * lost or is older than the database): go on behind it in a new segment, and
 * set segments aside whose numbers would collide.
 */
extern void cpii_spool_skip_to(uint64 segment, uint64 seq);

/* true once per start of the server */
extern bool cpii_spool_first_start(void);

/*
 * Starts of the worker since it was last connected (this one not counted), and
 * the news that it is.
 */
extern int	cpii_spool_worker_starts(void);
extern void cpii_spool_worker_connected(void);

/* ---- reading ---- */

typedef struct CpiiSegment
{
	uint64		segment;
	uint64		first_seq;
	char		node[CPII_NODE_LEN + 1];
	char	   *data;			/* bytes from "start" to "end" of the file */
	uint64		start;
	uint64		end;
	struct CpiiSpoolKeys *keys; /* to check tags; NULL: checksums only */
} CpiiSegment;

/* the lowest existing segment number >= from; 0 = none */
extern uint64 cpii_spool_next_segment(uint64 from);

/*
 * Read a segment from byte "start" (0: after the header) up to byte "end".
 * Allocates data; sets no keys.  False when it is not there or has no valid
 * header.
 */
extern bool cpii_spool_read(uint64 number, uint64 start, uint64 end,
							CpiiSegment *segment);

typedef struct CpiiSpoolRecord
{
	uint64		offset;			/* in the segment */
	uint64		end;			/* offset after it */
	uint64		seq;
	const char *body;
	size_t		length;
	uint64		life;
	bool		unprotected;	/* its tag cannot be checked */
	bool		damaged_before; /* something that is no such record lies before it ... */
	bool		changed_before; /* ... a record with a wrong tag ... */
	bool		reordered_before;	/* ... or an intact one with a lower number */
} CpiiSpoolRecord;

/*
 * The first intact record at or after byte "offset" with a sequence number
 * above after_seq.  False at the end; record->damaged_before then tells whether
 * the bytes up to the end are all zero (clean) or not, and the others why.
 */
extern bool cpii_spool_record(const CpiiSegment *segment, uint64 offset,
							  uint64 after_seq, CpiiSpoolRecord *record);

/* what is wrong before this record, or with what was found instead of one */
extern const char *cpii_spool_problem(const CpiiSpoolRecord *record);

extern void cpii_spool_init(void);

#endif							/* CPII_AUDIT_SPOOL_H */
