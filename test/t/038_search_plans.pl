
# Every search finds what the same search in clear text finds, whatever the
# plan: random queries over a plain table and over protected copies of it, with
# indexes on search tags, with indexes on the sealed values, with both and with
# none, on the tables and through masked views, with kinds of scan and join
# switched off, as literals, as parameters of custom and of generic plans.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $SEED = $ENV{COURIER_PII_SEED} // 20261130;
my $QUERIES = $ENV{COURIER_PII_QUERIES} // 100;
srand $SEED;

my $db = $CourierPii::DATABASE;
my $node = CourierPii->new_node('plans', conf => "autovacuum = off\nfsync = off\njit = off\nparallel_setup_cost = 0\nparallel_tuple_cost = 0\nmin_parallel_table_scan_size = 0\nmin_parallel_index_scan_size = 0\nmax_parallel_workers_per_gather = 0\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

# ---- the same rows five times ----

my @phones = map { sprintf '138%08d', $_ * 7 } 1 .. 120;
my @names = map { "王小$_" } 1 .. 40;
my $tables = q{
	CREATE TABLE person (id int PRIMARY KEY, phone text, other text, name text, state text);
	CREATE TABLE parcel (id int, phone text, other text, person int, kind int NOT NULL, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
	CREATE TABLE parcel_1 PARTITION OF parcel FOR VALUES IN (1);
	CREATE TABLE parcel_2 PARTITION OF parcel FOR VALUES IN (2, 3) PARTITION BY RANGE (id);
	CREATE TABLE parcel_2a PARTITION OF parcel_2 FOR VALUES FROM (1) TO (500);
	CREATE TABLE parcel_2b PARTITION OF parcel_2 FOR VALUES FROM (500) TO (10000);
	CREATE TABLE parcel_rest PARTITION OF parcel DEFAULT;
	CREATE TABLE few (id int PRIMARY KEY, phone text, other text);
};
my $phone = q{CASE WHEN hashint4(i * 3 + %d) % 17 <> 0 THEN '138' || lpad(((abs(hashint4(i + %d)) % 120 + 1) * 7)::text, 8, '0') END};

# rows from the first number to the second; "few" has few of them
sub rows
{
	my ($from, $to) = @_;
	return sprintf(qq{
		INSERT INTO person SELECT i, $phone, $phone, '王小' || abs(hashint4(i + 9)) %% 40 + 1, CASE i %% 10 WHEN 0 THEN 'new' ELSE 'old' END FROM generate_series($from, $to) i;
		INSERT INTO parcel SELECT i, $phone, $phone, abs(hashint4(i + 5)) %% 900 + 1, i %% 5 + 1 FROM generate_series(2 * $from, 2 * $to - 1) i;
		INSERT INTO few SELECT i, $phone, $phone FROM generate_series($from / 60, $to / 60) i;
	}, 1, 100, 2, 200, 3, 300, 4, 400, 5, 500, 6, 600);
}
# plain indexes become indexes on search tags; the others stay what they are
my $plain_indexes = q{
	CREATE INDEX ON person (phone); CREATE INDEX ON person (other); CREATE INDEX ON person (name);
	CREATE INDEX ON person (phone) WHERE state = 'new';
	CREATE INDEX ON parcel (phone); CREATE INDEX ON parcel (other); CREATE INDEX ON parcel_2b (phone); CREATE INDEX ON few (phone);
};
my $other_indexes = q{
	CREATE INDEX ON person (phone, id); CREATE INDEX ON person (other) INCLUDE (state); CREATE INDEX ON person USING hash (name);
	CREATE INDEX ON parcel (phone, kind); CREATE INDEX ON few (phone, other);
};
my $protect = q{
	SELECT courier_pii.protect_columns('person', '{"phone": "phone", "other": "phone", "name": "person_name"}'),
		courier_pii.protect_columns('parcel', '{"phone": "phone", "other": "phone"}'),
		courier_pii.protect_columns('few', '{"phone": "phone", "other": "phone"}');
};
my $late_indexes = q{
	CREATE INDEX ON person (courier_pii.search_tag(other)) WHERE phone IS NOT NULL;
	CREATE INDEX ON parcel (courier_pii.search_tag(other), id);
};
my %made = (plain => $plain_indexes . $other_indexes, tagged => $plain_indexes . $protect . $late_indexes, sealed => $other_indexes . $protect,
	mixed => $plain_indexes . $other_indexes . $protect . $late_indexes, bare => $protect);
# values of two epochs have the same tags
$node->safe_psql($db, "CREATE SCHEMA $_; SET search_path = $_; $tables @{[ rows(1, 599) ]} $made{$_}") foreach sort keys %made;
$node->safe_psql($db, q{SELECT courier_pii.new_epoch('phone'), courier_pii.new_epoch('person_name')});
$node->safe_psql($db, "SET search_path = $_; @{[ rows(600, 800) ]}") foreach sort keys %made;
$node->safe_psql($db, q{
	CREATE ROLE clerk LOGIN; CREATE SCHEMA viewed;
	SELECT courier_pii.grant_disclosure('clerk', class, 'clear', true) FROM unnest('{phone,person_name}'::text[]) class;
	SELECT courier_pii.set_limit('clerk', NULL, NULL, NULL), courier_pii.set_budget('clerk', 'probes', NULL, NULL, NULL);
	SELECT courier_pii.create_masked_view(t::regclass, 'viewed') FROM unnest('{mixed.person,mixed.parcel,mixed.few}'::text[]) t;
	GRANT USAGE ON SCHEMA plain, tagged, sealed, mixed, bare, viewed TO clerk;
	GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plain, tagged, sealed, mixed, bare, viewed TO clerk;
});
$node->safe_psql($db, 'VACUUM ANALYZE');
my @schemas = qw(tagged sealed mixed bare viewed);

# ---- random queries ----

sub one { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }

# a value is {text} or {text,text}: a literal or a parameter, as it is written out
sub a_phone { return chance(0.1) ? '13900000000' : one(@phones); }
sub value_of { return $_[0] eq 'name' ? one(@names) : a_phone(); }
sub literal { return '<' . value_of($_[0]) . '>'; }
sub array { my ($column) = @_; return '<{' . join(',', map { value_of($column) } 1 .. 1 + int rand 4) . '}>'; }

my %columns = (person => [qw(phone phone other name)], parcel => [qw(phone other)], few => [qw(phone other)]);
sub plain_condition
{
	my ($alias, $table) = @_;
	return "$alias.id < " . int(rand 900) if chance(0.5);
	return $table eq 'person' ? "$alias.state = 'new'" : $table eq 'parcel' ? "$alias.kind = " . (1 + int rand 5) : "$alias.id > 3";
}

# a condition on one table
sub condition
{
	my ($alias, $table, $depth) = @_;
	my $column = one(@{ $columns{$table} });
	my $c = "$alias.$column";
	my $kind = rand;

	if ($depth > 0 && $kind < 0.35)
	{
		my $op = chance(0.6) ? ' OR ' : ' AND ';
		return '(' . join($op, map { condition($alias, $table, $depth - 1) } 1 .. 2 + int rand 2) . ')';
	}
	return 'NOT ' . condition($alias, $table, $depth - 1) if $depth > 0 && $kind < 0.40;
	$kind = int rand 16;
	return "$c = " . literal($column) if $kind < 5;
	return literal($column) . " = $c" if $kind == 5;
	return "$c IN (" . join(', ', map { literal($column) } 1 .. 1 + int rand 4) . ')' if $kind == 6;
	return "$c = ANY (" . array($column) . ')' if $kind == 7;
	return "$c NOT IN (" . join(', ', map { literal($column) } 1 .. 1 + int rand 3) . ')' if $kind == 8;
	return "$c <> ALL (" . array($column) . ')' if $kind == 9;
	return "$c <> " . literal($column) if $kind == 10;
	return "$c IS " . one('', 'NOT ') . 'NULL' if $kind == 11;
	return "($c = " . literal($column) . ') IS ' . one('TRUE', 'NOT TRUE', 'NOT FALSE', 'UNKNOWN') if $kind == 12;
	return "CASE WHEN $alias.id < 300 THEN $c = " . literal($column) . " ELSE $c = " . literal($column) . ' END' if $kind == 13 ;
	return "$alias.phone = $alias.other" if $kind == 14;
	return plain_condition($alias, $table);
}

sub a_table { return one('person', 'parcel', 'parcel', 'few'); }
sub key { return one('phone', 'other'); }

# a query of numbers, and here and there of what is shown
sub query
{
	my ($s, $t, $u) = (a_table(), a_table(), one('person', 'parcel', 'few'));
	my ($k, $l, $m) = (key(), key(), key());
	my $kind = int rand 24;
	my $where = condition('a', $s, 2);
	my $narrow = condition('b', $t, 1);

	return "SELECT a.id, a.$k\::text FROM $s a WHERE $where" if $kind < 4;
	return "SELECT a.id FROM $s a WHERE $where AND " . plain_condition('a', $s) if $kind == 4;
	return "SELECT a.id FROM $s a WHERE $where ORDER BY a.id LIMIT " . (1 + int rand 9) if $kind == 5;
	return "SELECT a.id, b.id FROM $s a JOIN $t b ON b.$l = a.$k WHERE " . plain_condition('a', $s) . ' AND ' . condition('a', $s, 1) if $kind == 6;
	return "SELECT a.id, b.id, c.id FROM $s a JOIN few b ON b.$l = a.$k JOIN $u c ON c.$m = " . one("a.$k", "b.$l", 'b.phone') . ' AND a.id < 40' if $kind == 7;
	return "SELECT a.id, b.id FROM few a LEFT JOIN $t b ON b.$l = a.$k AND $narrow" if $kind == 8;
	return "SELECT a.id, b.id FROM (SELECT * FROM $s a WHERE a.id < 50) a FULL JOIN (SELECT * FROM $t b WHERE b.id < 60) b ON b.$l = a.$k" if $kind == 9;
	return "SELECT a.id FROM $s a WHERE " . one('', 'NOT ') . "EXISTS (SELECT FROM $t b WHERE b.$l = a.$k AND $narrow)" if $kind == 10;
	return "SELECT a.id FROM $s a WHERE a.$k IN (SELECT b.$l FROM $t b WHERE $narrow)" if $kind == 11;
	return "SELECT a.id FROM $s a WHERE a.$k NOT IN (SELECT b.$l FROM $t b WHERE b.$l IS NOT NULL AND $narrow)" if $kind == 12;
	return "SELECT a.id, (SELECT count(*) FROM $t b WHERE b.$l = a.$k) FROM $s a WHERE a.id < 30 OR $where ORDER BY 1 LIMIT 40" if $kind == 13;
	return "SELECT a.id, x.id FROM few a, LATERAL (SELECT b.id FROM $t b WHERE b.$l = a.$k OR b.$m = a.$k ORDER BY b.id LIMIT 3) x" if $kind == 14;
	return "SELECT v.n, b.id FROM (VALUES (1, " . literal('phone') . '::text), (2, ' . literal('phone') . "), (3, NULL)) v (n, p) LEFT JOIN $t b ON b.$l = v.p" if $kind == 15;
	return "SELECT a.id FROM $s a WHERE $where UNION" . one('', ' ALL') . " SELECT b.id FROM $t b WHERE $narrow" if $kind == 16;
	return "SELECT count(*), count(DISTINCT a.$k), min(a.id) FROM $s a WHERE $where" if $kind == 17;
	return "WITH w AS " . one('', 'MATERIALIZED ') . "(SELECT a.id, a.$k AS p FROM $s a WHERE $where) SELECT w.id, b.id FROM w JOIN $t b ON b.$l = w.p WHERE w.id < 80" if $kind == 18;
	return "WITH RECURSIVE r (id, p, depth) AS (SELECT a.id, a.other, 1 FROM few a UNION SELECT b.id, b.other, r.depth + 1 FROM r JOIN $t b ON b.phone = r.p WHERE r.depth < 3 AND b.id < 200) SELECT id, depth FROM r" if $kind == 19;
	return 'UPDATE ' . one('person', 'parcel', 'few') . ' a SET id = a.id WHERE a.phone = ' . literal('phone') . ' OR a.other IN (' . literal('phone') . ', ' . literal('phone') . ') RETURNING a.id' if $kind == 20;
	return "UPDATE $s a SET id = a.id FROM (SELECT DISTINCT b.$l AS p FROM few b) b WHERE b.p = a.$k AND $where RETURNING a.id" if $kind == 21;
	return "SELECT a.id FROM $s a WHERE $where FOR UPDATE" if $kind == 22;
	return "DELETE FROM $s a WHERE $where AND a.id < 500 RETURNING a.id" if chance(0.5);
	return "DELETE FROM $s a USING few b WHERE b.$l = a.$k AND a.id < 400 RETURNING a.id";
}

# ---- the same in all ways ----

my @ways = (qw(enable_seqscan enable_indexscan enable_bitmapscan enable_hashjoin enable_mergejoin enable_nestloop
	enable_material enable_memoize enable_hashagg enable_sort enable_indexonlyscan),
	'enable_partitionwise_join = on', 'enable_partitionwise_aggregate = on', 'max_parallel_workers_per_gather = 1');

sub statements
{
	my ($query, $schema, $n, $way, $form) = @_;
	my @values;
	my $as = $form eq 'cast' ? sub { my ($v) = @_; return $v =~ /^\{/ ? "'$v'::text[]" : "'$v'::text" } :
		$form eq 'literal' ? sub { return "'$_[0]'" } :
		sub { my ($v) = @_; push @values, $v; return '$' . scalar @values . ($form !~ /text/ ? '' : $v =~ /^\{/ ? '::text[]' : '::text') };
	$query =~ s/<([^>= ][^>]*)>/$as->($1)/ge;
	my $sql = "BEGIN; SET LOCAL search_path = $schema;\n" . join('', map { "SET LOCAL $_;\n" } @$way);
	if (@values)
	{
		$sql .= 'SET LOCAL plan_cache_mode = ' . ($form =~ /generic/ ? 'force_generic_plan' : 'force_custom_plan') . ";\nPREPARE q AS $query;\n";
		$query = 'EXECUTE q (' . join(', ', map { "'$_'" } @values) . ')';
	}
	return "\\echo == $n\n$sql$query;\nROLLBACK;\n" . (@values ? "DEALLOCATE ALL;\n" : '');
}

# run a file of statements; the sorted results by number
sub results
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql($db, $sql, stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 600,
		connstr => login($node, 'clerk'), extra_params => [ '-v', 'VERBOSITY=terse' ]);
	my %result;
	my $n;
	foreach my $line (split /\n/, $out)
	{
		if ($line =~ /^== (\d+)$/) { $n = $1; $result{$n} = []; }
		else { push @{ $result{$n} }, $line; }
	}
	return (\%result, $err);
}

my @queries = map { query() } 1 .. $QUERIES;
my ($expected, $failed) = results(join '', map { statements($queries[$_], 'plain', $_, [], 'cast') } 0 .. $#queries);
is($failed, '', 'all queries can be asked of the plain tables');
my $found = grep { @{ $expected->{$_} } } keys %$expected;
cmp_ok($found, '>', $QUERIES * 0.6, "$found of $QUERIES find something");

my $asked = 0;
foreach my $schema (@schemas)
{
	my (@sql, @what);
	foreach my $q (0 .. $#queries)
	{
		# in a statement that writes, views show masks: all but searches compares these
		next if $schema eq 'viewed' && $queries[$q] =~ /^(?:UPDATE|DELETE)/ && $queries[$q] =~ /<> |NOT IN|[ab]\.\w+ = [ab]\.other|b\.\w+ = a\.|b\.p = /;
		foreach my $form (qw(literal cast), one('generic', 'custom'), one('text generic', 'text custom'))
		{
			my @way = map { $_ . (/=/ ? '' : ' = off') } grep { chance(0.25) } @ways;
			push @sql, statements($queries[$q], $schema, scalar @what, \@way, $form);
			push @what, [ $q, $form, join(', ', @way) ];
		}
	}
	my ($got, $errors) = results(join '', @sql);
	my $wrong = 0;
	foreach my $n (0 .. $#what)
	{
		my ($q, $form, $way) = @{ $what[$n] };
		my $right = join("\n", sort @{ $expected->{$q} });
		my $is = join("\n", sort @{ $got->{$n} // ['nothing'] });
		$asked++;
		next if $is eq $right;
		$wrong++;
		diag("$schema, $form, $way:\n$queries[$q]\nexpected " . substr($right, 0, 200) =~ s/\n/ /gr . "\ngot      " . substr($is, 0, 200) =~ s/\n/ /gr) if $wrong <= ($ENV{COURIER_PII_SHOWN} // 3);
	}
	is($errors, '', "$schema: no query is refused");
	is($wrong, 0, "$schema: all results are right");
}
note("$asked queries of seed $SEED");

$node->stop;
done_testing();
