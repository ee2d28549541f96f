
=pod

=head1 NAME

CourierPii - servers with courier_pii for the TAP tests

=head1 SYNOPSIS

  use CourierPii;

  my $node = CourierPii->new_node('main');
  CourierPii->load_fixture($node, 500);
  my $rows  = query_as($node, 'li_courier', 'SELECT recv_phone FROM masked.waybill');
  my $state = error_as($node, 'li_courier', 'TABLE public.waybill');   # 42501
  my $log   = audit($node, 'SELECT count(*) FROM courier_pii.audit_log');

=head1 DESCRIPTION

Each node is a server of its own, made by PostgreSQL::Test::Cluster and removed
with it.  Key, key store and audit directory lie beside the data directory,
never inside.  Logins are trusted on the node's private socket, so that every
role can really log in.

=cut

package CourierPii;

use strict;
use warnings;

use Exporter 'import';
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node query_as error_as message_as login audit
  load_fixture flush_audit wait_until grep_files
  private_installation staff_server seal_duties_of ticket_of with_ticket key_agent);

# the protected database, unless a test names another one
our $DATABASE = 'express';

# place of the statements of query_as() and the like
my $statements_dir;

# role that reads the audit views for audit()
my $AUDITOR = 'regress_courier_pii_auditor';

=pod

=head2 CourierPii->new_node($name, %options)

A started server with the library preloaded, the database "express", and the
extension in it.  Options:

  preload   => 'pgaudit'    other libraries, before ours ("before") ...
  preload_after => '...'    ... or after it
  no_preload => 1           without our library
  no_key    => 1            no key file (a sealed server)
  key       => $bytes       these bytes as key file
  conf      => $text        more lines of postgresql.conf
  database  => 'express'    name of the protected database
  no_extension => 1         the database only
  no_start  => 1            configured, not started, nothing made
  allows_streaming => 1     handed to init()
  encoding  => 'UTF8'       of the cluster
  from_backup => [$primary, $backup_name, %init_options]
                            a node from a backup, sharing the primary's key

=cut

sub new_node
{
	my ($class, $name, %options) = @_;
	# also callable as a plain function
	if (!defined $class || $class ne __PACKAGE__)
	{
		unshift @_, __PACKAGE__;
		($class, $name, %options) = @_;
	}

	my $node = PostgreSQL::Test::Cluster->new($name);
	my $database = $options{database} // $DATABASE;
	my $side = PostgreSQL::Test::Utils::tempdir("courier_pii_$name");

	$node->{courier_pii} = {
		database => $database,
		directory => $side,
		key_file => "$side/key/master.key",
		key_store => "$side/key/store",
		audit_directory => "$side/audit",
	};
	make_path("$side/key", "$side/key/store", "$side/audit", { mode => 0700 });

	if ($options{from_backup})
	{
		my ($primary, $backup, %init) = @{ $options{from_backup} };
		$node->init_from_backup($primary, $backup, %init);
		$node->{courier_pii}{key_file} = $primary->{courier_pii}{key_file};
		$node->{courier_pii}{key_store} = $primary->{courier_pii}{key_store};
	}
	else
	{
		my $encoding = $options{encoding} // 'UTF8';
		my $locale = $encoding eq 'UTF8' ? 'C.UTF-8' : 'C';
		$node->init(
			allows_streaming => $options{allows_streaming} // 0,
			extra => [ '-E', $encoding, "--locale=$locale" ]);
		write_key($node, $options{key}) unless $options{no_key};
	}

	my @libraries = grep { defined && $_ ne '' } (
		$options{preload},
		$options{no_preload} ? undef : 'courier_pii',
		$options{preload_after});
	my $libraries = join(', ', @libraries);
	my $places = $node->{courier_pii};
	# a name of its own for each server makes records of a standby distinct
	my $conf = "shared_preload_libraries = '$libraries'\n";
	$conf .= <<"EOC" unless $options{no_preload};
courier_pii.database = '$database'
courier_pii.key_source = 'file'
courier_pii.key_file = '$places->{key_file}'
courier_pii.key_store = '$places->{key_store}'
courier_pii.audit_directory = '$places->{audit_directory}'
courier_pii.node_name = '$name'
EOC
	# error_as() reads the SQLSTATE of refused logins from the server log
	$conf .= "log_line_prefix = '%m [%p] [%u %e] '\n";
	$conf .= "timezone = 'Asia/Shanghai'\n";

	$conf .= private_installation($node);
	$conf .= $options{conf} if defined $options{conf};
	$node->append_conf('postgresql.conf', "$conf\n");

	return $node if $options{no_start};
	$node->start;
	return $node if $options{from_backup};

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION courier_pii CASCADE')
	  unless $options{no_extension};
	return $node;
}

# write_key($node, $bytes): the master key, random unless given
sub write_key
{
	my ($node, $bytes) = @_;

	if (!defined $bytes)
	{
		open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
		read($random, $bytes, 32) == 32 or die "/dev/urandom is short";
		close $random;
	}

	my $file = $node->{courier_pii}{key_file};
	my $umask = umask 0077;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $bytes;
	close $out or die "$file: $!";
	umask $umask;
	chmod 0600, $file or die "$file: $!";
	return;
}

