
# Personnel feeds: verdict for each row, the brake, release by another person,
# and the tool that stages a file.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rows = $ENV{COURIER_PII_FEED_ROWS} // 2000;
my $node = CourierPii->new_node('feed');
my $db = $CourierPii::DATABASE;

$node->safe_psql(
	$db, qq{
	CREATE ROLE chen_accounts LOGIN; CREATE ROLE wu_accounts LOGIN; CREATE ROLE feng_security LOGIN;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts'), courier_pii.appoint('pii_account_admin', 'wu_accounts'),
		courier_pii.appoint('pii_security_admin', 'feng_security');
	DO \$\$ BEGIN FOR i IN 1..$rows LOOP EXECUTE 'CREATE ROLE e' || i || ' LOGIN'; END LOOP; END \$\$;
	CREATE ROLE couriers;
	SELECT courier_pii.set_post_rights('clerk', '{couriers}');
	SELECT courier_pii.add_org('HQ', '总部', 'hq', NULL);
	SELECT courier_pii.add_org('SH', '上海', 'branch', 'HQ');
});

sub admin { return query_as($node, 'chen_accounts', $_[0]); }
sub stage
{
	my ($source, $from, $to) = @_;
	return qq{INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org, post, login_role, birthday)
		SELECT '$source', i, 'E' || i, '员工' || i, 'HQ', 'courier', 'e' || i, '1990-01-07' FROM generate_series($from, $to) i;};
}
sub apply { return admin($_[0] . "SELECT state, rows, hired, changed, departed, unchanged, rejected FROM courier_pii.apply_hr_feed('$_[1]', $_[2])"); }

# ---- a company comes in ----

is(apply('', 'hr', 'true'), 'held|0|0|0|0|0|0', 'an empty list is never read as "everybody left"');
is(error_as($node, 'wu_accounts', q{SELECT courier_pii.release_hr_feed(1, (SELECT digest FROM courier_pii.hr_feeds WHERE feed = 1))}),
	'55000', 'nor let through');
query_as($node, 'wu_accounts', 'SELECT courier_pii.reject_hr_feed(1)');

my $start = time;
is(apply(stage('hr', 1, $rows), 'hr', 'true'), "applied|$rows|$rows|0|0|0|0", "$rows people are hired");
my $took = time - $start;
note sprintf '%d rows in %.2f s', $rows, $took;
is(query_as($node, 'e1', 'SELECT staff_no FROM courier_pii.actor'), 'E1', 'and known at once');
is($node->safe_psql($db, q{SELECT count(*) FROM courier_pii.hr_feed_row WHERE birthday IS NOT NULL}), '0', 'birthdays are not kept');
is(error_as($node, 'e1', q{SELECT courier_pii.change_password(NULL, 'Fvx-1990.01.07-zuQ')}), '22023', 'but no password contains one');

# ---- the brake ----

my $most = int($rows * 0.7);
is(apply(stage('hr', 1, $most), 'hr', 'true'), 'held|' . "$most|0|0|" . ($rows - $most) . "|$most|0", 'a list without 30 % is held');
is(admin('SELECT count(*) FROM courier_pii.hr_feed_held'), $rows - $most, 'and tells who would be disabled');
is(query_as($node, "e$rows", 'SELECT 1'), '1', 'nobody is');
my $feed = admin('SELECT max(feed) FROM courier_pii.hr_feeds');
my $digest = admin("SELECT digest FROM courier_pii.hr_feeds WHERE feed = $feed");
is(error_as($node, 'chen_accounts', "SELECT courier_pii.release_hr_feed($feed, '$digest')"), 'PI006', 'not let through by the same person');
is(error_as($node, 'wu_accounts', "SELECT courier_pii.release_hr_feed($feed, 'x')"), '55000', 'nor without its digest');
is(error_as($node, 'e1', "SELECT courier_pii.release_hr_feed($feed, '$digest')"), '42501', 'nor by anybody');
admin("SELECT courier_pii.depart('E$rows')");
is(error_as($node, 'wu_accounts', "SELECT courier_pii.release_hr_feed($feed, '$digest')"), '55000', 'nor when the list has changed');
query_as($node, 'wu_accounts', "SELECT courier_pii.reject_hr_feed($feed)");
is(admin(qq{INSERT INTO courier_pii.hr_feed_row (source, staff_no, status) SELECT 'hr', 'E' || i, 'departed' FROM generate_series(1, 4) i;
	SELECT state, departed FROM courier_pii.apply_hr_feed('hr', false)}), 'applied|4', 'a few departures pass');
