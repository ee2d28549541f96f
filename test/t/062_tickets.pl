
# Tickets against crashes, clocks, races and a register that was changed from
# outside: one use, for the person and the object that were approved.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('tickets', conf => "restart_after_crash = on\n");
my $db = $CourierPii::DATABASE;

$node->safe_psql(
	$db, q{
	CREATE ROLE anna LOGIN;
	CREATE ROLE bert LOGIN;
	CREATE ROLE carl LOGIN;
	SELECT courier_pii.appoint('pii_security_admin', 'anna');
	SELECT courier_pii.appoint('pii_security_admin', 'carl');
	CREATE TABLE public.a (id int PRIMARY KEY, phone courier_pii.phone);
	CREATE TABLE public.b (id int PRIMARY KEY, phone courier_pii.phone);
	ALTER TABLE public.a OWNER TO bert;
	ALTER TABLE public.b OWNER TO bert;
	INSERT INTO public.a SELECT i, '1380000' || (1000 + i) FROM generate_series(1, 50) i;
	INSERT INTO public.b SELECT i, '1390000' || (1000 + i) FROM generate_series(1, 50) i;
});

my $ask = q{SELECT courier_pii.request('destroy', 'test', '{"tables": ["public.a", "public.b"]}')};

# a ticket that bert asked for and anna approved
sub ticket
{
	my $id = query_as($node, 'bert', $ask);
	query_as($node, 'anna', "SELECT courier_pii.approve($id)");
	return $id;
}

sub state_of
{
	my ($id) = @_;
	return $node->safe_psql($db,
		"SELECT state || '|' || coalesce(outcome, '') FROM courier_pii.requests WHERE id = $id");
}

sub rows_of
{
	my ($table) = @_;
	return $node->safe_psql($db, "SELECT count(*) FROM public.$table");
}

# ---- of many who use a ticket at once, one does ----

$node->safe_psql($db, "
	CREATE TABLE public.c$_ (id int PRIMARY KEY, phone courier_pii.phone);
	ALTER TABLE public.c$_ OWNER TO bert;
	INSERT INTO public.c$_ VALUES (1, '13800000001')") for 1 .. 8;
my $id = query_as($node, 'bert', q{SELECT courier_pii.request('destroy', 'test', '{"object": "public.*"}')});
query_as($node, 'anna', "SELECT courier_pii.approve($id)");
my @runs;
for my $n (1 .. 8)
{
	my $run = { out => '', err => '' };
	$run->{handle} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', login($node, 'bert'),
			'-c', "SET courier_pii.ticket = '$id'", '-c', "TRUNCATE public.c$n"
		],
		'>', \$run->{out}, '2>', \$run->{err});
	push @runs, $run;
}
my ($won, $refused) = (0, 0);
for my $run (@runs)
{
	$run->{handle}->finish;
	$run->{err} =~ /PI002/ ? $refused++ : $won++;
}
is($won, 1, 'one of eight sessions uses the ticket');
is($refused, 7, 'the others are refused');
is((grep { rows_of("c$_") eq '0' } 1 .. 8), 1, 'one table is empty');
is(state_of($id), 'used|done', 'the view says so at once');
ok( wait_until(
		$node,
		"SELECT EXISTS (SELECT FROM courier_pii.request_notices WHERE request_id = $id AND event = 'used')"),
	'the queue says so soon');
is( audit(
		$node, qq{SELECT outcome, count(*) FROM courier_pii.audit_log
		WHERE command = 'use_ticket' AND detail ->> 'request' = '$id' GROUP BY 1 ORDER BY 1}),
	"denied|7\nok|1",
	'every attempt is recorded');
query_as($node, 'bert', "DELETE FROM public.c$_") for 1 .. 8;

# ---- a backend is killed between use and end ----

$id = ticket();
my $in = '';
my ($out, $err) = ('', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'bert') ],
	'<', \$in, '>', \$out, '2>', \$err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$in .= "SET courier_pii.ticket = '$id'; BEGIN; TRUNCATE public.a; SELECT 'pid ' || pg_backend_pid();\n";