=pod

=head2 login($node, $role [, $database])

The connection string of a real login of that role.

=cut

sub login
{
	my ($node, $role, $database) = @_;
	$database //= $node->{courier_pii}{database};
	return $node->connstr($database) . " user=$role";
}

# run SQL as a login role; returns exit status, output, errors (with SQLSTATE)
sub run_as
{
	my ($node, $role, $sql, %options) = @_;

	my ($out, $err) = ('', '');
	# a file: psql may be refused, and gone, before it reads anything
	$statements_dir //= PostgreSQL::Test::Utils::tempdir();
	my $file = "$statements_dir/$$.sql";
	open my $fh, '>', $file or die "$file: $!";
	print $fh $sql;
	close $fh;
	my $status = $node->psql(
		$options{database} // $node->{courier_pii}{database}, '',
		stdout => \$out,
		stderr => \$err,
		on_error_stop => $options{on_error_stop} // 1,
		connstr => login($node, $role, $options{database}),
		timeout => $options{timeout} // 180,
		extra_params => [ '-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=never', '-f', $file ]);
	return ($status, $out, $err);
}

=pod

=head2 private_installation($node)

The settings that name a private installation (COURIER_PII_DESTDIR of ./dev)
for the server version of that node; empty without one.

=cut

sub private_installation
{
	my ($node) = @_;
	my $destdir = $ENV{COURIER_PII_DESTDIR} or return '';
	my $libdir = $node->config_data('--pkglibdir');
	my $sharedir = $node->config_data('--sharedir');

	# Debian's own setting up to 17
	return ($node->config_data('--version') =~ / (\d+)/ && $1 >= 18 ?
		"extension_control_path = '$destdir$sharedir:\$system'\n" :
		"extension_destdir = '$destdir'\n")
	  . "dynamic_library_path = '$destdir$libdir:\$libdir'\n";
}

=pod

=head2 query_as($node, $role, $sql, %options)

The unaligned output of statements run by a new session of that login role.
Dies when one of them fails.

=cut

sub query_as
{
	my ($node, $role, $sql, %options) = @_;
	my ($status, $out, $err) = run_as($node, $role, $sql, %options);
	die "statement of $role failed (exit $status):\n$sql\n$err" if $status != 0;
	return $out;
}

=pod

=head2 error_as($node, $role, $sql, %options)

The SQLSTATE of the first error that the statements give to that role, also of
a refused login; the empty string when all succeed.  In list context also the
whole text of the errors.

=cut

sub error_as
{
	my ($node, $role, $sql, %options) = @_;
	my $log_at = -s $node->logfile // 0;
	my ($status, $out, $err) = run_as($node, $role, $sql, %options);
	my $state = '';

	if ($err =~ /^(?:psql:[^\n]*?)?(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5}):/m)
	{
		$state = $1;
	}
	elsif ($status != 0)
	{
		# libpq tells no SQLSTATE of a refused connection; the server log does
		my $log = slurp_file($node->logfile, $log_at);
		$state = $log =~ /\[\Q$role\E ([0-9A-Z]{5})\] (?:FATAL|PANIC):/ ? $1 : 'none';
	}
	return wantarray ? ($state, $err) : $state;
}

# the errors' text alone
sub message_as
{
	my (undef, $err) = error_as(@_);
	return $err;
}

=pod

=head2 flush_audit($node)

Wait until the records written so far are in the audit table.

=cut

sub flush_audit
{
	my ($node) = @_;
	$node->safe_psql($node->{courier_pii}{database},
		'SELECT courier_pii.audit_flush()');
	return;
}

=pod

=head2 audit($node, $sql)

Output of a statement run by an auditor (a login of the duty role pii_auditor,
made at the first call), after audit_flush().

=cut

sub audit
{
	my ($node, $sql, %options) = @_;

	if (!$node->{courier_pii}{auditor})
	{
		$node->safe_psql(
			$node->{courier_pii}{database}, qq{
			DO \$\$
			BEGIN
				IF pg_catalog.to_regrole('$AUDITOR') IS NULL THEN
					CREATE ROLE $AUDITOR LOGIN;
					GRANT pii_auditor TO $AUDITOR;
				END IF;
			END
			\$\$});
		$node->{courier_pii}{auditor} = $AUDITOR;
	}
	flush_audit($node) unless $options{no_flush};
	return query_as($node, $node->{courier_pii}{auditor}, $sql, %options);
}

=pod

=head2 load_fixture($node [, $waybills])

The sample courier database, as plain tables with the company's own roles.

=cut

sub load_fixture
{
	# also callable as a class method
	shift if defined $_[0] && !ref $_[0] && $_[0] eq __PACKAGE__;
	my ($node, $waybills) = @_;
	$waybills //= 500;

	local %ENV = (
		%ENV,
		PGHOST => $node->host,
		PGPORT => $node->port,
		PGDATABASE => $node->{courier_pii}{database},
		PGUSER => $node->safe_psql('postgres', 'SELECT current_user'));
	my ($out, $err);
	my $ok = IPC::Run::run([ 'sh', 'test/fixtures/express/load.sh', $waybills ],
		'<', \undef, '>', \$out, '2>', \$err);
	die "could not load the sample database:\n$out$err" unless $ok;
	return;
}

