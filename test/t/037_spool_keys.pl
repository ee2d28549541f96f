
# Records that are not in the table yet: whoever has the files, and makes the
# checksums good again, is found out; before and after a crash, and offline.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use CourierPiiSpool;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('spoolkeys', conf => "courier_pii.audit_spool_keep = 3600\n");
load_sample($node, rows => 20);
is(audit($node, 'SELECT * FROM courier_pii.audit_verify()'), '', 'intact');
my $spool = $node->{courier_pii}{audit_directory};
my $auditor = $node->{courier_pii}{auditor};

# nothing is ingested while somebody has this lock; reading goes on
my $lock;
sub hold
{
	audit($node, 'SELECT 1');
	$lock = CourierPiiWire->new($node, $node->safe_psql($db, 'SELECT current_user'));
	$lock->query('BEGIN; LOCK TABLE courier_pii.audit_record IN SHARE MODE')->{state} eq '' or die 'no lock';
	return $node->safe_psql($db, 'SELECT ingested_seq FROM courier_pii.audit_state()');
}
sub let_go { $lock->query('COMMIT'); $lock->drop; return; }
sub reads
{
	my ($purpose, $n) = @_;
	query_as($node, 'clerk', join(';', map { "SET courier_pii.purpose = '$purpose $_'; SELECT recv_phone FROM masked.shipment WHERE id = $_" } 1 .. $n));
	return;
}
sub file { my @files = glob "$spool/segment-" . '[0-9]' x 12; return $files[-1]; }
sub put
{
	my ($at, $bytes) = @_;
	open my $out, '+<:raw', file() or die $!;
	sysseek $out, $at, 0;
	syswrite $out, $bytes;
	close $out;
	return;
}
# records that are not ingested: [offset, bytes, number]
sub waiting
{
	my ($ingested) = @_;
	my $data = slurp_file(file());
	my @records = spool_records($data);
	my @out;
	for my $i (0 .. $#records)
	{
		my $end = $i < $#records ? $records[ $i + 1 ][0] : $records[$i][0] + int(($records[$i][1] + 7) / 8) * 8;
		push @out, [ $records[$i][0], substr($data, $records[$i][0], $end - $records[$i][0]), $records[$i][2] ];
	}
	return grep { $_->[2] > $ingested } @out;
}
sub verify { return query_as($node, $auditor, 'SELECT problem FROM courier_pii.audit_verify()'); }
my @keys = ('--key-file', $node->{courier_pii}{key_file}, '--key-store', $node->{courier_pii}{key_store});
sub offline
{
	my $out = '';
	IPC::Run::run([ 'perl', 'tools/audit_verify', @_, $spool ], '>', \$out, '2>&1');
	return $out;
}
sub changed_text
{
	my ($bytes) = @_;
	my $at = index($bytes, 'recv_phone');
	substr($bytes, $at, 10) = 'recv_phony';
	return with_checksum($bytes);
}

# ---- while the server runs ----

my $ingested = hold();
reads('held', 12);
my @waiting = grep { index($_->[1], 'recv_phone') > 0 } waiting($ingested);
cmp_ok(scalar @waiting, '>=', 12, 'records wait');
is(verify(), '', 'they are intact');
like(offline(@keys), qr/^intact$/m, 'tools/audit_verify says so too') or diag offline(@keys);

my ($one, $two, $three) = @waiting[ 3, 4, 5 ];
my $renumbered = $one->[1];
substr($renumbered, 8, 8) = pack('Q>', $one->[2] + 500);
my $other_life = $one->[1];
substr($other_life, 16, 8) = pack('Q>', 12345);
my @cases = (
	[ 'a changed text', $one->[0], changed_text($one->[1]), $one->[1], qr/^changed: the record in the spool/, qr/record $one->[2]: changed/ ],
	[ 'another number', $one->[0], with_checksum($renumbered), $one->[1], qr/^changed/, qr/record $one->[2]: changed/ ],
	[ 'another life', $one->[0], with_checksum($other_life), $one->[1], qr/^changed/, undef ],
	[ 'exchanged', $one->[0], $two->[1] . $one->[1], $one->[1] . $two->[1], qr/^(reordered|missing|changed)/, qr/(reordered|missing)/ ],
	[ 'a removed one', $one->[0], $two->[1] . $three->[1] . "\0" x length($one->[1]), $one->[1] . $two->[1] . $three->[1], qr/^(missing|damaged|reordered)/, qr/missing/ ]);
foreach my $case (@cases)
{
	my ($name, $at, $bytes, $undo, $online, $off) = @$case;
	put($at, $bytes);
	like(verify(), $online, "$name is found");
	like(offline(@keys), $off, '... and by tools/audit_verify') if $off;
	put($at, $undo);
	is(verify(), '', '... and gone when it is put right');
}
put($one->[0], changed_text($one->[1]));
like(offline(), qr/could not be authenticated, no key was given\nintact$/m, 'without a key the checksum is all that can be checked');
put($one->[0], $one->[1]);
let_go();
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE purpose LIKE 'held %' AND action = 'READ' AND outcome = 'ok'}), '12', 'all are ingested');
is(verify(), '', 'intact');
unlike($_, qr/refused/, 'nothing was refused') foreach glob "$spool/*";

