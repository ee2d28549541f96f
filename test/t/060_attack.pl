
# Attacks: every protected cell holds a canary; every attack of
# test/attack/attacks.sql is tried by every role over the simple and the
# extended protocol, with text and binary results.  What comes back (rows,
# errors, notices, plans), the server log, the statistics, what others see of
# the session, dumps, the WAL and the files of the server are searched for
# canaries in many writings.  See test/attack/README.md.
#
# COURIER_PII_ATTACKS=full tries every attack as every role over every
# protocol; otherwise each attack and role meet over one of the three, in turn.

use strict;
use warnings;

use CourierPii;
use CourierPiiAttack;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $full = ($ENV{COURIER_PII_ATTACKS} // '') eq 'full';
my $only = $ENV{COURIER_PII_ATTACK};    # names of attacks, a pattern, for finding out
my @protocols = qw(simple extended binary);

my $node = CourierPii->new_node('attack',
	preload => 'pg_stat_statements',
	preload_after => 'auto_explain',
	conf => <<'EOC');
wal_level = logical
log_statement = 'all'
log_min_duration_statement = 0
log_parameter_max_length_on_error = -1
log_min_messages = notice
log_temp_files = 0
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_nested_statements = on
pg_stat_statements.track = all
track_activity_query_size = 16384
statement_timeout = 15s
lock_timeout = 3s
max_connections = 60
fsync = off
EOC
my $db = $CourierPii::DATABASE;
my $world = CourierPiiAttack->new($node);
my $super = $world->{super};
my $root = $world->client($super, 'simple');

# ---- the search itself works ----

my @cells = sort keys %{ $world->{cells} };
{
	my $some = $world->text('shipment.recv_name.1');
	my %written = (plain => $some, hex => unpack('H*', $some), digest => Digest::MD5::md5_hex($some),
		'UTF-16' => Encode::encode('UTF-16LE', Encode::decode('UTF-8', $some)),
		'base64' => encode_base64("1$some;2", ''), 'base64, other alignment' => encode_base64("12$some;", ''),
		percent => join('', map { sprintf '%%%02x', ord } split //, $some),
		'bytea' => join('', map { sprintf '\\%03o', ord } split //, $some),
		reversed => scalar reverse($some), 'one by one' => join("\n\0", split //, $some));
	foreach my $how (sort keys %written)
	{
		is(join(',', $world->leaks($written{$how}, undef)), 'shipment.recv_name.1', "found: $how");
	}
	is(join(',', $world->leaks($written{plain}, undef, 'shipment.recv_name.1')), '', 'typed ones are left out');
}

# everything is really there, for the one who may see it
sub whole
{
	my $clerk = $world->client('clerk', 'simple');
	$clerk->run("SELECT * FROM masked.$_") foreach 'shipment', 'contact';
	my $bytes = $clerk->taken;
	return scalar grep { index($bytes, $world->text($_)) < 0 } @cells;
}
is(whole(), 0, scalar(@cells) . ' canaries, all shown to a clerk');

# roles see what is theirs, so that finding nothing else means something
{
	my %expected = (courier => 12, service => 12);
	foreach my $role (sort keys %expected)
	{
		my $client = $world->client($role, 'simple');
		$client->run('SELECT * FROM masked.shipment');
		my $bytes = $client->taken;
		is(scalar(grep { /^shipment/ && $world->may($role, $_) && index($bytes, $world->text($_)) >= 0 } @cells),
			$expected{$role}, "$role is shown what the work needs");
	}
}
is(join(',', $world->leaks(slurp_file($node->logfile), undef)), '', 'nothing in the log after loading');

# ---- a person who leaves with open doors ----

my @leaving;
foreach my $protocol (@protocols)
{
	my $client = $world->client('departed', $protocol);
	$client->run($_) foreach 'BEGIN', 'DECLARE h CURSOR WITH HOLD FOR SELECT * FROM masked.shipment', 'COMMIT',
	  'PREPARE p AS SELECT * FROM masked.contact', 'BEGIN', 'DECLARE c CURSOR FOR SELECT recv_phone::text FROM masked.shipment';
	$client->run('FETCH 1 FROM c');
	cmp_ok(scalar(my @seen = $world->leaks($client->taken, undef)), '>', 0, "a clerk who will leave works ($protocol)");
	push @leaving, $client;
}
query_as($node, 'account', "SELECT courier_pii.depart('L1', reason => 'left')");
foreach my $client (@leaving)
{
	$client->run($_) foreach 'FETCH ALL FROM c', 'FETCH ALL FROM h', 'EXECUTE p', 'SELECT * FROM masked.shipment';
	is(join(',', $world->leaks($client->taken, undef)), '', "departed, number 60: open cursors ($client->{protocol})");
}

# ---- the attacks ----

my @attacks = CourierPiiAttack->read_attacks('test/attack/attacks.sql');
my %covered = map { $_ => 1 } 60, map { @{ $_->{numbers} } } @attacks;
is(join(' ', grep { !$covered{$_} } qw(2 3 5 6 8 9 11 12 14 15 17 18 20 21 23 24 26 27 29 30 32 33 35
	36 38 39 41 42 44 45 47 48 50 51 53 54 56 57 59 60 62)), '', scalar(@attacks) . ' attacks, every number of the list');
@attacks = grep { $_->{name} =~ /$only/ } @attacks if defined $only;

# whoever may search by telephone number, or reads the sealed table where
# equality is a counted search, is told by the documented oracle
my %searcher = map { $_ => 1 } 'service', 'clerk';

my $log_at = -s $node->logfile;
my $tried = 0;
my $answered = 0;
my %leaks;

# one attack by one role; a signature of what it was told
sub attempt
{
	my ($attack, $role, $protocol, $guess) = @_;
	my $places = $world->places($role);
	my %with = (%$places, guess => $guess // $places->{near}, self_name => $role);
	my %client;
	my $told = '';
	my $bytes = '';

	foreach my $step (@{ $attack->{steps} })
	{
		my ($as, $sql, $data) = @$step;
		foreach my $text ($sql, $data)
		{
			next unless defined $text;
			$text = $text =~ s/\{(\w+)\}/exists $with{$1} ? $with{$1} : "{$1}"/ger;
		}
		my $client = $client{$as} //= $world->client($as eq 'attacker' ? $role : $as, $protocol);
		my $answer = $client->run($sql, $data);
		$told .= "$answer->{state} " . join('|', @{ $answer->{rows} }) . "\n" if $as eq 'attacker';
		$answered++ if @{ $answer->{rows} };
	}
	# what administrators see of sessions that just did this
	$root->run('SELECT query FROM pg_stat_activity');
	my @but = defined $guess ? 'shipment.recv_phone.1' : ();
	my $cleared = $attack->{nothing} ? undef : $role;
	my %found = map { $_ => 'answer' } $world->leaks($client{attacker} ? $client{attacker}->taken : '', $cleared, @but);
	$found{$_} = 'activity' foreach $world->leaks($root->taken, undef);
	my $log = slurp_file($node->logfile, $log_at);
	$log_at += length $log;
	$found{$_} = 'log' foreach $world->leaks($log, undef);
	$leaks{"$role, $protocol"}{"$attack->{name}: $found{$_}"} = $_ foreach keys %found;
	$tried++;
	$told =~ s/\Q$with{guess}\E/guess/g;
	return $told;
}

my $turn = 0;
my @roles = (grep({ $_ ne 'clerk' } @CourierPiiAttack::ROLES), $super);
foreach my $role (@roles)
{
	my %oracle;
	($tried, $answered) = (0, 0);
	foreach my $attack (@attacks)
	{
		# a leaver cannot log in; once over each protocol is enough
		next if $role eq 'departed' && !$full && $attack->{name} ne 'plain reading';
		foreach my $protocol ($full ? @protocols : $protocols[ $turn++ % 3 ])
		{
			if ($attack->{oracle})
			{
				my $places = $world->places($role);
				my $true = attempt($attack, $role, $protocol, $places->{true});
				my $near = attempt($attack, $role, $protocol, $places->{near});
				$oracle{"$attack->{name}, $protocol"} = 1 if $true ne $near && !$searcher{$role};
			}
			else { attempt($attack, $role, $protocol); }
		}
	}
	$turn++;
	is(join('; ', map { my $p = $_; map { "$p: $_ ($leaks{$p}{$_})" } sort keys %{ $leaks{$p} } }
		  grep { /^\Q$role\E,/ } sort keys %leaks),
		'', "$role: $tried attempts, $answered answers with rows, nothing leaked");
	is(join('; ', sort keys %oracle), '', "$role: no oracle");
}
is(whole(), 0, 'the canaries are all still there');

# ---- dumps ----

foreach my $role (grep { $_ ne 'departed' } @roles)
{
	my %leaked;
	foreach my $options ([], $full ? ([ '-Fc', '-Z0' ], [ '--inserts', '--schema=app' ], [ '-t', 'masked.*' ]) : ())
	{
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'pg_dump', @$options, '-d', login($node, $role) ], '<', \undef, '>', \$out, '2>', \$err);
		$leaked{$_} = 1 foreach $world->leaks("$out\n$err", undef);
	}
	is(join(',', sort keys %leaked), '', "$role: dumps hold no clear text");
}

# ---- what is left on the server ----

my %left;
foreach my $what ('pg_stat_statements', 'pg_stats', 'pg_stats_ext', 'pg_stats_ext_exprs', 'pg_statistic',
	'pg_statistic_ext_data', 'pg_largeobject', 'pg_settings', 'pg_db_role_setting', 'pg_description',
	'pg_attrdef', 'pg_rewrite', 'pg_proc', 'pg_constraint', 'pg_replication_slots')
{
	$root->run("SELECT * FROM $what t");
	$left{"$what $_"} = 1 foreach $world->leaks($root->taken, undef);
}
flush_audit($node);
my $registers = $world->client('auditor', 'simple');
foreach my $what (split /\n/, $node->safe_psql($db,
		q{SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'courier_pii'::regnamespace AND relkind IN ('r', 'p', 'v')}))
{
	foreach my $client ($root, $registers)
	{
		$client->run("SELECT * FROM $what t");
		$left{"$what $_"} = 1 foreach $world->leaks($client->taken, undef);
	}
}
is(join(', ', sort keys %left), '', 'nothing in catalogs, statistics and registers');

$root->run('CHECKPOINT');
$node->stop;
my %seen;
my $files = 0;
foreach my $directory ($node->data_dir, $node->{courier_pii}{audit_directory})
{
	require File::Find;
	File::Find::find({ no_chdir => 1, wanted => sub {
		return unless -f $_ && -r _;
		$files++;
		my $bytes = slurp_file($_);
		my %texts = map { $_ => 1 } map { @{ $world->{cells}{$_}{texts} } } @cells;
		$world->{plain} //= do { my $any = join '|', map { quotemeta } keys %texts; qr/$any/ };
		$seen{ $_ =~ s/^\Q$directory\E//r } = 1 if $bytes =~ $world->{plain};
	} }, $directory);
}
is(join(' ', sort keys %seen), '', "no canary in any of $files files: tables, WAL, temporary files, audit spool");

done_testing();
