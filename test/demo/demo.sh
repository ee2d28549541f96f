#!/bin/sh
#
# demo.sh: the walk through the sample company's database that "./dev demo"
# ends with.  The database is loaded, plain; nothing of the extension is in it.
#
# Environment (set by ./dev): PGHOST, PGPORT, PGUSER, PGDATABASE of the private
# server; DEMO, the directory that holds its data directory, keys and audit
# spool.  The server's programs are found in PATH.
#
# Every statement is printed before its output.  What comes out is checked:
# the first surprise ends the script with status 1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
data=$DEMO/data
work=$DEMO/work
rm -rf "$work"
mkdir -m 700 "$work"
trap 'stop_second' EXIT
trap 'exit 1' HUP INT TERM

PGCLIENTENCODING=UTF8
PGCONNECT_TIMEOUT=10
export PGCLIENTENCODING PGCONNECT_TIMEOUT

# planted in known places by the generator (canaries.txt)
phone=19900001234
name=金雀儿

stop_second() {
	[ ! -f "$work/restored/postmaster.pid" ] ||
		pg_ctl -D "$work/restored" -m immediate stop >/dev/null 2>&1 || :
}

title() { printf '\n== %s\n' "$*"; }
note() { printf -- '-- %s\n' "$*"; }
now() { date +%s%3N; }

wrong() {
	printf 'demo.sh: not as expected: %s\n' "$*" >&2
	exit 1
}

# is TEXT GOT EXPECTED
is() {
	[ "$2" = "$3" ] || wrong "$1: got \"$2\", expected \"$3\""
	printf '   ok: %s\n' "$1"
}

# show PERSON SQL [FORMAT [LINES]]: print the statement, run it as that person,
# print the outcome's first lines; the outcome stays in $work/out
show() {
	printf '%s=> %s\n' "$1" "$2"
	printf '%s\n' "$2" >"$work/in.sql"
	psql -X -q -U "$1" -P pager=off -P border=1 -P footer=off \
		-P null='(null)' -P format="${3:-aligned}" -P columns=118 \
		-v VERBOSITY=verbose -f "$work/in.sql" >"$work/out" 2>&1 || :
	sed -i -e '/^LOCATION: /d' -e 's/^psql:[^ ]*in.sql:[0-9]*: //' \
		-e '/^$/d' "$work/out"
	awk -v most="${4:-30}" 'NR <= most { print "   " $0 }
		END { if (NR > most) print "   ... " NR - most " lines more" }' "$work/out"
}

# ask PERSON SQL: the bare answer, not printed
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U "$1" -c "$2"; }

# run_sql FILE [PERSON]: a file of this directory, quietly
run_sql() {
	psql -X -q -v ON_ERROR_STOP=1 -U "${2:-postgres}" -f "$here/$1" >"$work/log" 2>&1 || {
		tail -n 5 "$work/log" >&2
		wrong "$1 failed"
	}
}

holds() { grep -q -e "$1" "$work/out" || wrong "output lacks \"$1\""; }
lacks() { ! grep -q -e "$1" "$work/out" || wrong "output has \"$1\""; }

# number of files below a directory that contain the planted phone or name
leaks() {
	LC_ALL=C grep -rlaF -e "$phone" -e "$name" "$@" 2>/dev/null >"$work/files" || :
	wc -l <"$work/files" | tr -d ' '
}

count_tables="COPY (SELECT c.relname, (xpath('/row/n/text()',
	query_to_xml(format('SELECT count(*) AS n FROM %s', c.oid::regclass),
				 false, true, '')))[1]::text
	FROM pg_class c WHERE c.relnamespace = 'express'::regnamespace
	AND c.relkind = 'r' ORDER BY 1) TO STDOUT"

# ----------------------------------------------------------------------
title '1. A company database as it is today 未加保护'
count_before=$(ask postgres 'SELECT count(*) FROM express.waybill')
ask postgres 'CHECKPOINT'
plan='SELECT waybill_no, recv_name, recv_phone, recv_addr FROM waybill WHERE id BETWEEN '
first=$(ask postgres "SELECT min(id) FROM express.waybill WHERE recv_phone = '$phone'")
last=$((first + 2))
ask postgres 'ALTER DATABASE express SET search_path = express'
show analyst_sun "$plan$first AND $last ORDER BY id"
holds "$phone"
before=$(leaks "$data")
note "any login reads $count_before waybills; files of the data directory with that phone: $before"
[ "$before" -gt 0 ] || wrong 'the planted phone is not in the data directory'
ask postgres "$count_tables" >"$work/counts.before"

