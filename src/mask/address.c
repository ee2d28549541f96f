/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Mask of addresses.
 *
 * Masked form: the administrative levels down to the district, each a name of
 * our table, and four stars.  Nothing else of the text is ever shown, so names,
 * phones and companies inside an address cannot slip through.
 *
 * Label form: besides, streets and communities down to the building, and three
 * stars.  It reads word by word and stops at the first thing that it does not
 * know: a word that does not end like a place, a number that is no number of a
 * house, street or building, a unit, floor or room.
 *
 * What is kept reads the same again (see settle), which makes both forms
 * idempotent.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/region.h"
#include "mask/text.h"

#include <string.h>

/* where to look for a region that does not begin the text */
#define SCAN_MAX 80
/* longest word for a street or community, and longest number */
#define WORD_MAX 12
#define NUMBER_MAX 5

CPII_WORD_LIST(countries,
	"中华人民共和国", "中国大陆", "中国");

/* words that end the name of a street, village, community or large building */
CPII_WORD_LIST(place_ends,
	"街道", "大道", "大街", "公路", "路", "街", "巷", "弄", "胡同", "里", "镇", "乡",
	"苏木", "社区", "小区", "园区", "工业园", "产业园", "科技园", "开发区", "新区",
	"村", "花园", "家园", "公园", "园", "苑", "广场", "大厦", "大楼", "公寓",
	"宿舍", "中心", "商场", "市场", "商城", "城", "庭", "府", "湾", "庄", "屯", "坊",
	"楼", "大院", "院", "学校", "大学", "学院", "中学", "小学", "幼儿园", "医院",
	"酒店", "宾馆", "饭店", "车站");

/* after a number: a building, where the label form ends */
CPII_WORD_LIST(building_ends,
	"号楼", "号栋", "号幢", "栋", "幢", "座", "#楼", "#");

/* after a number: still above the building */
CPII_WORD_LIST(number_ends,
	"号大院", "号院", "号", "弄", "巷", "大街", "街", "大道", "支路", "路", "里",
	"期", "区", "村", "段");

/* parts of a building */
CPII_WORD_LIST(unit_words,
	"单元", "号房", "号室", "号门", "层", "室", "户", "房", "门", "梯", "铺");

/* levels that were not understood; what they end is no street */
CPII_WORD_LIST(level_ends, "省", "市", "县", "区", "旗");

CPII_WORD_LIST(sides,
	"东", "西", "南", "北", "中", "主", "副", "甲", "乙", "丙", "丁", "前", "后");

static void
keep(CpiiText *kept, const CpiiText *text, int from, int end)
{
	for (; from < end; from++)
	{
		kept->cp[kept->n] = text->cp[from];
		kept->fold[kept->n] = text->fold[from];
		kept->n++;
	}
}

static bool
is_gap(uint32_t cp)
{
	return cp == ' ' || cp == ',';
}

static bool
starts_piece(const CpiiText *text, int pos)
{
	uint32_t	before = text->cp[pos - 1];

	return !cpii_utf8_is_han(before) && !cpii_utf8_is_letter(before);
}

/* the region that begins the text, or the first full one inside it */
static bool
find_region(const CpiiText *text, CpiiRegion *region)
{
	int			start = cpii_text_match_any(text, 0, text->n, &countries);
	int			pos;

	while (start < text->n && is_gap(text->cp[start]))
		start++;
	if (cpii_region_find(text, start, false, region))
		return true;
	for (pos = start + 1; pos < text->n && pos < SCAN_MAX; pos++)
	{
		if (!cpii_utf8_is_han(text->cp[pos]))
			continue;
		if (cpii_region_full_name_at(text, pos) &&
			cpii_region_find(text, pos, false, region))
			return true;
		if (starts_piece(text, pos) &&
			cpii_region_find(text, pos, false, region) && region->levels >= 2)
			return true;
	}
	region->levels = 0;
	return false;
}

/*
 * A number in digits or Han characters, or one letter, at pos: position behind
 * it, or pos when there is none that an address may show.
 */
static int
read_number(const CpiiText *text, int pos)
{
	int			end = pos;

	while (end < text->n && cpii_is_digit(text->cp[end]))
		end++;
	if (end == pos)
		while (end < text->n && cpii_utf8_is_han_number(text->fold[end]))
			end++;
	if (end == pos && cpii_is_upper(text->fold[pos]) &&
		(end + 1 == text->n || !cpii_is_alnum(text->cp[end + 1])))
		end++;
	return end - pos <= NUMBER_MAX ? end : pos;
}

/*
 * Append the words for streets, communities and the building that begin at
 * pos.  Only words that were understood to their end stay.
 */
