
# Online protection and resealing beside other things of a database's life: a
# share that is changed while they run, prepared transactions, standbys that are
# read meanwhile; and opening a column again with a ticket.

use strict;
use warnings;

use CourierPii;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $ROWS = 20000;
my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('primary', allows_streaming => 1,
	conf => "autovacuum = off\nmax_prepared_transactions = 4\nwal_keep_size = 512MB\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $directory = PostgreSQL::Test::Utils::tempdir('online_life');

sub sql { return $node->safe_psql($db, $_[0]); }

sub share
{
	sql("ALTER SYSTEM SET courier_pii.online_share = $_[0]");
	$node->reload;
	return;
}

# run a statement in another process; its exit code says whether it succeeded
sub beside
{
	my ($sql) = @_;
	my $child = fork // die $!;
	return $child if $child;
	my $rc = eval { ($node->psql($db, $sql, timeout => 600))[0] } // 1;
	POSIX::_exit($rc == 0 ? 0 : 1);
}

# readers end with the test, however it ends
my $parent = $$;
END
{
	my $status = $?;
	if (defined $parent && $$ == $parent && defined $directory)
	{
		open my $stop, '>', "$directory/stop";
		close $stop if $stop;
	}
	$? = $status;
}

sub succeeded { waitpid $_[0], 0; return $? == 0; }

# a number says what its row's phone must be
sql(qq{
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.parcel (id int PRIMARY KEY, n bigint NOT NULL, phone text NOT NULL);
	INSERT INTO public.parcel SELECT i, 13800000000 + i, 13800000000 + i FROM generate_series(1, $ROWS) i;
	CREATE INDEX ON public.parcel (phone);
	SELECT courier_pii.create_masked_view('public.parcel');
	GRANT SELECT ON masked.parcel TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear', true);
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL);
	VACUUM ANALYZE public.parcel});
my $protect = "CALL courier_pii.protect_column_online('public.parcel', 'phone', 'phone')";
my $reseal = "CALL courier_pii.reseal('public.parcel', 'phone')";
my $right = 'SELECT count(*), count(*) FILTER (WHERE phone::text = n::text) FROM masked.parcel';

# ---- standbys that are read while the column is protected and resealed ----

$node->backup('base');
my $conf = "max_standby_streaming_delay = -1\nhot_standby_feedback = on\n";
my $standby = CourierPii->new_node('standby', from_backup => [ $node, 'base', has_streaming => 1 ], conf => $conf);
my $keyless = CourierPii->new_node('keyless', from_backup => [ $node, 'base', has_streaming => 1 ],
	conf => $conf . "courier_pii.key_file = '$node->{courier_pii}{directory}/nothing'\n");

