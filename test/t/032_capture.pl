
# Every way in which personal data can be touched leaves one truthful record.
# Each case states a purpose of its own and is compared with the records of it.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $ROWS = 240;
my $node = CourierPii->new_node('capture',
	conf => "wal_level = logical\nmax_prepared_transactions = 5\n");
my $db = $CourierPii::DATABASE;
my $from = 'FROM masked.shipment';

load_sample($node, rows => $ROWS);
$node->safe_psql($db, q{
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	CREATE FUNCTION app.read_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER
		AS 'SELECT count(length(recv_phone)) FROM masked.shipment';
	GRANT EXECUTE ON FUNCTION app.read_all() TO PUBLIC;
	GRANT SELECT ON app.shipment TO pg_read_all_data;
	CREATE VIEW app.nice AS SELECT id, recv_phone FROM masked.shipment;
	GRANT SELECT ON app.nice TO clerk;
	CREATE SCHEMA scratch;
	GRANT ALL ON SCHEMA scratch TO clerk;
	GRANT TEMPORARY ON DATABASE express TO clerk;
});

# records of a purpose: action/outcome/sqlstate/returned/disclosed/examined, one
# a line; BEGIN records and repeated refusals left out
sub records
{
	my ($purpose, $columns) = @_;
	$columns //= q{action, outcome, coalesce(sqlstate, ''), rows_returned, disclosed};
	return audit($node, qq{SELECT $columns FROM courier_pii.audit_log
		WHERE purpose = '$purpose' AND phase <> 'BEGIN' ORDER BY seq});
}

my $serial = 0;

