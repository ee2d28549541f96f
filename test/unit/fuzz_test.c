/*-------------------------------------------------------------------------
 *
 * fuzz_test.c
 *	  The short form of the mask fuzzing: made-up texts through the target of
 *	  test/fuzz, without a fuzzer.  The long one is "./dev campaign fuzz".
 *
 *-------------------------------------------------------------------------
 */
#include "../fuzz/fuzz_mask.c"

#include "tap.h"

int			tap_count = 0;
int			tap_failures = 0;

#define EXECUTIONS 100000

static const char *const pieces[] = {
	"广东", "省", "深圳", "市", "南山区", "吉林", "北京", "科技路", "东", "路", "街", "1", "38", "0755", "栋",
	"号", "楼", "单元", "室", "-", " ", ",", "自治区", "自治州", "县", "旗", "上海", "高新区", "张", "三", "欧阳",
	"先生", "有限公司", "厂", "13800138000", "8234567", "转", "ext", "+86", "/", "、", "手机", "文件", "药",
	"*", "**", "***", "****", "a", "Z", "X", "@", ".", "com", "１", "　", "\xe2\x80\x8b", "𠀀", "·", "村", "組",
	"大厦", "鎮", "區", "臺", "西湖区", "~", "(", ")", "\x80", "\xf0\x9f", "\n"
};

int
main(void)
{
	unsigned long long state = 20261122;
	uint8_t		data[1024];
	int			npieces = (int) (sizeof(pieces) / sizeof(pieces[0]));
	int			i;

	for (i = 0; i < EXECUTIONS; i++)
	{
		size_t		len = 2;
		int			count;

		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		data[0] = (uint8_t) (state >> 40);
		data[1] = (uint8_t) (state >> 48);
		for (count = (int) (state >> 56) % 12; count > 0; count--)
		{
			const char *piece;

			state = state * 6364136223846793005ULL + 1442695040888963407ULL;
			piece = pieces[(state >> 33) % (unsigned) npieces];
			memcpy(data + len, piece, strlen(piece));
			len += strlen(piece);
		}
		(void) LLVMFuzzerTestOneInput(data, len);
	}
	/* a failed check has ended the program */
	tap_ok(i == EXECUTIONS, "%d made-up texts keep what the masks promise", i);
	printf("1..%d\n", tap_count);
	return 0;
}
