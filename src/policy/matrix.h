/*-------------------------------------------------------------------------
 *
 * matrix.h
 *	  The disclosure levels and how several of them combine.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_MATRIX_H
#define CPII_MATRIX_H

#include <stdbool.h>

/* widest last, so that a larger number shows more */
typedef enum CpiiLevel
{
	CPII_LEVEL_HIDDEN,
	CPII_LEVEL_TOKEN,
	CPII_LEVEL_MASKED,
	CPII_LEVEL_LABEL,
	CPII_LEVEL_SCOPED,
	CPII_LEVEL_CLEAR
} CpiiLevel;

#define CPII_NLEVELS 6

extern const char *cpii_level_name(CpiiLevel level);

/* false when the name is none of ours */
extern bool cpii_level_by_name(const char *name, CpiiLevel *level);

/* what a person holds for one class or column */
typedef struct CpiiGranted
{
	bool		any;			/* at least one entry */
	bool		hidden;			/* an explicit "hidden" among them */
	bool		searchable;
	CpiiLevel	widest;			/* when any */
} CpiiGranted;

/* add one entry to what is held so far */
extern void cpii_matrix_add(CpiiGranted *granted, CpiiLevel level, bool searchable);

/* the two sets together (class-wide and column entries) */
extern CpiiGranted cpii_matrix_join(CpiiGranted a, CpiiGranted b);

/*
 * The level in force: an explicit hidden wins over all, else the widest entry,
 * else the class default.  *searchable: clear implies it; hidden does not
 * take a search permission away.
 */
extern CpiiLevel cpii_matrix_decide(CpiiGranted granted, bool default_hidden,
									bool *searchable);

/*
 * What a value is shown as at this level: scoped becomes clear inside the
 * row's scope and masked outside; clear becomes masked where clear text must
 * not go (a write).
 */
extern CpiiLevel cpii_matrix_shown(CpiiLevel level, bool in_scope, bool no_clear);

#endif							/* CPII_MATRIX_H */
