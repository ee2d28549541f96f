# Columns that foreign keys connect are protected online while clients insert,
# change and delete rows on both sides of the keys.  The job is cancelled and
# killed at random moments and in each of its phases, and goes on with a CALL
# for any of the columns.  Afterwards no row refers to nothing, no value is
# lost, the keys are as before, and no clear text is in any of the files.
# COURIER_PII_ONLINE_KILLS sets how often it is killed at random.

use strict;
use warnings;

use CourierPii;
use CourierPiiJobs;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

my $KILLS = $ENV{COURIER_PII_ONLINE_KILLS} // 4;
my $ROWS = 20000;

my $node = CourierPii->new_node('keys',
	conf => "restart_after_crash = on\nautovacuum = off\nlog_min_messages = error\nlog_min_error_statement = panic\ncheckpoint_timeout = 1h\n");
my $db = $CourierPii::DATABASE;
my $jobs = CourierPiiJobs->new($node, $db);

# a waybill's n says what its number must be; the first rows nobody changes
sub tables
{
	my ($schema) = @_;
	$node->safe_psql(
		$db, qq{
	CREATE SCHEMA $schema;
	SET search_path = $schema;
	CREATE TABLE waybill (id int PRIMARY KEY, n bigint NOT NULL, waybill_no varchar(20) NOT NULL UNIQUE,
		return_of text CONSTRAINT waybill_return REFERENCES waybill (waybill_no) ON UPDATE CASCADE ON DELETE SET NULL);
	CREATE TABLE tracking (id bigserial PRIMARY KEY, n bigint, waybill_no text NOT NULL CONSTRAINT tracking_no REFERENCES waybill (waybill_no) ON UPDATE CASCADE ON DELETE CASCADE);
	CREATE INDEX tracking_by_no ON tracking (waybill_no);
	CREATE TABLE scan (id bigserial, day int NOT NULL, waybill_no char(20) CONSTRAINT scan_no REFERENCES waybill (waybill_no) ON UPDATE CASCADE ON DELETE SET NULL) PARTITION BY LIST (day);
	CREATE TABLE scan_1 PARTITION OF scan FOR VALUES IN (1);
	CREATE TABLE scan_2 PARTITION OF scan FOR VALUES IN (2);
	CREATE INDEX scan_by_no ON scan (waybill_no);
	INSERT INTO waybill SELECT i, 10000000000 + i, 'SF' || 10000000000 + i, CASE WHEN i % 100 = 0 THEN 'SF' || 9999999999 + i END FROM generate_series(1, $ROWS) i;
	INSERT INTO tracking (n, waybill_no) SELECT 10000000001 + i % $ROWS, 'SF' || 10000000001 + i % $ROWS FROM generate_series(1, 2 * $ROWS) i;
	INSERT INTO scan (day, waybill_no) SELECT 1 + i % 2, 'SF' || 10000000001 + i % $ROWS FROM generate_series(1, $ROWS) i;
	GRANT USAGE ON SCHEMA $schema TO checker;
	GRANT SELECT ON ALL TABLES IN SCHEMA $schema TO checker;
	CREATE TABLE public.keys_$schema AS SELECT conrelid::regclass::text AS tbl, conname, pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE contype = 'f' AND connamespace = '$schema'::regnamespace;
	});
	$node->safe_psql($db, 'VACUUM ANALYZE');
	return;
}

$node->safe_psql($db, q{CREATE ROLE checker LOGIN;
	SELECT courier_pii.grant_disclosure('checker', 'waybill_no', 'clear', true);
	SELECT courier_pii.set_limit('checker', NULL, NULL, NULL)});
tables('first');
my $directory = PostgreSQL::Test::Utils::tempdir('online_writers');

# writes on both sides until it is told to stop; its connection may be lost at any time
sub writer
{
	my ($number) = @_;
	srand($number * 7919 + $$);
	my $new = $number * 10_000_000;
	while (!-e "$directory/stop")
	{
		my $sql = "SET search_path = first;\n";
		for (1 .. 10)
		{
			my $id = 1001 + int rand($ROWS - 1000);
			my $n = 20000000000 + int rand 1e9;
			$new++;
			# parent and children, in this order; children of another; a row that refers to nothing
			$sql .= "BEGIN; INSERT INTO waybill (id, n, waybill_no) VALUES ($new, $n, 'SF$n'); INSERT INTO tracking (n, waybill_no) VALUES ($n, 'SF$n'), ($n, 'SF$n');"
			  . " INSERT INTO scan (day, waybill_no) VALUES (1, 'SF$n'); COMMIT;\n"
			  . sprintf("INSERT INTO tracking (n, waybill_no) VALUES (0, 'SF%d');\n", 10000000001 + int rand 1000)
			  . "INSERT INTO tracking (n, waybill_no) VALUES (-1, 'SF3$n');\n"
			  . "BEGIN; UPDATE waybill SET n = $n + 1, waybill_no = 'SF" . ($n + 1) . "' WHERE id = $id; INSERT INTO tracking (n, waybill_no) VALUES (1, 'SF" . ($n + 1) . "'); "
			  . (rand() < 0.2 ? 'ROLLBACK' : 'COMMIT') . ";\n";
			$sql .= "DELETE FROM waybill WHERE id = " . (1001 + int rand($ROWS - 1000)) . ";\n" if rand() < 0.3;
		}
		$jobs->quiet($sql);
	}
	POSIX::_exit(0);
}