static void
keep_street(const CpiiText *text, int pos, CpiiText *kept)
{
	int			sure = kept->n; /* kept up to here */
	int			word_end = -1;	/* position behind the last word */

	while (pos < text->n)
	{
		int			pending = kept->n - sure;
		int			number = read_number(text, pos);
		bool		plain = cpii_is_alnum(text->cp[pos]);
		int			count;

		if (is_gap(text->cp[pos]))
		{
			if (pending > 0)
				break;
			pos++;
			continue;
		}
		if (plain && (number == pos || pending > 0))
			break;
		if (number > pos)
		{
			if (cpii_text_match_any(text, number, text->n, &unit_words) > 0 ||
				cpii_text_match(text, number, text->n, "楼") > 0)
				break;
			count = cpii_text_match_any(text, number, text->n, &building_ends);
			if (count > 0)
			{
				if (pending == 0)
				{
					keep(kept, text, pos, number + count);
					sure = kept->n;
				}
				break;
			}
			count = cpii_text_match_any(text, number, text->n, &number_ends);
			if (count > 0 && pending == 0)
			{
				keep(kept, text, pos, number + count);
				sure = kept->n;
				pos = number + count;
				continue;
			}
			if (plain)
				break;
			/* just characters of a name, as in 三里屯 */
			keep(kept, text, pos, number);
			pos = number;
			continue;
		}
		if (!cpii_utf8_is_han(text->cp[pos]) || pending > WORD_MAX ||
			cpii_utf8_is_han_number(text->fold[pos]) ||
			cpii_text_match_any(text, pos, text->n, &unit_words) > 0)
			break;
		if (pending == 0 &&
			(count = cpii_text_match_any(text, pos, text->n, &sides)) > 0 &&
			cpii_text_match_any(text, pos + count, text->n, &building_ends) > 0)
		{
			count += cpii_text_match_any(text, pos + count, text->n, &building_ends);
			keep(kept, text, pos, pos + count);
			sure = kept->n;
			break;
		}
		/* an end may follow an end: 科技园 and 路 */
		count = pending > 0 || pos == word_end ?
			cpii_text_match_any(text, pos, text->n, &place_ends) : 0;
		if (count > 0)
		{
			keep(kept, text, pos, pos + count);
			sure = kept->n;
			pos += count;
			word_end = pos;
		}
		else if (cpii_text_match_any(text, pos, text->n, &level_ends) > 0)
			break;
		else
		{
			keep(kept, text, pos, pos + 1);
			pos++;
		}
	}
	kept->n = sure;
}

/*
 * Does the region read the same when the text ends with it?  It does when it
 * begins the text, nothing was left out of it, and no other reading was refused
 * for what follows it: what is found in a part of the text is found in the
 * whole, and the best reading of the whole is in that part.
 */
static bool
reads_the_same(const CpiiRegion *region)
{
	int			i;

	if (!region->stable || region->from[0] != 0)
		return false;
	for (i = 1; i < region->npieces; i++)
		if (region->from[i] != region->to[i - 1])
			return false;
	return true;
}

/* what of the text the form shows; true when that is sure to read the same */
static bool
keep_shown(const CpiiText *text, CpiiMaskForm form, CpiiText *kept)
{
	CpiiRegion	region;
	int			pos = 0;
	int			i;

	kept->n = 0;
	if (find_region(text, &region))
	{
		for (i = 0; i < region.npieces; i++)
			keep(kept, text, region.from[i], region.to[i]);
		pos = region.end;
	}
	if (form == CPII_FORM_LABEL)
		keep_street(text, pos, kept);
	return form == CPII_FORM_MASKED && pos > 0 && reads_the_same(&region);
}

/*
 * Read again what is kept, until reading changes nothing: each round makes it
 * shorter.
 */
static void
settle(const CpiiText *text, CpiiMaskForm form, CpiiText *kept)
{
	CpiiText	before;

	if (keep_shown(text, form, kept))
		return;
	do
	{
		before.n = 0;
		keep(&before, kept, 0, kept->n);
		if (keep_shown(&before, form, kept))
			break;
	} while (kept->n < before.n);
}

size_t
cpii_mask_address(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	const char *stars = form == CPII_FORM_LABEL ? "***" : "****";
	int			nstars = (int) strlen(stars);
	CpiiText	text;
	CpiiText	kept;
	CpiiSink	sink;

	if (inlen == 0)
		return 0;
	if (!cpii_text_load(&text, in, inlen))
		return cpii_mask_hide(out);

	if (cpii_text_has(&text, 0, text.n, '*'))
	{
		int			shown = text.n - nstars;

		/* our own output, and nothing else that has stars */
		if (shown <= 0 || !cpii_text_stars(&text, shown, text.n, nstars))
			return cpii_mask_hide(out);
		text.n = shown;
		settle(&text, form, &kept);
		if (kept.n != shown)
			return cpii_mask_hide(out);
	}
	else
		settle(&text, form, &kept);

	if (kept.n == 0)
		return cpii_mask_hide(out);
	cpii_sink_init(&sink, out, inlen);
	cpii_sink_text(&sink, &kept, 0, kept.n);
	cpii_sink_string(&sink, stars);
	return cpii_sink_finish(&sink);
}
