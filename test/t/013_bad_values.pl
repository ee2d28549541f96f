
# Damaged and misplaced sealed values: every byte changed, every length cut,
# in text and binary form, pasted into other classes.  Each gives a distinct,
# quiet error; none gives clear text.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Utils;
use MIME::Base64 qw(encode_base64url decode_base64url);
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('bad', conf => "autovacuum = off\n");
my $directory = $node->{courier_pii}{directory};
my $clear = '13877665544';

$node->safe_psql($db, qq{
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.t (id serial PRIMARY KEY, phone courier_pii.phone, name courier_pii.person_name, note courier_pii.note);
	CREATE TABLE public.loaded (id int, phone courier_pii.phone);
	GRANT SELECT ON public.t, public.loaded TO clerk;
	GRANT CREATE ON SCHEMA public TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', c, 'clear', true) FROM unnest('{phone,person_name,note}'::text[]) c;
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	INSERT INTO public.t (phone, name, note) VALUES ('$clear', '欧阳锋', 'a very private remark')});
is(query_as($node, 'clerk', 'SELECT courier_pii.show(phone) FROM public.t'), $clear, 'the whole value opens');
my ($phone, $name, $note) = split /\|/, $node->safe_psql($db, 'SELECT phone, name, note FROM public.t');
my $bytes = decode_base64url(substr($phone, 5));
is('pii:1' . encode_base64url($bytes), $phone, 'its text form is base64url of the bytes');
cmp_ok(length $bytes, '>', 50, 'of a whole envelope');

# damaged(bytes): each byte in three ways, each length, longer ones
my @damaged;
foreach my $at (0 .. length($bytes) - 1)
{
	foreach my $change (0x01, 0x80, 0xff)
	{
		my $copy = $bytes;
		substr($copy, $at, 1) = chr(ord(substr($copy, $at, 1)) ^ $change);
		push @damaged, [ "byte $at, $change", $copy ];
	}
}
push @damaged, map { [ "length $_", substr($bytes, 0, $_) ] } 0 .. length($bytes) - 1;
push @damaged, [ 'a byte more', $bytes . "\0" ], [ 'twice', $bytes . $bytes ];

# what one statement of psql says, for many in one session
sub outcomes
{
	my ($role, @statements) = @_;
	my $script = "\\set VERBOSITY verbose\n" . join '', map { "\\echo \@\@\n$_;\n" } @statements;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', login($node, $role) ], '<', \$script, '>', \$out, '2>&1')
	  or die "psql failed: $out";
	my (undef, @each) = split /^@@\n/m, $out;
	chomp @each;
	return @each;
}

my $quiet = qr/^(22P02|22P03|22023|22000|22021|XX001|PI004|0A000|42804|54000)$/;

