
# Passwords: what may be set, by whom and how often, what is remembered of it,
# the session that can do nothing else, and that no clear password is found in
# the server log, in pg_stat_activity or in pg_stat_statements.

use strict;
use warnings;

use CourierPii;
use CourierPiiWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('passwords',
	preload_after => 'pg_stat_statements',
	conf => "log_statement = 'all'\nlog_min_duration_statement = 0\n"
	  . "log_error_verbosity = 'verbose'\npg_stat_statements.track = 'all'\n"
	  . "log_parameter_max_length_on_error = -1\nlisten_addresses = '127.0.0.1'\n"
	  . "courier_pii.password_dictionary = ''\n");
my $db = $CourierPii::DATABASE;

# every clear password of this test begins with one of these, and must not be
# found anywhere at the end
my $n = 0;
my @words = qw(Gentian Marigold Hellebore Foxglove Larkspur Bluebell Saxifrage Valerian);
sub fresh
{
	my $word = $words[ $n++ % @words ];
	return sprintf '%s-%s%d-trowel', $word, scalar(reverse lc $words[ ($n * 3) % @words ]), 10 + $n * 7 % 89;
}

sub admin { return query_as($node, 'chen_accounts', $_[0]); }

sub register_of
{
	return query_as($node, 'zheng_audit',
		"SELECT how, changed_by, changed_by_staff_no, reason FROM courier_pii.password_register WHERE login_role = '$_[0]'::regrole ORDER BY changed_at DESC LIMIT 1");
}

$node->safe_psql($db, join '', 'CREATE EXTENSION pg_stat_statements;',
	map { "CREATE ROLE $_ LOGIN;\n" } 'chen_accounts', 'zheng_audit', 'feng_security', 'application', map { "person_$_" } 1 .. 9);
$node->safe_psql($db, q{
	CREATE TABLE public.parcel (id int); INSERT INTO public.parcel SELECT generate_series(1, 10);
	GRANT ALL ON public.parcel TO PUBLIC;
	CREATE FUNCTION public.peek() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM public.parcel); END';
	CREATE PROCEDURE public.touch() LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM public.parcel; END';
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts');
	SELECT courier_pii.appoint('pii_auditor', 'zheng_audit');
	SELECT courier_pii.appoint('pii_security_admin', 'feng_security');
});
admin(q{SELECT courier_pii.add_org('HQ', '总部', 'hq', NULL)});
admin(qq{SELECT courier_pii.hire('K70$_', '欧阳若兰', 'person_$_', 'HQ', 'courier', '{"pinyin": "ouyang ruolan", "birthday": "1990-03-17", "phone": "13800138055"}')})
  for 1 .. 9;

# ---- rules ----

sub change { return "SELECT courier_pii.change_password($_[0], $_[1])"; }
my %weak = (
	'short' => 'Ab3-xyzw',
	'of one kind' => 'gentianhellebore',
	'with the role name' => 'Xperson_1-Teapot9',
	'with the staff number' => 'Teapot-k701-Garden',
	'with the pinyin of the name' => 'Teapot-Ouyang-9-x',
	'with the birthday' => 'Teapot-19900317-x',
	'with the birthday, short' => 'Teapot-900317-xQ',
	'with the birthday, day first' => 'Teapot-17031990x',
	'with the birthday in dashes' => 'Teapot1990-03-17x',
	'with the tail of the telephone number' => 'Teapot-00138055-x',
	'with a sequence' => 'Teapot-12345-Gar',
	'with a sequence backwards' => 'Teapot-98765-Gar',
	'with repeats' => 'Teapot-7777-Gard',
	'with neighbouring keys' => 'Teapot-9-qwertyX',
);
my @weak = values %weak;
foreach my $what (sort keys %weak)
{
	is(error_as($node, 'person_1', change('NULL', "'$weak{$what}'")), '22023', "a password $what");
	is(error_as($node, 'chen_accounts', "SELECT courier_pii.set_password('person_1', '$weak{$what}')"),
		'22023', 'nor by an administrator');
	my ($status, undef, $err) = $node->psql($db, "ALTER ROLE person_1 PASSWORD '$weak{$what}'");
	like($err, qr/password is too weak/, 'nor by a superuser');
}
is(register_of('person_1'), '', 'nothing was entered in the register');

