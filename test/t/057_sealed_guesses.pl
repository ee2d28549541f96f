# Guessing by sealing: equal values have equal tags, so whoever reads sealed
# values and seals guesses needs no search.  What is sealed outside of a plain
# write is a probe, whatever the road; from the sealing of the duties on plain
# writes of those who read sealed values are, too.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('guesses');
my $super = $node->safe_psql('postgres', 'SELECT current_user');
my $major = $node->config_data('--version') =~ / (\d+)/ ? $1 : 0;

staff_server($node);
my @readers = qw(ana by_column reads_all by_hand by_view backs_up streams anybody);
my @others = qw(loader clerk);
$node->safe_psql($db, join ' ', map { "CREATE ROLE $_ LOGIN;" } @readers, @others, 'maker', 'late');
$node->safe_psql($db, q{
	CREATE SCHEMA depot;
	CREATE TABLE depot.parcel (id int PRIMARY KEY, phone text, addr text);
	INSERT INTO depot.parcel SELECT i, '138' || lpad(i::text, 8, '0'), 'x' FROM generate_series(1, 3000) i;
	SELECT courier_pii.protect_columns('depot.parcel', '{"phone": "phone", "addr": "address"}');
	SELECT courier_pii.create_masked_view('depot.parcel');
	CREATE TABLE depot.box (phone courier_pii.phone, email courier_pii.email, addr courier_pii.address);
	SELECT courier_pii.create_masked_view('depot.box');
	CREATE TABLE depot.everyone (phone courier_pii.phone);
	CREATE VIEW depot.raw AS SELECT phone FROM depot.parcel;
	CREATE TABLE depot.guess AS SELECT '138' || lpad(i::text, 8, '0') AS g FROM generate_series(1, 3000) i;
	CREATE TABLE depot.own AS TABLE depot.guess; CREATE TABLE depot.own_2 AS TABLE depot.guess;
	CREATE TABLE depot.given AS TABLE depot.guess; CREATE TABLE depot.given_2 AS TABLE depot.guess;
	CREATE TABLE depot.by_admin AS TABLE depot.guess;
	ALTER SCHEMA depot OWNER TO maker;
	ALTER TABLE depot.parcel OWNER TO maker; ALTER TABLE depot.box OWNER TO maker;
	ALTER TABLE depot.own OWNER TO maker; ALTER TABLE depot.own_2 OWNER TO maker;
	ALTER TABLE depot.given OWNER TO ana; ALTER TABLE depot.given_2 OWNER TO ana;
	CREATE ROLE reader; GRANT reader TO by_hand; ALTER ROLE by_hand NOINHERIT;
	GRANT USAGE ON SCHEMA depot, masked TO PUBLIC;
	GRANT SELECT ON depot.guess TO PUBLIC;
	GRANT INSERT, UPDATE ON depot.box, masked.box TO PUBLIC;
	GRANT SELECT ON masked.box, masked.parcel TO PUBLIC;
	GRANT SELECT ON depot.parcel TO ana, reader;
	GRANT SELECT (id, phone) ON depot.parcel TO by_column;
	GRANT SELECT (id) ON depot.parcel TO loader, clerk;
	GRANT SELECT ON depot.raw TO by_view;
	GRANT pg_read_all_data TO reads_all; GRANT pii_backup TO backs_up; ALTER ROLE streams REPLICATION;
	CREATE SCHEMA ana AUTHORIZATION ana;
});

sub probes_of
{
	my ($role) = @_;
	return audit($node, "SELECT coalesce(sum(probes), 0) FROM courier_pii.audit_log WHERE login_role = '$role' AND phase <> 'BEGIN'");
}

# ---- before a statement begins: parameters, arrays, rows, plans, calls ----

sub guesses { return '{' . join(',', map { sprintf '138%08d', $_ } 1 .. $_[0]) . '}'; }

