
# What servers after PostgreSQL 15 can do that could touch personal data: each
# part is skipped on servers that cannot do it.  What holds everywhere is here,
# too, where versions come to it by different ways.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('newer', allows_streaming => 'logical',
	conf => "log_min_messages = notice\ncourier_pii.unregistered_login = 'allow'\n");
my $db = $CourierPii::DATABASE;
my $major = int($node->safe_psql($db, 'SHOW server_version_num') / 10000);
my $super = $node->safe_psql($db, 'SELECT current_user');

$node->safe_psql($db, q{
	CREATE ROLE clerk LOGIN; CREATE ROLE chief LOGIN; CREATE ROLE thief LOGIN;
	CREATE SCHEMA masked;
	CREATE TABLE public.parcel (id int PRIMARY KEY, phone text NOT NULL, name text, note text, state int);
	INSERT INTO public.parcel SELECT i, (13800000000 + i)::text, '林小雨', '{"who": "林小雨", "tel": "1380000000' || i || '"}', 0
		FROM generate_series(1, 5) i;
	SELECT courier_pii.protect_columns('public.parcel', '{"phone": "phone", "name": "person_name", "note": "note"}');
	SELECT courier_pii.create_masked_view('public.parcel');
	GRANT USAGE ON SCHEMA masked TO PUBLIC;
	GRANT SELECT, INSERT, UPDATE, DELETE ON masked.parcel TO clerk, chief;
	SELECT courier_pii.grant_disclosure('chief', c, 'clear') FROM unnest('{phone,person_name,note}'::text[]) c;
	SELECT courier_pii.grant_disclosure('clerk', 'phone', 'masked', searchable => true);
	CREATE TABLE public.loot (t text); GRANT ALL ON public.loot TO PUBLIC;
	GRANT CREATE ON SCHEMA public TO thief;
});

# ---- grouped queries: since 18 the parser keeps what is grouped by apart ----

is(query_as($node, 'clerk', q{SELECT phone, count(*) FROM masked.parcel GROUP BY phone HAVING phone = '138 0000-0001'}),
	'1******0001|1', 'a search in HAVING is by the real value');
is(query_as($node, 'clerk', q{SELECT phone, count(*) FROM masked.parcel GROUP BY phone HAVING left(phone, 1) = '1' ORDER BY 1 LIMIT 1}),
	'1******0001|1', 'other conditions work on what is shown');
is(query_as($node, 'clerk', q{SELECT phone = '13800000001', count(*) FROM masked.parcel GROUP BY phone = '13800000001' ORDER BY 1}),
	"f|4\nt|1", 'a search as what is grouped by');
is(query_as($node, 'chief', q{SELECT left(phone, 3), count(*) FROM masked.parcel GROUP BY 1 HAVING left(phone, 3) = '138'}),
	'138|5', 'an expression of a shown value, grouped');
is(query_as($node, 'chief', q{SELECT phone, grouping(phone), count(*) FROM masked.parcel WHERE id < 3 GROUP BY ROLLUP (phone) ORDER BY 1, 2}),
	"13800000001|0|1\n13800000002|0|1\n|1|2", 'grouping sets');
is(audit($node, q{SELECT relations FROM courier_pii.audit_log WHERE login_role = 'chief' AND query LIKE '%ROLLUP%'}),
	'{masked.parcel,public.parcel}', 'the view that was read is on record');

# ---- a replication connection that runs SQL is a client's session ----

{
	$node->safe_psql($db, 'CREATE ROLE copier LOGIN REPLICATION');
	my ($out, $err) = ('', '');
	my $copier = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db) . ' user=copier replication=database', '-c', 'SELECT pg_sleep(60)' ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	my $of = q{FROM pg_stat_activity WHERE usename = 'copier' AND state = 'active'};
	ok(wait_until($node, "SELECT count(*) = 1 $of"), 'it is at work');
	is($node->safe_psql($db, "SELECT courier_pii.end_session(pid) $of"), 't', 'and is ended like others');
	$copier->finish;
	is($node->safe_psql($db, q{SELECT courier_pii.end_session(pid) FROM pg_stat_activity WHERE backend_type = 'courier_pii worker'}), 'f',
		'a background worker is not');
}

