/*-------------------------------------------------------------------------
 *
 * region.c
 *	  Find province, city and district at a place of a text.
 *
 * All readings are tried, because names overlap (吉林省 and 吉林市, 青岛 市南区);
 * the one with the most levels wins.  Only names of region_names.h and the
 * functional zones below are ever part of a reading.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/region.h"

#include <string.h>

#include "mask/region_names.h"

#define NPROVINCES ((int) (sizeof(provinces) / sizeof(provinces[0])))

/* short name; short name with a suffix people use; full name */
#define NAME_ENDS 3

static const char *const province_suffixes[] = {"省", "自治区", NULL};
static const char *const city_suffixes[] = {
	"市", "自治州", "州", "盟", "地区", NULL
};
static const char *const zones[] = {
	"高新技术产业开发区", "高新技术开发区", "高新开发区", "高新区", "经济技术开发区",
	"经济开发区", "经开区", "开发区", "新区", "保税区", "工业园区", NULL
};
static const char *const roads[] = {
	"路", "街", "道", "巷", "弄", "大道", "大街", "公路", "环", "胡同", "里", NULL
};

static const char *const county_ends[] = {"区", "县", "市", "旗", NULL};
static const char *const full_name_ends[] = {
	"省", "市", "区", "州", "盟", "县", NULL
};

typedef struct Search
{
	const CpiiText *text;
	bool		bare_city;
	CpiiRegion	path;			/* the reading being built */
	CpiiRegion	best;
} Search;

/* the character that three bytes of UTF-8 stand for */
static inline uint32_t
three_bytes(const char *name)
{
	const unsigned char *s = (const unsigned char *) name;

	return ((uint32_t) (s[0] & 0x0F) << 12) | ((uint32_t) (s[1] & 0x3F) << 6) |
		(uint32_t) (s[2] & 0x3F);
}

/* one byte tells most names apart */
static inline bool
begins(const char *name, uint32_t cp)
{
	return (((uint32_t) name[2] ^ cp) & 0x3F) == 0 && three_bytes(name) == cp;
}

/* name consists of "count" three-byte characters: length of the match, or 0 */
static inline int
match_name(const CpiiText *text, int pos, const char *name, int count)
{
	int			i;

	if (pos + count > text->n)
		return 0;
	for (i = 0; i < count; i++)
		if (text->fold[pos + i] != three_bytes(name + 3 * i))
			return 0;
	return count;
}

/* the same for a whole string; most names differ in their first character */
static inline int
match_string(const CpiiText *text, int pos, const char *name)
{
	if (pos >= text->n || name[0] == '\0' || !begins(name, text->fold[pos]))
		return 0;
	return match_name(text, pos, name, (int) strlen(name) / 3);
}

/* fill ends with the positions behind the forms of a name; number of them */
static int
name_ends(const CpiiText *text, int pos, const char *name, const char *rest,
		  const char *const *suffixes, int *ends)
{
	int			base = match_string(text, pos, name);
	int			count = 0;
	int			more;

	if (base == 0)
		return 0;
	ends[count++] = pos + base;
	more = match_string(text, pos + base, rest);
	if (more > 0)
		ends[count++] = pos + base + more;
	more = cpii_text_match_any(text, pos + base, text->n, suffixes);
	if (more > 0)
		ends[count++] = pos + base + more;
	return count;
}

static int
skip_gap(const CpiiText *text, int pos)
{
	while (pos < text->n &&
		   (text->cp[pos] == ' ' || text->cp[pos] == ',' || text->cp[pos] == '/' ||
			text->cp[pos] == 0x3001 || text->cp[pos] == '>' ||
			text->cp[pos] == '|' || text->cp[pos] == '_' ||
			cpii_utf8_is_dash(text->cp[pos])))
		pos++;
	return pos;
}

/* the text goes on as the name of a street: "北京东路", "中山一路" */
static bool
is_road(const CpiiText *text, int pos)
{
	int			i;

	for (i = 0; i <= 2; i++)
	{
		if (cpii_text_match_any(text, pos + i, text->n, roads) > 0)
			return true;
		if (pos + i >= text->n ||
			!(cpii_utf8_is_han_number(text->fold[pos + i]) ||
			  cpii_text_match(text, pos + i, text->n, "东") ||
			  cpii_text_match(text, pos + i, text->n, "南") ||
			  cpii_text_match(text, pos + i, text->n, "西") ||
			  cpii_text_match(text, pos + i, text->n, "北") ||
			  cpii_text_match(text, pos + i, text->n, "中")))
			return false;
	}
	return false;
}

static void
push(Search *search, int from, int to)
{
	CpiiRegion *path = &search->path;

	if (path->npieces == CPII_REGION_PIECES)
		return;
	path->from[path->npieces] = from;
	path->to[path->npieces] = to;
	path->npieces++;
	path->levels++;
	path->end = to;
}

static void
pop(Search *search)
{
	CpiiRegion *path = &search->path;

	path->npieces--;
	path->levels--;
	path->end = path->npieces > 0 ? path->to[path->npieces - 1] : 0;
}

/* keep the path when it is better than the best so far */
static void
consider(Search *search)
{
	if (search->path.levels > search->best.levels ||
		(search->path.levels == search->best.levels &&
		 search->path.end > search->best.end))
		search->best = search->path;
}

