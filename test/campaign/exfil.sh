#!/bin/sh
# Exfiltration campaign: 10000 rows on every road of test/attack/exfil, and the
# guard's and the attackers' tests, many times over, so that races get their
# chance.  COURIER_PII_ROUNDS sets the number (10).  The short form is
# test/t/021_exfil.pl in "./dev check tap".
set -eu

rounds=${COURIER_PII_ROUNDS:-10}
pgxs=$("$BINDIR/pg_config" --pgxs)
source=${pgxs%/makefiles/pgxs.mk}
EXFIL_ROWS=${EXFIL_ROWS:-10000}
export EXFIL_ROWS
cd "$(dirname -- "$0")/../.."

round=1
while [ "$round" -le "$rounds" ]; do
	for test in 021_exfil 020_guard 060_attack; do
		rm -rf "${CAMPAIGN:?}/$test"
		mkdir -p "$CAMPAIGN/$test"
		printf 'round %d of %d: %s\n' "$round" "$rounds" "$test"
		env TESTDIR="$CAMPAIGN/$test" TESTDATADIR="$CAMPAIGN/$test/tmp_check" \
			TESTLOGDIR="$CAMPAIGN/$test/tmp_check/log" PGPORT=65432 \
			PG_REGRESS="$source/test/regress/pg_regress" \
			prove -I "$source/test/perl" -I test/lib "test/t/$test.pl"
	done
	round=$((round + 1))
done
