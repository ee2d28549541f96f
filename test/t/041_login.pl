
# Logins: rules of accounts, locks after failures, use from two places, ends of
# contracts, reinstatement, clocks, and what a standby does.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = CourierPii->new_node('login',
	allows_streaming => 1,
	conf => "listen_addresses = '127.0.0.1'\ncourier_pii.login_address_settle = 0\nmax_prepared_transactions = 2\n");
my $db = $CourierPii::DATABASE;
my $secret = 'Vermilion-7-cactus-Umbrella';

my @people = map { "person_$_" } 1 .. 20;
$node->safe_psql($db, join '', map { "CREATE ROLE $_ LOGIN;\n" } @people,
	'chen_accounts', 'wu_accounts', 'zheng_audit', 'feng_security');
$node->safe_psql(
	$db, q{
	CREATE ROLE couriers; CREATE ROLE clerks; CREATE ROLE strong CREATEROLE;
	CREATE TABLE public.parcel (id int); GRANT SELECT ON public.parcel TO PUBLIC;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.appoint('pii_auditor', 'zheng_audit');
	SELECT courier_pii.appoint('pii_security_admin', 'feng_security');
});

sub admin { return query_as($node, 'chen_accounts', $_[0]); }

admin(q{
	SELECT courier_pii.add_org('HQ', '总部', 'hq', NULL);
	SELECT courier_pii.add_org('FR', '加盟商', 'franchise', 'HQ');
	SELECT courier_pii.add_org('FR1', '加盟网点', 'outlet', 'FR');
});
admin("SELECT courier_pii.hire('P$_', '员工$_', 'person_$_', 'HQ', 'courier')") for 1 .. 12;
admin("SELECT courier_pii.hire('P$_', '员工$_', 'person_$_', 'FR1', 'courier')") for 13 .. 15;

# host and port of TCP; the socket otherwise
my $tcp = 'host=127.0.0.1 port=' . $node->port . " dbname=$db";

sub try_login
{
	my ($role, $password, $where) = @_;
	local $ENV{PGPASSWORD} = $password // 'none';
	my $connstr = ($where // '') eq 'tcp' ? "$tcp user=$role" : login($node, $role);
	my ($out, $err) = ('', '');
	my $at = -s $node->logfile;
	my $ok = IPC::Run::run([ 'psql', '-XAtq', '-d', $connstr, '-c', 'SELECT 1' ],
		'<', \undef, '>', \$out, '2>', \$err);
	return '' if $ok;
	my $log = slurp_file($node->logfile, $at);
	return $log =~ /\[\Q$role\E ([0-9A-Z]{5})\] FATAL:/ ? $1 : "none: $err";
}

sub message_of
{
	my ($role, $password) = @_;
	local $ENV{PGPASSWORD} = $password;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', login($node, $role), '-c', 'SELECT 1' ],
		'<', \undef, '>', \$out, '2>', \$err);
	return $err;
}

# ---- one login of each kind ----

admin(q{SELECT courier_pii.add_account('P1', 'person_16', 'admin')});
is(query_as($node, 'person_16', 'SELECT staff_no FROM courier_pii.actor'),
	'P1', 'the second login is the same person');
is( error_as($node, 'chen_accounts', q{SELECT courier_pii.add_account('P1', 'person_17', 'admin')}),
	'23505', 'a person has one login of a kind');
is( error_as($node, 'chen_accounts', q{SELECT courier_pii.add_account('P2', 'person_16', 'admin')}),
	'23505', 'a login has one person');
is( error_as($node, 'chen_accounts', q{SELECT courier_pii.add_account('P2', 'person_17', 'robot')}),
	'22023', 'unknown kind');
admin(q{SELECT courier_pii.add_account('P1', 'person_17', 'service')});
admin(q{SELECT courier_pii.depart('P1')});
is(error_as($node, 'person_1', 'SELECT 1'), 'PI005', 'departed: the own login');
is(error_as($node, 'person_16', 'SELECT 1'), 'PI005', 'departed: the administrator login');
is(error_as($node, 'person_17', 'SELECT 1'), '', 'the application goes on');
like(query_as($node, 'zheng_audit', q{SELECT item, detail FROM courier_pii.leaver_report('P1')}),
	qr/^service account\|person_17$/m, 'and the report names it');

# ---- hours and addresses ----

