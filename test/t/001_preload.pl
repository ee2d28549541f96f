
# A server that is not set up right: clear refusals, nothing lost.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bare = CourierPii->new_node('bare', no_preload => 1, no_extension => 1);
my $db = $CourierPii::DATABASE;
my $superuser = $bare->safe_psql('postgres', 'SELECT current_user');
my ($state, $err) = error_as($bare, $superuser, 'CREATE EXTENSION courier_pii CASCADE');
is($state, '55000', 'not preloaded: refused');
like($err, qr/HINT: .*shared_preload_libraries/, 'with a hint');
$bare->stop;

my $node = CourierPii->new_node('preload');
($state) = error_as($node, $superuser, 'CREATE EXTENSION courier_pii CASCADE', database => 'postgres');
isnt($state, '', "another database: refused ($state)");

load_sample($node, rows => 20);
my $stored = $node->safe_psql($db, 'SELECT * FROM app.shipment ORDER BY id');
my $file = $node->{courier_pii}{key_file};
my $key = slurp_file($file);

sub sealed
{
	my ($name, $detail) = @_;
	subtest $name => sub {
		$node->restart;
		my ($state, $err) = error_as($node, 'clerk', 'SELECT recv_phone FROM masked.shipment');
		is($state, 'PI004', 'showing is refused');
		like($err, $detail, 'with the reason');
		is(error_as($node, 'clerk', q{INSERT INTO masked.shipment (waybill_no, station, created_on)
			VALUES ('SF1', 'x', '2026-01-02')}), 'PI004', 'sealing is refused');
		is($node->safe_psql($db, 'SELECT * FROM app.shipment ORDER BY id'), $stored, 'values are read sealed');
		is($node->safe_psql($db, 'SELECT count(DISTINCT recv_phone) FROM app.shipment'), '20', 'and compare');
	};
	return;
}

unlink $file;
sealed('no key file', qr/DETAIL: .*Could not open key file/);
CourierPii::write_key($node, $key);
chmod 0644, $file;
sealed('readable by all', qr/DETAIL: .*accessible to other users/);
unlink $file;
CourierPii::write_key($node, 'short');
sealed('wrong length', qr/DETAIL: .*wrong length or form/);
unlink $file;
CourierPii::write_key($node, 'k' x 32);
sealed('another key', qr/not the one/);
unlink $file;
CourierPii::write_key($node, $key);
$node->restart;
is(query_as($node, 'clerk', 'SELECT count(recv_phone) FROM masked.shipment WHERE recv_phone IS NOT NULL'), '20',
	'with the right key all is well');

my $libraries = $node->config_data('--pkglibdir');
foreach my $other ('pgaudit', 'pg_stat_statements', 'auto_explain')
{
	if (!-e "$libraries/$other.so")
	{
		SKIP: { skip("$other is not installed", 2); }
		next;
	}
	foreach my $list ("$other, courier_pii", "courier_pii, $other")
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = '$list'");
		$node->restart;
		is(query_as($node, 'clerk', 'SELECT count(DISTINCT recv_phone || id) FROM masked.shipment'), '20', "works with $list");
	}
}

done_testing();
