
# Backends, and a few times the whole server, are killed with SIGKILL while
# clients read personal data: every value that a client has received must be in
# the audit log.
#
# Each statement states a purpose of its own, so that what a client got can be
# compared with the record of just that statement.  Clients note what arrived
# before they go on.  COURIER_PII_KILLS sets the number of backends to kill.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $KILLS = $ENV{COURIER_PII_KILLS} // 100;
my $SERVER_KILLS = $KILLS >= 150 ? int($KILLS / 50) : $KILLS >= 20 ? 3 : 1;
my $CLIENTS = 6;
my $ROWS = 300;

my $node = CourierPii->new_node('crash',
	conf => "restart_after_crash = on\nlog_min_messages = fatal\n"
	  . "checkpoint_timeout = 1h\nautovacuum = off\n");
my $db = $CourierPii::DATABASE;

load_sample($node, rows => $ROWS);
$node->safe_psql($db, q{
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	CHECKPOINT;
});

my $directory = PostgreSQL::Test::Utils::tempdir('crash_notes');
my $from = 'FROM masked.shipment';

# kinds of statements: SQL, values that a row or the whole result discloses
my @kinds = (
	[ sub { "SELECT recv_phone $from WHERE id = " . (1 + int rand $ROWS) }, 1 ],
	[ sub { "SELECT recv_name, recv_phone, recv_addr $from WHERE id = " . (1 + int rand $ROWS) }, 3 ],
	[ sub { my $i = 1 + int rand($ROWS - 20); "SELECT id, recv_phone $from WHERE id BETWEEN $i AND $i + 19" }, 1 ],
	[ sub { "SELECT * $from" }, 6 ],
	[ sub { "SELECT recv_addr, remark, recv_name $from ORDER BY id" }, 3 ],
	[ sub { "SELECT recv_phone, pg_sleep(0.002) $from" }, 1 ],
	[ sub { "COPY (SELECT recv_phone $from) TO STDOUT" }, 1 ],
	[ sub { 'COPY masked.shipment TO STDOUT' }, 6 ],
	[ sub { "DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT recv_phone $from LIMIT 40 LOOP RAISE NOTICE '%', r.recv_phone; END LOOP; END \$\$" }, 1 ],
);

# one client: runs until it is told to stop
sub client
{
	my ($number) = @_;
	srand($number * 7919 + $$);
	my $serial = 0;
	open my $notes, '>>', "$directory/notes.$number" or die $!;
	$notes->autoflush(1);

	my $parent = getppid;
	while (!-e "$directory/stop" && getppid == $parent)
	{
		my $c = CourierPiiWire->new($node, 'clerk');
		if (!$c) { usleep(20_000); next; }
		open my $pid, '>', "$directory/pid.$number.new" or die $!;
		print $pid $c->{pid};
		close $pid;
		rename "$directory/pid.$number.new", "$directory/pid.$number";

		while (!$c->{gone} && !-e "$directory/stop")
		{
			my $kind = $kinds[ int rand @kinds ];
			my $purpose = "n$number." . ++$serial;
			my $got = 0;
			my $result = $c->query("SET courier_pii.purpose = '$purpose'");
			last if $c->{gone};
			my $sql = $kind->[0]->();
			$result = $c->query($sql);
			my $rows = @{ $result->{rows} };
			$rows += () = $result->{copied} =~ /\n/g;
			$rows += grep { /139\d{8}/ } @{ $result->{notices} };
			printf $notes "%s %d %s\n", $purpose, $rows * $kind->[1],
				$c->{gone} ? 'gone' : 'whole';
		}
		unlink "$directory/pid.$number";
	}
	close $notes;
	return;
}

my @children;
foreach my $number (1 .. $CLIENTS)
{
	my $child = fork;
	die "fork: $!" unless defined $child;
	if ($child == 0)
	{
		# neither the test's END blocks nor its server belong to the child
		eval { client($number); 1 } or print STDERR $@;
		require POSIX;
		POSIX::_exit(0);
	}
	push @children, $child;
}

sub start_after_crash
{
	# an orphaned startup process waits a minute for the checkpointer
	my $until = time + 300;
	while (time < $until)
	{
		return if $node->start(fail_ok => 1);
		# orphans of the dead server were still there
		$node->stop('immediate', fail_ok => 1);
		$node->{_pid} = undef;
		usleep(500_000);
	}
	die 'server does not start after the crash';
}

