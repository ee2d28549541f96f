
# The exfiltration campaign: an insider who may see clear text, with a limit of
# 100 values, tries to get all rows on every road of test/attack/exfil; then
# many sessions of one person at once, restarts, crashes, and the brake.
# EXFIL_ROWS is the number of rows (the campaign takes 10000).

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use File::Path qw(remove_tree);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = $ENV{EXFIL_ROWS} // 1200;
my $LIMIT = 100;

my $node = CourierPii->new_node('exfil', conf => "max_connections = 120\nwal_level = logical\nmax_wal_senders = 4\n");
my $db = $CourierPii::DATABASE;
load_sample($node, rows => $ROWS);

my $have_extensions = $node->psql($db, 'CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw') == 0;
my $side = PostgreSQL::Test::Utils::tempdir('exfil');
my $conninfo = join ' ', 'host=' . $node->host, 'port=' . $node->port, "dbname=$db", 'user=clerk';
$node->safe_psql(
	$db, qq{
	SELECT courier_pii.set_limit('clerk', $LIMIT, NULL, NULL);
	CREATE SCHEMA taken AUTHORIZATION clerk;
	GRANT CREATE ON DATABASE $db TO clerk;
	GRANT pg_write_server_files, pg_execute_server_program TO clerk;
	GRANT EXECUTE ON FUNCTION pg_catalog.lo_from_bytea(oid, bytea) TO clerk;
	CREATE ROLE chief LOGIN;
	GRANT pii_security_admin TO chief;
});
$node->safe_psql(
	$db, qq{
	GRANT EXECUTE ON FUNCTION dblink(text, text), dblink_connect_u(text, text) TO clerk;
	CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '@{[ $node->host ]}', port '@{[ $node->port ]}', dbname '$db',
		options '-c courier_pii.purpose=foreign_table');
	CREATE USER MAPPING FOR clerk SERVER far OPTIONS (user 'clerk', password_required 'false');
	CREATE SCHEMA far;
	CREATE FOREIGN TABLE far.shipment (id bigint, recv_phone text) SERVER far OPTIONS (schema_name 'masked');
	GRANT USAGE ON SCHEMA far TO clerk;
	GRANT SELECT ON far.shipment TO clerk;
}) if $have_extensions;
$node->safe_psql($db, 'ANALYZE');

my @texts = canaries(1 .. $ROWS);
my %phone = map { $texts[ $_ * 7 + 2 ] => 1 } 0 .. $ROWS - 1;

sub phones_in
{
	my ($bytes) = @_;
	my %seen;
	while ($bytes =~ /(?=(139\d{8}))/g) { $seen{$1} = 1 if $phone{$1}; }
	return scalar keys %seen;
}

sub recorded
{
	my ($purpose) = @_;
	return split /\|/, audit($node, qq{
		SELECT coalesce(sum(disclosed), 0), coalesce(sum(masked), 0),
			count(*) FILTER (WHERE action = 'DENIED'),
			count(*) FILTER (WHERE sqlstate = 'PI001' AND outcome = 'blocked'),
			count(*), coalesce(string_agg(DISTINCT staff_no, ','), ''),
			count(*) FILTER (WHERE action IN ('EXPORT', 'COPY'))
		FROM courier_pii.audit_log WHERE purpose = '$purpose' AND phase <> 'BEGIN'});
}

sub try_road
{
	my ($name, $expected, $sql) = @_;
	(my $purpose = $name) =~ s/[^a-z0-9]+/_/gi;
	my $file = "$side/out";
	my ($out, $err) = ('', '');
	my $from = 'FROM masked.shipment WHERE id > 0';

	unlink $file;
	$node->psql($db, "SET courier_pii.purpose = '$purpose';\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 0,
		connstr => login($node, 'clerk'),
		extra_params => [ '-v', 'VERBOSITY=verbose', '-v', "from=$from",
			'-v', 'from_alias=FROM (SELECT * FROM masked.shipment WHERE id > 0) s',
			'-v', "rows=$ROWS", '-v', "file=$file",
			'-v', "conninfo=$conninfo options='-c courier_pii.purpose=$purpose'" ]);
	my $taken = -f $file ? slurp_file($file) : '';
	my $got = phones_in($out . $err . $taken);
	my ($disclosed, $masked, $denied, $blocked, $records, $staff, $copies) = recorded($purpose);

	cmp_ok($got, '<=', $LIMIT, "$name: $got phones got out");
	if ($expected eq 'refused')
	{
		is($got, 0, "$name: nothing");
		like($err, qr/ERROR:  [0-9A-Z]{5}/, "$name: refused");
		return;
	}
	cmp_ok($records, '>=', 1, "$name: recorded");
	is($staff, 'C1', "$name: with the person");
	if ($expected eq 'masks')
	{
		is($got, 0, "$name: masks only");
		is($disclosed, 0, "$name: nothing disclosed by the record");
		cmp_ok($masked, '>', 0, "$name: $masked masks recorded");
		return;
	}
	like($err, qr/PI001:? disclosure limit (reached|would be passed)/, "$name: PI001");
	cmp_ok($blocked, '>=', 1, "$name: recorded as blocked");
	cmp_ok($denied, '>=', 1, "$name: recorded as denied");
	if ($expected eq 'gate')
	{
		is("$got $disclosed", '0 0', "$name: refused before the first row");
		return;
	}
	cmp_ok($disclosed, '>=', $got, "$name: $disclosed recorded");
	# a session of its own for each of two: the way there and back
	cmp_ok($disclosed, '<=', $LIMIT, "$name: not more recorded than allowed");
	return;
}

