
# Ways out of the server that are no plain SELECT: files and programs, foreign
# servers, replication, raw pages; ways of writing a query; and every outcome.
# doc/capture.md lists the cases and where each is tested.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 40;
my $node = CourierPii->new_node('ways', allows_streaming => 1,
	conf => "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\n");
my $db = $CourierPii::DATABASE;
my $from = 'FROM masked.shipment';
my $side = PostgreSQL::Test::Utils::tempdir('ways');

load_sample($node, rows => $ROWS);
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql($db, qq{
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	SELECT courier_pii.set_limit('service', 5, NULL, NULL);
	CREATE SCHEMA scratch;
	GRANT ALL ON SCHEMA scratch TO clerk;
	GRANT pg_execute_server_program, pg_write_server_files TO clerk});

sub records
{
	my ($purpose, $columns) = @_;
	$columns //= q{action, outcome, coalesce(sqlstate, ''), rows_returned, disclosed};
	return audit($node, qq{SELECT $columns FROM courier_pii.audit_log
		WHERE purpose = '$purpose' AND phase <> 'BEGIN' ORDER BY seq});
}
my $serial = 0;
sub case_of
{
	my ($name, $sql, $expected, %options) = @_;
	my $purpose = 'way ' . ++$serial;
	my ($state, $err) = error_as($node, $options{role} // 'clerk', "SET courier_pii.purpose = '$purpose';\n$sql");
	is($state, $options{state} // '', "$name: SQLSTATE") or diag $err;
	like(records($purpose, $options{columns}), $expected, "$name: record");
	return;
}
my $counts = q{action, outcome, coalesce(sqlstate, ''), rows_returned, disclosed, masked};

# ---- files and programs of the server ----

my $target = q{action, outcome, coalesce(sqlstate, ''), rows_returned, disclosed, detail->>'target'};
case_of('COPY TO PROGRAM', "COPY (SELECT recv_phone $from WHERE id <= 8) TO PROGRAM 'cat > /dev/null'",
	qr/^EXPORT\|ok\|\|8\|8\|program$/, columns => $target);
case_of('COPY TO a file', "COPY (SELECT recv_phone $from WHERE id <= 8) TO '$side/copy'", qr/^EXPORT\|ok\|\|8\|8\|file$/, columns => $target);
case_of('COPY of the view TO PROGRAM', "COPY masked.shipment (recv_phone) TO PROGRAM 'cat > /dev/null'",
	qr/^EXPORT\|ok\|\|$ROWS\|$ROWS\|program$/, columns => $target);
case_of('a program that fails', "COPY (SELECT recv_phone $from WHERE id <= 8) TO PROGRAM 'false'",
	qr/^EXPORT\|error\|38000\|8\|8\|program$/, columns => $target, state => '38000');
case_of('sealed rows TO PROGRAM', "COPY app.shipment_1 TO PROGRAM 'cat > /dev/null'",
	qr/^EXPORT\|ok\|\|20\|0\|program$/, columns => $target, role => $superuser);
case_of('COPY to the client', "COPY (SELECT recv_phone $from WHERE id <= 2) TO STDOUT", qr/^EXPORT\|ok\|\|2\|2\|$/, columns => $target);
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE phase = 'BEGIN' AND action = 'EXPORT' AND purpose LIKE 'way %'}), '6', 'each with a BEGIN record before the first row');

# ---- raw files and pages ----

