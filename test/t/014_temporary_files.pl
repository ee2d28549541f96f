
# What is shown in clear is in no temporary file: statements of all kinds that
# sort, hash or store it are stopped in the middle, and the files are searched.
# The same statements over a table in clear show that they would have written it.

use strict;
use warnings;

use CourierPii;
use CourierPiiSession;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 4000;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('temporary', conf => "work_mem = 64kB\nlog_temp_files = 0\nautovacuum = off\nmax_parallel_workers_per_gather = 0\n");

$node->safe_psql($db, qq{
	CREATE ROLE clerk LOGIN;
	CREATE ROLE courier LOGIN;
	CREATE ROLE lister LOGIN;
	CREATE SCHEMA work AUTHORIZATION clerk;
	CREATE SCHEMA tour AUTHORIZATION courier;
	CREATE TABLE public.parcel (id int PRIMARY KEY, name courier_pii.person_name, remark courier_pii.note, grp int, branch text);
	CREATE TABLE public.open_parcel (id int PRIMARY KEY, name text, remark text, grp int, branch text);
	INSERT INTO public.parcel SELECT n, 'Qwxz' || n * 7919 % 100003, '夜航船路' || n || '号 planted-canary-' || n, n % 7, CASE WHEN n > 3900 THEN 'SZ' ELSE 'HZ' END FROM generate_series(1, $ROWS) n;
	INSERT INTO public.open_parcel SELECT n, 'Kwxz' || n * 7919 % 100003, '晓行客路' || n || '号 control-canary-' || n, n % 7, CASE WHEN n > 3900 THEN 'SZ' ELSE 'HZ' END FROM generate_series(1, $ROWS) n;
	GRANT USAGE ON SCHEMA work TO lister;
	SELECT courier_pii.create_masked_view('public.parcel');
	GRANT USAGE ON SCHEMA masked TO PUBLIC;
	GRANT SELECT ON masked.parcel, public.open_parcel TO clerk, courier, lister;
	SELECT courier_pii.set_row_rule('public.parcel', 'clerk', 'all'), courier_pii.set_row_rule('public.parcel', 'lister', 'all');
	SELECT courier_pii.set_row_rule('public.parcel', 'courier', 'all', scope => '{branch = ''SZ''}');
	SELECT courier_pii.grant_disclosure('clerk', c, 'clear'), courier_pii.grant_disclosure('courier', c, 'scoped') FROM unnest('{person_name,note}'::text[]) c;
	SELECT courier_pii.set_limit(r::regrole, NULL, NULL, NULL) FROM unnest('{clerk,courier}'::text[]) r;
	ANALYZE});

my $temporary = join '/', $node->data_dir, 'base', 'pgsql_tmp';
my @CLEAR = ('Qwxz', '夜航船路', 'planted-canary');
my @CONTROL = ('Kwxz', '晓行客路', 'control-canary');

# functions that show, and functions that do the same with the open table
foreach my $of ([ 'shown', 'masked.parcel' ], [ 'open', 'public.open_parcel' ])
{
	my ($kind, $table) = @$of;
	query_as($node, 'clerk', qq{
		CREATE FUNCTION work.query_$kind() RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT p.remark FROM $table p; END';
		CREATE FUNCTION work.next_$kind() RETURNS SETOF text LANGUAGE plpgsql AS 'DECLARE v text; BEGIN FOR v IN SELECT p.remark FROM $table p LOOP RETURN NEXT v; END LOOP; END';
		CREATE FUNCTION work.sql_$kind() RETURNS SETOF text LANGUAGE sql VOLATILE SET search_path = work AS 'SELECT p.remark::text FROM $table p';
		CREATE FUNCTION work.one_$kind(i int) RETURNS text LANGUAGE plpgsql SET search_path = work SET work_mem = '64kB' AS 'BEGIN RETURN (SELECT p.remark FROM $table p WHERE p.id = i); END';
		CREATE FUNCTION work.later_$kind() RETURNS text LANGUAGE plpgsql AS 'DECLARE v text; BEGIN SELECT p.remark INTO v FROM $table p WHERE id = 7; RETURN max(s.x) || pg_sleep(60)::text FROM (SELECT v || g AS x FROM generate_series(1, 4000) g ORDER BY 1) s; END';
		CREATE FUNCTION work.text_$kind() RETURNS text LANGUAGE plpgsql AS 'DECLARE v text; r text; BEGIN SELECT p.remark INTO v FROM $table p WHERE id = 7; EXECUTE format(\$\$SELECT max(s.x) || pg_sleep(60)::text FROM (SELECT %L || g AS x FROM generate_series(1, 4000) g ORDER BY 1) s\$\$, v) INTO r; RETURN r; END'});
}

