
# Separation of duties: the end of set-up, which survives restart, crash,
# standby and restore, and what a superuser cannot do afterwards.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('duties', allows_streaming => 1);
my $super = getpwuid($<);
$super = $node->safe_psql('postgres', 'SELECT current_user');

sub as_super { return error_as($node, $super, $_[0]); }

# the dead server's children need a moment to notice
sub start_after_crash
{
	my ($n) = @_;
	for (1 .. 100)
	{
		return if $n->start(fail_ok => 1);
		usleep(100_000);
	}
	die 'server does not start after the crash';
}

$node->safe_psql($db, q{
	CREATE ROLE feng LOGIN; CREATE ROLE qian LOGIN; CREATE ROLE zheng LOGIN;
	CREATE ROLE chen LOGIN; CREATE ROLE dba LOGIN; CREATE ROLE clerk LOGIN; CREATE ROLE business;
	CREATE ROLE safe_1 LOGIN; CREATE ROLE safe_2 LOGIN; CREATE ROLE safe_3 LOGIN;
	SELECT courier_pii.add_org('HQ', 'Head office', 'hq');
	SELECT courier_pii.hire('S1', 'Feng', 'feng', 'HQ', NULL), courier_pii.hire('S2', 'Qian', 'qian', 'HQ', NULL),
		courier_pii.hire('A1', 'Zheng', 'zheng', 'HQ', NULL), courier_pii.hire('D1', 'Dai', 'dba', 'HQ', NULL),
		courier_pii.hire('W1', 'Wang', 'clerk', 'HQ', NULL),
		courier_pii.hire('C1', 'Kong', 'safe_1', 'HQ', NULL), courier_pii.hire('C2', 'Cao', 'safe_2', 'HQ', NULL),
		courier_pii.hire('C3', 'Yan', 'safe_3', 'HQ', NULL);
	SELECT courier_pii.appoint('pii_security_admin', 'feng'), courier_pii.appoint('pii_security_admin', 'qian'),
		courier_pii.appoint('pii_auditor', 'zheng'), courier_pii.appoint('pii_account_admin', 'chen');
	CREATE TABLE parcel (id int PRIMARY KEY, phone text);
	INSERT INTO parcel SELECT i, '138' || lpad(i::text, 8, '0') FROM generate_series(1, 20) i;
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone');
	SELECT courier_pii.grant_disclosure('business', 'phone', 'clear');
	CREATE TABLE other (id int);
	ALTER ROLE dba SUPERUSER;
});

# ---- sealing ----

is(error_as($node, 'clerk', 'SELECT courier_pii.seal_duties()'), '42501', 'not everybody seals');
is(error_as($node, 'feng', 'SELECT courier_pii.seal_duties()'), '55000', 'a holder who is not in the register does not count');
$node->safe_psql($db, q{SELECT courier_pii.hire('P1', 'Chen', 'chen', 'HQ', NULL)});
$node->safe_psql($db, q{BEGIN; SELECT courier_pii.seal_duties(); ROLLBACK});
is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 'f', 'a sealing that is rolled back did not happen');
is(query_as($node, 'feng', 'BEGIN; SELECT courier_pii.seal_duties(); SELECT courier_pii.duties_sealed(); COMMIT') =~ /t/ ? 1 : 0, 0,
	'it counts from the commit on');
is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 't', 'sealed');
is($node->safe_psql('postgres', 'SHOW server_version') ne '', 1, 'other databases work');
is(error_as($node, 'feng', 'SELECT courier_pii.seal_duties()'), '55000', 'only once');

sub refused_now
{
	my ($when) = @_;
	is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 't', "sealed $when");
	is(as_super(q{SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear')}), 'PI006', "a superuser grants nothing $when");
	is(as_super(q{SELECT courier_pii.appoint('pii_auditor', 'clerk')}), 'PI006', "and appoints nobody $when");
	is(as_super(q{SELECT courier_pii.hire('X1', 'X', 'clerk', 'HQ', NULL)}), 'PI006', "and hires nobody $when");
	return;
}

refused_now('after the commit');
is(error_as($node, 'feng', q{SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear')}), 'PI001', 'a widening needs a ticket');
is(error_as($node, 'feng', q{SELECT courier_pii.appoint('pii_auditor', 'clerk')}), 'PI001', 'an appointment, too');
query_as($node, 'feng', q{SELECT courier_pii.revoke_disclosure('business', 'phone')});
pass('taking away needs none');

$node->restart;
refused_now('after a restart');
$node->stop('immediate');
start_after_crash($node);
refused_now('after a crash');
unlink $node->data_dir . '/courier_pii_duties';
$node->stop('immediate');
start_after_crash($node);
ok(wait_until($node, 'SELECT courier_pii.duties_sealed()'), 'the register knows it when the file is lost');
$node->stop('immediate');
append_to_file($node->data_dir . '/courier_pii_duties', 'x');
start_after_crash($node);
refused_now('with a damaged file');


$node->stop;
done_testing();
