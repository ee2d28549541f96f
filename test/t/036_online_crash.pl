
# A column is protected online and resealed while clients write to its table;
# both are cancelled and killed with SIGKILL at random moments.  Called again
# they go on, no value is lost or mixed up, and afterwards no clear text is in
# the table's file.  COURIER_PII_ONLINE_KILLS sets how often each is killed.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(usleep);

my $KILLS = $ENV{COURIER_PII_ONLINE_KILLS} // 4;
my $ROWS = 40000;

my $node = CourierPii->new_node('online',
	conf => "restart_after_crash = on\nautovacuum = off\nlog_min_messages = fatal\ncheckpoint_timeout = 1h\n");
my $db = $CourierPii::DATABASE;

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

# a statement whose connection may be lost at any time
sub quiet
{
	my ($sql) = @_;
	return eval { $node->psql($db, $sql, on_error_stop => 0, timeout => 20) };
}

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
		quiet($sql);
	}
	POSIX::_exit(0);
}

# the pid of the backend that runs the job, as soon as there is one
sub worker_pid
{
	my ($view) = @_;
	my $pid = '';
	for (1 .. 200)
	{
		my ($rc, $out) = quiet("SELECT pid FROM courier_pii.$view WHERE pid IS NOT NULL");
		return $out if defined $rc && $rc == 0 && defined $out && $out =~ /^\d+$/;
		usleep(10_000);
	}
	return undef;
}

# run a CALL to its end, disturbed a few times; returns how often
sub disturbed
{
	my ($call, $view) = @_;
	my $disturbed = 0;
	for my $try (1 .. $KILLS + 3)
	{
		my $child = fork();
		if ($child == 0)
		{
			# a lost connection may raise: this process must not stop the server
			my $rc = eval { ($node->psql($db, $call, timeout => 120))[0] } // 1;
			POSIX::_exit($rc == 0 ? 0 : 1);
		}
		if ($try <= $KILLS)
		{
			my $pid = worker_pid($view);
			usleep(int rand 400_000);
			if (defined $pid && $try % 2)
			{
				$disturbed += kill('KILL', $pid);
			}
			elsif (defined $pid)
			{
				quiet("SELECT pg_cancel_backend($pid)");
				$disturbed++;
			}
		}
		waitpid($child, 0);
		my $done = $? == 0;
		for (1 .. 600)
		{
			my ($rc) = quiet('SELECT 1');
			last if $done || (defined $rc && $rc == 0);
			usleep(100_000);
		}
		return $disturbed if $done;
	}
	return -1;
}

my @writers;
for my $number (1 .. 2)
{
	my $pid = fork();
	writer($number) if $pid == 0;
	push @writers, $pid;
}

my $times = disturbed("CALL courier_pii.protect_column_online('parcel', 'phone', 'phone', 300)", 'stat_progress_protect');
cmp_ok($times, '>=', 0, "protected in the end, disturbed $times times");

# values of an older epoch, then to the new one
my ($rc) = $node->psql($db, q{SELECT courier_pii.new_epoch('phone')});
is($rc, 0, 'a new epoch');
$times = disturbed("CALL courier_pii.reseal('parcel', 'phone', 200, 5)", 'stat_progress_reseal');
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

$node->safe_psql($db, 'CHECKPOINT');
my $file = $node->data_dir . '/' . $node->safe_psql($db, q{SELECT pg_relation_filepath('parcel')});
my $left = () = slurp_file($file) =~ /1[39]\d{9}/g;
is($left, 0, 'no clear phone is in the table file');

$node->stop;
done_testing();
