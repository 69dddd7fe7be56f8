/*
 * events.c - listeners and their frames. Nothing is kept for later: who comes asks the API for what is,
 * and hears what changes. A listener that does not read is dropped by its stream's limit.
 */
#include "events_private.h"
#include "coordinator/access/who.h"
#include "coordinator/api/conn.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "lib/ws.h"

#include <string.h>

#define MAX_LISTENERS 256
#define MAX_OF_ACCESS 8 /* one token or session */
#define MAX_OF_USER   32
#define MAX_MESSAGE   4096
#define MAX_QUEUED    (4u << 20)
#define PING_MS       20000

struct listener {
	struct list node;
	struct events *events;
	struct stream *stream;
	struct ws *ws;
	struct loop_timer tick;
	struct ws_watch watch;
	char access[PROTO_ID_MAX], user[PROTO_NAME_MAX]; /* user "": nobody's token */
	bool ending;
};

static void flush(struct listener *listener)
{
	struct buf *out = ws_output(listener->ws);

	if (listener->stream && out->len)
		stream_write(listener->stream, out->data, out->len);
	buf_free(out);
}

static void end(struct listener *listener, uint16_t code, const char *reason)
{
	if (listener->ending)
		return;
	listener->ending = true;
	ws_close(listener->ws, code, reason);
	flush(listener);
	timer_stop(&listener->tick);
	stream_close(listener->stream);
}

static bool sees(struct listener *listener, const char *network_id)
{
	const struct access *access = map_get(listener->events->co->users.accesses, listener->access);
	struct who who;
	bool yes;

	if (!access || !access_valid(access, clock_wall_ms())) {
		end(listener, 1008, "the token or session has ended");
		return false;
	}
	who_access(&who, access, "");
	yes = who_sees_id(&who, *network_id ? network_id : NULL);
	who_fini(&who);
	return yes;
}

void events_tell(struct events *events, const char *network_id, char *frame)
{
	struct listener *listener, *tmp;

	list_each_safe(listener, tmp, &events->listeners, node) {
		if (listener->ending || !sees(listener, network_id))
			continue;
		ws_send(listener->ws, frame, strlen(frame));
		flush(listener);
	}
	free(frame);
}

void events_cut(struct events *events, const char *access_id)
{
	struct listener *listener;

	if (!events)
		return;
	list_each(listener, &events->listeners, node)
		if (!strcmp(listener->access, access_id))
			end(listener, 1008, "the token or session has ended");
}

static void end_all(struct events *events, uint16_t code, const char *reason)
{
	struct listener *listener;

	list_each(listener, &events->listeners, node)
		end(listener, code, reason);
}

void events_lost(struct events *events)
{
	end_all(events, 1013, "the database takes its time: come again, and ask for what is");
	if (events->follow)
		events->follow(events->follow_arg, NULL, 0);
}

void events_bye(struct events *events)
{
	end_all(events, 1001, "restart");
}

void events_follow(struct events *events, events_follow_fn *fn, void *arg)
{
	events->follow = fn;
	events->follow_arg = arg;
}

/* ---- the stream ------------------------------------------------------------------------- */

static void on_message(void *arg, const char *text, size_t len)
{
	(void)arg; /* listeners have nothing to say */
	(void)text;
	(void)len;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct listener *listener = arg;
	int result;

	if (listener->ending)
		return len;
	result = ws_feed(listener->ws, data, len);
	flush(listener);
	if (result < 0 || ws_closed(listener->ws))
		end(listener, 1000, "");
	return len;
}

static void on_closed(void *arg, const char *reason)
{
	struct listener *listener = arg;

	(void)reason;
	timer_stop(&listener->tick);
	list_del(&listener->node);
	listener->events->count--;
	ws_free(listener->ws);
	free(listener);
}

static void tick(void *arg)
{
	struct listener *listener = arg;

	sees(listener, ""); /* ends with its token */
	if (listener->ending)
		return;
	if (!ws_watch_ping(&listener->watch, listener->ws)) {
		end(listener, 1001, "two pings were not answered");
		return;
	}
	flush(listener);
	timer_start(&listener->tick, PING_MS);
}

static const struct stream_ops listener_ops = {.data = on_data, .closed = on_closed};

/* Nobody takes the places of all others. Those that are ending count: they still have what is queued. */
static bool has_place(const struct events *events, const struct who *who, struct refusal *why)
{
	unsigned of_access = 0, of_user = 0;
	const struct listener *listener;

	list_each(listener, &events->listeners, node) {
		of_access += !strcmp(listener->access, who->access);
		of_user += *who->user && !strcmp(listener->user, who->user);
	}
	if (of_access >= MAX_OF_ACCESS)
		return refuse(why, 429, "busy", "this token or session listens %u times already: close a dashboard",
			      of_access);
	if (of_user >= MAX_OF_USER)
		return refuse(why, 429, "busy", "the user %s listens %u times already: close a dashboard", who->user,
			      of_user);
	return events->count < MAX_LISTENERS ||
	       refuse(why, 429, "busy", "too many listen already: close a dashboard");
}

void events_accept(struct request *rq, const struct who *who)
{
	struct events *events = rq->co->events;
	struct listener *listener;
	struct refusal why;

	if (!conn_wants_websocket(rq))
		return;
	if (!has_place(events, who, &why)) {
		reply_refusal(rq, &why);
		return;
	}
	listener = xcalloc(1, sizeof(*listener));
	listener->events = events;
	str_copy(listener->access, sizeof(listener->access), who->access);
	str_copy(listener->user, sizeof(listener->user), who->user);
	listener->ws = ws_new(true, MAX_MESSAGE, on_message, listener);
	timer_init(&listener->tick, events->co->loop, tick, listener);
	timer_start(&listener->tick, PING_MS);
	list_add_tail(&events->listeners, &listener->node);
	events->count++;
	listener->stream = conn_upgrade(rq, &listener_ops, listener);
	stream_set_limit(listener->stream, MAX_QUEUED);
	ws_send(listener->ws, "{\"type\":\"hello\",\"version\":1}", 28);
	flush(listener);
}

/* ---- the module --------------------------------------------------------------------------- */

struct events *events_new(struct coordinator *co)
{
	struct events *events = xcalloc(1, sizeof(*events));

	events->co = co;
	list_init(&events->listeners);
	list_init(&events->held);
	return events;
}

void events_free(struct events *events)
{
	if (events)
		events_gate_clear(events);
	free(events);
}

size_t events_listeners(const struct events *events)
{
	return events->count;
}