is(error_as($node, 'e2', 'SELECT 1'), 'PI005', 'and hold');
is(apply(stage('hr', 5, $most), 'hr', 'true') =~ /^held/ ? 1 : 0, 1, 'the same damaged list is held again');
$feed = admin('SELECT max(feed) FROM courier_pii.hr_feeds');
$digest = admin("SELECT digest FROM courier_pii.hr_feeds WHERE feed = $feed");
like(query_as($node, 'wu_accounts', "SELECT state FROM courier_pii.release_hr_feed($feed, '$digest')"), qr/^applied$/, 'another person lets it through');
is(error_as($node, 'e' . ($rows - 1), 'SELECT 1'), 'PI005', 'then it holds');

# ---- rows ----

is( admin(q{
	INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org, post, status, departs_on) VALUES
	('d', 1, 'E10', '', '', 'clerk', '', ''), ('d', 2, 'E11', '', 'SH', '', 'active', ''), ('d', 3, 'E12', '', '', '', '', '2099-12-31'),
	('d', 4, 'E13', '', '', '', 'suspended', ''), ('d', 5, 'E2', '', 'HQ', '', 'active', ''), ('d', 6, 'E14', '', '', '', '', '2026-02-30'),
	('d', 7, 'N1', 'new', 'NOWHERE', '', '', ''), ('d', 8, '', 'x', 'HQ', '', '', ''), ('d', 9, 'N2', E'Robert''); DROP TABLE x; --', 'HQ', '', '', '');
	SELECT state FROM courier_pii.apply_hr_feed('d', false);
	SELECT string_agg(line || ' ' || verdict, ',' ORDER BY line) FROM courier_pii.hr_feed_row WHERE source = 'd'}),
	"applied\n1 change,2 change,3 depart later,4 suspend,5 rejected,6 rejected,7 rejected,8 rejected,9 hire",
	'each row has its verdict');
is(admin(q{SELECT org, post, status FROM courier_pii.staff WHERE staff_no IN ('E10', 'E11', 'E13') ORDER BY staff_no}),
	"HQ|clerk|active\nSH|courier|active\nHQ|courier|suspended", 'and its effect');
is($node->safe_psql($db, q{SELECT pg_has_role('e10', 'couriers', 'member')}), 't', 'the new post brings its rights');
is(admin(q{SELECT departed_at AT TIME ZONE current_setting('TimeZone') FROM courier_pii.staff WHERE staff_no = 'E12'}),
	'2100-01-01 00:00:00', 'the last day of work ends at midnight');
is(error_as($node, 'e2', 'SELECT 1'), 'PI005', 'a feed revives nobody');
is(error_as($node, 'e20', q{INSERT INTO courier_pii.hr_feed_row (staff_no) VALUES ('x')}), '42501', 'only account administrators stage rows');
is(error_as($node, 'chen_accounts', q{UPDATE courier_pii.hr_feed_row SET verdict = 'hire'}), '42501', 'nobody changes them');
is(error_as($node, 'chen_accounts', q{INSERT INTO courier_pii.hr_feed_row (staff_no, verdict) VALUES ('x', 'hire')}), '42501', 'or writes a verdict');

# the last holder of a duty
admin(q{SELECT courier_pii.hire('SEC1', '冯安', 'feng_security', 'HQ', 'clerk')});
like(admin(q{INSERT INTO courier_pii.hr_feed_row (source, staff_no, status) VALUES ('duty', 'SEC1', 'departed');
	SELECT state, held_because FROM courier_pii.apply_hr_feed('duty', false)}), qr/^held\|nobody would hold duty pii_security_admin any more$/,
	'a list that takes a duty from its last holder is held');
is(error_as($node, 'feng_security', 'SELECT 1'), '', 'and nobody is disabled');
query_as($node, 'wu_accounts', q{SELECT courier_pii.reject_hr_feed(max(feed)) FROM courier_pii.hr_feeds WHERE state = 'held'});

# ---- a slow bleed: a few in each feed, many in a day ----

