/*
 * fetch_stream.c - bare byte streams over TLS, by CURLOPT_CONNECT_ONLY.
 *
 * The tricky things are TLS's. What libcurl has decrypted already is in no socket any more, so a
 * stream is read until CURLE_AGAIN before it is waited for. And OpenSSL wants an interrupted write
 * repeated with the same pointer and length, so what is being sent sits in a chunk of its own that
 * does not move or grow while the queue behind it does.
 */
#include "fetch_transfer.h"

#include "lib/sock.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define DIAL_TIMEOUT_MS 10000
#define QUEUE_MAX       (1u << 20)
#define CHUNK           16384
#define READS_A_WAKE    64

struct fetch_stream {
	struct transfer base;
	struct loop_io io;
	struct loop_task flush, read;
	struct buf queue;
	uint8_t *chunk;
	size_t chunk_len, chunk_sent;
	bool open;
	bool *gone; /* set by fetch_stream_close while one of our callbacks is running */
	const struct fetch_stream_ops *ops;
	void *arg;
};

static void stream_drop(struct transfer *t)
{
	struct fetch_stream *stream = container_of(t, struct fetch_stream, base);

	if (stream->gone)
		*stream->gone = true;
	io_stop(&stream->io);
	task_cancel(&stream->flush);
	task_cancel(&stream->read);
	transfer_fini(t);
	buf_wipe(&stream->queue);
	free(stream->chunk);
	free(stream);
}

static void stream_fail(struct fetch_stream *stream, int error, const char *why)
{
	const struct fetch_stream_ops *ops = stream->ops;
	void *arg = stream->arg;

	stream_drop(&stream->base);
	ops->closed(arg, error, why);
}

static void stream_fail_code(struct fetch_stream *stream, CURLcode code)
{
	char why[FETCH_WHY];
	int error = transfer_explain(&stream->base, code, why);

	stream_fail(stream, error, why);
}

/* Sends what it can. CURLE_OK: nothing is left. */
static CURLcode send_queued(struct fetch_stream *stream)
{
	CURLcode code;
	size_t sent;

	for (;;) {
		if (stream->chunk_sent == stream->chunk_len) {
			stream->chunk_sent = 0;
			stream->chunk_len = MIN(stream->queue.len, CHUNK);
			if (!stream->chunk_len)
				return CURLE_OK;
			memcpy(stream->chunk, stream->queue.data, stream->chunk_len);
			buf_consume(&stream->queue, stream->chunk_len);
		}
		sent = 0;
		code = curl_easy_send(stream->base.easy, stream->chunk + stream->chunk_sent,
				      stream->chunk_len - stream->chunk_sent, &sent);
		if (code)
			return code;
		stream->chunk_sent += sent;
	}
}

static void stream_flush(void *arg)
{
	struct fetch_stream *stream = arg;
	CURLcode code = send_queued(stream);

	if (code && code != CURLE_AGAIN) {
		stream_fail_code(stream, code);
		return;
	}
	io_start(&stream->io, LOOP_READ | (code == CURLE_AGAIN ? LOOP_WRITE : 0u));
}

static void stream_read(void *arg)
{
	struct fetch_stream *stream = arg;
	struct fetch *fetch = stream->base.multi->fetch;
	uint8_t data[CHUNK];
	bool gone = false;
	CURLcode code = CURLE_OK;
	size_t len;

	fetch_enter(fetch);
	stream->gone = &gone;
	for (int i = 0; i < READS_A_WAKE && !gone && !code; i++) {
		len = 0;
		code = curl_easy_recv(stream->base.easy, data, sizeof(data), &len);
		if (!code && !len)
			break;
		if (!code)
			stream->ops->data(stream->arg, data, len);
	}
	if (!gone) {
		stream->gone = NULL;
		if (!code && len)
			task_defer(fetch->loop, &stream->read);
		else if (!code)
			stream_fail(stream, -ECONNRESET, "the server closed the connection");
		else if (code != CURLE_AGAIN)
			stream_fail_code(stream, code);
	}
	fetch_leave(fetch);
}

static void on_stream(void *arg, int fd, unsigned events)
{
	struct fetch_stream *stream = arg;

	(void)fd;
	if (events & LOOP_WRITE)
		task_defer(stream->base.multi->fetch->loop, &stream->flush);
	if (events & LOOP_READ)
		stream_read(stream);
}

/* Connected, TLS included. The easy handle stays in the multi: removed, it would be closed. */
static void stream_done(struct transfer *t, CURLcode code)
{
	struct fetch_stream *stream = container_of(t, struct fetch_stream, base);
	struct loop *loop = t->multi->fetch->loop;
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (!code)
		curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (code || fd == CURL_SOCKET_BAD) {
		stream_fail_code(stream, code ? code : CURLE_RECV_ERROR);
		return;
	}
	stream->open = true;
	stream->chunk = xmalloc(CHUNK);
	io_init(&stream->io, loop, fd, on_stream, stream);
	io_start(&stream->io, LOOP_READ);
	task_defer(loop, &stream->read);
	if (stream->queue.len)
		task_defer(loop, &stream->flush);
	if (stream->ops->opened)
		stream->ops->opened(stream->arg);
}

struct fetch_stream *fetch_dial(struct fetch *fetch, const struct fetch_trust *trust, const char *url,
				const struct fetch_stream_ops *ops, void *arg)
{
	struct fetch_stream *stream = xcalloc(1, sizeof(*stream));
	CURL *easy;

	transfer_init(&stream->base, &fetch->streams, url, trust);
	easy = stream->base.easy;
	stream->base.done = stream_done;
	stream->base.drop = stream_drop;
	stream->ops = ops;
	stream->arg = arg;
	buf_init(&stream->queue, QUEUE_MAX);
	task_init(&stream->flush, stream_flush, stream);
	task_init(&stream->read, stream_read, stream);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)DIAL_TIMEOUT_MS);
	curl_multi_add_handle(fetch->streams.handle, easy);
	return stream;
}

int fetch_stream_write(struct fetch_stream *stream, const void *data, size_t len)
{
	int error = buf_add(&stream->queue, data, len);

	if (!error && stream->open)
		task_defer(stream->base.multi->fetch->loop, &stream->flush);
	return error;
}

static curl_socket_t socket_of(const struct fetch_stream *stream)
{
	curl_socket_t at = CURL_SOCKET_BAD;

	if (stream->open)
		curl_easy_getinfo(stream->base.easy, CURLINFO_ACTIVESOCKET, &at);
	return at;
}

struct addr fetch_stream_remote(const struct fetch_stream *stream)
{
	curl_socket_t at = socket_of(stream);
	struct endpoint remote = {0};

	if (at != CURL_SOCKET_BAD && sock_remote(at, &remote))
		remote.addr.family = 0;
	return remote.addr;
}

bool fetch_stream_rooted(const struct fetch_stream *stream)
{
	curl_socket_t at = socket_of(stream);
	struct endpoint local;
	int fd;

	if (at == CURL_SOCKET_BAD || sock_local(at, &local))
		return true;
	local.port = 0;
	fd = sock_udp(&local);
	if (fd >= 0)
		close(fd);
	return fd != -EADDRNOTAVAIL;
}

void fetch_stream_close(struct fetch_stream *stream)
{
	if (!stream)
		return;
	if (stream->open)
		send_queued(stream); /* a parting word, if it goes out at once */
	stream_drop(&stream->base);
}
