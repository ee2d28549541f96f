
# The spool on a small disk: what happens when it is full, and when it cannot
# be written at all.  ./dev mounts a small file system for this when it may;
# COURIER_PII_SMALL names it.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $small = $ENV{COURIER_PII_SMALL};

# ---- a directory that stops working ----

my $node = CourierPii->new_node('broken');
my $spool = $node->{courier_pii}{audit_directory};
load_sample($node, rows => 20);
my $read = 'SELECT recv_phone FROM masked.shipment WHERE id = 1';
my $plain = 'SELECT count(*) FROM app.task';

is(error_as($node, 'clerk', $read), '', 'a read');
my @columns = split /\|/, audit($node, 'SELECT records_lost, state, records_written = records_flushed OR records_written > 0 FROM courier_pii.stat_audit');
is($columns[1], 'ok', 'stat_audit: state ok');

# a session that is open already, its next segment cannot be opened: the rows of
# the statement in whose record this shows are in the send buffer
my $c = CourierPiiWire->new($node, 'clerk');
my $d = CourierPiiWire->new($node, 'clerk');
is(scalar @{ $c->query($read)->{rows} }, 1, 'an open session');
is(scalar @{ $d->query($plain)->{rows} }, 1, 'and another one');
rename $spool, "$spool.away";
# no more writing for this one
system("prlimit --pid $d->{pid} --fsize=4096:4096") == 0 or BAIL_OUT('prlimit');
my $result = $d->query($read);
is($result->{state}, 'PI003', 'the spool is gone: PI003');
is(scalar @{ $result->{rows} }, 0, 'and no row has left');
$result = $d->{gone} ? undef : $d->query($read);
ok(!defined $result || $result->{state} eq 'PI003', 'the session goes no further');
my $e = CourierPiiWire->new($node, 'clerk');
SKIP:
{
	skip 'the login itself was refused', 3 unless $e;
	is($e->query($read)->{state}, 'PI003', 'a new session: PI003, before anything is shown');
	is(scalar @{ $e->query($plain)->{rows} }, 1, 'which may go on with other work');
	is($e->query('SELECT count(*) FROM masked.shipment WHERE length(recv_phone) > 3')->{state}, 'PI003', 'masked or clear');
}
rename "$spool.away", $spool;
ok(wait_until($node, 'SELECT NOT pg_sleep(0.2) IS NULL'), 'the directory is back');
my $works = 0;
for (1 .. 60)
{
	$works = error_as($node, 'clerk', $read) eq '';
	last if $works;
	select(undef, undef, undef, 0.2);
}
ok($works, 'and so is access');
cmp_ok(audit($node, 'SELECT records_lost FROM courier_pii.stat_audit'), '>', 0, 'lost records were counted');
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');

# audit_on_failure = allow: counted instead of refused
$node->append_conf('postgresql.conf', "courier_pii.audit_on_failure = 'allow'\n");
$node->reload;
rename "$spool", "$spool.away";
$d = CourierPiiWire->new($node, 'clerk');
is(scalar @{ $d->query($read)->{rows} }, 1, 'allow: the read passes without a record') if $d;
rename "$spool.away", "$spool";
$node->stop;

# ---- a full disk ----

SKIP:
{
	skip 'no small file system (COURIER_PII_SMALL)', 1 unless defined $small && -d $small && -w $small;
	system("rm -rf $small/spool");
	mkdir "$small/spool", 0700 or die $!;
	$node = CourierPii->new_node('full', no_extension => 1,
		conf => "courier_pii.audit_directory = '$small/spool'\ncourier_pii.audit_spool_keep = 3600\n");
	$node->safe_psql($db, 'CREATE EXTENSION courier_pii CASCADE');
	load_sample($node, rows => 20);
	$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
		SELECT courier_pii.set_limit('service', NULL, NULL, NULL)});

	# leave room for one segment and little more
	my ($block, $available) = (split ' ', `df -k --output=size,avail $small | tail -1`);
	my $filler = $available - 2048;
	system("head -c ${filler}k /dev/zero > $small/filler 2>/dev/null");

	# long queries make long records
	my $long = 'SELECT ' . join(', ', map { "recv_phone AS a$_" } 1 .. 200) . ' FROM masked.shipment WHERE id = 1';
	$c = CourierPiiWire->new($node, 'clerk');
	my ($reads, $state) = (0, '');
	while ($reads < 12_000)
	{
		$result = $c->query($long);
		$state = $result->{state};
		last if $state;
		$reads++;
	}
	is($state, 'PI003', "after $reads reads the disk is full: PI003");
	is(scalar @{ $result->{rows} }, 0, 'without rows');
	ok(!$c->{gone}, 'the session lives on');
	is(scalar @{ $c->query($plain)->{rows} }, 1, 'other work goes on');
	is($c->query('CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)')->{state}, '', 'writing too');
	is(error_as($node, 'clerk', $plain), '', 'logins too');
	is(error_as($node, 'courier', 'SELECT recv_phone FROM app.shipment'), '42501', 'refusals are still told');
	is(audit($node, q{SELECT count(*) > 0 FROM courier_pii.audit_log WHERE action = 'DENIED' AND login_role = 'courier'}), 't',
		'and recorded in the reserve');
	is(audit($node, 'SELECT state FROM courier_pii.stat_audit'), 'full', 'stat_audit: state full');
	is(audit($node, 'SELECT records_lost FROM courier_pii.stat_audit'), '0', 'no record was lost');
	is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE login_role = 'clerk' AND action = 'READ' AND phase <> 'BEGIN' AND outcome = 'ok'}), $reads,
		'every read has its record');

	unlink "$small/filler";
	$works = 0;
	for (1 .. 60)
	{
		$works = error_as($node, 'clerk', $read) eq '';
		last if $works;
		select(undef, undef, undef, 0.2);
	}
	ok($works, 'after making room: access again');
	is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');
	$node->stop;
	system("rm -rf $small/spool");
}

# ---- the backlog ----

$node = CourierPii->new_node('backlog',
	conf => "courier_pii.audit_backlog_limit = '16MB'\ncourier_pii.audit_spool_keep = 0\n");
load_sample($node, rows => 20);
$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});
my $long = 'SELECT ' . join(', ', map { "recv_phone AS a$_" } 1 .. 200) . ' FROM masked.shipment WHERE id = 1';
# the worker cannot write while the table is locked
my $lock = $node->background_psql($db);
$lock->query_safe('BEGIN; LOCK TABLE courier_pii.audit_progress IN ACCESS EXCLUSIVE MODE');
$c = CourierPiiWire->new($node, 'clerk');
my ($reads, $state) = (0, '');
while ($reads < 30_000)
{
	$state = $c->query($long)->{state};
	last if $state;
	$reads++;
}
is($state, 'PI003', "back-pressure: after $reads reads of which nothing was ingested access is refused");
is(scalar @{ $c->query($plain)->{rows} }, 1, 'other work goes on');
$lock->query_safe('COMMIT');
$lock->quit;
ok($node->poll_query_until($db, q{SELECT courier_pii.audit_flush('1 s')}), 'the worker has caught up');
$works = 0;
for (1 .. 60)
{
	$works = $c->query($read)->{state} eq '';
	last if $works;
	select(undef, undef, undef, 0.2);
}
ok($works, 'access again');
is(audit($node, 'SELECT state, backlog < 100 FROM courier_pii.stat_audit'), 'ok|t', 'stat_audit says so');
my @segments = glob "$node->{courier_pii}{audit_directory}/segment-*";
cmp_ok(scalar @segments, '<=', 2, 'ingested segments were removed');

done_testing();
