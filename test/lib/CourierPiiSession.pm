
=pod

=head1 NAME

CourierPiiSession - sessions that stay open while the test goes on

=head1 DESCRIPTION

  my $s = session($node, $role, $password);
  is(ask($s, 'SELECT 1'), '1', 'it works');
  is(ask($s, 'SELECT secret'), '42501', 'an SQLSTATE when it fails');
  bye($s);

Each is a psql of its own.  The password, 'none' when there is none, is what
the server may ask for.

=cut

package CourierPiiSession;

use strict;
use warnings;

use CourierPii;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(session ask bye);

sub session
{
	my ($node, $role, $password) = @_;
	local $ENV{PGPASSWORD} = $password // 'none';
	my $s = { in => '', out => '', err => '' };
	$s->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$s->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=never', '-d', login($node, $role) ],
		'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err}, $s->{timer});
	ask($s, 'SHOW port');
	return $s;
}

# run one statement in an open session; its output, or the SQLSTATE it fails with
sub ask
{
	my ($s, $sql) = @_;
	$s->{out} = $s->{err} = '';
	$s->{in} .= "$sql;\n\\echo done\n";
	$s->{run}->pump until $s->{out} =~ /^done$/m || $s->{err} =~ /FATAL|lost|terminated/;
	return $1 if $s->{err} =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})/;
	my $result = $s->{out};
	$result =~ s/done\n\z//;
	chomp $result;
	return $result;
}

sub bye { my ($s) = @_; $s->{in} .= "\\q\n"; eval { $s->{run}->finish }; return; }

1;
