/*-------------------------------------------------------------------------
 *
 * normalise_cases.c
 *	  What search tags are computed from.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "base/classes.h"
#include "mask/utf8.h"
#include "sealed/normalise.h"

typedef struct Case
{
	int			class_id;
	const char *in;
	const char *out;
} Case;

static const Case cases[] = {
	{CPII_CLASS_PHONE, "", ""},
	{CPII_CLASS_PHONE, "13812345678", "13812345678"},
	{CPII_CLASS_PHONE, " 138 1234 5678 ", "13812345678"},
	{CPII_CLASS_PHONE, "138-1234-5678", "13812345678"},
	{CPII_CLASS_PHONE, "138－1234–5678", "13812345678"},
	{CPII_CLASS_PHONE, "138.1234.5678", "13812345678"},
	{CPII_CLASS_PHONE, "＋８６１３８１２３４５６７８", "13812345678"},
	{CPII_CLASS_PHONE, "+86 138 1234 5678", "13812345678"},
	{CPII_CLASS_PHONE, "(+86)13812345678", "13812345678"},
	{CPII_CLASS_PHONE, "008613812345678", "13812345678"},
	{CPII_CLASS_PHONE, "8613812345678", "13812345678"},
	{CPII_CLASS_PHONE, "138\xE2\x80\x8B" "12345678", "13812345678"},
	{CPII_CLASS_PHONE, "+8613812345678-1234", "138123456781234"},
	{CPII_CLASS_PHONE, "13812345678转1234", "13812345678转1234"},
	{CPII_CLASS_PHONE, "(010) 8765-4321", "01087654321"},
	{CPII_CLASS_PHONE, "+852 9123 4567", "+85291234567"},
	{CPII_CLASS_PHONE, "86123456", "86123456"},
	{CPII_CLASS_PHONE, "+86", "+86"},
	{CPII_CLASS_PHONE, "86", "86"},
	{CPII_CLASS_PHONE, "+8612812345678", "+8612812345678"},
	{CPII_CLASS_PHONE, "10087 ext 1", "10087EXT1"},
	{CPII_CLASS_PERSON_NAME, " 张 三 ", "张三"},
	{CPII_CLASS_PERSON_NAME, "张　三", "张三"},
	{CPII_CLASS_PERSON_NAME, "阿依古丽•买买提", "阿依古丽·买买提"},
	{CPII_CLASS_PERSON_NAME, "阿依古丽・买买提", "阿依古丽·买买提"},
	{CPII_CLASS_PERSON_NAME, "阿依古丽‧买买提", "阿依古丽·买买提"},
	{CPII_CLASS_PERSON_NAME, "阿依古丽 · 买买提", "阿依古丽·买买提"},
	{CPII_CLASS_PERSON_NAME, "John  Smith", "JOHN SMITH"},
	{CPII_CLASS_PERSON_NAME, "  john\tsmith ", "JOHN SMITH"},
	{CPII_CLASS_PERSON_NAME, "ｊｏｈｎ　ｓｍｉｔｈ", "JOHN SMITH"},
	{CPII_CLASS_PERSON_NAME, "王 Lily", "王LILY"},
	{CPII_CLASS_PERSON_NAME, "\xEF\xBB\xBF张三", "张三"},
	{CPII_CLASS_UNIT_NAME, "杭州 云栖 有限公司", "杭州云栖有限公司"},
	{CPII_CLASS_UNIT_NAME, "Cloud  Village Ltd.", "CLOUD VILLAGE LTD."},
	{CPII_CLASS_UNIT_NAME, "云栖（杭州）公司", "云栖(杭州)公司"},
	{CPII_CLASS_ID_NUMBER, "11010519491231002x", "11010519491231002X"},
	{CPII_CLASS_ID_NUMBER, "110105 19491231-002x", "11010519491231002X"},
	{CPII_CLASS_ID_NUMBER, "a123456（7）", "A1234567"},
	{CPII_CLASS_WAYBILL_NO, "sf-1234 5678", "SF12345678"},
	{CPII_CLASS_WAYBILL_NO, "ＳＦ１２３４", "SF1234"},
	{CPII_CLASS_ACCOUNT_NO, "6222-0212 3456", "622202123456"},
	{CPII_CLASS_EMAIL, " ZhangSan@Example.COM ", "zhangsan@example.com"},
	{CPII_CLASS_EMAIL, "ＺＳ＠example.com", "zs@example.com"},
	{CPII_CLASS_EMAIL, "z-s@example.com", "z-s@example.com"},
	{CPII_CLASS_ADDRESS, "文三路 398号", "文三路398号"},
	{CPII_CLASS_NOTE, "放 门口", "放门口"},
	{1000, "ab 12-3", "AB12-3"},
	{CPII_CLASS_PHONE, "138\xFF 1234", "138\xFF 1234"},
	{CPII_CLASS_PERSON_NAME, "\xEF \xBC\x81", "\xEF \xBC\x81"},
};

static const struct
{
	const char *in;
	size_t		at;
}			tails[] = {
	{"", 0}, {"1", 0}, {"123", 0}, {"1234", 0}, {"12345", 1}, {"13812345678", 7},
	{"张三李四", 0}, {"王张三李四", 3}, {"a𠮷bcd", 1}, {"𠮷𠮷𠮷𠮷𠮷", 4},
};

/* texts of digits of all lengths, and with one other character in each place */
static void
all_digits(void)
{
	static const char strange[] = {'/', ':', '*', ' ', 'A', '\0', (char) 0xb0, (char) 0xfa, (char) 0xff};
	bool		right = true;

	for (size_t len = 0; len <= 40; len++)
	{
		char	   *text = malloc(len + 1);

		for (size_t i = 0; i < len; i++)
			text[i] = (char) ('0' + (i * 7 + len) % 10);
		if (!cpii_all_digits(text, len))
			right = false;
		for (size_t i = 0; i < len; i++)
		{
			char		digit = text[i];

			for (size_t k = 0; k < sizeof(strange); k++)
			{
				text[i] = strange[k];
				if (cpii_all_digits(text, len))
					right = false;
			}
			text[i] = digit;
		}
		free(text);
	}
	tap_ok(right, "texts of digits");
}

void
run_normalise_cases(void)
{
	size_t		i;

	all_digits();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const Case *c = &cases[i];
		size_t		inlen = strlen(c->in);
		char	   *out = malloc(CPII_NORMALISE_BOUND(inlen));
		size_t		outlen = cpii_normalise(c->class_id, c->in, inlen, out);
		char	   *room = malloc(CPII_NORMALISE_BOUND(inlen));
		size_t		len;
		const char *other = cpii_normalised(c->class_id, c->in, inlen, room, &len);

		tap_ok(len == outlen && memcmp(other, out, len) == 0,
			   "normalise case %d without a copy", (int) i);
		free(room);
		if (!tap_ok(outlen == strlen(c->out) && memcmp(out, c->out, outlen) == 0,
					"normalise case %d", (int) i))
			printf("# in \"%s\" got \"%.*s\"\n", c->in, (int) outlen, out);
		free(out);
	}
	for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++)
		tap_ok(cpii_normalise_tail4(tails[i].in, strlen(tails[i].in)) == tails[i].at,
			   "tail4 case %d", (int) i);
}
