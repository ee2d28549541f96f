
# What comes from the key source and from the key store may be anything: a
# quiet error that says what is wrong, no wait without end, no key in the log.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiWire;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(time);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('sources', conf => "autovacuum = off\nlog_statement = 'all'\nlog_min_duration_statement = 0\n");
load_sample($node, rows => 20);
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $shown = 'SELECT count(recv_phone) FROM masked.shipment WHERE length(recv_phone) = 11';
my ($file, $store, $side) = @{ $node->{courier_pii} }{qw(key_file key_store directory)};
my $key = slurp_file($file);
my $hex = unpack 'H*', $key;
$node->safe_psql($db, q{SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL)});
is(query_as($node, 'clerk', $shown), '20', 'values are shown');

sub key_check { return $node->safe_psql($db, q{SELECT DISTINCT key_check FROM courier_pii.key_status WHERE class = 'phone'}); }
sub put
{
	my ($path, $text, $mode) = @_;
	unlink $path;
	append_to_file($path, $text);
	chmod $mode // 0600, $path;
	return;
}
sub children
{
	my ($parent) = @_;
	return grep { !/\bps\b/ } split /\n/, `ps -o pid=,stat=,args= --ppid $parent`;
}

# a sealed server asks its source again when the settings are read again
sub tried
{
	my ($name, $expected) = @_;
	my $began = time;
	$node->reload;
	ok(wait_until($node, "SELECT bool_or(key_check ~ '$expected') FROM courier_pii.key_status WHERE class = 'phone'", 10), $name)
	  or diag(key_check());
	cmp_ok(time - $began, '<', 10, 'without a wait');
	return;
}

# ---- a file ----

$node->stop;
unlink $file;
mkdir $file;
$node->start;
ok(wait_until($node, q{SELECT bool_or(key_check ~ 'not a regular file') FROM courier_pii.key_status}), 'a directory in place of the key file');
rmdir $file;
mkfifo($file, 0600) or die "mkfifo: $!";
tried('a pipe that nobody writes to', 'not a regular file');
unlink $file;
symlink '/dev/zero', $file;
tried('a device without end', 'not a regular file');
unlink $file;
put($node->data_dir . '/copy.key', $key);
symlink $node->data_dir . '/copy.key', $file;
tried('a link into the data directory', 'inside the data directory');
unlink $node->data_dir . '/copy.key';
unlink $file;
symlink "$side/nowhere", $file;
tried('a link to nothing', 'Could not open');
unlink $file;
symlink '/etc/hostname', $file;
tried('a file of another account that all can read', 'accessible to other users');
foreach my $case ([ 'empty', '' ], [ 'a digit short', substr($hex, 1) ], [ 'a digit too many', "${hex}0" ],
	[ 'a zero byte among digits', substr($hex, 1) . "\0" ], [ 'a megabyte', 'a' x 1_000_000 ], [ 'a line end behind 32 bytes', "$key\n" ])
{
	put($file, $case->[1]);
	tried($case->[0], 'wrong length or form');
}
put($file, uc($hex) . "\r\n");
tried('upper case and the line end of another system', '^ok$');
is(query_as($node, 'clerk', $shown), '20', 'values are shown');

# ---- a command ----

my $number = 0;
sub command
{
	my ($script) = @_;
	put("$side/command", "#!/bin/sh\n$script\n", 0700);
	return;
}
command('exit 5');
$node->append_conf('postgresql.conf', "courier_pii.key_source = 'command'\ncourier_pii.key_command = '$side/command'\ncourier_pii.key_command_timeout = 1s\n");
$node->restart;
ok(wait_until($node, q{SELECT bool_or(key_check ~ 'exit code 5') FROM courier_pii.key_status}), 'a command that fails');
command("sleep 4321 & echo $hex");
tried('one whose child keeps the pipe open', 'did not end within 1 seconds');
is(scalar(grep { /sleep 4321/ } split /\n/, `ps -eo args=`), 0, 'which is gone as well');
command("echo $hex >&2; exit 6");
tried('the key where messages belong', 'exit code 6');
command("printf '%063d\\\\0' 7");
tried('digits and a zero byte', 'wrong length or form');
command('head -c 1000000 /dev/zero');
tried('a megabyte of zeros', 'printed more than');
command("cat; [ -z \"\$HOME\$PGDATA\" ] && printf '%s\\r\\n' " . uc $hex);
tried('upper case, with nothing to read and no environment', '^ok$');
is(query_as($node, 'clerk', $shown), '20', 'values are shown');
is_deeply([ children(key_agent($node)) ], [], 'no process of a command is left, dead or alive');
is_deeply([ grep_files($node->logfile, $hex, uc $hex) ], [], 'and no key in the log');

# ---- custodians ----

put("$side/copy", $hex);
my @shares = split /\n/, `perl tools/key_tool split $side/copy 2 3`;
my @again = split /\n/, `perl tools/key_tool split $side/copy 2 3`;
my @more = split /\n/, `perl tools/key_tool split $side/copy 3 5`;
unlink "$side/copy";
sub unseal { return error_as($node, $superuser, "SELECT courier_pii.unseal('$_[0]')"); }

