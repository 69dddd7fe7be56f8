/*
 * The supervisor. Signals are blocked and read one by one, so that there is no handler and no race
 * between one that comes and the next wait. The hook runner is older than both and outlives a
 * restart of the agent.
 */
#include "supervise.h"

#include "lib/clock.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS   60000
#define STOP_S           2
#define RAN_WELL_MS      60000 /* who ran so long begins anew with the shortest wait */

static pid_t start(const struct agent_options *options, const sigset_t *old)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid < 0 ? -errno : pid;
	sigprocmask(SIG_SETMASK, old, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	_exit(agent_run(options));
}

/* Passes signals on until the agent has ended; its wait status. *stop: we were told to end; an agent
 * that does not follow is killed. */
static int watch(pid_t pid, const sigset_t *signals, bool *stop)
{
	struct timespec patience = {.tv_sec = STOP_S};
	int status = 0, signo;

	for (;;) {
		pid_t ended = waitpid(pid, &status, WNOHANG);

		if (ended == pid || (ended < 0 && errno == ECHILD))
			return status;
		signo = *stop ? sigtimedwait(signals, NULL, &patience) : sigwaitinfo(signals, NULL);
		if (signo < 0 && errno == EAGAIN)
			kill(pid, SIGKILL);
		if (signo < 0 || signo == SIGCHLD)
			continue;
		*stop |= signo != SIGHUP;
		kill(pid, signo);
	}
}

static bool ended_well(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	return code == 0 || code == 2 || code == AGENT_EXIT_GONE;
}

/* True: a signal to end came meanwhile. The SIGCHLD of the agent that has just died may be pending
 * still, and is none. */
static bool wait_out(uint64_t ms, const sigset_t *signals)
{
	uint64_t end = clock_ms() + ms, now;
	int signo = SIGCHLD;

	while (signo == SIGCHLD && (now = clock_ms()) < end) {
		uint64_t left = end - now;
		struct timespec limit = {.tv_sec = (time_t)(left / 1000),
					 .tv_nsec = (long)(left % 1000) * 1000000};

		signo = sigtimedwait(signals, NULL, &limit);
	}
	return signo == SIGTERM || signo == SIGINT;
}

int supervise(const struct agent_options *options)
{
	uint64_t backoff = BACKOFF_FIRST_MS, began;
	sigset_t signals, old;
	bool stop = false;
	int status = 0;
	pid_t pid;

	sigemptyset(&signals);
	for (unsigned i = 0; i < 4; i++)
		sigaddset(&signals, (int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[i]);
	sigprocmask(SIG_BLOCK, &signals, &old);
	if (daemon_drop_capabilities(UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW))
		log_warn("rights", "reason=\"rights could not be given up\"");
	while (!stop) {
		began = clock_ms();
		pid = start(options, &old);
		if (pid > 0)
			status = watch(pid, &signals, &stop);
		if (stop || (pid > 0 && ended_well(status)))
			break;
		if (clock_ms() - began > RAN_WELL_MS)
			backoff = BACKOFF_FIRST_MS;
		log_error("agent-died", "status=%d again_in_ms=%llu", status,
			  (unsigned long long)backoff);
		stop = wait_out(backoff, &signals);
		backoff = MIN(backoff * 2, BACKOFF_MAX_MS);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
