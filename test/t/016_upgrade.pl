
# pg_upgrade to every newer server on this machine that has the library: values,
# searches, people, policy, audit trail, keys, views and indexes are as before.
# Servers are looked for in COURIER_PII_UPGRADE_BINDIRS (directories with a
# colon between them), else below /usr/lib/postgresql.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my ($bindir) = run_command([ 'pg_config', '--bindir' ]);

sub major_of
{
	my ($directory) = @_;
	return -x "$directory/pg_config" && (run_command([ "$directory/pg_config", '--version' ]))[0] =~ / (\d+)/ ? $1 : 0;
}

# has the server what it takes?
sub is_complete
{
	my ($directory) = @_;
	my $destdir = $ENV{COURIER_PII_DESTDIR} // '';
	my ($share) = run_command([ "$directory/pg_config", '--sharedir' ]);
	my ($library) = run_command([ "$directory/pg_config", '--pkglibdir' ]);
	foreach my $file ("$directory/pg_upgrade", "$directory/postgres", "$share/extension/pgcrypto.control",
		"$destdir$share/extension/courier_pii.control", "$destdir$library/courier_pii.so")
	{
		next if -e $file;
		note "$directory: no $file";
		return 0;
	}
	return 1;
}

my $major = major_of($bindir);
my @directories = $ENV{COURIER_PII_UPGRADE_BINDIRS} ? split(/:/, $ENV{COURIER_PII_UPGRADE_BINDIRS}) : glob('/usr/lib/postgresql/*/bin');
my %newer = map { major_of($_) => $_ } grep { major_of($_) > $major && is_complete($_) } @directories;
plan skip_all => "no server newer than $major with the library is on this machine" unless %newer;

# ---- a company ----

my $node = CourierPii->new_node('old', allows_streaming => 'logical', conf => "courier_pii.unregistered_login = 'allow'\n");
load_sample($node, rows => 30, no_people => 1);
staff_server($node);
$node->safe_psql($db, q{
	SELECT courier_pii.hire('K1', '李送', 'courier', 'HQ', 'courier');
	SELECT courier_pii.create_class('plate', 'first_last(2,1)', true);
	SELECT courier_pii.grant_disclosure('clerk', 'plate', 'clear', true), courier_pii.grant_disclosure('analyst', 'phone', 'token');
	CREATE TABLE app.van (plate courier_pii.plate PRIMARY KEY, phone courier_pii.phone DEFAULT '4001234567', note text);
	INSERT INTO app.van (plate) VALUES ('粤B12345'), ('粤B67890');
	CREATE INDEX van_tail ON app.van (courier_pii.tail4(phone));
	CREATE TABLE app.stop (plate courier_pii.plate REFERENCES app.van);
	INSERT INTO app.stop SELECT plate FROM app.van;
	SELECT courier_pii.create_masked_view('app.van');
	GRANT SELECT, INSERT ON masked.van TO clerk, analyst;
	SELECT courier_pii.set_limit('service', 7, 70, 700);
	SELECT courier_pii.set_gate('training', 'off');
	CREATE FUNCTION public.helpful(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)';
	SELECT courier_pii.trust_function('public.helpful(text)');
	SELECT courier_pii.new_epoch('phone');
	UPDATE app.shipment SET recv_phone = recv_phone WHERE id < 5;
});
query_as($node, 'wang', q{SELECT courier_pii.request('export', 'for the upgrade', '{"table": "app.shipment"}')});
query_as($node, 'chen', q{SELECT courier_pii.depart('W1', reason => 'left before')});

