
# Dump and restore: no dump holds clear text, whoever takes it and however;
# restored, everything is as before, and the application goes on.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 60;
my $node = CourierPii->new_node('source');
my $db = $CourierPii::DATABASE;
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $key = slurp_file($node->{courier_pii}{key_file});
my $directory = PostgreSQL::Test::Utils::tempdir('dumps');

load_sample($node, rows => $ROWS);

sub shown { return query_as($_[0], 'clerk', 'SELECT * FROM masked.shipment ORDER BY id'); }
sub stored { return $_[0]->safe_psql($db, 'SELECT * FROM app.shipment ORDER BY id'); }
sub policy
{
	return $_[0]->safe_psql($db, q{
		SELECT grantee, class, level, searchable, valid_until, tbl, col FROM courier_pii.disclosures ORDER BY grantee::text, class;
		SELECT grantee, per_statement, per_hour, per_day FROM courier_pii.limits ORDER BY grantee::text;
		SELECT tbl, grantee, rule, visible, scope, scope_columns FROM courier_pii.row_rules ORDER BY tbl::text, grantee::text, rule;
		SELECT view, tbl FROM courier_pii.masked_views ORDER BY view::text;
		SELECT staff_no, display_name, login_role, status FROM courier_pii.staff ORDER BY 1;
		SELECT tbl, col, class FROM courier_pii.protected_columns ORDER BY tbl::text, col});
}

$node->safe_psql($db, q{SELECT courier_pii.set_limit('service', 500, 600, 700)});
my $shown = shown($node);
my $stored = stored($node);
my $policy = policy($node);
cmp_ok(scalar found_canaries($shown, 1 .. $ROWS), '>', 0, 'a clerk sees clear text');

# dump(NAME, ROLE, OPTIONS): returns the file
sub dump_as
{
	my ($name, $role, @options) = @_;
	my $file = "$directory/$name";
	$node->command_ok(
		[ 'pg_dump', '-d', login($node, $role), '-f', $file, @options ],
		"pg_dump: $name");
	my $bytes = join '', map { slurp_file($_) } -d $file ? glob("'$file'/*") : $file;
	is(scalar found_canaries($bytes, 1 .. $ROWS), 0, "$name: no clear text");
	return $file;
}

my %dumps;
subtest 'dumps' => sub {
	$dumps{plain} = dump_as('plain', $superuser);
	$dumps{custom} = dump_as('custom', $superuser, '-Fc', '-Z0');
	$dumps{inserts} = dump_as('inserts', $superuser, '--column-inserts');
	$dumps{tar} = dump_as('tar', $superuser, '-Ft');
	# members of a directory are compressed one by one unless told otherwise
	$dumps{directory} = dump_as('directory', $superuser, '-Fd', '-j2', '-Z0');
	$dumps{data} = dump_as('data', $superuser, '--data-only');
	dump_as('owner', 'app_owner', '-n', 'app');
	dump_as('owner inserts', 'app_owner', '-n', 'app', '--inserts');
	# a plain reader of the table, whose rows are in the partitions
	$node->safe_psql($db, 'GRANT SELECT ON app.shipment_1, app.shipment_2 TO reader');
	dump_as('reader', 'reader', '--data-only', '-t', 'app.shipment_1', '-t', 'app.shipment_2');
	$node->command_ok([ 'pg_dumpall', '-g', '-d', $node->connstr('postgres'), '-f', "$directory/globals" ],
		'pg_dumpall -g');
	is(scalar found_canaries(slurp_file("$directory/globals"), 1 .. $ROWS), 0, 'globals: no clear text');
	cmp_ok(scalar(() = slurp_file($dumps{plain}) =~ /pii:/g), '>=', 6 * $ROWS, 'sealed values are in the dump');
};

subtest 'the record' => sub {
	cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log
		WHERE action = 'EXPORT' AND login_role = 'app_owner' AND phase = 'END'}), '>=', 1,
		"the owner's dump is recorded");
	is(audit($node, q{SELECT sum(disclosed) FROM courier_pii.audit_log
		WHERE action = 'EXPORT' AND phase <> 'BEGIN'}), '0', 'dumps disclose nothing');
};

# restored(NAME, DUMP, %options): a fresh server with the dump in it
sub restored
{
	my ($name, $file, %options) = @_;
	my $other = CourierPii->new_node($name, no_extension => 1, no_start => 1,
		$options{sealed} ? (no_key => 1) : (key => $key));
	if (!$options{sealed})
	{
		foreach my $secret (glob "$node->{courier_pii}{key_store}/*")
		{
			copy($secret, $other->{courier_pii}{key_store}) or die $!;
		}
		chmod 0600, glob "$other->{courier_pii}{key_store}/*";
	}
	$other->start;
	$other->safe_psql('postgres', "CREATE DATABASE $db");
	$other->psql('postgres', slurp_file("$directory/globals"), on_error_stop => 0);
	my @command = $file !~ /(plain|inserts)$/
	  ? ([ 'pg_restore', '-e', (-d $file ? ('-j', '2') : ()), '-d', $other->connstr($db), $file ])
	  : ([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr($db), '-f', $file ]);
	$other->command_ok($command[0], "$name: restored");
	return $other;
}

