
# People: hire, transfer, suspend, depart, appoint.  A person who left gets no
# further statement in an open session and no new login, whatever happens to
# the transaction, the worker or the server.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = CourierPii->new_node('departure',
	allows_streaming => 1,
	conf => "max_prepared_transactions = 2\n");
my $db = $CourierPii::DATABASE;
my $gone = qr/PI005: account of role "[a-z_0-9]+" is disabled/;

# ---- sessions that stay open ----

sub session
{
	my ($role) = @_;
	my $s = { in => '', out => '', err => '' };
	$s->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$s->{run} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-v',
			'SHOW_CONTEXT=never', '-d', login($node, $role)
		],
		'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err}, $s->{timer});
	tell_session($s, "SELECT 'ready';");
	expect_out($s, qr/ready/);
	return $s;
}

sub tell_session
{
	my ($s, $sql) = @_;
	$s->{in} .= "$sql\n";
	$s->{run}->pump_nb;
	return;
}

sub expect_out
{
	my ($s, $pattern) = @_;
	$s->{run}->pump until $s->{out} =~ $pattern || $s->{err} =~ /FATAL|lost/;
	my $out = $s->{out};
	$s->{out} = '';
	return $out;
}

# the rest of what the session says until it ends
sub last_words
{
	my ($s) = @_;
	eval { $s->{run}->finish; };
	return $s->{err};
}

sub sessions_of
{
	my ($role) = @_;
	return $node->safe_psql($db,
		"SELECT count(*) FROM pg_stat_activity WHERE usename = '$role'");
}

# the dead server's children need a moment to notice
sub start_after_crash
{
	for (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		usleep(100_000);
		$node->stop('fast', fail_ok => 1);
	}
	die 'server does not start after the crash';
}

sub admin { return query_as($node, 'chen_accounts', $_[0]); }

# ---- the company ----

my @people = map { "leaver_$_" } 1 .. 16;
my $sql = join '', map { "CREATE ROLE $_ LOGIN;\n" } @people;
$node->safe_psql(
	$db, qq{
	$sql
	CREATE ROLE chen_accounts LOGIN;
	CREATE ROLE zheng_audit LOGIN;
	CREATE ROLE feng_security LOGIN;
	CREATE ROLE colleague LOGIN;
	CREATE ROLE boss LOGIN SUPERUSER;
	GRANT leaver_5 TO colleague;
	CREATE TABLE public.parcel (id int PRIMARY KEY, note text);
	INSERT INTO public.parcel SELECT n, 'x' FROM generate_series(1, 1000) n;
	GRANT ALL ON public.parcel TO PUBLIC;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.appoint('pii_auditor', 'zheng_audit');
	SELECT courier_pii.appoint('pii_security_admin', 'feng_security');
});

admin(q{
	SELECT courier_pii.add_org('HQ', '總部', 'hq', NULL);
	SELECT courier_pii.add_org('SH', '上海分公司', 'branch', 'HQ');
	SELECT courier_pii.add_org('SH01', '徐汇网点', 'station', 'SH');
	SELECT courier_pii.add_org('BJ', '北京分公司', 'branch', 'HQ');
});
admin("SELECT courier_pii.hire('S$_', '员工$_', 'leaver_$_', 'SH01', 'courier')")
  for 1 .. 13;

# ---- who is acting ----

is( query_as(
		$node, 'leaver_1',
		'SELECT staff_no, login_role, proof, org, client_addr IS NULL FROM courier_pii.actor'
	),
	'S1|leaver_1|login|SH01|t',
	'the actor view names the person');
is( query_as(
		$node, 'colleague',
		'SELECT staff_no, login_role, proof, org FROM courier_pii.actor'),
	'|colleague|none|',
	'a role of nobody has no person');
is( query_as(
		$node, 'colleague',
		'SET ROLE leaver_5; SELECT courier_pii.actor_staff_no() IS NULL, courier_pii.actor_login()'
	),
	't|colleague',
	'SET ROLE does not make another person');
