/*
 * store_postgres_away.c - is a server that could not be used away, so that it helps to try again?
 */
#include "store_postgres.h"

#ifdef HAVE_LIBPQ

#include <poll.h>
#include <string.h>

static const char *const keys[] = {"dbname", "connect_timeout", NULL};

/* Too many are connected (53300). The text of that is in the server's language, so its number is asked for. */
static bool is_full(const char *url)
{
	PGconn *conn = PQconnectStartParams(keys, (const char *const[]){url, "5", NULL}, 1);
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	bool full;

	PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
	while (next == PGRES_POLLING_WRITING || next == PGRES_POLLING_READING) {
		struct pollfd on = {.fd = PQsocket(conn), .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (on.fd < 0 || poll(&on, 1, 5000) <= 0)
			break;
		next = PQconnectPoll(conn);
	}
	full = strstr(PQerrorMessage(conn), "53300");
	PQfinish(conn);
	return full;
}

/* Whoever refuses us is there, but for one that has no room. */
bool postgres_is_away(const char *url)
{
	PGPing said = PQpingParams(keys, (const char *const[]){url, "5", NULL}, 1);

	return said == PQPING_REJECT || said == PQPING_NO_RESPONSE || (said == PQPING_OK && is_full(url));
}

#endif