my $first = fresh();
is(error_as($node, 'person_1', change('NULL', "'$first'")), '', 'the first password needs no old one');
is(register_of('person_1'), 'self|person_1|K701|', 'and is in the register');
is(error_as($node, 'person_1', change("'wrong-" . fresh() . "'", "'" . fresh() . "'")), '28P01', 'the old password is wrong');
is(error_as($node, 'person_1', change('NULL', "'" . fresh() . "'")), '28P01', 'and is asked for now');
my ($state, $text) = error_as($node, 'person_1', change("'$first'", "'" . fresh() . "'"));
is($state, '55000', 'not twice in a day');
like($text, qr/less than 1 day ago/, 'and says so');
is(error_as($node, 'person_1', change("'$first'", 'NULL')), '22004', 'no password is none');

# in TCP with the real password
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 scram-sha-256\n$lines");
$node->reload;
sub try_login
{
	my ($role, $password) = @_;
	local $ENV{PGPASSWORD} = $password;
	return run_log([ 'psql', '-XAtqc', 'SELECT 1', '-d', "host=127.0.0.1 port=" . $node->port . " dbname=$db user=$role" ]);
}
ok(try_login('person_1', $first), 'the password opens the door');

# without a minimum age
$node->append_conf('postgresql.conf', "courier_pii.password_min_age = 0\n");
$node->reload;
(my $similar = $first) =~ s/trowel$/trowem/;
is(error_as($node, 'person_1', change("'$first'", "'$similar'")), '22023', 'a password similar to the old one');
my $second = fresh();
is(error_as($node, 'person_1', "BEGIN; " . change("'$first'", "'$second'") . '; ROLLBACK;'), '', 'a change that is rolled back');
is(query_as($node, 'zheng_audit', q{SELECT count(*) FROM courier_pii.password_register WHERE login_role = 'person_1'::regrole}),
	'1', 'is not in the register');
ok(try_login('person_1', $first), 'and did not happen');
is(error_as($node, 'person_1', "SET courier_pii.purpose = 'monthly'; " . change("'$first'", "'$second'")), '', 'a change');
is(register_of('person_1'), 'self|person_1|K701|monthly', 'in the register, with its purpose');
is(error_as($node, 'person_1', change("'$second'", "'$first'")), '22023', 'the one before is not used again');
my ($rc, undef, $err) = $node->psql($db, "ALTER ROLE person_1 PASSWORD '$first'");
like($err, qr/password was used before/, 'nor by anybody else');
$node->append_conf('postgresql.conf', "courier_pii.password_history = 1\n");
$node->reload;
my $third = fresh();
is(error_as($node, 'person_1', "SELECT courier_pii.change_password('$second', '$third', 'told a colleague')"), '', 'another change');
is(register_of('person_1'), 'self|person_1|K701|told a colleague', 'with its reason');
is(error_as($node, 'person_1', change("'$third'", "'$first'")), '', 'a history of one forgets the first');
$node->append_conf('postgresql.conf', "courier_pii.password_history = 12\n");
$node->reload;
is(error_as($node, 'zheng_audit', 'TABLE courier_pii.password_history'), '42501', 'nobody reads the history');
is(error_as($node, 'person_1', 'TABLE courier_pii.password_register'), '42501', 'nor a courier the register');

# SET ROLE is no way to somebody else's password
$node->safe_psql($db, 'GRANT person_2 TO person_1');
my $fourth = fresh();
is(error_as($node, 'person_1', "SET ROLE person_2; " . change("'$first'", "'$fourth'")), '', 'within SET ROLE');
ok(try_login('person_1', $fourth), "one's own password is changed");
is($node->safe_psql($db, q{SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'person_2'}), 't', "not the other's");

