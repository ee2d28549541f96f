
# A server that is restored from an old backup does not know who has left since:
# posture says so until a complete list of the staff was applied, which ends it.
# (Case D15 of the list in test/README.)

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('before', allows_streaming => 1);
$node->safe_psql($db, q{
	CREATE ROLE chen_accounts LOGIN; CREATE ROLE person_1 LOGIN; CREATE ROLE person_2 LOGIN;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL);
	SELECT courier_pii.hire('R1', 'Person 1', 'person_1', 'HQ', 'courier'), courier_pii.hire('R2', 'Person 2', 'person_2', 'HQ', 'courier')});
my $restored = q{SELECT severity, finding FROM courier_pii.posture WHERE "check" = 'restore'};
is($node->safe_psql($db, $restored), '', 'a server that was never restored: no finding');
audit($node, 'SELECT 1');
$node->backup('old');
query_as($node, 'chen_accounts', q{SELECT courier_pii.depart('R2')});
is(error_as($node, 'person_2', 'SELECT 1'), 'PI005', 'somebody leaves after the backup');
$node->stop;

# restored, and gone on with a timeline of its own
my $after = CourierPii->new_node('after', from_backup => [ $node, 'old', has_streaming => 1 ]);
$after->promote;
ok(wait_until($after, "SELECT count(*) = 1 FROM ($restored) p", 120), 'the restored server says that departures may be missing');
like($after->safe_psql($db, $restored), qr/^high\|restored or promoted on .*: departures since may be missing$/, 'as a high finding');
$after->safe_psql($db, q{SELECT courier_pii.apply_hr_feed('hr', false)});
isnt($after->safe_psql($db, $restored), '', 'a list of changes does not end that');
is(query_as($after, 'chen_accounts', q{
	INSERT INTO courier_pii.hr_feed_row (source, staff_no, display_name, org) VALUES ('hr', 'R1', 'Person 1', 'HQ');
	SELECT state, departed FROM courier_pii.apply_hr_feed('hr', true)}), 'applied|1', 'a complete list names who is missing');
is(error_as($after, 'person_2', 'SELECT 1'), 'PI005', 'who had left is refused again');
is(error_as($after, 'person_1', 'SELECT 1'), '', 'others are not');
is($after->safe_psql($db, $restored), '', 'and the finding is over');

$after->stop;
done_testing();
