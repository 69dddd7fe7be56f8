/*
 * ws.c - WebSocket frames over wslay's event API, which does the framing, masking, UTF-8 check,
 * pongs and the closing handshake. Input is a slice that lives for one ws_feed; output goes to a
 * buffer at once, so that wslay's own queue is empty between calls.
 *
 * wslay's context takes 9 KB, most of a connection that has nothing to say. So we follow where frames
 * end, and between messages there is no context: it is made when bytes come. Once a close frame has
 * passed or something was wrong it stays, because it knows.
 *
 * The tricky thing: wslay answers a protocol error by queueing a close frame and reading no more,
 * and calls that success. It shows by reading being off without a close frame having come in.
 */
#include "ws.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <wslay/wslay.h>

#define HEAD_MAX 14 /* of a frame: 2, a length of 8, a mask of 4 */

struct ws {
	wslay_event_context_ptr context; /* NULL: at rest */
	size_t max;
	ws_message_fn *fn;
	void *arg;
	struct buf out;
	const uint8_t *in;
	size_t in_len;
	uint64_t pongs;
	bool is_server;
	bool feeding; /* inside ws_feed, which flushes at its end */
	bool failed;
	bool wrong; /* a frame whose head is against RFC 6455 */
	/* where in the input we are */
	uint8_t head[HEAD_MAX], head_len;
	bool in_message; /* a fragment came that was not the last */
	uint64_t payload_left;
};

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *out, size_t len, int flags, void *arg)
{
	struct ws *ws = arg;
	size_t take = MIN(len, ws->in_len);

	(void)flags;
	if (!take) {
		wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(out, ws->in, take);
	ws->in += take;
	ws->in_len -= take;
	return (ssize_t)take;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags,
		       void *arg)
{
	struct ws *ws = arg;

	(void)flags;
	if (buf_add(&ws->out, data, len)) {
		wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr context, uint8_t *out, size_t len, void *arg)
{
	(void)context;
	(void)arg;
	randombytes_buf(out, len);
	return 0;
}

static void on_message(wslay_event_context_ptr context,
		       const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
	static const char only_text[] = "only text is spoken here";
	struct ws *ws = arg;

	if (message->opcode == WSLAY_TEXT_FRAME) {
		ws->fn(ws->arg, (const char *)message->msg, message->msg_length);
	} else if (message->opcode == WSLAY_BINARY_FRAME) {
		wslay_event_queue_close(context, WSLAY_CODE_UNSUPPORTED_DATA,
					(const uint8_t *)only_text, strlen(only_text));
		wslay_event_shutdown_read(context);
	} else if (message->opcode == WSLAY_PONG) {
		ws->pongs++;
	}
}

struct ws *ws_new(bool is_server, size_t max, ws_message_fn *fn, void *arg)
{
	struct ws *ws = xcalloc(1, sizeof(*ws));

	ws->is_server = is_server;
	ws->max = max;
	ws->fn = fn;
	ws->arg = arg;
	buf_init(&ws->out, 0);
	return ws;
}

void ws_free(struct ws *ws)
{
	if (!ws)
		return;
	if (ws->context)
		wslay_event_context_free(ws->context);
	buf_free(&ws->out);
	free(ws);
}

/* ---- resting ------------------------------------------------------------------------ */

static void wake(struct ws *ws)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.genmask_callback = on_mask,
		.on_msg_recv_callback = on_message,
	};
	int error;

	if (ws->context)
		return;
	error = ws->is_server ? wslay_event_context_server_init(&ws->context, &callbacks, ws)
			      : wslay_event_context_client_init(&ws->context, &callbacks, ws);
	if (error) /* nothing but memory can be missing */
		abort();
	wslay_event_config_set_max_recv_msg_length(ws->context, ws->max);
}

static void rest(struct ws *ws)
{
	if (!ws->context || ws->failed || ws->feeding || ws->head_len || ws->payload_left ||
	    ws->in_message || wslay_event_want_write(ws->context) ||
	    !wslay_event_get_read_enabled(ws->context) || !wslay_event_get_write_enabled(ws->context) ||
	    wslay_event_get_close_received(ws->context) || wslay_event_get_close_sent(ws->context))
		return;
	wslay_event_context_free(ws->context);
	ws->context = NULL;
}

/* Bytes of the head, as far as those that are there tell. */
static size_t head_size(const struct ws *ws)
{
	unsigned length = ws->head_len < 2 ? 0 : ws->head[1] & 0x7f;

	if (ws->head_len < 2)
		return 2;
	return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (ws->head[1] & 0x80 ? 4 : 0);
}

static uint64_t payload_size(const struct ws *ws)
{
	unsigned length = ws->head[1] & 0x7f, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
	uint64_t size = 0;

	if (!bytes)
		return length;
	for (unsigned i = 0; i < bytes; i++)
		size = size << 8 | ws->head[2 + i];
	return size;
}

/* What wslay would answer with a close frame that says nothing (RFC 6455 5.1, 5.2, 5.5), as far as the
 * head's bytes that are there tell: none that tells may reach it. */
