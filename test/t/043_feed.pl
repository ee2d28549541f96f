
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

$node->stop;
done_testing();
