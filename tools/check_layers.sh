#!/bin/sh
#
# check_layers.sh: includes point downwards only, pure files stay pure, and
# only the rooms that may do so install hooks of the server.
#
# Levels: courier_pii.c > guard > people > policy > audit > sealed > mask >
# crypto > base.  (The types ask the masks whether an input looks masked, and
# the guard asks the roster.)  Run from the repository root.
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

sources=$(find src -name '*.[ch]' | LC_ALL=C sort)
if [ -z "$sources" ]; then
	echo "not ok - layers"
	echo "#   src has no sources"
	exit 1
fi

# file names have no blanks
# shellcheck disable=SC2086
result 'includes point downwards' "$(awk '
BEGIN {
	split("base crypto sealed mask audit policy people guard main", names)
	split("0 1 3 2 4 5 6 7 8", levels)
	for (i in names)
		level[names[i]] = levels[i]
}
function room(path,    part, n) {
	n = split(path, part, "/")
	return n == 1 ? "main" : part[1]
}
FNR == 1 {
	mine = room(substr(FILENAME, 5))
	if (!(mine in level))
		print FILENAME ": \"" mine "\" is no room"
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, part, "\"")
	path = part[2]
	if ((getline line < ("src/" path)) < 0) {
		# a header of the server; a name without a room must not be ours
		n = split(FILENAME, own, "/")
		dir = substr(FILENAME, 1, length(FILENAME) - length(own[n]))
		if ((getline line < (dir path)) >= 0) {
			print FILENAME ":" FNR ": \"" path "\" must be named with its room"
			close(dir path)
		}
		next
	}
	close("src/" path)
	theirs = room(path)
	if (theirs == mine)
		next
	if (level[theirs] >= level[mine])
		print FILENAME ":" FNR ": " mine " includes " theirs " (" path ")"
}' $sources)"

# Pure files compile outside the server: only headers of other pure files, of
# the C library and (the cipher) of OpenSSL.
pure=
for pattern in 'src/mask/*.[ch]' 'src/sealed/envelope.[ch]' \
	'src/sealed/normalise.[ch]' 'src/crypto/cipher.[ch]' 'src/crypto/mac.[ch]' 'src/crypto/signature.[ch]' \
	'src/policy/matrix.[ch]' 'src/policy/condition.[ch]' 'src/policy/suspect_text.[ch]' \
	'src/crypto/gcm.[ch]' 'src/crypto/nonce.[ch]' 'src/crypto/shamir.[ch]' \
	'src/crypto/wrap.[ch]' 'src/crypto/secret_file.[ch]' \
	'src/audit/redact.[ch]' 'src/people/password_rule.[ch]' 'src/base/secret.[ch]' 'src/base/words.h' 'src/base/hex.[ch]' 'src/base/classes.h'; do
	for file in $pattern; do
		[ ! -f "$file" ] || pure="$pure $file"
	done
done
# shellcheck disable=SC2086
result 'pure files stay pure' "$(awk -v pure="$pure" '
BEGIN {
	n = split(pure, files, " ")
	for (i = 1; i <= n; i++)
		allowed[substr(files[i], 5)] = 1
	n = split("assert ctype errno inttypes limits pthread stdbool stddef stdint stdio stdlib string strings time unistd sys/types", libc, " ")
	for (i = 1; i <= n; i++)
		standard[libc[i] ".h"] = 1
}
FNR == 1 { comment = 0 }
/^[ \t]*#[ \t]*include/ {
	if (match($0, /"[^"]*"/)) {
		path = substr($0, RSTART + 1, RLENGTH - 2)
		if (!(path in allowed))
			print FILENAME ":" FNR ": includes \"" path "\", which is not pure"
	} else if (match($0, /<[^>]*>/)) {
		path = substr($0, RSTART + 1, RLENGTH - 2)
		if (!(path in standard) && !(path ~ /^openssl\// && FILENAME ~ /\/(crypto|base)\//))
			print FILENAME ":" FNR ": includes <" path ">"
	}
	next
}
{
	line = $0
	while (match(line, /\/\*[^*]*\*\//))
		line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
	if (line ~ /\/\*/)
		comment = 1
	if (!comment && line ~ /(^|[^a-zA-Z0-9_])(palloc0?|repalloc|pfree|pstrdup|psprintf|ereport|elog|StringInfo|CurrentMemoryContext)[ \t]*[(;,]/)
		print FILENAME ":" FNR ": uses the backend: " line
	if (line ~ /\*\//)
		comment = 0
}' $pure </dev/null)"

# shellcheck disable=SC2046
result 'no header includes postgres.h' "$(grep -n -E '^ *# *include "(postgres|postgres_fe|c)\.h"' \
	$(echo "$sources" | grep '\.h$') /dev/null)"

# every source that is not pure begins with postgres.h
problems=
for file in $(echo "$sources" | grep '\.c$'); do
	case " $pure " in *" $file "*) continue ;; esac
	first=$(grep -m 1 -E '^ *# *include' "$file")
	[ "$first" = '#include "postgres.h"' ] ||
		problems="$problems$file: the first include is not postgres.h
"
done
result 'sources begin with postgres.h' "${problems%?}"

# core hooks: the guard and the people room, and base/shmem.c for the memory
# shellcheck disable=SC2046
result 'hooks are installed by their rooms only' "$(grep -n -E \
	'^[[:space:]]*([A-Za-z]+_hook|object_access_hook|emit_log_hook)[[:space:]]*=[^=]' \
	$(echo "$sources" | grep '\.c$' | grep -v -E '^src/(guard|people)/|^src/base/shmem\.c') /dev/null |
	grep -v -E ':[[:space:]]*(prev|next|saved)_')"

exit $status