static bool head_wrong(const struct ws *ws)
{
	unsigned length = ws->head[1] & 0x7f, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
	uint64_t size;

	if (ws->head_len < 2)
		return false;
	if ((ws->head[0] & 8 && (!(ws->head[0] & 0x80) || length > 125)) ||
	    !(ws->head[1] & 0x80) == ws->is_server)
		return true;
	if (!bytes || ws->head_len < 2 + bytes)
		return false;
	size = payload_size(ws);
	return length == 126 ? size < 126 : size < 65536 || size >> 63;
}

/* Follows frames; what is in them is wslay's to judge. Bytes before a wrong one, or all. */
static size_t follow(struct ws *ws, const uint8_t *data, size_t len)
{
	size_t at = 0, frame = 0;

	while (at < len) {
		if (ws->payload_left) {
			size_t skip = MIN(ws->payload_left, len - at);

			ws->payload_left -= skip;
			at += skip;
			continue;
		}
		if (!ws->head_len)
			frame = at;
		ws->head[ws->head_len++] = data[at++];
		ws->wrong = head_wrong(ws);
		if (ws->wrong)
			return frame;
		if (ws->head_len < head_size(ws))
			continue;
		ws->payload_left = payload_size(ws);
		if (!(ws->head[0] & 8)) /* not a control frame */
			ws->in_message = !(ws->head[0] & 0x80);
		ws->head_len = 0;
	}
	return len;
}

/* ---- in and out ---------------------------------------------------------------------- */

static int flush(struct ws *ws)
{
	if (!ws->failed && wslay_event_send(ws->context))
		ws->failed = true;
	return ws->failed ? -ENOBUFS : 0;
}

static void say_wrong(struct ws *ws)
{
	static const char text[] = "a frame is not as RFC 6455 has it";

	wslay_event_queue_close(ws->context, WSLAY_CODE_PROTOCOL_ERROR, (const uint8_t *)text, strlen(text));
}

int ws_feed(struct ws *ws, const void *data, size_t len)
{
	bool broken;

	if (ws->failed)
		return -EPROTO;
	wake(ws);
	ws->in_len = follow(ws, data, len);
	ws->in = data;
	ws->feeding = true;
	broken = wslay_event_recv(ws->context) != 0;
	ws->feeding = false;
	if (ws->wrong && !broken)
		say_wrong(ws);
	flush(ws); /* the close frame too */
	ws->failed |= broken || ws->wrong;
	if (ws->failed)
		return -EPROTO;
	if (!wslay_event_get_read_enabled(ws->context) && !wslay_event_get_close_received(ws->context))
		return -EPROTO;
	rest(ws);
	return 0;
}

/* A server's frame is a head and the text as it is. */
static int write_frame(struct ws *ws, uint8_t opcode, const void *data, size_t len)
{
	uint8_t head[10] = {0x80 | opcode}, *at;
	size_t extra = len < 126 ? 0 : len < 65536 ? 2 : 8;

	head[1] = extra == 0 ? (uint8_t)len : extra == 2 ? 126 : 127;
	for (size_t i = 0; i < extra; i++)
		head[2 + i] = (uint8_t)(len >> 8 * (extra - 1 - i));
	at = buf_reserve(&ws->out, 2 + extra + len);
	if (!at) {
		ws->failed = true;
		return -ENOBUFS;
	}
	memcpy(at, head, 2 + extra);
	if (len)
		memcpy(at + 2 + extra, data, len);
	ws->out.len += 2 + extra + len;
	return 0;
}

static int queue(struct ws *ws, uint8_t opcode, const void *data, size_t len)
{
	const struct wslay_event_msg message = {opcode, data, len};
	int result;

	if (ws->failed)
		return -EPIPE;
	if (ws->is_server && !ws->context)
		return write_frame(ws, opcode, data, len);
	wake(ws);
	if (wslay_event_queue_msg(ws->context, &message))
		return -EPIPE;
	if (ws->feeding)
		return 0;
	result = flush(ws);
	rest(ws);
	return result;
}

int ws_send(struct ws *ws, const char *text, size_t len)
{
	return queue(ws, WSLAY_TEXT_FRAME, text, len);
}

int ws_ping(struct ws *ws)
{
	return queue(ws, WSLAY_PING, "", 0);
}

int ws_close(struct ws *ws, uint16_t code, const char *reason)
{
	size_t len = reason ? MIN(strlen(reason), 123) : 0;

	if (ws->failed)
		return -EPIPE;
	wake(ws);
	if (wslay_event_queue_close(ws->context, code, (const uint8_t *)reason, len))
		return -EPIPE;
	return ws->feeding ? 0 : flush(ws);
}

struct buf *ws_output(struct ws *ws)
{
	return &ws->out;
}

bool ws_closed(const struct ws *ws)
{
	return ws->failed || (ws->context && wslay_event_get_close_received(ws->context) &&
			      wslay_event_get_close_sent(ws->context));
}

uint64_t ws_last_pong(const struct ws *ws)
{
	return ws->pongs;
}

bool ws_watch_ping(struct ws_watch *watch, struct ws *ws)
{
	if (watch->pongs != ws->pongs)
		watch->unanswered = 0;
	watch->pongs = ws->pongs;
	if (watch->unanswered >= 2)
		return false;
	watch->unanswered++;
	ws_ping(ws);
	return true;
}
