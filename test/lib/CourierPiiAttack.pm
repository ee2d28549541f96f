
=pod

=head1 NAME

CourierPiiAttack - a courier database full of canaries, and a search for them

=head1 SYNOPSIS

  my $world  = CourierPiiAttack->new($node);            # tables, roles, canaries
  my @leaks  = $world->leaks($bytes, 'courier');        # names of cells, never their texts
  my $client = $world->client('courier', 'binary');
  my $answer = $client->run('SELECT ...');              # { state, rows }
  my $bytes  = $client->taken;                          # all that came since the last call

=head1 DESCRIPTION

Every protected cell holds a random text made for this run, in a plain and in a
partitioned table, of every class and one of the company's own.  What a class's
mask may show (a surname, the last digits) is outside the random part.

Cells are loaded after the columns were protected, so that not even the WAL may
hold one of the texts.

=cut

package CourierPiiAttack;

use strict;
use warnings;
use utf8;

use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha1_hex sha256_hex sha256_base64 sha512_hex);
use Encode qw(encode encode_utf8);
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;

our $ROWS = 12;    # of app.shipment
our $CONTACTS = 4;    # of app.contact
our @ROLES = qw(app_owner clerk courier service analyst mixed nobody reader
  auditor security pooled departed);
# who makes it possible to seal the duties, and attacks nothing
our @WATCHERS = qw(security_2 account);

# ---- canaries ----

sub _digits { return join '', map { int rand 10 } 1 .. shift }
sub _letters { return join '', map { chr(97 + int rand 26) } 1 .. shift }
sub _han { return join '', map { chr(0x4E00 + int rand 0x51A0) } 1 .. shift }

# maker of each class: what is before, the random part that no mask shows, what is after
my %maker = (
	person_name => sub { ('张', _han(3), '') },
	phone => sub { ('139', '4' . _digits(5), _digits(2)) },
	address => sub { ('广东省深圳市南山区', _han(4) . '路' . (1000 + int rand 9000) . '号', '') },
	id_number => sub { ('4', '40305' . '19' . (50 + int rand 49) . '0' . (1 + int rand 9) . (10 + int rand 18) . _digits(3), _digits(1)) },
	unit_name => sub { ('深圳市', _han(5), '有限公司') },
	waybill_no => sub { ('SF', _digits(9), _digits(4)) },
	item => sub { ('', _letters(14), '') },
	note => sub { ('', 'remark ' . _letters(14), '') },
	email => sub { ('q', _letters(12), '@example.org') },
	account_no => sub { ('', '62' . _digits(11), _digits(4)) },
	plate => sub { ('粤B', _letters(10), 'Z') });

my @shipment = ([ 'waybill_no', 'waybill_no' ], [ 'recv_name', 'person_name' ],
	[ 'recv_phone', 'phone' ], [ 'recv_addr', 'address' ],
	[ 'recv_id', 'id_number' ], [ 'remark', 'note' ]);
my @contact = map { [ "c_$_", $_ ] } sort keys %maker;

# the random part alone is long enough to be unmistakable, except of phones,
# where the digits before and after belong to what is looked for
sub _texts
{
	my ($class, $before, $secret, $after) = @_;
	my @texts = ("$before$secret$after");
	push @texts, $secret if $class ne 'phone';
	return map { encode_utf8($_) } @texts;
}