my $active = admin(q{SELECT count(*) FROM courier_pii.staff WHERE status = 'active'});
my $few = int($active * 0.02);
my ($gone, @states) = (0);
for my $hour (1 .. 12)
{
	my $state = admin(qq{INSERT INTO courier_pii.hr_feed_row (source, staff_no, status)
		SELECT 'bleed', staff_no, 'departed' FROM courier_pii.staff WHERE status = 'active' AND staff_no LIKE 'E%' ORDER BY staff_no DESC LIMIT $few;
		SELECT state FROM courier_pii.apply_hr_feed('bleed', false)});
	push @states, $state;
	last if $state ne 'applied';
	$gone += $few;
}
is($states[0], 'applied', 'two in a hundred may leave');
is($states[-1], 'held', 'but not again and again: the sum of a day is held');
cmp_ok($gone, '<=', $active * 0.11 + 10, "before more than a tenth is gone ($gone of $active)");
query_as($node, 'wu_accounts', q{SELECT courier_pii.reject_hr_feed(max(feed)) FROM courier_pii.hr_feeds WHERE state = 'held'});

# ---- numbered lists of changes ----

sub numbered
{
	my ($number, $rows, $source, $full) = @_;
	$source //= 'delta';
	$full //= 'false';
	return admin(join '', map { "INSERT INTO courier_pii.hr_feed_row (source, sequence, staff_no, display_name, org, post, status) VALUES ('$source', '$number', $_);" } @$rows)
	  . admin("SELECT state, held_because FROM courier_pii.apply_hr_feed('$source', $full)");
}
sub person { return admin("SELECT post, org, status FROM courier_pii.staff WHERE staff_no = '$_[0]'"); }
is(numbered(7, [ q{'S1', 'Seven', 'HQ', 'courier', 'active'}, q{'S2', 'Seven', 'HQ', 'courier', 'active'}, q{'S3', 'Seven', 'HQ', 'courier', 'active'} ]),
	'applied|', 'the first number of a source is the one it comes with');
is(numbered(10, [ q{'S1', '', 'SH', 'ten', 'active'}, q{'S2', '', '', '', 'departed'}, q{'S9', 'Ten', 'HQ', 'courier', 'active'} ]),
	'waiting|numbers 8 to 9 are missing', 'one that comes too early waits');
is(person('S1'), 'courier|HQ|active', 'its changes are not made');
is(person('S9'), '', 'nor its hires');
is(person('S2'), 'courier|HQ|departed', 'its departures are, at once');
is(numbered(9, [ q{'S1', '', 'HQ', 'nine', 'active'} ]), 'waiting|number 8 is missing', 'another waits, too');
is(error_as($node, 'chen_accounts', q{INSERT INTO courier_pii.hr_feed_row (source, sequence, staff_no) VALUES ('delta', '10', 'S1'); SELECT courier_pii.apply_hr_feed('delta', false)}),
	'55000', 'a number that waits is not taken again');
admin(q{SELECT courier_pii.discard_hr_feed_rows('delta')});
is(numbered(8, [ q{'S3', '', '', 'eight', 'active'} ]), 'applied|', 'the missing one comes');
is(person('S1'), 'ten|SH|active', 'those that waited follow, in their order');
is(person('S9'), 'courier|HQ|active', 'with all they bring');
is(person('S3'), 'eight|HQ|active', 'after the missing one');
is(admin(q{SELECT string_agg(sequence || ' ' || state, ',' ORDER BY sequence) FROM courier_pii.hr_feeds WHERE source = 'delta'}),
	'7 applied,8 applied,9 applied,10 applied', 'all are applied');
is(error_as($node, 'chen_accounts', q{INSERT INTO courier_pii.hr_feed_row (source, sequence, staff_no) VALUES ('delta', '8', 'S1'); SELECT courier_pii.apply_hr_feed('delta', false)}),
	'55000', 'an old one is not applied again');
admin(q{SELECT courier_pii.discard_hr_feed_rows('delta')});
foreach my $bad ('x', '0', '-1', '1.5', '')
{
	is(error_as($node, 'chen_accounts', qq{INSERT INTO courier_pii.hr_feed_row (source, sequence, staff_no) VALUES ('delta', '$bad', 'S1'); SELECT courier_pii.apply_hr_feed('delta', false)}),
		'22023', "no number: '$bad'");
	admin(q{SELECT courier_pii.discard_hr_feed_rows('delta')});
}
is(error_as($node, 'chen_accounts', q{INSERT INTO courier_pii.hr_feed_row (source, sequence, staff_no) VALUES ('delta', '11', 'S1'), ('delta', '12', 'S3'); SELECT courier_pii.apply_hr_feed('delta', false)}),
	'22023', 'two numbers in one list');
