#!/bin/sh
# Tamper campaign: random changes of single bytes of the spool and of single
# records of the tables, one at a time, each undone before the next.  All must be
# found.  COURIER_PII_CHANGES sets their number (1000).
set -eu

pgxs=$("$BINDIR/pg_config" --pgxs)
source=${pgxs%/makefiles/pgxs.mk}
cd "$(dirname -- "$0")/../.."
COURIER_PII_CHANGES=${COURIER_PII_CHANGES:-1000}
export COURIER_PII_CHANGES
env TESTDIR="$CAMPAIGN" TESTDATADIR="$CAMPAIGN/tmp_check" \
	TESTLOGDIR="$CAMPAIGN/tmp_check/log" PGPORT=65432 \
	PG_REGRESS="$source/test/regress/pg_regress" \
	prove -v -I "$source/test/perl" -I test/lib test/t/036_audit_tamper.pl
