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

/*
 * Records of one node that stand one behind the other, without a hole, in the
 * order in which the table keeps them; links inside were checked.
 */
typedef struct CpiiPiece
{
	int64		first_seq;
	int64		last_seq;
	int64		first_segment;
	int64		last_segment;
	int64		keyed_seq;		/* first record that matches its hash, or -1 */
	int			keyed_generation;	/* its generation */
	int			last_generation;	/* of the last such record */
	bool		first_intact;	/* does the first one match? */
	unsigned char prev_hash[CPII_HASH_LEN]; /* of the first one */
	unsigned char last_hash[CPII_HASH_LEN];
} CpiiPiece;

/* a record that a checkpoint names */
typedef struct CpiiWanted
{
	int64		seq;
	bool		found;
	unsigned char hash[CPII_HASH_LEN];	/* what the table has */
} CpiiWanted;

/* a server whose records are in the table */
typedef struct CpiiNode
{
	char	   *name;
	CpiiProgress progress;
	int64		spool_from;		/* first number in the spool, or PG_INT64_MAX */
	CpiiPiece  *pieces;
	int64		npieces;
	int64		maxpieces;
	CpiiWanted *wanted;			/* in order of seq, without duplicates */
	int64		nwanted;
	int64		next_wanted;	/* the first one not behind the last record */
} CpiiNode;

typedef struct CpiiProblem
{
	char	   *node;
	int64		segment;
	int64		seq;
	char		text[256];
	int			step;			/* what comes first is put out first */
	int			number;			/* of its finding */
} CpiiProblem;

typedef struct CpiiVerifier
{
	ReturnSetInfo *result;
	MemoryContext context;		/* of this verification */
	CpiiProblem *found;			/* not put out yet */
	int			nfound;
	int			step;
	int64		problems;
	int64		records;
	CpiiChain  *chain;
	CpiiNode   *nodes;
	int			nnodes;
	CpiiRun    *runs;			/* of the node that is looked at, in order */
	int			nruns;
} CpiiVerifier;

#define CPII_PROBLEM_REORDERED \
	"reordered: the record does not follow the one before it"
#define CPII_PROBLEM_SEGMENT \
	"changed: the record does not lie in this segment"
#define CPII_PROBLEM_GENERATION(generation) \
	((generation) == 0 ? "unprotected: chained without the audit key" : \
	 "reordered: chained with an older key than the record before it")

/* segment and seq < 0 = not known; all of them are put out at the end */
extern void cpii_verify_report(CpiiVerifier *v, const char *node, int64 segment,
							   int64 seq, const char *fmt,...) pg_attribute_printf(5, 6);

/* runs of a node; those without a signed manifest are reported and left out */
extern void cpii_verify_load_runs(CpiiVerifier *v, const char *node);

/* read every record of the table: each by itself, and as pieces of the chain */
extern void cpii_verify_rows(CpiiVerifier *v);

/* the records of a node that checkpoints name */
extern void cpii_verify_load_wanted(CpiiVerifier *v, CpiiNode *node);
extern int64 cpii_verify_first_wanted(const CpiiNode *node, int64 seq);

/* checkpoints of the table and of the checkpoint directory */
extern void cpii_verify_checkpoints(CpiiVerifier *v);

/* ---- the spool's copies of records that are in the table ---- */

typedef struct CpiiCopies CpiiCopies;

extern CpiiCopies *cpii_copies_open(void);

/* the first number that the spool has of a node; PG_INT64_MAX = it has none */
extern int64 cpii_copies_from(const CpiiCopies *copies, const char *node);

/*
 * Is the record with these canonical bytes the one in the spool?  True as well
 * when the spool does not have it; *segment is where it would be.
 */
extern bool cpii_copies_agree(CpiiCopies *copies, const char *node, int64 seq,
							  const char *canonical, size_t length,
							  int64 *segment);

/* holes and damage of the ingested part of the spool */
extern void cpii_verify_spool(CpiiVerifier *v);

#endif							/* CPII_AUDIT_VERIFY_H */
