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

typedef struct CpiiStatement
{
	bool		open;			/* a top-level statement is being accounted */
	bool		no_clear;		/* inside INSERT/UPDATE/MERGE/CTAS/...: masks only */
	Oid			untrusted;		/* function because of which nothing was shown in
								 * clear, or InvalidOid */
	bool		writing;		/* plain INSERT, UPDATE, COPY FROM: seals are no
								 * probes */
	bool		admitted;		/* the spool was asked whether it has room */
	bool		limit_hit;		/* PI001 was raised (or warned of) */
	int64		disclosed;
	int64		carried;		/* clear values that earlier slices of the cursors
								 * read here gave, each in an account of its own */
	int64		masked;
	int64		probes;
	bool		allowance_known;	/* the two below were asked for */
	int64		allowance;		/* clear values allowed; -1 = unlimited */
	int64		probe_allowance;	/* likewise for probes */
	uint32		classes;		/* bit n = class n was met at the door; bit 0
								 * = a company's own class */
	int			nrelations;
	Oid			relations[CPII_MAX_STATEMENT_RELATIONS];
	uint64		begin_seq;		/* sequence number of the BEGIN record, or 0 */
} CpiiStatement;

extern CpiiStatement cpii_statement;

/* did it do anything that is worth a record? */
static inline bool
cpii_statement_used(void)
{
	const CpiiStatement *s = &cpii_statement;

	return s->nrelations > 0 || s->disclosed > 0 || s->masked > 0 ||
		s->probes > 0 || s->limit_hit;
}

/*
 * Called by the door before it returns a clear value: raises PI001 when the
 * allowance is used up (warns once in "warn" mode), else counts it.  The guard
 * supplies the allowance lazily through cpii_allowance_source at the first
 * clear value or probe of a statement: the numbers that "disclosed" and
 * "probes" of this account may reach.
 */
extern void cpii_statement_disclose(int class_id);
extern void cpii_statement_mask(int class_id);
extern void cpii_statement_probe(int class_id);

/* remember a protected relation (deduplicated) */
extern void cpii_statement_touch(Oid relid);

/* installed by the guard: fill allowance and probe_allowance */
typedef void (*CpiiAllowanceSource) (CpiiStatement *statement);
extern CpiiAllowanceSource cpii_allowance_source;

/*
 * Installed by the guard: called while begin_seq is 0 and the count of clear
 * values reaches 1, 2, 4, 8, ..., before the last of them is returned.  The
 * guard decides whether a BEGIN record is due (its result may reach the client
 * before the statement ends), writes it and sets begin_seq.  May raise.
 */
typedef void (*CpiiBeginRecord) (void);
extern CpiiBeginRecord cpii_begin_record;

/* start a fresh account */
extern void cpii_statement_reset(void);

#endif							/* CPII_AUDIT_STATEMENT_H */
