/*
 * stream.c - a server's byte stream, plain or TLS, with a bounded output queue.
 *
 * Writes are gathered and flushed by one task at the end of the wake. That task is also the only
 * place where a stream is freed, so every callback may close, abort or write without care.
 * Closing lingers: what was queued is sent, our side is shut, and input is thrown away until the
 * other end closes too; else an answer like 413 would be lost in the reset that unread bytes cause.
 * A TLS step may want the other direction than the one it goes in: both are tried on any event.
 * (OpenSSL writes without MSG_NOSIGNAL; loop_new has SIGPIPE ignored.)
 */
#include "stream.h"
#include "secret.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_MS  10000
#define CLOSE_MS      5000
#define DEFAULT_LIMIT ((size_t)1024 * 1024)
#define LEFT_LIMIT    ((size_t)64 * 1024)
#define READ_SIZE     16384 /* one TLS record: none of it stays behind inside OpenSSL */
#define READS_A_WAKE  8

/* What the kernel takes beyond what is on its way, so that our own queue, which has a limit and in which later
 * news replaces earlier, is where a slow reader is waited for (else net.ipv4.tcp_wmem: megabytes each). */
#define KERNEL_QUEUE (64 * 1024)

enum stream_state { HANDSHAKE, OPEN, CLOSING, LINGERING, ENDED };

struct stream {
	struct loop *loop;
	const struct stream_ops *ops;
	void *arg;
	const struct tls_ops *tls; /* NULL: plain */
	struct tls_conn *conn;
	struct loop_io io;
	struct loop_timer timer; /* of the handshake, idleness, or closing */
	struct loop_task task;
	struct buf in;           /* what data() has left */
	struct buf out;
	size_t sent;             /* of out, not yet consumed */
	size_t limit;
	uint64_t idle_ms, active_ms;
	const char *reason;
	struct endpoint local, remote;
	enum stream_state state;
	int fd;
	bool resume;             /* offer `in` again from the task */
	bool blocked;            /* output waits for the socket */
	bool read_wants_write, write_wants_read;
};

/* ---- the end -------------------------------------------------------------------- */

static void end(struct stream *s, const char *reason)
{
	if (s->state == ENDED)
		return;
	s->state = ENDED;
	s->reason = reason;
	io_stop(&s->io);
	timer_stop(&s->timer);
	task_defer(s->loop, &s->task);
}

static void destroy(struct stream *s)
{
	const struct stream_ops *ops = s->ops;
	const char *reason = s->reason;
	void *arg = s->arg;

	task_cancel(&s->task);
	if (s->conn)
		s->tls->free(s->conn);
	if (stream_queued(s)) /* who does not read gets no more: what the kernel holds for it is freed at once */
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	close(s->fd);
	buf_wipe(&s->in);
	buf_wipe(&s->out);
	free(s);
	ops->closed(arg, reason);
}

/* Sent all: shut our side and wait for the other end to have heard it. */
static void linger(struct stream *s)
{
	if (s->conn)
		s->tls->shutdown(s->conn);
	shutdown(s->fd, SHUT_WR);
	buf_wipe(&s->in);
	s->state = LINGERING;
}

/* ---- bytes ---------------------------------------------------------------------- */

static void watch(struct stream *s)
{
	bool reading = s->state == LINGERING || s->state == HANDSHAKE ||
		       (s->state == OPEN && s->in.len < LEFT_LIMIT);
	unsigned events = (reading || s->write_wants_read ? LOOP_READ : 0) |
			  (s->blocked || s->read_wants_write ? LOOP_WRITE : 0);

	if (s->state == ENDED)
		return;
	if (events)
		io_start(&s->io, events);
	else
		io_stop(&s->io);
}

/* Bytes, 0 at the end, -EAGAIN, or another negative. */
static ssize_t receive(struct stream *s, void *out, size_t len)
{
	ssize_t got;

	s->read_wants_write = false;
	if (!s->conn || s->state == LINGERING) {
		got = recv(s->fd, out, len, 0);
		return got >= 0 ? got : errno == EINTR ? -EAGAIN : -errno;
	}
	got = s->tls->read(s->conn, out, len);
	s->read_wants_write = got == TLS_WANT_WRITE;
	return got == TLS_WANT_READ || got == TLS_WANT_WRITE ? -EAGAIN : got;
}