my $wire = CourierPiiWire->new($node, 'ana');
my $bound = sub {
	my ($sql, @values) = @_;
	$wire->parse($sql);
	$wire->bind('', 0, @values);
	$wire->execute('');
	return $wire->sync;
};
is($bound->('SELECT $1::courier_pii.phone', '13800000001')->{state}, '', 'one guess as a parameter is made');
is(probes_of('ana'), 1, 'and counted');
is($bound->('SELECT $1::courier_pii.phone[]', guesses(21))->{state}, 'PI001', 'no list of them');
is($bound->('SELECT $1::courier_pii.phone[]', guesses(20))->{state}, '', 'a short one');
is(probes_of('ana'), 41, 'is counted, with what came before the refusal');
is($bound->('SELECT count(*) FROM depot.parcel WHERE phone = ANY ($1::courier_pii.phone[])', guesses(500))->{state}, 'PI001', 'nor as a search without permission');
is($bound->('SELECT 1')->{state}, '', 'the refusal is over');
my $before = probes_of('ana');
is(error_as($node, 'ana', q{SELECT array_length('} . guesses(21) . q{'::courier_pii.phone[], 1)}), 'PI001', 'nor as an array literal');
is(error_as($node, 'ana', q{EXPLAIN (VERBOSE) SELECT '} . guesses(21) . q{'::courier_pii.phone[]}), 'PI001', 'nor in a plan that is only shown');
is(error_as($node, 'ana', join('', q{CREATE TYPE ana.guess AS (p courier_pii.phone); SELECT },
	join(', ', map { sprintf q{'(138%08d)'::ana.guess}, $_ } 1 .. 21))), 'PI001', 'nor as row literals');
is(error_as($node, 'ana', q{SELECT jsonb_populate_recordset(NULL::ana.guess, (SELECT jsonb_agg(jsonb_build_object('p', g)) FROM (SELECT g FROM depot.guess LIMIT 21) x))}), 'PI001', 'nor out of JSON');
is(error_as($node, 'ana', q{SELECT count(g::name::courier_pii.phone) FROM (SELECT g FROM depot.guess LIMIT 21) x}), 'PI001', 'nor by way of another type');
is(error_as($node, 'ana', q{
	CREATE FUNCTION ana.guess_them() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
	DECLARE v courier_pii.phone; n int := 0;
	BEGIN
		FOR i IN 1 .. 21 LOOP v := '138' || lpad(i::text, 8, '0'); n := n + 1; END LOOP;
		RETURN n;
	END $$;
	SELECT ana.guess_them()}), 'PI001', 'nor while a plan is made');
is(error_as($node, 'ana', q{SELECT 1; SELECT 2}), '', 'other statements go on');
cmp_ok(probes_of('ana') - $before, '>=', 100, 'all of it is on record');

my $searcher = CourierPiiWire->new($node, $super);
$searcher->parse('SELECT count(*) FROM depot.parcel WHERE phone = $1::courier_pii.phone');
$searcher->bind('', 0, '13800000001');
$searcher->execute('');
is($searcher->sync->{rows}[0][0], 1, 'a typed parameter finds');
$before = probes_of($super);
is($searcher->query(q{SELECT count(*) FROM depot.parcel WHERE phone = '13800000002'::text::courier_pii.phone})->{rows}[0][0], 1, 'a typed text finds');
is(probes_of($super) - $before, 1, 'a value that is sealed for the plan and again when it runs is one');

