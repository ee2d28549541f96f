#!/bin/sh
#
# audit.sh: what the audit trail can take; sourced by run.sh, whose servers and
# functions it uses.
#
# One flush for many: eight clients whose every record is flushed, against one
# flush after the other on the same disk.  Then records of a month are made as
# segments of the spool, and ingested, verified and asked.
# BENCH_RECORDS sets their number.  At last rows of two years are put into the
# table directly, and a person's month is asked for: BENCH_TRAIL sets their
# number (20 000 000 for the full measurement: 13 GB, some ten minutes).
# shellcheck shell=sh disable=SC2154,SC2086

audit_records=${BENCH_RECORDS:-400000}
trail_rows=${BENCH_TRAIL:-2000000}

say ''
say '==> the audit trail'

# ---- group flush ----
sql 6001 -c "ALTER SYSTEM SET courier_pii.audit_sync = 'all'" -c 'ALTER SYSTEM SET fsync = on' -c 'SELECT pg_reload_conf()' >/dev/null
head -c 16777216 /dev/zero >"$BENCH/zeros"
sync "$BENCH/zeros"
single=$(perl -MTime::HiRes=time -MIO::Handle -e '
	open my $f, "+<", $ARGV[0] or die; my ($n, $end) = (0, time + 3);
	my $record = "x" x 400;
	while (time < $end) { sysseek $f, $n * 400, 0; syswrite $f, $record; syscall(75, fileno $f); $n++ }
	printf "%d", $n / 3' "$BENCH/zeros" 2>/dev/null || echo 0)
group=$(one point_masked 6001 reader 8 -T 3 -M prepared)
sql 6001 -c 'ALTER SYSTEM RESET courier_pii.audit_sync' -c 'ALTER SYSTEM RESET fsync' -c 'SELECT pg_reload_conf()' >/dev/null
say "every record flushed, 8 clients: ${group%.*} a second; one flush after the other: $single a second ($(awk -v a="$group" -v b="$single" 'BEGIN { printf "%.1f", b ? a / b : 0 }') times; aim 3)"

# ---- ingest, verification, a person's month ----
from=$(sql 6001 -c 'SELECT ingested_seq FROM courier_pii.audit_state()')
node=$(sql 6001 -c 'SELECT node FROM courier_pii.audit_state()')
segment=$(sql 6001 -c 'SELECT segment FROM courier_pii.audit_state()')
pg_ctl -D "$BENCH/ours" -m fast -w stop >/dev/null
perl -I "$(dirname "$0")/../lib" -MCourierPiiSpool -e '
	my ($directory, $node, $number, $seq, $total) = @ARGV;
	my $end = $seq + $total;
	my $first = (time - 25 * 86400) * 1_000_000;
	my $step = 20 * 86400 * 1_000_000 / $total;
	while ($seq < $end) {
		$number++;
		my $file = sprintf("%s/segment-%012d", $directory, $number);
		my $begin = $seq;
		$seq = CourierPiiSpool::write_segment($file, number => $number, first_seq => $seq, node => $node, count => $end - $seq,
			record => sub { my $n = $_[0]; my $p = $n * 7919 % 20000;
				my $detail = sprintf(q({"shown": ["%016x", "%016x"], "gates_not_passed": ["training"]}), $n * 2654435761 % 1000003, $n * 40503 % 999983);
				return (at => int($first + $n * $step), staff_no => "K$p", role => "courier_$p", detail => $detail) });
	}' "$BENCH/audit" "$node" "$segment" "$((from + 1))" "$audit_records"
pg_ctl -D "$BENCH/ours" -l "$BENCH/ours.log" -w -t 120 start </dev/null >/dev/null
at=$(date +%s%3N)
sql 6001 -c "SELECT courier_pii.audit_flush('3000 s')" >/dev/null
ingest=$((audit_records * 1000 / ($(date +%s%3N) - at)))
say "ingest of $audit_records records: $ingest a second (aim 20000)"
sql 6001 -c 'CREATE ROLE bench_auditor LOGIN' -c 'GRANT pii_auditor TO bench_auditor' >/dev/null
at=$(date +%s%3N)
found=$(psql -X -q -A -t -h "$BENCH/socket" -p 6001 -U bench_auditor -d bench -c 'SELECT * FROM courier_pii.audit_verify()')
took=$(($(date +%s%3N) - at))
# the measurements before have left records of their own, which are verified, too
all=$(psql -X -q -A -t -h "$BENCH/socket" -p 6001 -U bench_auditor -d bench -c 'SELECT count(*) FROM courier_pii.audit_log')
say "audit_verify(): $((all * 1000 / took)) records a second (aim 200000), problems: ${found:-none}"
sql 6001 -c 'VACUUM ANALYZE courier_pii.audit_record' >/dev/null 2>&1 || :

# ---- a person's month in a long trail ----
# The rows go straight into partitions, so the library must not be there.
pg_ctl -D "$BENCH/ours" -l "$BENCH/ours.log" -m fast -w -t 120 \
	-o "-c shared_preload_libraries= -c wal_level=minimal -c max_wal_senders=0" restart </dev/null >/dev/null
sql 6001 -v rows="$trail_rows" -v months=24 -f "$(dirname "$0")/trail.sql" >/dev/null
pg_ctl -D "$BENCH/ours" -m fast -w -t 120 stop >/dev/null
pg_ctl -D "$BENCH/ours" -l "$BENCH/ours.log" -w -t 120 start </dev/null >/dev/null
# five persons in sessions of their own, nothing planned or cached: the median
month=$(for person in K77 K4711 K9 K19999 K500; do
	psql -X -q -A -t -h "$BENCH/socket" -p 6001 -U bench_auditor -d bench <<SQL | sed -n 's/^Time: \([0-9.]*\).*/\1/p'
\timing on
SELECT count(*), sum(disclosed) FROM courier_pii.audit_timeline('$person', date_trunc('month', now()) - interval '3 months', date_trunc('month', now()) - interval '2 months');
SQL
done | sort -g | sed -n 3p)
say "one person's month of $trail_rows records in 24 months (audit_timeline, new session): $month ms (aim 50)"
