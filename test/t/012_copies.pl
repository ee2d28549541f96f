
# Copies of a database: standby with and without the key, promotion, recovery
# to a point in time, pg_upgrade, logical replication, foreign tables.  Sealed
# values travel as they are, and open where the keys are.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 30;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('first', allows_streaming => 'logical',
	conf => "wal_keep_size = 128MB\nmax_prepared_transactions = 2\narchive_mode = on\narchive_command = 'true'\n");
load_sample($node, rows => $ROWS);
my $archive = $node->archive_dir;
mkdir $archive;
$node->append_conf('postgresql.conf', "archive_command = 'cp \"%p\" \"$archive/%f\"'\n");
$node->restart;

sub shown { return query_as($_[0], 'clerk', 'SELECT * FROM masked.shipment ORDER BY id'); }
sub stored { return $_[0]->safe_psql($db, 'SELECT * FROM app.shipment ORDER BY id'); }
sub envelopes
{
	return grep { $_ ne '' } split /\n/, $_[0]->safe_psql($db, q{SELECT unnest(ARRAY[recv_phone::courier_pii.sealed, recv_name::courier_pii.sealed, recv_addr::courier_pii.sealed])
		FROM app.shipment});
}

# nonces of all values, from the text form: 12 bytes after header and tags
sub doubles
{
	my %seen;
	return scalar grep { $seen{$_}++ } @_;
}
my $shown = shown($node);
my $stored = stored($node);
my $phone = (canaries(7))[2];

# ---- standby, and recovery to a point in time ----

$node->backup('base');
my $standby = CourierPii->new_node('standby', from_backup => [ $node, 'base', has_streaming => 1 ]);
my $keyless = CourierPii->new_node('keyless', from_backup => [ $node, 'base', has_streaming => 1 ],
	conf => "courier_pii.key_file = '$node->{courier_pii}{directory}/nothing'\n");
my $insert = q{INSERT INTO masked.shipment (waybill_no, recv_name, recv_phone, station, created_on) VALUES ('%s', '王强', '%s', 'SZ01', '2026-01-05')};
query_as($node, 'clerk', sprintf($insert, 'SF1001', '13700001001'));
$node->wait_for_catchup($_, 'replay', $node->lsn('insert')) foreach $standby, $keyless;

subtest 'standby with the key' => sub {
	is(stored($standby), stored($node), 'equal byte for byte');
	is(shown($standby), shown($node), 'shown as on the primary');
	is(query_as($standby, 'clerk', "SELECT id FROM masked.shipment WHERE recv_phone = '$phone'"), '7', 'searched');
	isnt(error_as($standby, 'clerk', sprintf($insert, 'SF1002', '13700001002')), '', 'not written');
	like(error_as($standby, $standby->safe_psql('postgres', 'SELECT current_user'), q{SELECT courier_pii.new_epoch('phone')}), qr/^(25006|PI004|55000)$/, 'no new epoch is made there');
};
subtest 'standby without the key' => sub {
	is(stored($keyless), stored($node), 'equal byte for byte');
	is(error_as($keyless, 'clerk', 'SELECT recv_phone FROM masked.shipment'), 'PI004', 'nothing is shown');
	is($keyless->safe_psql($db, 'SELECT count(DISTINCT recv_phone) FROM app.shipment'), $ROWS + 1, 'values compare');
	command_ok([ 'pg_dump', '-d', $keyless->connstr($db), '-n', 'app', '-f', "$node->{courier_pii}{directory}/dump" ], 'it can be dumped');
};

# epochs made on the primary reach the standby, which shares the store
$node->safe_psql($db, q{SELECT courier_pii.new_epoch('phone')});
query_as($node, 'clerk', sprintf($insert, 'SF1003', '13700001003'));
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(query_as($standby, 'clerk', q{SELECT recv_phone FROM masked.shipment WHERE recv_phone = '13700001003'}), '13700001003', 'a new epoch is known to the standby');

