
# Another master key while the server works: from a file, a command, custodians;
# with crashes around the moment of the change; and what the old key still opens.

use strict;
use warnings;

use CourierPii;
use File::Copy qw(copy move);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $KILLS = $ENV{COURIER_PII_STORE_KILLS} // 6;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('master', conf => "restart_after_crash = on\nautovacuum = off\n");
my $store = $node->{courier_pii}{key_store};
my $file = $node->{courier_pii}{key_file};
my $side = $node->{courier_pii}{directory};
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

sub sql { return $node->safe_psql($db, $_[0]); }
sub key_check { return sql(q{SELECT DISTINCT key_check FROM courier_pii.key_status WHERE class = 'phone'}); }
sub put
{
	my ($path, $text) = @_;
	unlink $path;
	open my $out, '>', $path or die "$path: $!";
	print $out $text;
	close $out or die $!;
	chmod 0600, $path;
	return;
}
my $made = 0;
sub new_key { $made++; return join '', map { sprintf '%02x', ($made * 41 + $_ * 7) % 256 } 1 .. 32; }
sub wait_for_keys
{
	return wait_until($node, q{SELECT count(*) = 0 FROM courier_pii.key_status WHERE state = 'sealed'});
}

sub start_after_crash
{
	for (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		# orphans of the dead server were still there
		$node->stop('immediate', fail_ok => 1);
		$node->{_pid} = undef;
		usleep(100_000);
	}
	die 'server does not start after the crash';
}

sql(q{
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.t (id serial PRIMARY KEY, n bigint, phone courier_pii.phone, name courier_pii.person_name);
	GRANT SELECT ON public.t TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear', true);
	SELECT courier_pii.grant_disclosure('clerk', 'person_name', 'clear', true);
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	INSERT INTO public.t (n, phone, name) SELECT 13800000000 + i, (13800000000 + i)::text, '王小明' FROM generate_series(1, 60) i});
my $wrong = q{SELECT count(*), count(*) FILTER (WHERE courier_pii.show(phone) IS DISTINCT FROM n::text OR courier_pii.show(name) <> '王小明') FROM public.t};
is(query_as($node, 'clerk', $wrong), '60|0', 'all values are shown');
my $change = 'SELECT courier_pii.change_master_key()';

# ---- what is refused ----

my $installation = slurp_file("$store/installation");
my ($state, $err) = error_as($node, $superuser, $change);
is($state, '55000', 'without another key nothing is changed');
like($err, qr/the master key was not changed\nDETAIL:  Could not open key file ".*\.next"/, 'with the reason');
is(error_as($node, 'clerk', $change), '42501', 'not by everybody');
copy($file, "$file.next");
chmod 0600, "$file.next";
($state, $err) = error_as($node, $superuser, $change);
is($state, '55000', 'the key in use is no other key');
like($err, qr/is, or was, in use already/, 'with the reason');
put("$file.next", new_key());
chmod 0644, "$file.next";
($state, $err) = error_as($node, $superuser, $change);
like($err, qr/accessible to other users/, 'a key that others can read');
put("$file.next", 'short');
($state, $err) = error_as($node, $superuser, $change);
like($err, qr/wrong length or form/, 'a key of a wrong length');
is(error_as($node, $superuser, q{SELECT courier_pii.change_master_key('pii1-2-1')}), '22023', 'shares are for custodians');
is(slurp_file("$store/installation"), $installation, 'the key store is as it was');
is(query_as($node, 'clerk', $wrong), '60|0', 'and so is all else');

# ---- a file ----

