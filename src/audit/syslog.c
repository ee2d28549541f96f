/*-------------------------------------------------------------------------
 *
 * syslog.c
 *	  One line to the system log, here or on another machine.
 *
 * Not by syslog(3): the server may have opened it for itself under another
 * name, and its answer is unknown.  A datagram is sent or is not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "audit/spool.h"
#include "audit/syslog.h"
#include "base/settings.h"

#define FACILITY_AUTHPRIV 10
#define MAX_LINE 2048

static int
connect_local(const char *path)
{
	struct sockaddr_un address = {0};
	int			fd;

	if (strlen(path) >= sizeof(address.sun_path))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	address.sun_family = AF_UNIX;
	strlcpy(address.sun_path, path, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		int			save_errno = errno;

		close(fd);
		errno = save_errno;
		return -1;
	}
	return fd;
}

static int
connect_remote(const char *place)
{
	char		host[256];
	char	   *port;
	struct addrinfo hint = {0};
	struct addrinfo *list = NULL;
	int			fd = -1;

	strlcpy(host, place, sizeof(host));
	port = strrchr(host, ':');
	*port++ = '\0';
	hint.ai_socktype = SOCK_DGRAM;
	if (getaddrinfo(host, port, &hint, &list) != 0)
	{
		errno = EHOSTUNREACH;
		return -1;
	}
	for (struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
	{
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0)
		{
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

bool
cpii_syslog(int severity, const char *kind, const char *text)
{
	const char *place = cpii_audit_syslog;
	char		line[MAX_LINE];
	char		at[64];
	pg_time_t	now = (pg_time_t) time(NULL);
	int			fd;
	ssize_t		sent;
	int			length;
	int			save_errno;

	if (place == NULL || place[0] == '\0')
		return true;
	if (strcmp(place, "local") == 0)
		fd = connect_local("/dev/log");
	else if (place[0] == '/')
		fd = connect_local(place);
	else if (strchr(place, ':') != NULL)
		fd = connect_remote(place);
	else
	{
		errno = EINVAL;
		return false;
	}
	if (fd < 0)
		return false;
	pg_strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&now));
	length = snprintf(line, sizeof(line), "<%d>1 %s %s courier_pii %d %s - %s",
					  FACILITY_AUTHPRIV * 8 + severity, at, cpii_spool_node(),
					  MyProcPid, kind, text);
	length = Min(length, (int) sizeof(line) - 1);
	sent = send(fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	save_errno = errno;
	close(fd);
	errno = save_errno;
	return sent == length;
}
