
# Maintenance, plans and sizes: whatever the server does with sealed values,
# with the key or without, they stay what they are, and are found and shown
# as before.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('lossless',
	conf => "max_prepared_transactions = 4\nautovacuum = off\nmax_parallel_workers = 4\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $store = $node->{courier_pii}{key_store};

sub sql { return $node->safe_psql($db, $_[0]); }

sql(q{
	CREATE EXTENSION amcheck;
	CREATE ROLE clerk LOGIN; CREATE ROLE analyst LOGIN;
	CREATE TABLE public.parcel (id int PRIMARY KEY, phone text, name text, addr text, note text);
	INSERT INTO public.parcel SELECT i, 13800000000 + i % 5000, '张三' || i % 100, '广东省深圳市南山区科技路' || i || '号', 'note ' || i
	FROM generate_series(1, 20000) i;
	SELECT courier_pii.protect_column('public.parcel', col, class) FROM
		(VALUES ('phone', 'phone'), ('name', 'person_name'), ('addr', 'address'), ('note', 'note')) v (col, class);
	CREATE INDEX parcel_phone ON public.parcel (phone);
	CREATE INDEX parcel_name ON public.parcel USING hash (name);
	CREATE INDEX parcel_tail ON public.parcel (courier_pii.tail4(phone));
	CREATE UNIQUE INDEX parcel_both ON public.parcel (phone, id);
	SELECT courier_pii.create_masked_view('public.parcel');
	GRANT USAGE ON SCHEMA masked TO PUBLIC;
	GRANT SELECT ON masked.parcel TO clerk, analyst;
	SELECT courier_pii.grant_disclosure('clerk', c, 'clear', true) FROM unnest('{phone,person_name,address,note}'::text[]) c;
	SELECT courier_pii.set_limit(r, NULL, NULL, NULL) FROM unnest('{clerk,analyst}'::regrole[]) r});

my $stored_sql = q{SELECT md5(string_agg(p::text, E'\n' ORDER BY id)) FROM public.parcel p};
my $shown_sql = q{SELECT count(*), md5(string_agg(v::text, E'\n' ORDER BY id)) FROM masked.parcel v};
my $search_sql = q{SELECT count(*) FROM masked.parcel WHERE phone = '13800000007'};
my $stored = sql($stored_sql);
my %shown = map { $_ => query_as($node, $_, $shown_sql) } 'clerk', 'analyst';
isnt($shown{clerk}, $shown{analyst}, 'the clerk sees more');

sub unchanged
{
	my ($what) = @_;
	is(sql($stored_sql), $stored, "$what: equal byte for byte");
	is(query_as($node, $_, $shown_sql), $shown{$_}, "$what: shown to the $_ as before") foreach sort keys %shown;
	is(query_as($node, 'clerk', $search_sql), '4', "$what: found");
	return;
}

# ---- maintenance ----

my @maintenance = (
	'ANALYZE public.parcel', 'VACUUM (FULL, ANALYZE) public.parcel',
	'CLUSTER public.parcel USING parcel_phone', 'REINDEX TABLE public.parcel',
	'REINDEX TABLE CONCURRENTLY public.parcel', 'ALTER TABLE public.parcel SET UNLOGGED',
	'ALTER TABLE public.parcel SET LOGGED', 'ALTER TABLE public.parcel ALTER phone SET STORAGE EXTERNAL',
	'CREATE STATISTICS public.parcel_both (dependencies, mcv, ndistinct) ON phone, name FROM public.parcel',
	'VACUUM (PARALLEL 2, ANALYZE) public.parcel');
my $checks = q{SELECT count(bt_index_check(c, true)), count(bt_index_parent_check(c, true, true)) FROM
	unnest('{parcel_pkey,parcel_phone,parcel_tail,parcel_both}'::regclass[]) c};
my $heap = q{SELECT count(*) FROM verify_heapam('public.parcel')};

