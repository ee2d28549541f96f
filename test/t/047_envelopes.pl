
# Envelopes: a password that nobody knows, handed out in shares, opened by two
# custodians with a ticket for a time that ends by itself, void when a custodian
# leaves; over restarts, on a standby, and against those who go round it.

use strict;
use warnings;

use CourierPii;
use CourierPiiSession;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = CourierPii->new_node('envelopes',
	allows_streaming => 1,
	conf => "listen_addresses = '127.0.0.1'\nlog_statement = all\nlog_min_duration_statement = 0\n");
my $db = $CourierPii::DATABASE;
my $super = $node->safe_psql('postgres', 'SELECT current_user');

$node->safe_psql($db, q{
	CREATE ROLE feng LOGIN; CREATE ROLE qian LOGIN; CREATE ROLE zheng LOGIN; CREATE ROLE chen LOGIN;
	CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN; CREATE ROLE carl LOGIN; CREATE ROLE dora LOGIN;
	CREATE ROLE emil LOGIN; CREATE ROLE rescue SUPERUSER LOGIN PASSWORD 'Vermilion-7-cactus-Umbrella';
	CREATE ROLE group_of_all;
	SELECT courier_pii.add_org('HQ', 'Head office', 'hq');
	SELECT courier_pii.hire('S1', 'Feng', 'feng', 'HQ', NULL), courier_pii.hire('S2', 'Qian', 'qian', 'HQ', NULL),
		courier_pii.hire('A1', 'Zheng', 'zheng', 'HQ', NULL), courier_pii.hire('P1', 'Chen', 'chen', 'HQ', NULL),
		courier_pii.hire('C1', 'Anna', 'anna', 'HQ', NULL), courier_pii.hire('C2', 'Bert', 'bert', 'HQ', NULL),
		courier_pii.hire('C3', 'Carl', 'carl', 'HQ', NULL), courier_pii.hire('D1', 'Dora', 'dora', 'HQ', NULL),
		courier_pii.hire('C4', 'Emil', 'emil', 'HQ', NULL);
	SELECT courier_pii.appoint('pii_security_admin', 'feng'), courier_pii.appoint('pii_security_admin', 'qian'),
		courier_pii.appoint('pii_auditor', 'zheng'), courier_pii.appoint('pii_account_admin', 'chen');
});

# the account's own login needs its password, also on the socket
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
open my $out, '>', $hba or die $!;
print $out "local all rescue scram-sha-256\nhost all rescue 127.0.0.1/32 scram-sha-256\n$lines";
close $out;
$node->reload;

