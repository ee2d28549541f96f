# people.sh: what knowing the people costs: logins, the check at each statement,
# a large personnel feed.  Read by run.sh, which has made the servers and the
# functions; all lines begin with "people".
# Lists of options are meant to be split:
# shellcheck shell=sh disable=SC2086,SC2154

# logins LABEL: one after the other on both servers, by turns
logins() {
	count=2000
	[ "$short" = 1 ] && count=300
	result=$(perl "$(dirname "$0")/logins.pl" $count person bench \
		"$BENCH/socket/.s.PGSQL.6001" "$BENCH/socket/.s.PGSQL.6002") ||
		fail 'logins.pl'
	# three words
	set -- "$1" $result
	verdict=met
	awk -v r="$4" 'BEGIN { exit !(r >= 0.95) }' || {
		verdict=missed
		missed=$((missed + 1))
	}
	printf '%-52s %8s us %8s us %7s %6s %s\n' "$1" "$2" "$3" "$4" 0.95 $verdict
}

case $only in
	'*' | *people*)
		# a company of people, of whom one works here; the other server has roles only
		sql 6001 <<SQL >/dev/null
SET client_min_messages = warning;
CREATE ROLE person LOGIN;
CREATE ROLE account_chen LOGIN;
SELECT courier_pii.appoint('pii_account_admin', 'account_chen');
SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL);
SELECT courier_pii.hire('P1', 'Person 1', 'person', 'HQ', 'courier');
SQL
		sql 6002 -c 'CREATE ROLE person LOGIN'
		for port in 6001 6002; do
			sql $port -c "GRANT SELECT ON pgbench_accounts TO PUBLIC; ALTER ROLE person PASSWORD 'Vermilion-7-cactus-Umbrella'" >/dev/null
		done
		logins 'people: login, trust: with | without'
		for one in ours plain; do
			sed -i '1i local all person scram-sha-256' "$BENCH/$one/pg_hba.conf"
			pg_ctl -D "$BENCH/$one" reload >/dev/null
		done
		PGPASSWORD='Vermilion-7-cactus-Umbrella'
		export PGPASSWORD
		logins 'people: login, SCRAM: with | without'
		save_rounds=$rounds
		rounds=$((rounds * 2 + 1))
		pair 'people: pgbench -S of a person: with | without' 0.97 1 'pgbench_s 6001 person' 'pgbench_s 6002 person' $timed -M prepared
		rounds=$save_rounds
		unset PGPASSWORD

		# a feed of people with logins
		sql 6001 <<SQL >/dev/null
SET client_min_messages = warning;
DO \$\$BEGIN
	FOR i IN 1 .. 20000 LOOP EXECUTE 'CREATE ROLE staff_' || i || ' LOGIN'; END LOOP;
END\$\$;
INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org, post, login_role)
	SELECT 'bench', i, 'F' || i, 'Person ' || i, 'HQ', 'courier', 'staff_' || i FROM generate_series(1, 20000) AS i;
SQL
		apply_at=$(date +%s%3N)
		sql 6001 -c "SELECT courier_pii.apply_hr_feed('bench', false)" >/dev/null
		done_at=$(date +%s%3N)
		say "people: feed of 20 000 people with logins: applied in $((done_at - apply_at)) ms (aim: 10 000)"
		[ $((done_at - apply_at)) -le 10000 ] || missed=$((missed + 1))
		;;
esac
