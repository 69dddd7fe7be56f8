/*
 * sync.h - the agents' streams (proto.h has the frames): a snapshot or what was missed, then each
 * change once it is durable, and signals between agents at once.
 *
 * Changes stand in one bounded ring, numbered by revision; those of one class of agents (policy_class.h)
 * are chained, so that what a stream has missed is found by following the chains of the classes that it
 * sees, and no others. A stream knows how far it has been sent; at the end of a wake those who see a
 * class that changed get one delta frame. Coming back is the same walk from an older revision. Each
 * start has an epoch of its own; another policy is a point that nobody comes back from before.
 *
 * Bursts: the first change is told at once, what follows in the next moments (the longer, the more
 * are to be told) goes out together. A stream that does not take what it was sent gets nothing more
 * until it has: it then gets what it has missed, so a slow reader costs one frame's memory.
 */
#ifndef COORDINATOR_SYNC_H
#define COORDINATOR_SYNC_H

#include "mesh.h"

struct coordinator;
struct request;
struct session;
struct sync;

struct sync *sync_new(struct coordinator *co);
void sync_free(struct sync *sync);
void sync_bye(struct sync *sync); /* to every stream: the coordinator is about to stop */

void sync_accept(struct request *rq); /* the route's handler */

/* A signal that came by another coordinator; dropped where there is no stream, or they are no peers. */
void sync_signal_from(struct coordinator *co, const char *to, const char *from, const char *network,
		      const char *box);

/* Also puts the member into the class that it belongs to now. */
void sync_put(struct sync *sync, struct member *member);
void sync_remove(struct sync *sync, const struct network *network, const char *agent_id);
void sync_patch(struct sync *sync, const struct agent *agent, json_t *fields); /* takes fields */
void sync_relays(struct sync *sync);
void sync_coordinators(struct sync *sync);
void sync_reset(struct sync *sync, struct agent *agent); /* what it may see has changed: all anew */
void sync_cut(struct sync *sync, struct agent *agent, const char *reason);
void sync_drained(struct session *session); /* it has read what it was sent */
/* Shown online for now, offline after `ms` without a stream. */
void sync_leaving(struct sync *sync, struct agent *agent, uint64_t ms);

void sync_peers(const struct agent *agent, json_t *array); /* PEERs it may see */
json_t *sync_rules(const struct agent *agent);             /* RULEs by network, new */
const char *sync_epoch(const struct sync *sync);
uint64_t sync_revision(const struct sync *sync);
size_t sync_streams(const struct sync *sync);

#endif