# ---- memberships with options (16) ----

SKIP:
{
	skip 'memberships have no options before 16', 7 if $major < 16;
	staff_server($node);
	$node->safe_psql($db, q{
		CREATE ROLE desk; SELECT courier_pii.grant_disclosure('desk', 'phone', 'clear');
		CREATE ROLE wu LOGIN; CREATE ROLE xu LOGIN; CREATE ROLE pool LOGIN;
		GRANT SELECT ON masked.parcel TO wu, xu, desk, pool;
		GRANT desk TO wu WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
		SELECT courier_pii.hire('X1', 'Wu', 'wu', 'HQ', NULL), courier_pii.hire('X2', 'Xu', 'xu', 'HQ', NULL);
	});
	is(query_as($node, 'wu', 'SELECT phone FROM masked.parcel WHERE id = 1'), '1******0001',
		'who may only grant a role is not shown what its members are');
	my $token = $node->safe_psql($db, q{SELECT courier_pii.make_actor_token('X1')});
	is(query_as($node, 'pool', "BEGIN; SELECT staff_no FROM courier_pii.actor; SELECT courier_pii.set_actor('$token'); SELECT staff_no FROM courier_pii.actor; SELECT phone FROM masked.parcel WHERE id = 1; COMMIT") =~ s/^\n//mgr,
		"X1\n1******0001", 'nor behind a pool');
	$node->safe_psql($db, 'GRANT desk TO wu WITH SET TRUE');
	is(query_as($node, 'wu', 'SELECT phone FROM masked.parcel WHERE id = 1; SET ROLE desk; SELECT phone FROM masked.parcel WHERE id = 1'),
		"1******0001\n13800000001", 'SET ROLE gives what is not inherited');
	$node->safe_psql($db, 'GRANT desk TO wu WITH SET FALSE, INHERIT TRUE');
	is(query_as($node, 'wu', 'SELECT phone FROM masked.parcel WHERE id = 1'), '13800000001', 'what is inherited is had without SET ROLE');
	query_as($node, 'wu', 'GRANT desk TO xu WITH INHERIT TRUE, SET FALSE');
	is(error_as($node, 'chen', q{SELECT courier_pii.depart('X1', reason => 'left')}), '', 'somebody who granted memberships departs');
	is($node->safe_psql($db, q{SELECT member::regrole, grantor::regrole::text = current_user, admin_option, inherit_option, set_option
		FROM pg_auth_members WHERE roleid = 'desk'::regrole}), 'xu|t|f|t|f', 'the others keep theirs as they were, by nobody else');
	is(audit($node, q{SELECT detail ->> 'role', detail ->> 'member', detail ->> 'granted_by' FROM courier_pii.audit_log WHERE command = 'keep_membership'}),
		'desk|xu|wu', 'which is on record');
}

# ---- MERGE through a masked view (17) ----

my $merge = q{MERGE INTO masked.parcel p USING (VALUES %s) v(id, phone) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET phone = v.phone, state = 9 WHEN NOT MATCHED THEN INSERT (id, phone) VALUES (v.id, v.phone)};
if ($major < 17)
{
	is(error_as($node, 'clerk', sprintf($merge, q{(1, 'x')})), '0A000', 'MERGE into a view is refused by the server before 17');
}
else
{
	is(query_as($node, 'clerk', sprintf($merge, q{(1, '1******0001'), (7, '13700000007')}) . ' RETURNING merge_action(), p.id, p.name, p.state'),
		"UPDATE|1|林**|9\nINSERT|7||", 'MERGE updates and inserts through the view, and returns masks');
	is(query_as($node, 'chief', 'SELECT id, phone FROM masked.parcel WHERE id IN (1, 7) ORDER BY 1'),
		"1|13800000001\n7|13700000007", 'a mask that came back left the value as it was');
	is(error_as($node, 'clerk', sprintf($merge, q{(2, '1******0009')})), 'PI007', 'another mask is refused');
	is(query_as($node, 'clerk', q{MERGE INTO masked.parcel p USING (VALUES ('13700000007')) v(phone) ON p.phone = '13700000007'
		WHEN MATCHED THEN DELETE RETURNING merge_action(), p.id}), 'DELETE|7', 'a condition with a literal is a search by the real value');
	is(query_as($node, 'chief', q{MERGE INTO public.loot USING (SELECT phone FROM masked.parcel WHERE id = 1) s ON false
		WHEN NOT MATCHED THEN INSERT VALUES (s.phone) RETURNING loot.t, (SELECT phone FROM masked.parcel WHERE id = 1)}),
		'1******0001|1******0001', 'nothing is shown clear in MERGE, RETURNING included');
}

