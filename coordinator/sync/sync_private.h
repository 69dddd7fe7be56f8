/*
 * sync_private.h - the inside of sync.h, for sync.c (changes, who is told when), sync_stream.c (who
 * comes and goes) and sync_frames.c (what an agent is told).
 */
#ifndef COORDINATOR_SYNC_PRIVATE_H
#define COORDINATOR_SYNC_PRIVATE_H

#include "session.h"
#include "lib/buf.h"
#include "coordinator/store/store.h"

#define SNAPSHOT_MAX (256u << 20)
#define WAKE_BYTES   (16u << 20)
#define BEHIND_BYTES (64u << 10) /* queued: no more until it has been read */

struct sync {
	struct coordinator *co;
	struct ring *ring;
	char epoch[33];
	struct list sessions, leaving;
	struct list dirty_networks, dirty; /* changed since the last flush; sessions to be told */
	size_t streams;
	uint64_t changed_all; /* the last change that concerns everyone */
	struct buf found;     /* revisions, for missed() */
	struct buf scratch;   /* a frame being written */
	bool all_dirty;
	bool must_wait, waiting; /* a change wants the disk; it was asked, */
	uint64_t waiting_ms;     /* then */
	bool only_patches;       /* for sync_missed(): what waits for the disk is left out */
	uint64_t asked, limit;   /* revisions: waited for, and what may be told */
	uint64_t snapshot;       /* revision of the newest snapshot that was sent */
	uint64_t floor;          /* of the last change of policy: nobody may come back from before */
	size_t room;             /* bytes that may still be sent in this wake */
	struct list unsettled;   /* who waits for the disk: struct sync_wait */
	size_t held;             /* bytes that are kept for them */
	struct store_wait gate;
	struct loop_task flush;
	struct loop_timer leave, gap;
};

/* At once, or when all that is in it is on the disk. */
void sync_send_snapshot(struct sync *sync, struct session *session);
/* What the session has not been sent yet, up to sync->limit; a snapshot where that is not here any
 * more. */
void sync_send_delta(struct sync *sync, struct session *session);
/* Of what waits behind a change that the disk does not take: that which need not wait. It comes again in
 * its place. */
void sync_send_early(struct sync *sync, struct session *session);
/* Finds what concerns the agent after `from`, up to `limit`: `found`, newest first. False: not all of
 * it is here any more. */
bool sync_missed(struct sync *sync, const struct agent *agent, uint64_t from, uint64_t limit);

/* Their texts, with commas between. */
void sync_add_found(const struct sync *sync, struct buf *out);

void sync_leave_due(void *sync); /* sync_stream.c */

/* ---- sync_gate.c for sync.c ---- */
/* Both as far as there is room in this wake. */
void sync_waits_end(struct sync *sync);   /* all up to sync->limit is on the disk */
void sync_waits_stuck(struct sync *sync); /* what is newer has not come to be for too long */

/* ---- sync.c ---- */
void sync_mark(struct sync *sync, struct session *session); /* it is to be told what is new */

#endif