is( query_as(
		$node, 'leaver_1',
		q{SELECT string_agg(c, ',' ORDER BY c) FROM courier_pii.org_within('SH') c}
	),
	'SH,SH01',
	'org_within gives the subtree');
is( query_as(
		$node, 'leaver_1',
		q{SELECT count(*) FROM courier_pii.org_within('no such unit')}),
	'0', 'org_within of an unknown unit is empty');
is(query_as($node, 'leaver_1', 'SELECT courier_pii.actor_org()'),
	'SH01', 'actor_org');
is(query_as($node, 'leaver_1', 'SELECT courier_pii.actor_client() IS NULL'),
	't', 'actor_client of a courier');
admin(q{SELECT courier_pii.hire('C1', '淘星客服', 'leaver_16', 'HQ', 'client', '{"client": "TX"}')});
is(query_as($node, 'leaver_16', 'SELECT courier_pii.actor_client()'),
	'TX', 'actor_client of a client company');

# ---- bad input ----

my @bad = (
	[ '22023', q{hire('X1', 'x', 'leaver_14', 'NOWHERE', 'courier')}, 'unknown unit' ],
	[ '22023', q{hire('', 'x', 'leaver_14', 'SH', 'courier')}, 'empty staff number' ],
	[ '22023', q{hire(repeat('9', 64), 'x', 'leaver_14', 'SH', 'courier')}, 'long staff number' ],
	[ '22004', q{hire(NULL, 'x', 'leaver_14', 'SH', 'courier')}, 'null staff number' ],
	[ '42704', q{hire('X1', 'x', 'nobody_here', 'SH', 'courier')}, 'role that is nobody' ],
	[ '42704', q{hire('X1', 'x', 4000000000::oid::regrole, 'SH', 'courier')}, 'OID of no role' ],
	[ '22023', q{hire('X1', 'x', 'boss', 'SH', 'courier')}, 'superuser' ],
	[ '22023', q{hire('X1', 'x', 'pii_auditor', 'SH', 'courier')}, 'duty role as login' ],
	[ '23505', q{hire('X1', 'x', 'leaver_1', 'SH', 'courier')}, 'login taken' ],
	[ '23505', q{hire('S1', 'x', 'leaver_14', 'SH', 'courier')}, 'staff number taken' ],
	[ '22023', q{hire('X1', 'x', 'leaver_14', 'SH', 'courier', '[1]')}, 'details not an object' ],
	[ '23505', q{add_org('SH', 'x', 'branch', 'HQ')}, 'unit exists' ],
	[ '22023', q{add_org('GZ', 'x', 'branch', 'NOWHERE')}, 'unknown parent' ],
	[ '22023', q{depart('S999')}, 'unknown person departs' ],
	[ '22023', q{depart('S1', 'infinity')}, 'infinite time' ],
	[ '22004', q{depart('S1', NULL)}, 'null time' ],
	[ '22023', q{suspend('S999')}, 'unknown person suspended' ],
	[ '22023', q{transfer('S1', 'NOWHERE', 'courier')}, 'transfer to nowhere' ],
	[ '22023', q{transfer('S999', 'SH', 'courier')}, 'unknown person transferred' ],
	[ '22023', q{leaver_report('S999')}, 'report on unknown person' ],
);
is(error_as($node, 'chen_accounts', "SELECT courier_pii.$_->[1]"),
	$_->[0], "refused: $_->[2]")
  for @bad;

is(error_as($node, 'leaver_1', q{SELECT courier_pii.depart('S2')}),
	'42501', 'an ordinary person cannot call depart');
is(error_as($node, 'leaver_1', 'TABLE courier_pii.staff'),
	'42501', 'nor read the register');
is(error_as($node, 'chen_accounts', 'TABLE courier_pii.staff_register'),
	'42501', 'nobody reads the table itself');
is( query_as(
		$node, 'zheng_audit',
		q{SELECT login_role, staff_no, status, can_login, not_after, sessions
		  FROM courier_pii.accounts WHERE staff_no = 'S1'}),
	'leaver_1|S1|active|t||0',
	'the auditor reads accounts');

