
# Joint passwords: two halves that two people type, void when one of them
# leaves, and a session that pauses while the second person is away.

use strict;
use warnings;

use CourierPii;
use CourierPiiSession;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('joint',
	conf => "listen_addresses = '127.0.0.1'\nlog_statement = all\nlog_min_duration_statement = 0\n");
my $db = $CourierPii::DATABASE;
my $super = $node->safe_psql('postgres', 'SELECT current_user');

$node->safe_psql($db, q{
	CREATE ROLE feng LOGIN; CREATE ROLE zheng LOGIN; CREATE ROLE chen LOGIN;
	CREATE ROLE anna LOGIN PASSWORD 'Marble-4-otter-Lantern'; CREATE ROLE bert LOGIN; CREATE ROLE carl LOGIN;
	CREATE ROLE keep LOGIN PASSWORD 'Vermilion-7-cactus-Umbrella';
	SELECT courier_pii.add_org('HQ', 'Head office', 'hq');
	SELECT courier_pii.hire('S1', 'Feng', 'feng', 'HQ', NULL), courier_pii.hire('A1', 'Zheng', 'zheng', 'HQ', NULL),
		courier_pii.hire('P1', 'Chen', 'chen', 'HQ', NULL), courier_pii.hire('J1', 'Anna', 'anna', 'HQ', NULL, '{"birthday": "1990-01-07"}'),
		courier_pii.hire('J2', 'Bert', 'bert', 'HQ', NULL), courier_pii.hire('J3', 'Carl', 'carl', 'HQ', NULL);
	SELECT courier_pii.appoint('pii_security_admin', 'feng'), courier_pii.appoint('pii_auditor', 'zheng'),
		courier_pii.appoint('pii_account_admin', 'chen');
	CREATE TABLE parcel (id int); GRANT ALL ON parcel TO PUBLIC; INSERT INTO parcel VALUES (1);
});
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
open my $out, '>', $hba or die $!;
print $out "local all keep scram-sha-256\nhost all keep 127.0.0.1/32 scram-sha-256\n$lines";
close $out;
$node->reload;

sub try_login
{
	my ($role, $password) = @_;
	local $ENV{PGPASSWORD} = $password // 'none';
	my ($o, $e) = ('', '');
	my $at = -s $node->logfile;
	return '' if IPC::Run::run([ 'psql', '-XAtq', '-d', login($node, $role), '-c', 'SHOW port' ], '<', \undef, '>', \$o, '2>', \$e);
	my $log = slurp_file($node->logfile, $at);
	return $log =~ /\[\Q$role\E ([0-9A-Z]{5})\] FATAL:/ ? $1 : "none: $e";
}

sub state_of { return $node->safe_psql($db, q{SELECT state FROM courier_pii.joint_account}); }
sub set_half { my ($who, $half) = @_; return query_as($node, $who, "SELECT courier_pii.set_joint_password('keep', '$half')"); }

my ($one, $two) = ('Granite-3-walnut-Teapot', 'Copper-5-meadow-Violin');

# ---- making ----

is(error_as($node, 'anna', q{SELECT courier_pii.create_joint_account('keep', 'J1', 'J2')}), '42501', 'not everybody makes one');
is(error_as($node, 'feng', q{SELECT courier_pii.create_joint_account('keep', 'J1', 'J1')}), '22023', 'of two people');
is(error_as($node, 'feng', q{SELECT courier_pii.create_joint_account('keep', 'J1', 'J9')}), '22023', 'of the register');
my $before = session($node, 'keep', 'Vermilion-7-cactus-Umbrella');
query_as($node, 'feng', q{SELECT courier_pii.create_joint_account('keep', 'J1', 'J2', 'maintenance')});
isnt(ask($before, 'SELECT 7'), '7', 'its sessions end');
is(try_login('keep', 'Vermilion-7-cactus-Umbrella'), '28P01', 'its old password, too');
is(error_as($node, 'feng', q{SELECT courier_pii.create_envelope('keep', '{J1,J2,J3}')}), '42710', 'a joint account is not sealed as well');

# ---- halves ----

is(error_as($node, 'carl', "SELECT courier_pii.set_joint_password('keep', '$one')"), '42501', 'a third person has no half');
is(error_as($node, $super, "SELECT courier_pii.set_joint_password('keep', '$one')"), '42501', 'nor has a superuser');
is(error_as($node, 'anna', "SELECT courier_pii.set_joint_password('keep', '$_->[0]')"), '22023', "a half that is $_->[1] is refused") for
	[ 'Short-4', 'short' ], [ 'granitewalnutteapot', 'of one kind' ], [ 'Granite-19900107-Teapot', 'a birthday' ],
	[ 'Granite-3-keep-Teapot', 'the name of the role' ], [ 'Marble-4-otter-Lantern', "one's own password" ], [ 'G' . ('x7-Yz' x 40), 'too long' ];