# ---- statements of others ----

my $given = fresh();
$node->safe_psql($db, "ALTER ROLE person_2 PASSWORD '$given'");
my $super = $node->safe_psql($db, 'SELECT current_user');
is(register_of('person_2'), "admin|$super||", 'a superuser sets a password: registered');
$node->safe_psql($db, 'ALTER ROLE person_2 PASSWORD NULL');
is(register_of('person_2'), "taken|$super||", 'and takes it away');
my $new = fresh();
$node->safe_psql($db, "CREATE ROLE newcomer LOGIN PASSWORD '$new'");
is(register_of('newcomer'), "admin|$super||", 'also of a role that is nobody yet');
$node->safe_psql($db, "DO \$\$BEGIN ALTER ROLE person_2 PASSWORD '$given-2'; END\$\$");
is(register_of('person_2'), "admin|$super||", 'also in a DO block');
is(error_as($node, 'person_3', q{ALTER ROLE person_3 SUPERUSER PASSWORD 'Teapot-garden-93-x'}), '42501', 'a password brings no privilege');

# ---- passwords that arrive hashed ----

my $guessable = $node->safe_psql($db, q{CREATE ROLE model PASSWORD 'K7041234'; SELECT rolpassword FROM pg_authid WHERE rolname = 'model'});
my $strong = $node->safe_psql($db, "ALTER ROLE model PASSWORD '" . fresh() . q{'; SELECT rolpassword FROM pg_authid WHERE rolname = 'model'});
sub alter
{
	my ($verifier) = @_;
	my (undef, undef, $said) = $node->psql($db, "\\set VERBOSITY verbose\nALTER ROLE person_4 PASSWORD '$verifier'");
	return $said =~ /ERROR:  (\w{5})/ ? $1 : '';
}
is(alter($strong), '22023', 'reject: a hashed password is refused');
$node->append_conf('postgresql.conf', "courier_pii.password_prehashed = 'guess'\n");
$node->reload;
is(alter($guessable), '22023', 'guess: one that anybody would try is refused');
is(alter('md5' . '0' x 32), '22023', 'guess: MD5 is refused');
(my $few = $strong) =~ s/\$\d+:/\$100:/;
is(alter($few), '22023', 'guess: too few iterations');
is(alter($strong), '', 'guess: another one is accepted');
is(register_of('person_4'), "prehashed|$super||", 'and registered as such');
is(alter($strong), '22023', 'the same verifier again is not');
$node->append_conf('postgresql.conf', "courier_pii.password_prehashed = 'allow'\n");
$node->reload;
is(alter($guessable), '', 'allow: everything is accepted');
$node->append_conf('postgresql.conf', "courier_pii.password_prehashed = 'reject'\n");
$node->reload;

# ---- must change ----

my $temporary = fresh();
my $open = CourierPiiWire->new($node, 'person_5');
$open->parse('SELECT id FROM public.parcel');
$open->bind('portal');
$open->execute('portal', 1);
$open->send_message('H', '');
admin("SELECT courier_pii.set_password('person_5', '$temporary', 'forgotten')");
is(register_of('person_5'), 'admin|chen_accounts||forgotten', 'set by an administrator');
is(query_as($node, 'zheng_audit', q{SELECT must_change FROM courier_pii.accounts WHERE login_role = 'person_5'::regrole}), 't', 'it must be changed');
$open->execute('portal', 1);
is($open->sync->{state}, '28P01', 'a portal that was open gives no more rows');
is($open->query('SELECT 1')->{state}, '', 'a statement that names no table passes');
is($open->query('SELECT count(*) FROM pg_class')->{state}, '', 'nor one that looks at the catalog');
foreach my $refused ('TABLE public.parcel', 'SELECT public.peek()', 'COPY public.parcel TO STDOUT',
	'BEGIN; DECLARE c CURSOR FOR SELECT 1', 'INSERT INTO public.parcel VALUES (11)',
	'SELECT query_to_xml(\'TABLE public.parcel\', true, true, \'\')', 'CREATE TEMP TABLE t (id int)',
	'PREPARE p AS TABLE public.parcel; EXECUTE p', 'DO $$BEGIN PERFORM 1 FROM public.parcel; END$$',
	'EXPLAIN ANALYZE TABLE public.parcel', 'CALL public.touch()', 'LISTEN x')
{
	is($open->query($refused)->{state}, '28P01', "refused: $refused");
	$open->query('ROLLBACK');
}
$open->parse('TABLE public.parcel');
$open->bind('');
$open->execute('');
is($open->sync->{state}, '28P01', 'refused in the extended protocol');

sub fast_path
{
	my ($c, $function, @values) = @_;
	my $oid = $node->safe_psql($db, "SELECT '$function'::regprocedure::oid");
	$c->send_message('F', pack('Nnn', $oid, 0, scalar @values)
		. join('', map { defined $_ ? pack('N', length $_) . $_ : pack('N', 0xFFFFFFFF) } @values)
		. pack('n', 0));
	return $c->wait_ready->{state};
}
is(fast_path($open, 'public.peek()'), '28P01', 'refused over the fast path');
is(fast_path($open, 'pg_backend_pid()'), '28P01', 'whatever the function');
is(error_as($node, 'person_5', 'TABLE public.parcel'), '28P01', 'refused in a new session');
$node->safe_psql($db, 'GRANT person_6 TO person_5');
is(error_as($node, 'person_5', 'SET ROLE person_6; TABLE public.parcel'), '28P01', 'SET ROLE does not help');
my $own = fresh();
is(fast_path($open, 'courier_pii.change_password(text,text,text)', $temporary, $own, 'first login'), '', 'changed over the fast path');
is(register_of('person_5'), 'self|person_5|K705|first login', 'and registered');
is($open->query('TABLE public.parcel')->{state}, '', 'then the session can work');
ok(try_login('person_5', $own), 'with the new password');

# the same, with bind parameters
admin("SELECT courier_pii.set_password('person_5', '" . (my $again = fresh()) . "')");
is($open->query('TABLE public.parcel')->{state}, '28P01', 'to be changed again');
sub bind_call
{
	my ($c, $old, $next) = @_;
	$c->parse('SELECT courier_pii.change_password($1::text, $2::text)');
	$c->send_message('B', "\0\0" . pack('nn', 0, 2) . join('', map { pack('N', length $_) . $_ } $old, $next) . pack('n', 0));
	$c->execute('');
	return $c->sync->{state};
}
is(bind_call($open, fresh(), fresh()), '28P01', 'with a wrong old password');
is(bind_call($open, $again, 'Teapot-12345-' . ($weak[@weak] = 'Gladiolus')), '22023', 'with a weak new one');
is(bind_call($open, $again, fresh()), '', 'changed by bind parameters');
is($open->query('TABLE public.parcel')->{state}, '', 'then the session can work');
$open->drop;

# ALTER ROLE of one's own, and nothing else with it
my $sixth = fresh();
admin("SELECT courier_pii.set_password('person_6', '$sixth')");
is(error_as($node, 'person_6', 'ALTER ROLE person_6 SET work_mem = 64'), '28P01', 'must change: a setting of the role is refused');
is(error_as($node, 'person_6', "ALTER ROLE person_6 PASSWORD '" . fresh() . "'"), '', 'the password is not');
is(error_as($node, 'person_6', 'TABLE public.parcel'), '', 'and that is enough');

# ---- who may ----

is(error_as($node, 'person_1', "SELECT courier_pii.set_password('person_2', '" . fresh() . "')"), '42501', 'a courier sets nobody else\'s');
is(error_as($node, 'chen_accounts', "SELECT courier_pii.set_password('application', '" . fresh() . "')"), '42501', "nor an administrator that of nobody's role");
is(error_as($node, 'person_1', q{SELECT courier_pii.suspect_leak('person_2')}), 'PI006', 'nor suspects a leak');

# ---- a suspected leak ----

my $seventh = fresh();
query_as($node, 'person_7', change('NULL', "'$seventh'"));
my $used = CourierPiiWire->new($node, 'person_7');
is($used->query('SELECT 1')->{state}, '', 'a session that may have been somebody else\'s');
is(error_as($node, 'person_7', q{SELECT courier_pii.suspect_leak('person_7', 'note found at the counter')}), '', 'the person says so');
ok(wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'person_7'}), 'its sessions end');
ok(!try_login('person_7', $seventh), 'the password is dead');
is(register_of('person_7'), 'leak|person_7|K707|note found at the counter', 'in the register');
query_as($node, 'feng_security', q{SELECT courier_pii.suspect_leak('person_1', 'list on the net')});
ok(!try_login('person_1', $fourth), 'the security administrator can, too');

