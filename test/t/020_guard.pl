
# Exfiltration: an insider who may see clear text, 100 values a statement, tries
# every road out.  No road gives more than the limit, and each leaves a record
# with the right counts.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 400;
my $LIMIT = 100;

# the door is tried here, not the gate before it: see 021_exfil.pl
my $node = CourierPii->new_node('guard', conf => 'courier_pii.estimate_factor = 0');
my $db = $CourierPii::DATABASE;

load_sample($node, rows => $ROWS);
$node->safe_psql(
	$db, qq{
	SELECT courier_pii.set_limit('clerk', $LIMIT, NULL, NULL);
	GRANT CREATE ON DATABASE $db TO clerk;
	GRANT CREATE ON SCHEMA public TO clerk;
	GRANT EXECUTE ON FUNCTION pg_catalog.lo_from_bytea(oid, bytea) TO clerk;
});

my @phones = canaries(1 .. $ROWS);
# of one row: waybill, name, phone, phone's end, address, id number, remark
my %phone = map { $phones[ $_ * 7 + 2 ] => 1 } 0 .. $ROWS - 1;

# how many different phones are in these bytes?
sub phones_in
{
	my ($bytes) = @_;
	my %seen;
	while ($bytes =~ /(?=(139\d{8}))/g) { $seen{$1} = 1 if $phone{$1}; }
	return scalar keys %seen;
}

# sums over the records of one purpose
sub recorded
{
	my ($purpose) = @_;
	my $line = audit($node, qq{
		SELECT coalesce(sum(disclosed), 0),
			count(*) FILTER (WHERE outcome = 'blocked' AND sqlstate = 'PI001'),
			count(*) FILTER (WHERE action = 'DENIED' AND sqlstate = 'PI001'),
			coalesce(string_agg(DISTINCT staff_no, ','), '')
		FROM courier_pii.audit_log
		WHERE purpose = '$purpose' AND phase <> 'BEGIN'});
	return split /\|/, $line;
}