my ($from, $to) = split /\|/, $node->safe_psql($db,
	q{SELECT to_char(now() + interval '2 hours', 'HH24:MI'), to_char(now() + interval '3 hours', 'HH24:MI')});
admin("SELECT courier_pii.set_login_rule('person_2', '$from', '$to')");
is(try_login('person_2'), 'PI005', 'outside the hours');
($from, $to) = split /\|/, $node->safe_psql($db,
	q{SELECT to_char(now() - interval '2 hours', 'HH24:MI'), to_char(now() + interval '3 hours', 'HH24:MI')});
admin("SELECT courier_pii.set_login_rule('person_2', '$from', '$to')");
is(try_login('person_2'), '', 'inside the hours, also over midnight');
my $other_day = $node->safe_psql($db, q{SELECT (extract(dow FROM now())::int + 3) % 7});
admin("SELECT courier_pii.set_login_rule('person_2', weekdays => '{$other_day}')");
is(try_login('person_2'), 'PI005', 'on another day');
admin(q{SELECT courier_pii.set_login_rule('person_2', addresses => '{10.0.0.0/8,fd00::/16}')});
is(try_login('person_2', undef, 'tcp'), 'PI005', 'from an address that is not registered');
is(try_login('person_2'), 'PI005', 'nor from the socket');
admin(q{SELECT courier_pii.set_login_rule('person_2', addresses => '{10.0.0.0/8,127.0.0.0/30}')});
is(try_login('person_2', undef, 'tcp'), '', 'from a registered one');
is(try_login('person_2'), '', 'the socket counts as loopback');
admin(q{SELECT courier_pii.set_login_rule('person_2')});
is(try_login('person_2', undef, 'tcp'), '', 'rules are taken back');
for my $bad (
	[ q{'person_2', '08:00'}, 'half of the hours' ],
	[ q{'person_2', '08:00', '08:00'}, 'no hours' ],
	[ q{'person_2', weekdays => '{7}'}, 'an eighth day' ],
	[ q{'person_2', weekdays => '{}'}, 'no day' ],
	[ q{'person_2', addresses => '{}'}, 'no address' ],
	[ q{'zheng_audit'}, 'an account of nobody' ])
{
	is(error_as($node, 'chen_accounts', "SELECT courier_pii.set_login_rule($bad->[0])"),
		'22023', "refused: $bad->[1]");
}

# ---- two places ----

my $held = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'person_3'), '-c', 'SELECT pg_sleep(600)' ],
	'<', \undef, '>', \my $held_out, '2>', \my $held_err);
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'person_3' AND wait_event = 'PgSleep'}),
	'a session is open');
is(try_login('person_3', undef, 'tcp'), '', 'log: the second place is let in');
$node->append_conf('postgresql.conf', "courier_pii.login_address_conflict = 'reject'\n");
$node->reload;
is(try_login('person_3', undef, 'tcp'), 'PI005', 'reject: the second place is refused');
is(try_login('person_3'), '', 'the same place is not');
$node->append_conf('postgresql.conf', "courier_pii.login_address_settle = '1 h'\n");
$node->reload;
is(try_login('person_3', undef, 'tcp'), '', 'a change of the address within the settling time is none');
$node->append_conf('postgresql.conf', "courier_pii.login_address_settle = 0\n");
$node->reload;
admin(q{SELECT courier_pii.set_login_rule('person_3', sharing => true)});
is(try_login('person_3', undef, 'tcp'), '', 'unless the account may be shared');
admin(q{SELECT courier_pii.set_login_rule('person_3')});
$node->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'person_3'});
eval { $held->finish; };
ok(wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'person_3'}), 'it ends');
is(try_login('person_3', undef, 'tcp'), '', 'no session, no conflict');
$node->append_conf('postgresql.conf', "courier_pii.login_address_conflict = 'log'\n");

# ---- nobody's roles ----

$node->append_conf('postgresql.conf', "courier_pii.unregistered_login = 'reject'\n");
$node->reload;
ok(try_login('person_18') eq 'PI005', 'a role of nobody is refused');
is(try_login('person_4'), '', 'a person is not');
is($node->safe_psql($db, 'SELECT 1'), '1', 'nor a superuser on the machine');
$node->append_conf('postgresql.conf', "courier_pii.unregistered_login = 'allow'\n");
$node->reload;

# ---- failures ----