subtest 'roads' => sub {
	my $text = slurp_file('test/attack/exfil/roads.sql');
	my @sections = split /^--> /m, $text;
	shift @sections;
	cmp_ok(scalar @sections, '>=', 40, scalar(@sections) . ' roads');
	foreach my $section (@sections)
	{
		my ($head, $sql) = split /\n/, $section, 2;
		my ($name, $expected) = split / \| /, $head;
		next if !$have_extensions && $name =~ /^(dblink|foreign table)$/;
		try_road($name, $expected, $sql);
	}
};

subtest 'programs of the server' => sub {
	my ($out, $err);
	foreach my $try (
		[ 'pg_dump', [ 'pg_dump', '-d', login($node, 'clerk') ] ],
		[ 'pg_dump of the view', [ 'pg_dump', '-d', login($node, 'clerk'), '-t', 'masked.shipment', '--data-only' ] ],
		[ 'pg_basebackup', [ 'pg_basebackup', '-h', $node->host, '-p', $node->port, '-U', 'clerk', '-D', "$side/base", '-c', 'fast' ] ])
	{
		my ($name, $command) = @$try;
		IPC::Run::run($command, '<', \undef, '>', \$out, '2>', \$err);
		is(scalar(found_canaries($out . $err, 1 .. 20)), 0, "$name: nothing clear");
		ok(!-d "$side/base", "$name: no copy") if $name eq 'pg_basebackup';
	}
};

# 50 sessions of one person, started together
subtest 'one person, fifty sessions' => sub {
	my $sessions = 50;
	my $hour = 1000;

	$node->safe_psql($db, qq{
		CREATE ROLE swarm LOGIN IN ROLE clerk;
		SELECT courier_pii.hire('W1', '蜂', 'swarm', 'HQ', 'clerk');
		SELECT courier_pii.set_limit('clerk', 300, $hour, NULL)});
	my $script = "SET courier_pii.purpose = 'swarm';\n"
	  . join('', map { "SELECT recv_phone FROM masked.shipment WHERE id BETWEEN " . ($_ * 20 + 1) . ' AND ' . ($_ * 20 + 20) . ";\n" } 0 .. 19);
	my @runs;
	foreach (1 .. $sessions)
	{
		# input is used up: each session needs its own
		my ($in, $o, $e) = ($script, '', '');
		push @runs, { out => \$o, err => \$e, handle => IPC::Run::start(
			[ 'psql', '-XAtq', '-d', login($node, 'swarm') ], '<', \$in, '>', \$o, '2>', \$e) };
	}
	my ($total, $refused) = (0, 0);
	foreach my $run (@runs)
	{
		IPC::Run::finish($run->{handle});
		$total += () = ${ $run->{out} } =~ /^139\d{8}$/mg;
		$refused++ if ${ $run->{err} } =~ /disclosure limit reached/;
	}
	cmp_ok($total, '<=', $hour, "$total values in all, $hour allowed");
	cmp_ok($total, '>=', $hour - 64 * $sessions, 'not more held back than a block a session');
	cmp_ok($refused, '>=', 1, "$refused sessions met the limit");
	my ($disclosed) = recorded('swarm');
	cmp_ok($disclosed, '>=', $total, "$disclosed recorded");
	cmp_ok($disclosed, '<=', $hour, 'and not more than allowed');
	is(query_as($node, 'chief', q{SELECT hour_disclosed FROM courier_pii.stat_person WHERE staff_no = 'W1'}),
		$disclosed, 'the live view says the same as the record');
};

subtest 'restarts and crashes' => sub {
	my $used = q{SELECT coalesce(max(hour_disclosed), 0) FROM courier_pii.stat_person WHERE staff_no = 'W1'};
	my $before = query_as($node, 'chief', $used);

	$node->restart;
	is(query_as($node, 'chief', $used), $before, 'a restart keeps the windows');

	# a crash, and the file is gone: the trail knows
	flush_audit($node);
	$node->stop('immediate');
	ok(unlink($node->data_dir . '/courier_pii_windows'), 'the file is there');
	$node->start;
	ok(wait_until($node, "SELECT ($used) = $before"), 'known again from the audit trail');

	# a damaged file is not believed
	$node->stop;
	open my $out, '+<:raw', $node->data_dir . '/courier_pii_windows' or die $!;
	seek $out, 200, 0;
	print $out 'x' x 40;
	close $out;
	my $at = -s $node->logfile;
	$node->start;
	like(slurp_file($node->logfile, $at), qr/file "courier_pii_windows" is ignored: its checksum is wrong/, 'a damaged file is not believed');
	ok(wait_until($node, "SELECT ($used) = $before"), 'and known again');
};

