#!/bin/sh
#
# check_schema.sh: the rules of the install script (schema/*.sql).
#
# No role is made outside a guarded DO block; nothing is replaced or silently
# kept; SECURITY DEFINER functions pin their search_path; volatility, parallel
# safety and strictness are written out; everybody may execute only what
# tools/public_functions.txt lists.
#
set -u
status=0
public=tools/public_functions.txt

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
if [ -z "$parts" ]; then
	echo "not ok - schema"
	echo "#   schema has no SQL parts"
	exit 1
fi
# shellcheck disable=SC2086
statements=$(perl tools/split_sql.pl $parts) || exit 1

# lines of "$statements" whose statement matches an extended pattern, whole
having() { printf '%s\n' "$statements" | grep -i -E "^[^	]*	$1"; }

result 'no CREATE OR REPLACE' "$(having '(.*[^a-z_])?CREATE OR REPLACE[^a-z_]')"
result 'no IF NOT EXISTS' "$(having \
	'(.*[^a-z_])?(TABLE|SCHEMA|INDEX|SEQUENCE|EXTENSION|COLUMN|VIEW|TYPE|VALUE|ROLE|USER|TRIGGER|FUNCTION) IF NOT EXISTS[^a-z_]')"
result 'roles are made in guarded DO blocks only' "$(
	having '(.*[^a-z_])?CREATE (ROLE|USER|GROUP)[^a-z_]' |
	grep -v -i -E '	DO [^	]*(pg_roles|pg_authid|to_regrole|duplicate_object)' | cut -c 1-160
	printf '%s\n' "$statements" | grep -i -E '	CREATE (ROLE|USER|GROUP) ' | cut -c 1-160)"
result 'nothing that an extension script must not do' "$(having \
	'(ALTER SYSTEM|SECURITY LABEL|CREATE POLICY|BEGIN|COMMIT|ROLLBACK|SET (SESSION )?ROLE)( |$)')"

functions=$(printf '%s\n' "$statements" | grep -i -E '	CREATE (OR REPLACE )?(FUNCTION|PROCEDURE) ')
result 'functions are in schema courier_pii' "$(printf '%s\n' "$functions" |
	grep -v '^$' | grep -v -i -E '	CREATE (OR REPLACE )?(FUNCTION|PROCEDURE) courier_pii\.' | cut -c 1-160)"
result 'SECURITY DEFINER functions pin search_path' "$(printf '%s\n' "$functions" |
	grep -i 'SECURITY DEFINER' |
	grep -v -i -E "SET search_path (=|TO) '?pg_catalog'?, *'?pg_temp'?" | cut -c 1-160)"
plain=$(printf '%s\n' "$functions" | grep -i -E '	CREATE (OR REPLACE )?FUNCTION ')
result 'functions state volatility, parallel safety and strictness' "$(printf '%s\n' "$plain" | awk '
	/^$/ { next }
	{
		text = toupper($0)
		miss = ""
		if (text !~ / (IMMUTABLE|STABLE|VOLATILE)( |$)/) miss = miss " volatility"
		if (text !~ / PARALLEL (SAFE|RESTRICTED|UNSAFE)( |$)/) miss = miss " parallel"
		# without arguments there is nothing to be strict about
		if (text !~ /^[^(]*\( ?(\)|OUT )/ && text !~ / (STRICT|CALLED ON NULL INPUT|RETURNS NULL ON NULL INPUT)( |$)/) miss = miss " strictness"
		# a trigger or event trigger function has no say in these
		if (text ~ / RETURNS (EVENT_)?TRIGGER /) miss = ""
		if (miss != "") print substr($0, 1, 110) " ...: no" miss
	}')"

# Who may execute: by name, overloads together.
names=$(printf '%s\n' "$functions" | sed -n \
	's/^[^	]*	CREATE \(OR REPLACE \)\{0,1\}\(FUNCTION\|PROCEDURE\|function\|procedure\) courier_pii\.\([a-z0-9_]*\).*/\3/p' |
	LC_ALL=C sort -u)
open=$(printf '%s\n' "$statements" | awk -F '\t' -v names="$names" '
	BEGIN { n = split(names, list, "\n"); for (i = 1; i <= n; i++) free[list[i]] = 1 }
	function each(text, state,    rest, name) {
		rest = text
		while (match(rest, /courier_pii\.[a-z0-9_]+/)) {
			name = substr(rest, RSTART + 12, RLENGTH - 12)
			if (name in free)
				free[name] = state
			rest = substr(rest, RSTART + RLENGTH)
		}
	}
	{ text = $2; upper = toupper($2) }
	upper ~ /^REVOKE .* ON ALL (FUNCTIONS|ROUTINES) IN SCHEMA COURIER_PII FROM .*PUBLIC/ {
		for (name in free) free[name] = 0
		next
	}
	upper ~ /^REVOKE .* ON (FUNCTION|PROCEDURE|ROUTINE) .* FROM .*PUBLIC/ {
		sub(/ [Ff][Rr][Oo][Mm] .*/, "", text); each(text, 0); next
	}
	upper ~ /^GRANT .* ON (FUNCTION|PROCEDURE|ROUTINE) .* TO .*PUBLIC/ { each(text, 1); next }
	upper ~ /^DROP (FUNCTION|PROCEDURE|ROUTINE) / { each(text, 0) }
	END { for (name in free) if (free[name]) print name }' | LC_ALL=C sort)
listed=
[ ! -f "$public" ] || listed=$(sed -e 's/#.*//' -e 's/[ 	]//g' -e '/^$/d' "$public" | LC_ALL=C sort -u)

# lines of the first text that the second has not
only_in() {
	printf '%s\n' "$1" | while read -r name; do
		[ -z "$name" ] || printf '%s\n' "$2" | grep -q -x -F -e "$name" || echo "$name"
	done
}

result 'EXECUTE is revoked from PUBLIC where it must be' "$(only_in "$open" "$listed" |
	sed "s|\$|: everybody may execute it; revoke that, or list it in $public|")"
result "$public is up to date" "$(only_in "$listed" "$open" |
	sed 's/$/: listed, but not executable by everybody/')"

exit $status
