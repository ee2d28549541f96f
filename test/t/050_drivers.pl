
# What applications do through their drivers, on masked views: test/drivers.  A
# driver that is not there is skipped with a message.

use strict;
use warnings;

use CourierPii;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('drivers', conf => "listen_addresses = '127.0.0.1'\n");
my $db = $CourierPii::DATABASE;
my $scratch = PostgreSQL::Test::Utils::tempdir('drivers');

$node->safe_psql($db, slurp_file('test/drivers/setup.sql'));
$node->safe_psql($db, q{SELECT courier_pii.set_limit('app', NULL, NULL, NULL)});

# does a command work? (output goes nowhere)
sub works
{
	my ($out, $err);
	return eval { IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err) };
}

# run one program, and report each of its lines as a test of ours
sub driver
{
	my ($name, $missing, @command) = @_;

	SKIP:
	{
		skip "$name: $missing", 1 if $missing;
		local %ENV = (
			%ENV,
			PGHOST => $node->host,
			PGPORT => $node->port,
			PGDATABASE => $db,
			PYTHONIOENCODING => 'utf-8',
			PYTHONDONTWRITEBYTECODE => '1',
			HOME => $scratch);
		my ($out, $err) = ('', '');
		IPC::Run::run([@command], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
		my $status = $? >> 8;
		my $results = 0;
		for my $line (split /\n/, $out)
		{
			next unless $line =~ /^(not )?ok \d+ - (.*)$/;
			$results++;
			ok(!$1, $2);
		}
		like($out, qr/^1\.\.\Q$results\E$/m, "$name: all of the program ran")
		  or diag($err);
		is($status, 0, "$name: exit status");
	}
	return;
}

# the interpreter that Debian's packages belong to
my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';

driver('psycopg',
	works($python, '-c', 'import psycopg') ? undef : 'python3-psycopg is not installed',
	$python, 'test/drivers/psycopg_test.py');
driver('SQLAlchemy',
	works($python, '-c', 'import sqlalchemy, psycopg2') ? undef : 'python3-sqlalchemy or python3-psycopg2 is not installed',
	$python, 'test/drivers/sqlalchemy_test.py');

my ($jar) = grep { -f } '/usr/share/java/postgresql.jar', '/usr/share/java/postgresql-jdbc4.jar';
my $no_java =
    !$jar ? 'libpostgresql-jdbc-java is not installed'
  : !works('javac', '-version') ? 'there is no Java compiler'
  : undef;
if (!$no_java)
{
	ok(works('javac', '-encoding', 'UTF-8', '-cp', $jar, '-d', $scratch, 'test/drivers/JdbcTest.java'),
		'JDBC: the program compiles');
}
driver('JDBC', $no_java, 'java', '-Dfile.encoding=UTF-8', '-XX:TieredStopAtLevel=1', '-cp', "$scratch:$jar", 'JdbcTest');

{
	# where ./dev puts what it gets from the npm registry
	local $ENV{NODE_PATH} = join ':', grep { defined && $_ ne '' } $ENV{COURIER_PII_NODE_MODULES}, $ENV{NODE_PATH};
	driver('node-postgres',
		works('node', '-e', 'require("pg")') ? undef : 'node or its package pg is not installed',
		'node', 'test/drivers/node_test.js');
}

$node->stop;
done_testing();