# ---- duties exclude each other ----

is( error_as(
		$node, 'feng_security',
		q{SELECT courier_pii.appoint('pii_auditor', 'chen_accounts')}),
	'0LP01',
	'an account administrator cannot be auditor');
is( error_as(
		$node, 'feng_security',
		q{SELECT courier_pii.appoint('pii_auditor', 'boss')}),
	'0LP01', 'a superuser cannot be auditor');
is( error_as(
		$node, 'feng_security',
		q{SELECT courier_pii.appoint('pii_emperor', 'colleague')}),
	'22023', 'unknown duty');
is( error_as(
		$node, 'chen_accounts',
		q{SELECT courier_pii.appoint('pii_backup', 'colleague')}),
	'42501', 'only the security administrator appoints');
$node->safe_psql($db,
	'CREATE ROLE office NOLOGIN; GRANT office TO zheng_audit');
is( error_as(
		$node, 'feng_security',
		q{SELECT courier_pii.appoint('pii_account_admin', 'office')}),
	'0LP01',
	'nor through a group that an auditor is in');

# ---- departure of somebody at work ----

my $idle = session('leaver_1');
my $locker = session('leaver_1');
tell_session($locker,
	"BEGIN; UPDATE public.parcel SET note = 'y' WHERE id = 1; SELECT 'locked';");
expect_out($locker, qr/locked/);
my $cursor = session('leaver_1');
tell_session($cursor,
	"BEGIN; DECLARE c CURSOR FOR SELECT id FROM public.parcel; FETCH 1 FROM c;");
expect_out($cursor, qr/^1$/m);
my $runner = session('leaver_1');
tell_session($runner, 'SELECT pg_sleep(600);');
wait_until($node,
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'leaver_1' AND wait_event = 'PgSleep'}
);
is(sessions_of('leaver_1'), '4', 'four sessions at work');
is( query_as(
		$node, 'zheng_audit',
		q{SELECT sessions FROM courier_pii.accounts WHERE staff_no = 'S1'}),
	'4', 'accounts counts them');

admin(q{SELECT courier_pii.depart('S1', reason => 'resigned')});
ok( wait_until(
		$node,
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'leaver_1'},
		5),
	'all sessions end at once');
tell_session($_, 'SELECT 1;') for $idle, $locker, $cursor;
like(last_words($idle), $gone, 'idle session is told PI005');
like(last_words($locker), $gone, 'session in a transaction is told PI005');
like(last_words($cursor), $gone, 'session with a cursor is told PI005');
like(last_words($runner), $gone, 'running statement is ended with PI005');
is($node->safe_psql($db, 'SELECT note FROM public.parcel WHERE id = 1 FOR UPDATE NOWAIT'),
	'x', 'the open transaction is undone and its lock free');
is(error_as($node, 'leaver_1', 'SELECT 1'), 'PI005', 'login is refused');
is( $node->safe_psql(
		$db, q{SELECT rolcanlogin FROM pg_roles WHERE rolname = 'leaver_1'}),
	'f', 'the catalog says NOLOGIN');
is( query_as(
		$node, 'zheng_audit',
		q{SELECT staff_no, status, reason, can_login, sessions FROM courier_pii.leavers}),
	'S1|departed|resigned|f|0',
	'leavers lists the person');
is( error_as(
		$node, 'chen_accounts', q{SELECT courier_pii.depart('S1')}),
	'', 'departing twice is no error');
is( error_as(
		$node, 'chen_accounts',
		q{SELECT courier_pii.transfer('S1', 'BJ', 'clerk')}),
	'55000', 'who has left is not transferred');
is( error_as(
		$node, 'chen_accounts',
		q{SELECT courier_pii.hire('S1b', 'x', 'leaver_1', 'SH', 'courier')}),
	'23505',
	'the login is not given to somebody else');
is( error_as(
		$node, 'feng_security',
		q{SELECT courier_pii.appoint('pii_backup', 'leaver_1')}),
	'22023', 'who has left is not appointed');

