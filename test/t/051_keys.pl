
# Keys: epochs, the key agent, key sources, destruction.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use File::Copy;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('keys', allows_streaming => 1, conf => "autovacuum = off\n");
load_sample($node, rows => 20);
my $store = $node->{courier_pii}{key_store};
my $shown = 'SELECT count(recv_phone) FROM masked.shipment WHERE length(recv_phone) = 11';

sub sql { return $node->safe_psql($db, $_[0]); }
sub phone_epoch { return sql(q{SELECT max(epoch) FROM courier_pii.key_status WHERE class = 'phone' AND state = 'active'}); }
sub key_check { return sql(q{SELECT DISTINCT key_check FROM courier_pii.key_status WHERE state IN ('active', 'sealed', 'pending')}); }

# ---- epochs ----

is(query_as($node, 'clerk', $shown), '20', 'values are shown');
my $first = phone_epoch();
my $session = $node->background_psql($db, on_error_stop => 1);
$session->query_safe('CREATE TABLE public.t (phone courier_pii.phone, note courier_pii.note)');
$session->query_safe(q{INSERT INTO public.t VALUES ('13800000001', 'a')});
is(sql(q{SELECT courier_pii.new_epoch('phone')}), $first + 1, 'a new epoch');
$session->query_safe(q{INSERT INTO public.t VALUES ('13800000001', 'b')});
is(sql('SELECT string_agg(courier_pii.epoch_of(phone)::text, $$,$$ ORDER BY 1) FROM public.t'),
	"$first," . ($first + 1), 'another session seals with it at once');
is(sql(q{SELECT count(*) FROM public.t WHERE phone = '13800000001'}), '2', 'search finds both');
is(sql(q{SELECT courier_pii.set_suite('phone', 'SM4-CTR-HMAC-SM3')}), $first + 2, 'another suite');
$session->query_safe(q{INSERT INTO public.t VALUES ('13800000001', 'c')});
is(sql('SELECT count(DISTINCT phone), count(*) FROM public.t'), '1|3', 'equal across suites');
is(query_as($node, 'clerk', $shown), '20', 'older values stay readable');
is(error_as($node, 'clerk', q{SELECT courier_pii.new_epoch('phone')}), '42501', 'not for everybody');

my $sealed = sql(q{SELECT values_sealed FROM courier_pii.key_status WHERE class = 'note'});
$session->query_safe(q{BEGIN; INSERT INTO public.t SELECT NULL, 'n' || g FROM generate_series(1, 1000) g; ROLLBACK});
is(sql(q{SELECT values_sealed FROM courier_pii.key_status WHERE class = 'note'}), $sealed + 1000, 'messages are counted, also of what is rolled back');

# ---- the agent ----

my $agent = key_agent($node);
isnt($agent, '', 'the key agent runs');
kill 'TERM', $agent;
$session->query_safe(q{INSERT INTO public.t VALUES ('13800000002', 'c')});
is(query_as($node, 'clerk', $shown), '20', 'a new session waits for the next agent');
isnt(key_agent($node), $agent, 'which is another process');
is(sql('SELECT pg_terminate_backend(' . key_agent($node) . ')'), 'f', 'no SQL ends it');
SKIP:
{
	skip('no /proc', 2) unless -r "/proc/$$/limits";
	my $pid = key_agent($node);
	open my $limits, '<', "/proc/$pid/limits" or skip('limits cannot be read', 2);
	like(join('', <$limits>), qr/Max core file size\s+0\s/, 'the agent leaves no core');
	ok(!open(my $mem, '<', "/proc/$pid/mem") || $> == 0, 'nor can its own account read its memory');
}
$node->restart;
is(sql(q{SELECT values_sealed FROM courier_pii.key_status WHERE class = 'note'}) >= $sealed + 1000 ? 'kept' : 'lost', 'kept', 'counts survive a restart');

# ---- the counter ----

