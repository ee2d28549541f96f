
# Each kind of alert rule: raised by what it is about, and not by what is next to
# it; told to those who listen and to the system log; acknowledged by others.
# Rules that were set, and decoys, travel with a dump.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

my $socket_path = PostgreSQL::Test::Utils::tempdir_short() . '/log';
my $syslog = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket_path) or die $!;
my $node = CourierPii->new_node('alerts', no_start => 1, conf => <<"EOC");
courier_pii.audit_syslog = '$socket_path'
listen_addresses = '127.0.0.1'
EOC
my $db = $CourierPii::DATABASE;
$node->append_conf('pg_hba.conf', "host all all 127.0.0.0/8 trust\n");
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, 'CREATE EXTENSION courier_pii CASCADE');
load_sample($node, rows => 40);
$node->safe_psql($db, q{
	CREATE ROLE keeper LOGIN;
	CREATE ROLE leaver LOGIN;
	GRANT SELECT ON masked.shipment TO leaver;
	SELECT courier_pii.appoint('pii_security_admin', 'keeper');
	SELECT courier_pii.hire('L1', '趙去', 'leaver', 'HQ', 'clerk');
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});

# open alerts of a rule: login role and amount
sub alerts
{
	my ($rule) = @_;
	return audit($node, "SELECT severity, login_role, staff_no, amount FROM courier_pii.alerts WHERE rule = '$rule' ORDER BY id");
}
# wait until the worker has looked at everything that was recorded
sub looked
{
	audit($node, 'SELECT 1');
	my $seq = $node->safe_psql($db, 'SELECT written_seq FROM courier_pii.audit_state()');
	ok(wait_until($node, "SELECT coalesce(max(seq), 0) >= $seq FROM courier_pii.alert_progress"), 'the rules were evaluated');
	return;
}
sub rule
{
	my ($text) = @_;
	query_as($node, 'keeper', "SELECT courier_pii.set_alert_rule($text)");
	return;
}
# disarm what is built in, and keep the tests apart
query_as($node, 'keeper', "SELECT courier_pii.set_alert_rule(name, kind, enabled => false) FROM courier_pii.alert_rules");
my $read = 'SELECT recv_phone FROM masked.shipment WHERE id';

# ---- volume: over statements and sessions ----

rule(q{'t_volume', 'volume', 30, '1 hour', scope => '{"login_role": "clerk"}'});
query_as($node, 'clerk', "$read <= 14");
query_as($node, 'service', "$read <= 40");
query_as($node, 'clerk', "$read <= 15");
looked();
is(alerts('t_volume'), '', 'volume: 29 values are not 30');
query_as($node, 'clerk', "$read = 1");
looked();
is(alerts('t_volume'), 'warning|clerk|C1|30', 'the thirtieth raises it, over three sessions');
query_as($node, 'clerk', "$read <= 40");
looked();
is(alerts('t_volume'), 'warning|clerk|C1|30', 'once in its window');

# ---- off hours ----

rule(q{'t_hours', 'off_hours', 5, '1 minute', 'info', from_hour => 0, to_hour => 24});
rule(q{'t_night', 'off_hours', 5, '1 minute', 'info', from_hour => 0, to_hour => 0});
query_as($node, 'clerk', "$read <= 4");
looked();
is(alerts('t_night'), '', 'off_hours: four values are not five');
query_as($node, 'clerk', "$read <= 5");
looked();
is(alerts('t_night'), 'info|clerk|C1|5', 'five are');
is(alerts('t_hours'), '', 'within the hours they are not');

# ---- refused attempts ----

rule(q{'t_refused', 'refused_attempts', 4, '10 minutes'});
error_as($node, 'courier', 'TABLE app.shipment') foreach 1 .. 3;
error_as($node, 'analyst', 'TABLE app.shipment') foreach 1 .. 3;
looked();
is(alerts('t_refused'), '', 'refused_attempts: three each of two people');
error_as($node, 'courier', 'TABLE app.shipment');
looked();
is(alerts('t_refused'), 'warning|courier|K1|4', 'the fourth of one of them');

# ---- new place ----

rule(q{'t_place', 'new_place', 1, '1 day', 'info'});
sub from_address
{
	my ($role, $address) = @_;
	my $c = CourierPiiWire->new($node, $role, from => $address) or die "no connection from $address";
	$c->query("$read = 1");
	$c->query('SELECT 1');
	$c->drop;
	looked();
	return;
}
from_address('clerk', '127.0.1.5');
is(alerts('t_place'), '', 'new_place: the first place of a person is no alarm');
from_address('clerk', '127.0.1.77');
is(alerts('t_place'), '', 'nor is another address of that network');
from_address('service', '127.0.2.5');
is(alerts('t_place'), '', 'nor the first one of somebody else');
from_address('clerk', '127.0.2.9');
is(audit($node, q{SELECT login_role, host(client_addr), amount FROM courier_pii.alerts WHERE rule = 't_place'}), 'clerk|127.0.2.9|2', 'another network is');
from_address('clerk', '127.0.1.5');
is(audit($node, q{SELECT count(*) FROM courier_pii.alerts WHERE rule = 't_place'}), '1', 'a known one is not');

# ---- departed attempts ----

rule(q{'t_departed', 'departed_attempts', 1, '1 minute', 'critical'});
query_as($node, 'leaver', 'SELECT 1');
looked();
is(alerts('t_departed'), '', 'departed_attempts: nobody has left yet');
$node->safe_psql($db, "SELECT courier_pii.depart('L1', now(), 'test')");
is(CourierPiiWire->new($node, 'leaver'), undef, 'who left tries to log in');
looked();
like(alerts('t_departed'), qr/^critical\|leaver\|(L1)?\|1$/, 'an alert');

