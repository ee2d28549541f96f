
# Every method of authentication: a disabled account is refused by all of them,
# while an expired password binds those with passwords only.  And logins through
# a tunnel, where the address says nothing.
#
# Cases B4 and E1 to E6 of the list in test/README (no server for Kerberos or
# LDAP here: they end in the same hook).

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('authentication',
	conf => "listen_addresses = '127.0.0.1'\ncourier_pii.login_address_settle = 0\ncourier_pii.login_max_failures = 0\n");
my $db = $CourierPii::DATABASE;
my $super = $node->safe_psql($db, 'SELECT current_user');
my $right = 'Vermilion-7-cactus-Umbrella';
my @methods = qw(scram md5 peer trust cert);

$node->safe_psql($db, join ';', 'CREATE ROLE chen_accounts LOGIN', map { ("CREATE ROLE by_$_ LOGIN", "CREATE ROLE old_$_ LOGIN") } @methods);
$node->safe_psql($db, q{SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts')});
sub admin { return query_as($node, 'chen_accounts', $_[0]); }
$node->safe_psql($db, "SET password_encryption = '" . ($_ eq 'md5' ? 'md5' : 'scram-sha-256') . "'; ALTER ROLE by_$_ PASSWORD '$right'; ALTER ROLE old_$_ PASSWORD '$right'") for @methods;
admin(q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)});
admin("SELECT courier_pii.hire('M-$_', 'Person', 'by_$_', 'HQ', 'courier')") for @methods;

# certificates
my $dir = PostgreSQL::Test::Utils::tempdir('certificates');
my $have_cert = 1;
sub openssl { return IPC::Run::run([ 'openssl', @_ ], '<', \undef, '>', \my $out, '2>', \my $err); }
$have_cert = openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout), "$dir/ca.key", '-out', "$dir/ca.crt")
  if $have_cert;
foreach my $name ('server', 'zhang', 'li')
{
	last unless $have_cert;
	$have_cert = openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name", '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr")
	  && openssl(qw(x509 -req -days 30 -CAcreateserial -CA), "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-in', "$dir/$name.csr", '-out', "$dir/$name.crt");
	chmod 0600, "$dir/$name.key";
}
$node->append_conf('postgresql.conf', "ssl = on\nssl_ca_file = '$dir/ca.crt'\nssl_cert_file = '$dir/server.crt'\nssl_key_file = '$dir/server.key'\n")
  if $have_cert;
my $me = getpwuid($>);
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf', join '', "local all by_scram,old_scram scram-sha-256\n", "local all by_md5,old_md5 md5\n",
	"local all by_peer,old_peer peer map=m\n", "local all by_trust,old_trust trust\n",
	$have_cert ? "hostssl all by_cert,old_cert 127.0.0.1/32 cert map=m\n" : '', "host all all 127.0.0.1/32 trust\n", $lines);
$node->append_conf('pg_ident.conf', join '', map { "m $_->[0] $_->[1]\n" } [ $me, 'by_peer' ], [ $me, 'old_peer' ],
	map { ([ $_, 'by_cert' ], [ $_, 'old_cert' ]) } 'zhang', 'li');
$node->restart;

sub place
{
	my ($role, $certificate) = @_;
	return login($node, $role) unless $certificate;
	return 'host=127.0.0.1 port=' . $node->port . " dbname=$db user=$role sslmode=require sslcert=$dir/$certificate.crt sslkey=$dir/$certificate.key";
}

# SQLSTATE of a login; empty: let in
sub try_login
{
	my ($role, $certificate) = @_;
	local $ENV{PGPASSWORD} = $right;
	my ($out, $err) = ('', '');
	my $at = -s $node->logfile;
	return '' if IPC::Run::run([ 'psql', '-XAtq', '-d', place($role, $certificate), '-c', 'SELECT 1' ], '<', \undef, '>', \$out, '2>', \$err);
	my $log = slurp_file($node->logfile, $at);
	return $log =~ /\[\Q$role\E ([0-9A-Z]{5})\] FATAL:/ ? $1 : "none: $err";
}

foreach my $method (@methods)
{
	SKIP:
	{
		skip 'openssl is not installed', 5 if $method eq 'cert' && !$have_cert;
		my @with = $method eq 'cert' ? ('zhang') : ();
		is(try_login("by_$method", @with), '', "$method: let in");
		admin("SELECT courier_pii.suspend('M-$method')");
		is(try_login("by_$method", @with), 'PI005', "$method: suspended, refused");
		admin("SELECT courier_pii.reinstate('M-$method')");
		is(try_login("by_$method", @with), '', "$method: reinstated");
		if ($method ne 'cert')
		{
			admin("SELECT courier_pii.depart('M-$method')");
			my $state = try_login("by_$method");
			like($state, $method =~ /scram|md5/ ? qr/^28P01$/ : qr/^PI005$/, "$method: departed, refused");
		}
		$node->safe_psql($db, "ALTER ROLE old_$method VALID UNTIL '2020-01-01'");
		is(try_login("old_$method", @with), $method =~ /scram|md5/ ? '28P01' : '', "$method: what VALID UNTIL alone does");
	}
}

# ---- through a tunnel ----

SKIP:
{
	skip 'openssl is not installed', 5 unless $have_cert;
	$node->append_conf('postgresql.conf', "courier_pii.login_address_conflict = 'reject'\n");
	$node->reload;
	my $held = IPC::Run::start([ 'psql', '-XAtq', '-d', place('by_cert', 'zhang'), '-c', 'SELECT pg_sleep(600)' ],
		'<', \undef, '>', \my $out, '2>', \my $err);
	ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'by_cert' AND wait_event = 'PgSleep'}), 'one certificate is at work');
	is(try_login('by_cert', 'zhang'), '', 'the same certificate, from the same machine');
	is(try_login('by_cert', 'li'), 'PI005', 'another one is a use from two places, whatever the address');
	$node->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'by_cert'});
	eval { $held->finish; };
	ok(wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'by_cert'}), 'it ends');
	is(try_login('by_cert', 'li'), '', 'then the other one is let in');
}
$node->safe_psql($db, 'CREATE ROLE by_tunnel LOGIN');
admin(q{SELECT courier_pii.hire('M-tunnel', 'Person', 'by_tunnel', 'HQ', 'courier')});
run_log([ 'psql', '-XAtqc', 'SELECT 1', '-d', 'host=127.0.0.1 port=' . $node->port . " dbname=$db user=by_tunnel" ]);
is(try_login('by_tunnel'), '', 'a login at the socket');
is(audit($node, q{SELECT string_agg(coalesce(detail ->> 'address', '-'), ' ' ORDER BY seq) FROM courier_pii.audit_log WHERE action = 'LOGIN' AND login_role = 'by_tunnel'}),
	'not meaningful -', 'from the loopback address the record says that the address has no meaning');

$node->stop;
done_testing();
