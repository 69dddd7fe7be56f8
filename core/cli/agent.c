/*
 * agent.c - lines of JSON over a unix socket, each wait bounded.
 */
#include "agent.h"
#include "lib/clock.h"
#include "lib/daemon.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define START_MS 2000
#define NAP_MS   10

#define LINE_MAX_BYTES ((size_t)8 * 1024 * 1024) /* 1,000 peers are well under 1 MiB */

int agent_connect(struct agent *agent, const char *socket_path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t len = sizeof(peer);

	*agent = (struct agent){.fd = -1};
	buf_init(&agent->in, LINE_MAX_BYTES);
	if (strlen(socket_path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, socket_path, strlen(socket_path) + 1);
	agent->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (agent->fd < 0)
		return -errno;
	if (connect(agent->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	if (getsockopt(agent->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		agent->pid = peer.pid;
	return 0;
}

void agent_close(struct agent *agent)
{
	if (agent->fd >= 0)
		close(agent->fd);
	agent->fd = -1;
	buf_free(&agent->in);
}

int agent_send(struct agent *agent, const char *line)
{
	struct iovec parts[] = {{(void *)(uintptr_t)line, strlen(line)},
				{(void *)(uintptr_t) "\n", 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
	ssize_t n = sendmsg(agent->fd, &message, MSG_NOSIGNAL);

	/* A request is a few hundred bytes: a fresh socket's buffer takes all or the agent hangs.
	 */
	if (n < 0 && errno == EPIPE)
		return 0; /* it has closed: whether it said why is for agent_next to see */
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return (size_t)n == parts[0].iov_len + 1 ? 0 : -ETIMEDOUT;
}

static int take_line(struct agent *agent, json_t **out)
{
	const uint8_t *end = agent->in.len ? memchr(agent->in.data, '\n', agent->in.len) : NULL;
	char error[JS_ERROR];
	size_t len;

	if (!end)
		return -EAGAIN;
	len = (size_t)(end - agent->in.data);
	*out = js_load(agent->in.data, len, error);
	buf_consume(&agent->in, len + 1);
	return *out ? 0 : -EPROTO;
}

int agent_next(struct agent *agent, int timeout_ms, json_t **out)
{
	uint64_t end = clock_ms() + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0), now;
	struct pollfd poller = {.fd = agent->fd, .events = POLLIN};
	int error, wait = timeout_ms;
	uint8_t *room;
	ssize_t n;

	while ((error = take_line(agent, out)) == -EAGAIN) {
		error = poll(&poller, 1, wait);
		if (error < 0 && errno != EINTR)
			return -errno;
		if (error == 0)
			return -ETIMEDOUT;
		room = buf_reserve(&agent->in, 4096);
		if (!room)
			return -EPROTO;
		n = recv(agent->fd, room, 4096, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		if (n > 0)
			agent->in.len += (size_t)n;
		now = clock_ms();
		if (timeout_ms >= 0)
			wait = now < end ? (int)(end - now) : 0;
	}
	return error;
}

int agent_refusal(json_t *answer)
{
	const char *why = json_string_value(json_object_get(answer, "error"));
	const json_t *matches = json_object_get(answer, "matches");
	json_t *code = json_object_get(answer, "exit"), *match;
	size_t i;

	if (!json_is_false(json_object_get(answer, "ok")))
		return EXIT_DONE;
	complain(EXIT_FAILED, "%s", why ? why : "the agent refused without a reason");
	json_array_foreach(matches, i, match) fprintf(
		stderr, "  %s\n", json_string_value(match) ? json_string_value(match) : "?");
	return json_is_integer(code) && json_integer_value(code) > 0 ? (int)json_integer_value(code)
								     : EXIT_FAILED;
}

int agent_await(const struct cli *cli, struct agent *agent, bool called)
{
	uint64_t end = clock_ms() + START_MS;
	int error;

	while ((error = agent_connect(agent, cli->paths.socket)) == -ENOENT ||
	       error == -ECONNREFUSED) {
		if (clock_ms() >= end || (!called && !daemon_holder(cli->paths.pid)))
			break;
		agent_close(agent);
		poll(NULL, 0, NAP_MS);
	}
	return error;
}

int agent_open(const struct cli *cli, struct agent *agent)
{
	int error = agent_await(cli, agent, false);
	bool joined = access(cli->paths.config, F_OK) == 0 || errno == EACCES;

	if (!error)
		return EXIT_DONE;
	agent_close(agent);
	if (error == -EACCES || error == -EPERM)
		return complain(EXIT_FAILED, "%s may be asked by root only: use sudo",
				cli->paths.socket);
	if (error != -ENOENT && error != -ECONNREFUSED)
		return complain(EXIT_NOT_RUNNING, "%s: %s", cli->paths.socket, strerror(-error));
	if (daemon_holder(cli->paths.pid))
		return complain(EXIT_NOT_RUNNING,
				"the agent of %s is starting: ask again in a moment; %s says what "
				"keeps it",
				cli->interface, cli->paths.log);
	if (joined)
		return complain(EXIT_NOT_RUNNING,
				"no agent runs for %s: `wg-quick up %s` starts it, or "
				"`wg-mesh up %s` where the interface is up",
				cli->interface, cli->interface, cli->interface);
	return complain(EXIT_NOT_RUNNING,
			"%s has not joined a mesh: `wg-mesh join LINK --interface %s`",
			cli->interface, cli->interface);
}

int agent_ask(const struct cli *cli, json_t *request, int timeout_ms, json_t **answer)
{
	struct agent agent;
	int code = agent_open(cli, &agent), error;
	char *line = js_dump(request);

	json_decref(request);
	*answer = NULL;
	if (code)
		goto out;
	error = agent_send(&agent, line);
	if (!error)
		error = agent_next(&agent, timeout_ms, answer);
	if (error)
		code = complain(EXIT_NOT_REACHABLE,
				"the agent of %s (process %d) does not answer: %s", cli->interface,
				(int)agent.pid, strerror(-error));
	else
		code = agent_refusal(*answer);
	if (code) {
		json_decref(*answer);
		*answer = NULL;
	}
	agent_close(&agent);
out:
	free(line);
	return code;
}
