/*-------------------------------------------------------------------------
 *
 * custody_command.c
 *	  The key source "command": a program prints the master key.
 *
 * The program is started directly, without a shell, with an absolute path, an
 * empty environment but for PATH, in a process group of its own, with
 * nothing to read; its output is a pipe of ours, its messages are thrown away
 * (they could hold the key).  It has a time limit, and may print little; what
 * breaks a limit is killed with all its children.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "base/secret.h"
#include "base/settings.h"
#include "crypto/custody.h"

#define MAX_ARGUMENTS 32
/* a key in hexadecimal and a line end; more is not read */
#define MAX_OUTPUT (2 * CPII_KEY_LEN + 2)
#define POLL_MS 100

void		(*cpii_custody_waits) (void) = NULL;

/*
 * Split the command into words at blanks; a word in single or double quotes
 * may hold blanks.  Nothing is expanded.  One more word can be appended: there
 * is room for it.  False on an open quote or too many.
 */
static bool
split_command(char *text, char **words)
{
	int			n = 0;
	char	   *in = text;

	for (;;)
	{
		char	   *out;
		char		quote = 0;

		while (*in == ' ' || *in == '\t')
			in++;
		if (*in == '\0')
			break;
		if (n >= MAX_ARGUMENTS)
			return false;
		words[n++] = out = in;
		while (*in && (quote || (*in != ' ' && *in != '\t')))
		{
			if (quote ? *in == quote : (*in == '"' || *in == '\''))
				quote = quote ? 0 : *in;
			else
				*out++ = *in;
			in++;
		}
		if (quote)
			return false;
		if (*in)
			in++;
		*out = '\0';
	}
	words[n] = NULL;
	return n > 0;
}

/* a program that others can change would give them the key */
static bool
usable_program(const char *path, const char **detail)
{
	struct stat st;

	if (!is_absolute_path(path))
		*detail = psprintf("Key command \"%s\" is not an absolute path.", path);
	else if (stat(path, &st) != 0)
		*detail = psprintf("Could not find key command \"%s\": %s.", path,
						   strerror(errno));
	else if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0)
		*detail = psprintf("Key command \"%s\" cannot be executed.", path);
	else if ((st.st_uid != geteuid() && st.st_uid != 0) ||
			 (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		*detail = psprintf("Key command \"%s\" can be changed by other users.", path);
	else if (cpii_custody_inside_data_directory(path))
		*detail = psprintf("Key command \"%s\" lies inside the data directory.", path);
	else
		return true;
	return false;
}

/* in the child: never returns */
static void
run_child(char **words, int output)
{
	char	   *environment[] = {(char *) "PATH=/usr/local/bin:/usr/bin:/bin",
	(char *) "LC_ALL=C", NULL};
	int			null = open("/dev/null", O_RDWR);
	long		limit = sysconf(_SC_OPEN_MAX);
	sigset_t	none;

	(void) setpgid(0, 0);
	for (int i = 1; i < NSIG; i++)
		(void) signal(i, SIG_DFL);
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(null, 2) < 0)
		_exit(127);
	if (limit < 0 || limit > 65536)
		limit = 65536;
	for (int fd = 3; fd < limit; fd++)
		(void) close(fd);
	execve(words[0], words, environment);
	_exit(127);
}

/* the server has other keys meanwhile, when this is one to come */
static void
go_on(bool next)
{
	if (next && cpii_custody_waits != NULL)
		cpii_custody_waits();
}

/* read until the end, a limit, or the deadline */
static ssize_t
read_output(int fd, bool next, unsigned char *buf, TimestampTz deadline, bool *late)
{
	ssize_t		len = 0;

	*late = false;
	while (len <= MAX_OUTPUT)
	{
		struct pollfd waiting = {fd, POLLIN, 0};
		ssize_t		got;

		if (GetCurrentTimestamp() >= deadline || ShutdownRequestPending)
		{
			*late = true;
			break;
		}
		go_on(next);
		if (poll(&waiting, 1, POLL_MS) <= 0)
			continue;
		got = read(fd, buf + len, MAX_OUTPUT + 1 - len);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			break;
		if (got > 0)
			len += got;
	}
	return len;
}

/* wait for the child until the deadline, then end it and its children */
static bool
reap(pid_t child, bool next, TimestampTz deadline, bool kill_now, int *status)
{
	for (;;)
	{
		pid_t		got;

		if (kill_now || GetCurrentTimestamp() >= deadline)
		{
			(void) kill(-child, SIGKILL);
			(void) kill(child, SIGKILL);
			while (waitpid(child, status, 0) < 0 && errno == EINTR)
				;
			return false;
		}
		got = waitpid(child, status, WNOHANG);
		if (got == child)
		{
			/* children that it left behind */
			(void) kill(-child, SIGKILL);
			return true;
		}
		if (got < 0 && errno != EINTR)
		{
			*status = -1;
			return true;
		}
		go_on(next);
		pg_usleep(5000L);
	}
}

bool
cpii_custody_run_command(bool next, unsigned char key[CPII_KEY_LEN],
						 const char **detail, const char **hint)
{
	char	   *words[MAX_ARGUMENTS + 2];
	unsigned char buf[MAX_OUTPUT + 1];
	int			pipes[2];
	pid_t		child;
	ssize_t		len;
	int			status = 0;
	bool		late;
	bool		ended;
	bool		ok = false;
	TimestampTz deadline;

	*hint = "Check courier_pii.key_command, and run it as the server account.";
	if (cpii_key_command == NULL || cpii_key_command[0] == '\0')
	{
		*detail = "No key command is configured.";
		*hint = "Set courier_pii.key_command and restart the server.";
		return false;
	}
	if (!split_command(pstrdup(cpii_key_command), words))
	{
		*detail = "The key command has an open quote or too many words.";
		return false;
	}
	if (!usable_program(words[0], detail))
		return false;
	if (next)
	{
		int			n = 0;

		while (words[n] != NULL)
			n++;
		words[n] = pstrdup("next");
		words[n + 1] = NULL;
	}
	if (pipe(pipes) != 0)
	{
		*detail = psprintf("Could not make a pipe: %s.", strerror(errno));
		return false;
	}
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   cpii_key_command_timeout * 1000);
	child = fork();
	if (child == 0)
		run_child(words, pipes[1]);
	close(pipes[1]);
	if (child < 0)
	{
		close(pipes[0]);
		*detail = psprintf("Could not start the key command: %s.", strerror(errno));
		return false;
	}
	(void) setpgid(child, child);
	len = read_output(pipes[0], next, buf, deadline, &late);
	close(pipes[0]);
	ended = reap(child, next, deadline, late || len > MAX_OUTPUT, &status);
	if (len > MAX_OUTPUT)
		*detail = psprintf("The key command printed more than %d bytes.", MAX_OUTPUT);
	else if (late || !ended)
		*detail = psprintf("The key command did not end within %d seconds.",
						   cpii_key_command_timeout);
	else if (status == -1 || !WIFEXITED(status))
		*detail = "The key command was ended by a signal.";
	else if (WEXITSTATUS(status) != 0)
		*detail = psprintf("The key command failed with exit code %d.",
						   WEXITSTATUS(status));
	else if (!cpii_custody_decode(buf, (size_t) len, key))
	{
		*detail = "The output of the key command has the wrong length or form.";
		*hint = "It must print 32 raw bytes or 64 hexadecimal digits.";
	}
	else
		ok = true;
	cpii_wipe(buf, sizeof(buf));
	return ok;
}