sub try_login
{
	my ($role, $password, $where) = @_;
	local $ENV{PGPASSWORD} = $password // 'none';
	my $connstr = ($where // '') eq 'tcp' ? 'host=127.0.0.1 port=' . $node->port . " dbname=$db user=$role" : login($node, $role);
	my ($o, $e) = ('', '');
	my $at = -s $node->logfile;
	return '' if IPC::Run::run([ 'psql', '-XAtq', '-d', $connstr, '-c', 'SELECT 1' ], '<', \undef, '>', \$o, '2>', \$e);
	my $log = slurp_file($node->logfile, $at);
	return $log =~ /\[\Q$role\E ([0-9A-Z]{5})\] FATAL:/ ? $1 : "none: $e";
}

sub state_of { return $node->safe_psql($db, q{SELECT state FROM courier_pii.sealed_account WHERE login_role = 'rescue'::regrole}); }
sub share_of { my ($who) = @_; return query_as($node, $who, q{SELECT courier_pii.take_share('rescue')}); }

sub ticket
{
	my ($minutes) = @_;
	my $id = query_as($node, 'dora', q{SELECT courier_pii.request('break_glass', 'disk of the main server is full', '{"object": "envelope/rescue"}')});
	query_as($node, 'feng', "SELECT courier_pii.approve($id)");
	return $id;
}

# ---- sealing ----

is(error_as($node, 'dora', q{SELECT courier_pii.create_envelope('rescue', '{C1,C2,C3}')}), '42501', 'not everybody seals');
is(error_as($node, 'feng', q{SELECT courier_pii.create_envelope('rescue', '{C1,C2}')}), '22023', 'three custodians');
is(error_as($node, 'feng', q{SELECT courier_pii.create_envelope('rescue', '{C1,C2,C2}')}), '22023', 'different ones');
is(error_as($node, 'feng', q{SELECT courier_pii.create_envelope('rescue', '{C1,C2,X9}')}), '22023', 'people of the register');
is(error_as($node, 'feng', q{SELECT courier_pii.create_envelope('anna', '{C1,C2,C3}')}), '55000', "nobody's own account");
my $running = session($node, 'rescue', 'Vermilion-7-cactus-Umbrella');
query_as($node, 'feng', q{BEGIN; SELECT courier_pii.create_envelope('rescue', '{C1,C2,C3}', 'emergencies'); ROLLBACK});
is(ask($running, 'SELECT 7'), '7', 'a sealing that is rolled back ends no session');
query_as($node, 'feng', q{SELECT courier_pii.create_envelope('rescue', '{C1,C2,C3}', 'emergencies')});
is(state_of(), 'sealed', 'sealed');
isnt(ask($running, 'SELECT 7'), '7', 'sealing ends the sessions of the account');
is(try_login('rescue', 'Vermilion-7-cactus-Umbrella'), '28P01', 'the old password is worth nothing (H4)');
is(try_login('rescue', 'Vermilion-7-cactus-Umbrella', 'tcp'), '28P01', 'also over the network (H4)');
is($node->safe_psql($db, q{SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rescue'}), 'f', 'and the role has no LOGIN');

my %share;
$share{anna} = share_of('anna');
like($share{anna}, qr/^pii1-2-1-[0-9a-f]{16}-[0-9a-f]{64}-[0-9a-f]{8}$/, 'a share is shown to its custodian');
is(error_as($node, 'anna', q{SELECT courier_pii.take_share('rescue')}), '55000', 'once');
is(error_as($node, 'dora', q{SELECT courier_pii.take_share('rescue')}), '42501', 'and to nobody else');
is(error_as($node, $super, q{SELECT courier_pii.take_share('rescue')}), '42501', 'a superuser included');
is(error_as($node, 'bert', q{BEGIN; SELECT courier_pii.take_share('rescue'); ROLLBACK}), '25001', 'what is shown cannot be undone');
$share{bert} = share_of('bert');
is(query_as($node, 'bert', q{SELECT number, state FROM courier_pii.envelope_shares}), '2|taken', 'a custodian sees the own share');
is(query_as($node, 'zheng', q{SELECT string_agg(state, ',' ORDER BY number) FROM courier_pii.envelope_shares}), 'taken,taken,waiting', 'an auditor all');

# ---- nobody goes round it ----

is(error_as($node, $super, $_), 'PI006', $_) for
	q{ALTER ROLE rescue LOGIN}, q{ALTER ROLE rescue PASSWORD 'Vermilion-8-cactus-Umbrella'}, q{ALTER ROLE rescue SET work_mem = 64},
	q{GRANT rescue TO dora}, q{GRANT group_of_all TO rescue}, q{CREATE ROLE emil_2 IN ROLE rescue}, q{DROP ROLE rescue},
	q{DO $$ BEGIN EXECUTE 'ALTER ROLE rescue LOGIN'; END $$};
is(error_as($node, $super, q{SELECT courier_pii.set_password('rescue', 'Vermilion-8-cactus-Umbrella')}), '42501', 'set_password does not, either');
is(error_as($node, $super, q{UPDATE courier_pii.sealed_account SET state = 'open'}), '42501', 'nor the register');
is(error_as($node, $super, q{SET ROLE rescue; SELECT 1}), 'PI005', 'nor SET ROLE');
is(error_as($node, $super, q{SET SESSION AUTHORIZATION rescue; SELECT 1}), 'PI005', 'nor SET SESSION AUTHORIZATION');
query_as($node, $super, q{ALTER ROLE rescue NOCREATEDB});
pass('taking away is free');

# ---- opening ----

my $dora = session($node, 'dora');
is(ask($dora, q{SELECT courier_pii.begin_opening('rescue')}), 'PI001', 'a ticket is needed');
my $empty = query_as($node, 'dora', q{SELECT courier_pii.request('break_glass', 'whatever')});
query_as($node, 'feng', "SELECT courier_pii.approve($empty)");
ask($dora, "SET courier_pii.ticket = '$empty'");
is(ask($dora, q{SELECT courier_pii.begin_opening('rescue')}), 'PI002', 'one that names the envelope');
my $id = ticket();
ask($dora, "SET courier_pii.ticket = '$id'");
is(error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '55000', 'no share before somebody opens');
like(ask($dora, q{SELECT courier_pii.begin_opening('rescue')}), qr/^\d+$/, 'an opening begins');
is(ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue')}), '55000', 'without a share nothing');
is(error_as($node, 'bert', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '22023', "another custodian's share is refused");
my $typo = $share{anna};
substr($typo, 40, 1) = substr($typo, 40, 1) eq 'a' ? 'b' : 'a';
my ($code, $message) = error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$typo')});
is($code, '22023', 'a typing error is found (H2)');
like($message, qr/mistyped/, 'and called so');
unlike($message, qr/[0-9a-f]{40}/, 'without the share in the message');
use Digest::SHA qw(sha256_hex);
my ($body) = $typo =~ /^(.*)-[0-9a-f]{8}$/;
my $forged = $body . '-' . substr(sha256_hex($body), 0, 8);
($code, $message) = error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$forged')});
is($code, '22023', 'a forged share with a right checksum is found, too (H2)');
like($message, qr/not the share that was handed out/, 'and called so');
is(error_as($node, 'dora', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '42501', 'only custodians give');
is(query_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '1', 'the first share');
is(error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '55000', 'not twice');
is(ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue')}), '55000', 'one share alone opens nothing (H1)');
is(query_as($node, 'bert', qq{SELECT courier_pii.give_share('rescue', ' $share{bert} ')}), '0', 'the second share');
is(error_as($node, 'emil', q{SELECT * FROM courier_pii.open_envelope('rescue')}), '55000', 'another session does not open it');
my $row = ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue', '1 hour')});
like($row, qr/^[\w-]{43}\|\d{4}-/, 'the password is shown to the opener (H8: any two, any order)');
my ($password) = split /\|/, $row;
is(ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue')}), '55000', 'once');
is(state_of(), 'open', 'open');
is(try_login('rescue', $password), '', 'the role logs in');
is(try_login('rescue', $password, 'tcp'), '', 'also over the network');
isnt(try_login('rescue', 'Vermilion-7-cactus-Umbrella'), '', 'with that password only');
is(error_as($node, $super, q{ALTER ROLE rescue PASSWORD 'Vermilion-8-cactus-Umbrella'}), 'PI006', 'nobody changes it while it is open');
my $rescue = session($node, 'rescue', $password);
is(ask($rescue, q{SELECT staff_no, login_role, proof FROM courier_pii.actor}), 'D1|rescue|login', 'it acts for the person who opened it');
is(ask($rescue, q{SELECT courier_pii.take_share('rescue')}), '42501', 'but has no shares');
is(query_as($node, 'zheng', q{SELECT ticket, begun_by_staff_no, array_to_string(given_by, ','), purpose, closed_at IS NULL FROM courier_pii.envelope_openings WHERE opened_at IS NOT NULL}),
	"$id|D1|C1,C2|disk of the main server is full|t", 'the case says who, why and with whom');
is(error_as($node, 'emil', q{SELECT courier_pii.close_envelope('rescue')}), 'PI006', 'not everybody ends it');

# ---- a restart in the middle ----

$node->restart;
is(state_of(), 'open', 'open after a restart');
is(try_login('rescue', $password), '', 'and the login works on');

# ---- the end, with a statement running ----

$rescue = session($node, 'rescue', $password);
$rescue->{out} = $rescue->{err} = '';
$rescue->{in} .= "SELECT pg_sleep(600);\n";
$rescue->{run}->pump_nb;
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'rescue' AND state = 'active'}), 'a statement runs');
query_as($node, 'bert', q{SELECT courier_pii.close_envelope('rescue', 'the work is done')});
eval { $rescue->{run}->finish };
like($rescue->{err}, qr/PI005/, 'closing ends it mid-statement (H5)');
is(try_login('rescue', $password), '28P01', 'the password is worth nothing any more');
is(state_of(), 'sealed', 'and the account is sealed anew');
is($node->safe_psql($db, q{SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rescue'}), 'f', 'without LOGIN');
is(query_as($node, 'zheng', q{SELECT cause, sessions FROM courier_pii.envelope_openings WHERE opened_at IS NOT NULL}),
	'closed by C2: the work is done|1', 'the case is closed');
is(error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '22023', 'an old share belongs to an earlier sealing');
$dora = session($node, 'dora');
ask($dora, "SET courier_pii.ticket = '$id'");
is(ask($dora, q{SELECT courier_pii.begin_opening('rescue')}), 'PI002', 'a ticket opens once');

# opens with two custodians' new shares for some seconds; returns the password
sub open_for
{
	my ($length, @who) = @_;
	my $ticket = ticket();
	my $s = session($node, 'dora');
	ask($s, "SET courier_pii.ticket = '$ticket'");
	ask($s, q{SELECT courier_pii.begin_opening('rescue')});
	query_as($node, $_, qq{SELECT courier_pii.give_share('rescue', '$share{$_}')}) for @who;
	my ($p) = split /\|/, ask($s, qq{SELECT * FROM courier_pii.open_envelope('rescue', '$length')});
	bye($s);
	return $p;
}

# ---- time passes ----

$share{$_} = share_of($_) for 'carl', 'anna';
$password = open_for('1 day', 'carl', 'anna');
is($node->safe_psql($db, q{SELECT open_until < now() + '2 hours' FROM courier_pii.sealed_account}), 't', 'never longer than the setting says');
query_as($node, 'dora', q{SELECT courier_pii.close_envelope('rescue')});
$share{$_} = share_of($_) for 'carl', 'anna';
$password = open_for('8 seconds', 'carl', 'anna');
$rescue = session($node, 'rescue', $password);
$rescue->{in} .= "SELECT pg_sleep(600);\n";
eval { $rescue->{run}->finish };
like($rescue->{err}, qr/PI005/, 'a running statement ends when the time does (H5)');
ok(wait_until($node, q{SELECT state = 'sealed' FROM courier_pii.sealed_account}), 'and the account is sealed anew by itself');
is(try_login('rescue', $password), '28P01', 'its password is worth nothing');
is(query_as($node, 'zheng', q{SELECT cause FROM courier_pii.envelope_openings ORDER BY id DESC LIMIT 1}), 'time is over', 'a case says so');

# ---- what a restart takes away ----

$share{$_} = share_of($_) for 'anna', 'bert';
$node->stop('immediate');
for (1 .. 100) { last if $node->start(fail_ok => 1); usleep(100_000); }
ok(wait_until($node, q{SELECT bool_and(CASE WHEN h.staff_no = 'C3' THEN h.state = 'lost' ELSE h.state = 'taken' END) FROM courier_pii.sealed_share h JOIN courier_pii.sealed_account s USING (login_role, series)}),
	'a share that was not fetched before a crash is lost, the others are good (H8)');
is(query_as($node, 'feng', q{SELECT severity FROM courier_pii.posture WHERE "check" = 'envelope' AND finding LIKE 'custodian C3 has lost%'}), 'high', 'posture tells');
is(error_as($node, 'carl', q{SELECT courier_pii.take_share('rescue')}), '55000', 'it is not shown');
$password = open_for('1 hour', 'bert', 'anna');
is(try_login('rescue', $password), '', 'two good shares open it');
query_as($node, 'feng', q{SELECT courier_pii.close_envelope('rescue')});
$node->restart;
my $series = q{SELECT series FROM courier_pii.sealed_account};
my $before = $node->safe_psql($db, $series);
ok(wait_until($node, "SELECT bool_and(courier_pii.share_waits(h.login_role, h.series, h.number)) FROM courier_pii.sealed_share h JOIN courier_pii.sealed_account s USING (login_role, series)"),
	'with all shares gone the account is sealed anew by itself');

# ---- a lost share ----

$share{$_} = share_of($_) for 'anna', 'bert', 'carl';
query_as($node, 'anna', q{SELECT courier_pii.report_share_lost('rescue', 'left in a taxi')});
$dora = session($node, 'dora');
$id = ticket();
ask($dora, "SET courier_pii.ticket = '$id'");
ask($dora, q{SELECT courier_pii.begin_opening('rescue')});
is(error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '22023', 'a share that was reported lost is refused');
bye($dora);
is(query_as($node, 'zheng', q{SELECT staff_no, detail FROM courier_pii.envelope_register WHERE event = 'share_lost'}), 'C1|left in a taxi', 'the register has it');
query_as($node, 'feng', q{SELECT courier_pii.reseal_envelope('rescue')});
$share{$_} = share_of($_) for 'anna', 'bert', 'carl';

# ---- a custodian leaves ----

$dora = session($node, 'dora');
$id = ticket();
ask($dora, "SET courier_pii.ticket = '$id'");
ask($dora, q{SELECT courier_pii.begin_opening('rescue')});
query_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')});
query_as($node, 'bert', qq{SELECT courier_pii.give_share('rescue', '$share{bert}')});
query_as($node, 'chen', q{BEGIN; SELECT courier_pii.depart('C3'); ROLLBACK});
is(state_of(), 'sealed', 'a departure that is rolled back voids nothing');
query_as($node, 'chen', q{SELECT courier_pii.depart('C3', reason => 'left')});
is(state_of(), 'void', 'a departure voids the envelope (H7)');
is(ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue')}), '55000', "the others' shares open nothing, although they were given");
is(error_as($node, 'anna', qq{SELECT courier_pii.give_share('rescue', '$share{anna}')}), '55000', 'and are not taken');
like(query_as($node, 'feng', q{SELECT finding FROM courier_pii.posture WHERE "check" = 'envelope' AND severity = 'high'}), qr/void: custodian C3 is departed/, 'posture demands a new sealing');
is(error_as($node, 'feng', q{SELECT courier_pii.reseal_envelope('rescue')}), '55000', 'not with a custodian who left');
query_as($node, 'feng', q{SELECT courier_pii.reseal_envelope('rescue', '{C1,C2,C4}')});
is(state_of(), 'sealed', 'sealed with another custodian');
$share{$_} = share_of($_) for 'anna', 'bert', 'emil';
query_as($node, 'chen', q{SELECT courier_pii.suspend('C4', 'inquiry')});
is(state_of(), 'void', 'a suspension does the same');
$node->safe_psql($db, q{CREATE ROLE gina LOGIN; CREATE ROLE hans LOGIN; SELECT courier_pii.hire('C5', 'Gina', 'gina', 'HQ', NULL), courier_pii.hire('C6', 'Hans', 'hans', 'HQ', NULL)});
query_as($node, 'feng', q{SELECT courier_pii.reseal_envelope('rescue', '{C1,C2,C5}')});
$share{$_} = share_of($_) for 'anna', 'bert';

# an open one goes on when a custodian leaves, and ends with its opener
$password = open_for('1 hour', 'anna', 'bert');
query_as($node, 'chen', q{SELECT courier_pii.depart('C5')});
is(try_login('rescue', $password), '', 'an emergency goes on when a custodian leaves');
query_as($node, 'qian', q{SELECT courier_pii.close_envelope('rescue')});
is(state_of(), 'void', 'but is not sealed with that custodian');
query_as($node, 'feng', q{SELECT courier_pii.reseal_envelope('rescue', '{C1,C2,C6}')});
$share{$_} = share_of($_) for 'anna', 'bert', 'hans';

# ---- round the library ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
$node->safe_psql($db, q{ALTER ROLE rescue LOGIN PASSWORD 'Vermilion-9-cactus-Umbrella'});
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
$node->restart;
is(query_as($node, 'feng', q{SELECT string_agg(severity, ',') FROM courier_pii.posture WHERE "check" = 'envelope' AND object = 'rescue' AND severity = 'critical'}),
	'critical,critical', 'LOGIN and a password that were set without the library are found');
is(try_login('rescue', 'Vermilion-9-cactus-Umbrella'), 'PI005', 'and let nobody in');
$password = open_for('1 hour', 'hans', 'bert');
is(try_login('rescue', $password), '', "the envelope's password holds");
isnt(try_login('rescue', 'Vermilion-9-cactus-Umbrella'), '', 'the other does not');

# ---- a standby ----

$node->backup('b');
my $standby = CourierPii->new_node('envelopes_standby', from_backup => [ $node, 'b', has_streaming => 1 ]);
sub on_standby
{
	my ($p) = @_;
	local $ENV{PGPASSWORD} = $p;
	my ($o, $e) = ('', '');
	return IPC::Run::run([ 'psql', '-XAtq', '-d', login($standby, 'rescue'), '-c', 'SELECT 1' ], '<', \undef, '>', \$o, '2>', \$e) ? '' : $e;
}
$node->wait_for_catchup($standby);
ok(wait_until($standby, q{SELECT count(*) = 1 FROM courier_pii.sealed_account WHERE state = 'open'}), 'the standby knows the open account');
query_as($node, 'qian', q{SELECT courier_pii.close_envelope('rescue')});
$node->wait_for_catchup($standby);
like(on_standby($password), qr/authentication failed|is disabled|not permitted/, 'on a standby a closed account does not log in');
is(error_as($standby, 'anna', q{SELECT courier_pii.take_share('rescue')}), '25006', 'shares are handed out on the primary');
$standby->stop('fast');

# ---- without a ticket, on the machine itself ----

$share{$_} = share_of($_) for 'anna', 'bert';
$dora = session($node, 'dora');
is(ask($dora, q{SELECT courier_pii.begin_opening('rescue')}), 'PI001', 'no ticket, no opening');
$node->append_conf('postgresql.conf', "courier_pii.envelope_emergency = 'local'\n");
$node->reload;
ok(wait_until($node, q{SELECT current_setting('courier_pii.envelope_emergency') = 'local'}), 'the emergency path is open');
ask($dora, 'SELECT 1');
like(ask($dora, q{SELECT courier_pii.begin_opening('rescue', 'nobody can approve')}), qr/^\d+$/, 'by the local socket it begins');
query_as($node, $_, qq{SELECT courier_pii.give_share('rescue', '$share{$_}')}) for 'anna', 'bert';
($password) = split /\|/, ask($dora, q{SELECT * FROM courier_pii.open_envelope('rescue')});
is(try_login('rescue', $password), '', 'and opens');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'begin_opening' AND detail ->> 'alarm' IS NOT NULL}), '1', 'with an alarm');
query_as($node, 'dora', q{SELECT courier_pii.close_envelope('rescue')});
($code) = error_as($node, 'dora', q{SELECT courier_pii.begin_opening('rescue')}, database => $db);
is($code, '', 'the path stays open until the setting is taken back');

# ---- nothing of it is written down ----

my @secrets = map { /-([0-9a-f]{64})-/ ? $1 : () } values %share;
is_deeply([ CourierPii::grep_files($node->data_dir, @secrets, $password) ], [], 'no share and no password in the data directory');
is_deeply([ CourierPii::grep_files($node->{courier_pii}{directory}, @secrets, $password) ], [], 'nor beside it');
my $log = slurp_file($node->logfile);
is(scalar(grep { index($log, $_) >= 0 } @secrets, $password), 0, 'nor in the server log');
is(audit($node, q{SELECT string_agg(DISTINCT command, ',' ORDER BY command) FROM courier_pii.audit_log WHERE command IN ('seal_envelope', 'take_share', 'begin_opening', 'give_share', 'open_envelope', 'close_envelope', 'reseal_envelope', 'envelope_void', 'share_lost')}),
	'begin_opening,close_envelope,envelope_void,give_share,open_envelope,reseal_envelope,seal_envelope,share_lost,take_share', 'each step is in the audit trail');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_verify()}), '0', 'which is intact');

# ---- the end of an envelope ----

query_as($node, 'feng', q{SELECT courier_pii.release_account('rescue')});
is($node->safe_psql($db, q{SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rescue'}), 'f', 'a released account has no LOGIN');
$node->safe_psql($db, q{ALTER ROLE rescue LOGIN});
pass('but is an ordinary role again');

$node->stop;
done_testing();
