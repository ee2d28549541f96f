
# Changes of the audit trail are refused while the library is loaded, and found
# when they were made without it.  Checkpoints, exported and dropped months.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiSpool;
use CourierPiiWire;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

my $outside = PostgreSQL::Test::Utils::tempdir('proof');
mkdir "$outside/$_" foreach qw(checkpoints exports);
my $socket_path = PostgreSQL::Test::Utils::tempdir_short() . '/log';
my $log = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket_path) or die $!;

my $node = CourierPii->new_node('proof', no_start => 1, conf => <<"EOC");
courier_pii.audit_checkpoint_directory = '$outside/checkpoints'
courier_pii.audit_export_directory = '$outside/exports'
courier_pii.audit_syslog = '$socket_path'
EOC
my $db = $CourierPii::DATABASE;

# records of long ago, as an earlier life of this server would have left them:
# seven months of three years past, and a gap in the clock
my $seq = 1;
my ($year, $month) = (gmtime)[5, 4];
my $now_month = ($year + 1900) * 12 + $month;
my @months = map { $now_month - 42 + $_ } 0 .. 2;
require Time::Local;
write_segment("$node->{courier_pii}{audit_directory}/segment-000000000001",
	number => 1, first_seq => 1, node => 'proof', count => 300,
	record => sub {
		my ($n) = @_;
		my $m = $months[ int(($n - 1) / 100) ];
		return (at => Time::Local::timegm(0, 0, 12, 2 + $n % 20, $m % 12, int($m / 12)) * 1_000_000 + $n,
			staff_no => 'C' . ($n % 7), role => 'clerk');
	});
