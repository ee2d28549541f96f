#!/bin/sh
#
# run.sh: measures what protection costs; prints one table of ratios.
#
# Every line compares two things side by side: they run by turns in this one
# run, the ratio is the median of the ratios of the pairs.  A ratio is speed
# against the other side: 1 is equal, 0.5 is half as fast.
#
# Environment (set by ./dev): BENCH, an empty directory; BINDIR, the server's
# programs; COURIER_PII_DESTDIR where the library is not in the system's place.
# BENCH_SHORT=1 makes it about a minute, without the 2 000 000 rows.
# BENCH_ONLY=PATTERN runs only the lines whose name matches.
# Quotes inside here-documents and lists of options are meant:
# shellcheck disable=SC2016,SC2086
set -eu

PATH=$BINDIR:$PATH
export PATH
LC_ALL=C.UTF-8
export LC_ALL
unset PGUSER PGDATABASE PGOPTIONS PGSERVICE 2>/dev/null || :

short=${BENCH_SHORT:-0}
only=${BENCH_ONLY:-*}
if [ "$short" = 1 ]; then
	seconds=1 rounds=3
else
	seconds=2 rounds=5
fi
many=2000000
key=00112233445566778899aabbccddeeff
script=$BENCH/script
mkdir -p "$script"

say() { printf '%s\n' "$*"; }
fail() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 1
}

# ---- servers: ours with the library, plain without, pgaudit -------------------

# server NAME PORT: a cluster; settings on standard input
server() {
	initdb -D "$BENCH/$1" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
		--no-sync >"$BENCH/$1.log" 2>&1 || fail "initdb: $(tail -n 3 "$BENCH/$1.log")"
	{
		echo "port = $2"
		echo "unix_socket_directories = '$BENCH/socket'"
		echo "listen_addresses = ''"
		echo 'shared_buffers = 512MB'
		echo 'max_wal_size = 4GB'
		echo 'fsync = off'
		echo 'autovacuum = off'
		echo 'jit = off'
		echo 'max_parallel_workers_per_gather = 0'
		echo 'log_checkpoints = off'
		cat
	} >>"$BENCH/$1/postgresql.conf"
	pg_ctl -D "$BENCH/$1" -l "$BENCH/$1.log" -w -t 60 start </dev/null >/dev/null ||
		fail "$(tail -n 5 "$BENCH/$1.log")"
	psql -X -q -h "$BENCH/socket" -p "$2" -U postgres -d postgres \
		-c 'CREATE DATABASE bench' </dev/null
}

stop_all() {
	for one in ours plain pgaudit; do
		[ ! -f "$BENCH/$one/postmaster.pid" ] ||
			pg_ctl -D "$BENCH/$one" -m immediate stop >/dev/null 2>&1 || :
	done
}
trap stop_all EXIT
trap 'exit 1' HUP INT TERM

sql() {
	port=$1
	shift
	psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$BENCH/socket" -p "$port" \
		-U postgres -d bench "$@"
}

mkdir -p "$BENCH/socket" "$BENCH/key/store" "$BENCH/audit"
chmod 700 "$BENCH/key" "$BENCH/key/store" "$BENCH/audit"
(umask 077 && head -c 32 /dev/urandom >"$BENCH/key/master.key")
say '==> making servers and data'
server ours 6001 <<CONF
shared_preload_libraries = 'courier_pii'
courier_pii.database = 'bench'
courier_pii.key_file = '$BENCH/key/master.key'
courier_pii.key_store = '$BENCH/key/store'
courier_pii.audit_directory = '$BENCH/audit'
courier_pii.default_probe_limit_hour = -1
courier_pii.default_probe_limit_day = -1
courier_pii.default_masked_limit_hour = -1
courier_pii.default_masked_limit_day = -1
courier_pii.default_sealed_limit_hour = -1
courier_pii.default_sealed_limit_day = -1
${COURIER_PII_DESTDIR:+extension_destdir = '$COURIER_PII_DESTDIR'}
${COURIER_PII_DESTDIR:+dynamic_library_path = '$COURIER_PII_DESTDIR$(pg_config --pkglibdir):\$libdir'}
CONF
server plain 6002 </dev/null
with_pgaudit=no
if [ -f "$(pg_config --pkglibdir)/pgaudit.so" ]; then
	with_pgaudit=yes
	server pgaudit 6003 <<CONF
shared_preload_libraries = 'pgaudit'
pgaudit.log = 'read'
CONF
fi

