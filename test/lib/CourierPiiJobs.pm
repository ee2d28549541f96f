# Jobs that work in batches, disturbed while they run: cancelled, killed, the
# server killed under them.  For a server that starts again after a crash.

package CourierPiiJobs;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use POSIX ();
use Time::HiRes qw(usleep);

sub new
{
	my ($class, $node, $db) = @_;
	return bless { node => $node, db => $db }, $class;
}

# a statement whose connection may be lost at any time
sub quiet
{
	my ($self, $sql) = @_;
	return eval { $self->{node}->psql($self->{db}, $sql, on_error_stop => 0, timeout => 20) };
}

# the first value that a statement gives, once it gives one
sub soon
{
	my ($self, $sql) = @_;
	for (1 .. 1200)
	{
		my ($rc, $out) = $self->quiet($sql);
		return $out if defined $rc && $rc == 0 && defined $out && $out ne '';
		usleep(100_000);
	}
	die "never: $sql";
}

# the pid of the backend that runs a job, as soon as there is one
sub worker_pid
{
	my ($self, $view) = @_;
	for (1 .. 200)
	{
		my ($rc, $out) = $self->quiet("SELECT pid FROM courier_pii.$view WHERE pid IS NOT NULL LIMIT 1");
		return $out if defined $rc && $rc == 0 && defined $out && $out =~ /^\d+$/;
		usleep(10_000);
	}
	return;
}

# a process that runs a CALL; its exit status says whether that came to its end
sub call
{
	my ($self, $call) = @_;
	my $child = fork();
	return $child if $child;
	# a lost connection may raise: this process must not stop the server
	my $rc = eval { ($self->{node}->psql($self->{db}, $call, timeout => 300))[0] } // 1;
	POSIX::_exit($rc == 0 ? 0 : 1);
}

# run CALLs, one after the other and over again, until one comes to its end,
# disturbed so many times; returns how often it was, -1 when none did
sub disturbed
{
	my ($self, $kills, $view, @calls) = @_;
	my $disturbed = 0;
	for my $try (1 .. $kills + 3)
	{
		my $child = $self->call($calls[ $try % @calls ]);
		if ($try <= $kills)
		{
			my $pid = $self->worker_pid($view);
			usleep(int rand 400_000);
			if (defined $pid && $try % 2)
			{
				$disturbed += kill('KILL', $pid);
			}
			elsif (defined $pid)
			{
				$self->quiet("SELECT pg_cancel_backend($pid)");
				$disturbed++;
			}
		}
		waitpid($child, 0);
		my $done = $? == 0;
		for (1 .. 600)
		{
			my ($rc) = $self->quiet('SELECT 1');
			last if $done || (defined $rc && $rc == 0);
			usleep(100_000);
		}
		return $disturbed if $done;
	}
	return -1;
}

# how much of the time jobs work
sub share
{
	my ($self, $percent) = @_;
	$self->{node}->safe_psql($self->{db}, "ALTER SYSTEM SET courier_pii.online_share = $percent");
	$self->{node}->reload;
	return;
}

# until the postmaster knows of these deaths, and the server answers
sub recovered
{
	my ($self, @dead) = @_;
	for (1 .. 1200) { last unless grep { kill 0, $_ } @dead; usleep(100_000); }
	$self->{node}->poll_query_until($self->{db}, 'SELECT true') or die 'no answer';
	return;
}

sub start_again
{
	my ($self) = @_;
	for (1 .. 60)
	{
		return if $self->{node}->start(fail_ok => 1);
		usleep(500_000);
	}
	die 'not started';
}

# end a job whose backend is given in one of these ways
sub end
{
	my ($self, $how, $job) = @_;
	my $node = $self->{node};
	if ($how eq 'its backend is killed')
	{
		kill 'KILL', $job;
		$self->recovered($job);
	}
	elsif ($how eq 'its worker is killed')
	{
		my $worker = $self->soon(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'courier_pii index worker'});
		kill 'KILL', $worker;
		$self->recovered($worker);
	}
	elsif ($how eq 'the statement is cancelled')
	{
		$self->quiet("SELECT pg_cancel_backend($job)");
	}
	elsif ($how eq 'the server is stopped')
	{
		$node->stop('immediate');
		$self->start_again();
	}
	elsif ($how eq 'the server is killed')
	{
		my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
		kill 'KILL', $postmaster;
		for (1 .. 600) { last unless kill 0, $postmaster; usleep(100_000); }
		# the harness would look for it
		$node->{_pid} = undef;
		$self->start_again();
	}
	else
	{
		die "unknown way: $how";
	}
	return;
}

# an old snapshot keeps the index worker waiting
sub look_on
{
	my ($self) = @_;
	my $session = $self->{node}->background_psql($self->{db}, on_error_stop => 0);
	$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$session->query('SELECT 1');
	return $session;
}

# what is in the files of tables, after a checkpoint
sub files
{
	my ($self, @tables) = @_;
	$self->{node}->safe_psql($self->{db}, 'CHECKPOINT');
	return join '', map {
		slurp_file($self->{node}->data_dir . '/' . $self->{node}->safe_psql($self->{db}, "SELECT pg_relation_filepath('$_')"))
	} @tables;
}

1;