# one text in every writing that an attacker may choose
sub writings
{
	my ($text) = @_;
	my $characters = Encode::decode('UTF-8', $text);
	my %form = map { $_ => 1 } ($text, scalar reverse($text),
		encode_utf8(scalar reverse $characters));
	my $hex = unpack 'H*', $text;

	$form{$_} = 1 foreach ($hex, uc $hex, unpack('H*', scalar reverse $text),
		md5_hex($text), sha1_hex($text), sha256_hex($text), sha512_hex($text),
		sha256_base64($text), encode_base64(pack('H*', md5_hex($text)), ''),
		unpack('H*', encode('UTF-16BE', $characters)));
	foreach my $offset (0 .. 2)
	{
		my $all = encode_base64(('x' x $offset) . $text, '');
		my $from = int((8 * $offset + 5) / 6);
		my $base64 = substr $all, $from, int(8 * ($offset + length $text) / 6) - $from;
		$form{$base64} = 1;
		(my $url = $base64) =~ tr|+/|-_|;
		$form{$url} = 1;
	}
	(my $percent = $text) =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
	(my $octal = $text) =~ s/([\x80-\xff])/sprintf '\\%03o', ord $1/ge;
	my $escaped = join '', map { ord > 126 ? sprintf '\\u%04x', ord : $_ } split //, $characters;
	$form{$_} = 1
	  foreach ($percent, lc $percent, $octal, $escaped, $octal =~ s/\\/\\\\/gr,
		encode('UTF-16LE', $characters), encode('UTF-16BE', $characters));
	return grep { length >= 7 } keys %form;
}

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node, cells => {}, search => {} }, $class;

	foreach my $n (1 .. $ROWS) { $self->_cell('shipment', $n, @$_) foreach @shipment; }
	foreach my $n (1 .. $CONTACTS) { $self->_cell('contact', $n, @$_) foreach @contact; }
	$self->{super} = $node->safe_psql('postgres', 'SELECT current_user');
	$self->_build;
	return $self;
}

sub _cell
{
	my ($self, $table, $n, $column, $class) = @_;
	my @parts = $maker{$class}->();
	$self->{cells}{"$table.$column.$n"} = {
		table => $table, n => $n, column => $column, class => $class,
		text => encode_utf8(join '', @parts), texts => [ _texts($class, @parts) ] };
	return;
}

sub text { my ($self, $cell) = @_; return $self->{cells}{$cell}{text}; }

# may($role, $cell): clear text of the cell belongs to the role's work
sub may
{
	my ($self, $role, $cell) = @_;
	my $c = $self->{cells}{$cell};

	return 1 if $role eq 'clerk';
	return $c->{class} eq 'phone' if $role eq 'service';
	return $c->{table} eq 'shipment' && $c->{n} % 3 == 0
	  && $c->{column} =~ /^recv_(name|phone|addr)$/ if $role eq 'courier';
	return 0;
}