# a replication login is a login
my ($stdout, $stderr) = run_command(
	[ 'psql', '-X', '-d', $node->connstr('postgres') . ' user=leaver_1 replication=1',
		'-c', 'IDENTIFY_SYSTEM' ]);
like($stderr, qr/account of role "leaver_1" is disabled/,
	'replication login is refused');

# enabling the role behind our back does not let the person in
$node->safe_psql($db, 'ALTER ROLE leaver_1 LOGIN');
is(error_as($node, 'leaver_1', 'SELECT 1'),
	'PI005', 'LOGIN given back by hand does not help');
$node->safe_psql($db, 'ALTER ROLE leaver_1 RENAME TO leaver_1_new');
is(error_as($node, 'leaver_1_new', 'SELECT 1'),
	'PI005', 'nor does another name');

# ---- others who work as the person who left ----

my $friend = session('colleague');
tell_session($friend, "SET ROLE leaver_5; BEGIN; SELECT 'inside';");
expect_out($friend, qr/inside/);
my $oid = $node->safe_psql($db, 'SELECT lo_creat(-1)');
$node->safe_psql($db, "GRANT SELECT ON LARGE OBJECT $oid TO PUBLIC");
$node->safe_psql($db,
	q{CREATE FUNCTION public.of_leaver() RETURNS bigint LANGUAGE sql SECURITY DEFINER
	  RETURN (SELECT count(*) FROM public.parcel);
	  GRANT CREATE ON SCHEMA public TO leaver_5;
	  ALTER FUNCTION public.of_leaver() OWNER TO leaver_5});
my $statement = session('colleague');
tell_session($statement, "SET ROLE leaver_5; SELECT 'inside';");
expect_out($statement, qr/inside/);
admin(q{SELECT courier_pii.depart('S5')});
tell_session($statement, 'SELECT 1;');
like(last_words($statement), $gone,
	'next statement inside SET ROLE is refused');
# psql opens no transaction of its own here, so the first thing sent is the
# fast-path call
tell_session($friend, "\\lo_export $oid /dev/null");
like(last_words($friend), $gone, 'fast-path call inside SET ROLE is refused');
is(error_as($node, 'colleague', 'SELECT 1'),
	'', 'the colleague can still work as themselves');
is(query_as($node, 'colleague', 'SELECT public.of_leaver()'),
	'1000', 'code that belongs to a person who left goes on working');

# ---- changes of mind ----

is( query_as(
		$node, 'chen_accounts', q{
		BEGIN;
		SELECT courier_pii.depart('S2');
		ROLLBACK;
		SELECT status FROM courier_pii.staff WHERE staff_no = 'S2'}),
	"\nactive",
	'depart is rolled back');
is(error_as($node, 'leaver_2', 'SELECT 1'), '', 'and the login works again');

my $admin = session('chen_accounts');
tell_session($admin,
	"BEGIN; SAVEPOINT s; SELECT courier_pii.depart('S2'); SELECT 'pending';");
expect_out($admin, qr/pending/);
is(error_as($node, 'leaver_2', 'SELECT 1'),
	'PI005', 'a departure holds before it is committed');
tell_session($admin, "ROLLBACK TO s; SELECT 'withdrawn';");
expect_out($admin, qr/withdrawn/);
is(error_as($node, 'leaver_2', 'SELECT 1'),
	'', 'rollback to a savepoint withdraws it');
tell_session($admin,
	"SAVEPOINT t; SELECT courier_pii.depart('S3'); RELEASE t; COMMIT; SELECT 'committed';"
);
expect_out($admin, qr/committed/);
is(error_as($node, 'leaver_3', 'SELECT 1'),
	'PI005', 'a released savepoint counts at commit');
is(error_as($node, 'leaver_2', 'SELECT 1'), '', 'the other person is unharmed');
tell_session($admin, '\q');
last_words($admin);

