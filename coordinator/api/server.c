/*
 * server.c - accepting, and who may take how much. Sources are found by address; one that has no
 * connection and a full bucket is forgotten when the table is swept, so strangers cannot grow it.
 * What is accepted waits at the door (door.h) until it may begin.
 */
#include "server.h"
#include "conn.h"
#include "coordinator/coordinator.h"
#include "door.h"
#include "lib/log.h"
#include "lib/map.h"
#include "lib/sock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_MS 60000
#define ACCEPTS_A_WAKE 16
#define PAUSE_MS       1000 /* without descriptors */

/* Bodies of the largest size that may be there at once, unfinished: of one source, and of all. */
#define SOURCE_BODIES  8
#define SERVER_BODIES  64
#define SMALL_BODY     (16 * 1024) /* always taken: what a registration needs */

struct server {
	struct coordinator *co;
	struct loop_io accept;
	struct loop_timer sweep, pause;
	struct map *sources;
	struct list conns;
	struct door door;
	size_t count, held;
	int fd;
};

static struct source *source_of(struct server *server, const struct addr *addr)
{
	const struct config_limits *limits = &server->co->config.limits;
	const struct addr key = addr_source(addr);
	struct source *source = map_get(server->sources, &key);

	if (source)
		return source;
	source = xcalloc(1, sizeof(*source));
	source->key = key;
	door_source_init(source);
	bucket_init(&source->requests, limits->requests_per_address, 4.0 * limits->requests_per_address,
		    loop_now(server->co->loop));
	map_put(server->sources, &key, source);
	return source;
}

bool source_may_ask(struct source *source, size_t body, uint64_t now_ms, uint64_t *wait_ms)
{
	if (bucket_take_many(&source->requests, REQUESTS_OF_BODY(body), now_ms))
		return true;
	*wait_ms = bucket_wait_ms(&source->requests, now_ms);
	return false;
}

bool source_may_hold(struct server *server, struct source *source, size_t before, size_t now)
{
	size_t largest = server->co->config.limits.body;

	source->held += now - before;
	server->held += now - before;
	return now <= SMALL_BODY || now <= before ||
	       (source->held <= SOURCE_BODIES * largest && server->held <= SERVER_BODIES * largest);
}

static void sweep(void *arg)
{
	struct server *server = arg;
	struct source *source;
	size_t pos = 0;

	while ((source = map_next(server->sources, &pos, NULL))) {
		if (source->connections ||
		    loop_now(server->co->loop) < source->requests.last_ms + SWEEP_MS)
			continue;
		map_del(server->sources, &source->key);
		free(source);
	}
	timer_start(&server->sweep, SWEEP_MS);
}

static void accept_again(void *arg)
{
	struct server *server = arg;

	io_start(&server->accept, LOOP_READ);
}

static void one_less(void *arg, struct source *source)
{
	struct server *server = arg;

	source->connections--;
	server->count--;
}

void server_settled(struct server *server, struct source *source, struct list *node)
{
	list_del(node);
	list_add_tail(&server->conns, node);
	door_left(&server->door, source);
}

void server_gone(struct server *server, struct source *source, struct list *node, bool settled)
{
	list_del(node);
	one_less(server, source);
	if (!settled)
		door_left(&server->door, source);
}

static void take(struct server *server, int fd, const struct endpoint *from)
{
	const struct config_limits *limits = &server->co->config.limits;
	struct source *source = source_of(server, &from->addr);

	if ((source->connections >= limits->connections_per_address &&
	     !door_make_room(&server->door, source)) ||
	    (server->count >= limits->connections && !door_make_room(&server->door, NULL))) {
		server->co->counters[COUNT_RATE_LIMITED]++;
		close(fd);
		return;
	}
	source->connections++;
	server->count++;
	door_enter(&server->door, source, fd);
}

/* False: it must wait. */
static bool find_descriptor(struct server *server)
{
	if (door_make_room(&server->door, NULL))
		return true;
	log_error("accept", "reason=\"out of file descriptors: raise LimitNOFILE\"");
	io_stop(&server->accept);
	timer_start(&server->pause, PAUSE_MS);
	return false;
}

static void on_accept(void *arg, int fd, unsigned events)
{
	struct server *server = arg;
	struct endpoint from;

	(void)events;
	for (int i = 0; i < ACCEPTS_A_WAKE; i++) {
		int client = sock_accept(fd, &from);

		if (client >= 0)
			take(server, client, &from);
		else if (client == -EMFILE || client == -ENFILE || client == -ENOMEM) {
			if (!find_descriptor(server))
				return;
		} else if (client != -ECONNABORTED && client != -EINTR) {
			return;
		}
	}
}

/* "[::]" means any address; on a host without IPv6 that is any of IPv4. */
static int listen_at(const struct endpoint *at)
{
	struct endpoint any4 = {.addr = {.family = AF_INET}, .port = at->port};
	int fd = sock_listen_tcp(at);

	if (fd == -EAFNOSUPPORT && addr_is_unspecified(&at->addr))
		fd = sock_listen_tcp(&any4);
	return fd;
}

struct server *server_new(struct coordinator *co, char *error, size_t size)
{
	struct server *server;
	char text[ENDPOINT_TEXT];
	int fd = listen_at(&co->config.listen);

	if (fd < 0) {
		endpoint_format(text, &co->config.listen);
		snprintf(error, size, "cannot listen on %s: %s; choose another with --listen", text,
			 strerror(-fd));
		return NULL;
	}
	server = xcalloc(1, sizeof(*server));
	server->co = co;
	server->fd = fd;
	server->sources = map_new(sizeof(((struct source *)0)->key));
	list_init(&server->conns);
	door_init(&server->door, co, one_less, server);
	timer_init(&server->sweep, co->loop, sweep, server);
	timer_init(&server->pause, co->loop, accept_again, server);
	io_init(&server->accept, co->loop, fd, on_accept, server);
	io_start(&server->accept, LOOP_READ);
	timer_start(&server->sweep, SWEEP_MS);
	return server;
}

void server_address(const struct server *server, struct endpoint *out)
{
	if (sock_local(server->fd, out) < 0)
		*out = server->co->config.listen;
}

void server_stop(struct server *server)
{
	if (server->fd < 0)
		return;
	io_stop(&server->accept);
	timer_stop(&server->pause);
	timer_stop(&server->sweep);
	close(server->fd);
	server->fd = -1;
}

void server_abort(struct server *server)
{
	struct source *source;
	size_t pos = 0;

	while ((source = map_next(server->sources, &pos, NULL)))
		door_empty(&server->door, source);
	conn_abort_older(&server->conns, UINT64_MAX);
}

void server_free(struct server *server)
{
	struct source *source;
	size_t pos = 0;

	if (!server)
		return;
	server_stop(server);
	door_close(&server->door);
	while ((source = map_next(server->sources, &pos, NULL)))
		free(source);
	map_free(server->sources);
	free(server);
}

size_t server_connections(const struct server *server)
{
	return server->count;
}
