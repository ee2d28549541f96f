
# What a person who leaves may still have open: a portal whose rows are ready, a
# long COPY whose client reads slowly or not at all, a prepared transaction, a
# job of a scheduler.
#
# Cases A5, A8, A9, A11, A12, A21 and A23 of the list in test/README.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my ($libdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my $have_cron = -f "$libdir/pg_cron.so";
my $node = CourierPii->new_node('leaver_wire',
	preload => $have_cron ? 'pg_cron' : undef,
	conf => "max_prepared_transactions = 4\nlog_statement = 'all'\n"
	  . ($have_cron ? "cron.database_name = '$CourierPii::DATABASE'\ncron.use_background_workers = on\n" : ''));
my $db = $CourierPii::DATABASE;
my $super = $node->safe_psql($db, 'SELECT current_user');

$node->safe_psql($db, join ';', 'CREATE ROLE chen_accounts LOGIN; CREATE ROLE zheng_audit LOGIN; CREATE ROLE colleague LOGIN',
	map { "CREATE ROLE wire_$_ LOGIN" } 1 .. 9);
$node->safe_psql($db, q{
	CREATE TABLE public.parcel (id int PRIMARY KEY, note text);
	INSERT INTO public.parcel SELECT n, repeat('x', 200) FROM generate_series(1, 1000) n;
	CREATE TABLE public.event (id int GENERATED ALWAYS AS IDENTITY, note text);
	GRANT ALL ON public.parcel, public.event TO PUBLIC;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.appoint('pii_auditor', 'zheng_audit')});
sub admin { return query_as($node, 'chen_accounts', $_[0]); }
admin(q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)});
admin("SELECT courier_pii.hire('W$_', 'Person $_', 'wire_$_', 'HQ', 'courier')") for 1 .. 9;

if ($have_cron)
{
	$node->safe_psql($db, q{CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO PUBLIC});
	query_as($node, 'wire_8', q{SELECT cron.schedule('leaver', '* * * * *', $$INSERT INTO public.event (note) VALUES ('job of a leaver'); SELECT pg_sleep(300)$$)});
	query_as($node, 'colleague', q{SELECT cron.schedule('other', '* * * * *', $$INSERT INTO public.event (note) VALUES ('job of a colleague')$$)});
}

sub gone { return "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = '$_[0]'"; }

# ---- a portal with its rows ready ----

sub half_read
{
	my ($role) = @_;
	my $c = CourierPiiWire->new($node, $role);
	$c->parse("INSERT INTO public.event (note) SELECT '$role' FROM generate_series(1, 5) RETURNING id");
	$c->bind('p');
	$c->execute('p', 1);
	$c->send_message('H', '');
	while (my ($type) = $c->message) { last if $type eq 's'; }
	return $c;
}

my $c = half_read('wire_1');
$c->execute('p', 1);
$c->send_message('H', '');
my ($type) = $c->message;
is($type, 'D', 'rows of INSERT ... RETURNING are fetched one by one');
admin(q{SELECT courier_pii.depart('W1')});
ok(wait_until($node, gone('wire_1')), 'the session with the portal is ended');
$c->execute('p', 1);
my $r = $c->sync;
is(scalar @{ $r->{rows} }, 0, 'no further row comes');
is($r->{state}, 'PI005', 'and the reason is told');
is($node->safe_psql($db, q{SELECT count(*) FROM public.event WHERE note = 'wire_1'}), '0', 'its transaction is undone');

# the statement hooks alone must catch it, too, where the signal is late
$c = half_read('wire_2');
kill 'STOP', $c->{pid};
admin(q{SELECT courier_pii.depart('W2')});
$c->execute('p', 1);
$c->send_message('S', '');
kill 'CONT', $c->{pid};
is(scalar @{ $c->wait_ready->{rows} }, 0, 'a session that was stopped gets no row either');

# ---- a long COPY, read slowly and not at all ----

my $copy = 'COPY (SELECT p.id, p.note FROM public.parcel p, generate_series(1, 20000)) TO STDOUT';
my $slow = CourierPiiWire->new($node, 'wire_3');
$slow->send_message('Q', "$copy\0");
my $lines = 0;
while ($lines < 200 && (($type) = $slow->message)) { $lines++ if $type eq 'd'; }
my $deaf = CourierPiiWire->new($node, 'wire_4');
$deaf->send_message('Q', "$copy\0");
ok(wait_until($node, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE usename IN ('wire_3', 'wire_4') AND wait_event = 'ClientWrite'}),
	'two long copies wait for their clients');