# all that must hold, whatever was done to the job
sub check
{
	my ($schema) = @_;
	my $as = sub { $node->safe_psql($db, "SET search_path = $schema; $_[0]", extra_params => [ '-U', 'checker' ]) };

	is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.column_job'), '0', 'no job is left');
	is( $node->safe_psql($db, qq{SELECT string_agg(DISTINCT attname, ',') FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = '$schema'::regnamespace AND relkind IN ('r', 'p'))
			AND attnum > 0 AND NOT attisdropped}),
		'day,id,n,return_of,waybill_no', 'nothing of the job is left in the tables');
	is( $node->safe_psql($db, qq{SET search_path = $schema; SELECT count(*) FROM (SELECT tbl, conname, def FROM public.keys_$schema EXCEPT
			SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND connamespace = '$schema'::regnamespace AND convalidated) x}),
		'0', 'every key is there and valid');
	is($as->(qq{SELECT count(*) FROM tracking t WHERE NOT EXISTS (SELECT 1 FROM waybill w WHERE w.waybill_no = t.waybill_no)}), '0', 'no row refers to nothing');
	is($as->(qq{SELECT count(*) FROM scan t WHERE waybill_no IS NOT NULL AND NOT EXISTS (SELECT 1 FROM waybill w WHERE w.waybill_no = t.waybill_no)}), '0', 'nor does one of a partition');
	is($as->(qq{SELECT count(*) FROM waybill t WHERE return_of IS NOT NULL AND NOT EXISTS (SELECT 1 FROM waybill w WHERE w.waybill_no = t.return_of)}), '0', 'nor one of the table itself');
	is($as->(q{SELECT count(*) FROM tracking WHERE n = -1}), '0', 'no row came in that referred to nothing');
	is($as->(q{SELECT count(*) FROM waybill WHERE waybill_no::text <> 'SF' || n}), '0', 'every waybill has the number that was written last');
	is($as->(q{SELECT count(*) || ' ' || count(DISTINCT waybill_no) FROM waybill WHERE id <= 1000}), '1000 1000', 'the rows that nobody changed are there');
	is($as->(q{SELECT count(*) FROM tracking WHERE n BETWEEN 10000000001 AND 10000001000 AND waybill_no::text = 'SF' || n}), '2000', 'and so are those that refer to them');
	my $left = () = $jobs->files(map { "$schema.$_" } 'waybill', 'waybill_waybill_no_key', 'tracking', 'tracking_by_no', 'scan_1', 'scan_2') =~ /SF\d{6}/g;
	is($left, 0, 'no clear number is in any of the files');
	return;
}

# ---- killed at random, under writers ----

my @writers;
for my $number (1 .. 3)
{
	my $pid = fork();
	writer($number) if $pid == 0;
	push @writers, $pid;
}
# any of the columns stands for all of them
my @calls = map { "CALL courier_pii.protect_column_online('first.$_', 'waybill_no', 300)" } "waybill', 'waybill_no", "tracking', 'waybill_no", "waybill', 'return_of", "scan', 'waybill_no";
s/', 300\)/', batch_rows => 300)/ foreach @calls;
my $times = $jobs->disturbed($KILLS, 'stat_progress_protect', @calls);
cmp_ok($times, '>=', 0, "protected in the end, disturbed $times times");

# sealed anew, too: rows that refer to a value stay as they are, and find it
is(($node->psql($db, q{SELECT courier_pii.new_epoch('waybill_no')}))[0], 0, 'a new epoch');
$times = $jobs->disturbed($KILLS, 'stat_progress_reseal', q{CALL courier_pii.reseal('first.waybill', 'waybill_no', 200)});
cmp_ok($times, '>=', 0, "resealed in the end, disturbed $times times");

