
# The key store gets lost: noticed, told, never replaced by another one.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('store', allows_streaming => 1, conf => "autovacuum = off\n");
load_sample($node, rows => 20);
my $store = $node->{courier_pii}{key_store};
my $away = "$store.away";
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $shown = 'SELECT count(recv_phone) FROM masked.shipment WHERE length(recv_phone) = 11';
my $missing = q{SELECT count(*) > 0 FROM courier_pii.posture WHERE "check" = 'keys' AND severity = 'critical' AND finding LIKE 'Key store %missing or empty%'};

sub sql { return $node->safe_psql($db, $_[0]); }
sub files { return join ',', sort map { s{.*/}{}r } glob("$_[0]/*"); }
sub refused
{
	my ($role, $query, $name) = @_;
	my ($state, $err) = error_as($node, $role, $query);
	is($state, 'PI004', $name);
	like($err, qr/key store is missing/, 'as what it is');
	return;
}

sql(q{CREATE TABLE public.t (phone courier_pii.phone, mail courier_pii.email); INSERT INTO public.t VALUES ('13800000001')});
is(query_as($node, 'clerk', $shown), '20', 'values are shown');
ok(-s $node->data_dir . '/courier_pii_key_store', 'the data directory remembers the store');
is(sql($missing), 'f', 'nothing is missing');
$node->backup('before');

# ---- while the server runs ----

my $session = $node->background_psql($db, on_error_stop => 0);
$session->query_safe('SET ROLE NONE');
$session->query_safe(q{INSERT INTO public.t VALUES ('13800000002')});
is($session->query_safe(q{SELECT count(*) FROM public.t WHERE phone = '13800000002'}), '1', 'a session with keys');
rename $store, $away or die "rename: $!";
ok(wait_until($node, $missing), 'a directory that is gone is noticed by itself');
is(sql(q{SELECT DISTINCT state FROM courier_pii.key_status WHERE class = 'phone'}), 'missing', 'key_status says so');
refused('clerk', $shown, 'a new session gets no key');
refused($superuser, q{INSERT INTO public.t VALUES (NULL, 'a@example.com')}, 'no key is made for a new class');
refused($superuser, q{SELECT courier_pii.new_epoch('phone')}, 'nor another epoch');
is($session->query_safe(q{SELECT count(*) FROM public.t WHERE phone = '13800000002'}), '1', 'a session with keys searches');
$session->query(q{INSERT INTO public.t VALUES ('13800000003')});
like($session->{stderr}, qr/key store is missing/, 'but seals nothing more');
$session->{stderr} = '';
$session->quit;
ok(!-e $store, 'no directory was made');

# emptied: there is a directory, but nothing in it
mkdir $store, 0700 or die "mkdir: $!";
refused('clerk', $shown, 'an empty directory is no key store');
refused($superuser, q{INSERT INTO public.t VALUES (NULL, 'a@example.com')}, 'no key is made in it');
unlike(files($store), qr{installation|class-}, 'nothing was made in it');

# at the start
$node->restart;
ok(wait_until($node, $missing), 'noticed at the start, too');
refused('clerk', $shown, 'nothing is shown');
refused($superuser, q{INSERT INTO public.t VALUES ('13800000004')}, 'nothing is sealed');
is(sql(q{SELECT count(*) > 0 FROM public.t}), 't', 'the rest works');
$node->stop;
unlike(files($store), qr/installation|secret/, 'nothing was made in it');
rmdir $store or system('rm', '-r', $store);
$node->start;
ok(wait_until($node, $missing), 'at the start without a directory');
refused('clerk', $shown, 'nothing is shown');
ok(!-e $store, 'no directory was made');

# back again, without a restart
rename $away, $store or die "rename: $!";
ok(wait_until($node, $missing =~ s/> 0/= 0/r), 'the store is back');
is(query_as($node, 'clerk', $shown), '20', 'and everything is shown');
sql(q{INSERT INTO public.t VALUES ('13800000005', 'a@example.com')});
is(sql(q{SELECT count(*) FROM public.t WHERE phone = '13800000005'}), '1', 'and sealed');

# ---- another store ----

$node->stop;
rename $store, $away or die "rename: $!";
mkdir $store, 0700;
{
	open my $out, '>', "$store/installation" or die $!;
	open my $in, '<', "$away/installation" or die $!;
	my ($uuid, $check) = <$in>;
	$uuid =~ s/^(.)/$1 eq '0' ? '1' : '0'/e;
	print $out $uuid, $check;
	close $out;
	chmod 0600, "$store/installation";
}
$node->start;
ok(wait_until($node, q{SELECT count(*) > 0 FROM courier_pii.key_status WHERE key_check LIKE '%not the one that the values%'}), 'another store is told');
refused('clerk', $shown, 'nothing is shown');
$node->stop;
system('rm', '-r', $store);

# ---- a restored backup without the key store ----

my $copy = CourierPii->new_node('copy', from_backup => [ $node, 'before' ]);
ok(wait_until($copy, $missing), 'a backup without its key store makes none');
ok(!-e $store, 'indeed');
$copy->stop;
rename $away, $store or die "rename: $!";
$node->start;

# ---- single secrets ----

my ($phone) = sort glob("$store/class-00002-epoch-*.secret");
my $n = () = glob("$store/class-00002-epoch-*.secret");
is($n, 1, 'one epoch');
$node->stop;
rename $phone, "$phone.kept" or die "rename: $!";
$node->start;
my ($state, $message) = error_as($node, $superuser, q{INSERT INTO public.t VALUES ('13800000006')});
is($state, 'PI004', 'a class whose secrets are gone does not begin anew by itself');
like($message, qr/no secret of class "phone", epoch 1/, 'and the epoch is named');
is(sql(q{SELECT object FROM courier_pii.posture WHERE "check" = 'keys' AND severity = 'critical'}), 'phone 1', 'posture names it');
is(query_as($node, 'clerk', 'SELECT count(recv_addr) FROM masked.shipment'), '20', 'other classes are shown');
rename "$phone.kept", $phone or die "rename: $!";
is(query_as($node, 'clerk', $shown), '20', 'put back, it is found');
$node->restart;
sql(q{INSERT INTO public.t VALUES ('13800000006')});
is(sql(q{SELECT count(*) FROM courier_pii.posture WHERE "check" = 'keys'}), '0', 'nothing is left to say');

# ---- a store is never made where one was, but the first one is ----

is(scalar(() = grep_files($node->logfile, 'the key store is missing')), 1, 'the server log has it');
is_deeply([ grep_files($node->logfile, '13800000001', 'a@example.com') ], [], 'and no value');
$node->stop;

done_testing();
