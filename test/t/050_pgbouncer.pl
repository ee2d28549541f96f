
# People behind a pool: a real pgbouncer in transaction mode, two people who
# share one server connection, and every token that should not be accepted.

use strict;
use warnings;

use CourierPii;
use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = PostgreSQL::Test::Utils::tempdir('actor_keys');
my $secret = join '', map { chr int rand 256 } 1 .. 32;

sub write_file
{
	my ($path, $content, $mode) = @_;
	open my $out, '>:raw', "$path.new" or die "$path: $!";
	print $out $content;
	close $out or die "$path: $!";
	chmod $mode // 0600, "$path.new";
	rename "$path.new", $path or die "$path: $!";
	return;
}

# a gateway's Ed25519 key; the server gets the public half only
system('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', "$keys/private.pem") == 0
  or die 'openssl failed';
my $public = `openssl pkey -in $keys/private.pem -pubout -outform DER`;
my $x = encode_base64url(substr $public, -32);
write_file("$keys/secret", $secret);
my $both = sprintf '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "gate", "x": "%s"},'
  . ' {"kty": "oct", "kid": "old", "k": "%s"}]}', $x, encode_base64url($secret);
write_file("$keys/actor.jwks", $both);

my $node = CourierPii->new_node('pool',
	conf => "courier_pii.actor_key_file = '$keys/actor.jwks'\n");
my $super = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql($CourierPii::DATABASE, q{
	CREATE ROLE courier; CREATE ROLE service;
	CREATE ROLE li LOGIN IN ROLE courier; CREATE ROLE wang LOGIN IN ROLE service;
	CREATE ROLE app LOGIN;
	CREATE TABLE parcel (id integer PRIMARY KEY, branch text, phone text);
	INSERT INTO parcel SELECT i, 'A', '138' || lpad(i::text, 8, '0') FROM generate_series(1, 20) i;
	CREATE TABLE task (parcel integer, staff text);
	INSERT INTO task VALUES (5, 'S1');
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone');
	SELECT courier_pii.create_masked_view('parcel');
	GRANT USAGE ON SCHEMA masked TO app; GRANT SELECT ON masked.parcel TO app;
	SELECT courier_pii.add_org('HQ', 'head office', 'hq');
	SELECT courier_pii.hire('S1', 'Li', 'li', 'HQ', 'courier'), courier_pii.hire('S2', 'Wang', 'wang', 'HQ', 'service');
	SELECT courier_pii.grant_disclosure('service', 'phone', 'clear');
	SELECT courier_pii.set_row_rule('parcel', 'courier', 'own', visible => '{id in task.parcel where staff = actor.staff_no}');
	SELECT courier_pii.set_row_rule('parcel', 'service', 'all', visible => '{branch = ''A''}');
	});
my $audience = $node->safe_psql($CourierPii::DATABASE, 'SELECT courier_pii.actor_audience()');

# ---- tokens ----

sub tool
{
	my ($staff_no, @options) = @_;
	my ($out, $err) = run_command([ 'perl', 'tools/actor_token', '--audience', $audience,
		@options, $staff_no ]);
	die "tools/actor_token: $err" if $out eq '';
	return $out;
}

sub ed25519 { return tool(shift, '--key-file', "$keys/private.pem", '--key-id', 'gate', @_); }
sub hs256 { return tool(shift, '--key-file', "$keys/secret", '--key-id', 'old', @_); }

# a token from parts that no honest gateway would make
sub forge
{
	my ($header, $claims, $key) = @_;
	my $signed = encode_base64url($header) . '.' . encode_base64url($claims);
	return "$signed." . encode_base64url($key eq '' ? '' : hmac_sha256($signed, $key));
}

sub claims
{
	my (%claim) = (
		sub => '"S2"',
		aud => "\"$audience\"",
		iat => time,
		exp => time + 30,
		jti => sprintf('"nonce-%.8f"', rand),
		@_);
	return '{' . join(',', map { "\"$_\":$claim{$_}" }
		grep { defined $claim{$_} } sort keys %claim) . '}';
}

my $list = 'SELECT id, phone FROM masked.parcel ORDER BY id LIMIT 1';

sub in_transaction
{
	my ($token) = @_;
	return "BEGIN; SELECT courier_pii.set_actor('$token'); $list; COMMIT;";
}

is(query_as($node, 'app', in_transaction(ed25519('S2'))), "\n1|13800000001",
	'an Ed25519 token is good');
is(query_as($node, 'app', in_transaction(hs256('S1'))), "\n5|1******0005",
	'an HMAC token of another key of the set is good');

my $hs = '{"alg":"HS256","typ":"JWT","kid":"old"}';
my %bad = (
	'no signature' => forge('{"alg":"none","kid":"old"}', claims(), ''),
	'another secret' => forge($hs, claims(), 'x' x 32),
	'the public key as secret' =>
	  forge('{"alg":"HS256","kid":"gate"}', claims(), substr($public, -32)),
	'an unknown key' => forge('{"alg":"HS256","kid":"new"}', claims(), $secret),
	'no key named among several' => forge('{"alg":"HS256"}', claims(), $secret),
	'another audience' => forge($hs, claims(aud => '"courier_pii/1/express"'), $secret),
	'no audience' => forge($hs, claims(aud => undef), $secret),
	'expired' => forge($hs, claims(iat => time - 40, exp => time - 10), $secret),
	'from the future' => forge($hs, claims(iat => time + 40, exp => time + 60), $secret),
	'valid for an hour' => forge($hs, claims(exp => time + 3600), $secret),
	'ends before it begins' => forge($hs, claims(iat => time + 3, exp => time + 2), $secret),
	'no nonce' => forge($hs, claims(jti => undef), $secret),
	'a short nonce' => forge($hs, claims(jti => '"1"'), $secret),
	'a number as subject' => forge($hs, claims(sub => '2'), $secret),
	'an empty subject' => forge($hs, claims(sub => '""'), $secret),
	'a subject with a quote' => forge($hs, claims(sub => q{"S2' OR '1'='1"}), $secret),
	'times as text' => forge($hs, claims(exp => '"' . (time + 30) . '"'), $secret),
	'times with a fraction' => forge($hs, claims(exp => time + 30.5), $secret),
	'an array for claims' => forge($hs, '["S2"]', $secret),
	'broken JSON' => forge($hs, '{"sub":"S2"', $secret),
	'issued before the start' => forge($hs, claims(iat => time - 50, exp => time + 5), $secret));
