/*
 * admin.c - the socket of admin.h: one request a connection. What the commands do is in
 * admin_commands.c; an answer waits until what was changed is on the disk.
 */
#include "admin.h"
#include "admin_commands.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/remedy.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/events.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/str.h"
#include "lib/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_REQUEST (4u << 20) /* a policy of 1 MiB, as JSON */
#define MAX_CLIENTS 64
#define IDLE_MS     10000
#define OVERDUE_MS  8000 /* a database that takes, or gives, nothing */
#define QUEUE_ROOM  (1u << 20)

struct admin {
	struct coordinator *co;
	struct loop_io accept;
	struct list clients;
	unsigned count;
	char *path;
	int fd;
};

struct client {
	struct list node;
	struct admin *admin;
	struct stream *stream;
	struct store_wait wait;
	struct admin_call call;
	struct loop_timer overdue;
	struct buf in; /* a request so far */
	json_t *answer;
	uid_t uid;
	bool asked, follows, writes;
	json_t *missed;       /* audit: lines since it was asked for and `batch` was closed; NULL: read */
	uint64_t batch;
};

/* ---- answers ----------------------------------------------------------------------------- */

static void send_line(struct client *client, json_t *json)
{
	char *text = js_dump(json);

	/* The list of a large network must not look like a slow reader. */
	stream_set_limit(client->stream, strlen(text) + QUEUE_ROOM);
	stream_write(client->stream, text, strlen(text));
	stream_write(client->stream, "\n", 1);
	secret_wipe(text, strlen(text)); /* a join link may be in it */
	free(text);
	json_decref(json);
}

/* What is not written as it must be (`*invalid`) is wrong usage, a policy's file too; what is, and cannot be done, has
 * failed: a test of a policy, and an agent's route, which is judged, not typed. */
static int exit_code(const struct refusal *why)
{
	static const char malformed[] = "invalid";
	size_t len = strlen(why->code), end = sizeof(malformed) - 1;

	if (!strcmp(why->code, "route_invalid"))
		return 1;
	return why->status == 400 || (len >= end && !strcmp(why->code + len - end, malformed)) ? 2 : 1;
}

static json_t *refusal_json(const struct refusal *why)
{
	char said[REMEDY_TEXT];

	remedy_command(said, why->detail);
	return json_pack("{sbsssosi}", "ok", 0, "code", why->code, "detail", js_from_text(said), "exit",
			 exit_code(why));
}

static void answer_now(void *arg)
{
	struct client *client = arg;
	json_t *answer = client->answer;

	client->answer = NULL;
	timer_stop(&client->overdue);
	if (client->wait.refused) {
		json_decref(answer);
		answer = refusal_json(&(struct refusal){.status = 409, .code = "conflict",
							.detail = "another coordinator has changed the same at "
								  "this moment: look, and try again"});
	}
	if (client->missed) /* of the audit, while it was read */
		json_array_extend(json_object_get(json_object_get(answer, "result"), "audit"), client->missed);
	json_decref(client->missed);
	client->missed = NULL;
	send_line(client, answer);
	if (!client->follows)
		stream_close(client->stream);
}

static void refused(struct client *client, const struct refusal *why)
{
	client->follows = false;
	client->answer = refusal_json(why);
	answer_now(client);
}

/* What was written stays queued: it may yet be done. */
static void on_overdue(void *arg)
{
	struct client *client = arg;
	char says[STORE_WHY];
	struct refusal why;

	store_why(client->admin->co->store, says);
	if (client->call.job)
		refuse(&why, 429, "busy", "too many passwords are being looked at: try again");
	else if (client->writes)
		refuse(&why, 503, "store_unavailable", "the database takes no writes at the moment%s; what was asked for may "
		       "be done when it does: look, and try again", says);
	else
		refuse(&why, 503, "store_unavailable", "the database does not answer at the moment%s: try again", says);
	admin_call_cancel(&client->call);
	store_wait_cancel(&client->wait);
	json_decref(client->answer);
	json_decref(client->missed);
	client->missed = NULL;
	refused(client, &why);
}