# a point between two changes
my $target = $node->safe_psql($db, 'SELECT pg_create_restore_point($$here$$)');
my $before = shown($node);
query_as($node, 'clerk', q{UPDATE masked.shipment SET recv_name = '改名' WHERE id = 7; UPDATE masked.shipment SET recv_phone = '13700009999' WHERE id = 8});
$node->safe_psql($db, q{SELECT courier_pii.new_epoch('person_name')});
isnt(shown($node), $before, 'the primary goes on');
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
ok(wait_until($node, "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver"), 'the segment is archived');

subtest 'recovery to a point in time' => sub {
	my $past = CourierPii->new_node('past', from_backup => [ $node, 'base', has_restoring => 1, standby => 0 ],
		conf => "archive_mode = off\nrecovery_target_name = 'here'\nrecovery_target_action = 'promote'\n");
	$past->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';
	is(shown($past), $before, 'what was there then is shown');
	my @old = envelopes($past);
	$past->safe_psql($db, q{UPDATE app.shipment SET recv_phone = '13700001001', recv_name = '王强', recv_addr = '同一个地址'});
	my @new = envelopes($past);
	is(doubles(@old, @new), 0, 'it seals anew, no value twice alike');
	is($past->safe_psql($db, 'SELECT DISTINCT courier_pii.epoch_of(recv_name) FROM app.shipment'),
		$node->safe_psql($db, q{SELECT max(epoch) FROM courier_pii.key_status WHERE class = 'person_name' AND state = 'active'}),
		'in the epoch of today, not of the backup');
	$past->stop;
};

subtest 'promotion' => sub {
	my $sealed = $node->safe_psql($db, q{SELECT sum(values_sealed) FROM courier_pii.key_status WHERE class = 'phone'});
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	my $last = shown($node);
	$node->stop('immediate');
	$standby->promote;
	is(shown($standby), $last, 'nothing is lost');
	my @old = envelopes($standby);
	$standby->safe_psql($db, q{UPDATE app.shipment SET recv_phone = '13700001001', recv_name = '王强', recv_addr = '同一个地址'});
	my @new = envelopes($standby);
	is(doubles(@old, @new), 0, 'no value twice alike');
	# the first bytes tell epoch and search tag; nonces must differ even so
	is(doubles(map { substr($_, -55) } @old, @new), 0, 'nor their ends');
	my $counted = $standby->safe_psql($db, q{SELECT sum(values_sealed) FROM courier_pii.key_status WHERE class = 'phone'});
	cmp_ok($counted, '>=', $sealed, 'the counters go on from those of the primary');
	$standby->restart;
	cmp_ok($standby->safe_psql($db, q{SELECT sum(values_sealed) FROM courier_pii.key_status WHERE class = 'phone'}), '>=', $sealed, 'also after a restart');
	like($standby->safe_psql($db, q{SELECT courier_pii.new_epoch('phone')}), qr/^\d+$/, 'it makes epochs');
	query_as($standby, 'clerk', sprintf($insert, 'SF1004', '13700001004'));
	is(query_as($standby, 'clerk', q{SELECT recv_name, recv_phone FROM masked.shipment WHERE recv_phone = '13700001004'}), '王强|13700001004', 'and is written and searched');
	$standby->stop;
	$keyless->stop;
};
$node->start;
$shown = shown($node);
$stored = stored($node);

# ---- logical replication and foreign tables ----

# subscriber(NAME, KEYS): tables, roles and policy; with our keys or others
sub subscriber
{
	my ($name, $same) = @_;
	my $other = CourierPii->new_node($name, allows_streaming => 'logical', no_start => 1);
	foreach my $setting ('key_file', 'key_store')
	{
		last unless $same;
		$other->{courier_pii}{$setting} = $node->{courier_pii}{$setting};
		$other->append_conf('postgresql.conf', "courier_pii.$setting = '$node->{courier_pii}{$setting}'\n");
	}
	$other->start;
	$other->safe_psql('postgres', "CREATE DATABASE $db");
	$other->safe_psql($db, 'CREATE EXTENSION courier_pii CASCADE');
	load_sample($other, rows => 1);
	$other->safe_psql($db, 'DELETE FROM app.shipment');
	return $other;
}

