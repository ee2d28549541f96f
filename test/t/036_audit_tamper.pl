
# Random changes of the spool (single bytes; single records with their checksums,
# in the table or waiting for it) and of the audit tables (single records, made
# without the library): every one of them is found.
# COURIER_PII_CHANGES sets their number.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiSpool;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $CHANGES = $ENV{COURIER_PII_CHANGES} // 30;
my $seed = $ENV{COURIER_PII_SEED} // time;
srand $seed;
note "seed $seed";

my $node = CourierPii->new_node('tamper', conf => "courier_pii.audit_spool_keep = 3600\nautovacuum = off\n");
my $db = $CourierPii::DATABASE;
sub pick { return $_[ int rand @_ ]; }
load_sample($node, rows => 20);
query_as($node, 'clerk', join(';', map { "SET courier_pii.purpose = 'p$_'; SELECT recv_phone, recv_name FROM masked.shipment WHERE id = " . (1 + $_ % 20) } 1 .. 150));
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'intact');

my $problems = 'SELECT count(*) FROM courier_pii.audit_verify()';
my ($found, $done, @missed) = (0, 0);

# ---- bytes of the spool ----

my ($file) = glob "$node->{courier_pii}{audit_directory}/segment-*";
my $bytes = int($CHANGES * 0.45);
my $auditor = login($node, $node->{courier_pii}{auditor});
for (1 .. $bytes)
{
	audit($node, 'SELECT 1');
	my $data = slurp_file($file);
	my @records = spool_records($data);
	# anything up to the last record that is in the table
	my $ingested = $node->safe_psql($db, 'SELECT ingested_seq FROM courier_pii.audit_state()');
	@records = grep { $_->[2] <= $ingested } @records;
	my $end = $records[-1][0] + $records[-1][1];
	my $at = int rand $end;
	my $old = substr($data, $at, 1);
	my $new = chr((ord($old) + 1 + int rand 255) % 256);
	open my $out, '+<:raw', $file or die $!;
	sysseek $out, $at, 0;
	syswrite $out, $new;
	my $n = query_as($node, $node->{courier_pii}{auditor}, $problems);
	sysseek $out, $at, 0;
	syswrite $out, $old;
	close $out;
	$done++;
	if ($n > 0) { $found++; }
	else { push @missed, "byte $at"; }
}
is($found, $bytes, "$bytes single bytes of the spool changed: all found") or diag "@missed";
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'put right, it is intact');

# ---- records of the spool, with checksums ----

# half of them wait: nobody can put them into the table while this lock is held
my $lock = CourierPiiWire->new($node, $node->safe_psql($db, 'SELECT current_user'));
is($lock->query('BEGIN; LOCK TABLE courier_pii.audit_record IN SHARE MODE')->{state}, '', 'the table is locked');
my $ingested = $node->safe_psql($db, 'SELECT ingested_seq FROM courier_pii.audit_state()');
query_as($node, 'clerk', join(';', map { "SET courier_pii.purpose = 'w$_'; SELECT recv_phone, recv_name FROM masked.shipment WHERE id = " . (1 + $_ % 20) } 1 .. 150));
my $image = slurp_file($file);
my @spool = spool_records($image);
my @parts;
foreach my $i (0 .. $#spool - 1)
{
	push @parts, { at => $spool[$i][0], seq => $spool[$i][2], length => $spool[$i][1] - 40,
		bytes => substr($image, $spool[$i][0], $spool[ $i + 1 ][0] - $spool[$i][0]) };
}
my @ahead = grep { $_ > 0 && $parts[$_]{seq} > $ingested } 0 .. $#parts - 1;
my @behind = grep { $_ > 0 && $parts[$_]{seq} < $ingested } 0 .. $#parts - 1;
my $records = int($CHANGES * 0.45);
my $waiting = 0;
($found, @missed) = (0);
my @ways = (
	[ text => sub { my ($p, $n) = @_; my $b = $p->{bytes}; my $at = 40 + int rand $p->{length}; substr($b, $at, 1) = chr((ord(substr $b, $at, 1) + 1 + int rand 255) % 256); return with_checksum($b); } ],
	[ number => sub { my ($p) = @_; my $b = $p->{bytes}; substr($b, 8, 8) = pack('Q>', $p->{seq} + 1 + int rand 1000); return with_checksum($b); } ],
	[ life => sub { my ($p) = @_; my $b = $p->{bytes}; substr($b, 16, 8) = pack('Q>', 1 + int rand 1 << 40); return with_checksum($b); } ],
	[ tag => sub { my ($p) = @_; my $b = $p->{bytes}; substr($b, 24, 16) = join '', map { chr rand 256 } 1 .. 16; return with_checksum($b); } ],
	[ exchanged => sub { my ($p, $n) = @_; return $n->{bytes} . $p->{bytes}; } ],
	[ removed => sub { my ($p, $n) = @_; return $n->{bytes} . "\0" x length $p->{bytes}; } ],
	[ twice => sub { my ($p, $n) = @_; my $b = $p->{bytes}; return length $n->{bytes} >= length $b ? $b . $b . "\0" x (length($n->{bytes}) - length $b) : "\0" x length $b; } ],
	[ forged => sub { my ($p, $n) = @_; my $b = $n->{bytes}; return length $b == length $p->{bytes} ? do { substr($b, 8, 8) = pack('Q>', $p->{seq}); with_checksum($b) } : "\0" x length $p->{bytes}; } ]);
open my $spool_file, '+<:raw', $file or die $!;
for (1 .. $records)
{
	my $i = $_ % 2 ? pick(@ahead) : pick(@behind);
	my ($name, $way) = @{ pick(@ways) };
	my ($p, $n) = @parts[ $i, $i + 1 ];
	$waiting++ if $p->{seq} > $ingested;
	sysseek $spool_file, $p->{at}, 0;
	syswrite $spool_file, $way->($p, $n);
	my $problems_found = query_as($node, $node->{courier_pii}{auditor}, $problems);
	sysseek $spool_file, $p->{at}, 0;
	syswrite $spool_file, $p->{bytes} . $n->{bytes};
	if ($problems_found > 0) { $found++; }
	else { push @missed, "$name $p->{seq}"; }
}
close $spool_file;
is($found, $records, "$records records of the spool changed with their checksums ($waiting of them not ingested): all found") or diag "@missed";
$lock->query('COMMIT');
$lock->drop;
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'put right, they are ingested and intact');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE purpose LIKE 'w%' AND action = 'READ' AND phase <> 'BEGIN'}), '150', 'all of them');