foreach my $sql (q{SELECT length(pg_read_binary_file(pg_relation_filepath('app.shipment_1')))},
	q{SELECT length(pg_read_binary_file(pg_relation_filepath('app.shipment_1'), 0, 8192))},
	q{SELECT length(pg_read_file('PG_VERSION'))})
{
	my ($name) = $sql =~ /(pg_read_\w+)/;
	case_of($name, $sql, qr/^EXPORT\|ok\|$name$/, role => $superuser, columns => 'action, outcome, command');
}
case_of('pg_read_binary_file by others', q{SELECT pg_read_binary_file('PG_VERSION')}, qr/^$/, state => '42501');
SKIP:
{
	skip 'no pageinspect', 2 if $node->psql($db, 'CREATE EXTENSION pageinspect') != 0;
	case_of('get_raw_page', q{SELECT count(*) FROM heap_page_items(get_raw_page('app.shipment_1', 0))}, qr/^EXPORT\|ok\|get_raw_page$/,
		role => $superuser, columns => 'action, outcome, command');
}

# ---- replication ----

sub logins { return audit($node, qq{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'EXPORT' AND outcome = 'ok' AND command = 'REPLICATION LOGIN' AND login_role = '$superuser'}); }
my $before = logins();
$node->command_ok([ 'pg_basebackup', '-h', $node->host, '-p', $node->port, '-U', $superuser, '-D', "$side/base", '-c', 'fast', '-X', 'none' ], 'a base backup');
cmp_ok(logins(), '>', $before, 'walsender: a base backup is an EXPORT');
$before = logins();
$node->command_ok([ 'pg_recvlogical', '-h', $node->host, '-p', $node->port, '-U', $superuser, '-d', $db, '--slot', 'far', '--create-slot', '-P', 'test_decoding' ], 'a logical slot over the replication protocol');
cmp_ok(logins(), '>', $before, 'walsender: is an EXPORT');
$node->safe_psql($db, q{SELECT pg_drop_replication_slot('far')});
foreach my $call (q{pg_create_logical_replication_slot('near', 'test_decoding')}, q{pg_logical_slot_peek_changes('near', NULL, NULL)},
	q{pg_logical_slot_get_changes('near', NULL, NULL)}, q{pg_copy_logical_replication_slot('near', 'near2')}, q{pg_create_physical_replication_slot('near3')})
{
	my ($name) = $call =~ /^(\w+)/;
	case_of($name, "SELECT count(*) FROM $call", qr/^EXPORT\|ok\|$name$/, role => $superuser, columns => 'action, outcome, command');
}
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$_')") foreach qw(near near2 near3);

# ---- foreign servers towards us ----

SKIP:
{
	skip 'no postgres_fdw', 2 if $node->psql($db, 'CREATE EXTENSION postgres_fdw') != 0;
	my ($host, $port) = ($node->host, $node->port);
	$node->safe_psql($db, qq{
		CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname '$db', fetch_size '15', application_name 'fdw');
		CREATE USER MAPPING FOR clerk SERVER far OPTIONS (user 'clerk', password_required 'false');
		CREATE FOREIGN TABLE scratch.far (id bigint, recv_phone text) SERVER far OPTIONS (schema_name 'masked', table_name 'shipment');
		GRANT SELECT ON scratch.far TO clerk});
	is(query_as($node, 'clerk', 'SELECT count(*) FROM (SELECT recv_phone FROM scratch.far OFFSET 0) s WHERE length(recv_phone) > 3'), $ROWS, 'postgres_fdw: a remote cursor');
	is(audit($node, q{SELECT string_agg(concat_ws('|', action, command, outcome, rows_returned, disclosed, login_role, staff_no), E'\n' ORDER BY seq)
		FROM courier_pii.audit_log WHERE application_name = 'fdw' AND phase <> 'BEGIN'}),
		join("\n", map { "READ|FETCH|ok|$_|$_|clerk|C1" } 15, 15, 10), 'one record a FETCH, with the person behind it');
}

# ---- ways to write it ----

case_of('ts_stat', "SELECT count(*) FROM ts_stat('SELECT to_tsvector(recv_phone) $from')", qr/^READ\|ok\|\|1\|0\|$ROWS$/, columns => $counts);
case_of('cursor_to_xml', "BEGIN; DECLARE c CURSOR FOR SELECT recv_phone $from WHERE id <= 8; SELECT length(cursor_to_xml('c', 10, true, true, '')::text); COMMIT",
	qr/^READ\|ok\|\|1\|0\|8$/, columns => $counts);
