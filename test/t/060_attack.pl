
# Attacks: every protected cell holds a canary; every attack of
# test/attack/attacks.sql is tried by every role, and nothing that comes back
# (rows, errors, notices, plans, statistics), nor the server log, nor any file
# of the data directory, may hold a canary, written forwards, backwards, in hex
# or in base64.
#
# Known limits of this version, which are not tested as failures:
# * a literal that the attacker typed stands in the log and in pg_stat_activity
#   as any literal does;
# * a person's own clear level holds in functions of others that the person
#   calls: who may see clear text and calls a stranger's function shows it to
#   that function.

use strict;
use warnings;

use CourierPii;
use CourierPiiSample;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROWS = 40;
my $node = CourierPii->new_node('attack',
	conf => "log_statement = 'none'\nlog_min_messages = notice\n"
	  . "log_min_duration_statement = -1\n");
my $db = $CourierPii::DATABASE;
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

load_sample($node, rows => $ROWS);
$node->safe_psql($db, q{
	GRANT CREATE ON SCHEMA public TO PUBLIC;
	GRANT CREATE ON DATABASE express TO app_owner;
	-- members of a role that sees everything, by SET ROLE only or not at all
	CREATE ROLE mixed LOGIN;
	GRANT analyst TO mixed;
	-- a view of the owner and one of a clerk, given to everybody
	SET ROLE app_owner;
	CREATE VIEW app.owners_view AS SELECT * FROM app.shipment;
	CREATE VIEW app.owners_text AS SELECT id, recv_phone::text AS recv_phone FROM app.shipment;
	GRANT SELECT ON app.owners_view, app.owners_text TO PUBLIC;
	RESET ROLE;
	SET ROLE clerk;
	CREATE VIEW public.clerks_view AS SELECT * FROM masked.shipment;
	GRANT SELECT ON public.clerks_view TO PUBLIC;
	CREATE FUNCTION public.clerks_function() RETURNS SETOF text
		LANGUAGE sql SECURITY DEFINER AS 'SELECT recv_phone::text FROM masked.shipment';
	CREATE MATERIALIZED VIEW public.clerks_copy AS SELECT * FROM masked.shipment;
	GRANT SELECT ON public.clerks_copy TO PUBLIC;
	RESET ROLE;
	VACUUM ANALYZE app.shipment;
	ANALYZE public.clerks_copy;
});

# name, tables and columns are told by the roles' own rights; an attack may be
# refused or give masks, both are good
my %attacks;
{
	my $text = slurp_file('test/attack/attacks.sql');
	my $name;
	foreach my $line (split /\n/, $text)
	{
		if ($line =~ /^-- attack: (.*)$/) { $name = $1; next; }
		next if $line =~ /^--/ || !defined $name;
		$attacks{$name} .= "$line\n";
	}
}
cmp_ok(scalar keys %attacks, '>=', 60, scalar(keys %attacks) . ' attacks');

# rows whose clear text the role may see: a courier's own tasks, three columns
my %own = map { $_ => 1 } grep { $_ % 3 == 0 } 1 .. $ROWS;
my @all = 1 .. $ROWS;
my @strange = grep { !$own{$_} } @all;

# canaries in the bytes that the role may not see
sub strange_canaries
{
	my ($role, $bytes) = @_;
	# service sees phones: they are taken out first, in every writing
	if ($role eq 'service')
	{
		require MIME::Base64;
		foreach my $n (@all)
		{
			my $phone = (canaries($n))[2];
			foreach my $form ($phone, scalar reverse($phone), unpack('H*', $phone),
				MIME::Base64::encode_base64($phone, ''))
			{
				$bytes =~ s/\Q$form\E/ /g;
			}
		}
	}
	return found_canaries($bytes, $role eq 'courier' ? @strange : @all);
}

# the search itself works: who may see the canaries gets them
cmp_ok(scalar found_canaries(query_as($node, 'clerk', 'SELECT * FROM masked.shipment'), @all),
	'>=', 7 * $ROWS, 'a clerk is shown every canary');

foreach my $role ('courier', 'service', 'analyst', 'mixed', 'outsider', 'reader', 'app_owner', $superuser)
{
	my %leaks;
	my $tried = 0;
	my $worked = 0;
	my $log_at = -s $node->logfile;

	foreach my $name (sort keys %attacks)
	{
		my ($out, $err) = ('', '');
		my $sql = $attacks{$name};
		# a fresh session for each; later statements run after errors
		$node->psql($db, $sql,
			stdout => \$out, stderr => \$err, on_error_stop => 0,
			connstr => login($node, $role), timeout => 60,
			extra_params => [ '-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=always' ]);
		$tried++;
		$worked++ if length $out;

		my @found = strange_canaries($role, "$out\n$err");
		$leaks{$name} = $found[0] if @found;
	}
	is(join(', ', map { "$_ ($leaks{$_})" } sort keys %leaks), '',
		"$role: $tried attacks, $worked gave output, no canary");
	# errors of a role go to the log with what that role may see
	my @logged = strange_canaries($role, slurp_file($node->logfile, $log_at));
	is(scalar @logged, 0, "$role: no canary in the server log");
}

# what is left on the server
is($node->safe_psql($db, q{
	SELECT count(*) FROM pg_stats WHERE schemaname IN ('app', 'public')
	AND (most_common_vals::text ~ '139[0-9]{8}' OR histogram_bounds::text ~ '139[0-9]{8}')}),
	'0', 'no phone in pg_stats');
$node->safe_psql($db, 'VACUUM FULL; CHECKPOINT');
$node->stop;

# The rows were loaded as plain text before they were protected, so their WAL of
# that time is no leak of the extension; files of tables are.
my %seen;
foreach my $directory ('base', 'global', 'pg_xact', 'pg_stat', 'pg_logical')
{
	my $path = $node->data_dir . "/$directory";
	next unless -d $path;
	$seen{$_} = 1 foreach grep_files($path, canaries(@all));
}
is(join(' ', sort keys %seen), '', 'no canary in a file of the tables');
is(join(' ', grep_files($node->{courier_pii}{audit_directory}, canaries(@all))), '',
	'no canary in the audit spool');

done_testing();
