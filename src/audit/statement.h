/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  The account of the statement that is running: what it disclosed, masked,
 *	  probed and touched.
 *
 * The guard opens and closes the account around each top-level statement (or
 * each slice of a portal); the door (policy/show.c) adds to it.  It lives in
 * this room so that both can reach it: the door must not know the guard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_STATEMENT_H
#define CPII_AUDIT_STATEMENT_H

#include "datatype/timestamp.h"

#define CPII_MAX_STATEMENT_RELATIONS 16

/* what is counted, and limited, apart */
typedef enum CpiiBudget
{
	CPII_BUDGET_CLEAR,			/* clear values */
	CPII_BUDGET_PROBES,			/* searches and literals sealed */
	CPII_BUDGET_MASKED,			/* masked values */
	CPII_BUDGET_SEALED,			/* rows with sealed values sent out */
	CPII_NBUDGETS
} CpiiBudget;

typedef struct CpiiStatement
{
	bool		open;			/* a top-level statement is being accounted */
	bool		no_clear;		/* inside INSERT/UPDATE/MERGE/CTAS/...: masks only */
	Oid			untrusted;		/* function because of which nothing was shown in
								 * clear, or InvalidOid */
	bool		writing;		/* plain INSERT, UPDATE, COPY FROM: most seals
								 * are no probes (policy/probe.c) */
	bool		admitted;		/* the spool was asked whether it has room */
	bool		limit_hit;		/* PI001 was raised (or warned of) */
	int64		disclosed;
	int64		probes;
	int64		masked;
	int64		sealed;
	int64		noted;			/* values sealed while their owner protects them: on
								 * record as probes, in no budget */
	int64		granted[CPII_NBUDGETS]; /* what the four above may reach before
										 * the guard is asked for more */
	int64		carried[CPII_NBUDGETS]; /* what earlier slices of the cursors
										 * read here took, each in an account
										 * of its own */
	uint32		classes;		/* bit n = class n was met at the door; bit 0
								 * = a company's own class */
	uint32		readers_asked;	/* likewise: was it asked whether the writer may */
	uint32		readers;		/* read values as they are stored, may they, and */
	uint32		readers_of_others;	/* those of others? */
	int			nrelations;
	Oid			relations[CPII_MAX_STATEMENT_RELATIONS];
	int64		canary;			/* a decoy that was shown masked, 0 = none */
	int64		canary_shown;	/* the last one that was shown in clear */
	const char *target;			/* where COPY writes on the server: "file" or
								 * "program", NULL = nowhere */
	uint64		begin_seq;		/* sequence number of the BEGIN record, or 0 */
} CpiiStatement;

extern CpiiStatement cpii_statement;

/* did it do anything that is worth a record? */
static inline bool
cpii_statement_used(void)
{
	const CpiiStatement *s = &cpii_statement;

	return s->nrelations > 0 || s->disclosed > 0 || s->masked > 0 ||
		s->probes > 0 || s->sealed > 0 || s->noted > 0 || s->limit_hit;
}

/*
 * Called by the door before it returns a value: raises PI001 when nothing more
 * is granted (warns once in "warn" mode), else counts it.
 */
extern void cpii_statement_disclose(int class_id);
extern void cpii_statement_mask(int class_id);
extern void cpii_statement_probe(int class_id);

/* a probe for the record only */
extern void cpii_statement_note_probe(int class_id);

/* a row with sealed values is about to leave */
extern void cpii_statement_sealed_row(void);

/* the four counts, in the order of CpiiBudget */
extern void cpii_statement_counts(int64 counts[CPII_NBUDGETS]);

/* remember a protected relation (deduplicated) */
extern void cpii_statement_touch(Oid relid);

/*
 * Installed by the guard: raise cpii_statement.granted[budget] above the count
 * and return true, or return false when the limit is reached.  Limits are
 * handed out in blocks, so that shared counters are not touched for each value.
 */
typedef bool (*CpiiBudgetSource) (CpiiBudget budget);
extern CpiiBudgetSource cpii_budget_source;

/*
 * Installed by the guard: called while begin_seq is 0 and the count of clear
 * values reaches 1, 2, 4, 8, ..., before the last of them is returned.  The
 * guard decides whether a BEGIN record is due (its result may reach the client
 * before the statement ends), writes it and sets begin_seq.  May raise.
 */
typedef void (*CpiiBeginRecord) (void);
extern CpiiBeginRecord cpii_begin_record;

/*
 * Installed by the guard: called before the first clear value of an account, and
 * before some later ones.  May raise.
 */
typedef void (*CpiiBeforeClear) (void);
extern CpiiBeforeClear cpii_before_clear;

/* start a fresh account */
extern void cpii_statement_reset(void);

#endif							/* CPII_AUDIT_STATEMENT_H */
