#!/bin/sh
#
# check_crosswalk.sh: doc/crosswalk.md names only what there is: files, settings,
# functions, views and tables of the install script; every row names a test; and
# no clause is left out.
#
set -u
status=0
page=doc/crosswalk.md

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /' | head -n 30
		status=1
	fi
}

parts=$(find schema -name '*.sql' 2>/dev/null | LC_ALL=C sort)
if [ -z "$parts" ] || [ ! -f "$page" ]; then
	echo "not ok - crosswalk"
	echo "#   schema/*.sql or $page is missing"
	exit 1
fi
# shellcheck disable=SC2086
objects=$(perl tools/split_sql.pl $parts | cut -f 2- |
	sed -n -E 's/^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|VIEW|TABLE) courier_pii\.([a-z0-9_]+).*/\3/Ip')
settings=$(grep -o -h -E '"courier_pii\.[a-z_]+"' src/base/settings.c | tr -d '"')
# levels, kinds of requests, states
words='disclosure export copy destroy maintenance hidden token label unregistered code request'
columns=$(sed -n '/CREATE TABLE courier_pii.audit_record /,/^)/p' schema/50_audit.sql | sed -n -E 's/^[	 ]+([a-z_]+)[	 ].*/\1/p')

# what stands in code marks, table rows only
names=$(grep '^|' "$page" | grep -o -E '`[^`]+`' | tr -d '`' | LC_ALL=C sort -u)

result 'files exist' "$(printf '%s\n' "$names" | grep / | while read -r name; do
	[ -e "$name" ] || echo "$name does not exist"
done)"
result 'settings exist' "$(printf '%s\n' "$names" | grep '^courier_pii\.' | while read -r name; do
	printf '%s\n' "$settings" | grep -q -x -F -e "$name" || echo "$name is no setting"
done)"
result 'functions, views and tables exist' "$(printf '%s\n' "$names" | grep -v -e / -e '^courier_pii\.' | while read -r name; do
	case $name in
	audit_log.*) printf '%s\n' "$columns" | grep -q -x -F -e "${name#audit_log.}" && continue ;;
	esac
	printf '%s\n' "$objects" | grep -q -x -F -e "$name" && continue
	printf '%s\n' "$words" | tr ' ' '\n' | grep -q -x -F -e "$name" && continue
	echo "$name is not in the install script"
done)"
result 'every row names a test' "$(grep -E '^\| [0-9一二三四五]' "$page" | grep -v -E '`(sql|test)/[^`]+` *\|$' | cut -c 1-60)"
clauses=$(sed -n '/^## .*Regulation/,/^## .*Internal/p' "$page" | grep -E '^\| [0-9]|^Not here' |
	sed -E 's/^\| ([^|]*)\|.*/\1/; s/^Not here.*: //' | tr -d '.' | tr ',' '\n' | sed -E 's/¶.*//; s/ //g')
result 'every clause is there' "$(i=1; while [ $i -le 53 ]; do
	printf '%s\n' "$clauses" | grep -q -x "$i" || echo "clause $i"
	i=$((i + 1))
done)"

exit $status
