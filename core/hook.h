/*
 * hook.h - runs what users want run when something happens (SPEC 6): commands of the YAML file by
 * /bin/sh -c, executables of hooks.d/EVENT/ in name order, four at a time from a bounded queue,
 * 10 s each. The runner is a process of its own, forked while the agent is still root: it reads the
 * commands itself and takes from the agent an event and its fields, never a command.
 *
 * The agent may say an -up or a -down as often as it sees reason to: one runs only in turn with the
 * other (hook_record.h), so an agent that comes back to tunnels that never went says the -up again,
 * or the -down of a peer that did not come back, and all is right.
 */
#ifndef CORE_HOOK_H
#define CORE_HOOK_H

#include "event.h"
#include "paths.h"
#include "lib/loop.h"

struct hook_client; /* the agent's end */

/* Forks the runner. Call before capabilities are dropped and before threads. The runner ends by
 * itself when the agent is gone and its queue is empty; one that dies is forked anew. 0 or -errno. */
int hook_start(struct hook_client **out, const char *interface, const struct paths *paths);
/* What the runner cannot take at once is kept and said when it can, from this loop; without one it
 * is kept until the next event. hook_detach says the rest, bounded, before the agent ends. */
void hook_attach(struct hook_client *hooks, struct loop *loop);
void hook_detach(struct hook_client *hooks);
void hook_stop(struct hook_client *hooks); /* the queue is still worked off, by the runner alone */
void hook_send(struct hook_client *hooks, const struct event *event); /* never blocks */
void hook_reload(struct hook_client *hooks);
bool hook_alive(const struct hook_client *hooks); /* false: the runner has died; NULL: true */
bool hook_told(const struct hook_client *hooks);  /* alive, and has taken all that was said */

/* Records in paths->hooks that such an -up has run without its -down, for this boot and for the
 * interface as it is now. */
bool hook_owes(const struct paths *paths, enum event_type up);
/* With no agent alive: runs every -down that is owed, detached, and returns at once. */
int hook_settle(const char *interface, const struct paths *paths);

#endif