static ssize_t transmit(struct stream *s, const void *data, size_t len)
{
	ssize_t sent;

	s->write_wants_read = false;
	if (!s->conn) {
		sent = send(s->fd, data, len, MSG_NOSIGNAL);
		return sent >= 0 ? sent : errno == EINTR ? -EAGAIN : -errno;
	}
	sent = s->tls->write(s->conn, data, len);
	s->write_wants_read = sent == TLS_WANT_READ;
	return sent == TLS_WANT_READ || sent == TLS_WANT_WRITE ? -EAGAIN : sent;
}

static void flush(struct stream *s)
{
	ssize_t sent;

	s->blocked = false;
	while (s->sent < s->out.len && !s->blocked) {
		sent = transmit(s, s->out.data + s->sent, s->out.len - s->sent);
		if (sent == -EAGAIN) {
			s->blocked = true;
		} else if (sent < 0) {
			end(s, "the other end is gone");
			return;
		} else {
			s->sent += (size_t)sent;
			s->active_ms = loop_now(s->loop);
		}
	}
	if (s->blocked) {
		if (s->sent > s->out.len / 2) {
			buf_consume(&s->out, s->sent);
			s->sent = 0;
		}
		return;
	}
	if (s->out.len) {
		buf_wipe(&s->out);
		s->sent = 0;
		if (s->ops->drained && s->state == OPEN)
			s->ops->drained(s->arg);
	}
	if (s->state == CLOSING && !s->out.len)
		linger(s);
}

/* Gives bytes to the owner, behind what it left before; keeps what it leaves now. */
static void offer(struct stream *s, const uint8_t *data, size_t len)
{
	size_t taken;

	if (s->in.len) {
		if (len && buf_add(&s->in, data, len)) {
			end(s, "too much input was left standing");
			return;
		}
		taken = s->ops->data(s->arg, s->in.data, s->in.len);
		if (s->state == LINGERING || s->state == ENDED)
			return;
		buf_consume(&s->in, MIN(taken, s->in.len));
		if (!s->in.len)
			buf_wipe(&s->in);
		return;
	}
	taken = len ? s->ops->data(s->arg, data, len) : 0;
	if (taken < len && s->state == OPEN)
		buf_add(&s->in, data + taken, len - taken);
}

static void peer_ended(struct stream *s)
{
	if (s->state == OPEN && s->out.len) /* it may only have shut its own side */
		stream_close(s);
	else
		end(s, s->state == LINGERING ? "closed" : "the other end has closed");
}

static void read_some(struct stream *s)
{
	uint8_t data[READ_SIZE];
	ssize_t got = 1;

	for (int i = 0; i < READS_A_WAKE && got > 0; i++) {
		if (s->state == ENDED || s->state == CLOSING || s->in.len >= LEFT_LIMIT)
			return;
		got = receive(s, data, sizeof(data));
		if (got > 0 && s->state == OPEN) {
			s->active_ms = loop_now(s->loop);
			offer(s, data, (size_t)got);
			secret_wipe(data, (size_t)got); /* the stack is slow to forget */
		}
	}
	if (got == 0)
		peer_ended(s);
	else if (got < 0 && got != -EAGAIN)
		end(s, s->state == LINGERING ? "closed" : "the connection broke");
}

static void handshake(struct stream *s)
{
	int result = s->tls->handshake(s->conn);

	s->blocked = result == TLS_WANT_WRITE;
	if (result == TLS_WANT_READ || result == TLS_WANT_WRITE)
		return;
	if (result) {
		end(s, "the TLS handshake failed");
		return;
	}
	s->state = OPEN;
	s->active_ms = loop_now(s->loop);
	timer_stop(&s->timer);
	stream_set_idle(s, s->idle_ms);
	if (s->out.len)
		task_defer(s->loop, &s->task);
}

/* ---- called by the loop ----------------------------------------------------------- */