# run as clerk, then compare the records with a pattern
sub case_of
{
	my ($name, $sql, $expected, %options) = @_;
	my $purpose = 'case ' . ++$serial;
	my ($state, $err) = error_as($node, $options{role} // 'clerk',
		"SET courier_pii.purpose = '$purpose';\n$sql");
	is($state, $options{state} // '', "$name: SQLSTATE") or diag $err;
	like(records($purpose, $options{columns}), $expected, "$name: record");
	return $purpose;
}

my $all = $ROWS;

case_of('CTE over the view', "WITH x AS (SELECT * $from) SELECT count(length(recv_phone)) FROM x",
	qr/^READ\|ok\|\|1\|$all$/);
case_of('a view over the view', 'SELECT count(length(recv_phone)) FROM app.nice', qr/^READ\|ok\|\|1\|$all$/);
case_of('subquery and set operation', "SELECT recv_phone $from WHERE id <= 3 UNION ALL SELECT recv_name $from WHERE id <= 2",
	qr/^READ\|ok\|\|5\|5$/);
case_of('COPY of the view', 'COPY masked.shipment (recv_phone) TO STDOUT', qr/^EXPORT\|ok\|\|$all\|$all$/);
case_of('COPY of a query', "COPY (SELECT recv_phone $from LIMIT 30) TO STDOUT", qr/^EXPORT\|ok\|\|30\|30$/);
case_of('COPY cancelled by a timeout', "SET statement_timeout = '300ms'; COPY (SELECT recv_phone, pg_sleep(0.02) $from) TO STDOUT",
	qr/^EXPORT\|timeout\|57014\|\d+\|[1-9]\d*$/, state => '57014');
case_of('statement timeout', "SET statement_timeout = '300ms'; SELECT recv_phone, pg_sleep(0.02) $from",
	qr/^READ\|timeout\|57014\|[1-9]\d*\|[1-9]\d*$/, state => '57014');
case_of('lock timeout', "SET lock_timeout = '1ms'; SELECT recv_phone $from WHERE id <= 2", qr/^READ\|ok\|\|2\|2$/);
case_of('an error after many rows', "SELECT recv_phone, 1 / (200 - id) FROM (SELECT * $from ORDER BY id) s",
	qr/^READ\|error\|22012\|199\|\d+$/, state => '22012');
case_of('a value in an error text', "SELECT recv_name::int $from WHERE id = 1", qr/^READ\|error\|22P02\|0\|1$/, state => '22P02');
case_of('read, then rollback', "BEGIN; SELECT recv_phone $from WHERE id = 1; ROLLBACK", qr/^READ\|ok\|\|1\|1$/);
case_of('json_agg', "SELECT json_agg(recv_phone) $from", qr/^READ\|ok\|\|1\|$all$/);
case_of('array_agg', "SELECT array_agg(recv_phone) $from", qr/^READ\|ok\|\|1\|$all$/);
case_of('xmlagg', "SELECT xmlagg(xmlelement(name x, recv_phone)) $from", qr/^READ\|ok\|\|1\|$all$/);
case_of('row_to_json of the row', "SELECT row_to_json(s) FROM (SELECT recv_phone $from WHERE id <= 4) s", qr/^READ\|ok\|\|4\|4$/);
case_of('query_to_xml', "SELECT length(query_to_xml('SELECT recv_phone $from', true, true, '')::text)", qr/^READ\|ok\|\|1\|\d+$/);
case_of('DO block', "DO \$\$ BEGIN PERFORM recv_phone FROM masked.shipment WHERE id <= 7; END \$\$", qr/^READ\|ok\|\|0\|\d+$/);
case_of('prepared statement', "PREPARE p AS SELECT recv_phone $from WHERE id = \$1; EXECUTE p(1); EXECUTE p(2)",
	qr/^READ\|ok\|\|1\|1\nREAD\|ok\|\|1\|1$/);
case_of('SECURITY DEFINER', 'SELECT app.read_all()', qr/^READ\|ok\|\|1\|\d+\|\{.*app\.shipment.*\}$/,
	columns => q{action, outcome, '', rows_returned, disclosed, relations});
case_of('CREATE TABLE AS', "CREATE TEMP TABLE t1 AS SELECT recv_phone $from", qr/^COPY\|ok\|\|\d+\|0$/);
case_of('SELECT INTO TEMP', "SELECT recv_phone INTO TEMP t2 $from", qr/^COPY\|ok\|\|\d+\|0$/);
case_of('INSERT … SELECT into a plain table', "CREATE TEMP TABLE t3 (p text); INSERT INTO t3 SELECT recv_phone $from",
	qr/^WRITE\|ok\|\|\d+\|0$/);
case_of('materialized view', "CREATE MATERIALIZED VIEW scratch.m AS SELECT recv_phone $from; REFRESH MATERIALIZED VIEW scratch.m",
	qr/^COPY\|ok\|\|\d+\|0\nCOPY\|ok\|\|\d+\|0$/);
case_of('UPDATE … RETURNING', 'UPDATE masked.shipment SET weight = 2 WHERE id <= 5 RETURNING recv_phone', qr/^WRITE\|ok\|\|5\|0$/);
case_of('DELETE, rolled back', "BEGIN; DELETE FROM masked.shipment WHERE id <= 5 RETURNING recv_phone; ROLLBACK",
	qr/^DESTROY\|ok\|\|5\|0\nDESTROY\|rollback\|\|0\|0$/);
like(audit($node, "SELECT detail FROM courier_pii.audit_log WHERE purpose = 'case $serial' AND outcome = 'rollback'"),
	qr/"rolled_back": \[\d+\]/, 'which names the record');
case_of('UPDATE in a savepoint, rolled back', "BEGIN; UPDATE masked.shipment SET weight = 3 WHERE id = 1; SAVEPOINT s; UPDATE masked.shipment SET weight = 4 WHERE id = 2; ROLLBACK TO s; COMMIT",
	qr/^WRITE\|ok\|\|\d\|0\nWRITE\|ok\|\|\d\|0\nWRITE\|rollback\|\|0\|0$/);
case_of('INSERT', "INSERT INTO masked.shipment (waybill_no, recv_phone, station, created_on) VALUES ('SF900000000001', '13800008888', 'SZ01', '2026-01-05')",
	qr/^WRITE\|ok\|/);
case_of('DROP refused', 'DROP TABLE app.shipment', qr/^DENIED\|denied\|42501\|0\|0$/, state => '42501');
case_of('TRUNCATE refused', 'TRUNCATE app.shipment', qr/^DENIED\|denied\|42501\|0\|0$/, state => '42501');
case_of('EXPLAIN ANALYZE ships no rows', "EXPLAIN ANALYZE SELECT count(length(recv_phone)) $from", qr/^READ\|ok\|\|0\|\d+\|\d+$/,
	columns => q{action, outcome, '', CASE WHEN rows_returned < 10 THEN 0 ELSE rows_returned END, disclosed, rows_examined});
case_of('EXPLAIN alone', "EXPLAIN SELECT recv_phone $from", qr/^(READ\|ok\|\|\d+\|0)?$/);
case_of('SELECT FOR UPDATE', "SELECT recv_phone $from WHERE id <= 2 FOR UPDATE", qr/^READ\|ok\|\|2\|2$/);
case_of('pages of 20', join(';', map { "SELECT recv_phone $from ORDER BY id LIMIT 20 OFFSET " . 20 * $_ } 0 .. 4),
	qr/^READ\|ok\|\|20\|20\n(READ\|ok\|\|20\|\d+\n){3}READ\|ok\|\|20\|\d+$/);
case_of('a probe by INSERT of an existing key', "INSERT INTO masked.shipment (id, waybill_no, station, created_on) VALUES (1, 'SF31', 'SZ01', '2026-02-01')",
	qr/\|error\|23505\|/, state => '23505');
case_of('permission denied', 'SELECT recv_phone FROM app.shipment', qr/^DENIED\|denied\|42501\|0\|0$/, state => '42501', role => 'courier');
case_of('a search that finds nothing', "SELECT id $from WHERE recv_phone = '13999999999'", qr/^SEARCH\|ok\|\|0\|0\|t$/,
	columns => q{action, outcome, '', rows_returned, disclosed, probes > 0});
case_of('an aggregate over everybody', "SELECT count(*) $from WHERE length(recv_phone) > 100", qr/^READ\|ok\|1\|t$/,
	columns => "action, outcome, rows_returned, rows_examined >= $ROWS");
case_of('rows examined of a point read', "SELECT recv_phone $from WHERE id = 3", qr/^READ\|ok\|1\|1\|[12]$/,
	columns => 'action, outcome, rows_returned, disclosed, rows_examined');
case_of('masked values', "SELECT recv_phone $from WHERE id <= 9", qr/^READ\|ok\|9\|0\|9$/, role => 'analyst',
	columns => 'action, outcome, rows_returned, disclosed, masked');
case_of('a large object as carrier', "SELECT lo_from_bytea(0, convert_to(string_agg(recv_phone, ','), 'UTF8')) $from", qr/^READ\|ok\|\|1\|/);
case_of('NOTIFY as carrier', "SELECT pg_notify('c', string_agg(recv_phone, ',')) FROM (SELECT recv_phone $from LIMIT 20) s", qr/^READ\|ok\|\|1\|/);
case_of('a partition itself', 'SELECT count(*) FROM app.shipment_1', qr/^DENIED\|denied\|42501/, state => '42501');
case_of('two-phase', "BEGIN; SELECT recv_phone $from WHERE id = 1; PREPARE TRANSACTION 'g1'; ROLLBACK PREPARED 'g1'", qr/^READ\|ok\|\|1\|1$/);
case_of('a statement in a failed transaction', "BEGIN; SELECT 1/0; SELECT recv_phone $from", qr/^$/, state => '22012');
case_of('clear values in a NOTICE', "DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT recv_phone FROM masked.shipment WHERE id <= 3 LOOP RAISE NOTICE '%', r.recv_phone; END LOOP; END \$\$",
	qr/^READ\|ok\|\|0\|3$/);

# identity: who logged in, whose session, whose rights
$node->safe_psql($db, 'GRANT analyst TO clerk');
case_of('SET ROLE', "SET ROLE analyst; SELECT recv_phone $from WHERE id = 1", qr/^READ\|clerk\|clerk\|analyst\|C1$/,
	columns => q{action, login_role, session_role, "current_role", staff_no});
$node->safe_psql($db, 'REVOKE analyst FROM clerk');

# parallel plans: the leader writes one record
case_of('a parallel plan', q{SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SELECT count(*) FROM masked.shipment s JOIN masked.shipment t USING (id) WHERE s.weight > 0}, qr/^READ\|ok\|1\|0\|t$/,
	columns => "action, outcome, rows_returned, disclosed, rows_examined >= $ROWS");

# cursors: one record a FETCH
case_of('a cursor, rolled back', "BEGIN; DECLARE c CURSOR FOR SELECT recv_phone $from; FETCH 100 FROM c; FETCH 50 FROM c; MOVE 5 IN c; ROLLBACK",
	qr/^READ\|ok\|\|100\|100\nREAD\|ok\|\|50\|50\b/);
case_of('a cursor WITH HOLD', "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone $from WHERE id <= 11; COMMIT; FETCH ALL FROM c",
	qr/\|11$/m);

# portals with a row limit
sub purpose_of
{
	my ($c) = @_;
	my $purpose = 'case ' . ++$serial;
	$c->query("SET courier_pii.purpose = '$purpose'");
	return $purpose;
}

my $c = CourierPiiWire->new($node, 'clerk');
my $purpose = purpose_of($c);
$c->query('BEGIN');
$c->parse("SELECT recv_phone $from");
$c->bind('p');
for (1 .. 3) { $c->execute('p', 50); $c->sync; }
$c->query('COMMIT');
is(records($purpose), join("\n", ('READ|ok||50|50') x 3), 'a portal with a row limit: a record a slice');

$purpose = purpose_of($c);
$c->query('BEGIN');
$c->parse("SELECT recv_phone $from");
$c->bind('q');
$c->execute('q', 50);
$c->sync;
my $pid = $c->{pid};
$c->drop;
ok(wait_until($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'the client vanishes between slices');
is(records($purpose), 'READ|ok||50|50', 'what it got is recorded');

# a client that vanishes in the middle of a result
$c = CourierPiiWire->new($node, 'clerk');
$purpose = purpose_of($c);
$pid = $c->{pid};
$c->send_message('Q', "SELECT recv_phone, repeat('x', 3000), pg_sleep(0.005) $from\0");
usleep(200_000);
$c->drop;
ok(wait_until($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'the client vanishes in a result');
like(records($purpose), qr/^READ\|client_lost\|08006\|[1-9]\d*\|[1-9]\d*$/, 'client_lost');

# cancel, terminate
foreach my $how ([ cancel => 'cancelled', '57014' ], [ terminate => 'terminated', '57P01' ])
{
	$c = CourierPiiWire->new($node, 'clerk');
	$purpose = purpose_of($c);
	$c->send_message('Q', "SELECT recv_phone, repeat('x', 100), pg_sleep(0.02) $from\0");
	usleep(300_000);
	if ($how->[0] eq 'cancel') { $c->cancel; }
	else { $node->safe_psql($db, "SELECT pg_terminate_backend($c->{pid}, 5000)"); }
	my $rows = @{ $c->wait_ready->{rows} };
	like(records($purpose), qr/^READ\|$how->[1]\|$how->[2]\|\d+\|[1-9]\d*$/, $how->[1]);
	my ($disclosed) = records($purpose, 'disclosed');
	cmp_ok($disclosed, '>=', $rows, "$rows rows received, $disclosed recorded");
}

# a backend that is killed: the next life of the server closes the statement
$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->reload;
$c = CourierPiiWire->new($node, 'clerk');
$purpose = purpose_of($c);
$c->send_message('Q', "SELECT recv_phone, repeat('x', 500), pg_sleep(0.01) $from\0");
my $received = 0;
while ($received < 40) { my ($type) = $c->message; last unless $type; $received++ if $type eq 'D'; }
kill 'KILL', $c->{pid};
$received += @{ $c->wait_ready->{rows} };
$node->poll_query_until($db, 'SELECT true');
like(records($purpose, 'phase, action, outcome, disclosed >= ' . $received . ', rows_returned >= ' . $received),
	qr/^END\|READ\|crash\|t\|t$/, "kill -9 of a backend: END with outcome crash and at least the $received rows received");

# the whole server is killed
$c = CourierPiiWire->new($node, 'clerk');
$purpose = purpose_of($c);
$c->send_message('Q', "COPY (SELECT recv_phone, repeat('x', 500), pg_sleep(0.01) $from) TO STDOUT\0");
$received = 0;
while ($received < 40) { my ($type) = $c->message; last unless $type; $received++ if $type eq 'd'; }
$node->kill9;
for (1 .. 100) { last if $node->start(fail_ok => 1); $node->stop('immediate', fail_ok => 1); $node->{_pid} = undef; usleep(100_000); }
like(records($purpose, 'phase, action, outcome, disclosed >= ' . $received), qr/^END\|EXPORT\|(crash|terminated)\|t$/,
	'kill -9 of the server: likewise');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log b WHERE b.phase = 'BEGIN' AND
	(SELECT count(*) FROM courier_pii.audit_log e WHERE e.phase = 'END' AND (e.detail->>'begin_seq')::bigint = b.seq) <> 1}),
	'0', 'every BEGIN has exactly one END');

