/*
 * bus.c - the thread of bus.h. Between it and the loop are two lists under one lock: what is to be sent
 * (an eventfd wakes the thread) and what was heard (loop_post wakes the loop, once for many).
 */
#include "bus.h"

#ifdef HAVE_LIBPQ

#include "coordinator/store/store_postgres.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CHANNEL    "wg_mesh"
#define AT_ONCE    32        /* texts in one statement */
#define MAX_QUEUED 5000      /* texts */
#define AGAIN_MS   500

enum kind { HEARD_TEXT, HEARD_UP, HEARD_DOWN };

struct message {
	struct list node;
	enum kind kind;
	char to[40]; /* channel */
	char text[];
};

struct bus {
	struct loop *loop;
	char *url, self[24];
	const struct bus_ops *ops;
	void *arg;
	bool is_up; /* the loop's view */
	int wake;
	pthread_t thread;
	pthread_mutex_t lock;
	struct list out, in; /* under lock, */
	size_t out_count;    /* and these too */
	bool told, open;
	atomic_bool stopping;
};

static struct message *message_new(enum kind kind, const char *to, const char *text)
{
	size_t len = strlen(text);
	struct message *message = xmalloc(sizeof(*message) + len + 1);

	message->kind = kind;
	str_copy(message->to, sizeof(message->to), to);
	memcpy(message->text, text, len + 1);
	return message;
}

static void free_all(struct list *messages)
{
	while (!list_empty(messages)) {
		struct message *message = container_of(messages->next, struct message, node);

		list_del(&message->node);
		free(message);
	}
}

/* ---- on the loop ------------------------------------------------------------------------------- */

static void deliver(void *arg)
{
	struct bus *bus = arg;

	for (;;) {
		struct message *message = NULL;

		pthread_mutex_lock(&bus->lock);
		if (!list_empty(&bus->in)) {
			message = container_of(bus->in.next, struct message, node);
			list_del(&message->node);
		} else {
			bus->told = false;
		}
		pthread_mutex_unlock(&bus->lock);
		if (!message)
			return;
		if (message->kind == HEARD_TEXT) {
			bus->ops->heard(bus->arg, message->text);
		} else {
			bus->is_up = message->kind == HEARD_UP;
			bus->ops->up(bus->arg, bus->is_up);
		}
		free(message);
	}
}

bool bus_up(const struct bus *bus)
{
	return bus && bus->is_up;
}

void bus_send(struct bus *bus, const char *to, const char *text)
{
	char channel[40];
	uint64_t one = 1;
	bool first = false;

	if (!bus || strlen(text) > BUS_TEXT_MAX)
		return;
	snprintf(channel, sizeof(channel), CHANNEL "%s%s", to ? "_" : "", to ? to : "");
	pthread_mutex_lock(&bus->lock);
	if (bus->open && bus->out_count < MAX_QUEUED) {
		first = list_empty(&bus->out);
		list_add_tail(&bus->out, &message_new(HEARD_TEXT, channel, text)->node);
		bus->out_count++;
	}
	pthread_mutex_unlock(&bus->lock);
	if (first && write(bus->wake, &one, sizeof(one)) < 0)
		log_debug("bus", "reason=\"eventfd: %s\"", strerror(errno));
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void tell(struct bus *bus, enum kind kind, const char *text)
{
	struct message *message = message_new(kind, "", text);
	bool first;

	pthread_mutex_lock(&bus->lock);
	list_add_tail(&bus->in, &message->node);
	first = !bus->told;
	bus->told = true;
	bus->open = kind == HEARD_UP || (kind == HEARD_TEXT && bus->open);
	if (kind == HEARD_DOWN) {
		free_all(&bus->out);
		bus->out_count = 0;
	}
	pthread_mutex_unlock(&bus->lock);
	if (first)
		loop_post(bus->loop, deliver, bus);
}

static bool run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	bool fine = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

	PQclear(result);
	return fine;
}