# leaks($bytes, $role, @but): names of the cells whose text stands in the bytes
# and must not be seen by the role (undef: by nobody); not those of @but, which
# the attacker typed
sub leaks
{
	my ($self, $bytes, $role, @but) = @_;
	my $for = $role // '';

	if (!$self->{search}{$for})
	{
		my %of;
		foreach my $cell (keys %{ $self->{cells} })
		{
			next if $for ne '' && $self->may($for, $cell);
			$of{$_} = $cell foreach map { writings($_) } @{ $self->{cells}{$cell}{texts} };
		}
		my $any = join '|', map { quotemeta } sort keys %of;
		$self->{search}{$for} = [ $any eq '' ? qr/(?!)/ : qr/($any)/, \%of ];
	}
	my ($any, $of) = @{ $self->{search}{$for} };
	my %found;
	# also character by character: in columns, arrays, rows
	(my $joined = $bytes) =~ s/[\x00-\x20,;"'{}()|\\]+//g;
	foreach my $all ($bytes, $joined)
	{
		$found{ $of->{$1} } = 1 while $all =~ /$any/g;
	}
	delete $found{$_} foreach @but;
	return sort keys %found;
}

# ---- the database ----

sub _build
{
	my ($self) = @_;
	my $node = $self->{node};
	my $columns = sub { join ",\n", map { "$_->[0] text" } @_ };
	my $protect = sub {
		my ($table, @columns) = @_;
		return map { "SELECT courier_pii.protect_column('app.$table', '$_->[0]', '$_->[1]');\n" } @columns;
	};
	my $classes = join ',', grep { $_ ne 'plate' } sort keys %maker;

	$node->safe_psql($CourierPii::DATABASE,
		encode_utf8(join '', map { "CREATE ROLE $_ LOGIN;\n" } @ROLES, @WATCHERS) . qq{
		SELECT courier_pii.create_class('plate', 'first_last(2,1)', true);
		CREATE EXTENSION pg_stat_statements;
		GRANT CREATE ON SCHEMA public TO PUBLIC;
		GRANT CREATE ON DATABASE $CourierPii::DATABASE TO app_owner;
		GRANT analyst TO mixed;
		GRANT pg_monitor TO auditor;
		CREATE SCHEMA app AUTHORIZATION app_owner;
		SET ROLE app_owner;
		CREATE TABLE app.shipment (
			id bigint NOT NULL, @{[ $columns->(@shipment) ]},
			station text NOT NULL, created_on date NOT NULL,
			weight int DEFAULT 1 CHECK (weight > 0),
			PRIMARY KEY (id, created_on)) PARTITION BY RANGE (created_on);
		CREATE TABLE app.shipment_1 PARTITION OF app.shipment FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
		CREATE TABLE app.shipment_2 PARTITION OF app.shipment FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
		CREATE INDEX ON app.shipment (recv_phone);
		CREATE TABLE app.contact (id bigint PRIMARY KEY, station text, @{[ $columns->(@contact) ]});
		CREATE TABLE app.task (id bigserial PRIMARY KEY, shipment_id bigint, staff_no text);
		INSERT INTO app.task (shipment_id, staff_no)
			SELECT i, CASE WHEN i % 3 = 0 THEN 'K1' ELSE 'K2' END FROM generate_series(1, $ROWS) i;
		GRANT USAGE ON SCHEMA app TO PUBLIC;
		GRANT SELECT, INSERT, UPDATE, DELETE ON app.shipment, app.contact
			TO clerk, courier, analyst, service, pooled, departed;
		GRANT SELECT ON app.task TO PUBLIC;
		RESET ROLE;
		@{[ $protect->('shipment', @shipment), $protect->('contact', @contact) ]}
		SELECT courier_pii.create_masked_view('app.shipment', move_grants => true),
			courier_pii.create_masked_view('app.contact', move_grants => true);
		GRANT USAGE ON SCHEMA masked TO PUBLIC;
		GRANT SELECT ON app.shipment, app.contact TO reader;
		SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL);
		SELECT courier_pii.hire('K1', 'Li', 'courier', 'HQ', 'courier'),
			courier_pii.hire('C1', 'Wang', 'clerk', 'HQ', 'clerk'),
			courier_pii.hire('L1', 'Zhao', 'departed', 'HQ', 'clerk'),
			courier_pii.hire('S1', 'Feng', 'security', 'HQ', NULL), courier_pii.hire('S2', 'Qian', 'security_2', 'HQ', NULL),
			courier_pii.hire('A1', 'Zheng', 'auditor', 'HQ', NULL), courier_pii.hire('P1', 'Chen', 'account', 'HQ', NULL);
		SELECT courier_pii.grant_disclosure(r::regrole, c, 'clear', true)
		FROM unnest('{clerk,departed}'::text[]) r, unnest('{$classes,plate}'::text[]) c;
		SELECT courier_pii.grant_disclosure('service', 'phone', 'clear', true);
		SELECT courier_pii.grant_disclosure('courier', c, 'scoped') FROM unnest('{person_name,phone,address}'::text[]) c;
		SELECT courier_pii.set_limit(r::regrole, 100000000, 1000000000, 1000000000)
		FROM unnest('{clerk,service,courier,departed}'::text[]) r;
		SELECT courier_pii.set_row_rule('app.shipment', 'courier', 'own_tasks',
			'{id in app.task.shipment_id where staff_no = actor.staff_no}',
			'{id in app.task.shipment_id where staff_no = actor.staff_no}',
			'{recv_name,recv_phone,recv_addr}');
		SELECT courier_pii.set_row_rule('app.shipment', r::regrole, 'all')
		FROM unnest('{clerk,service,analyst,app_owner,pooled,departed}'::text[]) r;
		SELECT courier_pii.appoint('pii_auditor', 'auditor'), courier_pii.appoint('pii_security_admin', 'security'),
			courier_pii.appoint('pii_security_admin', 'security_2'), courier_pii.appoint('pii_account_admin', 'account');
		SET ROLE app_owner;
		CREATE VIEW app.owners_view AS SELECT * FROM app.shipment;
		CREATE VIEW app.owners_text AS SELECT id, recv_phone::text AS recv_phone FROM app.shipment;
		GRANT SELECT ON app.owners_view, app.owners_text TO PUBLIC;
		RESET ROLE;
		});
	# one statement a row, as applications do
	my @load;
	foreach my $table ([ 'shipment', $ROWS, @shipment ], [ 'contact', $CONTACTS, @contact ])
	{
		my ($name, $rows, @of) = @$table;
		foreach my $n (1 .. $rows)
		{
			my $more = $name eq 'shipment' ? sprintf(", '2026-0%d-01'", 1 + $n % 2) : '';
			push @load, sprintf "INSERT INTO app.%s (id, station%s, %s) VALUES (%d, '%s'%s, %s);",
			  $name, $more && ', created_on', join(', ', map { $_->[0] } @of), $n,
			  $n % 2 ? 'SZ01' : 'SZ02', $more,
			  join ', ', map { "'" . $self->text("$name.$_->[0].$n") . "'" } @of;
		}
	}
	my $loader = $self->client($self->{super}, 'simple');
	foreach my $statement (@load)
	{
		my $answer = $loader->run($statement);
		die "cannot load: $answer->{state}" if $answer->{state};
	}
	$node->safe_psql($CourierPii::DATABASE, q{
		SET ROLE clerk;
		CREATE VIEW public.clerks_view AS SELECT * FROM masked.shipment;
		GRANT SELECT ON public.clerks_view TO PUBLIC;
		CREATE FUNCTION public.clerks_function() RETURNS SETOF text
			LANGUAGE sql SECURITY DEFINER AS 'SELECT recv_phone::text FROM masked.shipment';
		CREATE MATERIALIZED VIEW public.clerks_copy AS SELECT * FROM masked.shipment;
		GRANT SELECT ON public.clerks_copy TO PUBLIC;
		RESET ROLE;
		VACUUM ANALYZE app.shipment;
		ANALYZE app.contact, public.clerks_copy;
		});
	# extensions that attacks use: later that needs a window
	foreach my $extension (qw(dblink postgres_fdw file_fdw pageinspect pgrowlocks pg_walinspect))
	{
		$node->psql($CourierPii::DATABASE, "CREATE EXTENSION $extension SCHEMA public; "
			. ($extension =~ /fdw/ ? "GRANT USAGE ON FOREIGN DATA WRAPPER $extension TO app_owner" : 'SELECT 1'),
			stdout => \my $out, stderr => \my $err);
	}
	CourierPii::query_as($node, 'security', 'SELECT courier_pii.seal_duties()');
	$node->{courier_pii}{auditor} = 'auditor';
	return;
}

