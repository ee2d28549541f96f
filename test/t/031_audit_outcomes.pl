
# However a statement ends, one truthful record says so.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = CourierPii->new_node('outcomes');
my $db = $CourierPii::DATABASE;
my $from = 'FROM masked.shipment';

load_sample($node, rows => 60);

# last records of a purpose: action, outcome, sqlstate, disclosed, rows
sub record_of
{
	my ($purpose) = @_;
	return audit($node, qq{SELECT action, outcome, coalesce(sqlstate, ''), disclosed
		FROM courier_pii.audit_log
		WHERE purpose = '$purpose' AND phase <> 'BEGIN' AND action <> 'DENIED' ORDER BY seq});
}

sub try
{
	my ($purpose, $sql, $role) = @_;
	return error_as($node, $role // 'clerk', "SET courier_pii.purpose = '$purpose';\n$sql");
}

is(try('plain', "SELECT recv_phone $from WHERE id <= 5"), '', 'a read');
like(record_of('plain'), qr/^READ\|ok\|(00000)?\|5$/, 'is recorded');

try('rollback', "BEGIN; SELECT recv_phone $from WHERE id <= 5; ROLLBACK;");
like(record_of('rollback'), qr/^READ\|ok\|(00000)?\|5$/, 'also when it is rolled back');

is(try('timeout', "SET statement_timeout = '300ms'; SELECT recv_phone, pg_sleep(0.05) $from"),
	'57014', 'a statement timeout');
like(record_of('timeout'), qr/^READ\|timeout\|57014\|[1-9]\d*$/, 'is recorded with what it disclosed');

is(try('error', "SELECT recv_phone, 1 / (id - 30) $from ORDER BY recv_phone"), '22012', 'an error in the middle');
like(record_of('error'), qr/^READ\|error\|22012\|[1-9]\d*$/, 'is recorded with what it disclosed');

is(try('denied', 'SELECT recv_phone FROM app.shipment', 'courier'), '42501', 'a refused permission');
is(audit($node, q{SELECT action, outcome, sqlstate, disclosed, login_role, staff_no FROM courier_pii.audit_log WHERE purpose = 'denied'}),
	'DENIED|denied|42501|0|courier|K1', 'is recorded');

is(try('search', "SELECT id $from WHERE recv_id = '990000199001011001'", 'analyst'), '42501', 'a refused search');
like(audit($node, q{SELECT action, outcome, sqlstate FROM courier_pii.audit_log WHERE purpose = 'search'}),
	qr/^DENIED\|denied\|42501$/, 'is recorded');

try('missed', "SELECT id $from WHERE recv_phone = '13800000000'");
is(audit($node, q{SELECT action, outcome, disclosed, probes > 0 FROM courier_pii.audit_log WHERE purpose = 'missed'}),
	'SEARCH|ok|0|t', 'a search without a find is recorded');

# run SQL on a connection, do something meanwhile
sub interrupted
{
	my ($purpose, $sql, $what) = @_;
	my $c = CourierPiiWire->new($node, 'clerk');
	$c->query("SET courier_pii.purpose = '$purpose'");
	$c->send_message('Q', "$sql\0");
	usleep(400_000);
	$what->($c);
	return $c;
}

my $slow = "SELECT recv_phone, pg_sleep(0.05) $from";
my $c = interrupted('cancel', $slow, sub { $_[0]->cancel });
is($c->wait_ready->{state}, '57014', 'a cancelled read');
like(record_of('cancel'), qr/^READ\|cancelled\|57014\|[1-9]\d*$/, 'is recorded');

$c = interrupted('terminate', $slow, sub { $node->safe_psql($db, "SELECT pg_terminate_backend($_[0]->{pid}, 5000)") });
is($c->wait_ready->{state}, '57P01', 'a terminated session');
like(record_of('terminate'), qr/^READ\|terminated\|57P01\|[1-9]\d*$/, 'is recorded');

$c = interrupted('copy', "COPY (SELECT recv_phone, pg_sleep(0.05) $from) TO STDOUT", sub { $_[0]->cancel });
is($c->wait_ready->{state}, '57014', 'a COPY cancelled half-way');
like(record_of('copy'), qr/^EXPORT\|cancelled\|57014\|[1-9]\d*$/, 'is recorded');

$c = interrupted('gone', $slow, sub { $_[0]->drop });
ok(wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'clerk'}), 'a client that goes away');
like(record_of('gone'), qr/^READ\|\w+\|\w*\|[1-9]\d*$/, 'is recorded');

# messages during a statement flush the buffer: the record comes first
$c = CourierPiiWire->new($node, 'clerk');
$c->query("SET courier_pii.purpose = 'notice'; SET client_min_messages = debug5");
$c->send_message('Q', "SELECT recv_phone, pg_sleep(0.02) $from\0");
$c->wait_ready;
like(record_of('notice'), qr/^READ\|ok\|(00000)?\|60$/, 'a statement with messages has one final record');

is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');

done_testing();
