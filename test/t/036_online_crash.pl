
# A column is protected online and resealed while clients write to its table;
# both are cancelled and killed with SIGKILL at random moments.  Called again
# they go on, no value is lost or mixed up, and afterwards no clear text is in
# the table's file.  Then a job is held in each of its phases, and its backend,
# its index worker or the whole server is killed there.  COURIER_PII_ONLINE_KILLS sets how often each is killed.

use strict;
use warnings;

use CourierPii;
use CourierPiiJobs;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

my $KILLS = $ENV{COURIER_PII_ONLINE_KILLS} // 4;
my $ROWS = 40000;

my $node = CourierPii->new_node('online',
	conf => "restart_after_crash = on\nautovacuum = off\nlog_min_messages = fatal\ncheckpoint_timeout = 1h\n");
my $db = $CourierPii::DATABASE;
my $jobs = CourierPiiJobs->new($node, $db);

# a number says what its row's phone must be: whoever changes one changes both
$node->safe_psql(
	$db, qq{
	CREATE TABLE parcel (id int PRIMARY KEY, n bigint NOT NULL, phone text NOT NULL);
	INSERT INTO parcel SELECT i, 13800000000 + i, 13800000000 + i FROM generate_series(1, $ROWS) i;
	CREATE INDEX parcel_phone ON parcel (phone);
	CREATE ROLE checker LOGIN;
	GRANT SELECT ON parcel TO checker;
	SELECT courier_pii.grant_disclosure('checker', 'phone', 'clear', true);
	SELECT courier_pii.set_limit('checker', NULL, NULL, NULL);
	VACUUM ANALYZE parcel;
});
my $directory = PostgreSQL::Test::Utils::tempdir('online_writers');

# changes rows until it is told to stop; its connection may be lost at any time
sub writer
{
	my ($number) = @_;
	srand($number * 7919 + $$);
	while (!-e "$directory/stop")
	{
		my $sql = '';
		for (1 .. 20)
		{
			my $id = 1 + int rand $ROWS;
			my $n = 13900000000 + int rand 1e8;
			$sql .= "UPDATE parcel SET n = $n, phone = '$n' WHERE id = $id;\n"
			  . "BEGIN; UPDATE parcel SET phone = '1' WHERE id = $id; ROLLBACK;\n";
		}
		$jobs->quiet($sql);
	}
	POSIX::_exit(0);
}

my @writers;
for my $number (1 .. 2)
{
	my $pid = fork();
	writer($number) if $pid == 0;
	push @writers, $pid;
}

my $times = $jobs->disturbed($KILLS, 'stat_progress_protect', "CALL courier_pii.protect_column_online('parcel', 'phone', 'phone', 300)");
cmp_ok($times, '>=', 0, "protected in the end, disturbed $times times");

# values of an older epoch, then to the new one
my ($rc) = $node->psql($db, q{SELECT courier_pii.new_epoch('phone')});
is($rc, 0, 'a new epoch');
$times = $jobs->disturbed($KILLS, 'stat_progress_reseal', "CALL courier_pii.reseal('parcel', 'phone', 200, 5)");
cmp_ok($times, '>=', 0, "resealed in the end, disturbed $times times");

open my $stop, '>', "$directory/stop" or die $!;
close $stop;
waitpid($_, 0) for @writers;

is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.column_job'), '0', 'no job is left');
is($node->safe_psql($db, 'SELECT count(*) FROM parcel'), $ROWS, 'no row is lost');
is( $node->safe_psql($db, 'SELECT count(*) FROM parcel WHERE phone::text <> n::text', extra_params => [ '-U', 'checker' ]),
	'0', 'every row has the phone that was written last');
is( $node->safe_psql($db, 'SELECT count(DISTINCT courier_pii.sealed_epoch(phone)) FROM parcel'),
	'1', 'all values are of one epoch');
is( $node->safe_psql($db, q{SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'parcel'::regclass AND attnum > 0 AND NOT attisdropped}),
	'id,n,phone', 'nothing of the job is left in the table');
is( $node->safe_psql($db, q{SELECT count(*) FROM pg_index WHERE indrelid = 'parcel'::regclass AND indisvalid}),
	'2', 'both indexes are there');

my $left = () = $jobs->files('parcel') =~ /1[39]\d{9}/g;
is($left, 0, 'no clear phone is in the table file');

# ---- killed in a phase that it is held in ----

my $call = q{CALL courier_pii.protect_column_online('second', 'phone', 'phone', 200)};

$node->safe_psql(
	$db, qq{
	CREATE TABLE second (id int PRIMARY KEY, n bigint NOT NULL, phone text NOT NULL);
	INSERT INTO second SELECT i, 13800000000 + i, 13800000000 + i FROM generate_series(1, $ROWS / 2) i;
	CREATE INDEX second_phone ON second (phone);
	GRANT SELECT ON second TO checker;
	VACUUM ANALYZE second});
$jobs->share(0);
foreach my $how ('its backend is killed', 'the server is stopped')
{
	my $child = $jobs->call($call);
	my $job = $jobs->soon(q{SELECT pid FROM courier_pii.stat_progress_protect WHERE phase = 'copying' AND rows_done > 0 AND pid IS NOT NULL});
	$jobs->end($how, $job);
	waitpid $child, 0;
	is($jobs->soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'copying', "copying when $how");
}
$jobs->share(100);
foreach my $how ('its worker is killed', 'its backend is killed', 'the server is killed')
{
	my $looker = $jobs->look_on();
	my $child = $jobs->call($call);
	my $job = $jobs->soon(q{SELECT p.pid FROM courier_pii.stat_progress_protect p WHERE p.phase = 'indexing' AND EXISTS
		(SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock')});
	$jobs->end($how, $job);
	waitpid $child, 0;
	eval { $looker->quit };
	is($jobs->soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'indexing', "indexing when $how");
}
my $looker = $jobs->look_on();
my $child = $jobs->call($call);
$jobs->soon(q{SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock'});
$jobs->share(0);
$looker->quit;
foreach my $how ('its backend is killed', 'the server is stopped')
{
	$child = $jobs->call($call) unless defined $child;
	my $job = $jobs->soon(q{SELECT p.pid FROM courier_pii.stat_progress_protect p JOIN pg_stat_activity a USING (pid) WHERE p.phase = 'wiping' AND a.wait_event_type = 'Extension'});
	$jobs->end($how, $job);
	waitpid $child, 0;
	undef $child;
	is($jobs->soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'wiping', "wiping when $how");
}
$jobs->share(100);
$node->safe_psql($db, q{CALL courier_pii.protect_column_online('second', 'phone', 'phone')});
is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.column_job'), '0', 'in the end no job is left');
is($node->safe_psql($db, 'SELECT count(*) FROM second WHERE phone::text = n::text', extra_params => [ '-U', 'checker' ]), $ROWS / 2, 'every value is right');
is($node->safe_psql($db, q{SELECT string_agg(c.relname || ' ' || i.indisvalid, ',' ORDER BY c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'second'::regclass}),
	'second_phone true,second_pkey true', 'and the indexes');
is($node->safe_psql($db, q{SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'second'::regclass AND attnum > 0 AND NOT attisdropped}), 'id,n,phone', 'nothing of the job is left in the table');
$left = () = $jobs->files('second') =~ /138\d{8}/g;
is($left, 0, 'no clear phone is in its file');

$node->stop;
done_testing();
