/*-------------------------------------------------------------------------
 *
 * login_rule.c
 *	  When and from where an account may log in.
 *
 * Hours are compared in the server's time zone: what a client asks for takes
 * effect after the login only.  A connection through a local socket counts as
 * one from the loopback addresses.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"
#include <sys/socket.h>

#include "utils/inet.h"
#include "utils/timestamp.h"

#include "people/login_rule.h"

bool
cpii_rule_hours(const RosterFacts *facts, TimestampTz now)
{
	pg_time_t	at = timestamptz_to_time_t(now);
	struct pg_tm *tm;
	int			minute;
	int			day;

	if (facts->from_minute < 0 && facts->weekdays == ROSTER_ALL_DAYS)
		return true;
	tm = pg_localtime(&at, session_timezone);
	if (tm == NULL)
		return false;
	minute = tm->tm_hour * 60 + tm->tm_min;
	day = tm->tm_wday;
	if (facts->from_minute >= 0)
	{
		if (facts->from_minute < facts->to_minute)
		{
			if (minute < facts->from_minute || minute >= facts->to_minute)
				return false;
		}
		else
		{
			/* a shift over midnight belongs to the day on which it began */
			if (minute < facts->from_minute && minute >= facts->to_minute)
				return false;
			if (minute < facts->to_minute)
				day = (day + 6) % 7;
		}
	}
	return (facts->weekdays & (1 << day)) != 0;
}

static bool
in_network(const RosterNetwork *network, const uint8 *address)
{
	int			whole = network->bits / 8;
	int			rest = network->bits % 8;

	if (memcmp(network->address, address, whole) != 0)
		return false;
	return rest == 0 ||
		((network->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool
cpii_rule_address(const RosterFacts *facts, const CpiiPlace *place)
{
	static const uint8 loopback4[16] = {127, 0, 0, 1};
	static const uint8 loopback6[16] = {[15] = 1};
	static const uint8 mapped[12] = {[10] = 0xFF,[11] = 0xFF};

	if (facts->nnetworks == 0)
		return true;
	for (int i = 0; i < facts->nnetworks; i++)
	{
		const RosterNetwork *n = &facts->networks[i];

		if (place->family == 0)
		{
			if (in_network(n, n->family == PGSQL_AF_INET ? loopback4 : loopback6))
				return true;
		}
		else if (place->family == n->family)
		{
			if (in_network(n, place->address))
				return true;
		}
		/* an IPv4 client of a socket that takes both */
		else if (place->family == PGSQL_AF_INET6 && n->family == PGSQL_AF_INET &&
				 memcmp(place->address, mapped, 12) == 0 &&
				 in_network(n, place->address + 12))
			return true;
	}
	return false;
}
