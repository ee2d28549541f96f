/*-------------------------------------------------------------------------
 *
 * ingest.h
 *	  Moves records from the spool into the audit table, exactly once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_INGEST_H
#define CPII_AUDIT_INGEST_H

/* command of the record that says that the progress row was found changed */
#define CPII_COMMAND_PROGRESS "progress row changed"

/*
 * ... that records of a spool were refused, or had gone, before they were in
 * the table (the detail has which and why); ... that they could not be checked
 */
#define CPII_COMMAND_REFUSED "records refused"
#define CPII_COMMAND_UNPROTECTED "records unprotected"

/* where the table stands with the records of one node */
typedef struct CpiiProgress
{
	bool		found;
	uint64		start_seq;		/* first record that this table ever got */
	uint64		segment;
	uint64		offset;
	uint64		seq;			/* last record */
	unsigned char head_hash[32];
	int			key_generation; /* of the last record */
} CpiiProgress;

/* read the progress row of a node with the active snapshot; inside SPI */
extern void cpii_ingest_progress(const char *node, CpiiProgress *progress);

/*
 * Move one batch, in the caller's transaction; the extension exists and is
 * locked.  What the caller must do after commit is in the result.
 */
typedef struct CpiiIngestResult
{
	bool		more;			/* call again at once */
	uint64		last_seq;		/* stored up to here; 0 = nothing was moved */
	uint64		done_before;	/* segments before this one are not needed */
} CpiiIngestResult;

extern void cpii_ingest_batch(CpiiIngestResult *result);

/* first thing after a promotion: note where the records of all nodes stand */
extern void cpii_ingest_note_timeline(void);

/* the extension was created (again): look at all segments */
extern void cpii_ingest_restart(void);

/* bad data ended the last batch: go on in small steps for a while */
extern void cpii_ingest_careful(void);

#endif							/* CPII_AUDIT_INGEST_H */