/* `audit` may go on. What was in the batch that it was read behind, or before, has been read. */
static void on_audit(void *arg, const char *line, uint64_t batch)
{
	struct admin *admin = arg;
	struct client *client;
	char error[JS_ERROR];
	json_t *json;

	list_each(client, &admin->clients, node) {
		if (!client->follows || (line && batch <= client->batch))
			continue;
		json = line ? js_load(line, strlen(line), error) : NULL;
		client->follows = json;
		if (json && client->missed)
			json_array_append_new(client->missed, json);
		else if (json)
			send_line(client, json);
		else if (!client->missed) /* else it ends with its answer */
			stream_close(client->stream);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Who hears of a refusal may ask again at once: by then memory has what is there instead. */
static void on_written(void *arg)
{
	struct client *client = arg;

	if (client->wait.refused && cluster_healing(client->admin->co->cluster)) {
		store_wait(client->admin->co->store, &client->wait, on_written, client);
		client->wait.refused = true;
	} else {
		answer_now(client);
	}
}

static void on_done(void *arg, json_t *result, const struct refusal *why)
{
	struct client *client = arg;

	if (!result) {
		refused(client, why);
		return;
	}
	client->answer = json_pack("{sbso}", "ok", 1, "result", result);
	if (client->writes)
		store_wait(client->admin->co->store, &client->wait, on_written, client);
	else
		answer_now(client);
}

static void on_request(struct client *client, const char *text, size_t len)
{
	char error[JS_ERROR];
	json_t *json = js_load(text, len, error), *arguments;
	struct refusal why = {.status = 400, .code = "bad_request"};
	const char *command;
	struct who who;
	struct js js;

	js_read(&js, json);
	if (!json)
		str_copy(js.error, sizeof(js.error), error);
	command = js_need_string(&js, "command", 40);
	arguments = js_object(&js, "arguments");
	if (!js_ok(&js)) {
		snprintf(why.detail, sizeof(why.detail), "%s", js.error);
		refused(client, &why);
	} else {
		client->follows = !strcmp(command, "audit") &&
				  json_is_true(json_object_get(arguments, "follow"));
		if (client->follows) {
			stream_set_idle(client->stream, 0);
			client->missed = json_array();
			client->batch = store_batch(client->admin->co->store);
		}
		client->writes = !admin_row(command) || admin_row(command)->write;
		who_root(&who, (unsigned)client->uid);
		timer_start(&client->overdue, OVERDUE_MS);
		admin_run(&client->call, client->admin->co, command, arguments, &who, on_done, client);
	}
	json_decref(json);
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct client *client = arg;
	const uint8_t *end = memchr(data, '\n', len);
	bool fits;

	if (client->asked)
		return len;
	fits = !buf_add(&client->in, data, end ? (size_t)(end - data) : len);
	if (fits && !end)
		return len;
	client->asked = true;
	if (fits)
		on_request(client, buf_text(&client->in), client->in.len);
	else
		refused(client, &(struct refusal){.status = 413, .code = "body_too_large",
						  .detail = "this is more than a coordinator takes at once"});
	buf_wipe(&client->in); /* a password may be in it */
	return len;
}

static void on_closed(void *arg, const char *reason)
{
	struct client *client = arg;

	(void)reason;
	timer_stop(&client->overdue);
	admin_call_cancel(&client->call);
	store_wait_cancel(&client->wait);
	buf_wipe(&client->in);
	json_decref(client->answer);
	json_decref(client->missed);
	list_del(&client->node);
	client->admin->count--;
	free(client);
}

static const struct stream_ops ops = {.data = on_data, .closed = on_closed};

/* Best effort: whoever is one too many has not been given a stream. */
static void say_busy(int socket)
{
	json_t *json = refusal_json(&(struct refusal){.status = 503, .code = "busy",
						      .detail = "too many commands at once: try again in a moment"});
	char *text = js_dump(json), end[] = "\n";
	struct iovec parts[] = {{text, strlen(text)}, {end, 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("admin-busy", "reason=\"the client is gone\"");
	free(text);
	json_decref(json);
}

static void on_accept(void *arg, int fd, unsigned events)
{
	struct admin *admin = arg;
	int socket = sock_accept(fd, NULL);
	struct client *client;
	uid_t uid;

	(void)events;
	if (socket < 0)
		return;
	if (sock_peer_uid(socket, &uid) < 0 || (uid != 0 && uid != geteuid())) {
		close(socket);
		return;
	}
	if (admin->count >= MAX_CLIENTS) {
		say_busy(socket);
		close(socket);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->admin = admin;
	client->uid = uid;
	timer_init(&client->overdue, admin->co->loop, on_overdue, client);
	buf_init(&client->in, MAX_REQUEST);
	list_add_tail(&admin->clients, &client->node);
	admin->count++;
	client->stream = stream_new(admin->co->loop, socket, NULL, &ops, client, IDLE_MS);
}

struct admin *admin_new(struct coordinator *co, char *error, size_t size)
{
	struct admin *admin = xcalloc(1, sizeof(*admin));

	admin->co = co;
	admin->path = xasprintf("%s/coordinator.sock", co->config.run_dir);
	list_init(&admin->clients);
	admin->fd = sock_listen_unix(admin->path, 0600);
	if (admin->fd < 0) {
		if (admin->fd == -EADDRINUSE)
			snprintf(error, size, "another coordinator answers at %s: stop it, or use --run-dir",
				 admin->path);
		else if (admin->fd == -EEXIST)
			snprintf(error, size, "cannot make the socket %s: something else is there, which is no socket: "
				 "remove it, or use --run-dir", admin->path);
		else
			snprintf(error, size, "cannot make the socket %s: %s; move it with --run-dir", admin->path,
				 strerror(-admin->fd));
		free(admin->path);
		free(admin);
		return NULL;
	}
	events_follow(co->events, on_audit, admin);
	io_init(&admin->accept, co->loop, admin->fd, on_accept, admin);
	io_start(&admin->accept, LOOP_READ);
	return admin;
}

void admin_stop(struct admin *admin)
{
	struct client *client;

	if (admin->fd < 0)
		return;
	io_stop(&admin->accept);
	close(admin->fd);
	unlink(admin->path);
	admin->fd = -1;
	list_each(client, &admin->clients, node)
		stream_abort(client->stream);
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	admin_stop(admin);
	events_follow(admin->co->events, NULL, NULL);
	free(admin->path);
	free(admin);
}