# road(NAME, SQL, %options): a try as one psql script of the clerk
sub road
{
	my ($name, $sql, %options) = @_;
	(my $purpose = $name) =~ s/[^a-z0-9]+/_/gi;
	my ($out, $err) = ('', '');
	my $limit = $options{limit} // $LIMIT;

	$node->psql($db, "SET courier_pii.purpose = '$purpose';\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 0,
		connstr => login($node, 'clerk'),
		extra_params => [ '-v', 'VERBOSITY=verbose', @{ $options{params} // [] } ]);
	my $got = phones_in($out . $err);
	my ($disclosed, $blocked, $denied, $staff) = recorded($purpose);

	cmp_ok($got, '<=', $limit, "$name: $got phones got out");
	if ($options{masked})
	{
		is($got, 0, "$name: masks only");
		is($disclosed, 0, "$name: nothing disclosed by the record");
	}
	else
	{
		cmp_ok($disclosed, '>=', $got, "$name: $disclosed recorded");
		cmp_ok($disclosed, '<=', $limit, "$name: not more recorded than allowed");
		like($err, qr/PI001:? disclosure limit reached/, "$name: PI001");
		cmp_ok($blocked, '>=', 1, "$name: recorded as blocked");
		cmp_ok($denied, '>=', 1, "$name: recorded as denied");
		is($staff, 'C1', "$name: recorded with the person");
	}
	return ($got, $disclosed, $err);
}

my $from = 'FROM masked.shipment';

subtest 'one statement' => sub {
	road('select', "SELECT recv_phone $from;");
	road('select all columns', "SELECT * $from;");
	road('copy query', "COPY (SELECT recv_phone $from) TO STDOUT;");
	road('copy view', 'COPY masked.shipment TO STDOUT;');
	road('copy view columns', 'COPY masked.shipment (id, recv_phone) TO STDOUT;');
	road('copy binary', "COPY (SELECT recv_phone $from) TO STDOUT (FORMAT binary);");
	road('copy base cast', 'COPY (SELECT id FROM masked.shipment WHERE length(recv_phone) = 11) TO STDOUT;');
	road('string_agg', "SELECT string_agg(recv_phone, ',') $from;");
	road('json_agg', "SELECT json_agg(s) FROM masked.shipment s;");
	road('array_agg', "SELECT array_agg(recv_phone) $from;");
	road('xmlagg', "SELECT query_to_xml('SELECT recv_phone $from', true, false, '');", masked => 1);
	road('table_to_xml', "SELECT table_to_xml('masked.shipment', true, false, '');", masked => 1);
	road('sort', "SELECT recv_phone $from ORDER BY recv_phone;");
	road('lateral', "SELECT l.p $from s, LATERAL (SELECT s.recv_phone AS p) l;");
	road('self join', "SELECT a.recv_phone || b.id $from a JOIN masked.shipment b ON a.id = b.id;");
	road('md5', "SELECT md5(recv_phone) $from;");
	road('substring', "SELECT substr(recv_phone, 8) $from;");
	road('where only', "SELECT id $from WHERE recv_phone LIKE '139%1';");
	road('group by', "SELECT recv_phone, count(*) $from GROUP BY 1;");
	road('window function', "SELECT lag(recv_phone) OVER (ORDER BY id) $from;");
	road('with query', "WITH x AS MATERIALIZED (SELECT recv_phone $from) SELECT * FROM x;");
	road('recursive', "WITH RECURSIVE r AS (SELECT 1::bigint AS i UNION ALL SELECT i + 1 FROM r WHERE i < $ROWS) SELECT (SELECT recv_phone $from s WHERE s.id = r.i) FROM r;");
	road('union', "SELECT recv_phone $from UNION ALL SELECT recv_name $from;");
	road('large object', "SELECT lo_from_bytea(0, convert_to(string_agg(recv_phone, ','), 'UTF8')) $from;", masked => 1);
	road('prepared', "PREPARE p AS SELECT recv_phone $from; EXECUTE p;");
	road('setting as carrier', "SELECT set_config('x.y', string_agg(recv_phone, ','), false) $from; SHOW x.y;", masked => 1);
	road('notify as carrier', "LISTEN c; SELECT pg_notify('c', recv_phone) $from; SELECT 1;", masked => 1);
	road('error text', "SELECT string_agg(recv_phone, ',')::int $from;");
	road('explain analyze', "EXPLAIN (ANALYZE, VERBOSE) SELECT recv_phone $from;");
};

subtest 'by code' => sub {
	road('do block', qq{DO \$\$ DECLARE r record; BEGIN
		FOR r IN SELECT recv_phone $from LOOP RAISE NOTICE '%', r.recv_phone; END LOOP;
		END \$\$;});
	road('do block, one at a time', qq{DO \$\$ DECLARE p text; BEGIN
		FOR i IN 1 .. $ROWS LOOP
			SELECT recv_phone INTO p $from WHERE id = i;
			RAISE NOTICE '%', p;
		END LOOP; END \$\$;});
	road('do block that swallows errors', qq{DO \$\$ DECLARE p text; BEGIN
		FOR i IN 1 .. $ROWS LOOP
			BEGIN
				SELECT recv_phone INTO p $from WHERE id = i;
				RAISE NOTICE '%', p;
			EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM;
			END;
		END LOOP; END \$\$;});
	road('function', qq{
		CREATE FUNCTION public.take() RETURNS SETOF text LANGUAGE plpgsql AS
		'BEGIN RETURN QUERY SELECT recv_phone::text $from; END';
		SELECT * FROM public.take();});
	road('sql function', qq{
		CREATE FUNCTION public.take_sql() RETURNS SETOF text LANGUAGE sql AS
		'SELECT recv_phone::text $from';
		SELECT * FROM public.take_sql();});
	road('one row a call', qq{
		CREATE FUNCTION public.take_one(bigint) RETURNS text LANGUAGE sql AS
		'SELECT recv_phone::text $from WHERE id = \$1';
		SELECT public.take_one(i) FROM generate_series(1, $ROWS) i;});
	road('security definer', qq{
		CREATE FUNCTION public.take_definer() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS
		'SELECT recv_phone::text $from';
		SELECT * FROM public.take_definer();});
	road('procedure with commits', qq{
		CREATE PROCEDURE public.take_slowly() LANGUAGE plpgsql AS \$\$
		DECLARE p text; BEGIN
			FOR i IN 1 .. $ROWS LOOP
				SELECT recv_phone INTO p $from WHERE id = i;
				RAISE NOTICE '%', p;
				COMMIT;
			END LOOP;
		END \$\$;
		CALL public.take_slowly();});
	road('own view', qq{CREATE VIEW public.mine AS SELECT recv_phone $from; TABLE public.mine;});
};

subtest 'copies hold masks' => sub {
	road('create table as', "CREATE TABLE public.t1 AS SELECT id, recv_phone $from; TABLE public.t1;", masked => 1);
	road('temporary table', "CREATE TEMP TABLE t2 AS SELECT id, recv_phone $from; TABLE t2;", masked => 1);
	road('select into', "SELECT id, recv_phone INTO TEMP t3 $from; TABLE t3;", masked => 1);
	road('materialized view', "CREATE MATERIALIZED VIEW public.m1 AS SELECT id, recv_phone $from; TABLE public.m1;", masked => 1);
	road('insert select', "CREATE TEMP TABLE t4 (p text); INSERT INTO t4 SELECT recv_phone $from; TABLE t4;", masked => 1);
	road('update from', "CREATE TEMP TABLE t5 AS SELECT generate_series(1, $ROWS) AS id, '' AS p; UPDATE t5 SET p = s.recv_phone $from s WHERE s.id = t5.id; TABLE t5;", masked => 1);
	road('writing with query', "CREATE TEMP TABLE t6 (p text); WITH x AS (INSERT INTO t6 SELECT recv_phone $from RETURNING p) SELECT * FROM x;", masked => 1);
	road('create as execute', "PREPARE q AS SELECT recv_phone $from; CREATE TEMP TABLE t7 AS EXECUTE q; TABLE t7;", masked => 1);
};

subtest 'cursors and portals' => sub {
	road('cursor', "BEGIN; DECLARE c CURSOR FOR SELECT recv_phone $from; FETCH ALL FROM c; COMMIT;");
	road('cursor in slices',
		"BEGIN; DECLARE c CURSOR FOR SELECT recv_phone $from;" . (' FETCH 30 FROM c;' x 14) . ' COMMIT;');
	road('held cursor',
		"BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone $from; COMMIT;" . (' FETCH 30 FROM c;' x 14));
	road('scroll cursor',
		"BEGIN; DECLARE c SCROLL CURSOR FOR SELECT recv_phone $from;" . (' FETCH 30 FROM c; FETCH BACKWARD 5 FROM c;' x 14) . ' COMMIT;');
	road('psql fetch count', "\\set FETCH_COUNT 25\nSELECT recv_phone $from;");
	road('refcursor', qq{
		CREATE FUNCTION public.open_it() RETURNS refcursor LANGUAGE plpgsql AS
		'DECLARE c refcursor := ''rc''; BEGIN OPEN c FOR SELECT recv_phone $from; RETURN c; END';
		BEGIN; SELECT public.open_it();} . (' FETCH 30 FROM rc;' x 14) . ' COMMIT;');

	foreach my $format (0, 1)
	{
		my $wire = CourierPiiWire->new($node, 'clerk');
		my $purpose = "portal_$format";
		my ($bytes, $state) = ('', '');

		$wire->query("SET courier_pii.purpose = '$purpose'");
		$wire->query('BEGIN');
		$wire->parse("SELECT recv_phone $from");
		$wire->bind('p', $format);
		for (1 .. 14)
		{
			$wire->execute('p', 30);
			my $result = $wire->sync;
			$bytes .= join ' ', map { $_->[0] } @{ $result->{rows} };
			$state ||= $result->{state};
		}
		my $got = phones_in($bytes);
		my ($disclosed, $blocked) = recorded($purpose);
		cmp_ok($got, '<=', $LIMIT, "portal in slices, format $format: $got phones");
		cmp_ok($disclosed, '>=', $got, "format $format: $disclosed recorded");
		is($state, 'PI001', "format $format: PI001");
		cmp_ok($blocked, '>=', 1, "format $format: recorded as blocked");
	}
};

subtest 'hour and day windows' => sub {
	$node->safe_psql($db, q{
		CREATE ROLE drip LOGIN IN ROLE clerk;
		CREATE ROLE storm LOGIN IN ROLE clerk;
		CREATE ROLE tourist LOGIN IN ROLE clerk;
		SELECT courier_pii.hire('D1', '滴', 'drip', 'HQ', 'clerk'),
			courier_pii.hire('D2', '暴', 'storm', 'HQ', 'clerk'),
			courier_pii.hire('D3', '游', 'tourist', 'HQ', 'clerk');
		SELECT courier_pii.set_limit('clerk', 20, 100, NULL);
	});
	my ($status, $out, $err) = CourierPii::run_as($node, 'drip',
		"SELECT format('SELECT recv_phone $from WHERE id = %s', i) FROM generate_series(1, $ROWS) i \\gexec",
		on_error_stop => 0);
	my $got = phones_in($out . $err);
	is($got, 100, "a loop of single reads: $got phones");
	is(audit($node, q{SELECT sum(disclosed) FROM courier_pii.audit_log
		WHERE login_role = 'drip' AND phase <> 'BEGIN'}), '100', 'as recorded');

	# the window belongs to the person, not to the session
	is(error_as($node, 'drip', "SELECT recv_phone $from WHERE id = 1"), 'PI001',
		'a new session has nothing left');
	is(error_as($node, 'drip', "SET ROLE clerk; SELECT recv_phone $from WHERE id = 1"),
		'PI001', 'nor another role');
	$node->restart;
	is(error_as($node, 'drip', "SELECT recv_phone $from WHERE id = 1"), 'PI001',
		'nor after a restart');

	# twenty sessions at once share one window
	my @runs;
	for my $s (1 .. 20)
	{
		my ($in, $o, $e) = ("SET courier_pii.purpose = 'storm';\n"
			. join('', map { "SELECT recv_phone $from WHERE id BETWEEN "
				. ($_ * 20 + 1) . ' AND ' . ($_ * 20 + 20) . ";\n" } 0 .. 19), '', '');
		push @runs, { o => \$o, h => IPC::Run::start(
			[ 'psql', '-XAtq', '-d', login($node, 'storm') ], '<', \$in, '>', \$o, '2>', \$e) };
	}
	my $all = '';
	my $total = 0;
	foreach my $run (@runs)
	{
		IPC::Run::finish($run->{h});
		$total += () = ${ $run->{o} } =~ /139\d{8}/g;
	}
	cmp_ok($total, '<=', 100, "twenty sessions: $total values");
	is(audit($node, q{SELECT sum(disclosed) >= } . $total . q{ AND sum(disclosed) <= 100
		FROM courier_pii.audit_log WHERE login_role = 'storm' AND phase <> 'BEGIN'}),
		't', 'as recorded');
	is(error_as($node, 'storm', "SELECT recv_phone $from WHERE id = 1"), 'PI001',
		'then nothing more');

	$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, 50)});
	($status, $out, $err) = CourierPii::run_as($node, 'tourist',
		"SELECT format('SELECT recv_phone $from WHERE id = %s', i) FROM generate_series(1, $ROWS) i \\gexec",
		on_error_stop => 0);
	is(phones_in($out), 50, 'the day window');
};

