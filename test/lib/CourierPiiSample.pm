
=pod

=head1 NAME

CourierPiiSample - a small protected courier database, full of canaries

=head1 DESCRIPTION

Every protected cell of app.shipment holds a text that occurs nowhere else, so
that a search for it in any output tells whether clear text got out.  All
people in it are invented.

Roles that can log in: the table's owner app_owner, clerk (clear and
searchable in all classes), courier (row rules, scoped), analyst (masked),
service (phones clear and searchable), outsider (no grants), reader (SELECT on
the base table, no disclosure), and the superuser of the cluster.

=cut

package CourierPiiSample;

use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(load_sample canaries found_canaries);

# the parts of row n that no mask shows
sub _cells
{
	my ($n) = @_;
	return {
		waybill_no => sprintf('SF31%05d77%04d', 40000 + $n, ($n * 7919) % 10000),
		recv_name => '张' . chr(0x8C01 + $n) . chr(0x9101 + $n),
		recv_phone => sprintf('139%04d%04d', 4100 + $n, ($n * 7919) % 10000),
		recv_addr => sprintf('广东省深圳市南山区流云飞渡路%d号听涛苑%d栋', 7000 + $n, 300 + $n),
		recv_id => sprintf('99000019900101%04d', 1000 + $n),
		remark => sprintf('remarkable-%05d-secret', $n),
	};
}

# canaries(@rows): texts, as bytes, that must never leave
sub canaries
{
	my @texts;

	foreach my $n (@_)
	{
		my $cell = _cells($n);
		push @texts, map { encode_utf8($_) } (
			$cell->{waybill_no}, substr($cell->{recv_name}, 1),
			$cell->{recv_phone}, substr($cell->{recv_phone}, 3),
			substr($cell->{recv_addr}, 9), $cell->{recv_id}, $cell->{remark});
	}
	return @texts;
}

# found_canaries($bytes, @rows): those in the bytes, in any of several writings
sub found_canaries
{
	my ($bytes, @rows) = @_;
	my @found;

	require MIME::Base64;
	foreach my $canary (canaries(@rows))
	{
		my $base64 = MIME::Base64::encode_base64($canary, '');
		my $hex = unpack('H*', $canary);
		# base64 of a longer text shows the canary at one of three offsets
		my @inner = map {
			substr(MIME::Base64::encode_base64(('x' x $_) . $canary, ''), 4, -4)
		} (1, 2);

		foreach my $form ($canary, scalar reverse($canary), $hex, uc $hex,
			$base64, @inner)
		{
			next if length $form < 8 && $form ne $canary;
			push @found, $form if index($bytes, $form) >= 0;
		}
	}
	return @found;
}

# load_sample($node, rows => 60, protect => 1)
sub load_sample
{
	my ($node, %options) = @_;
	my $rows = $options{rows} // 60;
	my $database = $options{database} // $node->{courier_pii}{database};
	my @values;

	foreach my $n (1 .. $rows)
	{
		my $c = _cells($n);
		push @values, sprintf(
			"('%s', '%s', '%s', '%s', '%s', '%s', '%s', '2026-0%d-01')",
			$c->{waybill_no}, $c->{recv_name}, $c->{recv_phone},
			$c->{recv_addr}, $c->{recv_id}, $c->{remark},
			$n % 2 ? 'SZ01' : 'SZ02', 1 + $n % 2);
	}
	my $values = encode_utf8(join ",\n", @values);
	my $roles = '';
	$roles .= "CREATE ROLE $_ LOGIN;\n"
	  foreach qw(app_owner clerk courier analyst service outsider reader);

	$node->safe_psql($database, $roles) unless $options{no_roles};
	$node->safe_psql(
		$database, qq{
		CREATE SCHEMA app AUTHORIZATION app_owner;
		SET ROLE app_owner;
		CREATE TABLE app.shipment (
			id bigserial,
			waybill_no varchar(40) NOT NULL,
			recv_name text,
			recv_phone varchar(20) DEFAULT '4001234567',
			recv_addr text,
			recv_id text,
			remark text,
			station text NOT NULL,
			created_on date NOT NULL,
			weight int DEFAULT 1 CHECK (weight > 0),
			PRIMARY KEY (id, created_on)
		) PARTITION BY RANGE (created_on);
		CREATE TABLE app.shipment_1 PARTITION OF app.shipment
			FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
		CREATE TABLE app.shipment_2 PARTITION OF app.shipment
			FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
		CREATE INDEX ON app.shipment (recv_phone);
		CREATE TABLE app.task (
			id bigserial PRIMARY KEY, shipment_id bigint, staff_no text);
		GRANT USAGE ON SCHEMA app TO PUBLIC;
		GRANT SELECT, INSERT, UPDATE, DELETE ON app.shipment
			TO clerk, courier, analyst, service;
		GRANT SELECT ON app.task TO clerk, courier, analyst, service, reader;
		INSERT INTO app.shipment (waybill_no, recv_name, recv_phone, recv_addr,
			recv_id, remark, station, created_on) VALUES $values;
		INSERT INTO app.task (shipment_id, staff_no)
			SELECT id, CASE WHEN id % 3 = 0 THEN 'K1' ELSE 'K2' END FROM app.shipment;
		RESET ROLE;
		});
	return if defined $options{protect} && !$options{protect};
	protect_sample($node, $database, $options{no_people});
	return;
}

sub protect_sample
{
	my ($node, $database, $no_people) = @_;
	my $people = $no_people ? '' : q{
		SELECT courier_pii.add_org('HQ', '總部', 'hq', NULL);
		SELECT courier_pii.hire('K1', '李送', 'courier', 'HQ', 'courier');
		SELECT courier_pii.hire('C1', '王文', 'clerk', 'HQ', 'clerk');
	};

	$node->safe_psql(
		$database, qq{
		SELECT courier_pii.protect_column('app.shipment', col, class)
		FROM (VALUES ('waybill_no', 'waybill_no'), ('recv_name', 'person_name'),
			('recv_phone', 'phone'), ('recv_addr', 'address'),
			('recv_id', 'id_number'), ('remark', 'note')) v (col, class);
		SELECT courier_pii.create_masked_view('app.shipment', move_grants => true);
		GRANT USAGE ON SCHEMA masked TO PUBLIC;
		GRANT SELECT ON app.shipment TO reader;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO clerk, courier, service;
		$people
		SELECT courier_pii.grant_disclosure('clerk', c, 'clear', true)
		FROM unnest('{waybill_no,person_name,phone,address,id_number,note}'::text[]) c;
		SELECT courier_pii.grant_disclosure('service', 'phone', 'clear', true);
		SELECT courier_pii.grant_disclosure('courier', c, 'scoped')
		FROM unnest('{person_name,phone,address}'::text[]) c;
		SELECT courier_pii.set_row_rule('app.shipment', 'courier', 'own_tasks',
			'{id in app.task.shipment_id where staff_no = actor.staff_no}',
			'{id in app.task.shipment_id where staff_no = actor.staff_no}',
			'{recv_name,recv_phone,recv_addr}');
		SELECT courier_pii.set_row_rule('app.shipment', r::regrole, 'all')
		FROM unnest('{clerk,service,analyst,app_owner}'::text[]) r;
		});
	return;
}

1;
