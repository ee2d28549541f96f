
# Planted texts: none of them is in any file of the server, in its memory's
# image on disk, its log or its views, after it was sealed, shown, sorted,
# joined, updated and dumped.  For sorts over values that are shown already see
# 014_temporary_files.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 60;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('canary', allows_streaming => 1, preload => 'pg_stat_statements',
	conf => "restart_after_crash = on\nautovacuum = off\nlog_temp_files = 0\nwal_recycle = off\nfull_page_writes = on\nlog_statement = none\npg_stat_statements.track = all\nlog_min_duration_statement = 0\nlog_parameter_max_length = 0\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $directory = $node->{courier_pii}{directory};

# rows from files, by COPY into protected columns: the texts never were in the database in clear
$node->safe_psql($db, q{
	CREATE EXTENSION pg_stat_statements;
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.parcel (id int PRIMARY KEY, phone courier_pii.phone, name courier_pii.person_name, addr courier_pii.address, remark courier_pii.note);
	CREATE INDEX ON public.parcel (phone);
	CREATE INDEX ON public.parcel (courier_pii.tail4(phone));
	SELECT courier_pii.create_masked_view('public.parcel');
	GRANT USAGE ON SCHEMA masked TO PUBLIC;
	GRANT SELECT, INSERT, UPDATE ON masked.parcel TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', c, 'clear', true) FROM unnest('{phone,person_name,address,note}'::text[]) c;
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});
my @canaries;
my $copy = "COPY public.parcel FROM STDIN;\n";
foreach my $n (1 .. 3000)
{
	my $phone = sprintf '139%08d', 41000000 + $n * 7;
	my $remark = "planted-canary-$n-text";
	my $name = "Qwxz" . join '', map { chr(97 + ($n * 31 + $_ * 7) % 26) } 1 .. 6;
	push @canaries, $phone, $remark, $name if $n <= 40 || $n % 500 == 0;
	$copy .= "$n\t$phone\t$name\t广东省深圳市南山区夜航船路${n}号\t$remark\n";
}
$node->safe_psql($db, "$copy\\.\n");
push @canaries, '夜航船路';

# show, search, sort and join, with little memory
my $session = $node->background_psql($db, on_error_stop => 1, extra_params => [ '-U', 'clerk' ]);
$session->query_safe("SET work_mem = '64kB'; SET enable_hashagg = off");
my $first = $session->query_safe(q{SELECT phone, name, remark FROM masked.parcel WHERE id = 7});
like($first, qr/planted-canary-7-text/, 'a canary is shown');
$session->query_safe(q{SELECT count(*) FROM (SELECT DISTINCT phone, name FROM masked.parcel ORDER BY 1) s});
$session->query_safe(q{SELECT count(*) FROM masked.parcel a JOIN masked.parcel b ON a.phone = b.phone});
$session->query_safe(qq{SELECT id FROM masked.parcel WHERE phone = '$canaries[0]'});
$session->query_safe(qq{PREPARE p(text) AS SELECT id, phone FROM masked.parcel WHERE phone = \$1; EXECUTE p('$canaries[3]')});
$session->query_safe(qq{UPDATE masked.parcel SET remark = 'planted-canary-5-text', phone = '13941000777' WHERE id = 9});
push @canaries, '13941000777';

my $activity = $node->safe_psql($db, q{SELECT string_agg(query, E'\n') FROM pg_stat_activity});
my $statements = $node->safe_psql($db, q{SELECT string_agg(query, E'\n') FROM pg_stat_statements});
isnt($activity, '', 'statements are in pg_stat_activity');
is_deeply([ grep { index($statements, $_) >= 0 } @canaries ], [], 'pg_stat_statements has no canary');
like($statements, qr/masked\.parcel/, 'but the statements');
is_deeply([ grep { index($activity, $_) >= 0 } @canaries ], [], 'nor has pg_stat_activity');

