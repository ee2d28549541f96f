
# A server with sealed duties over its life: two who seal at once, a standby,
# windows that end early and are watched, an emergency, attempts to remove the
# seal with and without the library, a logical restore.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('life', allows_streaming => 1);
my $super = $node->safe_psql('postgres', 'SELECT current_user');

staff_server($node);
$node->safe_psql($db, q{
	CREATE ROLE desk; CREATE ROLE keeper LOGIN; CREATE ROLE newcomer LOGIN;
	GRANT desk TO wang;
	SELECT courier_pii.hire('K1', 'Kong', 'keeper', 'HQ', NULL), courier_pii.hire('N1', 'Nie', 'newcomer', 'HQ', NULL);
	SELECT courier_pii.appoint('pii_backup', 'keeper');
	CREATE TABLE parcel (id int PRIMARY KEY, phone text, sent timestamptz);
	INSERT INTO parcel SELECT i, '138' || lpad(i::text, 8, '0'), now() - i * interval '1 day' FROM generate_series(1, 200) i;
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone');
	SELECT courier_pii.create_masked_view('parcel');
	SELECT courier_pii.set_retention('parcel', 'sent', '10 days');
	GRANT SELECT ON masked.parcel TO wang, newcomer;
	SELECT courier_pii.grant_disclosure('desk', 'phone', 'clear');
	ANALYZE;
});

