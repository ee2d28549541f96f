
# Keys over time: the calendar's epochs, crashes at any moment of changes of
# the key store, a full store, and the ticket that destroying asks for.

use strict;
use warnings;

use CourierPii;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $KILLS = $ENV{COURIER_PII_STORE_KILLS} // 12;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('keys', conf => "restart_after_crash = on\nautovacuum = off\n");
my $store = $node->{courier_pii}{key_store};
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

sub sql { return $node->safe_psql($db, $_[0]); }
sub active { return sql("SELECT max(epoch) FROM courier_pii.key_status WHERE class = '$_[0]' AND state = 'active'"); }

sql(q{
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.t (id serial PRIMARY KEY, n bigint, phone courier_pii.phone);
	GRANT SELECT ON public.t TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear', true);
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	INSERT INTO public.t (n, phone) SELECT 13800000000 + i, (13800000000 + i)::text FROM generate_series(1, 100) i});
my $wrong = 'SELECT count(*), count(*) FILTER (WHERE courier_pii.show(phone) IS DISTINCT FROM n::text) FROM public.t';
is(query_as($node, 'clerk', $wrong), '100|0', 'all values are shown');

# ---- the calendar ----

# age(EPOCH, DAYS): the secret's file says it was made some days earlier
sub age
{
	my ($class_number, $epoch, $days) = @_;
	my $file = sprintf '%s/class-%05d-epoch-%05d.secret', $store, $class_number, $epoch;
	my $text = slurp_file($file);
	$text =~ s/created (\d+)/'created ' . ($1 - 86400 * $days)/e or die "no date in $file";
	open my $out, '>', $file or die "$file: $!";
	print $out $text;
	close $out or die $!;
	return;
}
my $first = active('phone');
$node->stop;
age(2, $first, 40);
$node->start;
sql(q{INSERT INTO public.t (n, phone) VALUES (13900000001, '13900000001')});
ok(wait_until($node, "SELECT max(epoch) = $first + 1 FROM courier_pii.key_status WHERE class = 'phone' AND state = 'active'", 100), 'an epoch of last month is followed by another')
  or diag(sql('SELECT * FROM courier_pii.key_status'));
is(sql("SELECT state FROM courier_pii.key_status WHERE class = 'phone' AND epoch = $first"), 'decrypt-only', 'the old one opens values only');
is(audit($node, q{SELECT detail ->> 'by' FROM courier_pii.audit_log WHERE action = 'KEY' AND command = 'new_epoch'}), 'calendar', 'recorded, with the reason');
sql(q{INSERT INTO public.t (n, phone) VALUES (13900000002, '13900000002')});
is(sql(q{SELECT courier_pii.epoch_of(phone) FROM public.t WHERE n = 13900000002}), $first + 1, 'new values are sealed with it');
is(query_as($node, 'clerk', $wrong), '102|0', 'all values are shown');
is(query_as($node, 'clerk', q{SELECT count(*) FROM public.t WHERE phone IN ('13900000002', '13800000007')}), '2', 'and found, across epochs');

$node->stop;
age(2, $first + 1, 40);
$node->append_conf('postgresql.conf', "courier_pii.key_epoch_months = 0\n");
$node->start;
sql(q{INSERT INTO public.t (n, phone) VALUES (13900000003, '13900000003')});
$node->append_conf('postgresql.conf', "courier_pii.key_epoch_months = 6\n");
$node->reload;
sql(q{INSERT INTO public.t (n, phone) VALUES (13900000004, '13900000004')});
is(active('phone'), $first + 1, 'none when turned off, or not due');

# ---- kill -9 while the store changes ----

sub quiet
{
	my ($sql) = @_;
	return eval { $node->psql($db, $sql, on_error_stop => 0, timeout => 30) };
}

# Wait until the postmaster knows that these processes are dead, and the server
# answers: before that it may still answer and break off a moment later.
sub recovered
{
	my (@dead) = @_;
	for (1 .. 600)
	{
		last unless grep { kill 0, $_ } @dead;
		usleep(100_000);
	}
	$node->poll_query_until($db, 'SELECT true') or die 'no answer';
	return;
}

