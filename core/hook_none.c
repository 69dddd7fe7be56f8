/*
 * Stands in where no hook runner is built in: events reach the log and `wg-mesh events` alone. Weak,
 * so that hook.c takes over by being there.
 */
#include "hook.h"

#define WEAK __attribute__((weak))

WEAK int hook_start(struct hook_client **out, const char *interface, const struct paths *paths)
{
	(void)interface;
	(void)paths;
	*out = NULL;
	return 0;
}

WEAK void hook_stop(struct hook_client *hooks)
{
	(void)hooks;
}

WEAK void hook_send(struct hook_client *hooks, const struct event *event)
{
	(void)hooks;
	(void)event;
}

WEAK void hook_reload(struct hook_client *hooks)
{
	(void)hooks;
}

WEAK bool hook_owes(const struct paths *paths, enum event_type up)
{
	(void)paths;
	(void)up;
	return false;
}
