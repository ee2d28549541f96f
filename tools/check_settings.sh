#!/bin/sh
#
# check_settings.sh: the settings of src/base/settings.c are in alphabetical
# order, none can be handed out with GRANT SET (SUSET), only "purpose" and
# "ticket" belong to the user, and each is described in doc/reference.md.
#
set -u
status=0
file=src/base/settings.c

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /'
		status=1
	fi
}

# one line a setting: name context
settings=$(awk '
/DefineCustom[A-Za-z]+Variable[ \t]*\(/ { text = ""; inside = 1 }
inside {
	text = text $0
	if ($0 ~ /;[ \t]*$/) {
		inside = 0
		name = text
		sub(/^[^"]*"/, "", name)
		sub(/".*/, "", name)
		context = "none"
		if (match(text, /PGC_[A-Z]+/))
			context = substr(text, RSTART, RLENGTH)
		print name, context
	}
}' "$file")

if [ -z "$settings" ]; then
	echo "not ok - settings"
	echo "#   no setting found in $file"
	exit 1
fi

result 'settings have our prefix' "$(echo "$settings" | grep -v '^courier_pii\.[a-z0-9_]* ')"
result 'settings are in alphabetical order' "$(echo "$settings" |
	LC_ALL=C sort -c -k1,1 2>&1 | sed 's/^sort: -:/setting /')"
result 'settings are POSTMASTER, SIGHUP, or the two of the user' "$(echo "$settings" |
	grep -v -E ' PGC_(POSTMASTER|SIGHUP)$|^courier_pii\.(purpose|ticket) PGC_USERSET$')"

if [ -f doc/reference.md ]; then
	result 'settings are in doc/reference.md' "$(echo "$settings" |
		while read -r name _; do
			grep -q -E "(^|[^a-z0-9_])$name([^a-z0-9_]|\$)" doc/reference.md ||
				echo "$name is not described"
		done)"
else
	result 'settings are in doc/reference.md' 'doc/reference.md is missing'
fi

exit $status