# the brake works on the next value of a statement that runs
subtest 'freeze and end a session' => sub {
	$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});
	foreach my $what ('all', 'class:phone', 'C1')
	{
		my ($out, $err) = ('', '');
		my $sql = 'SELECT recv_phone, (SELECT count(*) FROM generate_series(1, 500000 + s.id)) FROM masked.shipment s WHERE id <= 40';
		my $reader = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'clerk'), '-c', $sql ],
			'<', \undef, '>', \$out, '2>', \$err);
		ok(wait_until($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'clerk' AND state = 'active' AND clock_timestamp() - query_start > '0.4 s'}), 'a statement is half way');
		is(query_as($node, 'chief', "SELECT courier_pii.freeze('$what')"), 't', "freeze $what");
		IPC::Run::finish($reader);
		my $clear = () = $out =~ /^139\d{8}\|/mg;
		my $masks = () = $out =~ /^1\*+\d*\|/mg;
		cmp_ok($clear, '>=', 1, "$what: $clear values were clear before");
		cmp_ok($masks, '>=', 1, "$what: $masks masked afterwards");
		is($clear + $masks, 40, "$what: all rows");
		is(query_as($node, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE recv_phone ~ '^139\d{8}$'}), '0', "$what: nothing afterwards");
		is(query_as($node, 'chief', "SELECT courier_pii.unfreeze('$what')"), 't', 'released');
		is(query_as($node, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE id <= 10 AND recv_phone ~ '^139\d{8}$'}), '10', "$what: clear again");
	}
	query_as($node, 'chief', q{SELECT courier_pii.freeze('all')});
	$node->restart;
	is(query_as($node, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE recv_phone ~ '^139\d{8}$'}), '0', 'a freeze holds over a restart');
	query_as($node, 'chief', q{SELECT courier_pii.unfreeze('all')});

	my ($out, $err) = ('', '');
	my $victim = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'clerk'), '-c', 'SELECT recv_phone FROM masked.shipment WHERE id <= 5', '-c', 'SELECT pg_sleep(600)' ],
		'<', \undef, '>', \$out, '2>', \$err);
	my $of = q{FROM courier_pii.stat_session WHERE login_role = 'clerk' AND state = 'active'};
	ok(wait_until($node, "SELECT count(*) > 0 $of AND disclosed = 5 AND staff_no = 'C1'"), 'seen at work');
	is(query_as($node, 'chief', "SELECT courier_pii.end_session(pid) $of"), 't', 'ended');
	IPC::Run::finish($victim);
	like($err, qr/terminating connection/, 'and told so');
	is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'ACCOUNT' AND command = 'end_session' AND login_role = 'chief'}), '1', 'recorded');
	cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'POLICY' AND command IN ('freeze', 'unfreeze') AND login_role = 'chief'}), '>=', 8, 'freezes are recorded');
};

# replication connections carry everything, sealed
subtest 'replication logins' => sub {
	my ($out, $err);
	$node->safe_psql($db, q{
		CREATE ROLE copier LOGIN REPLICATION;
		CREATE ROLE keeper LOGIN REPLICATION;
		GRANT pii_backup TO keeper});
	my $try = sub {
		my ($role) = @_;
		IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " user=$role replication=true", '-c', 'IDENTIFY_SYSTEM' ],
			'<', \undef, '>', \$out, '2>', \$err);
		return $out ne '' ? 'in' : $err;
	};
	is($try->('copier'), 'in', 'recorded only');
	is(audit($node, q{SELECT outcome FROM courier_pii.audit_log WHERE action = 'EXPORT' AND command = 'REPLICATION LOGIN' AND login_role = 'copier'}), 'ok', 'recorded');
	$node->append_conf('postgresql.conf', "courier_pii.sealed_export = 'ticket'");
	$node->reload;
	ok(wait_until($node, q{SELECT current_setting('courier_pii.sealed_export') = 'ticket'}), 'reserved now');
	my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
	foreach my $role ('copier', $superuser)
	{
		like($try->($role), qr/replication connections are reserved for role "pii_backup"/, "$role is refused");
	}
	is($try->('keeper'), 'in', 'a member of pii_backup is not');
	is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED' AND sqlstate = 'PI001' AND command = 'REPLICATION LOGIN'}), '2', 'refusals are recorded');
	my ($status, $o, $e) = $node->psql($db, q{SELECT pg_create_logical_replication_slot('s', 'pgoutput')}, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($e, qr/PI001: replication slots are reserved/, 'nor a slot by SQL');
	is(query_as($node, 'keeper', q{SELECT count(*) FROM pg_create_logical_replication_slot('s', 'pgoutput')}), '1', 'but for the backup role');
	is(query_as($node, 'keeper', q{SELECT count(pg_drop_replication_slot('s'))}), '1', 'dropped');
};

done_testing();
