
# A company's own classes through dump and restore, and disclosures that lapse
# under a session's feet.

use strict;
use warnings;
use utf8;

use CourierPii;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Encode qw(encode_utf8);

my $node = CourierPii->new_node('classes');
my $db = $CourierPii::DATABASE;
my $key = slurp_file($node->{courier_pii}{key_file});
my $plate = encode_utf8('粤B12345');

$node->safe_psql($db, encode_utf8(q{
	CREATE ROLE clerk LOGIN;
	CREATE ROLE guest LOGIN;
	SELECT courier_pii.create_class('plate', 'first_last(2,1)', true);
	SELECT courier_pii.create_class('badge');
	CREATE TABLE car (id int PRIMARY KEY, plate courier_pii.plate UNIQUE, badge courier_pii.badge DEFAULT 'visitor');
	INSERT INTO car SELECT i, '粤B1234' || i, 'badge ' || i FROM generate_series(1, 9) AS i;
	CREATE TABLE fine (car courier_pii.plate REFERENCES car (plate), paid boolean);
	INSERT INTO fine SELECT plate, false FROM car WHERE id = 5;
	SELECT courier_pii.create_masked_view('car');
	GRANT USAGE ON SCHEMA masked TO clerk, guest;
	GRANT SELECT, INSERT ON masked.car TO clerk, guest;
	SELECT courier_pii.grant_disclosure('clerk', 'plate', 'clear');
	SELECT courier_pii.grant_disclosure('clerk', 'badge', 'clear', tbl => 'car', col => 'badge')}));

sub classes { return $_[0]->safe_psql($db, 'SELECT number, class, mask, search FROM courier_pii.custom_classes ORDER BY 1'); }
sub stored { return $_[0]->safe_psql($db, 'SELECT * FROM car ORDER BY id'); }
sub shown { return query_as($_[0], $_[1], 'SELECT * FROM masked.car ORDER BY id'); }

like(shown($node, 'clerk'), qr/^5\|$plate\|badge 5$/m, 'a clerk sees clear text');
like(shown($node, 'guest'), qr/^5\|\Q@{[encode_utf8('粤B')]}****5\E\|\*\*\*$/m, 'a guest sees masks');
is(error_as($node, 'guest', "SELECT id FROM masked.car WHERE plate = '$plate'"), '42501', 'and cannot search');

my $directory = PostgreSQL::Test::Utils::tempdir('dumps');
$node->command_ok([ 'pg_dump', '-d', $node->connstr($db), '-Fc', '-Z0', '-f', "$directory/all" ], 'pg_dump');
$node->command_ok([ 'pg_dump', '-d', $node->connstr($db), '-f', "$directory/all.sql" ], 'pg_dump, plain');
my $text = slurp_file("$directory/all.sql");
unlike($text, qr/$plate|badge 5/, 'no clear text in the dump');
like($text, qr/CREATE DOMAIN courier_pii\.plate AS courier_pii\.sealed\(1001\)/, 'the type modifier is the number');

# restored(NAME, COMMAND): a server with the roles, the keys and the dump
sub restored
{
	my ($name, @command) = @_;
	my $other = CourierPii->new_node($name, no_extension => 1, no_start => 1, key => $key);
	foreach my $secret (glob "$node->{courier_pii}{key_store}/*")
	{
		copy($secret, $other->{courier_pii}{key_store}) or die $!;
	}
	chmod 0600, glob "$other->{courier_pii}{key_store}/*";
	$other->start;
	$other->safe_psql('postgres', "CREATE DATABASE $db");
	$other->safe_psql('postgres', 'CREATE ROLE clerk LOGIN; CREATE ROLE guest LOGIN');
	$other->command_ok([ shift(@command), '-d', $other->connstr($db), @command ], "$name: restored");
	return $other;
}

foreach my $case ([ 'psql', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/all.sql" ],
	[ 'pg_restore', 'pg_restore', '-e', "$directory/all" ])
{
	my ($name, @command) = @$case;
	subtest "restored by $name" => sub {
		my $other = restored("from_$name", @command);
		is(classes($other), classes($node), 'the classes are there');
		is(stored($other), stored($node), 'values are equal byte for byte');
		is(shown($other, 'clerk'), shown($node, 'clerk'), 'a clerk sees the same');
		is(shown($other, 'guest'), shown($node, 'guest'), 'a guest sees the same');
		is(query_as($other, 'clerk', "SELECT id FROM masked.car WHERE plate = '$plate'"), '5', 'search works');
		is(error_as($other, 'guest', encode_utf8("INSERT INTO masked.car (id, plate) VALUES (10, '粤B****5')")),
			'PI007', 'a mask cannot be stored');
		is(query_as($other, 'clerk', q{INSERT INTO masked.car (id, plate) VALUES (10, 'new') RETURNING id}),
			'10', 'an insert works');
		is(query_as($other, 'clerk', 'SELECT badge FROM masked.car WHERE id = 10'), 'visitor', 'the default is kept');
		is($other->safe_psql($db, q{SELECT courier_pii.create_class('locker', 'last(3)', true)}),
			'1003', 'the next class gets the next number');
		$other->stop;
	};
}

# a class whose row is missing shows nothing
subtest 'class not registered' => sub {
	$node->safe_psql($db, q{
		CREATE TABLE stray (id int, v courier_pii.sealed(5001));
		INSERT INTO stray VALUES (1, 'stray value');
		GRANT SELECT ON stray TO guest});
	is(query_as($node, 'guest', q{SELECT v::text FROM stray}), '***', 'hidden');
	unlike(query_as($node, 'guest', 'SELECT v FROM stray'), qr/stray value/, 'sealed');
};

# a disclosure lapses while the session goes on with the plan that it has
subtest 'valid_until' => sub {
	my $session = $node->background_psql($db, extra_params => [ '-U', 'guest' ]);
	$session->query_safe('PREPARE one AS SELECT plate FROM masked.car WHERE id = 5');
	$session->query_safe('SET plan_cache_mode = force_generic_plan');
	like($session->query_safe('EXECUTE one'), qr/\*{4}/, 'masked before');
	$node->safe_psql($db, q{SELECT courier_pii.grant_disclosure('guest', 'plate', 'clear', true, clock_timestamp() + '4 s')});
	my $first = $session->query_safe('EXECUTE one');
	my $level = $session->query_safe(q{SELECT level FROM courier_pii.effective_disclosures WHERE class = 'plate'});
  SKIP: {
		skip 'the machine is too slow to see it', 1 if $level ne 'clear';
		is($first, $plate, 'clear while it lasts');
	}
	my $last;
	foreach (1 .. 300)
	{
		$last = $session->query_safe('EXECUTE one');
		last if $last ne $plate;
		select undef, undef, undef, 0.1;
	}
	like($last, qr/\*{4}/, 'masked afterwards, without any change of policy');
	is($session->query_safe(q{SELECT level, searchable FROM courier_pii.effective_disclosures WHERE class = 'plate'}),
		'masked|f', 'and said so');
	$session->quit;
	is(error_as($node, 'guest', "SELECT id FROM masked.car WHERE plate = '$plate'"), '42501', 'nor can it search any more');
};

$node->stop;
done_testing();
