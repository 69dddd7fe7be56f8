/*
 * server.h - the API's door: listens, keeps the limits on connections and requests, and hands each
 * accepted socket to conn.h.
 */
#ifndef COORDINATOR_SERVER_H
#define COORDINATOR_SERVER_H

#include "lib/addr.h"

struct coordinator;
struct server;

/* NULL and a sentence in error. */
struct server *server_new(struct coordinator *co, char *error, size_t size);
void server_address(const struct server *server, struct endpoint *out); /* where it listens; the kernel chose port 0 */
void server_stop(struct server *server);  /* accepts no more */
void server_abort(struct server *server); /* its connections end by the loop's next turn */
void server_free(struct server *server);  /* without connections */
size_t server_connections(const struct server *server);

/* ---- for conn.c ---- */
struct source; /* an address (IPv6: its /64) with its connections and its bucket */
/* A large body is as much work as several requests. */
#define REQUESTS_OF_BODY(bytes) (1.0 + (double)((bytes) / (16 * 1024)))
bool source_may_ask(struct source *source, size_t body, uint64_t now_ms, uint64_t *wait_ms);
/* A request of this source holds `now` bytes of body, `before` until now; false: that is more than
 * one source, or all together, may hold. Give back what was taken, also after false. */
bool source_may_hold(struct server *server, struct source *source, size_t before, size_t now);
struct list;
/* Its TLS handshake is behind it. */
void server_settled(struct server *server, struct source *source, struct list *node);
void server_gone(struct server *server, struct source *source, struct list *node, bool settled);

#endif