is(error_as($node, 'anna', "BEGIN; SELECT courier_pii.set_joint_password('keep', '$one'); COMMIT"), '25001', 'not inside a transaction block');
is(set_half('anna', $one), 'f', 'the first half waits');
is(state_of(), 'incomplete', 'one half is no password');
isnt(try_login('keep', $one), '', 'with one half nobody logs in');
is(set_half('bert', $two), 't', 'the second completes it');
is(state_of(), 'ready', 'ready');
is(try_login('keep', "$one$two"), '', 'both halves log in');
is(try_login('keep', "$two$one"), '28P01', 'in their order');
isnt(try_login('keep', $_), '', 'no half alone') for $one, $two;
is(query_as($node, 'zheng', q{SELECT string_agg(event || ' ' || coalesce(staff_no, '-'), ',' ORDER BY id) FROM courier_pii.envelope_register WHERE event ~ '^joint'}),
	'joint_half_set J1,joint_password_set J2', 'both are recorded');
is(query_as($node, 'zheng', q{SELECT changed_by_staff_no, reason FROM courier_pii.password_register WHERE role_name = 'keep' AND reason ~ 'halves'}), 'J2|both halves were set', 'also in the register of passwords');

# ---- the second person is present, or nothing runs ----

my $keep = session($node, 'keep', "$one$two");
is(ask($keep, 'SELECT 7'), 'PI006', 'alone no statement runs');
is(ask($keep, 'TABLE parcel'), 'PI006', 'none on a table');
is(ask($keep, 'DO $$ BEGIN END $$'), 'PI006', 'and no utility statement');
is(error_as($node, 'anna', q{SELECT courier_pii.attend_joint('keep')}), '42501', 'the first person is not the second');
my $bert = session($node, 'bert');
is(ask($bert, q{SELECT courier_pii.attend_joint('keep')}), '', 'the second person comes');
is(ask($keep, 'SELECT 7'), '7', 'and statements run');
is(ask($keep, 'SELECT staff_no, login_role FROM courier_pii.actor'), 'J1|keep', 'it acts for the first person');
is(ask($keep, 'BEGIN'), '', 'a transaction is open');
is(ask($keep, 'INSERT INTO parcel VALUES (2)'), '', 'with a change');
$keep->{out} = $keep->{err} = '';
$keep->{in} .= "SELECT pg_sleep(600);\n\\echo done\n";
$keep->{run}->pump_nb;
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'keep' AND query ~ 'pg_sleep' AND state = 'active'}), 'a statement runs');
bye($bert);
$keep->{run}->pump until $keep->{out} =~ /done/ || $keep->{err} =~ /FATAL/;
like($keep->{err}, qr/ERROR:\s+57014/, 'which is cancelled when the second person disconnects (H10)');
is(ask($keep, 'ROLLBACK'), '', 'the transaction can be ended');
is(ask($keep, 'TABLE parcel'), 'PI006', 'further statements are refused: the session pauses (H10)');
$bert = session($node, 'bert');
ask($bert, q{SELECT courier_pii.attend_joint('keep')});
is(ask($keep, 'SELECT count(*) FROM parcel'), '1', 'until the person is back');
is(ask($bert, 'SELECT courier_pii.leave_joint()'), '', 'leaving without disconnecting');
is(ask($keep, 'TABLE parcel'), 'PI006', 'does the same');
# who catches the cancellation loses the keys, and gets no other alone
$node->safe_psql($db, q{
	CREATE TABLE cell (phone courier_pii.phone, other courier_pii.phone); INSERT INTO cell VALUES ('13800000001', '13800000002');
	GRANT SELECT ON cell TO keep;
	CREATE FUNCTION stubborn(value courier_pii.phone, other courier_pii.phone) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		IF courier_pii.show(value) IS NULL THEN RETURN 'not shown'; END IF;
		PERFORM pg_advisory_lock(9);
		RETURN 'not cancelled';
	EXCEPTION WHEN query_canceled THEN
		RETURN courier_pii.show(other);
	END $$});
my $holder = session($node, $super);
ask($holder, 'SELECT pg_advisory_lock(9)');
ask($bert, q{SELECT courier_pii.attend_joint('keep')});
$keep->{out} = $keep->{err} = '';
$keep->{in} .= "SELECT stubborn(phone, other) FROM cell;\n\\echo done\n";
$keep->{run}->pump_nb;
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'keep' AND wait_event_type = 'Lock'}), 'a function runs');
ask($bert, 'SELECT courier_pii.leave_joint()');
$keep->{run}->pump until $keep->{out} =~ /done/ || $keep->{err} =~ /FATAL/;
like($keep->{err}, qr/ERROR:\s+PI004.*may do nothing until/s, 'the key agent knows that the second person is not there');
is($keep->{out}, "done\n", 'and nothing is shown');
bye($holder);
is(error_as($node, $super, 'SET SESSION AUTHORIZATION keep; TABLE parcel'), 'PI006', 'SET SESSION AUTHORIZATION is no way round');
is(error_as($node, $super, q{ALTER ROLE keep PASSWORD 'Vermilion-8-cactus-Umbrella'}), 'PI006', 'nor a superuser with ALTER ROLE');
is(error_as($node, $super, 'GRANT keep TO anna'), 'PI006', 'nor GRANT');
ask($bert, q{SELECT courier_pii.attend_joint('keep')});
is(ask($keep, "SELECT courier_pii.change_password('$one$two', 'Vermilion-8-cactus-Umbrella')"), '42501', 'nor change_password');

