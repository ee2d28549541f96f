#!/bin/sh
# Login campaign: 10 000 logins, mixed over allowed, departed, suspended, locked
# and unknown roles, with right and wrong passwords; each decision is compared
# with a model.  COURIER_PII_LOGINS sets the number, a multiple of four.
set -eu

pgxs=$("$BINDIR/pg_config" --pgxs)
source=${pgxs%/makefiles/pgxs.mk}
cd "$(dirname -- "$0")/../.."

env COURIER_PII_LOGINS="${COURIER_PII_LOGINS:-10000}" \
	TESTDIR="$CAMPAIGN" TESTDATADIR="$CAMPAIGN/tmp_check" \
	TESTLOGDIR="$CAMPAIGN/tmp_check/log" PGPORT=65432 \
	PG_REGRESS="$source/test/regress/pg_regress" \
	prove -v -I "$source/test/perl" -I test/lib test/t/045_login_load.pl
