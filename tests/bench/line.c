/*
 * line.c - the connection of a simulated agent: a socket, TLS (thin.c), and WebSocket frames, of which
 * a server's are neither masked nor, here, in pieces. What comes in goes to agent.c.
 *
 * Each agent has an address of 127.0.0.0/8 of its own, as in life; so neither ports nor the limits
 * per address bind.
 */
#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64 * 1024)

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

void line_close(struct sim *sim)
{
	if (sim->fd < 0)
		return;
	io_stop(&sim->io);
	close(sim->fd);
	sim->fd = -1;
	thin_free(&sim->tls);
	buf_free(&sim->out);
	buf_free(&sim->early);
	buf_free(&sim->frame);
}

/* ---- out ----------------------------------------------------------------------------- */

static void push(struct sim *sim)
{
	ssize_t sent = 0;

	if (sim->out.len)
		sent = send(sim->fd, sim->out.data, sim->out.len, MSG_NOSIGNAL);
	if (sent > 0)
		buf_consume(&sim->out, (size_t)sent);
	if (!sim->out.len)
		buf_free(&sim->out);
	io_start(&sim->io, LOOP_READ | (sim->out.len ? LOOP_WRITE : 0));
}

void line_write(struct sim *sim, const void *data, size_t len)
{
	if (!sim->tls.open) {
		buf_add(&sim->early, data, len);
		return;
	}
	thin_write(&sim->tls, data, len, &sim->out);
	push(sim);
}

/* A client's frames are masked: with zeros, which changes nothing. */
static void send_frame(struct sim *sim, uint8_t opcode, const void *data, size_t len)
{
	uint8_t head[8] = {0x80 | opcode, 0x80 | (uint8_t)len};
	struct buf frame = {0};
	size_t size = 6;

	if (len > 125) {
		head[1] = 0x80 | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		size = 8;
	}
	buf_add(&frame, head, size);
	buf_add(&frame, data, len);
	line_write(sim, frame.data, frame.len);
	buf_free(&frame);
}

void line_text(struct sim *sim, const char *text)
{
	send_frame(sim, TEXT, text, strlen(text));
}

/* ---- in ------------------------------------------------------------------------------ */

static bool take_frame(struct sim *sim, uint8_t opcode, const uint8_t *data, size_t len)
{
	if (opcode == TEXT)
		sim_message(sim, (const char *)data, len);
	else if (opcode == PING)
		send_frame(sim, PONG, data, len);
	return opcode != CLOSE;
}

/* Bytes of whole frames at the beginning; those are taken. -1: it is over. */
static ssize_t take_frames(struct sim *sim, const uint8_t *data, size_t len)
{
	unsigned dials = sim->dials;
	size_t at = 0;

	while (len - at >= 2) {
		const uint8_t *frame = data + at;
		size_t size = frame[1] & 0x7f, extra = size == 126 ? 2 : size == 127 ? 8 : 0;

		if (len - at < 2 + extra)
			break;
		for (size_t i = size = extra ? 0 : size; i < extra; i++)
			size = size << 8 | frame[2 + i];
		if (len - at - 2 - extra < size)
			break;
		at += 2 + extra + size;
		if (!take_frame(sim, frame[0] & 15, frame + 2 + extra, size) || sim->dials != dials)
			return -1;
	}
	return (ssize_t)at;
}

bool line_frames(struct sim *sim, const uint8_t *data, size_t len)
{
	ssize_t taken;

	if (!sim->frame.len) {
		taken = take_frames(sim, data, len);
		if (taken >= 0 && (size_t)taken < len)
			buf_add(&sim->frame, data + taken, len - (size_t)taken);
		return taken >= 0;
	}
	buf_add(&sim->frame, data, len);
	taken = take_frames(sim, sim->frame.data, sim->frame.len);
	if (taken > 0)
		buf_consume(&sim->frame, (size_t)taken);
	if (!sim->frame.len)
		buf_free(&sim->frame);
	return taken >= 0;
}

/* False: the connection is over. */
static bool receive(struct sim *sim)
{
	static uint8_t data[READ_SIZE];
	static struct buf plain;
	unsigned dials = sim->dials;
	bool was_open = sim->tls.open;
	ssize_t got = recv(sim->fd, data, sizeof(data), 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	plain.len = 0;
	if (got <= 0 || thin_feed(&sim->tls, data, (size_t)got, &plain, &sim->out))
		return false;
	if (sim->tls.open && !was_open) {
		thin_write(&sim->tls, sim->early.data, sim->early.len, &sim->out);
		buf_free(&sim->early);
	}
	if (sim->out.len)
		push(sim);
	if (plain.len && !sim_bytes(sim, plain.data, plain.len))
		return false;
	return sim->dials != dials || !sim->tls.ended;
}

static void on_io(void *arg, int fd, unsigned events)
{
	struct sim *sim = arg;

	(void)fd;
	if (events & LOOP_WRITE)
		push(sim);
	if ((events & LOOP_READ) && !receive(sim))
		sim_lost(sim);
}

/* ---- opening --------------------------------------------------------------------------- */

static int open_socket(struct sim *sim)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x10000 + sim->index)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(sim->subject->at.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

int line_open(struct sim *sim)
{
	sim->fd = open_socket(sim);
	if (sim->fd < 0)
		return sim->fd;
	memset(&sim->tls, 0, sizeof(sim->tls));
	thin_begin(&sim->tls, &sim->out);
	io_init(&sim->io, sim->fleet->loop, sim->fd, on_io, sim);
	io_start(&sim->io, LOOP_READ | LOOP_WRITE);
	return 0;
}