admin(q{SELECT courier_pii.depart('W3'), courier_pii.depart('W4')});
for (1 .. 20)
{
	($type) = $slow->message or last;
	$lines++ if $type eq 'd';
	usleep(20_000);
}
ok(wait_until($node, gone('wire_3')), 'the copy that is read slowly is ended');
ok(wait_until($node, gone('wire_4')), 'so is the one that nobody reads');
while (($type) = $slow->message) { $lines++ if $type eq 'd'; }
cmp_ok($lines, '<', 1_000_000, "the client has got a part ($lines lines)");
$_->drop for $slow, $deaf;

# ---- of a protected table: what was sent is in the record ----

$node->safe_psql($db, q{
	CREATE SCHEMA kept;
	CREATE TABLE kept.waybill (id int PRIMARY KEY, phone text);
	INSERT INTO kept.waybill SELECT n, (13800000000 + n)::text FROM generate_series(1, 3000) n;
	SELECT courier_pii.protect_column('kept.waybill', 'phone', 'phone');
	SELECT courier_pii.create_masked_view('kept.waybill');
	GRANT USAGE ON SCHEMA masked TO PUBLIC; GRANT SELECT ON masked.waybill TO wire_5;
	SELECT courier_pii.grant_disclosure('wire_5', 'phone', 'masked')});
$node->append_conf('postgresql.conf', "courier_pii.default_masked_limit_hour = -1\ncourier_pii.default_masked_limit_day = -1\n");
$node->reload;
$slow = CourierPiiWire->new($node, 'wire_5');
$slow->send_message('Q', "COPY (SELECT w.id, w.phone, repeat('x', 2000) FROM masked.waybill w, generate_series(1, 100)) TO STDOUT\0");
$lines = 0;
while ($lines < 50 && (($type) = $slow->message)) { $lines++ if $type eq 'd'; }
ok(wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'wire_5' AND wait_event = 'ClientWrite'}),
	'a copy of masked values waits for its client');
admin(q{SELECT courier_pii.depart('W5')});
ok(wait_until($node, gone('wire_5')), 'it is ended');
while (($type) = $slow->message) { $lines++ if $type eq 'd'; }
my ($outcome, $returned) = split /\|/, audit($node,
	q{SELECT outcome, masked FROM courier_pii.audit_log WHERE login_role = 'wire_5' AND phase IN ('END', 'SINGLE') AND masked > 0});