# parameters of a portal that is gone reach nobody, whatever they were
my $clerk = CourierPiiWire->new($node, 'clerk');
my $several = 'INSERT INTO depot.box (phone) VALUES ' . join(', ', map { "(\$$_)" } 1 .. 30);
$clerk->parse($several);
$clerk->bind('', 0, map { $_ == 28 ? '138****0028' : sprintf '138%08d', $_ } 1 .. 30);
is($clerk->sync->{state}, 'PI007', 'one of many parameters is refused');
is($clerk->query('SELECT 1')->{state}, '', 'the next statement does not answer for the others');
$clerk->query('BEGIN; SAVEPOINT a');
$clerk->parse($several);
$clerk->bind('', 0, map { $_ == 28 ? '138****0028' : sprintf '138%08d', $_ } 1 .. 30);
is($clerk->sync->{state}, 'PI007', 'likewise within a savepoint');
is($clerk->query('ROLLBACK TO a')->{state}, '', 'which is undone');
is($clerk->query('SELECT 1')->{state}, '', 'and forgotten');
$clerk->query('ROLLBACK');
is(probes_of('clerk'), 0, 'none of it is a probe');
# a portal of before the savepoint is still there, and so is what was parsed
$wire->query('BEGIN');
$wire->parse('SELECT $1::courier_pii.phone[]');
$wire->bind('kept', 0, guesses(21));
$wire->sync;
$wire->query($_) for 'SAVEPOINT a', 'SELECT 1/0', 'ROLLBACK TO a';
$wire->execute('kept');
is($wire->sync->{state}, 'PI001', 'a portal answers after a savepoint was undone');
$wire->query('ROLLBACK');
$wire->query('BEGIN');
$wire->send_message('P', "named\0SELECT '" . guesses(21) . "'::courier_pii.phone[]\0" . pack('n', 0));
$wire->sync;
$wire->query('ROLLBACK');
is($wire->query('SELECT 1')->{state}, 'PI001', 'literals of a prepared statement are answered for after a rollback');

my $call = $node->safe_psql($db, q{
	CREATE FUNCTION depot.show_tag(p courier_pii.phone) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN format('%s', p); END $$;
	SELECT 'depot.show_tag(courier_pii.phone)'::regprocedure::oid});
$wire->send_message('F', pack('Nnn', $call, 0, 1) . pack('N', 11) . '13800000001' . pack('n', 0));
is($wire->wait_ready->{state}, '0A000', 'no function call of the protocol seals');
is($bound->('SELECT depot.show_tag($1)', '13800000001')->{state}, '', 'a statement that calls it does');

is(error_as($node, 'ana', q{
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
	SET parallel_leader_participation = off;
	SELECT count(*) FROM depot.guess WHERE jsonb_populate_record(NULL::ana.guess, jsonb_build_object('p', g)) IS NULL}), '25000', 'no worker seals');
unlike(query_as($node, 'ana', q{
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
	EXPLAIN (COSTS OFF) SELECT count(g::name::courier_pii.phone) FROM depot.guess}), qr/Partial Aggregate/, 'plans know that');

# a prepared INSERT is a plain write, its values are no probes
$before = probes_of('loader');
is(error_as($node, 'loader', join(' ', 'PREPARE p (courier_pii.phone) AS INSERT INTO depot.box (phone) VALUES ($1); BEGIN;',
	map({ sprintf q{EXECUTE p('138%08d');}, $_ } 1 .. 30), 'ROLLBACK')), '', 'rows by EXECUTE');
is(error_as($node, 'loader', join('', 'PREPARE p (courier_pii.phone[]) AS INSERT INTO depot.box (phone) SELECT * FROM unnest($1); BEGIN; ',
	q{EXECUTE p('}, guesses(30), q{'); ROLLBACK})), '', 'in one array');
is(probes_of('loader') - $before, 0, 'are free');
is(error_as($node, 'loader', join('', 'PREPARE p (courier_pii.phone[]) AS SELECT cardinality($1); ',
	q{EXECUTE p('}, guesses(21), q{')})), 'PI001', 'others are not');

# ---- plain writes while the database is set up ----

is(error_as($node, $super, 'BEGIN; INSERT INTO depot.box (phone) SELECT g FROM depot.guess; ROLLBACK'), '', 'set-up: a superuser imports');
is(error_as($node, 'ana', 'BEGIN; INSERT INTO depot.box (phone) SELECT g FROM depot.guess; ROLLBACK'), '', 'set-up: so does everybody');

seal_duties_of($node);

# ---- plain writes afterwards ----

