/*-------------------------------------------------------------------------
 *
 * suspect_text.c
 *	  Does a column's name, or a value, look like personal data?  Pure.
 *
 * A search for what was forgotten: it may name a column too many, which
 * somebody then looks at, rather than one too few.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <string.h>

#include "base/classes.h"
#include "mask/utf8.h"
#include "policy/suspect_text.h"

#define MAX_CHARS 4096
#define MAX_NAME 256

#define BIT(class_id) (1u << (class_id))

/* ---- column names ---- */

typedef struct NameWord
{
	const char *word;
	int			class_id;
	bool		weak;
} NameWord;

/* found anywhere in a name; the first that fits counts */
static const NameWord han_words[] = {
	{"身份证", CPII_CLASS_ID_NUMBER}, {"证件", CPII_CLASS_ID_NUMBER}, {"护照", CPII_CLASS_ID_NUMBER},
	{"运单", CPII_CLASS_WAYBILL_NO}, {"面单", CPII_CLASS_WAYBILL_NO}, {"快递单", CPII_CLASS_WAYBILL_NO},
	{"单号", CPII_CLASS_WAYBILL_NO}, {"取件码", CPII_CLASS_WAYBILL_NO},
	{"电话", CPII_CLASS_PHONE}, {"手机", CPII_CLASS_PHONE}, {"联系方式", CPII_CLASS_PHONE},
	{"邮箱", CPII_CLASS_EMAIL}, {"电子邮件", CPII_CLASS_EMAIL},
	{"银行卡", CPII_CLASS_ACCOUNT_NO}, {"卡号", CPII_CLASS_ACCOUNT_NO}, {"账号", CPII_CLASS_ACCOUNT_NO},
	{"地址", CPII_CLASS_ADDRESS}, {"住址", CPII_CLASS_ADDRESS}, {"门牌", CPII_CLASS_ADDRESS},
	{"单位", CPII_CLASS_UNIT_NAME}, {"公司", CPII_CLASS_UNIT_NAME}, {"企业", CPII_CLASS_UNIT_NAME},
	{"姓名", CPII_CLASS_PERSON_NAME}, {"名字", CPII_CLASS_PERSON_NAME}, {"收件人", CPII_CLASS_PERSON_NAME},
	{"寄件人", CPII_CLASS_PERSON_NAME}, {"收货人", CPII_CLASS_PERSON_NAME}, {"发货人", CPII_CLASS_PERSON_NAME},
	{"联系人", CPII_CLASS_PERSON_NAME}, {"签收人", CPII_CLASS_PERSON_NAME}, {"户主", CPII_CLASS_PERSON_NAME},
	{"物品", CPII_CLASS_ITEM}, {"品名", CPII_CLASS_ITEM}, {"货物", CPII_CLASS_ITEM},
	{"备注", CPII_CLASS_NOTE}, {"備註", CPII_CLASS_NOTE}, {"備注", CPII_CLASS_NOTE}, {"留言", CPII_CLASS_NOTE}, {"短信", CPII_CLASS_NOTE},
	{NULL}
};

