#!/bin/sh
#
# guard.sh: what metering and masks cost, in instructions of the session's process.
#
# Times of such small parts drown in noise; instruction counts do not.  Two
# servers run under callgrind, with the library and without; a session of N and
# one of 2N transactions are counted, and the difference is what N cost.  What a
# session does while it waits for its client depends on how busy the machine is
# (some hundred instructions a transaction) and is left out.
#
#   statements that touch nothing protected   at most 1 % more
#   metering, in a list of 100 rows           at most 3 % of the statement
#   the check whether a person may work       at most 1 % of pgbench -S
#   masked lists and point reads              times the same read of plain columns
#
# Environment: as run.sh.  Skipped where valgrind is not installed.
set -eu

PATH=$BINDIR:$PATH
export PATH
LC_ALL=C.UTF-8
export LC_ALL
unset PGUSER PGDATABASE PGOPTIONS PGSERVICE 2>/dev/null || :

if ! command -v valgrind >/dev/null 2>&1; then
	echo 'instructions of the guard: skipped, valgrind is not installed'
	exit 0
fi

place=$BENCH/guard
count=1500
[ "${BENCH_SHORT:-0}" = 1 ] && count=600
mkdir -p "$place/socket" "$place/key/store" "$place/audit" "$place/counts"
chmod 700 "$place/key" "$place/key/store" "$place/audit"
(umask 077 && head -c 32 /dev/urandom >"$place/key/master.key")
server=

fail() {
	printf 'guard.sh: %s\n' "$*" >&2
	exit 1
}

stop_all() {
	for one in ours plain; do
		[ ! -f "$place/$one/postmaster.pid" ] ||
			pg_ctl -D "$place/$one" -m immediate stop >/dev/null 2>&1 || :
	done
	[ -z "$server" ] || wait "$server" 2>/dev/null || :
}
trap stop_all EXIT
trap 'exit 1' HUP INT TERM

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$place/socket" -p 6005 -U postgres -d bench "$@" </dev/null; }

# make NAME: a cluster; settings on standard input
make_server() {
	initdb -D "$place/$1" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
		--no-sync >"$place/$1.log" 2>&1 || fail "initdb: $(tail -n 3 "$place/$1.log")"
	{
		echo "port = 6005"
		echo "unix_socket_directories = '$place/socket'"
		echo "listen_addresses = ''"
		echo 'fsync = off'
		echo 'autovacuum = off'
		echo 'jit = off'
		echo 'max_parallel_workers_per_gather = 0'
		cat
	} >>"$place/$1/postgresql.conf"
	pg_ctl -D "$place/$1" -l "$place/$1.log" -w -t 60 start </dev/null >/dev/null ||
		fail "$(tail -n 5 "$place/$1.log")"
	psql -X -q -h "$place/socket" -p 6005 -U postgres -d postgres \
		-c 'CREATE DATABASE bench' </dev/null
	pgbench -i -q -h "$place/socket" -p 6005 -U postgres bench >/dev/null 2>&1
}

make_server plain </dev/null
pg_ctl -D "$place/plain" -m fast stop >/dev/null
make_server ours <<CONF
shared_preload_libraries = 'courier_pii'
courier_pii.database = 'bench'
courier_pii.key_file = '$place/key/master.key'
courier_pii.key_store = '$place/key/store'
courier_pii.audit_directory = '$place/audit'
courier_pii.default_masked_limit_hour = -1
courier_pii.default_masked_limit_day = -1
${COURIER_PII_DESTDIR:+extension_destdir = '$COURIER_PII_DESTDIR'}
${COURIER_PII_DESTDIR:+dynamic_library_path = '$COURIER_PII_DESTDIR$(pg_config --pkglibdir):\$libdir'}
CONF
sql -c 'CREATE EXTENSION courier_pii CASCADE' 2>/dev/null
sql -c "CREATE ROLE reader LOGIN" -c "CREATE SCHEMA kept" \
	-c "CREATE TABLE kept.parcel AS SELECT i AS id, (13800000000 + i)::text AS phone,
		'王小' || chr(20000 + i % 5000) AS name,
		'广东省深圳市南山区科技路' || i || '号3栋502' AS addr FROM generate_series(1, 20000) AS i" \
	-c "CREATE SCHEMA plain" -c "CREATE TABLE plain.parcel AS TABLE kept.parcel" \
	-c "ALTER TABLE plain.parcel ADD PRIMARY KEY (id)" \
	-c "CREATE ROLE outsider LOGIN" \
	-c "GRANT USAGE ON SCHEMA plain TO reader; GRANT SELECT ON plain.parcel TO reader" \
	-c "ALTER TABLE kept.parcel ADD PRIMARY KEY (id)" \
	-c "SELECT courier_pii.protect_column('kept.parcel', 'phone', 'phone')" \
	-c "SELECT courier_pii.protect_column('kept.parcel', 'name', 'person_name')" \
	-c "SELECT courier_pii.protect_column('kept.parcel', 'addr', 'address')" \
	-c "SELECT courier_pii.create_masked_view('kept.parcel')" \
	-c "GRANT USAGE ON SCHEMA kept, masked TO reader; GRANT SELECT ON masked.parcel TO reader" \
	-c "GRANT USAGE ON SCHEMA masked TO outsider; GRANT SELECT ON masked.parcel TO outsider" \
	-c "SELECT courier_pii.grant_disclosure('reader', c, 'clear', true) FROM unnest('{phone,person_name,address}'::text[]) AS c" \
	-c "SELECT courier_pii.set_limit('reader', 1000000000, 1000000000, 1000000000)" >/dev/null
