/*-------------------------------------------------------------------------
 *
 * password_test.c
 *	  Unit test of people/password_rule.c.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "audit/redact.h"
#include "people/password_rule.h"

static int	count = 0;
static int	failed = 0;

static void
ok(int good, const char *name)
{
	count++;
	if (!good)
		failed++;
	printf("%sok %d - %s\n", good ? "" : "not ", count, name);
}

static char forms[CPII_MAX_DATE_FORMS + 1][CPII_PIECE_MAX + 1];
static int	nforms;

static bool
known(const char *piece, size_t len, void *arg)
{
	for (int i = 0; i < nforms; i++)
		if (strlen(forms[i]) == len && memcmp(forms[i], piece, len) == 0)
			return true;
	return false;
}

static const char *
weakness(const char *password)
{
	static const char *const words[] = {
		"li_courier", "K1001", "李小雨", NULL, "Zhang Wei"
	};
	static const CpiiPasswordRules rules = {12, 3, 3};
	CpiiPasswordSubject subject = {words, 5, known, NULL};

	return cpii_password_weakness(&rules, &subject, password);
}

static void
refused(const char *password, const char *want)
{
	const char *why = weakness(password);

	ok(why != NULL && strstr(why, want) != NULL, password);
	if (why == NULL || strstr(why, want) == NULL)
		printf("# got: %s, want: %s\n", why ? why : "accepted", want);
}

static void
accepted(const char *password)
{
	const char *why = weakness(password);

	ok(why == NULL, password);
	if (why != NULL)
		printf("# got: %s\n", why);
}

static void
in_place(const char *sql, const char *want)
{
	char		copy[256];

	snprintf(copy, sizeof(copy), "%s", sql);
	cpii_redact_in_place(copy, strlen(copy));
	ok(strcmp(copy, want) == 0, sql);
	if (strcmp(copy, want) != 0)
		printf("#  got: %s\n# want: %s\n", copy, want);
}

int
main(void)
{
	nforms = cpii_date_forms(1990, 1, 7, forms, CPII_MAX_DATE_FORMS);
	ok(nforms > 15, "a date has many forms");
	ok(cpii_date_forms(1990, 13, 7, forms + nforms, 1) == 0, "month 13 has none");

	accepted("Tr7-quivering-Fox");
	accepted("蓝色的河流Bx7-vorüber");
	accepted("mK4!vPz9&tQe2w");

	/* length and kinds */
	refused("Tr7-quiver", "short");
	refused("", "short");
	refused("quivering foxes", "kinds");
	refused("quiveringfoxes", "kinds");
	refused("QUIVERING-FOXES", "kinds");

	/* runs */
	refused("Tr7-quivaaaaer", "repeats");
	refused("Tr7-quiv1234er", "sequence");
	refused("Tr7-quiv4321er", "sequence");
	refused("Tr7-quivabcder", "sequence");
	refused("Tr7-quivDcBaer", "sequence");
	refused("Tr7-quivqwerut", "neighbouring");
	refused("Tr7-quivREWQut", "neighbouring");
	refused("Tr7-quiv1qazut", "neighbouring");
	refused("Tr7-quiv!@#$ut", "neighbouring");
	refused("Ab7-Ab7-Ab7-Ab7-", "repeats itself");
	accepted("Tr7-quivaaaer9");

	/* names and numbers */
	refused("Tr7-li_courier-x", "name");
	refused("Tr7-LI_COURIER-x", "name");
	refused("Tr7-l1_c0urier-x", "name");
	refused("Tr7-reiruoc_il-x", "name");
	refused("Tr7-Courier-vxq9", "name");
	refused("Tr7-K1001-fvxqzu", "name");
	refused("Tr7-1001K-fvxqzu", "name");
	refused("Tr7-李小雨-fvxqzu", "name");
	refused("Tr7-zhangwei-Qvx", "name");
	accepted("Tr7-vermilion-Qx");

	/* the birthday, however written */
	refused("Fvx-19900107-zuQ", "date");
	refused("Fvx-900107-zuQpk", "date");
	refused("Fvx-0107-zuQpkem", "date");
	refused("Fvx-07011990-zuQ", "date");
	refused("Fvx-1990-01-07-zuQ", "date");
	refused("Fvx-1990/1/7-zuQpk", "date");
	refused("Fvx.07.01.1990.zuQ", "date");
	refused("Fvx1990年1月7日zuQp", "date");
	refused("Fvx一九九〇年一月七日zuQp", "date");
	refused("Fvx１９９００１０７zuQp", "date");
	refused("Fvx-7Jan1990-zuQpk", "date");
	refused("Fvx-January07-zuQpk", "date");
	refused("Fvx-70100991-zuQpk", "date");
	accepted("Fvx-19910817-zuQpk");

	/* common ones, with the usual ornaments */
	refused("Password!2026", "most used");
	refused("P@ssw0rd!-2026", "most used");
	refused("Woaiwojia-2026", "most used");

	/* extremes */
	{
		char		lengthy[600];
		char		bytes[32];

		memset(lengthy, 'x', sizeof(lengthy) - 1);
		lengthy[sizeof(lengthy) - 1] = '\0';
		ok(weakness(lengthy) != NULL, "a very long one is refused");
		for (int i = 0; i < 31; i++)
			bytes[i] = (char) (0x80 + (i * 37) % 0x7F);
		bytes[31] = '\0';
		(void) weakness(bytes);
		ok(1, "damaged bytes do no harm");
	}

	ok(cpii_password_similar("Tr7-quivering-Fox07", "Tr7-quivering-Fox08"), "one digit more is similar");
	ok(cpii_password_similar("Tr7-quivering-Fox", "tR7-QUIVERING-fOX"), "other case is similar");
	ok(cpii_password_similar("Tr7-quivering-Fox", "Tr7-quivering-Fox!9"), "an appendix is similar");
	ok(!cpii_password_similar("Tr7-quivering-Fox", "mK4!vPz9&tQe2w"), "another one is not");

	in_place("ALTER ROLE a PASSWORD 'secret'", "ALTER ROLE a PASSWORD '******'");
	in_place("ALTER ROLE a PASSWORD $x$secret$x$", "ALTER ROLE a PASSWORD 000000000000");
	in_place("ALTER ROLE \"a'b\" PASSWORD E's\\'x'", "ALTER ROLE \"a'b\" PASSWORD 0000000");
	in_place("ALTER ROLE a /* pw x */ PASSWORD 'a''b'", "ALTER ROLE a            PASSWORD '****'");
	in_place("SELECT 1", "SELECT 0");

	printf("1..%d\n", count);
	return failed > 0;
}
