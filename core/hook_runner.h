/*
 * hook_runner.h - the process that runs hooks: root, alone, with a socket to the agent or none.
 */
#ifndef CORE_HOOK_RUNNER_H
#define CORE_HOOK_RUNNER_H

#include "hook.h"

#define HOOK_MESSAGE_MAX 8192 /* one SOCK_SEQPACKET message: {"type":"reload"} or an event's JSON */

/* Returns when the other end of `fd` (takes) is closed and all is worked off. fd -1: runs every
 * -down that is owed, and returns; `before` is the agent that these are of (0: gone), and one that
 * came after it goes on with what is owed by a runner of its own. */
void hook_runner(int fd, const char *interface, const struct paths *paths, pid_t before);

#endif
