/*
 * coord_sync.c - dial, upgrade (RFC 6455 section 4.1), frames, pings.
 *
 * A dead connection says nothing, so silence is measured: after 20 s of it we ping, after 40 s it
 * is over. Whatever comes in counts as life.
 *
 * The tricky thing is the end. It can come from inside wslay's callback, from the stream's or from
 * the owner, so that it is only noted there (`ending`) and done by a task at the end of the wake.
 */
#include "coord_sync.h"
#include "api.h"
#include "lib/http.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/ws.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGE  (16 * 1024 * 1024) /* a snapshot of 1,000 peers is 1 MiB */
#define MAX_REFUSAL  (16 * 1024)
#define OPEN_LIMIT   15000
#define PING_AFTER   20000
#define DEAD_AFTER   40000
#define CHECK_LIMIT  5000

struct coord_sync {
	struct loop *loop;
	struct fetch_stream *stream; /* NULL: has ended */
	struct http_message answer;
	struct ws *ws; /* NULL until the upgrade was answered */
	struct loop_timer timer;
	struct loop_task finish;
	uint64_t heard_ms;
	bool checking, ending;
	char *request, accept[29];
	struct coord_sync_end end;
	const struct coord_sync_ops *ops;
	void *arg;
};

static void PRINTF_LIKE(3, 4) end(struct coord_sync *sync, const char *code, const char *format, ...)
{
	va_list args;

	if (sync->ending)
		return;
	sync->ending = true;
	str_copy(sync->end.code, sizeof(sync->end.code), code);
	va_start(args, format);
	vsnprintf(sync->end.why, sizeof(sync->end.why), format, args);
	va_end(args);
	task_defer(sync->loop, &sync->finish);
}

static void wipe_request(struct coord_sync *sync)
{
	if (sync->request)
		secret_wipe(sync->request, strlen(sync->request));
	free(sync->request);
	sync->request = NULL;
}

void coord_sync_free(struct coord_sync *sync)
{
	if (!sync)
		return;
	fetch_stream_close(sync->stream);
	http_free(&sync->answer);
	ws_free(sync->ws);
	timer_stop(&sync->timer);
	task_cancel(&sync->finish);
	wipe_request(sync);
	free(sync);
}

static void finish(void *arg)
{
	struct coord_sync *sync = arg;
	const struct coord_sync_ops *ops = sync->ops;
	struct coord_sync_end why = sync->end;
	void *owner = sync->arg;

	coord_sync_free(sync);
	ops->closed(owner, &why);
}

/* ---- frames ---------------------------------------------------------------------------- */

static void flush(struct coord_sync *sync)
{
	struct buf *out = ws_output(sync->ws);

	if (out->len == 0 || !sync->stream)
		return;
	if (fetch_stream_write(sync->stream, out->data, out->len))
		end(sync, "", "the coordinator takes nothing in any more");
	buf_consume(out, out->len);
}

static void on_message(void *arg, const char *text, size_t len)
{
	struct coord_sync *sync = arg;
	const char *why = "a frame is no JSON object";
	char error[JS_ERROR];
	json_t *frame;

	if (sync->ending)
		return;
	frame = js_load(text, len, error);
	if (!json_is_object(frame) || !sync->ops->frame(sync->arg, frame, &why))
		end(sync, "malformed", "the coordinator sent what it must not: %s", why);
	json_decref(frame);
}

int coord_sync_send(struct coord_sync *sync, json_t *frame)
{
	int ret = -ENOTCONN;
	char *text;

	if (sync->ws && !sync->ending) {
		text = js_dump(frame);
		ret = ws_send(sync->ws, text, strlen(text));
		free(text);
		flush(sync);
	}
	json_decref(frame);
	return ret;
}

static void take_frames(struct coord_sync *sync, const uint8_t *data, size_t len)
{
	int ret = ws_feed(sync->ws, data, len);

	flush(sync);
	if (ret)
		end(sync, "malformed", "the coordinator broke the WebSocket protocol");
	else if (ws_closed(sync->ws))
		end(sync, "", "the coordinator closed the stream");
}

/* ---- the upgrade ------------------------------------------------------------------------- */

static void refused(struct coord_sync *sync)
{
	const struct http_message *m = &sync->answer;
	char error[JS_ERROR];
	json_t *body = js_load(m->body.data, m->body.len, error);
	const char *code = json_string_value(json_object_get(body, "code"));

	sync->end.status = m->status;
	if (!code || strlen(code) >= SYNC_CODE ||
	    strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(code))
		code = "";
	end(sync, code, "the coordinator answered the stream with %d %s", m->status, code);
	json_decref(body);
}