$node->safe_psql($db, 'CREATE PUBLICATION p FOR TABLE app.shipment WITH (publish_via_partition_root = true)');
foreach my $same (1, 0)
{
	subtest 'logical replication, ' . ($same ? 'the same keys' : 'other keys') => sub {
		my $other = subscriber($same ? 'same_keys' : 'other_keys', $same);
		my $slot = $same ? 's1' : 's2';
		$other->safe_psql($db, "CREATE SUBSCRIPTION $slot CONNECTION '" . $node->connstr . " dbname=$db' PUBLICATION p" . ($same ? ' WITH (binary = true)' : ''));
		$other->wait_for_subscription_sync($node, $slot);
		is(stored($other), stored($node), 'the first copy is equal byte for byte');
		query_as($node, 'clerk', sprintf($insert, "SF200$same", "1370000200$same"));
		query_as($node, 'clerk', q{UPDATE masked.shipment SET remark = 'changed' WHERE id = 3; DELETE FROM masked.shipment WHERE id = } . (20 + $same));
		$node->wait_for_catchup($slot);
		is(stored($other), stored($node), 'and so are changes');
		my $read = q{SELECT recv_phone, remark FROM masked.shipment WHERE id = 3};
		if ($same)
		{
			is(query_as($other, 'clerk', $read), query_as($node, 'clerk', $read), 'shown as where they come from');
			is(query_as($other, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE recv_phone = '13700002001'}), '1', 'and found');
		}
		else
		{
			my ($state, $err) = error_as($other, 'clerk', $read);
			like($state, qr/^(XX001|PI004)$/, 'values of other keys do not open');
			is(scalar found_canaries($err, 1 .. $ROWS), 0, 'and nothing is told of them');
			is(query_as($other, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE recv_phone = '13700002000'}), '0', 'nor are they found');
			is($other->safe_psql($db, 'SELECT count(DISTINCT recv_phone) = count(*) FROM app.shipment'), 't', 'they compare');
		}
		$other->safe_psql($db, "DROP SUBSCRIPTION $slot");
		$other->stop;
	};
}

subtest 'decoding shows envelopes' => sub {
	$node->safe_psql($db, q{SELECT pg_create_logical_replication_slot('look', 'test_decoding')});
	query_as($node, 'clerk', q{UPDATE masked.shipment SET recv_name = '张三丰', remark = 'decoded-canary-remark' WHERE id = 4});
	my $changes = $node->safe_psql($db, q{SELECT data FROM pg_logical_slot_get_changes('look', NULL, NULL)});
	like($changes, qr/pii:1/, 'sealed values are in the stream');
	unlike($changes, qr/张三丰|decoded-canary/, 'and no clear text');
	$node->safe_psql($db, q{SELECT pg_drop_replication_slot('look')});
};

