
# The examples of examples/actor: each names two people in turn over one
# connection, and prints what each of them is shown.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scratch = PostgreSQL::Test::Utils::tempdir('actor_examples');
my $secret = join '', map { chr int rand 256 } 1 .. 32;

sub write_file
{
	my ($path, $content) = @_;
	open my $out, '>:raw', $path or die "$path: $!";
	print $out $content;
	close $out or die "$path: $!";
	chmod 0600, $path;
	return;
}

system('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', "$scratch/gateway.pem") == 0
  or die 'openssl failed';
my $public = `openssl pkey -in $scratch/gateway.pem -pubout -outform DER`;
write_file("$scratch/secret", $secret);
write_file("$scratch/actor.jwks", sprintf
	'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "gateway", "x": "%s"}, {"kty": "oct", "kid": "shared", "k": "%s"}]}',
	encode_base64url(substr $public, -32), encode_base64url($secret));

my $node = CourierPii->new_node('examples', conf => <<"EOC");
courier_pii.actor_key_file = '$scratch/actor.jwks'
listen_addresses = '127.0.0.1'
EOC
my $db = $CourierPii::DATABASE;
$node->safe_psql($db, q{
	CREATE ROLE service; CREATE ROLE li LOGIN; CREATE ROLE wang LOGIN IN ROLE service; CREATE ROLE app LOGIN;
	CREATE TABLE parcel (id integer PRIMARY KEY, phone text);
	INSERT INTO parcel VALUES (1, '13800000001');
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone'), courier_pii.create_masked_view('parcel');
	GRANT USAGE ON SCHEMA masked TO app; GRANT SELECT ON masked.parcel TO app;
	SELECT courier_pii.add_org('HQ', 'head office', 'hq');
	SELECT courier_pii.hire('S1', 'Li', 'li', 'HQ', 'courier'), courier_pii.hire('S2', 'Wang', 'wang', 'HQ', 'service');
	SELECT courier_pii.grant_disclosure('service', 'phone', 'clear');
	});

sub works
{
	my ($out, $err);
	return eval { IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err) };
}

sub example
{
	my ($name, $missing, $key, $key_id, @command) = @_;

	SKIP:
	{
		skip "$name: $missing", 2 if $missing;
		local %ENV = (
			%ENV,
			PGHOST => '127.0.0.1',
			PGPORT => $node->port,
			PGDATABASE => $db,
			PGUSER => 'app',
			ACTOR_KEY_FILE => $key,
			ACTOR_KEY_ID => $key_id,
			ACTOR_QUERY => 'SELECT id, phone FROM masked.parcel',
			PYTHONDONTWRITEBYTECODE => '1',
			HOME => $scratch);
		my ($out, $err) = ('', '');
		IPC::Run::run([ @command, 'S1', 'S2', 'S1' ], '<', \undef, '>', \$out, '2>', \$err,
			IPC::Run::timeout(120));
		is($out, "S1 1 1******0001\nS2 1 13800000001\nS1 1 1******0001\n", "$name: each person sees the own level")
		  or diag($err);
		IPC::Run::run([ @command, 'S9' ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
		like($err, qr/actor token is invalid/, "$name: nobody's token is refused");
	}
	return;
}

my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';
example('Python', works($python, '-c', 'import psycopg') ? undef : 'python3-psycopg is not installed',
	"$scratch/secret", 'shared', $python, 'examples/actor/actor.py');
{
	local $ENV{NODE_PATH} = join ':', grep { defined && $_ ne '' } $ENV{COURIER_PII_NODE_MODULES}, $ENV{NODE_PATH};
	example('Node', works('node', '-e', 'require("pg")') ? undef : 'node or its package pg is not installed',
		"$scratch/gateway.pem", 'gateway', 'node', 'examples/actor/actor.js');
}
my ($jar) = grep { -f } '/usr/share/java/postgresql.jar', '/usr/share/java/postgresql-jdbc4.jar';
my $no_java = !$jar ? 'libpostgresql-jdbc-java is not installed'
  : !works('javac', '-version') ? 'there is no Java compiler' : undef;
if (!$no_java)
{
	ok(works('javac', '-encoding', 'UTF-8', '-cp', $jar, '-d', $scratch, 'examples/actor/Actor.java'), 'Java: it compiles');
}
example('Java', $no_java, "$scratch/gateway.pem", 'gateway',
	'java', '-XX:TieredStopAtLevel=1', '-cp', "$scratch:$jar", 'Actor');
$node->stop;
done_testing();