open my $stop, '>', "$directory/stop" or die $!;
close $stop;
waitpid($_, 0) for @writers;
check('first');
is( $node->safe_psql($db, 'SELECT count(DISTINCT courier_pii.sealed_epoch(waybill_no)) FROM first.waybill'),
	'1', 'all numbers of waybills are of one epoch');
unlike(slurp_file($node->logfile), qr/waits for AccessExclusiveLock/,
	'no writer was in a deadlock with the job');

# ---- killed in a phase that it is held in ----

tables('second');
@calls = map { "CALL courier_pii.protect_column_online('second.$_', 'waybill_no', 200)" } "tracking', 'waybill_no", "waybill', 'waybill_no";
my $progress = 'courier_pii.stat_progress_protect';
$jobs->share(0);
foreach my $how ('its backend is killed', 'the server is stopped')
{
	my $child = $jobs->call($calls[0]);
	my $job = $jobs->soon("SELECT pid FROM $progress WHERE phase = 'copying' AND rows_done > 0 AND pid IS NOT NULL LIMIT 1");
	$jobs->end($how, $job);
	waitpid $child, 0;
	is($jobs->soon("SELECT count(*) FROM $progress WHERE phase = 'copying'"), '4', "copying when $how");
}
$jobs->share(100);
# the last of them: the others are filled
foreach my $how ('its worker is killed', 'the server is killed')
{
	my $looker = $jobs->look_on();
	my $child = $jobs->call($calls[1]);
	my $job = $jobs->soon("SELECT p.pid FROM $progress p WHERE p.phase = 'indexing' AND EXISTS
		(SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock') LIMIT 1");
	$jobs->end($how, $job);
	waitpid $child, 0;
	eval { $looker->quit };
	is($jobs->soon("SELECT count(*) FROM $progress WHERE phase = 'indexing'"), '4', "indexing when $how");
}
# somebody has read one of the tables: the job asks for all of them again and again
foreach my $how ('the statement is cancelled', 'its backend is killed')
{
	my $holder = $node->background_psql($db, on_error_stop => 0);
	$holder->query('BEGIN');
	$holder->query('SELECT 1 FROM second.scan_2 LIMIT 1');
	my $child = $jobs->call($calls[0]);
	my $job = $jobs->soon("SELECT p.pid FROM $progress p JOIN pg_locks l USING (pid) WHERE l.mode = 'AccessExclusiveLock' AND NOT l.granted LIMIT 1");
	my $longest = 0;
	for my $i (1 .. 40)
	{
		my $began = time;
		$node->safe_psql($db, "BEGIN; INSERT INTO second.waybill (id, n, waybill_no) VALUES (500000 + $i, 1, 'SF50000000$i'); INSERT INTO second.tracking (n, waybill_no) VALUES (1, 'SF50000000$i');"
			. " DELETE FROM second.waybill WHERE id = 500000 + $i; COMMIT");
		$longest = time - $began if time - $began > $longest;
	}
	cmp_ok($longest, '<', 2, sprintf 'writers wait no more than a try (here %.1f s)', $longest);
	$jobs->end($how, $job);
	waitpid $child, 0;
	eval { $holder->quit };
	is($jobs->soon("SELECT count(*) FROM $progress WHERE phase = 'indexing'"), '4', "about to swap when $how");
}
is($node->safe_psql($db, q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'second.tracking'::regclass AND atttypid = 'text'::regtype AND NOT attisdropped}), '1', 'none of them was swapped alone');
my $looker = $jobs->look_on();
my $child = $jobs->call($calls[0]);
$jobs->soon(q{SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock'
	UNION SELECT 1 FROM pg_constraint WHERE conname = 'tracking_no' AND conrelid = 'second.tracking'::regclass AND oid > (SELECT max(oid) FROM pg_constraint WHERE conrelid = 'second.waybill'::regclass AND contype = 'p')});
$jobs->share(0);
$looker->quit;
foreach my $how ('its backend is killed', 'the server is stopped')
{
	$child = $jobs->call($calls[1]) unless defined $child;
	my $job = $jobs->soon("SELECT p.pid FROM $progress p JOIN pg_stat_activity a USING (pid) WHERE p.phase = 'wiping' AND a.wait_event_type = 'Extension' LIMIT 1");
	$jobs->end($how, $job);
	waitpid $child, 0;
	undef $child;
	is($jobs->soon("SELECT count(*) FROM $progress WHERE phase = 'wiping'"), '4', "wiping when $how");
}
$jobs->share(100);
$node->safe_psql($db, $calls[1]);
check('second');

$node->stop;
done_testing();
