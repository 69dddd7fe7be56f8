/*
 * conn.c - HTTP on a stream: feed the parser, dispatch, answer, next.
 *
 * While an answer is pending (it waits for the disk) nothing more is read from the stream; that
 * bounds what a client can pile up, as it does that no request is begun while QUEUE_FULL bytes of answers are
 * unread. A client has HEAD_MS for the head, then BODY_MS for the body, in which
 * it may be silent for SILENT_MS, so one that drips a byte a second holds nothing for long.
 */
#include "conn.h"
#include "coordinator/cluster/cluster.h"
#include "dispatch.h"
#include "coordinator/remedy.h"
#include "server.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define IDLE_MS   75000
#define HEAD_MS   15000
#define BODY_MS   60000
#define SILENT_MS 15000
#define ANSWER_MS 10000 /* a disk that does not write */
#define UNREAD_MS 30000 /* in which a client takes none of what is there for it */
#define RETRIES   8

#define HEAD_ROOM  4096
#define QUEUE_ROOM (1u << 20)
#define QUEUE_FULL (QUEUE_ROOM / 2)

struct conn {
	struct list node; /* server's */
	struct coordinator *co;
	struct source *source;
	struct stream *stream;
	struct http_message *http; /* NULL after an upgrade */
	struct loop_timer limit;
	bool settled; /* past the TLS handshake */
	bool reading, answering, closing, head_done;
	size_t held;       /* bytes of a body, accounted for, */
	size_t max_body;   /* of as many as this request may have */
	size_t unread;     /* bytes of answers that the next request waits for; 0: it does not */
	uint64_t since_ms, body_until_ms;
	struct request *rq; /* NULL: none is being answered */
	const struct stream_ops *upper; /* after an upgrade */
	void *upper_arg;
};

/* ---- answering ------------------------------------------------------------------- */

/* Whatever became of the request: most that are refused are so before anybody has read them. */
static void wipe_secrets(json_t *body)
{
	static const char *const secrets[] = {"password", "secret", "join_key", "old_token"};

	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
		js_wipe(body, secrets[i]);
}

static void request_free(struct request *rq)
{
	if (!rq)
		return;
	if (rq->cancel)
		rq->cancel(rq);
	store_wait_cancel(&rq->wait);
	json_decref(rq->answer);
	wipe_secrets(rq->body);
	json_decref(rq->body);
	free(rq);
}

static bool may_hold(struct conn *conn, size_t bytes)
{
	bool ok = source_may_hold(conn->co->server, conn->source, conn->held, bytes);

	conn->held = bytes;
	return ok;
}

static void finish(struct conn *conn, int status, const char *headers, const char *type,
		   const void *body, size_t len)
{
	bool keep = conn->http->keep_alive && !conn->closing;
	bool head = conn->http->method && !strcmp(conn->http->method, "HEAD");
	struct buf out;

	buf_init(&out, len + HEAD_ROOM);
	http_write_response(&out, status, headers, type, body, len, keep, head);
	if (status >= 400)
		conn->co->counters[COUNT_REFUSED]++;
	if (conn->rq)
		metrics_answer(&conn->co->metrics, conn->rq->row, status,
			       histogram_now_us() - conn->rq->started_us);
	timer_stop(&conn->limit);
	request_free(conn->rq);
	conn->rq = NULL;
	conn->answering = false;
	stream_set_limit(conn->stream, out.len + QUEUE_ROOM); /* a large answer is no slow reader */
	stream_write(conn->stream, out.data, out.len);
	buf_wipe(&out);
	http_reset(conn->http);
	may_hold(conn, 0);
	if (!keep) {
		conn->closing = true;
		stream_close(conn->stream);
		return;
	}
	conn->reading = conn->head_done = false;
	stream_set_idle(conn->stream, IDLE_MS);
	stream_resume(conn->stream);
}

