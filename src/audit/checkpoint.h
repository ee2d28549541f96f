/*-------------------------------------------------------------------------
 *
 * checkpoint.h
 *	  Signed statements of where the chain stands, sent out of the server.
 *
 * A chain shows that records follow each other, not that the last ones were
 * cut off, nor that all were replaced by somebody who has the key in use.
 * Checkpoints that are kept elsewhere show both.  They are one line of JSON:
 *
 *	  {"checkpoint": 1, "installation": hex, "node": text, "seq": n,
 *	   "records": n, "hash": hex, "generation": n, "timeline": n,
 *	   "at": microseconds, "signature": hex}
 *
 * and are signed (Ed25519) over the same values, one a line, in this order,
 * behind the line "courier_pii audit checkpoint 1".
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_CHECKPOINT_H
#define CPII_AUDIT_CHECKPOINT_H

#include "audit/chain.h"
#include "crypto/signature.h"

#define CPII_CHECKPOINT_LINE 1024

typedef struct CpiiCheckpoint
{
	char		installation[33];
	char		node[65];
	int64		seq;
	int64		records;
	unsigned char hash[CPII_HASH_LEN];
	int			generation;
	int			timeline;
	int64		at;
	unsigned char signature[CPII_ED25519_SIGNATURE_LEN];
} CpiiCheckpoint;

/* the line of a checkpoint, and back; parsing is true to the byte */
extern void cpii_checkpoint_line(const CpiiCheckpoint *c, char *line, size_t size);
extern bool cpii_checkpoint_parse(const char *line, CpiiCheckpoint *c);

extern bool cpii_checkpoint_signed(const CpiiCheckpoint *c,
								   const unsigned char *public_key);

/* file of the checkpoint directory for a node; false when there is no such setting */
extern bool cpii_checkpoint_path(const char *node, char *path, size_t size);

/* the timeline that this server writes or follows */
extern int	cpii_timeline(void);

extern void cpii_checkpoint_init(void);

#endif							/* CPII_AUDIT_CHECKPOINT_H */
