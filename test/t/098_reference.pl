
# The examples of doc/reference.md: every block marked "sql run" runs without
# error, in the order of the page, as a superuser or as the person named.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 'doc/reference.md';
my $node = CourierPii->new_node('reference');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

open my $in, '<:raw', $page or die "$page: $!";
my ($role, $sql, $first);
my $blocks = 0;
while (my $line = <$in>)
{
	if (!defined $role)
	{
		if ($line =~ /^```sql run(?: as (\w+))?$/)
		{
			($role, $sql, $first) = ($1 // $superuser, '', $. + 1);
		}
		elsif ($line =~ /^```sql/)
		{
			fail("$page line $.: an example of SQL that is not run");
		}
	}
	elsif ($line =~ /^```$/)
	{
		my ($state, $message) = error_as($node, $role, $sql);
		is($state, '', "example at line $first runs as $role")
		  or diag($message);
		undef $role;
		$blocks++;
	}
	else
	{
		$sql .= $line;
	}
}
close $in;
ok(!defined $role, 'the last example is closed');
cmp_ok($blocks, '>', 20, 'the page has examples');

# what the examples say about themselves
is( query_as(
		$node, 'service_zhao',
		q{SELECT recv_name, recv_phone FROM masked.waybill WHERE id = 1}),
	'林**|13800138017',
	'customer service sees the phone and a masked name');
is( query_as(
		$node, 'courier_li',
		q{SELECT id, recv_name, recv_phone, recv_addr FROM masked.waybill}),
	'1|林小雨|13800138017|广东省深圳市南山区****',
	'the courier sees the one parcel of today');
is(query_as($node, $superuser, 'SELECT count(*) FROM masked.waybill'),
	'0', 'a superuser has no row rule and sees no row');

done_testing();
