# restore.sh, read by demo.sh: restores $work/dump on a second server with the
# same keys and leaves the tables' row counts in $work/counts.after.
# shellcheck shell=sh disable=SC2154

initdb -D "$work/restored" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
	--no-sync >"$work/log" 2>&1
mkdir -m 700 "$work/audit" "$work/socket"
sed -e "s|'$DEMO/audit'|'$work/audit'|" "$DEMO/courier_pii.conf" >"$work/restored/courier_pii.conf"
{
	echo "include 'courier_pii.conf'"
	echo "unix_socket_directories = '$work/socket'"
	echo 'fsync = off'
} >>"$work/restored/postgresql.conf"
pg_ctl -D "$work/restored" -l "$work/restored.log" -w -t 60 start </dev/null >/dev/null ||
	wrong "the second server does not start: $(tail -n 3 "$work/restored.log")"
pg_dumpall --roles-only >"$work/roles.sql"
PGHOST=$work/socket psql -X -q -d postgres -f "$work/roles.sql" >"$work/log" 2>&1
PGHOST=$work/socket createdb express
PGHOST=$work/socket pg_restore -j 2 -d express "$work/dump" >"$work/log" 2>&1 ||
	wrong "pg_restore: $(tail -n 5 "$work/log")"
PGHOST=$work/socket psql -XAtq -c "$count_tables" >"$work/counts.after"
stop_second
rm -rf "$work/restored" "$work/audit" "$work/socket"
