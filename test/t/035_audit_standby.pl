
# Reads on a hot standby are recorded there and handed over to the primary; no
# record is lost or doubled by a promotion, nor by the return of the old primary.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $one = CourierPii->new_node('one', allows_streaming => 1,
	conf => "wal_log_hints = on\nwal_keep_size = 256MB\nhot_standby_feedback = on\ncourier_pii.audit_spool_keep = 3600\n");
load_sample($one, rows => 40);
audit($one, 'SELECT 1');

$one->backup('base');
my $two = CourierPii->new_node('two', from_backup => [ $one, 'base', has_streaming => 1 ],
	conf => "wal_log_hints = on\nwal_keep_size = 256MB\nhot_standby_feedback = on\ncourier_pii.audit_spool_keep = 3600\n"
	  . "courier_pii.audit_ship_conninfo = '" . $one->connstr . "'\n");
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));

my $read = 'SELECT recv_phone FROM masked.shipment WHERE id = ';
sub read_on
{
	my ($node, $name, $times) = @_;
	query_as($node, 'clerk', "SET courier_pii.purpose = '$name';" . join(';', map { $read . $_ } 1 .. $times));
	return;
}

my $count = q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'READ' AND phase <> 'BEGIN'};
sub wait_count
{
	my ($node, $where, $expected) = @_;
	my $n = '';
	for (1 .. 150)
	{
		$n = audit($node, "$count AND $where");
		last if $n eq $expected;
		select(undef, undef, undef, 0.2);
	}
	return $n;
}

read_on($one, 'on one', 5);
read_on($two, 'on two', 7);
is(wait_count($one, "purpose = 'on two'", 7), '7', 'reads on the standby arrive at the primary');
is(audit($one, q{SELECT DISTINCT node, login_role, staff_no, actor_proof FROM courier_pii.audit_log WHERE purpose = 'on two'}),
	'two|clerk|C1|login', 'with node, login and person');
is(audit($one, q{SELECT count(*) FROM courier_pii.audit_log WHERE command IN ('records refused', 'records unprotected')}), '0', 'their tags were checked');
is(error_as($two, 'courier', 'SELECT recv_phone FROM app.shipment'), '42501', 'a refusal on the standby');
my $refused = 0;
for (1 .. 100)
{
	$refused = audit($one, q{SELECT count(*) FROM courier_pii.audit_log WHERE node = 'two' AND action = 'DENIED'});
	last if $refused eq '1';
	select(undef, undef, undef, 0.2);
}
is($refused, '1', 'arrives as well');
is(audit($one, q{SELECT DISTINCT staff_no, actor_proof FROM courier_pii.audit_log WHERE node = 'two' AND action = 'DENIED'}), 'K1|login', 'with its person');
# right after a start, before anything was replayed
$two->restart;
read_on($two, 'after a start', 2);
is(wait_count($one, "purpose = 'after a start'", 2), '2', 'reads right after the standby has started');
is(audit($one, q{SELECT DISTINCT login_role, staff_no, actor_proof FROM courier_pii.audit_log WHERE purpose = 'after a start'}), 'clerk|C1|login', 'with their person');
$one->safe_psql($db, q{CREATE ROLE late LOGIN; GRANT SELECT ON masked.shipment TO late; SELECT courier_pii.hire('N9', '新來', 'late', 'HQ', 'clerk')});
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));
ok($two->poll_query_until($db, q{SELECT count(*) = 1 FROM courier_pii.staff WHERE staff_no = 'N9'}), 'a person who was hired since');
my $known = '';
for my $i (1 .. 60)
{
	query_as($two, 'late', "SET courier_pii.purpose = 'late $i'; $read 1");
	wait_count($one, "purpose = 'late $i'", 1);
	$known = audit($one, qq{SELECT staff_no FROM courier_pii.audit_log WHERE purpose = 'late $i' AND action = 'READ' AND phase <> 'BEGIN'});
	last if $known eq 'N9';
}
is($known, 'N9', 'is known to the standby soon');
is(audit($one, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chains of both nodes are intact');
is($one->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'courier_pii worker'"), '1', 'one worker');
isnt($one->psql($db, "SELECT courier_pii.audit_receive('one', 1, 128, 0, 1, '', '')"), 0, 'nobody can send records in our name');
is(error_as($one, 'clerk', "SELECT courier_pii.audit_receive('x', 1, 128, 0, 1, '', '')"), '42501', 'nor without the right to');

# the primary is away for a while: the standby keeps its records
$one->stop('fast');
read_on($two, 'alone', 4);
$one->start;
is(wait_count($one, "purpose = 'alone'", 4), '4', 'what was read while the primary was away arrives later');

# many records, over several pieces
read_on($two, 'many', 38) foreach 1 .. 30;
is(wait_count($one, "purpose = 'many'", 1140), '1140', 'many records');

# the primary dies with records that the standby has not replayed
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));
$two->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
read_on($one, 'last of one', 6);
read_on($two, 'last of two', 3);
is(wait_count($one, "purpose LIKE 'last of %'", 9), '9', 'the primary has all');
audit($one, 'SELECT courier_pii.audit_checkpoint()');
$one->stop('immediate');
$two->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$two->append_conf('postgresql.conf', "courier_pii.audit_ship_conninfo = ''\n");
$two->promote;
ok($two->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'promoted');
read_on($two, 'new primary', 2);
is(wait_count($two, "purpose = 'new primary'", 2), '2', 'the promoted server records');
is(wait_count($two, "purpose = 'last of two'", 3), '3', 'and has what it had handed over');
is(audit($two, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'PROMOTE' AND node = 'two'}), '1', 'the promotion is recorded');

# the old primary comes back as a standby
$one->start;
$one->stop('fast');
my $places = $one->{courier_pii};
my $conf = slurp_file($one->data_dir . '/postgresql.conf');
PostgreSQL::Test::Utils::run_log([ 'pg_rewind', '--source-server', $two->connstr('postgres'), '--target-pgdata', $one->data_dir, '--no-sync' ])
  or BAIL_OUT('pg_rewind');
open my $out, '>', $one->data_dir . '/postgresql.conf' or die $!;
print $out $conf, "\ncourier_pii.audit_ship_conninfo = '" . $two->connstr . "'\n";
close $out;
$one->enable_streaming($two);
$one->set_standby_mode;
$one->start;
is(wait_count($two, "purpose = 'last of one'", 6), '6', 'what only the old primary had recorded arrives');
read_on($one, 'demoted', 5);
is(wait_count($two, "purpose = 'demoted'", 5), '5', 'and what is read on it now');

is(audit($two, q{SELECT purpose, count(*) FROM courier_pii.audit_log WHERE action = 'READ' AND phase <> 'BEGIN' AND purpose IS NOT NULL AND login_role = 'clerk' GROUP BY 1 ORDER BY 1}),
	"after a start|2\nalone|4\ndemoted|5\nlast of one|6\nlast of two|3\nmany|1140\nnew primary|2\non one|5\non two|7", 'nothing is lost, nothing doubled');
is(audit($two, 'SELECT node, max(seq) - min(seq) + 1 - count(*) FROM courier_pii.audit_log GROUP BY 1 ORDER BY 1'), "one|0\ntwo|0", 'no number is missing');
is(audit($two, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chains are intact');

done_testing();
