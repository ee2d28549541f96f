#!/bin/sh
# Departure campaign: 500 sessions of 100 people, pgbench beside them, the
# worker stopped: none slips, 99 of 100 sessions end within 100 ms of COMMIT,
# on a standby within two seconds.  COURIER_PII_PEOPLE sets the number (100).
set -eu

pgxs=$("$BINDIR/pg_config" --pgxs)
source=${pgxs%/makefiles/pgxs.mk}
cd "$(dirname -- "$0")/../.."

env COURIER_PII_CAMPAIGN=1 COURIER_PII_PEOPLE="${COURIER_PII_PEOPLE:-100}" \
	TESTDIR="$CAMPAIGN" TESTDATADIR="$CAMPAIGN/tmp_check" \
	TESTLOGDIR="$CAMPAIGN/tmp_check/log" PGPORT=65432 \
	PG_REGRESS="$source/test/regress/pg_regress" \
	prove -v -I "$source/test/perl" -I test/lib test/t/044_departure_load.pl