# ---- SQL/JSON (16, 17) ----

is(query_as($node, 'clerk', q{SELECT JSON_OBJECT('p': phone), JSON_ARRAY(phone, name) FROM masked.parcel WHERE id = 2}),
	'{"p" : "1******0002"}|["1******0002", "林**"]', 'JSON constructors take what is shown') if $major >= 16;
SKIP:
{
	skip 'no JSON_TABLE before 17', 6 if $major < 17;
	my $table = q{SELECT j.* FROM masked.parcel p, JSON_TABLE(p.note::jsonb, '$' COLUMNS (who %s PATH '$.who', tel text PATH '$.tel')) j WHERE p.id = 2};
	is(query_as($node, 'chief', sprintf($table, 'text')), '林小雨|13800000002', 'JSON_TABLE reads what the person is shown');
	is(error_as($node, 'clerk', sprintf($table, 'text')), '22P02', 'and finds no JSON in a mask');
	is(audit($node, q{SELECT disclosed FROM courier_pii.audit_log WHERE login_role = 'chief' AND query LIKE '%JSON_TABLE%'}), '1', 'each value is counted');
	query_as($node, 'thief', q{CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$; CREATE DOMAIN public.spied AS text CHECK (public.spy(VALUE))});
	foreach my $sql (q{SELECT JSON_VALUE(note::jsonb, '$.who' RETURNING public.spied) FROM masked.parcel WHERE id = 2},
		q{SELECT JSON_QUERY(note::jsonb, '$.who' RETURNING public.spied) FROM masked.parcel WHERE id = 2},
		sprintf($table, 'public.spied'))
	{
		my ($state, $said) = error_as($node, 'chief', $sql);
		ok($state ne '' && $said !~ /saw|林小雨/, "somebody else's domain sees nothing: $state");
	}
}

# ---- COPY that passes over bad rows (17) ----

SKIP:
{
	skip 'COPY takes no ON_ERROR before 17', 5 if $major < 17;
	my $verbose = 'FORMAT csv, ON_ERROR ignore, LOG_VERBOSITY verbose';
	my $rows = "21,13600000021,王五,x,1\n13600000022,赵六,7,x,y\n";
	# columns one place to the left: a name where a number is expected
	my $shifted = "王小明,13600000023,x,x,1\n";
	my $file = $node->basedir . '/rows.csv';
	foreach my $target ('public.parcel', 'masked.parcel', 'public.loose')
	{
		my $who = $target eq 'masked.parcel' ? 'chief' : $super;
		$node->safe_psql($db, 'CREATE TABLE public.loose (id int, phone text, name text, note text, state int)') if $target eq 'public.loose';
		unlink $file;
		append_to_file($file, $target eq 'masked.parcel' ? $rows =~ s/^21/31/r . $shifted : $rows . $shifted);
		my $at = -s $node->logfile;
		is(error_as($node, $who, "\\copy $target (id, phone, name, note, state) FROM '$file' ($verbose)"), '', "bad rows are passed over: $target");
		my $log = slurp_file($node->logfile, $at);
		unlike($log, qr/王小明|13600000022|赵六/, 'and the log does not tell their values');
		like($log, qr/skipping row due to data type incompatibility/, 'though it tells that they were') if $target eq 'public.loose';
	}
	$node->safe_psql($db, 'DELETE FROM public.parcel WHERE id > 20');
}