# ----------------------------------------------------------------------
title '2. The extension goes in 安装与加密'
note 'the DBA, once (test/demo/*.sql, shortened):'
cat <<'SQL'
   CREATE EXTENSION courier_pii CASCADE;
   SELECT courier_pii.protect_column('express.waybill', 'recv_phone', 'phone');   -- and 39 more
   SELECT courier_pii.create_masked_view('express.waybill', move_grants => true); -- and 10 more
   ALTER DATABASE express SET search_path = masked, express;
SQL
begin=$(now)
run_sql protect.sql
run_sql views.sql
run_sql people.sql
note "done in $((($(now) - begin) / 1000)) s; 保密管理员 security_feng writes down who sees what:"
sed -n '/^-- 快递员/,$p' "$here/policy.sql" | sed -e '/^$/d' -e 's/^/   /'
run_sql policy.sql security_feng
# plaintext that the old versions of the tables left behind
run_sql cleanup.sql
is 'no waybill lost' "$(ask postgres 'SELECT count(*) FROM express.waybill')" "$count_before"

# ----------------------------------------------------------------------
title '3. The same query, four people 同一查询，所见不同'
query="$plan$first AND $last ORDER BY id"
show courier_li "$query"
holds "$name"
is 'the courier sees the one parcel of his round, clear' "$(grep -c "$name" "$work/out")" 1
lacks 'YT9988800000003'
show service_zhao "$query"
holds '金\*\*'; lacks "$phone"; lacks "$name"
show analyst_sun "$query"
lacks "$phone"; lacks "$name"
is 'the analyst counts the same phone three times without knowing it' \
	"$(ask analyst_sun "SELECT count(DISTINCT recv_phone) FROM waybill WHERE id BETWEEN $first AND $last")" 1
show postgres "SELECT waybill_no, recv_phone FROM express.waybill WHERE id BETWEEN $first AND $last ORDER BY id" unaligned
[ "$(grep -c '^pii:.*|pii:' "$work/out")" = 3 ] || wrong 'the superuser does not see three sealed rows'
lacks "$phone"; lacks "$name"
show postgres "$query"
is 'through the view the superuser is nobody: no rows' "$(ask postgres 'SELECT count(*) FROM waybill')" 0
is "the courier's clear phones = parcels of his round today" \
	"$(ask courier_li "SELECT count(*) FROM waybill WHERE recv_phone !~ '[*]'")" \
	"$(ask postgres "SELECT count(DISTINCT waybill_id) FROM express.delivery_task WHERE courier_no = 'K0001' AND task_date = current_date")"