admin(q{SELECT courier_pii.discard_hr_feed_rows('delta')});
is(numbered(12, [ q{'S1', '', '', 'twelve', 'active'} ]), 'waiting|number 11 is missing', 'waiting again');
like(numbered(11, [ map { "'X$_', '', 'HQ', '', 'active'" } 1 .. 30 ]), qr/^held\|/, 'the missing one is held');
is(person('S1'), 'ten|SH|active', 'so the other one goes on waiting');
query_as($node, 'wu_accounts', q{SELECT courier_pii.reject_hr_feed(max(feed)) FROM courier_pii.hr_feeds WHERE state = 'held'});
is(person('S1'), 'twelve|SH|active', 'until the missing one is put aside');

# ---- one feed, whole or not at all ----

my $count = admin('SELECT count(*) FROM courier_pii.staff');
my $crash = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'chen_accounts'), '-c',
		"BEGIN; INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org) SELECT 'crash', i, 'C' || i, 'x', 'HQ' FROM generate_series(1, 500) i;
		 SELECT courier_pii.apply_hr_feed('crash', false); SELECT pg_sleep(600)" ],
	'<', \undef, '>', \my $crash_out, '2>', \my $crash_err);
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'chen_accounts' AND wait_event = 'PgSleep'}), 'a feed is being applied');
$node->stop('immediate');
eval { $crash->finish; };
$node->start;
is(admin('SELECT count(*) FROM courier_pii.staff'), $count, 'after a crash nothing of it is there');
is(admin(q{SELECT count(*) FROM courier_pii.hr_feeds WHERE source = 'crash'}), '0', 'not even its entry');
is(admin(q{INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org) SELECT 'crash', i, 'C' || i, 'x', 'HQ' FROM generate_series(1, 500) i;
	SELECT state, hired FROM courier_pii.apply_hr_feed('crash', false)}), 'applied|500', 'and it can be applied again');

# ---- bad rows ----

is(admin(q{INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org) SELECT 'bad', i, 'B' || i, 'x', CASE WHEN i <= 21 THEN 'NOWHERE' ELSE 'HQ' END FROM generate_series(1, 3000) i;
	SELECT state, rejected, held_because FROM courier_pii.apply_hr_feed('bad', false)}), 'held|21|21 rows are bad', 'more than 20 bad rows: held');
is(admin(q{INSERT INTO courier_pii.hr_feed_row (source, line, staff_no, display_name, org) SELECT 'bad2', i, 'D' || i, 'x', CASE WHEN i <= 6 THEN 'NOWHERE' ELSE 'HQ' END FROM generate_series(1, 500) i;
	SELECT state, rejected FROM courier_pii.apply_hr_feed('bad2', false)}), 'held|6', 'more than one in a hundred: held');
is(admin(q{SELECT count(*) FROM courier_pii.staff WHERE staff_no LIKE 'B%' OR staff_no LIKE 'D%'}), '0', 'nothing of them is applied');

# ---- the tool ----

