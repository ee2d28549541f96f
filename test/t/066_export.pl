
# Export tickets, encrypted packages that stock OpenSSL opens, and leaked files
# that name their export.

use strict;
use warnings;

use CourierPii;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'openssl is not installed' if system('openssl version >/dev/null 2>&1') != 0;

my $node = CourierPii->new_node('export');
my $db = $CourierPii::DATABASE;
my $dir = PostgreSQL::Test::Utils::tempdir('packages');
$node->append_conf('postgresql.conf', "courier_pii.export_directory = '$dir'\n");
$node->restart;

$node->safe_psql(
	$db, q{
	CREATE ROLE desk;
	CREATE ROLE anna LOGIN;
	CREATE ROLE bert LOGIN IN ROLE desk;
	CREATE ROLE eva LOGIN;
	CREATE ROLE dumper LOGIN SUPERUSER;
	SELECT courier_pii.appoint('pii_security_admin', 'anna');
	SELECT courier_pii.appoint('pii_auditor', 'eva');
	CREATE TABLE public.t (id int PRIMARY KEY, phone courier_pii.phone, name courier_pii.person_name, station text);
	CREATE TABLE public.u (id int PRIMARY KEY, phone courier_pii.phone);
	INSERT INTO public.t SELECT i, '138' || lpad((i * 7919)::text, 8, '0'), '王小明', 'SZ0' || i % 3 FROM generate_series(1, 1500) i;
	INSERT INTO public.u SELECT i, '139' || lpad((i * 7919)::text, 8, '0') FROM generate_series(1, 1500) i;
	ANALYZE;
	SELECT courier_pii.create_masked_view('public.t'), courier_pii.create_masked_view('public.u');
	GRANT USAGE ON SCHEMA masked TO PUBLIC;
	GRANT SELECT ON masked.t, masked.u TO PUBLIC;
	SELECT courier_pii.grant_disclosure('desk', 'phone', 'clear');
});

sub ticket
{
	my ($details) = @_;
	my $id = query_as($node, 'bert', "SELECT courier_pii.request('export', 'report', '$details')");
	query_as($node, 'anna', "SELECT courier_pii.approve($id)");
	return $id;
}

sub with
{
	my ($id, $sql) = @_;
	return scalar error_as($node, 'bert', "SET courier_pii.ticket = '$id'; $sql");
}

# ---- limits ----

is(error_as($node, 'bert', 'SELECT count(length(phone)) FROM masked.t'), 'PI001', 'without a ticket the limit holds');
is(with(ticket('{"table": "masked.t"}'), 'SELECT count(length(phone)) FROM masked.t'), '', 'a ticket lifts it');
is(with(ticket('{"table": "public.t", "max_values": 1200}'), 'SELECT count(length(phone)) FROM masked.t'),
	'PI001', 'up to what was asked for');
is(with(ticket('{"table": "masked.u"}'), 'SELECT count(length(phone)) FROM masked.t'),
	'PI002', 'for its table only');
is(with(ticket('{"table": "masked.t"}'),
		'SELECT count(length(t.phone)), count(length(u.phone)) FROM masked.t t, masked.u u WHERE t.id = u.id'),
	'PI002', 'not for a table that is joined to it');
my $used = ticket('{"table": "masked.t"}');
is(with($used, 'SELECT count(length(phone)) FROM masked.t'), '', 'used once');
is(with($used, 'SELECT count(length(phone)) FROM masked.t'), 'PI002', 'and no more');
is( query_as(
		$node, 'bert',
		"SET courier_pii.ticket = '" . ticket('{"table": "masked.t", "level": "masked"}')
		  . "'; SELECT phone FROM masked.t WHERE id = 1"),
	'1******7919',
	'an export for masked values shows masked values to whom clear ones are shown');

# ---- packages ----

my ($key, $cert) = ("$dir/key.pem", "$dir/cert.pem");
system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $key -out $cert -subj /CN=recipient -days 2 >/dev/null 2>&1") == 0
  or die 'openssl req';
my $pem = slurp_file($cert);

sub package_of
{
	my ($id, $around) = @_;
	my $sql = "SET courier_pii.ticket = '$id'; SELECT encode(package, 'base64') FROM courier_pii.export_sealed('masked.t', '$pem');";
	$sql = "BEGIN; $sql ROLLBACK;" if $around;
	return decode_base64(query_as($node, 'bert', $sql));
}

sub opened
{
	my ($package) = @_;
	my $file = "$dir/in.p7m";
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $package;
	close $out;
	my $csv = `openssl cms -decrypt -inform DER -in $file -recip $cert -inkey $key 2>/dev/null`;
	return split /\n/, $csv;
}

sub leak
{
	my (@lines) = @_;
	s/'/''/g for @lines;
	return query_as($node, 'eva',
		"SELECT courier_pii.audit_flush(); SELECT ticket, person, matched, decoys, certain FROM courier_pii.identify_leak(ARRAY["
		  . join(',', map { "'$_'" } @lines) . ']::text[])') =~ s/^t\n?//r;
}

is(error_as($node, 'bert', "SELECT courier_pii.export_sealed('masked.t', '$pem')"),
	'PI001', 'a package needs a ticket');
my $id = ticket('{"table": "masked.t", "decoys": 7}');
is(with($id, "SELECT courier_pii.export_sealed('masked.t', 'no certificate')"), '22023', 'a recipient has a certificate');
is(with($id, "SELECT courier_pii.export_sealed('public.t', '$pem')"), '42809', 'only masked views');
my $package = package_of($id);
unlike($package, qr/13800007919|SZ01|phone/, 'the package is encrypted');
my @lines = opened($package);
is($lines[0], 'id,phone,name,station', 'openssl opens it');
is(@lines - 1, 1507, 'all rows and the decoys are in it');
is((grep { /^1,13800007919,王\*\*,SZ01$/ } @lines), 1, 'as the person is shown them');
my %ids;
$ids{ (split /,/)[0] }++ for @lines;
is((grep { $_ > 1 } values %ids), 0, 'no decoy repeats a key');

