/*
 * hook_commands.h - what is to be run for an event: commands of the YAML file, then executables of
 * hooks.d/EVENT/ in name order.
 */
#ifndef CORE_HOOK_COMMANDS_H
#define CORE_HOOK_COMMANDS_H

#include "event.h"

struct hook_command {
	char *label; /* "agent_up[0]" or "hooks.d/agent-up/10-log", for the log */
	char *shell; /* for /bin/sh -c; NULL: */
	int fd;      /* an open executable, else -1 */
	char *path;
};

struct hook_commands {
	struct hook_command *list;
	size_t count;
};

/* hooks: the object of the configuration, or NULL. Files that somebody else could have written are
 * left out, with a log line. */
void hook_commands_find(struct hook_commands *out, enum event_type type, const char *interface,
			const json_t *hooks, const char *hooks_dir);
void hook_commands_free(struct hook_commands *commands);

#endif