my $reader = $node->background_psql($db, extra_params => [ '-U', 'clerk' ]);
is($reader->query($wrong), '60|0', 'a session that works');
my $old = slurp_file($file);
my $second = new_key();
put("$file.next", $second);
is(sql($change), '0', 'changed');
is($reader->query($wrong), '60|0', 'the session works on');
sql(q{INSERT INTO public.t (n, phone, name) VALUES (13800000001, '13800000001', '王小明')});
is($reader->query($wrong), '61|0', 'with new values, too');
$reader->quit;
is(sql(q{SELECT string_agg(DISTINCT courier_pii.epoch_of(phone)::text, ',' ORDER BY courier_pii.epoch_of(phone)::text) FROM public.t}), '1,2', 'which are in a new epoch');
is(query_as($node, 'clerk', q{SELECT count(*) FROM public.t WHERE phone = '13800000001'}), '2', 'equal to the old ones');
is(audit($node, q{SELECT string_agg(DISTINCT detail ->> 'by', ',') FROM courier_pii.audit_log WHERE action = 'KEY' AND command = 'new_epoch'}), 'change_master_key', 'recorded');
is(audit($node, q{SELECT outcome FROM courier_pii.audit_log WHERE action = 'KEY' AND command = 'change_master_key' ORDER BY seq DESC LIMIT 1}), 'ok', 'itself as well');
is_deeply([ grep_files($store, unpack('H*', $old), $old, $second) ], [], 'the key store has no master key in clear');

is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the audit chain goes on');

$node->restart;
ok(wait_for_keys(), 'restarted with the new key in the second place');
is(query_as($node, 'clerk', $wrong), '61|0', 'all is shown');
like(slurp_file($node->logfile), qr/the new one is not in the old one's place yet/, 'and the log says what is left to do');
move("$file.next", $file);
$node->restart;
ok(wait_for_keys(), 'restarted with the new key in its place');
is(query_as($node, 'clerk', $wrong), '61|0', 'all is shown');
$node->stop;
put($file, unpack('H*', $old));
$node->start;
ok(wait_until($node, q{SELECT count(*) > 0 FROM courier_pii.key_status WHERE key_check LIKE '%not the one%'}), 'the old key is not the one any more');
is(error_as($node, 'clerk', $wrong), 'PI004', 'and opens nothing');
$node->stop;
put($file, $second);

# the former keys are bound to the store
my $whole = slurp_file("$store/installation");
(my $damaged = $whole) =~ s/^(former .{20})(.)/$1 . ($2 eq '0' ? '1' : '0')/me;
isnt($damaged, $whole, 'a changed store');
put("$store/installation", $damaged);
$node->start;
ok(wait_until($node, q{SELECT count(*) > 0 FROM courier_pii.key_status WHERE key_check LIKE '%former master key%damaged%'}), 'is noticed')
  or diag(key_check());
$node->stop;
put("$store/installation", substr($whole, 0, -9));
$node->start;
ok(wait_until($node, q{SELECT count(*) > 0 FROM courier_pii.key_status WHERE key_check LIKE '%installation% damaged%'}), 'so is a cut one')
  or diag(key_check());
$node->stop;
put("$store/installation", $whole);
$node->start;
ok(wait_for_keys(), 'the right one opens');

# ---- resealed: the old key's reach ends ----

sql(q{CALL courier_pii.reseal('public.t', 'phone')});
sql(q{CALL courier_pii.reseal('public.t', 'name')});
sql(q{SELECT courier_pii.destroy_epoch('phone', 1), courier_pii.destroy_epoch('person_name', 1)});
is(query_as($node, 'clerk', $wrong), '61|0', 'resealed, and the old epochs destroyed: all is shown');
is(query_as($node, 'clerk', q{SELECT count(*) FROM public.t WHERE phone = '13800000001'}), '2', 'and found');

# ---- crashes around the change ----

my $changed = 0;
foreach my $round (1 .. $KILLS)
{
	put("$file.next", my $next = new_key());
	my $before = slurp_file("$store/installation");
	my $pid = fork();
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		open STDERR, '>', '/dev/null';
		exec 'psql', '-XAtq', '-d', $node->connstr($db), '-U', $superuser, '-c', $change;
	}
	usleep(10_000 + int rand 90_000);
	$node->kill9;
	waitpid $pid, 0;
	my $after = slurp_file("$store/installation");
	start_after_crash();
	ok(wait_for_keys(), "keys are there after crash $round");
	is(query_as($node, 'clerk', $wrong), '61|0', 'and open everything');
	next if $after eq $before;
	$changed++;
	move("$file.next", $file);
}
note "$changed of $KILLS changes were made";
unlink "$file.next";
put("$file.next", my $third = new_key());
is(sql($change), '0', 'and it can be changed again');
move("$file.next", $file);
# but for what was recorded while there was no key above
is(audit($node, q{SELECT * FROM courier_pii.audit_verify() WHERE problem NOT LIKE 'unprotected:%'}), '', 'the audit chain is intact over all changes');

