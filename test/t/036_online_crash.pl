
# A column is protected online and resealed while clients write to its table;
# both are cancelled and killed with SIGKILL at random moments.  Called again
# they go on, no value is lost or mixed up, and afterwards no clear text is in
# the table's file.  Then a job is held in each of its phases, and its backend,
# its index worker or the whole server is killed there.  COURIER_PII_ONLINE_KILLS sets how often each is killed.

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

# ---- killed in a phase that it is held in ----

sub share
{
	$node->safe_psql($db, "ALTER SYSTEM SET courier_pii.online_share = $_[0]");
	$node->reload;
	return;
}

# the first value that a statement gives, once it gives one
sub soon
{
	my ($sql) = @_;
	for (1 .. 1200)
	{
		my ($rc, $out) = quiet($sql);
		return $out if defined $rc && $rc == 0 && defined $out && $out ne '';
		usleep(100_000);
	}
	die "never: $sql";
}

# until the postmaster knows of these deaths, and the server answers
sub recovered
{
	my (@dead) = @_;
	for (1 .. 1200) { last unless grep { kill 0, $_ } @dead; usleep(100_000); }
	$node->poll_query_until($db, 'SELECT true') or die 'no answer';
	return;
}

sub start_again
{
	for (1 .. 60)
	{
		return if $node->start(fail_ok => 1);
		usleep(500_000);
	}
	die 'not started';
}

my %way = (
	'its backend is killed' => sub { my ($job) = @_; kill 'KILL', $job; recovered($job); },
	'its worker is killed' => sub {
		my $worker = soon(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'courier_pii index worker'});
		kill 'KILL', $worker;
		recovered($worker);
	},
	'the server is stopped' => sub { $node->stop('immediate'); start_again(); },
	'the server is killed' => sub {
		my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
		kill 'KILL', $postmaster;
		for (1 .. 600) { last unless kill 0, $postmaster; usleep(100_000); }
		# the harness would look for it
		$node->{_pid} = undef;
		start_again();
	});

# an old snapshot keeps the index worker waiting
sub look_on
{
	my $session = $node->background_psql($db, on_error_stop => 0);
	$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$session->query('SELECT 1');
	return $session;
}

sub call_again
{
	my $child = fork;
	return $child if $child;
	eval { $node->psql($db, q{CALL courier_pii.protect_column_online('second', 'phone', 'phone', 200)}, timeout => 300) };
	POSIX::_exit(0);
}

$node->safe_psql(
	$db, qq{
	CREATE TABLE second (id int PRIMARY KEY, n bigint NOT NULL, phone text NOT NULL);
	INSERT INTO second SELECT i, 13800000000 + i, 13800000000 + i FROM generate_series(1, $ROWS / 2) i;
	CREATE INDEX second_phone ON second (phone);
	GRANT SELECT ON second TO checker;
	VACUUM ANALYZE second});
share(0);
foreach my $how ('its backend is killed', 'the server is stopped')
{
	my $child = call_again();
	my $job = soon(q{SELECT pid FROM courier_pii.stat_progress_protect WHERE phase = 'copying' AND rows_done > 0 AND pid IS NOT NULL});
	$way{$how}->($job);
	waitpid $child, 0;
	is(soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'copying', "copying when $how");
}
share(100);
foreach my $how ('its worker is killed', 'its backend is killed', 'the server is killed')
{
	my $looker = look_on();
	my $child = call_again();
	my $job = soon(q{SELECT p.pid FROM courier_pii.stat_progress_protect p WHERE p.phase = 'indexing' AND EXISTS
		(SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock')});
	$way{$how}->($job);
	waitpid $child, 0;
	eval { $looker->quit };
	is(soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'indexing', "indexing when $how");
}
my $looker = look_on();
my $child = call_again();
soon(q{SELECT 1 FROM pg_stat_activity a WHERE a.backend_type = 'courier_pii index worker' AND a.wait_event_type = 'Lock'});
share(0);
$looker->quit;
foreach my $how ('its backend is killed', 'the server is stopped')
{
	$child = call_again() unless defined $child;
	my $job = soon(q{SELECT p.pid FROM courier_pii.stat_progress_protect p JOIN pg_stat_activity a USING (pid) WHERE p.phase = 'wiping' AND a.wait_event_type = 'Extension'});
	$way{$how}->($job);
	waitpid $child, 0;
	undef $child;
	is(soon('SELECT phase FROM courier_pii.stat_progress_protect'), 'wiping', "wiping when $how");
}
share(100);
$node->safe_psql($db, q{CALL courier_pii.protect_column_online('second', 'phone', 'phone')});
is($node->safe_psql($db, 'SELECT count(*) FROM courier_pii.column_job'), '0', 'in the end no job is left');
is($node->safe_psql($db, 'SELECT count(*) FROM second WHERE phone::text = n::text', extra_params => [ '-U', 'checker' ]), $ROWS / 2, 'every value is right');
is($node->safe_psql($db, q{SELECT string_agg(c.relname || ' ' || i.indisvalid, ',' ORDER BY c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'second'::regclass}),
	'second_phone true,second_pkey true', 'and the indexes');
is($node->safe_psql($db, q{SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'second'::regclass AND attnum > 0 AND NOT attisdropped}), 'id,n,phone', 'nothing of the job is left in the table');
$node->safe_psql($db, 'CHECKPOINT');
$left = () = slurp_file($node->data_dir . '/' . $node->safe_psql($db, q{SELECT pg_relation_filepath('second')})) =~ /138\d{8}/g;
is($left, 0, 'no clear phone is in its file');

$node->stop;
done_testing();