# what is ingested is in the spool still, and in the table
put($one->[0], changed_text($one->[1]));
like(verify(), qr/^changed: the record in the spool/, 'an ingested record of the spool, with its checksum');
put($one->[0], $one->[1]);
is(verify(), '', 'intact');

# ---- across a crash ----

$ingested = hold();
reads('before the crash', 8);
$node->stop('immediate');
$node->start;
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE purpose LIKE 'before the crash %' AND action = 'READ' AND phase <> 'BEGIN'}), '8', 'records of an earlier life are ingested');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command IN ('records refused', 'records unprotected')}), '0', 'with its stored key');
is(verify(), '', 'intact');

# ---- changed while the server is down ----

$ingested = hold();
reads('tampered', 8);
@waiting = grep { index($_->[1], 'recv_phone') > 0 } waiting($ingested);
$node->stop('immediate');
my $bad = $waiting[3];
put($bad->[0], changed_text($bad->[1]));
my $log_at = -s $node->logfile;
$node->start;
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE purpose LIKE 'tampered %' AND action = 'READ' AND phase <> 'BEGIN'}), '7', 'the changed record is refused, the others are taken');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE query LIKE '%recv_phony%'}), '0', 'nothing of it');
is(audit($node, q{SELECT action, outcome, detail->>'problem', detail->>'from', detail->>'to', detail->>'node' FROM courier_pii.audit_log WHERE command = 'records refused'}),
	"SYSTEM|error|changed|$bad->[2]|$bad->[2]|spoolkeys", 'a record says so');
like(slurp_file($node->logfile, $log_at), qr/audit records $bad->[2] to $bad->[2] of server "spoolkeys" are not taken from the spool: changed/, 'and the server log');
like(verify(), qr/^missing: records $bad->[2] to $bad->[2] are not there\n(.*\n)*changed: records of the spool were not taken/, 'and the verification, for good');
is(scalar(() = glob "$spool/segment-*.refused"), 1, 'the segment is kept');
ok(wait_until($node, q{SELECT count(*) > 0 FROM courier_pii.alert WHERE kind = 'tampering' AND severity = 'critical'}), 'an alert is raised');

# the last record of all: nothing follows it
$ingested = hold();
reads('last', 2);
@waiting = grep { index($_->[1], 'recv_phone') > 0 } waiting($ingested);
$node->stop('immediate');
put($waiting[-1][0], changed_text($waiting[-1][1]));
$node->start;
is(audit($node, qq{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'records refused' AND detail->>'from' = '$waiting[-1][2]'}), '1', 'the last record, changed');

# ---- the keys are gone ----

hold();
reads('without keys', 3);
$node->stop('immediate');
rename "$spool/keys", "$spool/keys.away";
$node->start;
is(audit($node, q{SELECT outcome, detail->>'problem', count(*) FROM courier_pii.audit_log WHERE command = 'records unprotected' GROUP BY 1, 2}), 'error|unprotected|1', 'keys that were removed are noticed');
unlike(slurp_file("$spool/keys"), qr/\A\0*\z/, 'the next life has a key again');
$node->stop;

# ---- a sealed server ----

my $sealed = CourierPii->new_node('sealed', no_key => 1, conf => "courier_pii.audit_spool_keep = 3600\n");
$sealed->safe_psql($db, 'CREATE ROLE nobody LOGIN; CREATE TABLE public.p (a courier_pii.phone)');
is(error_as($sealed, 'nobody', 'TABLE public.p'), '42501', 'a refusal on a sealed server');
is(audit($sealed, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED' AND login_role = 'nobody'}), '1', 'is recorded');
is(audit($sealed, 'SELECT problem FROM courier_pii.audit_verify()'), '', 'intact');
ok(!-e "$sealed->{courier_pii}{audit_directory}/keys", 'no key is stored');
$node = $sealed;
$spool = $node->{courier_pii}{audit_directory};
$auditor = $node->{courier_pii}{auditor};
$ingested = hold();
error_as($sealed, 'nobody', 'TABLE public.p');
($one) = grep { index($_->[1], 'DENIED') > 0 } waiting($ingested);
my $swapped = $one->[1];
substr($swapped, index($swapped, 'nobody'), 6) = 'anyone';
put($one->[0], with_checksum($swapped));
like(verify(), qr/^changed: the record in the spool/, 'its records are authenticated as long as it runs');
put($one->[0], $one->[1]);
$node->stop('immediate');
CourierPii::write_key($node);
$node->start;
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE action = 'DENIED' AND login_role = 'nobody'}), '2', 'after it has ended they are taken');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'records unprotected'}), '1', 'with a record that says that they could not be checked');
for (1 .. 300) { last if -s "$spool/keys"; usleep(200_000); }
ok(-s "$spool/keys", 'with the key, this life stores its own');
is(audit($node, 'SELECT problem FROM courier_pii.audit_verify()'), '', 'intact');

done_testing();