is(leak(@lines), "$id|bert|7|7|t", 'the whole file names its export');
is(leak(sort { $a cmp $b } map { (split /,/)[1] } @lines), "$id|bert|7|7|t",
	'so does one column, in another order');
is(leak(map { my @f = split /,/; "\"$f[1]\"\t$f[2]" } @lines), "$id|bert|7|7|t", 'and another format');
is(leak('1,13800007919,王**,SZ01'), '', 'true rows name nothing');

my $other = ticket('{"table": "masked.t"}');
my @others = opened(package_of($other, 1));
is(leak(@others), "$other|bert|5|5|t", 'an export that was rolled back is named, too');
is(leak(@lines), "$id|bert|7|7|t", 'and each export has decoys of its own');

my $masked = ticket('{"table": "masked.t", "level": "masked"}');
@others = opened(package_of($masked));
is((grep { /1380000/ } @others), 0, 'a package for masked values has no clear one');
like(leak(@others), qr/^$masked\|bert\|5\|5\|f$/m, 'its decoys are found by pairs');
is(with(ticket('{"table": "masked.t", "max_rows": 10}'), "SELECT courier_pii.export_sealed('masked.t', '$pem')"),
	'PI001', 'no more rows than asked for');

$id = ticket('{"table": "masked.t"}');
my $export = query_as($node, 'bert',
	"SET courier_pii.ticket = '$id'; SELECT export_id FROM courier_pii.export_sealed('masked.t', '$pem', true) WHERE package IS NULL");
is((opened(slurp_file("$dir/$export.p7m")))[0], 'id,phone,name,station', 'a package written by the server');
is(sprintf('%o', (stat "$dir/$export.p7m")[2] & 07777), '600', 'for the server account only');
is( audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'export_sealed' AND outcome = 'ok'}),
	'4', 'each package is recorded');

# ---- sealed export ----

my $copy = 'COPY public.t TO STDOUT';
is(error_as($node, 'dumper', $copy), '', 'COPY of a protected table is recorded');
$node->safe_psql('postgres', "ALTER SYSTEM SET courier_pii.sealed_export = 'ticket'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('courier_pii.sealed_export') = 'ticket'");
is(error_as($node, 'dumper', $copy), 'PI001', 'or needs a ticket');
$node->safe_psql($db, 'CREATE ROLE saver LOGIN; GRANT pg_read_all_data TO saver');
$node->safe_psql($db, q{SELECT courier_pii.appoint('pii_backup', 'saver')});
is(error_as($node, 'saver', $copy), '', 'the backup account needs none');

# ---- publications, slots, backups: whoever publishes a table exports it ----

$node->safe_psql($db, "
	CREATE TABLE public.plain (id int PRIMARY KEY);
	CREATE TABLE public.own (id int PRIMARY KEY, phone courier_pii.phone);
	ALTER TABLE public.plain OWNER TO bert;
	ALTER TABLE public.own OWNER TO bert;
	GRANT CREATE ON DATABASE $db TO bert");
my $published = q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'EXPORT' AND outcome = 'ok' AND command LIKE '% PUBLICATION'};
my $refused = q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED' AND outcome = 'blocked' AND command LIKE '% PUBLICATION'};
is(error_as($node, 'bert', 'CREATE PUBLICATION plain FOR TABLE public.plain'), '', 'a plain table is published');
is(error_as($node, 'bert', 'CREATE PUBLICATION p FOR TABLE public.own'), 'PI001', 'a protected one needs a ticket');
is(error_as($node, 'bert', 'ALTER PUBLICATION plain ADD TABLE public.own'), 'PI001', 'also to be added');
is(error_as($node, 'bert', 'ALTER PUBLICATION plain SET TABLE public.own'), 'PI001', 'or set');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
foreach my $what ('ALL TABLES', 'TABLES IN SCHEMA public')
{
	is(error_as($node, $superuser, "CREATE PUBLICATION everything FOR $what"), 'PI001', "no superuser publishes $what");
}
is($node->safe_psql($db, 'SELECT string_agg(pubname, chr(44)) FROM pg_publication'), 'plain', 'nothing is left of them');
is(audit($node, $refused), '5', 'each refusal is recorded');
is(audit($node, $published), '0', 'and no export');
is(with(ticket('{"table": "public.u"}'), 'ALTER PUBLICATION plain ADD TABLE public.own'), 'PI002', 'the ticket names the table');
$id = ticket('{"table": "public.own"}');
is(with($id, 'ALTER PUBLICATION plain ADD TABLE public.own'), '', 'with the ticket it is published');
is(with($id, 'CREATE PUBLICATION p FOR TABLE public.own'), 'PI002', 'once');
is(error_as($node, 'bert', 'ALTER PUBLICATION plain SET TABLE public.own'), '', 'keeping what is published takes nothing');
is(audit($node, $published), '1', 'recorded as an export');
is( audit($node, q{SELECT ticket FROM courier_pii.audit_log WHERE action = 'EXPORT' AND command = 'ALTER PUBLICATION' AND 'public.own' = ANY (relations)}),
	$id, 'with its table and ticket');
foreach my $sql (q{pg_backup_start('b', true)}, q{pg_create_physical_replication_slot('s')}, q{pg_copy_physical_replication_slot('s', 's2')},
	q{pg_copy_logical_replication_slot('s', 's2')})
{
	is(error_as($node, $superuser, "SELECT $sql"), 'PI001', "$sql is for the backup account");
}

done_testing();
