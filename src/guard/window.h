/*-------------------------------------------------------------------------
 *
 * window.h
 *	  What each person took in the last hour and the last day, over all their
 *	  sessions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_WINDOW_H
#define CPII_WINDOW_H

#include "audit/statement.h"
#include "base/session.h"

/* a person of the staff, or a login role that is nobody */
typedef struct CpiiPersonKey
{
	Oid			role;			/* InvalidOid: a person */
	char		staff_no[CPII_STAFF_NO_LEN];
} CpiiPersonKey;

extern void cpii_person_key(const CpiiActor *actor, CpiiPersonKey *key);

static inline bool
cpii_person_same(const CpiiPersonKey *a, const CpiiPersonKey *b)
{
	return a->role == b->role && strcmp(a->staff_no, b->staff_no) == 0;
}

/*
 * Take at most "want" out of a person's windows, where -1 is no limit.
 * Returns how many were taken; 0 when a window is used up.  Close to a limit
 * less than wanted is given, so that many sessions end together.
 */
extern int64 cpii_window_reserve(const CpiiPersonKey *person, CpiiBudget budget,
								 int64 want, int64 per_hour, int64 per_day);

/* add to the windows, or give back what was reserved (a negative amount) */
extern void cpii_window_add(const CpiiPersonKey *person, CpiiBudget budget,
							int64 amount);

typedef struct CpiiWindowTotals
{
	CpiiPersonKey person;
	int64		hour[CPII_NBUDGETS];
	int64		day[CPII_NBUDGETS];
} CpiiWindowTotals;

/* totals of one person (zeros when nothing is known); what a window has left */
extern void cpii_window_totals(const CpiiPersonKey *person,
							   CpiiWindowTotals *totals);
/* of everybody who took something in the last day; palloc'ed */
extern CpiiWindowTotals *cpii_window_everybody(int *count);

extern void cpii_window_init(void);

#endif							/* CPII_WINDOW_H */
