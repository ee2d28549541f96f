/*-------------------------------------------------------------------------
 *
 * region_index.h
 *	  All names of administrative divisions that stand at a place of a text.
 *
 * Private to src/mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_REGION_INDEX_H
#define CPII_REGION_INDEX_H

#include "mask/text.h"

typedef struct CpiiCity
{
	const char *name;
	const char *rest;
	const char *counties;
} CpiiCity;

typedef struct CpiiProvince
{
	const char *name;
	const char *rest;
	const CpiiCity *cities;
	int			ncities;
} CpiiProvince;

typedef struct CpiiRegionName
{
	uint32_t	key;			/* the first two characters */
	const char *name;
	uint8_t		count;			/* characters */
	uint8_t		province;		/* number of its province */
	const CpiiCity *city;		/* NULL: the name is the province's */
	bool		county;			/* a county of that city, else the city itself */
} CpiiRegionName;

/*
 * Calls with every name at pos, in the order of region_names.h: a province
 * before its cities, a city before its counties.  To be used as
 *
 *	name = NULL;
 *	while ((name = cpii_region_next(text, pos, name)) != NULL)
 */
extern const CpiiRegionName *cpii_region_next(const CpiiText *text, int pos,
											  const CpiiRegionName *previous);

extern const CpiiProvince *cpii_region_province(int number);

/* build the index; without this call the first use does */
extern void cpii_region_prepare(void);

/* the character that three bytes of UTF-8 stand for */
static inline uint32_t
cpii_three_bytes(const char *name)
{
	const unsigned char *s = (const unsigned char *) name;

	return ((uint32_t) (s[0] & 0x0F) << 12) | ((uint32_t) (s[1] & 0x3F) << 6) |
		(uint32_t) (s[2] & 0x3F);
}

#endif							/* CPII_REGION_INDEX_H */