foreach my $statement (@maintenance)
{
	sql($statement);
	is(sql($stored_sql), $stored, $statement);
}
unchanged('after maintenance');
is(sql($checks), '4|4', 'amcheck accepts the indexes');
is(sql($heap), '0', 'and the table');
is(sql(q{SELECT count(*) FROM pg_stats WHERE tablename = 'parcel' AND (most_common_vals::text || coalesce(histogram_bounds::text, '')) ~ '138000|张三'}),
	'0', 'statistics hold no clear text');
like(sql(q{EXPLAIN (COSTS OFF) SELECT 1 FROM public.parcel WHERE phone = '13800000007'}), qr/Index|Bitmap/, 'indexes are used');

# ---- plans ----

my $force = sql('SHOW server_version_num') >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
my $parallel = "SET $force = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 4;";
my $jit = 'SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0;';
my %queries = (
	'count distinct' => 'SELECT count(DISTINCT phone), count(phone) FROM public.parcel',
	'groups' => 'SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM public.parcel GROUP BY phone) g',
	'a join' => 'SELECT count(*) FROM public.parcel a JOIN public.parcel b ON a.phone = b.phone',
	'a merge join' => 'SET enable_hashjoin = off; SET enable_nestloop = off; SELECT count(*) FROM public.parcel a JOIN public.parcel b ON a.phone = b.phone',
	'sorted groups' => 'SET enable_hashagg = off; SELECT count(*) FROM (SELECT phone FROM public.parcel GROUP BY phone) g',
	'a search' => q{SELECT count(*) FROM public.parcel WHERE phone IN ('13800000007', '13800000008')},
	'tails' => q{SET enable_indexscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM public.parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0007')});
my %expected = map { $_ => sql("SET $force = off; SET max_parallel_workers_per_gather = 0; SET jit = off; $queries{$_}") } keys %queries;
is($expected{'count distinct'}, '5000|20000', 'counted');
is($expected{'a join'}, '80000', 'joined');
is($expected{'a search'}, '8', 'found');
my @settings = ([ 'parallel', $parallel ], [ 'little memory', "SET work_mem = '64kB';" ], [ 'parallel, little memory', "$parallel SET work_mem = '64kB';" ]);
SKIP:
{
	skip('this server has no JIT', 1) unless sql('SELECT pg_jit_available()') eq 't';
	push @settings, [ 'compiled', "$jit" ], [ 'compiled and parallel', "$jit $parallel" ];
	like(sql("$jit EXPLAIN ANALYZE SELECT phone = '13800000007', count(*) FROM public.parcel GROUP BY 1"), qr/JIT:/, 'statements are compiled');
}
foreach my $setting (@settings)
{
	my ($name, $set) = @$setting;
	is(sql("$set $queries{$_}"), $expected{$_}, "$name: $_") foreach sort keys %queries;
	is(query_as($node, $_, "$set $shown_sql"), $shown{$_}, "$name: shown to the $_") foreach sort keys %shown;
	is(query_as($node, 'clerk', "$set $search_sql"), '4', "$name: searched in the view");
}
like(sql("$parallel EXPLAIN (COSTS OFF) $queries{'a join'}"), qr/Gather/, 'the plans were parallel');

# ---- sizes ----

sql(q{
	CREATE TABLE public.large (id int PRIMARY KEY, note courier_pii.note);
	SELECT courier_pii.create_masked_view('public.large');
	GRANT SELECT ON masked.large TO clerk});
my $megabyte = q{repeat('很长的备注, a long note. ', 40000)};
sql(qq{INSERT INTO public.large VALUES (1, $megabyte), (2, ''), (3, NULL), (4, repeat('x', 2000)), (5, repeat('y', 9000))});
is(query_as($node, 'clerk', qq{SELECT id, length(note), md5(note) = md5(CASE id WHEN 1 THEN $megabyte WHEN 2 THEN '' WHEN 4 THEN repeat('x', 2000) WHEN 5 THEN repeat('y', 9000) END)
	FROM masked.large ORDER BY id}) =~ tr/\n/ /r, '1|800000|t 2|0|t 3|| 4|2000|t 5|9000|t', 'large and empty values');
my $directory = $node->{courier_pii}{directory};
sql(qq{
	COPY public.large TO '$directory/large' (FORMAT binary);
	CREATE TABLE public.large_again (LIKE public.large);
	COPY public.large_again FROM '$directory/large' (FORMAT binary);
	UPDATE public.large SET note = note;
	VACUUM FULL public.large});
is(sql(q{SELECT count(*) FROM public.large a JOIN public.large_again b USING (id) WHERE md5(a::text) = md5(b::text)}), '5', 'equal after a binary copy and an update');
sql(q{INSERT INTO public.large VALUES (6, repeat('0123456789', 10000000))});
is(query_as($node, 'clerk', q{SELECT length(note), md5(note) = md5(repeat('0123456789', 10000000)) FROM masked.large WHERE id = 6}), '100000000|t', 'a value of 100 million bytes');
foreach my $bytes (810_000_000, 1_073_741_000)
{
	my ($state, $err) = error_as($node, $superuser, "INSERT INTO public.large VALUES (7, repeat('Z', $bytes))");
	is($state, '54000', "$bytes bytes are refused");
	unlike($err, qr/ZZZ/, 'without their text');
	is(sql('SELECT count(*) FROM public.large'), '6', 'and the server goes on');
}

# ---- prepared transactions ----

my $session = $node->background_psql($db, on_error_stop => 1);
$session->query_safe(q{BEGIN; INSERT INTO public.parcel VALUES (30000, '13900000001', '李四', 'somewhere', 'prepared'); PREPARE TRANSACTION 'one'});
$session->query_safe(q{BEGIN; UPDATE public.parcel SET phone = '13900000002' WHERE id = 1; PREPARE TRANSACTION 'two'});
$session->quit;
sql(q{SELECT courier_pii.new_epoch('phone')});
$node->stop('immediate');
$node->start;
is(sql('SELECT count(*) FROM pg_prepared_xacts'), '2', 'prepared transactions survive a crash');
sql(q{COMMIT PREPARED 'one'});
sql(q{ROLLBACK PREPARED 'two'});
is(query_as($node, 'clerk', q{SELECT phone, name FROM masked.parcel WHERE phone = '13900000001'}), '13900000001|李四', 'what they sealed is found and shown');
is(query_as($node, 'clerk', q{SELECT phone FROM masked.parcel WHERE id = 1}), '13800000001', 'and not what was rolled back');
sql('DELETE FROM public.parcel WHERE id = 30000');
unchanged('after prepared transactions');

# ---- without the key ----

rename "$node->{courier_pii}{key_file}", "$node->{courier_pii}{key_file}.away" or die $!;
$node->restart;
foreach my $statement (@maintenance)
{
	next if $statement =~ /STATISTICS/;
	is($node->psql($db, $statement), 0, "without the key: $statement");
}
is(sql($stored_sql), $stored, 'sealed values are the same');
is(sql($checks), '4|4', 'amcheck needs no key');
is(sql($_ . $queries{'a join'}), '80000', 'nor does a join') foreach '', $parallel;
is(sql('SELECT count(*) FROM public.parcel a JOIN public.parcel b ON a.phone = b.phone WHERE a.id = 7'), '4', 'nor does an index');
is(error_as($node, 'clerk', $shown_sql), 'PI004', 'nothing is shown');
is(error_as($node, $superuser, q{INSERT INTO public.parcel VALUES (40000, '13900000009')}), 'PI004', 'and nothing sealed');
rename "$node->{courier_pii}{key_file}.away", $node->{courier_pii}{key_file} or die $!;
$node->restart;
unchanged('with the key again');

done_testing();
