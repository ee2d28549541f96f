#!/bin/sh
#
# check_messages.sh: the wording of errors, as far as a pattern can see it.
#
# Every ereport of ERROR and above has an errcode; primary messages begin with
# a small letter, have no final period and no weak words; details and hints are
# sentences.  RAISE EXCEPTION in the SQL parts names its ERRCODE.
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

sources=$(find src -name '*.c' | LC_ALL=C sort)
if [ -z "$sources" ]; then
	echo "not ok - messages"
	echo "#   src has no sources"
	exit 1
fi

# shellcheck disable=SC2086
problems=$(awk '
# the text of a call: everything between the quotes of its adjacent strings
function strings(s,    out, c, i, inside) {
	out = ""
	inside = 0
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		if (inside && c == "\\") {
			out = out substr(s, i, 2)
			i++
		} else if (c == "\"")
			inside = !inside
		else if (inside)
			out = out c
		else if (c == "," || c == ")")
			break
	}
	return out
}
function complain(what) { print where ": " what }
function primary(text) {
	if (text == "")
		return
	if (text ~ /^[A-Z]/ && text !~ /^([A-Z0-9_-]+|OpenSSL|PostgreSQL)([^a-zA-Z]|$)/)
		complain("message begins with a capital: " text)
	if (text ~ /[.!:]$/ && text !~ /: %m$/)
		complain("message ends with punctuation: " text)
	if (tolower(text) ~ /(^|[^a-z])(failed to|unable|bad|illegal|please|sorry)([^a-z]|$)/)
		complain("weak word in message: " text)
	if (text ~ /\\n/)
		complain("message of several lines: " text)
}
function sentence(kind, text) {
	if (text == "" || text ~ /^%s$/)
		return
	if (text ~ /^[a-z]/)
		complain(kind " does not begin with a capital: " text)
	if (text !~ /[.?]("|\\")?$/)
		complain(kind " does not end with a period: " text)
}
function check(text,    rest) {
	if (text ~ /(ERROR|FATAL|PANIC)[ \t]*,/ && text !~ /errcode(_for_file_access|_for_socket_access)?[ \t]*\(/)
		complain("no errcode: " substr(text, 1, 90))
	if (text !~ /errmsg/)
		complain("no errmsg: " substr(text, 1, 90))
	rest = text
	while (match(rest, /(errmsg|errmsg_internal|errdetail|errdetail_internal|errdetail_log|errhint|errmsg_plural)[ \t]*\([ \t]*"/)) {
		call = substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH - 1)
		if (call ~ /^errmsg/)
			primary(strings(rest))
		else if (call ~ /^errdetail/)
			sentence("detail", strings(rest))
		else
			sentence("hint", strings(rest))
	}
}
FNR == 1 { inside = 0 }
!inside && /(^|[^a-zA-Z_])ereport[ \t]*\(/ && !/^[ \t]*\*/ && !/^#/ {
	inside = 1
	text = ""
	where = FILENAME ":" FNR
}
inside {
	line = $0
	sub(/^[ \t]+/, " ", line)
	text = text line
	if (line ~ /;[ \t]*(\\)?$/ || line ~ /;[ \t]*\/\*.*\*\/[ \t]*$/) {
		inside = 0
		check(text)
	}
}' $sources)
result 'messages follow the style' "$problems"

# elog is for what cannot happen, so it never speaks to a user politely
# shellcheck disable=SC2086
result 'no FATAL or PANIC through elog' "$(grep -n -E '(^|[^a-z])elog[[:space:]]*\([[:space:]]*(FATAL|PANIC)' $sources /dev/null)"
# shellcheck disable=SC2086
result 'nothing is printed past the log' "$(grep -n -E '(^|[^a-zA-Z_])(printf|fprintf|puts|perror|write_stderr)[[:space:]]*\(' $sources /dev/null)"

parts=$(find schema -name '*.sql' 2>/dev/null | LC_ALL=C sort)
if [ -n "$parts" ]; then
	# shellcheck disable=SC2086
	result 'RAISE EXCEPTION names its ERRCODE' "$(awk '
		FNR == 1 { inside = 0 }
		{ line = $0; sub(/--.*/, "", line) }
		!inside && toupper(line) ~ /RAISE[ \t]+EXCEPTION/ { inside = 1; text = ""; where = FILENAME ":" FNR }
		inside {
			text = text " " line
			if (line ~ /;[ \t]*$/) {
				inside = 0
				if (toupper(text) !~ /ERRCODE|SQLSTATE/)
					print where ": no ERRCODE:" text
			}
		}' $parts)"
fi

exit $status
