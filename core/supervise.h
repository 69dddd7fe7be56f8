/*
 * supervise.h - where there is no service manager: a daemon of our own that starts the agent and
 * starts it again with back-off if it dies. The agent dies with its supervisor, so that ending the
 * process of the pid file ends both.
 */
#ifndef CORE_SUPERVISE_H
#define CORE_SUPERVISE_H

#include "agent.h"

/* Runs until the agent has ended by itself (exit code 0, 2 or AGENT_EXIT_GONE) or SIGTERM came,
 * which is passed on. Returns the agent's exit code. */
int supervise(const struct agent_options *options);

#endif
