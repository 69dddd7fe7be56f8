/*
 * admin.c - the socket of admin.h: one request a connection. What the commands do is in
 * admin_commands.c; an answer waits until what was changed is on the disk.
 */
#include "admin.h"
#include "admin_commands.h"
#include "store.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_REQUEST (64 * 1024)
#define MAX_CLIENTS 64
#define IDLE_MS     10000
#define AUDIT_LINES 1000
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
	json_t *answer;
	uid_t uid;
	bool asked, follows;
	json_t *missed;       /* audit: lines since it was asked for and `batch` was closed; NULL: read */
	json_t *lines;        /* of the audit, until they are answered */
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

static json_t *refused(const struct refusal *why)
{
	return json_pack("{sbsssssi}", "ok", 0, "code", why->code, "detail", why->detail, "exit",
			 why->status == 400 ? 2 : 1);
}

static void answer_now(void *arg)
{
	struct client *client = arg;
	json_t *answer = client->answer;

	client->answer = NULL;
	if (client->wait.refused) {
		json_decref(answer);
		answer = refused(&(struct refusal){.status = 409, .code = "conflict",
						   .detail = "another coordinator has changed the same at "
							     "this moment: look, and try again"});
	}
	send_line(client, answer);
	if (!client->follows)
		stream_close(client->stream);
}

static void answer(struct client *client, json_t *json)
{
	client->answer = json;
	store_wait(client->admin->co->store, &client->wait, answer_now, client);
}

/* ---- the audit, which may go on ------------------------------------------------------------ */

static json_t *audit_json(uint64_t at, const char *actor, const char *action, const char *subject,
			  const char *detail)
{
	return json_pack("{sosssssoso}", "at", js_from_time(at), "actor", actor, "action", action, "subject",
			 js_from_string(subject), "detail", js_from_string(detail));
}

static void audit_row(void *arg, const struct store_value *row)
{
	json_array_append_new(arg, audit_json((uint64_t)row[0].number, store_string(&row[1]),
					      store_string(&row[2]), store_string(&row[3]),
					      store_string(&row[4])));
}

/* Those of a client that has gone are for nobody. */
static void audit_done(void *arg, uint64_t serial)
{
	(void)serial;
	json_decref(arg);
}

static void audit_now(void *arg)
{
	struct client *client = arg;

	json_array_extend(client->lines, client->missed);
	json_decref(client->missed);
	client->missed = NULL;
	client->answer = json_pack("{sbs{so}}", "ok", 1, "result", "audit", client->lines);
	client->lines = NULL;
	answer_now(client);
}

/* Read when all that was written until now is there to be read. */
static void on_audit(struct client *client, bool follow)
{
	struct store *store = client->admin->co->store;

	client->follows = follow;
	if (follow)
		stream_set_idle(client->stream, 0);
	client->missed = json_array();
	client->lines = json_array();
	client->batch = store_batch(store);
	store_fetch(store, STORE_AUDIT, NULL, AUDIT_LINES, audit_row, audit_done, json_incref(client->lines));
	store_wait(store, &client->wait, audit_now, client);
}

void admin_follow(struct admin *admin, uint64_t wall_ms, const char *actor, const char *action,
		  const char *subject, const char *detail)
{
	uint64_t batch = store_batch(admin->co->store);
	struct client *client;
	json_t *line;

	list_each(client, &admin->clients, node) {
		if (!client->follows || (client->missed && batch == client->batch))
			continue;
		line = audit_json(wall_ms, actor, action, subject, detail);
		if (client->missed)
			json_array_append_new(client->missed, line);
		else
			send_line(client, line);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

static void on_request(struct client *client, const char *text, size_t len)
{
	char error[JS_ERROR], actor[40];
	json_t *json = js_load(text, len, error), *result;
	struct refusal why = {.status = 400, .code = "bad_request"};
	const char *command;
	struct js js, arguments;

	js_read(&js, json);
	command = js_need_string(&js, "command", 40);
	js_read(&arguments, js_object(&js, "arguments"));
	if (!js_ok(&js) || !js_ok(&arguments)) {
		snprintf(why.detail, sizeof(why.detail), "%s", js_ok(&js) ? arguments.error : js.error);
		answer(client, refused(&why));
	} else if (!strcmp(command, "audit")) {
		on_audit(client, js_bool(&arguments, "follow", false));
	} else {
		store_begin(client->admin->co->store);
		snprintf(actor, sizeof(actor), "admin uid %u", (unsigned)client->uid);
		result = admin_command(client->admin->co, command, &arguments, actor, &why);
		answer(client, result ? json_pack("{sbso}", "ok", 1, "result", result) : refused(&why));
	}
	json_decref(json);
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct client *client = arg;
	const uint8_t *end = memchr(data, '\n', len);

	if (client->asked)
		return len;
	if (!end && len < MAX_REQUEST - 1)
		return 0;
	client->asked = true;
	if (end)
		on_request(client, (const char *)data, (size_t)(end - data));
	else
		stream_close(client->stream);
	return len;
}

static void on_closed(void *arg, const char *reason)
{
	struct client *client = arg;

	(void)reason;
	store_wait_cancel(&client->wait);
	json_decref(client->answer);
	json_decref(client->missed);
	json_decref(client->lines);
	list_del(&client->node);
	client->admin->count--;
	free(client);
}

static const struct stream_ops ops = {.data = on_data, .closed = on_closed};

static void on_accept(void *arg, int fd, unsigned events)
{
	struct admin *admin = arg;
	int socket = sock_accept(fd, NULL);
	struct client *client;
	uid_t uid;

	(void)events;
	if (socket < 0)
		return;
	if (admin->count >= MAX_CLIENTS || sock_peer_uid(socket, &uid) < 0 ||
	    (uid != 0 && uid != geteuid())) {
		close(socket);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->admin = admin;
	client->uid = uid;
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
		snprintf(error, size, admin->fd == -EADDRINUSE
				 ? "another coordinator answers at %s: stop it, or use --run-dir"
				 : "cannot make the socket %s: move it with --run-dir", admin->path);
		free(admin->path);
		free(admin);
		return NULL;
	}
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
	free(admin->path);
	free(admin);
}
