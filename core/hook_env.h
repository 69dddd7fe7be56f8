/*
 * hook_env.h - the fields of an event, checked again on the root side: what a hook may see of them.
 */
#ifndef CORE_HOOK_ENV_H
#define CORE_HOOK_ENV_H

#include "event.h"

/* A new event of this type with those fields that are what they should be (the rest is left out,
 * with a log line); "event" and "interface" are ours. */
json_t *hook_event_checked(enum event_type type, const char *interface, const json_t *said);

/* The whole environment of a hook (SPEC 6) for a checked event: new, NULL-terminated. */
char **hook_env(const json_t *event);
void hook_env_free(char **env);

#endif