=pod

=head2 wait_until($node, $sql [, $seconds])

Poll until the statement (superuser, protected database) gives "t".

=cut

sub wait_until
{
	my ($node, $sql, $seconds) = @_;
	my $end = time + ($seconds // 60);

	while (time < $end)
	{
		return 1
		  if $node->safe_psql($node->{courier_pii}{database}, $sql) eq 't';
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

=pod

=head2 staff_server($node)

The people of a small head office, entered and appointed, each with a login of
the same name: "feng", "qian" and "sun" (S1, S2, S3: security administrators),
"zheng" (A1: auditor), "chen" (P1: account administrator), "dai" (D1: a superuser
without a duty), "wang" (W1: a clerk).

=head2 seal_duties_of($node)

seal_duties(), as one of the security administrators.  audit() works afterwards
as before, through "zheng".

=cut

sub staff_server
{
	my ($node) = @_;
	$node->safe_psql(
		$node->{courier_pii}{database}, q{
		CREATE ROLE feng LOGIN; CREATE ROLE qian LOGIN; CREATE ROLE sun LOGIN;
		CREATE ROLE zheng LOGIN; CREATE ROLE chen LOGIN; CREATE ROLE dai LOGIN; CREATE ROLE wang LOGIN;
		SELECT courier_pii.add_org('HQ', 'Head office', 'hq');
		SELECT courier_pii.hire('S1', 'Feng', 'feng', 'HQ', NULL), courier_pii.hire('S2', 'Qian', 'qian', 'HQ', NULL),
			courier_pii.hire('S3', 'Sun', 'sun', 'HQ', NULL), courier_pii.hire('A1', 'Zheng', 'zheng', 'HQ', NULL),
			courier_pii.hire('P1', 'Chen', 'chen', 'HQ', NULL), courier_pii.hire('D1', 'Dai', 'dai', 'HQ', NULL),
			courier_pii.hire('W1', 'Wang', 'wang', 'HQ', NULL);
		SELECT courier_pii.appoint('pii_security_admin', 'feng'), courier_pii.appoint('pii_security_admin', 'qian'),
			courier_pii.appoint('pii_security_admin', 'sun'), courier_pii.appoint('pii_auditor', 'zheng'),
			courier_pii.appoint('pii_account_admin', 'chen');
		ALTER ROLE dai SUPERUSER;
	});
	$node->{courier_pii}{auditor} = 'zheng';
	return $node;
}

sub seal_duties_of
{
	my ($node) = @_;
	query_as($node, 'feng', 'SELECT courier_pii.seal_duties()');
	return;
}

=pod

=head2 ticket_of($node, $who, $kind, $details [, $approver])

The number of a request by a person, with these details (JSON, or the name of
the object alone), approved by another person ("qian" unless told).

=head2 with_ticket($node, $who, $kind, $details, $sql [, $approver])

Ask, approve, and run statements with the ticket, in one call.  Returns the
SQLSTATE like error_as(), and in list context also the ticket's number.

=cut

sub ticket_of
{
	my ($node, $who, $kind, $details, $approver) = @_;
	if ($details !~ /^\s*\{/)
	{
		$details =~ s/(["\\])/\\$1/g;
		$details = qq({"object": "$details"});
	}
	$details =~ s/'/''/g;
	my $id = query_as($node, $who, "SELECT courier_pii.request('$kind', 'work that has to be done', '$details')");
	$approver //= $who eq 'qian' ? 'sun' : 'qian';
	query_as($node, $approver, "SELECT courier_pii.approve($id)") if $approver ne '';
	return $id;
}

sub with_ticket
{
	my ($node, $who, $kind, $details, $sql, $approver) = @_;
	my $id = ticket_of($node, $who, $kind, $details, $approver);
	my ($state, $err) = error_as($node, $who, "SET courier_pii.ticket = '$id'; $sql");
	return wantarray ? ($state, $id, $err) : $state;
}

=pod

=head2 key_agent($node)

Process number of the key agent, or '' when none runs.  It has no database and
is in no view, so the system is asked.

=cut

sub key_agent
{
	my ($node) = @_;
	my ($postmaster) = split /\n/, PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid');
	my $out = `ps -o pid=,args= --ppid $postmaster`;
	return $out =~ /^\s*(\d+) .*courier_pii key agent/m ? $1 : '';
}

=pod

=head2 grep_files($directory, @texts)

Names of the files below a directory that contain one of the texts, as bytes.

=cut

sub grep_files
{
	my ($directory, @texts) = @_;
	my $pattern = join '|', map { quotemeta } @texts;
	my @found;

	require File::Find;
	File::Find::find(
		{
			no_chdir => 1,
			wanted => sub {
				return unless -f $_ && -r _;
				open my $in, '<:raw', $_ or return;
				local $/;
				my $content = <$in> // '';
				close $in;
				push @found, $File::Find::name if $content =~ /$pattern/;
			}
		},
		$directory);
	return sort @found;
}

1;
