/*
 * sync.h - the agents' streams (proto.h has the frames): a snapshot or what was missed, then each
 * change once it is durable, and signals between agents at once.
 *
 * Changes stand in one bounded ring, numbered by revision. A stream knows how far it has been sent;
 * at the end of a wake those whose network changed get one delta frame. Coming back is the same walk
 * from an older revision. Each start has an epoch of its own.
 */
#ifndef COORDINATOR_SYNC_H
#define COORDINATOR_SYNC_H

#include "mesh.h"

struct coordinator;
struct request;
struct sync;

struct sync *sync_new(struct coordinator *co);
void sync_free(struct sync *sync);
void sync_bye(struct sync *sync); /* to every stream: the coordinator is about to stop */

void sync_accept(struct request *rq); /* the route's handler */

void sync_put(struct sync *sync, const struct member *member);
void sync_remove(struct sync *sync, const struct network *network, const char *agent_id);
void sync_patch(struct sync *sync, const struct agent *agent, json_t *fields); /* takes fields */
void sync_relays(struct sync *sync);
void sync_reset(struct sync *sync, struct agent *agent); /* what it may see has changed: all anew */
void sync_cut(struct sync *sync, struct agent *agent, const char *reason);
/* Shown online for now, offline after `ms` without a stream. */
void sync_leaving(struct sync *sync, struct agent *agent, uint64_t ms);

void sync_peers(const struct agent *agent, json_t *array); /* PEERs it may see */
const char *sync_epoch(const struct sync *sync);
uint64_t sync_revision(const struct sync *sync);
size_t sync_streams(const struct sync *sync);

#endif
