
# What courier_pii.posture finds: every line of it, on a server that is weak in
# all these ways, and none of them on one that is not.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('posture', conf => "max_prepared_transactions = 0\n");
my $db = $CourierPii::DATABASE;
my $super = $node->safe_psql($db, 'SELECT current_user');

sub posture
{
	my ($where) = @_;
	return $node->safe_psql($db, qq{SELECT severity, object, finding FROM courier_pii.posture WHERE $where ORDER BY object, finding});
}

# ---- a sound server ----

my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = slurp_file($hba);
sub set_hba
{
	my ($text) = @_;
	unlink $hba;
	$node->append_conf('pg_hba.conf', $text);
	$node->reload;
}
my $sound = "local all $super peer\nlocal all all scram-sha-256\nhost all all 10.0.0.0/8 reject\nhost all all 127.0.0.1/32 scram-sha-256\n";
$node->safe_psql($db, 'SELECT 1');
set_hba($sound);
my $trusted = $node->psql($db, 'SELECT 1') == 0;
SKIP:
{
	skip 'the peer method does not let this account in', 1 unless $trusted;
	is(posture(q{"check" = 'authentication'}), '', 'sound lines of pg_hba.conf are no finding');
}
set_hba($lines);
is(posture(q{"check" = 'setting' AND object NOT IN ('ssl', 'fsync', 'log_statement', 'courier_pii.sealed_export', 'courier_pii.unregistered_login', 'log_parameter_max_length')}), '',
	'nor are sound settings');
is(posture(q{"check" IN ('leaver', 'language', 'code')}), '', 'nor leavers, languages, code') or diag(posture(q{true}));
# what is to be said of versions is tested below; this server may be an old one
is($node->safe_psql($db, q{SELECT count(*) FROM courier_pii.posture WHERE "check" = 'version'}),
	$node->safe_psql($db, q{SELECT count(*) FROM courier_pii.version_findings(current_setting('server_version_num')::int, current_date)}),
	'nor a version that is not found old');
is(posture(q{"check" = 'grant'}), '', 'nor grants');

# ---- pg_hba.conf ----

