
# Encryption suites: every suite that this OpenSSL offers, mixed in one column.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('suites', conf => "autovacuum = off\n");
load_sample($node, rows => 20);
my $shown = 'SELECT count(recv_phone) FROM masked.shipment WHERE length(recv_phone) = 11';

sub sql { return $node->safe_psql($db, $_[0]); }

sql(q{CREATE TABLE public.mixed (n int, suite text, phone courier_pii.phone, note courier_pii.note);
	CREATE INDEX mixed_phone ON public.mixed (phone);
	CREATE INDEX mixed_tail ON public.mixed (courier_pii.tail4(phone))});
my @suites;
foreach my $suite ('AES-256-GCM', 'SM4-CTR-HMAC-SM3', 'SM4-GCM')
{
	my ($rc, $out, $err) = $node->psql($db, qq{
		\\set VERBOSITY sqlstate
		SELECT courier_pii.set_suite('phone', '$suite'), courier_pii.set_suite('note', '$suite')});
	if ($rc != 0)
	{
		is($suite, 'SM4-GCM', "$suite is not offered by this OpenSSL");
		like($err, qr/0A000/, 'and refused as such');
		next;
	}
	push @suites, $suite;
	sql(qq{INSERT INTO public.mixed
		SELECT g, '$suite', (13800000000 + g)::text, repeat('备注', g % 50) || g FROM generate_series(1, 100) g});
	is(sql(q{SELECT suite FROM courier_pii.key_status WHERE class = 'phone' AND state = 'active'}), $suite, "$suite seals");
}
my $n = @suites;
cmp_ok($n, '>=', 2, 'two suites at least');

sql(q{SELECT courier_pii.create_masked_view('public.mixed');
	GRANT SELECT ON masked.mixed TO clerk; GRANT USAGE ON SCHEMA masked TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', c, 'clear', true) FROM unnest('{phone,note}'::text[]) c});
is(query_as($node, 'clerk', 'SELECT count(*) FROM masked.mixed WHERE phone::text = (13800000000 + n)::text AND note::text = repeat($$备注$$, n % 50) || n'),
	100 * $n, 'every value of every suite is shown');
is(sql(q{SELECT count(*) FROM public.mixed WHERE phone = '13800000077'}), $n, 'equality finds all suites');
is(query_as($node, 'clerk', q{SELECT string_agg(suite, ',' ORDER BY suite) FROM masked.mixed WHERE phone = '+86 138-0000-0077'}),
	join(',', sort @suites), 'through the view too');
like(sql(q{SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT * FROM public.mixed WHERE phone = '13800000077'}),
	qr/mixed_phone/, 'by the index');
is(sql(q{SELECT count(*) FROM public.mixed WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0077')}), $n, 'the last four characters too');
is(sql('SELECT count(DISTINCT phone), count(*) FROM public.mixed'), '100|' . 100 * $n, 'grouped across suites');
is(query_as($node, 'clerk', $shown), '20', 'older values stay readable');

# a value changed in one byte is refused in every suite
foreach my $suite (@suites)
{
	my $bytes = sql(qq{SELECT encode(courier_pii.sealed_send(phone), 'hex') FROM public.mixed WHERE suite = '$suite' AND n = 5});
	my $bad = $bytes;
	substr($bad, -1, 1) = substr($bytes, -1, 1) eq '0' ? '1' : '0';
	sql(qq{INSERT INTO public.mixed (n, suite, phone) VALUES (1005, '$suite', 'pii:1} . base64url($bad) . q{')});
	is(error_as($node, 'clerk', qq{SELECT phone::text || '' FROM masked.mixed WHERE n = 1005 AND suite = '$suite'}), 'XX001', "$suite: a changed value is damaged");
}
sql('DELETE FROM public.mixed WHERE n = 1005');

# copies stay equal, resealing makes one suite of them
sql(q{CREATE TABLE public.copy (LIKE public.mixed); INSERT INTO public.copy SELECT * FROM public.mixed});
is(sql('SELECT count(*) FROM public.copy JOIN public.mixed USING (n, suite, phone)'), 100 * $n, 'copies are equal');
sql(q{SELECT courier_pii.set_suite('phone', 'AES-256-GCM')});
$node->safe_psql($db, q{CALL courier_pii.reseal('public.mixed', 'phone')});
is(sql('SELECT count(DISTINCT courier_pii.epoch_of(phone)) FROM public.mixed'), '1', 'resealed under one suite');
is(query_as($node, 'clerk', 'SELECT count(*) FROM masked.mixed WHERE phone::text = (13800000000 + n)::text'), 100 * $n, 'and shown as before');
is(sql(q{SELECT count(*) FROM public.mixed WHERE phone = '13800000077'}), $n, 'and found');

# a restart changes nothing
$node->restart;
is(query_as($node, 'clerk', 'SELECT count(*) FROM masked.mixed WHERE note::text = repeat($$备注$$, n % 50) || n'), 100 * $n, 'shown after a restart');

$node->stop;
done_testing();

sub base64url
{
	my ($hex) = @_;
	require MIME::Base64;
	my $text = MIME::Base64::encode_base64(pack('H*', $hex), '');
	$text =~ tr{+/}{-_};
	$text =~ s/=+$//;
	return $text;
}
