/*
 * session.c - frames of one stream. A frame that is not understood is answered with an error and
 * otherwise ignored; who sends many of them, or does not answer two pings, is dropped.
 */
#include "session.h"
#include "coordinator/api/api.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/ws.h"

#include <string.h>

#define HELLO_MS        10000
#define PING_MS         20000
#define MAX_MESSAGE     (160 * 1024) /* a heartbeat of 1,000 peers, with the longest names of relays */
#define BYTES_SECOND    (256 * 1024)
#define LARGE_FRAME     (16 * 1024) /* larger than any signal */
#define MAX_BAD_FRAMES  10
#define MESSAGES_SECOND 100
#define SIGNALS_SECOND  20 /* to one receiver */
#define TOKEN_EARLY_MS  (2 * 3600 * 1000ull)

/* What the WebSocket wants to say goes to the stream, which drops those that do not read. */
static void flush(struct session *session)
{
	struct buf *out = ws_output(session->ws);

	if (!session->stream || !out->len)
		return;
	if (stream_write(session->stream, out->data, out->len) < 0)
		session->co->counters[COUNT_STREAMS_DROPPED]++;
	buf_wipe(out); /* a token may be in it; and a snapshot's size is not needed again soon */
}

/* No more of it, at once. */
static void cut(struct session *session)
{
	flush(session);
	if (session->agent)
		sync_ended(session);
	session->agent = NULL;
	timer_stop(&session->tick);
	session_forget(session);
	if (session->stream)
		stream_close(session->stream);
}

static void drop(struct session *session, uint16_t code, const char *reason)
{
	log_debug("stream-dropped", "agent=%s reason=\"%s\"", session->agent ? session->agent->id : "-",
		  reason);
	session->co->counters[COUNT_STREAMS_DROPPED]++;
	ws_close(session->ws, code, reason);
	cut(session);
}

void session_send_text(struct session *session, const char *text, size_t len)
{
	ws_send(session->ws, text, len);
	flush(session);
}

void session_send(struct session *session, json_t *frame)
{
	char *text = js_dump(frame);

	session_send_text(session, text, strlen(text));
	secret_wipe(text, strlen(text)); /* tokens pass here */
	free(text);
	json_decref(frame);
}

void session_bye(struct session *session, const char *reason, uint64_t retry_ms)
{
	session_send(session, json_pack("{sssssI}", "type", "bye", "reason", reason, "retry_after_ms",
					(json_int_t)retry_ms));
	ws_close(session->ws, 1001, reason);
	cut(session);
}

void session_forget(struct session *session)
{
	free(session->held);
	session->held = NULL;
	session->anew = false;
	list_del(&session->dirty);
	sync_wait_cancel(session->co->sync, &session->wait);
}

bool session_waits(const struct session *session)
{
	return session->wait.fn;
}

/* ---- frames from the agent ----------------------------------------------------------- */

/* Who goes round among more receivers than there are paces sends none of them more: so many are
 * enough for MESSAGES_SECOND. */
#define PACES          (MESSAGES_SECOND / SIGNALS_SECOND)

struct pace {
	char to[PROTO_ID_MAX];
	struct bucket bucket;
};

bool session_may_signal(struct session *session, const struct agent *to)
{
	uint64_t now = loop_now(session->co->loop);
	struct pace *pace, *oldest;

	if (!session->paces)
		session->paces = xcalloc(PACES, sizeof(*session->paces));
	oldest = session->paces;
	for (pace = session->paces; pace < session->paces + PACES; pace++) {
		if (!strcmp(pace->to, to->id))
			return bucket_take(&pace->bucket, now);
		if (pace->bucket.last_ms < oldest->bucket.last_ms)
			oldest = pace;
	}
	str_copy(oldest->to, sizeof(oldest->to), to->id);
	bucket_init(&oldest->bucket, SIGNALS_SECOND, 2 * SIGNALS_SECOND, now);
	return bucket_take(&oldest->bucket, now);
}

static void send_error(struct session *session, const char *code, const char *detail, json_t *id)
{
	session_send(session, json_pack("{sssssssO?}", "type", "error", "code", code, "detail", detail,
					"id", id));
}

static bool on_hello(struct session *session, struct js *js, const char **code)
{
	const char *epoch = js_string(js, "epoch", NULL);
	int64_t revision = js_int(js, "revision", 0, INT64_MAX, 0);

	*code = "bad_hello";
	if (js_int(js, "version", 1, 1, 1) != 1 || !js_ok(js))
		return false;
	if (session->greeted) {
		js_fail(js, "hello", "was said already");
		return false;
	}
	session->greeted = true;
	sync_hello(session, epoch, (uint64_t)revision);
	return true;
}

static bool on_ack(struct session *session, struct js *js, const char **code)
{
	*code = "bad_ack";
	session->acked = (uint64_t)js_int(js, "revision", 0, INT64_MAX, 0);
	return js_ok(js);
}

static bool on_endpoint(struct session *session, struct js *js, const char **code)
{
	struct proto_endpoints at;

	*code = "bad_endpoint";
	if (!proto_read_endpoints(js, &at) || !api_endpoints_ok(js, &at))
		return false;
	registry_endpoints(session->co, session->agent, &at);
	return true;
}

static bool on_heartbeat(struct session *session, struct js *js, const char **code)
{
	*code = "bad_heartbeat";
	return api_take_heartbeat(session->co, session->agent, js);
}