$session->pump until $out =~ /pid (\d+)\n/ || $err =~ /ERROR/;
my ($pid) = $out =~ /pid (\d+)\n/;
ok($pid, 'a session has used a ticket in an open transaction') or diag($err);
like(state_of($id), qr/^used\|$/, 'used, its outcome is open');
kill 'KILL', $pid;
$session->kill_kill;
ok($node->poll_query_until($db, 'SELECT true'), 'the server comes back');
is(rows_of('a'), '50', 'the truncation is gone with the crash');
is(state_of($id), 'used|', 'the use is not');
my ($state, $text) = error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a");
is($state, 'PI002', 'the ticket gives no second act');
like($text, qr/It was used before/, 'and says why');

# ---- the server stops at once after a use ----

$id = ticket();
query_as($node, 'bert', "SET courier_pii.ticket = '$id'; BEGIN; TRUNCATE public.a; ROLLBACK");
$node->stop('immediate');
$node->start;
is(state_of($id), 'used|rolled back', 'a use survives an immediate stop');
is(error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a"),
	'PI002', 'and forbids another');

# ---- the register is changed from outside ----

my $used = $id;
my $approved = ticket();
my $pending = query_as($node, 'bert', $ask);
my $own = query_as($node, 'anna', $ask);
my $digest = $node->safe_psql($db, "SELECT encode(digest, 'hex') FROM courier_pii.request_register WHERE id = $approved");
$node->stop;

# without the library nothing guards the tables
sub single_user
{
	my ($sql) = @_;
	my ($single_out, $single_err);
	IPC::Run::run(
		[
			'postgres', '--single', '-j', '-D', $node->data_dir, '-c',
			'shared_preload_libraries=', $db
		],
		'<', \"$sql\n\n", '>', \$single_out, '2>', \$single_err);
	unlike($single_err, qr/ERROR|FATAL|PANIC/, 'a statement in single-user mode');
	return;
}
single_user(qq{
	UPDATE courier_pii.request_register SET state = 'approved', used_at = NULL, outcome = NULL WHERE id = $used;
	UPDATE courier_pii.request_register SET details = '{"tables": ["public.a"]}' WHERE id = $approved;
	UPDATE courier_pii.request_register SET state = 'approved', decided_by = 'anna', decided_at = now(), use_before = now() + '4 hours' WHERE id IN ($pending, $own);
	INSERT INTO courier_pii.request_approval (request_id, approver, approver_login, approved_at, seal)
		SELECT id, 'carl', 'carl'::regrole, now(), decode(repeat('00', 32), 'hex') FROM unnest(ARRAY[$pending, $own]::bigint[]) id;
	UPDATE courier_pii.quorum_rule SET approvals = 1;
});
$node->start;
for my $case (
	[ $used, qr/It was used before/, 'a used ticket made new' ],
	[ $approved, qr/digest or seal/, 'changed details' ],
	[ $pending, qr/not complete, or not genuine/, 'an invented approval' ])
{
	my ($number, $why, $what) = @$case;
	($state, $text) = error_as($node, 'bert', "SET courier_pii.ticket = '$number'; TRUNCATE public.a");
	is($state, 'PI002', "$what: refused");
	like($text, $why, "$what: the reason");
}
is(rows_of('a'), '50', 'nothing was destroyed');

# the same with an honest digest: the seal's key is not in the database
$node->stop;
single_user(qq{UPDATE courier_pii.request_register SET details = '{}', objects = '{}', object_oids = '{}', digest = sha256('guess') WHERE id = $pending;});
$node->start;
($state, $text) = error_as($node, 'carl', "SELECT courier_pii.approve($pending)");
is($state, 'PI002', 'a changed request is not approved either');
like(
	query_as($node, 'carl',
		"SELECT value FROM courier_pii.request_review($pending) WHERE item = 'register'"),
	qr/CHANGED/, 'the review says so');

# an approval of another request does not fit this one
my $good = ticket();
my $bad = query_as($node, 'bert', q{SELECT courier_pii.request('destroy', 'more', '{"object": "public.*"}')});
$node->stop;
single_user(qq{
	INSERT INTO courier_pii.request_approval SELECT $bad, approver, approver_staff_no, approver_login, approved_at, note, seal FROM courier_pii.request_approval WHERE request_id = $good;
	UPDATE courier_pii.request_register SET state = 'approved', use_before = now() + '4 hours' WHERE id = $bad;});