my $import = 'BEGIN; INSERT INTO depot.box (phone) SELECT g FROM depot.guess; ROLLBACK';
is(error_as($node, $_, $import), '', "$_ sees no sealed value and imports") for @others;
is(probes_of($_), $_ eq 'loader' ? 20 : 0, 'which is no probe') for @others;
is(error_as($node, 'clerk', 'BEGIN; INSERT INTO masked.box (phone) SELECT g FROM depot.guess; ROLLBACK'), '', 'likewise through the masked view');
is(error_as($node, 'anybody', $import), '', 'anybody, as long as nothing is public');
is(error_as($node, 'maker', 'GRANT SELECT ON depot.own TO PUBLIC'), '', 'a plain table is given to all');
is(error_as($node, 'anybody', $import), '', 'which changes nothing');

is(error_as($node, $_, $import), 'PI001', "$_ reads sealed values and cannot import") for qw(ana by_column reads_all by_hand by_view backs_up streams maker);
is(error_as($node, 'dai', $import), 'PI001', 'nor can a superuser');
is(error_as($node, 'dai', "SET ROLE maker; $import"), 'PI001', 'nor as somebody else');
like(message_as($node, 'dai', $import), qr/HINT:  Let somebody write who cannot read the table itself/, 'the message says how it goes');
like(probes_of('dai'), qr/^[123]\d{3}$/, 'what was tried is on record');

is(error_as($node, 'ana', 'INSERT INTO depot.box (addr) SELECT g FROM depot.guess'), '', 'values without a tag are free');
is(error_as($node, 'ana', 'INSERT INTO depot.box (email) SELECT g FROM depot.guess'), '', 'and those of a class that is not read');
is(error_as($node, 'maker', 'INSERT INTO depot.box (email) SELECT g FROM depot.guess'), 'PI001', 'the owner reads all of the table');
my $sealed = $node->safe_psql($db, 'SELECT phone FROM depot.parcel WHERE id = 7');
is(error_as($node, 'by_column', "INSERT INTO depot.box (phone) SELECT '$sealed' FROM generate_series(1, 2000)"), '', 'a sealed value written as it is guesses nothing');

# what changes while a session is open
my $session = CourierPiiWire->new($node, 'late');
is($session->query($import)->{state}, '', 'somebody else imports');
query_as($node, 'qian', q{SELECT courier_pii.request('maintenance', 'a right', '{"object": "depot.parcel"}')});
my $right = ticket_of($node, 'dai', 'maintenance', '{"objects": ["depot.parcel", "depot.everyone"]}');
my $admin = CourierPiiWire->new($node, 'dai');
is($admin->query("SELECT courier_pii.begin_maintenance($right)")->{state}, '', 'a window');
is($admin->query('GRANT SELECT ON depot.parcel TO late')->{state}, '', 'in which a right is given');
is($session->query($import)->{state}, 'PI001', 'counts in an open session');
$session->query('ROLLBACK');
is($admin->query('REVOKE SELECT ON depot.parcel FROM late')->{state}, '', 'and taken');
is($session->query($import)->{state}, '', 'which counts, too');
is($admin->query('GRANT SELECT ON depot.everyone TO PUBLIC')->{state}, '', 'a protected table is given to all');
is($session->query($import)->{state}, 'PI001', 'then nobody imports');
$session->query('ROLLBACK');
is($admin->query('REVOKE SELECT ON depot.everyone FROM PUBLIC')->{state}, '', 'put right');

