/*-------------------------------------------------------------------------
 *
 * verify.h
 *	  What the files of the verification share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_VERIFY_H
#define CPII_AUDIT_VERIFY_H

#include "nodes/execnodes.h"

#include "audit/chain.h"
#include "audit/ingest.h"

/* a run of records that was dropped with its month */
typedef struct CpiiRun
{
	int64		first_seq;
	int64		last_seq;
	unsigned char prev_hash[CPII_HASH_LEN];
	unsigned char last_hash[CPII_HASH_LEN];
} CpiiRun;

typedef struct CpiiVerifier
{
	ReturnSetInfo *result;
	int64		problems;
	int64		records;
	CpiiChain  *chain;
	char	   *canonical;

	/* of the node whose records are read */
	char	   *node;			/* NULL before the first one */
	CpiiProgress progress;
	CpiiRun    *runs;			/* in order */
	int			nruns;
	bool		any;			/* a record was read */
	int64		seq;			/* of the last record */
	int64		segment;
	int			generation;
	unsigned char hash[CPII_HASH_LEN];
} CpiiVerifier;

/* segment and seq < 0 = not known */
extern void cpii_verify_report(CpiiVerifier *v, const char *node, int64 segment,
							   int64 seq, const char *fmt,...) pg_attribute_printf(5, 6);

/* runs of a node; those without a signed manifest are reported and left out */
extern void cpii_verify_load_runs(CpiiVerifier *v);

/* checkpoints of the table and of the checkpoint directory */
extern void cpii_verify_checkpoints(CpiiVerifier *v);

/* records that are both in the spool and in the table */
extern void cpii_verify_spool_copy(CpiiVerifier *v);

#endif							/* CPII_AUDIT_VERIFY_H */
