/*
 * agent_load.h - what an agent cannot begin without: its configuration and its state. For the agent,
 * for the daemon before it detaches, and for `wg-mesh up`, so that who waits for them reads why not.
 */
#ifndef CORE_AGENT_LOAD_H
#define CORE_AGENT_LOAD_H

#include "config.h"
#include "paths.h"
#include "state.h"

/* 0 and both, new. Else an exit code (2: the configuration is wrong, AGENT_EXIT_GONE: this interface
 * has not joined, 1: the state cannot be read) and a sentence; then there is neither. */
#define LOAD_WHY (PATHS_MAX + 500)
int load_agent(const char *interface, const struct paths *paths, struct config **config,
	       struct state **state, char why[static LOAD_WHY]);
/* The same answer for one who only wants to know. */
int load_check(const char *interface, const struct paths *paths, char why[static LOAD_WHY]);

#endif