# ----------------------------------------------------------------------
title '4. Search by phone 按电话查件'
query="SELECT id, waybill_no, recv_name, recv_phone FROM waybill WHERE recv_phone = '$phone'"
show service_zhao "EXPLAIN (COSTS OFF) $query" aligned 8
# months with few waybills are read faster without an index
months=$(ask postgres "SELECT count(*) FROM pg_class WHERE relispartition
	AND relkind = 'r' AND relname LIKE 'waybill%' AND relpages >= 200")
[ "$months" -ge 1 ] || wrong 'no month has many waybills'
[ "$(grep -c 'Index Scan .*waybill_[0-9]*_recv_phone_idx' "$work/out")" -ge "$months" ] ||
	wrong 'a month is not searched by its index'
printf '   ok: the months with many waybills are searched by their index\n'
show service_zhao "$query ORDER BY id"
is 'found in all its writings (199 0000 1234, +86...)' "$(grep -c '99888' "$work/out")" 3
show courier_li "$query"
holds 42501

# ----------------------------------------------------------------------
title '5. What lies on the disk and in a dump 磁盘与备份'
printf '$ grep -rlaF -e %s -e %s data audit server.log | wc -l\n' "$phone" "$name"
found=$(leaks "$data" "$DEMO/audit" "$DEMO/server.log")
[ "$found" = 0 ] || sed -e 's/^/   /' "$work/files"
is "0 files (before: $before)" "$found" 0
printf '$ pg_dump -Fc -Z0 express > dump; grep -caF -e %s dump\n' "$phone"
pg_dump -Fc -Z0 -f "$work/dump" express 2>"$work/log" || wrong "pg_dump: $(tail -n 3 "$work/log")"
is 'the dump holds no clear text' "$(leaks "$work/dump")" 0
printf '$ pg_restore -d express dump      # on a second server, same keys\n'
# shellcheck source=test/demo/restore.sh
. "$here/restore.sh"
is 'every table has its rows again' "$(cmp "$work/counts.before" "$work/counts.after" 2>&1)" ''
rm -f "$work/dump"

# ----------------------------------------------------------------------
title '6. A bulk export by customer service 批量导出'
show security_feng "SELECT courier_pii.grant_disclosure('service_zhao', 'phone', 'clear', true);
SELECT courier_pii.set_limit('service_zhao', 500, 1000, 2000)" unaligned
query="SET courier_pii.purpose = '核对电话'; COPY (SELECT recv_phone FROM waybill) TO STDOUT"
printf 'service_zhao=> %s\n' "$query"
psql -X -q -U service_zhao -v VERBOSITY=verbose -c "$query" >"$work/copied" 2>"$work/out" || :
sed -i '/^LOCATION/d' "$work/out"
printf '   ... %s lines\n' "$(wc -l <"$work/copied")"
sed -e 's/^/   /' "$work/out"
holds PI001
[ "$(wc -l <"$work/copied")" -le 500 ] || wrong 'more than 500 values left'
is 'stopped at the limit' "$(grep -c 'PI001' "$work/out")" 1

# ----------------------------------------------------------------------
title '7. Somebody leaves 员工离职'
note 'courier_wang has a session open, and a statement running in it'
PGAPPNAME=wang psql -X -q -U courier_wang -v VERBOSITY=verbose \
	-c 'SELECT count(*) FROM waybill, pg_sleep(60)' >"$work/wang" 2>&1 &
wang=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(ask postgres "SELECT count(*) FROM pg_stat_activity WHERE usename = 'courier_wang' AND state = 'active'")" = 0 ] || break
	sleep 0.2
done
show account_chen "SELECT courier_pii.depart('K0002', reason => '合同到期')" unaligned
begin=$(ask postgres "SELECT (extract(epoch FROM max(departed_at)) * 1000)::bigint FROM courier_pii.leavers")
wait $wang || :
ended=$(now)
sed -i -e '/^LOCATION/d' -e '/^server closed/,$d' "$work/wang"
sed -e 's/^/   /' "$work/wang"
grep -q PI005 "$work/wang" || wrong 'the session of the leaver was not refused'
note "the running statement ended $((ended - begin)) ms after the departure"
printf '$ psql -U courier_wang\n'
psql -X -U courier_wang -v VERBOSITY=verbose -c 'SELECT 1' >"$work/out" 2>&1 || :
sed -e 's/^/   /' "$work/out"
grep -q 'account' "$work/out" || wrong 'the leaver could log in'

# ----------------------------------------------------------------------
title '8. What the auditor sees 审计'
ask auditor_zheng 'SELECT courier_pii.audit_flush()' >/dev/null
show auditor_zheng "SELECT to_char(at, 'HH24:MI:SS') AS time, staff_no, login_role, action, outcome, sqlstate, rows_returned AS rows, disclosed, masked, probes
  FROM courier_pii.audit_log WHERE phase <> 'BEGIN' AND action IN ('READ', 'SEARCH', 'EXPORT', 'DENIED', 'LOGIN_DENIED', 'ACCOUNT') AND login_role <> 'postgres' ORDER BY seq"
holds PI001; holds 'LOGIN_DENIED | denied  *| PI005'
show auditor_zheng "SELECT staff_no, login_role, purpose, outcome, query FROM courier_pii.audit_bulk WHERE action = 'EXPORT' AND outcome = 'blocked'"
holds service_zhao
show auditor_zheng 'SELECT login_role, action, sqlstate, count(*) FROM courier_pii.audit_denied GROUP BY 1, 2, 3 ORDER BY 1, 2'
show auditor_zheng 'SELECT staff_no, login_role, events, reads, searches, exports, denied, disclosed, masked FROM courier_pii.audit_by_person WHERE masked + disclosed + denied > 0 AND staff_no IS NOT NULL ORDER BY 1'
show auditor_zheng 'SELECT staff_no, display_name, post, status, reason FROM courier_pii.leavers WHERE login_role IS NOT NULL'
holds K0002
show postgres "SELECT count(*) FROM courier_pii.audit_log"
show auditor_zheng 'SELECT count(*) AS problems FROM courier_pii.audit_verify()'
is 'the audit chain is intact' "$(ask auditor_zheng 'SELECT count(*) FROM courier_pii.audit_verify()')" 0

printf '\ndemo passed\n'
