
# People who log in through pgbouncer with names of their own, and the function
# that pgbouncer asks for their passwords: who left, is suspended or locked gets
# no further statement and no new login, whatever the pool keeps.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = CourierPii->new_node('leaver_pool', conf => "listen_addresses = '127.0.0.1'\n");
my $db = $CourierPii::DATABASE;
my $right = 'Vermilion-7-cactus-Umbrella';

$node->safe_psql($db, join ';', map { "CREATE ROLE $_ LOGIN PASSWORD '$right'" } 'chen_accounts', 'feng_security', 'pooler', map { "pool_$_" } 1 .. 5);
$node->safe_psql($db, qq{
	CREATE ROLE boss LOGIN SUPERUSER PASSWORD '$right';
	CREATE ROLE machine LOGIN PASSWORD '$right';
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.appoint('pii_security_admin', 'feng_security')});
sub admin { return query_as($node, 'chen_accounts', $_[0]); }
admin(q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)});
admin("SELECT courier_pii.hire('Q$_', 'Person $_', 'pool_$_', 'HQ', 'courier')") for 1 .. 5;

# ---- the function ----

my $lookup = 'SELECT count(*), bool_and(password LIKE \'SCRAM-SHA-256$%\') FROM courier_pii.pool_auth';
is(error_as($node, 'pooler', "$lookup('pool_1')"), '42501', 'nobody may call it at first');
is(error_as($node, 'pool_1', q{SELECT courier_pii.set_pool_role('pool_1')}), '42501', 'and nobody takes the right');
foreach my $bad ('boss', 'chen_accounts', 'pii_auditor', 'pool_2')
{
	my $state = error_as($node, 'feng_security', "SELECT courier_pii.set_pool_role('$bad')");
	is($state, '22023', "$bad is not the pool's role");
}
query_as($node, 'feng_security', q{SELECT courier_pii.set_pool_role('pooler')});
is(query_as($node, 'pooler', "$lookup('pool_1')"), '1|t', 'the named role gets the verifier of a person at work');
is(query_as($node, 'pooler', "$lookup('machine')"), '1|t', 'and that of an application');
is(query_as($node, 'pooler', "$lookup('boss')"), '0|', 'never that of a superuser');
is(query_as($node, 'pooler', "$lookup('chen_accounts')"), '0|', 'nor of a holder of a duty');
is(query_as($node, 'pooler', "$lookup('no_such_role')"), '0|', 'nor of nobody');
is(query_as($node, 'pooler', "$lookup(NULL)"), '0|', 'nor of null');
is(error_as($node, 'pool_1', "$lookup('pool_2')"), '42501', 'another role gets none');
is(error_as($node, 'chen_accounts', "$lookup('pool_2')"), '42501', 'nor does an administrator');
$node->safe_psql($db, 'ALTER ROLE pool_5 NOLOGIN');
is(query_as($node, 'pooler', "$lookup('pool_5')"), '0|', 'who cannot log in has none');
$node->safe_psql($db, q{ALTER ROLE pool_5 LOGIN VALID UNTIL '2020-01-01'});
is(query_as($node, 'pooler', "$lookup('pool_5')"), '0|', 'nor whose password has expired');
query_as($node, 'feng_security', q{SELECT courier_pii.set_pool_role(NULL)});
is(error_as($node, 'pooler', "$lookup('pool_1')"), '42501', 'the right can be taken back');
query_as($node, 'feng_security', q{SELECT courier_pii.set_pool_role('pooler')});

# ---- a real pool ----

SKIP:
{
	my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
	skip 'pgbouncer is not installed', 1 unless $pgbouncer;
	skip 'pgbouncer does not run as root', 1 if $> == 0;
	my $dir = PostgreSQL::Test::Utils::tempdir('leaver_pool');
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	# logins of the pool go over TCP and need the password
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $lines = slurp_file($hba);
	unlink $hba;
	$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 scram-sha-256\n$lines");
	$node->reload;
	foreach (
		[ 'users', "\"pooler\" \"$right\"\n" ],
		[ 'pgbouncer.ini', <<"EOC" ])
[databases]
$db = host=127.0.0.1 port=@{[ $node->port ]} dbname=$db
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $dir/users
auth_user = pooler
auth_query = SELECT role_name, password FROM courier_pii.pool_auth(\$1)
pool_mode = transaction
server_login_retry = 1
query_wait_timeout = 3
logfile = $dir/log
pidfile = $dir/pid
EOC
	{
		open my $out, '>', "$dir/$_->[0]" or die $!;
		print $out $_->[1];
		close $out or die $!;
	}
	system($pgbouncer, '-q', '-d', "$dir/pgbouncer.ini") == 0 or die 'pgbouncer did not start';
	usleep(50_000) while !-s "$dir/pid";
	my $pid = slurp_file("$dir/pid");
	chomp $pid;

	local $ENV{PGPASSWORD} = $right;
	my $through = sub {
		my ($role, $sql, $password) = @_;
		local $ENV{PGPASSWORD} = $password // $right;
		my ($out, $err);
		IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', "host=127.0.0.1 port=$port dbname=$db user=$role", '-c', $sql ],
			'<', \undef, '>', \$out, '2>', \$err);
		return $err eq '' ? $out =~ s/\n\z//r : $err;
	};
	for (1 .. 100) { last if $through->('pool_1', 'SELECT 1') eq '1'; usleep(50_000); }
	is($through->('pool_1', 'SELECT staff_no, proof FROM courier_pii.actor'), 'Q1|login', 'through the pool a person is the person');
	unlike($through->('pool_1', 'SELECT 1', 'wrong'), qr/^1$/, 'a wrong password does not pass the pool');

	my ($in, $out, $err) = ("SELECT 'ready';\n", '', '');
	my $s = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', "host=127.0.0.1 port=$port dbname=$db user=pool_1" ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	$s->pump until $out =~ /ready/;
	admin(q{SELECT courier_pii.depart('Q1')});
	$in .= "SELECT 'slipped';\n\\q\n";
	eval { $s->finish; };
	unlike($out, qr/slipped/, 'the next statement of an open connection is refused');
	like($err, qr/PI005|disabled|query_wait|closed|terminat|failed/i, 'with an error');
	my $said = $through->('pool_1', 'SELECT 1');
	unlike($said, qr/^1$/, 'a new connection is refused');
	admin(q{SELECT courier_pii.suspend('Q2')});
	unlike($through->('pool_2', 'SELECT 1'), qr/^1$/, 'so is that of a suspended person');
	is($through->('pool_3', 'SELECT 1'), '1', 'others go on');
	is(query_as($node, 'pooler', "$lookup('pool_2')", connstr => 1), '0|', 'the function has no row for the suspended person');

	# idle in the middle of a transaction
	($in, $out, $err) = ("BEGIN; SELECT 'ready';\n", '', '');
	$s = IPC::Run::start([ 'psql', '-XAtq', '-d', "host=127.0.0.1 port=$port dbname=$db user=pool_4" ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	$s->pump until $out =~ /ready/;
	admin(q{SELECT courier_pii.depart('Q4')});
	$in .= "SELECT 'slipped';\n\\q\n";
	eval { $s->finish; };
	unlike($out, qr/slipped/, 'and a transaction that was open');
	kill 'TERM', $pid;
}

$node->stop;
done_testing();