# %T the relation, %K the kind of function; each stops in pg_sleep or as a cursor
my $rest = 'SELECT pg_sleep(60), s.* FROM (%s OFFSET 0) s';
my %shape = (
	sort => sprintf($rest, 'SELECT lower(name), remark FROM %T ORDER BY remark'),
	'sort by something else' => sprintf($rest, 'SELECT lower(name), remark || 1 FROM %T ORDER BY grp'),
	'incremental sort' => 'SET enable_seqscan = off; ' . sprintf($rest, 'SELECT id / 4000 AS i, remark AS r FROM %T ORDER BY id / 4000, remark'),
	distinct => 'SET enable_hashagg = off; ' . sprintf($rest, 'SELECT DISTINCT name, remark FROM %T'),
	'hashed groups' => 'SET enable_sort = off; ' . sprintf($rest, 'SELECT remark, count(*) FROM %T GROUP BY remark'),
	'grouping sets' => sprintf($rest, 'SELECT name, remark, count(*) FROM %T GROUP BY GROUPING SETS (name, remark)'),
	'ordered aggregate' => q{SELECT length(string_agg(remark || CASE WHEN id = 4000 THEN pg_sleep(60)::text ELSE '' END, ',' ORDER BY remark)) FROM %T},
	'distinct aggregate' => q{SELECT count(DISTINCT remark || CASE WHEN id = 4000 THEN pg_sleep(60)::text ELSE '' END) FROM %T},
	'hash join' => 'SET enable_mergejoin = off; SET enable_nestloop = off; ' . sprintf($rest, 'SELECT a.n, b.r FROM (SELECT name AS n FROM %T OFFSET 0) a JOIN (SELECT name AS n, remark AS r FROM %T OFFSET 0) b USING (n)'),
	'merge join' => 'SET enable_hashjoin = off; SET enable_nestloop = off; ' . sprintf($rest, 'SELECT a.r FROM (SELECT remark AS r FROM %T OFFSET 0) a JOIN (SELECT remark AS r FROM %T OFFSET 0) b USING (r)'),
	window => sprintf($rest, 'SELECT last_value(remark) OVER (PARTITION BY 1) FROM %T'),
	'WITH, kept' => 'WITH c AS MATERIALIZED (SELECT lower(name) AS n, remark FROM %T) SELECT pg_sleep(60), a.* FROM c a WHERE (SELECT count(n) FROM c) > 1',
	'recursive WITH' => 'WITH RECURSIVE r (n, i) AS (SELECT remark, 1 FROM %T UNION ALL SELECT n, i + 1 FROM r WHERE i < 3 AND CASE WHEN i = 2 THEN pg_sleep(60) IS NOT NULL ELSE true END) SELECT count(n) FROM r',
	materialized => 'SET enable_hashjoin = off; SET enable_mergejoin = off; SELECT pg_sleep(60) FROM (SELECT count(*) FROM generate_series(1, 3) g JOIN (SELECT lower(remark) AS r FROM %T OFFSET 0) s ON g::text <> s.r, (SELECT 1 FROM generate_series(1, 2)) t) u, (SELECT remark FROM %T ORDER BY remark OFFSET 0) v',
	union => sprintf($rest, 'SELECT * FROM (SELECT name FROM %T UNION SELECT remark FROM %T) u ORDER BY 1'),
	except => sprintf($rest, 'SELECT * FROM (SELECT remark FROM %T EXCEPT ALL SELECT name FROM %T) u ORDER BY 1'),
	'sets in the output' => sprintf($rest, 'SELECT unnest(ARRAY[name, remark]) FROM %T ORDER BY 1'),
	'a subquery in each row' => sprintf($rest, 'SELECT (SELECT remark FROM %T WHERE id = 7) || g AS x FROM generate_series(1, 4000) g ORDER BY 1'),
	lateral => sprintf($rest, 'SELECT l.* FROM (SELECT remark AS r FROM %T WHERE id < 3 OFFSET 0) v, LATERAL (SELECT v.r || g AS y FROM generate_series(1, 3000) g ORDER BY 1 OFFSET 0) l'),
	'RETURN QUERY' => 'SELECT pg_sleep(60), x FROM work.query_%K() x',
	'RETURN NEXT' => 'SELECT pg_sleep(60), x FROM work.next_%K() x',
	'SQL function' => 'SELECT pg_sleep(60), x FROM work.sql_%K() x',
	'a function in each row' => sprintf($rest, 'SELECT work.one_%K(g) FROM generate_series(1, 4000) g ORDER BY 1'),
	'a later statement of a function' => 'SELECT work.later_%K()',
	'text of a later statement' => 'SELECT work.text_%K()',
	EXECUTE => 'PREPARE p AS SELECT remark, CASE WHEN id = 4000 THEN pg_sleep(60) END FROM %T; EXECUTE p',
	FETCH => 'BEGIN; DECLARE c CURSOR FOR SELECT remark, CASE WHEN id = 4000 THEN pg_sleep(60) END FROM %T; FETCH ALL FROM c',
	'cursor WITH HOLD' => 'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT remark FROM %T; COMMIT; SELECT pg_sleep(60)',
	'FETCH from it' => 'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT remark FROM %T; COMMIT; FETCH ALL FROM c; SELECT pg_sleep(60)',
	'scrolling cursor' => 'BEGIN; DECLARE c SCROLL CURSOR FOR SELECT DISTINCT remark FROM %T; FETCH 2 FROM c; FETCH LAST FROM c; SELECT pg_sleep(60)',
	'loop over a query' => 'DO $$ DECLARE r record; BEGIN FOR r IN SELECT remark FROM %T ORDER BY remark LOOP PERFORM pg_sleep(60); END LOOP; END $$',
	COPY => 'COPY (SELECT remark, pg_sleep(60) FROM (SELECT lower(remark) AS remark FROM %T ORDER BY 1 OFFSET 0) s) TO STDOUT',
);

