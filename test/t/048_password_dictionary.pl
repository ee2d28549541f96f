
# Passwords are looked up in a dictionary of cracklib where that is installed;
# without it, or with a damaged one, there is a notice and the other rules hold.

use strict;
use warnings;

use CourierPii;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = CourierPii->new_node('dictionary', conf => "courier_pii.password_min_age = 0\n");
my $db = $CourierPii::DATABASE;
$node->safe_psql($db, q{
	CREATE ROLE chen_accounts LOGIN; CREATE ROLE person_1 LOGIN; CREATE ROLE person_2 LOGIN;
	SELECT courier_pii.appoint('pii_account_admin', 'chen_accounts')});
query_as($node, 'chen_accounts', q{SELECT courier_pii.add_org('HQ', 'head office', 'hq', NULL)});
query_as($node, 'chen_accounts', "SELECT courier_pii.hire('P$_', 'Person $_', 'person_$_', 'HQ', 'courier')") for 1, 2;

sub dictionary
{
	my ($name) = @_;
	$node->append_conf('postgresql.conf', "courier_pii.password_dictionary = '$name'\n");
	$node->reload;
	return;
}

# the SQLSTATE, and everything that was said
sub set_password
{
	my ($password) = @_;
	return error_as($node, 'chen_accounts', "SELECT courier_pii.set_password('person_1', '$password')");
}

my $dir = PostgreSQL::Test::Utils::tempdir;
my ($library) = glob '/usr/lib/*/libcrack.so.2 /usr/lib/libcrack.so.2 /lib/*/libcrack.so.2';
my ($packer) = grep { -x } map { "$_/cracklib-packer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin';
my ($state, $text);

SKIP:
{
	skip 'cracklib is not installed', 14 unless $library && $packer;
	my @words = sort qw(zhuanyunzhongxin chrysanthemum kilimanjaro);
	my ($out, $err) = ('', '');
	IPC::Run::run([ $packer, "$dir/words" ], '<', \(join '', map { "$_\n" } @words), '>', \$out, '2>', \$err)
	  or die "cracklib-packer: $err";

	# our own rules have nothing against these
	dictionary('');
	is((set_password($_))[0], '', "without a dictionary: $_") for 'Zhuanyunzhongxin-7', 'Chrysanthemum#42';
	dictionary("$dir/words");
	foreach my $word ('Zhuanyunzhongxin-9', 'Chrysanthemum#43', 'nixgnohznuynauhZ-9')
	{
		($state, $text) = set_password($word);
		is($state, '22023', "in the dictionary: $word");
		like($text, qr/password is too weak: it is based on a dictionary word/, 'and that is the reason');
	}
	(undef, undef, $text) = $node->psql($db, q{ALTER ROLE person_1 PASSWORD 'Zhuanyunzhongxin-9'});
	like($text, qr/dictionary word/, 'whoever sets it, by whatever statement');
	($state, $text) = set_password('Vermilion-7-cactus-Umbrella');
	is($state, '', 'not in the dictionary');
	unlike($text, qr/not looked up/, 'no notice');

	# the dictionary that the system brings
	SKIP:
	{
		skip 'the system has no dictionary of cracklib', 2 unless -f '/var/cache/cracklib/cracklib_dict.pwd';
		$node->append_conf('postgresql.conf', "courier_pii.password_dictionary = '/var/cache/cracklib/cracklib_dict'\n");
		$node->reload;
		is((set_password('Extraordinary-7'))[0], '22023', 'the system\'s own dictionary');
		is((set_password('Larkspur-10-trowel-Zinc'))[0], '', 'does not refuse everything');
	}

	# damaged files
	foreach my $ending (qw(pwd pwi hwm))
	{
		open my $file, '>', "$dir/bad.$ending" or die $!;
		print $file 'damage';
		close $file;
	}
	dictionary("$dir/bad");
	($state, $text) = set_password('Zhuanyunzhongxin-11');
	is($state, '', 'a damaged dictionary refuses nobody');
	like($text, qr/NOTICE: .*the password is not looked up in a dictionary/, 'but says so');
	is($node->safe_psql($db, 'SELECT 1'), '1', 'and the server is alive');
}

dictionary("$dir/none");
($state, $text) = set_password('Gentian-21-trowel-Quartz');
is($state, '', 'without a dictionary passwords can be set');
like($text, qr/NOTICE: .*the password is not looked up in a dictionary/, 'with a notice');
is((set_password('Teapot-12345-Gar'))[0], '22023', 'and the other rules hold');
is((set_password('Password-2026-13'))[0], '22023', 'so does the built-in list');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process ended');

$node->stop;
done_testing();