# every kind of write
is(error_as($node, 'loader', 'INSERT INTO depot.box (phone) SELECT g FROM depot.guess'), '', 'rows to change');
for my $write (
	'UPDATE depot.box SET phone = g FROM depot.guess WHERE depot.box.phone IS NOT NULL AND g = depot.guess.g',
	'INSERT INTO masked.box (phone) SELECT g FROM depot.guess',
	'WITH made AS (INSERT INTO depot.box (phone) SELECT g FROM depot.guess RETURNING 1) SELECT count(*) FROM made',
	'MERGE INTO depot.box b USING depot.guess g ON false WHEN NOT MATCHED THEN INSERT (phone) VALUES (g.g)',
	q{DO $$ DECLARE r record; BEGIN FOR r IN SELECT g FROM depot.guess LOOP INSERT INTO depot.box (phone) VALUES (r.g); END LOOP; END $$},
	'CREATE TEMP TABLE t (phone courier_pii.phone); INSERT INTO t SELECT g FROM depot.guess',
	'CREATE TEMP TABLE t AS SELECT g::courier_pii.phone FROM depot.guess',
	'CREATE TEMP TABLE t AS SELECT g FROM depot.guess; ALTER TABLE t ALTER g TYPE courier_pii.phone USING g::courier_pii.phone')
{
	is(error_as($node, 'maker', $write), 'PI001', 'counted: ' . substr($write, 0, 60));
}
my $copied = join '', map { sprintf "138%08d\n", $_ } 1 .. 1001;
is(error_as($node, 'maker', "COPY $_ (phone) FROM stdin;\n$copied\\.\n"), 'PI001', "counted: COPY $_") for qw(depot.box masked.box);
is(error_as($node, 'clerk', "BEGIN; COPY $_ (phone) FROM stdin;\n$copied\\.\nROLLBACK;"), '', "free: COPY $_") for qw(depot.box masked.box);
my $owner = CourierPiiWire->new($node, 'maker');
my $state = '';
for my $i (1 .. 6000)
{
	last if $state ne '';
	$owner->parse('INSERT INTO depot.box (phone) VALUES ($1)');
	$owner->bind('', 0, sprintf '138%08d', $i);
	$owner->execute('');
	$state = $owner->sync->{state};
}
is($state, 'PI001', 'counted: rows one by one, within the hour');

# ---- protecting ----

is(error_as($node, 'ana', q{SELECT courier_pii.protect_column('depot.given', 'g', 'phone')}), 'PI001', 'no table of guesses is protected by who reads others');
is(error_as($node, 'ana', q{CALL courier_pii.protect_column_online('depot.given_2', 'g', 'phone')}), 'PI001', 'nor online');
is(error_as($node, 'dai', q{SELECT courier_pii.protect_column('depot.by_admin', 'g', 'phone')}), 'PI001', 'nor by a superuser');
is(error_as($node, 'feng', q{CALL courier_pii.protect_column_online('depot.given_2', 'g', 'phone')}), '', 'a security administrator goes on with it');
is(error_as($node, 'feng', q{SELECT courier_pii.protect_column('depot.by_admin', 'g', 'phone')}), '', 'and protects the other one');
is(probes_of('feng'), 0, 'which is no probe');
$before = probes_of('maker');
is(error_as($node, 'maker', q{SELECT courier_pii.protect_column('depot.own', 'g', 'phone')}), '', 'an owner who reads nothing else protects, whatever was used up');
is(probes_of('maker') - $before, 3000, 'and that is on record');
is(error_as($node, 'maker', q{CALL courier_pii.protect_column_online('depot.own_2', 'g', 'phone')}), '', 'likewise online');
is(probes_of('maker') - $before, 6000, 'and on record');
ok(wait_until($node, q{SELECT EXISTS (SELECT FROM courier_pii.alert WHERE rule = 'many_probes' AND login_role = 'maker')}), 'and an alert');

# ---- the way out ----

my ($ticket_state) = with_ticket($node, 'feng', 'policy', 'maker/budget/probes/unlimited/unlimited/unlimited', q{SELECT courier_pii.set_budget('maker', 'probes', NULL, NULL, NULL)});
is($ticket_state, '', 'a second person agrees to a budget');
is(error_as($node, 'maker', $import), '', 'then the owner imports');
is(probes_of('maker') >= $before + 9000, 1, 'on record');

# rows that another server sends are written in nobody's session
is(error_as($node, 'dai', q{CREATE SUBSCRIPTION s CONNECTION 'host=/nonexistent dbname=x' PUBLICATION p WITH (connect = false)}), 'PI006', 'no subscription without a window');
like($node->safe_psql($db, q{SELECT count(*) FROM pg_subscription}), qr/^0$/, 'none is there');

$node->stop;
done_testing();
