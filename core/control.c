/*
 * control.c - the agent's socket: lines of JSON in, lines of JSON out.
 *
 * A client is never freed inside a call of its owner's: what ends it (an error while answering, a
 * full queue) marks it, and a task at the end of the wake reaps. So a handler may answer, and
 * answer wrongly, without asking after each call whether the client is still there.
 *
 * A connection whose writing half was shut (`echo ... | socat - UNIX:...`) still gets its answer.
 */
#include "control.h"
#include "lib/buf.h"
#include "lib/log.h"
#include "lib/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 64
#define MAX_REQUEST (64 * 1024)
#define MAX_UNREAD  (256 * 1024)
#define MAX_ANSWER  (16 * 1024 * 1024) /* one status of 1,000 peers is 500 KiB */
#define FLUSH_MS    200

struct control {
	struct loop *loop;
	struct loop_io io;
	struct loop_task sweep;
	struct list clients;
	size_t client_count;
	int fd;
	char *path;
	control_fn *fn;
	void *arg;
};

struct control_client {
	struct list node;
	struct control *control;
	struct loop_io io;
	int fd;
	struct buf in, out;
	bool asking;   /* a request was given to the owner and not answered yet */
	bool no_more;  /* the other end has shut its writing half */
	bool gone;     /* to be reaped */
	loop_timer_fn *closed_fn;
	void *closed_arg;
};

static void client_end(struct control_client *client)
{
	if (client->gone)
		return;
	client->gone = true;
	io_stop(&client->io);
	task_defer(client->control->loop, &client->control->sweep);
}

static void client_free(struct control_client *client)
{
	if (client->closed_fn)
		client->closed_fn(client->closed_arg);
	io_stop(&client->io);
	list_del(&client->node);
	client->control->client_count--;
	close(client->fd);
	buf_free(&client->in);
	buf_free(&client->out);
	free(client);
}

static void client_write(struct control_client *client)
{
	while (client->out.len > 0 && !client->gone) {
		ssize_t sent = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			if (errno != EAGAIN)
				client_end(client);
			return;
		}
		buf_consume(&client->out, (size_t)sent);
	}
}

/* Waits for what is due next, and ends a client from which nothing can come any more. */
static void client_wait(struct control_client *client)
{
	unsigned events = client->no_more ? 0 : LOOP_READ;

	if (client->gone)
		return;
	if (client->no_more && client->out.len == 0 && !client->asking && !client->closed_fn) {
		client_end(client);
		return;
	}
	if (client->out.len > 0)
		events |= LOOP_WRITE;
	if (events)
		io_start(&client->io, events);
	else
		io_stop(&client->io);
}

void control_reply(struct control_client *client, json_t *answer)
{
	char *text;

	if (client->out.len > MAX_UNREAD) {
		log_warn("control-slow-reader", "reason=\"a client does not read its answers; it was let go\"");
		client_end(client);
	}
	if (client->asking) {
		client->asking = false;
		client->closed_fn = NULL;
		task_defer(client->control->loop, &client->control->sweep);
	}
	if (!client->gone) {
		text = js_dump(answer);
		if (buf_puts(&client->out, text) || buf_puts(&client->out, "\n"))
			client_end(client);
		free(text);
		client_write(client);
		client_wait(client);
	}
	json_decref(answer);
}

void control_error(struct control_client *client, int exit_code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	control_reply(client, json_pack("{s:b, s:i, s:o}", "ok", 0, "exit", exit_code, "error",
					js_from_text(text)));
}

void control_on_close(struct control_client *client, loop_timer_fn *fn, void *arg)
{
	client->closed_fn = fn;
	client->closed_arg = arg;
}

static void client_request(struct control_client *client, const char *line, size_t len)
{
	char error[JS_ERROR];
	json_t *request = js_load(line, len, error);

	client->asking = true;
	if (!request)
		control_error(client, 2, "the request is %s", error);
	else if (!json_is_string(json_object_get(request, "command")))
		control_error(client, 2, "a request is an object with a \"command\"");
	else
		client->control->fn(client->control->arg, client, request);
	json_decref(request);
}

