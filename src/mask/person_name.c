/*-------------------------------------------------------------------------
 *
 * person_name.c
 *	  Mask of names: the surname, and two stars whatever the length.
 *
 *	  张三丰 -> 张**		欧阳锋 -> 欧阳**		阿依古丽·买买提 -> 阿**
 *	  John Smith -> J**		王小明先生 -> 王**先生	王先生 -> 王先生 (label: 王**)
 *
 * A text with digits, odd signs, or too long for a name is hidden.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/person_name.h"

#include <string.h>

#include "mask/mask.h"

#define STARS "**"
#define LONGEST_HAN 12
#define LONGEST_DOTTED 25
#define LONGEST 60

/* the usual ones; rare ones would show a given name as often as a surname */
CPII_WORD_LIST(compound_surnames,
	"欧阳", "诸葛", "司马", "上官", "司徒", "东方", "独孤", "南宫", "夏侯", "尉迟",
	"皇甫", "公孙", "慕容", "令狐", "长孙", "宇文", "轩辕", "端木", "闻人", "东郭",
	"西门", "呼延", "百里", "赫连", "澹台", "公冶", "宗政", "濮阳", "淳于", "单于",
	"太叔", "申屠", "仲孙", "钟离", "鲜于", "闾丘", "司空", "司寇", "亓官", "颛孙",
	"巫马", "漆雕", "壤驷", "拓跋", "羊舌", "万俟", "完颜", "耶律", "纳兰", "第五",
	"太史", "公羊", "公西", "乐正", "谷梁", "段干", "哥舒", "贺兰", "叶赫", "贺若");

/* read after a name; a title alone says nothing about the given name */
CPII_WORD_LIST(titles,
	"先生", "女士", "小姐", "老师", "太太", "夫人", "经理", "总经理", "主任", "医生",
	"大夫", "护士", "师傅", "同学", "阿姨", "叔叔", "大哥", "大姐", "老板", "老板娘",
	"局长", "处长", "科长", "校长", "院长", "所长", "部长", "厂长", "店长", "站长",
	"教授", "律师", "警官", "总监", "董事长", "总");

/* the characters of a name without its blanks */
typedef struct Name
{
	CpiiText	text;
	int			han;
	int			letters;
	int			dots;
	int			stops;			/* full stops */
	int			marks;			/* other signs that Latin names may hold */
	int			others;
	int			stars;
} Name;

static void
read_name(Name *name, const CpiiText *text, int from, int end)
{
	int			i;

	name->text.n = 0;
	name->han = name->letters = name->dots = name->stops = 0;
	name->marks = name->others = name->stars = 0;
	for (i = from; i < end; i++)
	{
		uint32_t	cp = text->cp[i];

		if (cp == ' ')
			continue;
		name->text.cp[name->text.n] = cp;
		name->text.fold[name->text.n] = text->fold[i];
		name->text.n++;
		if (cpii_utf8_is_han(cp))
			name->han++;
		else if (cpii_utf8_is_letter(cp))
			name->letters++;
		else if (cpii_utf8_is_name_dot(cp))
			name->dots++;
		else if (cp == '.')
			name->stops++;
		else if (cp == '\'' || cp == 0x2019 || cp == ',' ||
				 cpii_utf8_is_dash(cp) || (cp >= 0x0300 && cp <= 0x036F))
			name->marks++;
		else if (cp == '*')
			name->stars++;
		else
			name->others++;
	}
}

static bool
is_name_character(uint32_t cp)
{
	return cpii_utf8_is_han(cp) || cpii_utf8_is_letter(cp);
}

/* length of a title at the end of a name of Han characters, else 0 */
static int
title_length(const Name *name)
{
	return cpii_text_match_tail(&name->text, 1, name->text.n, &titles);
}

/* characters of the surname in a name of n characters */
static int
surname_length(const Name *name, int n)
{
	if (n > 2 && cpii_text_match_any(&name->text, 0, n, &compound_surnames))
		return 2;
	return 1;
}

