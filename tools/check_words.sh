#!/bin/sh
#
# check_words.sh: what no file of the repository may contain: leftovers of
# writing, paths of one developer's machine, secrets, broken line ends.
#
set -u
status=0

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /' | cut -c 1-200 | head -n 20
		status=1
	fi
}

# everything but what is built
files=$(find . \( -name .git -o -name tmp_check -o -name output_iso -o -name results \
	-o -name build -o -name node_modules -o -name .gitignore \) -prune -o -type f \
	! -name '*.o' ! -name '*.so' ! -name '*.bc' ! -name 'courier_pii--*.sql' -print |
	LC_ALL=C sort)
if [ -z "$files" ]; then
	echo "not ok - words"
	echo "#   no files found"
	exit 1
fi

# search OPTIONS PATTERN: in all files; the list is long but has no blanks
search() { printf '%s\n' "$files" | xargs grep -n -I "$@" /dev/null; }

result 'file names have no blanks' "$(printf '%s\n' "$files" | grep '[[:space:]]')"
result 'no unfinished notes' "$(search -w -E '(TO''DO|FIX''ME|X''XX|HA''CK)(\(|:|$| )')"
result 'no conflict marks' "$(search -E '^(<<<<<<<|>>>>>>>|\|\|\|\|\|\|\|) ')"
result 'no line ends of other systems' "$(search "$(printf '\r')\$" | grep -v '^\./test/' )"
result 'no blanks at line ends' "$(search -E '[	 ]+$' | grep -v -E '^\./([^:]*/)?expected/|^\./[^:]*\.(md|csv|txt|diff|patch):')"

# An absolute path may begin with a directory that every Linux system has.
result 'no paths of one machine' "$(search -o -E \
	'(^|[[:space:](=,:])["'\''`]?/[a-z][a-z0-9_.-]*/[a-zA-Z0-9_.-]{2,}' |
	grep -v -E '/(bin|dev|etc|lib|lib64|proc|run|sbin|srv|sys|usr|var|opt|mnt|path|backup|secure)/[^/]*$' |
	grep -v -E '/(bin|dev|etc|lib|lib64|proc|run|sbin|srv|sys|usr|var|opt|mnt|path|backup|secure)/')"
result 'no key material' "$(search -E -- '-----BEGIN [A-Z ]*PRIVATE KEY|(^|[^A-Za-z0-9])(ghp|npm)_[A-Za-z0-9]{30}')"

exit $status