static bool upgraded(const struct http_message *m, const char *accept)
{
	const char *got = http_header(m, "Sec-WebSocket-Accept");

	return m->status == 101 && got && !strcmp(got, accept) &&
	       http_header_has(m, "Upgrade", "websocket") && http_header_has(m, "Connection", "upgrade") &&
	       !http_header(m, "Sec-WebSocket-Extensions") && !http_header(m, "Sec-WebSocket-Protocol");
}

/* Returns how many bytes belonged to the answer. */
static size_t take_answer(struct coord_sync *sync, const uint8_t *data, size_t len)
{
	struct http_message *m = &sync->answer;
	size_t used = 0;

	switch (http_feed(m, data, len, &used)) {
	case HTTP_NEED_MORE:
		break;
	case HTTP_BAD:
		end(sync, "malformed", "what answers is no coordinator: %s", m->reason ? m->reason : "not HTTP");
		break;
	case HTTP_COMPLETE:
		if (upgraded(m, sync->accept)) {
			sync->ws = ws_new(false, MAX_MESSAGE, on_message, sync);
			timer_start(&sync->timer, PING_AFTER);
			sync->ops->opened(sync->arg);
		} else {
			refused(sync);
		}
		break;
	}
	return used;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct coord_sync *sync = arg;
	size_t used = 0;

	sync->heard_ms = loop_now(sync->loop);
	sync->checking = false;
	if (!sync->ws && !sync->ending)
		used = take_answer(sync, data, len);
	if (sync->ws && !sync->ending && used < len)
		take_frames(sync, data + used, len - used);
}

static void on_opened(void *arg)
{
	struct coord_sync *sync = arg;

	if (fetch_stream_write(sync->stream, sync->request, strlen(sync->request)))
		end(sync, "", "the request for the stream could not be sent");
	wipe_request(sync);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct coord_sync *sync = arg;

	sync->stream = NULL;
	if (error == -EKEYREJECTED)
		end(sync, "untrusted", "%s", why);
	else
		end(sync, "", "%s", why);
}

/* ---- silence ------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
	struct coord_sync *sync = arg;
	uint64_t silent = loop_now(sync->loop) - sync->heard_ms;

	if (!sync->ws) {
		end(sync, "", "the coordinator did not answer within %d s", OPEN_LIMIT / 1000);
	} else if (sync->checking || silent >= DEAD_AFTER) {
		end(sync, "", "the coordinator is silent");
	} else if (silent >= PING_AFTER) {
		ws_ping(sync->ws);
		flush(sync);
		timer_start(&sync->timer, DEAD_AFTER - silent);
	} else {
		timer_start(&sync->timer, PING_AFTER - silent);
	}
}

bool coord_sync_check(struct coord_sync *sync)
{
	if (sync->stream && !fetch_stream_rooted(sync->stream))
		return false;
	if (!sync->ws || sync->checking || sync->ending)
		return true;
	sync->checking = true;
	ws_ping(sync->ws);
	flush(sync);
	timer_start(&sync->timer, CHECK_LIMIT);
	return true;
}

struct addr coord_sync_remote(const struct coord_sync *sync)
{
	return sync->stream ? fetch_stream_remote(sync->stream) : (struct addr){0};
}

void coord_sync_end(struct coord_sync *sync, const char *why)
{
	end(sync, "", "%s", why);
}

struct coord_sync *coord_sync_open(struct loop *loop, struct fetch *fetch, const struct coord_sync_target *target,
				   const struct coord_sync_ops *ops, void *arg)
{
	static const struct fetch_stream_ops stream_ops = {.opened = on_opened, .data = on_data, .closed = on_closed};
	static const struct http_limits limits = {.body = MAX_REFUSAL};
	struct coord_sync *sync = xcalloc(1, sizeof(*sync));
	uint8_t nonce[16];
	char *key;

	sync->loop = loop;
	sync->ops = ops;
	sync->arg = arg;
	sync->heard_ms = loop_now(loop);
	random_bytes(nonce, sizeof(nonce));
	key = base64_encode(nonce, sizeof(nonce));
	ws_accept_key(sync->accept, key);
	sync->request = xasprintf("GET /api/v1/agents/%s/sync HTTP/1.1\r\nHost: %s\r\n"
				  "User-Agent: wg-mesh/" WG_MESH_VERSION "\r\n"
				  "Connection: Upgrade\r\nUpgrade: websocket\r\n"
				  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
				  "Authorization: Bearer %s\r\n\r\n",
				  target->agent_id, target->origin + strlen("https://"), key, target->token);
	free(key);
	http_init(&sync->answer, &limits, true);
	timer_init(&sync->timer, loop, on_timer, sync);
	timer_start(&sync->timer, OPEN_LIMIT);
	task_init(&sync->finish, finish, sync);
	sync->stream = fetch_dial(fetch, &target->trust, target->origin, &stream_ops, sync);
	return sync;
}