is( error_as(
		$node, 'chen_accounts',
		q{BEGIN; SELECT courier_pii.depart('S4'); PREPARE TRANSACTION 'p'}),
	'0A000',
	'PREPARE TRANSACTION is refused');
is(error_as($node, 'leaver_4', 'SELECT 1'), '', 'and nothing remains of it');

# ---- suspension, transfer ----

admin(q{SELECT courier_pii.transfer('S4', 'BJ', 'clerk')});
is(query_as($node, 'leaver_4', 'SELECT courier_pii.actor_org()'),
	'BJ', 'transfer changes the unit');
is( query_as(
		$node, 'zheng_audit',
		q{SELECT org, post FROM courier_pii.staff WHERE staff_no = 'S4'}),
	'BJ|clerk', 'also in the register');
admin(q{SELECT courier_pii.suspend('S4', 'investigation')});
is(error_as($node, 'leaver_4', 'SELECT 1'), 'PI005', 'suspended');
admin(q{SELECT courier_pii.depart('S4')});
is(error_as($node, 'leaver_4', 'SELECT 1'), 'PI005', 'suspended, then departed');

# ---- a time to come ----

admin(q{SELECT courier_pii.depart('S6', now() + interval '3 seconds')});
is( error_as(
		$node, 'chen_accounts',
		q{SELECT courier_pii.depart('S6', now() + interval '1 day')}),
	'55000', 'a departure is not put off');
my $future = session('leaver_6');
tell_session($future, "SELECT 'still here';");
like(expect_out($future, qr/still here/),
	qr/still here/, 'until the time the person works');
sleep 4;
tell_session($future, "SELECT 'too late';");
like(last_words($future), $gone, 'from the time on not');
unlike($future->{out}, qr/too late/, 'and nothing is returned');
is(error_as($node, 'leaver_6', 'SELECT 1'), 'PI005', 'nor can they log in');
ok( wait_until(
		$node,
		q{SELECT NOT rolcanlogin AND (SELECT status FROM courier_pii.staff WHERE staff_no = 'S6') = 'departed'
		  FROM pg_roles WHERE rolname = 'leaver_6'},
		60),
	'the worker completes the departure');

# ---- passwords ----

$node->safe_psql($db, q{ALTER ROLE leaver_7 PASSWORD 'Correct-horse-7-battery'});
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf',
	"local all leaver_7 scram-sha-256\n$lines");
$node->reload;
{
	local $ENV{PGPASSWORD} = 'Correct-horse-7-battery';
	is(error_as($node, 'leaver_7', 'SELECT 1'), '', 'login with a password');
	admin(q{SELECT courier_pii.suspend('S7')});
	is(error_as($node, 'leaver_7', 'SELECT 1'),
		'PI005', 'right password while suspended');
	$ENV{PGPASSWORD} = 'wrong';
	is(error_as($node, 'leaver_7', 'SELECT 1'),
		'28P01', 'a wrong password learns nothing');
	admin(q{SELECT courier_pii.depart('S7')});
	my $wrong = message_as($node, 'leaver_7', 'SELECT 1');
	$ENV{PGPASSWORD} = 'Correct-horse-7-battery';
	is(message_as($node, 'leaver_7', 'SELECT 1'),
		$wrong, 'after departure the right password looks like a wrong one');
}

# ---- a dropped role with a session ----

my $dropped = session('leaver_8');
$node->safe_psql($db, 'DROP ROLE leaver_8');
admin(q{SELECT courier_pii.depart('S8')});
tell_session($dropped, 'SELECT 1;');
like(last_words($dropped), $gone, 'departure of a dropped role ends its session');

# ---- crashes and damage ----

admin(q{SELECT courier_pii.depart('S9')});
$node->kill9;
start_after_crash();
is(error_as($node, 'leaver_9', 'SELECT 1'),
	'PI005', 'after a crash the departure holds');
is(error_as($node, 'leaver_10', 'SELECT 1'), '', 'and others can work');

my $roster = $node->data_dir . '/courier_pii_roster';
ok(-f $roster, 'the roster file is there');
is((stat $roster)[2] & 07777, 0600, 'and is readable by the server only');

