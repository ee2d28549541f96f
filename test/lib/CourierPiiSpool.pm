
=pod

=head1 NAME

CourierPiiSpool - reads and writes segments of the audit spool for tests

=head1 DESCRIPTION

The layout is that of src/audit/spool.h and src/audit/chain.h.  write_segment()
makes a segment of invented records, as a server would have written them at
another time; spool_records() finds the records of one.

=cut

package CourierPiiSpool;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(crc32c write_segment spool_records with_checksum);

my @table = map {
	my $c = $_;
	$c = $c & 1 ? ($c >> 1) ^ 0x82F63B78 : $c >> 1 for 1 .. 8;
	$c
} 0 .. 255;

sub crc32c
{
	my $crc = 0xFFFFFFFF;
	$crc = ($crc >> 8) ^ $table[ ($crc ^ $_) & 0xFF ] for unpack('C*', $_[0]);
	return $crc ^ 0xFFFFFFFF;
}

sub _text { my ($t) = @_; return defined $t ? pack('n/a*', $t) : "\xFF\xFF"; }
sub _number { my ($n) = @_; return defined $n ? pack('n q>', 8, $n) : "\xFF\xFF"; }
sub _list { return pack('n/a*', join '', map { pack('n/a*', $_) } @_); }

# canonical bytes of a READ of one person
sub record_body
{
	my (%r) = @_;
	return "\x01" . _text($r{node}) . _number($r{at}) . _text('SINGLE') . _text('READ')
	  . _text('ok') . _text(undef) . _text($r{role}) . _text($r{role}) . _text($r{role})
	  . _text($r{staff_no}) . _text('login') . _text('10.2.3.4') . _number(40000)
	  . _text('app') . _number($r{pid} // 4711) . _number($r{at} - 60_000_000)
	  . _text('delivery') . _text(undef) . _text('SELECT') . _list('app.shipment', 'masked.shipment')
	  . _list('phone', 'person_name') . _number(1) . _number(1) . _number(2) . _number(0)
	  . _number(0) . _number(123456789) . _text('SELECT recv_name, recv_phone FROM masked.shipment WHERE id = ?')
	  . _number(250) . _text($r{detail});
}

# write_segment($file, number => 1, first_seq => 1, node => 'x', count => n,
#   record => sub { my ($seq) = @_; return (at => ..., staff_no => ..., role => ...) })
sub write_segment
{
	my ($file, %o) = @_;
	my $head = pack('Q> Q> Q> a64', $o{number}, $o{first_seq}, 1_700_000_000_000_000, $o{node});
	$head .= "\0" x (112 - length $head);
	my $data = 'CPIIAUDT' . pack('N N', 2, crc32c($head)) . $head;
	my $seq = $o{first_seq};
	my $body = '';
	my $size = length $data;
	my @parts = ($data);

	for (1 .. $o{count})
	{
		# no life of a server signed it
		my $record = pack('Q>', $seq) . "\0" x 24 . record_body(node => $o{node}, $o{record}->($seq));
		my $whole = pack('N N', length($record) - 32, crc32c($record)) . $record;
		$whole .= "\0" x (-length($whole) % 8);
		last if $size + length($whole) > 16 * 1024 * 1024;
		push @parts, $whole;
		$size += length $whole;
		$seq++;
	}
	push @parts, "\0" x (16 * 1024 * 1024 - $size);
	open my $out, '>:raw', $file or die "$file: $!";
	print $out @parts;
	close $out or die "$file: $!";
	chmod 0600, $file;
	return $seq;
}

# (offset, length, seq) of the records of a segment's bytes
sub spool_records
{
	my ($data) = @_;
	my @records;
	my $at = 128;

	while ($at + 40 <= length $data)
	{
		my ($length, $crc, $seq) = unpack('N N Q>', substr($data, $at, 16));
		last if $length == 0;
		push @records, [ $at, 40 + $length, $seq ];
		$at += int((40 + $length + 7) / 8) * 8;
	}
	return @records;
}

# a record's bytes (with padding) with another checksum, as somebody would make
# it who has the files and not the key
sub with_checksum
{
	my ($record) = @_;
	my ($length) = unpack('N', $record);
	substr($record, 4, 4) = pack('N', crc32c(substr($record, 8, 32 + $length)));
	return $record;
}

1;
