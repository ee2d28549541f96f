/*-------------------------------------------------------------------------
 *
 * item.c
 *	  Mask of item details: the type of goods, from a fixed list.
 *
 * Only a word of the list is ever shown, and only when it begins the text and
 * is a word of its own there.  Whatever hints at medicine, documents of a
 * person or intimate goods hides the item, type and all.
 *
 *-------------------------------------------------------------------------
 */
#include "mask/mask.h"
#include "mask/text.h"

/* matched by the longest; simplified script */
CPII_WORD_LIST(goods_types,
	"衣物", "服装", "衣服", "服饰", "鞋", "鞋子", "鞋帽", "鞋靴", "帽子", "围巾",
	"箱包", "书包", "皮具", "饰品", "眼镜", "雨伞",
	"文件", "文件资料", "资料", "信件", "信函", "票据", "发票", "印刷品", "宣传品",
	"图书", "书籍", "书", "杂志", "报刊", "教材", "音像制品",
	"食品", "零食", "水果", "生鲜", "蔬菜", "海鲜", "水产", "肉类", "粮油", "茶叶",
	"饮料", "酒水", "酒", "特产", "土特产", "干货", "糕点", "月饼", "大闸蟹",
	"电子产品", "数码产品", "数码", "手机", "手机配件", "手机壳", "电脑", "电脑配件",
	"笔记本电脑", "平板电脑", "相机", "耳机", "充电器", "数据线", "电子配件",
	"电子元件", "家电", "小家电", "家用电器", "电器", "灯具", "电池",
	"化妆品", "护肤品", "美妆", "洗护用品", "洗涤用品", "日用品", "日用百货",
	"生活用品", "百货", "纸品", "母婴用品", "婴儿用品", "玩具", "文具", "文体用品",
	"办公用品", "体育用品", "运动用品", "户外用品", "健身器材", "乐器", "渔具",
	"家居用品", "家居", "家具", "家纺", "床上用品", "厨具", "厨房用品", "餐具",
	"五金", "五金工具", "工具", "汽车配件", "汽配", "汽车用品", "摩托车配件", "建材",
	"机械配件", "机械零件", "零件", "配件", "设备", "仪器", "面料", "布料", "样品",
	"礼品", "礼物", "工艺品", "字画", "钟表", "手表", "宠物用品", "花卉", "鲜花",
	"植物", "苗木", "种子", "农产品", "农具", "饲料", "物品", "包裹", "普货", "其他",
	"其它");

CPII_WORD_LIST(sensitive_words,
	"药", "医", "病", "诊", "疗", "针剂", "胰岛素", "疫苗", "血", "验孕", "避孕",
	"孕", "试纸", "检测", "检验", "标本", "样本", "保健", "成人", "情趣", "计生",
	"套套", "内衣", "内裤", "身份证", "护照", "证件", "证书", "户口", "学历",
	"档案", "毕业证", "驾驶证", "行驶证", "银行卡", "信用卡", "社保", "现金",
	"存折", "遗", "骨灰", "假发", "HIV", "枪", "刀");

/* may this character follow the type, so that it stays a word of its own? */
static bool
ends_word(const CpiiText *text, int pos)
{
	uint32_t	cp;

	if (pos >= text->n)
		return true;
	cp = text->fold[pos];
	if (cpii_utf8_is_han_number(cp))
		return true;
	return !cpii_utf8_is_han(cp) && !cpii_utf8_is_letter(cp);
}

size_t
cpii_mask_item(CpiiMaskForm form, const char *in, size_t inlen, char *out)
{
	CpiiText	text;
	CpiiSink	sink;
	const char *const *word;
	const char *best_word = NULL;
	int			best = 0;
	int			i;

	(void) form;
	if (inlen == 0)
		return 0;
	if (!cpii_text_load(&text, in, inlen))
		return cpii_mask_hide(out);
	for (i = 0; i < text.n; i++)
		if (cpii_text_match_any(&text, i, text.n, &sensitive_words) > 0)
			return cpii_mask_hide(out);

	if (!cpii_text_may_begin(&text, 0, text.n, &goods_types))
		return cpii_mask_hide(out);
	for (word = goods_types.words; *word; word++)
	{
		int			count = cpii_text_match(&text, 0, text.n, *word);

		if (count > best && ends_word(&text, count))
		{
			best = count;
			best_word = *word;
		}
	}
	if (!best_word)
		return cpii_mask_hide(out);

	cpii_sink_init(&sink, out, inlen);
	cpii_sink_string(&sink, best_word);
	return cpii_sink_finish(&sink);
}