set_hba("$lines
local all guest_trust trust
host all guest_md5 127.0.0.1/32 md5
hostssl all guest_password 10.0.0.0/8 password
host all guest_ident 127.0.0.1/32 ident
host all guest_plain 10.1.0.0/16 scram-sha-256
hostnossl all guest_nossl 10.2.0.0/16 scram-sha-256
host all guest_reject 10.3.0.0/16 reject
local all guest_wrong nonsense
");
my $found = posture(q{"check" = 'authentication'});
like($found, qr/^critical\|pg_hba.conf line \d+\|method trust for guest_trust from local$/m, 'trust');
like($found, qr/^high\|pg_hba.conf line \d+\|method md5 for guest_md5 from 127.0.0.1$/m, 'md5');
like($found, qr/^high\|pg_hba.conf line \d+\|method password for guest_password from 10.0.0.0$/m, 'password');
like($found, qr/^high\|pg_hba.conf line \d+\|method ident for guest_ident/m, 'ident');
like($found, qr/^high\|pg_hba.conf line \d+\|connections without TLS are let in from 10.1.0.0$/m, 'host without TLS');
like($found, qr/^high\|pg_hba.conf line \d+\|connections without TLS are let in from 10.2.0.0$/m, 'hostnossl');
unlike($found, qr/10\.3\.0\.0/, 'a line that rejects is none');
like($found, qr/^high\|pg_hba.conf line \d+\|the line is wrong: /m, 'a line that is wrong');
set_hba($lines);

# ---- settings ----

my %weak = (
	ssl => 'off', password_encryption => 'md5', log_statement => 'all', log_min_duration_statement => '0',
	log_parameter_max_length => '-1', log_parameter_max_length_on_error => '-1',
	session_replication_role => 'replica', zero_damaged_pages => 'on', fsync => 'off', allow_system_table_mods => 'on',
	'courier_pii.enforcement' => 'warn', 'courier_pii.audit_on_failure' => 'allow', 'courier_pii.audit_sync' => 'off',
	'courier_pii.unregistered_login' => 'allow', 'courier_pii.sealed_export' => 'record', 'courier_pii.password_prehashed' => 'allow',
	session_preload_libraries => 'auto_explain', max_prepared_transactions => '2');
$node->append_conf('postgresql.conf', join '', map { "$_ = '$weak{$_}'\n" } sort keys %weak);
$node->restart;
$found = posture(q{"check" = 'setting'});
like($found, qr/^(?:critical|high|medium|low)\|\Q$_\E\|/m, "setting $_ = $weak{$_}") for sort keys %weak;
like($found, qr/^critical\|courier_pii.enforcement\|/m, 'a switched-off protection is critical');
$node->append_conf('postgresql.conf', join '', map { "$_->[0] = '$_->[1]'\n" } (
	[ log_statement => 'mod' ], [ local_preload_libraries => '$libdir/plugins/none' ], [ session_preload_libraries => '' ],
	[ session_replication_role => 'origin' ], [ allow_system_table_mods => 'off' ], [ password_encryption => 'scram-sha-256' ],
	[ zero_damaged_pages => 'off' ], [ 'courier_pii.enforcement' => 'on' ], [ 'courier_pii.unregistered_login' => 'reject' ],
	[ log_min_duration_statement => '-1' ], [ local_preload_libraries => '' ]));
$node->restart;
$found = posture(q{"check" = 'setting'});
like($found, qr/^medium\|log_statement\|/m, 'setting log_statement = mod');
unlike($found, qr/\|$_\|/, "$_ is sound again") for qw(session_replication_role allow_system_table_mods password_encryption zero_damaged_pages courier_pii\.enforcement courier_pii\.unregistered_login session_preload_libraries);
$node->safe_psql($db, q{CREATE ROLE set_one; ALTER ROLE set_one SET row_security = off; ALTER DATABASE } . $db . q{ SET session_replication_role = 'replica'});
$found = posture(q{"check" = 'setting'});
like($found, qr/^high\|set_one\|sets row_security=off$/m, 'a setting of a role');
like($found, qr/^high\|database $db\|sets session_replication_role=replica$/m, 'a setting of a database');
$node->safe_psql($db, "ALTER DATABASE $db RESET session_replication_role");

# ---- roles, passwords, grants ----

$node->append_conf('postgresql.conf', "courier_pii.password_prehashed = 'allow'\ncourier_pii.unregistered_login = 'allow'\n");
$node->reload;
$node->safe_psql($db, q{
	CREATE ROLE strong_super LOGIN SUPERUSER; CREATE ROLE strong_rls LOGIN BYPASSRLS; CREATE ROLE strong_create LOGIN CREATEROLE;
	CREATE ROLE strong_copy LOGIN REPLICATION; CREATE ROLE hidden_rls BYPASSRLS; CREATE ROLE hidden_super SUPERUSER;
	CREATE ROLE member_one LOGIN PASSWORD 'member_one'; CREATE ROLE member_two LOGIN PASSWORD 'changeme';
	CREATE ROLE member_three LOGIN PASSWORD 'Vermilion-7-cactus-Umbrella';
	CREATE ROLE chen_accounts LOGIN; CREATE ROLE zheng_audit LOGIN;
	GRANT hidden_rls TO member_one; GRANT hidden_super TO member_two;
	SET password_encryption = 'md5'; CREATE ROLE member_md5 LOGIN PASSWORD 'Vermilion-7-cactus-Umbrella';
	GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO member_one; GRANT EXECUTE ON FUNCTION pg_catalog.lo_export(oid, text) TO PUBLIC;
	GRANT SET ON PARAMETER session_replication_role TO member_one; GRANT ALTER SYSTEM ON PARAMETER log_statement TO PUBLIC;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts')});
my @groups = qw(pg_execute_server_program pg_write_server_files pg_read_server_files pg_read_all_data pg_write_all_data
  pg_monitor pg_read_all_stats pg_read_all_settings pg_signal_backend);
$node->safe_psql($db, "GRANT $_ TO member_three") for @groups;
query_as($node, 'chen_accounts', q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL), courier_pii.hire('P1', 'Person 1', 'member_three', 'HQ', 'courier')});
$node->safe_psql($db, q{
	CREATE ROLE reads_past LOGIN; CREATE ROLE reads_plain LOGIN;
	CREATE TABLE public.past (id int, phone courier_pii.phone); CREATE VIEW public.past_raw AS SELECT phone FROM public.past;
	GRANT SELECT (phone) ON public.past TO reads_past; GRANT SELECT ON public.past_raw TO reads_past; GRANT SELECT (id) ON public.past TO reads_plain});
$found = posture(q{"check" = 'grant'});
like($found, qr/^medium\|reads_past\|reads sealed values past the masked views, in public\.past and 1 more: once the duties are sealed, /m, 'reads past the views');
unlike($found, qr/reads_plain/, 'plain columns are none of that');
unlike($found, qr/strong_super\|reads|member_three\|reads/, 'nor do those appear who read everything');
$found = posture(q{"check" = 'role'});
like($found, qr/^high\|strong_super\|may log in with SUPERUSER$/m, 'SUPERUSER');
like($found, qr/^medium\|strong_rls\|may log in with BYPASSRLS$/m, 'BYPASSRLS');
like($found, qr/^medium\|strong_create\|may log in with CREATEROLE$/m, 'CREATEROLE');
like($found, qr/^medium\|strong_copy\|may log in with REPLICATION$/m, 'REPLICATION');
like($found, qr/^medium\|member_one\|may become hidden_rls, which has BYPASSRLS$/m, 'BYPASSRLS through SET ROLE');
like($found, qr/^high\|member_two\|may become hidden_super, which has SUPERUSER$/m, 'SUPERUSER through SET ROLE');
like($found, qr/^medium\|zheng_audit\|login that nobody/m, 'a login outside of the register');
unlike($found, qr/\|member_three\|login that nobody/, 'a person\'s login is none');
$found = posture(q{"check" = 'password'});
like($found, qr/^critical\|member_one\|is the name of the role/m, 'a password that is the name of the role');
like($found, qr/^critical\|member_two\|/m, 'a default password');
like($found, qr/^high\|member_md5\|stored as MD5$/m, 'a password stored as MD5');
like($found, qr/^low\|zheng_audit\|has no password$/m, 'no password');
unlike($found, qr/\|member_three\|/, 'a good password is no finding');
$found = posture(q{"check" = 'grant'});
like($found, qr/^(?:high|medium)\|member_three\|is a member of $_$/m, "member of $_") for @groups;
like($found, qr/^high\|member_one\|may execute pg_read_file\(text\)$/m, 'a function that reads files');
like($found, qr/^high\|PUBLIC\|may execute lo_export\(oid,text\)$/m, 'a function that writes files, for everybody');
like($found, qr/^high\|member_one\|may SET session_replication_role$/m, 'a setting');
like($found, qr/^high\|PUBLIC\|may ALTER SYSTEM log_statement$/m, 'a setting of the server');
SKIP:
{
	my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
	skip 'no untrusted language is installed', 1 unless -f "$sharedir/extension/plperlu.control" || -f "$sharedir/extension/plpython3u.control";
	my $language = -f "$sharedir/extension/plperlu.control" ? 'plperlu' : 'plpython3u';
	skip "$language cannot be created", 1 if $node->psql($db, "CREATE EXTENSION $language") != 0;
	like(posture(q{"check" = 'language'}), qr/^high\|$language\|/m, 'an untrusted language');
}

# ---- the extension itself ----

$found = posture(q{"check" IN ('duty', 'limit')});
like($found, qr/^high\|pii_auditor\|nobody of the staff register holds it$/m, 'a duty that no person holds');
like($found, qr/^high\|set-up\|the duties are not sealed$/m, 'duties not sealed');
$node->safe_psql($db, q{SELECT courier_pii.set_limit('member_three', NULL, 100, 1000)});
like(posture(q{"check" = 'limit'}), qr/^medium\|member_three\|/m, 'a limit that is not set');

# ---- code of others with a superuser's rights ----

$node->safe_psql($db, q{
	CREATE ROLE code_owner; CREATE ROLE table_owner; CREATE SCHEMA desk; GRANT ALL ON SCHEMA desk TO code_owner, table_owner;
	SET search_path = desk;
	CREATE FUNCTION sound(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE TABLE sound (id int PRIMARY KEY, phone courier_pii.phone, remark text CHECK (sound(remark)));
	CREATE TABLE plain (id int PRIMARY KEY, remark text);
	CREATE TABLE parcel (id int, phone courier_pii.phone, made date, PRIMARY KEY (id, made)) PARTITION BY RANGE (made);
	CREATE TABLE parcel_1 PARTITION OF parcel FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
	CREATE TABLE theirs (id int PRIMARY KEY, phone courier_pii.phone); ALTER TABLE theirs OWNER TO table_owner;
	SELECT courier_pii.create_masked_view(t, 'desk_view') FROM unnest('{sound,parcel,theirs}'::regclass[]) t});
is(posture(q{"check" = 'code'}), '', 'tables of superusers that call their own code, and tables of others, are no finding');
$node->safe_psql($db, q{
	SET search_path = desk; SET ROLE code_owner;
	CREATE FUNCTION by_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE FUNCTION by_definer() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE FUNCTION by_check(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION by_default() RETURNS text LANGUAGE sql AS $s$SELECT ''$s$;
	CREATE FUNCTION by_index(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION by_statistics(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION by_policy(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION by_operator(int, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = text, FUNCTION = by_operator);
	CREATE FUNCTION by_domain(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE DOMAIN small AS int CHECK (by_domain(VALUE)); CREATE TYPE carton AS (size small[]);
	RESET ROLE;
	CREATE TRIGGER t BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION by_trigger();
	CREATE TRIGGER t BEFORE INSERT ON parcel_1 FOR EACH ROW EXECUTE FUNCTION by_trigger();
	CREATE TRIGGER d BEFORE INSERT ON sound FOR EACH ROW EXECUTE FUNCTION by_definer();
	ALTER TABLE sound ADD CHECK (by_check(remark)), ADD CHECK (id ~~~ remark), ALTER COLUMN remark SET DEFAULT by_default(), ADD COLUMN carton carton;
	CREATE INDEX ON sound (by_index(id)); CREATE STATISTICS s ON id, (by_statistics(id)) FROM sound;
	CREATE POLICY p ON sound USING (by_policy(id));
	ALTER VIEW desk_view.theirs OWNER TO } . qq{"$super"});
is(posture(q{"check" = 'code'}),
	"high|desk.parcel_1|writing it calls code of code_owner with a superuser's rights: desk.by_trigger()\n"
	. "high|desk.sound|writing it calls code of code_owner with a superuser's rights: "
	. join(', ', map { "desk.by_$_" } ("check(text)", "default()", "domain(integer)", "index(integer)", "operator(integer,text)", "policy(integer)", "statistics(integer)")) . "\n"
	. "high|desk_view.theirs|writes desk.theirs with a superuser's rights, to which table_owner may add code",
	'what writes of a superuser\'s tables and views call');

# ---- the version ----

sub version
{
	my ($number, $day) = @_;
	return $node->safe_psql($db, "SELECT severity, finding FROM courier_pii.version_findings($number, '$day')");
}
is(version(150019, '2026-11-22'), 'high|has known security holes', 'an old minor version');
is(version(150020, '2026-11-22'), '', 'the newest known one');
is(version(150021, '2027-03-01'), '', 'a newer one than known');
is(version(190000, '2027-03-01'), '', 'a newer major version');
is(version(150020, '2027-02-17'), '', 'less than a week after a planned release');
is(version(150020, '2027-02-18'), 'low|security releases after 2026-11-12 are not known here', 'a planned release has passed: the list says that it is old');
is(version(150025, '2027-11-12'), 'high|gets no more fixes since 2027-11-11', 'a major version at its end');
is(version(180006, '2026-11-22'), 'high|has known security holes', 'of version 18, too');
$node->safe_psql($db, q{SELECT courier_pii.set_safe_minor_version(15, 21, '2027-02-11'), courier_pii.set_safe_minor_version(16, 3, '2024-05-09'), courier_pii.set_safe_minor_version(19, 1, '2026-11-12')});
is(version(150020, '2027-02-18'), 'high|has known security holes', 'a release that was entered counts');
is(version(150021, '2027-02-18'), '', 'with its day');
is(version(160015, '2026-11-22'), 'high|has known security holes', 'an older one than known does not');
is(version(190000, '2026-11-22'), 'high|has known security holes', 'of a major version that was not known');
is(error_as($node, $super, q{SELECT courier_pii.set_safe_minor_version(14, 1, '2026-11-12')}), '22023', 'no such version');
is(error_as($node, $super, q{SELECT courier_pii.set_safe_minor_version(15, 30, 'infinity')}), '22023', 'no such day');
is(error_as($node, 'chen_accounts', q{SELECT courier_pii.set_safe_minor_version(15, 0, '2026-11-12')}), '42501', 'for the security administrator only');
is(error_as($node, $super, q{DELETE FROM courier_pii.minor_version_register}), '42501', 'and by the function only');

$node->stop;
done_testing();
