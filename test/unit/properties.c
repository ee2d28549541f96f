/*-------------------------------------------------------------------------
 *
 * properties.c
 *	  What must hold for every input: tried on generated ones (fixed seed) and
 *	  on every name of the table of regions.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "base/classes.h"
#include "mask/mask.h"
#include "mask/region_index.h"
#include "mask/region_names.h"
#include "mask/utf8.h"
#include "sealed/normalise.h"

#define INPUT_MAX 600
#define ROUNDS 300000

static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static uint32_t
draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t) (seed >> 32) % below;
}

/* pieces that inputs are put together from */
static const char *const words[] = {
	"张", "三", "欧阳", "先生", "总", "王小明", "·", "阿依古丽", "John", "Smith", "'", "-",
	"138", "13812345678", "010", "0571", "87654321", "8765432", "400", "+86", "0086",
	"86", "+852", "+1", "１３８", "转", "#", "ext", "/", "、", ",", "，", ";", "或", " ",
	"　", "(", ")", "（", "）", ".", "浙江省", "浙江", "杭州市", "杭州", "西湖区", "吉林",
	"市", "省", "区", "县", "旗", "市南区", "青岛", "北京", "上海", "浦东新区", "海南",
	"文三路", "路", "号", "398", "栋", "号楼", "单元", "室", "B", "座", "幸福小区", "村",
	"一", "十二", "楼", "甲", "有限公司", "集团", "大学", "云栖", "SF", "JD", "123456",
	"X", "x", "衣物", "手机", "药", "件", "@", "example.com", "qq", "*", "**", "***", "****",
	"******", "********", "************", "****************", "＊", "\xE2\x80\x8B",
	"\xEF\xBB\xBF", "𠮷", "é", "😀", "\xFF", "\xE4\xB8", "\n", "\t", ":", "①", "東", "區",
	"中国", "街道", "里", "园", "5", "7", "0", "1", "9",
};

#define NWORDS ((uint32_t) (sizeof(words) / sizeof(words[0])))

static size_t
generate(char *in)
{
	size_t		n = 0;
	uint32_t	kind = draw(10);
	uint32_t	pieces = 1 + draw(kind < 8 ? 8 : 40);

	if (kind == 0)
	{
		/* any bytes */
		for (; n < pieces; n++)
			in[n] = (char) draw(256);
		return n;
	}
	while (pieces-- > 0)
	{
		const char *word = words[draw(NWORDS)];

		if (n + strlen(word) > INPUT_MAX)
			break;
		memcpy(in + n, word, strlen(word));
		n += strlen(word);
	}
	return n;
}

static bool
is_valid(const char *s, size_t len)
{
	size_t		pos = 0;
	uint32_t	cp;

	while (pos < len)
	{
		int			used = cpii_utf8_decode(s + pos, len - pos, &cp);

		if (used == 0)
			return false;
		pos += (size_t) used;
	}
	return true;
}

static bool
has_star(const char *s, size_t len)
{
	return cpii_looks_masked(CPII_CLASS_PHONE, s, len);
}

/* digits, full-width ones too */
static int
count_digits(const char *s, size_t len)
{
	size_t		pos = 0;
	int			count = 0;

	while (pos < len)
	{
		uint32_t	cp;
		int			used = cpii_utf8_decode(s + pos, len - pos, &cp);

		if (used == 0)
		{
			pos++;
			continue;
		}
		cp = cpii_utf8_half_width(cp);
		if (cpii_is_digit(cp))
			count++;
		pos += (size_t) used;
	}
	return count;
}

/* characters other than stars */
static int
count_shown(const char *s, size_t len)
{
	int			count = 0;
	size_t		i;

	for (i = 0; i < len; i++)
		if (s[i] != '*' && ((unsigned char) s[i] & 0xC0) != 0x80)
			count++;
	return count;
}

static int
count_hidden_groups(const char *s, size_t len)
{
	int			count = 0;
	size_t		i = 0;

	while (i + 6 <= len)
	{
		if (memcmp(s + i, "******", 6) == 0)
		{
			count++;
			i += 6;
		}
		else
			i++;
	}
	return count;
}

