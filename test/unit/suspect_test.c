/*-------------------------------------------------------------------------
 *
 * suspect_test.c
 *	  Unit test of policy/suspect_text.c and of printing conditions.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/classes.h"
#include "policy/condition.h"
#include "policy/suspect_text.h"

static int	count = 0;
static int	failed = 0;

static void
result(int ok, const char *what, const char *detail)
{
	count++;
	failed += !ok;
	printf("%sok %d - %s: %s\n", ok ? "" : "not ", count, what, detail);
}

/* strength: "sure", "weak" */
static void
name(const char *column, int class_id, int weak)
{
	bool		is_weak;
	int			got = cpii_suspect_name(column, &is_weak);

	result(got == class_id && is_weak == (weak != 0), "column name", column);
	if (got != class_id || is_weak != (weak != 0))
		printf("#  got %d%s\n", got, is_weak ? " weak" : "");
}

static void
value(const char *text, int class_id)
{
	unsigned	got = cpii_suspect_value(text, strlen(text));
	unsigned	want = class_id < 0 ? 0 : 1u << class_id;

	result(got == want, "value", text);
	if (got != want)
		printf("#  got %x\n", got);
}

static void
print(const char *text, const char *want)
{
	CpiiCondition c;
	CpiiCondition again;
	const char *problem;
	char		out[CPII_CONDITION_TEXT_LEN];
	int			ok = cpii_condition_parse(text, &c, &problem);

	if (ok)
	{
		cpii_condition_print(&c, out);
		ok = strcmp(out, want) == 0 && cpii_condition_parse(out, &again, &problem) &&
			again.is_in == c.is_in && again.ntests == c.ntests &&
			strcmp(again.tests[0].column, c.tests[0].column) == 0 &&
			strcmp(again.tests[0].value.text, c.tests[0].value.text) == 0;
		if (!ok)
			printf("#  got %s\n", out);
	}
	result(ok, "condition", text);
}