# the same plain table everywhere: 200 000 rows, a phone, a name, an address
cat >"$BENCH/table.sql" <<'SQL'
CREATE ROLE reader LOGIN;
CREATE SCHEMA plain;
CREATE TABLE plain.parcel AS
	SELECT i AS id, (13800000000 + i)::text AS phone,
		   '王小' || chr(20000 + i % 5000) AS name,
		   '广东省深圳市南山区科技路' || i || '号3栋502' AS addr,
		   now() - i * interval '1 s' AS at
	FROM generate_series(1, 200000) AS i;
ALTER TABLE plain.parcel ADD PRIMARY KEY (id);
CREATE INDEX ON plain.parcel (phone);
GRANT USAGE ON SCHEMA plain TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA plain TO reader;
SQL
for port in 6001 6002 $([ $with_pgaudit = no ] || echo 6003); do
	sql "$port" -f "$BENCH/table.sql"
	sql "$port" -c 'VACUUM ANALYZE plain.parcel'
done
pgbench -i -q -s 5 -h "$BENCH/socket" -p 6001 -U postgres bench >/dev/null 2>&1
pgbench -i -q -s 5 -h "$BENCH/socket" -p 6002 -U postgres bench >/dev/null 2>&1

sql 6001 <<SQL >/dev/null
SET client_min_messages = warning;
CREATE EXTENSION courier_pii CASCADE;
CREATE SCHEMA kept;
CREATE TABLE kept.parcel AS SELECT * FROM plain.parcel;
ALTER TABLE kept.parcel ADD PRIMARY KEY (id);
CREATE INDEX ON kept.parcel (phone);
SELECT courier_pii.protect_column('kept.parcel', 'phone', 'phone'),
	   courier_pii.protect_column('kept.parcel', 'name', 'person_name'),
	   courier_pii.protect_column('kept.parcel', 'addr', 'address');
SELECT courier_pii.create_masked_view('kept.parcel');
GRANT USAGE ON SCHEMA kept, masked TO reader;
GRANT SELECT ON kept.parcel, masked.parcel TO reader;
SELECT courier_pii.grant_disclosure('reader', c, 'clear', true)
	FROM unnest('{phone,person_name,address}'::text[]) AS c;
SELECT courier_pii.set_limit('reader', NULL, NULL, NULL);
SELECT courier_pii.set_budget('reader', 'probes', NULL, NULL, NULL);
CREATE ROLE outsider LOGIN;
GRANT USAGE ON SCHEMA masked TO outsider;
GRANT SELECT ON masked.parcel TO outsider;
CREATE TABLE plain.encrypted AS
	SELECT id, encrypt(phone::bytea, '\\x$key', 'aes') AS phone FROM plain.parcel;
CREATE TABLE plain.pgp AS
	SELECT id, pgp_sym_encrypt(phone, '$key') AS phone
	FROM plain.parcel WHERE id <= 1000;
GRANT SELECT ON ALL TABLES IN SCHEMA plain TO reader;
VACUUM ANALYZE kept.parcel;
VACUUM ANALYZE plain.encrypted;
VACUUM ANALYZE plain.pgp;
SQL
if [ "$short" != 1 ]; then
	sql 6001 <<SQL >/dev/null
SET client_min_messages = warning;
CREATE TABLE plain.big AS SELECT i AS id, (13800000000 + i)::text AS phone
	FROM generate_series(1, $many) AS i;
CREATE TABLE kept.big AS SELECT * FROM plain.big;
CREATE INDEX ON plain.big (phone);
CREATE INDEX ON kept.big (phone);
SELECT courier_pii.protect_column('kept.big', 'phone', 'phone');
SELECT courier_pii.create_masked_view('kept.big');
GRANT SELECT ON plain.big, kept.big, masked.big TO reader;
VACUUM ANALYZE plain.big;
VACUUM ANALYZE kept.big;
SQL
fi

# ---- measuring ---------------------------------------------------------------