case_of('schema_to_xml', q{SELECT length(schema_to_xml('masked', true, true, '')::text)}, qr/^READ\|ok\|\|1\|0\|240$/, columns => $counts);
case_of('a function in WHERE that leaks', qq{CREATE FUNCTION scratch.leak(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS \$\$BEGIN RAISE NOTICE '%', t; RETURN true; END\$\$;
	SELECT count(*) $from WHERE scratch.leak(recv_phone) AND id <= 3}, qr/^READ\|ok\|\|1\|3\|\d+$/, columns => $counts);
case_of('a setting as carrier', "SELECT set_config('x.y', recv_phone, false) $from WHERE id = 1", qr/^READ\|ok\|\|1\|0\|1$/, columns => $counts);
case_of('MERGE', 'MERGE INTO app.task t USING masked.shipment s ON t.shipment_id = s.id WHEN MATCHED AND s.recv_phone IS NULL THEN DO NOTHING', qr/^WRITE\|ok$/,
	columns => q{action, outcome});
case_of('VALUES with a subquery', "VALUES ((SELECT recv_phone $from WHERE id = 1))", qr/^READ\|ok\|\|1\|1\|0$/, columns => $counts);
case_of('a recursive query', "WITH RECURSIVE r(i, t) AS (SELECT 1, recv_phone $from WHERE id = 1 UNION ALL SELECT i + 1, t FROM r WHERE i < 5) SELECT * FROM r", qr/^READ\|ok\|\|5\|1\|0$/, columns => $counts);
case_of('LATERAL', "SELECT s.id, l.recv_phone FROM generate_series(1, 4) s (id), LATERAL (SELECT recv_phone $from x WHERE x.id = s.id) l", qr/^READ\|ok\|\|4\|4\|0$/, columns => $counts);
case_of('a window function', "SELECT recv_phone, rank() OVER (ORDER BY id) $from WHERE id <= 4", qr/^READ\|ok\|\|4\|4\|0$/, columns => $counts);
case_of('a search for several', "SELECT id $from WHERE recv_phone IN ('13941017919', '13900000000')", qr/^SEARCH\|ok\|t$/, columns => 'action, outcome, probes >= 2');
case_of('the base table by a superuser', 'SELECT * FROM app.shipment', qr/^READ\|ok\|\|$ROWS\|0\|0$/, columns => $counts, role => $superuser);
case_of('a copy of the base table by a superuser', 'CREATE TABLE scratch.c AS TABLE app.shipment', qr/^COPY\|ok\|.*\|$ROWS$/, columns => q{action, outcome, disclosed, rows_examined}, role => $superuser);

# ---- other sessions' statements ----

my $c = CourierPiiWire->new($node, 'clerk');
$c->query("SELECT id $from WHERE recv_phone = '13941017919'");
unlike($node->safe_psql($db, "SELECT query FROM pg_stat_activity WHERE pid = $c->{pid}"), qr/13941017919/, 'pg_stat_activity has no literal of a search');
$c->drop;

# ---- limits ----

case_of('blocked by a limit', "SELECT recv_phone $from", qr/^READ\|blocked\|PI001\|5\|5\nDENIED\|blocked\|PI001\|0\|0$/, role => 'service', state => 'PI001');

# the last one, for it changes the table
case_of('ALTER TYPE USING', 'ALTER TABLE app.shipment ALTER COLUMN recv_addr TYPE text USING recv_addr::text', qr/^DDL\|ok\|\|0\|0\|$ROWS$/, columns => $counts, role => $superuser);

is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');
my $trail = audit($node, 'SELECT audit_log::text FROM courier_pii.audit_log');
is(join(' ', found_canaries($trail, 1 .. $ROWS)), '', 'no personal data in the trail');

done_testing();
