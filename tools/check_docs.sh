#!/bin/sh
#
# check_docs.sh: doc/reference.md names every function, procedure, view, table,
# type, domain and aggregate of the install script.
#
set -u
status=0
reference=doc/reference.md

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /'
		status=1
	fi
}

parts=$(find schema -name '*.sql' 2>/dev/null | LC_ALL=C sort)
if [ -z "$parts" ] || [ ! -f "$reference" ]; then
	echo "not ok - reference"
	echo "#   schema/*.sql or $reference is missing"
	exit 1
fi
# shellcheck disable=SC2086
statements=$(perl tools/split_sql.pl $parts) || exit 1

# what the script makes for itself and drops again is no object of the extension
dropped=$(printf '%s\n' "$statements" | cut -f 2- |
	sed -n -E 's/^DROP [A-Z]+ courier_pii\.([a-z0-9_]+).*/\1/Ip')

named() {	# KIND-PATTERN: objects of schema courier_pii created by these statements
	printf '%s\n' "$statements" | cut -f 2- |
		sed -n -E "s/^CREATE (OR REPLACE )?($1) courier_pii\.([a-z0-9_]+).*/\3/Ip" | LC_ALL=C sort -u |
		while read -r name; do
			printf '%s\n' "$dropped" | grep -q -x -F -e "$name" && continue
			grep -q -E "(^|[^a-z0-9_])$name([^a-z0-9_]|\$)" "$reference" || echo "$name is not described"
		done
}

result 'functions and procedures are described' "$(named 'FUNCTION|PROCEDURE|AGGREGATE')"
result 'views and tables are described' "$(named 'VIEW|MATERIALIZED VIEW|TABLE|UNLOGGED TABLE')"
result 'types and domains are described' "$(named 'TYPE|DOMAIN')"

# and every relative link of the documents leads somewhere
result 'links lead somewhere' "$(find . \( -name .git -o -name node_modules \) -prune -o -name '*.md' -print |
	while read -r page; do
		grep -o -E '\]\([^)# ]+' "$page" | sed 's/^](//' | grep -v -E '^[a-z]+:' |
		while read -r target; do
			[ -e "${page%/*}/$target" ] || echo "$page: $target does not exist"
		done
	done)"

exit $status