my $dir = PostgreSQL::Test::Utils::tempdir;
sub import_file
{
	my ($text, @options) = @_;
	open my $out, '>:raw', "$dir/staff.csv" or die $!;
	print $out $text;
	close $out;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $db, PGUSER => 'chen_accounts');
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'perl', 'tools/import_hr_feed', '--source', 'd', '--delta', @options, "$dir/staff.csv" ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return (($? >> 8), $stdout, $stderr);
}
my ($status, $out, $err) = import_file("\xEF\xBB\xBFstaff_no,display_name,org,post,\r\nT1,\"Wang, \"\"Lei\"\"\",HQ,courier,\r\nT2,王小明,SH,clerk,\r\n");
is("$status $err", '0 ', 'a file with a byte order mark, quotes and empty last columns');
is(admin(q{SELECT display_name, org FROM courier_pii.staff WHERE staff_no IN ('T1', 'T2') ORDER BY 1}), "Wang, \"Lei\"|HQ\n王小明|SH", 'is read as it is meant');
is((import_file("staff_no,display_name,org\nT3,\xCD\xF5\xD0\xA1\xC3\xF7,HQ\n", '--encoding', 'GBK'))[0], 0, 'another encoding');
is((import_file("staff_no,display_name,org\nT4,\xCD\xF5\xD0\xA1\xC3\xF7,HQ\n"))[0], 1, 'a wrong encoding is refused');
is((import_file("<html>502 Bad Gateway</html>\n"))[0], 1, 'an error page is refused');
is((import_file(''))[0], 1, 'an empty file is refused');
is((import_file("staff_no\n"))[0], 1, 'a header without rows is refused');
is((import_file("staff_no;display_name;org\nT5;x;HQ\n"))[0], 1, 'another delimiter is refused');
is((import_file("display_name,org\nx,HQ\n"))[0], 1, 'a list without staff numbers is refused');
is((import_file("staff_no,staff_no\nT5,T6\n"))[0], 1, 'a column twice is refused');
is((import_file("staff_no,salary\nT5,9\n"))[0], 1, 'an unknown column is refused');
is((import_file("staff_no,display_name,org\nT5,\"never closed,HQ\n"))[0], 1, 'a quote that is not closed is refused');
is((import_file("ERROR: connection to database lost\n"))[0], 1, 'an error text is refused');
is((import_file("{\"error\": \"unauthorized\"}\n"))[0], 1, 'so is one in JSON');
is((import_file("\0\0\1binary,\n"))[0], 1, 'so are bytes');
is(admin(q{SELECT count(*) FROM courier_pii.hr_feed_row WHERE feed IS NULL AND source = 'd'}), '0', 'nothing of these is staged');
{
	local $ENV{PGHOST} = '/nowhere';
	is(system("perl tools/import_hr_feed /var/none 2>/dev/null") >> 8, 1, 'a file that is not there');
}
($status, $out, $err) = import_file("staff_no,display_name,org,departs_on\nT7,ok,HQ,\nT8,\"two\nlines\",HQ,\nT9,late,HQ,2026-13-45\nT10,extra,HQ,,surplus\nT11,nowhere,XX,\n");
is($status, 0, 'bad rows do not fail the others');
is(admin(q{SELECT string_agg(line || ' ' || verdict || coalesce(' ' || problem, ''), ',' ORDER BY line) FROM courier_pii.hr_feed_row
	WHERE feed = (SELECT max(feed) FROM courier_pii.hr_feeds WHERE source = 'd')}),
	'2 hire,3 hire,5 rejected departs_on is not a day written YYYY-MM-DD,6 rejected staff number is missing,7 rejected organisation unit does not exist',
	'each is rejected with its line');
is((import_file("staff_no,display_name,org\nQ1,x,HQ\n", '--source', 'q', '--sequence', '1'))[0], 0, 'a numbered file');
($status, $out, $err) = import_file("staff_no,display_name,org\nQ3,x,HQ\n", '--source', 'q', '--sequence', '3');
is($status, 0, 'one that comes too early is taken');
like($out, qr/^\d+ waiting /m, 'and waits');
is((import_file("staff_no,display_name,org\nQ1,x,HQ\n", '--source', 'q', '--sequence', '1'))[0], 1, 'the same again is refused');
is((import_file("staff_no\nQ1\n", '--sequence', '0'))[0], 2, 'no number');
$node->stop('fast');
is((import_file("staff_no\nT1\n"))[0], 1, 'without the server it fails');

# ---- an hour later ----

SKIP:
{
	my $library = (glob '/usr/lib/*/faketime/libfaketime.so.1')[0] // '';
	skip 'faketime is not installed', 4 if $library eq '';
	{
		local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME => '-2h', FAKETIME_DONT_FAKE_MONOTONIC => 1);
		system('pg_ctl', '-w', '-s', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=feed', 'start') == 0
		  or die 'the server does not start';
	}
	$node->_update_pid(1);
	is(numbered(14, [ q{'S1', '', '', 'fourteen', 'active'} ]), 'waiting|number 13 is missing', 'a feed waits since two hours ago');
	$node->stop;
	$node->start;
	skip 'the clock was not changed', 3
	  if admin(q{SELECT max(asked_at) FILTER (WHERE state = 'waiting' AND source = 'delta') < now() - '1 hour'::interval FROM courier_pii.hr_feeds}) ne 't';
	my $log = '';
	for (1 .. 1200)
	{
		$log = slurp_file($node->logfile);
		last if $log =~ /has waited for an hour/;
		select undef, undef, undef, 0.1;
	}
	like($log, qr/personnel feed \d+ has waited for an hour: number 13 is missing/, 'that is reported');
	is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'feed_waits' AND detail ->> 'source' = 'delta'}), '1', 'recorded, once');
	is($node->safe_psql($db, q{SELECT severity, finding FROM courier_pii.posture WHERE "check" = 'feed'}), 'high|waits: number 13 is missing', 'and in posture');
}

$node->stop('fast', fail_ok => 1);
done_testing();