$node->start;
is(error_as($node, 'bert', "SET courier_pii.ticket = '$bad'; TRUNCATE public.a"),
	'PI002', 'an approval that was copied from another request');

# ---- two clocks ----

sub setting
{
	my ($name, $value) = @_;
	$node->safe_psql('postgres',
		defined $value ? "ALTER SYSTEM SET courier_pii.$name = '$value'" : "ALTER SYSTEM RESET courier_pii.$name");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT current_setting('courier_pii.$name') = '$value'") if defined $value;
	return;
}
setting('ticket_decide_within', '1s');
$id = query_as($node, 'bert', $ask);
ok(wait_until($node, "SELECT state = 'expired' FROM courier_pii.requests WHERE id = $id"),
	'a request that nobody decides expires');
($state, $text) = error_as($node, 'anna', "SELECT courier_pii.approve($id)");
is($state, 'PI002', 'it is not approved any more');
setting('ticket_decide_within', undef);
$node->poll_query_until('postgres', "SELECT current_setting('courier_pii.ticket_decide_within') = '1d'");
setting('ticket_use_within', '1s');
$id = ticket();
ok(wait_until($node, "SELECT state = 'expired' FROM courier_pii.requests WHERE id = $id"),
	'a ticket that nobody uses expires');
($state, $text) = error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a");
is($state, 'PI002', 'it is not used any more');
# a transaction that began before does not stop the clock
setting('ticket_use_within', undef);
$node->poll_query_until('postgres', "SELECT current_setting('courier_pii.ticket_use_within') = '4h'");
is(error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a"), 'PI002',
	'nor when the setting is longer again')
  if wait_until($node, "SELECT state = 'expired' FROM courier_pii.request_register WHERE id = $id");

# ---- a revocation reaches an open transaction ----

$id = ticket();
$in = '';
($out, $err) = ('', '');
$session = IPC::Run::start(
	[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', login($node, 'bert') ],
	'<', \$in, '>', \$out, '2>', \$err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$in .= "SET courier_pii.ticket = '$id'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT state FROM courier_pii.requests WHERE id = $id;\n";
$session->pump until $out =~ /approved\n/;
query_as($node, 'carl', "SELECT courier_pii.revoke_ticket($id)");
$in .= "TRUNCATE public.a;\n\\q\n";
$session->finish;
like($err, qr/PI002/, 'a revoked ticket is void in a transaction that saw it approved');

# ---- when data may be destroyed ----

$id = ticket();
my $hour = $node->safe_psql('postgres',
	q{SELECT extract(hour FROM now() AT TIME ZONE current_setting('log_timezone'))::int});
setting('destroy_window', sprintf('%02d:00-%02d:00', ($hour + 3) % 24, ($hour + 5) % 24));
is(error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a"),
	'55000', 'outside the time of day');
is(state_of($id), 'approved|', 'the ticket is not used up');
setting('destroy_window', sprintf('%02d:00-%02d:00', ($hour + 23) % 24, ($hour + 3) % 24));
is(error_as($node, 'bert', "SET courier_pii.ticket = '$id'; TRUNCATE public.a"),
	'', 'inside the time of day');
setting('destroy_window', '');

# ---- warning only ----

setting('enforcement', 'warn');
my ($status, $stdout, $stderr) = CourierPii::run_as($node, 'bert', 'TRUNCATE public.b');
is($status, 0, 'enforcement = warn lets it pass');
like($stderr, qr/WARNING:\s+PI001/, 'with a warning');
setting('enforcement', 'on');

# ---- the extension itself ----

$node->safe_psql($db, q{INSERT INTO public.a VALUES (1, '13800001001')});
is(error_as($node, $node->safe_psql('postgres', 'SELECT current_user'), 'DROP EXTENSION courier_pii CASCADE'),
	'PI001', 'a superuser does not drop the extension and the columns with it');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$id = query_as($node, $superuser, q{SELECT courier_pii.request('destroy', 'end of the test', '{"table": "public.a"}')});
query_as($node, 'anna', "SELECT courier_pii.approve($id)");
is(error_as($node, $superuser, "SET courier_pii.ticket = '$id'; DROP EXTENSION courier_pii CASCADE"),
	'', 'with a ticket it goes');

done_testing();