my $epoch = phone_epoch();
$node->stop;
my ($count_file) = glob(sprintf("$store/class-00002-epoch-%05d.count-*", $epoch));
ok($count_file, 'the count is written down');
sub put { my ($file, $text) = @_; open my $out, '>', $file or die "$file: $!"; print $out $text; close $out; chmod 0600, $file; return; }
put($count_file, 2**31 - 100);
$node->start;
sql(q{INSERT INTO public.t SELECT '138' || lpad(g::text, 8, '0') FROM generate_series(1, 1000) g});
is(phone_epoch(), $epoch + 1, 'half way to the limit a new epoch is made by itself');
cmp_ok(sql(qq{SELECT values_sealed FROM courier_pii.key_status WHERE class = 'phone' AND epoch = $epoch}), '<=', 2**31, 'and the old key is not used further');

# the store is full (cannot be written): sealing goes on up to the limit, then stops
$epoch = phone_epoch();
$node->stop;
($count_file) = glob(sprintf("$store/class-00002-epoch-%05d.count-*", $epoch));
put($count_file, 2**32 - 2**22 - 100);
$node->start;
SKIP:
{
	skip('root writes everywhere', 3) if $> == 0;
	chmod 0500, $store;
	is(error_as($node, $node->safe_psql('postgres', 'SELECT current_user'), q{SELECT courier_pii.new_epoch('note')}), 'PI004', 'a store that cannot be written: no new epoch');
	my ($state, $err) = error_as($node, $node->safe_psql('postgres', 'SELECT current_user'), q{INSERT INTO public.t SELECT '138' || lpad(g::text, 8, '0') FROM generate_series(1, 1000) g});
	is($state, 'PI004', 'at the limit sealing stops');
	is(query_as($node, 'clerk', $shown), '20', 'reading goes on');
	chmod 0700, $store;
}
sql(q{INSERT INTO public.t SELECT '138' || lpad(g::text, 8, '0') FROM generate_series(1, 10) g});
is(phone_epoch(), $epoch + 1, 'and goes on with the next epoch');

# ---- damage ----

my $file = sprintf("$store/class-00002-epoch-%05d.secret", $first);
my $secret = slurp_file($file);
(my $changed = $secret) =~ s/^(.)/$1 eq '0' ? '1' : '0'/e;
foreach my $case ([ $changed, qr/check value/ ], [ substr($secret, 0, 40), qr/damaged/ ], [ '', qr/damaged/ ])
{
	put($file, $case->[0]);
	$node->restart;
	my ($state, $err) = error_as($node, 'clerk', $shown);
	is($state, 'PI004', 'a damaged secret is told from a damaged value');
	like($err, $case->[1], 'with the reason');
}
unlink $file;
$node->restart;
my ($state, $err) = error_as($node, 'clerk', $shown);
is($state, 'PI004', 'a secret that is not there');
like($err, qr/no secret of class "phone", epoch $first/, 'is named');
put($file, $secret);
is(query_as($node, 'clerk', $shown), '20', 'put back, it is found without a restart');

# what a crash leaves: half a file, and a destruction half done
put("$store/class-00008-epoch-00001.secret.999.tmp", 'half');
utime time - 3600, time - 3600, "$store/class-00008-epoch-00001.secret.999.tmp";
my $note = sql(q{SELECT courier_pii.new_epoch('item')});
my $item = sprintf("$store/class-00007-epoch-%05d", $note);
put("$item.destroyed", 'destroyed ' . time . "\n");
$node->restart;
for (1 .. 600)
{
	last unless -e "$store/class-00008-epoch-00001.secret.999.tmp";
	select undef, undef, undef, 0.1;
}
ok(!-e "$store/class-00008-epoch-00001.secret.999.tmp", 'temporary files are removed');
ok(!-e "$item.secret", 'a destruction is finished');
is(sql(qq{SELECT state FROM courier_pii.key_status WHERE class = 'item' AND epoch = $note}), 'destroyed', 'and known');