# one SCRIPT PORT USER CLIENTS OPTIONS: transactions a second
one() {
	file=$1 port=$2 user=$3 clients=$4
	shift 4
	pgbench -n -h "$BENCH/socket" -p "$port" -U "$user" -c "$clients" \
		-j "$clients" -f "$script/$file" "$@" bench >"$BENCH/pgbench.out" 2>&1 ||
		fail "$file: $(tail -n 3 "$BENCH/pgbench.out")"
	sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$BENCH/pgbench.out"
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# milliseconds of one transaction of one client
latency() { awk -v tps="$1" -v n="$2" 'BEGIN { printf "%.3f", 1000 * n / tps }'; }

missed=0

# pair NAME AIM CLIENTS "SCRIPT PORT USER" "SCRIPT PORT USER" OPTIONS
pair() {
	label=$1 aim=$2 clients=$3 first=$4 second=$5
	shift 5
	# a shell pattern
	# shellcheck disable=SC2254
	case $label in $only) ;; *) return 0 ;; esac
	: >"$BENCH/first" && : >"$BENCH/second" && : >"$BENCH/ratio"
	# three words each
	# shellcheck disable=SC2086
	{
		one $first "$clients" "$@" >/dev/null
		one $second "$clients" "$@" >/dev/null
		round=0
		while [ $round -lt $rounds ]; do
			if [ $((round % 2)) = 0 ]; then
				a=$(one $first "$clients" "$@")
				b=$(one $second "$clients" "$@")
			else
				b=$(one $second "$clients" "$@")
				a=$(one $first "$clients" "$@")
			fi
			echo "$a" >>"$BENCH/first"
			echo "$b" >>"$BENCH/second"
			awk -v a="$a" -v b="$b" 'BEGIN { print a / b }' >>"$BENCH/ratio"
			round=$((round + 1))
		done
	}
	ratio=$(median <"$BENCH/ratio")
	verdict=
	if [ "$aim" != - ]; then
		if awk -v r="$ratio" -v a="$aim" 'BEGIN { exit !(r >= a) }'; then
			verdict=met
		else
			verdict=missed
			missed=$((missed + 1))
		fi
	fi
	printf '%-52s %11s %11s %7.3f %6s %s\n' "$label" \
		"$(latency "$(median <"$BENCH/first")" "$clients")" \
		"$(latency "$(median <"$BENCH/second")" "$clients")" \
		"$ratio" "$aim" "$verdict"
}

write() { cat >"$script/$1"; }

echo 'SELECT count(length(phone)) FROM plain.parcel;' | write bulk_plain
echo 'SELECT count(length(phone)) FROM masked.parcel;' | write bulk_view
echo 'SELECT count(length(courier_pii.show(phone))) FROM kept.parcel;' | write bulk_show
echo "SELECT count(length(convert_from(decrypt(phone, '\\x$key', 'aes'), 'UTF8'))) FROM plain.encrypted;" | write bulk_decrypt
echo "SELECT count(length(pgp_sym_decrypt(phone, '$key'))) FROM plain.pgp;" | write bulk_pgp
echo 'SELECT count(length(courier_pii.show(phone))) FROM kept.parcel WHERE id <= 1000;' | write thousand_show
echo 'SELECT phone FROM plain.parcel;' | write rows_plain
echo 'SELECT phone FROM masked.parcel;' | write rows_view
for size in parcel big; do
	rows=200000
	[ $size = parcel ] || rows=$many
	for schema in plain kept masked; do
		printf '\\set p 13800000000 + random(1, %s)\nSELECT id FROM %s.%s WHERE phone = :p;\n' \
			$rows $schema $size | write find_${schema}_$size
		printf "\\\\set p 13800000000 + random(1, %s)\nSELECT id FROM %s.%s WHERE phone = ':p';\n" \
			$rows $schema $size | write literal_${schema}_$size
	done
done
for schema in plain masked; do
	printf '\\set i random(1, 199900)\nSELECT id, phone, name, addr FROM %s.parcel WHERE id BETWEEN :i AND :i + 99;\n' \
		$schema | write list_$schema
	printf '\\set i random(1, 200000)\nSELECT id, phone, name, addr FROM %s.parcel WHERE id = :i;\n' \
		$schema | write point_$schema
	printf '\\set i random(1, 200000)\nSELECT id, at FROM %s.parcel WHERE id = :i;\n' \
		$schema | write record_$schema
done
cat >"$script/pgbench_s" <<'SQL'
\set aid random(1, 500000)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
SQL