/* characters of the longest county of the list at pos, or 0 */
static int
match_county(const CpiiText *text, int pos, const char *counties, int shortest)
{
	int			best = 0;
	uint32_t	first;

	if (pos >= text->n)
		return 0;
	first = text->fold[pos];
	while (*counties)
	{
		int			count = *counties <= '9' ? *counties - '0' : *counties - 'A' + 10;

		counties++;
		if (begins(counties, first) && count > best &&
			count >= shortest && match_name(text, pos, counties, count) > 0)
			best = count;
		counties += 3 * count;
	}
	return best;
}

static int
match_county_in_province(const CpiiText *text, int pos,
						 const CpiiProvince *province, int shortest)
{
	int			best = 0;
	int			i;

	for (i = 0; i < province->ncities; i++)
	{
		int			count = match_county(text, pos, province->cities[i].counties,
										 shortest);

		if (count > best)
			best = count;
	}
	return best;
}

/* continue the path with a county of the city, of its province, or a zone */
static void
try_county(Search *search, const CpiiProvince *province, const CpiiCity *city)
{
	int			pos = skip_gap(search->text, search->path.end);
	int			count = 0;

	if (city)
		count = match_county(search->text, pos, city->counties, 2);
	if (count == 0)
		count = match_county_in_province(search->text, pos, province, 2);
	if (count == 0)
		count = cpii_text_match_any(search->text, pos, search->text->n, zones);
	if (count == 0)
		return;
	push(search, pos, pos + count);
	consider(search);
	pop(search);
}

static void
try_city(Search *search, const CpiiProvince *province, const CpiiCity *city,
		 int pos, bool anchored)
{
	const CpiiText *text = search->text;
	int			ends[NAME_ENDS];
	int			count = name_ends(text, pos, city->name, city->rest,
								  city_suffixes, ends);
	int			i;

	for (i = 0; i < count; i++)
	{
		bool		is_short = i == 0 && city->rest[0] != '\0';

		push(search, pos, ends[i]);
		if (!is_short || search->bare_city ||
			((anchored || ends[i] == text->n || text->cp[ends[i]] == ' ') &&
			 !is_road(text, ends[i])))
			consider(search);
		try_county(search, province, city);
		pop(search);
	}
}

static void
try_province(Search *search, const CpiiProvince *province, int from)
{
	const CpiiText *text = search->text;
	int			ends[NAME_ENDS];
	int			count = name_ends(text, from, province->name, province->rest,
								  province_suffixes, ends);
	bool		municipality = strcmp(province->rest, "市") == 0;
	int			i;
	int			c;

	for (i = 0; i < count; i++)
	{
		int			pos;
		int			repeat = 0;

		push(search, from, ends[i]);
		if (i > 0 || search->bare_city || !is_road(text, ends[i]))
			consider(search);

		/* municipalities stand in for their own city */
		pos = skip_gap(text, ends[i]);
		if (municipality)
		{
			repeat = cpii_text_match(text, pos, text->n, "市辖区");
			if (repeat == 0)
				repeat = match_string(text, pos, province->name);
			if (repeat > 0)
				repeat += cpii_text_match(text, pos + repeat, text->n, "市");
		}
		if (repeat > 0 && !is_road(text, pos + repeat))
		{
			push(search, pos, pos + repeat);
			consider(search);
			try_county(search, province, NULL);
			pop(search);
		}
		for (c = 0; c < province->ncities; c++)
			if (match_string(text, pos, province->cities[c].name) > 0)
				try_city(search, province, &province->cities[c], pos, true);
		try_county(search, province, NULL);
		pop(search);
	}
}

/* is one of the characters that end the names of counties (or cities) near? */
static bool
is_near(const CpiiText *text, int from, const char *const *words)
{
	int			i;

	for (i = from; i < text->n && i < from + 16; i++)
		if (cpii_text_match_any(text, i, text->n, words) > 0)
			return true;
	return false;
}

bool
cpii_region_find(const CpiiText *text, int from, bool bare_city,
				 CpiiRegion *region)
{
	Search		search;
	int			p;
	int			c;

	memset(&search, 0, sizeof(search));
	search.text = text;
	search.bare_city = bare_city;

	for (p = 0; p < NPROVINCES; p++)
	{
		if (match_string(text, from, provinces[p].name) > 0)
			try_province(&search, &provinces[p], from);
		for (c = 0; c < provinces[p].ncities; c++)
			if (match_string(text, from, provinces[p].cities[c].name) > 0)
				try_city(&search, &provinces[p], &provinces[p].cities[c], from,
						 false);
	}
	/* a county alone, by its full name */
	if (search.best.levels == 0 && is_near(text, from, county_ends))
		for (p = 0; p < NPROVINCES; p++)
		{
			int			count = match_county_in_province(text, from,
														 &provinces[p], 3);

			if (count > 0)
			{
				push(&search, from, from + count);
				consider(&search);
				pop(&search);
			}
		}
	*region = search.best;
	return region->levels > 0;
}

bool
cpii_region_full_name_at(const CpiiText *text, int from)
{
	int			p;
	int			c;

	if (!is_near(text, from, full_name_ends))
		return false;
	for (p = 0; p < NPROVINCES; p++)
	{
		int			count = match_string(text, from, provinces[p].name);

		if (count > 0 && match_string(text, from + count, provinces[p].rest) > 0)
			return true;
		for (c = 1; c < provinces[p].ncities; c++)
		{
			const CpiiCity *city = &provinces[p].cities[c];

			count = match_string(text, from, city->name);
			if (count > 0 && match_string(text, from + count, city->rest) > 0)
				return true;
		}
	}
	return false;
}