my $changed = hs256('S1');
substr($changed, index($changed, '.') + 8, 1) =~ tr/A-Za-z/B-ZAb-za/;
$bad{'a changed claim'} = $changed;

my $before = -s $node->logfile;
foreach my $what (sort keys %bad)
{
	# the last one needs a server that is younger than its token
	if ($what eq 'issued before the start')
	{
		$node->restart;
	}
	my ($state, $message) = error_as($node, 'app', in_transaction($bad{$what}));
	is($state, '28000', "refused: $what");
	unlike($message, qr/Reason|audience|nonce|expired/, '... without saying why');
}
my $log = slurp_file($node->logfile, $before);
foreach my $reason ('wrong signature', 'unknown key or algorithm', 'expired',
	'made for another audience', 'issued before the server started')
{
	like($log, qr/Reason: \Q$reason\E/, "the log says: $reason");
}
cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED'
	AND detail->>'reason' LIKE 'actor token%'}), '>=', 20, 'refused tokens are recorded');

# a key taken out of the set is no longer good, without a restart
my $old = hs256('S1');
write_file("$keys/actor.jwks", sprintf '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "gate", "x": "%s"}]}', $x);
is((error_as($node, 'app', in_transaction($old)))[0], '28000', 'a withdrawn key is refused');
write_file("$keys/actor.jwks", $both, 0666);
is((error_as($node, 'app', in_transaction(hs256('S1'))))[0], 'F0000', 'a key file open to others is refused');
write_file("$keys/actor.jwks", '{"keys": [{"kty": "oct", "kid": "old", "k": "c2hvcnQ"}]}');
my ($state, $message) = error_as($node, 'app', in_transaction(hs256('S1')));
is($state, 'F0000', 'a short secret is refused');
unlike($message, qr/c2hvcnQ/, '... and not shown');
write_file("$keys/actor.jwks", $both);

# ---- through a pool ----

SKIP:
{
	my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
	skip 'pgbouncer is not installed', 1 unless $pgbouncer;
	skip 'pgbouncer does not run as root', 1 if $> == 0;

	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	write_file("$dir/users.txt", "\"app\" \"\"\n");
	write_file("$dir/pgbouncer.ini", <<"EOC");
[databases]
express = host=${\$node->host} port=${\$node->port} dbname=express pool_size=1
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users.txt
pool_mode = transaction
logfile = $dir/log
pidfile = $dir/pid
ignore_startup_parameters = extra_float_digits
EOC
	system($pgbouncer, '-q', '-d', "$dir/pgbouncer.ini") == 0
	  or die "pgbouncer did not start: " . slurp_file("$dir/log");
	my $pool = "host=$dir port=$port user=app dbname=express";
	my $run = sub {
		my ($sql) = @_;
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $pool ],
			'<', \$sql, '>', \$out, '2>', \$err);
		return wantarray ? ($out, $err) : $out;
	};

	my $pid = $run->('SELECT pg_backend_pid()');
	is($run->('SELECT pg_backend_pid()'), $pid, 'clients share one server connection');
	foreach my $round (1 .. 5)
	{
		like($run->(in_transaction(ed25519('S1'))), qr/^\n?5\|1\*{6}0005$/m,
			"round $round: the courier sees the own parcel, masked");
		is($run->("$list;"), '', '... nobody sees nothing afterwards');
		like($run->(in_transaction(ed25519('S2'))), qr/^1\|13800000001$/m,
			'... customer service sees the phone');
		is($run->("$list;"), '', '... and nobody nothing');
	}

	# a token caught on its way is of no use to the next client
	my $caught = ed25519('S2');
	$run->(in_transaction($caught));
	like(($run->(in_transaction($caught)))[1], qr/28000/, 'a token cannot be used again');

	# who leaves in the middle of a transaction is refused at the next statement
	my $leaver = ed25519('S2');
	my $sql = "BEGIN; SELECT courier_pii.set_actor('$leaver');\n$list;\n"
	  . "\\! psql -XAtq -d '" . login($node, $super) . "' -c \"SELECT courier_pii.depart('S2', reason => 'test')\"\n"
	  . "$list;\nROLLBACK;\n";
	my ($out, $err) = $run->($sql);
	like($out, qr/13800000001/, 'shown before the departure');
	like($err, qr/PI005/, 'refused after the departure');
	is(() = $out =~ /13800000001/g, 1, '... and shown once only');
	is($run->('SELECT pg_backend_pid()'), $pid,
		'the shared connection survives the departure of one of its people');
	like(($run->(in_transaction(ed25519('S2'))))[1], qr/PI005/, 'and no new token helps');

	is( audit($node, q{SELECT DISTINCT staff_no, login_role, actor_proof FROM courier_pii.audit_log
		WHERE action = 'READ' AND disclosed > 0 AND pid = } . int($pid)),
		'S2|app|token', 'the records name the person');
	kill 'TERM', slurp_file("$dir/pid");
}

done_testing();