/* one part of a name: "recv_phone" has two, "lxdh" is one */
static const NameWord words[] = {
	{"phone", CPII_CLASS_PHONE}, {"phones", CPII_CLASS_PHONE}, {"mobile", CPII_CLASS_PHONE}, {"tel", CPII_CLASS_PHONE},
	{"telephone", CPII_CLASS_PHONE}, {"cellphone", CPII_CLASS_PHONE}, {"phonenumber", CPII_CLASS_PHONE},
	{"phoneno", CPII_CLASS_PHONE}, {"mobileno", CPII_CLASS_PHONE}, {"telno", CPII_CLASS_PHONE}, {"msisdn", CPII_CLASS_PHONE},
	{"dianhua", CPII_CLASS_PHONE}, {"shouji", CPII_CLASS_PHONE}, {"shoujihao", CPII_CLASS_PHONE}, {"lianxifangshi", CPII_CLASS_PHONE},
	{"lxdh", CPII_CLASS_PHONE}, {"lxfs", CPII_CLASS_PHONE}, {"sjhm", CPII_CLASS_PHONE}, {"sjh", CPII_CLASS_PHONE},
	{"dhhm", CPII_CLASS_PHONE}, {"sjrdh", CPII_CLASS_PHONE}, {"jjrdh", CPII_CLASS_PHONE}, {"yddh", CPII_CLASS_PHONE},
	{"cell", CPII_CLASS_PHONE, true}, {"dh", CPII_CLASS_PHONE, true}, {"sj", CPII_CLASS_PHONE, true},
	{"idcard", CPII_CLASS_ID_NUMBER}, {"idno", CPII_CLASS_ID_NUMBER}, {"idnumber", CPII_CLASS_ID_NUMBER},
	{"passport", CPII_CLASS_ID_NUMBER}, {"identity", CPII_CLASS_ID_NUMBER, true}, {"ssn", CPII_CLASS_ID_NUMBER},
	{"shenfenzheng", CPII_CLASS_ID_NUMBER}, {"sfz", CPII_CLASS_ID_NUMBER}, {"sfzh", CPII_CLASS_ID_NUMBER},
	{"sfzhm", CPII_CLASS_ID_NUMBER}, {"zjh", CPII_CLASS_ID_NUMBER}, {"zjhm", CPII_CLASS_ID_NUMBER},
	{"email", CPII_CLASS_EMAIL}, {"mail", CPII_CLASS_EMAIL, true}, {"emailaddress", CPII_CLASS_EMAIL},
	{"youxiang", CPII_CLASS_EMAIL}, {"dzyx", CPII_CLASS_EMAIL}, {"yx", CPII_CLASS_EMAIL, true},
	{"bankcard", CPII_CLASS_ACCOUNT_NO}, {"cardno", CPII_CLASS_ACCOUNT_NO}, {"iban", CPII_CLASS_ACCOUNT_NO},
	{"accountno", CPII_CLASS_ACCOUNT_NO}, {"yhkh", CPII_CLASS_ACCOUNT_NO}, {"yhzh", CPII_CLASS_ACCOUNT_NO},
	{"yinhangka", CPII_CLASS_ACCOUNT_NO}, {"alipay", CPII_CLASS_ACCOUNT_NO}, {"account", CPII_CLASS_ACCOUNT_NO, true},
	{"zh", CPII_CLASS_ACCOUNT_NO, true}, {"kh", CPII_CLASS_ACCOUNT_NO, true},
	{"waybill", CPII_CLASS_WAYBILL_NO, true}, {"waybillno", CPII_CLASS_WAYBILL_NO}, {"trackingno", CPII_CLASS_WAYBILL_NO},
	{"trackingnumber", CPII_CLASS_WAYBILL_NO}, {"tracking", CPII_CLASS_WAYBILL_NO, true}, {"awb", CPII_CLASS_WAYBILL_NO},
	{"yundan", CPII_CLASS_WAYBILL_NO}, {"yundanhao", CPII_CLASS_WAYBILL_NO}, {"ydh", CPII_CLASS_WAYBILL_NO},
	{"kddh", CPII_CLASS_WAYBILL_NO}, {"mdh", CPII_CLASS_WAYBILL_NO}, {"kuaididan", CPII_CLASS_WAYBILL_NO},
	{"addr", CPII_CLASS_ADDRESS}, {"address", CPII_CLASS_ADDRESS}, {"addresses", CPII_CLASS_ADDRESS}, {"street", CPII_CLASS_ADDRESS},
	{"dizhi", CPII_CLASS_ADDRESS}, {"xxdz", CPII_CLASS_ADDRESS}, {"sjdz", CPII_CLASS_ADDRESS}, {"jjdz", CPII_CLASS_ADDRESS},
	{"lxdz", CPII_CLASS_ADDRESS}, {"zhuzhi", CPII_CLASS_ADDRESS}, {"dz", CPII_CLASS_ADDRESS, true},
	{"xingming", CPII_CLASS_PERSON_NAME}, {"shoujianren", CPII_CLASS_PERSON_NAME}, {"jijianren", CPII_CLASS_PERSON_NAME},
	{"lianxiren", CPII_CLASS_PERSON_NAME}, {"sjrxm", CPII_CLASS_PERSON_NAME}, {"jjrxm", CPII_CLASS_PERSON_NAME},
	{"khxm", CPII_CLASS_PERSON_NAME}, {"sjr", CPII_CLASS_PERSON_NAME}, {"jjr", CPII_CLASS_PERSON_NAME}, {"lxr", CPII_CLASS_PERSON_NAME},
	{"realname", CPII_CLASS_PERSON_NAME}, {"fullname", CPII_CLASS_PERSON_NAME}, {"firstname", CPII_CLASS_PERSON_NAME},
	{"lastname", CPII_CLASS_PERSON_NAME}, {"surname", CPII_CLASS_PERSON_NAME}, {"consignee", CPII_CLASS_PERSON_NAME, true},
	{"xm", CPII_CLASS_PERSON_NAME, true}, {"recipient", CPII_CLASS_PERSON_NAME, true}, {"signer", CPII_CLASS_PERSON_NAME, true},
	{"receiver", CPII_CLASS_PERSON_NAME, true}, {"sender", CPII_CLASS_PERSON_NAME, true}, {"payee", CPII_CLASS_PERSON_NAME, true},
	{"gsmc", CPII_CLASS_UNIT_NAME}, {"dwmc", CPII_CLASS_UNIT_NAME}, {"danwei", CPII_CLASS_UNIT_NAME}, {"gongsi", CPII_CLASS_UNIT_NAME},
	{"company", CPII_CLASS_UNIT_NAME}, {"employer", CPII_CLASS_UNIT_NAME}, {"unit", CPII_CLASS_UNIT_NAME, true}, {"dw", CPII_CLASS_UNIT_NAME, true},
	{"goods", CPII_CLASS_ITEM, true}, {"cargo", CPII_CLASS_ITEM, true}, {"wupin", CPII_CLASS_ITEM}, {"wpmc", CPII_CLASS_ITEM}, {"pm", CPII_CLASS_ITEM, true},
	{"remark", CPII_CLASS_NOTE, true}, {"remarks", CPII_CLASS_NOTE, true}, {"note", CPII_CLASS_NOTE, true}, {"notes", CPII_CLASS_NOTE, true},
	{"comment", CPII_CLASS_NOTE, true}, {"message", CPII_CLASS_NOTE, true}, {"beizhu", CPII_CLASS_NOTE}, {"bz", CPII_CLASS_NOTE, true},
	{NULL}
};

