
# With sealed duties: who approves what, who may do what, and roads round the
# tickets of destruction.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('cases');
my $super = $node->safe_psql('postgres', 'SELECT current_user');

staff_server($node);
$node->safe_psql($db, q{
	CREATE EXTENSION dblink;
	CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE group_1; CREATE ROLE sun_2 LOGIN; CREATE ROLE desk;
	SELECT courier_pii.hire('M1', 'Ma', 'maker', 'HQ', NULL), courier_pii.add_account('S3', 'sun_2');
	GRANT desk TO wang;
	CREATE SCHEMA depot;
	CREATE TABLE depot.parcel (id int PRIMARY KEY, phone text, note text);
	INSERT INTO depot.parcel SELECT i, '138' || lpad(i::text, 8, '0'), 'x' FROM generate_series(1, 1500) i;
	CREATE TABLE depot.task (parcel_id int REFERENCES depot.parcel, phone text);
	INSERT INTO depot.task SELECT i, '139' || lpad(i::text, 8, '0') FROM generate_series(1, 1500) i;
	SELECT courier_pii.protect_column('depot.parcel', 'phone', 'phone'), courier_pii.protect_column('depot.task', 'phone', 'phone');
	ALTER TABLE depot.parcel OWNER TO maker; ALTER TABLE depot.task OWNER TO maker; ALTER SCHEMA depot OWNER TO maker;
	SELECT courier_pii.grant_disclosure('desk', 'phone', 'clear');
	SELECT courier_pii.create_masked_view('depot.parcel');
	GRANT SELECT ON masked.parcel TO PUBLIC;
	ANALYZE;
});
seal_duties_of($node);

# ---- approvals ----

my $ask = sub { return query_as($node, $_[0], "SELECT courier_pii.request('$_[1]', 'work', '$_[2]')"); };
my $id = $ask->('feng', 'policy', '{"object": "desk/email/clear"}');
is(error_as($node, 'feng', "SELECT courier_pii.approve($id)"), 'PI006', 'whoever asks does not approve');
is(error_as($node, 'feng', "SET ROLE pii_security_admin; SELECT courier_pii.approve($id)"), 'PI006', 'nor by SET ROLE');
my $own = $ask->('sun', 'policy', '{"object": "desk/email/clear"}');
is(with_ticket($node, 'feng', 'policy', 'pii_security_admin/sun_2', q{SELECT courier_pii.appoint('pii_security_admin', 'sun_2')}), '', 'a second login of a person gets the duty');
is(error_as($node, 'sun_2', "SELECT courier_pii.approve($own)"), 'PI006', 'nor by a second login');
is(error_as($node, 'wang', "SELECT courier_pii.approve($id)") =~ /^(PI006|42501)$/ ? 1 : 0, 1, 'nobody without the duty approves');
is(error_as($node, $super, "SELECT courier_pii.approve($id)"), 'PI006', 'no superuser does');
is(error_as($node, 'dai', "SET SESSION AUTHORIZATION qian; SELECT courier_pii.approve($id)"), 'PI006', 'nor as somebody else');
is(error_as($node, $super, "SELECT courier_pii.request('export', 'x', '{}')"), 'PI006', 'a login of nobody does not even ask');
my $for = $ask->('wang', 'disclosure', '{"class": "phone", "level": "clear", "beneficiary": "S2"}');
is(error_as($node, 'qian', "SELECT courier_pii.approve($for)"), 'PI006', 'whoever it is for does not approve');
my $back = $ask->('feng', 'policy', '{"object": "unfreeze/person:S2"}');
is(error_as($node, 'qian', "SELECT courier_pii.approve($back)"), 'PI006', 'nor on the own freeze');
query_as($node, 'sun', "SELECT courier_pii.reject($id)");
is(error_as($node, 'qian', "SELECT courier_pii.approve($id)"), 'PI002', 'one veto is enough');
$id = $ask->('feng', 'policy', '{"object": "desk/email/clear"}');
query_as($node, 'qian', "BEGIN; SELECT courier_pii.approve($id); ROLLBACK");
is(error_as($node, 'feng', "SET courier_pii.ticket = '$id'; SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')"), 'PI002', 'an approval that is rolled back is none');
query_as($node, 'qian', "SELECT courier_pii.approve($id)");
is(error_as($node, 'feng', "SET courier_pii.ticket = '$id'; BEGIN; SELECT courier_pii.grant_disclosure('desk', 'email', 'clear'); ROLLBACK"), '', 'used in a transaction that is rolled back');
is(error_as($node, 'feng', "SET courier_pii.ticket = '$id'; SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')"), 'PI002', 'used all the same');
is(error_as($node, 'sun', "SET courier_pii.ticket = '" . ticket_of($node, 'feng', 'policy', 'desk/email/clear') . "'; SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')"),
	'PI002', "another person's ticket");

