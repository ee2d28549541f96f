/*-------------------------------------------------------------------------
 *
 * secret_file_test.c
 *	  Files of secrets: whatever is done to one is noticed.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "crypto/secret_file.h"

int			tap_count = 0;
int			tap_failures = 0;

#define CLASS 2
#define EPOCH 7

static unsigned char key[CPII_KEY_LEN];
static unsigned char secret[CPII_SECRET_LEN];
static CpiiSecretInfo info;
static char text[CPII_SECRET_TEXT_LEN];

typedef enum Verdict
{
	FORM,						/* no such text */
	CHECK,						/* it does not match its check value */
	DATE,						/* only the date is another one */
	GOOD
} Verdict;

/* what the agent would say of a text, as the file of a class and an epoch */
static Verdict
judge(const char *changed, int class_id, int epoch)
{
	unsigned char found[CPII_SECRET_LEN];
	unsigned char check[CPII_SECRET_CHECK_LEN];
	CpiiSecretInfo said;

	if (!cpii_secret_parse(changed, found, &said))
		return FORM;
	if (!cpii_secret_check(key, class_id, epoch, found, &said, check) ||
		memcmp(check, said.check, sizeof(check)) != 0)
		return CHECK;
	return said.created == info.created ? GOOD : DATE;
}

static void
file_of(int master)
{
	for (int i = 0; i < CPII_KEY_LEN; i++)
		key[i] = (unsigned char) (i * 3 + 1);
	for (int i = 0; i < CPII_SECRET_LEN; i++)
		secret[i] = (unsigned char) (i * 7 + 5);
	memset(&info, 0, sizeof(info));
	info.suite = CPII_SUITE_AES_256_GCM;
	info.tag_scope = 0;
	info.tag_digest = CPII_DIGEST_USUAL;
	info.master = master;
	info.created = 1793750400;
	tap_ok(cpii_secret_check(key, CLASS, EPOCH, secret, &info, info.check), "a check value");
	cpii_secret_print(secret, &info, text);
}

static void
is_whole(void)
{
	unsigned char found[CPII_SECRET_LEN];
	CpiiSecretInfo said;

	tap_ok(cpii_secret_parse(text, found, &said) && memcmp(found, secret, sizeof(found)) == 0 &&
		   said.suite == info.suite && said.tag_scope == info.tag_scope &&
		   said.tag_digest == info.tag_digest && said.master == info.master &&
		   said.created == info.created && judge(text, CLASS, EPOCH) == GOOD,
		   "a file is read as it was written, master key %d", info.master);
	tap_ok(judge(text, CLASS + 1, EPOCH) == CHECK, "not as another class's");
	tap_ok(judge(text, CLASS, EPOCH + 1) == CHECK, "nor as another epoch's");
	key[0] ^= 1;
	tap_ok(judge(text, CLASS, EPOCH) == CHECK, "nor with another master key");
	key[0] ^= 1;
}

static void
is_cut(void)
{
	char		cut[CPII_SECRET_TEXT_LEN + 1];
	size_t		len = strlen(text);
	int			accepted = 0;

	for (size_t n = 0; n < len; n++)
	{
		memcpy(cut, text, n);
		cut[n] = '\0';
		accepted += judge(cut, CLASS, EPOCH) != FORM;
	}
	tap_ok(accepted == 0, "cut anywhere it is no file");
	snprintf(cut, sizeof(cut), "%s\n", text);
	tap_ok(judge(cut, CLASS, EPOCH) == FORM, "nor with something behind it");
	snprintf(cut, sizeof(cut), "%.64s\n", text);
	tap_ok(judge(cut, CLASS, EPOCH) == FORM, "nor the secret alone");
}

static void
is_changed(void)
{
	char		changed[CPII_SECRET_TEXT_LEN];
	size_t		len = strlen(text);
	size_t		from = (size_t) (strstr(text, "created ") - text) + 8;
	int			good = 0;
	int			dates = 0;
	int			forms = 0;
	int			checks = 0;

	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++)
		{
			memcpy(changed, text, len + 1);
			changed[i] = (char) (changed[i] ^ 1 << bit);
			switch (judge(changed, CLASS, EPOCH))
			{
				case GOOD:
					good++;
					break;
				case DATE:
					dates += i < from || i >= from + 10;
					break;
				case FORM:
					forms++;
					break;
				case CHECK:
					checks++;
					break;
			}
		}
	tap_ok(good == 0 && dates == 0, "no changed bit is overlooked, but in the date");
	tap_ok(forms > 0 && checks > 0, "by its form (%d) or by its check value (%d)", forms, checks);
}

int
main(void)
{
	for (int master = 1; master <= 3; master += 2)
	{
		file_of(master);
		is_whole();
		is_cut();
		is_changed();
	}
	printf("1..%d\n", tap_count);
	return tap_failures ? 1 : 0;
}