# ---- destruction ----

my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->backup('before');
is(error_as($node, $superuser, q{SELECT courier_pii.destroy_epoch('phone', 99)}), '42704', 'no such epoch');
is(error_as($node, $superuser, q{SELECT courier_pii.destroy_epoch('phone', } . phone_epoch() . ')'), '55000', 'not the active one');
is(error_as($node, $superuser, "SELECT courier_pii.destroy_epoch('phone', $first)"), '55006', 'not what is needed');
is(error_as($node, 'clerk', "SELECT courier_pii.destroy_epoch('phone', $first, true)"), '42501', 'not by everybody');
$session = $node->background_psql($db, on_error_stop => 0);
$session->query_safe(q{SELECT count(*) FROM public.t WHERE phone = '13800000001'});
sql("SELECT courier_pii.destroy_epoch('phone', $first, true)");
ok(!-e $file, 'its secret is gone');
($state, $err) = error_as($node, 'clerk', $shown);
is($state, 'PI004', 'its values cannot be read');
like($err, qr/epoch destroyed/, 'and the message says why');
is(sql(q{SELECT count(DISTINCT recv_phone) FROM app.shipment}), '20', 'they compare');
is(error_as($node, $superuser, "SELECT courier_pii.destroy_epoch('phone', $first, true)"), '55000', 'only once');
like(audit($node, q{SELECT string_agg(command || ' ' || outcome, ',') FROM courier_pii.audit_log WHERE action = 'KEY'}), qr/destroy_epoch ok/, 'recorded');
$session->quit;

my $copy = CourierPii->new_node('restored', from_backup => [ $node, 'before' ]);
($state, $err) = error_as($copy, 'clerk', $shown);
is($state, 'PI004', 'nor can those of an older backup, with the keys of today');
like($err, qr/epoch destroyed/, 'for the same reason');
is(query_as($copy, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment'), '20', 'other classes can');
$copy->stop;

# ---- tags that die with their epoch ----

sql('CREATE TABLE public.u (id int, phone courier_pii.phone); CREATE INDEX ON public.u (phone)');
sql(q{INSERT INTO public.u VALUES (1, '13900000001'), (2, '13900000002')});
my $prepared = $node->background_psql($db, on_error_stop => 1);
$prepared->query_safe(q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM public.u WHERE phone = $1});
is($prepared->query_safe(q{EXECUTE p('13900000001')}), '1', 'a prepared search');
is(error_as($node, $superuser, q{SELECT courier_pii.set_search_scope('phone', 'row')}), '22023', 'no such scope');
my $scoped = sql(q{SELECT courier_pii.set_search_scope('phone', 'epoch')});
sql(q{INSERT INTO public.u VALUES (3, '13900000001')});
sql(q{SELECT courier_pii.new_epoch('phone')});
sql(q{INSERT INTO public.u VALUES (4, '+86 139 0000 0001')});
my $ids = q{SELECT string_agg(id::text, ',' ORDER BY id) FROM public.u};
is(sql(qq{$ids WHERE phone = '13900000001'}), '1,3,4', 'a search finds the values of all epochs');
is(sql(qq{SET enable_seqscan = off; $ids WHERE phone = '13900000001'}), '1,3,4', 'by the index too');
like(sql(qq{SET enable_seqscan = off; EXPLAIN (COSTS OFF) $ids WHERE phone = '13900000001'}), qr/Index Cond/, 'which is used');
is(sql(qq{$ids WHERE phone IN ('13900000001', '13900000002')}), '1,2,3,4', 'IN likewise');
is(sql(qq{$ids WHERE phone <> '13900000001'}), '2', 'and <>');
is(sql(qq{$ids WHERE phone = '13900000001'::text}), '1,3,4', 'and with a text');
is($prepared->query_safe(q{EXECUTE p('13900000001')}), '3', 'the prepared search looks again');
$prepared->quit;
is(sql(q{SELECT count(DISTINCT phone) FROM public.u WHERE id IN (1, 3, 4)}), '3', 'tags of two epochs tell nothing of each other');
is(sql(q{SELECT count(*) FROM public.u WHERE courier_pii.tail4(phone) IS NULL}), '2', 'and there is none of the last four characters');
is(error_as($node, $superuser, q{SELECT courier_pii.tail4_of('phone', '0001')}), '0A000', 'which is said');
sql("SELECT courier_pii.destroy_epoch('phone', $scoped, true)");
is(sql(qq{$ids WHERE phone = '13900000001'}), '1,4', 'a destroyed epoch cannot even be searched');

# ---- the command source ----

my $side = $node->{courier_pii}{directory};
my $key = slurp_file($node->{courier_pii}{key_file});
my $hex = unpack 'H*', $key;
sub command
{
	my ($name, $script, $expected, %options) = @_;
	put("$side/command", "#!/bin/sh\n$script\n");
	chmod $options{mode} // 0700, "$side/command";
	my $command = $options{command} // "$side/command one 'two three'";
	$command =~ s/'/''/g;
	$node->append_conf('postgresql.conf', "courier_pii.key_source = 'command'\ncourier_pii.key_command = '$command'\ncourier_pii.key_command_timeout = 1s\n");
	$node->restart;
	ok(wait_until($node, q{SELECT count(*) = 0 FROM courier_pii.key_status WHERE key_check LIKE '%fetching%'}), "$name: no hang");
	like(key_check(), $expected, $name);
	return;
}
command('a command with arguments', qq{[ "\$1" = one ] && [ "\$2" = "two three" ] && echo $hex}, qr/^ok$/);
is(query_as($node, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment'), '20', 'opens values');
command('runs once', "echo x >> $side/runs; echo $hex", qr/^ok$/);
query_as($node, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment') for 1 .. 3;
is(-s "$side/runs", 2, 'whatever is asked');
command('a failing command', 'exit 3', qr/failed with exit code 3/);
is(error_as($node, 'clerk', 'SELECT recv_addr FROM masked.shipment'), 'PI004', 'seals the server');
command('a command that is killed', 'kill -9 $$', qr/ended by a signal/);
command('a command that hangs', "sleep 1000", qr/did not end within 1 seconds/);
command('and hangs after it printed', "echo $hex; exec >&-; sleep 1000", qr/did not end within 1 seconds/);
command('too much output', 'yes', qr/printed more than/);
command('31 bytes', 'printf %31s x', qr/wrong length or form/);
command('33 bytes', 'printf %33s x', qr/wrong length or form/);
command('no output', ':', qr/wrong length or form/);
command('another key', 'printf %064d 7', qr/not the one/);
command('writable by others', "echo $hex", qr/changed by other users/, mode => 0722);
command('not executable', "echo $hex", qr/cannot be executed/, mode => 0600);
command('no absolute path', "echo $hex", qr/not an absolute path/, command => 'command');
command('an open quote', "echo $hex", qr/open quote/, command => "$side/command 'one");
command('a missing command', "echo $hex", qr/Could not find/, command => "$side/nothing");

# a module behind PKCS#11
SKIP:
{
	my ($module) = grep { -e } glob('/usr/lib/*/softhsm/libsofthsm2.so'), '/usr/lib/softhsm/libsofthsm2.so';
	my $tools = grep { -x "/usr/bin/$_" } 'softhsm2-util', 'pkcs11-tool';
	skip('softhsm2 and opensc are not installed', 3) unless $module && $tools == 2;
	mkdir "$side/tokens";
	put("$side/softhsm2.conf", "directories.tokendir = $side/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");
	local $ENV{SOFTHSM2_CONF} = "$side/softhsm2.conf";
	my @token = ('--module', $module, '--token-label', 'courier');
	command_ok([ 'softhsm2-util', '--init-token', '--free', '--label', 'courier', '--so-pin', '1234', '--pin', '5678' ], 'a token');
	run_log([ 'pkcs11-tool', @token, '--login', '--pin', '5678', '--keypairgen', '--key-type', 'rsa:2048', '--id', '01' ]);
	run_log([ 'pkcs11-tool', @token, '--read-object', '--type', 'pubkey', '--id', '01', '--output-file', "$side/public.der" ]);
	run_log([ 'openssl', 'pkeyutl', '-encrypt', '-pubin', '-keyform', 'DER', '-inkey', "$side/public.der",
		'-pkeyopt', 'rsa_padding_mode:pkcs1', '-in', $node->{courier_pii}{key_file}, '-out', "$side/wrapped" ]);
	put("$side/pin", "5678\n");
	put("$side/pkcs11.conf", "MODULE=$module\nTOKEN=courier\nKEY_ID=01\nPIN_FILE=$side/pin\nWRAPPED=$side/wrapped\nSOFTHSM2_CONF=$side/softhsm2.conf\n");
	copy('tools/key_command_pkcs11', "$side/pkcs11");
	chmod 0700, "$side/pkcs11";
	command('a hardware module', ':', qr/^ok$/, command => "$side/pkcs11 $side/pkcs11.conf");
	is(query_as($node, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment'), '20', 'opens values');
}

# ---- custodians ----

put("$side/copy", $hex);
my @shares = split /\n/, `perl tools/key_tool split $side/copy 2 3`;
put("$side/other", '7' x 64);
my @foreign = split /\n/, `perl tools/key_tool split $side/other 2 3`;
is(scalar @shares, 3, 'three shares');
$node->append_conf('postgresql.conf', "courier_pii.key_source = 'custodians'\nlog_statement = 'all'\nlog_min_error_statement = 'error'\n");
$node->restart;
like(key_check(), qr/No custodian has entered a share/, 'sealed until custodians come');
is(error_as($node, 'clerk', 'SELECT recv_addr FROM masked.shipment'), 'PI004', 'no value before');
is(error_as($node, 'clerk', "SELECT courier_pii.unseal('$shares[0]')"), '42501', 'not by everybody');
my @mistakes = (['', qr/no share/], ['no', qr/form/], ['pii1-2-1', qr/form/], [$foreign[0], qr/another master key/]);
(my $mistyped = $shares[1]) =~ s/(.)-([0-9a-f]{8})$/($1 eq '0' ? '1' : '0') . "-$2"/e;
push @mistakes, [$mistyped, qr/mistyped/];
foreach my $case (@mistakes)
{
	($state, $err) = error_as($node, $superuser, "SELECT courier_pii.unseal('$case->[0]')");
	is($state, '22023', 'a wrong share is refused');
	like($err, $case->[1], 'with the reason');
}
is(sql("SELECT courier_pii.unseal('$shares[2]')"), '1', 'the first share: one is missing');
is(error_as($node, $superuser, "SELECT courier_pii.unseal('$shares[2]')"), '22023', 'not twice');
is(sql("SELECT courier_pii.unseal('$shares[0]')"), '0', 'the second, in another session: none is missing');
is(query_as($node, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment'), '20', 'values are shown');
is(error_as($node, $superuser, "SELECT courier_pii.unseal('$shares[1]')"), '22023', 'no more are wanted');
my $watch = $node->background_psql($db, on_error_stop => 0);
$watch->query("SELECT courier_pii.unseal('$shares[1]')");
my @parts = map { (split /-/)[4] } @shares, $mistyped;
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pii1-%' AND pid <> pg_backend_pid()}), '0', 'no share in pg_stat_activity');
$watch->quit;
flush_audit($node);
is_deeply([ grep_files($node->logfile, @parts) ], [], 'nor in the server log');
is_deeply([ grep_files($node->data_dir, @parts), grep_files($node->{courier_pii}{audit_directory}, @parts) ], [], 'nor in any file');
$node->stop;

done_testing();