$node->append_conf('postgresql.conf', "courier_pii.key_source = 'custodians'\n");
$node->restart;
ok(wait_until($node, q{SELECT bool_or(key_check ~ 'No custodian has entered') FROM courier_pii.key_status}), 'sealed until custodians come');
is($node->safe_psql($db, "SELECT courier_pii.unseal('$shares[0]')"), '1', 'a share');
my ($state, $err) = unseal($more[1]);
is($state, '22023', 'one of another threshold');
like($err, qr/another set of shares/, 'is told');
like(key_check(), qr/entered 1 shares/, 'and does not spoil the first');
($state, $err) = unseal($again[1]);
is($state, '22023', 'one of another splitting of the same key');
like($err, qr/do not make the master key/, 'is told when the shares come together');
like(key_check(), qr/do not make the master key/, 'by the key check, too');
is(error_as($node, 'clerk', $shown), 'PI004', 'nothing is shown');

# by whatever way a share comes, as people type it
is($node->safe_psql($db, "SELECT courier_pii.unseal('  " . uc($shares[0]) . "  \n')"), '1', 'all begin anew; upper case and blanks do no harm');
($state, $err) = error_as($node, $superuser, "DO \$\$BEGIN PERFORM courier_pii.unseal('$shares[0]'); END\$\$");
is($state, '22023', 'the same share again, in a block');
($state) = error_as($node, $superuser, "PREPARE p(text) AS SELECT courier_pii.unseal(\$1); EXECUTE p('$shares[0]')");
is($state, '22023', 'in a prepared statement');
my $wire = CourierPiiWire->new($node, $superuser);
$wire->parse('SELECT courier_pii.unseal($1)');
$wire->bind('', 0, $shares[2]);
$wire->execute('');
$wire->sync;
$wire->drop;
ok(wait_until($node, q{SELECT bool_or(key_check = 'ok') FROM courier_pii.key_status WHERE class = 'phone'}, 10), 'the second one, as a parameter');
is(query_as($node, 'clerk', $shown), '20', 'values are shown');
is_deeply([ grep_files($node->logfile, map { my $part = (split /-/)[4]; ($part, uc $part) } @shares, @again, @more) ], [],
	'no share in the log, which has every statement');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'KEY' AND command = 'unseal' AND outcome = 'ok' AND login_role IS NOT NULL}), '3', 'who entered one is recorded');

# ---- the key store ----

# told(NAME, EXPECTED, DO, UNDO): one new session meets it, the next one does not
sub told
{
	my ($name, $expected, $do, $undo) = @_;
	my $began = time;
	$do->();
	my ($state, $err) = error_as($node, 'clerk', $shown);
	is($state, 'PI004', $name);
	like($err, $expected, 'is told');
	$undo->();
	is(query_as($node, 'clerk', $shown), '20', 'and over when it is put right');
	cmp_ok(time - $began, '<', 10, 'without a wait');
	return;
}
my ($phone) = glob("$store/class-00002-epoch-00001.secret");
my ($name) = glob("$store/class-00001-epoch-00001.secret");
my $secret = slurp_file($phone);
my $installation = slurp_file("$store/installation");
my $back = sub { put($phone, $secret) };
$node->safe_psql($db, q{SELECT courier_pii.new_epoch('phone')});
told('the secret of another class', qr/does not match its check value/, sub { put($phone, slurp_file($name)) }, $back);
told('of another epoch', qr/does not match its check value/, sub { put($phone, slurp_file("$store/class-00002-epoch-00002.secret")) }, $back);
told('the secret alone', qr/damaged/, sub { put($phone, substr($secret, 0, 64) . "\n") }, $back);
told('a zero byte in it', qr/damaged/, sub { put($phone, substr($secret, 0, 90) . "\0" . substr($secret, 91)) }, $back);
told('a link to a secret', qr/Could not open/, sub { rename $phone, "$side/moved"; symlink "$side/moved", $phone; }, $back);
told('a pipe in its place', qr/not a regular file/, sub { unlink $phone; mkfifo($phone, 0600); }, $back);
told('a directory in its place', qr/not a regular file/, sub { unlink $phone; mkdir $phone; }, sub { rmdir $phone; $back->(); });
SKIP:
{
	skip('root reads everything', 4) if $> == 0;
	told('one that cannot be read', qr/Permission denied/, sub { chmod 0, $phone }, $back);
}
my $inside = $node->data_dir . '/store';
told('a store that is a link into the data directory', qr/inside the data directory/,
	sub { rename $store, $inside; symlink $inside, $store; }, sub { unlink $store; rename $inside, $store; });
told('a store that others may look into', qr/accessible to other users/, sub { chmod 0750, $store }, sub { chmod 0700, $store });
# (of the check value: another server has changed the master key, which is for the next reload)
foreach my $at (0, 31, 32, length($installation) - 1)
{
	my $changed = $installation;
	substr($changed, $at, 1) = chr(ord(substr $changed, $at, 1) ^ 1);
	told("the installation's file, byte $at", qr/damaged|missing|not the one/, sub { put("$store/installation", $changed) }, sub { put("$store/installation", $installation) });
}
is(slurp_file("$side/moved"), $secret, 'nothing was overwritten through a link');
$node->stop;

done_testing();