# what must be the same: name => [ role, statement ]
my $super = $node->safe_psql('postgres', 'SELECT current_user');
my $phone = (canaries(7))[2];
my %same = (
	'stored values, byte for byte' => [ $super, 'SELECT * FROM app.shipment ORDER BY id; SELECT plate, phone FROM app.van ORDER BY note, plate::courier_pii.sealed::text' ],
	'what the clerk is shown' => [ 'clerk', 'SELECT * FROM masked.shipment ORDER BY id; SELECT plate, phone FROM masked.van ORDER BY 1' ],
	'what the analyst is shown, pseudonyms included' => [ 'analyst', 'SELECT * FROM masked.shipment ORDER BY id; SELECT plate, phone FROM masked.van ORDER BY 1' ],
	'what the courier is shown' => [ 'courier', 'SELECT * FROM masked.shipment ORDER BY id' ],
	'searches' => [ 'clerk', qq{SELECT id FROM masked.shipment WHERE recv_phone = '$phone'; SELECT phone FROM masked.van WHERE plate = '粤b12345';
		SELECT count(*) FROM masked.van WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '4567')} ],
	'searches by index' => [ 'clerk', qq{SET enable_seqscan = off; SELECT id FROM masked.shipment WHERE recv_phone = '$phone' AND created_on >= '2026-02-01'} ],
	'joins' => [ $super, 'SELECT count(*) FROM app.van JOIN app.stop USING (plate)' ],
	'indexes' => [ $super, q{SELECT indexrelid::regclass, pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid::regclass::text LIKE 'app.%' ORDER BY indexrelid::regclass::text} ],
	'rights on views' => [ $super, q{SELECT c.oid::regclass, x.grantee::regrole, x.privilege_type FROM pg_class c, aclexplode(c.relacl) x
		WHERE c.relnamespace = 'masked'::regnamespace AND x.grantee <> c.relowner ORDER BY 1, 2, 3} ],
	'keys' => [ $super, 'SELECT class, epoch, state, suite FROM courier_pii.key_status ORDER BY 1, 2' ],
	'disclosures of the clerk' => [ 'clerk', 'SELECT class, level, searchable FROM courier_pii.effective_disclosures ORDER BY 1' ],
	'who works and who left' => [ $super, 'SELECT staff_no, login_role, status, org FROM courier_pii.staff ORDER BY 1' ],
);
sub look { return { map { $_ => query_as($_[0], @{ $same{$_} }) } keys %same }; }

# every register, but those of what goes on at the moment
sub registers
{
	my ($server) = @_;
	return $server->safe_psql($db, q{
		SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM courier_pii.%I t', c.relname, c.relname)
		FROM pg_class c WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind = 'r'
			AND c.relname !~ '^(audit_|alert|budget|timeline_|person_guess)'
		ORDER BY c.relname
		\gexec
	});
}

sub trail
{
	my ($server, $upto) = @_;
	return audit($server, "SELECT count(*), md5(string_agg(seq || encode(hash, 'hex'), ',' ORDER BY seq)) FROM courier_pii.audit_log WHERE seq <= $upto");
}

sub new_cluster
{
	my ($name, $directory) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name, install_path => $directory =~ s{/bin$}{}r);
	# on by default since 18, and must be the same
	my @sums = major_of($directory) >= 18 ? ('--no-data-checksums') : ();
	$new->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C.UTF-8', @sums ]);
	return $new;
}

