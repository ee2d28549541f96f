/*-------------------------------------------------------------------------
 *
 * region_index.c
 *	  All names of administrative divisions that stand at a place of a text.
 *
 * A hash table over the first two characters of some 3 600 names: one look
 * tells which provinces, cities and counties may begin at a place.  It is
 * built from constant data, once, and never changes; cpii_mask_prepare builds
 * it in the postmaster, so that backends share its memory.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/region_index.h"

#include <string.h>

#include "mask/region_names.h"

#define NPROVINCES ((int) (sizeof(provinces) / sizeof(provinces[0])))
#define NBUCKETS 4096
#define MOST_NAMES 6000

/* names of one bucket stand together; a name with count 0 ends the table */
static CpiiRegionName names[MOST_NAMES + 1];
static uint16_t bucket_start[NBUCKETS + 1];
static bool prepared = false;

/* one bit for each character of the basic plane that begins a name */
static uint64_t begins[0x10000 / 64];

static inline uint32_t
key_of(uint32_t first, uint32_t second)
{
	return first << 16 | second;
}

static inline uint32_t
bucket_of(uint32_t key)
{
	return (key * 2654435761u) >> 20;
}

/* what a pass over region_names.h does with each name */
typedef struct Pass
{
	bool		fill;			/* else only count */
	int			total;
	uint16_t	next[NBUCKETS]; /* names so far, or next free place */
} Pass;

static void
add_name(Pass *pass, const char *name, int count, int province,
		 const CpiiCity *city, bool county)
{
	uint32_t	key;
	uint32_t	bucket;

	if (count < 2 || pass->total >= MOST_NAMES)
		return;
	key = key_of(cpii_three_bytes(name), cpii_three_bytes(name + 3));
	bucket = bucket_of(key);
	if (pass->fill)
	{
		CpiiRegionName *entry = &names[pass->next[bucket]];

		entry->key = key;
		entry->name = name;
		entry->count = (uint8_t) count;
		entry->province = (uint8_t) province;
		entry->city = city;
		entry->county = county;
		begins[key >> 22] |= UINT64_C(1) << ((key >> 16) & 63);
	}
	pass->next[bucket]++;
	pass->total++;
}

static void
add_all(Pass *pass)
{
	int			p;
	int			c;

	pass->total = 0;
	for (p = 0; p < NPROVINCES; p++)
	{
		add_name(pass, provinces[p].name, (int) strlen(provinces[p].name) / 3, p,
				 NULL, false);
		for (c = 0; c < provinces[p].ncities; c++)
		{
			const CpiiCity *city = &provinces[p].cities[c];
			const char *county = city->counties;

			add_name(pass, city->name, (int) strlen(city->name) / 3, p, city, false);
			while (*county)
			{
				int			count = *county <= '9' ? *county - '0' :
					*county - 'A' + 10;

				county++;
				add_name(pass, county, count, p, city, true);
				county += 3 * count;
			}
		}
	}
}

void
cpii_region_prepare(void)
{
	Pass		pass;
	int			start = 0;
	int			i;

	if (prepared)
		return;
	memset(&pass, 0, sizeof(pass));
	add_all(&pass);
	for (i = 0; i < NBUCKETS; i++)
	{
		int			count = pass.next[i];

		bucket_start[i] = pass.next[i] = (uint16_t) start;
		start += count;
	}
	bucket_start[NBUCKETS] = (uint16_t) start;
	pass.fill = true;
	add_all(&pass);
	prepared = true;
}

const CpiiProvince *
cpii_region_province(int number)
{
	return &provinces[number];
}

const CpiiRegionName *
cpii_region_next(const CpiiText *text, int pos, const CpiiRegionName *previous)
{
	uint32_t	key;
	uint32_t	bucket;
	const CpiiRegionName *entry;
	const CpiiRegionName *end;

	if (pos + 1 >= text->n || text->fold[pos] > 0xFFFF ||
		text->fold[pos + 1] > 0xFFFF)
		return NULL;
	if (!prepared)
		cpii_region_prepare();
	if (!((begins[text->fold[pos] >> 6] >> (text->fold[pos] & 63)) & 1))
		return NULL;
	key = key_of(text->fold[pos], text->fold[pos + 1]);
	bucket = bucket_of(key);
	entry = previous ? previous + 1 : &names[bucket_start[bucket]];
	end = &names[bucket_start[bucket + 1]];
	for (; entry < end; entry++)
	{
		int			i;

		if (entry->key != key || pos + entry->count > text->n)
			continue;
		for (i = 2; i < entry->count; i++)
			if (text->fold[pos + i] != cpii_three_bytes(entry->name + 3 * i))
				break;
		if (i == entry->count)
			return entry;
	}
	return NULL;
}
