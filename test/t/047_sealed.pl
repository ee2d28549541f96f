
# After the duties are sealed: each power that needs a ticket is refused without
# one, and with one for another object; done with the right one, once; and
# recorded.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local;

my $db = $CourierPii::DATABASE;
# records of four years ago: a month that can be dropped
my ($year, $month) = (gmtime)[5, 4];
my $old_month = ($year + 1900) * 12 + $month - 48;
my $old_name = sprintf '%04d_%02d', int($old_month / 12), 1 + $old_month % 12;
my $old_day = sprintf '%04d-%02d-01', int($old_month / 12), 1 + $old_month % 12;

my $node = CourierPii->new_node('sealed', no_start => 1);
my $outside = PostgreSQL::Test::Utils::tempdir('outside');
mkdir "$outside/exports";
$node->append_conf('postgresql.conf', "courier_pii.audit_export_directory = '$outside/exports'\n");
{
	require CourierPiiSpool;
	CourierPiiSpool::write_segment("$node->{courier_pii}{audit_directory}/segment-000000000001",
		number => 1, first_seq => 1, node => 'sealed', count => 20,
		record => sub {
			return (at => timegm(0, 0, 12, 2, $old_month % 12, int($old_month / 12)) * 1_000_000 + $_[0],
				staff_no => 'C1', role => 'clerk');
		});
}
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, 'CREATE EXTENSION courier_pii CASCADE');
staff_server($node);
$node->safe_psql($db, q{
	CREATE ROLE desk; CREATE ROLE night; CREATE ROLE pooler LOGIN; CREATE ROLE newcomer LOGIN; CREATE ROLE leaver LOGIN;
	GRANT desk TO wang;
	SELECT courier_pii.hire('L1', 'Luo', 'leaver', 'HQ', NULL), courier_pii.hire('N1', 'Nie', 'newcomer', 'HQ', NULL);
	CREATE TABLE parcel (id int PRIMARY KEY, phone text, name text, sent timestamptz DEFAULT now(), sender text);
	INSERT INTO parcel SELECT i, '138' || lpad(i::text, 8, '0'), '王小明', now() - i * interval '1 day', 'C1' FROM generate_series(1, 2000) i;
	CREATE TABLE old_parcel (id int PRIMARY KEY, phone text);
	INSERT INTO old_parcel VALUES (1, '13800000001');
	CREATE TABLE gone (id int PRIMARY KEY, phone text);
	INSERT INTO gone VALUES (1, '13800000001');
	CREATE TABLE parts (id int, phone text) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
	INSERT INTO parts VALUES (1, '13800000001');
	CREATE TABLE "Bill.x" (id int, "Phone No" text);
	INSERT INTO "Bill.x" VALUES (1, '13800000001');
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone'), courier_pii.protect_column('parcel', 'name', 'person_name'),
		courier_pii.protect_column('old_parcel', 'phone', 'phone'), courier_pii.protect_column('gone', 'phone', 'phone'),
		courier_pii.protect_column('parts', 'phone', 'phone'), courier_pii.protect_column('"Bill.x"', 'Phone No', 'phone');
	SELECT courier_pii.create_masked_view('parcel', masks => '{"sent": "day"}');
	GRANT SELECT ON masked.parcel TO desk;
	SELECT courier_pii.grant_disclosure('desk', 'phone', 'clear');
	SELECT courier_pii.grant_disclosure('night', 'phone', 'hidden');
	SELECT courier_pii.set_limit('night', 5, 50, 500);
	SELECT courier_pii.set_gate('training', 'warn');
	SELECT courier_pii.set_row_rule('parcel', 'desk', 'own', '{sender = actor.staff_no}');
	SELECT courier_pii.set_quorum('key_destroy', 2);
	SELECT courier_pii.set_retention('parcel', 'sent', '10 days');
	SELECT courier_pii.set_alert_rule('much', 'volume', 50, '1 hour', 'critical');
	SELECT courier_pii.freeze('account_no');
	CREATE FUNCTION greet(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'hello ' || $1 $$;
	SELECT courier_pii.depart('L1');
	CREATE TABLE notes (id int, remark text);
	SELECT courier_pii.protect_column('notes', 'remark', 'note');
	INSERT INTO notes VALUES (1, 'ring twice');
	SELECT courier_pii.new_epoch('note');
	ANALYZE;
});
my $digest = $node->safe_psql($db, q{SELECT courier_pii.function_digest('greet(text)'::regprocedure)});
my $note_epoch = $node->safe_psql($db, q{SELECT min(epoch) FROM courier_pii.key_status WHERE class = 'note'});
seal_duties_of($node);
is(audit($node, 'SELECT count(*) FROM courier_pii.audit_log WHERE seq <= 20'), '20', 'old records were ingested');
my $manifest = audit($node, "SELECT courier_pii.audit_export_month('$old_day')");

# backup evidence, by the holder of the duty only
my $backup = q{SELECT courier_pii.register_backup('nightly', now() - interval '1 hour', verified_at => now())};

sub recorded
{
	my ($id, $command) = @_;
	return audit($node, qq{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'use_ticket' AND outcome = 'ok'
		AND detail ->> 'request' = '$id'}) . ' '
	  . audit($node, qq{SELECT count(*) > 0 FROM courier_pii.audit_log WHERE ticket = '$id' AND }
		  . (defined $command ? "command = '$command' AND outcome = 'ok'" : 'true'));
}

# what, who, kind, object, another object, statement, command in the audit, a
# statement after which it could be done again, one before
my @powers = (
	[ 'a level', 'feng', 'policy', 'night/email/clear', 'night/email/masked',
		q{SELECT courier_pii.grant_disclosure('night', 'email', 'clear')}, 'grant_disclosure' ],
	[ 'a search permission', 'feng', 'policy', 'desk/email/masked/searchable', 'desk/email/masked',
		q{SELECT courier_pii.grant_disclosure('desk', 'email', 'masked', true)}, 'grant_disclosure' ],
	[ 'one column, for a time', 'feng', 'policy', 'night/person_name/clear/until 2031-01-01T00:00:00Z/public.parcel.name', 'night/person_name/clear',
		q{SELECT courier_pii.grant_disclosure('night', 'person_name', 'clear', false, '2031-01-01 00:00+00', 'parcel', 'name')}, 'grant_disclosure' ],
	[ 'an entry that hides', 'feng', 'policy', 'night/phone/not hidden', 'night/phone/clear',
		q{SELECT courier_pii.revoke_disclosure('night', 'phone')}, 'revoke_disclosure',
		q{SELECT courier_pii.grant_disclosure('night', 'phone', 'hidden')} ],
	[ 'a limit', 'feng', 'policy', 'night/limit/6/50/500', 'night/limit/7/50/500',
		q{SELECT courier_pii.set_limit('night', 6, 50, 500)}, 'set_limit', q{SELECT courier_pii.set_limit('night', 5, 50, 500)} ],
	[ 'no limit', 'feng', 'policy', 'desk/limit/unlimited/unlimited/unlimited', 'desk/limit/1000/1000/1000',
		q{SELECT courier_pii.set_limit('desk', NULL, NULL, NULL)}, 'set_limit', q{SELECT courier_pii.set_limit('desk', 5, 5, 5)} ],
	[ 'a budget', 'feng', 'policy', 'desk/budget/probes/unlimited/unlimited/unlimited', 'desk',
		q{SELECT courier_pii.set_budget('desk', 'probes', NULL, NULL, NULL)}, 'set_budget', q{SELECT courier_pii.set_budget('desk', 'probes', 1, 1, 1)} ],
	[ 'a gate', 'feng', 'policy', 'gate/training/off', 'gate/training/warn',
		q{SELECT courier_pii.set_gate('training', 'off')}, 'set_gate', q{SELECT courier_pii.set_gate('training', 'on')} ],
	[ 'a row rule', 'feng', 'policy', 'row_rule/public.parcel/night/all/visible {"id = \'1\'"}/scope {}/columns all', 'row_rule/public.parcel/night/all/visible {"id = \'2\'"}/scope {}/columns all',
		q{SELECT courier_pii.set_row_rule('parcel', 'night', 'all', ARRAY['id = ''1'''])}, 'set_row_rule' ],
	[ 'the last row rule', 'feng', 'policy', 'row_rule/public.parcel/none', 'row_rule/public.gone/none',
		q{SELECT courier_pii.drop_row_rule('parcel', 'desk', 'own')}, 'drop_row_rule',
		q{SELECT courier_pii.set_row_rule('parcel', 'desk', 'own', '{sender = actor.staff_no}')},
		q{SELECT courier_pii.drop_row_rule('parcel', 'night', 'all')} ],
	[ 'masks of a view', 'feng', 'policy', 'masks/masked.parcel/{"sent": "hour"}', 'masks/masked.parcel/{}',
		q{SELECT courier_pii.refresh_masked_view('masked.parcel', '{"sent": "hour"}')}, 'refresh_masked_view' ],
	[ 'trust', 'feng', 'policy', "function/public.greet(pg_catalog.text)/$digest", 'function/public.greet(pg_catalog.text)/' . '0' x length $digest,
		q{SELECT courier_pii.trust_function('greet(text)')}, 'trust_function' ],
	[ 'the end of a freeze', 'feng', 'policy', 'unfreeze/class:account_no', 'class:account_no',
		q{SELECT courier_pii.unfreeze('account_no')}, 'unfreeze' ],
	[ 'a quorum', 'feng', 'policy', 'quorum/key_destroy/1/0', 'quorum/key_destroy/2/0',
		q{SELECT courier_pii.set_quorum('key_destroy', 1)}, 'set_quorum', q{SELECT courier_pii.set_quorum('key_destroy', 2)} ],
	[ 'the starter policy', 'feng', 'policy', 'starter_policy/{}/{parcel}', 'starter_policy/{}/all',
		q{SELECT count(*) FROM courier_pii.load_starter_policy('{}', '{parcel}')}, 'load_starter_policy' ],
	[ 'rights of a post', 'feng', 'policy', 'post_rights/guard/night', 'guard',
		q{SELECT courier_pii.set_post_rights('guard', '{night}')}, 'set_post_rights' ],
	[ 'an appointment', 'feng', 'policy', 'pii_backup/newcomer', 'pii_backup/wang',
		q{SELECT courier_pii.appoint('pii_backup', 'newcomer')}, 'appoint' ],
	[ 'a role of a pool', 'feng', 'policy', 'pool_role/pooler', 'pool_role',
		q{SELECT courier_pii.set_pool_role('pooler')}, 'set_pool_role' ],
	[ 'a shorter retention', 'feng', 'policy', 'retention/public.parcel/sent/5 days/no archive', 'retention/public.parcel/sent/1 day/no archive',
		q{SELECT courier_pii.set_retention('parcel', 'sent', '5 days')}, 'set_retention', q{SELECT courier_pii.set_retention('parcel', 'sent', '10 days')} ],
	[ 'an alert rule', 'feng', 'policy', 'alert_rule/much/volume/5000/01:00:00/warning/t/8/20/Asia/Shanghai/{}', 'alert_rule/much/none',
		q{SELECT courier_pii.set_alert_rule('much', 'volume', 5000, from_hour => 8, to_hour => 20, time_zone => 'Asia/Shanghai')}, 'set_alert_rule' ],
	[ 'an alert rule less', 'feng', 'policy', 'alert_rule/much/none', 'courier_pii.alert_rule',
		q{SELECT courier_pii.drop_alert_rule('much')}, 'drop_alert_rule', q{SELECT courier_pii.set_alert_rule('much', 'volume', 50)} ],
	[ 'a column in the clear', 'dai', 'unprotect', 'public."Bill.x"."Phone No"', 'public.parcel.phone',
		q{SELECT courier_pii.unprotect_column('"Bill.x"', 'Phone No')}, 'unprotect_column', q{SELECT courier_pii.protect_column('"Bill.x"', 'Phone No', 'phone')} ],
	[ 'a person back', 'chen', 'reinstate', 'L1', 'W1',
		q{SELECT courier_pii.reinstate('L1')}, 'reinstate', q{SELECT courier_pii.depart('L1')} ],
	[ 'the end of keys that are needed', 'feng', 'key_destroy', "note/$note_epoch/force", "note/$note_epoch",
		"SELECT courier_pii.destroy_epoch('note', $note_epoch, true)", 'destroy_epoch' ],
	[ 'a month of the audit trail', 'feng', 'destroy', "courier_pii.audit_record_$old_name", 'public.gone',
		"SELECT courier_pii.drop_audit_month('$old_day', '" . $manifest =~ s/'/''/gr . "')", 'drop_audit_month' ],
	[ 'a truncation', 'dai', 'destroy', 'public.old_parcel', 'public.gone',
		'TRUNCATE old_parcel', undef, undef, $backup ],
	[ 'many deletions', 'dai', 'destroy', 'public.parcel', 'public.gone', 'DELETE FROM parcel WHERE id <= 1500', undef ],
	[ 'a detachment', 'dai', 'destroy', 'public.part_1', 'public.gone', 'ALTER TABLE parts DETACH PARTITION part_1', undef ],
	[ 'a drop', 'dai', 'destroy', 'public.gone', 'public.parcel', 'DROP TABLE gone', undef ],
);

for my $p (@powers)
{
	my ($what, $who, $kind, $object, $other, $sql, $command, $undo, $before) = @$p;
	if (defined $before)
	{
		if ($before eq $backup)
		{
			# without evidence of a backup no ticket helps
			is(with_ticket($node, $who, $kind, $object, $sql), '55000', "$what: not without a backup");
			is(error_as($node, 'dai', $backup), 'PI006', 'a superuser registers no backup');
			is(error_as($node, 'newcomer', $backup), '', 'the holder of the duty does');
		}
		else { is(error_as($node, 'feng', $before), '', "$what: before"); }
	}
	# structure of protected tables needs a window besides
	my $opened = '';
	if ($sql =~ /^ALTER TABLE/)
	{
		is(error_as($node, $who, $sql), 'PI006', "$what: needs a window");
		my $window = ticket_of($node, $who, 'maintenance', '{"objects": ["public.parts", "public.part_1"]}');
		$opened = "SELECT courier_pii.begin_maintenance($window); ";
	}
	my ($state, $err) = error_as($node, $who, $sql =~ /^ALTER TABLE/ ? "$opened SET courier_pii.ticket = ''; $sql" : $sql);
	is($state, 'PI001', "$what: refused without a ticket");
	if ($kind ne 'destroy')
	{
		my ($named) = $err =~ /^DETAIL:\s+The act is on "(.*)"\.$/m;
		is($named, $object, "$what: the refusal names the object");
	}
	is(error_as($node, $who, "SET courier_pii.ticket = '0'; $sql"), 'PI002', "$what: refused with something else") if $opened eq '';
	my $wrong = ticket_of($node, $who, $kind, $other);
	is(error_as($node, $who, "$opened SET courier_pii.ticket = '$wrong'; $sql"), 'PI002', "$what: refused with a ticket for another object");
	my $pending = ticket_of($node, $who, $kind, $object, '');
	is(error_as($node, $who, "$opened SET courier_pii.ticket = '$pending'; $sql"), 'PI002', "$what: refused before the approval");
	my $id = ticket_of($node, $who, $kind, $object);
	# two approvals where the quorum asks for them
	query_as($node, 'sun', "SELECT courier_pii.approve($id)")
	  if $node->safe_psql($db, "SELECT count(*) FROM courier_pii.request_register WHERE id = $id AND state = 'pending'");
	($state, $err) = error_as($node, $who, "$opened SET courier_pii.ticket = '$id'; $sql");
	is($state, '', "$what: done with the right one") or diag($err);
	is(recorded($id, $command), '1 t', "$what: recorded");
	if (defined $undo)
	{
		is(error_as($node, $undo =~ /depart/ ? 'chen' : $who, $undo), '', "$what: taken back, which is free");
		is(error_as($node, $who, "SET courier_pii.ticket = '$id'; $sql"), 'PI002', "$what: the ticket was good for once");
	}
}

$node->stop;
done_testing();
