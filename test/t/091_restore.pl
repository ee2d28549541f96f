
# A dump holds the registers and no clear text; restored into an empty
# database it brings everything back but the audit trail.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('restore');
my $db = $CourierPii::DATABASE;
my $dump = $node->{courier_pii}{directory} . '/express.dump';
my $plain = $node->{courier_pii}{directory} . '/express.sql';

$node->safe_psql(
	$db, q{
	CREATE ROLE express_courier;
	CREATE ROLE courier_li LOGIN IN ROLE express_courier;
	CREATE ROLE courier_wang LOGIN IN ROLE express_courier;
	CREATE TABLE public.waybill (id int PRIMARY KEY, recv_phone text UNIQUE, courier_no text);
	INSERT INTO public.waybill VALUES (1, '13800138017', 'K1001'), (2, '13900139028', 'K1002');
	GRANT SELECT, UPDATE ON public.waybill TO express_courier;
	SELECT courier_pii.protect_column('public.waybill', 'recv_phone', 'phone');
	SELECT courier_pii.create_masked_view('public.waybill', move_grants => true);
	SELECT courier_pii.add_org('HQ', '总部', 'hq');
	SELECT courier_pii.add_org('SZ', '深圳分公司', 'branch', 'HQ');
	SELECT courier_pii.hire('K1001', '李强', 'courier_li', 'SZ', 'courier');
	SELECT courier_pii.hire('K1002', '王磊', 'courier_wang', 'SZ', 'courier');
	SELECT courier_pii.depart('K1002', reason => 'resigned');
	SELECT courier_pii.grant_disclosure('express_courier', 'phone', 'clear');
	SELECT courier_pii.set_limit('express_courier', 10, 20, 30);
	SELECT courier_pii.set_row_rule('public.waybill', 'express_courier', 'own',
		visible => '{courier_no = actor.staff_no}');
});

my $registers = q{
	SELECT code, parent FROM courier_pii.org_units ORDER BY code;
	SELECT staff_no, login_role, org, status, departed_at FROM courier_pii.staff ORDER BY staff_no;
	SELECT grantee, class, level, searchable FROM courier_pii.disclosures;
	SELECT grantee, per_statement, per_hour, per_day FROM courier_pii.limits;
	SELECT tbl, grantee, rule, visible FROM courier_pii.row_rules;
	SELECT view, tbl FROM courier_pii.masked_views;
	SELECT * FROM public.waybill ORDER BY id;
};
my $before = $node->safe_psql($db, $registers);

$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($db) ],
	'dump in custom format');
$node->command_ok([ 'pg_dump', '-f', $plain, '-d', $node->connstr($db) ],
	'dump as text');
unlike(slurp_file($plain), qr/13800138017|13900139028/, 'no clear text in the dump');

for my $kind ('custom format', 'text')
{
	$node->safe_psql('postgres', "DROP DATABASE $db WITH (FORCE)");
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->command_ok(
		$kind eq 'text'
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $plain, '-d', $node->connstr($db) ]
		: [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), $dump ],
		"restore of the dump in $kind");
	is($node->safe_psql($db, $registers), $before, 'registers and values are back');
	is(query_as($node, 'courier_li', 'TABLE masked.waybill'),
		'1|13800138017|K1001', 'a person is known and shown the same as before');
	is(error_as($node, 'courier_wang', 'SELECT 1'), 'PI005',
		'who had left is still refused');
	is(error_as($node, 'courier_li', q{UPDATE masked.waybill SET recv_phone = '13800138018' WHERE id = 1}),
		'', 'writing goes on');
	$node->safe_psql($db, q{SELECT courier_pii.hire('K1003', '陈', NULL, 'SZ', 'courier')});
	is($node->safe_psql($db, q{SELECT count(*) FROM courier_pii.staff}), '3', 'hiring goes on');
}

# in another cluster the roles have other object numbers; they are found by name
$node->safe_psql('postgres', qq{DROP DATABASE $db WITH (FORCE); });
$node->safe_psql('postgres', 'DROP ROLE courier_li; DROP ROLE courier_wang; CREATE ROLE somebody_else LOGIN');
$node->safe_psql('postgres', 'CREATE ROLE courier_wang LOGIN; CREATE ROLE courier_li LOGIN; GRANT express_courier TO courier_li');
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), $dump ], 'restore where roles have other numbers');
is($node->safe_psql($db, $registers), $before, 'registers and values are back');
my $known = '';
for (1 .. 600)
{
	# the worker reads the restored registers
	$known = query_as($node, 'courier_li', 'SELECT staff_no FROM courier_pii.actor');
	last if $known ne '';
	select undef, undef, undef, 0.1;
}
is($known, 'K1001', 'a person is known by the name of the role');
is(query_as($node, 'courier_li', 'TABLE masked.waybill'), '1|13800138017|K1001', 'and shown the same as before');
is(error_as($node, 'courier_wang', 'SELECT 1'), 'PI005', 'who had left is refused under the new number, too');
is(query_as($node, 'somebody_else', 'SELECT staff_no IS NULL FROM courier_pii.actor'), 't', 'others are nobody');

# a register that holds rows is not filled from outside
is( error_as(
		$node, $node->safe_psql('postgres', 'SELECT current_user'),
		qq{COPY courier_pii.org_register (code, name, kind) FROM stdin;\nX\tx\tx\n\\.\n}),
	'42501',
	'COPY into a register in use is refused');

done_testing();