void reply(struct request *rq, int status, json_t *body)
{
	char *text = body ? js_dump(body) : NULL, headers[sizeof(rq->headers) + 32];

	json_decref(body);
	snprintf(headers, sizeof(headers), "Cache-Control: no-store\r\n%s", rq->headers);
	finish(rq->conn, status, headers, text ? "application/json" : NULL,
	       text ? text : "", text ? strlen(text) : 0);
	if (text)
		secret_wipe(text, strlen(text)); /* tokens pass here */
	free(text);
}

void reply_raw(struct request *rq, int status, const char *headers, const char *content_type,
	       const void *body, size_t len)
{
	finish(rq->conn, status, headers, content_type, body, len);
}

static void problem(struct conn *conn, int status, const char *code, const char *detail,
		    const char *headers)
{
	json_t *json = json_pack("{sssssisoss}", "type", "about:blank", "title",
				 http_status_text(status), "status", status, "detail",
				 js_from_text(detail), "code", code);
	char *text = js_dump(json);

	finish(conn, status, headers, "application/problem+json", text, strlen(text));
	free(text);
	json_decref(json);
}

void reply_problem(struct request *rq, int status, const char *code, const char *format, ...)
{
	char detail[400], said[REMEDY_TEXT];
	va_list args;

	va_start(args, format);
	remedy_format(detail, sizeof(detail), format, args);
	va_end(args);
	remedy_request(said, detail);
	problem(rq->conn, status, code, said,
		*rq->headers ? rq->headers : status == 401 ? "WWW-Authenticate: Bearer\r\n" : NULL);
}

void reply_method_not_allowed(struct request *rq, const char *allowed)
{
	char header[80];

	snprintf(header, sizeof(header), "Allow: %s\r\n", allowed);
	problem(rq->conn, 405, "method_not_allowed", "this path has no such method", header);
}

void reply_refusal(struct request *rq, const struct refusal *why)
{
	reply_problem(rq, why->status, why->code, "%s", why->detail);
}

static void now_durable(void *arg)
{
	struct request *rq = arg;
	json_t *answer = rq->answer;

	if (rq->wait.refused && cluster_healing(rq->co->cluster)) {
		store_wait(rq->co->store, &rq->wait, now_durable, rq);
		rq->wait.refused = true;
		return;
	}
	rq->answer = NULL;
	if (!rq->wait.refused) {
		reply(rq, rq->status, answer);
		return;
	}
	json_decref(answer);
	if (rq->retry && rq->retries++ < RETRIES)
		rq->retry(rq);
	else
		reply_problem(rq, 409, "conflict", "another coordinator has changed the same at this moment: "
			      "look, and try again");
}

void reply_durable(struct request *rq, int status, json_t *body)
{
	rq->status = status;
	rq->answer = body;
	rq->awaited = AWAITED_WRITE;
	timer_start(&rq->conn->limit, ANSWER_MS);
	store_wait(rq->co->store, &rq->wait, now_durable, rq);
}

void reply_later(struct request *rq, void (*cancel)(struct request *rq), void *pending, enum awaited awaited)
{
	rq->awaited = awaited;
	rq->cancel = cancel;
	rq->pending = pending;
	timer_start(&rq->conn->limit, ANSWER_MS);
}

/* ---- reading ---------------------------------------------------------------------- */

static bool may_ask(struct conn *conn)
{
	uint64_t wait_ms = 0;
	char headers[64];

	if (source_may_ask(conn->source, conn->http->body.len, loop_now(conn->co->loop), &wait_ms))
		return true;
	conn->co->counters[COUNT_RATE_LIMITED]++;
	snprintf(headers, sizeof(headers), "Retry-After: %llu\r\n",
		 (unsigned long long)(wait_ms / 1000 + 1));
	problem(conn, 429, "too_many_requests", "too many requests from this address: slow down", headers);
	return false;
}

static void too_large(struct conn *conn)
{
	conn->closing = true;
	problem(conn, 413, "body_too_large", "the body is larger than this request ever needs", NULL);
}