began=$(date +%s)
say ''
printf '%-52s %11s %11s %7s %6s\n' 'measure (ours against ...)' 'ours ms' 'other ms' 'ratio' 'aim'
bulk="-t $([ "$short" = 1 ] && echo 1 || echo 3)"
timed="-T $seconds"
# shellcheck disable=SC2086
{
	pair '200 000 values: show() | plain column' - 1 'bulk_show 6001 reader' 'bulk_plain 6001 reader' $bulk
	pair '200 000 values: view, clear | plain column' - 1 'bulk_view 6001 reader' 'bulk_plain 6001 reader' $bulk
	pair '200 000 values: view, masked | plain column' - 1 'bulk_view 6001 outsider' 'bulk_plain 6001 reader' $bulk
	pair '200 000 rows to the client: view | plain' - 1 'rows_view 6001 reader' 'rows_plain 6001 reader' $bulk
	pair '200 000 values: show() | pgcrypto decrypt' - 1 'bulk_show 6001 reader' 'bulk_decrypt 6001 reader' $bulk
	pair '1 000 values: show() | pgp_sym_decrypt' - 1 'thousand_show 6001 reader' 'bulk_pgp 6001 reader' $bulk
	pair 'find, 200 000 rows: sealed index | plain' 0.5 1 'find_kept_parcel 6001 reader' 'find_plain_parcel 6001 reader' $timed -M prepared
	pair 'find, 200 000 rows: view | plain' 0.5 1 'find_masked_parcel 6001 reader' 'find_plain_parcel 6001 reader' $timed -M prepared
	pair 'find, 200 000 rows, literal: view | plain' 0.5 1 'literal_masked_parcel 6001 reader' 'literal_plain_parcel 6001 reader' $timed
	pair 'list of 100 rows, 300 values: view | plain' - 1 'list_masked 6001 reader' 'list_plain 6001 reader' $timed -M prepared
	pair 'list of 100 rows, masked: view | plain' - 1 'list_masked 6001 outsider' 'list_plain 6001 reader' $timed -M prepared
	. "${0%/*}/masks.sh"
	pair 'point read, 1 client: audited | not audited' 0.8 1 'point_masked 6001 reader' 'point_plain 6001 reader' $timed -M prepared
	pair 'point read, 2 clients: audited | not audited' 0.8 2 'point_masked 6001 reader' 'point_plain 6001 reader' $timed -M prepared
	pair 'point read, 8 clients: audited | not audited' 0.8 8 'point_masked 6001 reader' 'point_plain 6001 reader' $timed -M prepared
	# no sealed column: the same work on both sides, but for the record
	pair 'point read, 1 client: the record alone | none' 0.8 1 'record_masked 6001 reader' 'record_plain 6001 reader' $timed -M prepared
	pair 'point read, 2 clients: the record alone | none' 0.8 2 'record_masked 6001 reader' 'record_plain 6001 reader' $timed -M prepared
	pair 'point read, 8 clients: the record alone | none' 0.8 8 'record_masked 6001 reader' 'record_plain 6001 reader' $timed -M prepared
	pair 'point read, planned each time: audited | not' 0.7 1 'point_masked 6001 reader' 'point_plain 6001 reader' $timed
	pair 'point read, 1 client: audited | no library' 0.7 1 'point_masked 6001 reader' 'point_plain 6002 reader' $timed -M prepared
	if [ $with_pgaudit = yes ]; then
		pair 'point read, 1 client: audited | pgaudit' - 1 'point_masked 6001 reader' 'point_plain 6003 reader' $timed -M prepared
		pair 'point read, 2 clients: audited | pgaudit' - 2 'point_masked 6001 reader' 'point_plain 6003 reader' $timed -M prepared
		pair 'point read, 8 clients: audited | pgaudit' - 8 'point_masked 6001 reader' 'point_plain 6003 reader' $timed -M prepared
		pair 'point read, 1 client: pgaudit | no audit' - 1 'point_plain 6003 reader' 'point_plain 6002 reader' $timed -M prepared
	fi
	. "$(dirname "$0")/views.sh"
	. "$(dirname "$0")/people.sh"
	rounds=$((rounds * 2 + 1))
	pair 'pgbench -S, 1 client: loaded, unused | without' 0.97 1 'pgbench_s 6001 postgres' 'pgbench_s 6002 postgres' $timed
	pair 'pgbench -S, 1 client, prepared: loaded | without' 0.97 1 'pgbench_s 6001 postgres' 'pgbench_s 6002 postgres' $timed -M prepared
}
# shellcheck source=test/bench/encryption.sh
. "${0%/*}/encryption.sh"

# ---- records a second ---------------------------------------------------------

sql 6001 -c 'SELECT courier_pii.audit_flush()' >/dev/null
from=$(sql 6001 -c 'SELECT written_seq FROM courier_pii.audit_state()')
at=$(date +%s%3N)
one point_masked 6001 reader 2 $timed -M prepared >/dev/null
written_at=$(date +%s%3N)
to=$(sql 6001 -c 'SELECT written_seq FROM courier_pii.audit_state()')
sql 6001 -c "SELECT courier_pii.audit_flush('300 s')" >/dev/null
done_at=$(date +%s%3N)
say ''
say "audit records written, 2 clients: $(((to - from) * 1000 / (written_at - at))) a second"
say "audit records ingested into the table: $(((to - from) * 1000 / (done_at - at))) a second (from first write until all $((to - from)) can be queried)"
# shellcheck source=test/bench/audit.sh
. "$(dirname -- "$0")/audit.sh"

stop_all
sh "${0%/*}/guard.sh"
say ''
say "measured in $(($(date +%s) - began)) s; aims missed: $missed"
