#!/usr/bin/perl
#
# logins.pl: how long a login takes on two servers, by turns.
#
#   logins.pl COUNT ROLE DATABASE SOCKET1 SOCKET2
#
# Each pair of logins (one on either server, the first one alternates) gives a
# ratio; printed is the median of SOCKET1's times in microseconds, that of
# SOCKET2's, and the median of the ratios SOCKET2 : SOCKET1 (1 is equal, less is
# slower).  A login lasts from the connection to "ready for query".  The password
# (PGPASSWORD) is proved by SCRAM when the server asks; the client's own part of
# that is not counted.
#
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use IO::Socket::UNIX;
use MIME::Base64 qw(encode_base64 decode_base64);
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);

my ($count, $role, $database, @sockets) = @ARGV;
die "usage: logins.pl COUNT ROLE DATABASE SOCKET1 SOCKET2\n" if @sockets != 2;

my $startup = pack('N', 196608) . join('', map { "$_\0" } 'user', $role, 'database', $database) . "\0";
$startup = pack('N', 4 + length $startup) . $startup;
my %salted;

sub salted_password
{
	my ($salt, $iterations) = @_;
	return $salted{"$salt $iterations"} //= do {
		my $u = hmac_sha256($salt . pack('N', 1), $ENV{PGPASSWORD});
		my $sum = $u;
		for (2 .. $iterations)
		{
			$u = hmac_sha256($u, $ENV{PGPASSWORD});
			$sum ^= $u;
		}
		$sum;
	};
}

# microseconds that one login takes
sub login
{
	my ($path) = @_;
	my ($taken, $began, $in) = (0, time, '');
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path) or die "cannot connect to $path: $!\n";
	my $nonce = 'rOprNGfwEbeRWgbNEkqO';
	my $first;
	my $send = sub {
		$began = time;
		syswrite $socket, $_[0];
	};
	$send->($startup);
	while (sysread $socket, $in, 65536, length $in)
	{
		$taken += time - $began;
		$began = time;
		while (length $in >= 5 && length $in > (my $len = unpack('N', substr($in, 1, 4))))
		{
			my $type = substr($in, 0, 1);
			my $message = substr($in, 5, $len - 4);
			substr($in, 0, $len + 1) = '';
			if ($type eq 'Z')
			{
				$send->('X' . pack('N', 4));
				# wait for the end, so that it does not fall into the next login
				1 while sysread $socket, $in, 65536;
				return $taken * 1e6;
			}
			die "login of $role: $message\n" if $type eq 'E';
			next if $type ne 'R';
			my $method = unpack('N', $message);
			if ($method == 10)
			{
				$first = "n=,r=$nonce";
				my $body = "SCRAM-SHA-256\0" . pack('N', 3 + length $first) . "n,,$first";
				$send->('p' . pack('N', 4 + length $body) . $body);
			}
			elsif ($method == 11)
			{
				my $server = substr($message, 4);
				my ($r, $s, $i) = $server =~ /^r=([^,]+),s=([^,]+),i=(\d+)$/;
				my $salted = salted_password(decode_base64($s), $i);
				my $without = "c=biws,r=$r";
				my $client_key = hmac_sha256('Client Key', $salted);
				my $signature = hmac_sha256("$first,$server,$without", sha256($client_key));
				my $body = "$without,p=" . encode_base64($client_key ^ $signature, '');
				$send->('p' . pack('N', 4 + length $body) . $body);
			}
		}
	}
	die "the server closed the connection of $role\n";
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ $#sorted / 2 ];
}

login($_) for (@sockets) x 5;
my (@times, @ratios);
for my $n (1 .. $count)
{
	my @took;
	$took[$_] = login($sockets[$_]) for $n % 2 ? (0, 1) : (1, 0);
	push @{ $times[$_] }, $took[$_] for 0, 1;
	push @ratios, $took[1] / $took[0];
}
printf "%.0f %.0f %.3f\n", median(@{ $times[0] }), median(@{ $times[1] }), median(@ratios);
