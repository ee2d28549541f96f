/*-------------------------------------------------------------------------
 *
 * redact_test.c
 *	  Unit test of audit/redact.c.  Prints TAP.
 *
 *	  cc -Isrc test/unit/redact_test.c src/audit/redact.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/redact.h"

static int	count = 0;
static int	failed = 0;

static void
check(const char *name, const char *sql, const char *want)
{
	char		out[4096];
	size_t		n = cpii_redact(sql, strlen(sql), out, sizeof(out));
	int			ok = n == strlen(out) && strcmp(out, want) == 0;

	count++;
	if (!ok)
		failed++;
	printf("%sok %d - %s\n", ok ? "" : "not ", count, name);
	if (!ok)
		printf("#  got: %s\n# want: %s\n", out, want);
}

static void
check_cut(const char *name, const char *sql, size_t cap, const char *want)
{
	char	   *out = malloc(cap + 1);
	size_t		n;
	int			ok;

	memset(out, 'Z', cap + 1);
	n = cpii_redact(sql, strlen(sql), out, cap);
	ok = out[cap] == 'Z' && (cap == 0 ? n == 0 :
							 n == strlen(want) && strcmp(out, want) == 0);
	count++;
	if (!ok)
		failed++;
	printf("%sok %d - %s\n", ok ? "" : "not ", count, name);
	free(out);
}

int
main(void)
{
	check("empty", "", "");
	check("no literal", "SELECT a, b FROM t", "SELECT a, b FROM t");
	check("string", "WHERE phone = '13800000000'", "WHERE phone = ?");
	check("empty string", "SELECT '' FROM t", "SELECT ? FROM t");
	check("doubled quote", "SELECT 'it''s' , b", "SELECT ? , b");
	check("escape string", "SELECT E'a\\'b' , b", "SELECT ? , b");
	check("escape string, doubled quote", "SELECT e'a''b\\\\' , b", "SELECT ? , b");
	check("backslash inside is plain", "SELECT 'a\\b' , 'c'", "SELECT ? , ?");
	check("even backslashes end alike", "SELECT 'a\\\\' , 'c'", "SELECT ? , ?");
	check("ambiguous backslash swallows", "SELECT 'a\\' , '张三' FROM t", "SELECT ?");
	check("bit strings", "SELECT B'101', x'1F'", "SELECT ?, ?");
	check("national string", "SELECT N'张三'", "SELECT ?");
	check("unicode string", "SELECT U&'\\5F20' UESCAPE '!'", "SELECT ? UESCAPE ?");
	check("unicode name stays", "SELECT U&\"d\\0061t\" FROM t", "SELECT U&\"d\\0061t\" FROM t");
	check("typed literal", "SELECT date '2026-01-01'", "SELECT date ?");
	check("word before quote is no prefix", "SELECT type'x'", "SELECT type?");
	check("unterminated string", "SELECT 'abc FROM t", "SELECT ?");
	check("integers", "LIMIT 10 OFFSET 20", "LIMIT ? OFFSET ?");
	check("decimals", "SELECT 1.5, .5, 1., 1e10, 1.5E-3", "SELECT ?, ?, ?, ?, ?");
	check("hex and separators", "SELECT 0x1F, 1_000_000", "SELECT ?, ?");
	check("number in brackets", "a[1:2], f(3,4)", "a[?:?], f(?,?)");
	check("negative number", "WHERE a = -5", "WHERE a = -?");
	check("name with digits stays", "SELECT t1.c2_3 FROM t1", "SELECT t1.c2_3 FROM t1");
	check("name with dollar stays", "SELECT a$1 FROM a$$b$$", "SELECT a$1 FROM a$$b$$");
	check("Chinese names stay", "SELECT 电话 FROM 运单", "SELECT 电话 FROM 运单");
	check("quoted name stays", "SELECT \"1'2\", \"a\"\"b\" FROM t", "SELECT \"1'2\", \"a\"\"b\" FROM t");
	check("unterminated name", "SELECT \"a, '138' FROM t", "SELECT ?");
	check("parameters stay", "WHERE a = $1 AND b = $23", "WHERE a = $1 AND b = $23");
	check("dollar quote", "DO $$ secret '1' $$;", "DO ?;");
	check("tagged dollar quote", "SELECT $q$ a $$ b $q$, c", "SELECT ?, c");
	check("unterminated dollar quote", "SELECT $q$ abc $z$", "SELECT ?");
	check("lone dollar", "SELECT $ FROM t", "SELECT $ FROM t");
	check("line comment", "SELECT a -- 张三\nFROM t", "SELECT a  \nFROM t");
	check("line comment at end", "SELECT a --x", "SELECT a  ");
	check("block comment", "SELECT a/* 138 /* in */ ner */FROM t", "SELECT a FROM t");
	check("unterminated comment", "SELECT a /* 138", "SELECT a  ");
	check("quote in comment", "SELECT a -- it's\n, 'b'", "SELECT a  \n, ?");
	check("comment in string", "SELECT '--', 'b'", "SELECT ?, ?");
	check("comment in name", "SELECT \"--a\", 'b'", "SELECT \"--a\", ?");
	check("cast", "SELECT '1'::int, 2::text", "SELECT ?::int, ?::text");
	check("password", "ALTER ROLE x PASSWORD 'geheim'", "ALTER ROLE x PASSWORD ?");
	check("copy options", "COPY t TO '/tmp/x' (FORMAT csv, DELIMITER ',')",
		  "COPY t TO ? (FORMAT csv, DELIMITER ?)");

	check_cut("no room", "SELECT 1", 0, "");
	check_cut("room for the terminator", "SELECT 1", 1, "");
	check_cut("cut", "SELECT 1", 4, "SEL");
	check_cut("exact fit", "SELECT a", 9, "SELECT a");
	check_cut("cut before a character", "电话", 5, "电");
	check_cut("cut inside the first character", "电话", 3, "");

	printf("1..%d\n", count);
	return failed ? 1 : 0;
}