subtest 'postgres_fdw' => sub {
	my $other = subscriber('foreign', 1);
	my ($host, $port) = ($node->host, $node->port);
	$other->safe_psql($db, qq{
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER first FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname '$db');
		CREATE USER MAPPING FOR CURRENT_USER SERVER first OPTIONS (user 'reader');
		CREATE USER MAPPING FOR clerk SERVER first OPTIONS (user 'clerk', password_required 'false');
		CREATE USER MAPPING FOR analyst SERVER first OPTIONS (user 'analyst', password_required 'false');
		CREATE SCHEMA far;
		CREATE FOREIGN TABLE far.shipment (id bigint, recv_phone courier_pii.phone, recv_name courier_pii.person_name)
			SERVER first OPTIONS (schema_name 'app', table_name 'shipment');
		CREATE FOREIGN TABLE far.shown (id bigint, recv_phone text, recv_name text)
			SERVER first OPTIONS (schema_name 'masked', table_name 'shipment');
		GRANT USAGE ON SCHEMA far TO PUBLIC;
		GRANT SELECT ON far.shown TO clerk, analyst});
	is($other->safe_psql($db, 'SELECT id, recv_phone, recv_name FROM far.shipment ORDER BY id'),
		$node->safe_psql($db, 'SELECT id, recv_phone, recv_name FROM app.shipment ORDER BY id'), 'values travel sealed');
	$other->safe_psql($db, 'CREATE TABLE public.near AS SELECT * FROM far.shipment');
	is($other->safe_psql($db, q{SELECT count(*) FROM public.near n JOIN far.shipment f ON n.recv_phone = f.recv_phone}),
		$node->safe_psql($db, 'SELECT count(*) FROM app.shipment'), 'and join');
	foreach my $role ('clerk', 'analyst')
	{
		my $columns = 'id, recv_phone, recv_name';
		is(query_as($other, $role, "SELECT $columns FROM far.shown ORDER BY id"),
			query_as($node, $role, "SELECT $columns FROM masked.shipment ORDER BY id"), "a foreign masked view shows the $role what the $role sees there");
	}
	isnt(query_as($other, 'analyst', 'SELECT recv_phone FROM far.shown WHERE id = 7'), $phone, 'masks for the analyst');
	is(query_as($other, 'clerk', "SELECT id FROM far.shown WHERE recv_phone = '$phone'"), '7', 'searched from afar');
	is(error_as($other, 'analyst', "SELECT id FROM far.shown WHERE recv_phone = '$phone'"), '42501', 'with the permissions there');
	$other->stop;
};

# ---- pg_upgrade ----

foreach my $mode ('--link', '--copy')
{
	subtest "pg_upgrade $mode" => sub {
		my $number = $mode eq '--link' ? 1 : 2;
		$shown = shown($node);
		$stored = stored($node);
		my $epochs = $node->safe_psql($db, 'SELECT class, epoch, state FROM courier_pii.key_status ORDER BY 1, 2');
		$node->safe_psql($db, 'DROP PUBLICATION IF EXISTS p');
		$node->stop;
		my $new = PostgreSQL::Test::Cluster->new($mode eq '--link' ? 'linked' : 'copied');
		$new->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C.UTF-8' ]);
		my $conf = slurp_file($node->data_dir . '/postgresql.conf');
		my @ours = grep { /^(courier_pii|shared_preload|extension_destdir|dynamic_library|log_line_prefix)/ } split /\n/, $conf;
		$new->append_conf('postgresql.conf', join("\n", @ours, ''));
		$new->{courier_pii} = { %{ $node->{courier_pii} } };
		delete $new->{courier_pii}{auditor};
		my $bin = $node->config_data('--bindir');
		my $directory = PostgreSQL::Test::Utils::tempdir_short();
		my @command = ('sh', '-c', 'cd "$0" && exec "$@"', $directory, 'pg_upgrade', '-b', $bin, '-B', $bin, '-d', $node->data_dir, '-D', $new->data_dir,
			'-s', $directory, '-p', $node->port, '-P', $new->port, $mode eq '--link' ? '--link' : ());
		# --copy is the default, and an option of its own from version 16 on
		my ($out, $err);
		my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
		ok($ok, 'pg_upgrade succeeds') or diag($out, $err, map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*'));
		$new->start;
		is(stored($new), $stored, 'equal byte for byte');
		is(shown($new), $shown, 'shown as before');
		is(query_as($new, 'clerk', "SELECT id FROM masked.shipment WHERE recv_phone = '$phone'"), '7', 'searched');
		is($new->safe_psql($db, 'SELECT class, epoch, state FROM courier_pii.key_status ORDER BY 1, 2'), $epochs, 'the keys are the same');
		query_as($new, 'clerk', sprintf($insert, "SF300$number", "1370000300$number"));
		is(query_as($new, 'clerk', "SELECT recv_phone FROM masked.shipment WHERE recv_phone = '1370000300$number'"), "1370000300$number", 'writing goes on');
		is(audit($new, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the audit trail is intact');
		# the next upgrade starts from here
		$node = $new;
	};
}
$node->stop;

done_testing();