# a person whose password must be changed one day, so that there is a deadline
sql -c "GRANT SELECT ON pgbench_accounts, pgbench_branches TO reader" \
	-c "SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)" \
	-c "SELECT courier_pii.hire('P1', 'Person 1', 'reader', 'HQ', 'courier')" \
	-c "ALTER ROLE reader PASSWORD 'Vermilion-7-cactus-Umbrella'" >/dev/null
sql -c 'VACUUM ANALYZE'
pg_ctl -D "$place/ours" -m fast stop >/dev/null

# under NAME: the server under callgrind, until it answers
under() {
	valgrind -q --tool=callgrind --trace-children=yes \
		--callgrind-out-file="$place/counts/%p" \
		"$BINDIR/postgres" -D "$place/$1" >"$place/$1.callgrind" 2>&1 </dev/null &
	server=$!
	tries=0
	until sql -c 'SELECT 1' >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "the server does not start under valgrind"
		sleep 0.2
	done
}

end() {
	pg_ctl -D "$place/$1" -m fast stop >/dev/null
	wait "$server" 2>/dev/null || :
	server=
}

# session N USER OPTIONS: the file with the counts of a pgbench session; the
# processes of the server that count most after it began are that session
session() {
	n=$1 user=$2
	shift 2
	pgrep -P "$server" | sort >"$place/before"
	touch "$place/mark"
	pgbench -n --random-seed=7 -h "$place/socket" -p 6005 -U "$user" -t "$n" \
		"$@" bench >"$place/pgbench.out" 2>&1 ||
		fail "$(tail -n 3 "$place/pgbench.out")"
	# its counts are written when its process ends; a worker may have begun
	tries=0
	while pgrep -P "$server" | sort | comm -13 "$place/before" - | grep -q .; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || break
		sleep 0.1
	done
	file=$(find "$place/counts" -type f -newer "$place/mark" -exec grep -l '^totals: [0-9]' {} + |
		while read -r one; do
			echo "$(sed -n 's/^totals: //p' "$one") $one"
		done | sort -n | tail -n 1)
	[ -n "$file" ] || fail 'no counts'
	waiting=$(callgrind_annotate --inclusive=yes --threshold=100 --auto=no "${file#* }" 2>/dev/null |
		awk '!/=>/ && / \[/ && /:secure_read( \[|$|'"'"')/ { gsub(",", "", $1); sum += $1 }
			END { printf "%d", sum }')
	echo "$((${file%% *} - waiting)) ${file#* }"
}

# cost N USER OPTIONS: instructions of one transaction
cost() {
	n=$1
	shift
	small=$(session "$n" "$@")
	large=$(session $((2 * n)) "$@")
	echo $(((${large%% *} - ${small%% *}) / n))
}

missed=0
# judge LABEL VALUE AIM: percent
judge() {
	if awk -v v="$2" -v a="$3" 'BEGIN { exit !(v <= a) }'; then
		verdict=met
	else
		verdict=missed
		missed=$((missed + 1))
	fi
	printf '%-56s %8s %% %6s %% %s\n' "$1" "$2" "$3" "$verdict"
}

echo 'SELECT id, phone, name, addr FROM masked.parcel WHERE id BETWEEN 500 AND 599;' >"$place/list.sql"
for schema in plain masked; do
	printf '\\set i random(1, 19900)\nSELECT id, phone, name, addr FROM %s.parcel WHERE id BETWEEN :i AND :i + 99;\n' \
		$schema >"$place/any_$schema.sql"
	printf '\\set i random(1, 10) * 100 + 5000\nSELECT id, phone, name, addr FROM %s.parcel WHERE id BETWEEN :i AND :i + 99;\n' \
		$schema >"$place/again_$schema.sql"
	printf '\\set i random(1, 20000)\nSELECT phone FROM %s.parcel WHERE id = :i;\n' \
		$schema >"$place/point_$schema.sql"
done
under plain
plain_prepared=$(cost "$count" postgres -S -M prepared)
plain_simple=$(cost "$count" postgres -S -M simple)
end plain
under ours
ours_prepared=$(cost "$count" postgres -S -M prepared)
ours_simple=$(cost "$count" postgres -S -M simple)
few=$((count / 8))
list=$(cost $few reader -f "$place/list.sql" -M prepared)
last=$(session $((2 * few)) reader -f "$place/list.sql" -M prepared)
checked=$(session $((2 * count)) reader -S -M prepared)
any_plain=$(cost $few reader -f "$place/any_plain.sql" -M prepared)
any_masked=$(cost $few outsider -f "$place/any_masked.sql" -M prepared)
again_plain=$(cost $few reader -f "$place/again_plain.sql" -M prepared)
again_masked=$(cost $few outsider -f "$place/again_masked.sql" -M prepared)
point_plain=$(cost "$count" reader -f "$place/point_plain.sql" -M prepared)
point_masked=$(cost "$count" outsider -f "$place/point_masked.sql" -M prepared)
end ours

# inclusive cost of the check of a person, of a whole session
check=$(callgrind_annotate --inclusive=yes --threshold=100 --auto=no "${checked#* }" 2>/dev/null |
	awk '!/=>/ && / \[/ && /:(cpii_roster_check|check_again|cpii_roster_denied)( \[|$|'"'"')/ {
		gsub(",", "", $1); if ($1 > most) most = $1 }
		END { printf "%d", most }')

# inclusive cost of the meter's entries, over the whole session
metering=$(callgrind_annotate --inclusive=yes --threshold=100 --auto=no "${last#* }" 2>/dev/null |
	awk -v n=$((2 * few)) '!/=>/ && / \[/ && /:(cpii_statement_disclose|cpii_meter_settle|cpii_meter_open)( \[|$|'"'"')/ {
		gsub(",", "", $1); sum += $1 }
		END { printf "%d", sum / n }')

more() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", 100 * (a - b) / b }'; }
printf '\n%-56s %10s %8s\n' 'instructions of the guard' 'cost' 'aim'
judge "pgbench -S, prepared: loaded, unused ($plain_prepared)" "$(more "$ours_prepared" "$plain_prepared")" 1
judge "pgbench -S, planned each time: likewise ($plain_simple)" "$(more "$ours_simple" "$plain_simple")" 1
judge "metering in a list of 100 rows, 300 values ($list)" \
	"$(awk -v m="$metering" -v l="$list" 'BEGIN { printf "%.2f", 100 * m / l }')" 3
judge "pgbench -S, prepared: the check of a person ($((check / 2 / count)))" \
	"$(awk -v c="$((check / 2 / count))" -v t="$ours_prepared" 'BEGIN { printf "%.2f", 100 * c / t }')" 1
# ratio LABEL OURS PLAIN AIM
ratio() {
	value=$(awk -v a="$2" -v b="$3" 'BEGIN { printf "%.2f", a / b }')
	if awk -v v="$value" -v a="$4" 'BEGIN { exit !(v <= a) }'; then
		verdict=met
	else
		verdict=missed
		missed=$((missed + 1))
	fi
	printf '%-56s %8s x %6s x %s\n' "$1" "$value" "$4" "$verdict"
}
ratio "masked list of 100 rows, any: view ($any_masked) | plain" "$any_masked" "$any_plain" 1.5
ratio "masked list of 100 rows, read again: view ($again_masked) | plain" "$again_masked" "$again_plain" 1.5
ratio "one mask by key, prepared: view ($point_masked) | plain" "$point_masked" "$point_plain" 1.15
printf 'instructions; aims missed: %s\n' "$missed"