# kill one of the clients' backends; false when none is there in time
sub kill_one
{
	for (1 .. 600)
	{
		my @files = glob "$directory/pid.*[0-9]";
		if (@files)
		{
			# let them read for a moment
			usleep(1000 + int rand 60_000);
			my $file = $files[ int rand @files ];
			if (open my $in, '<', $file)
			{
				my $pid = <$in>;
				close $in;
				unlink $file;
				return 1 if $pid && kill 'KILL', $pid;
			}
		}
		usleep(50_000);
	}
	return 0;
}

my $killed = 0;
my $server_killed = 0;
while ($killed < $KILLS)
{
	last unless kill_one();
	$killed++;
	if ($server_killed < $SERVER_KILLS && $killed >= ($server_killed + 1) * $KILLS / ($SERVER_KILLS + 1))
	{
		usleep(int rand 300_000);
		$node->kill9;
		start_after_crash();
		$server_killed++;
	}
}
is($killed, $KILLS, "$KILLS backends killed");
is($server_killed, $SERVER_KILLS, "$SERVER_KILLS times the whole server");

# a last moment of undisturbed work, then stop
usleep(500_000);
open my $stop, '>', "$directory/stop" or die $!;
close $stop;
waitpid $_, 0 foreach @children;

$node->poll_query_until($db, 'SELECT true') or die 'the server is down';
ok($node->safe_psql($db, q{SELECT courier_pii.audit_flush('60 s')}), 'the worker has caught up');

# what the clients noted, beside what was recorded
my ($statements, $received, $cut) = (0, 0, 0);
my $rows = '';
foreach my $number (1 .. $CLIENTS)
{
	foreach my $line (split /\n/, slurp_file("$directory/notes.$number"))
	{
		my ($purpose, $values, $how) = split / /, $line;
		$statements++;
		$received += $values;
		$cut++ if $how eq 'gone';
		$rows .= "$purpose\t$values\t$how\n";
	}
}
my $file = "$directory/received";
append_to_file($file, $rows);
note "$statements statements, $received values received, $cut cut off";
cmp_ok($statements, '>', $KILLS, "$statements statements");
cmp_ok($cut, '>', 0, "$cut of them cut off by a kill");

# audit reading needs the auditor; the comparison is made in a table of the test
$node->safe_psql($db, qq{
	CREATE TABLE public.received (purpose text, got bigint, how text);
	COPY public.received FROM '$file';
	GRANT SELECT ON public.received TO PUBLIC;
});
my $recorded = q{
	WITH recorded AS (
		SELECT purpose, bool_or(phase = 'BEGIN') AS begun,
			bool_or(phase IN ('END', 'SINGLE')) AS ended,
			sum(disclosed) FILTER (WHERE phase IN ('END', 'SINGLE')) AS disclosed,
			count(*) FILTER (WHERE phase IN ('END', 'SINGLE')) AS endings,
			bool_and(login_role = 'clerk' AND staff_no = 'C1') AS person
		FROM courier_pii.audit_log
		WHERE purpose LIKE 'n%' AND action IN ('READ', 'EXPORT')
		GROUP BY purpose)
};

is(audit($node, "$recorded SELECT count(*), min(r.purpose) FROM public.received r
	LEFT JOIN recorded USING (purpose)
	WHERE r.got > 0 AND NOT coalesce(ended AND disclosed >= got, false)"),
	'0|', 'every value that was received is recorded');
is(audit($node, "$recorded SELECT count(*), min(r.purpose) FROM public.received r
	LEFT JOIN recorded USING (purpose)
	WHERE r.how = 'whole' AND NOT coalesce(ended AND endings = 1, false)"),
	'0|', 'every statement that ended has one final record');
is(audit($node, "$recorded SELECT count(*) FROM recorded WHERE endings <> 1 OR NOT ended"),
	'0', 'every statement that was begun was closed once, those that were cut off too');
cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE outcome = 'crash'}), '>', 0,
	'some of them by the next life of the server');
is(audit($node, "$recorded SELECT count(*) FROM recorded WHERE NOT person"),
	'0', 'each with its person');
is(audit($node, q{SELECT count(*) FROM (SELECT node, seq FROM courier_pii.audit_log
	GROUP BY 1, 2 HAVING count(*) > 1) d}), '0', 'no record was stored twice');
is(audit($node, q{SELECT max(seq) - min(seq) + 1 - count(*) FROM courier_pii.audit_log}),
	'0', 'no sequence number is missing');
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');
is(audit($node, 'SELECT records_lost FROM courier_pii.stat_audit'), '0', 'no record was lost');

done_testing();