# one ticket, two sessions at once
$id = ticket_of($node, 'feng', 'policy', 'desk/limit/2000/9000/90000');
my @both = map { CourierPiiWire->new($node, 'feng') } 1 .. 2;
$_->query("SET courier_pii.ticket = '$id'") foreach @both;
$_->send_message('Q', "SELECT courier_pii.set_limit('desk', 2000, 9000, 90000)\0") foreach @both;
is(join(' ', sort map { $_->wait_ready->{state} || 'done' } @both), 'PI002 done', 'two sessions at once use a ticket once');

# ---- duties ----

is(error_as($node, 'feng', q{GRANT pii_auditor TO feng}) ne '' ? 1 : 0, 1, 'no second duty for oneself');
is(with_ticket($node, 'feng', 'policy', 'pii_auditor/qian', q{SELECT courier_pii.appoint('pii_auditor', 'qian')}, 'sun'), '0LP01', 'duties exclude each other with a ticket, too');
is(with_ticket($node, 'feng', 'policy', 'pii_auditor/dai', q{SELECT courier_pii.appoint('pii_auditor', 'dai')}), '0LP01', 'and superuser');
isnt(error_as($node, 'maker', 'GRANT pii_auditor TO group_1'), '', 'not by CREATEROLE');
isnt(error_as($node, 'maker', 'CREATE ROLE x IN ROLE pii_auditor'), '', 'nor a new role in it');
isnt(error_as($node, 'maker', 'ALTER ROLE feng PASSWORD NULL'), '', 'whose maker touches no holder');
is(error_as($node, 'dai', 'GRANT pii_auditor TO wang WITH ADMIN OPTION'), 'PI006', 'nor with ADMIN OPTION by a superuser');
is(error_as($node, 'dai', 'CREATE ROLE boss SUPERUSER'), 'PI006', 'no new superuser');
is(error_as($node, 'dai', 'ALTER ROLE wang SUPERUSER'), 'PI006', 'nor a clerk who becomes one');
unlike(query_as($node, 'feng', 'SELECT phone FROM masked.parcel'), qr/^138/m, 'a security administrator sees masks');
isnt(error_as($node, 'feng', 'DELETE FROM courier_pii.audit_record'), '', 'and purges no records');
isnt(error_as($node, 'feng', 'SELECT * FROM courier_pii.audit_log'), '', 'nor reads them');
is(error_as($node, 'zheng', q{SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')}), '42501', 'an auditor changes no policy');
is(error_as($node, 'zheng', q{SELECT courier_pii.hire('X', 'X', NULL, 'HQ', NULL)}), '42501', 'nor staff');
is(error_as($node, 'chen', q{SELECT courier_pii.grant_disclosure('desk', 'email', 'clear')}), '42501', 'an account administrator no policy');
is(error_as($node, $super, q{SELECT courier_pii.make_actor_token('W1')}), 'PI006', 'nobody makes tokens');
is(error_as($node, $super, q{SELECT courier_pii.set_password('wang', 'Yellow-Horse-77-x')}), 'PI006', 'a superuser sets no passwords');

# ---- escapes by other ways ----

my $loop = 'dbname=express user=dai host=' . $node->host . ' port=' . $node->port;
my %escape = (
	'COPY PROGRAM by dblink' => "SELECT dblink_exec('$loop', 'COPY (SELECT 1) TO PROGRAM ''true''')",
	'LOAD in DO' => q{DO $$ BEGIN EXECUTE 'LOAD ''plpgsql'''; END $$},
	'lo_export' => q{SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/x')},
	'catalog change by set_config' => q{SELECT set_config('allow_system_table_mods', 'on', true)},
	'replication role for a role' => q{ALTER ROLE dai SET session_replication_role = 'replica'},
	'replication role for a function' => q{CREATE FUNCTION f() RETURNS int LANGUAGE sql SET session_replication_role = 'replica' AS 'SELECT 1'; SELECT f()},
	'COPY PROGRAM in a function' => q{CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COPY (SELECT 1) TO PROGRAM 'true'; END $$; SELECT g()},
	'a file function by a view' => q{CREATE VIEW v AS SELECT pg_read_file('PG_VERSION'); SELECT * FROM v},
	'a prepared catalog change' => q{PREPARE p AS DELETE FROM pg_auth_members; EXECUTE p},
	'an event trigger' => q{CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION e()},
	'a login that sets our settings' => q{ALTER SYSTEM SET courier_pii.enforcement = 'warn'},
	'library for all sessions' => q{ALTER DATABASE express SET session_preload_libraries = 'x'},
	'our settings for all roles' => q{ALTER ROLE ALL SET courier_pii.ticket = '1'},
	'a new name of a role' => 'ALTER ROLE feng RENAME TO fang',
);
foreach my $what (sort keys %escape)
{
	my ($state, $err) = error_as($node, 'dai', $escape{$what});
	ok($state eq 'PI006' || $err =~ /PI006|is not allowed/, "refused: $what") or diag("$state $err");
}

# ---- roads round the tickets of destruction ----

is(error_as($node, 'feng', q{SELECT courier_pii.register_backup('b', now() - interval '1 hour', verified_at => now())}), '', 'a verified backup');
my %destroy = (
	'TRUNCATE' => 'TRUNCATE depot.parcel, depot.task',
	'TRUNCATE CASCADE' => 'TRUNCATE depot.parcel CASCADE',
	'DELETE' => 'DELETE FROM depot.task',
	'DELETE in parts of a statement' => 'WITH a AS (DELETE FROM depot.task WHERE parcel_id <= 800 RETURNING 1), b AS (DELETE FROM depot.task WHERE parcel_id > 800 RETURNING 1) SELECT 1',
	'DELETE in DO' => 'DO $$ BEGIN FOR i IN 0 .. 14 LOOP DELETE FROM depot.task WHERE parcel_id BETWEEN i * 100 AND i * 100 + 100; END LOOP; END $$',
	'DROP' => 'DROP TABLE depot.task',
	'DROP CASCADE' => 'DROP TABLE depot.parcel CASCADE',
	'a dropped column' => 'ALTER TABLE depot.task DROP COLUMN phone',
	'another type' => q{ALTER TABLE depot.task ALTER COLUMN phone TYPE text USING 'x'},
	'a dropped type' => 'DROP DOMAIN courier_pii.phone CASCADE',
	'the schema' => 'DROP SCHEMA depot CASCADE',
	'what somebody owns' => 'DROP OWNED BY maker CASCADE',
	'the extension' => 'DROP EXTENSION courier_pii CASCADE',
);
foreach my $what (sort keys %destroy)
{
	foreach my $who ('dai', 'maker')
	{
		like(scalar(error_as($node, $who, $destroy{$what})), qr/^(PI001|PI006|42501|2BP01)$/, "refused for $who without a ticket: $what");
	}
}
is($node->safe_psql($db, 'SELECT (SELECT count(phone) FROM depot.parcel), (SELECT count(phone) FROM depot.task)'), '1500|1500', 'all is there');
is(with_ticket($node, 'dai', 'destroy', 'depot.parcel', $destroy{'TRUNCATE CASCADE'}, 'feng'), 'PI002', 'a ticket for one table does not cover what goes along');
is(with_ticket($node, 'dai', 'destroy', 'depot.parcel', 'SET courier_pii.enforcement = warn; TRUNCATE depot.parcel CASCADE', 'feng'), '55P02', 'nor is it switched off');
is(with_ticket($node, 'dai', 'destroy', '{"objects": ["depot.parcel", "depot.task"]}', $destroy{'TRUNCATE CASCADE'}, 'feng'), '', 'a ticket for both does');
is($node->safe_psql($db, 'SELECT (SELECT count(*) FROM depot.parcel), (SELECT count(*) FROM depot.task)'), '0|0', 'gone');

$node->stop;
done_testing();