# look(NAME, @outcomes): nothing opens, all errors have a code, none tells anything
sub look
{
	my ($what, @each) = @_;
	my (%states, @bad);
	foreach my $i (0 .. $#each)
	{
		my ($state) = $each[$i] =~ /ERROR:\s+([0-9A-Z]{5}):/;
		$states{ $state // 'none' }++;
		push @bad, "$damaged[$i][0]: $each[$i]" if !defined $state || $state !~ $quiet;
		push @bad, "$damaged[$i][0] tells: $each[$i]" if $each[$i] =~ /$clear|7665544|欧阳|private/;
	}
	is(join("\n", @bad), '', "$what: quiet errors only");
	is(scalar @each, scalar @damaged, "$what: all tried");
	note("$what: " . join ', ', map { "$_ $states{$_}" } sort keys %states);
	return;
}

# ---- text ----

look('text, shown', outcomes('clerk', map { sprintf("SELECT courier_pii.show('pii:1%s'::courier_pii.phone)", encode_base64url($_->[1])) } @damaged));

# what may be stored all the same compares and is dumped without an error
$node->psql($db, join(";\n", map { sprintf("INSERT INTO public.t (phone) VALUES ('pii:1%s')", encode_base64url($_->[1])) } @damaged), on_error_stop => 0);
my $kept = $node->safe_psql($db, 'SELECT count(*) FROM public.t WHERE id > 1');
cmp_ok($kept, '>', 0, 'damage past the header is found when a value is opened');
$node->safe_psql($db, 'CREATE INDEX ON public.t (phone); ANALYZE public.t; REINDEX TABLE public.t; CREATE EXTENSION amcheck');
is($node->safe_psql($db, q{SELECT count(bt_index_check('public.t_phone_idx', true))}), '1', 'an index of damaged values is sound');
cmp_ok($node->safe_psql($db, 'SELECT count(DISTINCT phone) FROM public.t'), '>', 1, 'they compare');
command_ok([ 'pg_dump', '-d', $node->connstr($db), '-t', 'public.t', '-f', "$directory/dump" ], 'they are dumped');
my @opened = outcomes('clerk', map { "SELECT courier_pii.show(phone) FROM public.t WHERE id = $_" } split /\n/, $node->safe_psql($db, 'SELECT id FROM public.t WHERE id > 1'));
is(scalar(grep { !/ERROR:\s+(XX001|PI004)/ } @opened), 0, 'none opens') or diag(grep { !/ERROR:\s+(XX001|PI004)/ } @opened);
is(scalar(grep { /$clear|7665544/ } @opened), 0, 'none tells');
is($node->safe_psql($db, q{SELECT count(*) FROM public.t WHERE phone = '13877665544' AND id = 1}), '1', 'the whole value is found among them');

# ---- binary ----

sub binary_file
{
	my ($number, $value) = @_;
	my $file = "$directory/binary_$number";
	open my $out, '>:raw', $file or die "$file: $!";
	print $out "PGCOPY\n\xff\r\n\0", pack('NN', 0, 0), pack('n N N N', 2, 4, $number, length $value), $value, pack('n', 0xffff);
	close $out or die $!;
	return $file;
}
my @loaded = outcomes($node->safe_psql('postgres', 'SELECT current_user'),
	map { "COPY public.loaded FROM '" . binary_file($_, $damaged[$_][1]) . "' (FORMAT binary); SELECT courier_pii.show(phone) FROM public.loaded WHERE id = $_ AND false" } 0 .. $#damaged);
is(scalar(grep { /ERROR/ && !/ERROR:\s+(22P02|22P03|22023|22021|42804|XX001|PI007|0A000)/ } @loaded), 0, 'binary input: distinct errors')
  or diag(grep { /ERROR/ && !/ERROR:\s+(22P02|22P03|22023|22021|42804|XX001|PI007|0A000)/ } @loaded);
is(scalar(grep { /$clear|7665544/ } @loaded), 0, 'which tell nothing');
my @binary = outcomes('clerk', map { "SELECT courier_pii.show(phone) FROM public.loaded WHERE id = $_" } 0 .. $#damaged);
is(scalar(grep { /$clear/ } @binary), 0, 'none of what was loaded opens');
$node->safe_psql($db, "COPY public.loaded FROM '" . binary_file(9999, $bytes) . "' (FORMAT binary)");
is(query_as($node, 'clerk', 'SELECT courier_pii.show(phone) FROM public.loaded WHERE id = 9999'), $clear, 'the whole value does');

# ---- the wrong place ----

foreach my $case ([ 'phone', $name ], [ 'phone', $note ], [ 'name', $phone ], [ 'note', $phone ])
{
	my ($col, $value) = @$case;
	my ($state, $err) = error_as($node, $node->safe_psql('postgres', 'SELECT current_user'), "UPDATE public.t SET $col = '$value' WHERE id = 1");
	like($state, qr/^(22023|42804|XX001)$/, "a value of another class is no $col");
	unlike($err, qr/$clear|欧阳|private/, 'and is not told');
}
isnt(error_as($node, $node->safe_psql('postgres', 'SELECT current_user'), 'UPDATE public.t SET phone = name WHERE id = 1'), '', 'nor in a column to column assignment');
# a class number forged in the header does not open what it covers
my $forged = decode_base64url(substr($name, 5));
substr($forged, 2, 2) = substr($bytes, 2, 2);
my ($state, $err) = error_as($node, 'clerk', "SELECT courier_pii.show('pii:1" . encode_base64url($forged) . "'::courier_pii.phone)");
like($state, qr/^(XX001|22P02|PI004)$/, 'a forged class is noticed');
unlike($err, qr/欧阳/, 'without a word of it');
unlike(slurp_file($node->logfile), qr/7665544'?\)? (?:is|was)|DETAIL:.*(?:7665544|欧阳|private)/, 'the server log tells nothing');

done_testing();