foreach my $damage ('bytes', 'length', 'nothing')
{
	$node->stop;
	if ($damage eq 'nothing')
	{
		unlink $roster;
	}
	else
	{
		open my $file, '+<:raw', $roster or die "$roster: $!";
		if ($damage eq 'bytes')
		{
			seek $file, 100, 0;
			print $file 'damage';
		}
		else
		{
			truncate $file, 200;
		}
		close $file;
	}
	my $log_at = -s $node->logfile;
	$node->start;
	like(
		slurp_file($node->logfile, $log_at),
		qr/WARNING:  roster file "courier_pii_roster" is ignored/,
		"roster file with damaged $damage is reported")
	  unless $damage eq 'nothing';
	isnt(error_as($node, 'leaver_9', 'SELECT 1'),
		'', "login is refused all the same ($damage)");
	my $state = '';
	for (1 .. 300)
	{
		$state = error_as($node, 'leaver_9', 'SELECT 1');
		last if $state eq 'PI005';
		usleep(100_000);
	}
	is($state, 'PI005', "the worker rebuilds the roster ($damage)");
	is(query_as($node, 'leaver_10', 'SELECT courier_pii.actor_staff_no()'),
		'S10', "and so are the people ($damage)");
}

# ---- many at once ----

admin(
	q{SELECT courier_pii.depart(staff_no) FROM courier_pii.staff WHERE status = 'active' AND staff_no LIKE 'S1_'}
);
is( join(',', map { scalar error_as($node, "leaver_$_", 'SELECT 1') } 10 .. 13),
	'PI005,PI005,PI005,PI005',
	'several people depart in one statement');

# ---- one's own departure ----

admin(q{SELECT courier_pii.hire('S14', 'x', 'chen_accounts', 'HQ', 'clerk')});
is( error_as(
		$node, 'chen_accounts', q{
		BEGIN; SELECT courier_pii.depart('S14'); COMMIT; SELECT 1}),
	'PI005',
	'an administrator departs, commits, and is out');
is(error_as($node, 'chen_accounts', 'SELECT 1'), 'PI005', 'for good');

# ---- records ----

my $report = query_as($node, 'zheng_audit',
	q{SELECT section, item, detail FROM courier_pii.leaver_report('S5')});
like($report, qr/^account\|can log in\|false$/m, 'report: the account');
like($report, qr/^membership\|has member\|colleague$/m, 'report: members');
like($report, qr/^objects\|owned\|$db: 1$/m, 'report: owned objects');

is( audit(
		$node,
		q{SELECT count(*) > 0 FROM courier_pii.audit_log
		  WHERE action = 'ACCOUNT' AND command = 'depart' AND outcome = 'ok'
		    AND login_role = 'chen_accounts' AND detail ->> 'staff_no' = 'S1'}),
	't', 'the departure is recorded');
is( audit(
		$node,
		q{SELECT count(*) > 0 FROM courier_pii.audit_log
		  WHERE action = 'ACCOUNT' AND outcome = 'cancelled'}),
	't', 'so is one that was rolled back');
is( audit(
		$node,
		q{SELECT count(*) > 0 FROM courier_pii.audit_log
		  WHERE action = 'LOGIN_DENIED' AND sqlstate = 'PI005'
		    AND login_role = 'leaver_1' AND staff_no = 'S1'}),
	't', 'and the refused login');
is( audit(
		$node,
		q{SELECT count(*) > 0 FROM courier_pii.audit_log
		  WHERE action = 'LOGIN_DENIED' AND login_role = 'leaver_7'
		    AND sqlstate <> 'PI005'}),
	't', 'and the wrong password');
is( audit(
		$node,
		q{SELECT count(*) > 0 FROM courier_pii.audit_log
		  WHERE action = 'LOGIN' AND login_role = 'leaver_2' AND staff_no = 'S2'}),
	't', 'and the login of a person at work');

$node->stop;
done_testing();
