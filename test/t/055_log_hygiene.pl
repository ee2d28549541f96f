
# What administrators read along: the server log, pg_stat_activity,
# pg_stat_statements, auto_explain.  No literal of a statement that touches
# protected columns, and no value that one failed on, is in any of them.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $canary = '13855517931';
my $name = 'Quillfeather';
my $node = CourierPii->new_node('hygiene',
	preload => 'pg_stat_statements',
	preload_after => 'auto_explain',
	conf => <<'EOC');
log_statement = 'all'
log_duration = on
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_min_error_statement = debug1
log_min_messages = notice
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_nested_statements = on
auto_explain.log_level = log
pg_stat_statements.track = all
compute_query_id = on
track_activity_query_size = 4096
EOC
my $super = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql($CourierPii::DATABASE, q{
	CREATE EXTENSION pg_stat_statements;
	CREATE ROLE clerk LOGIN;
	CREATE TABLE parcel (id integer PRIMARY KEY, phone text, name text, weight integer UNIQUE);
	SELECT courier_pii.protect_column('parcel', 'phone', 'phone'), courier_pii.protect_column('parcel', 'name', 'person_name');
	SELECT courier_pii.create_masked_view('parcel');
	GRANT USAGE ON SCHEMA masked TO clerk;
	GRANT SELECT, INSERT, UPDATE, DELETE ON masked.parcel TO clerk;
	GRANT USAGE, CREATE ON SCHEMA public TO clerk;
	SELECT courier_pii.grant_disclosure('clerk', 'phone', 'clear'), courier_pii.grant_disclosure('clerk', 'person_name', 'clear');
	});

my @statements = (
	"INSERT INTO masked.parcel (id, phone, name, weight) VALUES (1, '$canary', '$name', 5)",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary'",
	"SELECT phone FROM masked.parcel WHERE phone IN ('$canary', '13900000000')",
	"SELECT * FROM masked.parcel WHERE name = \$\$$name\$\$ AND phone LIKE '%$canary'",
	"SELECT $canary, phone FROM masked.parcel -- $canary",
	"UPDATE masked.parcel SET phone = '$canary' WHERE phone = '$canary'",
	"PREPARE p (text) AS SELECT id FROM masked.parcel WHERE phone = \$1; EXECUTE p('$canary'); DEALLOCATE p",
	"BEGIN; DECLARE c CURSOR FOR SELECT phone FROM masked.parcel WHERE phone = '$canary'; FETCH ALL FROM c; COMMIT",
	"COPY (SELECT phone FROM masked.parcel WHERE phone = '$canary') TO STDOUT",
	"DO \$x\$ BEGIN PERFORM 1 FROM masked.parcel WHERE phone = '$canary'; RAISE NOTICE '%', (SELECT phone FROM masked.parcel LIMIT 1); END \$x\$",
	"EXPLAIN (ANALYZE) SELECT * FROM masked.parcel WHERE phone = '$canary'",
	"WITH x AS (SELECT '$canary' AS p) SELECT m.id FROM masked.parcel m, x WHERE m.phone = x.p",
	"CREATE FUNCTION by_phone(p text) RETURNS integer LANGUAGE sql AS \$\$ SELECT id FROM masked.parcel WHERE phone = p \$\$",
	"SELECT by_phone('$canary')",
	"SET courier_pii.purpose = 'complaint 17'; SELECT phone FROM masked.parcel WHERE phone = '$canary'",
	# errors
	"SELECT phone::integer FROM masked.parcel",
	"SELECT phone::date FROM masked.parcel WHERE phone = '$canary'",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary' AND 1/(id - id) = 1",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary' AND",
	"SELECT phone FROM masked.parcel WHERE phone = $canary $canary",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary",
	"SELECT phone FROM masked.nothing WHERE phone = '$canary'",
	"INSERT INTO masked.parcel (id, phone, name, weight) VALUES (2, '$canary', '$name', 5)",
	"INSERT INTO masked.parcel (id, phone, name, weight) VALUES ('$canary', '$canary', '$name', 6)",
	"INSERT INTO masked.parcel (id, phone) VALUES (3, '138****7931 $canary')",
	"COPY masked.parcel (id, phone, weight) FROM STDIN;\n7\t$canary\t$canary x\n\\.",
	"DO \$x\$ DECLARE v text; BEGIN SELECT phone INTO v FROM masked.parcel LIMIT 1; RAISE WARNING 'seen %', v; RAISE EXCEPTION 'bad phone %', v; END \$x\$",
	"SELECT json_populate_record(NULL::parcel, json_build_object('weight', phone)) FROM masked.parcel",
	"SELECT pg_catalog.to_date(phone, 'YYYY-MM-DD'), make_date(1, 1, phone::bigint::int) FROM masked.parcel");