like($outcome // '', qr/^(terminated|client_lost|denied)$/, 'the record says how it ended');
cmp_ok($returned // 0, '>=', $lines, "and counts no fewer values than the client got ($lines)");

# ---- listening ----

my $listener = CourierPiiWire->new($node, 'wire_6');
$listener->query('LISTEN news');
admin(q{SELECT courier_pii.depart('W6')});
ok(wait_until($node, gone('wire_6')), 'a session that listens is ended');
$node->safe_psql($db, q{NOTIFY news, 'parcel'});
my $heard = 0;
while (($type) = $listener->message) { $heard++ if $type eq 'A'; }
is($heard, 0, 'and hears nothing more');

# ---- prepared transactions ----

$node->safe_psql($db, q{ALTER ROLE wire_7 CREATEDB});
query_as($node, 'wire_7', qq{BEGIN; INSERT INTO public.event (note) VALUES ('gift $_'); PREPARE TRANSACTION 'gift $_'}) for 1, 2;
admin(q{SELECT courier_pii.depart('W7')});
like(query_as($node, 'zheng_audit', q{SELECT section, item FROM courier_pii.leaver_report('W7')}),
	qr/^prepared transaction\|gift 1$/m, 'the case lists what was prepared');
like($node->safe_psql($db, q{SELECT severity, object FROM courier_pii.posture WHERE "check" = 'leaver'}),
	qr/^critical\|gift 1$/m, 'and it is an alarm while it exists');
my ($state, $text) = error_as($node, $super, 'DROP ROLE wire_7');
is($state, '2BP01', 'the role is not dropped');
like($text, qr/has prepared transactions/, 'because of them');
is(error_as($node, $super, 'DROP ROLE wire_7', database => 'postgres'), '2BP01', 'in no database');
is(error_as($node, $super, 'DROP ROLE IF EXISTS nobody_at_all, wire_7'), '2BP01', 'nor together with others');
is(error_as($node, $super, q{DO $$BEGIN DROP ROLE wire_7; END$$}), '2BP01', 'nor in a DO block');
is(error_as($node, $super, q{COMMIT PREPARED 'gift 1'}), 'PI006', 'nobody commits what was left behind');
$node->safe_psql($db, q{CREATE SCHEMA no_equals;
	CREATE FUNCTION no_equals.no(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
	CREATE FUNCTION no_equals.no(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
	CREATE OPERATOR no_equals.= (LEFTARG = text, RIGHTARG = text, FUNCTION = no_equals.no);
	CREATE OPERATOR no_equals.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = no_equals.no)});
{
	local $ENV{PGOPTIONS} = '-c search_path=no_equals,pg_catalog';
	is(error_as($node, $super, q{COMMIT PREPARED 'gift 1'}), 'PI006', 'nor with operators of their own');
	is(error_as($node, $super, 'DROP ROLE wire_7'), '2BP01', 'which do not drop the role either');
}
$node->safe_psql($db, 'DROP SCHEMA no_equals CASCADE');
is($node->safe_psql($db, q{SELECT count(*) FROM public.event WHERE note LIKE 'gift%'}), '0', 'it does not come in');
is(error_as($node, $super, q{COMMIT PREPARED 'no such thing'}), '42704', 'other names fail as ever');
is(error_as($node, $super, qq{ROLLBACK PREPARED 'gift 1'}), '', 'it can be rolled back');
is(audit($node, q{SELECT count(*) FROM courier_pii.audit_log WHERE command = 'ROLLBACK PREPARED' AND detail ->> 'gid' = 'gift 1'}),
	'1', 'which is recorded');
$node->safe_psql($db, q{ROLLBACK PREPARED 'gift 2'});
is($node->safe_psql($db, q{SELECT count(*) FROM courier_pii.posture WHERE "check" = 'leaver'}), '0', 'then the alarm is over');
query_as($node, 'colleague', q{BEGIN; INSERT INTO public.event (note) VALUES ('work'); PREPARE TRANSACTION 'work'});
is(error_as($node, $super, q{COMMIT PREPARED 'work'}), '', 'what people at work have prepared is committed as ever');
$node->safe_psql($db, q{REVOKE ALL ON public.event FROM wire_7});
is(error_as($node, $super, 'DROP ROLE wire_7'), '', 'without them the role can be dropped');

# ---- jobs of a scheduler, which were made at the beginning ----

SKIP:
{
	skip 'pg_cron is not installed', 8 unless $have_cron;
	ok(wait_until($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'wire_8' AND wait_event = 'PgSleep'}, 150),
		'a job of somebody at work runs');
	my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'};
	my $pid = $node->safe_psql($db, $launcher);
	my $done = q{SELECT count(*) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname = 'other' AND d.status = 'succeeded'};
	my $before = $node->safe_psql($db, $done);
	admin(q{SELECT courier_pii.depart('W8')});
	ok(wait_until($node, gone('wire_8')), 'the job that runs is ended');
	my $at = -s $node->logfile;
	ok(wait_until($node, "SELECT ($done) > $before + 1", 200), 'jobs of others go on');
	like(slurp_file($node->logfile, $at), qr/cron job \d+: .*(?:disabled|not permitted to log in)|role "wire_8" is not permitted to log in/, 'the next one of the leaver does not start');
	is($node->safe_psql($db, q{SELECT count(*) FROM public.event WHERE note = 'job of a leaver'}), '0', 'and nothing of them remains');
	is($node->safe_psql($db, $launcher), $pid, 'the scheduler is the same process');
	like(query_as($node, 'zheng_audit', q{SELECT section, item FROM courier_pii.leaver_report('W8')}), qr/^job\|pg_cron \d+$/m,
		'the report lists the job');
	unlike(slurp_file($node->logfile), qr/was terminated by signal|server process .* exited with exit code [^01]/, 'nothing crashed');
}

$node->stop;
done_testing();
