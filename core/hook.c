/*
 * hook.c - the agent's end of the hook runner, and the ways to start one.
 *
 * The runner is forked twice, so that it is nobody's child: a supervisor that waits for its agent
 * never meets it, and it lives on to work off its queue. Messages keep their bounds
 * (SOCK_SEQPACKET); a runner that does not read costs an event, never the agent's time.
 */
#include "hook.h"
#include "hook_record.h"
#include "hook_runner.h"
#include "lib/clock.h"
#include "lib/daemon.h"
#include "lib/json.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNER_FD 3
#define AGAIN_MS  500
#define WAITING   16384 /* messages that a runner has not taken: two for each of thousands of peers */
#define DETACH_MS 500

struct hook_client {
	int fd; /* -1: the runner is gone */
	struct list waiting; /* of message, oldest first */
	unsigned waiting_count;
	bool dropped; /* some were, and it was said */
	struct loop_io io;
	bool attached;
};

struct message {
	struct list node;
	size_t len;
	char text[];
};

/* A terminal's ^C, a service's SIGTERM: not for us, we end when there is nothing left to do. */
static void become_runner(const char *name)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, name);
	umask(022);
	if (chdir("/") < 0)
		log_warn("hooks", "reason=\"/ cannot be entered: %s\"", strerror(errno));
}

/* The agent has no rights to start a runner any more, so one that dies (out of memory, a kill) has
 * somebody who has. What the agent says meanwhile waits in the socket; the record tells the rest. */
static _Noreturn void guard_runner(const char *interface, const struct paths *paths)
{
	int status;
	pid_t pid;

	while ((pid = fork()) > 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status))
			_exit(WEXITSTATUS(status));
		log_error("hooks", "reason=\"the hook runner has died (signal %d); another goes on\"",
			  WTERMSIG(status));
		poll(NULL, 0, AGAIN_MS);
	}
	if (pid == 0)
		hook_runner(RUNNER_FD, interface, paths, 0);
	_exit(pid < 0 ? 1 : 0);
}

static _Noreturn void runner_process(int fd, const char *interface, const struct paths *paths)
{
	pid_t pid;

	setsid();
	pid = fork();
	if (pid)
		_exit(pid < 0 ? 1 : 0);
	if (fd != RUNNER_FD)
		dup3(fd, RUNNER_FD, O_CLOEXEC);
	daemon_close_fds(RUNNER_FD + 1);
	become_runner("wg-mesh-hooks");
	guard_runner(interface, paths);
}

