
# Whom the key agent gives keys: it asks the roster itself, not the session.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('agent', conf => "autovacuum = off\n");
load_sample($node, rows => 20);
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $phones = 'SELECT count(recv_phone) FROM masked.shipment';

sub sql { return $node->safe_psql($db, $_[0]); }
sub session { return $node->background_psql($db, on_error_stop => 0, extra_params => [ '-U', $_[0] ]); }
sub poll_agent
{
	my ($before) = @_;
	foreach (1 .. 600)
	{
		my $now = key_agent($node);
		return 1 if $now ne '' && $now ne $before;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}
sub setting
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "courier_pii.unregistered_login = '$value'\n");
	$node->reload;
	ok(wait_until($node, "SELECT current_setting('courier_pii.unregistered_login') = '$value'"), "logins of nobody: $value");
	return;
}

# sessions that are there before the setting: of nobody, of people
my %session = map { $_ => session($_) } qw(analyst service clerk courier);
$session{$_}->query_safe('SELECT 1') foreach sort keys %session;
my $early = session('analyst');
is($early->query_safe($phones), '20', 'where everybody may log in, nobody in particular sees masks');

setting('reject');
is($node->psql($db, $phones, extra_params => [ '-U', 'analyst' ]) == 0 ? 'in' : 'out', 'out', 'no new login of nobody');

# each process reads the setting in its own time; a new agent has it for sure
my $old = key_agent($node);
kill 'TERM', $old;
ok(poll_agent($old), 'a new agent');
$session{analyst}->query($phones);
like($session{analyst}->{stderr}, qr/Nobody of the registers answers for this account/, 'the session of nobody gets no key');
like($session{analyst}->{stderr}, qr/encryption key is not available/, 'as a key that is not available');
$session{analyst}->{stderr} = '';
$session{service}->query($phones);
like($session{service}->{stderr}, qr/Nobody of the registers/, 'whatever disclosure its role holds');
$session{service}->{stderr} = '';
$session{service}->query(q{INSERT INTO masked.shipment (waybill_no, recv_phone, created_on) VALUES ('SF900', '13900000900', '2026-01-05')});
like($session{service}->{stderr}, qr/Nobody of the registers|permission denied/, 'nor can it seal');
$session{service}->{stderr} = '';
$early->query($phones);
like($early->{stderr}, qr/Nobody of the registers/, 'one that had keys before the setting has lost them');
$early->{stderr} = '';
is($session{clerk}->query_safe($phones), '20', 'a clerk of the register does');
is($session{courier}->query_safe('SELECT recv_phone IS NOT NULL FROM masked.shipment LIMIT 1') =~ /t/ ? 'shown' : 'nothing', 'shown', 'and a courier');
is(query_as($node, 'clerk', $phones), '20', 'in a new session, too');

# what has no person: set-up, workers, ingest
sql(q{CREATE TABLE public.bulk AS SELECT g AS id, (13700000000 + g)::text AS phone FROM generate_series(1, 500) g;
	CREATE INDEX ON public.bulk (phone)});
sql(q{CALL courier_pii.protect_column_online('public.bulk', 'phone', 'phone')});
is(sql(q{SELECT count(*) FROM public.bulk WHERE phone = '13700000077'}), '1', 'online protection, its index worker included');
sql(q{SELECT courier_pii.new_epoch('phone')});
sql(q{CALL courier_pii.reseal('public.bulk', 'phone')});
is(sql(q{SELECT count(DISTINCT courier_pii.epoch_of(phone)) FROM public.bulk}), '1', 'resealing');

# recorded
is(scalar(() = grep_files($node->logfile, 'a key was refused to role')), 1, 'the server log has it');

# a person who is taken in gets keys at once
sql(q{SELECT courier_pii.hire('A1', '周析', 'analyst', 'HQ', 'analyst')});
is($session{analyst}->query_safe($phones), '20', 'once the register knows the person, keys come');

setting('allow');
is(query_as($node, 'outsider', 'SELECT 1'), '1', 'logins of nobody are possible again');
cmp_ok(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE sqlstate = 'PI004' AND login_role = 'analyst'}), '>=', 1, 'the audit trail has it');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE sqlstate = 'PI004' AND login_role IN ('clerk', 'courier')}), '0', 'of nobody else');

foreach my $one ($early, values %session)
{
	eval { $one->quit; };
}

# who takes many keys is recorded, by the agent
$node->append_conf('postgresql.conf', "courier_pii.key_watch = 2\n");
$node->restart;
sql(q{SELECT courier_pii.set_alert_rule('four_keys', 'many_keys', 4)});
my $collector = session('clerk');
$collector->query_safe('SELECT count(recv_phone), count(recv_name), count(recv_addr), count(recv_id), count(remark) FROM masked.shipment');
my $clerk_pid = $collector->query_safe('SELECT pg_backend_pid()');
is(audit($node, qq{SELECT string_agg(concat_ws(' ', l.staff_no, l.detail ->> 'keys', l.detail ->> 'classes'), ',' ORDER BY l.seq) FROM courier_pii.audit_log l
	WHERE l.action = 'KEY' AND l.command = 'keys_taken' AND l.detail ->> 'pid' = '$clerk_pid' AND (l.detail ->> 'role')::oid = 'clerk'::regrole}),
	'C1 2 2,C1 4 4', 'a session that takes the keys of many classes is recorded, and again at each doubling');
$collector->quit;
ok(wait_until($node, q{SELECT string_agg(staff_no || ' ' || amount, ',') = 'C1 4' FROM courier_pii.alert WHERE rule = 'four_keys'}, 20), 'and raises an alert');
is(query_as($node, 'clerk', 'SELECT count(recv_phone) FROM masked.shipment'), '20', 'one that takes one is not');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'keys_taken' AND staff_no = 'C1'}), '2', 'indeed');

$node->stop;
done_testing();
