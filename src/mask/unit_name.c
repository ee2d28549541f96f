/*-------------------------------------------------------------------------
 *
 * unit_name.c
 *	  Mask of company and unit names: place, four stars, legal form.
 *
 *	  杭州云栖贸易有限公司 -> 杭州****有限公司
 *
 * Place and form come from fixed tables.  Names of which nothing would be left
 * to hide (浙江大学) lose their place; names with neither are hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/region.h"
#include "mask/text.h"

#define STARS "****"
#define NSTARS 4
#define LONGEST 80

CPII_WORD_LIST(legal_forms,
	"有限公司", "有限责任公司", "股份有限公司", "集团有限公司", "集团股份有限公司",
	"控股有限公司", "股份公司", "分公司", "子公司", "总公司", "公司", "集团", "合伙企业",
	"个体工商户", "合作社", "厂", "工厂", "分厂", "店", "分店", "专卖店", "旗舰店",
	"商店", "商行", "商场", "商城", "超市", "便利店", "批发部", "经营部", "营业部",
	"门市部", "服务部", "销售部", "工作室", "经销处", "办事处", "代表处", "事务所",
	"律师事务所", "会计师事务所", "医院", "卫生院", "诊所", "卫生所", "药房", "药店",
	"学校", "大学", "学院", "中学", "小学", "幼儿园", "培训中心", "中心", "研究院",
	"研究所", "设计院", "实验室", "银行", "支行", "分行", "信用社", "酒店", "宾馆",
	"饭店", "餐厅", "酒楼", "茶楼", "网吧", "委员会", "居委会", "村委会", "管理局", "局",
	"分局", "派出所", "法院", "检察院", "政府", "办公室", "协会", "学会", "商会", "基金会",
	"出版社", "报社", "杂志社", "电视台", "图书馆", "博物馆", "部队", "快递点", "驿站",
	"农场", "养殖场", "加油站", "维修部", "美容院", "理发店", "公寓", "物业");

/* behind a branch in brackets at the end, if there is one */
static int
without_bracket(const CpiiText *text, int end)
{
	int			i;

	if (end == 0 || (text->cp[end - 1] != ')' && text->cp[end - 1] != 0x3011))
		return end;
	for (i = end - 1; i > 0; i--)
		if (text->cp[i] == '(' || text->cp[i] == 0x3010)
			return i;
	return end;
}

/* characters of the place that begins the first "end" characters */
static int
place_length(CpiiText *text, int end)
{
	CpiiRegion	region;
	int			n = text->n;
	int			i;
	bool		found;

	text->n = end;
	found = cpii_region_find(text, 0, true, &region);
	text->n = n;
	if (!found)
		return 0;
	/* without gaps only, so that what is shown reads the same again */
	for (i = 0; i < region.npieces; i++)
		if (region.from[i] != (i == 0 ? 0 : region.to[i - 1]))
			return region.to[0];
	return region.end;
}

/*
 * Find what may be shown: the first "place" and the characters from "form" to
 * "end".  False when that is nothing.
 */
static bool
parse_unit(CpiiText *text, int *place, int *form, int *end)
{
	int			again;

	*end = without_bracket(text, text->n);
	*place = place_length(text, *end);
	*form = *end - cpii_text_match_tail(text, 0, *end, &legal_forms);
	if (*form <= *place)
	{
		/* nothing between them */
		*place = 0;
		if (*form == *end)
			return false;
	}
	/* the place alone must be the same place */
	while ((again = place_length(text, *place)) != *place)
		*place = again;
	return *place > 0 || *form < *end;
}

/* is it our own output: a place or nothing, stars, a form or nothing? */
static bool
parse_masked(CpiiText *text, int *place, int *form, int *end)
{
	*place = 0;
	while (*place < text->n && text->cp[*place] != '*')
		(*place)++;
	*form = *place + NSTARS;
	*end = text->n;
	if (*form > *end || !cpii_text_stars(text, *place, *form, NSTARS))
		return false;
	if (*place > 0 && place_length(text, *place) != *place)
		return false;
	if (*form < *end &&
		cpii_text_match_tail(text, *form, *end, &legal_forms) != *end - *form)
		return false;
	return *place > 0 || *form < *end;
}

size_t
cpii_mask_unit_name(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	int			place;
	int			legal_form;
	int			end;
	bool		found;

	(void) form;
	if (inlen == 0)
		return 0;
	if (!cpii_text_load_compact(&text, in, inlen, false) || text.n > LONGEST)
		return cpii_mask_hide(out);

	if (cpii_text_has(&text, 0, text.n, '*'))
		found = parse_masked(&text, &place, &legal_form, &end);
	else
		found = parse_unit(&text, &place, &legal_form, &end);
	if (!found)
		return cpii_mask_hide(out);

	cpii_sink_init(&sink, out, inlen);
	cpii_sink_text(&sink, &text, 0, place);
	cpii_sink_string(&sink, STARS);
	cpii_sink_text(&sink, &text, legal_form, end);
	return cpii_sink_finish(&sink);
}