int hook_start(struct hook_client **out, const char *interface, const struct paths *paths)
{
	int ends[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		status = errno;
		close(ends[0]);
		close(ends[1]);
		return -status;
	}
	if (pid == 0) {
		close(ends[0]);
		runner_process(ends[1], interface, paths);
	}
	close(ends[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*out = xcalloc(1, sizeof(**out));
	(*out)->fd = ends[0];
	list_init(&(*out)->waiting);
	return 0;
}

static void drop_first(struct hook_client *hooks)
{
	struct message *message = container_of(hooks->waiting.next, struct message, node);

	list_del(&message->node);
	free(message);
	hooks->waiting_count--;
}

static void runner_gone(struct hook_client *hooks)
{
	log_error("hooks", "reason=\"the hook runner has died: `wg-mesh up` starts the agent anew, with "
			   "one; `down` runs what is owed\"");
	if (hooks->attached)
		io_stop(&hooks->io);
	close(hooks->fd);
	hooks->fd = -1;
	while (!list_empty(&hooks->waiting))
		drop_first(hooks);
}

/* As much as the runner takes. */
static void say_waiting(struct hook_client *hooks)
{
	while (hooks->fd >= 0 && !list_empty(&hooks->waiting)) {
		struct message *message = container_of(hooks->waiting.next, struct message, node);

		if (send(hooks->fd, message->text, message->len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
				break;
			if (errno == EPIPE || errno == ECONNRESET) {
				runner_gone(hooks);
				return;
			}
		}
		drop_first(hooks);
	}
	if (hooks->fd >= 0 && hooks->attached && !list_empty(&hooks->waiting))
		io_start(&hooks->io, LOOP_WRITE);
	else if (hooks->attached)
		io_stop(&hooks->io);
}

static void writable(void *arg, int fd, unsigned events)
{
	(void)fd;
	(void)events;
	say_waiting(arg);
}

void hook_attach(struct hook_client *hooks, struct loop *loop)
{
	if (!hooks || hooks->fd < 0)
		return;
	io_init(&hooks->io, loop, hooks->fd, writable, hooks);
	hooks->attached = true;
	say_waiting(hooks);
}

void hook_detach(struct hook_client *hooks)
{
	uint64_t end = clock_ms() + DETACH_MS, now;
	struct pollfd poller;

	if (!hooks || !hooks->attached)
		return;
	io_stop(&hooks->io);
	hooks->attached = false;
	while (hooks->fd >= 0 && !list_empty(&hooks->waiting) && (now = clock_ms()) < end) {
		poller = (struct pollfd){.fd = hooks->fd, .events = POLLOUT};
		poll(&poller, 1, (int)(end - now));
		say_waiting(hooks);
	}
}

void hook_stop(struct hook_client *hooks)
{
	if (!hooks)
		return;
	while (!list_empty(&hooks->waiting))
		drop_first(hooks);
	if (hooks->fd >= 0)
		close(hooks->fd);
	free(hooks);
}

static void say(struct hook_client *hooks, json_t *json)
{
	char *text = js_dump(json);
	size_t len = strlen(text);
	struct message *message;

	if (hooks->fd >= 0 && len <= HOOK_MESSAGE_MAX && hooks->waiting_count < WAITING) {
		message = xmalloc(sizeof(*message) + len);
		message->len = len;
		memcpy(message->text, text, len);
		list_add_tail(&hooks->waiting, &message->node);
		hooks->waiting_count++;
		hooks->dropped = false;
		say_waiting(hooks);
	} else if (hooks->fd >= 0 && !hooks->dropped) {
		log_warn("hook-dropped", "reason=\"the hook runner does not keep up\"");
		hooks->dropped = true;
	}
	free(text);
	json_decref(json);
}

void hook_send(struct hook_client *hooks, const struct event *event)
{
	json_t *json;

	if (event->type == EVENT_REFUSED || hooks->fd < 0)
		return;
	json = event_json(event, clock_wall_ms());
	json_object_del(json, "reason");
	say(hooks, json);
}

void hook_reload(struct hook_client *hooks)
{
	if (hooks->fd >= 0)
		say(hooks, json_pack("{s:s}", "type", "reload"));
}

bool hook_alive(const struct hook_client *hooks)
{
	struct pollfd poller = {.fd = hooks ? hooks->fd : -1};

	if (!hooks)
		return true;
	return hooks->fd >= 0 &&
	       (poll(&poller, 1, 0) <= 0 || !(poller.revents & (POLLHUP | POLLERR)));
}

bool hook_told(const struct hook_client *hooks)
{
	return hook_alive(hooks) && (!hooks || list_empty(&hooks->waiting));
}

bool hook_owes(const struct paths *paths, enum event_type up)
{
	return hook_record_count(paths->hooks, up, false, false) > 0;
}

int hook_settle(const char *interface, const struct paths *paths)
{
	pid_t pid, before = daemon_holder(paths->pid);

	if (hook_record_count(paths->hooks, EVENT_COUNT, true, true) == 0)
		return 0;
	pid = daemon_fork(paths->log);
	if (pid == -ENOENT)
		pid = daemon_fork(NULL);
	if (pid)
		return pid < 0 ? (int)pid : 0;
	log_open("wg-mesh-hooks", interface, LOG_INFO);
	become_runner("wg-mesh-hooks");
	hook_runner(-1, interface, paths, before);
	_exit(0);
}
