
# The files of monitoring/: each query of the collector gives one number to a
# login that has pg_monitor and nothing else; rules and dashboard name only
# metrics that exist; alerts are notified and logged without personal data.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('monitoring');
my $db = $CourierPii::DATABASE;
load_sample($node, rows => 20);
$node->safe_psql($db, 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher');

my $dir = '.';
sub text { return slurp_file("$dir/monitoring/$_[0]"); }

my %metric;
my $collector = text('courier_pii.collector.yml');
while ($collector =~ /- metric_name: (\w+)\n\s+type: (\w+)\n.*?query: \|\n\s+([^\n]+)/gs)
{
	my ($name, $type, $query) = ($1, $2, $3);
	$metric{$name} = 1;
	like($type, qr/^(gauge|counter)$/, "type of $name");
	like(query_as($node, 'watcher', $query), qr/^-?[0-9.e+-]+$/, "one number: $name");
}
cmp_ok(scalar keys %metric, '>=', 14, 'metrics');
my $rules = text('courier_pii.rules.yml');
my $dashboard = text('courier_pii.dashboard.json');
my @used = ($rules =~ /expr: '(.*)'/g, map { $_->{expr} } map { @{ $_->{targets} } } @{ decode_json($dashboard)->{panels} });
foreach my $expr (@used)
{
	ok($metric{$_}, "$_ is collected") foreach $expr =~ /(courier_pii_\w+)/g;
}
is(error_as($node, 'clerk', 'SELECT * FROM courier_pii.monitor'), '42501', 'not for everybody');
is(error_as($node, 'watcher', 'SELECT * FROM courier_pii.alerts'), '42501', 'numbers only');

# a rule that the next read breaks
$node->safe_psql($db, q{SELECT courier_pii.set_alert_rule('first', 'volume', 1)});
my $log_at = -s $node->logfile;
my $listener = $node->background_psql($db);
$listener->query_safe('LISTEN courier_pii_alert');
query_as($node, 'clerk', 'SELECT recv_phone FROM masked.shipment WHERE id = 1');
$node->wait_for_log(qr/courier_pii alert \d+: volume \(warning\)/, $log_at);
my $told = '';
foreach (1 .. 100)
{
	$told .= $listener->query('SELECT 1 WHERE pg_sleep(0.1) IS NULL');
	last if $told =~ /courier_pii_alert/;
}
like($told, qr/"courier_pii_alert" with payload "\{"id": \d+, "kind": "volume", "severity": "warning"\}"/, 'notified');
unlike(slurp_file($node->logfile, $log_at), qr/alert.*clerk/, 'the log line names nobody');
$listener->quit;
done_testing();