static void ignore(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

static PGconn *connect_now(struct bus *bus)
{
	static const char *const keys[] = {"dbname", "connect_timeout", "application_name",
					   "keepalives_idle", "tcp_user_timeout", NULL};
	const char *values[] = {bus->url, "5", "wg-mesh-coordinator bus", "5", "5000", NULL};
	PGconn *conn = PQconnectdbParams(keys, values, 1);
	char sql[160];

	PQsetNoticeProcessor(conn, ignore, NULL);
	snprintf(sql, sizeof(sql), "SET synchronous_commit=off;LISTEN " CHANNEL ";LISTEN " CHANNEL "_%s",
		 bus->self);
	if (PQstatus(conn) == CONNECTION_OK && run(conn, sql))
		return conn;
	PQfinish(conn);
	return NULL;
}

static void take_notified(struct bus *bus, PGconn *conn)
{
	PGnotify *notify;

	while ((notify = PQnotifies(conn))) {
		tell(bus, HEARD_TEXT, notify->extra);
		PQfreemem(notify);
	}
}

static size_t take_out(struct bus *bus, struct list *batch)
{
	size_t count = 0;

	pthread_mutex_lock(&bus->lock);
	while (!list_empty(&bus->out) && count < AT_ONCE) {
		struct list *node = bus->out.next;

		list_del(node);
		list_add_tail(batch, node);
		count++;
	}
	bus->out_count -= count;
	pthread_mutex_unlock(&bus->lock);
	return count;
}

static bool send_some(struct bus *bus, PGconn *conn, bool *more)
{
	const char *values[2 * AT_ONCE];
	struct message *message;
	struct list batch;
	char sql[AT_ONCE * 40 + sizeof(POSTGRES_NOW)];
	uint64_t asked_ms = clock_ms();
	size_t used = 0;
	int count = 0;
	PGresult *result;
	bool fine;

	list_init(&batch);
	*more = take_out(bus, &batch) > 0;
	if (!*more)
		return true;
	list_each(message, &batch, node) {
		used += (size_t)snprintf(sql + used, sizeof(sql) - used, "%spg_notify($%d,$%d)",
					 count ? "," : "SELECT ", count + 1, count + 2);
		values[count++] = message->to;
		values[count++] = message->text;
	}
	snprintf(sql + used, sizeof(sql) - used, "," POSTGRES_NOW);
	result = PQexecParams(conn, sql, count, NULL, values, NULL, NULL, 0);
	fine = PQresultStatus(result) == PGRES_TUPLES_OK;
	if (fine)
		postgres_follow_clock(result, count / 2, asked_ms);
	PQclear(result);
	free_all(&batch);
	return fine;
}

/* Until the connection breaks or we stop. */
static void serve(struct bus *bus, PGconn *conn)
{
	struct pollfd fds[2] = {{.fd = PQsocket(conn), .events = POLLIN}, {.fd = bus->wake, .events = POLLIN}};
	uint64_t count;
	bool more = true;

	while (!atomic_load(&bus->stopping)) {
		while (more)
			if (!send_some(bus, conn, &more))
				return;
		take_notified(bus, conn);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		more = fds[1].revents && read(bus->wake, &count, sizeof(count)) > 0;
		if (fds[0].revents && (!PQconsumeInput(conn) || PQstatus(conn) != CONNECTION_OK))
			return;
	}
	send_some(bus, conn, &more); /* a good-bye */
}

static void *thread(void *arg)
{
	struct bus *bus = arg;
	struct pollfd fd = {.fd = bus->wake, .events = POLLIN};
	uint64_t count;
	PGconn *conn;

	while (!atomic_load(&bus->stopping)) {
		conn = connect_now(bus);
		if (conn) {
			tell(bus, HEARD_UP, "");
			serve(bus, conn);
			PQfinish(conn);
			if (!atomic_load(&bus->stopping))
				tell(bus, HEARD_DOWN, "");
		}
		if (!atomic_load(&bus->stopping) && poll(&fd, 1, conn ? 50 : AGAIN_MS) > 0 &&
		    read(bus->wake, &count, sizeof(count)) < 0)
			break;
	}
	return NULL;
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct bus *bus_new(struct loop *loop, const char *url, const char *self, const struct bus_ops *ops, void *arg)
{
	struct bus *bus = xcalloc(1, sizeof(*bus));

	bus->loop = loop;
	bus->url = xstrdup(url);
	str_copy(bus->self, sizeof(bus->self), self);
	bus->ops = ops;
	bus->arg = arg;
	list_init(&bus->out);
	list_init(&bus->in);
	pthread_mutex_init(&bus->lock, NULL);
	bus->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bus->wake >= 0 && !pthread_create(&bus->thread, NULL, thread, bus))
		return bus;
	if (bus->wake >= 0)
		close(bus->wake);
	pthread_mutex_destroy(&bus->lock);
	free(bus->url);
	free(bus);
	return NULL;
}

void bus_free(struct bus *bus)
{
	uint64_t one = 1;

	if (!bus)
		return;
	atomic_store(&bus->stopping, true);
	if (write(bus->wake, &one, sizeof(one)) < 0)
		log_debug("bus", "reason=\"eventfd: %s\"", strerror(errno));
	pthread_join(bus->thread, NULL);
	free_all(&bus->out);
	free_all(&bus->in);
	close(bus->wake);
	pthread_mutex_destroy(&bus->lock);
	free(bus->url);
	free(bus);
}

#else

struct bus *bus_new(struct loop *loop, const char *url, const char *self, const struct bus_ops *ops, void *arg)
{
	(void)loop;
	(void)url;
	(void)self;
	(void)ops;
	(void)arg;
	return NULL;
}

void bus_free(struct bus *bus)
{
	(void)bus;
}

bool bus_up(const struct bus *bus)
{
	(void)bus;
	return false;
}

void bus_send(struct bus *bus, const char *to, const char *text)
{
	(void)bus;
	(void)to;
	(void)text;
}

#endif