/* Whole lines, one at a time: the next waits for its predecessor's answer. */
static void client_take_lines(struct control_client *client)
{
	while (!client->asking && !client->gone && client->in.len > 0) {
		uint8_t *end = memchr(client->in.data, '\n', client->in.len);
		size_t len;

		if (!end)
			break;
		len = (size_t)(end - client->in.data);
		if (len > 0) {
			char *line = xmemdup(client->in.data, len);

			buf_consume(&client->in, len + 1);
			client_request(client, line, len);
			free(line);
		} else {
			buf_consume(&client->in, 1);
		}
	}
}

/* At the end of a wake: frees who is gone, and goes on with whom an owner has answered. */
static void sweep(void *arg)
{
	struct control *control = arg;
	struct control_client *client, *tmp;

	list_each_safe(client, tmp, &control->clients, node) {
		client_take_lines(client);
		client_wait(client);
		if (client->gone)
			client_free(client);
	}
}

/* The other end will send no more. Is it still there to be answered? */
static void client_half_closed(struct control_client *client)
{
	struct pollfd poll_fd = {.fd = client->fd};

	client->no_more = true;
	if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)))
		client_end(client);
}

static void client_read(struct control_client *client)
{
	uint8_t *room = buf_reserve(&client->in, 4096);
	ssize_t got;

	if (!room) {
		if (!client->asking)
			control_error(client, 2, "a request may have %d bytes", MAX_REQUEST);
		client_end(client);
		return;
	}
	got = read(client->fd, room, 4096);
	if (got > 0)
		client->in.len += (size_t)got;
	else if (got == 0)
		client_half_closed(client);
	else if (errno != EAGAIN && errno != EINTR)
		client_end(client);
}

static void client_ready(void *arg, int fd, unsigned events)
{
	struct control_client *client = arg;

	(void)fd;
	if (events & LOOP_WRITE)
		client_write(client);
	if ((events & LOOP_READ) && !client->gone)
		client_read(client);
	client_take_lines(client);
	client_wait(client);
}

static bool may_speak(int fd)
{
	uid_t uid;

	return sock_peer_uid(fd, &uid) == 0 && (uid == 0 || uid == geteuid());
}

static const char too_many[] = "{\"ok\":false,\"exit\":1,\"error\":\"the agent has too many "
			       "connections (64): end some of those that ask it\"}\n";

static void accept_ready(void *arg, int listen_fd, unsigned events)
{
	struct control *control = arg;
	struct control_client *client;
	int fd = sock_accept(listen_fd, NULL);

	(void)events;
	if (fd < 0)
		return;
	if (control->client_count >= MAX_CLIENTS || !may_speak(fd)) {
		if (control->client_count >= MAX_CLIENTS)
			send(fd, too_many, sizeof(too_many) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->control = control;
	client->fd = fd;
	buf_init(&client->in, MAX_REQUEST);
	buf_init(&client->out, MAX_ANSWER);
	list_add_tail(&control->clients, &client->node);
	control->client_count++;
	io_init(&client->io, control->loop, fd, client_ready, client);
	io_start(&client->io, LOOP_READ);
}

int control_listen(struct control **out, struct loop *loop, const char *path, control_fn *fn, void *arg)
{
	struct control *control;
	int fd = sock_listen_unix(path, 0600);

	if (fd < 0)
		return fd;
	control = xcalloc(1, sizeof(*control));
	*control = (struct control){.loop = loop, .fd = fd, .path = xstrdup(path), .fn = fn, .arg = arg};
	list_init(&control->clients);
	task_init(&control->sweep, sweep, control);
	io_init(&control->io, loop, fd, accept_ready, control);
	io_start(&control->io, LOOP_READ);
	*out = control;
	return 0;
}

void control_free(struct control *control)
{
	struct control_client *client, *tmp;

	if (!control)
		return;
	list_each_safe(client, tmp, &control->clients, node)
		client_free(client);
	task_cancel(&control->sweep);
	io_stop(&control->io);
	close(control->fd);
	unlink(control->path);
	free(control->path);
	free(control);
}

void control_flush(struct control *control)
{
	struct control_client *client;
	struct pollfd poll_fd;

	list_each(client, &control->clients, node) {
		client_write(client);
		poll_fd = (struct pollfd){.fd = client->fd, .events = POLLOUT};
		if (client->out.len > 0 && !client->gone && poll(&poll_fd, 1, FLUSH_MS) > 0)
			client_write(client);
	}
}
