/*
 * agent.h - the command's end of an agent's control socket (control.h), and how an agent that does
 * not answer is ended.
 */
#ifndef CORE_CLI_AGENT_H
#define CORE_CLI_AGENT_H

#include "command.h"
#include "lib/json.h"
#include "lib/buf.h"
#include <sys/types.h>

struct agent {
	int fd;
	pid_t pid;     /* of the process that listens there */
	struct buf in; /* what came and is no whole line yet */
};

/* 0 or -errno; -ENOENT and -ECONNREFUSED: no agent runs. Then agent_close in any case. */
int agent_connect(struct agent *agent, const char *socket_path);
void agent_close(struct agent *agent);

/* The next answer (new reference). -ETIMEDOUT, -EPIPE (it is gone), -EPROTO (not JSON). */
int agent_next(struct agent *agent, int timeout_ms, json_t **out); /* < 0: wait for ever */
int agent_send(struct agent *agent, const char *line);             /* without its newline */

/* One question, one answer: what most commands are. Complains and returns an exit code where that
 * fails or the agent says no; else 0 and a new reference. `request` is taken. */
int agent_ask(const struct cli *cli, json_t *request, int timeout_ms, json_t **answer);
int agent_refusal(
	json_t *answer); /* prints {"ok":false,...}; its exit code, 0 when there is none */
int agent_open(const struct cli *cli, struct agent *agent); /* agent_await, or complains */
/* agent_connect; one that is starting has its pid file before its socket, and is waited for, two
 * seconds at most. called: so is one that was started just now and may have neither yet. */
int agent_await(const struct cli *cli, struct agent *agent, bool called);

/* Ends the agent of this interface by pidfd, its supervisor first; only a wg-meshd for this
 * interface in our network namespace is touched. `pid` 0: who is in the pid file. */
void agent_end(const struct cli *cli, pid_t pid);
/* Waits for a process that is ending by itself. */
void agent_wait_gone(pid_t pid, int timeout_ms);
/* The network namespace a process is in; 0: unknown. */
uint64_t agent_netns(pid_t pid);

#endif