# ---- code at login (17) ----

SKIP:
{
	skip 'no event trigger at login before 17', 2 if $major < 17;
	$node->safe_psql($db, q{
		CREATE FUNCTION public.trap() RETURNS event_trigger LANGUAGE plpgsql AS $$
			DECLARE p text;
			BEGIN
				IF session_user = 'chief' THEN
					SELECT phone INTO p FROM masked.parcel WHERE id = 1;
					INSERT INTO public.loot VALUES ('trap ' || p);
				END IF;
			END $$;
		CREATE EVENT TRIGGER trap ON login EXECUTE FUNCTION public.trap(); ALTER EVENT TRIGGER trap ENABLE ALWAYS});
	is(query_as($node, 'chief', 'SELECT phone FROM masked.parcel WHERE id = 1'), '13800000001', 'the person is shown values as ever');
	is($node->safe_psql($db, q{SELECT DISTINCT t FROM public.loot WHERE t LIKE 'trap%'}), 'trap 1******0001', 'code that ran at the login is not');
	$node->safe_psql($db, 'DROP EVENT TRIGGER trap');
}

# ---- MAINTAIN (17) ----

SKIP:
{
	skip 'no privilege MAINTAIN before 17', 4 if $major < 17;
	$node->safe_psql($db, q{
		CREATE ROLE janitor LOGIN; GRANT MAINTAIN ON public.parcel TO janitor; GRANT pg_maintain TO thief;
		CREATE TABLE public.order_line (id int PRIMARY KEY, phone text); GRANT SELECT, MAINTAIN ON public.order_line TO janitor;
		SELECT courier_pii.protect_column('public.order_line', 'phone', 'phone');
		SELECT courier_pii.create_masked_view('public.order_line', move_grants => true)});
	is($node->safe_psql($db, q{SELECT kind, grantee, privilege FROM courier_pii.exposure WHERE grantee IN ('janitor', 'thief') ORDER BY kind}),
		"predefined role|thief|\ntable privilege|janitor|MAINTAIN", 'exposure tells who may maintain a protected table');
	is(error_as($node, 'janitor', 'VACUUM ANALYZE public.parcel; REINDEX TABLE public.parcel; CLUSTER public.parcel USING parcel_pkey'), '',
		'they may vacuum, reindex and cluster it');
	is(error_as($node, 'janitor', 'SELECT * FROM public.parcel'), '42501', 'and read nothing');
	is($node->safe_psql($db, q{SELECT relname, a::text FROM pg_class, unnest(relacl) a WHERE relname = 'order_line' AND a::text LIKE 'janitor%'}),
		"order_line|janitor=r/$super", 'move_grants takes it away with the rest, and a view needs none');
}

# ---- RETURNING of old and new rows (18) ----

SKIP:
{
	skip 'RETURNING knows no OLD before 18', 4 if $major < 18;
	is(query_as($node, 'chief', 'UPDATE masked.parcel SET state = 4 WHERE id = 3 RETURNING old.phone, new.phone, old.state, new.state, old'),
		'1******0003|1******0003|0|4|(3,1******0003,林**,***,0)', 'old and new rows are masked in UPDATE');
	is(query_as($node, 'chief', 'DELETE FROM masked.parcel WHERE id = 3 RETURNING old.phone, new.phone'), '1******0003|', 'in DELETE');
	is(query_as($node, 'chief', q{INSERT INTO masked.parcel (id, phone) VALUES (3, '13800000003') RETURNING old.phone, new.id}), '|3', 'in INSERT');
	is(query_as($node, 'chief', q{MERGE INTO masked.parcel p USING (VALUES (5)) v(i) ON p.id = v.i WHEN MATCHED THEN UPDATE SET state = 5 RETURNING old.phone, new.phone}),
		'1******0005|1******0005', 'and in MERGE');
}

# ---- columns and constraints (18) ----