$node->safe_psql($db, join '', map { "ALTER ROLE $_ PASSWORD '$secret';" } 'person_5', 'person_6', 'person_7', 'feng_security');
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf',
	"local all person_5,person_6,person_7,feng_security,no_such_role scram-sha-256\n"
	  . "host all person_6 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n$lines");
$node->reload;
is(try_login('person_5', $secret), '', 'the right password');
is(try_login('person_5', 'wrong'), '28P01', "wrong password $_") for 1 .. 4;
is(try_login('person_5', $secret), '', 'four failures do not lock');
is(try_login('person_5', 'wrong'), '28P01', "again, $_") for 1 .. 5;
is(try_login('person_5', $secret), 'PI005', 'five lock the account');
is(message_of('person_5', 'wrong') =~ s/person_\d/x/gr, message_of('person_6', 'wrong') =~ s/person_\d/x/gr,
	'a wrong password at a locked account looks like any other');
is(message_of('no_such_role', 'wrong') =~ s/no_such_role/x/gr, message_of('person_6', 'wrong') =~ s/person_\d/x/gr,
	'and so does a role that does not exist');
is( query_as($node, 'zheng_audit', q{SELECT locked_until > now(), failures >= 5 FROM courier_pii.accounts WHERE login_role = 'person_5'::regrole}),
	't|t', 'accounts shows the lock');
is(error_as($node, 'person_4', q{SELECT courier_pii.unlock('person_5')}), '42501', 'nobody unlocks himself');
admin(q{SELECT courier_pii.unlock('person_5')});
is(try_login('person_5', $secret), '', 'unlocked');

try_login('person_6', 'wrong') for 1 .. 5;
is(try_login('person_6', $secret), 'PI005', 'locked at the socket');
is(try_login('person_6', $secret, 'tcp'), '', 'a colleague elsewhere is not');
$node->stop('immediate');
$node->start;
is(try_login('person_6', $secret), 'PI005', 'a crash does not unlock');
$node->restart;
is(try_login('person_6', $secret), 'PI005', 'nor does a restart');
is(try_login('person_6', $secret, 'tcp'), '', 'and locks nobody elsewhere');
admin(q{SELECT courier_pii.unlock('person_6')});
$node->stop('immediate');
$node->start;
is(try_login('person_6', $secret), '', 'unlocked, also after a crash');

# an expired password fails with the right one too: not counted
$node->safe_psql($db, q{ALTER ROLE person_7 VALID UNTIL '2020-01-01'});
is(try_login('person_7', $secret), '28P01', "expired, try $_") for 1 .. 6;
$node->safe_psql($db, q{ALTER ROLE person_7 VALID UNTIL 'infinity'});
is(try_login('person_7', $secret), '', 'does not lock');

# the last security administrator
is(try_login('feng_security', 'wrong'), '28P01', "administrator, wrong password $_") for 1 .. 7;
is(try_login('feng_security', $secret), '', 'the last administrator is not locked');

# an account that fails again and again does not fill the audit trail
try_login('no_such_role', 'wrong') for 1 .. 20;
my $denied = audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'LOGIN_DENIED' AND login_role = 'unknown'});
cmp_ok($denied, '<=', 12, 'records of failures are limited');
cmp_ok($denied, '>=', 1, 'but there are some');

# ---- reinstatement ----

$node->safe_psql($db, q{GRANT couriers, clerks TO person_8; GRANT couriers TO person_9});
admin(q{SELECT courier_pii.suspend('P8', 'badge lost')});
is(try_login('person_8'), 'PI005', 'suspended');
admin(q{SELECT courier_pii.reinstate('P8')});
is(try_login('person_8'), '', 'reinstated');
is($node->safe_psql($db, q{SELECT pg_has_role('person_8', 'couriers', 'member')}), 't', 'a suspension keeps the groups');
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.reinstate('P8')}), '55000', 'who is at work is not reinstated');
admin(q{SELECT courier_pii.depart('P9')});
is($node->safe_psql($db, q{SELECT pg_has_role('person_9', 'couriers', 'member')}), 'f', 'a departure takes the groups');
like(query_as($node, 'zheng_audit', q{SELECT item, detail FROM courier_pii.leaver_report('P9')}),
	qr/^taken\|couriers, departure/m, 'and the report remembers them');
