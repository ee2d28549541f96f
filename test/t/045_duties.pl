
# Separation of duties: the end of set-up, which survives restart, crash,
# standby and restore, and what a superuser cannot do afterwards.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('duties', allows_streaming => 1);
my $super = getpwuid($<);
$super = $node->safe_psql('postgres', 'SELECT current_user');

sub as_super { return error_as($node, $super, $_[0]); }

# the dead server's children need a moment to notice
sub start_after_crash
{
	my ($n) = @_;
	for (1 .. 100)
	{
		return if $n->start(fail_ok => 1);
		usleep(100_000);
	}
	die 'server does not start after the crash';
}

$node->safe_psql($db, q{
	CREATE ROLE feng LOGIN; CREATE ROLE qian LOGIN; CREATE ROLE zheng LOGIN;
	CREATE ROLE chen LOGIN; CREATE ROLE dba LOGIN; CREATE ROLE clerk LOGIN; CREATE ROLE business;
	CREATE ROLE safe_1 LOGIN; CREATE ROLE safe_2 LOGIN; CREATE ROLE safe_3 LOGIN;
	SELECT courier_pii.add_org('HQ', 'Head office', 'hq');
	SELECT courier_pii.hire('S1', 'Feng', 'feng', 'HQ', NULL), courier_pii.hire('S2', 'Qian', 'qian', 'HQ', NULL),
		courier_pii.hire('A1', 'Zheng', 'zheng', 'HQ', NULL), courier_pii.hire('D1', 'Dai', 'dba', 'HQ', NULL),
		courier_pii.hire('W1', 'Wang', 'clerk', 'HQ', NULL),
		courier_pii.hire('C1', 'Kong', 'safe_1', 'HQ', NULL), courier_pii.hire('C2', 'Cao', 'safe_2', 'HQ', NULL),
		courier_pii.hire('C3', 'Yan', 'safe_3', 'HQ', NULL);
	SELECT courier_pii.appoint('pii_security_admin', 'feng'), courier_pii.appoint('pii_security_admin', 'qian'),
		courier_pii.appoint('pii_auditor', 'zheng'), courier_pii.appoint('pii_account_admin', 'chen');
	CREATE TABLE parcel (id int PRIMARY KEY, phone text);
	INSERT INTO parcel SELECT i, '138' || lpad(i::text, 8, '0') FROM generate_series(1, 20) i;
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone');
	SELECT courier_pii.grant_disclosure('business', 'phone', 'clear'), courier_pii.grant_disclosure('business', 'email', 'clear');
	CREATE TABLE other (id int);
	SELECT courier_pii.create_masked_view('parcel');
	CREATE EXTENSION file_fdw;
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE hosts (line text) SERVER files OPTIONS (filename '/etc/hosts');
	GRANT EXECUTE ON FUNCTION pg_read_file(text) TO clerk;
	ALTER ROLE dba SUPERUSER;
});

# ---- sealing ----

my $search = q{SELECT id FROM parcel WHERE phone = '13800000007'};
is($node->safe_psql($db, $search), '7', 'a superuser who sets up searches a table');
is(error_as($node, 'clerk', 'SELECT courier_pii.seal_duties()'), '42501', 'not everybody seals');
is(error_as($node, 'feng', 'SELECT courier_pii.seal_duties()'), '55000', 'a holder who is not in the register does not count');
$node->safe_psql($db, q{SELECT courier_pii.hire('P1', 'Chen', 'chen', 'HQ', NULL)});
$node->safe_psql($db, q{BEGIN; SELECT courier_pii.seal_duties(); ROLLBACK});
is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 'f', 'a sealing that is rolled back did not happen');
is(query_as($node, 'feng', 'BEGIN; SELECT courier_pii.seal_duties(); SELECT courier_pii.duties_sealed(); COMMIT') =~ /t/ ? 1 : 0, 0,
	'it counts from the commit on');
is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 't', 'sealed');
is($node->safe_psql('postgres', 'SHOW server_version') ne '', 1, 'other databases work');
is(error_as($node, 'feng', 'SELECT courier_pii.seal_duties()'), '55000', 'only once');