/* the rules of a class on what may be shown; NULL when they hold */
static const char *
broken_rule(int class_id, CpiiMaskForm form, const char *in, size_t inlen,
			const char *out, size_t outlen)
{
	int			digits = count_digits(out, outlen);
	bool		hidden = outlen == 3 && memcmp(out, "***", 3) == 0;
	int			shown = count_shown(out, outlen);

	if (inlen == 0)
		return outlen == 0 ? NULL : "empty stays empty";
	if (outlen == 0)
		return "something is shown";
	switch (class_id)
	{
		case CPII_CLASS_PERSON_NAME:
			if (digits > 0)
				return "names show no digits";
			if (shown > 5)
				return "names show surname and title only";
			break;
		case CPII_CLASS_PHONE:
			{
				int			numbers = count_hidden_groups(out, outlen);

				if (!has_star(in, inlen) &&
					count_digits(in, inlen) - digits < 6 * numbers)
					return "six digits of each number are hidden";
				if (digits > 7 * numbers)
					return "a number shows at most seven digits";
				break;
			}
		case CPII_CLASS_ADDRESS:
			if (form == CPII_FORM_MASKED && digits > 0)
				return "masked addresses show no digits";
			if (memcmp(out + outlen - 3, "***", 3) != 0)
				return "addresses end with stars";
			break;
		case CPII_CLASS_ID_NUMBER:
			if (!hidden && (shown != 2 || form == CPII_FORM_LABEL))
				return "identity numbers show two characters";
			break;
		case CPII_CLASS_UNIT_NAME:
			if (digits > 0)
				return "unit names show no digits";
			break;
		case CPII_CLASS_WAYBILL_NO:
			if (!has_star(in, inlen) && shown > 0 &&
				shown * 2 > count_shown(in, inlen))
				return "half a waybill number is hidden";
			if (shown > 7)
				return "waybill numbers show seven characters";
			break;
		case CPII_CLASS_ITEM:
			if (digits > 0)
				return "items show no digits";
			break;
		case CPII_CLASS_EMAIL:
			if (!hidden && (!memchr(out, '@', outlen) || digits > 7))
				return "e-mail addresses show their domain";
			break;
		case CPII_CLASS_ACCOUNT_NO:
			if (!hidden && (shown != 4 || outlen != 16))
				return "account numbers show four digits";
			break;
		default:
			if (!hidden)
				return "other classes are hidden";
	}
	return NULL;
}

static void
report(const char *what, int class_id, const char *in, size_t inlen,
	   const char *out, size_t outlen)
{
	printf("# %s: class %d in \"%.*s\" out \"%.*s\"\n", what, class_id,
		   (int) inlen, in, (int) outlen, out);
}

static void
check_masks(void)
{
	static const int classes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1000};
	char		in[INPUT_MAX + 8];
	int			bad_bound = 0;
	int			bad_utf8 = 0;
	int			bad_again = 0;
	int			bad_rule = 0;
	int			i;

	for (i = 0; i < ROUNDS; i++)
	{
		int			class_id = classes[draw(12)];
		CpiiMaskForm form = draw(2) ? CPII_FORM_MASKED : CPII_FORM_LABEL;
		size_t		inlen = generate(in);
		size_t		bound = cpii_mask_bound(inlen);
		char	   *out = malloc(bound + 1);
		size_t		outlen;
		char	   *again;
		size_t		againlen;
		const char *rule;

		out[bound] = 'Z';
		outlen = cpii_mask(class_id, form, in, inlen, out);
		if (outlen > bound || out[bound] != 'Z')
		{
			bad_bound++;
			free(out);
			continue;
		}
		if (!is_valid(out, outlen) && bad_utf8++ < 3)
			report("not UTF-8", class_id, in, inlen, out, outlen);
		again = malloc(cpii_mask_bound(outlen));
		againlen = cpii_mask(class_id, form, out, outlen, again);
		if ((againlen != outlen || memcmp(again, out, outlen) != 0) &&
			bad_again++ < 3)
		{
			report("not idempotent", class_id, in, inlen, out, outlen);
			report("  again", class_id, out, outlen, again, againlen);
		}
		rule = broken_rule(class_id, form, in, inlen, out, outlen);
		if (rule && bad_rule++ < 3)
			report(rule, class_id, in, inlen, out, outlen);
		free(again);
		free(out);
	}
	tap_ok(bad_bound == 0, "property: output stays within its bound");
	tap_ok(bad_utf8 == 0, "property: output is well-formed UTF-8");
	tap_ok(bad_again == 0, "property: masking a mask changes nothing");
	tap_ok(bad_rule == 0, "property: no mask shows more than its class allows");
}

/*
 * Text of ASCII characters only is normalised by code of its own.  A character
 * that is dropped, at its end, makes the other code do the same.
 */