# ---- records of the tables ----

my $changes = $CHANGES - $bytes - $records;
my $b = 'courier_pii.audit_record';
my $spool = $node->{courier_pii}{audit_directory};
my $kept = PostgreSQL::Test::Utils::tempdir('kept');
my $places = $node->data_dir;

audit($node, 'SELECT courier_pii.audit_checkpoint()');
my $top = $node->safe_psql($db, "SELECT written_seq - 40 FROM courier_pii.audit_state()");
$node->stop;
system("cp -a $places $kept/data && cp -a $spool $kept/spool") == 0 or BAIL_OUT('cp');

# what matters is what is in the table: not where, and not what an index knows of it
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->start;
$node->safe_psql($db, "CREATE TABLE public.t AS SELECT * FROM $b WHERE seq BETWEEN 20 AND 40 AND seq % 3 > 0; DELETE FROM $b WHERE seq BETWEEN 20 AND 40 AND seq % 3 > 0; INSERT INTO $b SELECT * FROM public.t ORDER BY seq DESC; DROP TABLE public.t");
my ($partition) = $node->safe_psql($db, "SELECT tableoid::regclass FROM $b WHERE seq = 50");
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
$node->start;
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'the same records in other places: intact');
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->start;
$node->safe_psql($db, "UPDATE pg_index SET indisready = false WHERE indrelid = '$partition'::regclass; SELECT 1");
$node->safe_psql($db, "INSERT INTO $partition SELECT * FROM $b WHERE seq = 50; UPDATE pg_index SET indisready = true WHERE indrelid = '$partition'::regclass");
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
$node->start;
is(audit($node, 'SELECT seq, problem FROM courier_pii.audit_verify()'), '50|duplicate: there is another record with this sequence number', 'a second record that no index knows: found');
$node->stop('immediate');
system("rm -rf $places $spool && cp -a $kept/data $places && cp -a $kept/spool $spool") == 0 or BAIL_OUT('cp');

my %to = (disclosed => 'coalesce(disclosed, 0) + 1', masked => 'coalesce(masked, 0) + 1', rows_returned => 'coalesce(rows_returned, 0) + 3',
	client_port => 'coalesce(client_port, 0) + 1', pid => 'pid + 1', at => "at + interval '1 microsecond'", duration => "coalesce(duration, '0') + interval '1 s'",
	prev_hash => 'set_byte(prev_hash, 3, (get_byte(prev_hash, 3) + 1) % 256)', hash => 'set_byte(hash, 30, (get_byte(hash, 30) + 7) % 256)',
	key_generation => 'key_generation + 1', relations => "relations || 'x'::text", detail => q('{"x": 1}'), segment => 'segment + 1');
($found, @missed) = (0);
for (1 .. $changes)
{
	my $seq = 2 + int rand($top - 2);
	my $column = pick(qw(outcome login_role staff_no purpose query), keys %to);
	my $sql = pick(
		"UPDATE $b SET $column = " . ($to{$column} // "coalesce($column, '') || 'x'") . " WHERE seq = $seq",
		"DELETE FROM $b WHERE seq = $seq",
		"INSERT INTO $b SELECT (jsonb_populate_record(r, jsonb_build_object('seq', (SELECT max(seq) + 1 FROM $b)))).* FROM $b r WHERE seq = $seq",
		"CREATE TABLE public.t AS SELECT * FROM $b WHERE seq IN ($seq, $seq + 1); DELETE FROM $b WHERE seq IN ($seq, $seq + 1); UPDATE public.t SET seq = 2 * $seq + 1 - seq; INSERT INTO $b TABLE public.t",
		'UPDATE courier_pii.audit_progress SET ' . pick('seq = seq - 1', 'start_seq = start_seq + 1', 'key_generation = key_generation + 1', "head_hash = sha256('x')"),
		'UPDATE courier_pii.audit_checkpoint SET ' . pick('records = records + 1', "hash = sha256('x')", 'seq = seq - 1', 'at = at + 1'));
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->start;
	$node->safe_psql($db, $sql);
	$node->stop;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'courier_pii'\n");
	$node->start;
	my ($n, $err) = ('', '');
	$node->psql($db, $problems, stdout => \$n, stderr => \$err, connstr => $auditor);
	$node->stop('immediate');
	# an error is no answer
	if ($n ne '' && $n > 0) { $found++; }
	else { push @missed, "$sql: $n $err"; }
	system("rm -rf $places $spool && cp -a $kept/data $places && cp -a $kept/spool $spool") == 0 or BAIL_OUT('cp');
}
is($found, $changes, "$changes records changed without the library: all found") or diag join "\n", @missed;

done_testing();