# what a clerk reads there again and again until it is told to stop, a line each
sub reader
{
	my ($where, $name) = @_;
	my $child = fork // die $!;
	return $child if $child;
	open my $out, '>', "$directory/$name" or POSIX::_exit(1);
	$out->autoflush(1);
	until (-e "$directory/stop")
	{
		my ($rc, $stdout, $stderr) = eval { $where->psql($db, "\\set VERBOSITY sqlstate\n$right;\nSELECT id FROM masked.parcel WHERE phone = '13800000007'",
			extra_params => [ '-U', 'clerk' ], timeout => 120) };
		print $out join(' ', grep { defined && $_ ne '' } map { s/^psql:\S+\s+//mr =~ s/\s+/ /gr } ($stdout // 'lost'), ($stderr // '')), "\n";
		usleep(20_000);
	}
	POSIX::_exit(0);
}

sub lines { return grep { /\S/ } split /\n/, slurp_file("$directory/$_[0]"); }

# wait until so many more lines are there
sub read_more
{
	my ($name, $more) = @_;
	my $before = lines($name);
	for (1 .. 1200)
	{
		return 1 if lines($name) >= $before + $more;
		usleep(100_000);
	}
	return 0;
}
my @readers = (reader($standby, 'with'), reader($keyless, 'without'));
for my $name ('with', 'without')
{
	for (1 .. 600) { last if -e "$directory/$name"; usleep(50_000); }
}
ok(read_more('with', 1), 'the standby is read');
ok(read_more('without', 1), 'and the one without a key');

# a share of nothing: the job stops between two batches, and writers do not wait for it
share(0);
my $job = beside($protect);
ok(wait_until($node, q{SELECT count(*) = 1 FROM courier_pii.stat_progress_protect p JOIN pg_stat_activity a USING (pid)
	WHERE p.phase = 'copying' AND p.rows_done > 0 AND a.wait_event_type = 'Extension'}, 120), 'a job with a share of 0 sleeps');
my $done = sql('SELECT rows_done FROM courier_pii.stat_progress_protect');
cmp_ok($done, '<', $ROWS, "after $done rows");
sql(q{SET lock_timeout = '60s'; UPDATE public.parcel SET n = n + 1, phone = n + 1 WHERE id IN (1, 100, 5000)});
ok(read_more('with', 2) && read_more('without', 2), 'the standbys are read while the job stands');
is(sql('SELECT rows_done FROM courier_pii.stat_progress_protect'), $done, 'and it still stands');
share(50);
ok(succeeded($job), 'with a share again it goes on to its end');
$node->wait_for_catchup($_, 'replay', $node->lsn('insert')) foreach $standby, $keyless;
ok(read_more('with', 2) && read_more('without', 2), 'the standbys are read afterwards');
is(query_as($_, 'clerk', $right), "$ROWS|$ROWS", 'everything is shown on ' . $_->name) foreach $node, $standby;
ok($keyless->safe_psql($db, 'SELECT phone FROM public.parcel ORDER BY id') eq sql('SELECT phone FROM public.parcel ORDER BY id'), 'without a key the same is stored');

sql(q{SELECT courier_pii.new_epoch('phone')});
share(30);
$job = beside($reseal);
ok(read_more('with', 2), 'the standby is read while values are resealed');
ok(succeeded($job), 'resealed');
$node->wait_for_catchup($_, 'replay', $node->lsn('insert')) foreach $standby, $keyless;
ok(read_more('with', 2) && read_more('without', 2), 'and afterwards');
open my $end, '>', "$directory/stop" or die $!;
close $end;
waitpid $_, 0 foreach @readers;
is($standby->safe_psql($db, 'SELECT count(DISTINCT courier_pii.sealed_epoch(phone)) FROM public.parcel'), '1', 'there too all values are of one epoch');

# with the key every answer was right; without it right while in clear, then refused
my %with = map { $_ => 1 } lines('with');
is_deeply([ keys %with ], ["$ROWS|$ROWS 7"], 'every answer of the standby was right, ' . scalar(lines('with')) . ' of them');
my @without = lines('without');
my ($order, $last) = ('', '');
foreach my $line (@without)
{
	$order .= $line eq "$ROWS|$ROWS 7" ? 'r' : $line =~ /^(?:$ROWS\|$ROWS )?ERROR: PI004$/ ? 'P' : "<$line>" if $line ne $last;
	$last = $line;
}
like($order, qr/^rP{1,2}$/, 'without a key it was right until the column was protected, and refused (PI004) from then on');
$_->stop foreach $standby, $keyless;

# ---- prepared transactions ----

sql(q{SELECT courier_pii.new_epoch('phone')});
my $new = sql(q{SELECT max(epoch) FROM courier_pii.key_status WHERE class = 'phone' AND state = 'active'});
sql(q{
	BEGIN; UPDATE public.parcel SET phone = phone, n = n WHERE id = 7; DELETE FROM public.parcel WHERE id = 8; PREPARE TRANSACTION 'one';
	BEGIN; INSERT INTO public.parcel SELECT 100000 + id, n, phone FROM public.parcel WHERE id = 9; PREPARE TRANSACTION 'two'});
my ($rc, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$reseal");
like($err, qr/55006.*prepared transactions hold rows of "parcel"/, 'resealing names prepared transactions');
like($err, qr/pg_prepared_xacts/, 'with a hint');
is(sql("SELECT count(*) FROM public.parcel WHERE courier_pii.sealed_epoch(phone) <> $new"), '2', 'the values of all other rows are resealed');
is(query_as($node, 'clerk', $right), "$ROWS|$ROWS", 'and all are right');
sql(q{COMMIT PREPARED 'two'});
like(($node->psql($db, $reseal))[2], qr/prepared transactions/, 'one of them is enough');
sql(q{ROLLBACK PREPARED 'one'});
sql($reseal);
is(sql("SELECT count(*) FROM public.parcel WHERE courier_pii.sealed_epoch(phone) <> $new"), '0', 'without them the same call ends, and no old value came back');
is(query_as($node, 'clerk', $right), ($ROWS + 1) . '|' . ($ROWS + 1), 'all are right, the late one too');

# protecting asks for a lock that a prepared transaction has: it says so at once
sql(q{
	CREATE TABLE public.small (id int PRIMARY KEY, phone text);
	CREATE INDEX ON public.small (phone);
	INSERT INTO public.small SELECT i, 13900000000 + i FROM generate_series(1, 50) i;
	BEGIN; UPDATE public.small SET phone = '13700000001' WHERE id = 1; PREPARE TRANSACTION 'three'});
like(($node->psql($db, q{CALL courier_pii.protect_column_online('public.small', 'phone', 'phone')}))[2],
	qr/prepared transactions hold rows of "small"/, 'protecting names prepared transactions as well');
is(sql('SELECT count(*) FROM courier_pii.column_job'), '0', 'before it begins');
sql(q{COMMIT PREPARED 'three'});
# one that comes while it is under way
share(0);
sql(q{INSERT INTO public.small SELECT i, 13900000000 + i FROM generate_series(51, 3000) i});
$job = beside(q{CALL courier_pii.protect_column_online('public.small', 'phone', 'phone', 50)});
ok(wait_until($node, q{SELECT count(*) = 1 FROM courier_pii.stat_progress_protect WHERE rows_done > 0}, 120), 'a job stands');
sql(q{BEGIN; UPDATE public.small SET phone = '13700003000' WHERE id = 3000; PREPARE TRANSACTION 'four'});
share(100);
ok(!succeeded($job), 'a transaction prepared meanwhile ends it');
is(sql('SELECT phase FROM courier_pii.stat_progress_protect'), 'copying', 'where it was');
sql(q{COMMIT PREPARED 'four'});
sql(q{CALL courier_pii.protect_column_online('public.small', 'phone', 'phone')});
query_as($node, $superuser, q{GRANT SELECT ON public.small TO clerk});
is(query_as($node, 'clerk', q{SELECT string_agg(phone::text, ',' ORDER BY id) FROM public.small WHERE id IN (1, 2, 3000)}),
	'13700000001,13900000002,13700003000', 'the same call goes on, and nothing is lost');

# ---- recorded from the swap on ----

sql(q{
	CREATE TABLE public.quiet (id int PRIMARY KEY, n int, phone text);
	INSERT INTO public.quiet SELECT i, 0, 13700000000 + i FROM generate_series(1, 2000) i;
	CREATE TABLE public.named (id int PRIMARY KEY, phone courier_pii.phone);
	INSERT INTO public.named VALUES (1, '13700000001')});

sub written
{
	my ($table) = @_;
	sql("UPDATE public.$table SET id = id WHERE id = 1");
	return audit($node, "SELECT count(*) FROM courier_pii.audit_log WHERE action = 'WRITE' AND relations::text ~ '$table'");
}

share(0);
my $standing = beside("CALL courier_pii.protect_column_online('public.quiet', 'phone', 'phone')");
$node->poll_query_until($db, q{SELECT count(*) = 1 FROM courier_pii.stat_progress_protect WHERE relid = 'public.quiet'::regclass});
is(written('quiet'), '0', 'writes to a table that a job works on are no writes to protected data yet');
is(sql(q{SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.quiet'::regclass AND contype = 'c'}), '0', 'nor is there a constraint to test');
is(written('named'), '2', 'those to a protected table are');
sql('ALTER TABLE public.named RENAME COLUMN phone TO courier_pii_sealed_3');
is(written('named'), '3', 'whatever its column is called');
share(100);
ok(succeeded($standing), 'the job ends');
is(written('quiet'), '1', 'and writes are recorded');
share(20);

# ---- duties are sealed: protecting is free, opening needs a ticket ----

sql(q{
	CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE acc LOGIN; CREATE ROLE aud LOGIN; CREATE ROLE keeper LOGIN;
	SELECT courier_pii.add_org('KL', 'head office', 'hq');
	SELECT courier_pii.hire('KL1', 'Ann', 'ann', 'KL', 'security'), courier_pii.hire('KL2', 'Bob', 'bob', 'KL', 'security'),
		courier_pii.hire('KL3', 'Acc', 'acc', 'KL', 'personnel'), courier_pii.hire('KL4', 'Aud', 'aud', 'KL', 'audit');
	SELECT courier_pii.appoint('pii_security_admin', 'ann'), courier_pii.appoint('pii_security_admin', 'bob'),
		courier_pii.appoint('pii_account_admin', 'acc'), courier_pii.appoint('pii_auditor', 'aud');
	CREATE TABLE public.late (id int PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', phone text UNIQUE);
	COMMENT ON COLUMN public.late.phone IS 'where to call';
	GRANT SELECT (phone) ON public.late TO clerk;
	INSERT INTO public.late SELECT i, 'Name ' || i, 13600000000 + i FROM generate_series(1, 200) i;
	SELECT courier_pii.create_masked_view('public.late');
	GRANT SELECT ON masked.late TO clerk;
	ALTER TABLE public.late OWNER TO keeper});
sql('SELECT courier_pii.seal_duties()');
query_as($node, 'keeper', q{CALL courier_pii.protect_column_online('public.late', 'phone', 'phone')});
query_as($node, 'ann', q{CALL courier_pii.protect_column_online('public.late', 'name', 'person_name')});
is(sql(q{SELECT string_agg(format_type(atttypid, -1), ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'public.late'::regclass AND attname IN ('name', 'phone')}),
	'courier_pii.person_name,courier_pii.phone', 'owner and security administrator protect without a ticket');
is(query_as($node, 'clerk', q{SELECT phone FROM masked.late WHERE id = 7}), '13600000007', 'and it is shown');

my $open = q{SELECT courier_pii.unprotect_column('public.late', 'phone')};
isnt(error_as($node, $superuser, $open), '', 'a superuser opens no column');
isnt(error_as($node, 'keeper', $open), '', 'nor does the owner');
is(error_as($node, 'ann', $open), 'PI001', 'nor a security administrator alone');
my $id = query_as($node, 'ann', q{SELECT courier_pii.request('unprotect', 'no person''s phone', '{"object": "public.late.phone"}')});
is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; $open"), 'PI002', 'a request is not a ticket');
is(error_as($node, 'ann', "SELECT courier_pii.approve($id)"), 'PI006', 'who asks does not approve');
query_as($node, 'bob', "SELECT courier_pii.approve($id)");
is(error_as($node, 'bob', "SET courier_pii.ticket = '$id'; $open"), 'PI002', 'it is for who asked');
is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; SELECT courier_pii.unprotect_column('public.late', 'name')"), 'PI002', 'and for one column');
is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; BEGIN; $open; SELECT 1 / 0"), '22012', 'a transaction that fails opens nothing');
is(sql(q{SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'public.late'::regclass AND attname = 'phone'}), 'courier_pii.phone', 'it is still protected');
my $state = query_as($node, 'aud', "SELECT state FROM courier_pii.requests WHERE id = $id");
if ($state eq 'used')
{
	# a ticket is spent by its use, whatever becomes of the transaction
	$id = query_as($node, 'ann', q{SELECT courier_pii.request('unprotect', 'again', '{"object": "public.late.phone"}')});
	query_as($node, 'bob', "SELECT courier_pii.approve($id)");
}
query_as($node, 'ann', "SET courier_pii.ticket = '$id'; $open");
is(sql(q{SELECT format_type(atttypid, -1) || col_description(attrelid, attnum) || (attacl::text ~ 'clerk=r') FROM pg_attribute WHERE attrelid = 'public.late'::regclass AND attname = 'phone'}),
	'textwhere to calltrue', 'with the ticket it is a text again, with comment and grants');
is(sql(q{SELECT count(*) FROM public.late WHERE phone = (13600000000 + id)::text}), '200', 'every value is what it was');
is(sql(q{SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.late'::regclass AND contype = 'u'}), '1', 'still unique');
is(query_as($node, 'clerk', q{SELECT phone, name FROM masked.late WHERE id = 7}), '13600000007|***', 'the masked view follows; the other column stays protected');
query_as($node, 'ann', q{SELECT courier_pii.protect_column('public.late', 'phone', 'phone')});
is(error_as($node, 'ann', "SET courier_pii.ticket = '$id'; $open"), 'PI002', 'the ticket is used up');
is(query_as($node, 'aud', qq{SELECT courier_pii.audit_flush(); SELECT detail ->> 'ticket', detail ->> 'values', staff_no FROM courier_pii.audit_log
	WHERE command = 'unprotect_column' AND outcome = 'ok' AND detail ->> 'ticket' = '$id' ORDER BY seq LIMIT 1}) =~ s{^t?\s+}{}r, "$id|200|KL1", 'and named in the record');
is(query_as($node, 'aud', 'SELECT * FROM courier_pii.audit_verify()'), '', 'the chain is intact');

$node->stop;
done_testing();