# on all servers: the name and the marks of NOT NULL stay when a column is protected online
$node->safe_psql($db, q{
	CREATE TABLE public.family (id int, phone text) PARTITION BY RANGE (id);
	CREATE TABLE public.child PARTITION OF public.family FOR VALUES FROM (0) TO (9);
	CREATE TABLE public.brother PARTITION OF public.family FOR VALUES FROM (9) TO (20);
	ALTER TABLE public.child ALTER COLUMN phone SET NOT NULL;
	INSERT INTO public.family VALUES (1, '13800000001'), (9, NULL)});
$node->safe_psql($db, q{CALL courier_pii.protect_column_online('public.family', 'phone', 'phone')});
is($node->safe_psql($db, q{SELECT attrelid::regclass, attnotnull FROM pg_attribute WHERE attname = 'phone'
	AND attrelid IN ('public.family'::regclass, 'public.child'::regclass, 'public.brother'::regclass) ORDER BY 1}),
	"family|f\nchild|t\nbrother|f", 'a partition keeps its own NOT NULL');

SKIP:
{
	skip 'NOT NULL is no constraint before 18', 14 if $major < 18;
	my $constraints = q{SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint
		WHERE contype = 'n' AND conrelid = 'public.%s'::regclass AND conname NOT LIKE '%%_id_not_null%%'};
	foreach my $way ('SELECT courier_pii.protect_column', 'CALL courier_pii.protect_column_online')
	{
		$node->safe_psql($db, q{
			DROP TABLE IF EXISTS public.nn, public.later;
			CREATE TABLE public.nn (id int PRIMARY KEY, phone text CONSTRAINT "phone is there" NOT NULL);
			COMMENT ON CONSTRAINT "phone is there" ON public.nn IS 'wanted';
			CREATE TABLE public.later (id int PRIMARY KEY, phone text);
			INSERT INTO public.later VALUES (1, NULL), (2, '13800000001');
			ALTER TABLE public.later ADD CONSTRAINT someday NOT NULL phone NOT VALID}) if $way =~ /SELECT/;
		$node->safe_psql($db, q{
			CREATE TABLE public.nn (id int PRIMARY KEY, phone text CONSTRAINT "phone is there" NOT NULL);
			COMMENT ON CONSTRAINT "phone is there" ON public.nn IS 'wanted';
			CREATE TABLE public.later (id int PRIMARY KEY, phone text);
			INSERT INTO public.later VALUES (1, NULL), (2, '13800000001');
			ALTER TABLE public.later ADD CONSTRAINT someday NOT NULL phone NOT VALID}) if $way =~ /CALL/;
		is(error_as($node, $super, "$way('public.nn', 'phone', 'phone')"), '', "NOT NULL with a name: $way");
		is($node->safe_psql($db, sprintf($constraints, 'nn')), 'phone is there|NOT NULL phone|wanted', 'it stays, with its comment');
		is(error_as($node, $super, "$way('public.later', 'phone', 'phone')"), '', 'NOT NULL that was not checked yet');
		is($node->safe_psql($db, sprintf($constraints, 'later')), 'someday|NOT NULL phone NOT VALID|', 'it stays unchecked');
		$node->safe_psql($db, 'ALTER TABLE public.nn RENAME TO nn_1; ALTER TABLE public.later RENAME TO later_1;
			ALTER INDEX public.nn_pkey RENAME TO nn_1_pkey; ALTER INDEX public.later_pkey RENAME TO later_1_pkey') if $way =~ /SELECT/;
	}
	$node->safe_psql($db, q{
		CREATE TABLE public.computed (id int PRIMARY KEY, phone text, upper_phone text GENERATED ALWAYS AS (upper(phone)) VIRTUAL);
		CREATE TABLE public.unenforced (id int PRIMARY KEY, phone text CONSTRAINT no_check CHECK (phone <> '') NOT ENFORCED);
		CREATE EXTENSION btree_gist;
		CREATE TABLE public.period (phone text, during daterange, PRIMARY KEY (phone, during WITHOUT OVERLAPS));
		CREATE TABLE public.fine (id int PRIMARY KEY, phone text, pieces int, twice int GENERATED ALWAYS AS (pieces * 2));
		SELECT courier_pii.protect_column('public.fine', 'phone', 'phone'), courier_pii.create_masked_view('public.fine');
		GRANT ALL ON masked.fine TO chief});
	like(message_as($node, $super, q{SELECT courier_pii.protect_column('public.computed', 'phone', 'phone')}), qr/upper_phone/,
		'a virtual generated column that uses the clear text is named');
	like(message_as($node, $super, q{SELECT courier_pii.protect_column('public.computed', 'upper_phone', 'phone')}), qr/cannot protect generated column/,
		'and is none to protect');
	like(message_as($node, $super, q{SELECT courier_pii.protect_column('public.unenforced', 'phone', 'phone')}), qr/no_check/,
		'a check that is not enforced is named, too');
	like(message_as($node, $super, q{SELECT courier_pii.protect_column('public.period', 'phone', 'phone')}), qr/period_pkey/,
		'and a key WITHOUT OVERLAPS');
	is(error_as($node, $super, q{ALTER TABLE public.fine ADD COLUMN c text GENERATED ALWAYS AS (courier_pii.show(phone)) VIRTUAL}), '42P17',
		'no generated column shows a sealed one');
	is(query_as($node, 'chief', q{INSERT INTO masked.fine (id, phone, pieces) VALUES (1, '13300000001', 4); UPDATE masked.fine SET pieces = 6 RETURNING twice, phone; TABLE masked.fine}),
		"12|1******0001\n1|13300000001|6|12", 'a masked view over a table with a virtual column is written and read');
}

# ---- COPY of a materialized view (18), a slot on a standby (16) ----

SKIP:
{
	skip 'no COPY of materialized views before 18', 1 if $major < 18;
	$node->safe_psql($db, 'CREATE MATERIALIZED VIEW public.copied AS SELECT id, phone FROM public.parcel');
	query_as($node, $super, 'COPY public.copied TO STDOUT');
	is(audit($node, q{SELECT DISTINCT action, relations FROM courier_pii.audit_log WHERE query LIKE 'COPY public.copied%'}), 'EXPORT|{public.copied}',
		'a copy of a materialized view with sealed values is an export');
}

SKIP:
{
	skip 'no logical decoding on a standby before 16', 3 if $major < 16;
	$node->backup('base');
	my $standby = CourierPii->new_node('newer_standby', from_backup => [ $node, 'base', has_streaming => 1 ],
		conf => "hot_standby_feedback = on\n");
	$node->wait_for_replay_catchup($standby);
	my $done = 0;
	my $slot = q{SELECT pg_create_logical_replication_slot('taken', 'test_decoding')};
	my $made = IPC::Run::start([ 'psql', '-XAtq', '-d', $standby->connstr($db), '-c', $slot ], '<', \undef, '>', \my $out, '2>', \my $err,
		IPC::Run::timeout(120));
	# the slot waits for a record of the running transactions
	for (1 .. 100)
	{
		$node->safe_psql($db, 'SELECT pg_log_standby_snapshot()');
		$made->pump_nb;
		last unless $made->pumpable;
		select(undef, undef, undef, 0.2);
	}
	$made->finish;
	is($standby->safe_psql($db, q{SELECT slot_name FROM pg_replication_slots}), 'taken', 'a slot on a standby can be made')
		or diag($err);
	like(join('', map { slurp_file($_) } glob($standby->{courier_pii}{audit_directory} . '/*')), qr/pg_create_logical_replication_slot/,
		'and is on record there');
	$standby->append_conf('postgresql.conf', q{courier_pii.sealed_export = 'ticket'});
	$standby->reload;
	is(error_as($standby, $super, q{SELECT * FROM pg_logical_slot_get_changes('taken', NULL, NULL)}), 'PI001', 'where slots are for pii_backup, there, too');
	$standby->stop;
}

$node->stop;
done_testing();
