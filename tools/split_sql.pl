#!/usr/bin/perl
#
# split_sql.pl: print the statements of SQL files, one a line.
#
# Comments are dropped, white space becomes single blanks, and each line is
# "file:line<TAB>statement".  Knows quoted names and strings, dollar quotes
# and nested comments.
#
use strict;
use warnings;

foreach my $file (@ARGV)
{
	open my $in, '<', $file or die "could not open $file: $!\n";
	local $/;
	my $sql = <$in>;
	close $in;

	my $statement = '';
	my $line = 1;
	my $start = 1;
	pos($sql) = 0;

	while (pos($sql) < length $sql)
	{
		my $from = pos $sql;
		my $piece;

		if ($sql =~ /\G--[^\n]*/gc)
		{
			$piece = ' ';
		}
		elsif ($sql =~ m{\G/\*}gc)
		{
			my $depth = 1;
			while ($depth > 0 && $sql =~ m{\G.*?(/\*|\*/)}gcs)
			{
				$depth += $1 eq '/*' ? 1 : -1;
			}
			pos($sql) = length $sql if $depth > 0;
			$piece = ' ';
		}
		elsif ($sql =~ /\G((?i:\be)'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*")/gcs
			|| $sql =~ /\G((\$(?:[A-Za-z_]\w*)?\$).*?\2)/gcs)
		{
			$piece = $1;
		}
		elsif ($sql =~ /\G;/gc)
		{
			emit($file, $start, $statement);
			$statement = '';
		}
		elsif ($sql =~ /\G(\w+|.)/gcs)
		{
			$piece = $1;
		}

		if (defined $piece)
		{
			$start = $line if $statement !~ /\S/ && $piece =~ /\S/;
			$statement .= $piece;
		}
		$line += (substr($sql, $from, pos($sql) - $from) =~ tr/\n//);
	}
	emit($file, $start, $statement);
}

sub emit
{
	my ($file, $line, $statement) = @_;

	$statement =~ s/^\\[^\n]*//;    # a line for psql only
	$statement =~ s/\s+/ /g;
	$statement =~ s/^ | $//g;
	print "$file:$line\t$statement\n" if $statement ne '';
	return;
}