# ---- changing ----

is(set_half('bert', 'Silver-6-harbour-Pencil'), 'f', 'a new half of the second');
is(try_login('keep', "$one$two"), '', 'the old password holds until both are there');
is(set_half('anna', 'Amber-8-thicket-Saddle'), 't', 'and of the first');
is(try_login('keep', "$one$two"), '28P01', 'then no more');
is(try_login('keep', 'Amber-8-thicket-SaddleSilver-6-harbour-Pencil'), '', 'the new one does');
set_half('anna', $one);
is(error_as($node, 'bert', "SELECT courier_pii.set_joint_password('keep', '$two')"), '22023', 'an earlier password is refused');
set_half('anna', 'Hazel-2-glacier-Ribbon');
$node->restart;
is(set_half('bert', 'Indigo-9-orchard-Hammer'), 'f', 'a half that waited is gone after a restart');
is(set_half('anna', 'Hazel-2-glacier-Ribbon'), 't', 'and is typed again');
my $whole = 'Hazel-2-glacier-RibbonIndigo-9-orchard-Hammer';
is(try_login('keep', $whole), '', 'the password is complete');

# ---- somebody leaves ----

$keep = session($node, 'keep', $whole);
$bert = session($node, 'bert');
ask($bert, q{SELECT courier_pii.attend_joint('keep')});
is(ask($keep, 'SELECT 7'), '7', 'a session of both');
query_as($node, 'chen', q{SELECT courier_pii.depart('J2', reason => 'left')});
is(state_of(), 'void', 'a departure voids the joint password (H7)');
isnt(ask($keep, 'SELECT 7'), '7', 'ends its sessions');
is(try_login('keep', $whole), '28P01', 'and its logins');
is(error_as($node, 'anna', "SELECT courier_pii.set_joint_password('keep', '$one')"), '55000', 'the other half is useless');
is(query_as($node, 'feng', q{SELECT severity, finding FROM courier_pii.posture WHERE "check" = 'envelope' AND object = 'keep'}),
	'high|the joint password is void: custodian J2 is departed', 'posture demands new custodians');
query_as($node, 'feng', q{SELECT courier_pii.set_joint_custodians('keep', 'J1', 'J3')});
is(set_half('carl', $two) . set_half('anna', 'Hazel-2-glacier-Ribbon'), 'ft', 'which set their halves');
is(try_login('keep', "Hazel-2-glacier-Ribbon$two"), '', 'and log in');
query_as($node, 'carl', q{SELECT courier_pii.void_joint_password('keep', 'seen by a visitor')});
is(try_login('keep', "Hazel-2-glacier-Ribbon$two"), '28P01', 'a custodian makes it worthless alone');
is(set_half('carl', 'Willow-3-anchor-Basket') . set_half('anna', 'Cobalt-7-lagoon-Mitten'), 'ft', 'and both set it anew');
query_as($node, 'chen', q{SELECT courier_pii.suspend('J1', 'inquiry')});
is(try_login('keep', 'Cobalt-7-lagoon-MittenWillow-3-anchor-Basket'), '28P01', 'a suspension voids it, too');

# ---- nothing of it is written down ----

my @secrets = ($one, $two, 'Amber-8-thicket-Saddle', 'Silver-6-harbour-Pencil', 'Indigo-9-orchard-Hammer', 'Willow-3-anchor-Basket');
is_deeply([ CourierPii::grep_files($node->data_dir, @secrets) ], [], 'no half in the data directory');
is_deeply([ CourierPii::grep_files($node->{courier_pii}{directory}, @secrets) ], [], 'nor beside it');
my $log = slurp_file($node->logfile);
is(scalar(grep { index($log, $_) >= 0 } @secrets), 0, 'nor in the server log');
is(audit($node, q{SELECT count(*) > 0 FROM courier_pii.audit_log WHERE command = 'joint_session' AND outcome = 'denied'}), 't', 'refusals are in the audit trail');

query_as($node, 'feng', q{SELECT courier_pii.release_account('keep')});
is(query_as($node, 'feng', q{SELECT count(*) FROM courier_pii.joint_accounts}), '0', 'an ordinary role again');

$node->stop;
done_testing();