# simple protocol, as psql speaks it
my @client;
foreach my $sql (@statements)
{
	my ($status, $out, $err) = CourierPii::run_as($node, 'clerk', $sql, on_error_stop => 0);
	push @client, "$out\n$err";
}
# extended protocol with parameters, and a failure with parameters
my $wire = CourierPiiWire->new($node, 'clerk');
foreach my $sql ('SELECT phone FROM masked.parcel WHERE phone = $1',
	'SELECT id FROM masked.parcel WHERE phone = $1 AND 1/(id - id) = 1',
	'SELECT $1::integer FROM masked.parcel',
	"SELECT phone FROM masked.parcel WHERE phone = '$canary' AND name <> \$1")
{
	$wire->parse($sql);
	$wire->bind('', 0, $canary);
	$wire->execute('', 0);
	push @client, $wire->sync->{message};
}

# the client still hears what its statement failed on
like(join("\n", @client), qr/"$canary"/, 'the client gets its own messages as they are');
like(join("\n", @client), qr/bad phone $canary/, '... and what functions raise');

my $log = slurp_file($node->logfile);
unlike($log, qr/$canary|7931/, 'the phone is not in the server log');
unlike($log, qr/$name/, 'nor is the name');
like($log, qr/SELECT phone FROM masked\.parcel WHERE phone = \?/, 'the statements are, without literals');
like($log, qr/duration: [0-9.]+ ms  plan:.*cost=[0-9]/s, 'plans are logged, with their numbers');
like($log, qr/\[clerk 22012\] ERROR:  division by zero/, 'errors are logged with their state');
like($log, qr/message withheld/, 'what a function raised is withheld');
like($log, qr/STATEMENT:  SELECT phone FROM masked\.parcel WHERE phone = \?/, 'failed statements are logged without literals');

my $seen = $node->safe_psql($CourierPii::DATABASE,
	"SELECT string_agg(query, E'\\n') FROM pg_stat_statements WHERE userid = 'clerk'::regrole");
unlike($seen, qr/$canary|7931|$name/, 'pg_stat_statements has no literal');
like($seen, qr/masked\.parcel WHERE phone = \$1/, '... and has the statements');

sub until_true
{
	my ($condition) = @_;
	foreach (1 .. 600)
	{
		return if $condition->();
		select(undef, undef, undef, 0.1);
	}
	die 'waited in vain';
}

# pg_stat_activity, while a statement runs
foreach my $sql ("SELECT phone, pg_sleep(600) FROM masked.parcel WHERE phone = '$canary'",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary'; SELECT pg_sleep(600)",
	"DO \$x\$ BEGIN PERFORM pg_sleep(600) FROM masked.parcel WHERE phone = '$canary'; END \$x\$",
	"SELECT phone FROM masked.parcel, pg_sleep(600) WHERE phone IN ('$canary', '$canary') -- $canary")
{
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ 'psql', '-XAtq', '-d', login($node, 'clerk'), '-c', $sql ],
		'<', \undef, '>', \$out, '2>', \$err);
	my $query = '';
	until_true(sub {
		$query = $node->safe_psql($CourierPii::DATABASE,
			"SELECT string_agg(query, '') FROM pg_stat_activity WHERE usename = 'clerk'");
		return $query ne '' && $query =~ /parcel|pg_sleep/;
	});
	unlike($query, qr/$canary/, 'pg_stat_activity has no literal: ' . substr($sql, 0, 30));
	$node->safe_psql($CourierPii::DATABASE,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'");
	$h->finish;
}

# and after it failed: the idle session still shows its text
my $idle = CourierPiiWire->new($node, 'clerk');
foreach my $sql ("SELECT phone FROM masked.parcel WHERE phone = '$canary' AND 1/(id - id) = 1",
	"SELECT phone FROM masked.parcel WHERE phone = '$canary' AND", "SELECT '$canary' FROM masked.nothing")
{
	$idle->query($sql);
	my $query = $node->safe_psql($CourierPii::DATABASE,
		"SELECT string_agg(state || query, '') FROM pg_stat_activity WHERE usename = 'clerk'");
	like($query, qr/^idle.*masked/, 'an idle session shows its last statement');
	unlike($query, qr/$canary/, '... without literals');
}

# switched off, the log is PostgreSQL's own again
$node->append_conf('postgresql.conf', "courier_pii.redact_log = off\n");
$node->reload;
my $at = -s $node->logfile;
until_true(sub {
	query_as($node, 'clerk', "SELECT 'marker 4711' FROM masked.parcel");
	return slurp_file($node->logfile, $at) =~ /marker 4711/;
});
like(slurp_file($node->logfile, $at), qr/marker 4711/, 'redact_log = off');

done_testing();
