#!/bin/sh
# Attack campaign: every attack of test/attack/attacks.sql, as every role, over
# every protocol (check tries each attack and role over one protocol, in turn).
# COURIER_PII_ATTACK, a pattern, picks attacks by name.
set -eu

pgxs=$("$BINDIR/pg_config" --pgxs)
source=${pgxs%/makefiles/pgxs.mk}
cd "$(dirname -- "$0")/../.."
COURIER_PII_ATTACKS=full
export COURIER_PII_ATTACKS
env TESTDIR="$CAMPAIGN" TESTDATADIR="$CAMPAIGN/tmp_check" \
	TESTLOGDIR="$CAMPAIGN/tmp_check/log" PGPORT=65432 \
	PG_REGRESS="$source/test/regress/pg_regress" \
	prove -v -I "$source/test/perl" -I test/lib test/t/060_attack.pl
