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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNER_FD 3

struct hook_client {
	int fd; /* -1: the runner is gone */
	bool full;
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
	hook_runner(RUNNER_FD, interface, paths);
	_exit(0);
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
	return 0;
}

void hook_stop(struct hook_client *hooks)
{
	if (!hooks)
		return;
	if (hooks->fd >= 0)
		close(hooks->fd);
	free(hooks);
}

static void say(struct hook_client *hooks, json_t *message)
{
	char *text = js_dump(message);
	size_t len = strlen(text);
	ssize_t sent = -1;

	errno = EMSGSIZE;
	if (hooks->fd >= 0 && len <= HOOK_MESSAGE_MAX)
		sent = send(hooks->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno == EAGAIN && !hooks->full)
		log_warn("hook-dropped", "reason=\"the hook runner does not keep up\"");
	if (sent < 0 && errno == EPIPE) {
		log_error("hooks", "reason=\"the hook runner has died: no hooks run until the agent is restarted\"");
		close(hooks->fd);
		hooks->fd = -1;
	}
	hooks->full = sent < 0;
	free(text);
	json_decref(message);
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

bool hook_owes(const struct paths *paths, enum event_type up)
{
	return hook_record_count(paths->hooks, up, false, false) > 0;
}

int hook_settle(const char *interface, const struct paths *paths)
{
	pid_t pid;

	if (hook_record_count(paths->hooks, EVENT_COUNT, true, true) == 0)
		return 0;
	pid = daemon_fork(paths->log);
	if (pid == -ENOENT)
		pid = daemon_fork(NULL);
	if (pid)
		return pid < 0 ? (int)pid : 0;
	log_open("wg-mesh-hooks", interface, LOG_INFO);
	become_runner("wg-mesh-hooks");
	hook_runner(-1, interface, paths);
	_exit(0);
}
