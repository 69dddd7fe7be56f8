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

#include "coordinator/mesh/mesh.h"

struct coordinator;
struct device;
struct request;
struct session;
struct sync;

/* What must not be told before the disk has it. All-zero: not waiting. */
enum sync_told {
	SYNC_DURABLE, /* all that memory had when the wait began */
	SYNC_REFUSED, /* some of that was taken back: look again */
	SYNC_STUCK,   /* the database takes its time: what may be said without it? The wait goes on, and this
			 may come again */
};
typedef void sync_told_fn(void *arg, enum sync_told told);
struct sync_wait {
	struct list node;
	uint64_t revision;
	uint64_t refusals;
	sync_told_fn *fn;
	void *arg;
	char *text; /* what is to be said then, as it was when the wait began. NULL: it is to be written then */
	size_t len;
};

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
/* A device has come: into its class, and its gateway is told of it by a snapshot. */
void sync_device(struct sync *sync, struct device *device);
void sync_patch(struct sync *sync, const struct agent *agent, json_t *fields); /* takes fields */
void sync_relays(struct sync *sync, bool durable); /* durable: it was written, and waits for the disk */
void sync_coordinators(struct sync *sync);
void sync_reset(struct sync *sync, struct agent *agent); /* what it may see has changed: all anew */
void sync_cut(struct sync *sync, struct agent *agent, const char *reason);
/* Its stream ends: there is another, at this address or coordinator. */
void sync_replaced(struct sync *sync, struct agent *agent, const char *by);
void sync_drained(struct session *session); /* it has read what it was sent */
/* Shown online for now, offline after `ms` without a stream. */
void sync_leaving(struct sync *sync, struct agent *agent, uint64_t ms);

bool sync_settled(const struct sync *sync); /* memory has nothing that the disk has not: no need to wait */
void sync_wait(struct sync *sync, struct sync_wait *wait, sync_told_fn *fn, void *arg);
void sync_wait_cancel(struct sync *sync, struct sync_wait *wait);
/* So much is kept for those who wait, and no more: what would be beyond is written when they are told. */
bool sync_may_keep(const struct sync *sync);
void sync_keep(struct sync *sync, struct sync_wait *wait, char *text, size_t len); /* takes text */
void sync_sent(struct sync *sync, size_t len); /* what has no room in this wake goes with the next */
/* Until this revision all is on the disk. May the agent be told what it sees without what is newer? Not
 * where that concerns itself. */
uint64_t sync_durable(const struct sync *sync);
bool sync_may_see(const struct sync *sync, const struct agent *agent);

#define SYNC_ALL UINT64_MAX
/* PEERs it may see, but for who came after this revision */
void sync_peers(const struct agent *agent, json_t *array, uint64_t until);
const char *sync_epoch(const struct sync *sync);
uint64_t sync_revision(const struct sync *sync);
size_t sync_streams(const struct sync *sync);

#endif