sub month_name { my ($m, $sep) = @_; return sprintf('%04d%s%02d', int($m / 12), $sep // '-', 1 + $m % 12); }

$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, 'CREATE EXTENSION courier_pii CASCADE');
load_sample($node, rows => 20);
$node->safe_psql($db, q{CREATE ROLE keeper LOGIN; SELECT courier_pii.appoint('pii_security_admin', 'keeper')});
query_as($node, 'clerk', "SELECT recv_phone FROM masked.shipment WHERE id = $_") foreach 1 .. 5;
# texts with line feeds, quotes and commas
query_as($node, 'clerk', qq{SET courier_pii.purpose = 'two\nlines, "quoted" \\ and 王'; SELECT recv_phone\n, recv_name\n\tFROM masked.shipment\r\nWHERE id = 1});

sub problems { return audit($node, 'SELECT node, problem FROM courier_pii.audit_verify()'); }

is(problems(), '', 'intact');
is(audit($node, 'SELECT count(*) FROM courier_pii.audit_log WHERE seq <= 300'), '300', 'old records were ingested');
my @partitions = split /\n/, $node->safe_psql($db, q{SELECT relname FROM pg_class WHERE relname ~ '^audit_record_\d' AND relkind = 'r' ORDER BY 1});
is("@partitions[0..2]", join(' ', map { 'audit_record_' . month_name($_, '_') } @months), 'into partitions of their months');

# ---- superusers, with the library ----

foreach my $sql (
	'UPDATE courier_pii.audit_record SET outcome = NULL',
	'DELETE FROM courier_pii.audit_record',
	'TRUNCATE courier_pii.audit_record',
	"TRUNCATE courier_pii.$partitions[0]",
	"DROP TABLE courier_pii.$partitions[0]",
	"ALTER TABLE courier_pii.audit_record DETACH PARTITION courier_pii.$partitions[0]",
	'ALTER TABLE courier_pii.audit_record ADD COLUMN x int',
	"CREATE RULE r AS ON INSERT TO courier_pii.audit_record DO INSTEAD NOTHING",
	'DELETE FROM courier_pii.audit_checkpoint',
	'UPDATE courier_pii.audit_progress SET seq = 0',
	'INSERT INTO courier_pii.audit_retired SELECT * FROM courier_pii.audit_retired',
	'DROP TABLE courier_pii.audit_checkpoint CASCADE',
	"COPY courier_pii.audit_record FROM '/dev/null'",
	"MERGE INTO courier_pii.audit_progress p USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET seq = 0")
{
	isnt($node->psql($db, $sql), 0, "refused: $sql");
}
is(problems(), '', 'still intact');

# ---- checkpoints ----

cmp_ok(audit($node, 'SELECT courier_pii.audit_checkpoint()'), '>=', 1, 'a checkpoint');
my @lines = split /\n/, slurp_file("$outside/checkpoints/checkpoints-proof.jsonl");
like($lines[-1], qr/^\{"checkpoint": 1, .*"node": "proof", "seq": \d+, .*"signature": "[0-9a-f]{128}"\}$/, 'in the checkpoint directory');
my $datagram;
$log->recv($datagram, 4096);
like($datagram, qr/^<85>1 \S+ proof courier_pii \d+ checkpoint - \{"checkpoint": 1/, 'and in the system log');
is(error_as($node, 'clerk', 'SELECT courier_pii.audit_checkpoint()'), '42501', 'not for everybody');

# ---- months ----

my $first = month_name($months[0]) . '-01';
my $manifest = audit($node, "SELECT courier_pii.audit_export_month('$first')");
like($manifest, qr/"month": "\Q@{[month_name($months[0])]}\E".*"records": 100, "runs": \[\["proof", 1, 100, "0{64}"/, 'a month is exported with a manifest');
ok(-s "$outside/exports/audit-" . month_name($months[0]) . '.csv', 'the file is there');

my $other = month_name($months[1]) . '-01';
my ($this_month) = month_name($now_month) . '-01';
sub drop_month
{
	my ($role, $date, $text) = @_;
	$text =~ s/'/''/g;
	return scalar error_as($node, $role, "SELECT courier_pii.drop_audit_month('$date', '$text')");
}
is(drop_month('keeper', $other, $manifest), '22023', 'the manifest of another month');
(my $forged = $manifest) =~ s/"records": 100/"records": 101/;
is(drop_month('keeper', $first, $forged), '22023', 'a changed manifest');
is(drop_month('clerk', $first, $manifest), '42501', 'not by everybody');
is(drop_month('keeper', $this_month, audit($node, "SELECT courier_pii.audit_export_month('$this_month')")), '55000', 'a month that must be kept');
isnt($node->psql($db, "ALTER SYSTEM SET courier_pii.audit_keep_months = 5"), 0, 'fewer than six months cannot be set');
is(drop_month('keeper', $first, $manifest), '', 'an old month is dropped');
is(audit($node, 'SELECT count(*) FROM courier_pii.audit_log WHERE seq <= 300'), '200', 'its records are gone');
is(problems(), '', 'and the chain is intact, by the manifest');
is(drop_month('keeper', month_name($months[2]) . '-01', audit($node, "SELECT courier_pii.audit_export_month('" . month_name($months[2]) . "-01')")), '', 'a month in the middle, too');
is(problems(), '', 'intact');

# ---- without a server ----

my $csv = "$outside/audit.csv";
my $select = 'SELECT * FROM courier_pii.audit_log ORDER BY node, seq';
sub export
{
	append_to_file("$outside/export.sql", "SET datestyle = ISO; SET intervalstyle = postgres; SET bytea_output = hex;\n\\copy ($select) TO '$csv' CSV HEADER\n");
	audit($node, '');
	$node->command_ok([ 'psql', '-X', '-q', '-h', $node->host, '-p', $node->port, '-U', $node->{courier_pii}{auditor}, '-d', $db, '-f', "$outside/export.sql" ], 'exported');
	unlink "$outside/export.sql";
	return;
}
my $public = audit($node, 'SELECT courier_pii.audit_public_key()');
like($public, qr/^[0-9a-f]{64}$/, 'the public key');
sub offline
{
	my (@arguments) = @_;
	my $out = '';
	IPC::Run::run([ 'perl', 'tools/audit_verify', '--key-file', $node->{courier_pii}{key_file}, '--key-store', $node->{courier_pii}{key_store}, @arguments ],
		'>', \$out, '2>&1');
	return $out;
}
my @all = ('--csv', $csv, '--checkpoints', "$outside/checkpoints/checkpoints-proof.jsonl", '--public-key', $public);
$select = 'SELECT * FROM courier_pii.audit_log WHERE seq > 300 ORDER BY node, seq';
audit($node, 'SELECT courier_pii.audit_checkpoint()');
export();
like(offline(@all, $node->{courier_pii}{audit_directory}), qr/^intact$/m, 'tools/audit_verify: intact') or diag offline(@all);
my $good = slurp_file($csv);
my @rows = split /\n/, $good;
foreach my $case (
	[ 'a changed text', sub { $_[0] =~ s/clerk/clark/ }, qr/changed: the record does not match its hash/ ],
	[ 'a removed record', sub { my @r = split /\n/, $_[0]; splice @r, 5, 1; $_[0] = join("\n", @r) . "\n" }, qr/missing: records up to/ ],
	[ 'exchanged records', sub { my @r = split /\n/, $_[0]; @r[4, 5] = @r[5, 4]; $_[0] = join("\n", @r) . "\n" }, qr/not in order|missing/ ],
	[ 'a cut tail', sub { my @r = split /\n/, $_[0]; $#r -= 3; $_[0] = join("\n", @r) . "\n" }, qr/cut tail/ ])
{
	my ($name, $change, $expected) = @$case;
	my $bad = $good;
	$change->($bad);
	open my $out, '>:raw', $csv or die $!;
	print $out $bad;
	close $out;
	like(offline(@all), $expected, "tools/audit_verify: $name");
}
my $checkpoints = slurp_file("$outside/checkpoints/checkpoints-proof.jsonl");
$checkpoints =~ s/"records": (\d)/"records": 9$1/;
open my $false, '>:raw', "$outside/false.jsonl" or die $!;
print $false $checkpoints;
close $false;
open my $again, '>:raw', $csv or die $!;
print $again $good;
close $again;
like(offline('--csv', $csv, '--checkpoints', "$outside/false.jsonl", '--public-key', $public), qr/checkpoint does not match its signature/, 'tools/audit_verify: a forged checkpoint');
like(offline('--csv', "$outside/exports/audit-" . month_name($months[0]) . '.csv'), qr/^intact$/m, 'tools/audit_verify: an exported month');

# each kind of problem, by name
sub write_file { my ($file, $bytes) = @_; open my $f, '>:raw', $file or die $!; print $f $bytes; close $f; return; }
my @forked = split /\n/, $good;
splice @forked, 6, 0, $forked[5];
write_file($csv, join("\n", @forked) . "\n");
like(offline('--csv', $csv), qr/duplicate: the record is there twice/, 'tools/audit_verify: duplicate');
$forked[6] =~ s/\\x[0-9a-f]{64}((?:,\d+)*)\z/'\x' . ('ab' x 32) . $1/e or die $forked[6];
write_file($csv, join("\n", @forked) . "\n");
like(offline('--csv', $csv), qr/fork: there are two records of this number/, 'tools/audit_verify: fork');
(my $other_history = slurp_file("$outside/checkpoints/checkpoints-proof.jsonl")) =~ s/"hash": "[0-9a-f]{4}/"hash": "0000/g;
write_file("$outside/false.jsonl", $other_history);
write_file($csv, $good);
like(offline('--csv', $csv, '--checkpoints', "$outside/false.jsonl"), qr/fork: a checkpoint knows another record/, 'tools/audit_verify: fork, by a checkpoint');
my @swapped = split /\n/, $good;
@swapped[4, 5] = @swapped[5, 4];
write_file($csv, join("\n", @swapped) . "\n");
like(offline('--csv', $csv), qr/reordered: the record follows record/, 'tools/audit_verify: reordered');
my @holed = split /\n/, $good;
splice @holed, 4, 1;
write_file($csv, join("\n", @holed) . "\n");
like(offline('--csv', $csv), qr/missing: records up to/, 'tools/audit_verify: gap');
write_file($csv, $good);
my $copy = PostgreSQL::Test::Utils::tempdir('segments');
system("cp $node->{courier_pii}{audit_directory}/segment-* $node->{courier_pii}{audit_directory}/keys $copy") == 0 or die;
my ($segment) = glob "$copy/segment-" . '[0-9]' x 12;
my $head = substr(slurp_file($segment), 0, 128);
my $last_seq = (spool_records(slurp_file($segment)))[-1][2];
substr($head, 16, 8) = pack('Q>', 3);
substr($head, 24, 8) = pack('Q>', $last_seq + 1);
substr($head, 12, 4) = pack('N', crc32c(substr($head, 16, 112)));
write_file("$copy/segment-000000000003", $head . "\0" x (16 * 1024 * 1024 - 128));
like(offline($copy), qr/missing segment: number 2 is not there/, 'tools/audit_verify: missing segment');
write_file("$copy/segment-000000000003", 'x' x 4096);
like(offline($copy), qr/damaged: the segment has no valid header/, 'tools/audit_verify: a damaged header');

# extracts
foreach my $format (qw(csv json))
{
	my $file = "$outside/extract.$format";
	my $extract = audit($node, "SET timezone = 'Asia/Shanghai'; SELECT courier_pii.audit_extract('-infinity', 'infinity', '$format')");
	write_file($file, "$extract\n");
	my $checked = offline('--extract', $file, '--public-key', $public);
	like($checked, qr/^intact$/m, "tools/audit_verify: an extract, $format") or diag $checked;
	like($checked, qr/: [1-9]\d\d+ records$/m, '... of all records');
	unlike($checked, qr/not checked|without a key/, '... with signature and hashes');
	(my $bad = $extract) =~ s/clerk/clark/;
	write_file($file, "$bad\n");
	$checked = offline('--extract', $file, '--public-key', $public);
	like($checked, qr/changed: the lines are not those of the manifest/, '... a changed line');
	like($checked, qr/record \d+: changed: the record does not match its hash/, '... and which');
	(my $sum = $extract) =~ s/\A(.*"records": )(\d+)(, "withheld")/$1 . ($2 + 1) . $3/se;
	write_file($file, "$sum\n");
	like(offline('--extract', $file, '--public-key', $public), qr/changed: the manifest does not match its signature/, '... a changed manifest');
	my @cut = split /\n/, $extract;
	pop @cut;
	write_file($file, join("\n", @cut) . "\n");
	like(offline('--extract', $file, '--public-key', $public), qr/cut tail: the last line is no manifest/, '... a cut tail');
	@cut = split /\n/, $extract;
	splice @cut, 7, 1;
	write_file($file, join("\n", @cut) . "\n");
	like(offline('--extract', $file, '--public-key', $public), qr/missing: the manifest has \d+ records, the file \d+/, '... a removed line');
	my $one_person = audit($node, "SELECT courier_pii.audit_extract('-infinity', 'infinity', '$format', 'C1')");
	write_file($file, "$one_person\n");
	like(offline('--extract', $file, '--public-key', $public), qr/^intact$/m, '... of one person');
}

# ---- without the library ----

my $conf = $node->data_dir . '/postgresql.conf';
sub without_library
{
	my ($sql) = @_;
	audit($node, 'SELECT 1');
	$node->stop;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->start;
	$node->safe_psql($db, $sql);
	$node->stop;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
	$node->start;
	return;
}

my $b = 'courier_pii.audit_record';
my @cases = (
	[ 'a changed value', "UPDATE $b SET disclosed = 77 WHERE seq = 305", "UPDATE $b SET disclosed = r.disclosed FROM public.kept r WHERE r.seq = $b.seq AND $b.seq = 305", qr/changed/ ],
	[ 'a removed record', "DELETE FROM $b WHERE seq = 304", "INSERT INTO $b SELECT * FROM public.kept WHERE seq = 304", qr/missing: records 304 to 304/ ],
	[ 'two exchanged', "UPDATE $b SET seq = CASE seq WHEN 310 THEN 311 ELSE 310 END WHERE seq IN (310, 311)", "DELETE FROM $b WHERE seq IN (310, 311); INSERT INTO $b SELECT * FROM public.kept WHERE seq IN (310, 311)", qr/changed|reordered/ ],
	[ 'a signature of a checkpoint', "UPDATE courier_pii.audit_checkpoint SET hash = sha256('x')", "DELETE FROM courier_pii.audit_checkpoint", qr/changed: the checkpoint/ ],
	[ 'a faked retirement', "INSERT INTO courier_pii.audit_retired SELECT node, 305, 305, prev_hash, hash, now(), '{}', now() FROM $b WHERE seq = 305; DELETE FROM $b WHERE seq = 305",
		"DELETE FROM courier_pii.audit_retired WHERE first_seq = 305; INSERT INTO $b SELECT * FROM public.kept WHERE seq = 305", qr/no signed manifest/ ],
);
without_library("CREATE TABLE public.kept AS SELECT * FROM $b");
is(problems(), '', 'intact after a restart without the library');
foreach my $case (@cases)
{
	my ($name, $do, $undo, $expected) = @$case;
	without_library($do);
	like(problems(), $expected, "$name is found");
	without_library($undo);
	is(problems(), '', '... and gone when it is put right') or last;
}

# everything rolled back together: table, progress and spool; only the outside knows
audit($node, 'SELECT courier_pii.audit_checkpoint()');
$node->stop;
my $spool = $node->{courier_pii}{audit_directory};
system("rm -f $spool/segment-* $spool/inflight $spool/spare");
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->start;
$node->safe_psql($db, "DELETE FROM courier_pii.audit_checkpoint; DELETE FROM $b WHERE seq > 308;
	UPDATE courier_pii.audit_progress SET seq = 308, segment = 1, byte_offset = 128, head_hash = (SELECT hash FROM $b WHERE seq = 308), key_generation = (SELECT key_generation FROM $b WHERE seq = 308)");
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
$node->start;
like(problems(), qr/cut tail|fork/, 'a tail that was cut off everywhere is found by the checkpoint outside');

# the first key is with the auditor: what it covers cannot be checked here
rename "$node->{courier_pii}{key_store}/audit-start.key", "$outside/audit-start.key";
is(error_as($node, $node->{courier_pii}{auditor}, 'SELECT * FROM courier_pii.audit_verify()'), 'PI004', 'without the first key: PI004');

done_testing();