sub refused_now
{
	my ($when) = @_;
	is($node->safe_psql($db, 'SELECT courier_pii.duties_sealed()'), 't', "sealed $when");
	is(as_super(q{SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear')}), 'PI006', "a superuser grants nothing $when");
	is(as_super(q{SELECT courier_pii.appoint('pii_auditor', 'clerk')}), 'PI006', "and appoints nobody $when");
	is(as_super(q{SELECT courier_pii.hire('X1', 'X', 'clerk', 'HQ', NULL)}), 'PI006', "and hires nobody $when");
	is(as_super($search), '42501', "and searches no table $when");
	is(as_super(q{SELECT id FROM parcel WHERE NOT phone <> ALL ('{13800000007}'::text[])}), '42501', "in no way $when");
	is(as_super(q{SELECT id FROM parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0007')}), '42501', "nor by the last characters $when");
	return;
}

refused_now('after the commit');
is(error_as($node, 'feng', q{SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear')}), 'PI001', 'a widening needs a ticket');
is(error_as($node, 'feng', q{SELECT courier_pii.appoint('pii_auditor', 'clerk')}), 'PI001', 'an appointment, too');
query_as($node, 'feng', q{SELECT courier_pii.revoke_disclosure('business', 'phone')});
pass('taking away needs none');

$node->restart;
refused_now('after a restart');
$node->stop('immediate');
start_after_crash($node);
refused_now('after a crash');
unlink $node->data_dir . '/courier_pii_duties';
$node->stop('immediate');
start_after_crash($node);
ok(wait_until($node, 'SELECT courier_pii.duties_sealed()'), 'the register knows it when the file is lost');
$node->stop('immediate');
append_to_file($node->data_dir . '/courier_pii_duties', 'x');
start_after_crash($node);
refused_now('with a damaged file');


# ---- what needs a window, and what nobody may ----

my $log = $node->logfile;
my %window = (
	'structure of a protected table' => 'ALTER TABLE parcel ADD COLUMN x int',
	'an index on it' => 'CREATE INDEX parcel_x ON parcel (id)',
	'a trigger on it' => 'CREATE TRIGGER t BEFORE INSERT ON parcel EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'a new role' => 'CREATE ROLE newcomer',
	'a dangerous attribute' => 'ALTER ROLE clerk CREATEROLE',
	'a dangerous membership' => 'GRANT pg_read_all_data TO clerk',
	'a setting of ours' => q{ALTER SYSTEM SET courier_pii.enforcement = 'warn'},
	'a setting of a role' => q{ALTER ROLE clerk SET session_preload_libraries = 'x'},
	'an extension' => 'CREATE EXTENSION "uuid-ossp"',
	'all tables of a schema' => 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk',
	'all functions of ours' => 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA courier_pii TO clerk',
	'one function of ours' => 'GRANT EXECUTE ON FUNCTION courier_pii.pool_auth(text) TO clerk',
	'another owner of our schema' => 'ALTER SCHEMA courier_pii OWNER TO dba',
	'another owner of our function' => 'ALTER FUNCTION courier_pii.pool_auth(text) OWNER TO dba',
	'another owner of the database' => "ALTER DATABASE $db OWNER TO dba",
	'a masked view replaced' => 'CREATE OR REPLACE VIEW masked.parcel AS SELECT id, phone::text FROM parcel',
	'a view of ours replaced' => 'CREATE OR REPLACE VIEW courier_pii.duty_status AS SELECT true AS sealed',
	'a foreign table on a file' => q{CREATE FOREIGN TABLE ft (line text) SERVER files OPTIONS (filename '/etc/passwd')},
	'inside DO' => q{DO $$ BEGIN EXECUTE 'ALTER TABLE parcel ADD COLUMN x int'; END $$},
);
my %never = (
	'LOAD' => q{LOAD 'plpgsql'},
	'COPY PROGRAM' => q{COPY other FROM PROGRAM 'echo 1'},
	'COPY of a file of the server' => q{COPY other FROM 'PG_VERSION'},
	'C function' => q{CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'courier_pii', 'x'},
	'internal function' => q{CREATE FUNCTION f(text) RETURNS int LANGUAGE internal AS 'textlen'},
	'catalog change' => q{UPDATE pg_authid SET rolsuper = true WHERE rolname = 'clerk'},
	'catalog change in a function' => q{DO $$ BEGIN DELETE FROM pg_auth_members; END $$},
	'replication role' => q{SET session_replication_role = 'replica'},
	'replication role by set_config' => q{SELECT set_config('session_replication_role', 'replica', false)},
	'catalog mods' => q{SET allow_system_table_mods = on},
	'password of another' => q{ALTER ROLE clerk PASSWORD 'Blue-Horse-77-x'},
	'business role' => 'GRANT business TO clerk',
	'as another person' => 'SET SESSION AUTHORIZATION clerk',
	'as another person by set_config' => q{SELECT set_config('session_authorization', 'clerk', false)},
	'file function' => q{SELECT pg_read_file('PG_VERSION')},
	'file functions by other names' => q{SELECT pg_read_binary_file('PG_VERSION'), pg_ls_dir('.')},
	'a foreign table on a program' => q{CREATE FOREIGN TABLE ft (line text) SERVER files OPTIONS (program 'id')},
	'a foreign table that becomes one' => q{ALTER FOREIGN TABLE hosts OPTIONS (SET filename '/etc/group', ADD program 'id')},
	'a foreign table on a file of ours' => qq{CREATE FOREIGN TABLE ft (line text) SERVER files OPTIONS (filename '$CourierPii::DATABASE/../PG_VERSION')},
	'lo_import' => q{SELECT lo_import('PG_VERSION')},
);
for my $what (sort keys %window)
{
	is(error_as($node, 'dba', $window{$what}), 'PI006', "refused outside of a window: $what");
}
for my $what (sort keys %never)
{
	is(error_as($node, 'dba', $never{$what}), 'PI006', "refused: $what");
}
is(error_as($node, 'clerk', q{SELECT pg_read_file('PG_VERSION')}), 'PI006', 'refused for others, whatever was granted');

# from the server's other databases
for my $what ('a new role', 'a dangerous attribute', 'a dangerous membership', 'a setting of ours', 'a setting of a role', 'another owner of the database')
{
	is(error_as($node, 'dba', $window{$what}, database => 'postgres'), 'PI006', "refused in another database: $what");
}
for my $what ('LOAD', 'COPY PROGRAM', 'C function', 'catalog change', 'replication role', 'catalog mods', 'password of another',
	'business role', 'as another person', 'file function')
{
	(my $sql = $never{$what}) =~ s/COPY other/COPY pg_temp.o/;
	$sql = "CREATE TEMP TABLE o (id int); $sql" if $sql =~ /pg_temp/;
	is(error_as($node, 'dba', $sql, database => 'postgres'), 'PI006', "refused in another database: $what");
}
is(error_as($node, 'dba', "DROP DATABASE $db", database => 'postgres'), 'PI006', 'the protected database is not dropped');
is(error_as($node, 'dba', 'CREATE SCHEMA courier_pii; CREATE TABLE courier_pii.disclosure (); CREATE VIEW courier_pii.disclosures AS SELECT 0::oid AS grantee WHERE false; GRANT business TO clerk',
	database => 'postgres'), 'PI006', 'nor is a register forged there');
is(error_as($node, 'dba', 'CREATE EXTENSION pageinspect; CREATE SCHEMA s; DROP SCHEMA s; CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
	CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f(); DROP EVENT TRIGGER e', database => 'postgres'), '', "other databases' own objects are their own");
query_as($node, 'dba', 'CREATE TABLE own (id int); ALTER TABLE own ADD COLUMN x int; CREATE INDEX ON own (x); ANALYZE parcel; REINDEX TABLE parcel; ALTER ROLE clerk NOCREATEROLE');
pass('ordinary work goes on');

my $id = query_as($node, 'dba', q{SELECT courier_pii.request('maintenance', 'new column', '{"minutes": 30, "object": "public.parcel"}')});
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id)"), 'PI002', 'no window before the approval');
query_as($node, 'feng', "SELECT courier_pii.approve($id)");
is(error_as($node, 'clerk', "SELECT courier_pii.begin_maintenance($id)"), 'PI002', 'nor for another person');
is(query_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id) > now(); ALTER TABLE parcel ADD COLUMN remark text"), 't', 'the window opens, and the table changes');
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id); CREATE ROLE newcomer"), 'PI006', 'it covers what the ticket names');
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id); $never{LOAD}"), 'PI006', 'it does not cover escapes');
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id); SELECT courier_pii.end_maintenance(); $window{'an index on it'}"), 'PI006', 'it ends');
is(error_as($node, 'dba', $window{'an index on it'}), 'PI006', 'another session has no window');
like(query_as($node, 'zheng', q{SELECT courier_pii.audit_flush(); SELECT string_agg(query, ' | ') FROM courier_pii.audit_log WHERE action = 'MAINTENANCE'}),
	qr/ALTER TABLE parcel ADD COLUMN remark/, 'statements of the window are recorded');
cmp_ok(query_as($node, 'zheng', q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED' AND detail ->> 'refused' IS NOT NULL}), '>=', 26, 'refusals are recorded');
query_as($node, 'feng', "SELECT courier_pii.revoke_ticket($id)");
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id)"), 'PI002', 'a revoked ticket opens nothing');
$id = query_as($node, 'dba', q{SELECT courier_pii.request('break_glass', 'disk is full', '{"minutes": 5}')});
query_as($node, 'feng', "SELECT courier_pii.approve($id)");
is(error_as($node, 'dba', "SELECT courier_pii.begin_maintenance($id); LOAD 'plpgsql'; CREATE ROLE newcomer"), '', 'an emergency lifts the refusals');

# ---- posture ----

is(query_as($node, 'zheng', q{SELECT severity FROM courier_pii.posture WHERE "check" = 'authentication' AND finding LIKE 'method trust%' LIMIT 1}), 'critical', 'trust is found');
is(query_as($node, 'feng', q{SELECT count(*) FROM courier_pii.posture WHERE object = 'dba' AND finding LIKE '%SUPERUSER%'}), '1', 'superusers are found');
is(query_as($node, 'feng', q{SELECT count(*) FROM courier_pii.posture WHERE finding = 'the duties are not sealed'}), '0', 'sealed duties are no finding');
is(error_as($node, 'clerk', 'SELECT * FROM courier_pii.posture'), '42501', 'not for everybody');

$node->stop;
done_testing();