/* X**, compound**, either with a title, or a lone star */
static bool
is_masked_shape(const Name *name)
{
	int			n = name->text.n;
	int			shown;

	if (name->stars == 1 && n == 1)
		return true;
	if (name->stars != 2 || name->others + name->dots + name->stops + name->marks > 0)
		return false;
	if (cpii_utf8_is_han(name->text.cp[0]))
		n -= title_length(name);
	shown = n - 2;
	if (!cpii_text_stars(&name->text, shown, n, 2))
		return false;
	if (shown == 1)
		return is_name_character(name->text.cp[0]);
	return shown == 2 &&
		cpii_text_match_any(&name->text, 0, 2, &compound_surnames);
}

/*
 * Decide how the name is shown: the first "surname" characters, two stars if
 * "stars", the last "title" characters.  False when it is no name.
 */
static bool
parse_name(const Name *name, int *surname, bool *stars, int *title)
{
	int			n = name->text.n;

	*surname = 1;
	*stars = true;
	*title = 0;
	if (name->stars > 0 || name->others > 0 || n < 2 ||
		!is_name_character(name->text.cp[0]))
		return false;

	if (name->dots > 0 || (name->han > 0 && name->stops > 0))
	{
		/* the parts of a name of another language: no surname */
		return name->marks == 0 && n <= LONGEST_DOTTED &&
			is_name_character(name->text.cp[n - 1]);
	}
	if (name->han == n)
	{
		if (n > LONGEST_HAN)
			return false;
		*title = title_length(name);
		n -= *title;
		if (*title > 0)
		{
			bool		compound = n == 2 &&
				cpii_text_match_any(&name->text, 0, 2, &compound_surnames);

			*stars = n > 1 && !compound;
			*surname = compound ? 2 : surname_length(name, n);
		}
		else
			*surname = surname_length(name, n);
		return true;
	}
	if (name->han > 0)
		return name->marks == 0 && n <= LONGEST_HAN * 2;
	return n <= LONGEST;
}

bool
cpii_person_name_span(const CpiiText *text, int from, int end, CpiiMaskForm form,
					  CpiiSink *sink)
{
	Name		name;
	int			surname;
	int			title;
	bool		stars;

	read_name(&name, text, from, end);
	if (name.stars > 0 && is_masked_shape(&name))
		cpii_sink_text(sink, &name.text, 0, name.text.n);
	else if (name.text.n == 1 && is_name_character(name.text.cp[0]))
		cpii_sink_string(sink, "*");
	else if (parse_name(&name, &surname, &stars, &title))
	{
		/* on a label something of every name is hidden, if only the title */
		if (!stars && form == CPII_FORM_LABEL)
		{
			stars = true;
			title = 0;
		}
		cpii_sink_text(sink, &name.text, 0, surname);
		if (stars)
			cpii_sink_string(sink, STARS);
		cpii_sink_text(sink, &name.text, name.text.n - title, name.text.n);
	}
	else
		return false;
	return true;
}

bool
cpii_person_name_is_masked(const CpiiText *text, int from, int end,
						   CpiiMaskForm form)
{
	Name		name;
	int			surname;
	int			title;
	bool		stars;

	if (cpii_text_stars(text, from, end, (int) strlen(CPII_HIDDEN_TEXT)))
		return true;
	if (cpii_text_has(text, from, end, ' '))
		return false;
	read_name(&name, text, from, end);
	if (name.stars > 0)
		return is_masked_shape(&name);
	return form != CPII_FORM_LABEL &&
		parse_name(&name, &surname, &stars, &title) && !stars;
}

size_t
cpii_mask_person_name(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;

	if (inlen == 0)
		return 0;
	if (!cpii_text_load(&text, in, inlen) || text.n == 0)
		return cpii_mask_hide(out);
	cpii_sink_init(&sink, out, inlen);
	(void) cpii_person_name_span(&text, 0, text.n, form, &sink);
	return cpii_sink_finish(&sink);
}
