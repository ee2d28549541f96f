
# The key agent is stopped, killed or busy, or those who ask it are: nobody
# waits for ever, nobody gets another one's key, and it goes on afterwards.
# And sessions that may do nothing yet are given no key, whatever they run.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiSession;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('faults', conf => "autovacuum = off\nrestart_after_crash = on\nmax_connections = 230\n");
load_sample($node, rows => 20);
$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});
my $phones = 'SELECT count(recv_phone) FROM masked.shipment WHERE length(recv_phone) = 11';

sub sql { return $node->safe_psql($db, $_[0]); }

# begin(SESSION, SQL): send it, do not wait for an answer
sub begin
{
	my ($s, $sql) = @_;
	$s->{out} = $s->{err} = '';
	$s->{in} .= "$sql;\n\\echo done\n";
	for (1 .. 50)
	{
		$s->{run}->pump_nb;
		last if $s->{in} eq '';
		usleep(10_000);
	}
	return;
}
sub result
{
	my ($s) = @_;
	$s->{run}->pump until $s->{out} =~ /^done$/m || $s->{err} =~ /FATAL|lost|terminated/;
	return $1 if $s->{err} =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})/;
	return $s->{out} =~ s/done\n\z//r =~ s/\n\z//r;
}
sub waiting
{
	my ($n, $type) = @_;
	return wait_until($node, "SELECT count(*) >= $n FROM pg_stat_activity WHERE usename = 'clerk' AND wait_event_type = '$type'", 4);
}

# ---- stopped ----

my $old = session($node, 'clerk');
is(ask($old, $phones), '20', 'a session with keys');
my @new = map { session($node, 'clerk') } 1 .. 4;
my $agent = key_agent($node);
kill 'STOP', $agent;
my $began = time;
begin($_, "$phones") foreach @new[0, 1, 2];
ok(waiting(3, 'Extension'), 'three sessions ask an agent that does not move');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk' AND wait_event_type = 'Extension' ORDER BY pid LIMIT 1});
is(ask($old, $phones), '20', 'who has keys goes on');
my $asked = time;
is(ask($new[3], "SET statement_timeout = '300ms'; $phones"), '57014', 'the wait can be cancelled');
cmp_ok(time - $asked, '<', 4.5, 'at once');
my %ends;
$ends{ result($_) }++ foreach @new[0, 1, 2];
is_deeply(\%ends, { PI004 => 2, '57P01' => 1 }, 'one is ended, the others are told that there is no key');
cmp_ok(time - $began, '<', 20, 'within seconds');
like(join('', map { $_->{err} } @new[0, 1, 2]), qr/key agent does not run or does not answer/, 'for that reason');

# 200 sessions at once, most of them new, while it cannot answer; then it can
my $script = "$node->{courier_pii}{directory}/ask.sql";
append_to_file($script, "$phones;\n");
my ($out, $err) = ('', '');
my $crowd = IPC::Run::start([ 'pgbench', '-n', '-f', $script, '-c', '200', '-j', '2', '-t', '1', '-h', $node->host, '-p', $node->port, '-U', 'clerk', $db ],
	'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
waiting(10, 'Extension');
kill 'CONT', $agent;
$crowd->finish;
like($out, qr{processed: 200/200}, '200 sessions that ask at once get their keys') or diag($err);
is(key_agent($node), $agent, 'of the same agent');
is(ask($_, 'RESET statement_timeout; ' . $phones), '20', 'and so do those who gave up') foreach grep { $_->{err} !~ /57P01/ } @new;
bye($_) foreach @new;

# ---- killed while somebody waits ----

my $victim = session($node, 'clerk');
kill 'STOP', $agent;
begin($victim, "$phones");
ok(waiting(1, 'Extension'), 'somebody waits');
kill 'KILL', $agent;
like(result($victim), qr/^(57P02|PI004|)$/, 'and is freed when the agent is killed');
for (1 .. 100)
{
	last unless kill 0, $agent;
	usleep(100_000);
}
ok($node->poll_query_until($db, 'SELECT true'), 'the server recovers');
is(query_as($node, 'clerk', $phones), '20', 'and gives out keys');
bye($_) foreach $victim, $old;

# ---- parallel workers ----

sql(q{CREATE TABLE public.many (id int, phone courier_pii.phone);
	INSERT INTO public.many SELECT g, (13800000000 + g % 50)::text FROM generate_series(1, 3000) g;
	GRANT SELECT ON public.many TO clerk; ALTER TABLE public.many SET (parallel_workers = 3); ANALYZE public.many});
my $parallel = q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;};
my $scan = q{SELECT count(*) FROM public.many WHERE phone = '13800000007'};
SKIP:
{
	skip('this search is not parallel', 1) unless query_as($node, 'clerk', "$parallel EXPLAIN $scan") =~ /Gather/;
	is(query_as($node, 'clerk', "$parallel $scan"), '60', 'workers of a new session ask for themselves');
}

# ---- sessions that may do nothing yet ----

# a statement that runs already does not ask again whether it may: the agent does
my $running = session($node, 'clerk');
my $holder = session($node, $node->safe_psql('postgres', 'SELECT current_user'));
ask($holder, 'SELECT pg_advisory_lock(7)');
begin($running, "SELECT count(recv_phone) FROM masked.shipment WHERE (SELECT pg_advisory_lock(7)::text = '')");
ok(waiting(1, 'Lock'), 'a statement waits before its first key');
sql(q{SELECT courier_pii.set_password('clerk', 'Vermilion-7-cactus-Umbrella', 'forgotten')});
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'clerk'}), '1', 'its account must change the password meanwhile');
ask($holder, 'SELECT pg_advisory_unlock(7)');
is(result($running), 'PI004', 'and gets no key');
like($running->{err}, qr/may do nothing until its password is changed/, 'for that reason');
is(ask($running, 'SELECT count(recv_phone) FROM masked.shipment'), '28P01', 'the session itself refuses the next one');
bye($_) foreach $running, $holder;

# ---- no agent at all: single-user mode ----

$node->stop;
my $single = '';
my $took = time;
IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, $db ], '<', \"SELECT courier_pii.show(recv_phone) FROM app.shipment LIMIT 1\nSELECT 1 AS here\n",
	'>', \$single, '2>', \$single, IPC::Run::timeout(60));
like($single, qr/encryption key is not available/, 'in single-user mode no value is shown');
like($single, qr/here = "1"/, 'and the rest works');
cmp_ok(time - $took, '<', 20, 'without waiting');

done_testing();