/* "name" belongs to a person when one of these stands beside it */
static const char *const persons[] = {
	"recv", "receiver", "recipient", "send", "sender", "consignee", "consignor", "contact", "customer", "cust",
	"person", "real", "full", "first", "last", "given", "family", "owner", "buyer", "courier", "staff", "employee",
	"emp", "payee", "signer", "signee", "member", "user", "shipper", "holder", "legal", NULL
};

/* what follows says that the column holds something else than the value */
static const char *const other_things[] = {
	"id", "type", "kind", "status", "state", "flag", "count", "num", "verified", "at", "time", "date", "model", "hash",
	"enabled", "ok", "code", "level", "template", "sent", NULL
};

static bool
listed(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

/* fold a name's characters, so that traditional ones read as simplified */
static void
fold_name(const char *name, char *out, size_t size)
{
	size_t		len = strlen(name);
	size_t		n = 0;

	while (len > 0 && n + 5 < size)
	{
		uint32_t	cp;
		int			bytes = cpii_utf8_decode(name, len, &cp);

		if (bytes == 0)
			break;
		name += bytes;
		len -= bytes;
		cp = cp < 128 ? cp : cpii_utf8_fold(cpii_utf8_half_width(cp));
		n += cpii_utf8_encode(cp, out + n);
	}
	out[n] = '\0';
}

static int
lookup(const char *word, bool *weak)
{
	for (const NameWord *w = words; w->word; w++)
		if (strcmp(w->word, word) == 0)
		{
			*weak = w->weak;
			return w->class_id;
		}
	return 0;
}

/* parts of a name: "recvPhone2" gives "recv" and "phone" */
static int
split(const char *name, char parts[][32], int max)
{
	int			n = 0;
	size_t		len = 0;
	bool		was_lower = false;

	for (const char *p = name;; p++)
	{
		bool		upper = cpii_is_upper((unsigned char) *p);
		bool		letter = upper || cpii_is_lower((unsigned char) *p);

		if (len > 0 && (!letter || (upper && was_lower)))
		{
			parts[n][len] = '\0';
			if (++n == max)
				return n;
			len = 0;
		}
		if (*p == '\0')
			return n;
		if (letter && len < 31)
			parts[n][len++] = upper ? (char) (*p - 'A' + 'a') : *p;
		was_lower = letter && !upper;
	}
}

int
cpii_suspect_name(const char *name, bool *weak)
{
	char		folded[MAX_NAME];
	char		parts[12][32];
	char		pair[64];
	int			n;
	int			found = 0;
	bool		found_weak = true;

	*weak = false;
	fold_name(name, folded, sizeof(folded));
	for (const NameWord *w = han_words; w->word; w++)
	{
		char		word[64];

		fold_name(w->word, word, sizeof(word));
		if (strstr(folded, word) != NULL)
			return w->class_id;
	}

	n = split(name, parts, 12);
	if (n == 0)
		return 0;
	if (n > 1 && listed(other_things, parts[n - 1]) && strcmp(parts[0], "id") != 0)
		return 0;
	for (int i = 0; i < n; i++)
	{
		bool		part_weak = false;
		int			class_id = lookup(parts[i], &part_weak);

		if (i + 1 < n)
		{
			bool		pair_weak;
			int			of_pair;

			strcpy(pair, parts[i]);
			strcat(pair, parts[i + 1]);
			of_pair = lookup(pair, &pair_weak);
			if (of_pair != 0)
			{
				class_id = of_pair;
				part_weak = pair_weak;
			}
		}
		if (strcmp(parts[i], "name") == 0)
		{
			class_id = CPII_CLASS_PERSON_NAME;
			part_weak = true;
			for (int j = 0; j < n; j++)
				if (listed(persons, parts[j]))
					part_weak = false;
			/* the name of some other thing */
			if (part_weak && n > 1)
				class_id = 0;
		}
		if (class_id == 0)
			continue;
		/* a sure part beats a weak one, "ip_address" and "mac_address" are none */
		if (class_id == CPII_CLASS_ADDRESS && i > 0 &&
			(strcmp(parts[i - 1], "ip") == 0 || strcmp(parts[i - 1], "mac") == 0))
			continue;
		/* "sjr_dizhi" is the recipient's address: whose it is comes first */
		if (found == 0 || (found_weak && !part_weak) ||
			(found == CPII_CLASS_PERSON_NAME && !part_weak))
		{
			found = class_id;
			found_weak = part_weak;
		}
	}
	*weak = found != 0 && found_weak;
	return found;
}

/* ---- values ---- */

typedef struct Chars
{
	uint32_t	cp[MAX_CHARS];	/* half width, folded, blanks at the ends away */
	int			n;
	int			han;
	int			digits;
} Chars;

static void
read_chars(const char *text, size_t len, Chars *c)
{
	c->n = c->han = c->digits = 0;
	while (len > 0 && c->n < MAX_CHARS)
	{
		uint32_t	cp;
		int			bytes = cpii_utf8_decode(text, len, &cp);

		if (bytes == 0)
			break;
		text += bytes;
		len -= bytes;
		if (cpii_utf8_is_zero_width(cp))
			continue;
		cp = cpii_utf8_half_width(cp);
		if (cp >= 128)
			cp = cpii_utf8_fold(cp);
		if (c->n == 0 && cpii_utf8_is_space(cp))
			continue;
		c->cp[c->n++] = cp;
		c->han += cpii_utf8_is_han(cp);
		c->digits += cpii_is_digit(cp);
	}
	while (c->n > 0 && cpii_utf8_is_space(c->cp[c->n - 1]))
		c->n--;
}

static bool
plausible_date(const int *d, int year)
{
	int			month = d[0] * 10 + d[1];
	int			day = d[2] * 10 + d[3];

	return year >= 1880 && year <= 2100 && month >= 1 && month <= 12 &&
		day >= 1 && day <= 31;
}

/* 18 characters from "at": check digit and date of birth */
static bool
resident_id_at(const Chars *c, int at)
{
	static const int weights[17] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
	static const char check[] = "10X98765432";
	int			d[17];
	int			sum = 0;
	uint32_t	last;

	if (at + 18 > c->n)
		return false;
	for (int i = 0; i < 17; i++)
	{
		if (!cpii_is_digit(c->cp[at + i]))
			return false;
		d[i] = (int) (c->cp[at + i] - '0');
		sum += d[i] * weights[i];
	}
	last = c->cp[at + 17] == 'x' ? 'X' : c->cp[at + 17];
	return last == (uint32_t) check[sum % 11] && d[0] != 0 &&
		plausible_date(d + 10, d[6] * 1000 + d[7] * 100 + d[8] * 10 + d[9]);
}

static bool
old_resident_id(const Chars *c)
{
	int			d[15];

	if (c->n != 15 || c->digits != 15)
		return false;
	for (int i = 0; i < 15; i++)
		d[i] = (int) (c->cp[i] - '0');
	return d[0] >= 1 && d[0] <= 8 && plausible_date(d + 8, 1900 + d[6] * 10 + d[7]);
}

static bool
travel_document(const Chars *c)
{
	uint32_t	first = c->n > 0 ? c->cp[0] & ~0x20u : 0;

	return (c->n == 9 && c->digits == 8 && (first == 'E' || first == 'G' || first == 'H' || first == 'M')) ||
		(c->n == 11 && c->digits == 10 && (first == 'H' || first == 'M'));
}

/* digits alone, signs between them and the country left out */
static int
bare_digits(const Chars *c, char *out, int max, bool *dashed)
{
	int			n = 0;
	bool		strange = false;

	*dashed = false;
	for (int i = 0; i < c->n; i++)
	{
		uint32_t	cp = c->cp[i];

		if (cpii_is_digit(cp))
		{
			if (n == max)
				return 0;
			out[n++] = (char) cp;
		}
		else if (cpii_utf8_is_dash(cp) || cp == '-' || cp == ',' || cp == '#' || cp == 0x8F6C)
			*dashed = true;
		else if (!(cp == ' ' || cp == '(' || cp == ')' || (cp == '+' && i == 0)))
			strange = true;
	}
	if (strange)
		return 0;
	out[n] = '\0';
	if (n > 11 && strncmp(out, "0086", 4) == 0)
	{
		memmove(out, out + 4, n - 3);
		n -= 4;
	}
	else if (n > 11 && strncmp(out, "86", 2) == 0 && c->cp[0] == '+')
	{
		memmove(out, out + 2, n - 1);
		n -= 2;
	}
	return n;
}

static bool
is_phone(const Chars *c)
{
	char		d[32];
	bool		dashed;
	int			n;

	if (c->digits < 7 || c->n > 40)
		return false;
	n = bare_digits(c, d, 24, &dashed);
	if (n == 0)
		return false;
	if (d[0] == '1' && d[1] >= '3' && (n == 11 || (n > 11 && n <= 17 && dashed)))
		return true;
	if (d[0] == '0' && d[1] != '0' && n >= 10 && (n <= 12 || (dashed && n <= 18)))
		return true;
	return n == 10 && (strncmp(d, "400", 3) == 0 || strncmp(d, "800", 3) == 0);
}

static bool
is_bank_card(const Chars *c)
{
	char		d[32];
	bool		dashed;
	int			n = bare_digits(c, d, 24, &dashed);
	int			sum = 0;

	if (n < 16 || n > 19 || d[0] < '3' || d[0] > '6')
		return false;
	for (int i = 0; i < n; i++)
	{
		int			v = d[n - 1 - i] - '0';

		if (i % 2 == 1 && (v *= 2) > 9)
			v -= 9;
		sum += v;
	}
	return sum % 10 == 0;
}

/* something@name.name from some place on */
static bool
email_at(const Chars *c, int at)
{
	int			i = at + 1;
	int			dots = 0;
	int			run = 0;

	if (at == 0 || !(cpii_is_alnum(c->cp[at - 1]) || c->cp[at - 1] == '_'))
		return false;
	for (; i < c->n && (cpii_is_alnum(c->cp[i]) || c->cp[i] == '-' || c->cp[i] == '.'); i++)
	{
		dots += c->cp[i] == '.' && run > 0;
		run = c->cp[i] == '.' ? 0 : run + 1;
	}
	return dots > 0 && run >= 2;
}

static bool
is_waybill(const Chars *c)
{
	int			letters = 0;

	while (letters < c->n && (cpii_is_upper(c->cp[letters]) || cpii_is_lower(c->cp[letters])))
		letters++;
	if (letters < 2 || letters > 4)
		return false;
	/* two letters, nine digits, country */
	if (c->n == 13 && letters == 2 && c->digits == 9 && (c->cp[12] & ~0x20u) >= 'A')
		return true;
	return c->n - letters == c->digits && c->digits >= 10 && c->digits <= 16;
}

static bool
has_one(const Chars *c, const char *set)
{
	size_t		len = strlen(set);

	while (len > 0)
	{
		uint32_t	cp;
		int			bytes = cpii_utf8_decode(set, len, &cp);

		set += bytes;
		len -= bytes;
		cp = cpii_utf8_fold(cp);
		for (int i = 0; i < c->n; i++)
			if (c->cp[i] == cp)
				return true;
	}
	return false;
}

static bool
is_address(const Chars *c)
{
	int			groups = 0;

	if (c->n < 6 || c->n > 200 || c->han < 4)
		return false;
	groups += has_one(c, "省市区县州盟旗");
	groups += has_one(c, "路街道巷镇乡村弄里");
	groups += c->digits > 0 && has_one(c, "号栋幢楼室座单元组");
	return groups >= 2;
}

/* these begin the names of nine in ten people */
static const char surnames[] =
"王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林郑谢罗梁宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤欧司诸上";

static bool
is_person_name(const Chars *c)
{
	Chars		first;

	if (c->n < 2 || c->n > 4 || c->han != c->n)
		return false;
	first.n = 1;
	first.cp[0] = c->cp[0];
	return has_one(&first, surnames);
}

static bool
ends_with(const Chars *c, const char *ending)
{
	uint32_t	cp[8];
	int			n = 0;
	size_t		len = strlen(ending);

	while (len > 0 && n < 8)
	{
		int			bytes = cpii_utf8_decode(ending, len, &cp[n]);

		cp[n] = cpii_utf8_fold(cp[n]);
		n++;
		ending += bytes;
		len -= bytes;
	}
	if (c->n < n)
		return false;
	for (int i = 0; i < n; i++)
		if (c->cp[c->n - n + i] != cp[i])
			return false;
	return true;
}

static bool
is_unit_name(const Chars *c)
{
	static const char *const endings[] = {"公司", "集团", "商行", "经营部", "事务所", "合作社", "工厂"};

	if (c->han < 5 || c->n > 60)
		return false;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (ends_with(c, endings[i]))
			return true;
	return false;
}

/* a mobile number, resident ID or e-mail address inside the text */
static bool
has_embedded(const Chars *c)
{
	for (int i = 0; i < c->n; i++)
	{
		int			end = i;

		if (c->cp[i] == '@' && email_at(c, i))
			return true;
		if (!cpii_is_digit(c->cp[i]))
			continue;
		while (end < c->n && cpii_is_digit(c->cp[end]))
			end++;
		if (end - i == 11 && c->cp[i] == '1' && c->cp[i + 1] >= '3')
			return true;
		if ((end - i == 17 || end - i == 18) && resident_id_at(c, i))
			return true;
		i = end - 1;
	}
	return false;
}

unsigned
cpii_suspect_value(const char *text, size_t len)
{
	Chars		c;
	unsigned	result = 0;

	read_chars(text, len, &c);
	if (c.n < 2)
		return 0;
	if ((c.n == 18 && resident_id_at(&c, 0)) || old_resident_id(&c) || travel_document(&c))
		result |= BIT(CPII_CLASS_ID_NUMBER);
	if (is_phone(&c))
		result |= BIT(CPII_CLASS_PHONE);
	if (is_bank_card(&c) && !(result & BIT(CPII_CLASS_ID_NUMBER)))
		result |= BIT(CPII_CLASS_ACCOUNT_NO);
	if (is_waybill(&c))
		result |= BIT(CPII_CLASS_WAYBILL_NO);
	for (int i = 1; i < c.n && c.n <= 100; i++)
		if (c.cp[i] == '@' && email_at(&c, i) && !has_one(&c, " ,;:{"))
			result |= BIT(CPII_CLASS_EMAIL);
	if (is_person_name(&c))
		result |= BIT(CPII_CLASS_PERSON_NAME);
	if (is_unit_name(&c))
		result |= BIT(CPII_CLASS_UNIT_NAME);
	else if (is_address(&c))
		result |= BIT(CPII_CLASS_ADDRESS);
	if ((result & ~BIT(CPII_CLASS_ADDRESS)) == 0 && has_embedded(&c))
		result |= BIT(CPII_SUSPECT_EMBEDDED);
	return result;
}