sub sealed { return $_[0]->safe_psql($_[1] // $db, 'SELECT courier_pii.duties_sealed()'); }
# wait until a session waits for a lock
sub wait_locked
{
	my ($pid) = @_;
	return $node->poll_query_until($db, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid");
}
sub start_after_crash
{
	my ($n) = @_;
	for (1 .. 100) { return if $n->start(fail_ok => 1); usleep(100_000); }
	die 'server does not start';
}

# ---- a standby from before the sealing ----

$node->backup('open');
my $standby = CourierPii->new_node('life_2', from_backup => [ $node, 'open', has_streaming => 1 ]);
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(error_as($standby, 'feng', 'SELECT courier_pii.seal_duties()'), '55000', 'a standby seals nothing');
is(sealed($standby), 'f', 'it is open as its primary');

# ---- two at once ----

my $one = CourierPiiWire->new($node, 'feng');
my $two = CourierPiiWire->new($node, 'qian');
$one->query('BEGIN');
is($one->query('SELECT courier_pii.seal_duties()')->{state}, '', 'one begins to seal');
$two->send_message('Q', "SELECT courier_pii.seal_duties()\0");
ok(wait_locked($two->{pid}), 'another one waits');
is(sealed($node), 'f', 'nothing is sealed before the commit');
is($one->query('COMMIT')->{state}, '', 'the first one is done');
is($two->wait_ready->{state}, '55000', 'the other one comes too late');
is(sealed($node), 't', 'sealed');
is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.duty_seal'), '1', 'once');

# ---- the standby follows ----

my $ok = 0;
for (1 .. 300) { last if $ok = sealed($standby) eq 't'; usleep(100_000); }
ok($ok, 'the standby is sealed, too');
is(error_as($standby, 'dai', q{LOAD 'plpgsql'}), 'PI006', 'what is refused is refused there');
is(error_as($standby, 'dai', q{SELECT pg_read_file('PG_VERSION')}), 'PI006', 'files as well');
is(error_as($standby, $super, q{SELECT courier_pii.make_actor_token('W1')}), 'PI006', 'and tokens');
is(error_as($standby, 'dai', 'SELECT courier_pii.begin_maintenance(1)') =~ /^(PI002|25006)$/ ? 1 : 0, 1, 'windows are opened on the primary');
$standby->restart;
is(sealed($standby), 't', 'after its restart');
unlink $standby->data_dir . '/courier_pii_duties';
$standby->restart;
$ok = 0;
for (1 .. 300) { last if $ok = sealed($standby) eq 't'; usleep(100_000); }
ok($ok, 'without its file, by the register');
$standby->stop;

# ---- windows end early ----

my $window = sub {
	my $id = ticket_of($node, 'dai', 'maintenance', '{"minutes": 60}', $_[0] // 'feng');
	my $dba = CourierPiiWire->new($node, 'dai');
	is($dba->query("SELECT courier_pii.begin_maintenance($id)")->{state}, '', 'a window opens');
	return ($id, $dba);
};
my $n = 0;
my $change = sub { $n++; return "ALTER TABLE parcel ADD COLUMN c$n int" };

my ($id, $dba) = $window->();
is($dba->query($change->())->{state}, '', 'the table changes');
query_as($node, 'feng', "SELECT courier_pii.revoke_ticket($id)");
is($dba->query($change->())->{state}, 'PI006', 'a revoked ticket: refused from the next statement on');

($id, $dba) = $window->('sun');
is($dba->query($change->())->{state}, '', 'the table changes');
query_as($node, 'chen', q{SELECT courier_pii.suspend('S3', 'inquiry')});
is($dba->query($change->())->{state}, 'PI006', 'the approver is suspended: refused from the next statement on');
my $later = ticket_of($node, 'chen', 'reinstate', 'S3', 'feng');
query_as($node, 'chen', "SET courier_pii.ticket = '$later'; SELECT courier_pii.reinstate('S3')");
is($dba->query($change->())->{state}, '', 'and back at work the approval counts again');
query_as($node, 'chen', q{SELECT courier_pii.depart('S3', reason => 'left')});
is($dba->query($change->())->{state}, 'PI006', 'departed: refused');

# approved by somebody who leaves before the use
$id = ticket_of($node, 'dai', 'maintenance', '{"minutes": 60}', 'feng');
is(error_as($node, 'dai', "SELECT courier_pii.begin_maintenance($id)"), '', 'a ticket of somebody who is there');
$later = ticket_of($node, 'feng', 'policy', 'pii_security_admin/newcomer');
query_as($node, 'feng', "SET courier_pii.ticket = '$later'; SELECT courier_pii.appoint('pii_security_admin', 'newcomer')");
$id = ticket_of($node, 'dai', 'maintenance', '{"minutes": 60}', 'newcomer');
query_as($node, 'chen', q{SELECT courier_pii.depart('N1')});
is(error_as($node, 'dai', "SELECT courier_pii.begin_maintenance($id)"), 'PI002', 'a ticket of somebody who left is void');

# ---- windows are watched ----

($id, $dba) = $window->();
my $locker = CourierPiiWire->new($node, 'dai');
$locker->query('BEGIN');
$locker->query('LOCK TABLE parcel IN ACCESS SHARE MODE');
$dba->send_message('Q', "COMMENT ON TABLE parcel IS 'x'; ALTER TABLE parcel ADD COLUMN secret text DEFAULT '13912345678'\0");
ok(wait_locked($dba->{pid}), 'a statement of the window runs');
like(query_as($node, 'zheng', 'SELECT login_role, staff_no, ticket, statements > 0, emergency, last_statement FROM courier_pii.stat_maintenance'),
	qr/^dai\|D1\|$id\|t\|f\|.*ALTER TABLE parcel ADD COLUMN secret/, 'the auditor sees it while it runs');
unlike(query_as($node, 'zheng', 'TABLE courier_pii.stat_maintenance'), qr/13912345678/, 'without literals');
is(error_as($node, 'wang', 'TABLE courier_pii.stat_maintenance'), '42501', 'not everybody does');
$locker->query('ROLLBACK');
is($dba->wait_ready->{state}, '', 'it is done');
my $pid = $dba->{pid};
$dba->drop;
$node->poll_query_until($db, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
is(query_as($node, 'zheng', "SELECT count(*) FROM courier_pii.stat_maintenance WHERE pid = $pid"), '0', 'a window ends with its session');

# ---- emergency ----

$id = ticket_of($node, 'dai', 'break_glass', '{"minutes": 10}', 'feng');
$dba = CourierPiiWire->new($node, 'dai');
is($dba->query("SELECT courier_pii.begin_maintenance($id)")->{state}, '', 'an emergency begins');
is($dba->query(q{LOAD 'plpgsql'})->{state}, '', 'what is refused otherwise passes');
is($dba->query(q{SELECT courier_pii.duties_sealed()})->{rows}[0][0], 't', 'the duties stay sealed');
isnt($dba->query('DELETE FROM courier_pii.duty_seal')->{state}, '', 'the seal is not removed');
is($dba->query(q{SELECT courier_pii.grant_disclosure('newcomer', 'phone', 'clear')})->{state}, 'PI006', 'nor are the duties of others done');
is($dba->query('SELECT courier_pii.end_maintenance()')->{state}, '', 'it ends');
is($dba->query(q{LOAD 'plpgsql'})->{state}, 'PI006', 'and with it what it allowed');
like(audit($node, "SELECT string_agg(query, ' | ' ORDER BY seq) FROM courier_pii.audit_log WHERE action = 'MAINTENANCE' AND detail ->> 'emergency' = 'true' AND detail ->> 'maintenance_ticket' = '$id'"),
	qr/LOAD.*grant_disclosure/, 'its statements are recorded');

# ---- the seal, with the library ----

for my $sql ('DELETE FROM courier_pii.duty_seal', 'UPDATE courier_pii.duty_seal SET server = NULL', 'TRUNCATE courier_pii.duty_seal',
	'DROP TABLE courier_pii.duty_seal CASCADE', q{ALTER TABLE courier_pii.duty_seal ADD COLUMN x int}, q{COPY courier_pii.duty_seal FROM '/dev/null'},
	# registers that were never filled: no dump is restored any more
	qq{COPY courier_pii.trusted_function_register (signature, digest, trusted_by) FROM stdin;\npublic.f()\tx\tx\n\\.\n},
	q{INSERT INTO courier_pii.trusted_function_register (signature, digest, trusted_by) VALUES ('public.f()', 'x', 'x')},
	q{INSERT INTO courier_pii.duty_seal (sealed_by, server, holders) VALUES ('x', 'x', '[]')}, 'DROP EXTENSION courier_pii CASCADE',
	q{CREATE OR REPLACE FUNCTION courier_pii.duties_sealed() RETURNS boolean LANGUAGE sql AS 'SELECT false'})
{
	isnt(error_as($node, $super, $sql), '', "refused: $sql");
}
is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.duty_seal'), '1', 'the seal is there');

# ---- powers of several parts ----

is(error_as($node, 'dai', 'GRANT desk TO keeper'), 'PI006', 'a role with rights is not granted');
is(with_ticket($node, 'dai', 'policy', 'desk/newcomer', 'GRANT desk TO keeper', 'feng'), 'PI002', 'nor with a ticket for another member');
is(with_ticket($node, 'dai', 'policy', 'desk/keeper', 'GRANT desk TO keeper', 'feng'), '', 'but with the right one');
is(error_as($node, 'dai', 'REVOKE desk FROM keeper'), '', 'taking away is free');
is(error_as($node, 'keeper', q{SELECT courier_pii.register_backup('b', now() - interval '1 hour', verified_at => now())}), '', 'a verified backup');
my $purge = "CALL courier_pii.purge('parcel', now() - interval '100 days')";
is(error_as($node, $super, $purge), 'PI001', 'nothing is purged without a ticket');
is(with_ticket($node, 'dai', 'destroy', '{"object": "public.parcel", "max_rows": 5}', $purge, 'feng'), 'PI001', 'nor more rows than it allows');
is($node->safe_psql($db, 'SELECT count(*) FROM parcel'), '200', 'all rows are there');
is(with_ticket($node, 'dai', 'destroy', '{"object": "public.parcel", "max_rows": 101}', $purge, 'feng'), '', 'as many as it allows');
is($node->safe_psql($db, 'SELECT count(*) FROM parcel'), '99', 'are purged');
is(error_as($node, 'dai', 'CREATE DATABASE copy TEMPLATE express', database => 'postgres') =~ /^(PI00[126]|55006)$/ ? 1 : 0, 1, 'the database is not copied');
is(error_as($node, 'chen', q{SELECT courier_pii.set_password('feng', 'Blue-Horse-77-x')}), 'PI001',
	'nobody gives the holder of a duty a new password alone');
is(with_ticket($node, 'chen', 'policy', 'password/feng', q{SELECT courier_pii.set_password('feng', 'Blue-Horse-77-x')}), '', 'but with a ticket');
is(error_as($node, 'chen', q{SELECT courier_pii.set_password('wang', 'Green-Horse-77-x')}), '', "others' passwords as before");

# an approval needs a fresh login
$node->append_conf('postgresql.conf', 'courier_pii.approval_login_age = 1');
$node->reload;
$one = CourierPiiWire->new($node, 'qian');
$id = ticket_of($node, 'wang', 'export', 'public.parcel', '');
$node->poll_query_until($db, "SELECT backend_start < now() - interval '2 seconds' FROM pg_stat_activity WHERE pid = $one->{pid}");
my $answer = $one->query("SELECT courier_pii.approve($id)");
is($answer->{state}, 'PI006', 'an old session approves nothing');
$node->append_conf('postgresql.conf', 'courier_pii.approval_login_age = 600');
$node->reload;
is(error_as($node, 'qian', "SELECT courier_pii.approve($id)"), '', 'a new one does');

# ---- a logical restore ----

my $dump = $node->{courier_pii}{directory} . '/sealed.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($db) ], 'dump of the sealed database');
my $roles = $node->{courier_pii}{directory} . '/roles.sql';
$node->command_ok([ 'pg_dumpall', '-r', '-f', $roles, '-d', $node->connstr('postgres') ], 'and of the roles');
my $copy = CourierPii->new_node('copy', no_extension => 1,
	key => slurp_file($node->{courier_pii}{key_file}));
system('cp', '-a', "$node->{courier_pii}{key_store}/.", $copy->{courier_pii}{key_store});
$copy->restart;
$copy->psql('postgres', slurp_file($roles), on_error_stop => 0, stderr => \my $noise);
$copy->command_ok([ 'pg_restore', '--exit-on-error', '-d', $copy->connstr($db), $dump ], 'restored elsewhere');
is(sealed($copy), 'f', 'while it is restored the new server is open');
is($copy->safe_psql($db, 'SELECT count(*) FROM courier_pii.duty_seal'), '1', 'the seal came along');
$copy->restart;
$ok = 0;
for (1 .. 300) { last if $ok = sealed($copy) eq 't'; usleep(100_000); }
ok($ok, 'from its next start on it is sealed');
is(error_as($copy, 'dai', q{LOAD 'plpgsql'}), 'PI006', 'and refuses as before');
is(error_as($copy, 'qian', q{SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')}), 'PI001', 'the holders are the same');
is($copy->safe_psql($db, 'SELECT count(*) FROM parcel'), '99', 'with the data');
$copy->stop;

# ---- the seal, without the library ----

sub without_library
{
	my ($sql, @files) = @_;
	$node->stop('immediate');
	unlink map { $node->data_dir . "/$_" } @files;
	my $conf = $node->data_dir . '/postgresql.conf';
	my $text = slurp_file($conf);
	append_to_file($conf, "\nshared_preload_libraries = ''\n");
	start_after_crash($node);
	$node->psql($db, $sql, stderr => \my $err);
	$node->stop;
	open my $out, '>', $conf or die $!;
	print $out $text;
	close $out;
	$node->start;
	return;
}
sub found
{
	my $end = time + 60;
	while (time < $end)
	{
		return 1 if query_as($node, 'zheng', 'SELECT courier_pii.duty_seal_removed()') eq 't';
		usleep(100_000);
	}
	return 0;
}

without_library('DELETE FROM courier_pii.duty_seal');
is(sealed($node), 't', 'the row is gone, the file is not: sealed');
ok(found(), 'and it is told');
like(slurp_file($node->logfile), qr/the seal of the duties was removed outside of the library/, 'in the log');
is(query_as($node, 'qian', q{SELECT severity FROM courier_pii.posture WHERE object = 'duty_seal'}), 'critical', 'in the posture');
cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'SYSTEM' AND command = 'duty_seal' AND outcome = 'error'}), '>=', 1, 'in the audit trail');
without_library('DELETE FROM courier_pii.duty_seal', 'courier_pii_duties');
is(sealed($node), 't', 'row and file are gone: sealed from the first statement on');
ok(found(), 'which is told');
is(error_as($node, 'dai', q{LOAD 'plpgsql'}), 'PI006', 'nothing is gained');

$node->stop;
done_testing();