my $temporary = join '/', $node->data_dir, 'base', 'pgsql_tmp';
# a cursor keeps its sorted rows in a temporary file while we look
my $spill = $node->background_psql($db, on_error_stop => 1);
$spill->query_safe(q{SET work_mem = '64kB'; BEGIN; DECLARE c CURSOR FOR SELECT a.phone, a.name, a.remark, b.addr FROM public.parcel a CROSS JOIN (SELECT addr FROM public.parcel LIMIT 3) b ORDER BY a.name});
$spill->query_safe('FETCH 5 FROM c');
my @temp = glob "$temporary/*";
cmp_ok(scalar @temp, '>', 0, 'rows are in a temporary file');
is_deeply([ grep_files($temporary, @canaries) ], [], 'sealed');
$spill->quit;

# what an idle backend that sealed and showed keeps in memory
SKIP:
{
	skip('gcore is not installed', 1) if system('command -v gcore >/dev/null 2>&1') != 0;
	my $worker = $node->background_psql($db, on_error_stop => 1);
	my $pid = $worker->query_safe('SELECT pg_backend_pid()');
	$worker->query_safe('CREATE TABLE public.again (LIKE public.parcel); INSERT INTO public.again SELECT * FROM public.parcel; SELECT count(*) FROM public.again a JOIN public.parcel b USING (phone)');
	my $ok = system("gcore -o '$directory/core' $pid >/dev/null 2>&1") == 0 && -s "$directory/core.$pid";
	skip('gcore cannot read the process', 1) unless $ok;
	my $image = slurp_file("$directory/core.$pid");
	is_deeply([ grep { index($image, $_) >= 0 } @canaries ], [], 'the image of a backend that sorted and joined sealed values has none');
	unlink "$directory/core.$pid";
	$worker->quit;
}
$session->quit;

# a backend that shows has clear text in its memory: it leaves no core dump, and
# the server's own account cannot read it
SKIP:
{
	skip('no /proc', 5) unless -r "/proc/$$/limits";
	my $reader = $node->background_psql($db, on_error_stop => 1, extra_params => [ '-U', 'clerk' ]);
	my $pid = $reader->query_safe('SELECT pg_backend_pid()');
	isnt($reader->query_safe('SELECT min(phone) FROM masked.parcel'), '', 'a clerk reads');
	like(slurp_file("/proc/$pid/limits"), qr/Max core file size\s+0\s/, 'a backend that shows may write no core dump');
	is((stat "/proc/$pid/environ")[4], 0, 'and is closed to the account that it runs under');
	kill 'ABRT', $pid;
	my $gone = 0;
	for (1 .. 600)
	{
		my ($status, $count) = $node->psql($db, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid");
		$gone = $status == 0 && $count eq '0';
		last if $gone;
		select undef, undef, undef, 0.1;
	}
	ok($gone, 'when it dies');
	my @cores = grep { /core/ && -f } glob($node->data_dir . "/*core* " . $node->basedir . '/*core*');
	is_deeply(\@cores, [], 'there is none');
	eval { $reader->quit };
}

$node->safe_psql('postgres', 'CHECKPOINT');
command_ok([ 'pg_dump', '-Fc', '-Z0', '-d', $node->connstr($db), '-f', "$directory/dump" ], 'a dump');
$node->backup('copy');
is_deeply([ grep_files($directory, @canaries) ], [], 'none is in dump, audit spool or key store');
is_deeply([ grep_files($node->backup_dir, @canaries) ], [], 'none is in a base backup');
flush_audit($node);
$node->stop;
is_deeply([ grep_files($node->data_dir, @canaries) ], [], 'none is in data files, WAL or statistics');
my @logged = grep { index(slurp_file($node->logfile), $_) >= 0 } @canaries;
is_deeply(\@logged, [], 'none is in the server log') or diag(grep { /$logged[0]/ } split /^/m, slurp_file($node->logfile));

done_testing();
