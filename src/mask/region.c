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

#include "mask/region_index.h"

/* short name; short name with a suffix people use; full name */
#define NAME_ENDS 3

CPII_WORD_LIST(province_suffixes, "省", "自治区");
CPII_WORD_LIST(city_suffixes,
	"市", "自治州", "州", "盟", "地区");
CPII_WORD_LIST(zones,
	"高新技术产业开发区", "高新技术开发区", "高新开发区", "高新区", "经济技术开发区",
	"经济开发区", "经开区", "开发区", "新区", "保税区", "工业园区");
CPII_WORD_LIST(roads,
	"路", "街", "道", "巷", "弄", "大道", "大街", "公路", "环", "胡同", "里");

typedef struct Search
{
	const CpiiText *text;
	bool		bare_city;
	CpiiRegion	path;			/* the reading being built */
	CpiiRegion	best;
	bool		refused;		/* a reading was, for what follows it */
} Search;

/* characters of a name of ours (three bytes each) at pos, or 0 */
static int
match_string(const CpiiText *text, int pos, const char *name)
{
	int			count = 0;

	for (; *name; name += 3, count++)
		if (pos + count >= text->n ||
			text->fold[pos + count] != cpii_three_bytes(name))
			return 0;
	return count;
}

/*
 * Fill ends with the positions behind the forms of a name that ends at base;
 * number of them.
 */
static int
name_ends(const CpiiText *text, int base, const char *rest,
		  CpiiWords *suffixes, int *ends)
{
	int			count = 0;
	int			more;

	ends[count++] = base;
	more = match_string(text, base, rest);
	if (more > 0)
		ends[count++] = base + more;
	more = cpii_text_match_any(text, base, text->n, suffixes);
	if (more > 0 && base + more != ends[count - 1])
		ends[count++] = base + more;
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

/* a number, or one of 东南西北中 */
static bool
is_before_road(uint32_t folded)
{
	switch (folded)
	{
		case 0x4E1C:
		case 0x5357:
		case 0x897F:
		case 0x5317:
		case 0x4E2D:
			return true;
		default:
			return cpii_utf8_is_han_number(folded);
	}
}

/* the text goes on as the name of a street: "北京东路", "中山一路" */
static bool
is_road(const CpiiText *text, int pos)
{
	int			i;

	for (i = 0; i <= 2; i++)
	{
		if (cpii_text_match_any(text, pos + i, text->n, &roads) > 0)
			return true;
		if (pos + i >= text->n ||
			!is_before_road(text->fold[pos + i]))
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

/*
 * Keep the path when it is better than the best so far.  Not by an assignment:
 * GCC 12.2 at -O1 and above takes one from a part of the structure to another
 * for no change of it (-fipa-modref).
 */
static void
consider(Search *search)
{
	if (search->path.levels > search->best.levels ||
		(search->path.levels == search->best.levels &&
		 search->path.end > search->best.end))
		memcpy(&search->best, &search->path, sizeof(search->best));
}

/* characters of the longest county of the city, else of the province, at pos */
static int
match_county(const CpiiText *text, int pos, int province, const CpiiCity *city)
{
	const CpiiRegionName *name = NULL;
	int			in_city = 0;
	int			in_province = 0;

	while ((name = cpii_region_next(text, pos, name)) != NULL)
	{
		if (!name->county || name->province != province)
			continue;
		if (name->count > in_province)
			in_province = name->count;
		if (name->city == city && name->count > in_city)
			in_city = name->count;
	}
	return in_city > 0 ? in_city : in_province;
}

/* continue the path with a county of the city, of its province, or a zone */
static void
try_county(Search *search, int province, const CpiiCity *city)
{
	int			pos = skip_gap(search->text, search->path.end);
	int			count = match_county(search->text, pos, province, city);

	if (count == 0)
		count = cpii_text_match_any(search->text, pos, search->text->n, &zones);
	if (count == 0)
		return;
	push(search, pos, pos + count);
	consider(search);
	pop(search);
}

static void
try_city(Search *search, const CpiiRegionName *name, int pos, bool anchored)
{
	const CpiiCity *city = name->city;
	const CpiiText *text = search->text;
	int			ends[NAME_ENDS];
	int			count = name_ends(text, pos + name->count, city->rest,
								  &city_suffixes, ends);
	int			i;

	for (i = 0; i < count; i++)
	{
		bool		is_short = i == 0 && city->rest[0] != '\0';

		push(search, pos, ends[i]);
		if (!is_short || search->bare_city ||
			((anchored || ends[i] == text->n || text->cp[ends[i]] == ' ') &&
			 !is_road(text, ends[i])))
			consider(search);
		else
			search->refused = true;
		try_county(search, name->province, city);
		pop(search);
	}
}

static void
try_province(Search *search, const CpiiRegionName *name, int from)
{
	const CpiiText *text = search->text;
	int			ends[NAME_ENDS];
	const CpiiProvince *province = cpii_region_province(name->province);
	int			count = name_ends(text, from + name->count, province->rest,
								  &province_suffixes, ends);
	bool		municipality = strcmp(province->rest, "市") == 0;
	int			i;

	for (i = 0; i < count; i++)
	{
		const CpiiRegionName *city = NULL;
		int			pos;
		int			repeat = 0;

		push(search, from, ends[i]);
		if (i > 0 || search->bare_city || !is_road(text, ends[i]))
			consider(search);
		else
			search->refused = true;

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
			try_county(search, name->province, NULL);
			pop(search);
		}
		else if (repeat > 0)
			search->refused = true;
		while ((city = cpii_region_next(text, pos, city)) != NULL)
			if (city->city && !city->county && city->province == name->province)
				try_city(search, city, pos, true);
		try_county(search, name->province, NULL);
		pop(search);
	}
}

bool
cpii_region_find(const CpiiText *text, int from, bool bare_city,
				 CpiiRegion *region)
{
	const CpiiRegionName *name = NULL;
	Search		search;
	int			county = 0;

	search.text = text;
	search.bare_city = bare_city;
	memset(&search.path, 0, sizeof(search.path));
	memset(&search.best, 0, sizeof(search.best));
	search.refused = false;

	while ((name = cpii_region_next(text, from, name)) != NULL)
	{
		if (name->county)
		{
			if (name->count > county)
				county = name->count;
		}
		else if (name->city)
			try_city(&search, name, from, false);
		else
			try_province(&search, name, from);
	}
	/* a county alone, by its full name */
	if (search.best.levels == 0 && county >= 3)
	{
		push(&search, from, from + county);
		consider(&search);
	}
	*region = search.best;
	region->stable = !search.refused;
	return region->levels > 0;
}

bool
cpii_region_full_name_at(const CpiiText *text, int from)
{
	const CpiiRegionName *name = NULL;

	while ((name = cpii_region_next(text, from, name)) != NULL)
		if (!name->county &&
			match_string(text, from + name->count, name->city ? name->city->rest :
						 cpii_region_province(name->province)->rest) > 0)
			return true;
	return false;
}