# agent or any backend of a loop, killed at a random moment
srand(4711);
foreach my $round (1 .. $KILLS)
{
	my $child = fork // die $!;
	if ($child == 0)
	{
		foreach my $i (1 .. 40)
		{
			my $n = 13700000000 + $round * 1000 + $i;
			quiet("SELECT courier_pii.new_epoch('phone'); INSERT INTO public.t (n, phone) VALUES ($n, '$n');
				SELECT courier_pii.new_epoch('item'); SELECT courier_pii.destroy_epoch('item', max(epoch) - 1, true) FROM courier_pii.key_status WHERE class = 'item' AND state = 'decrypt-only'");
		}
		POSIX::_exit(0);
	}
	usleep(100_000 + int rand 400_000);
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @children = map { /^\s*(\d+) (.*)/ ? [ $1, $2 ] : () } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
	my @agent = grep { $_->[1] =~ /key agent/ } @children;
	my @backends = grep { $_->[1] =~ /\[local\]/ } @children;
	my @chosen = $round % 3 == 0 && @backends ? $backends[ rand @backends ] : @agent;
	kill 'KILL', map { $_->[0] } @chosen;
	if ($round % 4 == 0)
	{
		kill 'KILL', $child;
		waitpid $child, 0;
		recovered(map { $_->[0] } @chosen);
		$node->stop('immediate');
		# a process that is still writing keeps the shared memory for a moment
		my $started = 0;
		for (1 .. 30)
		{
			last if $started = $node->start(fail_ok => 1);
			usleep(500_000);
		}
		$started or die 'not started';
	}
	else
	{
		usleep(200_000);
		kill 'KILL', $child;
		waitpid $child, 0;
	}
	recovered(map { $_->[0] } @chosen);
}
$node->poll_query_until($db, q{SELECT count(*) = 0 FROM courier_pii.key_status WHERE state IN ('sealed', 'pending')
	AND class IN (SELECT class FROM courier_pii.key_status WHERE state = 'active')});
my ($rows) = split /\|/, query_as($node, 'clerk', $wrong);
cmp_ok($rows, '>', 104 + $KILLS, "$rows values were sealed while $KILLS processes were killed");
is(query_as($node, 'clerk', $wrong), "$rows|0", 'every one of them is shown: none was sealed with a secret that is lost');
is(sql(q{SELECT count(*) FROM courier_pii.key_status WHERE state IN ('missing', 'damaged')}), '0', 'no secret is missing or damaged');
is(sql(q{SELECT count(*) FROM courier_pii.key_status WHERE state = 'active' AND class = 'phone'}), '1', 'one epoch is active');
$node->restart;
is(query_as($node, 'clerk', $wrong), "$rows|0", 'also from the files alone');
my %kinds;
foreach my $file (glob "$store/class-00007-*")
{
	$kinds{$1}{$2} = -s $file if $file =~ /epoch-(\d+)\.(secret|destroyed)$/;
}
is(scalar(grep { $_->{secret} && $_->{destroyed} } values %kinds), 0, 'no secret outlives its tombstone');
is(scalar(grep { defined && $_ == 0 } map { $_->{secret} } values %kinds), 0, 'and no secret is half written');

# ---- a full store ----

# Nothing can be written, then it can again: BEGIN and END make that so.  Every
# change of the store fails whole, with the reason; sealing and showing go on.
sub full_store
{
	my ($how, $reason, $begin, $end, $where) = @_;
	my $old = sql(q{SELECT courier_pii.new_epoch('item')});
	sql(q{SELECT courier_pii.new_epoch('item')});
	my $phone = active('phone');
	my %temporary = map { $_ => 1 } glob "$where/*.tmp";
	# the agent counts what is sealed, in blocks that it notes beforehand
	$rows++;
	my $n = 13900001000 + $rows;
	sql("INSERT INTO public.t (n, phone) VALUES ($n, '$n')");
	$begin->();
	my ($state, $err) = error_as($node, $superuser, q{SELECT courier_pii.new_epoch('phone')});
	is($state, 'PI004', "$how: no new epoch");
	like($err, $reason, 'with the reason');
	isnt(error_as($node, $superuser, "SELECT courier_pii.destroy_epoch('item', $old, true)"), '', 'no epoch is destroyed');
	is(sql("SELECT state FROM courier_pii.key_status WHERE class = 'item' AND epoch = $old"), 'decrypt-only', 'not half of it either');
	is(active('phone'), $phone, 'the epoch of before is active');
	$rows++;
	$n = 13900001000 + $rows;
	sql("INSERT INTO public.t (n, phone) VALUES ($n, '$n')");
	is(query_as($node, 'clerk', $wrong), "$rows|0", 'sealing and showing go on');
	$end->();
	like(sql(q{SELECT courier_pii.new_epoch('phone')}), qr/^\d+$/, 'with room again a new epoch is made');
	sql("SELECT courier_pii.destroy_epoch('item', $old, true)");
	is(sql("SELECT state FROM courier_pii.key_status WHERE class = 'item' AND epoch = $old"), 'destroyed', 'and one is destroyed');
	is(scalar(grep { -s $_ == 0 } glob "$where/*.secret"), 0, 'nothing half written is left');
	is(scalar(grep { !$temporary{$_} } glob "$where/*.tmp"), 0, 'and nothing temporary');
	$rows++;
	$n = 13900001000 + $rows;
	sql("INSERT INTO public.t (n, phone) VALUES ($n, '$n')");
	is(query_as($node, 'clerk', $wrong), "$rows|0", 'the new one is used');
	return;
}

# the process that writes the store may write no byte: this needs no rights
SKIP:
{
	skip('prlimit is not installed', 11) if system('command -v prlimit >/dev/null 2>&1') != 0;
	my $limit = sub {
		my ($size) = @_;
		my $agent = key_agent($node);
		system('prlimit', '--pid', $agent, "--fsize=$size:") == 0 or die 'prlimit failed';
	};
	full_store('no room for files', qr/File too large/, sub { $limit->(0) }, sub { $limit->('unlimited') }, $store);
}

# a small file system of its own, which ./dev mounts when it is root
SKIP:
{
	my $small = $ENV{COURIER_PII_SMALL};
	skip('no small file system (COURIER_PII_SMALL)', 11) unless defined $small && -d $small && -w $small;
	my $full = "$small/key_store.$$";
	mkdir $full, 0700;
	system('cp', '-p', (glob "$store/*"), $full);
	$node->append_conf('postgresql.conf', "courier_pii.key_store = '$full'\n");
	$node->restart;
	my $fill = sub {
		open my $filler, '>', "$small/filler.$$" or die $!;
		1 while syswrite $filler, 'x' x 4096;
		close $filler;
	};
	full_store('a full file system', qr/No space left/, $fill, sub { unlink "$small/filler.$$" }, $full);
	$node->stop;
	system('cp', '-p', (glob "$full/class-*"), $store);
	system('rm', '-rf', $full);
	$node->append_conf('postgresql.conf', "courier_pii.key_store = '$store'\n");
	$node->start;
}

# ---- the ticket ----

SKIP:
{
	skip('this version cannot seal duties', 8)
	  unless sql(q{SELECT to_regprocedure('courier_pii.seal_duties()') IS NOT NULL}) eq 't';
	sql(q{
		CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE acc LOGIN; CREATE ROLE aud LOGIN;
		SELECT courier_pii.add_org('KL', 'head office', 'hq');
		SELECT courier_pii.hire('KL1', 'Ann', 'ann', 'KL', 'security'), courier_pii.hire('KL2', 'Bob', 'bob', 'KL', 'security'),
			courier_pii.hire('KL3', 'Acc', 'acc', 'KL', 'personnel'), courier_pii.hire('KL4', 'Aud', 'aud', 'KL', 'audit');
		SELECT courier_pii.appoint('pii_security_admin', 'ann'), courier_pii.appoint('pii_security_admin', 'bob'),
			courier_pii.appoint('pii_account_admin', 'acc'), courier_pii.appoint('pii_auditor', 'aud')});
	my $old = sql(q{SELECT courier_pii.new_epoch('note')});
	sql(q{SELECT courier_pii.new_epoch('note')});
	sql('SELECT courier_pii.seal_duties()');
	my $destroy = "SELECT courier_pii.destroy_epoch('note', $old)";
	isnt(error_as($node, $superuser, $destroy), '', 'a superuser destroys no key once duties are sealed');
	is(error_as($node, 'ann', $destroy), 'PI001', 'nor does a security administrator alone');
	my $id = query_as($node, 'ann', qq{SELECT courier_pii.request('key_destroy', 'retention', '{"object": "note/$old"}')});
	is(error_as($node, 'ann', "SELECT courier_pii.approve($id)"), 'PI006', 'who asks does not approve');
	is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; $destroy"), 'PI002', 'a request is not a ticket');
	query_as($node, 'bob', "SELECT courier_pii.approve($id)");
	is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; SELECT courier_pii.destroy_epoch('note', $old + 1, true)"), 'PI002', 'it is for one epoch');
	query_as($node, 'ann', "SET courier_pii.ticket = '$id'; $destroy");
	is(query_as($node, 'ann', "SELECT state FROM courier_pii.key_status WHERE class = 'note' AND epoch = $old"), 'destroyed', 'with the ticket it is destroyed');
	is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; SELECT courier_pii.destroy_epoch('note', $old + 1, true)"), 'PI002', 'which is used up');
	is(query_as($node, 'aud', qq{SELECT courier_pii.audit_flush(); SELECT DISTINCT detail ->> 'ticket' FROM courier_pii.audit_log WHERE command = 'destroy_epoch' AND detail ->> 'epoch' = '$old' AND detail ->> 'class' = 'note'}) =~ s{^t?\s+}{}r, $id, 'and named in the record');
}
$node->stop;

done_testing();
