/*
 * sync_gate.c - who waits until all that memory has is on the disk. A delta waits by its revision; what
 * is written from memory as it is, a snapshot or the answer to a reader, is written at once and kept
 * until the gate has passed its moment. So it is told of nothing newer, and a stream of changes does not
 * keep it waiting. Where another coordinator's change went before in between, it is written again.
 *
 * When the gate opens not all go out at once: each wake takes as many as sockets may take.
 */
#include "sync_private.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/coordinator.h"

#define HELD_BYTES (64u << 20)

bool sync_settled(const struct sync *sync)
{
	return !sync->waiting && !sync->must_wait;
}

uint64_t sync_revision(const struct sync *sync)
{
	return ring_revision(sync->ring);
}

uint64_t sync_durable(const struct sync *sync)
{
	return sync->limit;
}

bool sync_may_see(const struct sync *sync, const struct agent *agent)
{
	return agent->reset_revision <= sync->limit && sync->floor <= sync->limit;
}

void sync_wait(struct sync *sync, struct sync_wait *wait, sync_told_fn *fn, void *arg)
{
	const struct cluster *cluster = sync->co->cluster;

	wait->revision = ring_revision(sync->ring);
	/* While it is being set right, memory has what was refused. */
	wait->refusals = cluster_healing(cluster) ? UINT64_MAX : cluster_refusals(cluster);
	wait->fn = fn;
	wait->arg = arg;
	list_add_tail(&sync->unsettled, &wait->node);
	task_defer(sync->co->loop, &sync->flush);
}

void sync_wait_cancel(struct sync *sync, struct sync_wait *wait)
{
	if (wait->fn)
		list_del(&wait->node);
	if (wait->text)
		sync->held -= wait->len;
	free(wait->text);
	wait->text = NULL;
	wait->fn = NULL;
}

bool sync_may_keep(const struct sync *sync)
{
	return sync->held < HELD_BYTES;
}

void sync_keep(struct sync *sync, struct sync_wait *wait, char *text, size_t len)
{
	wait->text = text;
	wait->len = len;
	sync->held += len;
}

void sync_sent(struct sync *sync, size_t len)
{
	sync->room -= MIN(sync->room, len);
}

static void end(struct sync *sync, struct sync_wait *wait)
{
	bool refused = wait->refusals != cluster_refusals(sync->co->cluster);
	sync_told_fn *fn = wait->fn;

	list_del(&wait->node); /* its text is still to be used */
	wait->fn = NULL;
	fn(wait->arg, refused ? SYNC_REFUSED : SYNC_DURABLE);
}

/* Who waits again does so for a later revision. */
void sync_waits_end(struct sync *sync)
{
	while (!list_empty(&sync->unsettled) && sync->room) {
		struct sync_wait *wait = container_of(sync->unsettled.next, struct sync_wait, node);

		if (wait->revision > sync->limit)
			return;
		end(sync, wait);
	}
}

void sync_waits_stuck(struct sync *sync)
{
	struct sync_wait *wait, *tmp;

	list_each_safe(wait, tmp, &sync->unsettled, node) {
		if (!sync->room)
			return;
		wait->fn(wait->arg, SYNC_STUCK);
	}
}
