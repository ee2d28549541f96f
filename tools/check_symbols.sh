#!/bin/sh
#
# check_symbols.sh: what the built library shows to the server is ours by name.
#
# The server may resolve SQL-callable functions (cpii_*), their info records,
# _PG_init and the magic block; everything else is hidden.  Names shared
# between our own files carry the prefix too, so that a later minor release of
# the server cannot collide with them.
#
set -u
status=0
library=courier_pii.so

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /'
		status=1
	fi
}

# in a tree that was not built yet
[ -f "$library" ] || make -s -j2 with_llvm=no >/dev/null 2>&1

if [ ! -f "$library" ]; then
	echo "not ok - exported symbols"
	echo "#   $library is missing, and make does not build it"
	exit 1
fi

exported=$(nm -D --defined-only "$library" | awk '{ print $NF }')
result 'exported symbols are ours' "$(printf '%s\n' "$exported" |
	grep -v -x -E 'cpii_[a-z0-9_]+|_PG_init|Pg_magic_func|pg_finfo_cpii_[a-z0-9_]+|_init|_fini|_edata|_end|__bss_start')"

# what is exported is there to be called by SQL and has an info record; the
# postmaster finds the entry point of a background worker by its name alone
result 'exported functions are callable from SQL' "$(printf '%s\n' "$exported" |
	grep '^cpii_' | grep -v -x -E 'cpii_[a-z_]*(worker|agent)_main' | while read -r name; do
		printf '%s\n' "$exported" | grep -q -x "pg_finfo_$name" || echo "$name has no info record"
	done)"
result 'info records have their function' "$(printf '%s\n' "$exported" |
	grep '^pg_finfo_' | while read -r name; do
		printf '%s\n' "$exported" | grep -q -x "${name#pg_finfo_}" || echo "${name#pg_finfo_} is not exported"
	done)"

objects=$(find src -name '*.o' | LC_ALL=C sort)
if [ -n "$objects" ]; then
	# shellcheck disable=SC2086
	result 'names shared between files have the prefix' "$(nm -A -g --defined-only $objects |
		awk '{ print $1 " " $NF }' |
		grep -v -E ' (cpii_[A-Za-z0-9_]+|_PG_init|Pg_magic_func|pg_finfo_cpii_[a-z0-9_]+)$')"
fi

# every function that the install script names in the library is there
script=$(find . -maxdepth 1 -name 'courier_pii--*.sql' | head -n 1)
if [ -n "$script" ]; then
	result 'the library has what the install script names' "$(perl tools/split_sql.pl "$script" |
		sed -n "s/.* AS '\(MODULE_PATHNAME\|\$libdir\/courier_pii\)', *'\([A-Za-z0-9_]*\)'.*/\2/p" |
		LC_ALL=C sort -u | while read -r name; do
			printf '%s\n' "$exported" | grep -q -x "$name" || echo "$name is missing in $library"
		done)"
fi

exit $status
