#!/bin/sh
#
# check_size.sh: a source file stays short enough to be read at one sitting.
#
set -u
limit=700

problems=$(find src -name '*.c' | LC_ALL=C sort | while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le $limit ] || echo "#   $file has $lines lines (at most $limit)"
done)

if [ -z "$problems" ]; then
	echo "ok - source files have at most $limit lines"
else
	echo "not ok - source files have at most $limit lines"
	echo "$problems"
	exit 1
fi