static void
check_ascii_normal_form(void)
{
	static const char some[] = "0123456789 +-()[]./*#@'\tabcxyzABCXYZ_86:\n";
	int			bad = 0;

	for (int i = 0; i < ROUNDS / 3; i++)
	{
		int			class_id = 1 + (int) draw(12);
		char		in[64];
		char		out[256];
		char		other[256];
		size_t		inlen = draw(40);
		size_t		outlen;
		size_t		otherlen;

		for (size_t k = 0; k < inlen; k++)
			in[k] = draw(8) ? some[draw(sizeof(some) - 1)] : (char) draw(128);
		if (draw(4) == 0)
			inlen = (size_t) snprintf(in, sizeof(in), "%s1%d%09d",
									  draw(2) ? "+86 " : "0086", 3 + (int) draw(7), (int) draw(1000000000));
		outlen = cpii_normalise(class_id, in, inlen, out);
		memcpy(in + inlen, "\xE2\x80\x8B", 3);
		otherlen = cpii_normalise(class_id, in, inlen + 3, other);
		if (inlen == 0)
			continue;
		if ((outlen != otherlen || memcmp(out, other, outlen) != 0) && bad++ < 3)
			report("normal form", class_id, in, inlen, out, outlen);
	}
	tap_ok(bad == 0, "property: the normal form of ASCII text");
}

/* mobile numbers in every layout hide six digits and show the right five */
static void
check_mobile_layouts(void)
{
	static const char *const prefixes[] = {
		"", "+86", "+86 ", "+86-", "0086", "0086 ", "86", "86-", "(+86)", "0",
	};
	static const char *const gaps[] = {"", " ", "-", "  ", "—", ".", "　", " - "};
	int			bad = 0;
	int			i;

	for (i = 0; i < 20000; i++)
	{
		char		digits[12];
		char		in[128];
		char		out[512];
		char		expect[16];
		const char *gap = gaps[draw(8)];
		size_t		outlen;
		int			k;

		digits[0] = '1';
		digits[1] = (char) ('3' + draw(7));
		for (k = 2; k < 11; k++)
			digits[k] = (char) ('0' + draw(10));
		digits[11] = '\0';
		snprintf(in, sizeof(in), "%s%.3s%s%.4s%s%s", prefixes[draw(10)], digits, gap,
				 digits + 3, gap, digits + 7);
		snprintf(expect, sizeof(expect), "1******%s", digits + 7);
		outlen = cpii_mask(CPII_CLASS_PHONE, CPII_FORM_MASKED, in, strlen(in), out);
		if ((outlen != strlen(expect) || memcmp(out, expect, outlen) != 0) &&
			bad++ < 3)
			report("mobile", CPII_CLASS_PHONE, in, strlen(in), out, outlen);

		outlen = cpii_normalise(CPII_CLASS_PHONE, in, strlen(in), out);
		if (in[0] != '0' || in[1] == '0')
			if ((outlen != 11 || memcmp(out, digits, 11) != 0) && bad++ < 3)
				report("normalised", CPII_CLASS_PHONE, in, strlen(in), out, outlen);
	}
	tap_ok(bad == 0, "property: mobile numbers in every layout");
}

static void
check_normalise(void)
{
	char		in[INPUT_MAX + 8];
	int			bad_bound = 0;
	int			bad_again = 0;
	int			bad_tail = 0;
	int			bad_other = 0;
	int			i;

	for (i = 0; i < ROUNDS; i++)
	{
		int			class_id = (int) draw(12);
		size_t		inlen = generate(in);
		size_t		bound = CPII_NORMALISE_BOUND(inlen);
		char	   *out = malloc(bound);
		char	   *again;
		const char *other;
		size_t		outlen = cpii_normalise(class_id, in, inlen, out);
		size_t		againlen;
		size_t		tail;

		if (outlen > bound)
			bad_bound++;
		again = malloc(bound);
		other = cpii_normalised(class_id, in, inlen, again, &againlen);
		if ((againlen != outlen || memcmp(other, out, outlen) != 0) && bad_other++ < 3)
			report("normalised without a copy", class_id, in, inlen, other, againlen);
		free(again);
		again = malloc(CPII_NORMALISE_BOUND(outlen));
		againlen = cpii_normalise(class_id, out, outlen, again);
		if ((againlen != outlen || memcmp(again, out, outlen) != 0) &&
			bad_again++ < 3)
			report("normalised twice", class_id, in, inlen, out, outlen);
		tail = cpii_normalise_tail4(out, outlen);
		if (tail > outlen ||
			(is_valid(out, outlen) && !is_valid(out + tail, outlen - tail)))
			bad_tail++;
		free(again);
		free(out);
	}
	tap_ok(bad_bound == 0, "property: normalised text stays within its bound");
	tap_ok(bad_other == 0, "property: normalising without a copy is normalising");
	tap_ok(bad_again == 0, "property: normalising twice changes nothing");
	tap_ok(bad_tail == 0, "property: the tail begins at a character");
}