static void begin(struct conn *conn)
{
	struct request *rq = conn->rq = xcalloc(1, sizeof(*rq));
	char address[ADDR_TEXT];

	conn->answering = true;
	conn->co->counters[COUNT_REQUESTS]++;
	timer_stop(&conn->limit);
	stream_set_idle(conn->stream, 0);
	*rq = (struct request){.co = conn->co, .conn = conn, .http = conn->http,
			       .spent = CHALLENGE_ELSEWHERE, .started_us = histogram_now_us()};
	addr_format(address, &stream_remote(conn->stream)->addr);
	snprintf(rq->from, sizeof(rq->from), "address %s", address);
	rq->address = rq->from + strlen("address ");
	if (rq->http->body.len > dispatch_max_body(rq->http))
		too_large(conn);
	else if (dispatch_unpaced(rq->http) || may_ask(conn))
		dispatch(rq);
}

static void bad_request(struct conn *conn)
{
	int status = conn->http->status ? conn->http->status : 400;
	bool head = status == 431 || status == 414;
	const char *code = status == 413 ? "body_too_large" : head ? "headers_too_large" : "bad_request";

	if (head) /* every limit is answered with 413, 422 or 429 */
		status = 413;
	conn->closing = true;
	problem(conn, status, code, conn->http->reason ? conn->http->reason : "this is not HTTP", NULL);
}

