#!/bin/sh
#
# fuzz.sh [RUNS]: the fuzz targets of the pure rooms, 10 000 000 executions
# each unless told otherwise.  Needs clang with its libFuzzer.
#
# Environment (set by ./dev): CAMPAIGN, an empty directory.  A finding ends
# with status 1; its input is left in that directory.
set -eu
command -v clang >/dev/null || {
	echo 'fuzz.sh: clang is missing; on Debian: apt-get install clang' >&2
	exit 1
}
exec make -C "${0%/*}/../fuzz" count RUNS="${1:-10000000}" BUILD="$CAMPAIGN/fuzz"
