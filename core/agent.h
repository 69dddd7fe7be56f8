/*
 * agent.h - the agent of one interface: owns every part and joins them.
 */
#ifndef CORE_AGENT_H
#define CORE_AGENT_H

#include "hook.h"
#include "paths.h"

#define AGENT_EXIT_GONE 3 /* there is no such interface (any more), or it has not joined */

struct agent_options { /* borrowed */
	const char *interface;
	const struct paths *paths;
	struct hook_client *hooks; /* may be NULL */
};

/* Runs until it is told to end; the exit code. On SIGTERM everything is left in place. */
int agent_run(const struct agent_options *options);

#endif
