
# Many logins of all kinds at once: allowed, departed, suspended, locked, a wrong
# password, a role that does not exist.  Each decision is compared with what a
# model of the rules says.
#
# Short here; "./dev campaign logins" makes 10 000.

use strict;
use warnings;

use CourierPii;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;
use Time::HiRes qw(time);

my $logins = $ENV{COURIER_PII_LOGINS} // 800;
my $clients = 4;
my $roles = $logins > 2000 ? 40 : 8;    # of each client
my $failures = 5;

my $node = CourierPii->new_node('logins',
	conf => "max_connections = 60\ncourier_pii.login_failure_window = '1 d'\ncourier_pii.login_lock_time = '1 d'\n"
	  . "courier_pii.login_max_failures = $failures\nautovacuum = off\n");
my $db = $CourierPii::DATABASE;
my $right = 'Vermilion-7-cactus-Umbrella';

$node->safe_psql($db, join ';', 'CREATE ROLE chen_accounts LOGIN', map { my $c = $_; map { "CREATE ROLE log_${c}_$_ LOGIN" } 1 .. $roles } 1 .. $clients);
$node->safe_psql($db, q{SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts')});
query_as($node, 'chen_accounts', q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)});
query_as($node, 'chen_accounts', join ';', map { my $c = $_; map { "SELECT courier_pii.hire('N$c-$_', 'Person', 'log_${c}_$_', 'HQ', 'courier')" } 1 .. $roles } 1 .. $clients);
$node->safe_psql($db, join ';', map { my $c = $_; map { "ALTER ROLE log_${c}_$_ PASSWORD '$right'" } 1 .. $roles } 1 .. $clients);
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf', "local all " . join(',', 'nobody_here', map { my $c = $_; map { "log_${c}_$_" } 1 .. $roles } 1 .. $clients) . " password\n$lines");
$node->reload;

my $path = $node->host . '/.s.PGSQL.' . $node->port;

# SQLSTATE of a login with a password; empty: let in
sub try_login
{
	my ($role, $password) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path) or die "cannot connect: $!";
	my $body = pack('N', 196608) . join('', map { "$_\0" } 'user', $role, 'database', $db) . "\0";
	my $in = '';
	my $state = 'gone';
	syswrite $socket, pack('N', 4 + length $body) . $body;
	MESSAGE: while (sysread $socket, $in, 65536, length $in)
	{
		while (length $in >= 5 && length $in > (my $len = unpack('N', substr($in, 1, 4))))
		{
			my $type = substr($in, 0, 1);
			my $message = substr($in, 5, $len - 4);
			substr($in, 0, $len + 1) = '';
			if ($type eq 'R' && unpack('N', $message) == 3)
			{
				syswrite $socket, 'p' . pack('N', 5 + length $password) . "$password\0";
			}
			elsif ($type eq 'E') { ($state) = $message =~ /\0C(\w{5})\0/; last MESSAGE; }
			elsif ($type eq 'Z')
			{
				$state = '';
				syswrite $socket, 'X' . pack('N', 4);
				last MESSAGE;
			}
		}
	}
	close $socket;
	return $state;
}

# what the rules say, for one role that only one client uses
sub decide
{
	my ($model, $good) = @_;

	# who has left has no password
	if (!$good || $model->{departed} || $model->{unknown})
	{
		# also counted while the account is denied
		unless ($model->{locked} || $model->{unknown})
		{
			$model->{here}++;
			$model->{anywhere}++;
			$model->{locked} = 1 if $model->{here} >= $failures || $model->{anywhere} >= 4 * $failures;
		}
		return '28P01';
	}
	return 'PI005' if $model->{suspended} || $model->{locked};
	$model->{here} = 0;
	return '';
}

# each client: its own roles, its own random sequence, its own changes of them
sub client
{
	my ($c, $count, $out) = @_;
	my %model = map { ("log_${c}_$_" => {}) } 1 .. $roles;
	my (%seen, @wrong);

	srand(1000 + $c);
	$model{nobody_here} = { unknown => 1 };
	my @names = sort keys %model;
	for my $n (1 .. $count)
	{
		my $role = $names[ rand @names ];
		my $m = $model{$role};
		# some people forget more than others
		my $good = rand() < (($role =~ /[369]$/) ? 0.2 : 0.75);
		my $what = rand() < 0.06 && !$m->{unknown} ? 1 + int rand 5 : 0;
		my ($number) = $role =~ /_(\d+)$/;
		my $sql;

		if ($what == 1 && !$m->{departed} && rand() < 0.4) { $sql = "depart('N$c-$number')"; $m->{departed} = 1; }
		elsif ($what == 2 && !$m->{departed} && !$m->{suspended}) { $sql = "suspend('N$c-$number')"; $m->{suspended} = 1; }
		elsif ($what == 3 && $m->{suspended} && !$m->{departed}) { $sql = "reinstate('N$c-$number')"; delete $m->{suspended}; }
		elsif ($what >= 3 && $m->{locked}) { $sql = "unlock('$role')"; delete @$m{qw(locked here anywhere)}; }
		query_as($node, 'chen_accounts', "SELECT courier_pii.$sql") if $sql;

		my $before = "here " . ($m->{here} // 0) . " anywhere " . ($m->{anywhere} // 0);
		my $expected = decide($m, $good);
		my $got = try_login($role, $good ? $right : 'not it');
		$seen{ ($m->{unknown} ? 'unknown' : $m->{departed} ? 'departed' : $m->{suspended} ? 'suspended' : $m->{locked} ? 'locked' : 'allowed')
			  . ($good ? ', right' : ', wrong') }++;
		push @wrong, "login $n of $role, password " . ($good ? 'right' : 'wrong') . ": '$got' instead of '$expected' ($before)" if $got ne $expected;
	}
	open my $file, '>', $out or die "$out: $!";
	print $file "$_\n" for (map { "seen\t$_\t$seen{$_}" } sort keys %seen), map { "wrong\t$_" } @wrong;
	close $file or die "$out: $!";
	return;
}

my $dir = PostgreSQL::Test::Utils::tempdir('logins');
my $began = time;
my @children;
for my $c (1 .. $clients)
{
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		my $good = eval { client($c, $logins / $clients, "$dir/$c"); 1; };
		warn $@ unless $good;
		require POSIX;
		POSIX::_exit($good ? 0 : 1);
	}
	push @children, $pid;
}
my $failed = 0;
for my $pid (@children) { waitpid $pid, 0; $failed++ if $?; }
is($failed, 0, 'all clients came to their end');

my (%seen, @wrong);
for my $c (1 .. $clients)
{
	for (split /\n/, slurp_file("$dir/$c"))
	{
		my ($kind, $text, $n) = split /\t/;
		if ($kind eq 'seen') { $seen{$text} += $n; } else { push @wrong, $text; }
	}
}
my $total = 0;
$total += $_ for values %seen;
is($total, $logins, "$logins logins were tried");
is(scalar @wrong, 0, 'every decision is the right one') or diag(join "\n", @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ]);
cmp_ok($seen{$_} // 0, '>', 0, "among them: $_ ($seen{$_})")
  for map { ("$_, right", "$_, wrong") } qw(allowed locked suspended departed unknown);
note(sprintf '%d logins in %.1f s', $total, time - $began);

$node->stop;
done_testing();
