/*-------------------------------------------------------------------------
 *
 * region.h
 *	  Find province, city and district at a place of a text.  Private to
 *	  src/mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_REGION_H
#define CPII_REGION_H

#include "mask/text.h"

#define CPII_REGION_PIECES 6

typedef struct CpiiRegion
{
	int			levels;			/* 0 when nothing was found */
	int			end;			/* position behind the last piece */
	int			npieces;
	int			from[CPII_REGION_PIECES];	/* blanks and commas between are left out */
	int			to[CPII_REGION_PIECES];
	bool		stable;			/* no reading was refused for what follows it */
} CpiiRegion;

/*
 * The best reading (most levels, then longest) of the administrative levels
 * that begin at "from".  Every piece is a name of our table, so nothing else
 * can be shown with it.  A short name of a city ("杭州") without province or
 * district counts only at the end of the text, before a blank, or when
 * bare_city is set; a short name before a word for a street never does.
 */
extern bool cpii_region_find(const CpiiText *text, int from, bool bare_city,
							 CpiiRegion *region);

/* does a province or city stand at "from" with its full name? */
extern bool cpii_region_full_name_at(const CpiiText *text, int from);

#endif							/* CPII_REGION_H */