admin(q{SELECT courier_pii.reinstate('P9')});
is(try_login('person_9'), '', 'the person comes back');
is($node->safe_psql($db, q{SELECT pg_has_role('person_9', 'couriers', 'member')}), 'f', 'without the groups');
admin(q{SELECT courier_pii.depart('P10', now() + interval '1 hour'); SELECT courier_pii.reinstate('P10')});
is(admin(q{SELECT departed_at IS NULL FROM courier_pii.staff WHERE staff_no = 'P10'}), 't', 'a set departure is taken back');
is( error_as($node, 'chen_accounts', q{BEGIN; SELECT courier_pii.suspend('P10'); SELECT courier_pii.reinstate('P10'); ROLLBACK;}),
	'', 'suspended and reinstated in one transaction, rolled back');
is(try_login('person_10'), '', 'nothing remains of it');

# ---- posts ----

$node->safe_psql($db, q{SELECT courier_pii.set_post_rights('courier', '{couriers}'), courier_pii.set_post_rights('clerk', '{clerks}')});
for my $bad (qw(strong pii_auditor pg_read_all_data))
{
	my ($rc, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\nSELECT courier_pii.set_post_rights('boss', '{$bad}')");
	like($err, qr/ERROR:  22023/, "$bad is no right of a post");
}
admin(q{SELECT courier_pii.hire('P19', '员工19', 'person_19', 'HQ', 'courier')});
sub groups { return $node->safe_psql($db, "SELECT string_agg(roleid::regrole::text, ',' ORDER BY 1) FROM pg_auth_members WHERE member = '$_[0]'::regrole"); }
is(groups('person_19'), 'couriers', 'hired: the rights of the post begin');
admin(q{SELECT courier_pii.transfer('P19', 'FR', 'courier')});
is(groups('person_19'), 'couriers', 'the same post elsewhere: they stay');
admin(q{SELECT courier_pii.transfer('P19', 'HQ', 'clerk')});
is(groups('person_19'), 'clerks', 'another post: the old ones end, the new ones begin');
is(admin(q{SELECT string_agg(org || ':' || post || ':' || (to_at IS NULL), ' ' ORDER BY from_at) FROM courier_pii.posts WHERE staff_no = 'P19'}),
	'HQ:courier:false FR:courier:false HQ:clerk:true', 'posts have dates');

# ---- the end of a contract ----

admin(q{SELECT courier_pii.set_org_contract('FR', now() + interval '3 seconds')});
is(try_login('person_13'), '', 'a franchise at work');
usleep(3_500_000);
is(try_login('person_13'), 'PI005', 'the contract has ended');
ok(wait_until($node, q{SELECT count(*) = 3 FROM courier_pii.staff WHERE status = 'suspended' AND org = 'FR1'}, 40),
	'the worker suspends the people of the units below');
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.reinstate('P13')}), '55000', 'no way back without a contract');
admin(q{SELECT courier_pii.set_org_contract('FR', NULL); SELECT courier_pii.reinstate('P13')});
is(try_login('person_13'), '', 'with one there is');
admin(q{SELECT courier_pii.set_org_contract('FR', now() - interval '1 day')});
is(try_login('person_13'), 'PI005', 'an end that has passed holds at once');

# ---- a prepared transaction, default privileges, and the case ----