subtest 'narrow and wide limits' => sub {
	$node->safe_psql($db, q{
		CREATE ROLE two_limits LOGIN IN ROLE clerk;
		CREATE ROLE newcomer LOGIN IN ROLE reader;
		SELECT courier_pii.set_limit('clerk', 100, NULL, NULL);
		SELECT courier_pii.set_limit('two_limits', 10, NULL, NULL);
	});
	my $own = error_as($node, 'two_limits', "SELECT recv_phone $from WHERE id <= 11");
	ok($own eq '' || $own eq 'PI001', "an own limit beside a role's: " . ($own || 'the wider holds'));
	is(error_as($node, 'clerk', "SELECT recv_phone $from WHERE id <= 100"), '', '100 of 100');
	is(error_as($node, 'clerk', "SELECT recv_phone $from WHERE id <= 101"), 'PI001', '101 of 100');
	is(error_as($node, 'clerk', "SELECT recv_phone, recv_name $from WHERE id <= 51"), 'PI001',
		'the unit is a value, not a row');
	is(query_as($node, 'analyst', 'SELECT count(recv_phone) FROM masked.shipment'), $ROWS,
		'masks are not limited');

	# the limit of the statement is not consumed by what went before
	is(error_as($node, 'clerk', "SELECT recv_phone $from WHERE id <= 90;\n" x 3), '',
		'each statement starts anew');

	# a failed statement counts in the window as well
	$node->append_conf('postgresql.conf', "courier_pii.enforcement = 'warn'");
	$node->reload;
	my ($state, $err) = error_as($node, 'clerk', "SELECT recv_phone $from WHERE id <= 150");
	is($state, '', 'enforcement warn: allowed');
	like($err, qr/WARNING:  PI001: disclosure limit reached/, 'with a warning');
	is(audit($node, q{SELECT outcome, sqlstate, disclosed FROM courier_pii.audit_log
		WHERE login_role = 'clerk' AND phase <> 'BEGIN' ORDER BY seq DESC LIMIT 1}),
		'ok|PI001|150', 'and recorded as over the limit');
};

done_testing();