# ---- behind the back of the register ----

my $before = $node->safe_psql($db, q{SELECT rolpassword FROM pg_authid WHERE rolname = 'person_4'});
(undef, undef, $err) = $node->psql($db, q{UPDATE pg_authid SET rolpassword = NULL WHERE rolname = 'person_4'});
if ($err eq '')
{
	ok(wait_until($node, q{SELECT EXISTS (SELECT FROM courier_pii.password_change WHERE how = 'catalog')}, 180),
		'a change of the catalog is found');
	is(query_as($node, 'zheng_audit', q{SELECT must_change FROM courier_pii.accounts WHERE login_role = 'person_4'::regrole}), 't',
		'and the password must be changed');
}
else
{
	like($err, qr/pg_authid/, 'the catalog is not changed directly');
}

# ---- statements that others can read ----

my @hidden;
sub hidden { push @hidden, fresh(); return $hidden[-1]; }
my $c = CourierPiiWire->new($node, $super);
my @statements = (
	sub { "ALTER ROLE newcomer PASSWORD '$_[0]'" },
	sub { "ALTER ROLE newcomer\n\tENCRYPTED /* ' */ PASSWORD E'$_[0]' VALID UNTIL 'infinity'" },
	sub { "alter user newcomer with password \$x\$$_[0]\$x\$" },
	sub { "ALTER ROLE newcomer PASSWORD U&'$_[0]'" },
	sub { "SELECT 1; ALTER ROLE newcomer PASSWORD '$_[0]'; SELECT 2" },
	sub { "ALTER ROLE newcomer PASSWORD '$_[0]' nonsense" },
	sub { "ALTER ROLE no_such_role PASSWORD '$_[0]'" },
	sub { "CREATE ROLE newcomer PASSWORD '$_[0]'" },
	sub { "DO \$\$BEGIN ALTER ROLE newcomer PASSWORD '$_[0]'; END\$\$" },
	sub { "DO \$\$BEGIN EXECUTE 'ALTER ROLE newcomer PASSWORD ''$_[0]'''; END\$\$" },
	sub { "DO \$\$BEGIN ALTER ROLE no_such_role PASSWORD '$_[0]'; END\$\$" },
	sub { "SELECT courier_pii.change_password('$_[0]', '$_[0]')" },
	sub { "SELECT courier_pii.change_password('$_[0]')" },
	sub { "SELECT courier_pii.set_password('person_8', '$_[0]')" },
	sub { "SELECT courier_pii.set_password('newcomer', '$_[0]')" },
	sub { "PREPARE p (text) AS SELECT courier_pii.set_password('person_8', \$1); EXECUTE p ('$_[0]')" },
	sub { "EXECUTE p ('$_[0]')" },
	sub { "CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing OPTIONS (password '$_[0]')" },
	sub { "CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'x', password '$_[0]')" },
	sub { "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere password=$_[0]' PUBLICATION p WITH (connect = false)" },
);
$node->safe_psql($db, 'CREATE FOREIGN DATA WRAPPER nothing');
my $shown = '';
foreach my $extended (0, 1)
{
	foreach my $make (@statements)
	{
		my $sql = $make->(hidden());
		if ($extended)
		{
			next if $sql =~ /; /;
			$c->parse($sql);
			$c->bind('');
			$c->execute('');
			$c->sync;
		}
		else
		{
			$c->query($sql);
		}
		$shown .= $node->safe_psql($db, "SELECT query FROM pg_stat_activity WHERE pid = $c->{pid}");
		$c->query('ROLLBACK');
	}
}
$c->drop;
my $log = slurp_file($node->logfile);
my $statements = $node->safe_psql($db, 'SELECT query FROM pg_stat_statements');
cmp_ok(scalar(() = $log =~ /ALTER ROLE newcomer/g), '>=', 5, 'the statements are in the log');
my $pattern = join '|', (map { "(?:$_)" } map { quotemeta } @hidden);
my @lines_with = grep { /$pattern/ } split /\n/, $log;
is(scalar @lines_with, 0, 'no such password is in the server log') or diag(join "\n", @lines_with[ 0 .. ($#lines_with > 12 ? 12 : $#lines_with) ]);
unlike($shown, qr/$pattern/, 'nor in pg_stat_activity') or diag($shown);
is(join("\n", grep { /$pattern/ } split /\n/, $statements), '', 'nor in pg_stat_statements');
unlike($statements, qr/SCRAM-SHA-256\$\d/, 'nor a verifier');
$pattern = join '|', @words, map { quotemeta } grep { length > 6 } @weak;
@lines_with = grep { /$pattern/i } split /\n/, $log;
is(scalar @lines_with, 0, 'nor any other of this test') or diag(join "\n", @lines_with[ 0 .. ($#lines_with > 12 ? 12 : $#lines_with) ]);
is(join("\n", grep { /$pattern/i } split /\n/, $statements), '', 'there neither');
like($log, qr/SELECT \?/, 'what is not about passwords is logged, without literals');

# ---- the calendar ----

SKIP:
{
	my $library = (glob '/usr/lib/*/faketime/libfaketime.so.1')[0] // '';
	skip 'faketime is not installed', 10 if $library eq '';
	$node->append_conf('postgresql.conf', "courier_pii.password_min_age = 1\n");
	my $at = sub {
		my ($days) = @_;
		$node->stop if $node->safe_psql('postgres', 'SELECT 1', on_error_die => 0);
		local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME => "+${days}d", FAKETIME_DONT_FAKE_MONOTONIC => 1);
		system('pg_ctl', '-w', '-s', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=passwords', 'start') == 0
		  or die 'the server does not start';
		$node->_update_pid(1);
	};
	my $ninth = fresh();
	query_as($node, 'person_9', change('NULL', "'$ninth'"));
	$at->(2);
	my $later = fresh();
	is(error_as($node, 'person_9', change("'$ninth'", "'$later'")), '', 'two days later it can be changed');
	is(error_as($node, 'person_9', change("'$later'", "'" . fresh() . "'")), '55000', 'once');
	$at->(31);
	is(error_as($node, 'person_9', 'TABLE public.parcel'), '', 'before a month has passed');
	$at->(34);
	is(error_as($node, 'person_9', 'TABLE public.parcel'), '', 'after a month, in the days of grace');
	$at->(36);
	is(error_as($node, 'person_9', 'TABLE public.parcel'), '28P01', 'then nothing else is possible');
	is(error_as($node, 'person_9', 'SELECT 1'), '', 'but to log in');
	is(error_as($node, 'person_9', change("'$later'", "'" . fresh() . "'")), '', 'and to change it');
	is(error_as($node, 'person_9', 'TABLE public.parcel'), '', 'then all is well');
	is(error_as($node, 'application', 'TABLE public.parcel'), '', "a role of nobody's has no age");
	is(error_as($node, 'chen_accounts', 'SELECT 1'), '', 'who has no password has none to change');
}

$node->stop;
done_testing();