# pg_dump is an export
my $dump = PostgreSQL::Test::Utils::tempdir('capture') . '/dump';
{
	local $ENV{PGAPPNAME} = 'pg_dump';
	$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-t', 'app.shipment_1', '-f', $dump, $db ], 'pg_dump');
}
is(audit($node, q{SELECT DISTINCT action, outcome, command, rows_returned > 0, disclosed, rows_examined > 0
	FROM courier_pii.audit_log WHERE application_name = 'pg_dump' AND action = 'EXPORT' AND phase <> 'BEGIN'}),
	'EXPORT|ok|COPY|t|0|t', 'is an EXPORT');

# settings of the guard itself
$node->safe_psql($db, "ALTER SYSTEM SET courier_pii.enforcement = 'warn'");
$node->safe_psql($db, 'ALTER SYSTEM RESET courier_pii.enforcement');
$node->safe_psql($db, "ALTER ROLE clerk SET courier_pii.purpose = 'x'");
$node->safe_psql($db, 'ALTER ROLE clerk RESET ALL');
is(audit($node, q{SELECT action, command, detail->>'setting' FROM courier_pii.audit_admin WHERE detail ? 'setting' ORDER BY seq}),
	"POLICY|ALTER SYSTEM|courier_pii.enforcement\nPOLICY|ALTER SYSTEM|courier_pii.enforcement\nPOLICY|ALTER ROLE|courier_pii.purpose\nPOLICY|ALTER ROLE|all",
	'changes of settings are recorded');

# nothing personal in the trail
my $trail = audit($node, 'SELECT audit_log::text FROM courier_pii.audit_log');
is(join(' ', found_canaries($trail, 1 .. $ROWS)), '', 'no personal data in the trail');
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');

done_testing();
