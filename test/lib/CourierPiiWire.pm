
=pod

=head1 NAME

CourierPiiWire - a client of the wire protocol for tests that need single messages

=head1 SYNOPSIS

  my $c = CourierPiiWire->new($node, 'clerk');
  my $r = $c->query('SELECT 1');      # { rows => [[..]], state => '', notices => [] }
  $c->parse('SELECT ...'); $c->bind('p'); $c->execute('p', 10); $c->sync;

It speaks just enough: trusted logins over the private socket, simple queries,
portals with a row limit, COPY to the client.  When the server goes away in the
middle, the rows that arrived are kept and "gone" is set.

=cut

package CourierPiiWire;

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;

sub new
{
	my ($class, $node, $role, %options) = @_;
	my $path = $node->host . '/.s.PGSQL.' . $node->port;
	# from an address of the loopback network, or over the private socket
	my $socket = $options{from}
	  ? IO::Socket::INET->new(LocalAddr => $options{from}, PeerAddr => '127.0.0.1', PeerPort => $node->port, Proto => 'tcp')
	  : IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path);
	return unless $socket;
	my $self = bless {
		socket => $socket, path => $path, in => '', gone => 0, pid => 0 }, $class;
	my $database = $options{database} // $node->{courier_pii}{database};
	my $body = pack('N', 196608) . join('', map { "$_\0" }
		('user', $role, 'database', $database, 'application_name', 'wire')) . "\0";

	syswrite $socket, pack('N', 4 + length $body) . $body;
	my $result = $self->wait_ready;
	return $options{even_refused} ? $self : undef if $result->{state} || $self->{gone};
	return $self;
}

sub send_message
{
	my ($self, $type, $body) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $bytes = $type . pack('N', 4 + length $body) . $body;
	$self->{gone} = 1
	  unless defined syswrite($self->{socket}, $bytes);
	return;
}

# next message as (type, body); empty when the server is gone
sub message
{
	my ($self) = @_;

	while (1)
	{
		if (length $self->{in} >= 5)
		{
			my $len = unpack('N', substr($self->{in}, 1, 4));
			if (length $self->{in} >= $len + 1)
			{
				my $type = substr($self->{in}, 0, 1);
				my $body = substr($self->{in}, 5, $len - 4);
				substr($self->{in}, 0, $len + 1) = '';
				return ($type, $body);
			}
		}
		my $got = sysread($self->{socket}, $self->{in}, 65536, length $self->{in});
		if (!$got)
		{
			next if !defined $got && $!{EINTR};
			$self->{gone} = 1;
			return;
		}
	}
}

sub _row
{
	my ($body) = @_;
	my $n = unpack('n', $body);
	my $at = 2;
	my @row;

	for (1 .. $n)
	{
		my $len = unpack('l>', substr($body, $at, 4));
		$at += 4;
		if ($len < 0) { push @row, undef; next; }
		push @row, substr($body, $at, $len);
		$at += $len;
	}
	return \@row;
}

# everything up to ReadyForQuery (or the end of the connection); $each is called
# with every row
sub wait_ready
{
	my ($self, $each) = @_;
	my $result = { rows => [], copied => '', state => '', message => '',
		notices => [], suspended => 0, tags => [] };

	while (my ($type, $body) = $self->message)
	{
		last if $type eq 'Z';
		if ($type eq 'D')
		{
			my $row = _row($body);
			push @{ $result->{rows} }, $row;
			$each->($row) if $each;
		}
		elsif ($type eq 'd') { $result->{copied} .= $body; $each->($body) if $each; }
		elsif ($type eq 'C') { push @{ $result->{tags} }, unpack('Z*', $body); }
		elsif ($type eq 's') { $result->{suspended} = 1; }
		elsif ($type eq 'K') { ($self->{pid}, $self->{secret}) = unpack('NN', $body); }
		elsif ($type eq 'E' || $type eq 'N')
		{
			my %field = map { (substr($_, 0, 1), substr($_, 1)) }
			  grep { length } split /\0/, $body;
			if ($type eq 'E')
			{
				$result->{state} ||= $field{C};
				$result->{message} .= join("\n", values %field) . "\n";
			}
			else { push @{ $result->{notices} }, join("\n", values %field); }
		}
	}
	return $result;
}

sub query
{
	my ($self, $sql, $each) = @_;
	$self->send_message('Q', "$sql\0");
	return $self->wait_ready($each);
}

sub parse { my ($self, $sql) = @_; return $self->send_message('P', "\0$sql\0" . pack('n', 0)); }

sub bind
{
	my ($self, $portal, $format, @values) = @_;
	my $values = join '', map { pack('N', length $_) . $_ } @values;
	return $self->send_message('B',
		"$portal\0\0" . pack('nn', 0, scalar @values) . $values . pack('nn', 1, $format // 0));
}

sub execute
{
	my ($self, $portal, $limit) = @_;
	return $self->send_message('E', "$portal\0" . pack('N', $limit // 0));
}

# Sync, or Flush to stay inside the implicit transaction
sub sync { my ($self, $each) = @_; $self->send_message('S', ''); return $self->wait_ready($each); }

sub cancel
{
	my ($self) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $self->{path}) or return;
	syswrite $socket, pack('NNNN', 16, 80877102, $self->{pid}, $self->{secret});
	sysread $socket, my $nothing, 1;
	close $socket;
	return;
}

# the connection breaks, without a Terminate message
sub drop { my ($self) = @_; close $self->{socket}; return; }

sub DESTROY { my ($self) = @_; close $self->{socket} if $self->{socket}; return; }

1;