$node->safe_psql($db, 'GRANT CREATE ON SCHEMA public TO person_11');
query_as($node, 'person_11', q{ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO person_12; CREATE TABLE public.mine (); BEGIN; CREATE TABLE public.later (); PREPARE TRANSACTION 'left behind'});
admin(q{SELECT courier_pii.depart('P11')});
my $report = query_as($node, 'zheng_audit', q{SELECT section, item, detail FROM courier_pii.leaver_report('P11')});
like($report, qr/^prepared transaction\|left behind\|$db, since .* locks$/m, 'report: prepared transactions');
like($report, qr/^default privileges\|all schemas/m, 'report: default privileges');
like($report, qr/^objects\|owned here\|table public.mine$/m, 'report: what is owned here');
like($report, qr/^sign-off\|missing\|audit$/m, 'report: missing signatures');
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.drop_leaver('P11', 'clerks')}), '55000', 'no drop without signatures');
admin(q{SELECT courier_pii.sign_off_leaver('P11', 'manager')});
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.sign_off_leaver('P11', 'security')}), 'PI006', 'nobody signs for another duty');
query_as($node, 'zheng_audit', q{SELECT courier_pii.sign_off_leaver('P11', 'audit', 'nothing unusual')});
{
	local $ENV{PGPASSWORD} = $secret;
	query_as($node, 'feng_security', q{SELECT courier_pii.sign_off_leaver('P11', 'security')});
}
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.drop_leaver('P11', 'clerks')}), '55000', 'nor in quarantine');
$node->append_conf('postgresql.conf', "courier_pii.leaver_quarantine_days = 0\n");
$node->reload;
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.drop_leaver('P11', 'clerks')}), '2BP01', 'nor with a prepared transaction');
$node->safe_psql($db, q{ROLLBACK PREPARED 'left behind'});
$node->safe_psql($db, 'CREATE ROLE keeper_super SUPERUSER; CREATE ROLE keeper_duty; GRANT pii_auditor TO keeper_duty; CREATE ROLE keeper_files; GRANT pg_read_server_files TO keeper_files');
is(error_as($node, 'chen_accounts', qq{SELECT courier_pii.drop_leaver('P11', '$_')}), '22023', "$_ is no keeper of the functions of others")
  for qw(keeper_super keeper_duty keeper_files);
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.drop_leaver('P11', 'clerks')}), '', 'then the role is dropped');
is($node->safe_psql($db, q{SELECT to_regrole('person_11') IS NULL, relowner::regrole FROM pg_class WHERE relname = 'mine'}),
	't|clerks', 'and the keeper has what it owned');

# ---- long without a login ----

$node->safe_psql($db, 'CREATE ROLE lazy LOGIN');
admin(q{SELECT courier_pii.hire('P20', '员工20', 'lazy', 'HQ', 'courier')});
$node->stop;
SKIP:
{
	my $faketime = `which faketime 2>/dev/null`;
	chomp $faketime;
	skip 'faketime is not installed', 4 if $faketime eq '';
	my $library = (glob '/usr/lib/*/faketime/libfaketime.so.1')[0] // '';
	skip 'faketime has no library', 4 if $library eq '';

	# a departure that is set, seen once, and a clock that goes back
	$node->start;
	admin(q{SELECT courier_pii.depart('P12', now() + interval '2 seconds')});
	usleep(2_500_000);
	is(try_login('person_12'), 'PI005', 'a departure has come');
	$node->stop;
	{
		local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME => '-2d');
		my $at = -s $node->logfile;
		is(system('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=login', 'start'), 0,
			'the server starts with a clock two days behind');
		like(slurp_file($node->logfile, $at), qr/the clock is behind/, 'and says so');
	}
	is(try_login('person_12'), 'PI005', 'a clock set back revives nobody');
	system('pg_ctl', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop');
}
$node->start;

# ---- a standby ----

$node->backup('base');
my $standby = CourierPii->new_node('login_standby', from_backup => [ $node, 'base', has_streaming => 1 ]);
is($standby->safe_psql($db, 'SELECT pg_is_in_recovery()'), 't', 'a standby');
{
	local $ENV{PGPASSWORD} = 'not the password';
	is(error_as($standby, 'person_5', 'SELECT 1'), '28P01', 'asks for passwords');
}
my $there = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', login($standby, 'person_4'), '-c', 'SELECT pg_sleep(600)' ],
	'<', \undef, '>', \my $there_out, '2>', \my $there_err, IPC::Run::timeout(60));
for (1 .. 300)
{
	last if $standby->safe_psql($db, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'person_4' AND wait_event = 'PgSleep'}) eq 't';
	usleep(50_000);
}
admin(q{SELECT courier_pii.depart('P4')});
eval { $there->finish; };
like($there_err, qr/PI005: account of role "person_4" is disabled/, 'a session on the standby ends');
is(error_as($standby, 'person_4', 'SELECT 1'), 'PI005', 'and no other begins');
is(error_as($standby, 'person_10', 'SELECT 1'), '', 'others read there');
is($standby->safe_psql($db, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'courier_pii standby worker'}), '1',
	'by the standby worker');
$standby->promote;
ok(wait_until($standby, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'courier_pii standby worker'}),
	'which leaves when the standby is promoted');
is(error_as($standby, 'person_4', 'SELECT 1'), 'PI005', 'and leaves the denial behind');
$standby->stop;

$node->stop;
done_testing();