# what an attacker knows or stole: placeholders of attacks.sql
sub places
{
	my ($self, $role) = @_;
	if (!$self->{places})
	{
		my ($phone, $id, $note, $name) = split /\n/, $self->{node}->safe_psql($CourierPii::DATABASE,
			q{SELECT unnest(ARRAY[s.recv_phone, s.recv_id, s.remark, s.recv_name]::courier_pii.sealed[]) FROM app.shipment s WHERE id = 1});
		my $true = $self->text('shipment.recv_phone.1');
		# another hidden digit: the mask is the same
		my $near = $true;
		substr($near, 6, 1) = (substr($true, 6, 1) + 5) % 10;
		$self->{places} = { phone_envelope => $phone, id_envelope => $id,
			note_envelope => $note, name_envelope => $name, true => $true, near => $near };
	}
	return { %{ $self->{places} }, self => $role eq $self->{super} ? qq{"$role"} : $role };
}

sub client
{
	my ($self, $role, $protocol) = @_;
	return CourierPiiAttack::Client->start($self->{node}, $role, $protocol);
}

# the attacks of a file, in its order: name, numbers, flags, steps of [role, statement, data]
sub read_attacks
{
	my ($class, $file) = @_;
	my (@attacks, $as, $text);
	my $close = sub {
		push @{ $attacks[-1]{steps} }, map { [ $as, $_ ] } split_statements($text)
		  if @attacks && defined $text;
		$text = '';
	};

	foreach my $line (split /\n/, slurp_file($file))
	{
		if ($line =~ /^-- attack: (.*?)\s*(\[.*\])?$/)
		{
			my ($name, $tags) = ($1, $2 // '');
			$close->();
			$as = 'attacker';
			push @attacks, { name => $name, steps => [],
				numbers => [ $tags =~ /#(\d+)/g ],
				(map { $_ => 1 } $tags =~ /\b(nothing|oracle)\b/g) };
		}
		elsif ($line =~ /^-- as: (\w+)/) { $close->(); $as = $1; }
		elsif ($line =~ /^-- data: (.*)/)
		{
			my $data = $1;
			$close->();
			$data =~ s/\\t/\t/g;
			$attacks[-1]{steps}[-1][2] = "$data\n";
		}
		elsif ($line !~ /^--/) { $text .= "$line\n"; }
	}
	$close->();
	return @attacks;
}

# statements of a text: at semicolons outside of quotes and bodies
sub split_statements
{
	my ($text) = @_;
	my (@statements, $one);

	$one = '';
	while ($text =~ /\G('(?:[^']|'')*'|"[^"]*"|(\$\w*\$).*?\2|BEGIN ATOMIC.*?\bEND\b|;|.)/gs)
	{
		if ($1 eq ';') { push @statements, $one if $one =~ /\S/; $one = ''; }
		else { $one .= $1; }
	}
	push @statements, $one if $one =~ /\S/;
	return @statements;
}

=pod

=head2 CourierPiiAttack::Client

A session that keeps every byte it is sent.  Protocols: "simple", "extended"
(text results) and "binary" (extended, with binary results, and text where a
type has no binary form).

=cut

package CourierPiiAttack::Client;

use parent -norequire, 'CourierPiiWire';
use CourierPiiWire;

sub start
{
	my ($class, $node, $role, $protocol) = @_;
	my $self = CourierPiiWire->new($node, $role, even_refused => 1) or die 'no server';
	$self->{protocol} = $protocol;
	$self->{taken} = '';
	return bless $self, $class;
}

sub run
{
	my ($self, $sql, $data) = @_;
	my $answer = { rows => [], state => '', texts => '' };

	return { %$answer, state => 'gone' } if $self->{gone};
	foreach my $format ($self->{protocol} eq 'binary' ? (1, 0) : (0))
	{
		$answer = { rows => [], state => '', texts => '' };
		if ($self->{protocol} eq 'simple') { $self->send_message('Q', "$sql\0"); }
		else
		{
			$self->parse($sql);
			$self->bind('', $format);
			$self->send_message('D', "P\0");
			$self->execute('', 0);
			$self->send_message('S', '');
		}
		while (my ($type, $body) = $self->message)
		{
			last if $type eq 'Z';
			$self->{taken} .= "$body\n";
			if ($type eq 'D') { push @{ $answer->{rows} }, $body; }
			elsif ($type eq 'E') { ($answer->{state}) = $body =~ /\0C([0-9A-Z]{5})\0/; $answer->{texts} .= $body; }
			elsif ($type eq 'N') { $answer->{texts} .= $body; }
			elsif ($type eq 'G')
			{
				if (defined $data) { $self->send_message('d', $data); $self->send_message('c', ''); }
				else { $self->send_message('f', "no data\0"); }
				# a Sync during COPY was thrown away
				$self->send_message('S', '') if $self->{protocol} ne 'simple';
			}
		}
		# types without a binary form
		last if $answer->{state} ne '42883' || $self->{gone};
	}
	return $answer;
}

sub taken
{
	my ($self) = @_;
	my $taken = $self->{taken};
	$self->{taken} = '';
	return $taken;
}

1;