int
main(void)
{
	/* English */
	name("recv_phone", CPII_CLASS_PHONE, 0);
	name("receiverMobile", CPII_CLASS_PHONE, 0);
	name("PHONE1", CPII_CLASS_PHONE, 0);
	name("to_phone", CPII_CLASS_PHONE, 0);
	name("phone_no", CPII_CLASS_PHONE, 0);
	name("contact_phone_number", CPII_CLASS_PHONE, 0);
	name("id_card_no", CPII_CLASS_ID_NUMBER, 0);
	name("idCard", CPII_CLASS_ID_NUMBER, 0);
	name("recv_name", CPII_CLASS_PERSON_NAME, 0);
	name("customerName", CPII_CLASS_PERSON_NAME, 0);
	name("real_name", CPII_CLASS_PERSON_NAME, 0);
	name("name", CPII_CLASS_PERSON_NAME, 1);
	name("home_address", CPII_CLASS_ADDRESS, 0);
	name("recv_addr", CPII_CLASS_ADDRESS, 0);
	name("email", CPII_CLASS_EMAIL, 0);
	name("bank_card", CPII_CLASS_ACCOUNT_NO, 0);
	name("tracking_no", CPII_CLASS_WAYBILL_NO, 0);
	name("company", CPII_CLASS_UNIT_NAME, 0);
	name("remark", CPII_CLASS_NOTE, 1);
	/* pinyin and its abbreviations */
	name("xingming", CPII_CLASS_PERSON_NAME, 0);
	name("sjr_dh", CPII_CLASS_PHONE, 0);
	name("sjrxm", CPII_CLASS_PERSON_NAME, 0);
	name("lxdh", CPII_CLASS_PHONE, 0);
	name("SFZH", CPII_CLASS_ID_NUMBER, 0);
	name("sfzhm", CPII_CLASS_ID_NUMBER, 0);
	name("xxdz", CPII_CLASS_ADDRESS, 0);
	name("customer_phone", CPII_CLASS_PHONE, 0);
	name("sjr_dizhi", CPII_CLASS_ADDRESS, 0);
	name("ydh", CPII_CLASS_WAYBILL_NO, 0);
	name("dwmc", CPII_CLASS_UNIT_NAME, 0);
	name("sj", CPII_CLASS_PHONE, 1);
	name("beizhu", CPII_CLASS_NOTE, 0);
	/* Chinese, both scripts */
	name("收件人电话", CPII_CLASS_PHONE, 0);
	name("收件人電話", CPII_CLASS_PHONE, 0);
	name("收件人姓名", CPII_CLASS_PERSON_NAME, 0);
	name("身份证号", CPII_CLASS_ID_NUMBER, 0);
	name("身份證號", CPII_CLASS_ID_NUMBER, 0);
	name("详细地址", CPII_CLASS_ADDRESS, 0);
	name("運單號", CPII_CLASS_WAYBILL_NO, 0);
	name("單位名稱", CPII_CLASS_UNIT_NAME, 0);
	name("備註", CPII_CLASS_NOTE, 0);
	/* other things */
	name("id", 0, 0);
	name("file_name", 0, 0);
	name("phone_verified", 0, 0);
	name("email_sent_at", 0, 0);
	name("name_id", 0, 0);
	name("ip_address", 0, 0);
	name("status", 0, 0);
	name("状态", 0, 0);
	name("created_at", 0, 0);
	name("", 0, 0);

	value("13800138000", CPII_CLASS_PHONE);
	value("+86 138-0013-8000", CPII_CLASS_PHONE);
	value("１３８００１３８０００", CPII_CLASS_PHONE);
	value("0755-26720031", CPII_CLASS_PHONE);
	value("021-6272 0031-802", CPII_CLASS_PHONE);
	value("13800138000-1234", CPII_CLASS_PHONE);
	value("4008111111", CPII_CLASS_PHONE);
	value("990000199001010017", CPII_CLASS_ID_NUMBER);
	value("990000199001010018", -1);
	value("110101900101001", CPII_CLASS_ID_NUMBER);
	value("E12345678", CPII_CLASS_ID_NUMBER);
	value("6222020000000000000", CPII_CLASS_ACCOUNT_NO);
	value("6222020000000000001", -1);
	value("4111111111111111", CPII_CLASS_ACCOUNT_NO);
	value("li.ming@example.com", CPII_CLASS_EMAIL);
	value("SF1390000000017", CPII_CLASS_WAYBILL_NO);
	value("EE123456785CN", CPII_CLASS_WAYBILL_NO);
	value("王小明", CPII_CLASS_PERSON_NAME);
	value("欧阳建国", CPII_CLASS_PERSON_NAME);
	value("陳大文", CPII_CLASS_PERSON_NAME);
	value("文件", -1);
	value("深圳市顺达物流有限公司", CPII_CLASS_UNIT_NAME);
	value("广东省深圳市南山区科技园路18号3栋502室", CPII_CLASS_ADDRESS);
	value("{\"to\": {\"phone\": \"13800138000\"}}", CPII_SUSPECT_EMBEDDED);
	value("放门口，打 13800138000 给李先生", CPII_SUSPECT_EMBEDDED);
	value("证件 990000199001010017 已核对", CPII_SUSPECT_EMBEDDED);
	value("write to li@example.com please", CPII_SUSPECT_EMBEDDED);
	value("order 20260102030405", -1);
	value("2026-01-02 03:04:05", -1);
	value("1******8000", -1);
	value("", -1);
	value("\xff\xfe", -1);
	value("true", -1);

	print("a = 'x'", "a = 'x'");
	print("\"Branch No\" = actor.org", "\"Branch No\" = actor.org");
	print("ORG within actor.org", "org within actor.org");
	print("id in task.waybill_id where courier_no = actor.staff_no and task_date = today",
		  "id in task.waybill_id where courier_no = actor.staff_no and task_date = today");
	print("id in s.\"T\".x where a = 'it''s' and \"in\" = actor.client",
		  "id in s.\"T\".x where a = 'it''s' and \"in\" = actor.client");
	printf("1..%d\n", count);
	return failed > 0;
}