static bool
is_three_byte_text(const char *s)
{
	size_t		len = strlen(s);
	size_t		pos;

	if (len % 3 != 0 || !is_valid(s, len))
		return false;
	for (pos = 0; pos < len; pos += 3)
		if (((unsigned char) s[pos] & 0xF0) != 0xE0)
			return false;
	return true;
}

/* every division is kept as it is, and the table is well-formed */
static void
check_regions(void)
{
	int			bad_table = 0;
	int			bad_mask = 0;
	int			names = 0;
	size_t		p;
	int			c;

	for (p = 0; p < sizeof(provinces) / sizeof(provinces[0]); p++)
	{
		const CpiiProvince *province = &provinces[p];

		if (!is_three_byte_text(province->name) || !is_three_byte_text(province->rest))
			bad_table++;
		for (c = 0; c < province->ncities; c++)
		{
			const CpiiCity *city = &province->cities[c];
			const char *s = city->counties;

			if (!is_three_byte_text(city->name) || !is_three_byte_text(city->rest))
				bad_table++;
			while (*s)
			{
				char		in[256];
				char		out[1024];
				size_t		inlen;
				size_t		outlen;
				int			count = *s <= '9' ? *s - '0' : *s - 'A' + 10;
				char		county[64];

				snprintf(county, sizeof(county), "%.*s", 3 * count, s + 1);
				if (count < 2 || count > 15 || !is_three_byte_text(county) ||
					strlen(county) != (size_t) (3 * count))
				{
					bad_table++;
					break;
				}
				names++;
				snprintf(in, sizeof(in), "%s%s%s%s%s一二路9号", province->name,
						 province->rest, city->name, city->rest, county);
				inlen = strlen(in) - strlen("一二路9号");
				outlen = cpii_mask(CPII_CLASS_ADDRESS, CPII_FORM_MASKED, in,
								   strlen(in), out);
				if ((outlen != inlen + 4 || memcmp(out, in, inlen) != 0) &&
					bad_mask++ < 5)
					report("region", CPII_CLASS_ADDRESS, in, strlen(in), out, outlen);
				s += 1 + 3 * count;
			}
		}
	}
	tap_ok(bad_table == 0 && names > 2800, "property: the table of regions is well-formed");
	tap_ok(bad_mask == 0, "property: every province, city and district is kept");
}

/* every cut of a long field, and texts longer than a mask reads */
static void
check_lengths(void)
{
	static const char *const text =
		"张先生 +86 138-1234-5678/浙江省杭州市西湖区文三路398号3幢***SF1234567890123"
		"@example.com、欧阳锋";
	char		big[8192];
	char		out[2 * sizeof(big) + 64];
	int			bad = 0;
	size_t		len;
	int			class_id;

	for (class_id = 0; class_id <= CPII_CLASS_LAST + 1; class_id++)
		for (len = 0; len <= strlen(text); len++)
		{
			char	   *copy = malloc(len > 0 ? len : 1);
			size_t		outlen;

			memcpy(copy, text, len);
			outlen = cpii_mask(class_id, CPII_FORM_LABEL, copy, len, out);
			if (outlen > cpii_mask_bound(len) || !is_valid(out, outlen))
				bad++;
			free(copy);
		}
	for (class_id = 0; class_id <= CPII_CLASS_LAST + 1; class_id++)
	{
		memset(big, '1', sizeof(big));
		if (cpii_mask(class_id, CPII_FORM_MASKED, big, sizeof(big), out) != 3 ||
			memcmp(out, "***", 3) != 0)
			bad++;
	}
	tap_ok(bad == 0, "property: cut and overlong texts");
}

void
run_properties(void)
{
	check_masks();
	check_ascii_normal_form();
	check_mobile_layouts();
	check_normalise();
	check_regions();
	check_lengths();
}
