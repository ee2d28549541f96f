#!/bin/sh
# Versions campaign: builds for every PostgreSQL from 15 on whose server and
# development packages this machine has, runs the quick tests on each, what newer
# servers can do, and pg_upgrade from each to every newer one.  It installs
# no packages and writes below its own directory only.
set -eu

cd "$(dirname -- "$0")/../.."
root=$(pwd -P)
COURIER_PII_DESTDIR=$CAMPAIGN/installed
export COURIER_PII_DESTDIR
majors=
status=0

for major in 15 16 17 18; do
	pg_config=/usr/lib/postgresql/$major/bin/pg_config
	if [ -x "/usr/lib/postgresql/$major/bin/postgres" ] && [ -x "$pg_config" ] &&
		[ -f "$("$pg_config" --pgxs)" ] && [ -f "$("$pg_config" --includedir-server)/postgres.h" ]; then
		majors="$majors $major"
	else
		echo "PostgreSQL $major: not here, or without its development files"
	fi
done

for major in $majors; do
	echo "== $("/usr/lib/postgresql/$major/bin/pg_config" --version)"
	COURIER_PII_SCRATCH=$CAMPAIGN/$major COURIER_PII_PG_MAJOR=$major \
		sh "$root/dev" check build unit regress isolation || status=1
done

# the tests find the other servers' libraries in the one place
for major in $majors; do
	bindir=/usr/lib/postgresql/$major/bin
	pgxs=$("$bindir/pg_config" --pgxs)
	source=${pgxs%/makefiles/pgxs.mk}
	for test in 015_newer_servers 016_upgrade; do
		echo "== $test from PostgreSQL $major"
		rm -rf "$CAMPAIGN/tap"
		mkdir "$CAMPAIGN/tap"
		env PATH="$bindir:$PATH" TESTDIR="$CAMPAIGN/tap" TESTDATADIR="$CAMPAIGN/tap/tmp_check" \
			TESTLOGDIR="$CAMPAIGN/tap/tmp_check/log" PGPORT=65432 \
			PG_REGRESS="$source/test/regress/pg_regress" \
			prove -I "$source/test/perl" -I test/lib "test/t/$test.pl" || status=1
	done
done
exit $status
