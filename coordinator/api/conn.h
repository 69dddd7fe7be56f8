/*
 * conn.h - one connection: requests one after the other, each answered before the next is read; or,
 * after an Upgrade, whatever took it over. A handler gets a struct request and answers it once, at
 * once or later.
 */
#ifndef COORDINATOR_CONN_H
#define COORDINATOR_CONN_H

#include "coordinator/access/challenge.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store.h"
#include "lib/http.h"
#include "lib/stream.h"

struct source;
struct conn;
struct endpoint_row; /* dispatch.h: a row of the table of routes */

/* What an answer that comes later waits for. */
enum awaited { AWAITED_READ, AWAITED_WRITE, AWAITED_PASSWORD, AWAITED_COORDINATOR };

struct request {
	struct coordinator *co;
	struct conn *conn;
	struct http_message *http;
	const struct endpoint_row *row;
	char id[PROTO_NAME_MAX]; /* {id} of the path */
	struct agent *agent;   /* who asks, where the row wants a token; else NULL */
	uint64_t token_ends_ms; /* wall: that token */
	json_t *body;          /* NULL: none */
	struct js js;          /* reader of it */
	char from[ADDR_TEXT + 16]; /* "address 192.0.2.1", as the audit calls it */
	const char *address;       /* the end of it */
	/* Called instead of an answer of 409 where another coordinator's change went before; NULL: none. */
	void (*retry)(struct request *rq);
	uint64_t started_us;
	char headers[320];             /* "Name: value\r\n"... for the answer */
	void (*cancel)(struct request *rq); /* NULL, or what ends a handler that answers later */
	void *pending;                 /* that handler's */
	/* What another coordinator says of the challenge it gave; CHALLENGE_ELSEWHERE: not asked yet. */
	enum challenge_verdict spent;
	/* private: an answer that waits, perhaps for the disk */
	enum awaited awaited;
	unsigned retries;
	struct store_wait wait;
	int status;
	json_t *answer;
};

void conn_new(struct coordinator *co, int fd, struct source *source, struct list *conns);
/* Those at the head of the list that came until `ms` end in the loop's next turn. */
void conn_abort_older(struct list *conns, uint64_t ms);

/* Answers; `body` is taken, NULL: none. */
void reply(struct request *rq, int status, json_t *body);
/* `headers`: "Name: value\r\n"..., NULL: none. */
void reply_raw(struct request *rq, int status, const char *headers, const char *content_type,
	       const void *body, size_t len);
void reply_durable(struct request *rq, int status, json_t *body); /* when all written so far is on disk */
void reply_method_not_allowed(struct request *rq, const char *allowed);
void reply_problem(struct request *rq, int status, const char *code, const char *format, ...)
	PRINTF_LIKE(4, 5);
void reply_refusal(struct request *rq, const struct refusal *why);

/* The handler will answer later; where it does not, the client hears after a while what has not come. */
void reply_later(struct request *rq, void (*cancel)(struct request *rq), void *pending, enum awaited awaited);

bool conn_wants_websocket(struct request *rq); /* false: answered with 426 or 400 already */
/* Answers 101; from now on `ops` has the connection's bytes and its end. The request is over. */
struct stream *conn_upgrade(struct request *rq, const struct stream_ops *ops, void *arg);
const struct endpoint *conn_local(const struct request *rq);

#endif