# ---- sequential walk ----

rule(q{'t_walk', 'sequential_walk', 6, '1 hour', 'critical'});
$node->safe_psql($db, q{
	INSERT INTO app.shipment (waybill_no, station, created_on) SELECT 'YT' || (7000000000000 + i), 'SZ01', '2026-01-09' FROM generate_series(1, 20) i});
sub search { my (@numbers) = @_; query_as($node, 'clerk', join(';', map { "SELECT id FROM masked.shipment WHERE waybill_no = 'YT" . (7000000000000 + $_) . "'" } @numbers)); return; }
search(map { $_ * 5000 } 1 .. 12);
looked();
is(alerts('t_walk'), '', 'sequential_walk: numbers far apart');
search(1 .. 3);
search(4, 5);
looked();
is(alerts('t_walk'), '', 'five in a row');
search(6 .. 8);
looked();
like(alerts('t_walk'), qr/^critical\|clerk\|C1\|[678]$/, 'six, over three sessions');

# ---- decoys ----

rule(q{'t_canary', 'canary', 1, '1 minute', 'critical'});
my $decoy = query_as($node, 'keeper', q{SELECT courier_pii.add_canary('app.shipment', '{"recv_phone": "13655550009"}')});
query_as($node, 'clerk', "$read <= 10");
looked();
is(alerts('t_canary'), '', 'canary: other rows');
1 while defined $syslog->sockopt(SO_RCVBUF) && do { my $x; $syslog->blocking(0); defined $syslog->recv($x, 4096) };
$syslog->blocking(1);
my $listener = $node->background_psql($db);
$listener->query_safe('LISTEN courier_pii_alert');
my $log_at = -s $node->logfile;
query_as($node, 'clerk', q{SELECT recv_phone FROM masked.shipment WHERE recv_phone = '13655550009'});
looked();
is(alerts('t_canary'), 'critical|clerk|C1|1', 'the decoy was shown');
my $id = audit($node, q{SELECT id FROM courier_pii.alerts WHERE rule = 't_canary'});

# ---- who is told ----

my $told = '';
for (1 .. 100)
{
	$told .= $listener->query('SELECT 1 WHERE pg_sleep(0.1) IS NULL');
	last if $told =~ /courier_pii_alert/;
}
like($told, qr/"courier_pii_alert" with payload "\{"id": $id, "kind": "canary", "severity": "critical"\}"/, 'NOTIFY');
$listener->quit;
like(slurp_file($node->logfile, $log_at), qr/LOG:.*courier_pii alert $id: canary \(critical\)/, 'the server log');
my $line = '';
eval {
	local $SIG{ALRM} = sub { die "no datagram\n" };
	alarm 60;
	do { $syslog->recv($line, 4096) } until $line =~ /alert - \{"id": $id,/;
	alarm 0;
};
like($line, qr/^<\d+>1 \S+ \S+ courier_pii \d+ alert - \{"id": $id, "kind": "canary", "severity": "critical"\}/, 'the system log');
unlike($line . $told, qr/clerk|13655550009|C1/, 'which name nobody');

# ---- acknowledgement ----

$node->safe_psql($db, q{GRANT EXECUTE ON FUNCTION courier_pii.acknowledge_alert(bigint, text) TO clerk});
is(error_as($node, 'clerk', "SELECT courier_pii.acknowledge_alert($id)"), 'PI006', 'not by anybody');
is(error_as($node, 'keeper', "SELECT courier_pii.acknowledge_alert($id, 'planted by us')"), '', 'acknowledged');
is(audit($node, "SELECT acknowledged_by, acknowledged_at IS NOT NULL, note FROM courier_pii.alerts WHERE id = $id"), 'keeper|t|planted by us', 'with name, time and note');
is(error_as($node, 'keeper', "SELECT courier_pii.acknowledge_alert($id)"), '55000', 'once');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'acknowledge_alert' AND login_role = 'keeper' AND action = 'POLICY'}), '1', 'recorded');
error_as($node, 'keeper', 'TABLE app.shipment') foreach 1 .. 4;
looked();
my $own = audit($node, q{SELECT id FROM courier_pii.alerts WHERE rule = 't_refused' AND login_role = 'keeper'});
like($own, qr/^\d+$/, 'an alert about the keeper');
is(error_as($node, 'keeper', "SELECT courier_pii.acknowledge_alert($own)"), '55000', 'is not for the keeper to acknowledge');
is(error_as($node, $node->{courier_pii}{auditor}, "SELECT courier_pii.acknowledge_alert($own)"), '', 'but for the auditor');

# ---- a dump ----

my $dump = PostgreSQL::Test::Utils::tempdir('alerts') . '/dump';
my $rules = $node->safe_psql($db, q{SELECT name, kind, threshold, time_window, severity, enabled, from_hour, to_hour, time_zone, scope, set_by FROM courier_pii.alert_rule ORDER BY name});
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-Fc', '-f', $dump, $db ], 'pg_dump');
$node->safe_psql('postgres', "ALTER DATABASE $db RENAME TO before");
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-d', $db, $dump ], 'pg_restore');
is($node->safe_psql($db, q{SELECT name, kind, threshold, time_window, severity, enabled, from_hour, to_hour, time_zone, scope, set_by FROM courier_pii.alert_rule ORDER BY name}), $rules, 'the rules are back');
is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.canary_register'), '1', 'and the decoy');
is(query_as($node, 'keeper', 'SELECT id, tbl FROM courier_pii.canaries()'), "$decoy|app.shipment", 'which is known');
is(query_as($node, 'keeper', q{SELECT courier_pii.add_canary('app.shipment')}), $decoy + 1, 'the next one gets the next number');

done_testing();