# ---- a command ----

my $hex = $third;
my $fourth = new_key();
put("$side/command", "#!/bin/sh\n[ \"\$2\" = next ] && echo $fourth || echo $hex\n");
chmod 0700, "$side/command";
$node->append_conf('postgresql.conf', "courier_pii.key_source = 'command'\ncourier_pii.key_command = '$side/command one'\ncourier_pii.key_store = '$store'\n");
$node->restart;
ok(wait_for_keys(), 'the key from a command');
is(sql($change), '0', 'changed to what it prints for "next"');
is(query_as($node, 'clerk', $wrong), '61|0', 'all is shown');
$node->restart;
ok(wait_for_keys(), 'also after a restart with the old order');
put("$side/command", "#!/bin/sh\n[ \"\$2\" = next ] && exit 3\necho $fourth\n");
chmod 0700, "$side/command";
$node->restart;
ok(wait_for_keys(), 'and with the new one');

# while a command takes its time, others get their keys
put("$side/command", "#!/bin/sh\n[ \"\$2\" = next ] && { touch $side/began; sleep 3; exit 3; }\necho $fourth\n");
chmod 0700, "$side/command";
my ($out, $problem) = ('', '');
my $slow = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), '-U', $superuser, '-c', $change ], '<', \undef, '>', \$out, '2>', \$problem, IPC::Run::timeout(60));
for (1 .. 300) { last if -e "$side/began"; usleep(10_000); }
my $began = time;
is(query_as($node, 'clerk', $wrong), '61|0', 'a new session is served while the command runs');
($state, $err) = error_as($node, $superuser, $change);
is($state, '55000', 'a second change is not begun');
like($err, qr/being changed already/, 'with the reason');
cmp_ok(time - $began, '<', 2.5, 'nobody waited for it');
$slow->finish;
like($problem, qr/master key was not changed\nDETAIL:  The key command failed with exit code 3/, 'which comes to its end');
is(error_as($node, $superuser, $change), '55000', 'no next key, no change');

# ---- custodians ----

put("$side/now", $fourth);
put("$side/then", new_key());
my @now = split /\n/, `perl tools/key_tool split $side/now 2 3`;
my @then = split /\n/, `perl tools/key_tool split $side/then 2 3`;
$node->append_conf('postgresql.conf', "courier_pii.key_source = 'custodians'\nlog_statement = 'all'\n");
$node->restart;
sql("SELECT courier_pii.unseal('$_')") for @now[ 0, 1 ];
ok(wait_for_keys(), 'the key from custodians');
is(error_as($node, $superuser, $change), '22023', 'they give shares');
is(error_as($node, $superuser, "SELECT courier_pii.change_master_key('$now[0]')"), '22023', 'of the new key');
is(sql("SELECT courier_pii.change_master_key('$then[2]')"), '1', 'one share: nothing is changed yet');
is(error_as($node, $superuser, "SELECT courier_pii.change_master_key('$then[2]')"), '22023', 'not the same twice');
is(sql("SELECT courier_pii.change_master_key('$then[1]')"), '0', 'two: changed');
is(query_as($node, 'clerk', $wrong), '61|0', 'all is shown');
$node->restart;
is(error_as($node, $superuser, "SELECT courier_pii.unseal('$now[0]')"), '22023', 'an old share is of no use');
sql("SELECT courier_pii.unseal('$_')") for @then[ 0, 2 ];
ok(wait_for_keys(), 'the new ones are');
is(query_as($node, 'clerk', $wrong), '61|0', 'all is shown');
flush_audit($node);
is_deeply([ grep_files($node->logfile, map { (split /-/)[4] } @then) ], [], 'no share in the server log');
$node->stop;

done_testing();