static const struct {
	const char *type;
	bool (*fn)(struct session *session, struct js *js, const char **code);
	bool changes; /* what all peers are told: it counts as the request of the same name does */
} frames[] = {
	{"hello", on_hello, false},	    {"ack", on_ack, false},	    {"endpoint", on_endpoint, true},
	{"heartbeat", on_heartbeat, true}, {"signal", sync_signal, false},
};

static bool call(struct session *session, size_t i, struct js *js, const char **code)
{
	if (!session->greeted && i) {
		js_fail(js, "type", "hello comes first");
		return false;
	}
	if (frames[i].changes && !agent_may_ask(session->co, session->agent, 0)) {
		*code = "too_many_messages";
		js_fail(js, "type", "comes too often: slow down");
		return false;
	}
	return frames[i].fn(session, js, code);
}

static bool take_frame(struct session *session, struct js *js, const char **code)
{
	const char *type = js_need_string(js, "type", 20);

	*code = "bad_frame";
	if (!js_ok(js))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		if (!strcmp(type, frames[i].type))
			return call(session, i, js, code);
	js_fail(js, "type", "is none that is known here");
	return false;
}

static bool paced(struct session *session, size_t len)
{
	uint64_t now = loop_now(session->co->loop);
	bool few = bucket_take(&session->messages, now);

	if (few && bucket_take_many(&session->bytes, (double)len, now))
		return true;
	session->co->counters[COUNT_RATE_LIMITED]++;
	send_error(session, "too_many_messages", "slow down", NULL);
	/* Many signals at once are a network coming back; what is large and comes too fast is a flood. */
	if (few && len > LARGE_FRAME && session->agent && ++session->bad_frames >= MAX_BAD_FRAMES)
		drop(session, 1008, "too many bytes");
	return false;
}

static void on_message(void *arg, const char *text, size_t len)
{
	struct session *session = arg;
	char error[JS_ERROR];
	const char *code = "bad_json";
	json_t *json;
	struct js js;

	if (!session->agent)
		return;
	if (!paced(session, len))
		return;
	json = js_load(text, len, error);
	js_read(&js, json);
	if (json && js_ok(&js) && take_frame(session, &js, &code)) {
		json_decref(json);
		return;
	}
	if (session->agent)
		send_error(session, code, json ? js.error : error,
			   json_is_object(json) ? json_object_get(json, "id") : NULL);
	json_decref(json);
	/* A signal to somebody who is not there, or hears enough, is no fault. */
	if (session->agent && strcmp(code, "peer_offline") && strcmp(code, "unknown_peer") &&
	    strcmp(code, "peer_busy") && ++session->bad_frames >= MAX_BAD_FRAMES)
		drop(session, 1008, "too many frames made no sense");
}

/* ---- the stream ------------------------------------------------------------------------ */

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct session *session = arg;
	int result;

	if (!session->agent)
		return len;
	result = ws_feed(session->ws, data, len);
	flush(session);
	if (session->agent && (result < 0 || ws_closed(session->ws))) {
		if (result < 0)
			session->co->counters[COUNT_STREAMS_DROPPED]++;
		cut(session);
	}
	return len;
}

static void on_closed(void *arg, const char *reason)
{
	struct session *session = arg;

	session->stream = NULL;
	if (session->agent)
		log_debug("stream-closed", "agent=%s reason=\"%s\"", session->agent->id, reason);
	cut(session);
	list_del(&session->node);
	ws_free(session->ws);
	free(session->paces);
	free(session);
}

static void fresh_token(struct session *session)
{
	json_t *frame = api_token_json(session->co, session->agent);

	json_object_set_new(frame, "type", json_string("token"));
	session_send(session, frame);
	session->token_ends_ms = loop_now(session->co->loop) + session->co->config.token_lifetime_ms;
}

static void tick(void *arg)
{
	struct session *session = arg;
	uint64_t now = loop_now(session->co->loop);
	uint64_t early = MIN(TOKEN_EARLY_MS, session->co->config.token_lifetime_ms / 2);

	if (!session->greeted) {
		drop(session, 1008, "no hello came");
		return;
	}
	if (!ws_watch_ping(&session->watch, session->ws)) {
		drop(session, 1001, "two pings were not answered");
		return;
	}
	flush(session);
	if (session->token_ends_ms < now + early)
		fresh_token(session);
	registry_seen(session->co, session->agent);
	timer_start(&session->tick, PING_MS);
}

static void on_drained(void *arg)
{
	struct session *session = arg;

	if (session->agent)
		sync_drained(session);
}

static const struct stream_ops session_ops = {.data = on_data, .drained = on_drained, .closed = on_closed};

void session_open(struct request *rq, struct agent *agent, struct list *sessions)
{
	struct session *session = xcalloc(1, sizeof(*session));
	uint64_t now = loop_now(rq->co->loop);

	session->co = rq->co;
	session->agent = agent;
	agent->session = session;
	list_init(&session->dirty);
	list_add_tail(sessions, &session->node);
	session->ws = ws_new(true, MAX_MESSAGE, on_message, session);
	session->token_ends_ms = now + rq->token_ends_ms - MIN(clock_wall_ms(), rq->token_ends_ms);
	bucket_init(&session->messages, MESSAGES_SECOND, 4 * MESSAGES_SECOND, now);
	bucket_init(&session->bytes, BYTES_SECOND, 4 * BYTES_SECOND, now);
	timer_init(&session->tick, rq->co->loop, tick, session);
	timer_start(&session->tick, HELLO_MS);
	rq->co->counters[COUNT_STREAMS_OPENED]++;
	session->stream = conn_upgrade(rq, &session_ops, session);
}