/* From the first byte of a request on, its time is limited. */
static void keep_time(struct conn *conn)
{
	uint64_t now = loop_now(conn->co->loop);

	if (!conn->reading) {
		conn->reading = true;
		stream_set_idle(conn->stream, 0); /* it is told that it was too slow */
		timer_start(&conn->limit, HEAD_MS);
	}
	if (!conn->head_done && http_has_head(conn->http)) {
		conn->head_done = true;
		conn->max_body = dispatch_max_body(conn->http);
		conn->body_until_ms = now + BODY_MS;
		if (conn->http->expect_continue)
			stream_write(conn->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	}
	if (conn->head_done)
		timer_start(&conn->limit, MIN(SILENT_MS, MAX(conn->body_until_ms, now) - now));
}

static void too_much(struct conn *conn)
{
	conn->co->counters[COUNT_RATE_LIMITED]++;
	conn->closing = true;
	problem(conn, 429, "busy", "too many large requests at the moment: try again soon",
		"Retry-After: 10\r\n");
}

/* Of who asks on and on, and reads more slowly, the next request waits. */
static bool must_wait(struct conn *conn)
{
	size_t queued = stream_queued(conn->stream);

	if (conn->reading || queued <= QUEUE_FULL)
		return false;
	if (!conn->unread) {
		conn->unread = queued;
		timer_start(&conn->limit, UNREAD_MS);
	}
	return true;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct conn *conn = arg;
	size_t used = 0;

	if (!conn->settled) {
		conn->settled = true;
		server_settled(conn->co->server, conn->source, &conn->node);
	}
	if (conn->upper)
		return conn->upper->data(conn->upper_arg, data, len);
	if (conn->closing)
		return len;
	if (conn->answering || must_wait(conn))
		return 0;
	switch (http_feed(conn->http, data, len, &used)) {
	case HTTP_NEED_MORE:
		keep_time(conn);
		if (conn->head_done && conn->http->body.len > conn->max_body)
			too_large(conn);
		else if (!may_hold(conn, conn->http->body.len))
			too_much(conn);
		break;
	case HTTP_BAD:
		bad_request(conn);
		return len;
	case HTTP_COMPLETE:
		begin(conn);
		break;
	}
	return used;
}

static void on_drained(void *arg)
{
	struct conn *conn = arg;

	if (conn->upper && conn->upper->drained)
		conn->upper->drained(conn->upper_arg);
	if (!conn->unread)
		return;
	conn->unread = 0;
	timer_stop(&conn->limit);
	stream_resume(conn->stream);
}

static void conn_free(struct conn *conn)
{
	timer_stop(&conn->limit);
	request_free(conn->rq);
	if (conn->http)
		http_free(conn->http);
	free(conn->http);
	free(conn);
}

static void on_closed(void *arg, const char *reason)
{
	struct conn *conn = arg;

	if (conn->upper)
		conn->upper->closed(conn->upper_arg, reason);
	may_hold(conn, 0);
	server_gone(conn->co->server, conn->source, &conn->node, conn->settled);
	conn_free(conn);
}

/* It may be slow, but it must read. */
static void judge_reader(struct conn *conn)
{
	size_t queued = stream_queued(conn->stream);

	if (queued >= conn->unread) {
		stream_abort(conn->stream);
		return;
	}
	conn->unread = queued;
	timer_start(&conn->limit, UNREAD_MS);
}

static void on_limit(void *arg)
{
	static const struct late {
		int status;
		const char *code, *detail;
	} late[] = {
		[AWAITED_READ] = {503, "store_unavailable", "the database does not answer at the moment: try again"},
		[AWAITED_WRITE] = {503, "store_unavailable", "the database takes no writes at the moment; what was asked "
				   "for may be done when it does: look, and try again"},
		[AWAITED_PASSWORD] = {429, "busy", "too many passwords are being looked at: try again"},
		[AWAITED_COORDINATOR] = {401, "challenge_unknown", "the coordinator that gave this challenge does not "
					 "answer: ask for another"},
	}, slow = {408, "too_slow", "the request did not come in time"};
	struct conn *conn = arg;
	const struct late *why = conn->answering ? &late[conn->rq->awaited] : &slow;

	if (conn->unread) {
		judge_reader(conn);
		return;
	}
	conn->closing = true;
	problem(conn, why->status, why->code, why->detail, NULL);
}

static const struct stream_ops conn_ops = {.data = on_data, .drained = on_drained, .closed = on_closed};

void conn_new(struct coordinator *co, int fd, struct source *source, struct list *conns)
{
	const struct http_limits limits = {.head = co->config.limits.header,
					   .headers = co->config.limits.headers,
					   .body = co->config.limits.body};
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->co = co;
	conn->source = source;
	conn->since_ms = loop_now(co->loop);
	conn->http = xmalloc(sizeof(*conn->http));
	http_init(conn->http, &limits, false);
	timer_init(&conn->limit, co->loop, on_limit, conn);
	list_add_tail(conns, &conn->node);
	conn->stream = stream_new(co->loop, fd, co->tls, &conn_ops, conn, HEAD_MS);
}

void conn_abort_older(struct list *conns, uint64_t ms)
{
	struct conn *conn, *tmp;

	list_each_safe(conn, tmp, conns, node) {
		if (conn->since_ms > ms)
			return;
		stream_abort(conn->stream); /* its end comes with the loop's next turn */
	}
}

/* ---- upgrades --------------------------------------------------------------------- */

struct stream *conn_upgrade(struct request *rq, const struct stream_ops *ops, void *arg)
{
	const char *key = http_header(rq->http, "Sec-WebSocket-Key");
	struct conn *conn = rq->conn;
	char accept[29], headers[160];
	struct buf out;

	ws_accept_key(accept, key);
	snprintf(headers, sizeof(headers),
		 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", accept);
	buf_init(&out, 0);
	http_write_response(&out, 101, headers, NULL, "", 0, true, false);
	stream_write(conn->stream, out.data, out.len);
	buf_free(&out);
	metrics_answer(&conn->co->metrics, rq->row, 101, histogram_now_us() - rq->started_us);
	request_free(rq);
	conn->rq = NULL;
	http_free(conn->http);
	free(conn->http);
	conn->http = NULL;
	may_hold(conn, 0);
	conn->answering = false;
	conn->upper = ops;
	conn->upper_arg = arg;
	stream_resume(conn->stream);
	return conn->stream;
}

const struct endpoint *conn_local(const struct request *rq)
{
	return stream_local(rq->conn->stream);
}