sub run_upgrade
{
	my ($old, $new, $directory) = @_;
	my $place = PostgreSQL::Test::Utils::tempdir_short();
	my ($out, $err);
	my $ok = IPC::Run::run([ 'sh', '-c', 'cd "$0" && exec "$@"', $place, "$directory/pg_upgrade", '-b', $bindir, '-B', $directory,
		'-d', $old->data_dir, '-D', $new->data_dir, '-s', $place, '-p', $old->port, '-P', $new->port ], '>', \$out, '2>', \$err);
	return ($ok, $ok ? '' : join('', $out, $err, map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*.log')));
}

# a new cluster of another version with the old one's settings, upgraded
sub upgrade
{
	my ($old, $name, $directory) = @_;
	my $new = new_cluster($name, $directory);
	my @ours = grep { /^(courier_pii|shared_preload|log_line_prefix|timezone)/ } split /\n/, slurp_file($old->data_dir . '/postgresql.conf');
	$new->append_conf('postgresql.conf', join("\n", @ours, private_installation($new), ''));
	$new->{courier_pii} = { %{ $old->{courier_pii} } };
	my ($ok, $log) = run_upgrade($old, $new, $directory);
	ok($ok, 'pg_upgrade succeeds') or diag($log);
	return $ok ? $new : undef;
}

# A server with an older minor release than ours may not take what ours dumps:
# do these two understand each other at all, without the library?
sub servers_fit
{
	my ($directory) = @_;
	my $to = major_of($directory);
	my $old = new_cluster("plain_for_$to", $bindir);
	$old->start;
	$old->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW w AS SELECT * FROM t');
	$old->stop;
	my ($ok, $log) = run_upgrade($old, new_cluster("plain_$to", $directory), $directory);
	note((grep { /ERROR/ } split /\n/, $log)[0]) unless $ok;
	return $ok;
}

foreach my $to (sort { $a <=> $b } keys %newer)
{
	subtest "from $major to $to" => sub {
		plan skip_all => 'these two servers do not upgrade an empty database either' unless servers_fit($newer{$to});
		my $before = look($node);
		my $seq = audit($node, 'SELECT max(seq) FROM courier_pii.audit_log');
		my $trail = trail($node, $seq);
		my $registers = registers($node);
		$node->stop;
		# each upgrade writes to a trail and a key store of its own
		my $side = $node->{courier_pii}{directory};
		system_or_bail('cp', '-a', $side, "$side.$to");
		my $new = upgrade($node, "to_$to", $newer{$to});
		if ($new)
		{
			$new->start;
			is($new->safe_psql($db, 'SHOW server_version_num') =~ /^$to/ ? $to : '?', $to, 'the server is the newer one');
			is(registers($new), $registers, 'all registers are as before');
			my $after = look($new);
			is($after->{$_}, $before->{$_}, $_) foreach sort keys %same;
			is(trail($new, $seq), $trail, 'the audit trail is as it was');
			is(error_as($new, 'wang', 'SELECT 1'), 'PI005', 'who had left may not come back');
			is(error_as($new, 'app_owner', 'TRUNCATE app.shipment'), 'PI001', 'what needs a ticket needs one');

			# and all goes on
			my $plan = query_as($new, 'clerk', qq{SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT id FROM masked.shipment WHERE recv_phone = '$phone' AND created_on >= '2026-02-01'});
			like($plan, qr/Index Scan/, 'searches use the index');
			query_as($new, 'clerk', q{INSERT INTO masked.shipment (waybill_no, recv_name, recv_phone, station, created_on)
				VALUES ('SF9001', '王强', '13700009001', 'SZ01', '2026-01-05'); INSERT INTO masked.van (plate) VALUES ('粤B11111')});
			is(query_as($new, 'clerk', q{SELECT recv_name FROM masked.shipment WHERE recv_phone = '13700009001'; SELECT phone FROM masked.van WHERE plate = '粤B11111'}),
				"王强\n4001234567", 'what is written is found, defaults of before included');
			is(error_as($new, 'clerk', q{INSERT INTO masked.van (plate) VALUES ('粤B12345')}), '23505', 'keys of before hold');
			is(error_as($new, 'chen', q{SELECT courier_pii.depart('K1', reason => 'left after')}), '', 'a departure');
			is(error_as($new, 'courier', 'SELECT 1'), 'PI005', 'takes effect');
			like(query_as($new, $super, q{SELECT courier_pii.new_epoch('phone')}), qr/^\d+$/, 'a new epoch');
			$new->safe_psql($db, q{CREATE TABLE app.more (id int PRIMARY KEY, phone text NOT NULL); INSERT INTO app.more VALUES (1, '13700009009')});
			$new->safe_psql($db, q{CALL courier_pii.protect_column_online('app.more', 'phone', 'phone')});
			is($new->safe_psql($db, q{SELECT id FROM app.more WHERE phone = '13700009009'}), '1', 'another column is protected');
			is(audit($new, q{SELECT count(*) > 0 FROM courier_pii.audit_log WHERE action = 'READ' AND login_role = 'clerk' AND seq > } . $seq), 't', 'reading is on record');
			is(audit($new, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the audit trail is intact');
			$new->safe_psql($db, 'VACUUM ANALYZE');
			$new->stop;
		}
		system_or_bail('rm', '-rf', $side);
		system_or_bail('mv', "$side.$to", $side);
		$node->start;
	};
}

$node->stop;
done_testing();