static void on_io(void *arg, int fd, unsigned events)
{
	struct stream *s = arg;

	(void)fd;
	(void)events;
	if (s->state == HANDSHAKE)
		handshake(s);
	if (s->state != HANDSHAKE)
		read_some(s);
	if (s->blocked && (s->state == OPEN || s->state == CLOSING))
		task_defer(s->loop, &s->task);
	watch(s);
}

static void on_task(void *arg)
{
	struct stream *s = arg;

	if (s->resume && s->state == OPEN) {
		s->resume = false;
		offer(s, NULL, 0);
	}
	if (s->state == OPEN || s->state == CLOSING)
		flush(s);
	if (s->state == ENDED)
		destroy(s);
	else
		watch(s);
}

static void on_timer(void *arg)
{
	struct stream *s = arg;
	uint64_t idle = loop_now(s->loop) - s->active_ms;

	if (s->state == HANDSHAKE)
		end(s, "the TLS handshake took too long");
	else if (s->state != OPEN)
		end(s, s->state == LINGERING ? "closed" : "the other end does not read");
	else if (idle >= s->idle_ms)
		end(s, "nothing was heard for too long");
	else
		timer_start(&s->timer, s->idle_ms - idle);
}

/* ---- the owner's side ------------------------------------------------------------- */

struct stream *stream_new(struct loop *loop, int fd, struct tls_server *tls, const struct stream_ops *ops,
			  void *arg, uint64_t idle_ms)
{
	struct stream *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->fd = fd;
	s->ops = ops;
	s->arg = arg;
	s->limit = DEFAULT_LIMIT;
	s->idle_ms = idle_ms;
	s->active_ms = loop_now(loop);
	s->state = OPEN;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){KERNEL_QUEUE}, sizeof(int));
	sock_local(fd, &s->local);
	sock_remote(fd, &s->remote);
	buf_init(&s->in, LEFT_LIMIT + READ_SIZE);
	buf_init(&s->out, 0);
	io_init(&s->io, loop, fd, on_io, s);
	timer_init(&s->timer, loop, on_timer, s);
	task_init(&s->task, on_task, s);
	stream_set_idle(s, idle_ms);
	if (tls) {
		s->tls = tls->ops;
		s->conn = tls->ops->accept(tls, fd);
		s->state = HANDSHAKE;
		timer_start(&s->timer, HANDSHAKE_MS);
		if (!s->conn)
			end(s, "TLS has no memory for another connection");
	}
	watch(s);
	return s;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	if (s->state != OPEN && s->state != HANDSHAKE)
		return -EPIPE;
	if (stream_queued(s) + len > s->limit || buf_add(&s->out, data, len)) {
		end(s, "the other end reads too slowly");
		return -ENOBUFS;
	}
	if (s->state == OPEN && !s->blocked)
		task_defer(s->loop, &s->task);
	return 0;
}

void stream_set_limit(struct stream *s, size_t max_queued)
{
	s->limit = max_queued;
	s->out.limit = 2 * max_queued; /* what was sent is consumed by halves */
}

void stream_set_idle(struct stream *s, uint64_t idle_ms)
{
	s->idle_ms = idle_ms;
	if (s->state != OPEN)
		return;
	if (idle_ms)
		timer_start(&s->timer, idle_ms);
	else
		timer_stop(&s->timer);
}

void stream_resume(struct stream *s)
{
	s->resume = true;
	task_defer(s->loop, &s->task);
}

size_t stream_queued(const struct stream *s)
{
	return s->out.len - s->sent;
}

void stream_close(struct stream *s)
{
	if (s->state == HANDSHAKE)
		end(s, "closed");
	if (s->state != OPEN)
		return;
	s->state = CLOSING;
	timer_start(&s->timer, CLOSE_MS);
	task_defer(s->loop, &s->task);
}

void stream_abort(struct stream *s)
{
	end(s, "closed by us");
}

const struct endpoint *stream_remote(const struct stream *s)
{
	return &s->remote;
}

const struct endpoint *stream_local(const struct stream *s)
{
	return &s->local;
}
