#!/bin/sh
#
# check_shell.sh: shell and Perl programs parse; shellcheck is used when there.
#
set -u
status=0

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /' | head -n 40
		status=1
	fi
}

scripts=$({ find . \( -name .git -o -name node_modules -o -name tmp_check \) -prune -o -name '*.sh' -print
	echo ./dev; } | LC_ALL=C sort)

result 'shell scripts parse' "$(for file in $scripts; do sh -n "$file" 2>&1; done)"
result '.ci/run parses' "$(bash -n .ci/run 2>&1)"
if command -v shellcheck >/dev/null 2>&1; then
	# shellcheck disable=SC2086
	result 'shellcheck has nothing to say' "$(shellcheck -S warning -s sh $scripts 2>&1
		shellcheck -S warning .ci/run 2>&1)"
fi
result 'Perl programs parse' "$(find tools -name '*.pl' | while read -r file; do
	perl -c "$file" 2>&1 | grep -v 'syntax OK$'
done)"

exit $status