foreach my $how ('plain', 'custom', 'tar', 'directory', 'inserts')
{
	subtest "restored from $how" => sub {
		my $other = restored("from_$how", $dumps{$how});
		is(stored($other), $stored, 'sealed values are equal byte for byte');
		# the record of what was done shows a restore of registers
		cmp_ok(audit($other, q{SELECT count(*) FROM courier_pii.audit_log
			WHERE action = 'POLICY' AND command = 'restore'}), '>', 3, 'and the registers\' restore is recorded');
		is(shown($other), $shown, 'shown values are equal');
		is(policy($other), $policy, 'policy, people and columns are equal');
		is(query_as($other, 'analyst', 'SELECT * FROM masked.shipment ORDER BY id'),
			query_as($node, 'analyst', 'SELECT * FROM masked.shipment ORDER BY id'), 'masks are equal');
		# the roster in shared memory is read from the registers soon after the start
		$other->restart;
		for (1 .. 600)
		{
			last if query_as($other, 'courier', 'SELECT staff_no FROM courier_pii.actor') ne '';
			select(undef, undef, undef, 0.1);
		}
		is(query_as($other, 'courier', 'SELECT * FROM masked.shipment ORDER BY id'),
			query_as($node, 'courier', 'SELECT * FROM masked.shipment ORDER BY id'), 'row rules hold');

		my $phone = (canaries(7))[2];
		is(query_as($other, 'clerk', "SELECT id FROM masked.shipment WHERE recv_phone = '$phone'"), '7', 'search works');
		is(query_as($other, 'clerk', q{INSERT INTO masked.shipment (waybill_no, recv_name, station, created_on)
			VALUES ('SF999', '张三', 'SZ01', '2026-01-05') RETURNING id > 60, recv_name}),
			't|张三', 'an insert works, with a number of its own');
		is(query_as($other, 'clerk', q{SELECT recv_phone, recv_name FROM masked.shipment WHERE waybill_no = 'SF999'}),
			'4001234567|张三', 'the default literal works');
		is(query_as($other, 'clerk', q{SELECT count(*) FROM masked.shipment WHERE recv_phone = '4001234567'}),
			'1', 'and can be searched');
		$other->safe_psql($db, q{SELECT courier_pii.grant_disclosure('analyst', 'item', 'clear')});
		is(audit($other, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the audit trail is intact');
		$other->stop;
	};
}

subtest 'INSERT is for empty registers' => sub {
	my ($state, $err) = error_as($node, $superuser,
		q{INSERT INTO courier_pii.staff_register SELECT * FROM courier_pii.staff_register LIMIT 0});
	is($state, '42501', 'nobody inserts into a register in use');
	like($err, qr/cannot be changed directly/, 'and is told');
	my $session = $node->background_psql($db, on_error_stop => 0);
	$session->query(q{SET SESSION AUTHORIZATION app_owner});
	$session->query(q{INSERT INTO courier_pii.custom_class SELECT * FROM courier_pii.custom_class});
	like($session->{stderr}, qr/permission denied|cannot be changed directly/, 'only a superuser restores');
	$session->quit;
};

subtest 'restored without the key' => sub {
	my $other = restored('no_key', $dumps{custom}, sealed => 1);
	is(stored($other), $stored, 'nothing is lost');
	is($other->safe_psql($db, 'SELECT count(DISTINCT recv_phone) FROM app.shipment'), $ROWS, 'values compare');
	is(error_as($other, 'clerk', 'SELECT recv_phone FROM masked.shipment'), 'PI004', 'nothing is shown');
	my $again = "$directory/again";
	$other->command_ok([ 'pg_dump', '-d', $other->connstr($db), '-a', '-t', 'app.shipment*', '-f', $again ], 'dumped again');
	my @values = slurp_file($again) =~ /pii:[\w-]+/g;
	my @first = slurp_file($dumps{data}) =~ /pii:[\w-]+/g;
	my %first = map { $_ => 1 } @first;
	is(scalar(grep { !$first{$_} } @values), 0, 'with the same values');
	$other->stop;
};

subtest 'binary copy' => sub {
	$node->safe_psql($db, qq{
		COPY (SELECT * FROM app.shipment) TO '$directory/binary' (FORMAT binary);
		CREATE TABLE public.again (LIKE app.shipment);
		COPY public.again FROM '$directory/binary' (FORMAT binary)});
	is(scalar found_canaries(slurp_file("$directory/binary"), 1 .. $ROWS), 0, 'no clear text in it');
	is($node->safe_psql($db, 'SELECT * FROM public.again ORDER BY id'), $stored, 'equal byte for byte');
	$node->safe_psql($db, qq{
		COPY (SELECT * FROM app.shipment) TO '$directory/csv' (FORMAT csv);
		CREATE TABLE public.again_csv (LIKE app.shipment);
		COPY public.again_csv FROM '$directory/csv' (FORMAT csv)});
	is($node->safe_psql($db, 'SELECT * FROM public.again_csv ORDER BY id'), $stored, 'likewise as CSV');
	is($node->safe_psql($db, q{SELECT count(*) FROM public.again_csv a JOIN app.shipment s USING (id)
		WHERE a.recv_phone = s.recv_phone AND a.recv_name = s.recv_name}), $ROWS, 'and found equal');
};

done_testing();
