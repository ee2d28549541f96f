/*-------------------------------------------------------------------------
 *
 * window_slices.h
 *	  How much was taken in a sliding hour and a sliding day.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_WINDOW_SLICES_H
#define CPII_WINDOW_SLICES_H

#include "datatype/timestamp.h"

#include "audit/statement.h"

#define CPII_HOUR_SLICE (10 * USECS_PER_MINUTE)
#define CPII_HOUR_SLICES 7		/* six and the one that has just begun */
#define CPII_DAY_SLICE (2 * USECS_PER_HOUR)
#define CPII_DAY_SLICES 13

/* in shared memory and in the snapshot file; zeros: nothing was taken */
typedef struct CpiiSlices
{
	int64		newest_hour;	/* number of the newest slice */
	int64		newest_day;
	uint32		hour[CPII_NBUDGETS][CPII_HOUR_SLICES];	/* place = number modulo */
	uint32		day[CPII_NBUDGETS][CPII_DAY_SLICES];
} CpiiSlices;

/* forget the slices that are out of the windows now; before anything below */
extern void cpii_slices_advance(CpiiSlices *slices, TimestampTz now);

/* what was taken in the hour, and in the day */
extern int64 cpii_slices_hour(const CpiiSlices *slices, int budget);
extern int64 cpii_slices_day(const CpiiSlices *slices, int budget);

/*
 * Add what is taken.  A negative amount is given back to the newest slices
 * first: it was taken there, unless a slice began meanwhile.
 */
extern void cpii_slices_add(CpiiSlices *slices, int budget, int64 amount);

/* one slice by its number (of an hour or a day) has at least this amount */
extern void cpii_slices_raise(CpiiSlices *slices, int budget, bool hours,
							  int64 number, int64 amount);

/* nothing was taken for a day; advances */
extern bool cpii_slices_idle(CpiiSlices *slices, TimestampTz now);

#endif							/* CPII_WINDOW_SLICES_H */
