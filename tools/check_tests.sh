#!/bin/sh
#
# check_tests.sh: every test file is run.
#
# Each sql/*.sql is in the Makefile's REGRESS list and has its expected output;
# each test/isolation/specs/*.spec is in ISOLATION; the other way round too.
# Every source of src is in OBJS, every part of schema in SCHEMA_PARTS.
#
set -u
status=0

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /'
		status=1
	fi
}

# words of a Makefile variable, one a line (lists of literal words only)
words() {
	awk -v name="$1" '
	!inside && $1 == name && ($2 == "=" || $2 == ":=" || $2 == "+=") { inside = 1; sub(/^[^=]*=/, "") }
	inside {
		more = sub(/\\[ \t]*$/, "")
		sub(/#.*/, "")
		n = split($0, part, " ")
		for (i = 1; i <= n; i++) print part[i]
		inside = more
	}' Makefile | LC_ALL=C sort
}

# base names of files, one a line
base_names() {	# DIRECTORY SUFFIX
	[ ! -d "$1" ] || find "$1" -maxdepth 1 -name "*$2" | sed -e 's|.*/||' -e "s|\\$2\$||" | LC_ALL=C sort
}

# lines that only one of two texts has
differences() {	# TEXT1 TEXT2 ONLY-IN-1 ONLY-IN-2
	{
		printf '%s\n' "$1" | sed 's/^/1 /'
		printf '%s\n' "$2" | sed 's/^/2 /'
	} | awk -v one="$3" -v two="$4" '
	NF == 2 { seen[$2] = seen[$2] $1 }
	END {
		for (word in seen)
			if (seen[word] == "1") print word ": " one
			else if (seen[word] == "2") print word ": " two
			else if (seen[word] != "12") print word ": listed twice"
	}' | LC_ALL=C sort
}

result 'regression tests are listed' "$(differences "$(base_names sql .sql)" "$(words REGRESS)" \
	'not in REGRESS' 'in REGRESS, but sql has no such file')"
result 'regression tests have expected output' "$(base_names sql .sql | while read -r name; do
	[ -f "expected/$name.out" ] || echo "expected/$name.out is missing"
done)"
result 'isolation tests are listed' "$(differences "$(base_names test/isolation/specs .spec)" "$(words ISOLATION)" \
	'not in ISOLATION' 'in ISOLATION, but test/isolation/specs has no such file')"
result 'sources are listed' "$(differences \
	"$(find src -name '*.c' | sed 's/c$/o/')" "$(words OBJS)" 'not in OBJS' 'in OBJS, but there is no source')"
result 'schema parts are listed' "$(differences \
	"$(find schema -name '*.sql' 2>/dev/null)" "$(words SCHEMA_PARTS)" 'not in SCHEMA_PARTS' 'in SCHEMA_PARTS, but there is no file')"

exit $status