# run it until it sleeps, and look; which of the texts are in temporary files
sub stop_and_look
{
	my ($role, $sql) = @_;
	my $s = session($node, $role);
	my $pid = ask($s, 'SELECT pg_backend_pid()');

	$s->{out} = $s->{err} = '';
	$s->{in} .= "$sql;\n\\echo done\n";
	my $asleep = '';
	for (1 .. 300)
	{
		$s->{run}->pump_nb;
		$asleep = $node->safe_psql($db, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid");
		last if $asleep eq 't' || $s->{err} =~ /ERROR/;
		select undef, undef, undef, 0.02;
	}
	select undef, undef, undef, 0.05;
	$s->{run}->pump_nb;
	my %seen = (asleep => $asleep, error => $s->{err});
	$seen{files} = [ grep { -s } glob "$temporary/*" ];
	$seen{clear} = -d $temporary ? [ grep_files($temporary, @CLEAR) ] : [];
	$seen{control} = -d $temporary ? [ grep_files($temporary, @CONTROL) ] : [];
	$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
	$s->{run}->pump until $s->{out} =~ /^done$/m;
	ask($s, 'ROLLBACK');
	$seen{after} = ask($s, "SELECT current_setting('work_mem') || ' ' || current_setting('temp_file_limit')");
	bye($s);
	return \%seen;
}

sub shape_of
{
	my ($sql, $relation, $kind) = @_;
	$sql =~ s/%T/$relation/g;
	$sql =~ s/%K/$kind/g;
	return $sql;
}

sub shown_memory
{
	my ($value) = @_;
	$node->safe_psql($db, "ALTER SYSTEM SET courier_pii.shown_memory = '$value'");
	$node->reload;
	wait_until($node, "SELECT setting || unit = '$value' FROM pg_settings WHERE name = 'courier_pii.shown_memory'");
	return;
}

foreach my $name (sort keys %shape)
{
	my $control = stop_and_look('lister', shape_of($shape{$name}, 'public.open_parcel', 'open'));
	cmp_ok(scalar @{ $control->{control} }, '>', 0, "$name writes clear text of an open table")
	  or diag($control->{error});
	my $shown = stop_and_look('clerk', shape_of($shape{$name}, 'masked.parcel', 'shown'));
	is($shown->{asleep}, 't', "$name over a masked view works") or diag($shown->{error});
	is_deeply($shown->{clear}, [], '... and writes none');
	is($shown->{after}, '64kB -1', '... and settings are back after it was cancelled');
}

# a person behind a pool
$node->safe_psql($db, q{
	CREATE ROLE pool LOGIN;
	GRANT SELECT ON masked.parcel TO pool;
	SELECT courier_pii.add_org('HQ', 'head office', 'hq'), courier_pii.hire('S1', 'Clerk', 'clerk', 'HQ', 'service')});
sub as_person
{
	my ($name) = @_;
	my $token = $node->safe_psql($db, q{SELECT courier_pii.make_actor_token('S1')});
	my $sql = shape_of($shape{$name}, 'masked.parcel', 'shown');
	return stop_and_look('pool', "BEGIN; SELECT courier_pii.set_actor('$token'); $sql");
}
foreach my $name ('sort', 'EXECUTE')
{
	my $seen = as_person($name);
	is($seen->{asleep}, 't', "$name for a person behind a pool works") or diag($seen->{error});
	is_deeply([ @{ $seen->{clear} }, @{ $seen->{files} } ], [], '... and writes nothing');
	is($seen->{after}, '64kB -1', '... and settings are back');
}

# more than fits: refused, and nothing is left behind
shown_memory('64kB');
foreach my $name (sort keys %shape)
{
	my $seen = stop_and_look('clerk', shape_of($shape{$name}, 'masked.parcel', 'shown'));
	like($seen->{error}, qr/ERROR:  53400: values shown in clear do not fit into memory\nDETAIL:  .*"courier_pii\.shown_memory" \(64 kB\).*\nHINT: /, "$name is refused");
	is($seen->{after}, '64kB -1', '... and settings are back');
}

like(as_person('sort')->{error}, qr/53400: values shown in clear/, 'a person behind a pool is refused, too');

# masks and clear text in one list
foreach my $name ('sort', 'hash join', 'WITH, kept', 'EXECUTE', 'FETCH', 'cursor WITH HOLD')
{
	my $seen = stop_and_look('courier', shape_of($shape{$name}, 'masked.parcel', 'shown'));
	like($seen->{error}, qr/53400: values shown in clear/, "$name with some rows in clear is refused");
	is_deeply($seen->{clear}, [], '... and writes none');
}

# people to whom nothing is shown in clear, and sealed values below the door: as ever
foreach my $name ('sort', 'hash join', 'EXECUTE', 'cursor WITH HOLD')
{
	my $seen = stop_and_look('lister', shape_of($shape{$name}, 'masked.parcel', 'shown'));
	is($seen->{asleep}, 't', "$name of masks works");
	cmp_ok(scalar @{ $seen->{files} }, '>', 0, '... and writes temporary files');
	is_deeply($seen->{clear}, [], '... without clear text');
}
my $masks = stop_and_look('courier', 'PREPARE p AS SELECT remark, CASE WHEN id = 3900 THEN pg_sleep(60) END FROM masked.parcel WHERE id <= 3900; EXECUTE p');
is($masks->{asleep}, 't', 'EXECUTE that happens to give masks only works');
cmp_ok(scalar @{ $masks->{files} }, '>', 0, '... and writes temporary files');
my $sealed = stop_and_look('clerk', 'BEGIN; DECLARE c CURSOR FOR SELECT remark, name FROM masked.parcel ORDER BY grp; FETCH 5 FROM c; SELECT pg_sleep(60)');
is($sealed->{asleep}, 't', 'sealed values are sorted below the door');
cmp_ok(scalar @{ $sealed->{files} }, '>', 0, '... in temporary files');
is_deeply($sealed->{clear}, [], '... without clear text');
is(query_as($node, 'clerk', q{SELECT count(remark), max(length(remark)) > 9 FROM (SELECT remark FROM masked.parcel ORDER BY grp OFFSET 0) s}), "$ROWS|t", 'all of them');
is(query_as($node, 'clerk', q{
	DO $$
	DECLARE a record; b record; n int := 0;
	BEGIN
		FOR a IN SELECT name FROM masked.parcel ORDER BY grp LOOP
			FOR b IN SELECT remark FROM masked.parcel ORDER BY grp LOOP
				n := n + 1;
				EXIT WHEN n % 10 = 0;
			END LOOP;
			EXIT WHEN n > 20;
		END LOOP;
		PERFORM set_config('regress.n', n::text, false);
	END $$;
	SELECT current_setting('regress.n')}), '30', 'a sort of sealed values that begins after clear values were shown');

# the session goes on, whatever happened
my $s = session($node, 'clerk');
my $big = 'SELECT remark FROM masked.parcel ORDER BY remark';
my $settings = q{SELECT current_setting('work_mem') || ' ' || current_setting('temp_file_limit')};
my $plain_sort = 'SELECT count(*) FROM (SELECT g FROM generate_series(1, 20000) g ORDER BY md5(g::text) OFFSET 0) s';
ask($s, 'BEGIN');
ask($s, 'SAVEPOINT a');
is(ask($s, $big), '53400', 'refused in a transaction');
ask($s, 'ROLLBACK TO a');
is(ask($s, $settings), '64kB -1', 'settings after the savepoint');
is(ask($s, $plain_sort), '20000', 'what is not ours is written as ever');
ask($s, 'DECLARE c CURSOR FOR SELECT lower(remark) FROM masked.parcel WHERE id < 100 ORDER BY 1');
ask($s, 'FETCH 3 FROM c');
is(ask($s, $plain_sort), '20000', 'also while a cursor holds clear values');
is(ask($s, $settings), '64kB -1', 'settings beside the cursor');
like(ask($s, 'FETCH ALL FROM c'), qr/planted-canary-9\d/, 'which goes on');
ask($s, 'COMMIT');
is(ask($s, $settings), '64kB -1', 'settings after the transaction');
ask($s, q{CREATE FUNCTION work.caught() RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			RETURN QUERY SELECT p.remark FROM masked.parcel p ORDER BY 1;
		EXCEPTION WHEN configuration_limit_exceeded THEN
			RETURN NEXT SQLERRM;
		END;
	END $$});
is(ask($s, 'SELECT x FROM work.caught() x'), 'values shown in clear do not fit into memory', 'a function can handle it');
is(ask($s, $settings), '64kB -1', 'settings after that');
ask($s, q{CREATE FUNCTION work.sets() RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN
		SET LOCAL work_mem = '1MB';
		RETURN QUERY SELECT p.remark FROM masked.parcel p WHERE p.id < 9 ORDER BY 1;
	END $$});
ask($s, 'BEGIN');
is(ask($s, 'SELECT count(x) FROM (SELECT * FROM work.sets() x ORDER BY 1) s'), '8', 'a function that sets work_mem');
is(ask($s, $settings), '1MB -1', 'keeps it for the transaction');
ask($s, 'COMMIT');
is(ask($s, $settings), '64kB -1', 'and no longer');
bye($s);

# a cursor that was filled with clear values, read when there is less room, and in a role that may see none
shown_memory('1024kB');
$node->safe_psql($db, 'GRANT lister TO clerk');
my $held = session($node, 'clerk');
my $held_pid = ask($held, 'SELECT pg_backend_pid()');
ask($held, 'BEGIN');
ask($held, 'DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT remark FROM masked.parcel ORDER BY remark');
ask($held, 'COMMIT');
ask($held, 'SET ROLE lister');
like(ask($held, 'FETCH ALL FROM c'), qr/planted-canary-4000/, 'a held cursor is read in another role');
shown_memory('64kB');
is(ask($held, 'FETCH FIRST FROM c') =~ /planted/ ? ask($held, 'FETCH ALL FROM c') : '', '53400', 'and refused when there is less room');
bye($held);
unlike(slurp_file($node->logfile), qr/pgsql_tmp$held_pid\./, 'without a temporary file');

# the administrator's own limit holds
$node->safe_psql($db, q{ALTER ROLE clerk SET temp_file_limit = '100kB'});
my $message = message_as($node, 'clerk', 'SELECT name, remark FROM masked.parcel ORDER BY grp');
like($message, qr/temporary file size exceeds "?temp_file_limit"? \(100kB\)/, 'sealed values keep to temp_file_limit');
$message = message_as($node, 'clerk', $big);
like($message, qr/values shown in clear do not fit/, 'clear ones to shown_memory');

# other ways into files: these functions are given masks
unlike(query_as($node, 'clerk', q{LISTEN c; SELECT pg_notify('c', remark) FROM masked.parcel WHERE id = 7}), qr/planted/, 'no clear text in notifications');
query_as($node, 'clerk', q{SELECT pg_logical_emit_message(false, 'c', remark) FROM masked.parcel WHERE id = 7});
query_as($node, 'clerk', q{SELECT lo_from_bytea(0, convert_to(remark, 'UTF8')) FROM masked.parcel WHERE id = 7});
$node->safe_psql($db, 'CHECKPOINT');
$node->stop;
is_deeply([ grep_files($node->data_dir, @CLEAR) ], [], 'none is in WAL, large objects or notifications');
is_deeply([ grep { index(slurp_file($node->logfile), $_) >= 0 } @CLEAR ], [], 'nor in the log');

done_testing();
